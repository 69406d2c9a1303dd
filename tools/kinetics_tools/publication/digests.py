"""Cache of SHA-256 of local files."""

import contextlib
import os
from typing import Any

from kinetics_tools.io.digest import file_sha256
from kinetics_tools.io.folder import Folder
from kinetics_tools.io.json_shape import check_shape
from kinetics_tools.io.jsonl import JsonLog, read_json_lines

DIGESTS_NAME = ".digests.jsonl"

FileState = tuple[int, int, int]  # size, time of modification in ns and inode: a file that keeps them is the same


class Digests:
    """SHA-256 of the files of a local folder by name, cached in a hidden file there."""

    def __init__(self, store: Folder):
        self._store = store
        self._path = store.path(DIGESTS_NAME)
        self._known = dict(read_json_lines(self._path, _parse))

    def state(self, name: str) -> FileState:
        """Return a value that changes when a file does. Raises FileNotFoundError."""
        stat = os.stat(self._store.path(name))
        return stat.st_size, stat.st_mtime_ns, stat.st_ino

    def sha256(self, name: str) -> str:
        """Return the digest of a file, in hexadecimal. Raises FileNotFoundError."""
        state = self.state(name)
        known = self._known.get(name)
        if known is None or known[1] != state:
            with self._store.open(name) as file:
                self.learn(name, file_sha256(file), state)
        return self._known[name][0]

    def learn(self, name: str, digest: str, state: FileState) -> None:
        """Store the digest of a file in this state. Without write access, the next run computes it again."""
        self._known[name] = digest, state
        with contextlib.suppress(OSError), JsonLog(self._path, compact=True) as log:
            log.append([name, digest, *state])


def _parse(line: Any) -> tuple[str, tuple[str, FileState]]:
    name, digest, size, changed, inode = check_shape(line, [str, str, int, int, int])
    return name, (digest, (size, changed, inode))
