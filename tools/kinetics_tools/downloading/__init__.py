"""Download of clips: from the public archives, or single segments from YouTube."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.downloading.clip_tree import class_of
    from kinetics_tools.downloading.ledger import LEDGER_NAME, NO_ARCHIVE, Entry, Ledger, read_ledger
    from kinetics_tools.downloading.report import Report
    from kinetics_tools.downloading.run import download
    from kinetics_tools.downloading.youtube.errors import SegmentError
    from kinetics_tools.downloading.youtube.session import FetchedClip, YouTubeOptions, fetch_clip

__all__ = [
    "LEDGER_NAME",
    "NO_ARCHIVE",
    "Entry",
    "FetchedClip",
    "Ledger",
    "Report",
    "SegmentError",
    "YouTubeOptions",
    "class_of",
    "download",
    "fetch_clip",
    "read_ledger",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "clip_tree": ["class_of"],
        "ledger": ["LEDGER_NAME", "NO_ARCHIVE", "Entry", "Ledger", "read_ledger"],
        "report": ["Report"],
        "run": ["download"],
        "youtube.errors": ["SegmentError"],
        "youtube.session": ["FetchedClip", "YouTubeOptions", "fetch_clip"],
    },
)
