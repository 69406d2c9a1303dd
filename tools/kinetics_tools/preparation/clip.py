"""Preparation of one clip: encoded or unchanged, and measured.

Worker processes import this module and little else.
"""

import errno
import functools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinetics_tools.errors import TransientError
from kinetics_tools.io.retry import RetryPolicy, retry
from kinetics_tools.io.stores import open_store
from kinetics_tools.media import ClipError, ClipInfo, Encoding, encode, probe
from kinetics_tools.preparation.extra_columns import ExtraColumns

_RETRIES = RetryPolicy(6, first_wait_seconds=1.0, longest_wait_seconds=15.0)  # 45 s in all, on average
_TRANSIENT_STATUSES = (408, 425, 429)
# Configuration errors: raise them instead of dropping the clip.
_CONFIGURATION_ERRORS = (ValueError, TypeError, ImportError, NotImplementedError)

REASON_NAMES = {"absent": "missing"}
"""Reasons as users read them, where footers and manifests store another word."""


@dataclass(frozen=True, slots=True)
class DroppedClip:
    """Annotated clip that is not in the shard.

    Attributes:
        reason: "absent", "empty", "unreadable" or "crashed".
        size: size of its file in bytes, to recognize a repaired file; 0 if unreadable, None if unknown.
    """

    name: str
    reason: str
    detail: str = ""
    size: int | None = None


@dataclass(frozen=True, slots=True)
class UnreachableClip:
    """Clip whose file raised OSError. It is dropped if other clips are readable; otherwise the run ends."""

    dropped: DroppedClip


@dataclass(frozen=True, slots=True)
class PreparedClip:
    """Clip as stored in a row: its bytes, what was measured on them, and the values of extra columns."""

    content: bytes
    file_name: str
    bytes_in: int
    info: ClipInfo
    extra: Mapping[str, Any] = field(default_factory=dict)


def prepare_clip(
    clip: tuple[str, str],
    *,
    encoding: Encoding | None,
    extra: ExtraColumns = ExtraColumns(),  # noqa: B008, frozen
) -> PreparedClip | DroppedClip | UnreachableClip:
    """Encode and measure the clip (name, path), or only measure it without an `encoding`.

    `path` is anything that `fsspec` opens.
    """
    name, path = clip
    file_name = path.rpartition("/")[2]
    try:
        content = read_clip(path)  # once: another program may replace the file meanwhile
    except OSError as error:
        return UnreachableClip(_unreadable_clip(name, path, error, 0))
    if not content:
        return DroppedClip(name, "empty", size=0)
    video = {"bytes": content, "path": path}
    try:
        values = extra.values(video, file_name)
        if encoding is None:
            return PreparedClip(content, file_name, len(content), probe(video), values)
        encoded = encode(video, encoding)
        return PreparedClip(encoded, file_name.rpartition(".")[0] + ".mp4", len(content), probe(encoded), values)
    except ClipError as error:
        return _unreadable_clip(name, path, error, len(content))


def _unreadable_clip(name: str, path: str, error: Exception, size: int) -> DroppedClip:
    """Return the clip (name, path) as dropped because of `error`, with a message that is the same on any machine."""
    reason = os.strerror(errno.ENOENT) if isinstance(error, FileNotFoundError) else _reason(error)
    # Without the directory or the store, whose URL may even contain credentials.
    file_name = path.rpartition("/")[2]
    detail = re.sub(r"\w+://[^\s'\"]+", file_name, reason.replace(path, file_name))
    return DroppedClip(name, "unreadable", detail, size)


def read_clip(path: str) -> bytes:
    """Return the bytes of a file, local or remote. A remote read is retried for up to 45 s.

    Raises:
        OSError: the file cannot be read.
        ValueError, TypeError, ImportError, NotImplementedError: the URL or this machine is misconfigured.
    """
    return retry(functools.partial(_fetch, path), _RETRIES) if "://" in path else Path(path).read_bytes()


def _fetch(url: str) -> bytes:
    fs, name = open_store(url)
    try:
        content: bytes = fs.cat_file(name)  # in one request: `open` of a web server calls any error "not found"
    except _CONFIGURATION_ERRORS:
        raise
    except Exception as error:  # of the client of the store, not necessarily an OSError
        if _is_transient(error):
            raise TransientError(_reason(error)) from error
        raise error if isinstance(error, OSError) else OSError(_reason(error)) from error
    return content


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__


def _is_transient(error: Exception) -> bool:
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotADirectoryError):
        return False
    status = getattr(error, "status", None)
    return not (isinstance(status, int) and 400 <= status < 500) or status in _TRANSIENT_STATUSES


def readable_bytes(path: str) -> int:
    """Return the size of a file if its first byte can be read, else 0.

    A store may know the size of a file that it cannot serve.
    """
    try:
        if "://" not in path:
            with open(path, "rb") as file:
                return os.fstat(file.fileno()).st_size if file.read(1) else 0
        fs, name = open_store(path)
        return int(fs.size(name) or 0) if fs.cat_file(name, start=0, end=1) else 0
    except Exception:  # as in `_fetch`
        return 0
