"""Frames of a clip by their index, as arrays: exact, and without decoding more than they need.

First the time of every frame is read, out of the table of a plain mp4 or else by reading all packets once; that order
is what an index counts. Then decoding starts at the last key frame that serves, leaves out whole groups of pictures in
which nothing is wanted, and of the packets in between it sends those that are not wanted with `skip_frame = "NONREF"`:
the decoder discards them unless other frames refer to them. So what comes out is what a decode of everything gives.
"""

import os
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from typing import Any, cast, get_args

import av
import numpy as np
import numpy.typing as npt

from kinetics_tools.errors import ClipError
from kinetics_tools.media.open import VideoSource, source_of
from kinetics_tools.media.packets import stored_video
from kinetics_tools.media.pictures import Pixels
from kinetics_tools.media.transforms import Box, Layout, Size, View, Writer, upright_of

Indices = Sequence[int] | Sequence[Sequence[int]] | npt.NDArray[np.integer[Any]]
_UNTYPED, _INTRA = 0, 1  # types of pictures
_CLIP_BYTES = 1 << 25


def decode(
    video: Any,
    indices: Indices,
    *,
    size: Size | None = None,
    crop: Box | None = None,
    flip: bool = False,
    layout: Layout = "THWC",
) -> Pixels:
    """The frames with these indices, uint8 RGB, in the order asked for.

    `video` is a path, the bytes of a file, a URL that fsspec opens, the {"bytes", "path"} of a `Video(decode=False)`
    column, or the decoder that `datasets` makes of a `Video()` column, whose bytes are read anew. Of several video
    streams it is the first, as for `probe`.

    Index i is the i-th frame in the order in which frames are shown, from 0; indices may repeat and come in any order.
    With `indices` of shape (T,) the axes are those of `layout`; with (N, T) they are preceded by N clips.

    The picture is turned upright, cropped to `crop` (top, left, height, width), scaled to `size` (height, width) and
    mirrored if `flip`. It is scaled by swscale, bilinear over the area that a pixel covers, with exact rounding and
    full chroma; unscaled it is what `frame.to_ndarray(format="rgb24")` of PyAV gives. The array is contiguous in its
    layout, so that `torch.from_numpy` needs no copy.

    Raises IndexError for an index outside [0, number of frames), ValueError for a crop outside of the picture,
    ClipError for a clip that cannot be read, FileNotFoundError for a path that does not exist.
    """
    with VideoReader(video) as reader:
        return reader.decode(indices, view=View(crop, size, flip), layout=layout)


class VideoReader:
    """A clip whose packets have been read, for those who must know its length before they choose frames.

        with VideoReader(video) as reader:
            frames = reader.decode(sampler(reader.num_frames, reader.fps, rng))

    `video` is what `decode` takes. Errors of FFmpeg in the body of the `with` become ClipError.
    """

    def __init__(self, video: Any) -> None:
        source = _in_memory(encoded_video(video))
        self.name = source_of(source)[0]
        with ExitStack() as stack:
            self._video = stack.enter_context(stored_video(source))
            self._packets, self._times, self._keys = self._video.packets, self._video.times, self._video.keys
            self._positions = self._presented(self._video.shown)
            if not self._positions:
                raise ClipError(f"{self.name}: has no frames; drop it or fetch it again")
            self._stack = stack.pop_all()

    def __enter__(self) -> "VideoReader":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.__exit__(*exception)

    @property
    def num_frames(self) -> int:
        return len(self._positions)

    @property
    def start_seconds(self) -> Fraction:
        """When the first frame is shown, on the clock of the file."""
        return (self._times[self._positions[0]] or 0) * self._video.time_base

    @cached_property
    def times_seconds(self) -> npt.NDArray[np.float64]:
        """(num_frames,): when each frame is shown, counted from the first one."""
        times = np.array([self._times[position] or 0 for position in self._positions], np.float64)
        return (times - times[0]) * float(self._video.time_base)

    @cached_property
    def fps(self) -> float:
        """Frames a second: what the file states, if its frames keep to it but for one, else their mean rate."""
        stated = self._video.stated_fps
        seconds = float(self.times_seconds[-1])
        if self.num_frames == 1 or seconds <= 0:
            return stated or 25.0
        if stated and abs(seconds * stated - (self.num_frames - 1)) < 1.5:
            return stated
        return (self.num_frames - 1) / seconds

    def span(self, indices: Indices) -> tuple[float, float]:
        """[start, end) in seconds from the first frame: in which the frames from the least to the greatest index are
        shown."""
        flat = self._checked(indices).reshape(-1)
        last = int(flat.max())
        packet = self._packets[self._positions[last]]
        if last + 1 < self.num_frames:
            end = float(self.times_seconds[last + 1])
        elif packet.duration:
            end = float(self.times_seconds[last] + packet.duration * float(self._video.time_base))
        else:
            end = float(self.times_seconds[last]) + 1 / self.fps
        return float(self.times_seconds[flat.min()]), end

    def decode(
        self,
        indices: Indices,
        *,
        view: View | Callable[[int, int], View] = View(),  # noqa: B008, it is frozen
        layout: Layout = "THWC",
    ) -> Pixels:
        """As the function `decode`; `view` may be a function of the upright picture's height and width."""
        return self.decode_views(indices, views=lambda height, width: [_view_of(view, height, width)], layout=layout)[0]

    def decode_views(
        self, indices: Indices, *, views: Callable[[int, int], Sequence[View]], layout: Layout = "THWC"
    ) -> list[Pixels]:
        """Several views of the same frames, which are decoded once: an array as of `decode` for each."""
        if layout not in get_args(Layout):
            raise ValueError(f"layout={layout!r}: must be one of {', '.join(get_args(Layout))}")
        wanted = self._checked(indices)
        if not wanted.size:
            raise ValueError("indices=[]: at least one frame must be wanted")
        rows: dict[int, list[int]] = {}
        for row, index in enumerate(wanted.reshape(-1).tolist()):
            rows.setdefault(index, []).append(row)
        writers: list[Writer] = []
        for index, frame in self._frames(sorted(rows)):
            if not writers:
                upright = upright_of(frame)
                height, width = upright(np.empty((frame.height, frame.width), np.uint8)).shape
                chosen = views(height, width)
                writers = [Writer(view, (height, width), upright, wanted.shape, layout) for view in chosen]
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

    def _presented(self, shown: list[int]) -> list[int]:
        """The positions of frames in the order in which they are shown."""
        times: list[Any] = self._times
        self._is_ordered = None not in times and not self._video.is_reordered
        if not shown or not self._is_ordered:  # as in AVI, where only decoding tells the order
            self._keys = [0]
            return shown
        shown.sort(key=times.__getitem__)
        self._is_ordered = all(times[one] != times[other] for one, other in pairwise(shown))
        first = self._keys[0] if self._keys else 0
        if first or times[shown[0]] < times[first]:
            # A careless cut: nothing before the first key frame can be decoded.
            shown = [position for position in shown if position >= first and times[position] >= times[first]]
        return shown

    def _frames(self, wanted: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Index and frame for each of the sorted indices, in any order."""
        missing = set(wanted)
        while self._is_ordered and missing:
            index_of = {self._times[self._positions[index]]: index for index in missing}
            for frame in self._decoded(sorted(missing)):
                index = index_of.get(frame.pts)
                if index in missing:
                    missing.remove(index)
                    yield index, frame
            if self._keys == [0]:
                break
            if missing:
                self._keys = [0]
        if not missing:
            return
        # Not seen but in damaged clips and in those whose frames have no times: decode all, and count.
        times = None
        if self._is_ordered:
            times = {self._times[position]: index for index, position in enumerate(self._positions)}
        for count, frame in enumerate(self._all_decoded()):
            index = count if times is None else times.get(frame.pts)
            if index in missing:
                missing.remove(index)
                yield index, frame
                if not missing:
                    return
        raise ClipError(f"{self.name}: frame {min(missing)} does not decode; drop the clip or fetch it again")

    def _decoded(self, wanted: Sequence[int]) -> Iterator[av.VideoFrame]:
        """Frames, the wanted ones among them; stops early where a run does not begin with a picture of its own."""
        context, packets, times = self._video.decoder, self._packets, cast("list[int]", self._times)
        positions = {self._positions[index] for index in wanted}
        is_skipping = None
        for start, stop in self._runs(wanted):
            context.flush_buffers()  # not afterwards, which never comes where the caller meets an error
            is_entered = start == 0
            for position in range(start, stop + 1):
                if position == stop:
                    frames = context.decode(None)
                else:
                    skip = position not in positions
                    if skip is not is_skipping:
                        context.skip_frame = "NONREF" if skip else "DEFAULT"
                        is_skipping = skip
                    frames = context.decode(packets[position])
                for frame in frames:
                    if not is_entered and frame.pts is not None and frame.pts >= times[start]:
                        # What some files call a key frame refers to others, as where pictures are refreshed in parts.
                        if frame.pict_type not in (_UNTYPED, _INTRA):
                            return
                        is_entered = True
                    yield frame

    def _runs(self, wanted: Sequence[int]) -> list[tuple[int, int]]:
        """The packets to decode: ranges [start, stop) of positions, each from a key frame on."""
        times = cast("list[int]", self._times)
        runs: list[tuple[int, int]] = []
        for position in sorted(self._positions[index] for index in wanted):
            key = bisect_right(self._keys, position) - 1
            # What is stored after a key frame but shown before it may refer to what precedes both.
            while key > 0 and times[self._keys[key]] > times[position]:
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
        for packet in self._packets:
            yield from context.decode(packet)
        yield from context.decode(None)


def encoded_video(video: Any) -> VideoSource:
    """What `decode` takes, as what the rest of this package reads; what lies behind a URL is fetched."""
    encoded = getattr(video, "_hf_encoded", None)  # what a decoder of `datasets` was made of
    if encoded is not None:
        video = encoded
    elif type(video).__name__ == "VideoDecoder":
        raise TypeError("a VideoDecoder that `datasets` did not make keeps no bytes; give the file's bytes or path")
    path = video
    if isinstance(video, Mapping):
        path = video.get("path")
        if video.get("bytes") is not None or path is None:
            return {"bytes": video.get("bytes"), "path": path}
    if isinstance(path, str) and "://" in path:
        import fsspec

        with fsspec.open(path, "rb") as file:
            return {"bytes": file.read(), "path": path}
    return cast(VideoSource, path)


def _in_memory(source: VideoSource) -> VideoSource:
    """A clip's bytes, which one read brings in; a large file stays where it is."""
    if isinstance(source, bytes):
        return {"bytes": source, "path": None}
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            if os.fstat(file.fileno()).st_size <= _CLIP_BYTES:
                return {"bytes": file.read(), "path": os.fspath(source)}
    return source


def _view_of(view: View | Callable[[int, int], View], height: int, width: int) -> View:
    return view if isinstance(view, View) else view(height, width)
