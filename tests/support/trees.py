"""Small Kinetics of made-up clips: their rows, the trees, archives and annotation files that hold them.

Nothing here decodes: loading passes the bytes of a clip through, so any bytes are a clip. What is expected of a
load comes from the clips as they were made, never from the code under test.
"""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import datasets
import pytest

import kinetics  # noqa: F401  (registers the builder)
from kinetics_tools.releases import LABELS, SPLITS
from tests.support.mirror import tar, tar_gz, write_mirror

DATASETS_MAJOR = int(datasets.__version__.split(".")[0])
only_scripts = pytest.mark.skipif(DATASETS_MAJOR >= 4, reason="datasets 4 and newer run no dataset scripts")

# As loaded: file name, bytes, label index, id, start, end.
Row = tuple[str, bytes, int, str, float, float]


@dataclass(frozen=True)
class Clip:
    label: str
    youtube_id: str
    time_start: int
    time_end: int
    suffix: str = ".mp4"
    content: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if not self.content:
            object.__setattr__(self, "content", f"the clip {self.label} {self.stem}".encode())

    @property
    def stem(self) -> str:
        return f"{self.youtube_id}_{self.time_start:06d}_{self.time_end:06d}"

    @property
    def file_name(self) -> str:
        return self.stem + self.suffix

    @property
    def row(self) -> tuple[str, str, int, int]:
        return (self.label, self.youtube_id, self.time_start, self.time_end)


def clips_of(split: str, count: int = 8) -> list[Clip]:
    """Clips with the labels and ids that go wrong most easily; the last two are of one video.

    The labels are in all releases; the ids differ between splits.
    """
    labels = (
        "abseiling",
        "massaging person's head",
        "hurling (sport)",
        "using remote controller (not gaming)",
        "petting animal (not cat)",
        "zumba",
    )
    heads = ("-", "--", "_", "__", "-_", "a-", "A_", "9")
    ids = [f"{heads[index % 8]}{split}{index:011d}"[:5] + f"{index:06d}" for index in range(count - 1)]
    clips = [Clip(labels[i % 6], name, 7 * i, 7 * i + 10) for i, name in enumerate(ids)]
    twin = clips[-1]
    return [*clips, Clip("zumba", twin.youtube_id, twin.time_start + 20, twin.time_start + 30)]


CLIPS = {split: clips_of(split) for split in SPLITS}


def torchvision_folder(label: str) -> str:
    """Return the name as torchvision.datasets.Kinetics writes it."""
    return label.replace(" ", "_").replace("'", "").replace("(", "").replace(")", "")


# ---- Clips in a folder of a split


def write_clips(folder: Path, clips: Iterable[Clip], layout: str) -> None:
    """Writes clips into `folder` in one of LAYOUTS."""
    folder.mkdir(parents=True, exist_ok=True)
    if layout in ("class folders", "torchvision folders", "flat"):
        for clip in clips:
            name = clip.label if layout == "class folders" else torchvision_folder(clip.label)
            path = folder / ("" if layout == "flat" else name) / clip.file_name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(clip.content)
        return
    clips = list(clips)
    suffix, _, members = layout.partition(" ")
    for number, part in enumerate((clips[:3], clips[3:])):
        prefix = "./" if members == "with ./" else ""
        names = [f"{clip.label}/" if members == "of class folders" else prefix for clip in part]
        content = {name + clip.file_name: clip.content for name, clip in zip(names, part, strict=True)}
        (folder / f"part_{number}{suffix}").write_bytes(tar(content) if suffix == ".tar" else tar_gz(content))


FILE_LAYOUTS = ("class folders", "torchvision folders", "flat")
ARCHIVE_LAYOUTS = (".tar.gz", ".tgz with ./", ".tar", ".tar.gz of class folders", ".tar of class folders")
LAYOUTS = FILE_LAYOUTS + ARCHIVE_LAYOUTS
# One of each way through the code, for tests of something else.
FEW_LAYOUTS = ("class folders", "flat", ".tar.gz")


# ---- Annotation files


def write_annotations(path: Path, clips: Iterable[Clip], word: str, *, labels: bool = True) -> Path:
    """Writes CSV or JSON, by the suffix of `path`; `word` is what its split column says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        # A video's second clip takes the place of its first, as in DeepMind's files.
        path.write_text(json.dumps({clip.youtube_id: json_entry(clip, word, labels=labels) for clip in clips}))
        return path
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*(["label"] if labels else []), "youtube_id", "time_start", "time_end", "split"])
        writer.writerows([*(clip.row if labels else clip.row[1:]), word] for clip in clips)
    return path


def json_entry(clip: Clip, word: str, *, labels: bool = True) -> dict[str, Any]:
    segment = [float(clip.time_start), float(clip.time_end)]
    return {
        "annotations": {"label": clip.label, "segment": segment} if labels else {"segment": segment},
        "duration": segment[1] - segment[0],
        "subset": word,
        "url": f"https://www.youtube.com/watch?v={clip.youtube_id}",
    }


def write_tree(
    data_dir: Path,
    layout: str = "class folders",
    *,
    clips: Mapping[str, Sequence[Clip]] = CLIPS,
    folders: Mapping[str, str] | None = None,
    annotations: str | None = "annotations/{}.csv",
) -> Path:
    """A whole `data_dir`: `folders` names the folder of each split, `annotations` their files if there are any."""
    for split, of_split in clips.items():
        folder = (folders or {"validation": "val"}).get(split, split)
        write_clips(data_dir / folder, of_split, layout)
        if annotations:
            write_annotations(data_dir / annotations.format(folder), of_split, folder)
    return data_dir


# ---- The public mirror

SHORT = {"train": "train", "validation": "val", "test": "test"}


def write_public(root: Path, release: str, clips: Mapping[str, Sequence[Clip]] = CLIPS, **options: Any) -> Path:
    """Lays out `clips` of each split in two archives on a mirror, with annotations of them all.

    The archive of replacements of 400 is there and empty, as long as `replacement` is not given.
    """
    archives = {}
    for split, of_split in clips.items():
        parts = {"part_0": of_split[:3], "part_1": of_split[3:]}
        archives[SHORT[split]] = {name: {clip.file_name: clip.content for clip in part} for name, part in parts.items()}
    annotations = {SHORT[split]: [clip.row for clip in of_split] for split, of_split in clips.items()}
    if release == "400":
        options.setdefault("replacement", {})
    return write_mirror(root, release, archives, **{"annotations": annotations, **options})


def noisy(clips: Iterable[Clip], size: int) -> list[Clip]:
    """`clips` with `size` bytes each that do not compress."""
    return [replace(clip, content=Random(clip.stem).randbytes(size)) for clip in clips]


# ---- Loaded and expected rows


def load(release: str = "700", **options: Any) -> Any:
    return datasets.load_dataset("kinetics", release, **{"decode": False, **options})


def rows(examples: Iterable[dict[str, Any]]) -> list[Row]:
    """Return the rows of a dataset or stream, loaded with decode=False, by file name."""
    return sorted(ordered_rows(examples))


def ordered_rows(examples: Iterable[dict[str, Any]]) -> list[Row]:
    found = []
    for example in examples:
        path, content = Path(example["video"]["path"]), example["video"]["bytes"]
        content = path.read_bytes() if content is None else content
        times = example["time_start"], example["time_end"]
        found.append((path.name, content, example["label"], example["youtube_id"], *times))
    return found


def left_after(position: int, make: Callable[[], Any]) -> list[Row]:
    """Return the rows of a new stream in the state of another one after `position` rows, at least one."""
    stream = make()
    iterator = iter(stream)
    for _ in range(position):
        next(iterator)
    again = make()
    again.load_state_dict(stream.state_dict())
    return ordered_rows(again)


def rows_of(clips: Iterable[Clip], release: str = "700", *, labels: bool = True) -> list[Row]:
    """Return the expected rows of `clips`, by file name; label -1 without `labels`."""
    names = LABELS[release]
    return sorted(
        (
            clip.file_name,
            clip.content,
            names.index(clip.label) if labels else -1,
            clip.youtube_id,
            float(clip.time_start),
            float(clip.time_end),
        )
        for clip in clips
    )
