"""SHA-256 of the files of a folder, each read once for as long as it stays the same."""

import contextlib
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

__all__ = ["DIGESTS_NAME", "Digests"]

DIGESTS_NAME = ".digests.json"
_BLOCK_BYTES = 1 << 20


class Digests:
    """Of the files below `folder`, by name. What is known is kept there in a hidden file, where that can be written.

    A file is the same while its size, time and inode are, as git takes it.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self._folder = Path(folder)
        self._lock = threading.Lock()
        self._known: dict[str, list[Any]] = {}
        with contextlib.suppress(OSError, ValueError):
            self._known = dict(json.loads((self._folder / DIGESTS_NAME).read_text()))

    def path(self, name: str) -> Path:
        return self._folder / name

    def size(self, name: str) -> int:
        return self.path(name).stat().st_size

    def known(self, name: str) -> str | None:
        """Without reading the file."""
        known = self._known.get(name)
        return known[0] if known and known[1:] == self._state(name) else None

    def sha256(self, name: str) -> str:
        """In hexadecimal. Raises FileNotFoundError."""
        known = self.known(name)
        if known is not None:
            return known
        state, digest = self._state(name), hashlib.sha256()
        with open(self.path(name), "rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
        with self._lock:
            self._known[name] = [digest.hexdigest(), *state]
        return digest.hexdigest()

    def learn(self, name: str, sha256: str) -> None:
        """Takes what another has computed just now."""
        with self._lock:
            self._known[name] = [sha256, *self._state(name)]

    def save(self) -> None:
        """For the next run; one that cannot be written to reads the files again."""
        known = {name: values for name, values in self._known.items() if self.path(name).exists()}
        temporary = self._folder / f"{DIGESTS_NAME}.{os.getpid()}"
        with contextlib.suppress(OSError):
            if known:
                temporary.write_text(json.dumps(known))
                os.replace(temporary, self._folder / DIGESTS_NAME)
            else:
                self.path(DIGESTS_NAME).unlink(missing_ok=True)

    def _state(self, name: str) -> list[int]:
        stat = self.path(name).stat()
        return [stat.st_size, stat.st_mtime_ns, stat.st_ino]
