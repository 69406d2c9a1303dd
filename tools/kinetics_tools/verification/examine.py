"""Examination of the clips of a directory: probes those not in the cache, in worker processes."""

import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from kinetics_tools.io import read_archive
from kinetics_tools.run import Crash, Progress
from kinetics_tools.run import run as run_processes
from kinetics_tools.verification.clip_probe import ClipProbe, FileState, digest, file_state, probe_clip
from kinetics_tools.verification.inventory import Clip, Inventory
from kinetics_tools.verification.probe_cache import ProbeCache

Key = TypeVar("Key")


class Examiner:
    """Prober of the clips below `root`, with a cache. `opened` is the number of opened clips."""

    def __init__(self, root: str, cache: ProbeCache, progress: Progress, *, deep: bool, workers: int | None):
        self.opened = 0
        self._root = root
        self._cache = cache
        self._progress = progress
        self._deep = deep
        self._workers = workers

    def examine_files(self, clips: Iterable[Clip]) -> None:
        """Set `probe` of each extracted clip."""
        unknown: list[tuple[tuple[Clip, FileState], str]] = []
        for clip in clips:
            path = self._path(clip.path)
            state = file_state(path)
            if isinstance(state, str):
                clip.probe = ClipProbe(None, "", None, state)
            elif state[0] == 0:
                clip.probe = ClipProbe(0, "", None, "has no bytes")
            else:
                clip.probe = self._cache.clip(clip.path, state, deep=self._deep)
                if clip.probe is None:
                    unknown.append(((clip, state), path))
                    continue
            self._count(clip.probe)
        for (clip, state), probe in self._probe(unknown, batch_size=4 if self._deep else 32):
            if isinstance(probe, Crash):  # not cached: the next run examines it again
                clip.probe = ClipProbe(state[0], "", None, probe.reason)
            else:
                clip.probe = probe
                self._cache.put(clip.path, state, probe, deep=self._deep)
            self._count(clip.probe)

    def examine_archives(self, tree: Inventory) -> None:
        """Add the clips in the archives of a split, with their probes."""
        known: dict[str, dict[str, ClipProbe]] = {}
        unknown: dict[str, _Members] = {}
        for archive in tree.archives:
            state = file_state(self._path(archive))
            if isinstance(state, str):
                tree.broken[archive] = state
                continue
            members = self._cache.members(archive, state, deep=self._deep)
            if members is None:
                unknown[archive] = _Members(state)
            else:
                known[archive] = members
                for probe in members.values():
                    self._count(probe)
        for (archive, number, member), probe in self._probe(self._read(tree, unknown), batch_size=4):
            reading = unknown[archive]
            if isinstance(probe, Crash):
                reading.is_cacheable = False
                probe = ClipProbe(None, "", None, probe.reason)
            reading.found[number] = (member, probe)
            self._count(probe)
            self._remember(archive, reading)
        for archive, reading in unknown.items():
            self._remember(archive, reading)
            known[archive] = reading.probes()
        tree.add_members(known)

    def _read(self, tree: Inventory, readings: "dict[str, _Members]") -> Iterator[tuple[tuple[str, int, str], bytes]]:
        for archive, reading in readings.items():
            number = 0
            try:
                with open(self._path(archive), "rb") as file:
                    for number, (member, data) in enumerate(read_archive(file, name=archive), start=1):
                        yield (archive, number, member), data
            except OSError as error:
                tree.broken[archive] = str(error).removeprefix(f"{archive}: ")
                reading.is_cacheable = False
            reading.count = number

    def _remember(self, archive: str, reading: "_Members") -> None:
        if reading.is_cacheable and reading.count == len(reading.found):
            self._cache.put(archive, reading.state, reading.probes(), deep=self._deep)
            reading.is_cacheable = False

    def hash_files(self, clips: Iterable[Clip]) -> None:
        """Set the SHA-256 of extracted clips that have none yet."""
        unknown = [(clip, self._path(clip.path)) for clip in clips if clip.known.sha256 is None]
        for clip, sha256 in run_processes(digest, unknown, workers=self._workers):
            if isinstance(sha256, str):
                clip.probe = replace(clip.known, sha256=sha256)
                self._cache.put_digest(clip.path, sha256)

    def find_duplicates(self, trees: Sequence[Inventory]) -> list[list[Clip]]:
        """Return the groups of readable clips with the same bytes."""
        by_ends: defaultdict[Any, list[Clip]] = defaultdict(list)
        for clip in (clip for tree in trees for clip in tree.clips):
            if clip.known.error is None:
                by_ends[clip.known.bytes, clip.known.ends].append(clip)
        alike = [clip for group in by_ends.values() if len(group) > 1 for clip in group]
        self.hash_files(alike)
        by_digest: defaultdict[str, list[Clip]] = defaultdict(list)
        for clip in alike:
            if clip.known.sha256 is not None:
                by_digest[clip.known.sha256].append(clip)
        return [group for group in by_digest.values() if len(group) > 1]

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _probe(self, items: Iterable[tuple[Key, Any]], *, batch_size: int) -> Iterator[tuple[Key, Any]]:
        function = functools.partial(probe_clip, deep=self._deep)
        for key, probe in run_processes(function, items, workers=self._workers, batch_size=batch_size):
            self.opened += 1
            yield key, probe

    def _count(self, probe: ClipProbe) -> None:
        self._progress.count("readable" if probe.error is None else "unreadable")
        self._progress.tick()


@dataclass
class _Members:
    """Members of an archive while it is read, numbered from 1; `count` is their number, once known."""

    state: FileState
    found: dict[int, tuple[str, ClipProbe]] = field(default_factory=dict)
    count: int | None = None
    is_cacheable: bool = True

    def probes(self) -> dict[str, ClipProbe]:
        return dict(self.found[number] for number in sorted(self.found))
