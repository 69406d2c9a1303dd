"""Reader of predictions in JSON, CSV and Parquet."""

import csv
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from kinetics_tools.annotations import clip_name, find_label
from kinetics_tools.releases import LABELS

TOP = 5  # best classes that are kept
_ROWS = 1024  # at once: 700 scores take 20 kB as Python's numbers
_KEY_COLUMNS = ("youtube_id", "time_start", "time_end", "label", "score", "scores")

# Name of a clip or id of a video, and its scores by label index, or the reason why it has none.
_Prediction = tuple[str, Mapping[int, float] | npt.NDArray[np.float64] | str]


def read_predictions(path: str | os.PathLike[str], release: str) -> tuple[dict[str, list[int]], list[str]]:
    """Return the five best classes, best first, by clip or video, and "name: reason" of invalid predictions.

    The format follows from the suffix of the file:

    - .json: a submission to the ActivityNet challenge, {"results": {video id: [{"label", "score"}, ...]}}
    - .csv: a line for each score, with the columns youtube_id, label, score; or for each clip, with youtube_id and one
      column for each class, named by its label or index
    - .parquet: as CSV, or with a column `scores`, a list with a number for each class

    CSV and Parquet with time_start and time_end are for clips, else for videos. Labels are names in any spelling, or
    indices. Of equal scores the lower index comes first. Repeated predictions are invalid. Raises ValueError for a
    file in another format.
    """
    reader = {".json": _from_json, ".csv": _from_csv, ".parquet": _from_parquet}.get(Path(path).suffix.lower())
    if reader is None:
        raise ValueError(f"{os.fspath(path)}: predictions must be a .json, .csv or .parquet file")
    best: dict[str, list[int]] = {}
    bad: list[str] = []
    times: Counter[str] = Counter()
    for key, scores in reader(Path(path), release):
        times[key] += 1
        if isinstance(scores, str):
            bad.append(f"{key}: {scores}")
            continue
        if isinstance(scores, Mapping):
            values = np.fromiter(scores.values(), np.float64)
            order = sorted(scores, key=lambda label: (-scores[label], label))
        else:
            values = scores
            order = np.argsort(-scores, kind="stable").tolist()
        if np.isnan(values).any():
            bad.append(f"{key}: a score is not a number")
        elif order:
            best[key] = order[:TOP]
    for key in [key for key, count in times.items() if count > 1]:
        best.pop(key, None)
        bad.append(f"{key}: predicted {'twice' if times[key] == 2 else f'{times[key]} times'}")
    return best, bad


def _label(name: Any, release: str) -> int:
    if name in (None, ""):
        raise ValueError("has no label")
    text = str(name).removesuffix(".0")  # pandas makes floats of whole numbers beside empty fields
    if not text.isdecimal():
        return find_label(text, release)
    if int(text) >= len(LABELS[release]):
        raise ValueError(f"label {text}: {release} has {len(LABELS[release])} classes, the first is 0")
    return int(text)


def _score(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"the score {value!r} is not a number") from None


def _add(scores: dict[int, float], label: Any, score: Any, release: str) -> None:
    index = _label(label, release)
    if index in scores:
        raise ValueError(f"has two scores of {label!r}")
    scores[index] = _score(score)


def _from_json(path: Path, release: str) -> Iterator[_Prediction]:
    repeated: set[str] = set()

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            repeated.update(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return found

    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=once)
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from None
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise ValueError(
            f'{path}: not a submission: it must be {{"results": {{video id: [{{"label", "score"}}, ...]}}}}'
        )
    for key, entries in results.items():
        scores: dict[int, float] = {}
        try:
            for entry in entries:
                _add(scores, entry["label"], entry["score"], release)
            yield key, scores
        except ValueError as error:
            yield key, str(error)
        except (TypeError, KeyError):
            yield key, 'must be [{"label", "score"}, ...]'
    yield from ((key, {}) for key in results if key in repeated)


def _from_csv(path: Path, release: str) -> Iterator[_Prediction]:
    with open(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets begin with a mark
        rows = csv.DictReader(file)
        try:
            yield from _from_rows(path, rows.fieldnames or (), rows, release)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: not valid CSV ({error})") from None


def _from_parquet(path: Path, release: str) -> Iterator[_Prediction]:
    with open(path, "rb") as content:
        try:
            file = pq.ParquetFile(content)
            rows = (row for batch in file.iter_batches(batch_size=_ROWS) for row in batch.to_pylist())
            yield from _from_rows(path, file.schema_arrow.names, rows, release)
        # Arrow raises OSError for corrupt pages; in one that is not compressed, text may be no UTF-8.
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{path}: not a Parquet file, or a corrupt one ({reason})") from None


def _from_rows(path: Path, names: Sequence[str], rows: Iterable[dict[Any, Any]], release: str) -> Iterator[_Prediction]:
    if "youtube_id" not in names:
        raise ValueError(f"{path}: has no column youtube_id, only {', '.join(names)[:200]}")
    columns = None if {"score", "scores"} & set(names) else _class_columns(path, names, release)
    long: defaultdict[str, dict[int, float]] = defaultdict(dict)
    failed: dict[str, str] = {}
    for number, row in enumerate(rows, start=1):
        key = f"row {number}"
        try:
            if None in row:
                raise ValueError(f"has more than {len(names)} fields")
            key = _key(row)
            if columns is not None:
                yield key, {label: _score(row[name]) for name, label in columns.items()}
            elif "scores" in row:
                yield key, _listed(row["scores"], release)
            else:
                _add(long[key], row.get("label"), row["score"], release)
        except ValueError as error:
            failed.setdefault(key, str(error))
    yield from failed.items()
    yield from ((key, scores) for key, scores in long.items() if key not in failed)


def _class_columns(path: Path, names: Sequence[str], release: str) -> dict[str, int]:
    names = [name for name in names if name not in (*_KEY_COLUMNS, "split")]
    count = len(LABELS[release])
    try:
        labels = [_label(name, release) for name in names]
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    if sorted(labels) != list(range(count)):
        raise ValueError(f"{path}: has {len(names)} columns of scores; {release} has {count} classes, one column each")
    return dict(zip(names, labels, strict=True))


def _listed(scores: Any, release: str) -> npt.NDArray[np.float64]:
    count = len(LABELS[release])
    if not isinstance(scores, list) or len(scores) != count:
        raise ValueError(f"{len(scores) if isinstance(scores, list) else 'no'} scores of {count} classes")
    values = np.asarray(scores, np.float64)
    if values.ndim != 1:
        raise ValueError(f"the score {scores[0]!r} is not a number")
    return values


def _key(row: Mapping[str, Any]) -> str:
    youtube_id, start, end = (row.get(name) for name in ("youtube_id", "time_start", "time_end"))
    if start in (None, "") or end in (None, ""):
        return str(youtube_id)
    try:
        return clip_name(str(youtube_id), float(str(start)), float(str(end)))
    except (ValueError, OverflowError):
        raise ValueError(f"{youtube_id} from {start!r} to {end!r}: must be seconds") from None
