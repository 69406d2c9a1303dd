"""Predictions beside the clips that they are for."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.evaluation import Evaluation, evaluate
from kinetics_tools.releases import LABELS
from kinetics_tools.viewing.clips import Clips

COLUMNS = pa.schema([("predicted", pa.string()), ("rank", pa.int64()), ("prediction", pa.string())])
"""Best class of a clip's prediction, rank of the clip's class, and "right" or "wrong"; null without a prediction."""


def with_predictions(clips: pa.Table, split: str, best: Mapping[str, Sequence[int]]) -> pa.Table:
    """Return the clips with COLUMNS.

    Args:
        clips: table of clips of one release.
        split: split that the predictions are for.
        best: name or video id -> the best classes, best first, as of `read_predictions`.
    """
    is_scored = pc.and_(pc.equal(clips["split"], split), pc.not_equal(clips["status"], "unexpected"))
    places = np.flatnonzero(pc.and_(is_scored, pc.is_valid(clips["label"])).to_numpy())
    names = ("release", "clip", "youtube_id", "label")
    columns = [clips[name].take(pa.array(places)).to_pylist() for name in names]
    row_of = np.zeros(len(clips), np.int64)
    rows: list[tuple[str | None, int | None, str | None]] = [(None, None, None)]
    for place, release, clip, youtube_id, label in zip(places, *columns, strict=True):
        if found := best.get(clip) or best.get(youtube_id):
            labels = [LABELS[release][index] for index in found]
            rank = labels.index(label) + 1 if label in labels else None
            row_of[place] = len(rows)
            rows.append((labels[0], rank, "right" if rank == 1 else "wrong"))
    for field, values in zip(COLUMNS, zip(*rows, strict=True), strict=True):
        clips = clips.append_column(field, pa.array(values, field.type).take(pa.array(row_of)))
    return clips


def score(
    clips: Clips, path: str | os.PathLike[str], split: str, annotations: str | None = None
) -> tuple[Clips, Evaluation | None]:
    """Return the clips with the predictions in a file, see `with_predictions`, and their scores; None without clips.

    Args:
        clips: clips of one release.
        path: file for `evaluate`.
        split: split that the predictions are for.
        annotations: annotation directory, file or URL; by default those in a clip directory, else the published ones.

    Raises:
        ValueError: the clips are of several releases, or the file has another form.
    """
    if not len(clips.table):
        return clips, None
    truth = annotations or (clips.source if clips.kind == "directory" else None)
    found = evaluate(only_release(clips.table), path, split=split, annotations=truth)
    return dataclasses.replace(clips, table=with_predictions(clips.table, found.split, found.best)), found


def only_release(clips: pa.Table) -> str:
    """Return the release of all clips. Raises ValueError if there is not one."""
    releases = pc.unique(clips["release"]).to_pylist()
    if len(releases) != 1:
        raise ValueError(f"predictions are for one release; name one of {', '.join(sorted(releases))}")
    return str(releases[0])


def wrong(clips: pa.Table) -> pa.Table:
    """Return the clips that are predicted wrong: clip, label, predicted, rank. Those with the worst rank come first."""
    found = clips.filter(pc.equal(clips["prediction"], "wrong")).select(["clip", "label", "predicted", "rank"])
    keys = [("_rank", "descending"), ("label", "ascending"), ("clip", "ascending")]
    far = pc.fill_null(found["rank"], len(clips) + 1)  # not among the best
    return found.append_column("_rank", far).sort_by(keys).drop_columns(["_rank"])
