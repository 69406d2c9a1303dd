"""How pictures of a clip are shown: cropped, scaled, turned upright and mirrored, written into one array."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, cast

import av
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter

from kinetics_tools.media.cut import turn
from kinetics_tools.media.pictures import Pixels

Layout = Literal["THWC", "TCHW", "CTHW"]
Box = tuple[int, int, int, int]
"""(top, left, height, width) in pixels of the upright picture."""
Size = tuple[int, int]
"""(height, width) in pixels."""

# By name, since the first releases of PyAV 14 take nothing else.
_BILINEAR = "BILINEAR"
# What swscale calls the matrices that it knows; where a clip does not say, it and others take that of BT.601.
_MATRICES = {1: "ITU709", 4: "FCC", 7: "SMPTE240M"}
if hasattr(Colorspace, "BT2020"):
    _MATRICES[9] = "BT2020"
_FULL = 2
_BT601 = "ITU601"
# Of these, a plane is cropped by taking its rows and columns: log2 of how much smaller its chroma is, (down, right).
_SUBSAMPLING = {
    "yuv420p": (1, 1),
    "yuvj420p": (1, 1),
    "yuv422p": (0, 1),
    "yuvj422p": (0, 1),
    "yuv444p": (0, 0),
    "yuvj444p": (0, 0),
    "gbrp": (0, 0),
}
_RGB_OF_GBR = (1, 2, 0)  # the channels that planes of "gbrp" hold
# What turns a stored picture upright, by what `turn` calls it.
_TURNS: dict[str, Callable[[Pixels], Pixels]] = {
    "": lambda plane: plane,
    "hflip": lambda plane: plane[:, ::-1],
    "vflip": lambda plane: plane[::-1],
    "hflip,vflip": lambda plane: plane[::-1, ::-1],
    "transpose=cclock_flip": lambda plane: plane.T,
    "transpose=clock": lambda plane: plane[::-1].T,
    "transpose=cclock": lambda plane: plane[:, ::-1].T,
    "transpose=clock_flip": lambda plane: plane[::-1, ::-1].T,
}


@dataclass(frozen=True)
class View:
    """What becomes of every picture, in this order.

    Attributes:
        crop: the box to keep, in pixels of the upright picture; None keeps all of it.
        size: to scale to, (height, width); None does not scale.
        flip: left becomes right.
    """

    crop: Box | None = None
    size: Size | None = None
    flip: bool = False

    def __post_init__(self) -> None:
        for name, value, form in (
            ("crop", self.crop, "top, left, height, width"),
            ("size", self.size, "height, width"),
        ):
            parts = form.split(", ")
            is_given = isinstance(value, tuple | list) and len(value) == len(parts)
            if value is not None and not (is_given and all(isinstance(one, Integral) for one in value)):
                raise ValueError(f"{name}={value!r}: must be ({form}), whole numbers of pixels")


class Writer:
    """Writes frames into an array as a view shows them: (T, ...) or (N, T, ...) with the axes of the layout."""

    def __init__(
        self, view: View, whole: Size, upright: Callable[[Pixels], Pixels], shape: tuple[int, ...], layout: Layout
    ) -> None:
        top, left, height, width = view.crop or (0, 0, *whole)
        if min(top, left) < 0 or min(height, width) < 1 or top + height > whole[0] or left + width > whole[1]:
            raise ValueError(f"crop={view.crop}: must lie in the picture of {whole[0]}x{whole[1]} pixels")
        size = view.size or (height, width)
        if min(size) < 1:
            raise ValueError(f"size={size}: must be at least 1 pixel in each direction")
        self._upright, self._flip = upright, view.flip
        # Of an upright picture whose pixels hold where they are stored: the box and the size of the stored picture.
        is_turned = upright(np.empty((1, 2), np.uint8)).shape != (1, 2)
        self._whole = whole[::-1] if is_turned else whole
        self._size = size[::-1] if is_turned else size
        self._box = _stored_box((top, left, height, width), whole, upright)
        self._is_cropped = (height, width) != whole
        self._is_scaled = size != (height, width)
        self._is_plain = not view.flip and upright is _TURNS[""]
        self._is_planar = layout != "THWC" or not self._is_plain
        self._cropping, self._scaling, self._packing = (VideoReformatter() for _ in range(3))

        clips, times = shape[:-1], shape[-1]
        if layout == "THWC":
            self.frames = np.empty((*shape, *size, 3), np.uint8)
            channels_last: Pixels = self.frames.reshape(-1, *size, 3)
            self._rows = channels_last.transpose(0, 3, 1, 2)
        elif layout == "TCHW":
            self.frames = np.empty((*shape, 3, *size), np.uint8)
            self._rows = self.frames.reshape(-1, 3, *size)
        else:
            self.frames = np.empty((*clips, 3, times, *size), np.uint8)
            self._by_clip = self.frames.reshape(-1, 3, times, *size)
            self._rows = None
        self._times = times

    def write(self, frame: av.VideoFrame, rows: Sequence[int]) -> None:
        planes = self._planes(frame)
        for row in rows:
            target = self._row(row)
            if isinstance(planes, np.ndarray):
                target.transpose(1, 2, 0)[...] = planes
            else:
                for channel, plane in zip(_RGB_OF_GBR, planes, strict=True):
                    target[channel] = plane

    def _row(self, row: int) -> Pixels:
        """(C, H, W), a view into `frames`."""
        if self._rows is None:
            clip, time = divmod(row, self._times)
            return self._by_clip[clip, :, time]
        return self._rows[row]

    def _planes(self, frame: av.VideoFrame) -> Pixels | list[Pixels]:
        """The upright picture: (H, W, 3), or planes (H, W) of green, blue and red."""
        if (frame.height, frame.width) != self._whole:  # a stream that changes its size
            frame = self._converted(self._cropping, frame, frame, self._whole, frame.format.name)
        colours = frame
        top, left, height, width = self._box
        if self._is_scaled:
            if self._is_cropped:
                frame = self._cut(frame)
            frame = self._converted(self._scaling, frame, colours, self._size, "gbrp")
            top, left, height, width = 0, 0, *self._size
        else:
            frame = self._converted(self._scaling, frame, colours, self._whole, "rgb24")
        if not self._is_planar:
            if self._is_scaled:
                frame = self._packing.reformat(frame, format="rgb24", **_ONE_THREAD)
            pixels = _plane(frame.planes[0], 3 * frame.width).reshape(frame.height, frame.width, 3)
            return pixels[top : top + height, left : left + width]
        if not self._is_scaled:
            frame = self._packing.reformat(frame, format="gbrp", **_ONE_THREAD)
        planes = []
        for stored in frame.planes:
            plane = self._upright(_plane(stored, frame.width)[top : top + height, left : left + width])
            planes.append(plane[:, ::-1] if self._flip else plane)
        return planes

    def _cut(self, frame: av.VideoFrame) -> av.VideoFrame:
        """The box of a frame, without scaling: its chroma too lies where it did."""
        top, left, height, width = self._box
        down, right = _SUBSAMPLING.get(frame.format.name, (1, 1))
        is_aligned = not top % (1 << down) and not left % (1 << right)
        if frame.format.name not in _SUBSAMPLING or not is_aligned:
            frame = self._converted(self._cropping, frame, frame, (frame.height, frame.width), "gbrp")
            down = right = 0
        part = av.VideoFrame(width, height, frame.format.name)
        for number, (source, target) in enumerate(zip(frame.planes, part.planes, strict=True)):
            y, x, rows, columns = top, left, height, width
            if number:
                y, x, rows, columns = top >> down, left >> right, -(-height >> down), -(-width >> right)
            pixels = _lines(source)
            into = _lines(target)
            into[:rows, :columns] = pixels[y : y + rows, x : x + columns]
        return part

    def _converted(
        self,
        reformatter: VideoReformatter,
        frame: av.VideoFrame,
        colours: av.VideoFrame,
        size: Size,
        pixel_format: str,
    ) -> av.VideoFrame:
        """`frame` in another size and format; what its numbers mean stands in `colours`."""
        if frame.format.is_rgb:
            return reformatter.reformat(frame, size[1], size[0], pixel_format, interpolation=_BILINEAR, **_ONE_THREAD)
        is_full = colours.color_range == _FULL or frame.format.name.startswith("yuvj")
        matrix: Any = _MATRICES.get(int(colours.colorspace), _BT601)
        return reformatter.reformat(
            frame,
            size[1],
            size[0],
            pixel_format,
            interpolation=_BILINEAR,
            src_colorspace=matrix,
            src_color_range="JPEG" if is_full else "MPEG",
            dst_colorspace=matrix,
            dst_color_range="MPEG" if is_full and not _ONE_THREAD else "JPEG",
            **_ONE_THREAD,
        )


def upright_of(frame: av.VideoFrame) -> Callable[[Pixels], Pixels]:
    """What turns the planes of a frame upright."""
    return _TURNS[turn(frame)]


def _stored_box(box: Box, whole: Size, upright: Callable[[Pixels], Pixels]) -> Box:
    """Where a box of the upright picture, which has size `whole`, lies in the stored one."""
    top, left, height, width = box
    if upright is _TURNS[""]:
        return box
    is_turned = upright(np.empty((1, 2), np.uint8)).shape != (1, 2)
    stored = whole[::-1] if is_turned else whole
    rows = np.broadcast_to(np.arange(stored[0])[:, None], stored)
    columns = np.broadcast_to(np.arange(stored[1])[None], stored)
    ys = upright(cast(Pixels, rows))[top : top + height, left : left + width]
    xs = upright(cast(Pixels, columns))[top : top + height, left : left + width]
    return int(ys.min()), int(xs.min()), int(np.ptp(ys)) + 1, int(np.ptp(xs)) + 1


def _plane(plane: Any, width: int) -> Pixels:
    """(H, width) of a plane whose lines may be longer."""
    return _lines(plane)[: plane.height, :width]


def _lines(plane: Any) -> Pixels:
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)


def _one_thread() -> dict[str, Any]:
    """Newer swscale takes as many threads as there are cores, older has no such choice."""
    try:
        reformatter = VideoReformatter()
        reformatter.reformat(av.VideoFrame(16, 16, "rgb24"), format="gbrp", threads=1)
    except TypeError:
        return {}
    return {"threads": 1}


_ONE_THREAD = _one_thread()
