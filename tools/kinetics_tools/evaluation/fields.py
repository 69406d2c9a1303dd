"""Fields of predictions: labels, scores, and the names of clips."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from kinetics_tools.annotations import LabelSpace, clip_name, find_label, label_index, label_space, normalize_label
from kinetics_tools.releases import LABELS
from kinetics_tools.text import printable

OUTSIDE = -2
"""Class index of a label that the release does not have, such as some of the merged classes."""
# Unknown labels for which the nearest class is searched, which takes 5 ms.
_SUGGESTIONS = 20


class LabelIndices(dict[Any, int]):
    """Class indices of a release by label: a name in any spelling, or an index in a label space.

    Raises ValueError for any other label.

    Args:
        release: the release.
        space: label space of the indices; None for that of the release.

    Attributes:
        classes: number of classes of the release.
        order: (C,) int64: class index, or `OUTSIDE`, for each index in the label space.
    """

    def __init__(self, release: str, space: LabelSpace | None = None):
        super().__init__()
        self.release = release
        self.classes = len(LABELS[release])
        self.space = space or label_space("sorted", release)
        order = np.arange(self.classes) if space is None else space.to(label_space("sorted", release))
        self.order = np.where(order < 0, OUTSIDE, order)
        self._unknown = 0

    def __missing__(self, name: Any) -> int:
        index = self[name] = self._find(name)
        return index

    def _find(self, name: Any) -> int:
        if name in (None, ""):
            raise ValueError("has no label")
        text = str(name).removesuffix(".0")  # pandas makes floats of whole numbers beside empty fields
        if not text.isdecimal():
            if normalize_label(text) not in label_index(self.release):
                self._unknown += 1
            if self._unknown > _SUGGESTIONS:
                raise ValueError(f"unknown class of {self.release} {text!r}")
            return find_label(text, self.release)
        if int(text) >= len(self.order):
            raise ValueError(f"label {text}: {self.title} has {len(self.order)} classes, the first is 0")
        return int(self.order[int(text)])

    @property
    def title(self) -> str:
        """Name of the release, or of another label space, for messages."""
        return self.release if self.space.name.startswith("sorted-") else printable(self.space.name)


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
