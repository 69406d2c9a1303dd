"""Archive of a split: its name, and the files that hold its bytes."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kinetics_tools.io import partial_size
from kinetics_tools.sources import REPLACEMENTS_NAME
from kinetics_tools.text import ARCHIVE_SUFFIXES

PARTIAL_FOLDER = ".partial"
_KEPT_FOLDER = "archives"
_MAX_NAME_BYTES = 200  # of 255, because suffixes are added


@dataclass(frozen=True)
class Archive:
    """Archive of a split. Of two that hold the same clip, the one with the lower `index` wins."""

    out: Path
    url: str
    split: str
    index: int

    @property
    def key(self) -> str:
        """Path from "kinetics/" on; the same on every mirror."""
        path = unquote(urlsplit(self.url).path)
        return "kinetics/" + path.rpartition("/kinetics/")[2] if "/kinetics/" in path else path.lstrip("/")

    @property
    def partial(self) -> Path:
        """File that holds the archive until it is complete."""
        return self.out / PARTIAL_FOLDER / _file_name(self.key.replace("/", "--"))

    @property
    def kept(self) -> Path:
        """File that holds the archive with `keep_archives`, in a directory that loads by itself."""
        name = self.key.rpartition("/")[2].lstrip(".") or "archive"
        return self.out / _KEPT_FOLDER / self.split / _file_name(name)

    @property
    def is_replacement(self) -> bool:
        """True for the archive of replacements; without it, the originals are used."""
        return self.key.endswith(f"/{REPLACEMENTS_NAME}")

    @property
    def partial_bytes(self) -> int:
        """Number of bytes that an earlier run downloaded."""
        return partial_size(self.partial)


def _file_name(name: str) -> str:
    """Return `name`, or another one with the same suffixes if no file can have it. Path lists are from outside."""
    if len(os.fsencode(name)) <= _MAX_NAME_BYTES and "\0" not in name:
        return name
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()
    return digest + next((suffix for suffix in ARCHIVE_SUFFIXES if name.endswith(suffix)), "")
