"""Overlap of two sets of annotations: the videos that both have."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.annotations import OtherSplit
from kinetics_tools.text import few


@dataclass(frozen=True)
class Overlap:
    """Videos that a split shares with another split, of any release.

    `videos` is the number of videos in `split`; `shared` are the ids of those that are in `other`, too, sorted.
    """

    split: str
    videos: int
    other: OtherSplit
    shared: tuple[str, ...]

    def line(self) -> str:
        """Return the overlap as text."""
        examples = few(self.shared)
        share = len(self.shared) / max(self.videos, 1)
        return (
            f"{self.split}: {len(self.shared):,} of {self.videos:,} videos ({share:.1%}) are "
            f"in {self.other.release} {self.other.split}{': ' if examples else ''}{examples}"
        )

    def values(self) -> dict[str, Any]:
        """Return the overlap for JSON."""
        return {
            "split": self.split,
            "videos": self.videos,
            "other_release": self.other.release,
            "other_split": self.other.split,
            "shared": len(self.shared),
            "youtube_ids": list(self.shared),
        }


def shared_videos(tables: dict[str, pa.Table], release: str, others: Iterable[OtherSplit]) -> list[Overlap]:
    """Return the overlap of each split in `tables`, as `read_split` returns them, with each of `others`."""
    found = []
    for other in others:
        ids = other.table()["youtube_id"]
        for split, table in tables.items():
            if (release, split) == (other.release, other.split):
                continue
            mine = pc.unique(table["youtube_id"])
            shared = mine.filter(pc.is_in(mine, value_set=ids.combine_chunks()))
            found.append(Overlap(split, len(mine), other, tuple(sorted(shared.to_pylist()))))
    return found
