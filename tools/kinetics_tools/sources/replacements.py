"""Replacements of Kinetics-400: 1,392 clips of the training set that win over unreadable originals."""

import os

from kinetics_tools.annotations.index import ClipIndex
from kinetics_tools.releases import REPLACEMENTS_URL
from kinetics_tools.sources.tree import scan_directory

REPLACEMENTS_NAME = REPLACEMENTS_URL.rpartition("/")[2]
"""File name of the archive that replaces corrupt clips of Kinetics-400."""
# Where the public scripts put them.
_DIRECTORIES = ("replacement", "replacement/replacement_for_corrupted_k400", "replacement_for_corrupted_k400")


def has_replacements(release: str, split: str) -> bool:
    """Return True for the split that has replacements, train of 400."""
    return (release, split) == ("400", "train")


def replacement_directories(data_dir: str) -> list[str]:
    """Return the directories in `data_dir` that hold replacements, as an archive or extracted."""
    return [f"{data_dir}/{name}" for name in _DIRECTORIES if os.path.isdir(f"{data_dir}/{name}")]


def replacement_archives(data_dir: str) -> list[str]:
    """Return the paths of the archive of replacements beside the splits."""
    beside = [f"{folder}/{REPLACEMENTS_NAME}" for folder in [data_dir, *replacement_directories(data_dir)]]
    return [path for path in beside if os.path.isfile(path)]


def replacement_clips(data_dir: str) -> list[str]:
    """Return the paths of extracted replacements, sorted."""
    # One of the directories may be in another.
    return sorted({clip for folder in replacement_directories(data_dir) for clip in scan_directory(folder).clips})


def replaced_clip(index: ClipIndex, stem: str) -> str | None:
    """Return the name of the annotated clip that a replacement called `stem` replaces; None if there is none.

    The public scripts match by YouTube id; the training set of 400 has one clip per id.
    """
    return index.find(stem) or index.find(stem[:11])
