"""What was published, read back as a reader would: the files, samples of their rows, and `load_dataset` itself."""

import gc
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import datasets
import huggingface_hub
import pyarrow.parquet as pq

from kinetics_tools.errors import PushError
from kinetics_tools.preparation.card import CARD_NAME, card_patterns, is_named
from kinetics_tools.publication.bucket import Bucket
from kinetics_tools.publication.folder import FolderRemote
from kinetics_tools.publication.hub import Repository
from kinetics_tools.publication.parts import Part, Publication
from kinetics_tools.publication.remote import Destination, State, retry_remote

__all__ = ["read_back"]

_SHARDS = 16  # of a split, of which a row is read; the footers of all are
_WORKERS = 8


def read_back(publication: Publication, destination: Destination) -> int:
    """Compares what is there with what was made, and returns how many rows were compared.

    Of each file the features and the number of rows; of a row in each of some files a hash of its video, with that of
    the local file where it is here; and that `load_dataset` yields, streaming, an example of each split.

    Raises PushError naming the file that differs.
    """
    state = retry_remote(destination.look)
    patterns = card_patterns(destination.read(CARD_NAME, state).decode()) or []
    named = [name for name in state.files if is_named(name, patterns)]
    compared = 0
    for part in publication.parts:
        reports = publication.reports(state, part)
        names = sorted(name for name in named if part.shard(name) is not None)
        if len(names) != len(reports):
            raise PushError(
                f"{destination.url} has {len(reports):,} files of {part.title}, and its card names {len(names):,}; "
                "push again"
            )
        sampled = set(names[:: max(1, len(names) // _SHARDS)][:_SHARDS])
        local = publication.local(part)

        def compare(name: str, part: Part = part, sampled: Any = sampled, local: Any = local) -> int:
            where = publication.digests.path(name) if name in local else None
            with destination.open(name, state) as file:
                return _compare(file, f"{destination.url}: {name}", part, name in sampled, where, publication, name)

        with ThreadPoolExecutor(_WORKERS) as pool:
            compared += sum(pool.map(compare, names))
        rows = sum(report.rows for report in reports.values())
        _load(destination, state, part, rows)
    return compared


def _compare(
    file: Any, title: str, part: Part, is_sampled: bool, local: Any, publication: Publication, name: str
) -> int:
    try:
        there = pq.ParquetFile(file)
        features = datasets.Features.from_arrow_schema(there.schema_arrow)
    except Exception as error:
        raise PushError(
            f"{title} does not open: {str(error).splitlines()[0]}; remove it there, and push again"
        ) from None
    if features != part.features:
        raise PushError(f"{title} has other columns than it should: {', '.join(features)}")
    here = pq.ParquetFile(local) if local is not None else None
    if here is not None and here.metadata.num_rows != there.metadata.num_rows:
        raise PushError(f"{title} has {there.metadata.num_rows:,} rows, and {here.metadata.num_rows:,} here")
    if not is_sampled or not there.metadata.num_rows:
        return 0
    # A row group that the name chooses, and in it a row.
    digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    group = digest % there.metadata.num_row_groups
    try:
        mine = list(_hashes(there, group))
    except Exception as error:
        raise PushError(
            f"{title} does not read: {str(error).splitlines()[0]}; remove it there, and push again"
        ) from None
    if here is not None and mine != list(_hashes(here, group)):
        raise PushError(f"{title} holds other clips than the file here; remove it there, and push again")
    return len(mine)


def _hashes(file: pq.ParquetFile, group: int) -> Iterator[tuple[str, str]]:
    """Key and SHA-256 of the video of each row of a row group; of rows without video all that they hold."""
    if "video" not in file.schema_arrow.names:
        for row in file.read_row_group(group).to_pylist():
            yield row["youtube_id"], repr(row)
        return
    for batch in file.iter_batches(16, row_groups=[group], columns=["youtube_id", "video.bytes"]):
        for youtube_id, video in zip(batch["youtube_id"], batch["video"], strict=True):
            yield youtube_id.as_py(), hashlib.sha256(video["bytes"].as_buffer()).hexdigest()


def _load(destination: Destination, state: State, part: Part, rows: int) -> None:
    """That the plain way to load it works, and gives the number of rows that there are."""
    if isinstance(destination, Repository):
        where: dict[str, Any] = {"path": destination.repo_id, "revision": state.head, "token": destination.token}
    elif isinstance(destination, Bucket) and _are_buckets_loaded(destination.token):
        where = {"path": destination.url, "token": destination.token}
    elif isinstance(destination, FolderRemote) and destination.local_path is not None:
        where = {"path": destination.local_path}
    else:
        return  # `load_dataset` takes no other URL of a folder with a card
    try:
        stream = datasets.load_dataset(**where, name=part.release, split=part.split, streaming=True)
        known = stream.info.splits[part.split].num_examples
        if "video" in part.features:
            stream = stream.cast_column("video", datasets.Video(decode=False))
        next(iter(stream))
        # Or threads of Arrow abort Python if it ends soon: https://github.com/huggingface/datasets/issues/7566
        del stream
        gc.collect()
    except Exception as error:
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        token = where.get("token")
        message = message.replace(token, "***") if token else message
        raise PushError(f"load_dataset({where['path']!r}, {part.release!r}) fails on {part.split}: {message}") from None
    if known != rows:
        raise PushError(f"the card at {destination.url} says {known:,} clips in {part.title}; there are {rows:,}")


def _are_buckets_loaded(token: str | None) -> bool:
    """From `datasets` 4.8 on; up to 5.2 at least it lists their files with the stored token, whatever it is given."""
    return hasattr(datasets.load, "HubBucketDatasetModuleFactory") and token == huggingface_hub.get_token()
