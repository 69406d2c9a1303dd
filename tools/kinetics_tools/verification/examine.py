"""Examination of the clips of a directory: probes those not in the cache, in worker processes."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from kinetics_tools.io import read_archive
from kinetics_tools.probing import (
    FileProber,
    FileState,
    PackedProbe,
    ProbeCache,
    ProbeTable,
    digest,
    file_state,
    probe_items,
)
from kinetics_tools.run import Progress
from kinetics_tools.run import run as run_processes
from kinetics_tools.verification.inventory import Clip, Inventory


class Examiner:
    """Prober of the clips below `root`, with a cache.

    Attributes:
        probes: probes by the numbers of the clips.
        opened, unchanged: number of opened clips, and of those that were in the cache.
    """

    def __init__(self, root: str, cache: ProbeCache, progress: Progress, *, deep: bool, workers: int | None):
        self.probes = ProbeTable()
        self.opened = 0
        self.unchanged = 0
        self._root = root
        self._cache = cache
        self._progress = progress
        self._deep = deep
        self._workers = workers

    def examine_files(self, clips: Sequence[Clip]) -> None:
        """Probe extracted clips, and set their numbers."""
        prober = FileProber(self._root, self.probes, self._cache, deep=self._deep, workers=self._workers)
        first = prober.add([clip.path for clip in clips], self._count_known, self._count_opened)
        for number, clip in enumerate(clips, start=first):
            clip.number = number

    def examine_archives(self, tree: Inventory) -> None:
        """Add the clips in the archives of a split, with their probes."""
        cached = self._cache.archives(deep=self._deep) if tree.archives else {}
        known: dict[str, dict[str, int]] = {}
        unknown: dict[str, _Members] = {}
        for archive in tree.archives:
            state = file_state(f"{self._root}/{archive}")
            if isinstance(state, str):
                tree.broken[archive] = state
                continue
            try:
                known[archive] = {name: self._put(probe) for name, probe in cached[archive, state].items()}
            except (KeyError, ValueError):  # it has no line, or an invalid one
                unknown[archive] = _Members(state)
            else:
                self._count_known(len(known[archive]))
        items = self._read(tree, unknown)
        for (archive, position, member), probe, is_final in probe_items(
            items, deep=self._deep, workers=self._workers, batch_size=4
        ):
            reading = unknown[archive]
            reading.is_cacheable &= is_final
            reading.found[position] = (member, self._put(probe))
            self._count_opened(reading.found[position][1])
            self._remember(archive, reading)
        for archive, reading in unknown.items():
            self._remember(archive, reading)
            known[archive] = reading.numbers()
        tree.add_members(known)

    def _put(self, probe: PackedProbe) -> int:
        number = self.probes.extend(1)
        self.probes.put(number, probe)
        return number

    def _read(self, tree: Inventory, readings: "dict[str, _Members]") -> Iterator[tuple[tuple[str, int, str], bytes]]:
        for archive, reading in readings.items():
            position = 0
            try:
                with open(f"{self._root}/{archive}", "rb") as file:
                    for position, (member, data) in enumerate(read_archive(file, name=archive), start=1):
                        yield (archive, position, member), data
            except OSError as error:
                tree.broken[archive] = str(error).removeprefix(f"{archive}: ")
                reading.is_cacheable = False
            reading.count = position

    def _remember(self, archive: str, reading: "_Members") -> None:
        if reading.is_cacheable and reading.count == len(reading.found):
            members = {name: self.probes.packed(number) for name, number in reading.numbers().items()}
            self._cache.put(archive, reading.state, members, deep=self._deep)
            reading.is_cacheable = False

    def hash_files(self, clips: Iterable[Clip]) -> None:
        """Add the SHA-256 of extracted clips that have none yet."""
        unknown = [(clip, f"{self._root}/{clip.path}") for clip in clips if clip.number not in self.probes.digests]
        for clip, sha256 in run_processes(digest, unknown, workers=self._workers):
            if isinstance(sha256, str):
                self.probes.digests[clip.number] = sha256
                state, is_deep = self.probes.state(clip.number)
                self._cache.put(clip.path, state, self.probes.packed(clip.number), deep=is_deep)

    def find_duplicates(self, trees: Sequence[Inventory]) -> list[list[Clip]]:
        """Return the groups of readable clips with the same bytes."""
        is_readable = self.probes.readable()
        clips = [clip for tree in trees for clip in tree.clips if is_readable[clip.number]]
        rows = self.probes.rows[[clip.number for clip in clips]]
        order = np.lexsort((rows["ends"], rows["bytes"]))
        is_next = (np.diff(rows["ends"][order]) == 0) & (np.diff(rows["bytes"][order]) == 0)
        alike = order[np.r_[is_next, False] | np.r_[False, is_next]] if clips else order
        by_digest: defaultdict[str, list[Clip]] = defaultdict(list)
        self.hash_files(clips[place] for place in alike)
        for place in sorted(alike.tolist()):
            digest_of = self.probes.digests.get(clips[place].number)
            if digest_of is not None:
                by_digest[digest_of].append(clips[place])
        return [group for group in by_digest.values() if len(group) > 1]

    def _count_known(self, cached: int) -> None:
        self.unchanged += cached
        readable = int(self.probes.readable().sum())
        unreadable = int(self.probes.rows["is_known"].sum()) - readable
        for status, count in (("readable", readable), ("unreadable", unreadable)):
            self._progress.count(status, clips=count - self._progress.counts[status])

    def _count_opened(self, number: int) -> None:
        self.opened += 1
        self._progress.count("unreadable" if number in self.probes.errors else "readable")
        self._progress.tick()


@dataclass
class _Members:
    """Members of an archive while it is read, numbered from 1; `count` is their number, once known."""

    state: FileState
    found: dict[int, tuple[str, int]] = field(default_factory=dict)
    count: int | None = None
    is_cacheable: bool = True

    def numbers(self) -> dict[str, int]:
        return dict(self.found[position] for position in sorted(self.found))
