"""What `verify` found in a tree of clips, as a value, for people, as JSON and as CSV."""

import json
import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from rich.table import Table
from rich.text import Text

from kinetics_tools.io.atomic import check_target, replacing
from kinetics_tools.releases import SPLITS
from kinetics_tools.verification.overlap import Overlap

__all__ = ["COLUMNS", "STATUSES", "Report", "SplitReport", "check_csv_target", "check_json_target"]

# Of the annotated clips, of which each has one, the first of the middle ones that holds; and "unexpected", of all
# other files.
STATUSES = ("present", "missing", "empty", "unreadable", "duplicate", "misplaced", "short", "unexpected")
_EXAMPLES = 3
_HEAD_BYTES = 1024

COLUMNS = pa.schema(
    [
        ("split", pa.string()),
        ("clip", pa.string()),
        ("youtube_id", pa.string()),
        ("time_start", pa.float32()),
        ("time_end", pa.float32()),
        ("label", pa.string()),
        ("status", pa.string()),
        ("detail", pa.string()),
        ("path", pa.string()),
        ("bytes", pa.int64()),
        ("duration", pa.float64()),
        ("fps", pa.float64()),
        ("num_frames", pa.int64()),
        ("width", pa.int64()),
        ("height", pa.int64()),
        ("has_audio", pa.bool_()),
        ("codec", pa.string()),
    ]
)


@dataclass(frozen=True)
class SplitReport:
    """Of one split.

    Attributes:
        annotations: path of the annotation file.
        annotated: number of its clips that were asked for: the sum of `counts` without "unexpected".
        counts: number of clips by status, with all of STATUSES as keys.
        replaced: files of 400 that a clip from the archive of replacements stands in for; they are not looked at.
        archives_left_out: archives beside extracted clips; they are not looked at.
        broken_archives: archive -> why it could not be read to its end.
        left_out: files of annotated clips that were not asked for; of extracted ones nothing is looked at.
    """

    annotations: str
    annotated: int
    counts: dict[str, int]
    replaced: int = 0
    archives_left_out: int = 0
    broken_archives: dict[str, str] = field(default_factory=dict)
    left_out: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether each annotated clip that was asked for is there and good. Files that are not annotated do no harm."""
        return self.counts["present"] == self.annotated and not self.broken_archives


@dataclass(frozen=True)
class Report:
    """What `verify` found.

    Attributes:
        release, directory, deep, classes, max_clips_per_class, seed: what was asked for.
        splits: those that were looked at.
        clips: a row for each annotated clip that was asked for, in the order of the annotations, and then one for each
            unexpected file: `split`, `clip` (the file name that it has or should have, without suffix), `youtube_id`,
            `time_start`, `time_end`, `label`; `status`, one of STATUSES; `detail`, all that is wrong; `path` in the
            tree, null where there is no file, for a member of an archive the archive's path and its own; `bytes`; and
            `duration`, `fps`, `num_frames`, `width`, `height`, `has_audio`, `codec` as `media.ClipInfo` has them,
            null where they could not be read.
        duplicates: groups of paths whose files have the same bytes.
        overlaps: what was asked for by `overlaps`.
        opened: number of clips that were looked into; the others had not changed since an earlier run.
    """

    release: str
    directory: str
    deep: bool
    splits: dict[str, SplitReport]
    clips: pa.Table
    duplicates: list[list[str]]
    overlaps: list[Overlap]
    opened: int
    classes: tuple[str, ...] | None = None
    max_clips_per_class: int | None = None
    seed: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether each clip that was asked for, of each of `splits`, is there and good."""
        return all(split.is_complete for split in self.splits.values())

    def table(self) -> Table:
        """Counts by status, a column for each split."""
        table = Table(title=Text(f"kinetics {self.release} in {self.directory}"), title_justify="left")
        table.add_column("")
        for name in self.splits:
            table.add_column(name, justify="right")
        table.add_row("annotated", *(f"{split.annotated:,}" for split in self.splits.values()), end_section=True)
        for status in STATUSES:
            table.add_row(status, *(f"{split.counts[status]:,}" for split in self.splits.values()))
        return table

    def lines(self) -> list[str]:
        """The rest of the report for people: examples of what is wrong, and what was not looked at."""
        examples: dict[tuple[str, str], list[str]] = defaultdict(list)
        for row in self._problems():
            examples[row["split"], row["status"]].append(_described(row))
        lines = []
        for (name, status), described in examples.items():
            more = "; ..." if len(described) > _EXAMPLES else ""
            lines.append(f"{name}: {len(described):,} {status}: {'; '.join(described[:_EXAMPLES])}{more}")
        for name, split in self.splits.items():
            lines += [f"{name}: {archive}: {reason}" for archive, reason in split.broken_archives.items()]
            if split.replaced:
                lines.append(f"{name}: {split.replaced:,} files are replaced, and not looked at")
            if split.archives_left_out:
                lines.append(f"{name}: {split.archives_left_out:,} archives beside the clips are not looked at")
            if split.left_out:
                lines.append(f"{name}: {split.left_out:,} annotated clips are there that were not asked for")
        lines += [overlap.line() for overlap in self.overlaps]
        lines.append(f"looked into {self.opened:,} clips{', every frame' if self.deep else ''}")
        verdicts = {
            "not complete": [name for name, split in self.splits.items() if not split.is_complete],
            "complete": [name for name, split in self.splits.items() if split.is_complete],
            "not looked at": [name for name in SPLITS if name not in self.splits],
        }
        lines.append("; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in verdicts.items() if names))
        return lines

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Writes the report: counts by split, and each clip that is not present. `path` is replaced whole."""
        splits = {
            name: {
                "annotations": split.annotations,
                "complete": split.is_complete,
                "annotated": split.annotated,
                "clips": split.counts,
                "replaced": split.replaced,
                "archives_left_out": split.archives_left_out,
                "broken_archives": split.broken_archives,
                "left_out": split.left_out,
            }
            for name, split in self.splits.items()
        }
        values = {
            "release": self.release,
            "directory": self.directory,
            "deep": self.deep,
            "classes": self.classes,
            "max_clips_per_class": self.max_clips_per_class,
            "seed": self.seed,
            "complete": self.is_complete,
            "splits": splits,
            "problems": [
                {name: row[name] for name in ("split", "clip", "status", "path", "detail")} for row in self._problems()
            ],
            "duplicates": self.duplicates,
            "overlaps": [overlap.values() for overlap in self.overlaps],
        }
        with replacing(path) as partial:
            partial.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Writes `clips`. `path` is replaced whole."""
        with replacing(path) as partial:
            pa.csv.write_csv(self.clips, partial)

    def _problems(self) -> list[dict[str, Any]]:
        bad = pc.not_equal(self.clips["status"], "present")
        return list(self.clips.filter(bad).to_pylist())


def check_json_target(path: str | os.PathLike[str]) -> None:
    """Raises ValueError where `Report.write_json` cannot write, or would replace what is no report of `verify`."""
    _check_replaceable(path, rb'\s*\{\s*"release": *"[^"]*",\s*"directory": *"')


def check_csv_target(path: str | os.PathLike[str]) -> None:
    """The same of `Report.write_csv`."""
    _check_replaceable(path, ",".join(f'"?{name}"?' for name in COLUMNS.names).encode())


def _check_replaceable(path: str | os.PathLike[str], beginning: bytes) -> None:
    check_target(path)
    if not os.path.isfile(path):
        return
    with open(path, "rb") as file:
        head = file.read(_HEAD_BYTES)
    if head and not re.match(beginning, head):  # an empty file is nobody's loss
        raise ValueError(
            f"{os.fspath(path)} is there and no report of `kinetics verify`; move it away, or name another file"
        )


def _described(row: dict[str, Any]) -> str:
    name = row["path"] or row["clip"]
    return f"{name} ({row['detail']})" if row["detail"] else str(name)
