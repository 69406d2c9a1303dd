"""Exports to what other frameworks train with."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.conversion.conversion import ConversionReport, convert
    from kinetics_tools.conversion.formats import FORMATS
    from kinetics_tools.conversion.lists import ExportReport
    from kinetics_tools.conversion.merge import MergeReport, export_merged
    from kinetics_tools.conversion.run import export
    from kinetics_tools.conversion.trainers import TRAINERS, Trainer

__all__ = [
    "FORMATS",
    "TRAINERS",
    "ConversionReport",
    "ExportReport",
    "MergeReport",
    "Trainer",
    "convert",
    "export",
    "export_merged",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "conversion": ["ConversionReport", "convert"],
        "formats": ["FORMATS"],
        "lists": ["ExportReport"],
        "merge": ["MergeReport", "export_merged"],
        "run": ["export"],
        "trainers": ["TRAINERS", "Trainer"],
    },
)
