"""Reports of `prepare`, as data and as text."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from rich.box import SIMPLE
from rich.table import Table

from kinetics_tools.errors import clip_reason
from kinetics_tools.io import Folder
from kinetics_tools.preparation.clip import REASON_NAMES, DroppedClip
from kinetics_tools.preparation.parquet import ShardReport
from kinetics_tools.preparation.versions import merge_versions
from kinetics_tools.text import TextReport, format_count, format_size, printable

MANIFEST_NAME = "prepare.json"
"""File name of the manifest in the directory of a release."""
_SHOWN_CLIPS = 10


class _Shards(Protocol):
    """Shards of a split: a `ShardPlan`, or its published part."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def pattern(self) -> str: ...

    @property
    def count(self) -> int: ...

    @property
    def basis(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class SplitReport:
    """Existing shards and clips of a split. The manifest stores these fields.

    Attributes:
        files: pattern of the names of its shards, relative to the output directory.
        shards, shards_done: number of planned and of existing shards.
        clips: number of annotated clips in existing shards: `rows` of them are prepared, the others dropped.
        dropped: reason -> number of clips.
        absent: names of the clips that are dropped because they are missing.
        unusable: the other dropped clips, with the reason of each.
        bytes_in, bytes_out: size of the prepared clips before and after.
        seconds: duration of the prepared clips.
        basis: as in `ShardPlan`; empty for old manifests.
        made_with: library -> versions with which the shards were made; empty if none names them.
        per_class: number of prepared clips of each class, in the order of labels; None if a shard does not tell it.
    """

    fingerprint: str
    files: str
    shards: int
    shards_done: int
    clips: int
    rows: int
    dropped: dict[str, int]
    absent: tuple[str, ...]
    unusable: tuple[DroppedClip, ...]
    bytes_in: int
    bytes_out: int
    seconds: float
    basis: Mapping[str, Any]
    made_with: Mapping[str, str] = field(default_factory=dict)
    per_class: tuple[int, ...] | None = None

    @classmethod
    def of(cls, plan: _Shards, finished: Mapping[int, ShardReport]) -> "SplitReport":
        """Sum up the reports of finished shards, by shard number."""
        reports = [finished[shard] for shard in sorted(finished)]
        dropped = [one for report in reports for one in report.dropped]
        return cls(
            fingerprint=plan.fingerprint,
            files=plan.pattern,
            shards=plan.count,
            shards_done=len(reports),
            clips=sum(report.clips for report in reports),
            rows=sum(report.rows for report in reports),
            dropped=dict(sorted(Counter(one.reason for one in dropped).items())),
            absent=tuple(sorted(one.name for one in dropped if one.reason == "absent")),
            unusable=tuple(one for one in dropped if one.reason != "absent"),
            bytes_in=sum(report.bytes_in for report in reports),
            bytes_out=sum(report.bytes_out for report in reports),
            seconds=round(sum(report.seconds for report in reports), 3),
            basis=plan.basis,
            made_with=merge_versions(report.made_with for report in reports),
            per_class=total_per_class(reports),
        )

    @property
    def is_complete(self) -> bool:
        """True if all of its shards exist."""
        return self.shards == self.shards_done


def total_per_class(reports: Sequence[ShardReport]) -> tuple[int, ...] | None:
    """Return the number of clips of each class in all shards; None without shards, or if one does not tell it."""
    known = [report.per_class for report in reports if report.per_class is not None]
    return tuple(map(sum, zip(*known, strict=True))) if known and len(known) == len(reports) else None


@dataclass(frozen=True)
class Estimate:
    """Result of a dry run: size and time of the shards to make, estimated from `sampled` clips.

    `present` of the `clips` have a file; `unusable` of the sampled ones cannot be prepared. `wall_seconds` is for
    `workers` processes.
    """

    clips: int
    present: int
    sampled: int
    unusable: int
    bytes: int
    wall_seconds: float
    workers: int


@dataclass(frozen=True)
class LateClip:
    """A clip whose file appeared or was repaired after its shard was written. `shard` is the name of that file."""

    name: str
    split: str
    shard: str


@dataclass(frozen=True, repr=False)
class Report(TextReport):
    """Result of a run of `prepare`.

    Attributes:
        options: settings that decide the bytes of a shard.
        splits: split -> its existing shards.
        to_make: number of shards that were missing before the run; `made` of them exist now, with `rows_made` clips.
        late: clips that became available after their shards were written.
        failed: name of a shard -> reason that its task on a cluster was lost.
    """

    release: str
    out: str
    options: Mapping[str, Any]
    splits: dict[str, SplitReport]
    to_make: int
    late: tuple[LateClip, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)
    made: int = 0
    rows_made: int = 0
    wall_seconds: float = 0.0
    estimate: Estimate | None = field(default=None)

    @property
    def is_complete(self) -> bool:
        """True if all shards of all splits exist."""
        return all(split.is_complete for split in self.splits.values())

    def table(self) -> Table:
        """Return a table of the splits."""
        table = Table(box=SIMPLE, pad_edge=False)
        for name in ("split", "shards", "clips", "prepared", "before", "after"):
            table.add_column(name, justify="left" if name == "split" else "right", no_wrap=True)
        for name, split in self.splits.items():
            shards = f"{split.shards_done:,} of {split.shards:,}"
            counts = shards, f"{split.clips:,}", f"{split.rows:,}"
            table.add_row(name, *counts, format_size(split.bytes_in), format_size(split.bytes_out))
        return table

    def lines(self) -> list[str]:
        """Return the rest of the report as text; the last line is the next command."""
        if self.estimate is not None and self.to_make:
            return [
                *self._estimate_lines(self.estimate),
                *self._late_lines(),
                "next: rerun the same command without --dry-run",
            ]
        lines = [] if self.to_make else [self._nothing_line()]
        if self.made:
            took = timedelta(seconds=round(self.wall_seconds))
            rate = self.rows_made / self.wall_seconds if self.wall_seconds else 0.0
            amount = f"{format_count(self.made, 'shard')} with {format_count(self.rows_made, 'clip')}"
            lines = [f"made {amount} in {took}, {rate:.2f} clips/s"]
        for name, split in self.splits.items():
            lines += self._dropped_lines(name, split)
        lines += [f"could not make {shard}: {reason}" for shard, reason in self.failed.items()]
        lines += self._late_lines()
        for name, split in self.splits.items():
            missing = format_count(split.shards - split.shards_done, "shard")
            incomplete = f"{name}: {missing} still to make; the card does not list the split until then"
            lines.append(f"{self._call(name, split)} loads it" if split.is_complete else incomplete)
        return [*lines, *self._next_lines()]

    def _nothing_line(self) -> str:
        return f"nothing to make: all shards {'exist' if self.is_complete else 'of this range exist'}"

    def _next_lines(self) -> list[str]:
        if self.failed:
            return ["incomplete: rerun the same command to make the shards that failed"]
        if not self.is_complete:
            return ["incomplete: make the remaining shards with other ranges of --shards, or without --shards"]
        folder = Folder(self.out)
        return [f"next: kinetics push {shlex.quote(folder.root)} USER/NAME"] if folder.is_local else []

    def _estimate_lines(self, found: Estimate) -> list[str]:
        took = timedelta(seconds=round(found.wall_seconds))
        amount = f"{format_count(self.to_make, 'shard')} with {found.clips:,} annotated clips"
        lines = [
            f"to make: {amount}, {found.clips - found.present:,} of them missing",
            f"about {format_size(found.bytes)} in {took} with {format_count(found.workers, 'worker')}, "
            f"estimated from {format_count(found.sampled, 'clip')}",
        ]
        if found.unusable:
            lines.append(f"{found.unusable:,} of the {found.sampled:,} cannot be prepared: see kinetics verify")
        return lines

    def _dropped_lines(self, name: str, split: SplitReport) -> list[str]:
        lines = [f"{name}: {_description(one)}" for one in split.unusable[:_SHOWN_CLIPS]]
        if split.dropped:
            counts = ", ".join(f"{count:,} {REASON_NAMES.get(one, one)}" for one, count in split.dropped.items())
            lines.insert(0, f"{name}: dropped: {counts}")
        if len(split.unusable) > _SHOWN_CLIPS:
            where = f"{self.out}/{self.release}/{MANIFEST_NAME}"
            lines.append(f"{name}: {len(split.unusable) - _SHOWN_CLIPS:,} more are listed in {where}")
        return lines

    def _late_lines(self) -> list[str]:
        if not self.late:
            return []
        folder = Folder(self.out)
        names = ", ".join(f"{one.split} {one.name}" for one in self.late[:_SHOWN_CLIPS])
        more = f" and {len(self.late) - _SHOWN_CLIPS:,} more" if len(self.late) > _SHOWN_CLIPS else ""
        root = folder.root if folder.is_local else self.out
        shards = shlex.join(f"{root}/{shard}" for shard in sorted({one.shard for one in self.late}))
        return [
            f"{format_count(len(self.late), 'clip')} became available after their shards were written: {names}{more}",
            "to include them, remove these shards and rerun the same command:",
            f"{'rm ' if folder.is_local else ''}{shards}",
        ]

    def _call(self, name: str, split: SplitReport) -> str:
        """Return a call that loads a split from any directory. `datasets` takes URLs only of files."""
        folder = Folder(self.out)
        if folder.is_local:
            return f'load_dataset("{folder.root}", "{self.release}", split="{name}")'
        files = f'{{"{name}": "{self.out}/{split.files}"}}'
        return f'load_dataset("parquet", data_files={files}, split="{name}")'


def _description(one: DroppedClip) -> str:
    detail = clip_reason(one.detail, one.name)
    return printable(f"{one.name}: {one.reason}" + (f": {detail}" if detail else ""))
