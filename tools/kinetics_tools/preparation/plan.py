"""Plan of the shards of a split: their clips and file names.

    train-00000-of-01088-1f3a9c02.parquet    the last part is the fingerprint of the plan and the options

The plan depends only on the annotations and the options, not on which clips have a file. So any machine can write any
shard, and the output is deterministic, byte for byte.
"""

import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from kinetics_tools.annotations import Selection, clip_names, seeded_order
from kinetics_tools.preparation.options import CLIPS_PER_SHARD, PrepareOptions
from kinetics_tools.preparation.parquet import FORMAT
from kinetics_tools.sources import clip_tables

_WITNESSES = 8
_NAME = re.compile(
    r"(?P<split>train|validation|test)-(?P<shard>\d{5,})-of-(?P<count>\d{5,})-(?P<print>[0-9a-f]{8})\.parquet"
)


def shard_count(clips: int, clips_per_shard: int = CLIPS_PER_SHARD) -> int:
    """Return the number of shards for a number of clips: a multiple of 64, 16 or 8.

    Nodes and their data loaders then get equal numbers of shards. It is at least 8, or the number of clips.

    >>> [shard_count(clips) for clips in (5, 4_000, 20_000, 240_000)]
    [5, 8, 48, 512]
    """
    needed = -(-clips // clips_per_shard)
    multiple = 64 if needed > 64 else 16 if needed > 8 else 8
    return min(-(-needed // multiple) * multiple, clips)


@dataclass(frozen=True)
class ShardPlan:
    """Plan of the shards of a split.

    Attributes:
        clips: the annotated clips in shard order, as `clip_tables` yields them, with a column "name".
        count: number of shards.
        fingerprint: 8 hexadecimal digits, a hash of the clips, their order and the options.
        basis: inputs of the plan, in JSON types, for the manifest. If not all clips are selected: "classes", "subset",
            "excluded" (split of a release -> number of clips that it excluded) and "exclude_by". Always: "seed",
            "clips_per_shard", and "annotations" (file or URL; None if implied by file names). Also "annotated", the
            number of clips of the whole split, and "wanted", the number of selected ones.
        options: settings that decide the bytes of a shard, in JSON types.
    """

    release: str
    split: str
    clips: pa.Table
    count: int
    fingerprint: str
    basis: Mapping[str, Any]
    options: Mapping[str, Any]

    @classmethod
    def of(
        cls,
        clips: pa.Table,
        *,
        release: str,
        split: str,
        seed: int = 0,
        clips_per_shard: int = CLIPS_PER_SHARD,
        options: Mapping[str, Any],
        selection: Selection | None = None,
    ) -> "ShardPlan":
        """Shuffle the clips of a split by a hash of `seed` and name, so that readers need no shuffle buffer.

        `selection` is the one by which the clips were selected; None for all clips.
        """
        names = clip_names(clips).to_pylist()
        clips = clips.append_column("name", pa.array(names, pa.string())).take(seeded_order(names, seed))
        count = shard_count(len(names), clips_per_shard)
        digest = hashlib.sha256(json.dumps([release, split, count, options], sort_keys=True).encode())
        for name, label in zip(clips["name"].to_pylist(), clips["label"].to_pylist(), strict=True):
            digest.update(f"\n{name} {label}".encode())
        about = clips.schema.metadata or {}
        annotations = about.get(b"annotations")
        basis = {
            **_choice(selection or Selection(release), about.get(b"excluded", b"{}")),
            "seed": seed,
            "clips_per_shard": clips_per_shard,
            "annotations": annotations and annotations.decode(),
            "annotated": int(about.get(b"annotated", len(clips))),
            "wanted": len(clips),
        }
        return cls(release, split, clips, count, digest.hexdigest()[:8], basis, options)

    def rows(self, shard: int) -> pa.Table:
        """Return the clips of a shard, in order."""
        start, stop = (len(self.clips) * edge // self.count for edge in (shard, shard + 1))
        return self.clips.slice(start, stop - start)

    @functools.cached_property
    def witnesses(self) -> list[str]:
        """Paths of a few clips over the whole split. If none is readable, their disk or store is unreachable."""
        paths = self.clips["path"].drop_null()
        step = max(1, len(paths) // _WITNESSES)
        return list(paths.take(pa.array(range(0, len(paths), step), pa.int64())).to_pylist()[:_WITNESSES])

    def name(self, shard: int) -> str:
        """Return the name of a shard in the output directory: "700/train-00000-of-01088-1f3a9c02.parquet"."""
        return self.pattern.replace("*", f"{shard:0{len(f'{self.count:05d}')}d}")  # sorted by name, they are in order

    @property
    def pattern(self) -> str:
        """Pattern that matches the names of these shards and of no others, for the card."""
        return f"{self.release}/{self.split}-*-of-{self.count:05d}-{self.fingerprint}.parquet"


def _choice(selection: Selection, excluded: bytes) -> dict[str, Any]:
    """Return what chose the clips, in JSON types; `excluded` are the numbers of excluded clips."""
    choice = {
        "classes": selection.class_names and list(selection.class_names),
        # The path of a file on this machine means nothing elsewhere.
        "subset": selection.subset and os.path.basename(selection.subset),
        "excluded": json.loads(excluded),
    }
    if selection.exclude_by != "video":
        choice["exclude_by"] = selection.exclude_by
    return {name: value for name, value in choice.items() if value}


def plan_shards(selection: Selection, data_dir: str | os.PathLike[str], options: PrepareOptions) -> list[ShardPlan]:
    """Return the plan of each selected split, or else of each split in `data_dir`.

    Raises:
        FileNotFoundError: `data_dir` has no clips.
        ValueError: no clip of a split is selected.
    """
    return [
        ShardPlan.of(
            clips,
            release=selection.release,
            split=split,
            seed=options.seed,
            clips_per_shard=options.clips_per_shard,
            options={**options.as_dict(), **FORMAT},
            selection=selection,
        )
        for split, clips in clip_tables(selection, data_dir)
    ]


def parse_name(name: str) -> tuple[str, int, int, str] | None:
    """Return (split, shard, count, fingerprint) of the name of a shard, None for any other file."""
    found = _NAME.fullmatch(name.rpartition("/")[2])
    return (found["split"], int(found["shard"]), int(found["count"]), found["print"]) if found else None
