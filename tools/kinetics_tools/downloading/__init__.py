"""Clips onto a disk: from the public archives, or single segments from YouTube."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.downloading.clip_tree import class_of
    from kinetics_tools.downloading.ledger import LEDGER_NAME, Entry, Ledger, read_ledger
    from kinetics_tools.downloading.run import download

__all__ = [
    "LEDGER_NAME",
    "Entry",
    "Ledger",
    "class_of",
    "download",
    "read_ledger",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "clip_tree": ["class_of"],
        "ledger": ["LEDGER_NAME", "Entry", "Ledger", "read_ledger"],
        "run": ["download"],
    },
)
