"""Which frames of a clip: pure functions of its length, its rate and a random generator.

A sampler is called with a clip's number of frames, its frames a second and a generator, and gives indices of shape
(T,), or (N, T) for N clips, all in [0, number of frames). Those that draw nothing need no generator.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

FrameIndices = npt.NDArray[np.int64]
Sampler = Callable[[int, float, np.random.Generator], FrameIndices]
Short = Literal["repeat_last", "loop"]
Align = Literal["grid"]

GRID = 4
"""Of a clip that `kinetics prepare --profile train` made, each frame whose index is a multiple of this decodes without
the three before it."""


@dataclass(frozen=True)
class RandomClip:
    """One clip of `num_frames` frames, `stride` apart, from a random start: (T,).

    A clip spans s = stride (T - 1) + 1 of N frames, and its start is one of 0, 1, ..., max(N - s, 0), all as likely
    (TorchCodec's clips_at_random_indices, MMAction2's SampleFrames with one clip).

    With `target_fps` the clip lasts as long as it does at that rate, as in PySlowFast's training: it spans
    L = max(1, T stride fps / target_fps) frames, the start is uniform in [0, max(N - L, 0)], a real number, and the
    frames are trunc(linspace(start, start + L - 1, T)).

    Attributes:
        align: "grid" takes only starts that are multiples of 4: of prepared clips these need the fewest frames
            decoded, if the stride is a multiple of 4, too.
        target_fps: None counts `stride` in the clip's own frames.
        short: what follows the last frame of a clip that is shorter: "repeat_last", or "loop" from its first frame.
    """

    num_frames: int
    stride: int = 1
    align: Align | None = None
    target_fps: float | None = None
    short: Short = "repeat_last"

    def __post_init__(self) -> None:
        _check(self, "num_frames", "stride")
        if self.align not in (None, *get_args(Align)):
            raise ValueError(f"align={self.align!r}: must be None or 'grid'")
        if self.align and self.target_fps:
            raise ValueError(f"align={self.align!r} with target_fps={self.target_fps}: only one of them can be kept to")

    def __call__(self, num_frames: int, fps: float, rng: np.random.Generator) -> FrameIndices:
        if self.target_fps is not None:
            span = _slowfast_span(self.num_frames, self.stride, fps, self.target_fps)
            start = rng.uniform(0, max(num_frames - span, 0))
            return _fit(_spread(start, span, self.num_frames), num_frames, self.short)
        last_start = max(num_frames - (self.stride * (self.num_frames - 1) + 1), 0)
        unit = GRID if self.align else 1
        first = unit * int(rng.integers(last_start // unit + 1))
        return _fit(first + self.stride * np.arange(self.num_frames), num_frames, self.short)


@dataclass(frozen=True)
class UniformClips:
    """`num_clips` clips spread over the whole: (N, T), the views that PySlowFast tests with.

    A clip lasts as `num_frames` frames `stride` apart do at `target_fps`: L = max(1, T stride fps / target_fps) of N
    frames, and with d = max(N - L, 0) clip k of n starts at d k / n. So the last one ends before the clip does. With
    `offset` (USE_OFFSET_SAMPLING there) it starts at k floor(d / (n - 1)), a single one at d / 2. The frames are
    trunc(linspace(start, start + L - 1, T)).

    Attributes:
        target_fps: 30 as in PySlowFast; None counts `stride` in the clip's own frames.
        short: see `RandomClip`; PySlowFast repeats the last frame.
    """

    num_clips: int
    num_frames: int
    stride: int = 1
    target_fps: float | None = 30.0
    offset: bool = False
    short: Short = "repeat_last"

    def __post_init__(self) -> None:
        _check(self, "num_clips", "num_frames", "stride")

    def __call__(self, num_frames: int, fps: float, rng: np.random.Generator | None = None) -> FrameIndices:
        span = _slowfast_span(self.num_frames, self.stride, fps, self.target_fps or fps)
        delta = max(num_frames - span, 0)
        starts = [self._start(clip, delta) for clip in range(self.num_clips)]
        clips = np.stack([_spread(start, span, self.num_frames) for start in starts])
        return _fit(clips, num_frames, self.short)

    def _start(self, clip: int, delta: float) -> float:
        if not self.offset:
            return delta * clip / self.num_clips
        return delta / 2 if self.num_clips == 1 else clip * math.floor(delta / (self.num_clips - 1))


@dataclass(frozen=True)
class Segments:
    """One frame of each of T equal parts of the clip: (T,), as TSN and VideoMAE sample, and MMAction2 with clip_len=1.

    By default the middle ones: floor((i + 1/2) N / T). With `random`, and a = floor(N / T) > 0, i a + r with r one of
    0, ..., a - 1; of a clip with fewer frames than parts, round(i N / T).

    Attributes:
        short: see `RandomClip`; it only matters for a clip with fewer frames than parts.
    """

    num_frames: int
    random: bool = False
    short: Short = "repeat_last"

    def __post_init__(self) -> None:
        _check(self, "num_frames")

    def __call__(self, num_frames: int, fps: float, rng: np.random.Generator) -> FrameIndices:
        parts = np.arange(self.num_frames)
        length = num_frames // self.num_frames
        if not self.random:
            indices = (2 * parts + 1) * num_frames // (2 * self.num_frames)
        elif length:
            indices = parts * length + rng.integers(length, size=self.num_frames)
        else:
            indices = np.round(parts * num_frames / self.num_frames).astype(np.int64)
        return _fit(indices, num_frames, self.short)


@dataclass(frozen=True)
class EveryClip:
    """All windows of T frames, a step apart: (N, T) with N = 0 for a clip that is shorter: torchvision's VideoClips.

    First a clip of n frames is resampled to `frame_rate` by r = fps / frame_rate. If r is whole, every r-th frame is
    taken: R = ceil(n / r). Else these are the R = floor(n frame_rate / fps) frames floor(i r), computed in float32.
    Window k begins at frame k `step_between_clips` of these, and N = floor((R - T) / step) + 1. What follows the last
    whole window is left out.

    Attributes:
        frame_rate: None takes the clip's own frames.
    """

    frames_per_clip: int
    step_between_clips: int = 1
    frame_rate: float | None = None

    def __post_init__(self) -> None:
        _check(self, "frames_per_clip", "step_between_clips")
        if self.frame_rate is not None and self.frame_rate <= 0:
            raise ValueError(f"frame_rate={self.frame_rate}: must be over 0")

    def __call__(self, num_frames: int, fps: float, rng: np.random.Generator | None = None) -> FrameIndices:
        starts = self.step_between_clips * np.arange(self.count(num_frames, fps))
        return self._resampled(num_frames, fps)[starts[:, np.newaxis] + np.arange(self.frames_per_clip)]

    def count(self, num_frames: int, fps: float) -> int:
        """How many windows there are."""
        left = self._resampled_length(num_frames, fps) - self.frames_per_clip
        return left // self.step_between_clips + 1 if left >= 0 else 0

    def clip(self, number: int, num_frames: int, fps: float) -> FrameIndices:
        """The window with this number: (T,)."""
        start = number * self.step_between_clips
        return self._resampled(num_frames, fps)[start : start + self.frames_per_clip]

    def _ratio(self, fps: float) -> float:
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
    """Clips of `duration` seconds, as `duration` x `fps` frames: (T,), or (N, T) with `num_clips`: pytorchvideo's.

    With D = N / (the clip's rate), a clip starts at s, uniform in [0, max(D - duration, 0)], or clip i of n at
    i max(D - duration, 0) / max(n - 1, 1). The t frames with s <= time < s + duration are reduced, or repeated, to
    T = round(duration fps): trunc(linspace(0, t - 1, T)).

    Attributes:
        duration: in seconds.
        fps: frames a second to keep.
        num_clips: None for one random clip, else as many as are spread evenly.
    """

    duration: float
    fps: float
    num_clips: int | None = None

    def __post_init__(self) -> None:
        if self.duration <= 0 or self.fps <= 0 or round(self.duration * self.fps) < 1:
            raise ValueError(f"duration={self.duration}, fps={self.fps}: must make at least one frame")
        if self.num_clips is not None:
            _check(self, "num_clips")

    def __call__(self, num_frames: int, fps: float, rng: np.random.Generator) -> FrameIndices:
        latest = max(num_frames / fps - self.duration, 0.0)
        if self.num_clips is None:
            return self._clip(rng.uniform(0, latest), num_frames, fps)
        starts = [clip * latest / max(self.num_clips - 1, 1) for clip in range(self.num_clips)]
        return np.stack([self._clip(start, num_frames, fps) for start in starts])

    def _clip(self, start: float, num_frames: int, fps: float) -> FrameIndices:
        first = min(math.ceil(start * fps), num_frames - 1)
        stop = max(min(math.ceil((start + self.duration) * fps), num_frames), first + 1)
        return _spread(first, stop - first, round(self.duration * self.fps))


def _spread(start: float, span: float, count: int) -> FrameIndices:
    return np.trunc(np.linspace(start, start + span - 1, count)).astype(np.int64)


def _slowfast_span(num_frames: int, stride: int, fps: float, target_fps: float) -> float:
    return max(1.0, num_frames * stride * fps / target_fps)


def _fit(indices: npt.NDArray[Any], num_frames: int, short: Short) -> FrameIndices:
    indices = indices.astype(np.int64, copy=False)
    return indices % num_frames if short == "loop" else np.minimum(indices, num_frames - 1)


def _check(sampler: Any, *names: str) -> None:
    for name in names:
        if getattr(sampler, name) < 1:
            raise ValueError(f"{name}={getattr(sampler, name)}: must be at least 1")
    short = getattr(sampler, "short", "loop")
    if short not in get_args(Short):
        raise ValueError(f"short={short!r}: must be one of {', '.join(get_args(Short))}")
