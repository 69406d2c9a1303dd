"""Annotation files: CSV and JSON of every edition, as tables of clips."""

import csv
import io
import json
import math
import os
import re
import string
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from datasets.utils.logging import get_logger

from kinetics_tools.annotations.labels import label_index, label_indices, normalize_label
from kinetics_tools.releases import LABELS, SPLIT_SPELLINGS
from kinetics_tools.text import few, unknown_choice

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
_JSON_ENTRY = pa.struct(
    [
        ("annotations", pa.struct([("label", pa.string()), ("segment", pa.list_(pa.float32(), 2))])),
        ("subset", pa.string()),
    ]
)
_SPLIT_TABLE = (pa.array(SPLIT_SPELLINGS.keys()), pa.array(SPLIT_SPELLINGS.values()))
YOUTUBE_ID = "[A-Za-z0-9_-]{11}"
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
    table = _read_json(path) if _is_json(path) else _read_csv(path)
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
        return f"youtube_id {row['youtube_id']!r} is not 11 characters of A-Z, a-z, 0-9, _ and -"
    seconds = []
    for name in ("time_start", "time_end"):
        try:
            seconds.append(float(row[name]))
        except (TypeError, ValueError):
            seconds.append(math.nan)
        if not math.isfinite(seconds[-1]):
            return f"{name} {row[name]!r} is not a number of seconds"
    start, end = seconds
    if not 0 <= start < end:
        return f"the segment [{start}, {end}) is empty or begins before 0"
    if row["split"] not in SPLIT_SPELLINGS:
        return f"split {row['split']!r} is none of {', '.join(SPLIT_SPELLINGS)}"
    return None


def _first_problem(path: str, problem_of: Callable[[dict[str, Any]], str | None], error: Any = "") -> str:
    """Return the message for the first row with a problem: file, line (entry of JSON) and reason.

    Reads row by row; called after the fast reader has found a problem or failed with `error`.
    """
    for where, row in _json_rows(path) if _is_json(path) else _csv_rows(path):
        problem = row if isinstance(row, str) else problem_of(row)
        if problem is not None:
            return f"{path}: {where}: {problem}"
    return f"{path}: not readable as annotations ({error})" if error else f"{path}: not readable as annotations"


def _csv_rows(path: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yield ("line N", row) of a CSV file; instead of a row that cannot be read, the reason."""
    number = 0

    def lines(file: BinaryIO) -> Iterator[str]:
        nonlocal number
        for number, line in enumerate(file, start=1):
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")

    with open(path, "rb") as file:
        reader = csv.reader(lines(file))
        try:
            header = next(reader)
            for row in reader:
                if len(row) == len(header):
                    yield f"line {number}", dict(zip(header, row, strict=True))
                elif row:
                    yield f"line {number}", f"{len(row)} columns, not {len(header)}: {','.join(row)}"
        except (csv.Error, UnicodeDecodeError) as error:
            yield f"line {number}", str(error)


def _json_rows(path: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """Yield (video id, row) of a JSON file; instead of a row that cannot be read, the reason."""
    with open(path, "rb") as file:
        for youtube_id, entry in json.load(file).items():
            try:
                entry = pa.array([entry], type=_JSON_ENTRY)[0].as_py()
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                yield youtube_id, str(error)
                continue
            annotations = (entry or {}).get("annotations") or {}
            start, end = annotations.get("segment") or (None, None)
            split = entry and entry["subset"]
            row = {"youtube_id": youtube_id, "time_start": start, "time_end": end, "split": split}
            yield youtube_id, {**row, "label": annotations.get("label")}


def _is_json(path: str) -> bool:
    return path.lower().endswith(".json")


def _read_csv(path: str) -> pa.Table:
    columns = dict(zip(ANNOTATION_SCHEMA.names, ANNOTATION_SCHEMA.types, strict=True))
    convert = pa.csv.ConvertOptions(column_types=columns)
    try:
        with open(path, "rb") as file:
            line = file.readline()
        # A line alone without its end is to Arrow an empty file.
        source = path if line.endswith(b"\n") else io.BytesIO(line + b"\n")
        table = pa.csv.read_csv(source, convert_options=convert)
        header = table.column_names  # decoded here
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        if "Empty CSV" in str(error):
            raise ValueError(f"{path}: the file is empty") from None
        raise ValueError(_first_problem(path, _row_problem, error)) from None
    absent = [name for name in ANNOTATION_SCHEMA.names[:4] if name not in header]
    if absent:
        raise ValueError(f"{path}: line 1: no column {few(absent)} in the header, which has {', '.join(header)}")
    if "label" not in header:  # the test sets of most editions
        table = table.append_column("label", pa.nulls(len(table), pa.string()))
    return table.select(ANNOTATION_SCHEMA.names)


def _read_json(path: str) -> pa.Table:
    with open(path, "rb") as file:
        try:
            entries = json.load(file)
        except ValueError as error:
            raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(entries, dict):
        raise ValueError(f"{path}: a {type(entries).__name__}, not an object that maps video ids to annotations")
    try:
        rows = pa.array(list(entries.values()), type=_JSON_ENTRY)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(_first_problem(path, _row_problem, error)) from None
    annotations = rows.field("annotations")
    segments = pc.struct_field(annotations, "segment")
    table = pa.table(
        {
            "youtube_id": pa.array(list(entries), type=pa.string()),
            "time_start": pc.list_element(segments, 0),
            "time_end": pc.list_element(segments, 1),
            "split": rows.field("subset"),
            "label": pc.struct_field(annotations, "label"),
        }
    )
    _compare_with_csv(path)
    return table


def _compare_with_csv(path: str) -> None:
    csv_path = os.path.splitext(path)[0] + ".csv"
    if not os.path.isfile(csv_path):
        return
    ids = _read_csv(csv_path)["youtube_id"]
    more = len(ids) - pc.count_distinct(ids).as_py()
    if more:
        _logger.warning(
            f"{path} holds one clip for each video; {csv_path} beside it holds {more:,} more, of videos with several. "
            "Read the CSV to get them"
        )


def read_split(path: str, release: str, split: str) -> pa.Table:
    """Read the rows of a split, as `read_annotations` does, with `label` as class index (int64), -1 without one.

    Raises:
        ValueError: the file is malformed, has no row of the split, or a label that is not a class of the release.
    """
    table = read_annotations(path)
    table = table.filter(pc.equal(table["split"], split))
    if not len(table):
        raise ValueError(f"{path} has no row of the {split} split")
    try:
        return table.set_column(4, "label", label_indices(table["label"], release))
    except ValueError:
        known = label_index(release)

        def problem_of(row: dict[str, Any]) -> str | None:
            if SPLIT_SPELLINGS[row["split"]] != split or not row["label"] or normalize_label(row["label"]) in known:
                return None
            return unknown_choice(row["label"], LABELS[release], f"class of {release}")

        raise ValueError(_first_problem(path, problem_of)) from None


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
