"""Tar archives of clips, read front to back, one member in memory at a time."""

import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from datasets.utils.logging import get_logger
from isal import isal_zlib

from kinetics_tools.errors import ArchiveError
from kinetics_tools.io.http import is_url
from kinetics_tools.text import is_video_name

_logger = get_logger("datasets.kinetics")

# Whole clips are some MB; a member that claims more than this is not a clip, and Arrow's binary type ends at 2 GiB.
MAX_CLIP_BYTES = 1 << 30
# Headers of one member: 512 bytes, a long name, extended fields. tarfile reads what they claim to be into memory.
_MAX_HEADER_BYTES = 1 << 20
_BLOCK_BYTES = 1 << 18


class _ForwardReader:
    """Forward-only file adapter for `tarfile`, with gzip decompression that verifies the checksum.

    The stream mode of `tarfile` would do without it, but silently loses the members of a corrupt archive.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._position = 0
        self.header_bytes = 0
        self.last_header = b""
        magic = file.read(2)  # not peek, which returns one byte if a connection breaks after it
        self._ready = memoryview(magic)
        self._inflate: Any = None
        if magic == b"\x1f\x8b":
            self._inflate = isal_zlib.decompressobj(31)
            self._ready = memoryview(self._inflate.decompress(magic))

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> None:
        while self._position < position and self.take(min(position - self._position, _BLOCK_BYTES)):
            continue

    def read(self, size: int) -> bytes:
        """Read a header for `tarfile`; no more than `_MAX_HEADER_BYTES` until `header_bytes` is reset to 0."""
        self.header_bytes += size
        if size < 0 or self.header_bytes > _MAX_HEADER_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes, which is more than any clip has")
        self.last_header = self.take(size)
        return self.last_header

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only at the end of the file."""
        parts, missing = [], size
        while missing > 0:
            if not self._ready:
                block = self._file.read(min(missing, 1 << 20)) if self._inflate is None else self._inflated()
                if not block:
                    break
                self._ready = memoryview(block)
            parts.append(self._ready[:missing])
            self._ready = self._ready[missing:]
            missing -= len(parts[-1])
        self._position += size - missing
        return b"".join(parts)

    def _inflated(self) -> bytes:
        """Return the next decompressed bytes; empty at the end."""
        data = b""
        while not data:
            pending = self._inflate.unconsumed_tail or self._inflate.unused_data or self._file.read(_BLOCK_BYTES)
            if self._inflate.eof:
                if not pending.strip(b"\0"):
                    return b""  # the end, or the zeros that some tools pad with
                self._inflate = isal_zlib.decompressobj(31)  # another gzip member follows
            elif not pending:
                raise EOFError("it ends before its checksum")
            data = self._inflate.decompress(pending, _BLOCK_BYTES)
        return data


def read_archive(
    file: BinaryIO, *, name: str, on_refused: Callable[[str, str], Any] | None = None
) -> Iterator[tuple[str, bytes]]:
    """Yield the clips in a tar archive, with gzip or without: (member name, bytes), one at a time.

    Nothing is written to disk. Members that are not clips by their suffix are skipped. Links, devices, absolute names,
    names with `..` and members that claim more than 1 GiB are refused.

    Args:
        file: buffered reader, which is read front to back.
        name: path or URL of the archive, for messages.
        on_refused: called with the name of each refused member and the reason. By default, a warning is logged.

    Raises:
        ArchiveError: the archive is truncated or corrupt.
    """
    stream = _ForwardReader(file)
    clips = 0
    # ValueError: fields that are not numbers. RecursionError: headers of headers of headers. Looked up now, because a
    # reader that is left unfinished is closed at the interpreter's exit, when the names of modules are gone.
    damage: Any = (tarfile.TarError, EOFError, zlib.error, isal_zlib.error, ValueError, RecursionError)
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:  # type: ignore[call-overload]
            while (member := tar.next()) is not None:
                tar.members = []  # or it keeps every header of the archive
                stream.header_bytes = 0
                if member.size < 0:
                    raise tarfile.ReadError(f"{member.name} claims {member.size:,} bytes")
                refused = _refusal(member)
                if refused and on_refused is not None:
                    on_refused(member.name, refused)
                elif refused:
                    _logger.warning(f"{name}: refused member {member.name!r}: {refused}")
                elif member.isreg() and is_video_name(member.name.rpartition("/")[2]):
                    # The stream stands at the member's bytes; tarfile's own file object would copy them again.
                    data = stream.take(member.size)
                    if len(data) != member.size:
                        raise EOFError(f"{member.name} has {len(data):,} of {member.size:,} bytes")
                    yield member.name, data
                    clips += 1
        _check_end(stream)
    except damage as error:
        advice = "" if is_url(name) else "; download it again"
        raise ArchiveError(
            f"{name}: the archive is truncated or corrupt after {clips:,} clips, at byte {stream.tell():,} of its "
            f"content ({error}){advice}"
        ) from error


def _check_end(stream: _ForwardReader) -> None:
    """Check that the rest of an archive is zeros: `tarfile` takes a corrupt or missing header for the end.

    This also makes gzip check its checksum.
    """
    if len(stream.last_header) < tarfile.BLOCKSIZE:
        raise EOFError("no end mark")
    block = stream.last_header
    while block:
        if block.strip(b"\0"):
            raise tarfile.ReadError("a corrupt header")
        block = stream.take(_BLOCK_BYTES)


def _refusal(member: tarfile.TarInfo) -> str | None:
    if member.isdir():
        return None
    if not member.isreg() or member.issparse():
        return "a link" if member.islnk() or member.issym() else "a device or another special file"
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return "its name points outside of the archive"
    if member.size > MAX_CLIP_BYTES:
        return f"it claims {member.size:,} bytes"
    return None
