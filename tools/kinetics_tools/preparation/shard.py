"""Writing of one shard, on any machine."""

import contextlib
import functools
import socket
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

from kinetics_tools.io import Folder
from kinetics_tools.media import Encoding
from kinetics_tools.preparation.clip import (
    DroppedClip,
    PreparedClip,
    UnreachableClip,
    prepare_clip,
    readable_bytes,
)
from kinetics_tools.preparation.extra_columns import ExtraColumns
from kinetics_tools.preparation.parquet import ShardReport, ShardWriter, clip_row, prepared_features, read_report
from kinetics_tools.preparation.plan import ShardPlan
from kinetics_tools.preparation.versions import check_versions, made_with
from kinetics_tools.releases import LABELS
from kinetics_tools.run import Crash, IdleProcesses, run

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
        made_with: versions that the machine must have, see `made_with`; None for any.
        extra: extra columns.
    """

    release: str
    fingerprint: str
    folder: str
    name: str
    encoding: Encoding | None
    rows: list[_Row] = field(repr=False)
    witnesses: list[str] = field(repr=False)
    made_with: dict[str, str] | None = None
    extra: ExtraColumns = ExtraColumns()  # noqa: RUF009, frozen

    @classmethod
    def of(
        cls,
        plan: ShardPlan,
        shard: int,
        folder: Folder,
        encoding: Encoding | None,
        made_with: dict[str, str] | None = None,
    ) -> "Job":
        """Return the job for shard number `shard` of a plan."""
        name, rows = plan.name(shard), plan.rows(shard).to_pylist()
        extra = ExtraColumns.of(plan.options)
        return cls(plan.release, plan.fingerprint, folder.url, name, encoding, rows, plan.witnesses, made_with, extra)

    def inputs(self) -> Iterator[tuple[_Row, tuple[str, str]]]:
        """Yield the row of each clip that has a file, with its name and path."""
        return ((row, (row["name"], row["path"])) for row in self.rows if row["path"] is not None)


def prepare_shard(
    job: Job, *, on_clip: Callable[[str, int], Any] | None = None, idle: IdleProcesses | None = None
) -> ShardReport:
    """Make one shard. Its clips are read by a process of their own, which may crash or hang.

    `on_clip` is called for each clip with "prepared" or the reason why it was dropped, and its bytes in the shard.
    The process is taken from `idle`, if that has one.

    Raises:
        OSError: the shard cannot be written, or no clip can be read.
        ValueError: this machine has other versions than the job wants.
    """
    if job.made_with is not None:
        check_versions([job.made_with, made_with()], job.name)
    folder = Folder(job.folder)
    try:
        report = _write_shard(folder, job, on_clip or (lambda status, size: None), idle)
    except FileNotFoundError:
        # Another run made the shard at the same time, and took our temporary file for one of a killed run.
        with folder.open(job.name) as file:
            made = read_report(file)
        if made is None or made.fingerprint != job.fingerprint:
            raise
        return made
    folder.clean(job.name)
    return report


def prepare_shard_there(job: Job) -> tuple[str, ShardReport]:
    """Make one shard; return the name of this machine, too."""
    return socket.gethostname(), prepare_shard(job)


def _write_shard(
    folder: Folder, job: Job, on_clip: Callable[[str, int], Any], idle: IdleProcesses | None
) -> ShardReport:
    dropped = [DroppedClip(row["name"], "absent") for row in job.rows if row["path"] is None]
    for one in dropped:
        on_clip(one.reason, 0)
    rows = bytes_in = bytes_out = 0
    seconds = 0.0
    per_class = [0] * len(LABELS[job.release])
    with (
        contextlib.closing(_clips(job, idle)) as clips,
        folder.writing(job.name) as file,
        ShardWriter(file, prepared_features(job.release, job.extra)) as writer,
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
            if row["label"] >= 0:
                per_class[row["label"]] += 1
            on_clip("prepared", size)
        report = ShardReport(
            fingerprint=job.fingerprint,
            clips=len(job.rows),
            rows=rows,
            bytes_in=bytes_in,
            bytes_out=bytes_out,
            seconds=round(seconds, 3),
            dropped=tuple(sorted(dropped, key=lambda one: one.name)),
            made_with=made_with(),
            per_class=tuple(per_class),
        )
        writer.report(report)
    return report


def _clips(job: Job, idle: IdleProcesses | None) -> Generator[tuple[_Row, PreparedClip | DroppedClip], None, None]:
    """Yield each clip that has a file: its row, and the prepared or the dropped clip."""
    results = run(
        functools.partial(prepare_clip, encoding=job.encoding, extra=job.extra),
        job.inputs(),
        workers=1,
        batch_size=4 if job.encoding is None else 1,
        limit_seconds=_LIMIT_SECONDS,
        idle=idle,
    )
    with contextlib.closing(results):
        for row, found in results:
            if isinstance(found, Crash):
                yield row, DroppedClip(row["name"], "crashed", found.reason, readable_bytes(row["path"]))
            elif isinstance(found, UnreachableClip):
                _check_witnesses(job, row["path"], found.dropped)
                yield row, found.dropped
            else:
                yield row, found


def _check_witnesses(job: Job, path: str, dropped: DroppedClip) -> None:
    """Raise OSError if no other clip is readable either, because the run would then drop all clips."""
    others = [other for other in job.witnesses if other != path]
    if others and not any(map(readable_bytes, others)):
        raise OSError(
            f"{dropped.name}: {dropped.detail}; other clips cannot be read either. Make them readable and rerun the "
            "same command to resume"
        )
