"""Shards that are made, sent and removed, so that a release is published by a machine that could not hold it.

What the place holds is not made again. A shard is removed here once a commit there has it.
"""

import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from kinetics_tools.annotations import Selection
from kinetics_tools.preparation.options import PrepareOptions
from kinetics_tools.preparation.plan import ShardPlan, plan_shards
from kinetics_tools.preparation.shard import Job, prepare_shard
from kinetics_tools.publication.parts import Part, Publication
from kinetics_tools.publication.remote import State
from kinetics_tools.run import spread
from kinetics_tools.text import format_size

__all__ = ["Stream", "parse_bytes", "stream_of"]

_FILES_AT_ONCE = 50
_STOP_SECONDS = 5.0
_OVERHEAD_BYTES = 50_000  # what a file has beside its clips, about


@dataclass(frozen=True)
class Stream:
    """What to prepare on the way to a repository; the arguments are those of `prepare`.

    Attributes:
        max_disk_bytes: of shards that are made or sent, at most; a shard that is being made counts as large as its
            clips are now.
    """

    selection: Selection
    data_dir: str | os.PathLike[str]
    options: PrepareOptions
    workers: int | None = None
    max_disk_bytes: int = 20_000_000_000

    def __post_init__(self) -> None:
        if self.max_disk_bytes < 1:
            raise ValueError(f"max_disk is {self.max_disk_bytes} bytes; it must be 1 or more")

    def plans(self) -> tuple[list[ShardPlan], list[Part]]:
        """Raises what `prepare` raises."""
        plans = plan_shards(self.selection, self.data_dir, self.options)
        return plans, [Part.of_plan(plan) for plan in plans]

    def check_disk(self, plans: Sequence[ShardPlan], publication: Publication, state: State) -> None:
        """Raises ValueError where a file that is to be made does not fit the disk."""
        disk = _Disk(self.max_disk_bytes)
        for plan, shard in self._todo(plans, publication, state):
            disk.check(_size_of(plan.rows(shard)["path"].drop_null().to_pylist()))

    def _todo(
        self, plans: Sequence[ShardPlan], publication: Publication, state: State
    ) -> Iterator[tuple[ShardPlan, int]]:
        """What neither the place nor the folder has."""
        for plan, part in zip(plans, publication.parts, strict=True):
            done = {part.shard(name) for name in (*state.files, *publication.local(part))}
            yield from ((plan, shard) for shard in range(plan.count) if shard not in done)

    def run(
        self,
        plans: Sequence[ShardPlan],
        publication: Publication,
        state: State,
        *,
        send: Callable[[], Any],
        console: Console,
    ) -> None:
        """Makes what neither the place, whose `state` was seen, nor the folder has; `send` sends and removes it."""
        store = publication.store
        todo = list(self._todo(plans, publication, state))
        console.print(f"making {len(todo):,} of {sum(plan.count for plan in plans):,} files")
        disk = _Disk(self.max_disk_bytes)
        disk.add(sum(size for part in publication.parts for size in publication.local(part).values()))
        sender = _Sender(disk, send)
        sizes: dict[tuple[str, int], int] = {}

        def items() -> Iterator[tuple[tuple[str, int], Job]]:
            for plan, shard in todo:
                job = Job.of(plan, shard, store, self.options.encoding)
                sizes[plan.split, shard] = disk.reserve(_size_of(path for _, (_, path) in job.inputs()))
                yield (plan.split, shard), job

        sender.start()
        try:
            for (split, shard), _ in spread(prepare_shard, items(), workers=self.workers):
                made = publication.digests.size(next(p for p in plans if p.split == split).name(shard))
                disk.made(sizes.pop((split, shard)), made)
            sender.stop()
        except BaseException:
            sender.stop(_STOP_SECONDS)
            raise


def stream_of(
    releases: Sequence[str] | None,
    splits: Sequence[str] | None,
    *,
    classes: Sequence[str] | None,
    annotations: str | None,
    data_dir: str | None,
    max_disk: str,
    options: PrepareOptions,
) -> Stream:
    """Of what a command line gives; `max_disk` is such as "20GB"."""
    if data_dir is None or releases is None or len(releases) != 1:
        raise ValueError("a stream needs one release and the folder of its clips: --release 700 --data-dir k700")
    selection = Selection(releases[0], splits=splits, classes=classes, annotations=annotations)
    return Stream(selection, data_dir, options, max_disk_bytes=parse_bytes(max_disk))


def parse_bytes(text: str) -> int:
    """Bytes of "20GB", "500 MB" or "1000000", in decimal units."""
    found = re.fullmatch(r"([\d.]+) *([kMGT]?)B?", text.strip())
    if not found or found[1].count(".") > 1 or found[1] == ".":
        raise ValueError(f'{text!r} is no number of bytes; write it as "20GB", "500MB" or 1000000')
    return int(float(found[1]) * 1000 ** " kMGT".index(found[2] or " "))


def _size_of(paths: Iterable[str]) -> int:
    """Bytes of the clips of a shard; of clips in an object store, which would have to be asked for each, a guess."""
    return sum(1_000_000 if "://" in path else os.path.getsize(path) for path in paths)


class _Disk:
    """How many bytes are taken by shards that are being made, and by those that are made and still here."""

    def __init__(self, limit: int):
        self._limit = limit
        self._making = 0
        self._made = 0
        self._files = 0
        self._largest = 0  # of those that were made: the next ones may be so
        self._is_short = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def add(self, size: int) -> None:
        with self._changed:
            self._made += size
            self._changed.notify_all()

    def check(self, size: int) -> int:
        """How much a file of clips of so many bytes may take. Raises ValueError where that is more than there is."""
        size = max(size + _OVERHEAD_BYTES, self._largest)
        if size > self._limit:
            raise ValueError(
                f"max_disk {format_size(self._limit)} does not hold one file, of about {format_size(size)}; make it "
                "larger, or clips_per_shard smaller"
            )
        return size

    def reserve(self, size: int) -> int:
        """Waits for room, and returns how much is reserved. Raises ValueError where there can never be enough."""
        size = self.check(size)
        with self._changed:
            while self._making + self._made + size > self._limit and self._error is None:
                self._is_short = True
                self._changed.notify_all()
                self._changed.wait()
            if self._error is not None:
                raise self._error
            self._is_short = False
            self._making += size
        return size

    def made(self, reserved: int, size: int) -> None:
        with self._changed:
            self._making -= reserved
            self._made += size
            self._largest = max(self._largest, size)
            self._files += 1
            self._changed.notify_all()

    def wait_for_work(self, stopped: Callable[[], bool]) -> int:
        """Waits until it is time to send what is made, and returns its bytes; 0 when nothing more comes."""

        def is_time() -> bool:
            is_much = self._made >= self._limit / 2 or self._files >= _FILES_AT_ONCE
            return stopped() or (self._made > 0 and (is_much or self._is_short))

        with self._changed:
            self._changed.wait_for(is_time)
            self._files = 0
            return 0 if stopped() else self._made

    def sent(self, size: int) -> None:
        self.add(-size)

    def fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def wake(self) -> None:
        with self._changed:
            self._changed.notify_all()


class _Sender:
    """A thread that sends what is made whenever there is much of it, or no room for more."""

    def __init__(self, disk: _Disk, send: Callable[[], Any]):
        self._disk = disk
        self._send = send
        self._stopped = False
        # A daemon, since one that waits for a server must not keep an interrupted program alive.
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float | None = None) -> None:
        """Waits until it has sent what it is sending, or so many `seconds`."""
        self._stopped = True
        self._disk.wake()
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            while size := self._disk.wait_for_work(lambda: self._stopped):
                self._send()
                self._disk.sent(size)
        except BaseException as error:
            self._disk.fail(error)
