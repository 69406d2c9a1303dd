"""Reader of predictions in CSV and Parquet, in batches of rows: a row for each clip, or one for each score."""

import csv
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kinetics_tools.evaluation.fields import OUTSIDE, LabelIndices, to_key, to_score
from kinetics_tools.evaluation.ranking import NOT_A_NUMBER, Ranking, best_classes

_FIELDS = 1 << 21  # at once, of all columns
_NO_NUMBER = -1
_TEXT_SHARE = 8  # Python's text takes more than numbers
_MAX_LINE = 1 << 20  # characters; 700 scores have 15,000
_KEYS = ("youtube_id", "time_start", "time_end")
_OTHER_COLUMNS = (*_KEYS, "label", "score", "scores", "split")

# Name of a clip or id of a video, and its best classes, or the reason why it has none.
Prediction = tuple[str, list[int] | str]

_Scores = npt.NDArray[np.float64]


@dataclass
class _Batch:
    """Rows of a file: its columns, the number of the first row, and the problems of rows, by position."""

    columns: Mapping[str, pa.Array]
    first: int
    problems: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.columns["youtube_id"])

    def column(self, name: str) -> pa.Array:
        return self.columns[name] if name in self.columns else pa.nulls(len(self))

    def row(self, position: int) -> str:
        return f"row {self.first + position}"


_Batches = Callable[[int], Iterator[_Batch]]


def read_csv(path: Path, labels: LabelIndices) -> Iterator[Prediction]:
    """Yield the predictions of a CSV file."""
    with open(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets begin with a mark
        lines = csv.reader(_lines(file))
        try:
            names = next(lines, [])
            yield from _predictions(path, names, lambda fields: _csv_batches(names, lines, fields), labels)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not valid CSV ({error})") from None


def _lines(file: TextIO) -> Iterator[str]:
    while line := file.readline(_MAX_LINE):
        if len(line) == _MAX_LINE:
            raise csv.Error(f"a line has over {_MAX_LINE:,} characters")
        yield line


def read_parquet(path: Path, labels: LabelIndices) -> Iterator[Prediction]:
    """Yield the predictions of a Parquet file."""
    with open(path, "rb") as content:
        try:
            texts = [field.name for field in pq.read_schema(content) if pa.types.is_string(field.type)]
            file = pq.ParquetFile(content, read_dictionary=texts, pre_buffer=False)
            names = file.schema_arrow.names
            yield from _predictions(path, names, lambda fields: _parquet_batches(file, fields), labels)
        # Arrow raises OSError for corrupt pages; in one that is not compressed, text may be no UTF-8.
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{path}: not a Parquet file, or a corrupt one ({reason})") from None


def _csv_batches(names: Sequence[str], lines: Iterable[list[str]], rows: int) -> Iterator[_Batch]:
    first = 1
    filled = filter(None, lines)
    while found := list(islice(filled, max(rows // _TEXT_SHARE, 1))):
        problems = {
            position: f"has more than {len(names)} fields"
            for position, line in enumerate(found)
            if len(line) > len(names)
        }
        columns = list(zip_longest(names, *found))[: len(names)]  # a field that a line lacks is null
        yield _Batch({name: pa.array(values, pa.string()) for name, *values in columns}, first, problems)
        first += len(found)


def _parquet_batches(file: pq.ParquetFile, rows: int) -> Iterator[_Batch]:
    first = 1
    for batch in file.iter_batches(batch_size=rows):
        yield _Batch(dict(zip(batch.schema.names, batch.columns, strict=True)), first)
        first += len(batch)


def _predictions(path: Path, names: Sequence[str], batches: _Batches, labels: LabelIndices) -> Iterator[Prediction]:
    if "youtube_id" not in names:
        raise ValueError(f"{path}: has no column youtube_id, only {', '.join(names)[:200]}")
    if len(set(names)) < len(names):
        ((repeated, _),) = Counter(names).most_common(1)
        raise ValueError(f"{path}: has several columns {repeated!r}; keep one")
    if "scores" in names:
        size = len(labels.order)
        return _of_rows(batches(_FIELDS // size), lambda batch: _lists(batch, size), labels.order)
    if "score" not in names:
        columns = _class_columns(path, names, labels)
        indices = np.array(list(columns.values()))
        return _of_rows(batches(_FIELDS // len(names)), lambda batch: _matrix(batch, columns), indices)
    return _of_scores(batches(_FIELDS // len(names)), labels)


def _class_columns(path: Path, names: Sequence[str], labels: LabelIndices) -> dict[str, int]:
    names = [name for name in names if name not in _OTHER_COLUMNS]
    try:
        indices = [labels[name] for name in names]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    count = len(labels.order)
    if len(names) != count or sorted(indices) != sorted(labels.order.tolist()):
        what = f"{labels.title} has {count} classes, one column each"
        raise ValueError(f"{path}: has {len(names)} columns of scores; {what}")
    return dict(zip(names, indices, strict=True))


# ---- A row for each clip ------------------------------------------------------------------------------------


def _of_rows(
    batches: Iterator[_Batch],
    matrix_of: Callable[[_Batch], tuple[_Scores, dict[int, str]]],
    indices: npt.NDArray[np.int64],
) -> Iterator[Prediction]:
    known = indices != OUTSIDE
    for batch in batches:
        scores, problems = matrix_of(batch)
        scores = scores[:, known]
        keys = zip(*(batch.column(name).to_pylist() for name in _KEYS), strict=True)
        for position, key in enumerate(keys):
            try:
                if position in batch.problems:
                    raise ValueError(batch.problems[position])
                name = to_key(*key)
            except ValueError as error:
                yield batch.row(position), str(error)
            else:
                yield name, problems.get(position) or best_classes(indices[known], scores[position])


def _matrix(batch: _Batch, columns: Iterable[str]) -> tuple[_Scores, dict[int, str]]:
    problems: dict[int, str] = {}
    return np.column_stack([_numbers(batch.columns[name], problems) for name in columns]), problems


def _lists(batch: _Batch, count: int) -> tuple[_Scores, dict[int, str]]:
    column = batch.columns["scores"]
    kind = column.type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    lengths = pc.list_value_length(column).to_pylist() if is_list else [None] * len(column)
    problems = {
        position: f"{'no' if length is None else length} scores of {count} classes"
        for position, length in enumerate(lengths)
        if length != count
    }
    scores = np.full((len(column), count), np.nan)
    if good := [position for position, length in enumerate(lengths) if length == count]:
        no_numbers: dict[int, str] = {}
        scores[good] = _numbers(column.take(pa.array(good)).flatten(), no_numbers).reshape(-1, count)
        for place, problem in no_numbers.items():
            problems.setdefault(good[place // count], problem)
    return scores, problems


def _numbers(column: pa.Array, problems: dict[int, str]) -> _Scores:
    """Return a column as numbers, NaN for a field that is none; add those to `problems`."""
    try:
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except (pa.ArrowException, NotImplementedError):
        numbers = np.full(len(column), np.nan)
    for position, value in enumerate(column.to_pylist()):
        try:
            numbers[position] = to_score(value)
        except ValueError as error:
            problems.setdefault(position, str(error))
    return numbers


# ---- A row for each score -----------------------------------------------------------------------------------


def _of_scores(batches: Iterator[_Batch], labels: LabelIndices) -> Iterator[Prediction]:
    ranking = Ranking(labels.classes)
    numbers: dict[str, int] = {}  # key -> number in the ranking
    failed: dict[int, str] = {}
    for batch in batches:
        keys = _Encoded(_combined(batch), lambda key: numbers.setdefault(to_key(*key), len(numbers)))
        for position in {*np.flatnonzero(keys.codes < 0).tolist(), *batch.problems}:
            yield batch.row(position), batch.problems.get(position) or keys.problem(position)
            keys.codes[position] = -1
        classes = _Encoded(_distinct(batch.column("label")), labels.__getitem__)
        no_numbers: dict[int, str] = {}
        scores = _numbers(batch.columns["score"], no_numbers)
        valid = np.flatnonzero((keys.codes >= 0) & (classes.codes >= 0))
        again = valid[ranking.add(keys.codes[valid], classes.codes[valid], scores[valid])]
        for positions, problem_of in (
            (np.flatnonzero(classes.codes == _NO_NUMBER), classes.problem),
            (np.flatnonzero(np.isnan(scores)), functools.partial(_no_number, no_numbers)),
            (again, functools.partial(_repeated, batch.column("label"))),
        ):
            codes, firsts = np.unique(keys.codes[positions], return_index=True)
            for code, first in zip(codes.tolist(), firsts.tolist(), strict=True):
                if code >= 0:
                    failed.setdefault(code, problem_of(int(positions[first])))
    yield from ((key, failed.get(number) or ranking.best(number)) for key, number in numbers.items())


def _no_number(problems: Mapping[int, str], position: int) -> str:
    return problems.get(position, NOT_A_NUMBER)


def _repeated(labels: pa.Array, position: int) -> str:
    return f"has two scores of {labels[position].as_py()!r}"


class _Encoded:
    """Numbers of values, -1 for a value that has none because `number_of` raises ValueError.

    Values are given as the distinct ones and, for each row, the index of its value.
    """

    def __init__(self, values: tuple[Sequence[Any], npt.NDArray[Any]], number_of: Callable[[Any], int]):
        distinct, self._indices = values
        self._problems: dict[int, str] = {}
        numbers = np.full(len(distinct), _NO_NUMBER)
        for index, value in enumerate(distinct):
            try:
                numbers[index] = number_of(value)
            except ValueError as error:
                self._problems[index] = str(error)
        self.codes: npt.NDArray[np.int64] = numbers[self._indices]

    def problem(self, position: int) -> str:
        return self._problems[int(self._indices[position])]


def _distinct(column: pa.Array) -> tuple[list[Any], npt.NDArray[Any]]:
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    values = [*encoded.dictionary.to_pylist(), None]
    return values, encoded.indices.fill_null(len(values) - 1).to_numpy(zero_copy_only=False)


def _combined(batch: _Batch) -> tuple[list[tuple[Any, ...]], npt.NDArray[Any]]:
    """Return the distinct keys of rows, and the index of each row's."""
    columns = [_distinct(batch.column(name)) for name in _KEYS]
    shape = [len(values) for values, _ in columns]
    rows = pa.array(np.ravel_multi_index([indices for _, indices in columns], shape)).dictionary_encode()
    places = np.unravel_index(rows.dictionary.to_numpy(zero_copy_only=False), shape)
    keys = zip(
        *([values[place] for place in of.tolist()] for (values, _), of in zip(columns, places, strict=True)),
        strict=True,
    )
    return list(keys), rows.indices.to_numpy(zero_copy_only=False)
