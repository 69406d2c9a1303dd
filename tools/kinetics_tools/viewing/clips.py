"""One table of clips from any source: a clip directory, prepared shards, on the Hub too, or a CSV file of verify."""

import fnmatch
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from rich.console import Console

from kinetics_tools.annotations import Selection, annotation_file, clip_names, read_split
from kinetics_tools.errors import clip_reason
from kinetics_tools.io import Folder
from kinetics_tools.preparation import read_manifest
from kinetics_tools.releases import LABELS, RELEASES, SPLITS, source_first
from kinetics_tools.text import format_count
from kinetics_tools.verification import verify
from kinetics_tools.verification.report import COLUMNS

CLIPS = pa.schema([("release", pa.string()), *COLUMNS, ("row", pa.int64())])
"""Columns of a table of clips: those of verify's CSV after the release, and the number of a clip's row in its shard."""
_READERS = 16  # threads that read shards; each waits for a disk or a server most of the time
_KEYS = ("label", "youtube_id", "time_start", "time_end")
_MEASURED = ("duration", "fps", "num_frames", "width", "height", "has_audio")


@dataclass(frozen=True, repr=False)
class Clips:
    """Clips of a source.

    Attributes:
        source: path or URL as given.
        kind: "directory", "prepared" or "report".
        folder: directory or URL that holds the paths in the table, None for a report.
        table: one row for each annotated clip and each unexpected file, with the columns CLIPS. Unknown values are
            null: prepared shards do not tell the label of a missing clip, nor the bytes of each clip.
    """

    source: str
    kind: str
    folder: str | None
    table: pa.Table

    def __repr__(self) -> str:
        return f"Clips({self.source!r}, {self.kind}, {format_count(len(self.table), 'row')})"


def read_clips(
    source: str | os.PathLike[str],
    release: str | None = None,
    *,
    splits: Sequence[str] | None = None,
    annotations: str | None = None,
    workers: int | None = None,
    console: Console | None = None,
) -> Clips:
    """Return the clips of a source. The release may come first, as in other functions.

    Args:
        source: a clip directory, which `verify` checks; a directory or URL with prepared shards; "user/name" of a
            repository on the Hub with such shards; or the CSV file of `verify`. Of shards, no video is read.
        release: "400", "600", "700" or "700-2020"; None takes all releases of prepared shards.
        splits: splits to read; None for all.
        annotations: annotation directory, file or URL. It gives missing clips of prepared shards their labels.
        workers: number of processes for a clip directory; None for one per core.
        console: shows the progress of `verify`; None for the standard output.

    Raises:
        ValueError: `release` is needed or unknown, or the source is none of these.
        FileNotFoundError: the source does not exist.
    """
    source, release = source_first(source, release)
    asked = Selection(release=release or RELEASES[0], splits=splits, annotations=annotations)
    release = release and asked.release
    given = os.fspath(source)
    if given.lower().endswith(".csv"):
        return Clips(given, "report", None, _read_report(given, _needed(release, given), asked))
    folder = _prepared_folder(given)
    releases = [release] if release else RELEASES
    found = [name for name in releases if folder is not None and "prepare.json" in folder.sizes(name)]
    if folder is not None and found:
        tables = [_prepared(folder, name, asked, annotations) for name in found]
        return Clips(given, "prepared", folder.url, pa.concat_tables(tables))
    if folder is None or not folder.is_local:
        raise ValueError(
            f"{given}: has no shards of {release or 'any release'}; pass a directory from kinetics prepare"
        )
    name = _needed(release, given)
    report = verify(name, given, splits=splits, annotations=annotations, workers=workers, console=console)
    return Clips(given, "directory", folder.url, _with_release(report.clips, name))


def _needed(release: str | None, source: str) -> str:
    if release is None:
        raise ValueError(f"{source}: name the release of its clips, such as 700")
    return release


def _prepared_folder(source: str) -> Folder | None:
    """Return the folder at a path, at a URL, or of a repository USER/NAME on the Hub."""
    if "://" in source:
        return Folder(source)
    if os.path.isdir(os.path.expanduser(source)):
        return Folder(source)
    if source.count("/") == 1 and not source.startswith((".", "/", "~")):
        return Folder(f"hf://datasets/{source}")
    raise FileNotFoundError(f"{source} does not exist; pass a clip directory, prepared shards, or user/name of the Hub")


def _with_release(table: pa.Table, release: str) -> pa.Table:
    columns = {"release": pa.repeat(release, len(table)), "row": pa.nulls(len(table), pa.int64())}
    return pa.table([columns.get(name, table[name] if name in COLUMNS.names else None) for name in CLIPS.names], CLIPS)


def _read_report(path: str, release: str, asked: Selection) -> pa.Table:
    """Return the clips in a CSV file of verify."""
    options = pa.csv.ConvertOptions(
        column_types={**dict(zip(COLUMNS.names, COLUMNS.types, strict=True))}, strings_can_be_null=True
    )
    try:
        table = pa.csv.read_csv(path, convert_options=options).select(COLUMNS.names)
    except (pa.ArrowInvalid, KeyError) as error:
        raise ValueError(f"{path}: is not a CSV file of kinetics verify ({error})") from None
    if asked.splits:
        table = table.filter(pc.is_in(table["split"], pa.array(asked.splits)))
    return _with_release(table, release)


def _prepared(folder: Folder, release: str, asked: Selection, annotations: str | None) -> pa.Table:
    """Return the clips of a release from the columns of its shards and from its manifest."""
    manifest = read_manifest(folder, release)["splits"]
    parts: list[pa.Table] = []
    for split in asked.splits or [split for split in SPLITS if split in manifest]:
        if split not in manifest:
            raise ValueError(f"{folder.url} has no split {split} of {release}; it has {', '.join(manifest) or 'none'}")
        pattern = manifest[split]["files"].rpartition("/")[2]
        names = sorted(fnmatch.filter(folder.sizes(release), pattern))
        with ThreadPoolExecutor(_READERS) as threads:
            parts += threads.map(lambda name: _shard(folder, release, split, f"{release}/{name}"), names)  # noqa: B023
        parts.append(_dropped(release, split, manifest[split], _labels(release, split, annotations)))
    return pa.concat_tables(parts)


def _shard(folder: Folder, release: str, split: str, name: str) -> pa.Table:
    """Return the rows of a shard, without their videos."""
    with folder.open(name, read_ahead=False) as file, pq.ParquetFile(file, pre_buffer=True) as shard:
        table = shard.read(columns=["video.path", *_KEYS, *_MEASURED])
    count = len(table)
    names = pa.array([*LABELS[release], None], pa.string())  # -1, no label, is the last
    label = pc.if_else(pc.less(table["label"], 0), len(names) - 1, table["label"])
    columns = {
        "release": pa.repeat(release, count),
        "split": pa.repeat(split, count),
        "clip": pc.replace_substring_regex(pc.struct_field(table["video"], "path"), r"\.[^.]*$", ""),
        "label": names.take(label.combine_chunks()),
        "status": pa.repeat("present", count),
        "detail": pa.repeat("", count),
        "path": pa.repeat(name, count),
        "row": pa.array(range(count), pa.int64()),
        **{one: table[one] for one in (*_KEYS[1:], *_MEASURED)},
    }
    return _table(columns, count)


def _dropped(release: str, split: str, entry: dict[str, Any], labels: dict[str, str | None]) -> pa.Table:
    """Return the annotated clips that no shard holds."""
    unusable = [(one["name"], "empty" if one["reason"] == "empty" else "unreadable", one) for one in entry["unusable"]]
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
    return _table(columns, len(rows))


def _labels(release: str, split: str, annotations: str | None) -> dict[str, str | None]:
    """Return the label of each annotated clip, by name; nothing without annotations."""
    if annotations is None:
        return {}
    table = read_split(annotation_file(release, split, annotations=annotations), release, split)
    labels = (LABELS[release][index] if index >= 0 else None for index in table["label"].to_pylist())
    return dict(zip(clip_names(table).to_pylist(), labels, strict=True))


def _table(columns: dict[str, Any], count: int) -> pa.Table:
    arrays = [columns.get(field.name, pa.nulls(count, field.type)) for field in CLIPS]
    return pa.table([array.cast(field.type) for array, field in zip(arrays, CLIPS, strict=True)], schema=CLIPS)
