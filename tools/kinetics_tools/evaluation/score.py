"""Scores of predictions against the annotations: top-1, top-5, their mean error, and each class.

    >>> from kinetics_tools import evaluate
    >>> evaluate("700", "predictions.json").top1
    0.6541

A clip is correct at k if its class is among the k best scores; for a video with several clips, one of its classes.
A clip without a prediction is wrong. These are the rules of the ActivityNet challenge
(github.com/activitynet/ActivityNet, Evaluation/eval_kinetics.py), which ranked by the mean of the two errors.
"""

import csv
import functools
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.annotations import (
    MERGED_CLASSES,
    LabelSpace,
    Selection,
    annotation_file,
    clip_names,
    read_split,
    spaces_of,
)
from kinetics_tools.annotations import label_space as find_space
from kinetics_tools.evaluation.orders import BetterOrder, better_order, fits_moved_classes
from kinetics_tools.evaluation.ranking import TOP
from kinetics_tools.evaluation.read import check_predictions, read_predictions
from kinetics_tools.io import disk_errors, replacing, write_file
from kinetics_tools.releases import LABELS, find_split
from kinetics_tools.text import TextReport, format_count

REPORT_BEGINNING = rb'\s*\{\s*"release": *"[^"]*",\s*"split": *"'
"""Regular expression that the beginning of the scores as JSON matches."""
CONFUSION_BEGINNING = b'label,"?abseiling'
"""Regular expression that the beginning of the confusion as CSV matches."""

_SHOWN = 10


@dataclass(frozen=True, repr=False)
class Evaluation(TextReport):
    """Scores of predictions; accuracies are in [0, 1].

    Attributes:
        clips: number of annotated clips, or of videos if the predictions are for videos.
        top1, top5: share of them with the true class among the best one or five.
        unit: "clip" or "video": what the predictions are for.
        class_mean: mean of the top-1 of each class.
        per_class: label -> (clips, top-1, top-5), of the classes that occur.
        confusion: (C, C) int64: number of clips by true class (row) and predicted class (column), in label order.
            Clips without a prediction are in no column.
        missing: names without a prediction; they count as wrong.
        unknown: names of predictions without an annotation; they do not count.
        best: key of a clip or video -> its best classes, best first, of each valid prediction.
        bad: "name: reason" of invalid predictions; their clips are missing.
        better_order: the label order that fits the predictions, if that in use does not; see `better_order`.
    """

    release: str
    split: str
    clips: int
    top1: float
    top5: float
    class_mean: float
    per_class: dict[str, tuple[int, float, float]]
    confusion: npt.NDArray[np.int64] = field(repr=False)
    best: Mapping[str, list[int]] = field(default_factory=dict, repr=False)
    missing: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    unit: str = "clip"
    better_order: BetterOrder | None = None

    @property
    def scored(self) -> int:
        """Number of annotated clips with a valid prediction."""
        return self.clips - len(self.missing)

    @property
    def top1_scored(self) -> float:
        """Top-1 over the scored clips alone."""
        return self.top1 * self.clips / max(self.scored, 1)

    @property
    def top5_scored(self) -> float:
        """Top-5 over the scored clips alone."""
        return self.top5 * self.clips / max(self.scored, 1)

    @property
    def mean_error(self) -> float:
        """Mean of the top-1 and the top-5 error, which the challenge ranked by."""
        return 1 - (self.top1 + self.top5) / 2

    @property
    def is_complete(self) -> bool:
        """True if each annotated clip has a valid prediction."""
        return not (self.missing or self.bad)

    def lines(self) -> list[str]:
        """Return the scores as lines of text."""
        clips = format_count(self.clips, f"annotated {self.unit}")
        scored = format_count(self.scored, f"scored {self.unit}")
        lines = [
            f"kinetics {self.release} {self.split}: {format_count(self.clips, self.unit)}, "
            f"{len(self.missing):,} without a prediction",
            f"top-1      {self.top1:7.2%} over {clips}" + f", {self.top1_scored:.2%} over {scored}" * bool(self.scored),
            f"top-5      {self.top5:7.2%} over {clips}" + f", {self.top5_scored:.2%} over {scored}" * bool(self.scored),
            f"mean error {self.mean_error:7.2%}",
            f"class mean {self.class_mean:7.2%}  (top-1, over {len(self.per_class):,} classes)",
        ]
        ranked = sorted(self.per_class.items(), key=lambda item: (item[1][1], item[0]))
        lines += [f"worst: {label}: top-1 {top1:.2%} of {count:,}" for label, (count, top1, _) in ranked[:3]]
        for what, names in (
            ("no prediction", self.missing),
            ("unannotated", self.unknown),
            ("invalid", _by_reason(self.bad)),
        ):
            lines += [f"{what}: {name}" for name in names[:_SHOWN]]
            if len(names) > _SHOWN:
                lines.append(f"{what}: {len(names) - _SHOWN:,} more")
        if self.better_order is not None:
            lines.append(self.better_order.line())
        if not self.is_complete:
            lines.append("incomplete: missing and invalid predictions count as wrong; fix them and rerun the command")
        return lines

    def as_dict(self) -> dict[str, Any]:
        """Return the scores for JSON, without the confusion."""
        names = ("release", "split", "unit", "clips", "top1", "top5", "mean_error", "class_mean")
        scored = ("scored", "top1_scored", "top5_scored")
        per_class = {
            label: {"clips": count, "top1": top1, "top5": top5} for label, (count, top1, top5) in self.per_class.items()
        }
        problems = {name: list(getattr(self, name)) for name in ("missing", "unknown", "bad")}
        better = None if self.better_order is None else asdict(self.better_order)
        figures = {name: getattr(self, name) for name in names + scored}
        return {**figures, "better_order": better, "per_class": per_class, **problems}


def _by_reason(bad: Sequence[str]) -> list[str]:
    """Return "name: reason" of invalid predictions; one of many with the same reason stands for all of them."""
    names: dict[str, list[str]] = {}
    for one in bad:
        name, _, reason = one.partition(": ")
        names.setdefault(reason, []).append(name)
    return [
        f"{found[0]}: {reason}" if len(found) == 1 else f"{len(found):,} predictions, such as of {found[0]}: {reason}"
        for reason, found in names.items()
    ]


def evaluate(
    release: str,
    predictions: str | os.PathLike[str],
    *,
    split: str = "validation",
    label_space: str | os.PathLike[str] | None = None,
    subset: str | None = None,
    exclude: Sequence[str] | str | None = None,
    exclude_by: str = "video",
    annotations: str | None = None,
    mirror: str | None = None,
) -> Evaluation:
    """Score a file of predictions against the annotations of a split.

    Args:
        release: "400", "600", "700" or "700-2020".
        predictions: a file for `read_predictions`, for clips or for videos, like most of its names.
        split: in any published spelling, such as "val".
        label_space: order of the labels in `predictions` that are indices, see `annotations.label_space`; None for the
            order of the release. Scores of classes that the release does not have do not count.
        subset: classes or clips to score, see `Selection`; predictions for other annotated clips are skipped.
        exclude: splits whose videos are excluded, see `Selection`.
        exclude_by: "video" or "seconds", see `Selection`.
        annotations: directory, file or URL of the annotations; None for the published ones.
        mirror: URL that replaces the public hosts.

    Raises:
        ValueError: the file has an unknown format, or the split has no labels.
    """
    split = find_split(split)
    asked = Selection(
        release,
        splits=[split],
        subset=subset,
        exclude=exclude,
        exclude_by=exclude_by,
        annotations=annotations,
        mirror=mirror,
    )
    release = asked.release
    check_predictions(predictions)
    space = find_space(label_space or "sorted", release)
    path = annotation_file(release, split, annotations=asked.annotations, mirror=mirror)
    annotated = read_split(path, release, split)
    if not len(annotated) or pc.min(annotated["label"]).as_py() < 0:
        raise ValueError(f"the {split} split has clips without a label and cannot be scored; choose another split")
    truth = asked.choose(annotated, split)
    if not len(truth):
        raise ValueError(f"no clip of the {split} split is selected by {asked.text()}")

    def scored(space: LabelSpace) -> Evaluation:
        return _score(read_predictions(predictions, release, space), release, split, annotated, truth)

    def top1_of(space: LabelSpace) -> float:
        try:
            return scored(space).top1
        except ValueError:  # the file has another number of columns
            return 0.0

    found = scored(space)
    spaces = [one for size in (len(LABELS[release]), MERGED_CLASSES) for one in spaces_of(release, size)]
    others = (one for one in spaces if one.name != space.name)
    is_better = functools.partial(fits_moved_classes, in_use=space, release=release, confusion=found.confusion)
    return replace(found, better_order=better_order(found.top1, found.confusion, others, top1_of, is_better))


def _score(
    predictions: tuple[dict[str, list[int]], list[str]],
    release: str,
    split: str,
    annotated: pa.Table,
    truth: pa.Table,
) -> Evaluation:
    found, bad = predictions
    names = clip_names(truth).to_pylist()
    ids = truth["youtube_id"].to_pylist()
    skipped = {*clip_names(annotated).to_pylist(), *annotated["youtube_id"].to_pylist()}.difference(names, ids)
    found = {key: best for key, best in found.items() if key not in skipped}
    bad = [one for one in bad if one.partition(": ")[0] not in skipped]
    predicted = {*found, *(one.partition(": ")[0] for one in bad)}
    of_clips, of_videos = predicted & set(names), predicted & set(ids)
    keys, odd, what = (names, of_videos, "videos") if len(of_clips) > len(of_videos) else (ids, of_clips, "clips")
    for key in sorted(odd & found.keys()):
        del found[key]
        bad.append(f"{key}: is one of the {what}, but most predictions are not for {what}")
    classes: defaultdict[str, list[int]] = defaultdict(list)
    for key, label in zip(keys, truth["label"].to_pylist(), strict=True):
        classes[key].append(label)
    unit = "clip" if keys is names else "video"
    return _scored(release, split, classes, found, bad, unit)


def write_report(evaluation: Evaluation, path: str | os.PathLike[str]) -> None:
    """Write the scores as JSON, without the confusion. `path` is replaced atomically; DiskError if that fails."""
    with disk_errors(path):
        write_file(path, json.dumps(evaluation.as_dict(), indent=2) + "\n")


def write_confusion(evaluation: Evaluation, path: str | os.PathLike[str]) -> None:
    """Write the confusion as CSV, with a row and a column for each class, like `write_report`."""
    names = LABELS[evaluation.release]
    with disk_errors(path), replacing(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["label", *names])
        writer.writerows([name, *row] for name, row in zip(names, evaluation.confusion.tolist(), strict=True))


def _scored(
    release: str,
    split: str,
    classes: Mapping[str, list[int]],
    found: Mapping[str, list[int]],
    bad: Sequence[str],
    unit: str,
) -> Evaluation:
    names = LABELS[release]
    confusion = np.zeros((len(names), len(names)), np.int64)
    tallies: defaultdict[int, list[tuple[bool, bool]]] = defaultdict(list)
    for key, labels in classes.items():
        best = found.get(key, [])
        hits = (not set(labels).isdisjoint(best[:1]), not set(labels).isdisjoint(best[:TOP]))
        # Of several true classes, the one that was predicted; else the first.
        label = next((label for label in labels if label in best[:1]), labels[0])
        tallies[label].append(hits)
        if best:
            confusion[label, best[0]] += 1
    per_class = {}
    for label in sorted(tallies):
        top1, top5 = np.mean(tallies[label], axis=0)
        per_class[names[label]] = (len(tallies[label]), float(top1), float(top5))
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
        best=found,
        missing=tuple(sorted(classes.keys() - found.keys())),
        unknown=tuple(sorted(found.keys() - classes.keys())),
        bad=tuple(bad),
        unit=unit,
    )
