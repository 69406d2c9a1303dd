"""Selection of clips of a release."""

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets.utils.logging import get_logger

from kinetics_tools.annotations.find import check_annotations
from kinetics_tools.annotations.labels import find_label
from kinetics_tools.annotations.other_split import OtherSplit, shares_video
from kinetics_tools.annotations.read import clip_names
from kinetics_tools.annotations.subsets import Subset, read_subset
from kinetics_tools.errors import NoLabelsError
from kinetics_tools.io import DownloadCache
from kinetics_tools.io.hosts import mirror_url
from kinetics_tools.releases import LABELS, SPLITS, check_release, find_split
from kinetics_tools.text import as_names, check_choice, check_count, few, format_count

_logger = get_logger("datasets.kinetics")

EXCLUDE_BY = ("video", "seconds")
"""Ways to exclude clips."""


def as_list(names: Any) -> Any:
    """Return the names of any iterable, or a single name, as a list; anything else unchanged."""
    if isinstance(names, str):
        return [names]
    return list(names) if isinstance(names, Iterable) else names


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
        splits: selected splits, in any spelling when passed, also as text with commas; None for all that exist.
        classes: class names, in any public spelling when passed, also as text with commas; None for all.
        max_clips_per_class: largest number of annotated clips of each class; None for all.
        seed: seed for the choice of clips with `max_clips_per_class`.
        annotations: directory, file or URL of the annotations; None for those found beside the clips, or else the
            published ones.
        mirror: URL that replaces the public hosts; None for the environment variable KINETICS_MIRROR, if set.
        subset: one of `SUBSETS`, or a file with a class or a clip per line, see `read_subset`; None for all.
        exclude: splits of releases whose videos are excluded, such as "400:validation,400:test", or
            "400:test=PATH" with the path of its annotations; None for none.
        exclude_by: "video" excludes all clips of a video, "seconds" those whose segments overlap.
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
    subset: str | None = None
    exclude: Sequence[str] | None = None
    exclude_by: str = "video"
    force_release: bool = False
    _subset: Subset | None = field(default=None, init=False, repr=False, compare=False)
    _others: tuple[OtherSplit, ...] = field(default=(), init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "release", check_release(self.release))
        for name in ("splits", "classes"):
            values = as_names(getattr(self, name))
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
        if self.annotations is not None:
            object.__setattr__(self, "annotations", check_annotations(self.annotations))
        self._check_subset()
        self._check_exclude()

    def _check_subset(self) -> None:
        if self.subset is None:
            return
        if not isinstance(self.subset, str | os.PathLike):
            raise ValueError(f"subset must be a name or a file, got {self.subset!r}")
        found = read_subset(self.subset, self.release)
        object.__setattr__(self, "subset", found.name)
        object.__setattr__(self, "_subset", found)
        if self.class_names == ():
            asked = f"the classes {few(self.classes)}" if self.classes else self.release
            raise ValueError(f"subset {self.subset}: none of its classes is in {asked}; choose another subset")

    def _check_exclude(self) -> None:
        texts = as_list(self.exclude)
        check_choice(self.exclude_by, EXCLUDE_BY, "exclude_by")
        if texts is None:
            return
        if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(f'exclude must name splits of releases, such as "400:validation", got {self.exclude!r}')
        object.__setattr__(self, "_others", tuple(OtherSplit.parse_all(texts)))
        object.__setattr__(self, "exclude", tuple(map(str, self._others)))

    @functools.cached_property
    def class_names(self) -> tuple[str, ...] | None:
        """Names of the classes of `classes` and `subset`; None for all."""
        wanted = None if self._subset is None else self._subset.classes
        if self.classes is None or wanted is None:
            return wanted if self.classes is None else tuple(self.classes)
        return tuple(name for name in self.classes if name in wanted)

    @property
    def takes_all(self) -> bool:
        """True if all annotated clips of a split are asked for."""
        return self.classes is None and self.subset is None and not self._others and self.max_clips_per_class is None

    @property
    def files(self) -> list[str]:
        """Local files of `subset` and `exclude`."""
        mine = [self.subset] if self.subset is not None and os.path.isabs(self.subset) else []
        return mine + [path for other in self._others for path in other.files]

    def choose(self, table: pa.Table, split: str, cache: DownloadCache | None = None) -> pa.Table:
        """Return the rows of `read_split` that are asked for, in the order of the table.

        The metadata of its schema has "excluded": the number of clips that each of `exclude` removed, as JSON. Excluded
        clips, and clips or classes of `subset` that are missing, are logged.

        Args:
            table: all annotated clips of `split`.
            cache: download cache for the annotations of `exclude`.

        Raises:
            NoLabelsError: classes are asked for, and no row has a label.
            ValueError: the annotations of `exclude` are malformed.
        """
        if self.takes_all:
            return table
        if self.class_names is not None:
            indices = pa.array([find_label(name, self.release) for name in self.class_names], type=pa.int64())
            if pc.all(pc.less(table["label"], 0)).as_py():
                raise NoLabelsError("no clip of this split has a label, so classes cannot choose among them")
            table = table.filter(pc.is_in(table["label"], value_set=indices))
        if self._subset is not None:
            table = self._subset.choose(table)
            if note := self._subset.note(table):
                _logger.warning(f"{self.title(split)}: {note}")
        table = self._without_excluded(table, split, cache)
        if self.max_clips_per_class is not None:
            table = self._limited(table, self.max_clips_per_class)
        return table.combine_chunks()

    def _without_excluded(self, table: pa.Table, split: str, cache: DownloadCache | None) -> pa.Table:
        """Return the clips of no video of `exclude`; a split does not exclude its own videos."""
        counts = {}
        for other in self._others:
            if (other.release, other.split) == (self.release, split):
                _logger.warning(f"{self.title(split)}: {other.name} excludes nothing, because it is this split")
                continue
            theirs = other.table(mirror=self.mirror, cache=cache)
            kept = table.filter(pc.invert(shares_video(table, theirs, by=self.exclude_by)))
            counts[other.name] = len(table) - len(kept)
            _logger.warning(
                f"{self.title(split)}: excluded {format_count(counts[other.name], 'clip')} of {len(table):,}, "
                f"{'whose videos are in' if self.exclude_by == 'video' else 'whose segments overlap'} {other.name}"
            )
            table = kept
        if not counts:
            return table
        return table.replace_schema_metadata({**(table.schema.metadata or {}), "excluded": json.dumps(counts)})

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
        is_default = self.splits is None or {*self.splits} == {*SPLITS}
        options = [] if is_default else [f"--split={name}" for name in self.splits or ()]
        options += [f"--classes={','.join(self.classes)}"] if self.classes else []
        options += [f"--subset={self.subset}"] if self.subset else []
        if self.exclude:
            by = [] if self.exclude_by == "video" else [f"--exclude-by={self.exclude_by}"]
            options += [f"--exclude={','.join(self.exclude)}", *by]
        if self.max_clips_per_class is not None:
            options += [f"--max-per-class={self.max_clips_per_class}", f"--seed={self.seed}"]
        return options

    def text(self) -> str:
        """Return the choice of clips, for messages."""
        parts = [f"classes {few(self.classes)}"] if self.classes else []
        parts += [f"subset {self.subset}"] if self.subset else []
        parts += [f"exclude {', '.join(self.exclude)}"] if self.exclude else []
        return "; ".join(parts)
