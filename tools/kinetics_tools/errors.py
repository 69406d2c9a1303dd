"""Exceptions of the project. Each also derives from the nearest built-in exception."""

import re

from kinetics_tools.text import printable


class KineticsError(Exception):
    """Base class of all exceptions that this project defines. Their messages have no control characters."""

    def __str__(self) -> str:
        return "\n".join(map(printable, super().__str__().split("\n")))


class ClipError(KineticsError, ValueError):
    """Raised for a clip that cannot be read: not a video, truncated, or without a video stream or frames."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its type if it has no message."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def clip_reason(message: str, name: str) -> str:
    """Return the reason in the message of a ClipError, for a text that names the clip and says that it is unreadable.

    Args:
        message: message, or any other text, which is returned unchanged.
        name: name of the clip, with or without its suffix.
    """
    found = re.fullmatch(
        rf"{re.escape(name)}(?:\.\w+)?: (?:is not a readable clip \((.*)\)|(.*?))(?:; [^;]*)?", message
    )
    return message if found is None else found[1] or found[2]


class EmptySegmentError(ClipError):
    """Raised when no frame lies in a segment, usually because the video ends before it."""


class EmptySplitError(KineticsError):
    """Raised when a split has no clips to load."""


class NoLabelsError(KineticsError, ValueError):
    """Raised when classes are selected in a split without labels."""


class ArchiveError(KineticsError, OSError):
    """Raised for a truncated or corrupt archive."""


class ChangedError(KineticsError, OSError):
    """Raised when a file on a server changed between two requests for parts of it."""


class DiskError(KineticsError, OSError):
    """Raised when a file cannot be written. Ends a run, unlike the errors of a single download."""


class RemoteError(KineticsError, OSError):
    """Raised when a server does not serve a file. `status` is its last HTTP status, None without an answer."""

    def __init__(self, message: str, *, status: int | None = None):
        super().__init__(message)
        self.status = status


class PushError(KineticsError, OSError):
    """Raised for a permanent failure to publish."""


class TransientError(KineticsError, OSError):
    """Raised for a failure that a retry may fix: a busy server, a dropped connection, a concurrent commit.

    Attributes:
        is_conflict: True if another writer committed first, so that a retry need not wait long.
        is_answered: False if the server was not reached.
        retry_after_seconds: the wait that the server asked for; 0 without one.
    """

    def __init__(
        self,
        message: str,
        *,
        is_conflict: bool = False,
        is_answered: bool = True,
        retry_after_seconds: float = 0.0,
    ):
        super().__init__(message)
        self.is_conflict = is_conflict
        self.is_answered = is_answered
        self.retry_after_seconds = retry_after_seconds
