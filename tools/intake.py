"""One clip on its way into a shard: encoded or as it is, and measured.

It runs in processes of its own, of which there are many: so it imports little.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import fsspec

from kinetics_tools.media import ClipError, ClipInfo, Encoding, encode, probe

__all__ = ["Dropped", "Taken", "read_clip", "take"]


@dataclass(frozen=True, slots=True)
class Dropped:
    """An annotated clip that is in no row. `reason`: "absent", "empty", "unreadable" or "crashed"."""

    name: str
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """A clip as a row will hold it; `content` is None for the bytes of a local file as they are."""

    content: bytes | None
    file_name: str
    bytes_in: int
    info: ClipInfo


def take(clip: tuple[str, str], *, encoding: Encoding | None) -> Taken | Dropped:
    """The clip (name, path), encoded if so asked; or why it is none. `path` is anything that `fsspec` opens."""
    name, path = clip
    file_name = path.rpartition("/")[2]
    content = read_clip(path) if "://" in path else None
    size = os.path.getsize(path) if content is None else len(content)
    if not size:
        return Dropped(name, "empty")
    video = path if content is None else {"bytes": content, "path": path}
    try:
        if encoding is None:
            return Taken(content, file_name, size, probe(video))
        encoded = encode(video, encoding)
        return Taken(encoded, file_name.rpartition(".")[0] + ".mp4", size, probe(encoded))
    except ClipError as error:
        # Without the folder: any machine is to write the same report.
        return Dropped(name, "unreadable", str(error).replace(path, file_name))


def read_clip(path: str) -> bytes:
    """The bytes of a file, local or not."""
    if "://" not in path:
        return Path(path).read_bytes()
    with fsspec.open(path, "rb") as file:
        content: bytes = file.read()
    return content
