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
import os
import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
from filelock import FileLock, Timeout
from rich.console import Console

import kinetics
from kinetics_tools.archives import PARTIAL_FOLDER, Archive, ArchiveRun, SplitState
from kinetics_tools.ledger import Entry, Ledger, read_ledger
from kinetics_tools.progress import Progress, size_text
from kinetics_tools.transfer import RateLimit, discard_partial
from kinetics_tools.tree import SplitTree, copy_annotations, on_disk

__all__ = ["Report", "download"]

_SOURCES = ("archives", "youtube")
_WELL = ("complete", "missing", "empty")  # what another run would not change


@dataclass(frozen=True)
class Report:
    """What a run found and did, or with `dry_run` would do.

    Attributes:
        counts: split -> status -> number of wanted clips. The statuses are those of `ledger.Entry`, and "pending".
        archives: split -> number of archives that hold its clips.
        failed: key of an archive -> why it could not be fetched.
        refused: "archive: member: reason" of members that no archive of clips should have.
        bytes_to_fetch: sum of the lengths that the server told before the run, less what lay here already.
        unknown_sizes: number of archives to fetch whose length it did not tell.
        disk_bytes: about how much room the run needs on top of what is used; `free_bytes` there was.
        bytes_fetched: what the network brought.
        seconds: how long it took.
    """

    release: str
    out: Path
    dry_run: bool
    counts: dict[str, dict[str, int]]
    archives: dict[str, int]
    archives_to_fetch: dict[str, int]
    bytes_to_fetch: int = 0
    unknown_sizes: int = 0
    disk_bytes: int = 0
    free_bytes: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    bytes_fetched: int = 0
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Whether each wanted clip is here, or is known not to be had from this source."""
        return not self.failed and all(status in _WELL for counts in self.counts.values() for status in counts)

    def lines(self) -> list[str]:
        """The report for people."""
        lines = []
        for split, counts in self.counts.items():
            clips = ", ".join(f"{status} {count:,}" for status, count in counts.items())
            lines.append(f"{split}: {sum(counts.values()):,} clips: {clips}")
            lines.append(f"{split}: {self.archives[split]:,} archives, {self.archives_to_fetch[split]:,} to fetch")
        unknown = f" and {self.unknown_sizes:,} archives of unknown length" if self.unknown_sizes else ""
        if self.dry_run:
            lines.append(f"to fetch: {size_text(self.bytes_to_fetch)}{unknown}")
            lines.append(f"disk: about {size_text(self.disk_bytes)} needed, {size_text(self.free_bytes)} free")
            return lines
        lines += [f"refused: {what}" for what in self.refused]
        lines += [f"failed: {key}: {reason}" for key, reason in self.failed.items()]
        lines.append(f"fetched {size_text(self.bytes_fetched)} in {timedelta(seconds=round(self.seconds))}")
        if self.is_complete:
            lines.append(f'load_dataset("kinetics", "{self.release}", data_dir="{self.out}") loads it')
        else:
            lines.append("not complete: the same command goes on from here")
        return lines


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
    dry_run: bool = False,
    mirror: str | None = None,
    annotations: str | None = None,
) -> Report:
    """Fetch the clips of a release that `out` lacks, and go on where an earlier run was cut off.

    `splits`, `classes`, `max_clips_per_class`, `seed`, `mirror` and `annotations` are as in `KineticsConfig`.
    Annotation files are fetched into the download cache of `datasets`, where loading finds them, too.

    Args:
        workers: how many archives are fetched at once, 1 or more.
        rate_limit: bytes a second over all workers, a number or "10MB".
        keep_archives: leave the archives in `out`/archives/<split>.
        dry_run: write nothing, and report what would be fetched.

    A clip of the ledger's that lies in its place is not fetched again, wherever it is from; a file in the place of a
    clip that the ledger does not know is compared with the archive's, and replaced where it differs. An archive that
    is corrupt is fetched once more, and named in the report if that did not help.

    Raises ValueError for arguments that make no sense, or if `out` holds another release; OSError where there is too
    little room, nothing can be written, or the lists and annotations cannot be fetched. After KeyboardInterrupt, as
    after a kill, the same call goes on.
    """
    out = Path(out)
    config = kinetics.KineticsConfig(
        name=release,
        splits=splits,
        classes=classes,
        max_clips_per_class=max_clips_per_class,
        annotations=annotations,
        mirror=mirror,
        seed=seed,
    )
    config.check()
    if source not in _SOURCES:
        raise ValueError(f"unknown source {source!r} (valid: {', '.join(_SOURCES)})")
    if workers < 1:
        raise ValueError(f"workers is {workers}; it must be 1 or more")
    RateLimit(rate_limit)
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out} is no folder; name one, new or from an earlier run")

    started = time.monotonic()
    plan = _Plan(config, out, console=Console(soft_wrap=True, highlight=False, markup=False))
    if dry_run:
        states = plan.states(read_ledger(out), clean=False)
        return plan.report(states, workers=workers, keep=keep_archives)
    with on_disk(out):
        (out / PARTIAL_FOLDER).mkdir(parents=True, exist_ok=True)
    lock = FileLock(out / PARTIAL_FOLDER / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(f"another run is writing to {out}; wait for its end, or name another folder") from None
    try:
        report = _fetch(plan, workers=workers, rate_limit=rate_limit, keep=keep_archives)
    finally:
        # Under the lock, so that no other run can have begun to use them.
        _remove_if_empty(out / PARTIAL_FOLDER, lock)
    return replace(report, seconds=time.monotonic() - started)


@dataclass(frozen=True)
class _Split:
    annotated: pa.Table
    wanted: pa.Table
    annotations: str
    archives: list[Archive]


class _Plan:
    """What there is to fetch, by the lists and annotations of the mirror."""

    def __init__(self, config: kinetics.KineticsConfig, out: Path, *, console: Console):
        self.config = config
        self.out = out
        self.console = console
        self.splits: dict[str, _Split] = {}
        for split in config.splits or kinetics.SPLITS:
            found = self._split(split)
            if found is not None:
                self.splits[split] = found

    def _split(self, split: str) -> _Split | None:
        config = self.config
        urls = kinetics.archive_urls(config.name, split, classes=config.classes, mirror=config.mirror)
        path = kinetics.annotation_file(config.name, split, annotations=config.annotations, mirror=config.mirror)
        annotated = kinetics.read_split(path, config.name, split)
        wanted = annotated
        if config.classes is not None or config.max_clips_per_class is not None:
            try:
                wanted = kinetics.select_clips(
                    annotated,
                    config.name,
                    classes=config.classes,
                    max_clips_per_class=config.max_clips_per_class,
                    seed=config.seed,
                )
            except ValueError as error:
                if config.splits is not None:
                    raise
                self.console.print(f"{split}: left out: {error}")
                return None
        archives = [Archive(self.out, url, split, index) for index, url in enumerate(urls)]
        return _Split(annotated, wanted, path, archives)

    def states(self, entries: Mapping[tuple[str, str], Entry], *, clean: bool) -> dict[str, SplitState]:
        states = {}
        for split, plan in self.splits.items():
            tree = SplitTree(self.out, self.config.name, split, annotated=plan.annotated, wanted=plan.wanted)
            states[split] = SplitState(tree, plan.archives, entries, clean=clean)
        return states

    def report(self, states: Mapping[str, SplitState], *, workers: int, keep: bool) -> Report:
        """What is here and what is to be fetched, before a run."""
        pending = {split: state.pending(keep=keep) for split, state in states.items()}
        to_fetch = [archive for archives in pending.values() for archive in archives if not archive.kept.exists()]
        with ThreadPoolExecutor(16) as pool:
            sizes = dict(zip(to_fetch, pool.map(lambda archive: kinetics.size_of(archive.url), to_fetch), strict=True))
        here = {archive: archive.fetched_bytes for archive in to_fetch}
        clips = sum(self._clip_bytes(state, sizes) for state in states.values())
        in_flight = sorted(sizes.values(), reverse=True)[: None if keep else workers]
        folder = next(folder for folder in (self.out, *self.out.absolute().parents) if folder.is_dir())
        return Report(
            release=self.config.name,
            out=self.out,
            dry_run=True,
            counts={split: state.counts() for split, state in states.items()},
            archives={split: len(state.archives) for split, state in states.items()},
            archives_to_fetch={split: len(archives) for split, archives in pending.items()},
            bytes_to_fetch=sum(max(0, size - here[archive]) for archive, size in sizes.items()),
            unknown_sizes=sum(not size for size in sizes.values()),
            disk_bytes=max(0, round(clips) + sum(in_flight) - sum(here.values())),
            free_bytes=shutil.disk_usage(folder).free,
        )

    def _clip_bytes(self, state: SplitState, sizes: Mapping[Archive, int]) -> float:
        """About how many bytes of clips come out of these archives. Clips do not compress."""
        plan = self.splits[state.tree.split]
        classes = self.config.classes
        rows = len(plan.annotated)
        if classes is not None and len(plan.archives) == len(classes):  # an archive each
            rows = len(kinetics.select_clips(plan.annotated, self.config.name, classes=classes))
        share = len(plan.wanted) / max(rows, 1)
        mine = {archive.key: size for archive, size in sizes.items() if archive.split == state.tree.split}
        return sum(max(0.0, size * share - state.bytes_of.get(key, 0)) for key, size in mine.items())


def _fetch(plan: _Plan, *, workers: int, rate_limit: float | str | None, keep: bool) -> Report:
    out = plan.out
    for split, of_split in plan.splits.items():
        copy_annotations(of_split.annotations, out, plan.config.name, split, of_split.annotated)
    states = plan.states(read_ledger(out), clean=True)
    before = plan.report(states, workers=workers, keep=keep)
    if before.disk_bytes > before.free_bytes:
        raise OSError(
            f"about {size_text(before.disk_bytes)} are needed and {size_text(before.free_bytes)} are free in {out}; "
            "choose splits, classes or max_clips_per_class, or another folder"
        )
    pending = [archive for state in states.values() for archive in state.pending(keep=keep)]
    for state in states.values():
        for archive in set(state.archives).difference(pending):
            discard_partial(archive.partial)  # a kill came between its line in the ledger and this
    counts = Counter[str]()
    for statuses in before.counts.values():
        counts.update(statuses)
    progress = Progress(
        clips=counts.total(),
        counts={status: count for status, count in counts.items() if status != "pending"},
        bytes=before.bytes_to_fetch + sum(archive.fetched_bytes for archive in pending),
        console=plan.console,
    )
    with Ledger(out) as ledger, progress:
        run = ArchiveRun(states, ledger, progress, workers=workers, keep=keep, rate_limit=rate_limit)
        try:
            run.run(pending)
        except KeyboardInterrupt:
            progress.note(f"interrupted: what is complete stays in {out}, and the same command goes on from there")
            raise
        run.name_missing()
    return replace(
        before,
        dry_run=False,
        counts={split: state.counts() for split, state in states.items()},
        failed=run.failed,
        refused=run.refused,
        bytes_fetched=progress.bytes_fetched,
    )


def _remove_if_empty(folder: Path, lock: FileLock) -> None:
    """Ends the lock, which lies in `folder`, and removes both where no archive is in flight."""
    lock_file = Path(lock.lock_file)
    left = [path for path in folder.iterdir() if path != lock_file]
    if not left:
        lock_file.unlink(missing_ok=True)
    lock.release()
    if not left:
        with contextlib.suppress(OSError):  # another run has just begun
            folder.rmdir()
