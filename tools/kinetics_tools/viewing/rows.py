"""Single values of prepared shards: the video or the poster of one row, without the rest of its row group.

Arrow reads a column of a row group as a whole, 24 MB of video. The page index, which `prepare` writes, tells the page
of a row, which holds about 1 MB.
"""

import functools
import os
from dataclasses import dataclass
from typing import Any

from kinetics_tools.io import Folder
from kinetics_tools.preparation import read_footer

_REMEMBERED = 64  # shards


@dataclass(frozen=True)
class _Pages:
    """Pages of a column: first row, position in the file and length of each; and the number of rows of the shard."""

    first_rows: list[int]
    ranges: list[tuple[int, int]]
    rows: int


def read_value(folder: str, shard: str, row: int, column: str) -> bytes | None:
    """Return the bytes in a row of a column such as "video.bytes"; None if the shard has no such column.

    A first call reads the footer and the page index of the shard, too. They are remembered.

    Args:
        folder: directory or URL of prepared shards.
        shard: path of the shard in it.
        row: number of the row in the shard.
        column: column of bytes that are neither encoded nor compressed.

    Raises:
        IndexError: the shard has fewer rows.
        ValueError: `prepare` did not write the shard.
        OSError: it cannot be read.
    """
    pages = _pages(folder, shard, column)
    if pages is None:
        return None
    if not 0 <= row < pages.rows:
        raise IndexError(f"{shard} has {pages.rows:,} rows, not a row {row:,}")
    number = max(number for number, first in enumerate(pages.first_rows) if first <= row)
    start, length = pages.ranges[number]
    with Folder(folder).open(shard, read_ahead=False) as file:
        file.seek(start)
        page = file.read(length)
    try:
        header, at = _struct(page, 0)
        about = header[5]  # of a data page
        if about[2] != 0:  # not plain
            raise ValueError
        at += 4 + int.from_bytes(page[at : at + 4], "little")  # levels, which say that no row is null
        for _ in range(row - pages.first_rows[number]):
            at += 4 + int.from_bytes(page[at : at + 4], "little")
        size = int.from_bytes(page[at : at + 4], "little")
        value = page[at + 4 : at + 4 + size]
        if len(value) < size:
            raise ValueError
    except (IndexError, KeyError, TypeError, ValueError):
        raise ValueError(f"{shard}: kinetics prepare did not write its column {column}") from None
    return value


@functools.lru_cache(_REMEMBERED)
def _pages(folder: str, shard: str, column: str) -> _Pages | None:
    """Return the pages of a column of a shard; None if it has no such column."""
    groups = _row_groups(folder, shard)
    paths = [".".join(map(bytes.decode, chunk[3][3])) for chunk in groups[0][1]] if groups else []
    if column not in paths:
        return None
    chunks = [group[1][paths.index(column)] for group in groups]
    first_rows, ranges, before = [], [], 0
    try:
        start, end = chunks[0][4], chunks[-1][4] + chunks[-1][5]  # of the page indexes
        with Folder(folder).open(shard, read_ahead=False) as file:
            file.seek(start)
            index = file.read(end - start)
        for group, chunk in zip(groups, chunks, strict=True):
            for page in _struct(index, chunk[4] - start)[0][1]:
                first_rows.append(before + page.get(3, 0))
                ranges.append((page[1], page[2]))
            before += group[3]
    except (IndexError, KeyError):
        raise ValueError(f"{shard}: has no page index; prepare its clips again") from None
    return _Pages(first_rows, ranges, before)


@functools.lru_cache(_REMEMBERED)
def _row_groups(folder: str, shard: str) -> list[dict[int, Any]]:
    """Return what the footer of a shard says about its row groups, by the field ids of Parquet."""
    with Folder(folder).open(shard, read_ahead=False) as file:
        footer = read_footer(file, file.seek(0, os.SEEK_END))
    try:
        groups: list[dict[int, Any]] = _struct(footer, 0)[0][4]
    except (IndexError, KeyError):
        raise ValueError(f"{shard}: is not a Parquet file, or is truncated") from None
    return groups


# ---- Thrift's compact protocol, in which Parquet writes footers, indexes and headers of pages ----------------


def _struct(data: bytes, at: int) -> tuple[dict[int, Any], int]:
    """Return the fields of a struct by their ids, and the position after it."""
    fields: dict[int, Any] = {}
    name = 0
    while data[at]:
        step, kind = data[at] >> 4, data[at] & 15
        at += 1
        if step:
            name += step
        else:
            name, at = _integer(data, at)
        fields[name], at = (kind == 1, at) if kind in (1, 2) else _value(data, at, kind)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind in (4, 5, 6):
        return _integer(data, at)
    if kind == 8:
        size, at = _varint(data, at)
        return data[at : at + size], at + size
    if kind == 12:
        return _struct(data, at)
    if kind == 9:
        size, of, at = data[at] >> 4, data[at] & 15, at + 1
        if size == 15:
            size, at = _varint(data, at)
        values = []
        for _ in range(size):
            value, at = _value(data, at, of)
            values.append(value)
        return values, at
    fixed = {1: 1, 2: 1, 3: 1, 7: 8}[kind]  # booleans of a list, bytes and doubles
    return data[at : at + fixed], at + fixed


def _integer(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while data[at] & 128:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
    return value | data[at] << shift, at + 1
