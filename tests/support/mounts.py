"""File systems that are read-only or full, mounted where the test may do that, else the test is skipped."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def read_only(directory: Path) -> Iterator[Path]:
    """Another path of a directory, on a read-only file system."""
    with _mounted(directory.parent / f"{directory.name}-read-only", "--bind", "-o", "ro", str(directory)) as path:
        yield path


@contextmanager
def small_disk(path: Path, size: int = 1 << 20) -> Iterator[Path]:
    """An empty file system of `size` bytes; `fill` fills it."""
    with _mounted(path, "-t", "tmpfs", "-o", f"size={size}", "tmpfs"):
        yield path


def fill(disk: Path) -> None:
    """Fill a disk to its last byte."""
    with open(disk / "filler", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


@contextmanager
def _mounted(path: Path, *options: str) -> Iterator[Path]:
    path.mkdir()
    if subprocess.run(["mount", *options, str(path)], capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)
