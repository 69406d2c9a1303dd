"""A clip tree into Parquet shards that plain `datasets` loads, streams and shuffles well.

    >>> from kinetics_tools.prepare import prepare
    >>> report = prepare("700", "k700", "kinetics", splits=["validation"])
    >>> load_dataset("kinetics", "700", split="validation", streaming=True)

    kinetics/700/validation-00000-of-00048-1f3a9c02.parquet    the clips, shuffled
    kinetics/700/prepare.json                                  how they were made, and what became of each
    kinetics/README.md                                         names the files, for `datasets` and the Hub

A finished shard is the only state that there is: the same call goes on from whatever is there.
"""

import contextlib
import functools
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

from rich.console import Console

from kinetics_tools.annotations.selection import Selection
from kinetics_tools.io.folder import Folder
from kinetics_tools.media import Encoding
from kinetics_tools.preparation.card import CARD_NAME, check_place, write_card
from kinetics_tools.preparation.clip import (
    Dropped,
    Taken,
    Unopened,
    can_be_read,
    read_clip,
    readable_bytes,
    take,
    unreadable,
)
from kinetics_tools.preparation.manifest import (
    LOCK_NAME,
    SUMMARY_NAME,
    Estimate,
    Late,
    Report,
    SplitReport,
    write_summary,
)
from kinetics_tools.preparation.options import CLIPS_PER_SHARD, PrepareOptions
from kinetics_tools.preparation.parquet import (
    ShardReport,
    ShardWriter,
    clip_row,
    prepared_features,
    read_report,
)
from kinetics_tools.preparation.plan import ShardPlan, parse_name, plan_shards
from kinetics_tools.run import Crash, Progress, available_cores, check_engine, run, spread

__all__ = ["Job", "parse_shards", "prepare", "prepare_shard"]

_LIMIT_SECONDS = 300.0  # for one clip, which takes about two
_SAMPLE = 8  # clips that a dry run encodes


def prepare(
    release: str,
    data_dir: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    splits: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    annotations: str | None = None,
    profile: str = "train",
    encoding: Encoding | None = None,
    clips_per_shard: int = CLIPS_PER_SHARD,
    seed: int = 0,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    shards: tuple[int, int] | None = None,
    dry_run: bool = False,
    console: Console | None = None,
) -> Report:
    """Make the shards of a release that `out` lacks from the clips in `data_dir`.

    `release`, `data_dir`, `splits`, `classes` and `annotations` are as in `KineticsConfig`; without `splits`, all that
    are there. Clips that are absent or no good are left out, and named in their shard's report.

    Args:
        data_dir, out: the folders to read and to write: paths, or what `fsspec` opens, "s3://bucket/kinetics".
        profile: "train", encoded so that sampling decodes little, as `encoding` says; or "source", the files' own
            bytes.
        clips_per_shard: annotated clips in a shard at most; see `shard_count`.
        seed: of the order of clips, see `ShardPlan`.
        workers: shards that are made at once, each by a process; None for one a core.
        engine: "local", or "ray" for a task a shard on the cluster at `address`.
        shards: (begin, end) of the shards of the one split to make, end left out; other machines make the others.
        dry_run: write nothing, and say what would be made, by encoding a few clips.

    Raises ValueError for arguments that make no sense, or where `out` holds shards made with other options or a
    README.md of somebody else's; FileNotFoundError where `data_dir` has no clips.
    """
    check_engine(engine, workers=workers, address=address)
    store = Folder(out)
    check_place(store)
    selection = Selection(release, splits=splits, classes=classes, annotations=annotations)
    options = PrepareOptions(profile, encoding, clips_per_shard, seed)
    plans = plan_shards(selection, data_dir, options)
    if shards is not None and len(plans) != 1:
        raise ValueError(f"shards of which split? This is {', '.join(plan.split for plan in plans)}; choose one")
    begin, end = shards or (0, None)
    if not 0 <= begin < (begin + 1 if end is None else end):
        raise ValueError(f"shards {begin}:{end}: give the first and, after it, the one behind the last")
    finished = {plan.split: _finished(store, plan) for plan in plans}
    if begin >= max(plan.count for plan in plans):
        raise ValueError(f"shards {begin}:{end}: there are {plans[0].count:,}, the first of them 0")
    todo = [
        (plan, shard)
        for plan in plans
        for shard in range(begin, min(plan.count, end or plan.count))
        if shard not in finished[plan.split]
    ]
    console = console or Console(soft_wrap=True, highlight=False, markup=False)
    report = Report(
        release=release,
        out=store.url,
        options=plans[0].options,
        splits={plan.split: SplitReport.of(plan, finished[plan.split]) for plan in plans},
        to_make=len(todo),
        late=tuple(late for plan in plans for late in _late(plan, finished[plan.split])),
    )
    if dry_run:
        return replace(report, estimate=_estimate(todo, options.encoding, workers))
    started = time.monotonic()
    made: list[ShardReport] = []

    def described() -> Report:
        now = replace(
            report,
            made=len(made),
            rows_made=sum(one.rows for one in made),
            wall_seconds=time.monotonic() - started,
        )
        return _describe(store, now, plans, finished)

    try:
        with _progress(todo, console) as watch:
            function: Callable[[Job], ShardReport] = prepare_shard
            if engine == "local":
                function = functools.partial(prepare_shard, on_clip=watch.clip)
            # One after the other as they are needed: all rows of a release as Python values take half a gigabyte.
            jobs = (Job.of(plan, shard, store, options.encoding) for plan, shard in todo)
            items = (((job.split, job.shard), job) for job in jobs)
            for (split, shard), shard_report in spread(
                function, items, workers=workers, engine=engine, address=address, stop=watch.stop
            ):
                finished[split][shard] = shard_report
                made.append(shard_report)
                if engine != "local":
                    watch.shard(shard_report)
    finally:
        now = described()  # however it ends, so that what there is can be published
    return now


def parse_shards(text: str) -> tuple[int, int]:
    """(begin, end) of "A:B"."""
    begin, _, end = text.partition(":")
    if not (begin.isdigit() and end.isdigit()):
        raise ValueError(f'shards {text!r}: write "A:B", the number of the first and of the one behind the last')
    return int(begin), int(end)


def _finished(store: Folder, plan: ShardPlan, known: Mapping[int, ShardReport] | None = None) -> dict[int, ShardReport]:
    """The shards of a plan that are there and whole, of which `known` need no look inside.

    Raises ValueError where shards of another plan are, too.
    """
    found = [
        (name, parsed) for name in store.sizes(plan.release) if (parsed := parse_name(name)) and parsed[0] == plan.split
    ]
    others = sorted(name for name, (_, _, count, digits) in found if (count, digits) != (plan.count, plan.fingerprint))
    if others:
        raise ValueError(
            f"{store.path(plan.release)} has {len(others):,} shards of {plan.split} made of other clips or with other "
            f"options ({others[0]}; now it is {plan.fingerprint}); name another folder, or remove them"
        )

    def report(name: str, shard: int) -> ShardReport | None:
        if known is not None and shard in known:
            return known[shard]
        with store.open(f"{plan.release}/{name}") as file:
            return read_report(file)

    names, shards = [name for name, _ in found], [parsed[1] for _, parsed in found]

    with ThreadPoolExecutor(16) as pool:
        reports = pool.map(report, names, shards)
        return {
            shard: one
            for shard, one in zip(shards, reports, strict=True)
            if one is not None and one.fingerprint == plan.fingerprint
        }


def _late(plan: ShardPlan, finished: Mapping[int, ShardReport]) -> Iterator[Late]:
    """The clips that finished shards lack, and whose files have come, or are of another size, since."""
    for shard, report in sorted(finished.items()):
        lacking = {one.name: 0 if one.reason in ("absent", "empty") else one.size for one in report.dropped}
        sizes = {name: size for name, size in lacking.items() if size is not None}
        rows = plan.rows(shard).select(["name", "path"]).to_pylist() if sizes else []
        for name, path in ((row["name"], row["path"]) for row in rows):
            if name in sizes and path is not None and readable_bytes(path) not in (0, sizes[name]):
                yield Late(name, plan.split, plan.name(shard))


# ---- One shard ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Job:
    """What any machine needs to know to make a shard: `rows` are of `ShardPlan.rows`, in order.

    `witnesses` are paths of other clips, of which one at least can be read if what they lie in can.
    """

    release: str
    split: str
    shard: int
    fingerprint: str
    out: str
    name: str
    encoding: Encoding | None
    rows: list[dict[str, Any]] = field(repr=False)
    witnesses: list[str] = field(repr=False)

    @classmethod
    def of(cls, plan: ShardPlan, shard: int, store: Folder, encoding: Encoding | None) -> "Job":
        rows = plan.rows(shard).to_pylist()
        return cls(
            release=plan.release,
            split=plan.split,
            shard=shard,
            fingerprint=plan.fingerprint,
            out=store.url,
            name=plan.name(shard),
            encoding=encoding,
            rows=rows,
            witnesses=plan.witnesses,
        )

    def inputs(self) -> Iterator[tuple[dict[str, Any], tuple[str, str]]]:
        """Row, and name and path, of each clip that is there."""
        return ((row, (row["name"], row["path"])) for row in self.rows if row["path"] is not None)


def prepare_shard(job: Job, *, on_clip: Callable[[str, int], Any] | None = None) -> ShardReport:
    """Makes one shard, clip by clip, in a process of its own that may crash or hang.

    `on_clip` is called for each clip with "prepared" or the reason why it was dropped, and its bytes in the shard.
    """
    store = Folder(job.out)
    try:
        report = _write_shard(store, job, on_clip)
    except FileNotFoundError:
        # Another run made the file at the same time, and took what we were writing for the rest of a killed one.
        with store.open(job.name) as file:
            made = read_report(file)
        if made is None or made.fingerprint != job.fingerprint:
            raise
        return made
    store.clean(job.name)
    return report


def _write_shard(store: Folder, job: Job, on_clip: Callable[[str, int], Any] | None) -> ShardReport:
    dropped: list[Dropped] = []
    rows = bytes_in = bytes_out = 0
    seconds = 0.0

    def tell(status: str, size: int = 0) -> None:
        if on_clip is not None:
            on_clip(status, size)

    for row in job.rows:
        if row["path"] is None:
            dropped.append(Dropped(row["name"], "absent"))
            tell("absent")
    function = functools.partial(take, encoding=job.encoding)
    results = run(
        function, job.inputs(), workers=1, batch_size=16 if job.encoding is None else 1, limit_seconds=_LIMIT_SECONDS
    )
    with (
        contextlib.closing(results),
        store.writing(job.name) as file,
        ShardWriter(file, prepared_features(job.release)) as writer,
    ):
        for row, found in results:
            good = _good(row, found)
            if isinstance(good, Unopened):
                _check_others(job, row["path"], good.dropped)
                good = good.dropped
            if isinstance(good, Dropped):
                dropped.append(good)
                tell(good.reason)
                continue
            taken, content = good
            writer.add(clip_row(row, taken, content))
            rows += 1
            bytes_in += taken.bytes_in
            bytes_out += len(content)
            seconds += taken.info.duration_seconds
            tell("prepared", len(content))
        report = ShardReport(
            fingerprint=job.fingerprint,
            clips=len(job.rows),
            rows=rows,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            seconds=round(seconds, 3),
            dropped=tuple(sorted(dropped, key=lambda one: one.name)),
        )
        writer.report(report)
    return report


def _good(
    row: Mapping[str, Any], found: Taken | Dropped | Unopened | Crash
) -> tuple[Taken, bytes] | Dropped | Unopened:
    """A clip and its bytes, or why it is none."""
    if isinstance(found, Crash):
        return Dropped(row["name"], "crashed", found.reason, readable_bytes(row["path"]))
    if isinstance(found, Dropped | Unopened):
        return found
    try:
        return found, read_clip(row["path"]) if found.content is None else found.content
    except OSError as error:  # it went since it was measured
        return Unopened(unreadable(row["name"], row["path"], error, 0))


def _check_others(job: Job, path: str, dropped: Dropped) -> None:
    """Raises OSError where other clips cannot be read, either, as of a disk or a right to read that is gone.

    Else all that is left to do would be written without its clips.
    """
    others = [other for other in job.witnesses if other != path]
    if others and not any(map(can_be_read, others)):
        raise OSError(
            f"{dropped.name}: {dropped.detail}; nor can other clips be read: see that they can, and run the same "
            "command again to go on"
        )


# ---- The run ------------------------------------------------------------------------------------------------


class _Stopped(Exception):
    """The run is to end; finished shards stand."""


class _Watch:
    """What the threads that make shards tell."""

    def __init__(self, progress: Progress):
        self._progress = progress
        self.stop = threading.Event()

    def clip(self, status: str, size: int) -> None:
        if self.stop.is_set():
            raise _Stopped
        self._progress.count(status)
        self._progress.add_bytes(size)

    def shard(self, report: ShardReport) -> None:
        for status, count in Counter(one.reason for one in report.dropped).items():
            self._progress.count(status, clips=count)
        self._progress.count("prepared", clips=report.rows)
        self._progress.add_bytes(report.bytes_out)


@contextlib.contextmanager
def _progress(todo: Sequence[tuple[ShardPlan, int]], console: Console) -> Iterator[_Watch]:
    with Progress(clips=sum(len(plan.rows(shard)) for plan, shard in todo), console=console) as progress:
        watch = _Watch(progress)
        done = threading.Event()

        def draw() -> None:
            while not done.wait(0.1):
                progress.tick()

        drawing = threading.Thread(target=draw, daemon=True)
        drawing.start()
        try:
            yield watch
        except KeyboardInterrupt:
            progress.note("interrupted: finished shards stay, and the same command goes on from there")
            raise
        finally:
            done.set()
            drawing.join()


def _estimate(todo: Sequence[tuple[ShardPlan, int]], encoding: Encoding | None, workers: int | None) -> Estimate:
    """By making a few clips, evenly from all over the plan."""
    rows = [plan.rows(shard).select(["name", "path"]) for plan, shard in todo]
    total = sum(map(len, rows))
    clips = [(row["name"], row["path"]) for table in rows for row in table.drop_null().to_pylist()]
    sample = clips[:: max(1, len(clips) // _SAMPLE)][:_SAMPLE]
    size, good, started = 0, 0, time.monotonic()
    function = functools.partial(take, encoding=encoding)
    for _, taken in run(function, zip(sample, sample, strict=True), workers=1, batch_size=1):
        if isinstance(taken, Taken):
            size += taken.bytes_in if taken.content is None else len(taken.content)
            good += 1
    seconds = (time.monotonic() - started) / max(1, len(sample))
    count = available_cores() if workers is None else workers
    return Estimate(
        clips=total,
        present=len(clips),
        sampled=len(sample),
        bytes=round(size / good * len(clips)) if good else 0,
        wall_seconds=seconds * len(clips) / count,
        workers=count,
    )


def _describe(
    store: Folder, report: Report, plans: Sequence[ShardPlan], finished: dict[str, dict[int, ShardReport]]
) -> Report:
    """Writes prepare.json and the card, and returns the report of what is there then.

    Others may do so, too, for this split or another, and finish the last shards while we do. Where a lock does not
    keep them apart, what one has read is old when it writes: so each looks again until nothing is left to write.
    """
    names = (f"{report.release}/{SUMMARY_NAME}", CARD_NAME)
    with store.locked(LOCK_NAME):
        for _ in range(10):
            finished.update({plan.split: _finished(store, plan, finished[plan.split]) for plan in plans})
            splits = {plan.split: SplitReport.of(plan, finished[plan.split]) for plan in plans}
            report = replace(report, splits=splits)
            try:
                is_written = not write_summary(store, report) | write_card(store)
            except FileNotFoundError:  # another machine has just cleaned up
                continue
            for name in names:
                store.clean(name)
            if is_written:
                break
    return report
