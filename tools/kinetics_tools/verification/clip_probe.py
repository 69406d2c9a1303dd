"""Probe of one clip's file for `verify`. Runs in worker processes."""

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import BinaryIO

from kinetics_tools.io.digest import file_sha256
from kinetics_tools.media import ClipError, ClipInfo, check_frames, probe

# The head of a clip holds its first picture and the tail of an mp4 the lengths of its frames: two clips whose size
# and whose ends agree are nearly always the same.
_END_BYTES = 4096
_PREFIX = "is not a readable clip ("


@dataclass(frozen=True, slots=True)
class ClipProbe:
    """Properties of the bytes of one clip.

    Attributes:
        bytes: number of bytes; None if unknown.
        ends: digest of the first and the last 4,096 bytes; "" if they could not be read.
        info: facts from the headers; None if unreadable.
        error: reason that the headers, or with `deep` a frame, are unreadable.
        sha256: digest of all bytes; None if it was not needed.
    """

    bytes: int | None
    ends: str
    info: ClipInfo | None
    error: str | None = None
    sha256: str | None = None


# Size in bytes and time of the last change in ns. A file that keeps both is taken to be unchanged.
FileState = tuple[int, int]


def file_state(path: str | os.PathLike[str]) -> FileState | str:
    """Return the state of a file, or the reason that it cannot hold a clip."""
    try:
        status = os.stat(path)
    except OSError as error:  # a dead link
        return error.strerror or str(error)
    # Opening a pipe would wait forever.
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else "not a regular file"


def probe_clip(clip: str | bytes, *, deep: bool = False) -> ClipProbe:
    """Probe a clip, a path or its bytes, by its headers; with `deep`, also decode every frame."""
    size: int | None = None
    ends, info, error, sha256 = "", None, None, None
    try:
        if isinstance(clip, bytes):
            size, ends, sha256 = len(clip), _digest_of_ends(clip[:_END_BYTES], clip[-_END_BYTES:]), digest(clip)
        else:
            with open(clip, "rb") as file:
                size, ends = _ends(file)
        info = probe(clip)
        if deep:
            check_frames(clip)
    except ClipError as problem:
        # The report names the file and says what to do.
        name = f"a clip of {size} bytes" if isinstance(clip, bytes) else clip
        reason = str(problem).removeprefix(f"{name}: ").rpartition("; ")[0]
        error = reason[len(_PREFIX) : -1] if reason.startswith(_PREFIX) else reason
    except (OSError, MemoryError) as problem:
        error = getattr(problem, "strerror", None) or type(problem).__name__
    return ClipProbe(size, ends, info, error, sha256)


def digest(clip: str | bytes) -> str | None:
    """Return the SHA-256 of a clip, a path or its bytes, in hexadecimal; None for a file that cannot be read."""
    if isinstance(clip, bytes):
        return hashlib.sha256(clip).hexdigest()
    try:
        with open(clip, "rb") as file:
            return file_sha256(file)
    except OSError:
        return None


def _ends(file: BinaryIO) -> tuple[int, str]:
    head = file.read(_END_BYTES)
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END_BYTES))
    return size, _digest_of_ends(head, file.read(_END_BYTES))


def _digest_of_ends(head: bytes, tail: bytes) -> str:
    return hashlib.sha256(head + tail).hexdigest()[:16]
