"""Whether a video file is whole, by what its container's headers say, without decoding.

FFmpeg opens a file whose end is missing as if it were whole: the headers of an mp4 made for streaming, and those of
Matroska, stand at the front and tell of frames that never arrived.
"""

import os
from typing import BinaryIO

__all__ = ["file_problem"]

# The boxes that an mp4 or QuickTime file can begin with.
_FIRST_BOXES = (b"ftyp", b"styp", b"moov", b"mdat", b"moof", b"sidx", b"free", b"skip", b"wide", b"pnot", b"uuid")
# Those that a clip cannot do without: indices and frames. What others lack (padding, tags) is no loss.
_NEEDED_BOXES = (b"moov", b"mdat", b"moof")
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def file_problem(file: BinaryIO) -> str | None:
    """Why an mp4 or Matroska file cannot be whole, or None where nothing speaks against it or it is neither.

    Reads a few bytes of each outermost element of a seekable file, and leaves its position at the beginning.
    """
    size = file.seek(0, os.SEEK_END)
    try:
        head = _read(file, 0, 12)
        if head[4:8] in _FIRST_BOXES:
            return _mp4_problem(file, size)
        if head[:4] == _EBML:
            return _matroska_problem(file, size)
        return None
    finally:
        file.seek(0)


def _read(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)


def _mp4_problem(file: BinaryIO, size: int) -> str | None:
    position = 0
    has_index = False
    while position + 8 <= size:
        head = _read(file, position, 16)
        length, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if length == 1:  # the length follows, in 64 bits
            length = int.from_bytes(head[8:16], "big")
        elif length == 0:  # up to the end of the file
            length = size - position
        if length < 8:
            break  # no box; the boxes before it count
        has_index |= kind in (b"moov", b"moof")
        position += length
        if position > size and kind in _NEEDED_BOXES:
            return f"it is cut off: {position - size:,} bytes of its {kind.decode()} box are missing"
    return None if has_index else "it has no moov box: its download or its writing did not come to the end"


def _matroska_problem(file: BinaryIO, size: int) -> str | None:
    length, position = _vint(_read(file, 4, 8), 4)
    start = position + (length or 0)
    head = _read(file, start, 12)
    if length is None or head[:4] != _SEGMENT:
        return None
    length, position = _vint(head[4:], start + 4)
    # Without a length: written to a pipe, as it came.
    if length is None or position + length <= size:
        return None
    return f"it is cut off: {position + length - size:,} bytes of its segment are missing"


def _vint(data: bytes, position: int) -> tuple[int | None, int]:
    """An EBML length, None where it says that it is not known, and the position behind it."""
    width = 9 - data[0].bit_length() if data else 0
    if not 1 <= width <= min(8, len(data)):
        return None, position
    value = int.from_bytes(data[:width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), position + width
