"""Best classes of a prediction, best first: of one that is complete, and of many that come score by score."""

import numpy as np
import numpy.typing as npt

TOP = 5
"""Number of best classes that are kept."""
NOT_A_NUMBER = "a score is not a number"
# Parts of the scores, as slices. Each raises the bar for the next ones, which are larger, so that few are sorted.
_PARTS = [slice(start * step, None, 4 * step) for step in (16, 4, 1) for start in (1, 2, 3)]
_PARTS.insert(0, slice(0, None, 64))

_Integers = npt.NDArray[np.int64]
_Scores = npt.NDArray[np.float64]


def best_classes(labels: _Integers, scores: _Scores) -> list[int] | str:
    """Return the best of `labels` by their `scores`, or the reason that there are none.

    Of equal scores the lower label comes first.
    """
    if np.isnan(scores).any():
        return NOT_A_NUMBER
    if len(scores) > TOP:
        kept = scores >= np.partition(scores, -TOP)[-TOP]
        labels, scores = labels[kept], scores[kept]
    best: list[int] = labels[np.lexsort((labels, -scores))][:TOP].tolist()
    return best


class Ranking:
    """Best of `classes` classes of many predictions, whose scores come in any order. Predictions are numbered from 0.

    It keeps the best scores and one bit per class and prediction, not all scores.
    """

    def __init__(self, classes: int):
        self._classes = classes
        self._scores = np.empty((0, TOP))
        self._labels = np.empty((0, TOP), np.int64)
        self._seen = np.empty(0, np.uint8)

    def add(self, numbers: _Integers, labels: _Integers, scores: _Scores) -> _Integers:
        """Add scores, given the prediction and the class of each; return the positions of repeated classes."""
        self._grow(int(numbers.max(initial=-1)) + 1)
        for part in _PARTS:
            self._merge(numbers[part], labels[part], scores[part])
        return self._mark(numbers * self._classes + labels)

    def best(self, number: int) -> list[int]:
        """Return the best classes of a prediction."""
        return [label for label in self._labels[number : number + 1].ravel().tolist() if label < self._classes]

    def _grow(self, count: int) -> None:
        have = len(self._scores)
        if count > have:
            more = max(count - have, have)
            self._scores = np.concatenate([self._scores, np.full((more, TOP), -np.inf)])
            # Places without a class sort behind all classes.
            self._labels = np.concatenate([self._labels, np.full((more, TOP), self._classes)])
            cells = (have + more) * self._classes
            self._seen = np.concatenate([self._seen, np.zeros(cells // 8 + 1 - len(self._seen), np.uint8)])

    def _merge(self, numbers: _Integers, labels: _Integers, scores: _Scores) -> None:
        kept = scores >= self._scores[numbers, -1]
        changed = np.unique(numbers[kept])
        numbers = np.concatenate([numbers[kept], np.repeat(changed, TOP)])
        labels = np.concatenate([labels[kept], self._labels[changed].ravel()])
        scores = np.concatenate([scores[kept], self._scores[changed].ravel()])
        order = np.lexsort((labels, -scores, numbers))
        first = np.searchsorted(numbers[order], changed)
        places = order[first[:, None] + np.arange(TOP)]
        self._scores[changed], self._labels[changed] = scores[places], labels[places]

    def _mark(self, cells: _Integers) -> _Integers:
        """Mark cells of the table of predictions and classes; return the positions of those that were marked."""
        bits = np.left_shift(1, cells & 7).astype(np.uint8)
        is_new = (self._seen[cells >> 3] & bits) == 0
        ordered = np.sort(cells)
        if (ordered[1:] == ordered[:-1]).any():
            is_first = np.zeros(len(cells), bool)
            is_first[np.unique(cells, return_index=True)[1]] = True
            is_new &= is_first
        np.add.at(self._seen, cells[is_new] >> 3, bits[is_new])
        return np.flatnonzero(~is_new)
