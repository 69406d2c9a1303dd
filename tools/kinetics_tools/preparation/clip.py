"""One clip on its way into a shard: encoded or as it is, and measured.

It runs in processes of its own, of which there are many: so it imports little.
"""

import errno
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import fsspec

from kinetics_tools.media import ClipError, ClipInfo, Encoding, encode, probe

__all__ = ["Dropped", "Taken", "Unopened", "can_be_read", "read_clip", "readable_bytes", "take", "unreadable"]

_WAITS_SECONDS = (1.0, 2.0, 4.0, 8.0, 15.0, 15.0)  # before a clip in a store is asked for again
_STATUS_THAT_MAY_PASS = (408, 425, 429)
# Of a wrong address or a client that is not installed, say: no fault of a store or a clip.
_OUR_FAULTS = (ValueError, TypeError, ImportError, NotImplementedError)


@dataclass(frozen=True, slots=True)
class Dropped:
    """An annotated clip that is in no row.

    Attributes:
        reason: "absent", "empty", "unreadable" or "crashed".
        size: bytes of its file, by which a mended one is known; 0 where none could be read, None where nobody said.
    """

    name: str
    reason: str
    detail: str = ""
    size: int | None = None


@dataclass(frozen=True, slots=True)
class Unopened:
    """A clip that an OSError keeps from being read: its own fault only where other clips can be read."""

    dropped: Dropped


@dataclass(frozen=True, slots=True)
class Taken:
    """A clip as a row will hold it; `content` is None for the bytes of a local file as they are."""

    content: bytes | None
    file_name: str
    bytes_in: int
    info: ClipInfo


def take(clip: tuple[str, str], *, encoding: Encoding | None) -> Taken | Dropped | Unopened:
    """The clip (name, path), encoded if so asked; or why it is none. `path` is anything that `fsspec` opens."""
    name, path = clip
    file_name = path.rpartition("/")[2]
    try:
        content = read_clip(path) if "://" in path else None
        size = os.path.getsize(path) if content is None else len(content)
        if not size:
            return Dropped(name, "empty", size=0)
        video = path if content is None else {"bytes": content, "path": path}
        if encoding is None:
            return Taken(content, file_name, size, probe(video))
        encoded = encode(video, encoding)
        return Taken(encoded, file_name.rpartition(".")[0] + ".mp4", size, probe(encoded))
    except ClipError as error:
        return unreadable(name, path, error, size)
    except OSError as error:
        return Unopened(unreadable(name, path, error, 0))


def unreadable(name: str, path: str, error: Exception, size: int) -> Dropped:
    """The clip (name, path) that `error` keeps from being read, in words that are the same on any machine."""
    if isinstance(error, FileNotFoundError):
        reason = os.strerror(errno.ENOENT)
    else:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    # Without the folder or the store, of which a URL may even give access.
    file_name = path.rpartition("/")[2]
    detail = re.sub(r"\w+://[^\s'\"]+", file_name, reason.replace(path, file_name))
    return Dropped(name, "unreadable", detail, size)


def read_clip(path: str) -> bytes:
    """The bytes of a file, local or not. One in a store is asked for again where that may help, for 45 s.

    Raises OSError, and what says that the address or this machine is at fault as it is.
    """
    if "://" not in path:
        return Path(path).read_bytes()
    fs, name = fsspec.url_to_fs(path)
    for wait in (*_WAITS_SECONDS, None):
        try:
            content: bytes = fs.cat_file(name)  # in one request: `open` of a web server calls any error "not found"
            return content
        except _OUR_FAULTS:
            raise
        except Exception as error:  # of the store's own client, which need be no OSError
            if wait is None or not _may_pass(error):
                raise error if isinstance(error, OSError) else OSError(str(error) or type(error).__name__) from error
            time.sleep(wait)
    raise AssertionError


def _may_pass(error: Exception) -> bool:
    """Whether another try may help."""
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return False
    status = getattr(error, "status", None)
    return not (isinstance(status, int) and 400 <= status < 500) or status in _STATUS_THAT_MAY_PASS


def readable_bytes(path: str) -> int:
    """How many bytes a file has; 0 where it cannot be opened."""
    try:
        if "://" not in path:
            with open(path, "rb") as file:
                return os.fstat(file.fileno()).st_size
        fs, name = fsspec.url_to_fs(path)
        return int(fs.size(name) or 0)
    except Exception:  # as in `read_clip`
        return 0


def can_be_read(path: str) -> bool:
    """Whether a file gives a byte, asked for now: a store may still know the sizes of what it gives no more."""
    try:
        if "://" not in path:
            with open(path, "rb") as file:
                return bool(file.read(1))
        fs, name = fsspec.url_to_fs(path)
        return bool(fs.cat_file(name, start=0, end=1))
    except Exception:  # as in `read_clip`
        return False
