"""Report of a download."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from kinetics_tools.downloading.ledger import LEDGER_NAME
from kinetics_tools.downloading.plan import Needs
from kinetics_tools.downloading.state import HERE
from kinetics_tools.text import TextReport, few, format_count, format_size

# Statuses that another run of the same command would not change.
_SETTLED = (*HERE, "missing", "empty", "unavailable")
_AGAIN = "rerun the same command"


@dataclass(frozen=True, repr=False)
class Report(TextReport):
    """Result of a download, or with `dry_run` of its plan.

    Attributes:
        counts: split -> status -> number of clips. The statuses are those of `ledger.Entry` and "pending".
        archives: split -> number of archives that hold its clips; empty for single videos.
        to_fetch: split -> number of archives (or single clips) to download, as of the start of the run.
        needs: bytes to download and to write; for single videos only an estimate of the bytes to write.
        failed: key of an archive -> reason of its failure.
        refused: "archive: member: reason" of unsafe members.
        unannotated, unannotated_examples: split -> number and first names of unannotated members of archives.
        missing: split -> names of the clips that no archive has.
        no_replacement: key of the archive of replacements of 400, if the mirror does not give it.
        errors, examples: class of error -> number of clips that failed for it, and "clip: reason" of the first.
        given_up: number of clips that another run retries only with `retry_errors`.
        options: options of the command line that select the same clips.
    """

    release: str
    out: Path
    dry_run: bool
    counts: dict[str, dict[str, int]]
    archives: dict[str, int]
    to_fetch: dict[str, int]
    needs: Needs
    failed: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    unannotated: dict[str, int] = field(default_factory=dict)
    unannotated_examples: dict[str, list[str]] = field(default_factory=dict)
    missing: dict[str, list[str]] = field(default_factory=dict)
    no_replacement: str | None = None
    errors: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    given_up: int = 0
    bytes_fetched: int = 0
    seconds: float = 0.0
    options: Sequence[str] = ()

    @property
    def is_complete(self) -> bool:
        """True if each clip is on disk or known not to be available from this source."""
        return not self.failed and all(status in _SETTLED for counts in self.counts.values() for status in counts)

    def lines(self) -> list[str]:
        """Return the report as lines of text; the last one says what to do next."""
        lines = []
        for split, counts in self.counts.items():
            clips = ": " + ", ".join(f"{status} {count:,}" for status, count in counts.items()) if counts else ""
            lines.append(f"{split}: {format_count(sum(counts.values()), 'clip')}{clips}")
        lines += self._plan_lines() if self.dry_run else []
        lines += [
            f"{split}: missing from all archives: {format_count(len(names), 'clip')}, such as {few(names)}"
            for split, names in self.missing.items()
            if names
        ]
        for split, count in self.unannotated.items():
            if count:
                members = f"{format_count(count, 'member')} of archives"
                lines.append(f"{split}: unannotated: {members}, such as {few(self.unannotated_examples[split])}")
        if self.no_replacement:
            lines.append(f"train: no clips are replaced, because the mirror does not give {self.no_replacement}")
        lines += [f"refused: {what}" for what in self.refused]
        lines += [f"failed: {key}: {reason}" for key, reason in self.failed.items()]
        lines += [f"failed: {n:,} {kind}, such as {self.examples[kind]}" for kind, n in sorted(self.errors.items())]
        if self.given_up:
            lines.append(f"skipped without --retry-errors: {format_count(self.given_up, 'clip')}")
        return lines + ([f"next: {_AGAIN} without --dry-run"] if self.dry_run else self._outcome_lines())

    def _outcome_lines(self) -> list[str]:
        lines = []
        missing = sum(n for counts in self.counts.values() for status, n in counts.items() if status not in HERE)
        if missing:
            lines.append(f"outcome of each clip: {self.out / LEDGER_NAME}")
        lines.append(f"downloaded {format_size(self.bytes_fetched)} in {timedelta(seconds=round(self.seconds))}")
        if self.is_complete:
            lines.append(f'complete: load_dataset("kinetics", "{self.release}", data_dir="{self.out}") loads it')
            lines.append(f"next: {shlex.join(['kinetics', 'verify', self.release, str(self.out), *self.options])}")
        elif self.given_up and missing == self.given_up + self.errors.get("no such segment", 0):
            lines.append(f"incomplete: {_AGAIN} with --retry-errors to retry failed videos")
        elif self.archives and not self.failed:
            lines.append("incomplete: the archives have no more clips; rerun with --source youtube to cut the rest")
        else:
            lines.append(f"incomplete: {_AGAIN} to resume")
        return lines

    def _plan_lines(self) -> list[str]:
        needs, lines = self.needs, []
        for split, count in self.to_fetch.items():
            of = f"of {format_count(self.archives[split], 'archive')}" if self.archives else "single videos"
            lines.append(f"{split}: {count:,} {of} to download")
        fetched = format_size(needs.bytes_to_fetch)
        if not self.archives:
            fetched = "unknown until each video is requested"
        elif needs.unknown_sizes:
            fetched += f" and {format_count(needs.unknown_sizes, 'archive')} of unknown length"
        disk = f"about {format_size(needs.disk_bytes)} needed, {format_size(needs.free_bytes)} free"
        return [*lines, f"to download: {fetched}", f"disk: {disk}"]
