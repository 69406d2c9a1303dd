"""Partial files of downloads, which a later run resumes.

Beside the partial file PATH is PATH.etag, a JSON object with the ETag and the length of the file on the server. Without
it, a partial file is not used, because it may belong to another version of the file.
"""

import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kinetics_tools.errors import ArchiveError, ChangedError
from kinetics_tools.io.atomic import disk_errors
from kinetics_tools.io.http import HttpFile
from kinetics_tools.io.json_shape import parse_json
from kinetics_tools.io.limits import RateLimit, Stopped
from kinetics_tools.io.urls import without_credentials

_BLOCK_BYTES = 1 << 18
_TAG = {"etag": (None, str), "size": (None, int)}


class PartialFile(io.RawIOBase):
    """File at `url`, read front to back: first from the partial file `path`, then from the network.

    The partial file grows as bytes are read, and stays when this object is closed or its process dies.

    Args:
        url: http or https address.
        path: the partial file.
        limit: rate that several downloads share.
        stop: makes reads raise Stopped once it is set.
        on_bytes: called with the number of bytes of each step, and True if they came from the network.

    Attributes:
        position: number of bytes read.

    Raises:
        DiskError: `path` cannot be written.
        Stopped: `stop` is set.
        OSError: see `HttpFile`.
    """

    def __init__(
        self,
        url: str,
        path: Path,
        *,
        limit: RateLimit | None = None,
        stop: threading.Event | None = None,
        on_bytes: Callable[[int, bool], Any] | None = None,
    ):
        self.url = url
        self._shown = without_credentials(url)
        self.path = path
        self._tag = _tag(path)
        self._limit = limit or RateLimit(None)
        self._stop = stop or threading.Event()
        self._on_bytes = on_bytes
        self._remote: HttpFile | None = None
        self.position = 0
        self._etag, self._size = _read_tag(self._tag)
        with disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = io.FileIO(path, "a+")
            if not self._tag.exists():
                self._file.truncate(0)
            self._held = self._file.seek(0, os.SEEK_END)
            self._file.seek(0)
        if not self._held:
            self._etag = self._size = None

    def readable(self) -> bool:
        return True

    @property
    def size(self) -> int | None:
        """Length of the file in bytes; None if unknown."""
        return self._size

    def readinto(self, buffer: Any) -> int:
        if self._stop.is_set():
            raise Stopped
        is_remote = self.position >= self._held
        if is_remote:
            count = self._download(buffer)
        else:
            count = self._file.readinto(memoryview(buffer)[: self._held - self.position]) or 0
        self.position += count
        if self._on_bytes is not None and count:
            self._on_bytes(count, is_remote)
        return count

    def skip_held(self) -> int:
        """Skip to the end of the partial file and return the number of bytes skipped."""
        self.position = self._file.seek(0, os.SEEK_END)
        return self.position

    def drain(self) -> None:
        """Read to the end of the file and check the length."""
        scratch = bytearray(_BLOCK_BYTES)
        while self.readinto(scratch):
            continue
        if self._size is not None and self.position != self._size:
            raise ArchiveError(f"{self._shown}: received {self.position:,} bytes, expected {self._size:,}")

    def keep(self, target: Path) -> None:
        """Move the complete file to `target`."""
        with disk_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.path, target)
            self._tag.unlink(missing_ok=True)

    def close(self) -> None:
        if not self.closed:
            if self._remote is not None:
                self._remote.close()
            self._file.close()
            if not self._held:
                discard_partial(self.path)
        super().close()

    def _download(self, buffer: Any) -> int:
        try:
            if self._remote is None:
                if self._size is not None and self._held == self._size:
                    return 0
                self._remote = self._connect()
            count = self._remote.readinto(buffer)
        except ChangedError as error:
            if not self._held:
                raise
            # A server that announces more than it has says so only when it is asked for the rest.
            reason = str(error).removeprefix(f"{self._shown}: ")
            came = f"{self._held:,} of {self._size:,} bytes" if self._size else f"{self._held:,} bytes"
            raise ChangedError(f"{self._shown}: received {came}, then: {reason}") from None
        if self._stop.is_set():  # the run may have stopped waiting for this thread long ago
            raise Stopped
        with disk_errors(self.path):
            rest = memoryview(buffer)[:count]
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        self._held += count
        self._limit.spend(count)
        return count

    def _connect(self) -> HttpFile:
        remote = HttpFile(self.url, start=self._held, etag=self._etag)
        if remote.size is not None and self._size not in (None, remote.size):
            remote.close()
            raise ChangedError(f"{self._shown}: changed on the server, from {self._size:,} to {remote.size} bytes")
        self._etag, self._size = remote.etag, self._size if remote.size is None else remote.size
        if not self._held:  # later, a kill while this is written would cost what lies there
            with disk_errors(self._tag):
                self._tag.write_text(json.dumps({"etag": self._etag, "size": self._size}))
        return remote


def discard_partial(path: Path) -> None:
    """Remove a partial file and its .etag file."""
    for one in (_tag(path), path):
        one.unlink(missing_ok=True)


def partial_size(path: Path) -> int:
    """Return the number of bytes that a resumed download skips."""
    return path.stat().st_size if path.exists() and _tag(path).exists() else 0


def _tag(path: Path) -> Path:
    return path.with_name(path.name + ".etag")


def _read_tag(path: Path) -> tuple[str | None, int | None]:
    if not path.is_file():
        return None, None
    try:
        values = parse_json(path.read_bytes(), _TAG)
        return values["etag"], values["size"]
    except (ValueError, KeyError):  # torn by a kill
        path.unlink()
        return None, None
