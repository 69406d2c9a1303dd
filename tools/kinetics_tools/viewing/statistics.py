"""Figures of a table of clips: pure functions of the columns in `CLIPS`.

Each takes the table and returns a small one, the same that a chart or a page shows. A clip is annotated if its status
is not "unexpected".
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.releases import SPLITS

__all__ = [
    "MEASURES",
    "annotated",
    "by_class",
    "by_reason",
    "by_split",
    "by_value",
    "clips_per_video",
    "distribution",
    "problems",
    "segment_lengths",
    "shared_videos",
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


def by_split(clips: pa.Table) -> pa.Table:
    """Return the number of clips by release, split and status: columns release, split, status, clips."""
    return _counted(clips, ["release", "split", "status"])


def by_reason(clips: pa.Table) -> pa.Table:
    """Return the number of annotated clips that are not present: columns release, split, status, reason, clips.

    The reason of a missing clip is its detail, as of the download ledger. The twelve most frequent ones are named.
    """
    bad = annotated(clips, "release", "split", "status", "detail")
    bad = bad.filter(pc.not_equal(bad["status"], "present"))
    detail = pc.fill_null(bad["detail"], "")
    is_told = pc.and_(pc.equal(bad["status"], "missing"), pc.not_equal(detail, ""))
    reason = pc.if_else(is_told, detail, bad["status"])
    return _counted(bad.append_column("reason", _frequent(reason)), ["release", "split", "status", "reason"])


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
    splits = clips["split"].to_numpy(zero_copy_only=False)[known]
    values = values[known]
    columns: dict[str, list[object]] = {"split": [], "low": [], "high": [], "clips": []}
    if values.size:
        low, high = np.percentile(values, [0.5, 99.5])
        edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
        for split in (name for name in SPLITS if name in splits):
            counts, _ = np.histogram(np.clip(values[splits == split], edges[0], edges[-1]), edges)
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
    if column == "resolution":
        sizes = [pc.cast(clips[name], pa.string()) for name in ("width", "height")]
        values = pc.binary_join_element_wise(*sizes, "x")
    elif column in _DECIMALS:
        values = pc.cast(pc.round(clips[column], _DECIMALS[column]), pa.string())
    else:
        values = pc.cast(clips[column], pa.string())
    table = pa.table({"split": clips["split"], "value": values})
    table = table.filter(pc.is_valid(table["value"]))
    return _counted(table.set_column(1, "value", _frequent(table["value"])), ["split", "value"])


def shared_videos(clips: pa.Table) -> pa.Table:
    """Return the number of videos that two splits share, each pair twice: columns a, b, videos.

    A split is named "release split"; on the diagonal is the number of its videos.
    """
    known = annotated(clips, "release", "split", "youtube_id")
    videos = known["youtube_id"].combine_chunks().dictionary_encode().indices.to_numpy(zero_copy_only=False)
    groups = pc.binary_join_element_wise(known["release"], known["split"], " ")
    names = _sorted_groups(known)
    sets = [np.unique(videos[pc.equal(groups, name).to_numpy(zero_copy_only=False)]) for name in names]
    pairs = [(a, b) for a in range(len(names)) for b in range(len(names))]
    columns = {
        "a": [names[a] for a, _ in pairs],
        "b": [names[b] for _, b in pairs],
        "videos": [len(np.intersect1d(sets[a], sets[b], assume_unique=True)) for a, b in pairs],
    }
    return pa.table(columns, schema=pa.schema([("a", pa.string()), ("b", pa.string()), ("videos", pa.int64())]))


def clips_per_video(clips: pa.Table) -> pa.Table:
    """Return the number of videos by their number of clips: columns release, split, clips, videos.

    Kinetics was collected with one clip per video; some hundred videos have two.
    """
    known = annotated(clips, "release", "split", "youtube_id")
    each = known.group_by(["release", "split", "youtube_id"]).aggregate([([], "count_all")])
    each = each.rename_columns(["release", "split", "youtube_id", "clips"])
    return _counted(each, ["release", "split", "clips"], "videos")


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


def _frequent(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return texts with "other" in place of all but the twelve most frequent ones."""
    names, counts = pc.value_counts(values).flatten()
    shown = names.take(pc.sort_indices(counts, sort_keys=[("", "descending")]))[:_SHOWN_VALUES]
    return pc.if_else(pc.is_in(values, shown), values, _OTHERS)


def _measure(clips: pa.Table, measure: str) -> np.ndarray:
    """Return a measure as float64, NaN where it is unknown."""

    def numbers(name: str) -> np.ndarray:
        return np.asarray(pc.fill_null(pc.cast(clips[name], pa.float64()), np.nan).to_numpy())

    if measure != "bitrate":
        return numbers(measure)
    with np.errstate(divide="ignore", invalid="ignore"):
        return numbers("bytes") * 8 / numbers("duration")


def _sorted_groups(clips: pa.Table) -> list[str]:
    groups = _in_order(clips.group_by(["release", "split"]).aggregate([]), [])
    return [f"{row['release']} {row['split']}" for row in groups.to_pylist()]


def _counted(table: pa.Table, columns: Sequence[str], what: str = "clips") -> pa.Table:
    """Return the number of rows by the values of columns."""
    counted = table.group_by(list(columns)).aggregate([([], "count_all")]).rename_columns([*columns, what])
    return _in_order(counted, [name for name in columns if name not in ("release", "split")])


def _in_order(table: pa.Table, columns: Sequence[str]) -> pa.Table:
    """Sort rows by release, by split in the usual order, then by columns."""
    place = pc.index_in(table["split"], pa.array(SPLITS))
    keys = [(name, "ascending") for name in ("release", "_split", *columns) if name in (*table.column_names, "_split")]
    return table.append_column("_split", place).sort_by(keys).drop_columns(["_split"])
