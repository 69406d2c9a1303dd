"""Push with preparation on the fly, so that a release can be larger than the disk.

Shards that the remote has are not prepared again. A local shard is removed once the remote has it.
"""

import functools
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kinetics_tools.annotations import Selection
from kinetics_tools.preparation import Job, PrepareOptions, ShardPlan, made_with, plan_shards, prepare_shard
from kinetics_tools.publication.changes import Publication
from kinetics_tools.publication.parts import Part
from kinetics_tools.publication.remote import Listing
from kinetics_tools.run import IdleProcesses, spread
from kinetics_tools.text import check_count, format_count, format_size, parse_size

_SHARDS_AT_ONCE = 50
_OVERHEAD_BYTES = 50_000  # of a shard beside its clips, roughly
_REMOTE_CLIP_BYTES = 1_000_000  # a guess: the size of each clip in an object store would take a request


@dataclass(frozen=True)
class Stream:
    """Shards to prepare during a push.

    Attributes:
        selection: release and clips to prepare.
        data_dir: folder of the clips, as in `prepare`.
        options: how to prepare them.
        workers: number of shards to prepare in parallel; None for one per core.
        max_disk_bytes: limit for the shards on disk; one in preparation counts with the size of its clips.
    """

    selection: Selection
    data_dir: str | os.PathLike[str]
    options: PrepareOptions
    workers: int | None = None
    max_disk_bytes: int = 20_000_000_000

    def __post_init__(self) -> None:
        check_count(max_disk_bytes=self.max_disk_bytes)

    @functools.cached_property
    def _plans(self) -> list[ShardPlan]:
        return plan_shards(self.selection, self.data_dir, self.options)

    def parts(self) -> list[Part]:
        """Return the splits to publish. Raises the errors of `prepare`."""
        return [Part.from_plan(plan) for plan in self._plans]

    def check(self, publication: Publication, listing: Listing) -> None:
        """Raise ValueError if a shard that is still to be prepared does not fit on the disk, or to the other shards."""
        room = _Room(self.max_disk_bytes)
        unmade = set()
        for plan, shard in self._missing(publication, listing):
            room.needed(_size_of(plan.rows(shard)["path"].drop_null().to_pylist()))
            unmade.add(plan.split)
        for part in publication.parts:
            if part.split in unmade:
                found = publication.reports(listing, part).values()
                publication.check_versions(part, [*(one.made_with for one in found), made_with()])

    def run(
        self, publication: Publication, listing: Listing, *, upload: Callable[[], Any], say: Callable[[str], Any]
    ) -> None:
        """Prepare the shards that are missing at the remote and in the folder; `upload` uploads and removes them."""
        missing = list(self._missing(publication, listing))
        say(f"preparing {len(missing):,} of {format_count(sum(plan.count for plan in self._plans), 'shard')}")
        room = _Room(self.max_disk_bytes, upload, finished=sum(publication.all_local().values()))

        def jobs() -> Iterator[tuple[str, Job]]:
            for plan, shard in missing:
                job = Job.of(plan, shard, publication.store, self.options.encoding)
                room.reserve(job.name, _size_of(path for _, (_, path) in job.inputs()))
                yield job.name, job

        def work(job: Job) -> None:
            prepare_shard(job, idle=idle)
            room.finish(job.name, publication.all_local().get(job.name, 0))  # 0 if it is uploaded and removed already

        with IdleProcesses() as idle:
            try:
                for _ in spread(work, jobs(), workers=self.workers):
                    if room.is_half_full():
                        room.upload()
            finally:
                room.close()

    def _missing(self, publication: Publication, listing: Listing) -> Iterator[tuple[ShardPlan, int]]:
        for plan, part in zip(self._plans, publication.parts, strict=True):
            done = {part.shard(name) for name in (*listing.files, *publication.local(part))}
            yield from ((plan, shard) for shard in range(plan.count) if shard not in done)


def stream_of(
    releases: Sequence[str] | None,
    splits: Sequence[str] | None,
    *,
    classes: Sequence[str] | None,
    annotations: str | None,
    force_release: bool,
    data_dir: str | None,
    max_disk: str,
    options: PrepareOptions,
) -> Stream:
    """Return the stream for options of the command line; `max_disk` is a size such as "20GB"."""
    if data_dir is None or releases is None or len(releases) != 1:
        raise ValueError("a stream needs one release and the folder of its clips: --release 700 --data-dir k700")
    selection = Selection(
        releases[0], splits=splits, classes=classes, annotations=annotations, force_release=force_release
    )
    return Stream(selection, data_dir, options, max_disk_bytes=parse_size(max_disk, name="max_disk"))


def _size_of(paths: Iterable[str]) -> int:
    return sum(_REMOTE_CLIP_BYTES if "://" in path else _file_size(path) for path in paths)


def _file_size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:  # it went after planning; its shard then drops it
        return 0


class _Room:
    """Disk space taken by shards in preparation, and by finished ones until their upload."""

    def __init__(self, limit: int, upload: Callable[[], Any] = lambda: None, *, finished: int = 0):
        self._limit = limit
        self._upload = upload
        self._reserved: dict[str, int] = {}  # by shard in preparation
        self._finished = finished
        self._shards = 0  # finished since the last upload began
        self._largest = 0  # finished shard: the next ones may be as large
        self._is_closed = False
        self._changed = threading.Condition()
        self._uploading = threading.Lock()

    def needed(self, clip_bytes: int) -> int:
        """Return the bytes that a shard of these clips may take. Raises ValueError if that exceeds the limit."""
        size = max(clip_bytes + _OVERHEAD_BYTES, self._largest)
        if size > self._limit:
            raise ValueError(
                f"max_disk {format_size(self._limit)} does not hold one shard of about {format_size(size)}; increase "
                "max_disk, or decrease clips_per_shard"
            )
        return size

    def reserve(self, name: str, clip_bytes: int) -> None:
        """Wait for room for a shard of these clips. An upload makes room as soon as any shard is finished."""
        size = self.needed(clip_bytes)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._has_room(size) or self._finished or self._is_closed)
                if self._is_closed:
                    raise RuntimeError("the run ended")
                if self._has_room(size):
                    self._reserved[name] = size
                    return
            self.upload()

    def _has_room(self, size: int) -> bool:
        return sum(self._reserved.values()) + self._finished + size <= self._limit

    def finish(self, name: str, size: int) -> None:
        """Count a shard of `size` bytes as finished."""
        with self._changed:
            del self._reserved[name]
            self._finished += size
            self._largest = max(self._largest, size)
            self._shards += 1
            self._changed.notify_all()

    def is_half_full(self) -> bool:
        """Return True if it is time for an upload, while more shards are prepared."""
        return self._finished >= self._limit / 2 or self._shards >= _SHARDS_AT_ONCE

    def upload(self) -> None:
        """Upload and remove finished shards. A second thread waits for the first."""
        with self._uploading:
            size, self._shards = self._finished, 0
            if size:
                self._upload()
            with self._changed:
                self._finished -= size
                self._changed.notify_all()

    def close(self) -> None:
        """End all waits by an error."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
