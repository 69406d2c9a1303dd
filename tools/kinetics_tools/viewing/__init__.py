"""Pages to look at: figures of a copy of Kinetics, its pictures, and what it lacks."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.viewing.clips import CLIPS, Clips, read_clips
    from kinetics_tools.viewing.report import write_report

__all__ = ["CLIPS", "Clips", "read_clips", "write_report"]

__getattr__ = lazy_exports(__name__, {"clips": ["CLIPS", "Clips", "read_clips"], "report": ["write_report"]})
