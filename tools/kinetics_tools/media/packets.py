"""Packets of a clip's video, the times at which they are shown, and a decoder for them.

For a plain mp4 with H.264, packets come from our own frame table, and decoders are reused. Opening both with FFmpeg
takes most of the time of reading a few small pictures. For any other file FFmpeg reads all packets.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from kinetics_tools.errors import ClipError
from kinetics_tools.media.mp4_index import DecoderConfig, FrameTable, PacketsOfTable, frame_table
from kinetics_tools.media.open import (
    MAX_PIXELS,
    VideoSource,
    check_headers,
    clip_errors,
    demux,
    discard_others,
    first_video_stream,
    is_untimed,
    open_container,
    source_of,
)
from kinetics_tools.media.truncation import check_end

# Files of these two kinds state all that is needed: no decoder may run while they are opened, and nothing is guessed.
_SELF_DESCRIBING = {"codec_whitelist": "-", "probesize": "32", "fflags": "+nofillin+noparse"}
# If H.264 does not state how far its frames are reordered, the decoder assumes the most that is allowed instead of
# losing frames until it knows.
_STRICT = {"strict": "strict"}
_MAX_IDLE_DECODERS = 4


@dataclass(frozen=True)
class StoredVideo:
    """First video stream of a file. Positions count its packets, in the order of storage."""

    packets: Sequence[Any]
    times: list[int | None]  # when each packet's frame is shown, in units of `time_base`; None if that is not stated
    shown: list[int]  # positions of the packets whose frames are shown
    keys: list[int]  # positions of key frames, ascending
    time_base: Fraction  # in seconds
    stated_fps: float  # 0 if the file states none
    decoder: Any  # opened, with one thread: the caller has other clips for the other cores
    is_reordered: bool = False  # if only decoding tells which packet's frame is shown when: the n-th has the n-th time


def seconds_of(name: str, item: "av.Packet[Any] | av.VideoFrame | av.AudioFrame") -> Fraction:
    """Return the time of a packet or frame of clip `name`, in seconds on the clock of its file."""
    stamp = item.dts if item.pts is None else item.pts  # AVI has only the former
    if stamp is None or item.time_base is None:
        raise ClipError(f"{name}: does not say when its frames are shown; convert it to mp4 first")
    return Fraction(stamp * item.time_base)


@contextmanager
def stored_video(source: Mapping[str, Any]) -> Iterator[StoredVideo]:
    """Open a clip; FFmpeg's errors become ClipError, also those in the body of the `with`."""
    name = source_of(source)[0]
    content: bytes = source["bytes"] or b""
    table = frame_table(content)
    if table is not None and table.config is not None:
        with clip_errors(name), _decoder(table.config) as decoder:
            yield _of_table(table, content, decoder)
    else:
        with _opened(source) as container:
            yield _of_container(name, container, table, content)


def _of_table(table: FrameTable, content: bytes, decoder: Any) -> StoredVideo:
    count = len(table.times)
    return StoredVideo(
        packets=PacketsOfTable(table, content),
        times=table.times.tolist(),
        shown=list(range(count)),
        keys=table.keys.tolist(),
        time_base=Fraction(1, table.timescale),
        stated_fps=table.timescale * count / max(int(table.durations.sum()), 1),
        decoder=decoder,
    )


def _of_container(name: str, container: Any, table: FrameTable | None, content: bytes) -> StoredVideo:
    stream = first_video_stream(name, container)
    discard_others(container, stream)
    decoder = stream.codec_context
    if table is not None and len(table.sizes) == stream.frames and stream.time_base == Fraction(1, table.timescale):
        return _of_table(table, content, _ready(decoder))
    packets: list[Any] = [packet for packet in demux(container, stream) if packet.size]
    if any(packet.is_corrupt for packet in packets):
        raise ClipError(f"{name}: is truncated or corrupt; drop it or download it again")
    shown = [position for position, packet in enumerate(packets) if not packet.is_discard]
    _check_end(name, stream, [packets[position] for position in shown])
    is_reordered = is_untimed(container, stream)
    return StoredVideo(
        packets=packets,
        times=[packet.dts if is_reordered else packet.pts for packet in packets],
        shown=shown,
        keys=[position for position, packet in enumerate(packets) if packet.is_keyframe],
        time_base=stream.time_base or Fraction(1),
        stated_fps=float(stream.average_rate or 0),
        decoder=_ready(decoder),
        is_reordered=is_reordered,
    )


def _check_end(name: str, stream: Any, packets: Sequence[Any]) -> None:
    """Check that the packets go to the end: a truncated file may still have a complete index."""
    base, start, duration = stream.time_base or Fraction(1), stream.start_time, stream.duration
    ends = [packet.pts + (packet.duration or 0) for packet in packets if packet.pts is not None]
    # A stream that states neither its start nor its duration gets those of the file from FFmpeg, which in Matroska and
    # fragments are those of the sound, if it is longer. There the headers have decided.
    if start is not None and duration is not None and ends:
        check_end(name, (max(ends) - start) * base, duration * base)


def _opened(source: VideoSource) -> Any:
    """Open the container, without probing if the file states all needed parameters."""
    head = check_headers(source)
    is_self_describing = head[4:8] == b"ftyp" or head[:4] == b"\x1aE\xdf\xa3"
    return open_container(source, container_options=_SELF_DESCRIBING if is_self_describing else {})


# ---- Decoders -----------------------------------------------------------------------------------------------


class _IdleDecoders(threading.local):
    """Per-thread cache of idle decoders, keyed by their configuration; the oldest first."""

    def __init__(self) -> None:
        self.by_config: dict[DecoderConfig, Any] = {}


_idle = _IdleDecoders()


@contextmanager
def _decoder(config: DecoderConfig) -> Iterator[Any]:
    """Provide an H.264 decoder, which is kept for the next clip with the same configuration."""
    decoder = _idle.by_config.pop(config, None)
    if decoder is None:
        decoder = av.CodecContext.create("h264", "r")
        decoder.extradata = config.parameters
        if config.colours:
            decoder.color_primaries, decoder.color_trc, decoder.colorspace, decoder.color_range = config.colours
        _ready(decoder)
    yield decoder
    # Not after an error, which may leave the decoder in any state.
    decoder.flush_buffers()
    _idle.by_config[config] = decoder
    if len(_idle.by_config) > _MAX_IDLE_DECODERS:
        del _idle.by_config[next(iter(_idle.by_config))]


def _ready(decoder: Any) -> Any:
    decoder.thread_count = 1
    limits = {"max_pixels": f"{MAX_PIXELS}"}  # the pictures may be larger than the headers state
    decoder.options = {**decoder.options, **limits, **(_STRICT if decoder.name == "h264" else {})}
    decoder.open()
    return decoder
