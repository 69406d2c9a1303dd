"""One Parquet file of clips: written row by row, with a report in its footer of what became of each clip.

The settings are those of `datasets` for columns of files: bytes plain and uncompressed, since video is compressed
already; a page index; and chunks cut by content, so that a store that keeps equal chunks once sends only new ones.
"""

import io
import itertools
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, BinaryIO

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from kinetics_tools.preparation.clip import Dropped, Taken
from kinetics_tools.releases import clip_features

__all__ = [
    "FOOTER_BYTES",
    "FOOTER_KEY",
    "FORMAT",
    "ShardReport",
    "ShardWriter",
    "clip_row",
    "prepared_features",
    "read_footer",
    "read_report",
]

# A reader of streams holds a row group for each worker, so they are smaller than the 100 MB of `datasets`. Arrow asks
# for as many of them as 32 MiB hold, and fsspec for 5 MiB more than it is asked for. Of 24 MiB that is one group, and
# under the 32 MiB from which on glibc takes new memory from the system each time, which costs a tenth of the speed.
_ROW_GROUP_BYTES = 24 << 20
_CHUNKS = {"min_chunk_size": 256 * 1024, "max_chunk_size": 1024 * 1024, "norm_level": 0}
FOOTER_KEY = "kinetics"
FOOTER_BYTES = 1 << 16  # of most footers more than all

# What decides the bytes of a file but for its clips and options.
FORMAT = {"format": 1, "row_group_bytes": _ROW_GROUP_BYTES, "chunks": _CHUNKS}


def prepared_features(release: str) -> datasets.Features:
    """The columns of a prepared clip. `duration` is in seconds; sizes are in pixels, as the file stores its frames."""
    measured = {
        "duration": datasets.Value("float32"),
        "fps": datasets.Value("float32"),
        "num_frames": datasets.Value("int32"),
        "width": datasets.Value("int32"),
        "height": datasets.Value("int32"),
        "has_audio": datasets.Value("bool"),
    }
    return datasets.Features({**clip_features(release), **measured})


def clip_row(keys: Mapping[str, Any], taken: Taken, content: bytes) -> dict[str, Any]:
    """A row of `prepared_features`: a clip's label, id and segment, `content`, and what was measured of it."""
    info = taken.info
    return {
        "video": {"bytes": content, "path": taken.file_name},
        **{name: keys[name] for name in ("label", "youtube_id", "time_start", "time_end")},
        "duration": info.duration_seconds,
        "fps": info.fps,
        "num_frames": info.num_frames,
        "width": info.width,
        "height": info.height,
        "has_audio": info.has_audio,
    }


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What became of the annotated clips of a shard: so many `clips`, `rows` of them written, the others dropped.

    `bytes_in` and `bytes_out` are the lengths of the written clips' files before and after, `seconds` is how long they
    are shown.
    """

    fingerprint: str
    clips: int
    rows: int
    bytes_in: int
    bytes_out: int
    seconds: float
    dropped: tuple[Dropped, ...]


class ShardWriter:
    """Writes rows to `file`, which needs `write` only. The memory that it takes is that of a row group, 24 MiB."""

    def __init__(self, file: BinaryIO, features: datasets.Features):
        self._schema = features.arrow_schema
        files = {name for name, feature in features.items() if isinstance(feature, datasets.Video)}
        leaves = {
            f"{field.name}.{leaf.name}" if leaf else field.name: field.name in files
            for field in self._schema
            for leaf in (field.type if pa.types.is_struct(field.type) else [None])
        }
        self._writer = pq.ParquetWriter(
            file,
            self._schema,
            compression={leaf: "none" if is_file else "snappy" for leaf, is_file in leaves.items()},
            use_dictionary=[leaf for leaf, is_file in leaves.items() if not is_file],
            column_encoding={leaf: "PLAIN" for leaf, is_file in leaves.items() if is_file},
            write_page_index=True,
            use_content_defined_chunking=_CHUNKS,
        )
        self._rows: list[Mapping[str, Any]] = []
        self._pending = 0

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None:
            self._flush()
        self._writer.close()

    def add(self, row: Mapping[str, Any]) -> None:
        """Adds a row: the features' names, and of `video` "bytes" and "path"."""
        size = len(row["video"]["bytes"])
        if self._rows and self._pending + size > _ROW_GROUP_BYTES:
            self._flush()
        self._rows.append(row)
        self._pending += size

    def report(self, report: ShardReport) -> None:
        """Puts the report into the footer; call it last."""
        # `datasets` looks for the second.
        metadata = {FOOTER_KEY: json.dumps(asdict(report)), "content_defined_chunking": json.dumps(_CHUNKS)}
        self._writer.add_key_value_metadata(metadata)

    def _flush(self) -> None:
        if self._rows:
            rows, self._rows, self._pending = self._rows, [], 0
            columns = {name: [row[name] for row in rows] for name in self._schema.names}
            del rows
            table = pa.table(
                [_files(columns.pop("video"))]
                + [pa.array(columns[field.name], field.type) for field in self._schema if field.name != "video"],
                schema=self._schema,
            )
            self._writer.write_table(table)


def _files(videos: list[Mapping[str, Any]]) -> pa.StructArray:
    """A column of files, with one copy of their bytes: builders of Arrow make several."""
    ends = itertools.accumulate((len(video["bytes"]) for video in videos), initial=0)
    offsets = pa.array(ends, pa.int32()).buffers()[1]
    content = pa.py_buffer(b"".join(video["bytes"] for video in videos))
    contents = pa.BinaryArray.from_buffers(pa.binary(), len(videos), [None, offsets, content])
    return pa.StructArray.from_arrays([contents, pa.array([video["path"] for video in videos])], ["bytes", "path"])


def read_report(file: BinaryIO) -> ShardReport | None:
    """The report of a finished file; None of one that is cut off or damaged, or that we did not write."""
    # Read before it is parsed: Arrow tells of a damaged footer by OSError, as a disk or a store does of its own faults.
    footer = read_footer(file, file.seek(0, os.SEEK_END))
    try:
        metadata = pq.read_metadata(io.BytesIO(footer)).metadata or {}
        values = json.loads(metadata[FOOTER_KEY.encode()])
        return ShardReport(**{**values, "dropped": tuple(Dropped(**one) for one in values["dropped"])})
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError):
        return None


def read_footer(file: BinaryIO, size: int) -> bytes:
    """The end of a Parquet file of so many bytes, which knows of each row group; of any other file some of its end."""
    file.seek(max(0, size - FOOTER_BYTES))  # one request brings most footers
    tail = file.read()
    length = int.from_bytes(tail[-8:-4], "little") + 8
    if len(tail) < length <= size:
        file.seek(size - length)
        tail = file.read()
    return tail[-length:]
