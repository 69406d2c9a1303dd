"""Frames of a clip by index, as arrays.

First the time of every frame is read, from the table of a plain mp4 or else by reading all packets once. Indices count
frames in the order in which a plain decode shows them (see `frame_index`). Decoding starts at the nearest key frame and
skips groups of pictures without a requested frame. Other unwanted packets are sent with `skip_frame = "NONREF"`: the
decoder discards them unless other frames refer to them. The result equals that of a full decode.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from functools import cached_property
from itertools import chain
from typing import Any, cast, get_args

import av
import numpy as np
import numpy.typing as npt

from kinetics_tools.errors import ClipError
from kinetics_tools.media.damage import corrupt_at
from kinetics_tools.media.open import load, source_of
from kinetics_tools.media.packets import stored_video
from kinetics_tools.media.pictures import Pixels
from kinetics_tools.media.transforms import Box, FrameWriter, Layout, Size, View, rotation_of
from kinetics_tools.text import check_choice

Indices = Sequence[int] | Sequence[Sequence[int]] | npt.NDArray[np.integer[Any]]
"""Indices of frames, (T,) or (N, T) for N clips, from 0 in the order in which frames are shown."""
_UNTYPED, _INTRA = 0, 1  # types of pictures


def decode(
    video: Any,
    indices: Indices,
    *,
    size: Size | None = None,
    crop: Box | None = None,
    flip: bool = False,
    layout: Layout = "THWC",
) -> Pixels:
    """Return the frames at `indices` as uint8 RGB, in the order of `indices`.

    The picture is rotated upright, cropped, scaled and mirrored, in this order. Scaling is swscale's: bilinear over the
    area that a pixel covers, with exact rounding and full chroma. Unscaled frames equal PyAV's
    `frame.to_ndarray(format="rgb24")`. The array is contiguous in its layout, so `torch.from_numpy` needs no copy.

    Args:
        video: a path, the bytes of a file, a binary file, a URL that fsspec opens, the {"bytes", "path"} of a
            `Video(decode=False)` column, or the decoder of a `Video()` column. The first video stream that is not a
            cover picture is read.
        indices: (T,) or (N, T), in any order, with repeats, from 0 in the order in which frames are shown.
        size: (height, width) in pixels to scale to.
        crop: (top, left, height, width) in pixels of the upright picture.
        flip: mirror horizontally.
        layout: axes of a clip; for indices (N, T) they follow an axis of N clips.

    Raises:
        IndexError: an index is outside [0, number of frames).
        ValueError: the crop is outside the picture.
        ClipError: the clip is unreadable, or one of the frames is corrupt.
        FileNotFoundError: `video` is a path that does not exist.
    """
    with VideoReader(video) as reader:
        return reader.decode(indices, view=View(crop, size, flip), layout=layout)


class VideoReader:
    """Open clip with its length and rate, for choosing frames; see `decode` for its argument.

        with VideoReader(video) as reader:
            frames = reader.decode(sampler(reader.num_frames, reader.fps, rng))

    Errors of FFmpeg in the body of the `with` become ClipError.
    """

    def __init__(self, video: Any) -> None:
        source = load(video)
        self.name = source_of(source)[0]
        with ExitStack() as stack:
            self._video = stack.enter_context(stored_video(source))
            self._index, self._keys = self._video.index, self._video.keys or [0]
            self._is_ordered = self._index.is_ordered
            self._stack = stack.pop_all()

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)

    @property
    def num_frames(self) -> int:
        """Number of frames that can be decoded."""
        return len(self._index.times)

    @property
    def start_seconds(self) -> Fraction:
        """Time at which the first frame is shown, on the clock of the file."""
        return self._index.times[0] * self._index.time_base

    @cached_property
    def times_seconds(self) -> npt.NDArray[np.float64]:
        """(num_frames,): times at which frames are shown, counted from the first frame."""
        times = np.array(self._index.times, np.float64)
        return (times - times[0]) * float(self._index.time_base)

    @cached_property
    def fps(self) -> float:
        """Frames per second: the stated rate if all frames match it within one frame, otherwise their mean rate."""
        stated = self._video.stated_fps
        seconds = float(self.times_seconds[-1])
        if self.num_frames == 1 or seconds <= 0:
            return stated or 25.0
        if stated and abs(seconds * stated - (self.num_frames - 1)) < 1.5:
            return stated
        return (self.num_frames - 1) / seconds

    def span(self, indices: Indices) -> tuple[float, float]:
        """Return [start, end) in seconds from the first frame, from the least to the greatest of the indices."""
        flat = self._checked(indices).reshape(-1)
        last = int(flat.max())
        is_last = last + 1 == self.num_frames
        end = self._index.seconds if is_last else self.times_seconds[last + 1]
        return float(self.times_seconds[flat.min()]), float(end)

    def decode(
        self,
        indices: Indices,
        *,
        view: View = View(),  # noqa: B008, it is frozen
        layout: Layout = "THWC",
    ) -> Pixels:
        """Return the frames at `indices`; see the function `decode`."""
        return self.decode_views(indices, views=lambda height, width: [view], layout=layout)[0]

    def decode_views(
        self, indices: Indices, *, views: Callable[[int, int], Sequence[View]], layout: Layout = "THWC"
    ) -> list[Pixels]:
        """Return several views of the same frames, decoded once; each array is as from `decode`.

        Args:
            indices: (T,) or (N, T).
            views: function of the upright picture's height and width in pixels.
            layout: axes of a clip.
        """
        check_choice(layout, get_args(Layout), "layout")
        wanted = self._checked(indices)
        if not wanted.size:
            raise ValueError("indices=[]: at least one frame must be wanted")
        rows: dict[int, list[int]] = {}
        for row, index in enumerate(wanted.reshape(-1).tolist()):
            rows.setdefault(index, []).append(row)
        writers: list[FrameWriter] = []
        for index, frame in self._frames(sorted(rows)):
            if not writers:
                rotation = rotation_of(frame)
                size = (frame.width, frame.height) if rotation.swaps_sides else (frame.height, frame.width)
                writers = [FrameWriter(view, size, rotation, wanted.shape, layout) for view in views(*size)]
            for writer in writers:
                writer.write(frame, rows[index])
        return [writer.frames for writer in writers]

    def _checked(self, indices: Indices) -> npt.NDArray[np.int64]:
        wanted = np.asarray(indices)
        if not wanted.size:
            return wanted.astype(np.int64)
        if wanted.dtype.kind not in "iu" or wanted.ndim not in (1, 2):
            raise ValueError(f"indices of {wanted.dtype} with shape {wanted.shape}: must be integers, (T,) or (N, T)")
        for index in (wanted.min(), wanted.max()):
            if not 0 <= index < self.num_frames:
                raise IndexError(f"{self.name}: frame {index} of {self.num_frames}; indices are from 0 up")
        return wanted.astype(np.int64, copy=False)

    def _frames(self, wanted: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield index and frame for each of the sorted indices, in any order; the last yield of an index counts."""
        missing = set(wanted)
        while self._is_ordered and missing:
            index_of: dict[int | None, int] = {self._index.times[index]: index for index in missing}
            before = None
            for frame in self._decoded(sorted(missing)):
                if before is not None and frame.pts is not None and frame.pts < before:
                    self._is_ordered = False  # the stated times contradict the order of output
                    missing = set(wanted)
                    break
                before = frame.pts
                index = index_of.get(frame.pts)
                if index in missing and not frame.is_corrupt:
                    missing.remove(index)
                    yield index, frame
            if self._keys == [0]:
                break
            if missing:
                self._keys = [0]
        if missing:
            yield from self._counted(missing)

    def _counted(self, missing: set[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield index and frame by decoding all: for corrupt clips and those whose times do not tell the order."""
        times: dict[int | None, int] | None = None
        if self._is_ordered:
            times = {time: index for index, time in enumerate(self._index.times)}
        for count, frame in enumerate(self._all_decoded()):
            index = count if times is None else times.get(frame.pts)
            if index in missing:
                if frame.is_corrupt:
                    raise corrupt_at(self.name, frame)
                missing.remove(index)
                yield index, frame
                if not missing:
                    return
        raise ClipError(f"{self.name}: frame {min(missing)} does not decode; drop the clip or download it again")

    def _decoded(self, wanted: Sequence[int]) -> Iterator[av.VideoFrame]:
        """Yield frames, including the wanted ones; stop early if a run does not begin with an intra picture."""
        context, packets, stamps = self._video.decoder, self._video.packets, cast("list[int]", self._video.stamps)
        positions = {self._video.positions[index] for index in wanted}
        is_skipping = None
        for start, stop in self._runs(wanted):
            context.flush_buffers()  # not afterwards, which never comes if the caller meets an error
            is_entered = start == 0
            for position in range(start, stop + 1):
                skip = position != stop and position not in positions
                if skip is not is_skipping:
                    context.skip_frame = "NONREF" if skip else "DEFAULT"
                    is_skipping = skip
                try:
                    frames = context.decode(None if position == stop else packets[position])
                except av.error.InvalidDataError:
                    if start == 0:
                        raise
                    return  # some files mark key frames that refer to others
                for frame in frames:
                    if not is_entered and frame.pts is not None and frame.pts >= stamps[start]:
                        # As when pictures are refreshed in parts.
                        if frame.pict_type not in (_UNTYPED, _INTRA):
                            return
                        is_entered = True
                    yield frame

    def _runs(self, wanted: Sequence[int]) -> list[tuple[int, int]]:
        """Return the packets to decode: ranges [start, stop) of positions, each from a key frame on."""
        stamps = cast("list[int]", self._video.stamps)
        runs: list[tuple[int, int]] = []
        for position in sorted(self._video.positions[index] for index in wanted):
            key = bisect_right(self._keys, position) - 1
            # A frame stored after a key frame but shown before it may refer to frames that precede both.
            while key > 0 and stamps[self._keys[key]] > stamps[position]:
                key -= 1
            start = self._keys[key] if key >= 0 else 0
            if runs and start <= runs[-1][1]:
                runs[-1] = (min(start, runs[-1][0]), position + 1)
            else:
                runs.append((start, position + 1))
        return runs

    def _all_decoded(self) -> Iterator[av.VideoFrame]:
        context = self._video.decoder
        context.flush_buffers()
        context.skip_frame = "DEFAULT"
        is_shown = False
        for packet in chain(self._video.packets, [None]):
            try:
                frames = context.decode(packet)
            except av.error.InvalidDataError:
                if is_shown:
                    raise
                continue  # as after a cut, nothing is lost
            is_shown |= bool(frames)
            yield from frames
