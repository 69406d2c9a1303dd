"""Split of any release to compare with: the releases share videos.

The releases were drawn from one pool: a model trained on one may have seen videos that another holds out. Videos are
compared, not clips, because another segment of a video shows the same people in the same place.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.annotations.find import annotation_file, check_annotations
from kinetics_tools.annotations.read import read_split
from kinetics_tools.io import DownloadCache, is_url
from kinetics_tools.releases import RELEASES, find_split
from kinetics_tools.text import check_choice


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
        check_choice(self.release, RELEASES, "release")
        object.__setattr__(self, "split", find_split(self.split))
        if self.annotations is not None:
            object.__setattr__(self, "annotations", check_annotations(self.annotations))

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
            return cls(release, split, annotations or None)
        except FileNotFoundError:
            raise FileNotFoundError(
                f"{text!r}: {annotations} does not exist; pass the path of the annotations of {names}"
            ) from None

    @classmethod
    def parse_all(cls, texts: str | Iterable[str]) -> "list[OtherSplit]":
        """Return the splits in texts, or in one text, which may hold several with commas between them; see `parse`."""
        texts = [texts] if isinstance(texts, str) else texts
        # Paths may have commas, too.
        parts = (part for text in texts for part in re.split(r"\s*,\s*(?=\d+[^,/]*:)", text))
        return list(dict.fromkeys(map(cls.parse, parts)))

    @property
    def name(self) -> str:
        """Release and split, such as "700:train"."""
        return f"{self.release}:{self.split}"

    def __str__(self) -> str:
        return self.name if self.annotations is None else f"{self.name}={self.annotations}"

    @property
    def files(self) -> list[str]:
        """Local file of its annotations, if given; [] without."""
        if self.annotations is None or is_url(self.annotations):
            return []
        return [annotation_file(self.release, self.split, annotations=self.annotations)]

    def table(self, *, mirror: str | None = None, cache: DownloadCache | None = None) -> pa.Table:
        """Return its annotations, downloaded if necessary. Raises the errors of `annotation_file` and `read_split`."""
        path = annotation_file(self.release, self.split, annotations=self.annotations, mirror=mirror, cache=cache)
        return read_split(path, self.release, self.split)


def shares_video(table: pa.Table, other: pa.Table, *, by: str = "video") -> pa.ChunkedArray:
    """Return True for each row whose video is in `other`; `by` "seconds" only if their segments overlap, too."""
    shared = pc.is_in(table["youtube_id"], value_set=other["youtube_id"].combine_chunks())
    if by == "video":
        return shared
    segments: dict[str, list[tuple[float, float]]] = {}
    columns = ("youtube_id", "time_start", "time_end")
    theirs = other.filter(pc.is_in(other["youtube_id"], value_set=table["youtube_id"].combine_chunks()))
    for youtube_id, start, end in zip(*(theirs[name].to_pylist() for name in columns), strict=True):
        segments.setdefault(youtube_id, []).append((start, end))
    mask = np.zeros(len(table), bool)
    rows = np.flatnonzero(shared.to_numpy())
    ours = table.take(pa.array(rows))
    for row, youtube_id, start, end in zip(rows, *(ours[name].to_pylist() for name in columns), strict=True):
        mask[row] = any(start < last and first < end for first, last in segments[youtube_id])
    return pa.chunked_array([pa.array(mask)])
