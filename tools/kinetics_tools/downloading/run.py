"""Download of Kinetics into a clip directory, with a ledger of the outcome of each clip.

    >>> from kinetics_tools import download
    >>> report = download("400", "k400", splits=["validation"], classes=["abseiling", "zumba"])
    >>> report.counts
    {'validation': {'complete': 97, 'missing': 2}}

    k400/val/<class>/<clip>.mp4    the clips; test clips without a label are in k400/test
    k400/annotations/*.csv         the annotations of these clips
    k400/ledger.jsonl              one line for each outcome of a clip, see `downloading.ledger`
    k400/archives/                 with keep_archives, the archives
    k400/.partial/                 unfinished archives, until a run is complete

`load_dataset("kinetics", "400", data_dir="k400")` loads it.
"""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from kinetics_tools.annotations import Selection
from kinetics_tools.downloading.archive import PARTIAL_FOLDER, Archive
from kinetics_tools.downloading.archives import ArchiveRun
from kinetics_tools.downloading.ledger import Ledger, read_ledger
from kinetics_tools.downloading.plan import Needs, Plan
from kinetics_tools.downloading.report import Report
from kinetics_tools.downloading.state import SplitState
from kinetics_tools.downloading.youtube.errors import RETRIED_KINDS
from kinetics_tools.downloading.youtube.run import SegmentRun, clips_to_fetch
from kinetics_tools.downloading.youtube.session import YouTubeOptions
from kinetics_tools.io import RateLimit, discard_partial, held_alone
from kinetics_tools.run import PlainConsole, Progress
from kinetics_tools.sources import is_prepared
from kinetics_tools.text import check_choice, check_count, format_size

_SOURCES = ("archives", "youtube")


def download(
    release: str,
    out: str | os.PathLike[str],
    *,
    splits: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    subset: str | None = None,
    exclude: Sequence[str] | str | None = None,
    exclude_by: str = "video",
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
    """Download the clips of a release that are missing in `out`. An unfinished run there is resumed.

    `splits`, `classes`, `subset`, `exclude`, `exclude_by`, `max_clips_per_class`, `seed`, `mirror` and `annotations`
    are as in `KineticsConfig`.
    Annotation files go to the download cache of `datasets`, which loading uses, too.

    A clip counts as present in the directory of its class, in any spelling, or of the split. New clips go to the
    directory of their class. Clips in the ledger and complete existing trees are not downloaded again. A clip that the
    ledger does not list is compared with the archives; if it is older than the first archive, it is never replaced. A
    corrupt archive is downloaded a second time.

    Args:
        source: "archives", the public ones, or "youtube", the videos themselves.
        workers: number of archives or videos to download at once.
        rate_limit: bytes per second over all workers, a number or "10MB".
        keep_archives: keep the archives in `out`/archives/<split>.
        youtube: options for single videos.
        retry_errors: also retry videos that failed permanently: removed, private, age-limited, region-locked, other.
        dry_run: write nothing, and report what would be downloaded.

    Raises:
        ValueError: invalid arguments, another release in `out`, or another run that writes to it.
        OSError: too little space, nothing can be written, or lists and annotations cannot be downloaded.
        ModuleNotFoundError: source="youtube" without yt-dlp.
        KeyboardInterrupt: interrupted; the message says how to resume.
    """
    out = Path(out)
    selection = Selection(
        release=release,
        splits=splits,
        classes=classes,
        subset=subset,
        exclude=exclude,
        exclude_by=exclude_by,
        max_clips_per_class=max_clips_per_class,
        annotations=annotations,
        mirror=mirror,
        seed=seed,
    )
    _check_source(source, keep_archives=keep_archives, for_videos=youtube is not None or retry_errors)
    check_count(workers=workers)
    RateLimit(rate_limit)
    if out.exists() and not out.is_dir():
        raise ValueError(f"output directory {out} is a file; pass a directory, new or from an earlier run")
    if is_prepared(str(out)):
        raise ValueError(f"output directory {out} holds prepared shards; pass another directory for the clips")

    started = time.monotonic()
    console = PlainConsole()
    try:
        with console.status(f"reading lists and annotations of {release}"):
            plan = Plan(selection, out, archives=source == "archives", console=console)
        run = _Run(plan, console, workers, rate_limit, dry_run)
        with contextlib.nullcontext() if dry_run else _locked(out):
            if source == "archives":
                report = run.archives(keep=keep_archives)
            else:
                report = run.videos(youtube or YouTubeOptions(), retry_errors=retry_errors)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted: finished clips are kept in {out}; rerun the same command to resume"
        ) from None
    return replace(report, seconds=time.monotonic() - started)


def _check_source(source: str, *, keep_archives: bool, for_videos: bool) -> None:
    check_choice(source, _SOURCES, "source")
    if source == "youtube" and keep_archives:
        raise ValueError("keep_archives has no effect with source='youtube'; omit one of them")
    if source == "archives" and for_videos:
        raise ValueError(
            "formats, cookies, proxy, sleep, URL template and retry_errors have no effect with source='archives'; "
            "pass source='youtube', or omit them"
        )


@dataclass(frozen=True)
class _Run:
    """Download of a plan from either source."""

    plan: Plan
    console: Console
    workers: int
    rate_limit: float | str | None
    dry_run: bool

    def archives(self, *, keep: bool) -> Report:
        plan, states = self.plan, self._states()
        pending = {split: state.pending(keep=keep) for split, state in states.items()}
        archives = [archive for of_split in pending.values() for archive in of_split]
        needs = plan.needs(states, archives, workers=self.workers, keep=keep)
        before = replace(
            self._report(states, pending, needs),
            archives={split: len(state.archives) for split, state in states.items()},
            missing={split: state.missing() for split, state in states.items()},
        )
        if self.dry_run:
            return before
        if needs.disk_bytes > needs.free_bytes:
            raise OSError(
                f"about {format_size(needs.disk_bytes)} are needed and {format_size(needs.free_bytes)} are free in "
                f"{plan.out}; choose splits, classes, subset or max_clips_per_class, or another directory"
            )
        plan.copy_annotations()
        for state in states.values():
            for archive in set(state.archives).difference(archives):
                discard_partial(archive.partial)  # of a run that was killed before it could do this
        total = needs.bytes_to_fetch + sum(archive.partial_bytes for archive in archives)
        with Ledger(plan.out) as ledger, self._progress(before, bytes=total) as progress:
            run = ArchiveRun(states, ledger, progress, self.workers, keep, self.rate_limit)
            run.run(archives)
            run.record_missing()
        unannotated = {split: run.unannotated_in(split) for split in states}
        return replace(
            before,
            counts={split: state.counts() for split, state in states.items()},
            failed=run.failed,
            refused=run.refused,
            unannotated={split: count for split, (count, _) in unannotated.items()},
            unannotated_examples={split: names for split, (_, names) in unannotated.items()},
            missing={split: state.missing() for split, state in states.items()},
            no_replacement=run.no_replacement,
            bytes_fetched=progress.bytes_fetched,
        )

    def videos(self, options: YouTubeOptions, *, retry_errors: bool) -> Report:
        states = self._states()
        names = {split: clips_to_fetch(state, retry_errors=retry_errors) for split, state in states.items()}
        failed = sum(len(clips_to_fetch(state, retry_errors=True)) for state in states.values())
        before = self._report(states, names, self.plan.needs_of_segments(names))
        before = replace(before, given_up=failed - sum(map(len, names.values())))
        if self.dry_run:
            return before
        self.plan.copy_annotations()
        with Ledger(self.plan.out) as ledger, self._progress(before) as progress:
            run = SegmentRun(states, ledger, progress, self.workers, self.rate_limit, options)
            run.run(names)
        return replace(
            before,
            counts={split: state.counts() for split, state in states.items()},
            errors=dict(run.errors),
            examples=run.examples,
            given_up=before.given_up + sum(count for kind, count in run.errors.items() if kind not in RETRIED_KINDS),
            bytes_fetched=progress.bytes_fetched,
        )

    def _states(self) -> dict[str, SplitState]:
        return self.plan.states(read_ledger(self.plan.out), clean=not self.dry_run)

    def _report(
        self, states: Mapping[str, SplitState], to_fetch: Mapping[str, Sequence[str | Archive]], needs: Needs
    ) -> Report:
        return Report(
            release=self.plan.selection.release,
            out=self.plan.out,
            dry_run=self.dry_run,
            counts={split: state.counts() for split, state in states.items()},
            archives={},
            to_fetch={split: len(of_split) for split, of_split in to_fetch.items()},
            needs=needs,
            options=self.plan.selection.options(),
        )

    def _progress(self, before: Report, *, bytes: int | None = None) -> Progress:
        counts = sum(map(Counter, before.counts.values()), Counter[str]())
        clips = counts.total()
        del counts["pending"]
        return Progress(clips=clips, counts=counts, bytes=bytes, console=self.console)


@contextlib.contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep other runs out of `out`, which is created; at the end remove `.partial` if no archive is unfinished."""
    folder = out / PARTIAL_FOLDER
    lock_file, is_empty = folder / "lock", False
    busy = f"another run is writing to {out}; wait until it ends, or pass another directory"
    try:
        with held_alone(lock_file, busy):
            try:
                yield
            finally:
                # The file goes while the lock holds, so that no other run can have begun to use it.
                is_empty = all(path == lock_file for path in folder.iterdir())
                if is_empty:
                    lock_file.unlink(missing_ok=True)
    finally:
        if is_empty:
            with contextlib.suppress(OSError):  # another run has just begun
                folder.rmdir()
