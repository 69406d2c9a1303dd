"""What a preparation gave: for who ran it, and in prepare.json for everybody after."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from importlib.metadata import version
from typing import Any, Protocol

from rich.box import SIMPLE
from rich.table import Table

from kinetics_tools.io.folder import Folder
from kinetics_tools.preparation.clip import Dropped
from kinetics_tools.preparation.parquet import ShardReport
from kinetics_tools.releases import SPLITS
from kinetics_tools.text import format_size

__all__ = [
    "LOCK_NAME",
    "SUMMARY_NAME",
    "Estimate",
    "Late",
    "Report",
    "SplitReport",
    "made_with",
    "parse_summary",
    "put_split",
    "read_summary",
    "summary_bytes",
    "write_summary",
]

SUMMARY_NAME = "prepare.json"
LOCK_NAME = ".prepare.lock"  # beside the releases, for who writes prepare.json or the card
_SHOWN = 10  # clips that are named on the screen
_MADE_WITH = ("kinetics-dataset", "av", "pyarrow", "datasets")


class _Shards(Protocol):
    """What is to be known of a split's shards: a `ShardPlan`, or the part of one that is published."""

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
    """A split, as far as it is there.

    Attributes:
        files: pattern of the names of its shards, below the folder of the whole.
        shards, shards_done: how many there are to be, and how many there are.
        clips: annotated clips in the shards that are done; `rows` of them were prepared, the others dropped.
        dropped: reason -> clips.
        absent: names of the dropped clips that were not there.
        unusable: the other dropped clips, each with what is wrong with it.
        bytes_in, bytes_out: of the prepared clips, before and after.
        seconds: how long they are shown.
        basis: as in `ShardPlan`; empty of what was prepared before that was told.
    """

    fingerprint: str
    files: str
    shards: int
    shards_done: int
    clips: int
    rows: int
    dropped: dict[str, int]
    absent: tuple[str, ...]
    unusable: tuple[Dropped, ...]
    bytes_in: int
    bytes_out: int
    seconds: float
    basis: Mapping[str, Any]

    @classmethod
    def of(cls, plan: _Shards, finished: Mapping[int, ShardReport]) -> "SplitReport":
        reports = [finished[shard] for shard in sorted(finished)]
        dropped = Counter(one.reason for report in reports for one in report.dropped)
        return cls(
            fingerprint=plan.fingerprint,
            files=plan.pattern,
            shards=plan.count,
            shards_done=len(reports),
            clips=sum(report.clips for report in reports),
            rows=sum(report.rows for report in reports),
            dropped=dict(sorted(dropped.items())),
            absent=tuple(sorted(one.name for report in reports for one in report.dropped if one.reason == "absent")),
            unusable=tuple(one for report in reports for one in report.dropped if one.reason != "absent"),
            bytes_in=sum(report.bytes_in for report in reports),
            bytes_out=sum(report.bytes_out for report in reports),
            seconds=round(sum(report.seconds for report in reports), 3),
            basis=plan.basis,
        )

    @property
    def is_complete(self) -> bool:
        """Whether all of its shards are there."""
        return self.shards == self.shards_done


@dataclass(frozen=True)
class Estimate:
    """What a dry run found: for the shards to make, how long it takes with `workers` processes like the one tried."""

    clips: int
    present: int
    sampled: int
    bytes: int
    wall_seconds: float
    workers: int


@dataclass(frozen=True)
class Late:
    """A clip whose file came, or was mended, after the shard that should hold it was made.

    `shard` is that file's name in `out`.
    """

    name: str
    split: str
    shard: str


@dataclass(frozen=True)
class Report:
    """What a run found and made.

    Attributes:
        options: what decides the bytes of a shard but for its clips.
        splits: split -> what there is of it now.
        to_make: shards that were not there before the run; `made` of them are now, with `rows_made` clips.
        late: clips for which finished shards would have to be made again.
    """

    release: str
    out: str
    options: Mapping[str, Any]
    splits: dict[str, SplitReport]
    to_make: int
    late: tuple[Late, ...] = ()
    made: int = 0
    rows_made: int = 0
    wall_seconds: float = 0.0
    estimate: Estimate | None = field(default=None)

    @property
    def is_complete(self) -> bool:
        return all(split.is_complete for split in self.splits.values())

    def table(self) -> Table:
        """The splits, for people."""
        table = Table(box=SIMPLE, pad_edge=False)
        for name in ("split", "shards", "clips", "prepared", "before", "after"):
            table.add_column(name, justify="left" if name == "split" else "right", no_wrap=True)
        for name, split in self.splits.items():
            table.add_row(
                name,
                f"{split.shards_done:,} of {split.shards:,}",
                f"{split.clips:,}",
                f"{split.rows:,}",
                format_size(split.bytes_in),
                format_size(split.bytes_out),
            )
        return table

    def lines(self) -> list[str]:
        """The rest, for people."""
        if self.estimate is not None:
            found = self.estimate
            took = timedelta(seconds=round(found.wall_seconds))
            return [
                f"to make: {self.to_make:,} shards of {found.clips:,} annotated clips, {found.present:,} of them here",
                f"about {format_size(found.bytes)} in {took} with {found.workers:,} workers, "
                f"by {found.sampled} clips that were tried",
                *self._late_lines(),
            ]
        rate = self.rows_made / self.wall_seconds if self.wall_seconds else 0.0
        took = timedelta(seconds=round(self.wall_seconds))
        lines = ["nothing to make: the shards were there already"]
        if self.made:
            lines = [f"made {self.made:,} shards, {self.rows_made:,} clips in {took}, {rate:.2f} clips/s"]
        for name, split in self.splits.items():
            if split.dropped:
                reasons = ", ".join(f"{count:,} {reason}" for reason, count in split.dropped.items())
                lines.append(f"{name}: not prepared: {reasons}")
            lines += [f"{name}: {_what(one)}" for one in split.unusable[:_SHOWN]]
            if len(split.unusable) > _SHOWN:
                where = f"{self.out}/{self.release}/{SUMMARY_NAME}"
                lines.append(f"{name}: {len(split.unusable) - _SHOWN:,} more are named in {where}")
        lines += self._late_lines()
        for name, split in self.splits.items():
            if split.is_complete:
                lines.append(f"{self._call(name, split)} loads it")
            else:
                lines.append(
                    f"{name}: {split.shards - split.shards_done:,} shards are to be made; it is not in the card"
                )
        return lines

    def _late_lines(self) -> list[str]:
        """Which clips have come since, and how to take them in."""
        if not self.late:
            return []
        store = Folder(self.out)
        names = ", ".join(f"{one.split} {one.name}" for one in self.late[:_SHOWN])
        more = f" and {len(self.late) - _SHOWN:,} more" if len(self.late) > _SHOWN else ""
        folder = store.root if store.is_local else self.out
        shards = [f"{folder}/{shard}" for shard in sorted({one.shard for one in self.late})]
        return [
            f"{len(self.late):,} clips have come since their shards were made: {names}{more}",
            "to take them in, remove these shards, and run the same command again:",
            f"{'rm ' if store.is_local else ''}{shlex.join(shards)}",
        ]

    def _call(self, name: str, split: SplitReport) -> str:
        """What loads a split, from any folder of this machine; of URLs `datasets` takes those of files alone."""
        store = Folder(self.out)
        if store.is_local:
            return f'load_dataset("{store.root}", "{self.release}", split="{name}")'
        files = f'{{"{name}": "{self.out}/{split.files}"}}'
        return f'load_dataset("parquet", data_files={files}, split="{name}")'


def _what(one: Dropped) -> str:
    """What is wrong with a clip, whose name is said once."""
    detail = re.sub(rf"^{re.escape(one.name)}\.\w+: ", "", one.detail)
    return f"{one.name}: {one.reason}" + (f": {detail}" if detail else "")


def parse_summary(release: str, content: str | bytes, *, where: str = SUMMARY_NAME) -> dict[str, Any]:
    """What a prepare.json holds; without any splits where it is empty. ValueError calls a damaged one `where`."""
    if not content:
        return {"release": release, "splits": {}}
    try:
        found: Any = json.loads(content)
    except ValueError:
        found = None
    splits = found.get("splits") if isinstance(found, dict) else None
    if not isinstance(splits, dict) or not all(isinstance(one, dict) and "rows" in one for one in splits.values()):
        raise ValueError(f"{where} is damaged; remove it, and prepare or push each of its splits again")
    return dict(found)


def put_split(summary: dict[str, Any], split: str, entry: dict[str, Any]) -> None:
    """Puts what there is to say of a split into a summary, whose splits stay in their order."""
    splits = {**summary["splits"], split: entry}
    summary["splits"] = {name: splits[name] for name in SPLITS if name in splits}


def summary_bytes(summary: dict[str, Any]) -> bytes:
    """A prepare.json with it, in which the clips that are absent, perhaps many, take one line."""
    text = json.dumps(summary, indent=2)
    text = re.sub(r'(?<="absent": )\[[^]]*\]', lambda found: json.dumps(json.loads(found[0])), text)
    return f"{text}\n".encode()


def read_summary(store: Folder, release: str) -> dict[str, Any]:
    """What the prepare.json of a release says; without any splits where there is none."""
    name = f"{release}/{SUMMARY_NAME}"
    try:
        content = store.read(name)
    except FileNotFoundError:
        content = b""
    return parse_summary(release, content, where=store.path(name))


def made_with() -> dict[str, str]:
    """The versions of what decides the bytes of shards."""
    return {name: version(name) for name in _MADE_WITH}


def write_summary(store: Folder, report: Report) -> bool:
    """Writes what `report` says of its splits into prepare.json, and leaves the others' as they are.

    Returns whether that was to be done: whether it did not say so already.
    """
    summary = read_summary(store, report.release)
    before = json.dumps(summary)
    for name, split in report.splits.items():
        put_split(summary, name, {**asdict(split), "options": dict(report.options), "made_with": made_with()})
    if json.dumps(summary) == before:
        return False
    store.write(f"{report.release}/{SUMMARY_NAME}", summary_bytes(summary))
    return True
