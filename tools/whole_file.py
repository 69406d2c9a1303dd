"""A file that is written whole or not at all."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["check_target", "replacing"]


def check_target(path: str | os.PathLike[str]) -> None:
    """Raises ValueError where a file cannot be at `path`, for who wants to know before the work is done."""
    if not Path(path).absolute().parent.is_dir():
        raise ValueError(f"{os.fspath(path)} cannot be written: its folder does not exist; make it first")
    if Path(path).is_dir():
        raise ValueError(f"{os.fspath(path)} cannot be written: it is a folder; name a file")


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` when all is written. Raises what `check_target` does."""
    check_target(path)
    path = Path(path)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.incomplete")  # others may write the same file
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
