"""Probe of one clip's file. Runs in worker processes."""

import hashlib
import os
import stat
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, BinaryIO

from kinetics_tools.errors import clip_reason
from kinetics_tools.io.digest import file_sha256
from kinetics_tools.media import ClipError, ClipInfo, check_frames, probe

# The head of a clip holds its first picture and the tail of an mp4 the lengths of its frames: two clips whose size
# and whose ends agree are nearly always the same.
_END_BYTES = 4096
_FACTS = attrgetter(*(field.name for field in fields(ClipInfo)))


@dataclass(frozen=True, slots=True)
class ClipProbe:
    """Properties of the bytes of one clip.

    Attributes:
        bytes: number of bytes; None if unknown.
        ends: digest of the first and the last 4,096 bytes; "" if they could not be read.
        info: facts from the headers; None if unreadable.
        error: reason that the headers, or with `deep` a frame, are unreadable.
        sha256: digest of all bytes; None if it was not needed.
        is_final: False if another attempt may give another result, as after an error of the disk.
    """

    bytes: int | None
    ends: str
    info: ClipInfo | None
    error: str | None = None
    sha256: str | None = None
    is_final: bool = True

    def packed(self) -> "PackedProbe":
        """Return the probe as JSON, without `is_final`."""
        facts = None if self.info is None else list(_FACTS(self.info))
        return [self.bytes, self.ends, facts, self.error, self.sha256]


PackedProbe = list[Any]
"""[bytes, ends, facts or None, error, sha256] of a `ClipProbe`, where facts are the values of a `ClipInfo`."""

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
    ends, info, error, sha256, is_final = "", None, None, None, True
    try:
        if isinstance(clip, bytes):
            size, ends, sha256 = len(clip), _digest_of_ends(clip[:_END_BYTES], clip[-_END_BYTES:]), digest(clip)
        else:
            with open(clip, "rb", buffering=0) as file:
                size, ends = _ends(file)
        info = probe(clip)
        if deep:
            check_frames(clip)
    except ClipError as problem:
        # The report names the file and says what to do.
        error = clip_reason(str(problem), f"a clip of {size} bytes" if isinstance(clip, bytes) else clip)
    except (OSError, MemoryError) as problem:
        error, is_final = getattr(problem, "strerror", None) or type(problem).__name__, False
    return ClipProbe(size, ends, info, error, sha256, is_final)


def probe_packed(clip: str | bytes, *, deep: bool = False) -> tuple[PackedProbe, bool]:
    """Return a probe, packed, and whether it is final: less to send between processes than a `ClipProbe`."""
    probe = probe_clip(clip, deep=deep)
    return probe.packed(), probe.is_final


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
