"""Draw which frames of a clip each sampler takes: docs/images/samplers/NAME.svg.

    python docs/scripts/samplers.py

The clip has 10 s at 30 frames per second. The frames come from the samplers of `kinetics_tools.sampling` themselves.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _svg import BLUE, FAINT, LINE, ORANGE, element, text, write_svg

from kinetics_tools.sampling import EveryClip, RandomClip, Sampler, Seconds, Segments, UniformClips

FRAMES, FPS = 300, 30
IMAGES = Path(__file__).parents[1] / "images" / "samplers"

_WIDTH, _LEFT, _STEP = 960, 180, 2.5
_ROW, _HEAD = 24, 34


@dataclass(frozen=True)
class Group:
    """Rows of one sampler.

    Attributes:
        title: the sampler as one types it.
        labels: names of the rows. A sampler with one row has all of its clips there.
        seeds: seed of each draw of a random sampler.
        parts: number of equal parts to shade.
    """

    title: str
    sampler: Sampler
    labels: Sequence[str]
    seeds: Sequence[int] = (0,)
    parts: int = 0

    def rows(self) -> list[list[np.ndarray]]:
        """Return the clips of each row: arrays of frame numbers."""
        drawn = [self.sampler(FRAMES, FPS, np.random.default_rng(seed)) for seed in self.seeds]
        clips = [clip for one in drawn for clip in np.atleast_2d(one)]
        return [[clip] for clip in clips] if len(clips) == len(self.labels) else [clips]


def _draws(count: int) -> list[str]:
    return [f"draw {number}" for number in range(1, count + 1)]


def _clips(count: int) -> list[str]:
    return [f"clip {number}" for number in range(count)]


PICTURES = {
    "random_clip": [
        Group("RandomClip(16, 4)", RandomClip(16, 4), _draws(3), (0, 1, 2)),
        Group("RandomClip(16, 4, target_fps=15)", RandomClip(16, 4, target_fps=15), _draws(3), (0, 1, 2)),
    ],
    "uniform_clips": [
        Group("UniformClips(5, 16, 4)", UniformClips(5, 16, 4), _clips(5)),
        Group("UniformClips(5, 16, 4, offset=True)", UniformClips(5, 16, 4, offset=True), _clips(5)),
    ],
    "segments": [
        Group("Segments(8)", Segments(8), ["always"], parts=8),
        Group("Segments(8, random=True)", Segments(8, random=True), _draws(3), (0, 1, 2), parts=8),
    ],
    "every_clip": [
        Group("EveryClip(16, 16)", EveryClip(16, 16), ["18 clips"]),
        Group("EveryClip(16, 16, frame_rate=15)", EveryClip(16, 16, frame_rate=15), ["9 clips"]),
        Group("EveryClip(16, 16, frame_rate=8)", EveryClip(16, 16, frame_rate=8), ["5 clips"]),
    ],
    "seconds": [
        Group("Seconds(2, 8)", Seconds(2, 8), _draws(3), (0, 1, 2)),
        Group("Seconds(2, 8, num_clips=5)", Seconds(2, 8, num_clips=5), _clips(5)),
    ],
}


def draw(name: str, groups: Sequence[Group], folder: Path) -> None:
    """Write the picture of a sampler."""
    ticks = "".join(f"M{_x(frame) + 0.4:g} -3v6" for frame in range(FRAMES))
    parts = [element("defs", element("path", id="ticks", d=ticks, stroke="#b6bfca", stroke_width=0.8))]
    top = 8
    for group in groups:
        parts.append(text(16, top + 22, group.title, font_family="ui-monospace, 'DejaVu Sans Mono', monospace"))
        top += _HEAD
        rows = group.rows()
        parts += [_shade(part, group.parts, top, _ROW * len(rows)) for part in range(0, group.parts, 2)]
        for label, clips in zip(group.labels, rows, strict=True):
            middle = top + _ROW / 2
            marks = [_mark(frame, middle, number) for number, clip in enumerate(clips) for frame in clip.tolist()]
            row = [text(28, middle + 4, label, size=12, colour=FAINT), element("use", href="#ticks", y=middle), *marks]
            parts.append(element("g", "".join(row), data_sampler=group.title, data_row=label))
            top += _ROW
    parts += _axis(top + 6)
    titles = " and ".join(group.title for group in groups)
    write_svg(folder / f"{name}.svg", _WIDTH, top + 44, f"Frames of a 10 s clip that {titles} take", parts)


def _x(frame: float) -> float:
    return _LEFT + _STEP * frame


def _mark(frame: int, middle: float, clip: int) -> str:
    place = {"x": f"{_x(frame) - 0.1:g}", "y": middle - 8, "width": 2, "height": 16}
    return element("rect", **place, fill=(BLUE, ORANGE)[clip % 2], data_frame=frame, data_clip=clip)


def _shade(part: int, parts: int, top: float, height: float) -> str:
    width = _STEP * FRAMES / parts
    return element("rect", x=f"{_LEFT + part * width:g}", y=top, width=f"{width:g}", height=height, fill="#eef2f7")


def _axis(top: float) -> list[str]:
    line = element("path", d=f"M{_LEFT} {top}h{_STEP * FRAMES:g}", stroke=LINE)
    names = [text(16, top + 16 + 14 * row, name, size=11, colour=FAINT) for row, name in enumerate(("time", "frame"))]
    parts = [line, *names]
    for second in range(FRAMES // FPS + 1):
        x = _x(second * FPS)
        parts.append(element("path", d=f"M{x:g} {top}v4", stroke=FAINT))
        for row, label in enumerate((f"{second} s", str(second * FPS))):
            parts.append(text(x, top + 16 + 14 * row, label, size=11, colour=FAINT, text_anchor="middle"))
    return parts


def main(folder: Path = IMAGES) -> None:
    """Draw all pictures into `folder`."""
    for name, groups in PICTURES.items():
        draw(name, groups, folder)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
