"""Download of archives in parallel; each clip is written as soon as it is complete.

A run may be killed at any moment. The disk then holds:

- a clip under its final name only if its file is complete; its line in the ledger comes after that;
- an unfinished archive in `.partial`, where the next run resumes it. Its line in the ledger comes when all of its
  clips are written and its length and checksum match; then the partial file is removed.

This holds if the process dies. After a crash of the machine a clip can be shorter than the ledger says, because
nothing is flushed to disk; its archive is then downloaded again.
"""

import hashlib
import io
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from kinetics_tools.downloading.archive import Archive
from kinetics_tools.downloading.ledger import NO_ARCHIVE, Entry, Ledger
from kinetics_tools.downloading.state import SplitState
from kinetics_tools.errors import ArchiveError, ChangedError, DiskError
from kinetics_tools.io import (
    PartialFile,
    RateLimit,
    Stopped,
    discard_partial,
    disk_errors,
    read_archive,
    without_credentials,
)
from kinetics_tools.run import Progress, Workers
from kinetics_tools.sources import replaced_clip
from kinetics_tools.text import stem_of

_READ_BYTES = 1 << 18
_NAMED_UNANNOTATED = 4  # of one archive, one more than reports show
_INTERRUPT_SECONDS = 5.0

# Error classes in the ledger; any other error goes by the name of its type.
_ERROR_CLASSES = {
    FileNotFoundError: "not found",
    PermissionError: "denied",
    ConnectionError: "network",
    ArchiveError: "corrupt",
    ChangedError: "changed",
}


@dataclass
class ArchiveRun:
    """Download of archives by several threads. The fields with defaults are its results, see `Report`."""

    states: Mapping[str, SplitState]
    ledger: Ledger
    progress: Progress
    workers: int
    keep: bool
    rate_limit: float | str | None
    failed: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    unannotated: dict[Archive, tuple[int, list[str]]] = field(default_factory=dict)
    no_replacement: str | None = None

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._limit = RateLimit(self.rate_limit, stop=self._stop)
        self._lock = threading.Lock()  # guards the states, the four above, and renaming
        self._claims: dict[tuple[str, str], int] = {}
        self._fatal: DiskError | None = None

    def run(self, archives: Sequence[Archive]) -> None:
        """Return when each archive is complete or in `failed`.

        After KeyboardInterrupt, clips that are being written are finished first. Raises DiskError if nothing can be
        written.
        """
        for split in {archive.split for archive in archives}:
            for entry in self.states[split].preexisting_entries():
                self.ledger.append(entry)
        self._queue = iter(archives)  # the next item goes to one thread only
        workers = Workers(self._work, min(self.workers, len(archives)))
        try:
            while not workers.wait(0.1):
                self.progress.tick()
        finally:
            self._stop.set()
            workers.wait(_INTERRUPT_SECONDS)
        if self._fatal is not None:
            raise self._fatal

    def unannotated_in(self, split: str) -> tuple[int, list[str]]:
        """Return the number and the first names of the unannotated members in the archives of a split."""
        archives = sorted((one for one in self.unannotated if one.split == split), key=lambda one: one.index)
        found = [self.unannotated[archive] for archive in archives]
        return sum(count for count, _ in found), [name for _, names in found for name in names]

    def record_missing(self) -> None:
        """Record, after `run`, the clips that no archive of a split has, if all archives of it could be read."""
        for state in self.states.values():
            if any(archive.key in self.failed for archive in state.archives):
                continue
            error = {"class": "missing", "message": NO_ARCHIVE}
            for name in state.may_be_missing():
                state.record(
                    Entry(name, state.tree.split, "archives", "missing", error=error), self.ledger, self.progress
                )

    def _work(self) -> None:
        try:
            for archive in self._queue:
                if self._stop.is_set():
                    return
                try:
                    self._fetch(archive)
                except (Stopped, DiskError):
                    raise
                except Exception as error:  # one archive must not end a run of days
                    self._fail(archive, error)
        except Stopped:
            pass
        except DiskError as error:
            self._fatal = error
            self._stop.set()

    def _fetch(self, archive: Archive) -> None:
        entry = self.states[archive.split].incomplete_entry(archive)
        if entry is not None:
            self.ledger.append(entry)
        try:
            self._fetch_once(archive)
        except (ArchiveError, ChangedError) as error:
            self._invalidate(archive)
            self.progress.note(f"{archive.key}: {_message(error, archive)}; downloading it again")
            try:
                self._fetch_once(archive)
            except (ArchiveError, ChangedError):
                self._invalidate(archive)
                raise

    def _fetch_once(self, archive: Archive) -> None:
        if archive.kept.exists():
            with open(archive.kept, "rb") as file:
                selection = self._read(archive, file)
                size = os.fstat(file.fileno()).st_size
            return self._complete(archive, size, selection)
        remote = PartialFile(
            archive.url, archive.partial, limit=self._limit, stop=self._stop, on_bytes=self.progress.add_bytes
        )
        with remote, io.BufferedReader(remote, _READ_BYTES) as file:
            selection = self._read(archive, file)
            remote.drain()
            size = remote.position
        if self.keep:
            remote.keep(archive.kept)
        self._complete(archive, size, selection)
        discard_partial(archive.partial)

    def _complete(self, archive: Archive, size: int, selection: str | None) -> None:
        self.ledger.append(Entry(archive.key, archive.split, "archives", "complete", bytes=size, selection=selection))

    def _read(self, archive: Archive, file: BinaryIO) -> str | None:
        """Write the clips of an archive; return the ledger's digest of the selection, None if it takes all of them."""
        state = self.states[archive.split]
        index, takes_all = state.tree.index, True
        unannotated, examples = 0, list[str]()

        def refuse(member: str, reason: str) -> None:
            self._refuse(archive, member, reason)

        for member, data in read_archive(file, name=without_credentials(archive.url), on_refused=refuse):
            if self._stop.is_set():
                raise Stopped
            name = replaced_clip(index, stem_of(member)) if archive.is_replacement else index.find_file(member)
            if name is None:
                unannotated += 1
                if unannotated <= _NAMED_UNANNOTATED:
                    examples.append(ascii(member[:200]))
            elif name not in index:
                takes_all = False
            elif data:
                self._write(archive, name, data)
            else:
                self._record_empty(state, archive, name)
            del data  # or two of them are in memory at a time
        with self._lock:
            self.unannotated[archive] = (unannotated, examples)
        return None if takes_all else state.selection

    def _record_empty(self, state: "SplitState", archive: Archive, name: str) -> None:
        with self._lock:
            if name not in state.owners and state.statuses.get(name) != "empty":
                error = {"class": "empty", "message": "the archive has it without a byte"}
                state.record(
                    Entry(name, archive.split, archive.key, "empty", bytes=0, error=error), self.ledger, self.progress
                )

    def _write(self, archive: Archive, name: str, data: bytes) -> None:
        state, claim = self.states[archive.split], (archive.split, name)
        with self._lock:
            after = archive.index + 1
            if min(state.owners.get(name, after), self._claims.get(claim, after)) < after:
                return
            self._claims[claim] = archive.index
        path = state.tree.path(name)
        temporary: Path | None = None
        # A run that was killed before it wrote the line in the ledger left the file whole.
        if not (name in state.unverified and _has_content(path, data)):
            if name in state.preexisting or path.name != f"{name}.mp4":  # pre-existing, perhaps in another format
                return
            temporary = state.tree.temporary(name, tag=str(archive.index))
            with disk_errors(temporary):
                _write_file(temporary, data)
        digest = hashlib.sha256(data).hexdigest()
        entry = Entry(name, archive.split, archive.key, "complete", bytes=len(data), sha256=digest)
        with self._lock:
            if self._claims[claim] != archive.index:  # an archive whose clip wins came in between
                if temporary is not None:
                    temporary.unlink()
                return
            if temporary is not None:
                with disk_errors(path):
                    os.replace(temporary, path)
            state.record(entry, self.ledger, self.progress)
            state.owners[name] = archive.index

    def _refuse(self, archive: Archive, member: str, reason: str) -> None:
        error = {"class": "refused", "message": reason}
        self.ledger.append(Entry(f"{archive.key}!{member}", archive.split, archive.key, "refused", error=error))
        with self._lock:
            self.refused.append(f"{archive.key}: {member!a}: {reason}")

    def _invalidate(self, archive: Archive) -> None:
        """Mark the clips of an archive that failed its checksum: any of them may be the corrupt one."""
        self.progress.expect(archive.partial_bytes)
        state = self.states[archive.split]
        with self._lock:
            for name in state.unverified_clips(archive):
                path = state.tree.path(name)
                size = path.stat().st_size if path.exists() else None
                error = {"class": "corrupt", "message": "it came from an archive that is corrupt"}
                state.record(
                    Entry(name, archive.split, archive.key, "unchecked", bytes=size, error=error),
                    self.ledger,
                    self.progress,
                )
                del state.owners[name]
                state.unverified.add(name)
                self._claims.pop((archive.split, name), None)
        archive.kept.unlink(missing_ok=True)
        discard_partial(archive.partial)

    def _fail(self, archive: Archive, error: Exception) -> None:
        kind = next((name for base, name in _ERROR_CLASSES.items() if isinstance(error, base)), type(error).__name__)
        message = _message(error, archive) or kind
        self.ledger.append(
            Entry(archive.key, archive.split, "archives", "failed", error={"class": kind, "message": message})
        )
        if archive.is_replacement and isinstance(error, FileNotFoundError | PermissionError):
            self.no_replacement = archive.key
            return
        with self._lock:
            self.failed[archive.key] = message
        self.progress.note(f"failed: {archive.key}: {message}")


def _message(error: Exception, archive: Archive) -> str:
    return str(error).removeprefix(f"{without_credentials(archive.url)}: ")


def _write_file(path: Path, data: bytes) -> None:
    # `write_bytes` makes twice as many system calls, and for each a thread may have to wait for the others.
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o666)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file, rest) :]
        finally:
            os.close(file)
    except OSError:
        path.unlink(missing_ok=True)  # on a full disk it would take what room there is
        raise


def _has_content(path: Path, data: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_size == len(data) and file.read() == data
    except FileNotFoundError:
        return False
