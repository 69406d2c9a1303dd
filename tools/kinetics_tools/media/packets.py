"""Packets of a clip's video, the times at which they are shown, and a decoder for them.

For a plain mp4 with H.264, packets come from our own frame table, and decoders are reused. Opening both with FFmpeg
takes most of the time of reading a few small pictures. For any other file FFmpeg reads all packets.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import av
import numpy as np

from kinetics_tools.errors import ClipError
from kinetics_tools.media.damage import whole_packets
from kinetics_tools.media.frame_index import FrameIndex, index_frames, index_table, is_order_of_times, tells_frames
from kinetics_tools.media.mp4_index import DecoderConfig, FrameTable, PacketsOfTable, frame_table
from kinetics_tools.media.open import (
    MAX_PIXELS,
    VideoSource,
    check_headers,
    clip_errors,
    open_container,
    source_of,
    video_stream,
)

# Files of these two kinds state all that is needed: no decoder may run while they are opened, and nothing is guessed.
_SELF_DESCRIBING = {"codec_whitelist": "-", "probesize": "32", "fflags": "+nofillin+noparse"}
# If H.264 does not state how far its frames are reordered, the decoder assumes the most that is allowed instead of
# losing frames until it knows.
_STRICT = {"strict": "strict"}
_MAX_IDLE_DECODERS = 4


@dataclass(frozen=True)
class StoredVideo:
    """Video stream of a clip. Positions count its packets, in the order of storage."""

    packets: Sequence[Any]
    stamps: Sequence[int | None]  # when each packet's frame is shown, in units of the index; None if not stated
    keys: list[int]  # positions of key frames, ascending
    index: FrameIndex
    positions: list[int]  # of the packets of the frames in the index; empty unless it is ordered
    stated_fps: float  # 0 if the file states none
    decoder: Any  # opened, with one thread: the caller has other clips for the other cores


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
    if table is not None and not tells_frames(table, table.packet(content, 0)):
        table = None
    if table is not None and table.config is not None:
        with clip_errors(name), _decoder(table.config) as decoder:
            yield _of_table(table, content, decoder)
        return
    with _opened(source) as container:
        stream = video_stream(name, container)
        decoder = _ready(stream.codec_context)
        if table is not None and stream.frames == len(table.sizes):
            yield _of_table(table, content, decoder)
        else:
            yield _of_container(name, source, container, stream, decoder)


def _of_table(table: FrameTable, content: bytes, decoder: Any) -> StoredVideo:
    packets = PacketsOfTable(table, content)
    index, positions = index_table(table)
    is_ordered = index.is_ordered and is_order_of_times(table.codec, table.parameters, positions, packets)
    return StoredVideo(
        packets=packets,
        stamps=table.times.tolist(),
        keys=table.keys.tolist(),
        index=replace(index, is_ordered=is_ordered),
        positions=positions.tolist() if is_ordered else [],
        stated_fps=table.fps,
        decoder=decoder,
    )


def _of_container(name: str, source: Mapping[str, Any], container: Any, stream: Any, decoder: Any) -> StoredVideo:
    packets = list(whole_packets(name, container, stream))
    index = index_frames(source, container, stream, packets)
    stamps = [packet.pts for packet in packets]
    position_of = {stamp: position for position, stamp in enumerate(stamps) if not packets[position].is_discard}
    positions = [position_of.get(time, -1) for time in index.times] if index.is_ordered else []
    # The first packets after a cut may have no frames, and the decoder has told the order of the others.
    is_told = -1 not in positions and (
        index.is_decoded
        or is_order_of_times(decoder.codec.canonical_name, decoder.extradata, np.array(positions), packets)
    )
    if index.is_decoded and positions and decoder.name == "h264":
        # Skipped frames change how the decoder conceals a picture that does not belong there, and what follows it.
        coded = [packet for packet in packets[min(positions) :] if packet.size and not packet.is_discard]
        is_told = is_told and len(coded) == len(positions)
    if not is_told:
        index, positions = replace(index, is_ordered=False), []
    return StoredVideo(
        packets=packets,
        stamps=stamps,
        keys=[position for position, packet in enumerate(packets) if packet.is_keyframe],
        index=index,
        positions=positions,
        stated_fps=float(stream.average_rate or 0),
        decoder=decoder,
    )


def _opened(source: VideoSource) -> Any:
    """Open the container, without probing if the file states all needed parameters."""
    head = check_headers(source).head
    is_self_describing = head[4:8] == b"ftyp" or head[:4] == b"\x1aE\xdf\xa3"
    return open_container(source, _SELF_DESCRIBING if is_self_describing else {}, head)


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
