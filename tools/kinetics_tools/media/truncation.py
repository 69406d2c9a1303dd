"""Detection of truncated files by their container's headers, without decoding.

FFmpeg does not notice a missing end: in Matroska and in an mp4 made for streaming, the headers come first and describe
frames that are missing.
"""

import os
from contextlib import suppress
from fractions import Fraction
from typing import BinaryIO, NamedTuple

from kinetics_tools.errors import ClipError
from kinetics_tools.media.mp4_claims import false_claim
from kinetics_tools.media.mp4_index import walk_boxes

__all__ = ["TRUNCATED_SECONDS", "Headers", "check_end", "read_headers"]

# A file whose frames end earlier than this before the end that its header states is truncated.
TRUNCATED_SECONDS = Fraction(1, 2)
# The boxes that an mp4 or QuickTime file can begin with.
_FIRST_BOXES = (b"ftyp", b"styp", b"moov", b"mdat", b"moof", b"sidx", b"free", b"skip", b"wide", b"pnot", b"uuid")
# The boxes with indices and frames; a clip does without the others (padding, tags).
_NEEDED_BOXES = (b"moov", b"mdat", b"moof")
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def check_end(name: str, reached: Fraction, length: Fraction) -> None:
    """Raise ClipError if the frames of clip `name` end at `reached`, well before its `length`; both in seconds."""
    if reached + TRUNCATED_SECONDS < length:
        raise ClipError(
            f"{name}: is truncated at {float(reached):.2f} of {float(length):.2f} s; drop it or download it again"
        )


class Headers(NamedTuple):
    """Facts from the headers of a file, without FFmpeg."""

    head: bytes  # the first 12 bytes
    size: int  # of the file, in bytes
    problem: str | None  # why an mp4 or Matroska file is truncated or corrupt; None if no header says so
    moov: bytes | None  # content of the moov box of an mp4 with no other index, such as fragments


def read_headers(file: BinaryIO) -> Headers:
    """Read the index of an mp4 and a few bytes of each other outermost element; leave the file at its beginning."""
    size = file.seek(0, os.SEEK_END)
    head = _read(file, 0, 12)
    moov = None
    if head[:4] == _EBML:
        problem = _matroska_problem(file, size)
    else:  # FFmpeg finds an mp4 behind boxes of any kind, too
        problem, moov = _of_mp4(file, size, is_told=head[4:8] in _FIRST_BOXES)
    file.seek(0)
    return Headers(head, size, problem, moov)


def _read(file: BinaryIO, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)


def _of_mp4(file: BinaryIO, size: int, *, is_told: bool) -> tuple[str | None, bytes | None]:
    """Return the problem of an mp4, and the content of its moov box if all boxes are valid and none is like it.

    `is_told` is False if the first box does not tell that it is an mp4.
    """
    moov, indices, is_valid = None, 0, False
    with suppress(ValueError):  # an invalid box ends the search
        for kind, start, end in walk_boxes(lambda position: _read(file, position, 16), size):
            if end > size and kind in _NEEDED_BOXES:
                return f"truncated: {end - size:,} bytes of its {kind.decode()} box are missing", None
            if kind in (b"moov", b"moof"):
                content = _read(file, start, end - start)
                claim = false_claim(content, size)
                if claim:
                    return claim, None
                indices += 1
                moov = content if kind == b"moov" else None
        is_valid = True
    problem = "truncated: it has no moov box" if is_told and not indices else None
    return problem, moov if is_valid and is_told and indices == 1 else None


def _matroska_problem(file: BinaryIO, size: int) -> str | None:
    length, position = _vint(_read(file, 4, 8), 4)
    start = position + (length or 0)
    head = _read(file, start, 12)
    if length is None or head[:4] != _SEGMENT:
        return None
    length, position = _vint(head[4:], start + 4)
    # A segment without a length was written to a pipe.
    if length is None or position + length <= size:
        return None
    return f"truncated: {position + length - size:,} bytes of its segment are missing"


def _vint(data: bytes, position: int) -> tuple[int | None, int]:
    """Return an EBML length, None if it is stated as unknown, and the position after it."""
    width = 9 - data[0].bit_length() if data else 0
    if not 1 <= width <= min(8, len(data)):
        return None, position
    value = int.from_bytes(data[:width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), position + width
