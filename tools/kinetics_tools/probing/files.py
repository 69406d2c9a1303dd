"""Probes of many files, from the cache or in worker processes."""

import contextlib
import functools
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from kinetics_tools.probing.cache import ProbeCache, open_cache
from kinetics_tools.probing.clip_probe import PackedProbe, file_state, probe_packed
from kinetics_tools.probing.table import ProbeTable
from kinetics_tools.run import Crash
from kinetics_tools.run import run as run_processes

_BAR_SECONDS = 2.0  # work that takes longer shows a progress bar

Key = TypeVar("Key")


def probe_items(
    items: Iterable[tuple[Key, str | bytes]], *, deep: bool = False, workers: int | None = None, batch_size: int = 32
) -> Iterator[tuple[Key, PackedProbe, bool]]:
    """Yield (key, probe, is_final) for (key, clip) of `items`, where a clip is a path or bytes, in worker processes.

    With `deep` every frame is decoded. Not final are clips that crash the process, and errors of the disk: another
    attempt may give another result. There are `workers` processes, by default one per core.
    """
    function = functools.partial(probe_packed, deep=deep)
    for key, found in run_processes(function, items, workers=workers, batch_size=batch_size):
        yield (key, [None, "", None, found.reason, None], False) if isinstance(found, Crash) else (key, *found)


class FileProber:
    """Prober of the files below `root`, from the cache or in worker processes.

    Args:
        root: directory.
        probes: table that probes are added to.
        cache: an unchanged file is not opened again.
        deep: decode every frame.
        workers: number of processes; by default one per core.
    """

    def __init__(
        self, root: str, probes: ProbeTable, cache: ProbeCache, *, deep: bool = False, workers: int | None = None
    ):
        self._root = root
        self._probes = probes
        self._cache = cache
        self._deep = deep
        self._workers = workers

    def add(self, paths: Sequence[str], on_cached: Callable[[int], Any], on_opened: Callable[[int], Any]) -> int:
        """Add the probes of the files `paths`, relative to the root, and return the number of the first.

        `on_cached` is called once, with the number of clips in the cache. `on_opened` is called with the number of each
        other clip in the table, once its probe is known.
        """
        first = self._probes.extend(len(paths))
        # Size of each file, and time of its last change in ns; -1 for those that cannot be clips.
        sizes, times = array("q", [-1]) * len(paths), array("q", [-1]) * len(paths)
        for place, path in enumerate(paths):
            state = file_state(f"{self._root}/{path}")
            if isinstance(state, tuple) and state[0]:
                sizes[place], times[place] = state
            else:
                size, error = (None, state) if isinstance(state, str) else (0, "has no bytes")
                self._probes.put(first + place, [size, "", None, error, None])
        self._add_cached(paths, first, sizes, times)
        unknown = (~self._probes.rows["is_known"][first:]).nonzero()[0]
        on_cached(sum(size > 0 for size in sizes) - len(unknown))
        items = ((place, f"{self._root}/{paths[place]}") for place in map(int, unknown))
        batch_size = 4 if self._deep else 32
        for place, probe, is_final in probe_items(items, deep=self._deep, workers=self._workers, batch_size=batch_size):
            state = (sizes[place], times[place])
            self._probes.put(first + place, probe, state, deep=self._deep)
            if is_final:
                self._cache.put(paths[place], state, probe, deep=self._deep)
            on_opened(first + place)
        return first

    def _add_cached(self, paths: Sequence[str], first: int, sizes: Sequence[int], times: Sequence[int]) -> None:
        places: dict[str, int] = {}
        for path, state, is_deep, probe in self._cache.files(deep=self._deep):
            places = places or {path: place for place, path in enumerate(paths)}
            place = places.get(path, -1)
            if place >= 0 and state == (sizes[place], times[place]):
                with contextlib.suppress(ValueError):  # a line that is invalid costs only itself
                    self._probes.put(first + place, probe, state, deep=is_deep)


def probe_files(root: str, paths: Sequence[str], *, workers: int | None = None) -> ProbeTable:
    """Return the probes of the files `paths`, relative to `root`, from its cache or in worker processes.

    Work of more than 2 s shows a progress bar.
    """
    probes = ProbeTable()
    with open_cache(root, on_error="skip") as cache, probe_bar(len(paths)) as bar:
        FileProber(root, probes, cache, workers=workers).add(paths, bar.update, lambda number: bar.update())
    return probes


def probe_bar(count: int) -> Any:
    """Return a progress bar of `count` clips that are read."""
    from datasets.utils import tqdm

    return tqdm(total=count, desc="Reading headers", unit=" clips", delay=_BAR_SECONDS)
