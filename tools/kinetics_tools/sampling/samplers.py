"""Samplers: callables that choose frames of a clip.

A sampler is called with a clip's number of frames, its frames per second and a NumPy generator. It returns int64
indices of shape (T,), or (N, T) for N clips, in [0, number of frames). A random sampler raises ValueError without a
generator.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from kinetics_tools.text import check_choice, check_count, check_positive

FrameIndices = npt.NDArray[np.int64]
Generator = np.random.Generator
Sampler = Callable[[int, float, Generator], FrameIndices]
"""Function of (num_frames, fps, generator) that returns the indices of the frames to decode."""
Short = Literal["repeat_last", "loop"]
Align = Literal["grid"]

GRID = 4
"""Distance between reference frames in clips that `kinetics prepare --profile train` wrote."""


@dataclass(frozen=True)
class RandomClip:
    """Random clip of T = `num_frames` frames, `stride` apart: (T,).

    A clip spans s = stride (T - 1) + 1 of N frames. Its start is uniform in 0, 1, ..., max(N - s, 0), as in
    TorchCodec's clips_at_random_indices. MMAction2's SampleFrames uses s = stride T in training, so it never draws the
    last stride - 1 starts; it loops shorter clips.

    With `target_fps`, as in PySlowFast's training, a clip spans L = max(1, T stride fps / target_fps) frames. Its start
    is a real number, uniform in [0, max(N - L, 0)]. The frames are trunc(linspace(start, start + L - 1, T)).

    Args:
        num_frames: number of frames T.
        stride: distance between frames.
        align: "grid" draws only starts that are multiples of 4, so that prepared clips decode the fewest frames. The
            stride must then be a multiple of 4.
        target_fps: frame rate that `stride` refers to; None for the clip's own.
        short: padding of a shorter clip: "repeat_last" repeats its last frame, "loop" continues with its first.
    """

    num_frames: int
    stride: int = 1
    align: Align | None = None
    target_fps: float | None = None
    short: Short = "repeat_last"

    def __post_init__(self) -> None:
        check_count(num_frames=self.num_frames, stride=self.stride)
        _check(self.target_fps, self.short)
        if self.align is not None:
            check_choice(self.align, get_args(Align), "align")
        if self.align and self.target_fps:
            raise ValueError(f"align={self.align!r} with target_fps={self.target_fps}: pass only one of them")
        if self.align and self.stride % GRID:
            raise ValueError(f"align={self.align!r} with stride={self.stride}: must be a multiple of {GRID}")

    def __call__(self, num_frames: int, fps: float, rng: Generator | None = None) -> FrameIndices:
        if self.target_fps is not None:
            span = _slowfast_span(self.num_frames, self.stride, fps, self.target_fps)
            start = _required(rng).uniform(0, max(num_frames - span, 0))
            return _fit(_spread(start, span, self.num_frames), num_frames, self.short)
        last_start = max(num_frames - (self.stride * (self.num_frames - 1) + 1), 0)
        unit = GRID if self.align else 1
        first = unit * int(_required(rng).integers(last_start // unit + 1))
        return _fit(first + self.stride * np.arange(self.num_frames), num_frames, self.short)


@dataclass(frozen=True)
class UniformClips:
    """Evenly spread clips of T = `num_frames` frames: (N, T), as in PySlowFast's tests.

    A clip spans L = max(1, T stride fps / target_fps) of N frames. With d = max(N - L, 0), clip k of n starts at
    d k / n, so the last one ends before the video does. The frames are trunc(linspace(start, start + L - 1, T)) in
    float64. PySlowFast's float32 may give the next frame for a position that is almost whole.

    Args:
        num_clips: number of clips n.
        num_frames: number of frames T per clip.
        stride: distance between frames at `target_fps`.
        target_fps: frame rate that `stride` refers to, 30 in PySlowFast; None for the clip's own.
        offset: start clip k at k floor(d / (n - 1)), a single one at floor(d / 2) (USE_OFFSET_SAMPLING there).
        short: as for `RandomClip`; PySlowFast repeats the last frame.
    """

    num_clips: int
    num_frames: int
    stride: int = 1
    target_fps: float | None = 30.0
    offset: bool = False
    short: Short = "repeat_last"

    def __post_init__(self) -> None:
        check_count(num_clips=self.num_clips, num_frames=self.num_frames, stride=self.stride)
        _check(self.target_fps, self.short)

    def __call__(self, num_frames: int, fps: float, rng: Generator | None = None) -> FrameIndices:
        span = _slowfast_span(self.num_frames, self.stride, fps, fps if self.target_fps is None else self.target_fps)
        delta = max(num_frames - span, 0)
        starts = [self._start(clip, delta) for clip in range(self.num_clips)]
        clips = np.stack([_spread(start, span, self.num_frames) for start in starts])
        return _fit(clips, num_frames, self.short)

    def _start(self, clip: int, delta: float) -> float:
        if not self.offset:
            return delta * clip / self.num_clips
        return math.floor(delta / 2) if self.num_clips == 1 else clip * math.floor(delta / (self.num_clips - 1))


@dataclass(frozen=True)
class Segments:
    """One frame from each of T equal parts of the clip: (T,), as in TSN, VideoMAE, and MMAction2 with clip_len=1.

    By default frame i is the middle one, floor((i + 1/2) N / T).

    Args:
        num_frames: number of frames T.
        random: frame i is i a + r, where a = floor(N / T) and r is uniform in 0, ..., a - 1; round(i N / T) if N < T.
        short: as for `RandomClip`; has an effect only if N < T.
    """

    num_frames: int
    random: bool = False
    short: Short = "repeat_last"

    def __post_init__(self) -> None:
        check_count(num_frames=self.num_frames)
        _check(None, self.short)

    def __call__(self, num_frames: int, fps: float, rng: Generator | None = None) -> FrameIndices:
        parts = np.arange(self.num_frames)
        length = num_frames // self.num_frames
        if not self.random:
            indices = (2 * parts + 1) * num_frames // (2 * self.num_frames)
        elif length:
            indices = parts * length + _required(rng).integers(length, size=self.num_frames)
        else:
            indices = np.round(parts * num_frames / self.num_frames).astype(np.int64)
        return _fit(indices, num_frames, self.short)


@dataclass(frozen=True)
class EveryClip:
    """All windows of T frames: (N, T), with N = 0 for a shorter clip, as in torchvision's VideoClips.

    First a clip of n frames is resampled by r = fps / frame_rate to R frames. If r is whole, it takes every r-th frame,
    R = ceil(n / r). Otherwise they are the frames floor(i r), computed in float32, R = floor(n frame_rate / fps).
    Window k begins at frame k step of these, and N = floor((R - T) / step) + 1. Frames after the last window are
    dropped.

    Args:
        frames_per_clip: number of frames T per window.
        step_between_clips: distance between starts of windows, after resampling.
        frame_rate: frames per second to resample to; None for the clip's own.
    """

    frames_per_clip: int
    step_between_clips: int = 1
    frame_rate: float | None = None

    def __post_init__(self) -> None:
        check_count(frames_per_clip=self.frames_per_clip, step_between_clips=self.step_between_clips)
        if self.frame_rate is not None:
            check_positive(frame_rate=self.frame_rate)

    def __call__(self, num_frames: int, fps: float, rng: Generator | None = None) -> FrameIndices:
        starts = self.step_between_clips * np.arange(self.count(num_frames, fps))
        return self._resampled(num_frames, fps)[starts[:, np.newaxis] + np.arange(self.frames_per_clip)]

    def count(self, num_frames: int, fps: float) -> int:
        """Return the number of windows."""
        left = self._resampled_length(num_frames, fps) - self.frames_per_clip
        return left // self.step_between_clips + 1 if left >= 0 else 0

    def clip(self, number: int, num_frames: int, fps: float) -> FrameIndices:
        """Return the window with this number: (T,)."""
        start = number * self.step_between_clips
        return self._resampled(num_frames, fps)[start : start + self.frames_per_clip]

    def _ratio(self, fps: float) -> float:
        check_positive(fps=fps)
        return fps / (self.frame_rate or fps)

    def _resampled_length(self, num_frames: int, fps: float) -> int:
        ratio = self._ratio(fps)
        if ratio.is_integer():
            return math.ceil(num_frames / ratio)
        return math.floor(num_frames * (self.frame_rate or fps) / fps)

    def _resampled(self, num_frames: int, fps: float) -> FrameIndices:
        ratio = self._ratio(fps)
        numbers = np.arange(self._resampled_length(num_frames, fps), dtype=np.float32)
        return np.minimum(np.floor(numbers * np.float32(ratio)).astype(np.int64), num_frames - 1)


@dataclass(frozen=True)
class Seconds:
    """Clips of `duration` seconds at `fps`: (T,), or (N, T) with `num_clips`, as in pytorchvideo.

    For a video of D seconds, a random clip starts at s, uniform in [0, max(D - duration, 0)]; clip i of n starts at
    i max(D - duration, 0) / max(n - 1, 1). The t frames with s <= time < s + duration are reduced, or repeated, to
    T = round(duration fps): floor(k (t - 1) / (T - 1)) for k = 0, ..., T - 1. The arithmetic is exact: rates and
    durations are the nearest fractions with denominators up to a million, such as 30000/1001 for 29.97002997.

    Args:
        duration: in seconds.
        fps: frames per second to keep.
        num_clips: number of evenly spread clips; None for one random clip.
    """

    duration: float
    fps: float
    num_clips: int | None = None

    def __post_init__(self) -> None:
        check_positive(duration=self.duration, fps=self.fps)
        if self._count < 1:
            raise ValueError(f"duration={self.duration}, fps={self.fps}: must make at least one frame")
        if self.num_clips is not None:
            check_count(num_clips=self.num_clips)

    def __call__(self, num_frames: int, fps: float, rng: Generator | None = None) -> FrameIndices:
        check_count(num_frames=num_frames)
        check_positive(fps=fps)
        rate = _fraction(fps)
        latest = max(num_frames / rate - _fraction(self.duration), Fraction(0))
        if self.num_clips is None:
            return self._clip(Fraction(_required(rng).uniform(0, float(latest))), num_frames, rate)
        starts = [clip * latest / max(self.num_clips - 1, 1) for clip in range(self.num_clips)]
        return np.stack([self._clip(start, num_frames, rate) for start in starts])

    def _clip(self, start: Fraction, num_frames: int, rate: Fraction) -> FrameIndices:
        first = min(math.ceil(start * rate), num_frames - 1)
        stop = max(min(math.ceil((start + _fraction(self.duration)) * rate), num_frames), first + 1)
        return first + np.arange(self._count) * (stop - 1 - first) // max(self._count - 1, 1)

    @property
    def _count(self) -> int:
        return round(_fraction(self.duration) * _fraction(self.fps))


def _fraction(number: float) -> Fraction:
    return Fraction(float(number)).limit_denominator()


def _required(rng: Generator | None) -> Generator:
    if rng is None:
        raise ValueError("rng=None: this sampler is random; pass a generator such as numpy.random.default_rng(0)")
    return rng


def _spread(start: float, span: float, count: int) -> FrameIndices:
    return np.trunc(np.linspace(start, start + span - 1, count)).astype(np.int64)


def _slowfast_span(num_frames: int, stride: int, fps: float, target_fps: float) -> float:
    check_positive(fps=fps)
    return max(1.0, num_frames * stride * fps / target_fps)


def _fit(indices: npt.NDArray[Any], num_frames: int, short: Short) -> FrameIndices:
    check_count(num_frames=num_frames)
    indices = indices.astype(np.int64, copy=False)
    return indices % num_frames if short == "loop" else np.minimum(indices, num_frames - 1)


def _check(target_fps: float | None, short: Short) -> None:
    if target_fps is not None:
        check_positive(target_fps=target_fps)
    check_choice(short, get_args(Short), "short")
