"""One split of a clip tree: which clips belong to it, where each lies, and how a clip gets there whole.

A clip that is not there yet goes to `<split>/<label>/<clip name>.mp4`, or `<split>/<clip name>.mp4` where annotations
give no label. Folders that are there are used as they are written, and clips that are there stay where they are.
"""

import contextlib
import csv
import errno
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from kinetics import (
    LABELS,
    clip_name,
    find_label,
    is_clip,
    read_annotations,
    read_split,
    split_directories,
    split_spellings,
)

__all__ = ["DiskError", "SplitTree", "class_of", "copy_annotations", "on_disk"]

_ANNOTATIONS = {
    "train": ("train.csv",),
    "validation": ("validate.csv", "val.csv", "validation.csv"),
    "test": ("test.csv",),
}


class DiskError(OSError):
    """Something could not be written. No other archive would fare better."""


@contextlib.contextmanager
def on_disk(path: str | os.PathLike[str]) -> Iterator[None]:
    """Makes a DiskError of an OSError, since those of the network are OSErrors, too, and end no run."""
    try:
        yield
    except OSError as error:
        mend = "make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "mend that"
        raise DiskError(
            f"{path}: {error.strerror or error}; what is complete stays: {mend} and run the same command again to go on"
        ) from error


@functools.cache
def class_of(folder: str, release: str) -> int | None:
    """Index of the class that a folder is named after, in any public spelling; None where it is none."""
    try:
        return find_label(folder, release)
    except ValueError:
        return None


class SplitTree:
    """The clips of a split under `out`.

    `annotated` is the whole split and `wanted` the rows of it that are asked for, both as `kinetics.read_split`
    gives them. Iterating and `len` are over the names of the wanted clips.
    """

    def __init__(self, out: str | os.PathLike[str], release: str, split: str, *, annotated: pa.Table, wanted: pa.Table):
        self.split = split
        self.table = wanted
        self._release = release
        self._directories = split_directories(str(Path(out)), split)
        # The first spelling is the one that torchvision.datasets.Kinetics takes, too.
        self.directory = Path((self._directories or [f"{out}/{split_spellings(split)[0]}"])[0])
        self._labels = dict(zip(_names(wanted), wanted["label"].to_pylist(), strict=True))
        self._annotated = frozenset(self._labels) if wanted is annotated else frozenset(_names(annotated))
        by_id: dict[str, str | None] = {}
        for name in self._annotated:
            by_id[name[:11]] = None if name[:11] in by_id else name
        self._by_id = by_id
        self._made: set[Path] = set()
        self._folders = {-1: str(self.directory)}  # class -> its folder, where one is there
        self._elsewhere: dict[str, str] = {}  # clip -> its file, where that is not the place for a new one

    def __len__(self) -> int:
        return len(self._labels)

    def __iter__(self) -> Iterator[str]:
        return iter(self._labels)

    def __contains__(self, name: object) -> bool:
        return name in self._labels

    def find(self, file_name: str) -> str | None:
        """The annotated clip, wanted or not, that a file of this name is; None where it is none.

        The id alone is enough where the split has one clip of it.
        """
        stem = file_name.rpartition(".")[0]
        return stem if stem in self._annotated else self._by_id.get(stem) if len(stem) == 11 else None

    def segments(self) -> Iterator[tuple[str, float, float]]:
        """Name, start and end in seconds of each wanted clip."""
        times = (self.table[column].to_pylist() for column in ("time_start", "time_end"))
        yield from zip(_names(self.table), *times, strict=True)

    def path(self, name: str) -> Path:
        """Where a wanted clip lies, or is to lie."""
        if name in self._elsewhere:
            return Path(self._elsewhere[name])
        label = self._labels[name]
        folder = self._folders.get(label) or self.directory / LABELS[self._release][label]
        return Path(folder, f"{name}.mp4")

    def temporary(self, name: str, *, tag: str = "") -> Path:
        """Where to write a clip before it is renamed to `path`; its directory is made. `tag` tells writers apart."""
        path = self.path(name)
        if path.parent not in self._made:
            with on_disk(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(path.parent)
        return path.with_name(f".{path.name}.{tag}.tmp")

    def present(self, *, clean: bool) -> dict[str, int]:
        """Lengths in bytes of the wanted clips that are there, in a folder of their class or in none.

        With `clean`, also removes what a killed run left unfinished, in all directories of the split.
        """
        found: dict[str, int] = {}
        folders: list[str] = []
        for directory in self._directories:
            folders += self._look_into(directory, None, found, clean=clean)
        labels = {folder: class_of(os.path.basename(folder), self._release) for folder in sorted(folders)}
        for folder, label in labels.items():
            if label is not None:
                is_exact = os.path.basename(folder) == LABELS[self._release][label]
                self._folders[label] = folder if is_exact else self._folders.get(label, folder)
        for folder, label in labels.items():
            self._look_into(folder, -1 if label is None else label, found, clean=clean)
        return found

    def _look_into(self, directory: str, label: int | None, found: dict[str, int], *, clean: bool) -> list[str]:
        """Adds the wanted clips in a directory, of any class or of `label`, and returns the folders in it."""
        folders = []
        with os.scandir(directory) as entries:
            for entry in entries:
                name = self.find(entry.name) if is_clip(entry.name) else None
                index = None if name is None else self._labels.get(name)
                if name is not None and index is not None and entry.is_file():  # which a link to nothing is not
                    if label is None or index in (-1, label):
                        size, is_named = entry.stat().st_size, entry.name == f"{name}.mp4"
                        # Of a clip that is there twice, the file in the place for new ones counts.
                        if is_named and directory == self._folders.get(index):
                            found[name] = size
                            self._elsewhere.pop(name, None)
                        elif name not in found and (size or is_named):
                            found[name] = size
                            self._elsewhere[name] = entry.path
                elif entry.name.startswith(".") and entry.name.endswith(".tmp"):
                    if clean:
                        os.unlink(entry)
                elif entry.is_dir():
                    folders.append(entry.path)
        return folders


def _names(table: pa.Table) -> list[str]:
    columns = (table[name].to_pylist() for name in ("youtube_id", "time_start", "time_end"))
    return [clip_name(*row) for row in zip(*columns, strict=True)]


def copy_annotations(source: str, out: str | os.PathLike[str], release: str, split: str, table: pa.Table) -> Path:
    """Path of a copy of the annotations of a split under `out`/annotations, where the dataset's loader looks first.

    `source` is the file and `table` what it holds. A CSV is copied as it is; JSON becomes CSV as DeepMind writes it.
    Raises ValueError where `out` has other annotations of this split: two releases or editions would be mixed.
    """
    folder = Path(out, "annotations")
    for name in _ANNOTATIONS[split]:
        path = folder / name
        if path.exists():
            if not _is_of(path, release, split, table):
                raise ValueError(
                    f"{path} is of another release or edition than {source}; name another folder, or go on with the "
                    f"annotations that it has: annotations={str(folder)!r}"
                )
            return path
    path = folder / _ANNOTATIONS[split][0]
    temporary = path.with_name(f".{path.name}.tmp")
    with on_disk(path):
        folder.mkdir(parents=True, exist_ok=True)
        if source.lower().endswith(".json"):
            _write_csv(temporary, release, split, table)
        else:  # in a download cache they have no suffix
            temporary.write_bytes(Path(source).read_bytes())
        os.replace(temporary, path)
    return path


def _is_of(path: Path, release: str, split: str, table: pa.Table) -> bool:
    """Whether an annotation file holds `table`. Raises ValueError where it is malformed."""
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
