"""Overlap of two sets of annotations: the videos that both have.

The releases were drawn from one pool: a model trained on one may have seen videos that another holds out. Videos are
compared, not clips, because another segment of a video shows the same people in the same place.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.annotations import Selection, annotation_file, read_split
from kinetics_tools.releases import find_split
from kinetics_tools.text import few


@dataclass(frozen=True)
class OtherSplit:
    """Split to compare with.

    Attributes:
        release, split: such as "700" and "train".
        annotations: file or directory of its annotations; the published ones if None.
    """

    release: str
    split: str
    annotations: str | None = None

    def __post_init__(self) -> None:
        asked = Selection(self.release, splits=[self.split], annotations=self.annotations)
        object.__setattr__(self, "annotations", asked.annotations)

    @classmethod
    def parse(cls, text: str) -> "OtherSplit":
        """Return the split in text such as "700:train" or "700:train=k700/annotations", in any spelling.

        Raises:
            ValueError: `text` has another form.
            FileNotFoundError: the annotations do not exist.
        """
        names, _, annotations = text.partition("=")
        release, colon, split = names.partition(":")
        if not colon or not split:
            raise ValueError(f"{text!r} does not name a release and a split; write it as 700:train or 700:train=PATH")
        try:
            return cls(release, find_split(split), annotations or None)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{text!r}: {annotations} does not exist; pass the path of the annotations of {names}"
            ) from None

    def table(self) -> pa.Table:
        """Return its annotations, downloaded if necessary. Raises the errors of `annotation_file` and `read_split`."""
        path = annotation_file(self.release, self.split, annotations=self.annotations)
        return read_split(path, self.release, self.split)


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
