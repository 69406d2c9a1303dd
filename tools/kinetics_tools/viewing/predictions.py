"""Predictions beside the clips that they are for."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.evaluation import read_predictions
from kinetics_tools.releases import LABELS, find_split
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
    rows: list[tuple[str | None, int | None, str | None]] = []
    names = ("release", "split", "clip", "youtube_id", "label", "status")
    for release, of_split, clip, youtube_id, label, status in zip(
        *(clips[name].to_pylist() for name in names), strict=True
    ):
        found = best.get(clip) or best.get(youtube_id) if of_split == split and status != "unexpected" else None
        if not found or label is None:
            rows.append((None, None, None))
            continue
        labels = [LABELS[release][index] for index in found]
        rank = labels.index(label) + 1 if label in labels else None
        rows.append((labels[0], rank, "right" if rank == 1 else "wrong"))
    for field, values in zip(COLUMNS, zip(*rows, strict=True) if rows else [[]] * 3, strict=True):
        clips = clips.append_column(field, pa.array(values, field.type))
    return clips


def read_predicted(clips: Clips, path: str | os.PathLike[str], split: str) -> Clips:
    """Return the clips with the predictions in a file, see `with_predictions` and `read_predictions`.

    Raises:
        ValueError: the clips are of several releases, or the file has another form.
    """
    best, _ = read_predictions(path, only_release(clips.table))
    return dataclasses.replace(clips, table=with_predictions(clips.table, find_split(split), best))


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
