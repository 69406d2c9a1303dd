"""Clip directory of one split: its clips, their paths, and the paths of new clips.

A new clip goes to `<split>/<label>/<clip name>.mp4`, or `<split>/<clip name>.mp4` if the annotations give no label.
Existing directories keep their spelling, and existing clips are not moved.
"""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from kinetics_tools.annotations import ClipIndex, is_json, label_index, normalize_label, read_annotations, read_split
from kinetics_tools.io import disk_errors
from kinetics_tools.releases import LABELS, split_spellings
from kinetics_tools.sources import extraction, scan_split, split_directories
from kinetics_tools.text import format_count

_ANNOTATIONS = {
    "train": ("train.csv",),
    "validation": ("validate.csv", "val.csv", "validation.csv"),
    "test": ("test.csv",),
}


def class_of(folder: str, release: str) -> int | None:
    """Return the index of the class that a directory is named after, in any public spelling; None if there is none."""
    return label_index(release).get(normalize_label(folder))


class ClipTree:
    """Clips of one split under `out`."""

    def __init__(self, out: str | os.PathLike[str], release: str, split: str, index: ClipIndex):
        self.split = split
        self.index = index
        self._out = str(Path(out))
        self._release = release
        directories = split_directories(self._out, split)
        # The first spelling is the one that torchvision.datasets.Kinetics takes, too.
        self.directory = Path((directories or [f"{out}/{split_spellings(split)[0]}"])[0])
        self._made: set[Path] = set()
        self._folders = {-1: str(self.directory)}  # class -> its directory, where one is there
        self._elsewhere: dict[str, str] = {}  # clip -> its file, where that is not the place for a new one

    def segments(self) -> Iterator[tuple[str, float, float]]:
        """Yield name, start and end in seconds of each clip that is asked for."""
        times = (self.index.table[column].to_pylist() for column in ("time_start", "time_end"))
        yield from zip(self.index, *times, strict=True)

    def path(self, name: str) -> Path:
        """Return where a clip is, or where it goes."""
        if name in self._elsewhere:
            return Path(self._elsewhere[name])
        label = self.index.label(name)
        folder = self._folders.get(label) or self.directory / LABELS[self._release][label]
        return Path(folder, f"{name}.mp4")

    def temporary(self, name: str, *, tag: str = "") -> Path:
        """Return where to write a clip before it is renamed to `path`, in a directory that exists.

        `tag` tells writers apart.
        """
        path = self.path(name)
        if path.parent not in self._made:
            with disk_errors(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(path.parent)
        return path.with_name(f".{path.name}.{tag}.tmp")

    def present(self, *, clean: bool) -> dict[str, int]:
        """Return the lengths in bytes of the clips that are in their class directory or in no class directory.

        With `clean`, also remove unfinished files of killed runs.
        """
        files = scan_split(self._out, self.split)
        if files.archives and not files.clips:  # an extracted clip would hide those in them
            raise ValueError(
                f"{self.directory} holds {format_count(len(files.archives), 'archive')} and no extracted clips; pass "
                f"another output directory, or extract them with: {extraction(self._out, self._release)}"
            )
        if clean:
            for path in files.unfinished:
                os.unlink(path)
        labels = {folder: class_of(os.path.basename(folder), self._release) for folder in sorted(files.folders)}
        for folder, label in labels.items():
            if label is not None:
                is_exact = os.path.basename(folder) == LABELS[self._release][label]
                self._folders[label] = folder if is_exact else self._folders.get(label, folder)
        found: dict[str, int] = {}
        for path in files.clips:
            name = self.index.find_file(path)
            if name is None or name not in self.index:
                continue
            index, directory = self.index.label(name), os.path.dirname(path)
            if directory in labels and index not in (-1, labels[directory]):
                continue
            self._add(name, path, directory == self._folders.get(index), found)
        return found

    def _add(self, name: str, path: str, is_own_folder: bool, found: dict[str, int]) -> None:
        if not os.path.isfile(path):
            return
        size, is_named = os.path.getsize(path), os.path.basename(path) == f"{name}.mp4"
        # If a clip is there twice, the file in the place for new ones counts.
        if is_named and is_own_folder:
            found[name] = size
            self._elsewhere.pop(name, None)
        elif name not in found and (size or is_named):
            found[name] = size
            self._elsewhere[name] = path


def copy_annotations(source: str, out: str | os.PathLike[str], release: str, split: str, table: pa.Table) -> Path:
    """Return the path of a copy of the annotations of a split under `out`/annotations, where loading looks first.

    `table` is the content of `source`. A CSV is copied unchanged; JSON becomes CSV in DeepMind's format. Raises
    ValueError if `out` has other annotations of this split, which would mix two releases or editions.
    """
    folder = Path(out, "annotations")
    for name in _ANNOTATIONS[split]:
        path = folder / name
        if path.exists():
            if not _is_of(path, release, split, table):
                raise ValueError(
                    f"{path} is of another release or edition than {source}; pass another directory, or the "
                    f"annotations of this one: annotations={str(folder)!r}"
                )
            return path
    path = folder / _ANNOTATIONS[split][0]
    temporary = path.with_name(f".{path.name}.tmp")
    with disk_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        if is_json(source):
            _write_csv(temporary, release, split, table)
        else:  # in a download cache they have no suffix
            temporary.write_bytes(Path(source).read_bytes())
        os.replace(temporary, path)
    return path


def _is_of(path: Path, release: str, split: str, table: pa.Table) -> bool:
    """Return True if an annotation file holds `table`. Raises ValueError if it is malformed."""
    try:
        return read_split(str(path), release, split).equals(table)
    except ValueError:
        read_annotations(str(path))
        return False  # rows of another release: classes that this one does not have


def _write_csv(path: Path, release: str, split: str, table: pa.Table) -> None:
    labelled = any(label >= 0 for label in table["label"].to_pylist())
    word = "validate" if split == "validation" else split
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(["label"] if labelled else []), "youtube_id", "time_start", "time_end", "split"])
        for row in table.to_pylist():
            label = LABELS[release][row["label"]] if row["label"] >= 0 else ""
            times = (_number(row["time_start"]), _number(row["time_end"]))
            writer.writerow([*([label] if labelled else []), row["youtube_id"], *times, word])


def _number(seconds: float) -> Any:
    return int(seconds) if seconds == int(seconds) else seconds
