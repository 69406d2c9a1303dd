"""Exports to what other frameworks train with."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.conversion.lists import ExportReport
    from kinetics_tools.conversion.merge import MergeReport, export_merged
    from kinetics_tools.conversion.run import export
    from kinetics_tools.conversion.trainers import TRAINERS, Trainer

__all__ = ["TRAINERS", "ExportReport", "MergeReport", "Trainer", "export", "export_merged"]

__getattr__ = lazy_exports(
    __name__,
    {
        "lists": ["ExportReport"],
        "merge": ["MergeReport", "export_merged"],
        "run": ["export"],
        "trainers": ["TRAINERS", "Trainer"],
    },
)
