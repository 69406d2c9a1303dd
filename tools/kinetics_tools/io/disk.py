"""Free space of the file systems that a run writes to."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass
class DiskSpace:
    """Bytes needed and free on one file system; `directory` is one of those on it."""

    directory: str
    needed: int
    free: int


def disk_spaces(needed: Mapping[str, int]) -> list[DiskSpace]:
    """Return the file systems of directories, given the number of bytes that each directory needs."""
    spaces: dict[int, DiskSpace] = {}
    for directory, size in needed.items():
        space = spaces.setdefault(_device(directory), DiskSpace(directory, 0, shutil.disk_usage(directory).free))
        space.needed += size
    return list(spaces.values())


def _device(path: str) -> int:
    return os.stat(path).st_dev
