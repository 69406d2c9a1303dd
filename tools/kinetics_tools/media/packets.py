"""The pictures of a clip as its file stores them: packets, when each is shown, and a decoder that takes them.

Out of a plain mp4 with H.264 all of that is read by its own table, and the decoder is one that decoded such a clip
before: what FFmpeg needs to open the file and a decoder is most of what a few small pictures take. Everything else is
opened by FFmpeg, and all of its packets are read.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av

from kinetics_tools.errors import ClipError
from kinetics_tools.media.cut import TRUNCATED_SECONDS
from kinetics_tools.media.mp4_index import Decoding, FrameTable, TabledPackets, frame_table
from kinetics_tools.media.open import (
    VideoSource,
    check_decoder,
    check_headers,
    clip_errors,
    discard_others,
    lacks_times,
    open_container,
    source_of,
)

# No decoder may run while a file is opened, and of what it holds nothing is guessed: these two kinds of file say it.
_SELF_DESCRIBING = {"codec_whitelist": "-", "probesize": "32", "fflags": "+nofillin+noparse"}
# Where H.264 does not say how far its frames are reordered, the decoder takes the most that is allowed instead of
# losing frames until it knows.
_STRICT = {"strict": "strict"}
_MAX_RESTING = 4


@dataclass(frozen=True)
class StoredVideo:
    """The first video stream of a file. Positions count its packets, in the order of storage.

    Attributes:
        times: when the frame of each packet is shown, in units of `time_base` s; None where the file does not say.
        shown: positions of the packets whose frames are shown.
        keys: positions of key frames, ascending.
        stated_fps: what the file says; 0 where it says nothing.
        decoder: opened, with one thread: the caller has other clips for the other cores.
        is_reordered: whether only decoding tells which packet's frame is shown when: the n-th frame has the n-th time.
    """

    packets: Sequence[Any]
    times: list[int | None]
    shown: list[int]
    keys: list[int]
    time_base: Fraction
    stated_fps: float
    decoder: Any
    is_reordered: bool = False


@contextmanager
def stored_video(source: VideoSource) -> Iterator[StoredVideo]:
    """Errors of FFmpeg become ClipError, also those in the body of the `with`."""
    name = source_of(source)[0]
    content = source["bytes"] if isinstance(source, Mapping) else b""
    table = frame_table(content)
    if table is not None and table.decoding is not None:
        with clip_errors(name), _decoder(table.decoding) as decoder:
            yield _of_table(table, content, decoder)
    else:
        with _opened(source) as container:
            yield _of_container(name, container, table, content)


def _of_table(table: FrameTable, content: bytes, decoder: Any) -> StoredVideo:
    count = len(table.times)
    return StoredVideo(
        packets=TabledPackets(table, content),
        times=table.times.tolist(),
        shown=list(range(count)),
        keys=table.keys.tolist(),
        time_base=Fraction(1, table.timescale),
        stated_fps=table.timescale * count / max(int(table.durations.sum()), 1),
        decoder=decoder,
    )


def _of_container(name: str, container: Any, table: FrameTable | None, content: bytes) -> StoredVideo:
    if not container.streams.video:
        raise ClipError(f"{name}: has no video stream; drop it or fetch it again")
    stream = container.streams.video[0]
    check_decoder(name, stream)
    discard_others(container, stream)
    decoder = stream.codec_context
    if table is not None and len(table.sizes) == stream.frames and stream.time_base == Fraction(1, table.timescale):
        return _of_table(table, content, _ready(decoder))
    packets = [packet for packet in container.demux(stream) if packet.size]
    if any(packet.is_corrupt for packet in packets):
        raise ClipError(f"{name}: is cut off or damaged; drop it or fetch it again")
    shown = [position for position, packet in enumerate(packets) if not packet.is_discard]
    _check_end(name, stream, [packets[position] for position in shown])
    is_reordered = lacks_times(container, stream)
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
    """A file that was cut off may still have the index of what is missing."""
    base, start, duration = stream.time_base or Fraction(1), stream.start_time, stream.duration
    ends = [packet.pts + (packet.duration or 0) for packet in packets if packet.pts is not None]
    # Where a stream says neither when it begins nor how long it is, FFmpeg gives it the length of the file, which in
    # Matroska and fragments is that of the sound, if it is longer. There the headers have decided.
    if start is None or duration is None or not ends:
        return
    reached = (max(ends) - start) * base
    if reached + TRUNCATED_SECONDS < duration * base:
        where = f"{float(reached):.2f} of {float(duration * base):.2f} s"
        raise ClipError(f"{name}: is cut off at {where}; drop it or fetch it again")


def _opened(source: VideoSource) -> Any:
    """A context with the container; without probing where the file itself says all that is needed."""
    file = source_of(source)[1]
    if isinstance(file, str):
        try:
            with open(file.removeprefix("file:"), "rb", buffering=0) as opened:
                head = opened.read(12)
        except OSError:
            head = b""
    else:
        head = file.read(12)
        file.seek(0)
    if head[4:8] != b"ftyp" and head[:4] != b"\x1aE\xdf\xa3":
        return open_container(source)
    check_headers(source)
    return open_container(source, container_options=_SELF_DESCRIBING)


# ---- Decoders -----------------------------------------------------------------------------------------------


class _Resting(threading.local):
    """Decoders that this thread does not use now, by what they were opened with; the oldest first."""

    def __init__(self) -> None:
        self.decoders: dict[Decoding, Any] = {}


_resting = _Resting()


@contextmanager
def _decoder(decoding: Decoding) -> Iterator[Any]:
    """An H.264 decoder; afterwards it rests for the next clip that needs such a one."""
    decoder = _resting.decoders.pop(decoding, None)
    if decoder is None:
        decoder = av.CodecContext.create("h264", "r")
        decoder.extradata = decoding.parameters
        if decoding.colours:
            decoder.color_primaries, decoder.color_trc, decoder.colorspace, decoder.color_range = decoding.colours
        _ready(decoder)
    yield decoder
    # Not after an error, which may leave anything behind.
    decoder.flush_buffers()
    _resting.decoders[decoding] = decoder
    if len(_resting.decoders) > _MAX_RESTING:
        del _resting.decoders[next(iter(_resting.decoders))]


def _ready(decoder: Any) -> Any:
    decoder.thread_count = 1
    if decoder.name == "h264":
        decoder.options = {**decoder.options, **_STRICT}
    decoder.open()
    return decoder
