"""Scores of predictions against the annotations."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.evaluation.orders import BetterOrder
    from kinetics_tools.evaluation.read import read_predictions
    from kinetics_tools.evaluation.score import (
        CONFUSION_BEGINNING,
        REPORT_BEGINNING,
        Evaluation,
        evaluate,
        write_confusion,
        write_report,
    )

__all__ = [
    "CONFUSION_BEGINNING",
    "REPORT_BEGINNING",
    "BetterOrder",
    "Evaluation",
    "evaluate",
    "read_predictions",
    "write_confusion",
    "write_report",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "orders": ["BetterOrder"],
        "read": ["read_predictions"],
        "score": [
            "CONFUSION_BEGINNING",
            "REPORT_BEGINNING",
            "Evaluation",
            "evaluate",
            "write_confusion",
            "write_report",
        ],
    },
)
