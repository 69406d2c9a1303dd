"""Formatting of sizes, counts, lists and file names, and errors of arguments."""

import abc
import difflib
import itertools
import logging
import math
import re
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov", ".m4v")
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")

_LISTED_CHOICES = 20
_SIZE = re.compile(r"\s*(?P<number>\d+\.?\d*|\.\d+)\s*(?P<prefix>[kmgt]?)b?(?P<per_second>/s|ps)?\s*", re.IGNORECASE)


def format_size(count: float) -> str:
    """Return a number of bytes in decimal units, such as "4.58 MB"."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000
    return f"{count:,.2f} GB"


def parse_size(size: float | str, *, name: str) -> int:
    """Return the number of bytes in `size`: a number, or text such as "20GB", "500 MB" or, as a rate, "10MB/s".

    Units are decimal: 1 kB is 1,000 bytes.

    Raises:
        ValueError: `size` is not a positive number of bytes. The message calls it `name`.
    """
    found = _SIZE.fullmatch(str(size))
    value = float(found["number"]) * 1000 ** " kmgt".index(found["prefix"].lower() or " ") if found else 0.0
    if not 1 <= value < math.inf:
        raise ValueError(f'{name} must be a number of bytes, such as 1000000, "500MB" or "20GB", got {size!r}')
    return int(value)


def format_count(count: int, noun: str) -> str:
    """Return a count with its noun, such as "1 clip" or "1,392 clips"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def few(names: Iterable[str], shown: int = 3) -> str:
    """Return the first `shown` of many names, with an ellipsis if there are more."""
    names = list(itertools.islice(names, shown + 1))  # each may cost a search for the nearest class
    return ", ".join(map(printable, names[:shown])) + (", ..." if len(names) > shown else "")


def printable(text: str, length: int | None = None) -> str:
    r"""Return `text` from outside on one line for a terminal or a page, at most `length` of its characters.

    Control characters, line ends and invalid UTF-8 are escaped, as in "\x1b[31m" and "\n". A text that was escaped
    before stays unchanged.
    """
    shown = text if length is None or len(text) <= length else f"{text[:length]}..."
    return shown if shown.isprintable() else re.sub(r"[^ -~]", _escaped, shown)


def _escaped(found: re.Match[str]) -> str:
    return found[0] if found[0].isprintable() else ascii(found[0])[1:-1]


def escape_record(record: logging.LogRecord) -> bool:
    """Make the message of a log record printable; the filter of the project's logger."""
    record.msg, record.args = printable(record.getMessage()), None
    return True


def is_utf8(text: str) -> bool:
    """Return True if `text` can be encoded as UTF-8. The name of a file on disk need not be."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class TextReport(abc.ABC):
    """Base of reports, which notebooks show as the lines that the command prints."""

    @abc.abstractmethod
    def lines(self) -> list[str]:
        """Return the report as lines of text."""

    def __repr__(self) -> str:
        return "\n".join(map(printable, self.lines()))


# ---- File names ---------------------------------------------------------------------------------------------


def stem_of(path: str) -> str:
    """Return the name of a file without directories and without its last suffix."""
    return path.rpartition("/")[2].rpartition(".")[0]


def is_video_name(file_name: str) -> bool:
    """Return True if a file may be a clip, by its name."""
    return file_name.lower().endswith(VIDEO_SUFFIXES) and not file_name.startswith(".")


def is_archive_name(file_name: str) -> bool:
    """Return True if a file may be an archive of clips, by its name."""
    return file_name.lower().endswith(ARCHIVE_SUFFIXES)


# ---- Arguments ----------------------------------------------------------------------------------------------


def as_names(names: Any) -> Any:
    """Return the names of an iterable or a text as a list; anything else unchanged.

    A text may hold several names with commas between them, as an option of a command does.
    """
    if isinstance(names, str):
        return [name.strip() for name in names.split(",") if name.strip()]
    if not isinstance(names, Iterable):
        return names
    return [name for one in names for name in (as_names(one) if isinstance(one, str) else [one])]


def check_choice(value: Any, choices: Sequence[str], what: str) -> Any:
    """Return `value` if it is one of `choices`.

    Raises:
        ValueError: it is not. The message lists the choices and suggests the nearest one.
    """
    if value not in choices:
        raise ValueError(unknown_choice(value, choices, what))
    return value


def unknown_choice(value: Any, choices: Sequence[str], what: str) -> str:
    """Return the error message for a `value` that is not one of `choices`."""
    near = nearest(str(value), choices)
    hint = f"; did you mean {near!r}?" if near else ""
    many = f"one of {len(choices)}, which `kinetics classes {len(choices)}` lists"  # releases are named after them
    listed = ", ".join(choices) if len(choices) <= _LISTED_CHOICES else many
    return f"unknown {what} {value!r}{hint} (valid: {listed})"


def nearest(value: str, choices: Sequence[str]) -> str | None:
    """Return the choice that is spelled most like `value`; None if none is like it."""
    return next(iter(difflib.get_close_matches(value, choices, n=1, cutoff=0.4)), None)


def is_count(value: Any, minimum: int = 1) -> bool:
    """Return True if `value` is an integer, but not a bool, of at least `minimum`."""
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= minimum


def check_count(minimum: int = 1, **values: Any) -> None:
    """Raise ValueError for the first of the named `values` that is not an integer of at least `minimum`."""
    for name, value in values.items():
        if not is_count(value, minimum):
            kind = "" if isinstance(value, Integral) and not isinstance(value, bool) else "an integer of "
            raise ValueError(f"{name} must be {kind}at least {minimum}, got {value!r}")


def check_positive(**values: Any) -> None:
    """Raise ValueError for the first of the named `values` that is not a finite number above 0."""
    for name, value in values.items():
        if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < math.inf:
            raise ValueError(f"{name} must be a number above 0, got {value!r}")
