"""Which part of a clip's pictures: pure functions of their size and a random generator.

A framing is called with the height and the width of the pictures and a generator, and gives the views to take, each
one and the same for all frames of the clip. Those that draw nothing need no generator.

Boxes are taken out of the stored picture and scaled, never the other way round. Where they are scaled, their edges
lie at even pixels, as those of 4:2:0 chroma do, so at most a pixel beside where they would lie after scaling.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from kinetics_tools.media import View
from kinetics_tools.text import check_count, is_count

Framing = Callable[[int, int, np.random.Generator], Sequence[View]]


@dataclass(frozen=True)
class Scale:
    """The whole picture, scaled to `size` x `size` or (height, width), whatever its shape."""

    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        if not (is_count(self.size) or _is_pair(self.size)):
            raise ValueError(f"size={self.size!r}: must be a whole number of at least 1, or (height, width) of such")

    def __call__(self, height: int, width: int, rng: np.random.Generator | None = None) -> list[View]:
        return [View(size=_pair(self.size))]


@dataclass(frozen=True)
class ShortSide:
    """The whole picture, its short side scaled to `size`; the long one to floor(size long / short), as torchvision."""

    size: int

    def __post_init__(self) -> None:
        check_count(size=self.size)

    def __call__(self, height: int, width: int, rng: np.random.Generator | None = None) -> list[View]:
        short = min(height, width)
        return [View(size=(self.size * height // short, self.size * width // short))]


@dataclass(frozen=True)
class CenterCrop:
    """The middle `size` x `size`, after the short side was scaled to `short_side`, by default to `size`."""

    size: int
    short_side: int | None = None

    def __post_init__(self) -> None:
        _check_sides(self.size, self.short_side)

    def __call__(self, height: int, width: int, rng: np.random.Generator | None = None) -> list[View]:
        return [_cropped(height, width, self.size, self.short_side or self.size, 0.5, 0.5)]


@dataclass(frozen=True)
class ThreeCrops:
    """Left, middle and right `size` x `size`, or top, middle and bottom, after the short side was scaled to
    `short_side`, by default to `size`: PySlowFast's views."""

    size: int
    short_side: int | None = None

    def __post_init__(self) -> None:
        _check_sides(self.size, self.short_side)

    def __call__(self, height: int, width: int, rng: np.random.Generator | None = None) -> list[View]:
        along, across = (0.0, 0.5, 1.0), 0.5
        places = [(across, place) if width >= height else (place, across) for place in along]
        return [_cropped(height, width, self.size, self.short_side or self.size, *place) for place in places]


@dataclass(frozen=True)
class RandomCrop:
    """A random `size` x `size` after the short side was scaled to a random length in [low, high]: PySlowFast's
    training, where 1 / length is uniform (INV_UNIFORM_SAMPLE) only with `inverse`. `flip` is a probability."""

    size: int
    short_side: tuple[int, int] = (256, 320)
    flip: float = 0.0
    inverse: bool = False

    def __post_init__(self) -> None:
        check_count(size=self.size)
        if not _is_pair(self.short_side) or not self.size <= self.short_side[0] <= self.short_side[1]:
            raise ValueError(f"short_side={self.short_side}: must be (low, high), with low at least size={self.size}")
        _check_flip(self.flip)

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> list[View]:
        low, high = self.short_side
        length = 1 / rng.uniform(1 / high, 1 / low) if self.inverse else rng.uniform(low, high)
        view = _cropped(height, width, self.size, round(length), rng.random(), rng.random())
        return [_flipped(view, self.flip, rng)]


@dataclass(frozen=True)
class RandomResizedCrop:
    """A box with a random share of the area and a random shape, scaled to `size` x `size`: torchvision's.

    The share is uniform in `scale`, the logarithm of width / height is in that of `ratio`; after ten boxes that do not
    fit, it is the largest one in the middle whose shape is allowed. `flip` is a probability.
    """

    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.0

    def __post_init__(self) -> None:
        check_count(size=self.size)
        _check_range("scale", self.scale, 1)
        _check_range("ratio", self.ratio, math.inf)
        _check_flip(self.flip)

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> list[View]:
        view = View(self._box(height, width, rng), (self.size, self.size))
        return [_flipped(view, self.flip, rng)]

    def _box(self, height: int, width: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
        for _ in range(10):
            area = height * width * rng.uniform(*self.scale)
            ratio = math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            tall, wide = math.sqrt(area / ratio), math.sqrt(area * ratio)
            if round(tall) <= height and round(wide) <= width:
                top, left = rng.random() * (height - tall), rng.random() * (width - wide)
                return _even_box(top, left, tall, wide, height, width)
        wide = min(width, height * self.ratio[1])
        tall = min(height, width / self.ratio[0])
        return _even_box((height - tall) / 2, (width - wide) / 2, tall, wide, height, width)


def _cropped(height: int, width: int, size: int, short_side: int, down: float, right: float) -> View:
    """The view of `size` x `size` in the picture whose short side is scaled to `short_side`; `down` and `right` say
    how far the box lies from the top and the left, from 0 to 1."""
    short = min(height, width)
    side = size * short / short_side
    if short == short_side:
        return View((round((height - size) * down), round((width - size) * right), size, size), (size, size))
    box = _even_box((height - side) * down, (width - side) * right, side, side, height, width)
    return View(box, (size, size))


def _even_box(top: float, left: float, tall: float, wide: float, height: int, width: int) -> tuple[int, int, int, int]:
    top_pixel, rows = _even_span(top, tall, height)
    left_pixel, columns = _even_span(left, wide, width)
    return top_pixel, left_pixel, rows, columns


def _even_span(start: float, length: float, whole: int) -> tuple[int, int]:
    if length >= whole - 0.5:
        return 0, whole
    pixels = min(max(2 * round(length / 2), 2), whole)
    first = 2 * round(max(start, 0.0) / 2)
    return max(min(first, (whole - pixels) // 2 * 2), 0), pixels


def _flipped(view: View, probability: float, rng: np.random.Generator) -> View:
    return View(view.crop, view.size, flip=bool(rng.random() < probability))


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return size if isinstance(size, tuple | list) else (size, size)


def _is_pair(size: Any) -> bool:
    return isinstance(size, tuple | list) and len(size) == 2 and all(map(is_count, size))


def _check_sides(size: int, short_side: int | None) -> None:
    check_count(size=size)
    if short_side is not None:
        check_count(short_side=short_side)
        if size > short_side:
            raise ValueError(f"size={size}: must be at most short_side={short_side}")


def _check_range(name: str, bounds: tuple[float, float], most: float) -> None:
    is_pair = isinstance(bounds, tuple | list) and len(bounds) == 2
    if not is_pair or not 0 < bounds[0] <= bounds[1] <= most:
        raise ValueError(f"{name}={bounds}: must be (low, high), with 0 < low <= high{' <= 1' * (most == 1)}")


def _check_flip(probability: float) -> None:
    if not isinstance(probability, Real) or not 0 <= probability <= 1:
        raise ValueError(f"flip={probability}: must be a probability, from 0 to 1")
