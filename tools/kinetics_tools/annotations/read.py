"""Annotation files: CSV and JSON of every edition, as tables of clips."""

import contextlib
import csv
import io
import math
import os
import re
import stat
import string
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from datasets.utils.logging import get_logger

from kinetics_tools.annotations.labels import label_index, label_indices, misfit, normalize_label
from kinetics_tools.io.json_shape import check_shape, parse_json
from kinetics_tools.releases import LABELS, RELEASES, SPLIT_SPELLINGS
from kinetics_tools.text import few, format_size, is_utf8, printable, unknown_choice

_logger = get_logger("datasets.kinetics")

ANNOTATION_SCHEMA = pa.schema(
    [
        ("youtube_id", pa.string()),
        ("time_start", pa.float32()),
        ("time_end", pa.float32()),
        ("split", pa.string()),
        ("label", pa.string()),
    ]
)
"""Schema of the tables that `read_annotations` and `read_split` return."""
_JSON_ENTRY = {
    "annotations": (None, {"label": (None, str), "segment": (None, [float, float])}),
    "subset": (None, str),
}
#: Largest annotation file that is read. 650,000 clips take 30 MB as CSV and 140 MB as JSON.
MAX_FILE_BYTES = 1 << 28
_MAX_LINE_BYTES = 1 << 16  # published rows have fewer than 300
_MAX_JSON_VALUES = 10_000_000  # 650,000 clips have 6 million objects, arrays and commas
_MAX_MESSAGE = 1000  # characters
_SPLIT_TABLE = (pa.array(SPLIT_SPELLINGS.keys()), pa.array(SPLIT_SPELLINGS.values()))
YOUTUBE_ID = "[A-Za-z0-9_-]{11}"
"""Regular expression of the id of a video."""
_ID_CHARACTERS = (string.ascii_letters + string.digits + "_-").encode()


def clip_name(youtube_id: str, time_start: float, time_end: float) -> str:
    """Return the stem of a clip's file name, such as "0wR5jVB-WPk_000417_000427" (times in seconds)."""
    return f"{youtube_id}_{int(time_start):06d}_{int(time_end):06d}"


def clip_names(table: pa.Table) -> pa.Array:
    """Return the names (string) of the clips in a table; the vector form of `clip_name`."""

    def digits(name: str) -> Any:
        return pc.utf8_lpad(table[name].cast(pa.int64(), safe=False).cast(pa.string()), 6, padding="0")

    names = pc.binary_join_element_wise(table["youtube_id"], digits("time_start"), digits("time_end"), "_")
    return names.combine_chunks() if isinstance(names, pa.ChunkedArray) else names


def read_annotations(path: str | os.PathLike[str]) -> pa.Table:
    """Read an annotation file, CSV or JSON of any edition, into a table with `ANNOTATION_SCHEMA`.

    A row is a clip: [time_start, time_end) in seconds (float32) of the video `youtube_id`, the `split` ("train",
    "validation" or "test") and the `label`, null if the file gives none. Rows keep the order of the file.

    JSON holds one clip for each video; a warning is logged if a CSV of the same name is beside it and holds more.

    Raises:
        ValueError: the file is malformed. The message gives the file, the line (the entry of JSON) and the reason.
    """
    path = os.fspath(path)
    with _named(path):
        _check_file(path)
        table = _read_json(path) if is_json(path) else _read_csv(path)
        splits = _known_splits(table["split"])
        start, end = table["time_start"], table["time_end"]
        good = pc.and_(pc.greater_equal(start, 0), pc.and_(pc.less(start, end), pc.is_finite(end)))
        good = pc.fill_null(good, False)
        if not _are_ids(table["youtube_id"]) or splits.null_count or pc.any(pc.invert(good)).as_py():
            raise ValueError(_first_problem(path, _row_problem))
    labels = table["label"]
    if pc.min(pc.binary_length(labels)).as_py() == 0:
        labels = pc.if_else(pc.equal(labels, ""), None, labels)
    return table.set_column(3, "split", splits).set_column(4, "label", labels).cast(ANNOTATION_SCHEMA)


@contextlib.contextmanager
def _named(path: str) -> Iterator[None]:
    """Put the name of the file before the message of a ValueError, which may show any part of the file."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{printable(path)}: {printable(str(error), _MAX_MESSAGE)}") from None


def _check_file(path: str) -> None:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):  # a pipe would block
        raise ValueError("not a regular file")
    if status.st_size > MAX_FILE_BYTES:
        raise ValueError(f"{format_size(status.st_size)}, which is more than any annotations have")


def _known_splits(spellings: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return the splits (string) for these spellings; null for an unknown spelling."""
    # Nearly all files have one spelling throughout, which is faster to detect than to look up in each row.
    if len(spellings) and not spellings.null_count and pc.all(pc.equal(spellings, spellings[0])).as_py():
        return pa.repeat(pa.scalar(SPLIT_SPELLINGS.get(spellings[0].as_py()), pa.string()), len(spellings))
    return pc.take(_SPLIT_TABLE[1], pc.index_in(spellings, value_set=_SPLIT_TABLE[0]))


def _are_ids(ids: pa.ChunkedArray) -> bool:
    """Return True if all of `ids` look like YouTube ids."""
    if ids.null_count:
        return False
    # Looking at all characters of a chunk at once takes a fifth of the time of a regular expression for each id. What
    # else is in the buffer of a chunk can only cause a false alarm.
    texts = (chunk.buffers()[2] for chunk in ids.chunks if len(chunk))
    if pc.all(pc.equal(pc.binary_length(ids), 11)).as_py() and not any(
        text.to_pybytes().translate(None, _ID_CHARACTERS) for text in texts
    ):
        return True
    return pc.all(pc.match_substring_regex(ids, f"^{YOUTUBE_ID}$")).as_py() is not False


def _row_problem(row: dict[str, Any]) -> str | None:
    if not re.fullmatch(YOUTUBE_ID, row["youtube_id"] or ""):
        return f"youtube_id {_shown(row['youtube_id'])} is not 11 characters of A-Z, a-z, 0-9, _ and -"
    seconds = []
    for name in ("time_start", "time_end"):
        try:
            seconds.append(float(row[name]))
        except (TypeError, ValueError):
            seconds.append(math.nan)
        if not math.isfinite(seconds[-1]):
            return f"{name} {_shown(row[name])} is not a number of seconds"
    start, end = seconds
    if not 0 <= start < end:
        return f"the segment [{start}, {end}) is empty or begins before 0"
    if row["split"] not in SPLIT_SPELLINGS:
        return f"split {_shown(row['split'])} is none of {', '.join(SPLIT_SPELLINGS)}"
    return None


def _shown(value: Any) -> str:
    return printable(repr(value), 60)


def _first_problem(path: str, problem_of: Callable[[dict[str, Any]], str | None], error: Any = "") -> str:
    """Return the message for the first row with a problem: line (entry of JSON) and reason.

    Reads row by row; called after the fast reader has found a problem or failed with `error`.
    """
    for where, row in _json_rows(path) if is_json(path) else _csv_rows(path):
        problem = row if isinstance(row, str) else problem_of(row)
        if problem is not None:
            return f"{where}: {problem}"
    return f"not readable as annotations ({error})" if error else "not readable as annotations"


def _csv_fields(path: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line number and fields of each row that is not empty. Raises ValueError for what is not CSV."""
    number = 0

    def lines(file: BinaryIO) -> Iterator[str]:
        nonlocal number
        while line := file.readline(_MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > _MAX_LINE_BYTES:
                raise ValueError(f"longer than {_MAX_LINE_BYTES:,} bytes")
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")

    with open(path, "rb") as file:
        try:
            for row in csv.reader(lines(file)):
                if row:
                    yield number, row
        except (csv.Error, ValueError) as error:
            raise ValueError(f"line {number}: {error}") from None


def _csv_header(path: str) -> list[str]:
    """Return the names of the columns of a CSV file, each of those that are needed once."""
    number, header = next(_csv_fields(path), (0, []))
    if not number:
        raise ValueError("the file is empty")
    missing = [name for name in ANNOTATION_SCHEMA.names[:4] if name not in header]
    if missing:
        has = printable(", ".join(header), _MAX_MESSAGE // 4)
        raise ValueError(f"line {number}: no column {few(missing)} in the header, which has {has}")
    repeated = [name for name in ANNOTATION_SCHEMA.names if header.count(name) > 1]
    if repeated:
        raise ValueError(f"line {number}: column {few(repeated)} is in the header {header.count(repeated[0])} times")
    return header


def _csv_rows(path: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yield ("line N", row) of a CSV file; instead of a row with another number of fields, the reason."""
    fields = _csv_fields(path)
    _, header = next(fields)
    for number, row in fields:
        if len(row) == len(header):
            yield f"line {number}", dict(zip(header, row, strict=True))
        else:
            yield f"line {number}", f"{len(row):,} columns, not {len(header):,}: {printable(','.join(row), 100)}"


def _json_entries(path: str) -> dict[str, Any]:
    """Return the entries of a JSON file, of any shape, by video id."""
    with open(path, "rb") as file:
        content = file.read()
    if sum(map(content.count, (b"{", b"[", b","))) > _MAX_JSON_VALUES:
        raise ValueError("more values than any annotations have")
    try:
        entries: dict[str, Any] = parse_json(content, object_pairs_hook=_without_repeats)
    except ValueError as error:
        raise ValueError(f"not JSON: {error}") from None
    check_shape(entries, {})
    return entries


def _json_rows(path: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yield (video id, row) of a JSON file; instead of an entry of another shape, the reason."""
    for youtube_id, entry in _json_entries(path).items():
        where = printable(youtube_id, 40)
        try:
            annotations = check_shape(entry, _JSON_ENTRY).get("annotations") or {}
        except ValueError as error:
            yield where, str(error)
            continue
        start, end = annotations.get("segment") or (None, None)
        label, split = annotations.get("label"), entry.get("subset")
        if not is_utf8(f"{youtube_id}{label}{split}"):
            yield where, "a text has a part of a character (a lone surrogate)"
            continue
        row = (youtube_id, start, end, split, label)
        yield where, dict(zip(ANNOTATION_SCHEMA.names, row, strict=True))


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = Counter(name for name, _ in pairs)
        raise ValueError(f"{printable(names.most_common(1)[0][0], 40)} is in an object more than once")
    return found


def is_json(path: str) -> bool:
    """Return True if an annotation file is JSON: by its suffix, or in a download cache by its first character."""
    if path.lower().endswith((".json", ".csv")):
        return path.lower().endswith(".json")
    with open(path, "rb") as file:
        return file.read(_MAX_LINE_BYTES).lstrip()[:1] == b"{"


def _read_csv(path: str) -> pa.Table:
    _csv_header(path)
    convert = pa.csv.ConvertOptions(
        column_types=dict(zip(ANNOTATION_SCHEMA.names, ANNOTATION_SCHEMA.types, strict=True)),
        include_columns=ANNOTATION_SCHEMA.names,
        include_missing_columns=True,  # the test sets of most editions have no label
    )
    with open(path, "rb") as file:
        line = file.readline(_MAX_LINE_BYTES)
    # A line alone without its end is to Arrow an empty file.
    source = path if line.endswith(b"\n") else io.BytesIO(line + b"\n")
    try:
        return pa.csv.read_csv(source, convert_options=convert)
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise ValueError(_first_problem(path, _row_problem, error)) from None


def _read_json(path: str) -> pa.Table:
    entries = _json_entries(path)
    try:
        table = _json_table(entries)
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(_first_problem(path, _row_problem, error)) from None
    _compare_with_csv(path)
    return table


def _json_table(entries: dict[str, Any]) -> pa.Table:
    """Return the columns of entries. Raises any error for an entry of another shape."""
    # Column by column, because a check of the shape of each entry takes longer than to parse it.
    annotations = [entry.get("annotations") or {} for entry in entries.values()]
    segments: list[Any] = [one.get("segment") for one in annotations]
    times = {"time_start": [start for start, _ in segments], "time_end": [end for _, end in segments]}
    if not set(map(type, chain(*times.values()))) <= {float, int}:  # Arrow takes True for 1
        raise TypeError("a time is not a number")
    texts = {
        "youtube_id": list(entries),
        "split": [entry.get("subset") for entry in entries.values()],
        "label": [one.get("label") for one in annotations],
    }
    columns = {name: pa.array(values, pa.string()) for name, values in texts.items()}
    columns |= {name: pa.array(values, pa.float64()).cast(pa.float32()) for name, values in times.items()}
    return pa.table(columns).select(ANNOTATION_SCHEMA.names)


def _compare_with_csv(path: str) -> None:
    csv_path = os.path.splitext(path)[0] + ".csv"
    if not os.path.isfile(csv_path):
        return
    try:
        _check_file(csv_path)
        ids = _read_csv(csv_path)["youtube_id"]
    except ValueError as error:
        _logger.warning(f"{path} is not compared with {csv_path} beside it, which is malformed: {error}")
        return
    more = len(ids) - pc.count_distinct(ids).as_py()
    if more:
        _logger.warning(
            f"{path} holds one clip for each video; {csv_path} beside it holds {more:,} more, of videos with several. "
            "Read the CSV to get them"
        )


def read_split(path: str, release: str, split: str, *, force_release: bool = False) -> pa.Table:
    """Read the rows of a split, as `read_annotations` does, with `label` as class index (int64), -1 without one.

    `force_release` skips rows of classes that only other releases have, and logs their number.

    Raises:
        ValueError: the file is malformed, has no row of the split, or a label that is not a class of the release.
    """
    every = read_annotations(path)
    table = every.filter(pc.equal(every["split"], split))
    if not len(table):
        others = f"; its rows are of {few(pc.unique(every['split']).to_pylist())}" if len(every) else ""
        raise ValueError(f"{path} has no row of the {split} split{others}")
    known = set(label_index(release))
    if force_release:
        known = known.union(*map(label_index, RELEASES))
        table = _without_foreign(table, path, release, known)
    try:
        return table.set_column(4, "label", label_indices(table["label"], release))
    except ValueError:

        def problem_of(row: dict[str, Any]) -> str | None:
            if SPLIT_SPELLINGS[row["split"]] != split or not row["label"] or normalize_label(row["label"]) in known:
                return None
            return unknown_choice(row["label"], LABELS[release], f"class of {release}")

        reason = misfit(pc.unique(table["label"].drop_null()).to_pylist(), release, "labels")
        with _named(path):
            raise ValueError("; ".join(filter(None, [_first_problem(path, problem_of), reason]))) from None


def _without_foreign(table: pa.Table, path: str, release: str, known: set[str]) -> pa.Table:
    """Return the rows of a split without those of classes that `release` lacks; `known` has those of all releases."""
    labels = pc.unique(table["label"].drop_null()).to_pylist()
    foreign = [label for label in labels if normalize_label(label) in known - label_index(release).keys()]
    is_foreign = pc.is_in(table["label"], value_set=pa.array(foreign, pa.string()))
    if foreign:
        count = pc.sum(is_foreign).as_py()
        _logger.warning(f"{path}: rows of classes that {release} lacks are skipped: {count:,} ({few(foreign)})")
    return table.filter(pc.invert(is_foreign))


def drop_repeats(table: pa.Table, path: str) -> pa.Table:
    """Return the rows of `read_split` without those that repeat the clip of an earlier row.

    The clips are logged with `path`, the file that they are from.
    """
    counts = pc.value_counts(table["youtube_id"])
    several = pc.filter(counts.field("values"), pc.greater(counts.field("counts"), 1))
    if not len(several):
        return table
    rows = pc.indices_nonzero(pc.is_in(table["youtube_id"], value_set=several))
    names = clip_names(table.take(rows)).to_pylist()
    seen: set[str] = set()
    repeats = {}
    for row, name in zip(rows.to_pylist(), names, strict=True):
        if name in seen:
            repeats[row] = name
        seen.add(name)
    if not repeats:
        return table
    _logger.warning(f"{path}: {len(repeats):,} rows repeat another's clip ({few(repeats.values())}); the first counts")
    return table.filter(pc.invert(pc.is_in(pa.array(range(len(table))), value_set=pa.array(list(repeats)))))
