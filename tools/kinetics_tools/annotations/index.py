"""Index of annotated clips by file name."""

import functools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.annotations.read import clip_names
from kinetics_tools.text import stem_of

_ID_LENGTH = 11


class ClipIndex:
    """Annotated clips of a split, found by the names of their files.

    A file is called `{youtube_id}_{time_start:06d}_{time_end:06d}`, or by the YouTube id alone if the split has only
    one annotated clip of that video. Iterating, `in` and `len` are over the names of the clips that are asked for.

    Args:
        annotated: all annotated clips of the split, as `read_split` returns them.
        selected: the clips that are asked for; by default all.

    Attributes:
        table: rows of the clips that are asked for.
    """

    def __init__(self, annotated: pa.Table, selected: pa.Table | None = None):
        self.annotated = annotated
        self.table = annotated if selected is None else selected

    def __getstate__(self) -> dict[str, Any]:
        # Without the dictionaries, which each process builds when it needs them.
        return {"annotated": self.annotated, "table": self.table}

    def forget(self) -> None:
        """Free the dictionaries, 100 MB for 650,000 clips, which are built again when they are needed."""
        for name in ("_rows", "_annotated", "_labels", "_name_of_id", "_shared_ids"):
            self.__dict__.pop(name, None)

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in self._rows

    @property
    def takes_all(self) -> bool:
        """True if all annotated clips are asked for."""
        return self.table is self.annotated

    @functools.cached_property
    def names(self) -> pa.Array:
        """Names of the clips that are asked for, in the order of `table`."""
        names = clip_names(self.table)
        pa.default_memory_pool().release_unused()  # reading and naming 650,000 rows leaves 150 MB
        return names

    @functools.cached_property
    def annotated_names(self) -> pa.Array:
        """Names of all annotated clips, in the order of `annotated`."""
        return self.names if self.takes_all else clip_names(self.annotated)

    @functools.cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.names.to_pylist())}

    @functools.cached_property
    def _annotated(self) -> dict[str, int]:
        if self.takes_all:
            return self._rows
        return {name: row for row, name in enumerate(self.annotated_names.to_pylist())}

    @functools.cached_property
    def _labels(self) -> list[int]:
        labels: list[int] = self.annotated["label"].to_pylist()
        return labels

    @functools.cached_property
    def _name_of_id(self) -> dict[str, str]:
        names = self.annotated_names.to_pylist()
        return {name[:_ID_LENGTH]: name for name in names if name[:_ID_LENGTH] not in self._shared_ids}

    @functools.cached_property
    def _shared_ids(self) -> set[str]:
        counts = Counter(self.annotated["youtube_id"].to_pylist())
        return {youtube_id for youtube_id, count in counts.items() if count > 1}

    def find(self, stem: str) -> str | None:
        """Return the name of the annotated clip, selected or not, whose file has the name `stem`; None without one.

        `stem` is the name of a file without directories and suffix.
        """
        if stem in self._annotated:
            return stem
        return self._name_of_id.get(stem) if len(stem) == _ID_LENGTH else None

    def find_file(self, path: str) -> str | None:
        """Return the annotated clip of the file at `path`; see `find`."""
        return self.find(stem_of(path))

    def unknown(self, names: list[str]) -> list[str]:
        """Return those of `names` that no annotated clip has, selected or not."""
        # Not `is_in`, which would build a hash table of all annotated names.
        found = pc.index_in(self.annotated_names, value_set=pa.array(names, pa.string())).drop_null()
        return [names[position] for position in np.delete(np.arange(len(names)), found.to_numpy())]

    def why_not(self, stem: str) -> str | None:
        """Return why a file called `stem` does not count although its video is annotated; None for others."""
        if len(stem) != _ID_LENGTH or stem not in self._shared_ids:
            return None
        example = next(name for name in self.annotated_names.to_pylist() if name.startswith(stem))
        return f"its video has several annotated clips; name it after one, such as {example}"

    def name_of(self, stem: str) -> str:
        """Return the clip name of a file that is named by its YouTube id alone, and any other `stem` unchanged."""
        return self._name_of_id.get(stem, stem) if len(stem) == _ID_LENGTH else stem

    def row(self, stem: str) -> int | None:
        """Return the row in `table` of the clip whose file is called `stem`; None if it is not asked for."""
        name = self.find(stem)
        return None if name is None else self._rows.get(name)

    def label(self, name: str) -> int:
        """Return the class index of an annotated clip, asked for or not; -1 without one, or for any other name."""
        row = self._annotated.get(name)
        return -1 if row is None else self._labels[row]

    def is_excluded(self, stem: str) -> bool:
        """Return True if a file is an annotated clip that is not asked for."""
        name = self.find(stem)
        return name is not None and name not in self._rows

    def positions(self, names: list[str]) -> pa.Array:
        """Return for each row of `table` the position (int32) of its clip in `names`; null if it is not there."""
        return pc.index_in(self.names, value_set=pa.array(names, type=pa.string()))
