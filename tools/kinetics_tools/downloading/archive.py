"""Archive of a split: its name, and the files that hold its bytes."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from kinetics_tools.io import partial_size
from kinetics_tools.sources import REPLACEMENTS_NAME

PARTIAL_FOLDER = ".partial"
_KEPT_FOLDER = "archives"


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
        return self.out / PARTIAL_FOLDER / self.key.replace("/", "--")

    @property
    def kept(self) -> Path:
        """File that holds the archive with `keep_archives`, in a directory that loads by itself."""
        return self.out / _KEPT_FOLDER / self.split / (self.key.rpartition("/")[2].lstrip(".") or "archive")

    @property
    def is_replacement(self) -> bool:
        """True for the archive of replacements; without it, the originals are used."""
        return self.key.endswith(f"/{REPLACEMENTS_NAME}")

    @property
    def partial_bytes(self) -> int:
        """Number of bytes that an earlier run downloaded."""
        return partial_size(self.partial)
