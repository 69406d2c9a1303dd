"""Framings: callables that crop and scale the pictures of a clip.

A framing is called with the height and the width of the pictures in pixels, and a NumPy generator if it is random. It
returns views for all frames of the clip.

Boxes are cut from the stored picture and then scaled. Edges of scaled boxes are at even pixels, like those of 4:2:0
chroma, so they are off by at most a pixel.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from kinetics_tools.media import View
from kinetics_tools.text import check_count, is_count

Framing = Callable[[int, int, np.random.Generator], Sequence[View]]
"""Function of (height, width, generator) that returns the views to crop from a clip."""


@dataclass(frozen=True)
class Scale:
    """Whole picture, scaled to `size` x `size` or (height, width) pixels without keeping its aspect ratio."""

    size: int | tuple[int, int]

    def __post_init__(self) -> None:
        if not (is_count(self.size) or _is_pair(self.size)):
            raise ValueError(f"size must be an integer of at least 1, or (height, width) of such, got {self.size!r}")

    def __call__(self, height: int, width: int, rng: np.random.Generator | None = None) -> list[View]:
        return [View(size=self.size if isinstance(self.size, tuple | list) else (self.size, self.size))]


@dataclass(frozen=True)
class ShortSide:
    """Whole picture, its short side scaled to `size`, the long one to floor(size long / short), as in torchvision."""

    size: int

    def __post_init__(self) -> None:
        check_count(size=self.size)

    def __call__(self, height: int, width: int, rng: np.random.Generator | None = None) -> list[View]:
        short = min(height, width)
        return [View(size=(self.size * height // short, self.size * width // short))]


@dataclass(frozen=True)
class _FixedCrops:
    size: int
    short_side: int | None = None
    _along: ClassVar[Sequence[float]]  # positions of the boxes along the long side, from 0 to 1

    def __post_init__(self) -> None:
        check_count(size=self.size)
        if self.short_side is not None:
            check_count(short_side=self.short_side)
            if self.size > self.short_side:
                raise ValueError(f"size must be at most short_side={self.short_side}, got {self.size}")

    def __call__(self, height: int, width: int, rng: np.random.Generator | None = None) -> list[View]:
        positions = [(0.5, right) if width >= height else (right, 0.5) for right in self._along]
        return [_cropped(height, width, self.size, self.short_side or self.size, *position) for position in positions]


@dataclass(frozen=True)
class CenterCrop(_FixedCrops):
    """Central `size` x `size` after scaling the short side to `short_side`, by default `size`."""

    _along = (0.5,)


@dataclass(frozen=True)
class ThreeCrops(_FixedCrops):
    """Left, middle and right `size` x `size`, or top, middle and bottom, as in PySlowFast's tests.

    First the short side is scaled to `short_side`, by default `size`.
    """

    _along = (0.0, 0.5, 1.0)


@dataclass(frozen=True)
class RandomCrop:
    """Random `size` x `size` after scaling to a random short side, as in PySlowFast's training.

    Args:
        size: in pixels.
        short_side: (low, high) in pixels; uniform in [low, high].
        flip: probability of mirroring.
        inverse: True makes 1 / short side uniform (INV_UNIFORM_SAMPLE there).
    """

    size: int
    short_side: tuple[int, int] = (256, 320)
    flip: float = 0.0
    inverse: bool = False

    def __post_init__(self) -> None:
        check_count(size=self.size)
        if not _is_pair(self.short_side) or not self.size <= self.short_side[0] <= self.short_side[1]:
            raise ValueError(
                f"short_side must be (low, high), with low at least size={self.size}, got {self.short_side}"
            )
        _check_flip(self.flip)

    def __call__(self, height: int, width: int, rng: np.random.Generator) -> list[View]:
        low, high = self.short_side
        length = 1 / rng.uniform(1 / high, 1 / low) if self.inverse else rng.uniform(low, high)
        view = _cropped(height, width, self.size, round(length), rng.random(), rng.random())
        return [_flipped(view, self.flip, rng)]


@dataclass(frozen=True)
class RandomResizedCrop:
    """Box of random area and aspect ratio, scaled to `size` x `size`, as torchvision's RandomResizedCrop.

    After ten boxes that do not fit, it is the largest central one with an allowed aspect ratio.

    Args:
        size: in pixels.
        scale: (low, high) of the share of the area; uniform.
        ratio: (low, high) of width / height; its logarithm is uniform.
        flip: probability of mirroring.
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
    """Return the box of a picture scaled to `short_side` that lies `down` and `right`, from 0 to 1, of the way."""
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


def _is_pair(size: Any) -> bool:
    return isinstance(size, tuple | list) and len(size) == 2 and all(map(is_count, size))


def _check_range(name: str, bounds: tuple[float, float], most: float) -> None:
    is_pair = isinstance(bounds, tuple | list) and len(bounds) == 2
    if not is_pair or not 0 < bounds[0] <= bounds[1] <= most:
        raise ValueError(f"{name} must be (low, high), with 0 < low <= high{' <= 1' * (most == 1)}, got {bounds}")


def _check_flip(probability: float) -> None:
    if not isinstance(probability, Real) or not 0 <= probability <= 1:
        raise ValueError(f"flip must be a probability, from 0 to 1, got {probability!r}")
