"""Writing of one shard, on any machine."""

import contextlib
import functools
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from kinetics_tools.io import Folder
from kinetics_tools.media import Encoding
from kinetics_tools.preparation.clip import (
    DroppedClip,
    PreparedClip,
    UnreachableClip,
    prepare_clip,
    read_clip,
    readable_bytes,
    unreadable_clip,
)
from kinetics_tools.preparation.parquet import ShardReport, ShardWriter, clip_row, prepared_features, read_report
from kinetics_tools.preparation.plan import ShardPlan
from kinetics_tools.run import Crash, run

_LIMIT_SECONDS = 300.0  # for one clip, which takes about two

_Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Job:
    """Inputs of a shard, enough to make it on any machine.

    Attributes:
        folder: URL or absolute path of the output directory.
        name: name of the shard in it.
        rows: rows of `ShardPlan.rows`, in order.
        witnesses: paths of other clips. If none is readable, their disk or store is unreachable.
    """

    release: str
    fingerprint: str
    folder: str
    name: str
    encoding: Encoding | None
    rows: list[_Row] = field(repr=False)
    witnesses: list[str] = field(repr=False)

    @classmethod
    def of(cls, plan: ShardPlan, shard: int, folder: Folder, encoding: Encoding | None) -> "Job":
        """Return the job for shard number `shard` of a plan."""
        rows = plan.rows(shard).to_pylist()
        return cls(plan.release, plan.fingerprint, folder.url, plan.name(shard), encoding, rows, plan.witnesses)

    def inputs(self) -> Iterator[tuple[_Row, tuple[str, str]]]:
        """Yield the row of each clip that has a file, with its name and path."""
        return ((row, (row["name"], row["path"])) for row in self.rows if row["path"] is not None)


def prepare_shard(job: Job, *, on_clip: Callable[[str, int], Any] | None = None) -> ShardReport:
    """Make one shard. Its clips are read by a process of their own, which may crash or hang.

    `on_clip` is called for each clip with "prepared" or the reason why it was dropped, and its bytes in the shard.
    """
    folder = Folder(job.folder)
    try:
        report = _write_shard(folder, job, on_clip or (lambda status, size: None))
    except FileNotFoundError:
        # Another run made the shard at the same time, and took our temporary file for one of a killed run.
        with folder.open(job.name) as file:
            made = read_report(file)
        if made is None or made.fingerprint != job.fingerprint:
            raise
        return made
    folder.clean(job.name)
    return report


def _write_shard(folder: Folder, job: Job, on_clip: Callable[[str, int], Any]) -> ShardReport:
    dropped = [DroppedClip(row["name"], "absent") for row in job.rows if row["path"] is None]
    for one in dropped:
        on_clip(one.reason, 0)
    rows = bytes_in = bytes_out = 0
    seconds = 0.0
    with (
        contextlib.closing(_clips(job)) as clips,
        folder.writing(job.name) as file,
        ShardWriter(file, prepared_features(job.release)) as writer,
    ):
        for row, clip in clips:
            if isinstance(clip, DroppedClip):
                dropped.append(clip)
                on_clip(clip.reason, 0)
                continue
            size = writer.add(clip_row(row, clip))
            rows += 1
            bytes_in += clip.bytes_in
            bytes_out += size
            seconds += clip.info.duration_seconds
            on_clip("prepared", size)
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


def _clips(job: Job) -> Generator[tuple[_Row, PreparedClip | DroppedClip], None, None]:
    """Yield each clip that has a file: its row, and the prepared or the dropped clip."""
    results = run(
        functools.partial(prepare_clip, encoding=job.encoding),
        job.inputs(),
        workers=1,
        batch_size=16 if job.encoding is None else 1,
        limit_seconds=_LIMIT_SECONDS,
    )
    with contextlib.closing(results):
        for row, found in results:
            clip = _with_content(row, found)
            if isinstance(clip, UnreachableClip):
                _check_witnesses(job, row["path"], clip.dropped)
                clip = clip.dropped
            yield row, clip


def _with_content(
    row: _Row, found: PreparedClip | DroppedClip | UnreachableClip | Crash
) -> PreparedClip | DroppedClip | UnreachableClip:
    if isinstance(found, Crash):
        return DroppedClip(row["name"], "crashed", found.reason, readable_bytes(row["path"]))
    if not isinstance(found, PreparedClip) or found.content is not None:
        return found
    try:
        return replace(found, content=read_clip(row["path"]))
    except OSError as error:  # it disappeared after it was measured
        return UnreachableClip(unreadable_clip(row["name"], row["path"], error, 0))


def _check_witnesses(job: Job, path: str, dropped: DroppedClip) -> None:
    """Raise OSError if no other clip is readable either, because the run would then drop all clips."""
    others = [other for other in job.witnesses if other != path]
    if others and not any(map(readable_bytes, others)):
        raise OSError(
            f"{dropped.name}: {dropped.detail}; other clips cannot be read either. Make them readable and rerun the "
            "same command to resume"
        )
