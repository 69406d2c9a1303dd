"""Scores of predictions against the annotations: top-1 and top-5, their mean error, and each class alone.

    >>> from kinetics_tools.evaluate import evaluate
    >>> evaluate("predictions.json", "700").top1
    0.6541

A clip is right at k if its class is among its k best scores, or if one of them is where a video has several clips and
the predictions are for videos. What has no prediction is wrong: that is the rule of the ActivityNet challenge
(github.com/activitynet/ActivityNet, Evaluation/eval_kinetics.py), which ranked by the mean of the two errors.
"""

import csv
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from kinetics_tools.annotations.find import annotation_file
from kinetics_tools.annotations.labels import find_label
from kinetics_tools.annotations.read import clip_name, clip_names, read_split
from kinetics_tools.annotations.selection import Selection
from kinetics_tools.releases import LABELS, find_split

__all__ = ["Evaluation", "evaluate", "read_predictions", "write_confusion"]

_ID_LENGTH = 11
_TOP = 5
_SHOWN = 10
_ROWS = 1024  # at once: as Python's numbers 700 scores take 20 kB
_KEY_COLUMNS = ("youtube_id", "time_start", "time_end", "label", "score", "scores")

# The key is a clip's name, or a video's id; beside it its scores by label index, or the reason why it has none.
_Prediction = tuple[str, Mapping[int, float] | npt.NDArray[np.float64] | str]


@dataclass(frozen=True)
class Evaluation:
    """What predictions are worth. Shares are in [0, 1].

    Attributes:
        clips: number of annotated clips, or videos where the predictions are for videos.
        top1, top5: share of them with the true class among the best one or five.
        class_mean: mean over the classes of their top-1.
        per_class: label -> (clips, top-1, top-5), of the classes that occur.
        confusion: (C, C) int64: clips of the class of the row that got the class of the column; those without a
            prediction are in no column. Rows and columns are in label order.
        missing: names of what has no prediction; it counts as wrong.
        unknown: names of predictions for what is not annotated; they do not count.
        bad: "name: reason" of predictions that cannot be read; what they are for is missing.
    """

    release: str
    split: str
    clips: int
    top1: float
    top5: float
    class_mean: float
    per_class: dict[str, tuple[int, float, float]]
    confusion: npt.NDArray[np.int64] = field(repr=False)
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()

    @property
    def mean_error(self) -> float:
        """Mean of the top-1 and the top-5 error, which the challenge ranked by."""
        return 1 - (self.top1 + self.top5) / 2

    @property
    def is_complete(self) -> bool:
        return not (self.missing or self.bad)

    def lines(self) -> list[str]:
        """For people."""
        lines = [
            f"kinetics {self.release} {self.split}: {self.clips:,} clips, {len(self.missing):,} without a prediction",
            f"top-1      {self.top1:7.2%}",
            f"top-5      {self.top5:7.2%}",
            f"mean error {self.mean_error:7.2%}",
            f"class mean {self.class_mean:7.2%}  (top-1, over {len(self.per_class):,} classes)",
        ]
        ranked = sorted(self.per_class.items(), key=lambda item: (item[1][1], item[0]))
        lines += [f"worst: {label}: top-1 {top1:.2%} of {count:,}" for label, (count, top1, _) in ranked[:3]]
        for what, names in (("no prediction", self.missing), ("not annotated", self.unknown), ("bad", self.bad)):
            lines += [f"{what}: {name}" for name in names[:_SHOWN]]
            if len(names) > _SHOWN:
                lines.append(f"{what}: {len(names) - _SHOWN:,} more")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Of JSON's types, without the confusion."""
        per_class = {
            label: {"clips": count, "top1": top1, "top5": top5} for label, (count, top1, top5) in self.per_class.items()
        }
        return {
            "release": self.release,
            "split": self.split,
            "clips": self.clips,
            "top1": self.top1,
            "top5": self.top5,
            "mean_error": self.mean_error,
            "class_mean": self.class_mean,
            "per_class": per_class,
            "missing": list(self.missing),
            "unknown": list(self.unknown),
            "bad": list(self.bad),
        }


def evaluate(
    predictions: str | os.PathLike[str],
    release: str,
    *,
    split: str = "validation",
    annotations: str | None = None,
    mirror: str | None = None,
) -> Evaluation:
    """Holds a file of predictions, see `read_predictions`, against the annotations of a split.

    Predictions are for clips or for videos, as most of their names say; the others are bad. `split` may be written as
    annotation files write it, "val" for one. `annotations` and `mirror` are as in `KineticsConfig`; without the former,
    the published ones are fetched. Raises ValueError for a file that has no form we know, and where the split has no
    labels.
    """
    split = find_split(split)
    asked = Selection(release, splits=[split], annotations=annotations, mirror=mirror)
    path = annotation_file(release, split, annotations=asked.annotations, mirror=mirror)
    truth = read_split(path, release, split)
    labels = truth["label"].to_pylist()
    if not labels or min(labels) < 0:
        raise ValueError(f"the {split} split has clips without a label, so nothing can be held against them")
    found, bad = read_predictions(predictions, release)
    names = clip_names(truth).to_pylist()
    ids = [name[:_ID_LENGTH] for name in names]
    said = {*found, *(one.partition(": ")[0] for one in bad)}
    of_clips, of_videos = said & set(names), said & set(ids)
    keys, odd, what = (names, of_videos, "videos") if len(of_clips) > len(of_videos) else (ids, of_clips, "clips")
    for key in sorted(odd & found.keys()):
        del found[key]
        bad.append(f"{key}: is one of the {what}, but most predictions are not for {what}")
    classes: defaultdict[str, list[int]] = defaultdict(list)
    for key, label in zip(keys, labels, strict=True):
        classes[key].append(label)
    return _scored(release, split, classes, found, bad)


def write_confusion(evaluation: Evaluation, path: str | os.PathLike[str]) -> None:
    """Writes the confusion as CSV, a row and a column for each class."""
    names = LABELS[evaluation.release]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["label", *names])
        writer.writerows([name, *row] for name, row in zip(names, evaluation.confusion.tolist(), strict=True))


def _scored(
    release: str,
    split: str,
    classes: Mapping[str, list[int]],
    found: Mapping[str, list[int]],
    bad: list[str],
) -> Evaluation:
    names = LABELS[release]
    confusion = np.zeros((len(names), len(names)), np.int64)
    tallies: defaultdict[int, list[tuple[bool, bool]]] = defaultdict(list)
    for key, labels in classes.items():
        best = found.get(key, [])
        hits = (not set(labels).isdisjoint(best[:1]), not set(labels).isdisjoint(best[:_TOP]))
        # Of several true classes, the one that was found; else the first.
        label = next((label for label in labels if label in best[:1]), labels[0])
        tallies[label].append(hits)
        if best:
            confusion[label, best[0]] += 1
    per_class = {}
    for label in sorted(tallies):
        shares = np.mean(tallies[label], axis=0)
        per_class[names[label]] = (len(tallies[label]), float(shares[0]), float(shares[1]))
    total = np.mean([hits for of_class in tallies.values() for hits in of_class], axis=0)
    return Evaluation(
        release=release,
        split=split,
        clips=len(classes),
        top1=float(total[0]),
        top5=float(total[1]),
        class_mean=float(np.mean([top1 for _, top1, _ in per_class.values()])),
        per_class=per_class,
        confusion=confusion,
        missing=tuple(sorted(classes.keys() - found.keys())),
        unknown=tuple(sorted(found.keys() - classes.keys())),
        bad=tuple(bad),
    )


def read_predictions(path: str | os.PathLike[str], release: str) -> tuple[dict[str, list[int]], list[str]]:
    """The five best classes, the best first, by clip or video; and "name: reason" of what cannot be read.

    Forms of the file, by its suffix:
        .json: a submission to the ActivityNet challenge, {"results": {video id: [{"label", "score"}, ...]}}.
        .csv: a line for each score, with the columns youtube_id, label, score; or for each clip, with youtube_id and a
            column for each class, called by its label or its index.
        .parquet: as CSV, or with a column `scores`, a list of as many numbers as there are classes.
    CSV and Parquet may have time_start and time_end, too; then they are for clips, else for videos. Labels may be
    written as folders are, or be their index. Of equal scores the class of the lower index comes first. What is
    predicted twice is bad, and what has two scores of one class, or a row that cannot be read. Raises ValueError for
    other files.
    """
    reader = {".json": _from_json, ".csv": _from_csv, ".parquet": _from_parquet}.get(Path(path).suffix.lower())
    if reader is None:
        raise ValueError(f"{os.fspath(path)}: predictions are .json, .csv or .parquet")
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
            bad.append(f"{key}: a score is no number")
        elif order:
            best[key] = order[:_TOP]
    for key in [key for key, count in times.items() if count > 1]:
        best.pop(key, None)
        bad.append(f"{key}: predicted {'twice' if times[key] == 2 else f'{times[key]} times'}")
    return best, bad


def _label(name: Any, release: str) -> int:
    if name in (None, ""):
        raise ValueError("has no label")
    text = str(name).removesuffix(".0")  # of whole numbers beside empty fields pandas makes floats
    if not text.isdecimal():
        return find_label(text, release)
    if int(text) >= len(LABELS[release]):
        raise ValueError(f"label {text}: {release} has {len(LABELS[release])} classes, the first of them 0")
    return int(text)


def _score(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"the score {value!r} is no number") from None


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
        raise ValueError(f"{path}: no JSON ({error})") from None
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise ValueError(
            f'{path}: no submission: it should be {{"results": {{video id: [{{"label", "score"}}, ...]}}}}'
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
            yield key, 'should be [{"label", "score"}, ...]'
    yield from ((key, {}) for key in results if key in repeated)


def _from_csv(path: Path, release: str) -> Iterator[_Prediction]:
    with open(path, newline="", encoding="utf-8-sig") as file:  # spreadsheets begin with a mark
        rows = csv.DictReader(file)
        try:
            yield from _from_rows(path, rows.fieldnames or (), rows, release)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: no CSV ({error})") from None


def _from_parquet(path: Path, release: str) -> Iterator[_Prediction]:
    with open(path, "rb") as content:
        try:
            file = pq.ParquetFile(content)
            rows = (row for batch in file.iter_batches(batch_size=_ROWS) for row in batch.to_pylist())
            yield from _from_rows(path, file.schema_arrow.names, rows, release)
        # OSError is what Arrow says of damaged pages, and in one that is not compressed text may have become none.
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{path}: no Parquet file, or a damaged one ({reason})") from None


def _from_rows(path: Path, names: Sequence[str], rows: Iterable[dict[Any, Any]], release: str) -> Iterator[_Prediction]:
    if "youtube_id" not in names:
        raise ValueError(f"{path}: has no column youtube_id; its columns are {', '.join(names)[:200]}")
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
        raise ValueError(f"the score {scores[0]!r} is no number")
    return values


def _key(row: Mapping[str, Any]) -> str:
    youtube_id, start, end = (row.get(name) for name in ("youtube_id", "time_start", "time_end"))
    if start in (None, "") or end in (None, ""):
        return str(youtube_id)
    try:
        return clip_name(str(youtube_id), float(str(start)), float(str(end)))
    except (ValueError, OverflowError):
        raise ValueError(f"{youtube_id} from {start!r} to {end!r}: must be seconds") from None
