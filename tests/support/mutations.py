"""Mutations of clips that know their structure: boxes of an mp4, packets, time stamps."""

import io
import random
import struct
from collections.abc import Iterator
from typing import Any

import av

FORMATS = ("mp4", "matroska", "avi", "mpegts", "flv", "nut", "mov")
_PARENTS = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"moof", b"traf", b"mvex", b"dinf", b"udta")
_NUMBERS = (0, 1, 2, 255, 1 << 16, (1 << 31) - 1, 1 << 31, (1 << 32) - 1)


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return `content` with one to three mutations, those of its packets and stamps in a container of any format."""
    for _ in range(20):  # muxers refuse some
        made = content
        try:
            if rng.random() < 0.6:
                made = remuxed(made, rng)
            for _ in range(rng.randint(0 if made is not content else 1, 2)):
                made = _with_other_boxes(made, rng) if made[4:8] == b"ftyp" else _with_other_bytes(made, rng)
        except (av.error.FFmpegError, ValueError, OverflowError, IndexError, TypeError):
            continue
        if made != content:
            return made
    return _with_other_bytes(content, rng)


# ---- Boxes --------------------------------------------------------------------------------------------------


def _with_other_boxes(content: bytes, rng: random.Random) -> bytes:
    boxes = list(_boxes(content, 0, len(content), ()))
    start, size, parents = rng.choice([box for box in boxes if content[box[0] + 4 : box[0] + 8] != b"mdat"])
    data = bytearray(content)
    kind = rng.choice(("number", "number", "number", "swap", "drop", "repeat", "size", "type"))
    if kind in ("drop", "repeat"):
        change = -size if kind == "drop" else size
        for parent in parents:
            (stated,) = struct.unpack_from(">I", data, parent)
            struct.pack_into(">I", data, parent, stated + change)
        data[start : start + size] = b"" if kind == "drop" else 2 * data[start : start + size]
    elif kind == "size":
        struct.pack_into(">I", data, start, rng.choice((*_NUMBERS, size + 1, size - 1, 2 * size)))
    elif kind == "type":
        data[start + 4 + rng.randrange(4)] ^= 1 << rng.randrange(8)
    elif size >= 16:
        words = range(start + 8, start + size - 3, 4)
        one, other = rng.choice(words), rng.choice(words)
        before = struct.unpack_from(">I", data, one)[0]
        if kind == "swap":
            data[one : one + 4], data[other : other + 4] = data[other : other + 4], data[one : one + 4]
        else:
            number = rng.choice((*_NUMBERS, before + 1, before - 1, 2 * before, before // 2, rng.getrandbits(32)))
            struct.pack_into(">I", data, one, number % (1 << 32))
    return bytes(data)


def _boxes(content: bytes, start: int, end: int, parents: tuple[int, ...]) -> Iterator[tuple[int, int, Any]]:
    """Start, size and starts of the parents of each box."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", content, start)
        if size < 8 or start + size > end:
            return
        yield start, size, parents
        if kind in _PARENTS:
            yield from _boxes(content, start + 8, start + size, (*parents, start))
        start += size


def _with_other_bytes(content: bytes, rng: random.Random) -> bytes:
    """Change bytes, often in the headers, which come first."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        data[rng.randrange(min(rng.choice((64, 600, len(data))), len(data)))] ^= 1 << rng.randrange(8)
    return bytes(data) if rng.random() < 0.9 else bytes(data[: rng.randrange(len(data))])


# ---- Packets and time stamps --------------------------------------------------------------------------------


def remuxed(content: bytes, rng: random.Random) -> bytes:
    """Return the packets in a container of another format, some of them or their stamps changed."""
    file = io.BytesIO()
    # Text of SDP would open sockets, and wait for them.
    options = {"protocol_whitelist": "pipe"}
    with av.open(io.BytesIO(content), metadata_errors="replace", options=options) as source:
        streams = [stream for stream in source.streams if stream.type in ("video", "audio") and stream.codec_context]
        packets = [packet for packet in source.demux(*streams) if packet.size]
        pictures = [packet for packet in packets if packet.stream.type == "video"]
        if rng.random() < 0.5:
            packets = _with_other_packets(packets, pictures, rng)
        else:
            _change_stamps(pictures, rng)
        with av.open(file, "w", format=rng.choice(FORMATS)) as target:
            copies = {stream.index: target.add_stream_from_template(stream) for stream in streams}
            for packet in packets:
                packet.stream = copies[packet.stream.index]
                target.mux(packet)
    return file.getvalue()


def _with_other_packets(packets: list[Any], pictures: list[Any], rng: random.Random) -> list[Any]:
    kind = rng.choice(("begin", "drop", "repeat", "swap", "shorten", "flip", "replace", "key"))
    one = rng.randrange(len(pictures))
    if kind == "begin":  # a cut at any packet
        return packets[packets.index(pictures[one]) :] or packets
    position = packets.index(pictures[one])
    if kind == "drop":
        return packets[:position] + packets[position + 1 :]
    if kind == "key":
        pictures[one].is_keyframe = not pictures[one].is_keyframe
        return packets
    if kind == "swap":
        other = packets.index(pictures[min(one + 1, len(pictures) - 1)])
        packets[position], packets[other] = packets[other], packets[position]
        return packets
    data = bytearray(bytes(pictures[one]))
    if kind == "shorten":
        data = data[: rng.randrange(len(data))]
    elif kind == "flip":
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "replace":
        data = bytearray(bytes(rng.choice(pictures)))
    copy: Any = av.Packet(bytes(data))
    for name in ("pts", "dts", "duration", "time_base", "is_keyframe", "stream"):
        setattr(copy, name, getattr(pictures[one], name))
    return [*packets[: position + (kind == "repeat")], copy, *packets[position + 1 :]]


def _change_stamps(pictures: list[Any], rng: random.Random) -> None:
    kind = rng.choice(("as stored", "swap", "same", "later", "all later", "jump", "none"))
    one, other = rng.choice(pictures), rng.choice(pictures)
    if kind == "as stored":
        for packet in pictures:
            packet.pts = packet.dts
    elif kind == "swap":
        one.pts, other.pts = other.pts, one.pts
    elif kind == "same":
        one.pts = other.pts
    elif kind == "none":
        one.pts = None
    elif kind == "later":
        one.pts += rng.choice((1, 5, 100, 5000, 1 << 20))
    else:
        step = rng.choice((1, 1000, 100_000, 1 << 31, 1 << 33)) * (1 if rng.random() < 0.8 else -1)
        for packet in pictures if kind == "all later" else pictures[rng.randrange(len(pictures)) :]:
            packet.pts, packet.dts = packet.pts + step, packet.dts + step
