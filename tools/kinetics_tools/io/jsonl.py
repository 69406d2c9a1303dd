"""Append-only log of JSON values, one per line, which survives kills and full disks."""

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from kinetics_tools.io.json_shape import parse_json

T = TypeVar("T")

_BLOCK_BYTES = 1 << 16
_MAX_LINE_BYTES = 1 << 24  # an archive of 100,000 clips is a line of 12 MB in the cache of verify


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
        if os.path.exists(path) and not os.path.isfile(path):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
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

    Invalid lines, for which `parse` raises ValueError, are skipped, and so are lines of more than 16 MiB. `on_invalid`
    is called with the number and the error of each, except a torn last one.
    """
    if not os.path.isfile(path):  # a pipe would block
        return
    with open(path, "rb") as file:
        number = 0
        while line := file.readline(_MAX_LINE_BYTES):
            number += 1
            is_whole = line.endswith(b"\n")
            is_long = len(line) == _MAX_LINE_BYTES and not is_whole
            while is_long and not is_whole and (rest := file.readline(_MAX_LINE_BYTES)):
                is_whole = rest.endswith(b"\n")
            try:
                if is_long:
                    raise ValueError(f"longer than {_MAX_LINE_BYTES:,} bytes")
                value = parse(parse_json(line))
            except ValueError as error:
                if on_invalid is not None and is_whole:
                    on_invalid(number, error)
            else:
                yield value
