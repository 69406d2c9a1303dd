"""Cache of probes, so that an unchanged file is opened only once."""

import os
from dataclasses import astuple, replace
from typing import Any

from kinetics_tools.io import JsonLog, check_shape, read_json_lines
from kinetics_tools.media import ClipInfo
from kinetics_tools.verification.clip_probe import ClipProbe, FileState

_HEADER = {"kinetics verify": 1}  # bump it with every change of what a line means
# As `_packed` gives them: of a clip, and in a line of a clip or an archive.
_PROBE = [(None, int), str, (None, [float, float, int, int, int, bool, str]), (None, str), (None, str)]
_LINE = [str, int, int, bool, ({str: _PROBE}, _PROBE)]


class ProbeCache:
    """Log of probes by path. The last line of a path counts; invalid lines are ignored.

    A lookup returns the probe of a file in the same state, at least as deep. An archive is one entry, with a probe for
    each member. Raises OSError if the log can be neither opened for appending nor created.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self._log = JsonLog(path, compact=True)
        self._entries: dict[str, tuple[FileState, bool, Any]] = {}
        lines = read_json_lines(path, _unpacked_line)
        if next(lines, None) != _HEADER:
            self._log.clear()
            self._log.append(_HEADER)
        else:
            self._entries.update(line for line in lines if line != _HEADER)

    def __enter__(self) -> "ProbeCache":
        return self

    def __exit__(self, *_: object) -> None:
        self._log.close()
        self._entries.clear()  # those of 650,000 clips take half a GB

    def clip(self, path: str, state: FileState, *, deep: bool) -> ClipProbe | None:
        """Return the probe of a clip's file; None if it is unknown."""
        found = self._get(path, state, deep)
        return found if isinstance(found, ClipProbe) else None

    def members(self, path: str, state: FileState, *, deep: bool) -> dict[str, ClipProbe] | None:
        """Return the probes of an archive's members by name; None if they are unknown."""
        found = self._get(path, state, deep)
        return found if isinstance(found, dict) else None

    def put(self, path: str, state: FileState, found: ClipProbe | dict[str, ClipProbe], *, deep: bool) -> None:
        """Add the probe of a clip's file, or those of an archive's members."""
        self._entries[path] = (state, deep, found)
        packed = {name: _packed(one) for name, one in found.items()} if isinstance(found, dict) else _packed(found)
        self._log.append([path, *state, deep, packed])

    def put_digest(self, path: str, sha256: str) -> None:
        """Add the SHA-256 of a clip's file that is in the cache."""
        state, deep, found = self._entries[path]
        self.put(path, state, replace(found, sha256=sha256), deep=deep)

    def _get(self, path: str, state: FileState, deep: bool) -> Any:
        known, known_deep, found = self._entries.get(path, (None, False, None))
        return found if known == state and known_deep >= deep else None


def _packed(probe: ClipProbe) -> list[Any]:
    return [probe.bytes, probe.ends, probe.info and astuple(probe.info), probe.error, probe.sha256]


def _unpacked(values: list[Any]) -> ClipProbe:
    size, ends, info, error, sha256 = values
    return ClipProbe(size, ends, info and ClipInfo(*info), error, sha256)


def _unpacked_line(value: Any) -> Any:
    if value == _HEADER:
        return value
    path, size, changed, deep, packed = check_shape(value, _LINE)
    if isinstance(packed, dict):
        return path, ((size, changed), deep, {name: _unpacked(values) for name, values in packed.items()})
    return path, ((size, changed), deep, _unpacked(packed))
