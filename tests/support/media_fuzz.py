"""Mutated clips for `probe`, `decode` and `read_audio`; see `tests.support.fuzz`."""

import functools
import io
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from kinetics_tools.errors import ClipError
from kinetics_tools.media import VideoReader, probe, read_audio

_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF)
# Codecs of pictures and of sound, the container, and options of its muxer.
_KINDS: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    ("libx264", "aac", "mp4", {}),
    ("libx264", "aac", "mp4", {"movflags": "frag_keyframe+empty_moov"}),
    ("libx264", "pcm_s16le", "mov", {}),
    ("mpeg4", "libmp3lame", "avi", {}),
    ("libx264", "aac", "matroska", {}),
    ("libvpx", "libopus", "webm", {}),
    ("libx264", "aac", "flv", {}),
    ("libx264", "aac", "mpegts", {}),
    ("mpeg2video", "mp2", "mpeg", {}),
    ("mpeg4", "wmav2", "asf", {}),
)


def _decode(content: bytes) -> None:
    with VideoReader(content) as reader:
        reader.span([0])
        reader.decode(sorted({0, reader.num_frames // 2, reader.num_frames - 1}))


TARGETS: dict[str, tuple[Callable[[bytes], Any], type[Exception]]] = {
    "probe": (probe, ClipError),
    "decode": (_decode, ClipError),
    "read_audio": (read_audio, ClipError),
}


def clips() -> list[bytes]:
    """Return a small clip for each container."""
    return [_clip(*kind) for kind in _KINDS]


def _clip(video: str, audio: str, format: str, options: dict[str, str]) -> bytes:
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    rate = 48_000 if audio == "libopus" else 44_100
    with av.open(file, "w", format=format, container_options={"max_interleave_delta": "0", **options}) as container:
        pictures: Any = container.add_stream(video, 25)
        pictures.height, pictures.width, pictures.pix_fmt, pictures.codec_context.gop_size = 32, 32, "yuv420p", 5
        sound: Any = container.add_stream(audio, rate, layout="mono")
        sound.bit_rate = 64_000
        resampler = av.AudioResampler(sound.codec_context.format, "mono", rate, sound.codec_context.frame_size or 1024)
        packets: list[Any] = []
        for index in range(12):
            frame: Any = av.VideoFrame.from_ndarray(rng.integers(0, 255, (32, 32, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 25)
            packets += pictures.encode(frame)
        noise = rng.normal(size=(1, rate // 2)).astype(np.float32) / 8
        heard = av.AudioFrame.from_ndarray(noise, format="flt", layout="mono")
        heard.sample_rate, heard.time_base, heard.pts = rate, Fraction(1, rate), 0
        for part in (*resampler.resample(heard), *resampler.resample(None)):
            packets += sound.encode(part)
        for packet in [*packets, *pictures.encode(), *sound.encode()]:
            container.mux(packet)
    return file.getvalue()


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return a clip with up to eight changes, most of them in what looks like headers."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = _place(data, rng)
        change = rng.randrange(6)
        if change == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif change == 1:
            data[at] = rng.randrange(256)
        elif change == 2:
            width = rng.choice((2, 4, 4, 8))
            data[at : at + width] = rng.choice(_NUMBERS).to_bytes(8, "big")[-width:]
        elif change == 3:
            width = rng.choice((2, 4, 4, 8))
            data[at : at + width] = rng.choice(_NUMBERS).to_bytes(8, "little")[:width]
        elif change == 4:
            del data[at : at + rng.choice((1, 4, 100))]
        else:
            part = data[at : at + rng.choice((4, 40, 400))]
            there = _place(data, rng)
            data[there:there] = part
    return bytes(data[: rng.randrange(len(data))] if rng.random() < 0.05 else data)


def _place(data: bytearray, rng: random.Random) -> int:
    """Return a position: near the start or the end, where headers and indexes are, or anywhere."""
    size = max(len(data), 1)
    return rng.choice((rng.randrange(min(1500, size)), max(size - 1 - rng.randrange(2500), 0), rng.randrange(size)))


@functools.cache
def _originals() -> list[bytes]:
    return clips()


def inputs(number: int) -> Iterator[tuple[str, bytes]]:
    """Yield each target with the mutated clip of this number."""
    originals = _originals()
    content = mutated(originals[number % len(originals)], random.Random(number))
    yield from ((target, content) for target in TARGETS)
