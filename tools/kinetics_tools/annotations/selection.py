"""Selection of clips of a release."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.annotations.labels import find_label
from kinetics_tools.annotations.read import clip_names
from kinetics_tools.io.hosts import mirror_url
from kinetics_tools.io.http import is_url
from kinetics_tools.releases import LABELS, check_release, find_split
from kinetics_tools.text import check_count, few


def as_list(names: Any) -> Any:
    """Return the names of any iterable, or a single name, as a list; anything else unchanged."""
    if isinstance(names, str):
        return [names]
    return list(names) if isinstance(names, Iterable) else names


def absolute(path: str | os.PathLike[str]) -> str:
    """Return a local path as an absolute one with "/" between its parts; `~` is the home directory."""
    return os.path.abspath(os.path.expanduser(path)).replace(os.sep, "/")


def seeded_order(names: Sequence[str], seed: int) -> list[int]:
    """Return the positions of `names` in an order that follows from `seed` and each name alone.

    The relative order of two clips therefore does not depend on the other clips.
    """
    return sorted(range(len(names)), key=lambda row: hashlib.sha256(f"{seed}:{names[row]}".encode()).digest())


@dataclass(frozen=True)
class Selection:
    """Selection of clips. The fields are checked and normalized when the object is created.

    Attributes:
        release: "400", "600", "700" or "700-2020"; also as a number.
        splits: selected splits, in any spelling when passed; None for all that exist.
        classes: class names, in any public spelling when passed; None for all.
        max_clips_per_class: largest number of annotated clips of each class; None for all.
        seed: seed for the choice of clips with `max_clips_per_class`.
        annotations: directory, file or URL of the annotations; None for those found beside the clips, or else the
            published ones.
        mirror: URL that replaces the public hosts; None for the environment variable KINETICS_MIRROR, if set.
        force_release: take class directories and annotations that fit another release better; clips of classes that
            `release` lacks are skipped.

    Raises:
        ValueError: a field is not valid. The message lists the valid values and suggests the nearest one.
        FileNotFoundError: `annotations` is a path that does not exist.
    """

    release: str
    splits: Sequence[str] | None = None
    classes: Sequence[str] | None = None
    max_clips_per_class: int | None = None
    seed: int = 0
    annotations: str | None = None
    mirror: str | None = None
    force_release: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "release", check_release(self.release))
        for name in ("splits", "classes"):
            values = as_list(getattr(self, name))
            if values is not None and (not isinstance(values, list) or not values):
                raise ValueError(f"{name} must be a list of at least one name, or None for all, got {values!r}")
            object.__setattr__(self, name, values and tuple(dict.fromkeys(values)))
        if self.splits is not None:
            object.__setattr__(self, "splits", tuple(dict.fromkeys(map(find_split, self.splits))))
        if self.classes is not None:
            labels = LABELS[self.release]
            found = (labels[find_label(name, self.release)] for name in self.classes)
            object.__setattr__(self, "classes", tuple(dict.fromkeys(found)))
        if self.max_clips_per_class is not None:
            check_count(max_clips_per_class=self.max_clips_per_class)
        if not isinstance(self.seed, int) or isinstance(self.seed, bool):
            raise ValueError(f"seed must be an integer, got {self.seed!r}")
        if not isinstance(self.force_release, bool):
            raise ValueError(f"force_release must be True or False, got {self.force_release!r}")
        mirror_url(self.mirror)
        self._check_annotations()

    def _check_annotations(self) -> None:
        path = self.annotations
        if path is None:
            return
        if not isinstance(path, str | os.PathLike):
            raise ValueError(f"annotations must be a path or a URL, got {path!r}")
        if not is_url(os.fspath(path)):
            path = absolute(path)
            if not os.path.exists(path):
                raise FileNotFoundError(f"annotations={path!r} does not exist")
        object.__setattr__(self, "annotations", os.fspath(path))

    @property
    def takes_all(self) -> bool:
        """True if all annotated clips of a split are asked for."""
        return self.classes is None and self.max_clips_per_class is None

    def choose(self, table: pa.Table) -> pa.Table:
        """Return the rows of `read_split` that are asked for, in the order of the table.

        Raises:
            ValueError: `classes` are asked for, and no row has a label.
        """
        if self.takes_all:
            return table
        if self.classes is not None:
            indices = pa.array([find_label(name, self.release) for name in self.classes], type=pa.int64())
            if pc.all(pc.less(table["label"], 0)).as_py():
                raise ValueError("no clip of this split has a label, so classes cannot choose among them")
            table = table.filter(pc.is_in(table["label"], value_set=indices))
        if self.max_clips_per_class is not None:
            table = self._limited(table, self.max_clips_per_class)
        return table.combine_chunks()

    def _limited(self, table: pa.Table, limit: int) -> pa.Table:
        labels = table["label"].to_pylist()
        taken: dict[int, int] = {}
        rows = []
        for row in seeded_order(clip_names(table).to_pylist(), self.seed):
            taken[labels[row]] = taken.get(labels[row], 0) + 1
            if taken[labels[row]] <= limit:
                rows.append(row)
        return table.take(sorted(rows))

    def title(self, split: str) -> str:
        """Return the name of a split in messages, such as "kinetics 700 train"."""
        return f"kinetics {self.release} {split}"

    def options(self) -> list[str]:
        """Return the options of the commands that select these splits and clips, for messages."""
        options = [f"--split={name}" for name in self.splits or ()]
        options += [f"--classes={','.join(self.classes)}"] if self.classes else []
        if self.max_clips_per_class is not None:
            options += [f"--max-per-class={self.max_clips_per_class}", f"--seed={self.seed}"]
        return options

    def class_text(self) -> str:
        """Return the first of `classes`, for messages."""
        return few(self.classes or ())
