"""Verification of a publication: footers of all shards, samples of rows, and `load_dataset`."""

import gc
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import datasets
import pyarrow.parquet as pq

from kinetics_tools.errors import PushError, first_line
from kinetics_tools.preparation.card import CARD_NAME, card_patterns, is_named
from kinetics_tools.publication.changes import Publication
from kinetics_tools.publication.parts import Part
from kinetics_tools.publication.remote import Listing, Remote, retry_remote
from kinetics_tools.publication.upload_bar import no_client_bars

_SAMPLED_SHARDS = 16  # of each split; the footers of all shards are read
_WORKERS = 8


def read_back(publication: Publication, remote: Remote) -> int:
    """Compare the remote with the prepared shards; return the number of compared rows.

    Checks columns and numbers of rows of each shard. If local shards exist, checks hashes of the videos in a row group
    of some of them. Also streams an example of each split with `load_dataset`.

    Raises:
        PushError: a shard differs. The message names it.
    """
    listing = retry_remote(remote.list_files)
    card = retry_remote(lambda: remote.read(CARD_NAME, listing)).decode()
    named = [name for name in listing.files if is_named(name, card_patterns(card) or [])]
    compared = 0
    for part in publication.parts:
        reports = publication.reports(listing, part)
        names = sorted(name for name in named if part.shard(name) is not None)
        if len(names) != len(reports):
            raise PushError(
                f"{remote.url} has {len(reports):,} shards of {part.title}, its card names {len(names):,}; push again"
            )
        sampled = set(names[:: max(1, len(names) // _SAMPLED_SHARDS)][:_SAMPLED_SHARDS])
        local = publication.local(part)

        def compare(name: str, part: Part = part, sampled: set[str] = sampled, local: Any = local) -> int:
            path = publication.store.path(name) if name in local else None
            with remote.open(name, listing) as file:
                return _compare(file, path, part, name, is_sampled=name in sampled, where=f"{remote.url}: {name}")

        with ThreadPoolExecutor(_WORKERS) as pool:
            compared += sum(pool.map(compare, names))
        _check_load(remote, listing, part, rows=sum(report.rows for report in reports.values()))
    return compared


def _compare(file: BinaryIO, path: str | None, part: Part, name: str, *, is_sampled: bool, where: str) -> int:
    """Compare a shard with the local one at `path`; return the number of compared rows."""
    local = pq.ParquetFile(path) if path is not None else None
    group = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")  # any, but always the same
    try:
        published = pq.ParquetFile(file)
        features = datasets.Features.from_arrow_schema(published.schema_arrow)
        rows = published.metadata.num_rows
        hashes = list(_hashes(published, group)) if is_sampled and rows else []
    except Exception as error:
        raise PushError(f"{where} is unreadable ({first_line(error)}); delete it there and push again") from None
    if features != part.features:
        raise PushError(f"{where} has unexpected columns: {', '.join(features)}")
    if local is not None and local.metadata.num_rows != rows:
        raise PushError(f"{where} has {rows:,} rows, and the local shard {local.metadata.num_rows:,}; push again")
    if local is not None and hashes and hashes != list(_hashes(local, group)):
        raise PushError(f"{where} differs from the local shard; delete it there and push again")
    return len(hashes)


def _hashes(file: pq.ParquetFile, number: int) -> Iterator[tuple[str, str]]:
    """Yield id and SHA-256 of the video of each row of a row group; without video, the row."""
    group = number % file.metadata.num_row_groups
    if "video" not in file.schema_arrow.names:
        for row in file.read_row_group(group).to_pylist():
            yield row["youtube_id"], repr(row)
        return
    for batch in file.iter_batches(16, row_groups=[group], columns=["youtube_id", "video.bytes"]):
        for youtube_id, video in zip(batch["youtube_id"], batch["video"], strict=True):
            yield youtube_id.as_py(), hashlib.sha256(video["bytes"].as_buffer()).hexdigest()


def _check_load(remote: Remote, listing: Listing, part: Part, *, rows: int) -> None:
    """Raise PushError unless plain `load_dataset` streams the split and knows its number of rows."""
    arguments = remote.load_arguments(listing)
    if arguments is None:
        return
    try:
        with no_client_bars():
            stream = datasets.load_dataset(**arguments, name=part.release, split=part.split, streaming=True)
        known = stream.info.splits[part.split].num_examples
        if part.has_video:
            stream = stream.cast_column("video", datasets.Video(decode=False))
        for name, undecoded in (("audio", datasets.Audio(decode=False)), ("poster", datasets.Image(decode=False))):
            stream = stream.cast_column(name, undecoded) if name in part.features else stream
        next(iter(stream))
        # Or threads of Arrow abort Python if it ends soon: https://github.com/huggingface/datasets/issues/7566
        del stream
        gc.collect()
    except Exception as error:
        message = first_line(error)
        token = arguments.get("token")
        message = message.replace(token, "***") if token else message
        call = f"load_dataset({arguments['path']!r}, {part.release!r}, split={part.split!r})"
        raise PushError(f"{call} fails: {message}") from None
    if known != rows:
        raise PushError(f"the card of {remote.url} declares {known:,} clips of {part.title}, its shards have {rows:,}")
