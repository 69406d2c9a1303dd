"""Append-only log of JSON values, one a line, which survives kills and full disks."""

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

    A line is written by one system call and never buffered, so that a kill tears the last line at most. Opening the
    log removes a torn line: a new one glued to it would be lost with it.

    Args:
        path: the file; it is created if it does not exist.
        compact: write no spaces between values.

    Raises:
        OSError: the file cannot be opened for appending.
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
        """Write one line, which is in the file when this returns. Raises OSError, and then no part of it is there."""
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

    Invalid lines are skipped.

    Args:
        path: the file.
        parse: turns a JSON value into a result. Raises ValueError, TypeError or KeyError for an invalid one.
        on_invalid: called with the number and the error of each invalid line, except a torn last one.
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
