"""Lists of clips: paths as a trainer needs them, labels in its label space."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.annotations import LabelSpace, clip_names, label_space
from kinetics_tools.conversion.trainers import Trainer
from kinetics_tools.io import check_outputs, trial_directory, write_file
from kinetics_tools.releases import LABELS
from kinetics_tools.text import TextReport, few, format_count, printable

_BEGINNING = rb"[^\n]+[ ,]\d+\n"


@dataclass(frozen=True)
class ClipList:
    """Clips of one list.

    Attributes:
        name: file name of the list.
        release: release of the labels.
        clips: rows of `clip_tables` with a path.
        root: directory that the paths are in.
        prefix: replaces `root` in paths; "" makes them relative, None keeps them absolute.
    """

    name: str
    release: str
    clips: pa.Table
    root: str
    prefix: str | None


@dataclass(frozen=True, repr=False)
class ExportReport(TextReport):
    """Result of an export.

    Attributes:
        out: output directory.
        space: label space of the lists.
        written: file name -> number of clips.
        missing: split -> number of selected clips without a file.
        unreadable: split -> names of clips that are empty or unreadable, with the reasons; they are not listed.
        unlabelled: split -> number of clips without a label, which are skipped.
        skipped: class name -> number of clips that are skipped because the label space has no index for it.
        notes: further lines.
    """

    out: str
    space: str
    written: Mapping[str, int]
    missing: Mapping[str, int]
    unreadable: Mapping[str, Sequence[str]]
    unlabelled: Mapping[str, int]
    skipped: Mapping[str, int]
    notes: Sequence[str] = field(default=())

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        lines = [f"{name}: {format_count(count, 'clip')}" for name, count in self.written.items()]
        for what, counts in (("missing, not listed", self.missing), ("without a label, not listed", self.unlabelled)):
            lines += [f"{split}: {what}: {count:,}" for split, count in counts.items() if count]
        for split, names in self.unreadable.items():
            if names:
                lines.append(f"{split}: unreadable, not listed: {len(names):,} ({few(names)})")
        if self.skipped:
            count = sum(self.skipped.values())
            names = few(self.skipped)
            lines.append(f"skipped {format_count(count, 'clip')}: {printable(self.space)} has no index for {names}")
        return [*lines, *self.notes, f"labels are in the order {printable(self.space)}; lists are in {self.out}"]


def write_lists(
    lists: Sequence[ClipList], out: str | os.PathLike[str], trainer: Trainer, space: LabelSpace
) -> tuple[dict[str, int], dict[str, int]]:
    """Write lists, each atomically; return the number of clips of each, and of skipped clips by class.

    Args:
        lists: clips of each list; those with the same name become one list.
        out: output directory, which is made.
        trainer: format.
        space: label space of the labels.

    Raises:
        ValueError: the trainer cannot read a path, or a file in `out` is not a list. Nothing is written then.
    """
    with trial_directory(out):
        check_outputs(*((Path(out) / name, _BEGINNING) for name in dict.fromkeys(one.name for one in lists)))
    skipped: Counter[str] = Counter()
    contents: dict[str, list[str]] = {}
    for one in lists:
        indices = label_space("sorted", one.release).to(space).tolist()
        lines = contents.setdefault(one.name, [])
        for path, label in zip(one.clips["path"].to_pylist(), one.clips["label"].to_pylist(), strict=True):
            if indices[label] < 0:
                skipped[LABELS[one.release][label]] += 1
            else:
                lines.append(trainer.line(_listed_path(path, one.root, one.prefix), indices[label]))
    _check_lines(contents, trainer)
    Path(out).mkdir(parents=True, exist_ok=True)
    for name, lines in contents.items():
        write_file(Path(out) / name, "".join(lines))
    return {name: len(lines) for name, lines in contents.items()}, dict(skipped)


def in_order(clips: pa.Table) -> pa.Table:
    """Return the rows with a path and a label, in the order of the names of clips."""
    clips = clips.filter(pc.and_(pc.is_valid(clips["path"]), pc.greater_equal(clips["label"], 0)))
    return clips.take(pc.sort_indices(clip_names(clips)))


def _listed_path(path: str, root: str, prefix: str | None) -> str:
    if prefix is None:
        return path
    relative = path.removeprefix(root.rstrip("/") + "/")
    return f"{prefix.rstrip('/')}/{relative}" if prefix else relative


def _check_lines(contents: Mapping[str, Sequence[str]], trainer: Trainer) -> None:
    """Raise ValueError if a path has a character that the trainer takes for something else."""
    for name, lines in contents.items():
        paths = [line.rpartition(trainer.separator)[0] for line in lines]
        odd = [path for path in paths if any(character in path for character in f"{trainer.refused}\n\r")]
        if odd:
            found = next(character for character in f"{trainer.refused}\n\r" if character in odd[0])
            raise ValueError(
                f"{trainer.name} cannot read paths with {found!r}: {name} would have {len(odd):,}, such as "
                f"{printable(odd[0], 200)}; pass link=DIRECTORY for hard links with safe names"
            )
