"""Views of decoded frames: rotated upright, cropped, scaled, mirrored and written into one array."""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Literal, NamedTuple

import av
import av.sidedata.sidedata
import numpy as np
import numpy.typing as npt
from av.video.reformatter import Interpolation, VideoReformatter

from kinetics_tools.media.pictures import Pixels

Layout = Literal["THWC", "TCHW", "CTHW"]
"""Order of the axes of decoded frames."""
Box = tuple[int, int, int, int]
"""(top, left, height, width) in pixels of the upright picture."""
Size = tuple[int, int]
"""(height, width) in pixels."""

# Matrices of ISO/IEC 23091-2 that swscale knows by the same number; all others are read as BT.601.
_MATRICES = (1, 4, 7, 9)
_BT601 = 5
_LIMITED, _FULL = 1, 2
# Pixel formats that are cropped plane by plane: log2 of how much smaller their chroma is, (down, right).
_SUBSAMPLING = {
    **dict.fromkeys(("yuv420p", "yuvj420p"), (1, 1)),
    **dict.fromkeys(("yuv422p", "yuvj422p"), (0, 1)),
    **dict.fromkeys(("yuv444p", "yuvj444p", "gbrp"), (0, 0)),
}
_RGB_OF_GBR = (1, 2, 0)  # the channels that planes of "gbrp" hold


class Rotation(NamedTuple):
    """Rotation or reflection that shows a stored picture upright."""

    filters: tuple[str, ...]  # of FFmpeg
    apply: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]  # to a plane (H, W): a view into it

    @property
    def swaps_sides(self) -> bool:
        """True if height and width change places."""
        return any("transpose" in name for name in self.filters)


_UPRIGHT = Rotation((), lambda plane: plane)
# By the signs of the display matrix (a, b, c, d), which shows the pixel (x, y) at (ax + cy, bx + dy).
_ROTATIONS = {
    (1, 0, 0, 1): _UPRIGHT,
    (0, 1, -1, 0): Rotation(("transpose=clock",), lambda plane: plane[::-1].T),
    (-1, 0, 0, -1): Rotation(("hflip", "vflip"), lambda plane: plane[::-1, ::-1]),
    (0, -1, 1, 0): Rotation(("transpose=cclock",), lambda plane: plane[:, ::-1].T),
    (-1, 0, 0, 1): Rotation(("hflip",), lambda plane: plane[:, ::-1]),
    (1, 0, 0, -1): Rotation(("vflip",), lambda plane: plane[::-1]),
    (0, 1, 1, 0): Rotation(("transpose=cclock_flip",), lambda plane: plane.T),
    (0, -1, -1, 0): Rotation(("transpose=clock_flip",), lambda plane: plane[::-1, ::-1].T),
}


def rotation_of(frame: av.VideoFrame) -> Rotation:
    """Return the rotation of a frame's display matrix; none for angles other than multiples of 90."""
    matrix: Any = frame.side_data.get(av.sidedata.sidedata.Type.DISPLAYMATRIX)  # type: ignore[call-overload]
    if matrix is None:
        return _UPRIGHT
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    return _ROTATIONS.get(tuple((value > 0) - (value < 0) for value in (a, b, c, d)), _UPRIGHT)


@dataclass(frozen=True)
class View:
    """Crop, scale and mirror image of a picture, applied in this order.

    Attributes:
        crop: box to keep, (top, left, height, width) in pixels of the upright picture; None keeps all of it.
        size: (height, width) in pixels to scale to; None does not scale.
        flip: mirror horizontally.
    """

    crop: Box | None = None
    size: Size | None = None
    flip: bool = False

    def __post_init__(self) -> None:
        _check_pixels("crop", self.crop, "top, left, height, width")
        _check_pixels("size", self.size, "height, width")


def _check_pixels(name: str, value: Any, form: str) -> None:
    is_given = isinstance(value, tuple | list) and len(value) == len(form.split(", "))
    if value is not None and not (is_given and all(isinstance(one, Integral) for one in value)):
        raise ValueError(f"{name}={value!r}: must be ({form}), whole numbers of pixels")


class FrameWriter:
    """Writes frames as a view shows them into `frames`: (T, ...) or (N, T, ...) uint8 with the axes of the layout."""

    def __init__(self, view: View, whole: Size, rotation: Rotation, shape: tuple[int, ...], layout: Layout) -> None:
        top, left, height, width = view.crop or (0, 0, *whole)
        if min(top, left) < 0 or min(height, width) < 1 or top + height > whole[0] or left + width > whole[1]:
            raise ValueError(f"crop={view.crop}: must lie in the picture of {whole[0]}x{whole[1]} pixels")
        size = view.size or (height, width)
        if min(size) < 1:
            raise ValueError(f"size={size}: must be at least 1 pixel in each direction")
        self._rotation, self._flip = rotation, view.flip
        # Everything is done to the stored picture, and what comes out of it is rotated.
        self._whole = whole[::-1] if rotation.swaps_sides else whole
        self._size = size[::-1] if rotation.swaps_sides else size
        self._box = _stored_box((top, left, height, width), self._whole, rotation)
        self._is_cropped = (height, width) != whole
        self._is_scaled = size != (height, width)
        self._is_planar = layout != "THWC" or view.flip or rotation is not _UPRIGHT
        self._cropping, self._scaling, self._packing = (VideoReformatter() for _ in range(3))

        *clips, self._times = shape
        lengths = {"T": self._times, "H": size[0], "W": size[1], "C": 3}
        self.frames: Pixels = np.empty((*clips, *(lengths[axis] for axis in layout)), np.uint8)
        # (N, T, C, H, W), a view into `frames`
        order = (0, *(1 + layout.index(axis) for axis in "TCHW"))
        self._clips = self.frames.reshape(-1, *self.frames.shape[-4:]).transpose(order)

    def write(self, frame: av.VideoFrame, rows: Sequence[int]) -> None:
        """Write a decoded frame into these rows, counted over all clips."""
        planes = self._planes(frame)
        for row in rows:
            target = self._clips[divmod(row, self._times)]
            if isinstance(planes, np.ndarray):
                target.transpose(1, 2, 0)[...] = planes
            else:
                for channel, plane in zip(_RGB_OF_GBR, planes, strict=True):
                    target[channel] = plane

    def _planes(self, frame: av.VideoFrame) -> Pixels | list[Pixels]:
        """Return the upright picture: (H, W, 3), or planes (H, W) of green, blue and red."""
        if (frame.height, frame.width) != self._whole:  # a stream that changes its size
            frame = _converted(self._cropping, frame, frame, self._whole, frame.format.name)
        colours = frame
        top, left, height, width = self._box
        if self._is_scaled:
            if self._is_cropped:
                frame = self._cut(frame)
            frame = _converted(self._scaling, frame, colours, self._size, "gbrp")
            top, left, height, width = 0, 0, *self._size
        else:
            frame = _converted(self._scaling, frame, colours, self._whole, "rgb24")
        if not self._is_planar:
            if self._is_scaled:
                frame = self._packing.reformat(frame, format="rgb24", threads=1)
            pixels = _plane(frame.planes[0], 3 * frame.width).reshape(frame.height, frame.width, 3)
            return pixels[top : top + height, left : left + width]
        if not self._is_scaled:
            frame = self._packing.reformat(frame, format="gbrp", threads=1)
        planes = []
        for stored in frame.planes:
            plane = self._rotation.apply(_plane(stored, frame.width)[top : top + height, left : left + width])
            planes.append(plane[:, ::-1] if self._flip else plane)
        return planes

    def _cut(self, frame: av.VideoFrame) -> av.VideoFrame:
        """Return the box of a frame, without scaling and without a shift of the chroma."""
        top, left, height, width = self._box
        down, right = _SUBSAMPLING.get(frame.format.name, (1, 1))
        is_aligned = not top % (1 << down) and not left % (1 << right)
        if frame.format.name not in _SUBSAMPLING or not is_aligned:
            # Not to "gbrp" at once: libswscale 9.5 then skips up to 8 columns at the right edge.
            frame = _converted(self._cropping, frame, frame, (frame.height, frame.width), "rgb24")
            part = av.VideoFrame(width, height, "rgb24")
            cut = _lines(frame.planes[0])[top : top + height, 3 * left : 3 * (left + width)]
            _lines(part.planes[0])[:, : 3 * width] = cut
            return part
        part = av.VideoFrame(width, height, frame.format.name)
        for number, (source, target) in enumerate(zip(frame.planes, part.planes, strict=True)):
            y, x, rows, columns = top, left, height, width
            if number:
                y, x, rows, columns = top >> down, left >> right, -(-height >> down), -(-width >> right)
            _lines(target)[:rows, :columns] = _lines(source)[y : y + rows, x : x + columns]
        return part


def _converted(
    reformatter: VideoReformatter, frame: av.VideoFrame, colours: av.VideoFrame, size: Size, pixel_format: str
) -> av.VideoFrame:
    """`frame` in another size and format; `colours` is the frame that states its matrix and range."""
    meaning: dict[str, Any] = {}
    if not frame.format.is_rgb:
        is_full = colours.color_range == _FULL or frame.format.name.startswith("yuvj")
        matrix = int(colours.colorspace) if colours.colorspace in _MATRICES else _BT601
        meaning = {
            "src_colorspace": matrix,
            "dst_colorspace": matrix,
            "src_color_range": _FULL if is_full else _LIMITED,
            "dst_color_range": _FULL,
        }
    return reformatter.reformat(
        frame, size[1], size[0], pixel_format, interpolation=Interpolation.BILINEAR, threads=1, **meaning
    )


def _stored_box(box: Box, stored: Size, rotation: Rotation) -> Box:
    """Return a box of the upright picture in coordinates of the stored one, which has the size `stored`."""
    if rotation is _UPRIGHT:
        return box
    top, left, height, width = box
    ys, xs = (rotation.apply(numbers)[top : top + height, left : left + width] for numbers in np.indices(stored))
    return int(ys.min()), int(xs.min()), int(np.ptp(ys)) + 1, int(np.ptp(xs)) + 1


def _plane(plane: Any, width: int) -> Pixels:
    """(H, width) of a plane whose lines may be longer."""
    return _lines(plane)[: plane.height, :width]


def _lines(plane: Any) -> Pixels:
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
