"""Kinetics onto a disk: a tree of clips, with a ledger of what came from where.

    >>> from kinetics_tools.download import download
    >>> report = download("400", "k400", splits=["validation"], classes=["abseiling", "zumba"])
    >>> report.counts
    {'validation': {'complete': 97, 'missing': 2}}

    k400/val/<class>/<clip>.mp4    the clips; test clips without a label lie in k400/test
    k400/annotations/*.csv         the annotations that chose and placed them
    k400/ledger.jsonl              one line for each clip and outcome, see kinetics_tools.ledger
    k400/archives/                 with keep_archives, the archives
    k400/.partial/                 archives in flight, while a run is not complete

`load_dataset("kinetics", "400", data_dir="k400")` loads it.
"""

import contextlib
import difflib
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from kinetics_tools.annotations.labels import map_index
from kinetics_tools.annotations.selection import Selection
from kinetics_tools.downloading.archives import PARTIAL_FOLDER, ArchiveRun
from kinetics_tools.downloading.ledger import LEDGER_NAME, Ledger, read_ledger
from kinetics_tools.downloading.plan import Needs, Plan
from kinetics_tools.downloading.youtube.errors import RETRIED_KINDS
from kinetics_tools.downloading.youtube.fetch import YouTubeOptions
from kinetics_tools.downloading.youtube.run import SegmentRun, lacking
from kinetics_tools.io.atomic import disk_errors
from kinetics_tools.io.limits import RateLimit
from kinetics_tools.io.partial import discard_partial
from kinetics_tools.run.progress import Progress
from kinetics_tools.text import few, format_size

__all__ = ["Report", "download"]

_SOURCES = ("archives", "youtube")
# Clips that are here, and those of which another run from here would find no more.
_HERE = ("complete", "found")
_SETTLED = (*_HERE, "missing", "empty", "unavailable")


@dataclass(frozen=True)
class Report:
    """What a run found and did, or with `dry_run` would do.

    Attributes:
        counts: split -> status -> number of wanted clips. The statuses are those of `ledger.Entry`; "pending"; and
            "found", clips that are there and that the ledger does not know, in any folder of their class or in none.
        archives: split -> number of archives that hold its clips; empty where single videos are the source.
        to_fetch: split -> number of archives, or else clips, that were to be fetched before the run.
        needs: what it was to take; of single videos not more than a guess of the room on disk.
        failed: key of an archive -> why it could not be fetched.
        refused: "archive: member: reason" of members that no archive of clips should have.
        not_annotated: split -> number of members that are not annotated, of the archives that were read.
        strangers: split -> names of the first of these.
        missing: split -> names of the wanted clips that no archive has.
        no_replacement: key of the archive of replacements of 400, where the mirror does not have it.
        errors: class of error -> number of single clips that could not be fetched for it.
        examples: class of error -> "clip: reason" of the first of these.
        given_up: number of single clips that another run tries again only with `retry_errors`.
        bytes_fetched: what the network brought.
        seconds: how long it took.
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
    not_annotated: dict[str, int] = field(default_factory=dict)
    strangers: dict[str, list[str]] = field(default_factory=dict)
    missing: dict[str, list[str]] = field(default_factory=dict)
    no_replacement: str | None = None
    errors: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    given_up: int = 0
    bytes_fetched: int = 0
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether each wanted clip is here, or is known not to be had from this source."""
        return not self.failed and all(status in _SETTLED for counts in self.counts.values() for status in counts)

    def lines(self) -> list[str]:
        """The report for people."""
        lines = []
        to_fetch = "to fetch" if self.dry_run else "to fetch before this run"
        for split, counts in self.counts.items():
            clips = ": " + ", ".join(f"{status} {count:,}" for status, count in counts.items()) if counts else ""
            of = _counted(self.archives[split], "archive") if self.archives else "single videos"
            lines.append(f"{split}: {_counted(sum(counts.values()), 'clip')}{clips}")
            lines.append(f"{split}: {of}, {self.to_fetch[split]:,} {to_fetch}")
        if self.dry_run:
            lines += self._lines_of_needs()
        for split, names in self.missing.items():
            if names:
                lines.append(f"{split}: in no archive: {_counted(len(names), 'clip')}, such as {few(names)}")
        for split, count in self.not_annotated.items():
            if count:
                members = f"{_counted(count, 'member')} of archives"
                lines.append(f"{split}: not annotated: {members}, such as {few(self.strangers[split])}")
        if self.no_replacement:
            lines.append(f"train: no clips are replaced, since the mirror does not have {self.no_replacement}")
        lines += [f"refused: {what}" for what in self.refused]
        lines += [f"failed: {key}: {reason}" for key, reason in self.failed.items()]
        for kind, count in sorted(self.errors.items()):
            lines.append(f"could not be fetched: {count:,} {kind}, such as {self.examples[kind]}")
        if self.given_up:
            lines.append(f"not asked for again unless with --retry-errors: {_counted(self.given_up, 'clip')}")
        if self.dry_run:
            return lines
        absent = sum(n for counts in self.counts.values() for status, n in counts.items() if status not in _HERE)
        if absent:
            lines.append(f"what became of each clip: {self.out / LEDGER_NAME}")
        lines.append(f"fetched {format_size(self.bytes_fetched)} in {timedelta(seconds=round(self.seconds))}")
        if self.is_complete:
            lines.append(f'load_dataset("kinetics", "{self.release}", data_dir="{self.out}") loads it')
        elif self.given_up and absent == self.given_up + self.errors.get("no such segment", 0):
            lines.append("not complete: the same command with --retry-errors goes on from here")
        elif self.archives and not self.failed:
            lines.append("not complete: the archives have no more; --source youtube goes on from here")
        else:
            lines.append("not complete: the same command goes on from here")
        return lines

    def _lines_of_needs(self) -> list[str]:
        needs = self.needs
        fetched = format_size(needs.bytes_to_fetch)
        if not self.archives:
            fetched = "known only when each video is asked for"
        elif needs.unknown_sizes:
            fetched += f" and {_counted(needs.unknown_sizes, 'archive')} of unknown length"
        return [
            f"to fetch: {fetched}",
            f"disk: about {format_size(needs.disk_bytes)} needed, {format_size(needs.free_bytes)} free",
        ]


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def download(
    release: str,
    out: str | os.PathLike[str],
    *,
    splits: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    max_clips_per_class: int | None = None,
    seed: int = 0,
    source: str = "archives",
    workers: int = 4,
    rate_limit: float | str | None = None,
    keep_archives: bool = False,
    youtube: YouTubeOptions | None = None,
    retry_errors: bool = False,
    dry_run: bool = False,
    mirror: str | None = None,
    annotations: str | None = None,
) -> Report:
    """Fetch the clips of a release that `out` lacks, and go on where an earlier run was cut off.

    `splits`, `classes`, `max_clips_per_class`, `seed`, `mirror` and `annotations` are as in `KineticsConfig`.
    Annotation files are fetched into the download cache of `datasets`, where loading finds them, too.

    Args:
        source: "archives", the public ones, or "youtube", the videos themselves, for clips that are not here.
        workers: how many archives or videos are fetched at once, 1 or more.
        rate_limit: bytes a second over all workers, a number or "10MB".
        keep_archives: leave the archives in `out`/archives/<split>.
        youtube: how videos are asked for.
        retry_errors: try videos again that were removed, private, age-limited, region-locked, or failed for reasons
            that do not go by.
        dry_run: write nothing, and report what would be fetched.

    Clips are taken for there as loading takes them: in the folder of their class, however that is written, or in that
    of the split. New ones go to the folder of their class where there is one. A clip of the ledger's is not fetched
    again, wherever it is from; nor is a tree that others made and that lacks none. Where archives are read, a clip that
    the ledger does not know is compared with theirs, and replaced where it differs; single videos leave it as it is.
    An archive that is corrupt is fetched once more, and named in the report if that did not help.

    Raises ValueError for arguments that make no sense, or if `out` holds another release; OSError where there is too
    little room, nothing can be written, or the lists and annotations cannot be fetched; ModuleNotFoundError for
    "youtube" without yt-dlp. After KeyboardInterrupt, which says so, as after a kill, the same call goes on.
    """
    out = Path(out)
    map_index(0, release, release)  # raises for an unknown release, and names the nearest
    selection = Selection(
        release=release,
        splits=splits,
        classes=classes,
        max_clips_per_class=max_clips_per_class,
        annotations=annotations,
        mirror=mirror,
        seed=seed,
    )
    if source not in _SOURCES:
        near = difflib.get_close_matches(str(source), _SOURCES, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown source {source!r}{hint} (valid: {', '.join(_SOURCES)})")
    if source == "youtube" and keep_archives:
        raise ValueError("keep_archives with source='youtube', which has no archives; leave one of them out")
    if source == "archives" and (youtube is not None or retry_errors):
        raise ValueError(
            "formats, cookies, proxy, sleep, URL template and retry_errors are of single videos, with "
            "source='archives'; pass source='youtube', or leave them out"
        )
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be 1 or more")
    RateLimit(rate_limit)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is no folder; name one, new or from an earlier run")

    started = time.monotonic()
    console = Console(soft_wrap=True, highlight=False, markup=False)
    common: dict[str, Any] = {"workers": workers, "rate_limit": rate_limit, "dry_run": dry_run, "console": console}
    try:
        with console.status(f"reading lists and annotations of {release}"):
            plan = Plan(selection, out, archives=source == "archives", console=console)
        with contextlib.nullcontext() if dry_run else _locked(out):
            if source == "archives":
                report = _fetch_archives(plan, keep=keep_archives, **common)
            else:
                report = _fetch_segments(plan, options=youtube or YouTubeOptions(), retry_errors=retry_errors, **common)
    except KeyboardInterrupt:
        on = "the same command goes on from there"
        raise KeyboardInterrupt(f"interrupted: what is complete stays in {out}, and {on}") from None
    return replace(report, seconds=time.monotonic() - started)


def _fetch_archives(
    plan: Plan, *, keep: bool, workers: int, rate_limit: float | str | None, dry_run: bool, console: Console
) -> Report:
    out = plan.out
    states = plan.states(read_ledger(out), clean=not dry_run)
    pending = {split: state.pending(keep=keep) for split, state in states.items()}
    archives = [archive for of_split in pending.values() for archive in of_split]
    needs = plan.needs(states, archives, workers=workers, keep=keep)
    before = Report(
        release=plan.selection.release,
        out=out,
        dry_run=dry_run,
        counts={split: state.counts() for split, state in states.items()},
        archives={split: len(state.archives) for split, state in states.items()},
        to_fetch={split: len(of_split) for split, of_split in pending.items()},
        needs=needs,
        missing={split: state.missing() for split, state in states.items()},
    )
    if dry_run:
        return before
    if needs.disk_bytes > needs.free_bytes:
        raise OSError(
            f"about {format_size(needs.disk_bytes)} are needed and {format_size(needs.free_bytes)} are free in {out}; "
            "choose splits, classes or max_clips_per_class, or another folder"
        )
    plan.copy_annotations()
    for state in states.values():
        for archive in set(state.archives).difference(archives):
            discard_partial(archive.partial)  # a kill came between its line in the ledger and this
    total = needs.bytes_to_fetch + sum(archive.fetched_bytes for archive in archives)
    with Ledger(out) as ledger, _progress(before, console, bytes=total) as progress:
        run = ArchiveRun(states, ledger, progress, workers=workers, keep=keep, rate_limit=rate_limit)
        run.run(archives)
        run.name_missing()
    return replace(
        before,
        counts={split: state.counts() for split, state in states.items()},
        failed=run.failed,
        refused=run.refused,
        not_annotated={split: sum(one.strangers for one in run.passed_in(split)) for split in states},
        strangers={split: [name for one in run.passed_in(split) for name in one.examples] for split in states},
        missing={split: state.missing() for split, state in states.items()},
        no_replacement=run.no_replacement,
        bytes_fetched=progress.bytes_fetched,
    )


def _fetch_segments(
    plan: Plan,
    *,
    options: YouTubeOptions,
    retry_errors: bool,
    workers: int,
    rate_limit: float | str | None,
    dry_run: bool,
    console: Console,
) -> Report:
    out = plan.out
    states = plan.states(read_ledger(out), clean=not dry_run)
    names = {split: lacking(state, retry_errors=retry_errors) for split, state in states.items()}
    before = Report(
        release=plan.selection.release,
        out=out,
        dry_run=dry_run,
        counts={split: state.counts() for split, state in states.items()},
        archives={},
        to_fetch={split: len(of_split) for split, of_split in names.items()},
        needs=plan.needs_of_segments(names),
        given_up=sum(len(lacking(state, retry_errors=True)) for state in states.values())
        - sum(map(len, names.values())),
    )
    if dry_run:
        return before
    plan.copy_annotations()
    with Ledger(out) as ledger, _progress(before, console) as progress:
        run = SegmentRun(states, ledger, progress, workers=workers, rate_limit=rate_limit, options=options)
        run.run(names)
    return replace(
        before,
        counts={split: state.counts() for split, state in states.items()},
        errors=dict(run.errors),
        examples=run.examples,
        given_up=before.given_up + sum(count for kind, count in run.errors.items() if kind not in RETRIED_KINDS),
        bytes_fetched=progress.bytes_fetched,
    )


def _progress(before: Report, console: Console, *, bytes: int | None = None) -> Progress:
    counts = Counter[str]()
    for of_split in before.counts.values():
        counts.update(of_split)
    known = {status: count for status, count in counts.items() if status != "pending"}
    return Progress(clips=counts.total(), counts=known, bytes=bytes, console=console)


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keeps other runs out of `out`, which is made; at the end removes `.partial` if no archive is in flight."""
    folder = out / PARTIAL_FOLDER
    lock_file = folder / "lock"
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"another run is writing to {out}; wait for its end, or name another folder") from None
    try:
        yield
    finally:
        # The file goes while the lock holds, so that no other run can have begun to use it.
        is_empty = all(path == lock_file for path in folder.iterdir())
        if is_empty:
            lock_file.unlink(missing_ok=True)
        lock.release()
        if is_empty:
            with contextlib.suppress(OSError):  # another run has just begun
                folder.rmdir()
