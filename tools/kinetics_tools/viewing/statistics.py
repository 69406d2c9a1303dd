"""Figures of a table of clips: pure functions of the columns in `CLIPS`.

Each takes the table and returns a small one, the same that a chart or a page shows. A clip is annotated if its status
is not "unexpected".
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.releases import SPLITS
from kinetics_tools.verification.report import STATUSES

__all__ = [
    "MEASURES",
    "annotated",
    "by_class",
    "by_reason",
    "by_split",
    "by_status",
    "by_value",
    "clips_per_video",
    "distribution",
    "problems",
    "segment_lengths",
    "shared_videos",
    "totals",
    "with_metadata",
]

_BINS = 40
_SHOWN_VALUES = 12
_OTHERS = "other"
_DECIMALS = {"fps": 2}
MEASURES = ("duration", "fps", "num_frames", "bytes", "bitrate")
"""Columns of numbers that `distribution` takes; `bitrate` is in bits per second."""


def annotated(clips: pa.Table, *columns: str) -> pa.Table:
    """Return the annotated clips, with some columns or all; fewer are faster."""
    chosen = clips.select(list(columns)) if columns else clips
    return chosen.filter(pc.not_equal(clips["status"], "unexpected"))


def totals(clips: pa.Table) -> dict[str, float]:
    """Return numbers of clips and classes, and hours of video.

    Keys: annotated, present, missing, other problems (of annotated clips), unexpected, classes (that have a present
    clip), hours (of the clips whose duration is known).
    """
    statuses = {one["values"]: one["counts"] for one in pc.value_counts(clips["status"]).to_pylist()}
    unexpected, present, missing = (statuses.get(name, 0) for name in ("unexpected", "present", "missing"))
    count = len(clips) - unexpected
    labels = clips["label"].filter(pc.equal(clips["status"], "present"))
    return {
        "annotated": count,
        "present": present,
        "missing": missing,
        "other problems": count - present - missing,
        "unexpected": unexpected,
        "classes": pc.count_distinct(labels).as_py(),
        "hours": (pc.sum(clips["duration"]).as_py() or 0) / 3600,
    }


def by_split(clips: pa.Table) -> pa.Table:
    """Return the number of clips by release, split and status: columns release, split, status, clips."""
    return _counted(clips, ["release", "split", "status"])


def by_status(clips: pa.Table) -> list[dict[str, Any]]:
    """Return a row for each split: release, split, and the number of clips for each of STATUSES."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in by_split(clips).to_pylist():
        empty = {"release": row["release"], "split": row["split"], **dict.fromkeys(STATUSES, 0)}
        rows.setdefault((row["release"], row["split"]), empty)[row["status"]] = row["clips"]
    return list(rows.values())


def by_reason(clips: pa.Table) -> pa.Table:
    """Return the number of annotated clips that are not present: columns release, split, status, reason, clips.

    The reason of a missing clip is its detail, as of the download ledger. The twelve most frequent ones are named.
    """
    bad = annotated(clips, "release", "split", "status", "detail")
    bad = bad.filter(pc.not_equal(bad["status"], "present"))
    detail = pc.fill_null(bad["detail"], "")
    is_told = pc.and_(pc.equal(bad["status"], "missing"), pc.not_equal(detail, ""))
    bad = bad.append_column("reason", pc.if_else(is_told, detail, bad["status"]))
    return _frequent(_counted(bad, ["release", "split", "status", "reason"]), "reason")


def by_class(clips: pa.Table) -> pa.Table:
    """Return the number of clips by class: columns release, split, label, annotated, present."""
    known = annotated(clips, "release", "split", "label", "status")
    known = known.filter(pc.is_valid(known["label"]))
    present = pc.cast(pc.equal(known["status"], "present"), pa.int64())
    grouped = known.append_column("present", present).group_by(["release", "split", "label"])
    table = grouped.aggregate([([], "count_all"), ("present", "sum")])
    table = table.rename_columns(["release", "split", "label", "annotated", "present"])
    return _in_order(table, ["label"])


def distribution(clips: pa.Table, measure: str) -> pa.Table:
    """Return a histogram of a measure of the clips that have it: columns split, low, high, clips.

    The 40 bins are equally wide and reach from the 0.5th to the 99.5th percentile; the first and the last hold the
    clips beyond. `high` belongs to the next bin.

    Args:
        clips: table of clips.
        measure: one of MEASURES.
    """
    values = _measure(clips, measure)
    known = np.isfinite(values)
    columns: dict[str, list[object]] = {"split": [], "low": [], "high": [], "clips": []}
    if known.any():
        low, high = np.percentile(values[known], [0.5, 99.5])
        edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
        for split in SPLITS:
            chosen = values[known & _is(clips, split=split)]
            counts, _ = np.histogram(np.clip(chosen, edges[0], edges[-1]), _BINS, (edges[0], edges[-1]))
            for start, end, count in zip(edges[:-1], edges[1:], counts, strict=True):
                if count:
                    for name, value in zip(columns, (split, float(start), float(end), int(count)), strict=True):
                        columns[name].append(value)
    schema = pa.schema([("split", pa.string()), ("low", pa.float64()), ("high", pa.float64()), ("clips", pa.int64())])
    return pa.table(columns, schema=schema)


def by_value(clips: pa.Table, column: str) -> pa.Table:
    """Return the number of clips by the value of a column: columns split, value, clips.

    Clips without a value do not count; the twelve most frequent values are named.

    Args:
        clips: table of clips.
        column: a column of the table, or "resolution": width x height.
    """
    names = ["width", "height"] if column == "resolution" else [column]
    counted = _counted(clips.select(["split", *names]).drop_null(), ["split", *names])
    texts = [pc.round(counted[name], _DECIMALS[name]) if name in _DECIMALS else counted[name] for name in names]
    values = pc.binary_join_element_wise(*(pc.cast(text, pa.string()) for text in texts), "x")
    table = pa.table({"split": counted["split"], "value": values, "clips": counted["clips"]})
    return _frequent(table, "value")


def shared_videos(clips: pa.Table) -> pa.Table:
    """Return the number of videos that two splits share, each pair twice: columns a, b, videos.

    A split is named "release split"; on the diagonal is the number of its videos.
    """
    groups, count = _videos(clips)
    names = [f"{release} {split}" for release, split in groups]
    has = np.zeros((len(names), count), bool)
    for number, videos in enumerate(groups.values()):
        has[number, videos] = True
    pairs = [(a, b) for a in range(len(names)) for b in range(len(names))]
    columns = {
        "a": [names[a] for a, _ in pairs],
        "b": [names[b] for _, b in pairs],
        "videos": [np.count_nonzero(has[a] & has[b]) for a, b in pairs],
    }
    return pa.table(columns, schema=pa.schema([("a", pa.string()), ("b", pa.string()), ("videos", pa.int64())]))


def clips_per_video(clips: pa.Table) -> pa.Table:
    """Return the number of videos by their number of clips: columns release, split, clips, videos.

    Kinetics was collected with one clip per video; some hundred videos have two.
    """
    groups, _ = _videos(clips)
    rows = []
    for (release, split), videos in groups.items():
        number = np.bincount(np.bincount(videos))  # of videos, by number of clips
        rows += [(release, split, clips, int(number[clips])) for clips in np.flatnonzero(number[1:]) + 1]
    columns = zip(*rows, strict=True) if rows else [[]] * 4
    types = {"release": pa.string(), "split": pa.string(), "clips": pa.int64(), "videos": pa.int64()}
    arrays = [pa.array(values, kind) for values, kind in zip(columns, types.values(), strict=True)]
    return pa.table(arrays, names=list(types))


def segment_lengths(clips: pa.Table) -> pa.Table:
    """Return the number of annotated clips by the length of their segment: columns release, split, seconds, clips."""
    known = annotated(clips, "release", "split", "time_start", "time_end")
    seconds = pc.round(pc.subtract(known["time_end"], known["time_start"]), 2)
    return _counted(known.append_column("seconds", seconds), ["release", "split", "seconds"])


def problems(clips: pa.Table) -> pa.Table:
    """Return the annotated clips that are not present: columns release, split, clip, label, status, detail, path."""
    known = annotated(clips)
    bad = known.filter(pc.not_equal(known["status"], "present"))
    return _in_order(bad.select(["release", "split", "clip", "label", "status", "detail", "path"]), ["label", "clip"])


def with_metadata(clips: pa.Table, metadata: pa.Table) -> pa.Table:
    """Return the clips with the other columns of a table of the user's, null where it has no row.

    Args:
        clips: table of clips.
        metadata: has `youtube_id`, may have `time_start` and `time_end`, and has a row for each key.

    Raises:
        ValueError: there is no `youtube_id`, no other column, a column that clips have, or a key twice.
    """
    keys = [name for name in ("youtube_id", "time_start", "time_end") if name in metadata.column_names]
    others = [name for name in metadata.column_names if name not in keys]
    if "youtube_id" not in keys or not others:
        raise ValueError("metadata: needs the column youtube_id and another one, such as country")
    if taken := [name for name in others if name in clips.column_names]:
        raise ValueError(f"metadata: rename its column {taken[0]}, which clips have already")
    metadata = pa.table(
        {name: metadata[name].cast(clips.schema.field(name).type) for name in keys}
        | {name: metadata[name] for name in others}
    )
    if len(metadata.group_by(keys).aggregate([])) < len(metadata):
        raise ValueError(f"metadata: has two rows with the same {', '.join(keys)}")
    row = pa.array(range(len(clips)), pa.int64())
    order = clips.select(keys).append_column("_row", row)
    joined = order.join(metadata, keys, join_type="left outer").sort_by("_row")
    for name in others:
        clips = clips.append_column(name, joined[name])
    return clips


def _frequent(counted: pa.Table, column: str) -> pa.Table:
    """Return counts with "other" in place of all but the twelve most frequent values of the last but one column."""
    sums = counted.group_by(column, use_threads=False).aggregate([("clips", "sum")])
    shown = sums.sort_by([("clips_sum", "descending")])[column][:_SHOWN_VALUES]
    values = pc.if_else(pc.is_in(counted[column], shown), counted[column], _OTHERS)
    names = counted.column_names
    named = counted.set_column(names.index(column), column, values)
    summed = named.group_by(names[:-1], use_threads=False).aggregate([("clips", "sum")]).rename_columns(names)
    return _in_order(summed, [name for name in names[:-1] if name not in ("release", "split")])


def _measure(clips: pa.Table, measure: str) -> np.ndarray:
    """Return a measure as float64, NaN where it is unknown."""

    def numbers(name: str) -> np.ndarray:
        return np.asarray(pc.fill_null(pc.cast(clips[name], pa.float64()), np.nan).to_numpy())

    if measure != "bitrate":
        return numbers(measure)
    with np.errstate(divide="ignore", invalid="ignore"):
        return numbers("bytes") * 8 / numbers("duration")


def _is(clips: pa.Table, **values: str) -> np.ndarray:
    """Return a mask of the clips that have these values."""
    mask = np.ones(len(clips), bool)
    for name, value in values.items():
        mask &= pc.fill_null(pc.equal(clips[name], value), False).to_numpy()
    return mask


def _videos(clips: pa.Table) -> tuple[dict[tuple[str, str], np.ndarray], int]:
    """Return numbers of the videos of the annotated clips, for each release and split, and the number of all videos."""
    known = annotated(clips, "release", "split", "youtube_id")
    known = known.filter(pc.is_valid(known["youtube_id"]))
    ids = known["youtube_id"].combine_chunks().dictionary_encode()
    numbers = ids.indices.to_numpy(zero_copy_only=False)
    groups = _in_order(known.group_by(["release", "split"]).aggregate([]), []).to_pylist()
    return {(one["release"], one["split"]): numbers[_is(known, **one)] for one in groups}, len(ids.dictionary)


def _counted(table: pa.Table, columns: Sequence[str], what: str = "clips") -> pa.Table:
    """Return the number of rows by the values of columns."""
    counted = table.group_by(list(columns)).aggregate([([], "count_all")]).rename_columns([*columns, what])
    return _in_order(counted, [name for name in columns if name not in ("release", "split")])


def _in_order(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Sort rows by release, by split in the usual order, then by columns."""
    place = pc.index_in(table["split"], pa.array(SPLITS))
    keys = [(name, "ascending") for name in ("release", "_split", *columns) if name in (*table.column_names, "_split")]
    return table.append_column("_split", place).sort_by(keys).drop_columns(["_split"])
