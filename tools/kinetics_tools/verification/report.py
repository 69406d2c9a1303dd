"""Report of `verify`: data, text, JSON and CSV."""

import io
import json
import os
import shlex
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from rich.console import Console
from rich.table import Table
from rich.text import Text

from kinetics_tools.annotations import Selection
from kinetics_tools.downloading import NO_ARCHIVE
from kinetics_tools.io import check_outputs, disk_errors, replacing, write_file
from kinetics_tools.releases import SPLITS
from kinetics_tools.text import TextReport, format_count
from kinetics_tools.verification.overlap import Overlap

# An annotated clip has one status, the first of the middle ones that holds; "unexpected" are all other files.
STATUSES = ("present", "missing", "empty", "unreadable", "duplicate", "misplaced", "short", "unexpected")
_EXAMPLES = 3

COLUMNS = pa.schema(
    [
        *((name, pa.string()) for name in ("split", "clip", "youtube_id")),
        ("time_start", pa.float32()),
        ("time_end", pa.float32()),
        *((name, pa.string()) for name in ("label", "status", "detail", "path")),
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


# Beginnings of earlier outputs.
_JSON_BEGINNING = rb'\s*\{\s*"release": *"[^"]*",\s*"directory": *"'
_CSV_BEGINNING = ",".join(f'"?{name}"?' for name in COLUMNS.names).encode()


def check_reports(json_path: str | os.PathLike[str] | None, csv_path: str | os.PathLike[str] | None) -> None:
    """Raise ValueError for a path that cannot be written, or that has another file than an earlier report."""
    check_outputs((json_path, _JSON_BEGINNING), (csv_path, _CSV_BEGINNING))


@dataclass(frozen=True)
class SplitReport:
    """Report of one split.

    Attributes:
        annotations: path of the annotation file.
        annotated: number of selected annotated clips: the sum of `counts` without "unexpected".
        counts: number of clips by status, with all of STATUSES as keys.
        replaced, archives_left_out, left_out: as in `Inventory`; none of these were checked.
        broken_archives: archive -> reason that it could not be read to its end.
        is_extracted: True if the clips are files, False if they are in archives.
    """

    annotations: str
    annotated: int
    counts: dict[str, int]
    replaced: int = 0
    archives_left_out: int = 0
    broken_archives: dict[str, str] = field(default_factory=dict)
    left_out: int = 0
    is_extracted: bool = True

    @property
    def is_complete(self) -> bool:
        """True if each selected annotated clip is present. Unexpected files do not matter."""
        return self.counts["present"] == self.annotated and not self.broken_archives

    def values(self) -> dict[str, Any]:
        """Return the report for JSON."""
        names = ("replaced", "archives_left_out", "broken_archives", "left_out")
        values = {"annotations": self.annotations, "complete": self.is_complete, "annotated": self.annotated}
        return {**values, "clips": self.counts, **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True, repr=False)
class Report(TextReport):
    """Findings of `verify`.

    Attributes:
        release, directory, deep, selection: the arguments.
        splits: split -> its report.
        clips: one row for each selected annotated clip, in the order of the annotations, then one for each unexpected
            file. `clip` is the actual or expected file name without suffix. `status` is one of STATUSES, and `detail`
            names all problems. `path` is relative, null without a file; a member has the archive's path and its own.
            `duration` and the following are as in `media.ClipInfo`, null if unreadable.
        duplicates: groups of paths of files with the same bytes.
        overlaps: overlaps with the splits in the argument `overlaps`.
        opened: number of clips that were opened.
        unchanged: number of clips that were not, because their files had not changed since an earlier run.
    """

    release: str
    directory: str
    deep: bool
    splits: dict[str, SplitReport]
    clips: pa.Table
    duplicates: list[list[str]]
    overlaps: list[Overlap]
    opened: int
    selection: Selection
    unchanged: int = 0

    @property
    def is_complete(self) -> bool:
        """True if each selected clip is present in each split."""
        return all(split.is_complete for split in self.splits.values())

    def __repr__(self) -> str:
        console = Console(file=io.StringIO(), width=100, force_jupyter=False, color_system=None)
        with console.capture() as table:
            console.print(self.table())
        return table.get() + super().__repr__()

    def table(self) -> Table:
        """Return the counts by status, with a column for each split."""
        table = Table(title=Text(f"kinetics {self.release} in {self.directory}"), title_justify="left")
        table.add_column("")
        for name in self.splits:
            table.add_column(name, justify="right")
        table.add_row("annotated", *(f"{split.annotated:,}" for split in self.splits.values()), end_section=True)
        for status in STATUSES:
            table.add_row(status, *(f"{split.counts[status]:,}" for split in self.splits.values()))
        return table

    def lines(self) -> list[str]:
        """Return the rest of the report as text: examples of problems, unchecked files, and the next command."""
        examples: dict[tuple[str, str], list[str]] = defaultdict(list)
        for row in self._problems():
            examples[row["split"], row["status"]].append(_described(row))
        lines = []
        for (name, status), described in examples.items():
            more = "; ..." if len(described) > _EXAMPLES else ""
            lines.append(f"{name}: {len(described):,} {status}: {'; '.join(described[:_EXAMPLES])}{more}")
        for name, split in self.splits.items():
            lines += [f"{name}: {archive}: {reason}" for archive, reason in split.broken_archives.items()]
            for count, text in (
                (split.replaced, "replaced files were not checked"),
                (split.archives_left_out, "archives beside the clips were not checked"),
                (split.left_out, "files of annotated clips were not asked for"),
            ):
                lines += [f"{name}: {count:,} {text}"] if count else []
        lines += [overlap.line() for overlap in self.overlaps]
        lines.append(f"opened {format_count(self.opened, 'clip')}{', decoded every frame' if self.deep else ''}")
        if self.unchanged:
            lines[-1] += f"; {self.unchanged:,} unchanged since the last run"
        verdicts = {
            "incomplete": [name for name, split in self.splits.items() if not split.is_complete],
            "complete": [name for name, split in self.splits.items() if split.is_complete],
            "not checked": [name for name in SPLITS if name not in self.splits],
        }
        lines.append("; ".join(f"{verdict}: {', '.join(names)}" for verdict, names in verdicts.items() if names))
        return [*lines, f"next: {self._next_step()}"]

    def _next_step(self) -> str:
        if not all(split.is_extracted for split in self.splits.values()):
            # Neither command takes archives: extracted clips beside them would win over them.
            return f'load_dataset("kinetics", "{self.release}", data_dir="{self.directory}")'
        asked = replace(self.selection, annotations=None)
        missing = self.clips.filter(pc.equal(self.clips["status"], "missing"))
        if not len(missing):
            command = ["kinetics", "prepare", self.release, "--data-dir", self.directory, "--out", "prepared"]
            # `prepare` takes all clips of a directory.
            asked = replace(asked, splits=[*self.splits] or None, max_clips_per_class=None)
            return shlex.join([*command, *asked.options()])
        command = ["kinetics", "download", self.release, "--out", self.directory]
        asked = replace(asked, splits=pc.unique(missing["split"]).to_pylist())
        if pc.all(pc.ends_with(missing["detail"], NO_ARCHIVE)).as_py():  # the archives were downloaded already
            command += ["--source", "youtube"]
        return shlex.join([*command, *asked.options()])

    def write(self, json_path: str | os.PathLike[str] | None, csv_path: str | os.PathLike[str] | None) -> list[str]:
        """Write the reports that have a path; return "wrote PATH" for each. DiskError if one cannot be written."""
        outputs = [(path, write) for path, write in ((json_path, self.write_json), (csv_path, self.write_csv)) if path]
        for path, write in outputs:
            with disk_errors(path):
                write(path)
        return [f"wrote {os.fspath(path)}" for path, _ in outputs]

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write the report: counts by split, and each clip that is not present. `path` is replaced atomically."""
        asked = ("classes", "subset", "exclude", "exclude_by", "max_clips_per_class", "seed")
        columns = ("split", "clip", "status", "path", "detail")
        values = {
            **{name: getattr(self, name) for name in ("release", "directory", "deep")},
            **{name: getattr(self.selection, name) for name in asked},
            "complete": self.is_complete,
            "splits": {name: split.values() for name, split in self.splits.items()},
            "problems": [{name: row[name] for name in columns} for row in self._problems()],
            "duplicates": self.duplicates,
            "overlaps": [overlap.values() for overlap in self.overlaps],
        }
        write_file(path, json.dumps(values, indent=1) + "\n")

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write `clips`. `path` is replaced atomically."""
        with replacing(path) as partial:
            pa.csv.write_csv(self.clips, partial)

    def _problems(self) -> list[dict[str, Any]]:
        bad = pc.not_equal(self.clips["status"], "present")
        return list(self.clips.filter(bad).to_pylist())


def _described(row: dict[str, Any]) -> str:
    name = row["path"] or row["clip"]
    return f"{name} ({row['detail']})" if row["detail"] else str(name)
