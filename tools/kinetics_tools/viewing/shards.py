"""Table of the clips of prepared shards, from their columns and the manifest. No video is read."""

import fnmatch
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kinetics_tools.annotations import Selection, annotation_file, clip_names, read_split
from kinetics_tools.errors import clip_reason, first_line
from kinetics_tools.io import Folder
from kinetics_tools.preparation import read_manifest
from kinetics_tools.releases import LABELS, SPLITS
from kinetics_tools.text import few, format_count
from kinetics_tools.verification.report import COLUMNS

CLIPS = pa.schema([("release", pa.string()), *COLUMNS, ("row", pa.int64())])
"""Columns of a table of clips: those of verify's CSV after the release, and the number of a clip's row in its shard."""
_READERS = 16  # threads that read shards; each waits for a disk or a server most of the time
_KEYS = ("label", "youtube_id", "time_start", "time_end")
_MEASURED = ("duration", "fps", "num_frames", "width", "height", "has_audio")


def read_prepared(folder: Folder, release: str, asked: Selection) -> tuple[pa.Table, list[str]]:
    """Return the clips of a release with the columns CLIPS, and a sentence for each split with unreadable shards.

    Args:
        folder: directory or URL of prepared shards.
        release: release to read.
        asked: its splits and annotations are used; annotations give missing clips their labels.

    Raises:
        ValueError: a split is not there, or the manifest is corrupt.
        OSError: the annotations cannot be read.
    """
    manifest = read_manifest(folder, release)["splits"]
    tables, problems = [], []
    for split in asked.splits or [split for split in SPLITS if split in manifest]:
        if split not in manifest:
            raise ValueError(f"{folder.url} has no split {split} of {release}; it has {', '.join(manifest) or 'none'}")
        entry = manifest[split]
        names = sorted(fnmatch.filter(folder.sizes(release), entry["files"].rpartition("/")[2]))
        names = [f"{release}/{name}" for name in names]
        with ThreadPoolExecutor(_READERS) as threads:
            found = dict(zip(names, threads.map(lambda name: _read_shard(folder, name), names), strict=True))
        read = {name: table for name, table in found.items() if isinstance(table, pa.Table)}
        bad = [f"{name}: {reason}" for name, reason in found.items() if isinstance(reason, str)]
        if absent := entry["shards"] - len(names):
            bad.append(f"{format_count(absent, 'shard')} missing")
        if bad:
            count = f"{entry['shards'] - len(read):,} of {format_count(entry['shards'], 'shard')}"
            problems.append(f"{count} of {release} {split} cannot be read ({few(bad)}); their clips are not counted")
        if read:
            status = "missing" if entry.get("content") == "annotations" else "present"
            tables.append(_written(release, split, read, status))
        tables.append(_dropped(release, split, entry, _labels(release, split, asked.annotations)))
    return pa.concat_tables(tables) if tables else CLIPS.empty_table(), problems


def _read_shard(folder: Folder, name: str) -> pa.Table | str:
    """Return the columns of a shard but for the videos, or the reason why it cannot be read."""
    try:
        with folder.open(name, read_ahead=False) as file, pq.ParquetFile(file, pre_buffer=not folder.is_local) as shard:
            table = shard.read(columns=[*_KEYS, *_MEASURED], use_threads=False)  # the shards are read in threads
            return table.replace_schema_metadata()
    except Exception as error:  # clients of stores have errors of their own
        return first_line(error)


def _written(release: str, split: str, shards: dict[str, pa.Table], status: str) -> pa.Table:
    """Return the clips in shards, given by name."""
    counts = [len(shard) for shard in shards.values()]
    table = pa.concat_tables(shards.values(), promote_options="default").combine_chunks()
    number = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    starts = np.cumsum([0, *counts[:-1]])
    labels = pa.array([*LABELS[release], None], pa.string())  # -1, no label, is the last
    label = pc.if_else(pc.less(table["label"], 0), len(labels) - 1, table["label"])
    columns = {
        "release": pa.repeat(release, len(table)),
        "split": pa.repeat(split, len(table)),
        "clip": clip_names(table),
        "label": labels.take(label),
        "status": pa.repeat(status, len(table)),
        "detail": pa.repeat("", len(table)),
        "path": pa.array(list(shards)).take(pa.array(number)),
        "row": pa.array(np.arange(len(table)) - starts[number]),
        **{name: table[name] for name in (*_KEYS[1:], *_MEASURED) if name in table.column_names},
    }
    return filled(columns, len(table), CLIPS)


def _dropped(release: str, split: str, entry: dict[str, Any], labels: dict[str, str | None]) -> pa.Table:
    """Return the annotated clips that no shard holds."""
    unusable = [
        (one["name"], "empty" if one["reason"] == "empty" else "unreadable", one) for one in entry.get("unusable", ())
    ]
    rows = [(name, "missing", "") for name in entry.get("absent", ())]
    rows += [(name, status, clip_reason(one["detail"] or one["reason"], name)) for name, status, one in unusable]
    names = [name for name, _, _ in rows]
    columns = {
        "release": pa.repeat(release, len(rows)),
        "split": pa.repeat(split, len(rows)),
        "clip": pa.array(names, pa.string()),
        "youtube_id": pa.array([name[:11] for name in names], pa.string()),
        "time_start": pa.array([float(name[12:18]) for name in names], pa.float32()),
        "time_end": pa.array([float(name[19:]) for name in names], pa.float32()),
        "label": pa.array([labels.get(name) for name in names], pa.string()),
        "status": pa.array([status for _, status, _ in rows], pa.string()),
        "detail": pa.array([detail for _, _, detail in rows], pa.string()),
    }
    return filled(columns, len(rows), CLIPS)


def _labels(release: str, split: str, annotations: str | None) -> dict[str, str | None]:
    """Return the label of each annotated clip, by name; nothing without annotations."""
    if annotations is None:
        return {}
    table = read_split(annotation_file(release, split, annotations=annotations), release, split)
    return dict(zip(clip_names(table).to_pylist(), label_names(table["label"], release), strict=True))


def label_names(labels: pa.ChunkedArray, release: str) -> list[str | None]:
    """Return the name of each class index, None for -1."""
    return [LABELS[release][index] if index >= 0 else None for index in labels.to_pylist()]


def filled(columns: dict[str, Any], count: int, schema: pa.Schema) -> pa.Table:
    """Return columns of `count` rows as a table with a schema, whose other columns are null."""
    arrays = [columns.get(field.name, pa.nulls(count, field.type)) for field in schema]
    return pa.table([array.cast(field.type) for array, field in zip(arrays, schema, strict=True)], schema=schema)
