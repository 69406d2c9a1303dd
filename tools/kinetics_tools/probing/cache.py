"""Cache of probes, so that an unchanged file is opened only once."""

import hashlib
import os
from collections.abc import Iterator
from typing import Any

from datasets.utils.logging import get_logger

from kinetics_tools.io import DownloadCache, JsonLog, check_shape, disk_errors, read_json_lines
from kinetics_tools.probing.clip_probe import FileState, PackedProbe

CACHE_NAME = ".kinetics-probes.jsonl"
_HEADER = {"kinetics probes": 2}  # bump it with every change of what a line means
_PROBE = [object, str, object, object, object]
_LINE = [str, int, int, bool, (_PROBE, {str: _PROBE})]

_logger = get_logger("datasets.kinetics")


class ProbeCache:
    """Log of probes by path, one line each. The last line of a file's state counts; invalid lines are ignored.

    An archive is one line, with a probe for each member. A line is in the file when `put` returns, so that a kill loses
    none. Several processes may append to one log.

    Args:
        path: the log; None for none, so that nothing is kept.
        on_error: "raise" raises DiskError if a line cannot be written, "skip" logs it and keeps nothing more.

    Raises:
        OSError: the log can be neither opened for appending nor created.
    """

    def __init__(self, path: str | os.PathLike[str] | None, *, on_error: str = "raise"):
        self._path = path
        self._on_error = on_error
        self._log: JsonLog | None = None
        if path is not None:
            self._log = JsonLog(path, compact=True)
            if next(read_json_lines(path, lambda value: value), None) != _HEADER:
                self._log.clear()
                self._append(_HEADER)

    def __enter__(self) -> "ProbeCache":
        return self

    def __exit__(self, *_: object) -> None:
        if self._log is not None:
            self._log.close()

    def files(self, *, deep: bool) -> Iterator[tuple[str, FileState, bool, PackedProbe]]:
        """Yield path, state, True if every frame was decoded, and probe of each file; with `deep`, of such only."""
        for path, size, changed, is_deep, found in self._lines():
            if isinstance(found, list) and is_deep >= deep:
                yield path, (size, changed), is_deep, found

    def archives(self, *, deep: bool) -> dict[tuple[str, FileState], dict[str, PackedProbe]]:
        """Return the probes of the members of archives, by path and state of the archive."""
        return {
            (path, (size, changed)): found
            for path, size, changed, is_deep, found in self._lines()
            if isinstance(found, dict) and is_deep >= deep
        }

    def put(self, path: str, state: FileState, found: PackedProbe | dict[str, PackedProbe], *, deep: bool) -> None:
        """Add the probe of a clip's file, or those of an archive's members."""
        self._append([path, *state, deep, found])

    def _lines(self) -> Iterator[Any]:
        return iter(()) if self._path is None else read_json_lines(self._path, _checked)

    def _append(self, value: Any) -> None:
        if self._log is None:
            return
        try:
            with disk_errors(self._log.path):
                self._log.append(value)
        except OSError as error:
            if self._on_error == "raise":
                raise
            _logger.warning(f"{error}; the clips are read again at the next start")
            self._log = None


def open_cache(root: str, *, on_error: str = "raise") -> ProbeCache:
    """Open the cache of a clip directory: in it or, if it cannot be written, in the download cache of `datasets`.

    If neither can be written, nothing is kept.
    """
    directory = DownloadCache().directory
    name = hashlib.sha256(os.path.realpath(root).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    for path in (os.path.join(root, CACHE_NAME), os.path.join(directory, f"kinetics-probes-{name}.jsonl")):
        try:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return ProbeCache(path, on_error=on_error)
        except OSError as error:
            reason = error.strerror or error
    _logger.warning(f"probes of clips cannot be cached ({reason}); each run opens all clips")
    return ProbeCache(None)


def _checked(value: Any) -> Any:
    # Checked here where it is fast; `ProbeTable.put` checks the values of a probe.
    if isinstance(value, list) and len(value) == len(_LINE) and isinstance(value[0], str):
        return value if isinstance(value[-1], list) else check_shape(value, _LINE)
    raise ValueError("is the header, or no probe")
