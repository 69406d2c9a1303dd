"""Lock that a single run holds."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from kinetics_tools.io.atomic import disk_errors


@contextlib.contextmanager
def held_alone(path: Path, message: str) -> Iterator[None]:
    """Hold the lock file at `path`, whose directory is made, while the block runs.

    Raises:
        ValueError: another run holds it; the error says `message`.
        DiskError: the directory or the file cannot be written.
    """
    with disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(message) from None
    try:
        yield
    finally:
        lock.release()
