"""Clips as bytes in a dataset, instead of paths on this machine."""

from typing import Any

import datasets
import pyarrow as pa


def embed_bytes(ds: Any, *, batch_size: int = 32, num_proc: int | None = None) -> Any:
    """Return `ds` with the bytes of its clips in `video` instead of local paths, for `to_parquet`.

    `push_to_hub` does this itself from `datasets` 4.6 on; `Dataset.to_parquet` writes the paths in all releases.

    Args:
        ds: a `Dataset`, a stream (`IterableDataset`), or a dict of one of them by split.
        batch_size: number of clips in memory at a time.
        num_proc: number of processes; not for streams.
    """
    if isinstance(ds, dict):
        parts = {split: embed_bytes(part, batch_size=batch_size, num_proc=num_proc) for split, part in ds.items()}
        return type(ds)(parts)
    options = {"batched": True, "batch_size": batch_size, "features": ds.features}
    if isinstance(ds, datasets.Dataset):
        options |= {"num_proc": num_proc, "desc": "Embedding clips"}
    return ds.with_format("arrow").map(_embedded, **options).with_format(None)


def _embedded(table: pa.Table) -> pa.Table:
    videos = table["video"].to_pylist()
    for video in videos:
        if video["bytes"] is None:
            with open(video["path"], "rb") as file:
                video["bytes"] = file.read()
            video["path"] = video["path"].rpartition("/")[2]
    column = pa.array(videos, type=datasets.Video.pa_type)
    return table.set_column(table.column_names.index("video"), "video", column)
