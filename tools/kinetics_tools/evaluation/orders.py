"""Label orders that fit predictions better than the one in use."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kinetics_tools.annotations import LabelSpace, label_space
from kinetics_tools.text import printable

SUSPICIOUS = 0.1
"""Top-1 below which all other orders are tried: only below it can another order have ten times as much."""
_LOW = 0.05
_TIMES = 10
_UNKNOWN_ORDER = 0.2  # chance alone gives an order of its own 6 % of 50 clips for each of 400 classes
_CLIPS_PER_CLASS = 10
_MIN_CLIPS = 10  # that a similar order gets right


@dataclass(frozen=True)
class BetterOrder:
    """Order of labels that fits predictions better than the one in use.

    Attributes:
        name: the label space; None for an order that is not a known one.
        top1: top-1 in this order.
    """

    name: str | None
    top1: float

    def line(self) -> str:
        """Return the advice as text."""
        if self.name is None:
            return (
                f"label order: another order of labels gives {self.top1:.2%}, but not a known one; find the list of "
                "names that the model was trained with, and pass it as --label-space FILE"
            )
        return (
            f"label order: the predictions fit {self.name} with a top-1 of {self.top1:.2%}; "
            f"rerun with --label-space {printable(self.name)}"
        )


def better_order(
    top1: float,
    confusion: npt.NDArray[np.int64],
    spaces: Iterable[LabelSpace],
    top1_of: Callable[[LabelSpace], float],
    is_better: Callable[[LabelSpace], bool] = lambda space: False,
) -> BetterOrder | None:
    """Return the order that fits predictions better than the one in use.

    That is one for which `is_better` returns True, or any if `top1` is below 5 % or below a tenth of what it gives.

    Args:
        top1: top-1 in the order in use.
        confusion: (C, C) number of clips by true class and predicted class, in the order in use.
        spaces: other known label spaces.
        top1_of: returns the top-1 in a label space.
        is_better: tells if a space that differs in a few classes fits better, see `fits_moved_classes`.
    """
    if top1 >= SUSPICIOUS:
        similar = [BetterOrder(space.name, top1_of(space)) for space in spaces if is_better(space)]
        best = max(similar, key=lambda one: one.top1, default=None)
        return best if best is not None and best.top1 > top1 else None
    found = [BetterOrder(space.name, top1_of(space)) for space in spaces]
    fitted = confusion[fitting_classes(confusion), np.arange(len(confusion))].sum() / max(confusion.sum(), 1)
    if confusion.sum() >= _CLIPS_PER_CLASS * len(confusion) and fitted >= _UNKNOWN_ORDER:
        # Fitted to these clips, so a little better than the true order; a known order explains more.
        found = [one for one in found if one.top1 >= fitted / 2] or [BetterOrder(None, float(fitted))]
    best = max(found, key=lambda one: one.top1, default=None)
    if best is None or best.top1 <= 2 * top1 or not (top1 < _LOW or best.top1 > _TIMES * top1):
        return None
    return best


def fits_moved_classes(space: LabelSpace, in_use: LabelSpace, release: str, confusion: npt.NDArray[np.int64]) -> bool:
    """Return True if `space` gets over twice as many clips right as `in_use`, of those that only one of them gets.

    Both must have as many classes. `confusion` is that of `in_use`, as for `better_order`.
    """
    if len(space) != len(in_use):
        return False
    ordered = label_space("sorted", release)
    index = ordered.to(in_use)  # in the file, of each class
    there = np.where(index < 0, -1, space.to(ordered)[index])
    moved = np.flatnonzero((there >= 0) & (there != np.arange(len(ordered))))
    right_here, right_there = confusion[moved, moved].sum(), confusion[there[moved], moved].sum()
    return bool(right_there >= _MIN_CLIPS and right_there > 2 * right_here)


def fitting_classes(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return for each predicted class the true class that occurs most with it: (C,) int64."""
    classes: npt.NDArray[np.int64] = confusion.argmax(axis=0)
    return classes
