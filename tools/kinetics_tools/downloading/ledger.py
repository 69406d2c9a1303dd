"""The ledger of a clip tree: `ledger.jsonl`, one line for each clip and outcome, only ever appended to.

    with Ledger(out) as ledger:
        ledger.append(Entry(key="abcdefghijk_000010_000020", split="train", source="youtube", status="complete"))
    entries = read_ledger(out)  # {("train", "abcdefghijk_000010_000020"): Entry(...)}

A line is a JSON object with the fields of `Entry`. The last line of a (split, key) counts; what stands before it is
history. A line is written by one system call and never buffered, so that a kill leaves whole lines and at most one
torn one, the last: reading passes over it, and the next `Ledger` cuts it off.
"""

import dataclasses
import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from datasets.utils.logging import get_logger

__all__ = ["LEDGER_NAME", "Entry", "Ledger", "read_ledger"]

LEDGER_NAME = "ledger.jsonl"
_logger = get_logger("datasets.kinetics")


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


# With slots, since a tree has up to 650,000 of them.
@dataclass(frozen=True, slots=True)
class Entry:
    """One outcome.

    Attributes:
        key: the clip's name, `{youtube_id}_{time_start:06d}_{time_end:06d}`; or an archive's path on the mirror,
            "kinetics/400/train/part_0.tar.gz", which unlike the former has a "/".
        split: "train", "validation" or "test".
        source: where a clip's bytes came from: the key of an archive, or "youtube"; "disk" where others had put them;
            "archives" for an archive.
        status: of a clip: "complete"; "unchecked", complete but from an archive that failed its checksum later;
            "found", there before the first archive was read; "missing", in no archive; "empty", in an archive, without
            a byte; "unavailable", a video or a segment that cannot be had, and "failed", which may go by, see `error`.
            Of an archive: "complete", "failed", or "incomplete" while one that was complete is read again. Of an
            archive's member: "refused".
        bytes: length of the clip's file, or of the archive; None where there is none.
        sha256: of the clip's file, 64 hexadecimal digits.
        duration: of the clip in seconds, where somebody measured it.
        error: {"class": ..., "message": ...}.
        selection: of a complete archive: None if all of its annotated clips were wanted, else a digest of what was.
        time: when, in UTC, as "2025-01-31T12:00:00Z".
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

    @property
    def is_archive(self) -> bool:
        return "/" in self.key


_FIELDS = tuple(one.name for one in dataclasses.fields(Entry))


class Ledger:
    """`directory`/ledger.jsonl, open for appending, by as many threads as like; made if it is not there.

    One process at a time may have it open: `download` holds the lock of the directory.
    """

    def __init__(self, directory: str | os.PathLike[str]):
        self.path = Path(directory, LEDGER_NAME)
        self._lock = threading.Lock()
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_CLOEXEC", 0), 0o644)
        self._cut_torn_line()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1

    def append(self, entry: Entry) -> None:
        """Writes one line, which is in the file when this returns. Raises OSError, and then no part of it is there."""
        values = {name: value for name in _FIELDS if (value := getattr(entry, name)) is not None or name != "selection"}
        line = (json.dumps(values) + "\n").encode("ascii")
        written = 0
        with self._lock:
            try:
                while written < len(line):
                    written += os.write(self._file, line[written:])
            except OSError:
                if written:  # the disk is full
                    os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise

    def _cut_torn_line(self) -> None:
        """Ends the file at its last line end. A new line glued to half a line would be lost with it."""
        size = end = os.fstat(self._file).st_size
        while end:
            start = max(0, end - (1 << 16))
            os.lseek(self._file, start, os.SEEK_SET)
            newline = os.read(self._file, end - start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end != size:
            os.ftruncate(self._file, end)


def read_ledger(directory: str | os.PathLike[str]) -> dict[tuple[str, str], Entry]:
    """The last entry of each (split, key) in `directory`/ledger.jsonl; empty where there is no such file.

    Lines that are no entry are passed over: silently the last, which a kill may have torn, others with a warning.
    """
    entries = {}
    for entry in _entries(Path(directory, LEDGER_NAME)):
        entries[entry.split, entry.key] = entry
    return entries


def _entries(path: Path) -> Iterator[Entry]:
    if not path.exists():
        return
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield _parsed(json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                if line.endswith(b"\n"):
                    _logger.warning(f"{path}: line {number} is no entry and does not count: {error}")


def _parsed(values: dict[str, Any]) -> Entry:
    # Few distinct values in many entries: one string each instead of one an entry.
    for name in ("split", "source", "status"):
        values[name] = sys.intern(values[name])
    return Entry(**{name: values[name] for name in _FIELDS if name in values})
