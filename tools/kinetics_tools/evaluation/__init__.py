"""Scores of predictions against the annotations."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.evaluation.score import evaluate

__all__ = [
    "evaluate",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "score": ["evaluate"],
    },
)
