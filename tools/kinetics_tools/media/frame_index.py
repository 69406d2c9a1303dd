"""The frames of a clip, by one rule: those that a plain decode shows, in the order in which the decoder outputs them.

Headers and packets tell them for most files; for the others a decoder does (see `bitstream.shows_every_packet`).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, pairwise
from typing import Any

import av.container
import av.video.stream
import numpy as np
import numpy.typing as npt

from kinetics_tools.errors import ClipError
from kinetics_tools.media.bitstream import REORDERING_CODECS, is_hidden_vp8, may_reorder, shows_every_packet
from kinetics_tools.media.damage import StrictDecoder, whole_packets
from kinetics_tools.media.mp4_index import FrameTable
from kinetics_tools.media.open import VideoSource, is_untimed, open_video, source_of

# A corrupt time can lie years ahead.
LONGEST_STAND_SECONDS = 60
_USUAL_RATE = 25
_MAX_REORDERED = 16  # pictures that a decoder of any codec may hold back


@dataclass(frozen=True)
class FrameIndex:
    """When the frames of a clip are shown, in the order in which the decoder outputs them."""

    times: list[int]  # of each frame, never falling, in units of `time_base`
    end: int  # when the last frame ends
    time_base: Fraction  # in seconds
    is_ordered: bool  # if the packet of each frame states its time, so that frames are found by their times
    is_decoded: bool = False  # if a decoder counted the frames, and found none that is corrupt

    @property
    def seconds(self) -> Fraction:
        """Duration from the start of the first frame to the end of the last one, in seconds."""
        return (self.end - self.times[0]) * self.time_base


def tells_frames(table: FrameTable, first: bytes) -> bool:
    """Return True if each packet of a plain mp4 becomes one frame; `first` is the first packet, or its first bytes."""
    is_key = bool(len(table.keys)) and table.keys[0] == 0
    return (
        bool(table.sizes.all())
        and bool(table.durations.all())
        and shows_every_packet(table.codec, table.parameters, first, is_key=is_key)
        and not _stands_long(table)
    )


def _stands_long(table: FrameTable) -> bool:
    longest = LONGEST_STAND_SECONDS * table.timescale
    span = table.times.max() - table.times.min()
    return bool(span > longest and np.diff(np.sort(table.times)).max() > longest)


def index_table(table: FrameTable) -> tuple[FrameIndex, npt.NDArray[np.int64]]:
    """Return the frames of a plain mp4 whose table tells them, and positions of their packets (frames,).

    `is_ordered` is True if no two frames are shown at one time.
    """
    positions = np.argsort(table.times)
    times = table.times[positions]
    end = int(times[-1] + table.durations[positions[-1]])
    is_ordered = bool(np.diff(times).all())
    return FrameIndex(times.tolist(), end, Fraction(1, table.timescale), is_ordered), positions


def index_frames(
    video: VideoSource,
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    packets: Iterable[Any],
) -> FrameIndex:
    """Return the frames of a clip from the `packets` of its `stream`, or by decoding them if these do not tell.

    Raises:
        ClipError: there are no frames, or one that had to be decoded is corrupt.
    """
    codec: Any = stream.codec_context
    name = codec.codec.canonical_name
    packets = iter(packets)
    first = next(packets, None)
    if first is not None and not shows_every_packet(name, codec.extradata, first, is_key=first.is_keyframe):
        return _decoded_index(video)
    shown = [
        (packet.pts, packet.dts, packet.duration)
        for packet in chain([] if first is None else [first], packets)
        if not packet.is_discard and not (name == "vp8" and is_hidden_vp8(packet))
    ]
    stamps, decoding, durations = zip(*shown, strict=True) if shown else ((), (), ())
    is_stated = None not in stamps and not is_untimed(container, stream)
    return _index(
        source_of(video)[0],
        stream,
        stamps if is_stated else decoding,
        durations,
        is_ordered=is_stated and len(set(stamps)) == len(stamps),
    )


def _decoded_index(video: VideoSource) -> FrameIndex:
    name = source_of(video)[0]
    with open_video(video) as (container, stream):
        decoder = StrictDecoder(name, stream, skip_loop_filter="all")
        frames = [
            (frame.pts, frame.dts, frame.duration)
            for packet in chain(whole_packets(name, container, stream), [None])
            for frame in decoder.decode(packet)
        ]
        stamps, decoding, durations = zip(*frames, strict=True) if frames else ((), (), ())
        is_ordered = None not in stamps and all(one < other for one, other in pairwise(stamps))
        index = _index(name, stream, decoding if None in stamps else stamps, durations, is_ordered=is_ordered)
    return replace(index, is_decoded=True)


def _index(
    name: str, stream: Any, stamps: Sequence[int | None], durations: Sequence[int | None], *, is_ordered: bool
) -> FrameIndex:
    """Return the index of frames with these stamps, in any order: the n-th frame of the decoder gets the n-th time."""
    if not stamps:
        raise ClipError(f"{name}: has no frames; drop it or download it again")
    base = stream.time_base or Fraction(1)
    if None in stamps:  # the file does not state when frames are shown
        step = _usual_step(stream)
        stamps = [round(number * step) for number in range(len(stamps))]
    times: Any = sorted(stamps)
    duration = durations[stamps.index(times[-1])]
    if not duration:
        step = Fraction(times[-1] - times[0], len(times) - 1) if len(times) > 1 else _usual_step(stream)
        duration = max(round(step), 1)
    return checked_index(name, FrameIndex(times, times[-1] + duration, base, is_ordered))


def _usual_step(stream: Any) -> Fraction:
    rate = Fraction(stream.average_rate or stream.guessed_rate or _USUAL_RATE)
    return 1 / (rate * (stream.time_base or Fraction(1)))


def checked_index(name: str, index: FrameIndex) -> FrameIndex:
    """Return `index`, or raise ClipError if clip `name` shows one frame for longer than LONGEST_STAND_SECONDS."""
    if (index.times[-1] - index.times[0]) * index.time_base > LONGEST_STAND_SECONDS:
        before, after = max(pairwise(index.times), key=lambda pair: pair[1] - pair[0])
        start, end = float(before * index.time_base), float(after * index.time_base)
        if end - start > LONGEST_STAND_SECONDS:
            raise ClipError(
                f"{name}: shows one frame from {start:.2f} to {end:.2f} s, so its times are corrupt; "
                "drop it or download it again"
            )
    return index


def is_order_of_times(
    codec: str, parameters: bytes | None, positions: npt.NDArray[np.int64], packets: Sequence[Any]
) -> bool:
    """Return True if a decoder outputs frames in the order of their times.

    `positions` are those of the packets of all frames, (frames,) in the order of their times. False means that the
    decoder may have another order: the times of a raw stream that was put into a container are those of storage.
    """
    stored = np.sort(positions).searchsorted(positions)
    early = int((stored - np.arange(len(stored))).max(initial=0))  # number of frames that one is shown before, at most
    if early:
        return codec in REORDERING_CODECS and early <= _MAX_REORDERED
    return not may_reorder(codec, parameters, packets)
