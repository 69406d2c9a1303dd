"""VideoFolder of `datasets`: `train/00000-0/CLIP.mp4` and `train/metadata.parquet`."""

import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

from kinetics_tools.conversion.formats.base import Format, Row, put, row_of
from kinetics_tools.conversion.source import Part, SourceClip
from kinetics_tools.preparation import DroppedClip, prepared_features

_FOLDER_FILES = 10_000


class VideoFolderFormat(Format):
    """Directory for `load_dataset("videofolder", data_dir=...)`, with at most 10,000 files in each directory."""

    def write(self, part: Part, clips: Iterable[SourceClip], drop: Callable[[DroppedClip], Any]) -> list[Row]:
        """Write a file per clip."""
        rows = []
        for number, clip in enumerate(clips):
            path = f"{part.number:05d}-{number // _FOLDER_FILES}/{clip.file_name}"
            put(self.out / part.split / path, clip.content)
            rows.append(row_of(clip, file_name=path, **clip.keys, **clip.measured))
        return rows

    def finish(self, split: str, rows: Sequence[Sequence[Row]]) -> None:
        """Write the metadata. Its schema has the features, with the names of the classes."""
        table = [row for part in rows for row in part]
        columns = {name: one for name, one in prepared_features(self.release).items() if name in table[0]}
        features = datasets.Features({"file_name": datasets.Value("string"), **columns})
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(table, schema=features.arrow_schema), file)
        put(self.out / split / "metadata.parquet", file.getvalue())
