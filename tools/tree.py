"""One split of a clip tree: which clips belong to it, where each lies, and how a clip gets there whole.

A clip lies at `<split>/<label>/<clip name>.mp4`, or `<split>/<clip name>.mp4` where the annotations give no label.
"""

import contextlib
import csv
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from kinetics import LABELS, clip_name, read_split

__all__ = ["DiskError", "SplitTree", "copy_annotations", "on_disk"]

# The first is what is made where none is there: the names that torchvision.datasets.Kinetics takes, too.
_FOLDERS = {"train": ("train",), "validation": ("val", "validate", "validation"), "test": ("test",)}
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


class SplitTree:
    """The clips of a split under `out`.

    `annotated` is the whole split and `wanted` the rows of it that are asked for, both as `kinetics.read_split`
    gives them. Iterating and `len` are over the names of the wanted clips.
    """

    def __init__(self, out: str | os.PathLike[str], release: str, split: str, *, annotated: pa.Table, wanted: pa.Table):
        self.split = split
        self.table = wanted
        self._release = release
        folders = [Path(out, name) for name in _FOLDERS[split]]
        self.directory = next((folder for folder in folders if folder.is_dir()), folders[0])
        self._labels = dict(zip(_names(wanted), wanted["label"].to_pylist(), strict=True))
        self._annotated = frozenset(self._labels) if wanted is annotated else frozenset(_names(annotated))
        by_id: dict[str, str | None] = {}
        for name in self._annotated:
            by_id[name[:11]] = None if name[:11] in by_id else name
        self._by_id = by_id
        self._made: set[Path] = set()

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
        """Where a wanted clip lies."""
        label = self._labels[name]
        folder = self.directory if label < 0 else self.directory / LABELS[self._release][label]
        return folder / f"{name}.mp4"

    def temporary(self, name: str, *, tag: str = "") -> Path:
        """Where to write a clip before it is renamed to `path`; its directory is made. `tag` tells writers apart."""
        path = self.path(name)
        if path.parent not in self._made:
            with on_disk(path.parent):
                path.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(path.parent)
        return path.with_name(f".{path.name}.{tag}.tmp")

    def present(self, *, clean: bool) -> dict[str, int]:
        """Lengths in bytes of the wanted clips that are where they belong.

        With `clean`, also removes what a killed run left unfinished, in all directories of the split.
        """
        found: dict[str, int] = {}
        if self.directory.is_dir():
            self._look_into(self.directory, None, found, clean=clean)
        return found

    def _look_into(
        self, directory: str | os.PathLike[str], label: str | None, found: dict[str, int], *, clean: bool
    ) -> None:
        labels = LABELS[self._release]
        with os.scandir(directory) as entries:
            for entry in entries:
                name, suffix = os.path.splitext(entry.name)
                index = self._labels.get(name)
                if index is not None and suffix == ".mp4" and (labels[index] if index >= 0 else None) == label:
                    found[name] = entry.stat().st_size
                elif entry.name.startswith(".") and suffix == ".tmp":
                    if clean:
                        os.unlink(entry)
                elif label is None and entry.is_dir():
                    self._look_into(entry.path, entry.name, found, clean=clean)


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
            if not read_split(str(path), release, split).equals(table):
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
