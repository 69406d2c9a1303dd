"""Ledger of a clip directory: `ledger.jsonl`, one line for each outcome of a clip or archive.

    with Ledger(out) as ledger:
        ledger.append(Entry(key="abcdefghijk_000010_000020", split="train", source="youtube", status="complete"))
    entries = read_ledger(out)  # {("train", "abcdefghijk_000010_000020"): Entry(...)}

A line is a JSON object with the fields of `Entry`. The last line of a (split, key) counts; earlier ones are history.
"""

import dataclasses
import os
import sys
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from datasets.utils.logging import get_logger

from kinetics_tools.io import JsonLog, check_shape, disk_errors, read_json_lines

LEDGER_NAME = "ledger.jsonl"
"""File name of the ledger in a clip directory."""
NO_ARCHIVE = "no archive of the split has it"
"""Message of the ledger for a missing clip."""
_logger = get_logger("datasets.kinetics")


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


# With slots, because a directory has up to 650,000 of them.
@dataclass(frozen=True, slots=True)
class Entry:
    """One outcome.

    Attributes:
        key: name of a clip, `{youtube_id}_{time_start:06d}_{time_end:06d}`; or path of an archive on the mirror,
            "kinetics/400/train/part_0.tar.gz", which always has a "/".
        split: "train", "validation" or "test".
        source: origin of the bytes of a clip: the key of an archive, "youtube", or "disk" for a file that existed
            before; "archives" for an archive.
        status: of a clip, one of these. "complete". "unchecked": its archive failed a checksum later. "found": existed
            before the first archive was read. "missing": in no archive. "empty": no bytes in the archive.
            "unavailable": permanent failure. "failed". Of an archive, "complete", "failed", or "incomplete" while a
            complete one is read again. Of a member of an archive, "refused".
        bytes: length of the clip's file, or of the archive; None without one.
        sha256: of the clip's file, 64 hexadecimal digits.
        duration: of the clip in seconds, if it was measured.
        error: {"class": ..., "message": ...}.
        selection: of a complete archive: None if all annotated clips were asked for, else a digest of those that were.
        time: in UTC, as "2025-01-31T12:00:00Z".
    """

    key: str
    split: str
    source: str
    status: str
    bytes: int | None = None
    sha256: str | None = None
    duration: float | None = None
    error: dict[str, str] | None = None
    selection: str | None = None
    time: str = field(default_factory=_now)


_FIELDS = tuple(one.name for one in dataclasses.fields(Entry))
_SHAPE = {
    **dict.fromkeys(("key", "split", "source", "status"), str),
    **dict.fromkeys(("sha256", "selection", "time"), (None, str)),
    "bytes": (None, int),
    "duration": (None, float),
    "error": (None, {"class": str, "message": str}),
}


class Ledger(JsonLog):
    """`directory`/ledger.jsonl, open for appending by any number of threads; created if it does not exist.

    Only one process at a time may have it open: `download` holds the lock of the directory.
    """

    def __init__(self, directory: str | os.PathLike[str]):
        super().__init__(Path(directory, LEDGER_NAME))

    def append(self, entry: Entry) -> None:
        """Write one line, which is in the file when this returns. After DiskError, no part of it is in the file."""
        values = {name: getattr(entry, name) for name in _FIELDS}
        if entry.selection is None:
            del values["selection"]
        with disk_errors(self.path):
            super().append(values)


def read_ledger(directory: str | os.PathLike[str]) -> dict[tuple[str, str], Entry]:
    """Return the last entry of each (split, key) in `directory`/ledger.jsonl; empty without that file.

    Invalid lines are skipped, with one warning. A torn last line is none.
    """
    path = Path(directory, LEDGER_NAME)
    first, count = "", 0

    def note(number: int, error: Exception) -> None:
        nonlocal first, count
        first, count = first or f"line {number} ({error})", count + 1

    entries = {(entry.split, entry.key): entry for entry in read_json_lines(path, _parsed, on_invalid=note)}
    if count:
        what = "1 line is not a valid entry and is" if count == 1 else f"{count:,} lines are not valid entries and are"
        _logger.warning(f"{path}: {what} ignored: {first}{', ...' if count > 1 else ''}")
    return entries


def _parsed(value: Any) -> Entry:
    values = check_shape(value, _SHAPE)
    # Few distinct values in many entries: share one string each.
    for name in ("split", "source", "status"):
        values[name] = sys.intern(values[name])
    return Entry(**{name: values[name] for name in _FIELDS if name in values})
