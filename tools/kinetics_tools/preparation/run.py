"""Convert a clip directory into Parquet shards that plain `datasets` loads, streams and shuffles well.

    >>> from kinetics_tools import prepare
    >>> report = prepare("700", "k700", "prepared", splits=["validation"])
    >>> load_dataset("./prepared", "700", split="validation", streaming=True)

    prepared/700/validation-00000-of-00048-1f3a9c02.parquet    the clips, shuffled
    prepared/700/prepare.json                                  the options, and the dropped clips
    prepared/README.md                                         the dataset card, which lists the shards

Finished shards are the only state: the same call resumes.
"""

import contextlib
import functools
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from rich.console import Console

from kinetics_tools.annotations import Selection
from kinetics_tools.io import Folder, check_apart
from kinetics_tools.media import Encoding
from kinetics_tools.preparation.card import CARD_NAME, check_output, write_card
from kinetics_tools.preparation.clip import REASON_NAMES, PreparedClip, prepare_clip, readable_bytes
from kinetics_tools.preparation.extra_columns import ExtraColumns, check_same_columns
from kinetics_tools.preparation.manifest import LOCK_NAME, read_manifest, write_manifest
from kinetics_tools.preparation.options import CLIPS_PER_SHARD, PrepareOptions
from kinetics_tools.preparation.parquet import ShardReport, read_report
from kinetics_tools.preparation.plan import ShardPlan, parse_name, plan_shards
from kinetics_tools.preparation.report import MANIFEST_NAME, Estimate, LateClip, Report, SplitReport
from kinetics_tools.preparation.shard import Job, prepare_shard, prepare_shard_there
from kinetics_tools.preparation.versions import check_versions, made_with
from kinetics_tools.run import Crash, IdleProcesses, Progress, available_cores, check_engine, run, spread
from kinetics_tools.text import format_count

_SAMPLED_CLIPS = 8  # of a dry run
_DESCRIBING_TRIES = 10

_Finished = dict[int, ShardReport]


def prepare(
    release: str,
    data_dir: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    splits: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    subset: str | None = None,
    exclude: Sequence[str] | str | None = None,
    exclude_by: str = "video",
    annotations: str | None = None,
    force_release: bool = False,
    profile: str = "train",
    encoding: Encoding | None = None,
    clips_per_shard: int = CLIPS_PER_SHARD,
    seed: int = 0,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    shards: tuple[int, int] | None = None,
    audio_column: int | None = None,
    poster: bool = False,
    dry_run: bool = False,
    allow_mixed_versions: bool = False,
    console: Console | None = None,
) -> Report:
    """Write the shards of a release that are missing in `out`, from the clips in `data_dir`.

    Clips that are missing or unreadable are dropped, and named in the report of their shard.

    Args:
        release: "400", "600", "700" or "700-2020".
        data_dir: input directory: a path or a URL that `fsspec` opens, "s3://bucket/k700".
        out: output directory, path or URL. An unfinished run there is resumed.
        splits: splits to prepare; None for all in `data_dir`.
        classes: class names; None for all.
        subset: classes or clips to prepare, see `Selection`.
        exclude: splits whose videos are excluded, see `Selection`.
        exclude_by: "video" or "seconds", see `Selection`.
        annotations: directory, file or URL of the annotations, see `Selection`, as for `force_release`.
        profile: see `PrepareOptions`, as for `encoding`, `clips_per_shard`, `seed`, `audio_column` and `poster`.
        workers: number of shards to make in parallel, each in a process; None for one per core.
        engine: "local", or "ray" for one task per shard on the cluster at `address`.
        shards: half-open range (start, stop) of shards of one split to write; None for all.
        dry_run: write nothing, and estimate size and time by encoding a few clips.
        allow_mixed_versions: also make shards with other versions of libraries than those of existing ones.
        console: where to show progress; None for the standard output.

    Raises:
        ValueError: an argument is not valid, or `out` holds a README.md from elsewhere or shards made with other
            options or versions of libraries.
        FileNotFoundError: `data_dir` has no clips.
        KeyboardInterrupt: interrupted; the message says how to resume.
        OSError: a shard cannot be written, no clip can be read, or a machine of the cluster wrote to another `out`.
    """
    check_engine(engine, workers=workers, address=address)
    selection = Selection(
        release,
        splits=splits,
        classes=classes,
        subset=subset,
        exclude=exclude,
        exclude_by=exclude_by,
        annotations=annotations,
        force_release=force_release,
    )
    options = PrepareOptions(profile, encoding, clips_per_shard, seed, audio_column, poster)
    folder = Folder(out)
    check_apart(data_dir, folder.url, f"{folder.url}/{release}")
    check_output(folder)
    plans = plan_shards(selection, data_dir, options)
    others = read_manifest(folder, release)["splits"]
    check_same_columns(others | {plan.split: {"options": plan.options} for plan in plans})
    preparation = _Preparation(folder, plans, options.encoding, shards, is_mixture_allowed=allow_mixed_versions)
    if dry_run:
        return replace(preparation.report, estimate=_estimate(preparation.todo, options.encoding, workers, console))
    if preparation.todo:
        folder.check_writable()
    try:
        preparation.make(workers, engine, address, console)
    except BaseException:
        with contextlib.suppress(OSError, ValueError):  # the first error says more
            preparation.describe()  # so that finished shards can be published
        raise
    return preparation.describe()


def parse_shards(text: str) -> tuple[int, int]:
    """Return the range (start, stop) in "START:STOP"."""
    start, _, stop = text.partition(":")
    if not (start.isdigit() and stop.isdigit()):
        raise ValueError(f"shards={text!r}: must be a half-open range START:STOP, e.g. 0:16")
    return int(start), int(stop)


class _Preparation:
    """Run of `prepare`: shards to make, and shards that exist.

    Attributes:
        finished: split -> shard number -> report.
        todo: shards that this run makes.
        report: result of the run.
    """

    def __init__(
        self,
        folder: Folder,
        plans: Sequence[ShardPlan],
        encoding: Encoding | None,
        shards: tuple[int, int] | None,
        *,
        is_mixture_allowed: bool,
    ):
        start, stop = _checked_range(shards, plans)
        self._is_mixture_allowed = is_mixture_allowed
        self._folder = folder
        self._plans = plans
        self._encoding = encoding
        self.finished = {plan.split: _finished_shards(folder, plan) for plan in plans}
        self.todo = [
            (plan, shard)
            for plan in plans
            for shard in range(start, min(plan.count, stop))
            if shard not in self.finished[plan.split]
        ]
        self._check_versions(dict.fromkeys((plan.split for plan, _ in self.todo), made_with()))
        self.report = Report(
            release=plans[0].release,
            out=folder.url,
            options=plans[0].options,
            splits=self._split_reports(),
            to_make=len(self.todo),
            late=tuple(clip for plan in plans for clip in _late_clips(plan, self.finished[plan.split])),
        )

    def _split_reports(self) -> dict[str, SplitReport]:
        return {plan.split: SplitReport.of(plan, self.finished[plan.split]) for plan in self._plans}

    def _check_versions(self, more: Mapping[str, Mapping[str, str]]) -> None:
        """Raise ValueError if the shards of a split, and `more` of it, are made with several versions."""
        for plan in self._plans if not self._is_mixture_allowed else ():
            found = [one.made_with for one in self.finished[plan.split].values()]
            found += [more[plan.split]] if plan.split in more else []
            check_versions(found, f"{self._folder.url}: {plan.release} {plan.split}")

    def make(self, workers: int | None, engine: str, address: str | None, console: Console | None) -> None:
        """Make the shards of `todo`."""
        started = time.monotonic()
        versions = None if self._is_mixture_allowed else made_with()
        with _progress(self.todo, console) as watch, IdleProcesses() as idle, contextlib.ExitStack() as closing:
            is_local = engine == "local"
            function: Callable[[Job], Any] = prepare_shard_there
            if is_local:
                function = functools.partial(prepare_shard, on_clip=watch.clip, idle=idle)
            # Lazily: all rows of a release as Python values take half a gigabyte.
            jobs = (
                ((plan, shard), Job.of(plan, shard, self._folder, self._encoding, versions))
                for plan, shard in self.todo
            )
            made = spread(function, jobs, workers=workers, engine=engine, address=address, stop=watch.stop)
            for (plan, shard), result in closing.enter_context(contextlib.closing(made)):
                if isinstance(result, Crash):
                    failed = {**self.report.failed, plan.name(shard): result.reason}
                    self.report = replace(self.report, failed=failed)
                    continue
                if is_local:
                    report = result
                else:
                    host, report = result
                    self._check_visible(plan.name(shard), host)
                    watch.shard(report)
                self.finished[plan.split][shard] = report
                self.report = replace(
                    self.report,
                    made=self.report.made + 1,
                    rows_made=self.report.rows_made + report.rows,
                    wall_seconds=time.monotonic() - started,
                )

    def _check_visible(self, name: str, host: str) -> None:
        if not self._folder.exists(name):
            raise OSError(
                f"{host} wrote {name} to its {self._folder.url}, and {socket.gethostname()} does not see it there; "
                "choose an output directory that all machines of the cluster share, or a URL"
            )

    def describe(self) -> Report:
        """Write the manifest and the card, and return the report.

        Other runs may do so at the same time, and finish shards meanwhile. Without a lock, the state that a run has
        read may be outdated when it writes: so this repeats until nothing changes.
        """
        with self._folder.locked(LOCK_NAME):
            for _ in range(_DESCRIBING_TRIES):
                for plan in self._plans:
                    self.finished[plan.split] = _finished_shards(self._folder, plan, self.finished[plan.split])
                self._check_versions({})
                self.report = replace(self.report, splits=self._split_reports())
                try:
                    is_changed = write_manifest(self._folder, self.report) | write_card(self._folder)
                except FileNotFoundError:  # another machine has just cleaned up
                    continue
                for name in (f"{self.report.release}/{MANIFEST_NAME}", CARD_NAME):
                    self._folder.clean(name)
                if not is_changed:
                    break
        return self.report


def _checked_range(shards: tuple[int, int] | None, plans: Sequence[ShardPlan]) -> tuple[int, int]:
    count = max(plan.count for plan in plans)
    if shards is None:
        return 0, count
    start, stop = shards
    if len(plans) != 1:
        names = ", ".join(plan.split for plan in plans)
        raise ValueError(f"shards={start}:{stop} needs exactly one split, got: {names}; choose one of them")
    if not 0 <= start < stop:
        raise ValueError(f"shards={start}:{stop}: must be a half-open range START:STOP, e.g. 0:16")
    if start >= count:
        raise ValueError(f"shards={start}:{stop}: there are {count:,} shards; start at {count - 1:,} or below")
    return start, stop


def _finished_shards(folder: Folder, plan: ShardPlan, known: Mapping[int, ShardReport] | None = None) -> _Finished:
    """Return the complete shards of a plan. Those in `known` are not read.

    Raises ValueError if there are shards of another plan of the split.
    """
    found = {
        name: parsed for name in folder.sizes(plan.release) if (parsed := parse_name(name)) and parsed[0] == plan.split
    }
    others = sorted(name for name, (_, _, *made) in found.items() if made != [plan.count, plan.fingerprint])
    if others:
        raise ValueError(
            f"{folder.path(plan.release)} has {format_count(len(others), 'shard')} of {plan.split} made from other "
            f"clips or with other options ({others[0]}; expected {plan.fingerprint}); choose another directory or "
            "remove them"
        )

    def report(name: str) -> ShardReport | None:
        if known and found[name][1] in known:
            return known[found[name][1]]
        with folder.open(f"{plan.release}/{name}") as file:
            return read_report(file)

    with ThreadPoolExecutor(16) as pool:
        reports = zip(found.values(), pool.map(report, found), strict=True)
        return {shard: one for (_, shard, *_), one in reports if one and one.fingerprint == plan.fingerprint}


def _late_clips(plan: ShardPlan, finished: _Finished) -> Iterator[LateClip]:
    """Yield the dropped clips of finished shards whose files appeared or changed their size since then."""
    for shard, report in sorted(finished.items()):
        known = {one.name: 0 if one.reason in ("absent", "empty") else one.size for one in report.dropped}
        sizes = {name: size for name, size in known.items() if size is not None}
        rows = plan.rows(shard).select(["name", "path"]).to_pylist() if sizes else []
        for name, path in ((row["name"], row["path"]) for row in rows):
            if name in sizes and path is not None and readable_bytes(path) not in (0, sizes[name]):
                yield LateClip(name, plan.split, plan.name(shard))


def _estimate(
    todo: Sequence[tuple[ShardPlan, int]], encoding: Encoding | None, workers: int | None, console: Console | None
) -> Estimate:
    """Estimate size and time of a run by making a few clips, evenly spread over the plans."""
    tables = [plan.rows(shard).select(["name", "path"]) for plan, shard in todo]
    clips = [(row["name"], row["path"]) for table in tables for row in table.drop_null().to_pylist()]
    sample = clips[:: max(1, len(clips) // _SAMPLED_CLIPS)][:_SAMPLED_CLIPS]
    sizes, started = [], time.monotonic()
    extra = ExtraColumns.of(todo[0][0].options if todo else {})
    function = functools.partial(prepare_clip, encoding=encoding, extra=extra)
    progress = Progress(clips=len(sample), console=console)
    with progress.drawn():
        for _, clip in run(function, zip(sample, sample, strict=True), workers=1, batch_size=1):
            if isinstance(clip, PreparedClip):
                sizes.append(len(clip.content) + sum(len(one["bytes"]) for one in clip.extra.values() if one))
            progress.count("sampled")
    seconds = (time.monotonic() - started) / max(1, len(sample))
    count = available_cores() if workers is None else workers
    return Estimate(
        clips=sum(map(len, tables)),
        present=len(clips),
        sampled=len(sample),
        unusable=len(sample) - len(sizes),
        bytes=round(sum(sizes) / max(1, len(sample)) * len(clips)),
        wall_seconds=seconds * len(clips) / count,
        workers=count,
    )


# ---- Progress -----------------------------------------------------------------------------------------------


class _Stopped(Exception):
    """Raised in a thread that makes a shard when the run ends."""


class _Watch:
    """Progress of the threads or tasks that make shards. Setting `stop` ends the threads."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self.stop = threading.Event()

    def clip(self, status: str, size: int) -> None:
        if self.stop.is_set():
            raise _Stopped
        self._progress.count(REASON_NAMES.get(status, status))
        self._progress.add_bytes(size)

    def shard(self, report: ShardReport) -> None:
        for status, count in Counter(one.reason for one in report.dropped).items():
            self._progress.count(REASON_NAMES.get(status, status), clips=count)
        self._progress.count("prepared", clips=report.rows)
        self._progress.add_bytes(report.bytes_out)


@contextlib.contextmanager
def _progress(todo: Sequence[tuple[ShardPlan, int]], console: Console | None) -> Iterator[_Watch]:
    progress = Progress(clips=sum(len(plan.rows(shard)) for plan, shard in todo), console=console)
    try:
        with progress.drawn():
            yield _Watch(progress)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; finished shards are kept. Rerun the same command to resume") from None
