"""Fields of predictions: labels, scores, and the names of clips."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from kinetics_tools.annotations import clip_name, find_label
from kinetics_tools.releases import LABELS


class LabelIndices(dict[Any, int]):
    """Class indices of a release by label, in any spelling or as an index. Raises ValueError for any other label."""

    def __init__(self, release: str):
        super().__init__()
        self.release = release
        self.classes = len(LABELS[release])

    def __missing__(self, name: Any) -> int:
        index = self[name] = self._find(name)
        return index

    def _find(self, name: Any) -> int:
        if name in (None, ""):
            raise ValueError("has no label")
        text = str(name).removesuffix(".0")  # pandas makes floats of whole numbers beside empty fields
        if not text.isdecimal():
            return find_label(text, self.release)
        if int(text) >= self.classes:
            raise ValueError(f"label {text}: {self.release} has {self.classes} classes, the first is 0")
        return int(text)


def to_scores(values: Iterable[Any]) -> npt.NDArray[np.float64]:
    """Return scores as numbers. Raises ValueError, which names the first that is none."""
    values = list(values)
    try:
        scores = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        scores = np.array([to_score(value) for value in values], np.float64)
    if scores.ndim != 1:
        raise ValueError(f"the score {values[0]!r} is not a number")
    return scores


def to_score(value: Any) -> float:
    """Return a score as a number. Raises ValueError if it is none."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"the score {value!r} is not a number") from None


def to_key(youtube_id: Any, start: Any, end: Any) -> str:
    """Return the name of a clip, or the id of a video without a start or an end. Raises ValueError for other times."""
    if start in (None, "") or end in (None, ""):
        return str(youtube_id)
    try:
        return clip_name(str(youtube_id), float(str(start)), float(str(end)))
    except (ValueError, OverflowError):
        raise ValueError(f"{youtube_id} from {start!r} to {end!r}: must be seconds") from None
