"""One archive on its way from a web server: read while it arrives, and kept in a partial file until it is complete.

    with Transfer(url, Path("DIR/.partial/part_0.tar.gz")) as transfer:
        for member, data in kinetics.read_archive(io.BufferedReader(transfer), name=url):
            ...
        transfer.drain()
    discard_partial(transfer.path)

A gzip stream can be read from its beginning only. So what arrived lies on disk until its end has come: a later
`Transfer` reads that first, without the network, and then goes on by Range at the byte behind it.
"""

import io
import json
import os
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kinetics import ArchiveError, ChangedError, HttpFile
from kinetics_tools.tree import on_disk

__all__ = ["RateLimit", "Stopped", "Transfer", "discard_partial", "partial_size"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}


class Stopped(Exception):
    """The run is to end; what was done so far stands."""


class RateLimit:
    """Bytes a second that all transfers of a run share: a number, or a string such as "10MB", "500k" or "1.5 GB/s".

    None is no limit. Raises ValueError for what is no positive rate. Units are decimal: 1 kB is 1,000 bytes.
    """

    def __init__(self, rate: float | str | None, *, stop: threading.Event | None = None):
        self.bytes_per_second = None if rate is None else _bytes_per_second(rate)
        self._stop = stop or threading.Event()
        self._lock = threading.Lock()
        self._free_at = 0.0

    def spend(self, count: int) -> None:
        """Waits as long as `count` bytes take; `stop` ends the wait."""
        if self.bytes_per_second is None or not count:  # or the end of a file would wait for what others take
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(now, self._free_at) + count / self.bytes_per_second
            wait = self._free_at - now
        self._stop.wait(wait)


def _bytes_per_second(rate: float | str) -> float:
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([kmg]?)b?(?:/s|ps)?\s*", str(rate).lower())
    value = float(match[1]) * _UNITS[match[2]] if match else 0.0
    if value <= 0:
        raise ValueError(f'rate limit {rate!r} is no number of bytes a second; write it as "10MB", "500k" or 1000000')
    return value


class Transfer(io.RawIOBase):
    """The bytes of the file at `url`, front to back: what the partial file `path` has of it, then the network's.

    `path` grows as bytes are read, and what it has stays when this is closed or dies. `position` is how far it was
    read; `on_bytes` is called with the number of bytes of each step and whether the network brought them. Raises what
    `HttpFile` raises, DiskError where `path` cannot be written, and Stopped once `stop` is set.
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
        self.path = path
        self._tag = _tag(path)
        self._limit = limit or RateLimit(None)
        self._stop = stop or threading.Event()
        self._on_bytes = on_bytes
        self._remote: HttpFile | None = None
        self.position = 0
        self._etag, self._size = _read_tag(self._tag)
        with on_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = io.FileIO(path, "a+")
            if not self._tag.exists():  # then nobody can tell what file on the server this is the beginning of
                self._file.truncate(0)
            self._have = self._file.seek(0, os.SEEK_END)
            self._file.seek(0)
        if not self._have:
            self._etag = self._size = None

    def readable(self) -> bool:
        return True

    @property
    def size(self) -> int | None:
        """Length of the file in bytes, where the server told."""
        return self._size

    def readinto(self, buffer: Any) -> int:
        if self._stop.is_set():
            raise Stopped
        if self.position < self._have:
            count = self._file.readinto(memoryview(buffer)[: self._have - self.position]) or 0
            remote = False
        else:
            count = self._arrived(buffer)
            remote = True
        self.position += count
        if self._on_bytes is not None and count:
            self._on_bytes(count, remote)
        return count

    def drain(self) -> None:
        """Reads to the end, past what the reader needed, and checks the length."""
        scratch = bytearray(1 << 18)
        while self.readinto(scratch):
            continue
        if self._size is not None and self.position != self._size:
            raise ArchiveError(f"{self.url}: {self.position:,} bytes came, {self._size:,} were announced")

    def keep(self, target: Path) -> None:
        """Moves the file, complete by now, to `target`."""
        with on_disk(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(self.path, target)
            self._tag.unlink(missing_ok=True)

    def close(self) -> None:
        if not self.closed:
            if self._remote is not None:
                self._remote.close()
            self._file.close()
            if not self._have:
                discard_partial(self.path)
        super().close()

    def _arrived(self, buffer: Any) -> int:
        try:
            if self._remote is None:
                if self._size is not None and self._have == self._size:
                    return 0
                self._remote = self._connect()
            count = self._remote.readinto(buffer)
        except ChangedError as error:
            if not self._have:
                raise
            # Also where a server announces more than it has: asked for the rest, it says that there is none.
            reason = str(error).removeprefix(f"{self.url}: ")
            came = f"{self._have:,} of {self._size:,} bytes" if self._size else f"{self._have:,} bytes"
            raise ChangedError(f"{self.url}: {came} came, and then: {reason}") from None
        if self._stop.is_set():  # who asked for the end may have stopped waiting for us long ago
            raise Stopped
        with on_disk(self.path):
            rest = memoryview(buffer)[:count]
            while rest:
                rest = rest[self._file.write(rest) or 0 :]
        self._have += count
        self._limit.spend(count)
        return count

    def _connect(self) -> HttpFile:
        remote = HttpFile(self.url, start=self._have, etag=self._etag)
        if remote.size is not None and self._size not in (None, remote.size):
            remote.close()
            raise ChangedError(f"{self.url}: changed on the server, from {self._size:,} to {remote.size} bytes")
        self._etag, self._size = remote.etag, self._size if remote.size is None else remote.size
        if not self._have:  # later, a kill while this is written would cost what lies there
            with on_disk(self._tag):
                self._tag.write_text(json.dumps({"etag": self._etag, "size": self._size}))
        return remote


def discard_partial(path: Path) -> None:
    """Removes what a `Transfer` of `path` left."""
    for one in (_tag(path), path):
        one.unlink(missing_ok=True)


def partial_size(path: Path) -> int:
    """Bytes that a `Transfer` of `path` would not have to fetch."""
    return path.stat().st_size if path.exists() and _tag(path).exists() else 0


def _tag(path: Path) -> Path:
    return path.with_name(path.name + ".etag")


def _read_tag(path: Path) -> tuple[str | None, int | None]:
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        return None, None
    except ValueError:  # torn by a kill
        path.unlink()
        return None, None
    return values["etag"], values["size"]
