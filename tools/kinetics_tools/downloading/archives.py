"""Clips out of the public archives: several fetched at once, each clip written as soon as it has arrived whole.

What may be killed at any moment, and what is then on disk:

- a clip has its final name only when its file is complete; its line in the ledger comes after that;
- an archive in flight lies in `.partial`, from where the next run goes on; its own line in the ledger comes when all
  of its clips are in their places and its length and checksum agree, and then the partial file goes.

This holds for processes that die. Nothing is forced onto the disk for the case that the machine does: then a clip can
be shorter than the ledger says, and the archives of such clips are fetched again.
"""

import hashlib
import io
import os
import threading
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from kinetics_tools.downloading.clip_tree import ClipTree
from kinetics_tools.downloading.ledger import Entry, Ledger
from kinetics_tools.errors import ArchiveError, ChangedError, DiskError
from kinetics_tools.io.atomic import disk_errors
from kinetics_tools.io.limits import RateLimit, Stopped
from kinetics_tools.io.partial import PartialFile, discard_partial, partial_size
from kinetics_tools.io.tar import read_archive
from kinetics_tools.run.progress import Progress
from kinetics_tools.run.threads import Workers
from kinetics_tools.sources.replacements import REPLACEMENTS_NAME

__all__ = ["PARTIAL_FOLDER", "Archive", "ArchiveRun", "SplitState"]

PARTIAL_FOLDER = ".partial"
_KEPT_FOLDER = "archives"
_READ_BYTES = 1 << 18
_NAMED_REFUSALS = 100  # of one archive; the rest are counted
_NAMED_STRANGERS = 4  # of one archive, one more than reports show
_INTERRUPT_SECONDS = 5.0

# The classes of errors that the ledger names; what is none of these goes by the name of its type.
_ERROR_CLASSES = {
    FileNotFoundError: "not found",
    PermissionError: "denied",
    ConnectionError: "network",
    ArchiveError: "corrupt",
    ChangedError: "changed",
}


@dataclass(frozen=True)
class Archive:
    """An archive of a split. Where two hold the same clip, the one with the lower `index` wins."""

    out: Path
    url: str
    split: str
    index: int

    @property
    def key(self) -> str:
        """Its path from "kinetics/" on, which is the same for every mirror."""
        path = unquote(urlsplit(self.url).path)
        return "kinetics/" + path.rpartition("/kinetics/")[2] if "/kinetics/" in path else path.lstrip("/")

    @property
    def partial(self) -> Path:
        return self.out / PARTIAL_FOLDER / self.key.replace("/", "--")

    @property
    def kept(self) -> Path:
        """Where it stays if it is to: a folder that loads as it is, and does not disturb the clips'."""
        return self.out / _KEPT_FOLDER / self.split / (self.key.rpartition("/")[2].lstrip(".") or "archive")

    @property
    def is_replacement(self) -> bool:
        """Whether it has better files of clips that other archives have, so that there are all clips without it."""
        return self.key.endswith(f"/{REPLACEMENTS_NAME}")

    @property
    def fetched_bytes(self) -> int:
        """How much of it lies here."""
        return partial_size(self.partial)


@dataclass
class Passed:
    """The members of an archive that were passed over.

    Attributes:
        unwanted: how many of them are annotated clips that were not asked for.
        strangers: how many are not annotated.
        examples: the first of the latter.
    """

    unwanted: int = 0
    strangers: int = 0
    examples: list[str] = field(default_factory=list)

    def add_stranger(self, member: str) -> None:
        self.strangers += 1
        if len(self.examples) < _NAMED_STRANGERS:
            self.examples.append(ascii(member[:200]))


class SplitState:
    """What is known of the wanted clips of a split: from the ledger and the disk at first, then as a run goes on.

    `statuses` has those of which anything is known; `owners` the complete ones, with the index of the archive that
    each came from, -1 if from elsewhere; `strangers` those whose file may be anything. Of these are "found" those that
    the ledger did not have: tools of others put them there, or a run that was killed before it wrote their lines. The
    former are `others`, which stay as they are: what lay there before the first archive was read.
    """

    def __init__(
        self,
        tree: ClipTree,
        archives: Sequence[Archive],
        entries: Mapping[tuple[str, str], Entry],
        *,
        clean: bool,
    ):
        self.tree = tree
        self.archives = archives
        self.statuses: dict[str, str] = {}
        self.owners: dict[str, int] = {}
        self.bytes_of: dict[str, int] = {}  # by source: what its clips take on disk
        self._entries = entries
        self._checked: set[str] = set()  # clips out of archives that were complete
        self._lost: set[str] = set()  # sources of clips that were complete and are not any more
        self._selection = hashlib.sha256("\n".join(sorted(tree.index)).encode()).hexdigest()[:16]
        order = {archive.key: archive.index for archive in archives}
        present = tree.present(clean=clean)
        for name in tree.index:
            entry = self.entry(name)
            if entry is None:
                continue
            if entry.status in ("complete", "unchecked") and present.get(name) != entry.bytes:
                self._lost.add(entry.source)
                continue
            if entry.status == "found" and name not in present:
                continue
            self.statuses[name] = entry.status
            if entry.status == "complete":
                self.owners[name] = order.get(entry.source, -1)
                if self._was_complete(entry.source):
                    self._checked.add(name)
                self.bytes_of[entry.source] = self.bytes_of.get(entry.source, 0) + (entry.bytes or 0)
        self.strangers = present.keys() - self.owners.keys()
        for name in self.strangers:
            entry = self.entry(name)
            if present[name] and (entry is None or entry.status not in ("complete", "unchecked")):
                self.statuses[name] = "found"
        known = Counter(self.statuses.values())
        here = known["complete"] + known["found"]
        self._accounted = here + known["missing"] + known["empty"] == len(tree.index)
        has_begun = any((tree.split, archive.key) in entries or archive.fetched_bytes for archive in archives)
        remembered = {name for name in self.strangers if (entry := self.entry(name)) and entry.status == "found"}
        found = {name for name in self.strangers if self.statuses.get(name) == "found"}
        self.others = remembered if has_begun else found
        self._new_others = {name: present[name] for name in self.others - remembered}
        # Made by others, and whole. Once we have begun to read archives, what they have decides.
        self._is_others = not has_begun and here == len(tree.index) and all(index < 0 for index in self.owners.values())

    def entry(self, name: str) -> Entry | None:
        """What the ledger had about a clip before this run."""
        return self._entries.get((self.tree.split, name))

    def pending(self, *, keep: bool) -> list[Archive]:
        """The archives to read: those that are not complete, or not for these clips, or not kept as they should be.

        None where no clip is wanted of the split, and none of a tree of others that has them all.
        """
        if len(self.tree.index) == 0:
            return []
        return [archive for archive in self.archives if not self._is_done(archive, keep=keep)]

    def _is_done(self, archive: Archive, *, keep: bool) -> bool:
        if keep and not archive.kept.exists():
            return False
        if self._is_others:
            return True
        if not self._was_complete(archive.key) or archive.key in self._lost:
            return False
        return self._entries[archive.split, archive.key].selection in (None, self._selection) or self._accounted

    def _was_complete(self, key: str) -> bool:
        entry = self._entries.get((self.tree.split, key))
        return entry is not None and entry.status == "complete"

    def reopened(self, archive: Archive) -> Entry | None:
        """For the ledger, before an archive that was complete is read again: what comes now is not checked yet."""
        if not self._was_complete(archive.key):
            return None
        return Entry(archive.key, archive.split, "archives", "incomplete")

    def to_remember(self) -> list[Entry]:
        """For the ledger, before the first archive is read: what others had put there."""
        found = sorted(self._new_others.items())
        return [Entry(name, self.tree.split, "disk", "found", bytes=size) for name, size in found]

    def doubtful(self, archive: Archive) -> list[str]:
        """The clips that came out of an archive whose checksum never agreed."""
        return [n for n, index in self.owners.items() if index == archive.index and n not in self._checked]

    def selection(self, skipped: int) -> str | None:
        """For the ledger: what an archive is complete for, of which so many clips were not wanted."""
        return self._selection if skipped else None

    def may_be_missing(self) -> list[str]:
        """Wanted clips of which nothing is known, but for those that somebody cut from YouTube and that are gone."""
        entries = ((name, self.entry(name)) for name in self.tree.index)
        return [n for n, entry in entries if n not in self.statuses and (entry is None or entry.source != "youtube")]

    def missing(self) -> list[str]:
        """The wanted clips that no archive has."""
        return [name for name in self.tree.index if self.statuses.get(name) == "missing"]

    def counts(self) -> dict[str, int]:
        """Number of wanted clips by status, and as "pending" those of which nothing is known."""
        counts: dict[str, int] = {}
        for name in self.tree.index:
            status = self.statuses.get(name, "pending")
            counts[status] = counts.get(status, 0) + 1
        return dict(sorted(counts.items()))


@dataclass
class ArchiveRun:
    """Fetches archives with several threads and puts their clips where they belong.

    `failed` maps the key of an archive to what was wrong, `refused` lists "key: member: reason", `passed` has what was
    passed over by archive, and `no_replacement` is the key of the archive of replacements where the mirror has none.
    """

    states: Mapping[str, SplitState]
    ledger: Ledger
    progress: Progress
    workers: int
    keep: bool
    rate_limit: float | str | None
    failed: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    passed: dict[Archive, Passed] = field(default_factory=dict)
    no_replacement: str | None = None

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._limit = RateLimit(self.rate_limit, stop=self._stop)
        self._lock = threading.Lock()  # guards what the states and the four above hold, and renaming
        self._claims: dict[tuple[str, str], int] = {}
        self._queue: deque[Archive] = deque()
        self._fatal: DiskError | None = None

    def run(self, archives: Sequence[Archive]) -> None:
        """Returns when each archive is complete or named in `failed`. Raises DiskError where nothing can be written.

        On KeyboardInterrupt the clips that are being written are finished first.
        """
        for split in {archive.split for archive in archives}:
            for entry in self.states[split].to_remember():
                self._append(entry)
        self._queue.extend(archives)
        workers = Workers(self._work, min(self.workers, len(archives)))
        try:
            while not workers.wait(0.1):
                self.progress.tick()
        finally:
            self._stop.set()
            workers.wait(_INTERRUPT_SECONDS)
        if self._fatal is not None:
            raise self._fatal

    def passed_in(self, split: str) -> list[Passed]:
        """What was passed over in the archives of a split, in their order."""
        archives = sorted((one for one in self.passed if one.split == split), key=lambda one: one.index)
        return [self.passed[archive] for archive in archives]

    def name_missing(self) -> None:
        """After `run`: what no archive of a split has, if all of them could be read."""
        for state in self.states.values():
            if any(archive.key in self.failed for archive in state.archives):
                continue
            error = {"class": "missing", "message": "no archive of the split has it"}
            for name in state.may_be_missing():
                self._record(state, Entry(name, state.tree.split, "archives", "missing", error=error))

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                archive = self._queue.popleft()
            except IndexError:
                return
            try:
                try:
                    self._fetch(archive)
                except (Stopped, DiskError):
                    raise
                except Exception as error:  # one archive must not end a run of days
                    self._fail(archive, error)
            except Stopped:
                return
            except DiskError as error:
                self._fatal = error
                self._stop.set()

    def _fetch(self, archive: Archive) -> None:
        reopened = self.states[archive.split].reopened(archive)
        if reopened is not None:
            self._append(reopened)
        for last_attempt in (False, True):
            try:
                return self._fetch_once(archive)
            except (ArchiveError, ChangedError) as error:
                self.progress.expect(archive.fetched_bytes)
                self._distrust(archive)
                if last_attempt:
                    raise
                self.progress.note(f"once more from the start: {archive.key}: {_message(error, archive)}")

    def _fetch_once(self, archive: Archive) -> None:
        if archive.kept.exists():
            with open(archive.kept, "rb") as file:
                passed = self._read(archive, file)
                return self._complete(archive, os.fstat(file.fileno()).st_size, passed)
        transfer = PartialFile(
            archive.url, archive.partial, limit=self._limit, stop=self._stop, on_bytes=self.progress.add_bytes
        )
        with transfer, io.BufferedReader(transfer, _READ_BYTES) as file:
            passed = self._read(archive, file)
            transfer.drain()
            size = transfer.position
        if self.keep:
            transfer.keep(archive.kept)
        self._complete(archive, size, passed)
        discard_partial(archive.partial)

    def _complete(self, archive: Archive, size: int, passed: Passed) -> None:
        with self._lock:
            self.passed[archive] = passed
        selection = self.states[archive.split].selection(passed.unwanted)
        self._append(Entry(archive.key, archive.split, "archives", "complete", bytes=size, selection=selection))

    def _read(self, archive: Archive, file: BinaryIO) -> Passed:
        """Takes the clips out of an archive and returns what it passed over."""
        tree = self.states[archive.split].tree
        passed, refused = Passed(), 0

        def refuse(member: str, reason: str) -> None:
            nonlocal refused
            refused += 1
            if refused <= _NAMED_REFUSALS:
                self._refuse(archive, member[:200], reason)

        for member, data in read_archive(file, name=archive.url, on_refused=refuse):
            if self._stop.is_set():
                raise Stopped
            name = tree.index.find_file(member)
            if name is None:
                passed.add_stranger(member)
            elif name in tree.index:
                self._take(archive, name, data)
            else:
                passed.unwanted += 1
        if refused > _NAMED_REFUSALS:
            self._refuse(archive, "(others)", f"{refused - _NAMED_REFUSALS:,} more members")
        return passed

    def _take(self, archive: Archive, name: str, data: bytes) -> None:
        state = self.states[archive.split]
        if not data:
            with self._lock:
                if name not in state.owners and state.statuses.get(name) != "empty":
                    error = {"class": "empty", "message": "the archive has it without a byte"}
                    self._record(state, Entry(name, archive.split, archive.key, "empty", bytes=0, error=error))
            return
        claim = (archive.split, name)
        with self._lock:
            if (
                min(state.owners.get(name, archive.index + 1), self._claims.get(claim, archive.index + 1))
                <= archive.index
            ):
                return
            self._claims[claim] = archive.index
        path = state.tree.path(name)
        # A run that was killed between renaming and the ledger's line has left it whole.
        if name in state.strangers and _holds(path, data):
            temporary = None
        elif name in state.others or path.name != f"{name}.mp4":  # others have it, perhaps in another form
            return
        else:
            temporary = state.tree.temporary(name, tag=str(archive.index))
            with disk_errors(temporary):
                _write(temporary, data)
        digest = hashlib.sha256(data).hexdigest()
        entry = Entry(name, archive.split, archive.key, "complete", bytes=len(data), sha256=digest)
        with self._lock:
            if self._claims[claim] != archive.index:  # another archive, whose clip wins, came in between
                if temporary is not None:
                    temporary.unlink()
                return
            if temporary is not None:
                with disk_errors(path):
                    os.replace(temporary, path)
            self._record(state, entry)
            state.owners[name] = archive.index

    def _record(self, state: SplitState, entry: Entry) -> None:
        self._append(entry)
        self.progress.count(entry.status, before=state.statuses.get(entry.key))
        state.statuses[entry.key] = entry.status

    def _append(self, entry: Entry) -> None:
        with disk_errors(self.ledger.path):
            self.ledger.append(entry)

    def _refuse(self, archive: Archive, member: str, reason: str) -> None:
        error = {"class": "refused", "message": reason}
        self._append(Entry(f"{archive.key}!{member}", archive.split, archive.key, "refused", error=error))
        with self._lock:
            self.refused.append(f"{archive.key}: {member!a}: {reason}")

    def _distrust(self, archive: Archive) -> None:
        """After a failed checksum any clip of the archive may be the damaged one: they are to be compared again."""
        state = self.states[archive.split]
        with self._lock:
            for name in state.doubtful(archive):
                path = state.tree.path(name)
                size = path.stat().st_size if path.exists() else None
                error = {"class": "corrupt", "message": "it came from an archive that is corrupt"}
                self._record(state, Entry(name, archive.split, archive.key, "unchecked", bytes=size, error=error))
                del state.owners[name]
                state.strangers.add(name)
                self._claims.pop((archive.split, name), None)
        archive.kept.unlink(missing_ok=True)
        discard_partial(archive.partial)

    def _fail(self, archive: Archive, error: Exception) -> None:
        kind = next((name for base, name in _ERROR_CLASSES.items() if isinstance(error, base)), type(error).__name__)
        message = _message(error, archive) or kind
        self._append(Entry(archive.key, archive.split, "archives", "failed", error={"class": kind, "message": message}))
        if archive.is_replacement and isinstance(error, FileNotFoundError):
            self.no_replacement = archive.key
            self.progress.note(f"{archive.split}: no clips are replaced, since the mirror does not have {archive.key}")
            return
        with self._lock:
            self.failed[archive.key] = message
        self.progress.note(f"failed: {archive.key}: {message}")


def _message(error: Exception, archive: Archive) -> str:
    """What an error says, without the archive's name, which we say."""
    return str(error).removeprefix(f"{archive.url}: ")


def _write(path: Path, data: bytes) -> None:
    # Not `write_bytes`, which makes twice as many system calls; for each, a thread may have to wait for the others.
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


def _holds(path: Path, data: bytes) -> bool:
    """Whether the file at `path` has these bytes."""
    try:
        with open(path, "rb") as file:
            return os.fstat(file.fileno()).st_size == len(data) and file.read() == data
    except FileNotFoundError:
        return False
