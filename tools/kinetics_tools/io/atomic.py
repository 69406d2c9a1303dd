"""Atomic files: complete or not there."""

import errno
import glob
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from kinetics_tools.errors import DiskError

_HEAD_BYTES = 4096


def check_target(path: str | os.PathLike[str]) -> None:
    """Raise ValueError if no file can be written at `path`, before any work is done."""
    _check_place(path)
    partial = _partial(path)
    try:
        partial.touch(exist_ok=False)
    except OSError as error:  # such as a read-only directory; only an attempt tells
        reason = error.strerror or error
        raise ValueError(f"{os.fspath(path)} cannot be written ({reason}); pass a path in another directory") from None
    partial.unlink()


def _check_place(path: str | os.PathLike[str]) -> None:
    if not Path(path).absolute().parent.is_dir():
        raise ValueError(f"{os.fspath(path)} cannot be written: its directory does not exist; create it first")
    if Path(path).is_dir():
        raise ValueError(f"{os.fspath(path)} cannot be written: it is a directory; pass the name of a file")


def check_outputs(*outputs: tuple[str | os.PathLike[str] | None, bytes]) -> None:
    """Raise ValueError if a command cannot write its output files, or would overwrite a file of the user.

    Args:
        outputs: path of each file, None for one that is not written, and a regular expression that the beginning of
            an earlier output matches. An empty file may be overwritten, too.
    """
    seen = set()
    for path, beginning in outputs:
        if path is None:
            continue
        check_target(path)
        if (resolved := Path(path).resolve()) in seen:
            raise ValueError(f"{os.fspath(path)} is given for two outputs; name a file for each")
        seen.add(resolved)
        if resolved.exists():
            with open(resolved, "rb") as file:
                head = file.read(_HEAD_BYTES)
            if head and not re.match(beginning, head):
                raise ValueError(
                    f"{os.fspath(path)} exists, and is not an earlier output of this command; move it or pass another "
                    "name"
                )


@contextmanager
def trial_directory(path: str | os.PathLike[str]) -> Iterator[None]:
    """Make a directory for checks of outputs in the block; directories that did not exist are removed after it."""
    missing = [one for one in (Path(path), *Path(path).parents) if not one.exists()]
    Path(path).mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with suppress(OSError):  # another run has just begun
            for one in missing:
                one.rmdir()


def _partial(path: str | os.PathLike[str]) -> Path:
    # Others may write the same file.
    return Path(f"{os.fspath(path)}.{secrets.token_hex(4)}.incomplete")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path to write to, which replaces `path` when the block ends without an error.

    Raises ValueError if there is no such directory, or a directory at `path`.
    """
    _check_place(path)
    partial = _partial(path)
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if error.errno and error.filename in (None, os.fspath(partial)):  # a full disk names no file
            error.filename, error.filename2 = os.fspath(path), None
        raise
    finally:
        partial.unlink(missing_ok=True)


def write_file(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write a file, text as UTF-8; see `replacing`."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def disk_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn OSError into DiskError, which ends a run; errors of the network are OSErrors, too, and do not."""
    try:
        yield
    except OSError as error:
        cure = "Make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Fix the problem"
        raise DiskError(
            f"{path}: {error.strerror or error}; finished files are kept. {cure} and rerun the command to resume"
        ) from None


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Yield a new directory that replaces the one at `path` when the block ends without an error."""
    # The process of a killed run may still write for a moment, so each has a name of its own.
    partial = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with disk_errors(path):
        for other in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
            shutil.rmtree(other, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            yield partial
            shutil.rmtree(path, ignore_errors=True)
            os.replace(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
