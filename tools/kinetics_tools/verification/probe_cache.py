"""What looking into a clip's file found, and a file that remembers it, so that nothing is looked at twice."""

import functools
import hashlib
import json
import os
import stat
from collections.abc import Iterable
from dataclasses import astuple, dataclass, replace
from typing import Any, BinaryIO

from kinetics_tools.media import ClipError, ClipInfo, check_frames, probe

__all__ = ["FileState", "Finding", "Findings", "digest", "examine", "file_state"]

# The head of a clip holds its first picture and the tail of an mp4 the lengths of its frames: two clips whose size
# and whose ends agree are nearly always the same.
_END_BYTES = 4096
_PREFIX = "is not a readable clip ("
_HEADER = {"kinetics verify": 1}  # goes up with every change of what a line means


@dataclass(frozen=True, slots=True)
class Finding:
    """Of one clip's bytes.

    Attributes:
        bytes: how many there are; None where that could not be learned.
        ends: digest of the first and the last 4,096 of them; "" where they could not be read.
        info: what its headers say; None where they cannot be read.
        error: why it cannot be read, the headers or, where somebody looked, a frame.
        sha256: of all bytes; None for a file whose digest nobody needed.
    """

    bytes: int | None
    ends: str
    info: ClipInfo | None
    error: str | None = None
    sha256: str | None = None


# Size in bytes and time of the last change in ns: who has neither changed is taken to be the same file.
FileState = tuple[int, int]


def file_state(path: str | os.PathLike[str]) -> FileState | str:
    """The state of a file, or why it cannot be one that holds a clip."""
    try:
        status = os.stat(path)
    except OSError as error:  # a link to nowhere
        return error.strerror or str(error)
    # Opening a pipe would wait for ever for somebody to write into it.
    return (status.st_size, status.st_mtime_ns) if stat.S_ISREG(status.st_mode) else "it is no regular file"


def examine(clip: str | bytes, *, deep: bool = False) -> Finding:
    """Looks into a clip, a path or its bytes: by its headers, or, with `deep`, by decoding every frame."""
    size: int | None = None
    ends, info, error, sha256 = "", None, None, None
    try:
        if isinstance(clip, bytes):
            size, ends, sha256 = len(clip), _digest_of_ends([clip[:_END_BYTES], clip[-_END_BYTES:]]), digest(clip)
        else:
            with open(clip, "rb") as file:
                size, ends = _ends(file)
        info = probe(clip)
        if deep:
            check_frames(clip)
    except ClipError as problem:
        # Whose file it is and what to do about it is for those to say who know the whole tree.
        name = f"a clip of {size} bytes" if isinstance(clip, bytes) else clip
        reason = str(problem).removeprefix(f"{name}: ").rpartition("; ")[0]
        error = reason[len(_PREFIX) : -1] if reason.startswith(_PREFIX) else reason
    except (OSError, MemoryError) as problem:
        error = getattr(problem, "strerror", None) or type(problem).__name__
    return Finding(size, ends, info, error, sha256)


def digest(clip: str | bytes) -> str | None:
    """SHA-256 of a clip, a path or its bytes, in hexadecimal digits; None for a file that cannot be read."""
    if isinstance(clip, bytes):
        return hashlib.sha256(clip).hexdigest()
    total = hashlib.sha256()
    try:
        with open(clip, "rb") as file:
            for block in iter(functools.partial(file.read, 1 << 20), b""):
                total.update(block)
    except OSError:
        return None
    return total.hexdigest()


def _ends(file: BinaryIO) -> tuple[int, str]:
    head = file.read(_END_BYTES)
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _END_BYTES))
    return size, _digest_of_ends([head, file.read(_END_BYTES)])


def _digest_of_ends(ends: Iterable[bytes]) -> str:
    return hashlib.sha256(b"".join(ends)).hexdigest()[:16]


class Findings:
    """Findings by path, in a file of JSON lines that is only appended to; the last line of a path counts.

    What is asked for is what was found in a file of the same state, as deep or deeper. An archive is one entry with
    a finding for each of its members. A line is in the file when `put` returns, so that a kill costs the clips in
    flight. What cannot be read of the file, such as a line that a kill tore, does not count.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Raises OSError where `path` can neither be opened for appending nor made."""
        self._found: dict[str, tuple[FileState, bool, Any]] = {}
        # Unbuffered: a line is one system call.
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115
        try:
            self._read()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "Findings":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._found.clear()  # what is known of 650,000 clips takes half a GB

    def clip(self, path: str, state: FileState, *, deep: bool) -> Finding | None:
        """What is known of a clip's file."""
        found = self._get(path, state, deep)
        return found if isinstance(found, Finding) else None

    def members(self, path: str, state: FileState, *, deep: bool) -> dict[str, Finding] | None:
        """What is known of an archive: the findings of its members by name."""
        found = self._get(path, state, deep)
        return found if isinstance(found, dict) else None

    def put(self, path: str, state: FileState, found: Finding | dict[str, Finding], *, deep: bool) -> None:
        self._found[path] = (state, deep, found)
        if isinstance(found, dict):
            packed: Any = {name: _packed(finding) for name, finding in found.items()}
        else:
            packed = _packed(found)
        self._write([path, *state, deep, packed])

    def put_digest(self, path: str, sha256: str) -> None:
        """Adds the SHA-256 of a clip's file that `put` has put."""
        state, deep, found = self._found[path]
        self.put(path, state, replace(found, sha256=sha256), deep=deep)

    def _get(self, path: str, state: FileState, deep: bool) -> Any:
        known, known_deep, found = self._found.get(path, (None, False, None))
        return found if known == state and known_deep >= deep else None

    def _read(self) -> None:
        self._file.seek(0)
        with open(self._file.fileno(), "rb", closefd=False) as lines:
            try:
                if json.loads(next(lines, b"null")) != _HEADER:
                    raise ValueError("another format")
            except ValueError:
                self._file.truncate(0)
                self._write(_HEADER)
                return
            line = b"\n"
            for line in lines:
                try:
                    path, size, changed, deep, packed = json.loads(line)
                    if isinstance(packed, dict):
                        found: Any = {name: _unpacked(values) for name, values in packed.items()}
                    else:
                        found = _unpacked(packed)
                    self._found[path] = ((size, changed), deep, found)
                except (ValueError, TypeError):
                    continue
        if not line.endswith(b"\n"):
            self._file.write(b"\n")  # or the next line would be lost with the torn one

    def _write(self, values: Any) -> None:
        self._file.write(json.dumps(values, separators=(",", ":")).encode("ascii") + b"\n")


def _packed(finding: Finding) -> list[Any]:
    info = finding.info and astuple(finding.info)
    return [finding.bytes, finding.ends, info, finding.error, finding.sha256]


def _unpacked(values: list[Any]) -> Finding:
    size, ends, info, error, sha256 = values
    return Finding(size, ends, info and ClipInfo(*info), error, sha256)
