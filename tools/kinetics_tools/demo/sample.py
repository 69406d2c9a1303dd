"""Synthetic sample of Kinetics, made without downloads.

The clips are drawn: a moving shape and a tone tell the class, and vary from clip to clip. Everything else is as in the
public releases, including their faults: a missing clip, an unannotated one, a truncated one, a video with two clips.
"""

import colorsys
import gzip
import json
import math
import os
import random
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from kinetics_tools.annotations.read import clip_name
from kinetics_tools.media import Pixels, write_clip
from kinetics_tools.releases import RELEASES, check_release
from kinetics_tools.run import Progress
from kinetics_tools.text import as_names

HEIGHT, WIDTH = 256, 340
SAMPLE_RATE = 44_100
CLIPS_PER_CLASS = {"train": 6, "validation": 3, "test": 2}
_MISSING = {"train": 2, "validation": 1, "test": 1}
_FOLDERS = {"train": "train", "validation": "val", "test": "test"}
_MARKER = ".kinetics-demo.json"
_POOL = ".clips"
_MADE_AS = 1  # version of what is made; bump it to remake older samples

_Floats = npt.NDArray[np.floating[Any]]


class _Look(NamedTuple):
    """Appearance and sound of a class.

    `shape` is at most 1 inside the shape, for x and y in [-1, 1]; `path` gives its centre in [-1, 1] after a number of
    turns of the movement.
    """

    hue: float
    pitch_hz: float
    shape: Callable[[_Floats, _Floats], _Floats]
    path: Callable[[float], tuple[float, float]]


def _cos(turns: float) -> float:
    return math.cos(2 * math.pi * turns)


def _sin(turns: float) -> float:
    return math.sin(2 * math.pi * turns)


# Labels that all releases have, among them one with an apostrophe and two with parentheses.
_LOOKS = {
    "abseiling": _Look(0.0, 220.0, np.hypot, lambda t: (0.2 * _sin(3 * t), 2 * (t % 1) - 1)),
    "bouncing on trampoline": _Look(
        0.33,
        277.2,
        lambda x, y: np.maximum(abs(x), abs(y)) * 1.15,
        lambda t: (0.3 * _sin(t / 3), 1 - 2 * abs(_sin(t / 2))),
    ),
    "massaging person's head": _Look(
        0.86, 329.6, lambda x, y: abs(np.hypot(x, y) - 0.75) * 4, lambda t: (0.3 * _cos(t), 0.3 * _sin(t))
    ),
    "petting animal (not cat)": _Look(
        0.16,
        392.0,
        lambda x, y: np.maximum(np.minimum(abs(x), abs(y)) * 3, np.maximum(abs(x), abs(y))),
        lambda t: (0.9 * _sin(t), 0.4),
    ),
    "shooting goal (soccer)": _Look(
        0.53, 466.2, lambda x, y: abs(x) + abs(y), lambda t: (2 * (t % 1) - 1, 1 - 7.2 * (t % 1) * (1 - t % 1))
    ),
    "spinning poi": _Look(
        0.7, 554.4, lambda x, y: np.maximum(1.4 * y, 1.75 * abs(x) - y), lambda t: (0.9 * _cos(t), 0.9 * _sin(t))
    ),
}


@dataclass(frozen=True)
class _Clip:
    label: str
    youtube_id: str
    time_start: int
    time_end: int
    is_cc: bool
    broken: bool = False

    @property
    def file_name(self) -> str:
        return clip_name(self.youtube_id, self.time_start, self.time_end) + ".mp4"


class _Split(NamedTuple):
    """Rows of a split's annotation file, and files in its directory; a few clips are in only one of them."""

    rows: list[_Clip]
    files: list[_Clip]


def make_sample(
    out: str | os.PathLike[str],
    *,
    releases: Sequence[str] = RELEASES,
    seconds: int = 10,
    seed: int = 0,
) -> dict[str, Path]:
    """Make the sample in `out`, a directory per release, and return the `data_dir` of each release.

    Six classes have 6 / 3 / 2 clips each in train / validation / test. A clip lasts `seconds`, with 340x256 pixels at
    25 or 30 frames per second and 44,100 audio samples per second. Releases share clips; some validation clips of 600
    are in train of 700, as in reality. 400 has archives and the annotations of CVDF; the others those of DeepMind: 600
    flat directories (and annotations also as JSON), 700 class directories as of torchvision, 700-2020 class
    directories with raw names. `seed` decides names, annotations and content.

    A complete sample is kept; an unfinished one, or one with other arguments, is replaced.

    Raises:
        ValueError: a release is unknown.
        FileExistsError: `out` is a file, or a directory with other content, which is never removed.
    """
    out = Path(out)
    releases = [*map(check_release, as_names(releases))]
    made = json.dumps({"made_as": _MADE_AS, "releases": [*releases], "seconds": seconds, "seed": seed})
    marker = out / _MARKER
    if marker.exists():
        if marker.read_text() == made:
            return {release: out / release for release in releases}
    elif out.exists() and not out.is_dir():
        raise FileExistsError(f"{out} is a file; choose a new or empty directory")
    elif out.exists() and any(out.iterdir()):
        raise FileExistsError(f"{out} has other content; choose a new or empty directory")

    # An empty marker means: an unfinished sample, which may be removed.
    out.mkdir(parents=True, exist_ok=True)
    marker.write_text("")
    for name in (_POOL, *RELEASES, "prepared", "published"):
        if (out / name).exists():
            shutil.rmtree(out / name)
    pool = out / _POOL
    pool.mkdir()
    plan = {release: _plan(release, seconds=seconds, seed=seed) for release in releases}
    # Threads are as fast as processes here, since FFmpeg releases the GIL.
    clips = {clip for splits in plan.values() for split in splits.values() for clip in split.files}
    with ThreadPoolExecutor(os.cpu_count()) as executor, Progress(clips=len(clips)) as progress:
        for _ in executor.map(lambda clip: _render(clip, pool), clips):
            progress.count("made")
            progress.tick()
    for release, splits in plan.items():
        _lay_out(release, splits, pool, out / release)
        _annotate(release, splits, out / release / "annotations")
    shutil.rmtree(pool)
    marker.write_text(made)
    return {release: out / release for release in releases}


def _plan(release: str, *, seconds: int, seed: int) -> dict[str, _Split]:
    rng = random.Random(seed)
    count = sum(CLIPS_PER_CLASS.values())
    pool = {label: [_draw(label, rng, seconds) for _ in range(count)] for label in _LOOKS}
    missing = [_draw(rng.choice([*_LOOKS]), rng, seconds) for _ in range(sum(_MISSING.values()))]
    unannotated = _draw("bouncing on trampoline", rng, seconds)

    # Two clips of one video and a truncated clip, all in train.
    first_clip = pool["abseiling"][3]
    start = first_clip.time_end + 7
    pool["spinning poi"][3] = replace(first_clip, label="spinning poi", time_start=start, time_end=start + seconds)
    pool["massaging person's head"][5] = replace(pool["massaging person's head"][5], broken=True)

    splits = {}
    first = int(release.startswith("700"))  # moves a clip of each class one split ahead
    first_missing = 0
    for split, size in CLIPS_PER_CLASS.items():
        clips = [pool[label][index % count] for label in pool for index in range(first, first + size)]
        rows = clips + missing[first_missing : first_missing + _MISSING[split]]
        splits[split] = _Split(rows, clips + [unannotated] * (split == "train"))
        first, first_missing = first + size, first_missing + _MISSING[split]
    return splits


def _draw(label: str, rng: random.Random, seconds: int) -> _Clip:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    youtube_id = "".join(rng.choices(letters, k=11))
    if rng.random() < 0.1:
        youtube_id = "-" + youtube_id[1:]
    start = rng.randrange(600)
    return _Clip(label, youtube_id, start, start + seconds, is_cc=rng.random() < 0.1)


def _render(clip: _Clip, folder: Path) -> None:
    rng = random.Random(clip.file_name)
    seconds = clip.time_end - clip.time_start
    fps = rng.choice((25, 30, 30))
    look = _LOOKS[clip.label]
    first, period_seconds = rng.random(), rng.uniform(2.8, 4.6)
    path = folder / clip.file_name
    turns = [first + index / fps / period_seconds for index in range(seconds * fps)]
    tone = _tone(look, rng, seconds, first, period_seconds)
    write_clip(path, _pictures(look, rng, turns), fps=fps, audio=tone, sample_rate=SAMPLE_RATE)
    if clip.broken:
        # The index of an mp4 is at its end, so that half a file is unreadable.
        os.truncate(path, path.stat().st_size // 2)


def _pictures(look: _Look, rng: random.Random, turns: Iterable[float]) -> Iterator[Pixels]:
    hue, mirror, radius = look.hue + rng.uniform(-0.03, 0.03), rng.choice((-1, 1)), rng.randint(28, 44)
    # The camera pans over a scene that is larger than the frame.
    pan = 24
    y, x = np.mgrid[0 : HEIGHT + 2 * pan, 0 : WIDTH + 2 * pan].astype(np.float32)
    waves = np.sin(x / rng.uniform(25, 60) + rng.random()) * np.cos(y / rng.uniform(25, 60) + rng.random())
    grain = np.random.default_rng(rng.getrandbits(32)).uniform(-0.02, 0.02, waves.shape)
    light = 0.45 + 0.2 * waves + grain
    scene = (light[..., np.newaxis] * _colour(hue, saturation=0.5)).astype(np.uint8)

    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32) / radius
    alpha = np.clip((1 - look.shape(x, y)) * radius / 2, 0, 1)[..., np.newaxis]
    paint = alpha * _colour(hue + 0.5, saturation=0.8)
    for turn in turns:
        top, left = int(pan + pan * _sin(turn / 5)), int(pan + pan * _cos(turn / 4))
        picture = scene[top : top + HEIGHT, left : left + WIDTH].copy()
        across, down = look.path(turn)
        row = int((HEIGHT / 2 - radius - 1) * (1 + down))
        column = int((WIDTH / 2 - radius - 1) * (1 + mirror * across))
        under = picture[row : row + 2 * radius + 1, column : column + 2 * radius + 1]
        under[:] = under * (1 - alpha) + paint
        yield picture


def _tone(
    look: _Look, rng: random.Random, seconds: int, first: float, period_seconds: float
) -> npt.NDArray[np.float32]:
    at = np.arange(seconds * SAMPLE_RATE) / SAMPLE_RATE
    angle = 2 * np.pi * look.pitch_hz * rng.uniform(0.97, 1.03) * at
    # Loudness follows the movement, so that sound and picture belong together.
    loudness = 0.1 + 0.2 * np.sin(np.pi * (first + at / period_seconds)) ** 2
    return (loudness * (np.sin(angle) + 0.3 * np.sin(2 * angle))).astype(np.float32)


def _colour(hue: float, *, saturation: float) -> _Floats:
    return np.array(colorsys.hsv_to_rgb(hue % 1, saturation, 1.0), np.float32) * 255


def _lay_out(release: str, splits: dict[str, _Split], pool: Path, data_dir: Path) -> None:
    for split, content in splits.items():
        folder = data_dir / _FOLDERS[split]
        names = sorted(clip.file_name for clip in content.files)
        if release == "400":
            parts = 2 if split == "train" else 1
            for part in range(parts):
                _pack(folder / f"part_{part}.tar.gz", [pool / name for name in names[part::parts]])
            continue
        for clip in content.files:
            # Test clips are not in class directories: their labels are not published.
            in_class = release != "600" and split != "test"
            target = folder / (_class_folder(release, clip.label) if in_class else "") / clip.file_name
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                target.hardlink_to(pool / clip.file_name)
            except OSError:  # a file system without hard links
                shutil.copyfile(pool / clip.file_name, target)


def _class_folder(release: str, label: str) -> str:
    return label if release == "700-2020" else label.translate(str.maketrans(" ", "_", "'()"))


def _pack(path: Path, files: Iterable[Path]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Fixed times, owners and modes make archives reproducible.
    with gzip.GzipFile(path, "wb", 1, mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for file in files:
            member = tarfile.TarInfo(file.name)
            member.size = file.stat().st_size
            with file.open("rb") as content:
                archive.addfile(member, content)


def _annotate(release: str, splits: dict[str, _Split], folder: Path) -> None:
    folder.mkdir()
    for split, content in splits.items():
        # CVDF writes "val", DeepMind "validate".
        name = "validate" if split == "validation" and release != "400" else _FOLDERS[split]
        lines = _cvdf_lines(content.rows, name) if release == "400" else _deepmind_lines(content.rows, name)
        (folder / f"{name}.csv").write_text("\n".join([*lines, ""]), encoding="utf-8", newline="\n")
        if release == "600":
            text = json.dumps(_deepmind_json(content.rows, name), indent=4)
            (folder / f"{name}.json").write_text(text, encoding="utf-8", newline="\n")


def _cvdf_lines(rows: list[_Clip], split: str) -> Iterator[str]:
    yield "label,youtube_id,time_start,time_end,split,is_cc"
    for clip in sorted(rows, key=lambda clip: (clip.label, clip.youtube_id, clip.time_start)):
        label = f'"{clip.label}"' if " " in clip.label else clip.label
        yield f"{label},{clip.youtube_id},{clip.time_start},{clip.time_end},{split},{clip.is_cc:d}"


def _deepmind_lines(rows: list[_Clip], split: str) -> Iterator[str]:
    yield f"{'' if split == 'test' else 'label,'}youtube_id,time_start,time_end,split"
    for clip in sorted(rows, key=lambda clip: (clip.youtube_id, clip.time_start)):
        label = "" if split == "test" else f"{clip.label},"
        yield f"{label}{clip.youtube_id},{clip.time_start},{clip.time_end},{split}"


def _deepmind_json(rows: list[_Clip], split: str) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    # The format is keyed by video: of two clips of one video, one is lost.
    for clip in sorted(rows, key=lambda clip: (clip.youtube_id, clip.time_start)):
        label = {} if split == "test" else {"label": clip.label}
        entries[clip.youtube_id] = {
            "annotations": {**label, "segment": [float(clip.time_start), float(clip.time_end)]},
            "duration": float(clip.time_end - clip.time_start),
            "subset": split,
            "url": f"https://www.youtube.com/watch?v={clip.youtube_id}",
        }
    return entries
