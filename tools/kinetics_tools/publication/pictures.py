"""Pictures beside a dataset card: a chart of clips per class, and a contact sheet.

Their bytes depend only on the published shards and name `kinetics push`, so that a file of the user's is told apart.
"""

import functools
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import pyarrow.parquet as pq

from kinetics_tools.media import (
    ClipError,
    Pixels,
    VideoReader,
    comment_of,
    contact_sheet,
    jpeg,
    middle_tile,
    with_comment,
)
from kinetics_tools.preparation.card import CLASS_CHART, CONTACT_SHEET, is_named
from kinetics_tools.publication.class_chart import Counts, class_chart, describe
from kinetics_tools.releases import LABELS

MAX_BYTES = 200_000
"""Maximum size of a picture; a larger file with its name is not one of `push`."""

_MARK = "made by kinetics push"
_COLUMNS, _TILES, _TILE = 4, 12, (164, 220)  # (height, width): 900 pixels for a row with its white lines
_SHEET_BYTES = 150_000
_SHARDS = 8  # largest number of shards that are read for a sheet; one is enough unless shards are tiny
_BATCH = 8
_FAILURES = 16  # clips that cannot be decoded before no further ones are tried

Manifests = Mapping[str, Mapping[str, Any]]
Read = Callable[[str, Callable[[BinaryIO], None]], None]
"""Function that opens a shard by name and calls a function with it."""


@dataclass(frozen=True)
class Pictures:
    """Pictures of a card.

    Attributes:
        files: path -> content.
        texts: path -> text of the card about the picture.
        stale: published pictures to delete.
        notes: pictures that the card does not have, with the reason.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def make_pictures(
    manifests: Manifests, sizes: Mapping[str, int], published: Mapping[str, bytes], read: Read, *, is_wanted: bool
) -> Pictures:
    """Return the pictures of a remote after a push, and the published ones to delete. Files of the user's stay.

    Args:
        manifests: release -> its manifest after the push.
        sizes: names of the shards after the push -> bytes.
        published: path -> content of the files that have the name of a picture before the push.
        read: opens a shard.
        is_wanted: False to have no pictures.
    """
    found = Pictures()
    makers: dict[str, Callable[[], tuple[bytes, str] | str | None]] = {
        CLASS_CHART: lambda: _chart(manifests),
        CONTACT_SHEET: lambda: _sheet(manifests, sizes, published, read),
    }
    for name, make in makers.items():
        is_foreign = name in published and not _is_own(published[name])
        made = None
        if is_wanted:
            made = "kinetics push did not make the file that is there, and keeps it" if is_foreign else make()
        if isinstance(made, str):
            found.notes.append(f"the card has no {name}: {made}")
        elif made is not None:
            found.files[name], found.texts[name] = made
        if name in published and not is_foreign and name not in found.files:
            found.stale.append(name)
    return found


def _is_own(content: bytes) -> bool:
    return content.startswith(f"<!-- {_MARK} -->".encode()) or (comment_of(content) or "").startswith(_MARK)


# ---- The chart ----------------------------------------------------------------------------------------------


def _chart(manifests: Manifests) -> tuple[bytes, str] | str | None:
    """Return the chart and its text, or the reason why there is none; None without labelled clips."""
    releases: dict[str, Counts] = {}
    for release, manifest in manifests.items():
        splits = manifest["splits"]
        if unknown := [name for name, entry in splits.items() if "per_class" not in entry]:
            return f"shards of {release} {unknown[0]} do not count classes; prepare them again with this version"
        if any(any(entry["per_class"]) for entry in splits.values()):
            releases[release] = {name: entry["per_class"] for name, entry in splits.items()}
    if not releases:
        return None
    return f"<!-- {_MARK} -->\n{class_chart(releases)}".encode(), describe(releases)


# ---- The contact sheet --------------------------------------------------------------------------------------


def _sheet(
    manifests: Manifests, sizes: Mapping[str, int], published: Mapping[str, bytes], read: Read
) -> tuple[bytes, str] | str | None:
    """Return the sheet and its text, or the reason why there is none; None without labelled videos."""
    release, shards = _shards_of_sheet(manifests, sizes)
    if not shards:
        return None
    # The same shards make the same sheet, so that clips are decoded once. Its comment has their hash and its labels.
    key = hashlib.sha256(json.dumps([(name, sizes[name]) for name in shards]).encode()).hexdigest()
    content = published.get(CONTACT_SHEET, b"")
    mark, *labels = (comment_of(content) or "").split("\n")
    if mark != f"{_MARK} from {key}":
        tiles = _read_tiles(shards, read)
        if not tiles:
            return f"the first clips, from {shards[0]} on, cannot be decoded"
        labels = [LABELS[release][label] for label in tiles]
        content = with_comment(_joined(list(tiles.values())), "\n".join([f"{_MARK} from {key}", *labels]))
    rows = [", ".join(labels[start : start + _COLUMNS]) for start in range(0, len(labels), _COLUMNS)]
    return content, "; ".join(rows)


def _shards_of_sheet(manifests: Manifests, sizes: Mapping[str, int]) -> tuple[str, list[str]]:
    """Return the last release with labelled videos, and the first shards of its splits, the smallest split first."""
    for release, manifest in reversed([*manifests.items()]):
        splits = [
            entry
            for entry in manifest["splits"].values()
            if "content" not in entry and any(entry.get("per_class", [True]))
        ]
        splits.sort(key=lambda entry: (entry["rows"], entry["files"]))
        if splits:
            shards = [name for entry in splits for name in sorted(sizes) if is_named(name, [entry["files"]])]
            return release, shards[:_SHARDS]
    return "", []


def _read_tiles(shards: Sequence[str], read: Read) -> dict[int, Pixels]:
    """Return the middle frame of the first clip of some classes, by label, in the order of the clips."""
    tiles: dict[int, Pixels] = {}
    failed: list[int] = []
    for name in shards:
        if len(tiles) < _TILES and len(failed) < _FAILURES:
            read(name, functools.partial(_add_tiles, tiles, failed))
    return tiles


def _add_tiles(tiles: dict[int, Pixels], failed: list[int], file: BinaryIO) -> None:
    """Add frames of the first row group of a shard. A clip that cannot be decoded gives way to the next ones."""
    shard = pq.ParquetFile(file, buffer_size=1 << 20)  # reads no further than the last clip that is needed
    groups = range(min(1, shard.num_row_groups))
    for batch in shard.iter_batches(_BATCH, row_groups=groups, columns=["label", "video.bytes"]):
        for label, video in zip(batch["label"].to_pylist(), batch["video"], strict=True):
            if label < 0 or label in tiles:
                continue
            if len(tiles) == _TILES or len(failed) == _FAILURES:
                return
            try:
                with VideoReader(video["bytes"].as_py()) as reader:
                    tiles[label] = middle_tile(reader, _TILE)
            except ClipError:
                failed.append(label)


def _joined(tiles: list[Pixels]) -> bytes:
    columns = min(_COLUMNS, len(tiles))
    blank = np.full_like(tiles[0], 255)
    tiles = [*tiles, *[blank] * (-len(tiles) % columns)]
    rows = [np.stack(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]
    return jpeg(contact_sheet(rows)[None], max_bytes=_SHEET_BYTES)
