"""State of the clips of a split, from the ledger, the disk and the current run."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence

from kinetics_tools.downloading.archive import Archive
from kinetics_tools.downloading.clip_tree import ClipTree
from kinetics_tools.downloading.ledger import Entry, Ledger
from kinetics_tools.run import Progress

# Statuses of clips that are on disk.
HERE = ("complete", "found")


class SplitState:
    """State of the clips of a split that are asked for.

    `entries` is the result of `read_ledger`. `clean` removes unfinished files of killed runs.

    Attributes:
        statuses: clip -> status; unknown clips are not in it.
        owners: complete clip -> index of its archive, -1 for any other source.
        unverified: clips on disk that the ledger does not list, so their content is unknown.
        preexisting: unverified clips that existed before the first archive was read; never replaced. The other
            unverified clips are from a run that was killed before it wrote their lines.
        bytes_of: source -> bytes on disk of its complete clips.
        selection: digest of the clips that are asked for, for the ledger.
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
        self.bytes_of = Counter[str]()
        self._entries = entries
        self._verified: set[str] = set()  # clips from archives that were complete
        self._incomplete_sources: set[str] = set()  # of clips that were complete and no longer are
        self.selection = hashlib.sha256("\n".join(sorted(tree.index)).encode()).hexdigest()[:16]
        present = tree.present(clean=clean)
        self._add_entries(present)
        self.unverified = present.keys() - self.owners.keys()
        found = {name for name in self.unverified if present[name] and not self._was_written(name)}
        self.statuses.update(dict.fromkeys(found, "found"))
        known = Counter(self.statuses.values())
        here = known["complete"] + known["found"]
        self._is_accounted = here + known["missing"] + known["empty"] == len(tree.index)
        has_begun = any((tree.split, archive.key) in entries or archive.partial_bytes for archive in archives)
        recorded = {name for name in self.unverified if (entry := self.entry(name)) and entry.status == "found"}
        self.preexisting = recorded if has_begun else found
        self._new_preexisting = {name: present[name] for name in self.preexisting - recorded}
        # Once we have begun to read archives, it is their clips that decide.
        self._was_whole_before = (
            not has_begun and here == len(tree.index) and all(index < 0 for index in self.owners.values())
        )

    def _add_entries(self, present: Mapping[str, int]) -> None:
        order = {archive.key: archive.index for archive in self.archives}
        for name in self.tree.index:
            entry = self.entry(name)
            if entry is None or (entry.status == "found" and name not in present):
                continue
            if self._was_written(name) and present.get(name) != entry.bytes:
                self._incomplete_sources.add(entry.source)
                continue
            self.statuses[name] = entry.status
            if entry.status == "complete":
                self.owners[name] = order.get(entry.source, -1)
                self.bytes_of[entry.source] += entry.bytes or 0
                if self._was_complete(entry.source):
                    self._verified.add(name)

    def entry(self, name: str) -> Entry | None:
        """Return the entry of a clip or archive in the ledger before this run."""
        return self._entries.get((self.tree.split, name))

    def _was_written(self, name: str) -> bool:
        entry = self.entry(name)
        return entry is not None and entry.status in ("complete", "unchecked")

    def _was_complete(self, key: str) -> bool:
        entry = self.entry(key)
        return entry is not None and entry.status == "complete"

    def pending(self, *, keep: bool) -> list[Archive]:
        """Return the archives to read: not complete, not for these clips, or, with `keep`, not on disk."""
        if len(self.tree.index) == 0:
            return []
        return [archive for archive in self.archives if not self._is_done(archive, keep=keep)]

    def _is_done(self, archive: Archive, *, keep: bool) -> bool:
        if keep and not archive.kept.exists():
            return False
        if self._was_whole_before:
            return True
        entry = self.entry(archive.key)
        if entry is None or entry.status != "complete" or archive.key in self._incomplete_sources:
            return False
        return entry.selection in (None, self.selection) or self._is_accounted

    def preexisting_entries(self) -> list[Entry]:
        """Return the ledger entries of pre-existing clips, to be written before the first archive is read."""
        found = sorted(self._new_preexisting.items())
        return [Entry(name, self.tree.split, "disk", "found", bytes=size) for name, size in found]

    def incomplete_entry(self, archive: Archive) -> Entry | None:
        """Return the ledger entry to write before a complete archive is read again for new clips."""
        return Entry(archive.key, archive.split, "archives", "incomplete") if self._was_complete(archive.key) else None

    def unverified_clips(self, archive: Archive) -> list[str]:
        """Return the clips from an archive whose checksum never matched."""
        return [n for n, index in self.owners.items() if index == archive.index and n not in self._verified]

    def may_be_missing(self) -> list[str]:
        """Return the unknown clips, except those once cut from YouTube and deleted since."""
        entries = ((name, self.entry(name)) for name in self.tree.index)
        return [n for n, entry in entries if n not in self.statuses and (entry is None or entry.source != "youtube")]

    def record(self, entry: Entry, ledger: Ledger, progress: Progress) -> None:
        """Give a clip the status of `entry`, in the ledger and in the progress display, too."""
        ledger.append(entry)
        progress.count(entry.status, before=self.statuses.get(entry.key))
        self.statuses[entry.key] = entry.status

    def missing(self) -> list[str]:
        """Return the clips that no archive has."""
        return [name for name in self.tree.index if self.statuses.get(name) == "missing"]

    def counts(self) -> dict[str, int]:
        """Return the number of clips by status; "pending" are the unknown ones."""
        return dict(sorted(Counter(self.statuses.get(name, "pending") for name in self.tree.index).items()))
