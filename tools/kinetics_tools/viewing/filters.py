"""Filters of a table of clips, and pages of what they keep."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc


@dataclass(frozen=True)
class Filter:
    """Filter of a grid of clips. None, "" and (None, None) stand for all.

    Attributes:
        release, split, label, status: value of the column.
        text: part of the clip's name, in upper or lower case.
        seconds: smallest and largest duration.
        resolution: width x height, such as "340x256".
        has_audio: with or without sound.
        prediction: "right" or "wrong"; the clip has a prediction.
    """

    release: str | None = None
    split: str | None = None
    label: str | None = None
    status: str | None = None
    text: str = ""
    seconds: tuple[float | None, float | None] = (None, None)
    resolution: str | None = None
    has_audio: bool | None = None
    prediction: str | None = None

    def rows(self, clips: pa.Table) -> npt.NDArray[np.int64]:
        """Return the numbers of the rows that have all of it, in order."""
        kept = [mask for mask in self._masks(clips) if mask is not None]
        if not kept:
            return np.arange(len(clips))
        mask = kept[0]
        for other in kept[1:]:
            mask = pc.and_(mask, other)
        return np.flatnonzero(pc.fill_null(mask, False).to_numpy(zero_copy_only=False))

    def _masks(self, clips: pa.Table) -> list[Any]:
        masks = []
        for name in ("release", "split", "label", "status", "prediction"):
            value = getattr(self, name)
            masks.append(pc.equal(clips[name], value) if value else None)
        if self.text.strip():
            masks.append(pc.match_substring(clips["clip"], self.text.strip(), ignore_case=True))
        least, most = self.seconds
        masks.append(pc.greater_equal(clips["duration"], least) if least is not None else None)
        masks.append(pc.less_equal(clips["duration"], most) if most is not None else None)
        if self.resolution:
            width, height = map(int, self.resolution.split("x"))
            masks.append(pc.and_(pc.equal(clips["width"], width), pc.equal(clips["height"], height)))
        masks.append(pc.equal(clips["has_audio"], self.has_audio) if self.has_audio is not None else None)
        return masks
