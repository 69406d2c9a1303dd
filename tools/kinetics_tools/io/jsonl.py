"""Append-only log of JSON values, one per line, which survives kills and full disks."""

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

_BLOCK_BYTES = 1 << 16


class JsonLog:
    """Log open for appending, by any number of threads of one process.

    A line is written by one unbuffered system call, so a kill tears the last line at most. Opening the log removes a
    torn line, because a new one appended to it would be lost.

    `path` is created if it does not exist; OSError if it is not writable. `compact` writes no spaces between values.
    """

    def __init__(self, path: str | os.PathLike[str], *, compact: bool = False):
        self.path = Path(path)
        self._separators = (",", ":") if compact else None
        self._lock = threading.Lock()
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115
        self._remove_torn_line()

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Later calls of `append` raise OSError."""
        with self._lock:
            self._file.close()

    def append(self, value: Any) -> None:
        """Write one line, which is in the file when this returns. After OSError, no part of it is in the file."""
        line = (json.dumps(value, separators=self._separators) + "\n").encode("ascii")
        written = 0
        with self._lock:
            if self._file.closed:
                raise OSError(errno.EBADF, os.strerror(errno.EBADF), str(self.path))
            try:
                while written < len(line):
                    written += self._file.write(line[written:])
            except OSError:
                if written:  # the disk is full
                    self._file.truncate(os.fstat(self._file.fileno()).st_size - written)
                raise

    def clear(self) -> None:
        """Remove all lines."""
        with self._lock:
            self._file.truncate(0)

    def _remove_torn_line(self) -> None:
        size = end = self._file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - _BLOCK_BYTES)
            self._file.seek(start)
            newline = self._file.read(end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end != size:
            self._file.truncate(end)


def read_json_lines(
    path: str | os.PathLike[str],
    parse: Callable[[Any], T],
    *,
    on_invalid: Callable[[int, Exception], Any] | None = None,
) -> Iterator[T]:
    """Yield the value of each line of a log; nothing if the file does not exist.

    Invalid lines, for which `parse` raises ValueError, TypeError or KeyError, are skipped. `on_invalid` is called with
    the number and the error of each, except a torn last one.
    """
    try:
        file = open(path, "rb")  # noqa: SIM115
    except FileNotFoundError:
        return
    with file:
        for number, line in enumerate(file, start=1):
            try:
                value = parse(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                if on_invalid is not None and line.endswith(b"\n"):
                    on_invalid(number, error)
            else:
                yield value
