"""Parquet shards, written row by row. The footer reports each clip that was dropped.

The settings are those of `datasets` for columns of files. Bytes are plain and uncompressed, because video is already
compressed. There is a page index, and chunks are content-defined, so that stores with deduplication transfer only new
ones.
"""

import io
import json
import mmap
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from types import TracebackType
from typing import Any, BinaryIO

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from kinetics_tools.io import parse_json
from kinetics_tools.preparation.clip import DroppedClip, PreparedClip
from kinetics_tools.preparation.extra_columns import ExtraColumns
from kinetics_tools.releases import clip_features

# A streaming reader holds one row group per worker, so they are smaller than the 100 MB of `datasets`. Arrow prefetches
# as many as fit into 32 MiB, and fsspec reads 5 MiB ahead. With 24 MiB that is one group, and below the 32 MiB from
# which glibc maps new memory for each allocation, which costs a tenth of the speed.
_ROW_GROUP_BYTES = 24 << 20
_CHUNKS = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}
FOOTER_KEY = "kinetics"
"""Key of the shard report in the metadata of a Parquet file."""
FOOTER_BYTES = 1 << 16
"""Number of bytes to read first from the end of a shard; most footers are smaller."""
FORMAT = {"format": 1, "row_group_bytes": _ROW_GROUP_BYTES, "chunks": _CHUNKS}
"""Settings that decide the bytes of a shard besides its clips and options."""


@dataclass(frozen=True)
class MeasuredColumn:
    """Column that is measured on a prepared clip, with its line in the dataset card."""

    name: str
    dtype: str
    description: str
    value: Callable[[PreparedClip], Any]


# Raise FORMAT["format"] with every change: it changes the bytes of shards.
_FILES = (datasets.Video, datasets.Audio, datasets.Image)
MEASURED = (
    MeasuredColumn("duration", "float32", "duration of this clip in seconds", attrgetter("info.duration_seconds")),
    MeasuredColumn("fps", "float32", "frames per second of this clip", attrgetter("info.fps")),
    MeasuredColumn("num_frames", "int32", "number of frames of this clip", attrgetter("info.num_frames")),
    MeasuredColumn("width", "int32", "width of this clip in pixels, as stored", attrgetter("info.width")),
    MeasuredColumn("height", "int32", "height of this clip in pixels, as stored", attrgetter("info.height")),
    MeasuredColumn("has_audio", "bool", "true if the clip has sound", attrgetter("info.has_audio")),
)


def prepared_features(release: str, extra: ExtraColumns = ExtraColumns()) -> datasets.Features:  # noqa: B008, frozen
    """Return the columns of a prepared clip: those of an annotated clip, `MEASURED`, and the extra ones."""
    measured = {column.name: datasets.Value(column.dtype) for column in MEASURED}
    return extra.features({**clip_features(release), **measured})


def clip_row(keys: Mapping[str, Any], clip: PreparedClip) -> dict[str, Any]:
    """Return a row of `prepared_features`, given the label, id and segment of a clip and the clip with its bytes."""
    return {
        "video": {"bytes": clip.content, "path": clip.file_name},
        **clip.extra,
        **{name: keys[name] for name in ("label", "youtube_id", "time_start", "time_end")},
        **{column.name: column.value(clip) for column in MEASURED},
    }


@dataclass(frozen=True, slots=True)
class ShardReport:
    """Counts of one shard, stored in its footer.

    Attributes:
        clips: number of annotated clips: `rows` of them are written, the others dropped.
        bytes_in, bytes_out: size of the written clips before and after preparation.
        seconds: duration of the written clips.
        made_with: library -> version; empty in shards of early releases.
        per_class: number of rows of each class, in the order of labels; None in shards of early releases.
    """

    fingerprint: str
    clips: int
    rows: int
    bytes_in: int
    bytes_out: int
    seconds: float
    dropped: tuple[DroppedClip, ...]
    made_with: Mapping[str, str] = field(default_factory=dict)
    per_class: tuple[int, ...] | None = None


DROPPED_SHAPE = {"name": str, "reason": str, "detail": (str, None), "size": (int, None)}
"""Shape of a `DroppedClip` in JSON, see `check_shape`."""
_REPORT_SHAPE = {
    "fingerprint": str,
    **dict.fromkeys(("clips", "rows", "bytes_in", "bytes_out"), int),
    "seconds": float,
    "dropped": [DROPPED_SHAPE],
    "made_with": ({str: str}, None),
    "per_class": ([int], None),
}


class _Sink:
    """File for Arrow that keeps an error of a write: Arrow aborts the process for one within content-defined chunks."""

    closed = False

    def __init__(self, file: BinaryIO):
        self._file = file
        self._error: BaseException | None = None

    def write(self, data: Any) -> int:
        if self._error is None:
            try:
                self._file.write(data)
            except BaseException as error:  # `check` raises it
                self._error = error
        return len(data)

    def flush(self) -> None:
        """Do nothing: the owner of the file flushes it."""

    def check(self) -> None:
        """Raise the first error of a write."""
        if self._error is not None:
            raise self._error


class ShardWriter:
    """Writer of rows to `file`, which needs only `write`. Holds one row group of 24 MiB in memory."""

    def __init__(self, file: BinaryIO, features: datasets.Features):
        self._schema = features.arrow_schema
        files = {name for name, feature in features.items() if isinstance(feature, _FILES)}
        leaves = {
            f"{field.name}.{leaf.name}" if leaf else field.name: field.name in files
            for field in self._schema
            for leaf in (field.type if pa.types.is_struct(field.type) else [None])
        }
        self._sink = _Sink(file)
        self._writer = pq.ParquetWriter(
            pa.PythonFile(self._sink, mode="w"),
            self._schema,
            compression={leaf: "none" if is_file else "snappy" for leaf, is_file in leaves.items()},
            use_dictionary=[leaf for leaf, is_file in leaves.items() if not is_file],
            column_encoding={leaf: "PLAIN" for leaf, is_file in leaves.items() if is_file},
            write_page_index=True,
            use_content_defined_chunking=_CHUNKS,
        )
        # One buffer for all row groups, outside of the heap: new ones would leave holes there, and clips that are
        # joined at the end are held twice.
        self._content = mmap.mmap(-1, _ROW_GROUP_BYTES)
        self._new_group()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            self._flush()
        self._writer.close()
        if error is None:
            self._sink.check()

    def add(self, row: Mapping[str, Any]) -> int:
        """Add a row, whose "video" has "bytes" and "path". Return the size of video and audio in bytes."""
        size = sum(len(row[name]["bytes"]) for name in ("video", "audio") if row.get(name))
        if self._rows and self._pending + size > _ROW_GROUP_BYTES:
            self._flush()
        content = row["video"]["bytes"]
        if len(content) > len(self._content):  # it is the first of its group
            self._content = mmap.mmap(-1, len(content))
        start = self._ends[-1]
        self._ends.append(start + len(content))
        self._content[start : self._ends[-1]] = content
        self._rows.append({**row, "video": row["video"]["path"]})
        self._pending += size
        return size

    def report(self, report: ShardReport) -> None:
        """Put the report into the footer. Call this last."""
        # `datasets` looks for the second key.
        metadata = {FOOTER_KEY: json.dumps(asdict(report)), "content_defined_chunking": json.dumps(_CHUNKS)}
        self._writer.add_key_value_metadata(metadata)

    def _new_group(self) -> None:
        self._rows: list[Mapping[str, Any]] = []  # "video" is the path of its file
        self._ends = [0]  # of the videos in the buffer
        self._pending = 0  # bytes of video and audio

    def _flush(self) -> None:
        if self._rows:
            arrays = [
                self._videos()
                if field.name == "video"
                else pa.array([row[field.name] for row in self._rows], field.type)
                for field in self._schema
            ]
            table = pa.table(arrays, schema=self._schema)
            self._new_group()
            self._writer.write_table(table)
            self._sink.check()

    def _videos(self) -> pa.StructArray:
        """Return the column of videos without a copy of their bytes; Arrow's builders make several."""
        offsets = pa.array(self._ends, pa.int32()).buffers()[1]
        buffers = [None, offsets, pa.py_buffer(self._content)]
        contents = pa.BinaryArray.from_buffers(pa.binary(), len(self._rows), buffers)
        return pa.StructArray.from_arrays([contents, pa.array([row["video"] for row in self._rows])], ["bytes", "path"])


def read_report(file: BinaryIO) -> ShardReport | None:
    """Return the report of a finished shard; None for any other, truncated or corrupt file."""
    # Read before it is parsed: Arrow raises OSError for a corrupt footer, like a disk or store for a failed read.
    footer = read_footer(file, file.seek(0, os.SEEK_END))
    try:
        metadata = pq.read_metadata(io.BytesIO(footer)).metadata or {}
        values = parse_json(metadata.get(FOOTER_KEY.encode(), b""), _REPORT_SHAPE)
    except (pa.ArrowException, OSError, ValueError):
        return None
    # Fields of later releases are ignored.
    dropped = (
        DroppedClip(one["name"], one["reason"], one.get("detail") or "", one.get("size")) for one in values["dropped"]
    )
    known = {name: values.get(name) for name in _REPORT_SHAPE}
    per_class = None if known["per_class"] is None else tuple(known["per_class"])
    known |= {"dropped": tuple(dropped), "made_with": known["made_with"] or {}, "per_class": per_class}
    return ShardReport(**known)


def read_footer(file: BinaryIO, size: int) -> bytes:
    """Return the footer of a Parquet file of `size` bytes, which describes each row group.

    For any other file, return part of its end.
    """
    file.seek(max(0, size - FOOTER_BYTES))  # most footers take one request
    tail = file.read()
    length = int.from_bytes(tail[-8:-4], "little") + 8
    if len(tail) < length <= size:
        file.seek(size - length)
        tail = file.read()
    return tail[-length:]
