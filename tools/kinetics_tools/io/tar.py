"""Tar archives of clips, read front to back, one member in memory at a time."""

import io
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from datasets.utils.logging import get_logger
from isal import isal_zlib

from kinetics_tools.errors import ArchiveError
from kinetics_tools.io.urls import is_url
from kinetics_tools.text import is_video_name, printable

_logger = get_logger("datasets.kinetics")

# Clips of 10 s are some MB, and 100 MB in 8K. Loading takes twice this memory for a clip, which must stay under 1 GB.
MAX_CLIP_BYTES = 1 << 28
# Headers of one member: 512 bytes, a long name, extended fields. tarfile reads what they claim to be into memory.
_MAX_HEADER_BYTES = 1 << 16
# All headers of an archive: 131,072 members that are not clips, and 16 KiB for each clip.
_MAX_OVERHEAD_BYTES, _MAX_OVERHEAD_PER_CLIP = 1 << 26, 1 << 14
_MAX_NAME = 4096  # characters, as in a path
_BLOCK_BYTES = 1 << 18
# Concatenated gzip files: this number, or more if each has as much content as a block of tar.
_MAX_GZIP_MEMBERS = 1000
_NAMED_REFUSALS = 100
_SHOWN = 200  # characters of a name
# A record of an extended header, and what makes the patterns of tarfile take the square of its length.
_RECORD = re.compile(rb"(\d{1,6}) [^=\n]{1,1024}=")
_LONG_NUMBER = re.compile(rb"\d{64}")


class _ForwardReader:
    """Forward-only file adapter for `tarfile`, with gzip decompression that verifies the checksum.

    The stream mode of `tarfile` would do without it, but silently loses the members of a corrupt archive.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._position = 0
        self._gzip_members = 0
        self._inflated_bytes = 0
        self._has_extension = False
        self.header_bytes = 0
        self.overhead_bytes = 0
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
        self.overhead_bytes += size
        self.last_header = self.take(size)
        if self._has_extension:
            _check_extension(self.last_header)
        self._has_extension = not self._has_extension and self.last_header[156:157] in (b"x", b"g", b"X")
        return self.last_header

    def check_header(self, member: tarfile.TarInfo, credit: int) -> None:
        """Check the header of a member, which was read. Clips before it earned `credit`, in bytes of headers."""
        self.header_bytes = 0
        if self.overhead_bytes > _MAX_OVERHEAD_BYTES + credit:
            raise tarfile.ReadError(f"headers of {self.overhead_bytes:,} bytes, far more than its clips need")
        if member.size < 0:
            raise tarfile.ReadError(f"{member.name[:_SHOWN]} claims {member.size:,} bytes")

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes, fewer only at the end of the file."""
        whole, missing = io.BytesIO(), size  # joining parts would take twice the memory
        while missing > 0:
            if not self._ready:
                block = self._file.read(min(missing, 1 << 20)) if self._inflate is None else self._inflated()
                if not block:
                    break
                self._ready = memoryview(block)
            count = whole.write(self._ready[:missing])
            self._ready = self._ready[count:]
            missing -= count
        self._position += size - missing
        return whole.getvalue()

    def _inflated(self) -> bytes:
        """Return the next decompressed bytes; empty at the end."""
        data = b""
        while not data:
            pending = self._inflate.unconsumed_tail or self._inflate.unused_data or self._file.read(_BLOCK_BYTES)
            if self._inflate.eof:
                if not pending.strip(b"\0"):
                    return b""  # the end, or the zeros that some tools pad with
                self._inflate = isal_zlib.decompressobj(31)  # another gzip member follows
                self._gzip_members += 1
                if self._gzip_members > max(_MAX_GZIP_MEMBERS, self._inflated_bytes // tarfile.BLOCKSIZE):
                    raise tarfile.ReadError(f"over {self._gzip_members:,} gzip members without content")
            elif not pending:
                raise EOFError("it ends before its checksum")
            data = self._inflate.decompress(pending, _BLOCK_BYTES)
        self._inflated_bytes += len(data)
        return data


class _Refusals:
    """Refused members of an archive: the first ones are named by `tell`, the others counted."""

    def __init__(self, tell: Callable[[str, str], Any]):
        self._tell = tell
        self._count = 0

    def add(self, member: str, reason: str) -> None:
        self._count += 1
        if self._count <= _NAMED_REFUSALS:
            self._tell(member[:_SHOWN], reason)

    def end(self) -> None:
        if self._count > _NAMED_REFUSALS:
            self._tell("(others)", f"{self._count - _NAMED_REFUSALS:,} more members")


def _warn(archive: str, member: str, reason: str) -> None:
    _logger.warning(f"{archive}: refused member {member!r}: {reason}")


def read_archive(
    file: BinaryIO,
    *,
    name: str,
    on_refused: Callable[[str, str], Any] | None = None,
    is_wanted: Callable[[str], bool] = is_video_name,
    max_bytes: int = MAX_CLIP_BYTES,
) -> Iterator[tuple[str, bytes]]:
    """Yield the clips in a tar archive, with gzip or without: (member name, bytes), one at a time.

    Nothing is written to disk. Members that are not clips by their suffix are skipped. Links, devices, absolute names,
    names with `..`, names of over 4,096 characters and members of more than 256 MiB are refused.

    Args:
        file: buffered reader, which is read front to back.
        name: path or URL of the archive, for messages.
        on_refused: called with the name of each refused member, 200 characters at most, and the reason. After 100
            calls, the others are counted. By default, warnings are logged.
        is_wanted: takes the name of a member without directories; by default, True for clips.
        max_bytes: members that claim more are refused.

    Raises:
        ArchiveError: the archive is truncated or corrupt, or has far more members or headers than clips.
    """
    stream = _ForwardReader(file)
    refusals = _Refusals(on_refused or (lambda member, reason: _warn(name, member, reason)))
    clips = credit = 0
    # ValueError: fields that are not numbers. RecursionError: headers of headers of headers. The others: whatever else
    # tarfile does not check. Looked up now, because a reader that is left unfinished is closed at the interpreter's
    # exit, when the names of modules are gone.
    damage: Any = (tarfile.TarError, EOFError, zlib.error, isal_zlib.error, ValueError, RecursionError)
    damage += (LookupError, ArithmeticError, TypeError)
    try:
        with tarfile.open(fileobj=stream, mode="r:") as tar:  # type: ignore[call-overload]
            while (member := tar.next()) is not None:
                tar.members, tar.pax_headers = [], {}  # or it keeps every header of the archive
                stream.check_header(member, credit)
                if reason := _refusal(member, max_bytes):
                    refusals.add(member.name, reason)
                elif member.isreg() and is_wanted(member.name.rpartition("/")[2]):
                    # The stream stands at the member's bytes; tarfile's own file object would copy them again.
                    data = stream.take(member.size)
                    if len(data) != member.size:
                        raise EOFError(f"{member.name[:_SHOWN]} has {len(data):,} of {member.size:,} bytes")
                    clips += 1
                    credit += _MAX_OVERHEAD_PER_CLIP if data else 0
                    yield member.name, data
                    del data  # or two members are in memory at a time
        _check_end(stream)
        refusals.end()
    except damage as error:
        refusals.end()
        advice = "" if is_url(name) else "; download it again"
        raise ArchiveError(
            f"{name}: the archive is truncated or corrupt after {clips:,} clips, at byte {stream.tell():,} of its "
            f"content ({printable(str(error), 500)}){advice}"
        ) from error


def _check_extension(body: bytes) -> None:
    """Raise ReadError for an extended header that is not a list of records."""
    body = body.rstrip(b"\0")
    position, is_good = 0, not _LONG_NUMBER.search(body)
    while position < len(body) and is_good:
        record = _RECORD.match(body, position)
        is_good = record is not None and int(record[1]) > len(record[0])
        position += int(record[1]) if record else 0
    if not is_good:
        raise tarfile.ReadError("a corrupt extended header")


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


def _refusal(member: tarfile.TarInfo, max_bytes: int) -> str | None:
    if len(member.name) > _MAX_NAME:
        return f"its name has {len(member.name):,} characters"
    if member.isdir():
        return None
    if not member.isreg() or member.issparse():
        return "a link" if member.islnk() or member.issym() else "a device or another special file"
    if member.name.startswith("/") or ".." in member.name.split("/"):
        return "its name points outside of the archive"
    if member.size > max_bytes:
        return f"it claims {member.size:,} bytes, more than {max_bytes:,}"
    return None
