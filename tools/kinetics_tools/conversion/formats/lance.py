"""Lance: a dataset `train.lance` per split, whose column of videos is read lazily."""

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Any

import pyarrow as pa

from kinetics_tools.conversion.formats.base import Format, Row, label_name, row_of
from kinetics_tools.conversion.source import Part, SourceClip
from kinetics_tools.preparation import DroppedClip, prepared_features

_VERSION = "2.2"  # of the files, the first one with blobs
_BATCH_CLIPS = 16


class LanceFormat(Format):
    """Datasets with a blob column, written by pylance. A part is a fragment."""

    library = "lance"
    install = "pylance"

    def write(self, part: Part, clips: Iterable[SourceClip], drop: Callable[[DroppedClip], Any]) -> list[Row]:
        """Write the fragments of a part. They belong to the dataset when `finish` commits them."""
        from lance.fragment import write_fragments

        stream = iter(clips)
        first = next(stream, None)
        if first is None:
            return []
        schema = self._schema(first.measured)
        rows: list[Row] = []

        def batches() -> Iterator[pa.RecordBatch]:
            left = itertools.chain([first], stream)
            while some := list(itertools.islice(left, _BATCH_CLIPS)):
                rows.extend(map(row_of, some))
                yield self._batch(some, schema)

        reader = pa.RecordBatchReader.from_batches(schema, batches())
        uri = str(self.out / f"{part.split}.lance")
        fragments = write_fragments(reader, uri, schema, mode="overwrite", data_storage_version=_VERSION)
        rows[0] |= {"measured": list(first.measured), "fragments": [one.to_json() for one in fragments]}
        return rows

    def _schema(self, measured: Iterable[str]) -> pa.Schema:
        from lance import blob_field

        known = prepared_features(self.release).arrow_schema
        names = ["label", "youtube_id", "time_start", "time_end", *measured]
        texts = [pa.field(name, pa.string()) for name in ("file_name", "label_name")]
        return pa.schema([blob_field("video"), *texts, *(pa.field(name, known.field(name).type) for name in names)])

    def _batch(self, clips: Sequence[SourceClip], schema: pa.Schema) -> pa.RecordBatch:
        from lance import blob_array

        values = [
            {
                "file_name": clip.file_name,
                "label_name": label_name(clip, self.release) or None,
                "label": clip.label,
                **clip.keys,
                **clip.measured,
            }
            for clip in clips
        ]
        columns = [pa.array([one[field.name] for one in values], field.type) for field in list(schema)[1:]]
        return pa.record_batch([blob_array([clip.content for clip in clips]), *columns], schema=schema)

    def finish(self, split: str, rows: Sequence[Sequence[Row]]) -> None:
        """Commit the fragments, and remove those of killed runs."""
        from lance import LanceDataset, LanceOperation
        from lance.fragment import FragmentMetadata

        path = self.out / f"{split}.lance"
        firsts = [part[0] for part in rows if part]
        dataset = LanceDataset(str(path)) if (path / "_versions").exists() else None
        if dataset is None or dataset.count_rows() != sum(map(len, rows)):
            fragments = [FragmentMetadata.from_json(json.dumps(one)) for row in firsts for one in row["fragments"]]
            dataset = LanceDataset.commit(
                str(path), LanceOperation.Overwrite(self._schema(firsts[0]["measured"]), fragments)
            )
        dataset.cleanup_old_versions(older_than=timedelta(0), delete_unverified=True)
