"""Pages to look at: figures of a copy of Kinetics, its pictures, and what it lacks."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.viewing.clips import Clips, read_clips
    from kinetics_tools.viewing.report import WrittenReport, write_report
    from kinetics_tools.viewing.shards import CLIPS

__all__ = ["CLIPS", "Clips", "WrittenReport", "read_clips", "write_report"]

__getattr__ = lazy_exports(
    __name__,
    {
        "clips": ["Clips", "read_clips"],
        "report": ["WrittenReport", "write_report"],
        "shards": ["CLIPS"],
    },
)
