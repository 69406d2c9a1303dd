"""Numbers of samples that an mp4 claims to have, which FFmpeg allocates memory for before it reads any."""

import struct

import numpy as np

_HEADER, _NUMBERS = struct.Struct(">I4s"), struct.Struct(">3I")
_TABLES = (b"stsz", b"stts", b"ctts", b"trun", b"cmov")
# FFmpeg looks for boxes in all of these, wherever they lie.
_PARENTS = (
    *(b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"dinf", b"udta", b"tref"),
    *(b"moof", b"traf", b"mvex"),
)
_FEW = 32  # entries of a table that Python's integers sum up faster
_MAX_DEPTH = 10  # FFmpeg, too, looks no deeper
# Flags of a trun box: fields before the samples, and fields of each sample, of 4 bytes each.
_RUN_FIELDS, _SAMPLE_FIELDS = 0x005, 0xF00


def false_claim(index: bytes, size: int) -> str | None:
    """Return why the content of a moov or moof box cannot be that of a file of `size` bytes, or None if it can.

    A sample has at least one byte, and lists of samples fit into their boxes.
    """
    totals: dict[bytes, int] = {}
    for kind, start, end in _tables(index):
        try:
            totals[kind] = totals.get(kind, 0) + _claimed(kind, index[start:end])
        except ValueError:
            return f"its {kind.decode()} box is corrupt"
        if totals[kind] > size:
            return f"its {kind.decode()} box states {totals[kind]:,} samples in a file of {size:,} bytes"
    return None


def _tables(index: bytes) -> list[tuple[bytes, int, int]]:
    """Return type, start and end of the boxes that state a number of samples, as FFmpeg finds them."""
    found, unread = [], [(0, len(index), 0)]
    while unread:
        position, end, depth = unread.pop()
        while position + 8 <= end:
            length, kind = _HEADER.unpack_from(index, position)
            start = position + 8
            if length == 1:  # the length follows, in 64 bits
                length, start = int.from_bytes(index[start : start + 8], "big"), start + 8
            stop = min(position + length, end) if length else end
            if stop < start:
                break
            if kind in _PARENTS and depth < _MAX_DEPTH:
                unread += [(stop, end, depth), (start, stop, depth + 1)]  # the last one is next
                break
            if kind in _TABLES:
                found.append((kind, start, stop))
            position = stop
    return found


def _claimed(kind: bytes, table: bytes) -> int:
    """Return the number of samples of a table; raise ValueError if its entries do not fit into the box."""
    flags, first, second = _NUMBERS.unpack(table[:12].ljust(12, b"\0"))
    if kind == b"trun":
        header, entries = 8 + 4 * (flags & _RUN_FIELDS).bit_count(), 4 * (flags & _SAMPLE_FIELDS).bit_count() * first
    elif kind == b"stsz":
        header, entries = 12, 0 if first else 4 * second
    else:
        header, entries = 8, 8 * first
    if header + entries > len(table) or kind == b"cmov":  # FFmpeg would decompress this one
        raise ValueError("a table that does not fit into its box")
    if kind in (b"trun", b"stsz"):
        return int(first if kind == b"trun" else second)
    if first <= _FEW:
        return sum(struct.unpack_from(f">{2 * first}I", table, header)[::2])
    return int(np.frombuffer(table, ">u4", 2 * first, header)[::2].sum(dtype=np.int64))
