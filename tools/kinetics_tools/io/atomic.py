"""Atomic files: complete or not there."""

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinetics_tools.errors import DiskError


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise ValueError if no file can be written at `path`, before any work is done."""
    if not Path(path).absolute().parent.is_dir():
        raise ValueError(f"{os.fspath(path)} cannot be written: its directory does not exist; create it first")
    if Path(path).is_dir():
        raise ValueError(f"{os.fspath(path)} cannot be written: it is a directory; pass the name of a file")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path to write to, which replaces `path` when the block ends without an error.

    Raises the errors of `check_target`.
    """
    check_target(path)
    path = Path(path)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.incomplete")  # others may write the same file
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def disk_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn OSError into DiskError, which ends a run; errors of the network are OSErrors, too, and do not."""
    try:
        yield
    except OSError as error:
        cure = "Make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Fix the problem"
        raise DiskError(
            f"{path}: {error.strerror or error}; finished files are kept. {cure} and rerun the command to resume"
        ) from error
