"""Status of each annotated clip of a split, and of each unexpected file."""

import functools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

from kinetics_tools.annotations import ClipIndex
from kinetics_tools.downloading import Entry, class_of
from kinetics_tools.media import ClipInfo
from kinetics_tools.probing import ClipProbe, ProbeTable
from kinetics_tools.releases import LABELS
from kinetics_tools.sources import file_order
from kinetics_tools.text import printable
from kinetics_tools.verification.inventory import Clip, Inventory

_FACTS = attrgetter(*(field.name for field in fields(ClipInfo)))
_NO_FILE = (None,) * 9
_ROWS = 10_000  # at once
SHORT_SECONDS = 0.5  # a clip that is shorter than its segment by more than this is "short"


class Classifier:
    """Classifier of the selected annotated clips and of unexpected files.

    The clips in `trees` are examined, with their probes in `probes`; `duplicates` are groups of clips with the same
    bytes.
    """

    def __init__(
        self,
        release: str,
        trees: Sequence[Inventory],
        probes: ProbeTable,
        duplicates: Sequence[Sequence[Clip]],
        ledger: Mapping[tuple[str, str], Entry],
    ):
        self._release = release
        self._probes = probes
        self._indices = {tree.split: tree.index for tree in trees}
        self._ledger = ledger
        self._class_of = functools.cache(functools.partial(class_of, release=release))
        self._twins = {clip.path: group for group in duplicates for clip in group}
        self._first: dict[str, Clip] = {}  # path -> the annotated clip with the same bytes that is first by name
        for group in duplicates:
            known = sorted((clip for clip in group if clip.owner is not None), key=lambda clip: (clip.owner, clip.path))
            self._first |= {clip.path: known[0] for clip in known}

    def rows(self, tree: Inventory) -> Iterator[tuple[Any, ...]]:
        """Yield values for COLUMNS: of each selected clip, in order, then of each unexpected file."""
        split, table = tree.split, tree.index.table
        # The file of each selected clip, and the files of those that have several.
        files: list[Clip | None] = [None] * len(table)
        several: defaultdict[int, list[Clip]] = defaultdict(list)
        unexpected: list[tuple[Clip, str]] = []
        for clip in tree.clips:
            owner = clip.owner
            row = None if owner is None else tree.index.row(owner)
            if row is None:
                unexpected.append((clip, tree.index.why_not(clip.stem) or self._why_unexpected(split, clip)))
            elif files[row] is None:
                files[row] = clip
            else:
                several[row].append(clip)
        tree.index.forget()
        for row, (name, youtube_id, start, end, label) in enumerate(_annotated(tree.index)):
            file = files[row]
            key = (split, name, youtube_id, start, end, LABELS[self._release][label] if label >= 0 else None)
            if file is None:
                yield (*key, "missing", self._why_missing(split, name), *_NO_FILE)
                continue
            clip, *others = self._in_loading_order([file, *several.get(row, ())], label)
            unexpected += [(other, f"another file of {clip.path}") for other in others]
            probe = self._probes[clip.number]
            yield (*key, *self._status(clip, probe, split, label, end - start), *_file_columns(clip, probe))
        for clip, why in sorted(unexpected, key=lambda item: item[0].path):
            yield self._unexpected_row(split, clip, why)
        for path in tree.deeper:
            stem = printable(path.rpartition("/")[2].rpartition(".")[0])
            why = "deeper than clips in any layout, and not checked"
            yield (split, stem, None, None, None, None, "unexpected", why, printable(path), *_NO_FILE[1:])

    def _unexpected_row(self, split: str, clip: Clip, why: str) -> tuple[Any, ...]:
        twin = next((other for other in self._twins.get(clip.path, ()) if other is not clip), None)
        probe = self._probes[clip.number]
        detail = "; ".join(filter(None, [why, probe.error, f"same bytes as {twin.path}" if twin else None]))
        key = (split, printable(clip.stem), None, None, None, None)
        return (*key, "unexpected", printable(detail), *_file_columns(clip, probe))

    def _in_loading_order(self, clips: list[Clip], label: int) -> list[Clip]:
        """Sort the files of one clip, first the one that the loader uses; in archives, the first member."""

        def order(clip: Clip) -> Any:
            is_empty = not self._probes[clip.number].bytes
            return file_order(clip.path, clip.folder, is_empty=is_empty, label=label, release=self._release)

        return clips if len(clips) == 1 or clips[0].in_archive else sorted(clips, key=order)

    def _status(self, clip: Clip, probe: ClipProbe, split: str, label: int, seconds: float) -> tuple[str, str]:
        """Return the first status that holds, and all problems."""
        problems, info = self._content_problems(clip, probe, split), probe.info
        first = self._first.get(clip.path, clip)
        if first is not clip and first.owner != clip.owner:
            problems.append(("duplicate", f"same bytes as {first.path}"))
        if self._is_misplaced(clip, label):
            problems.append(("misplaced", f"annotated as {LABELS[self._release][label]}"))
        if info is not None and seconds - info.duration_seconds > SHORT_SECONDS:
            problems.append(("short", f"{info.duration_seconds:.2f} s of {seconds:g} s"))
        return problems[0][0] if problems else "present", printable("; ".join(detail for _, detail in problems))

    def _content_problems(self, clip: Clip, probe: ClipProbe, split: str) -> list[tuple[str, str]]:
        recorded = recorded_sha256(self._ledger, split, clip)
        if probe.bytes == 0:
            return [("empty", "has no bytes")]
        if probe.error is not None:
            return [("unreadable", probe.error)]
        if None not in (recorded, probe.sha256) and recorded != probe.sha256:
            return [("unreadable", "differs from the download by SHA-256: delete it and download it again")]
        return []

    def _is_misplaced(self, clip: Clip, label: int) -> bool:
        if label < 0 or not clip.folder:
            return False
        index = self._class_of(clip.folder)
        # Archives may have their members in any directory, such as one named after the archive.
        return index != label and not (clip.in_archive and index is None)

    def _why_missing(self, split: str, name: str) -> str:
        entry = self._ledger.get((split, name))
        if entry is None:
            return ""
        if entry.error is None:
            return f"{entry.status} when it was downloaded"
        kind = "" if entry.error["class"] == entry.status else f"{entry.error['class']}: "
        return printable(f"download: {kind}{entry.error['message']}")

    def _why_unexpected(self, split: str, clip: Clip) -> str:
        for other, index in self._indices.items():
            if other != split and index.find(clip.stem) is not None:
                return f"annotated in {other}"
        return "unannotated"


def recorded_sha256(ledger: Mapping[tuple[str, str], Entry], split: str, clip: Clip) -> str | None:
    """Return the ledger's SHA-256 of the file of an annotated clip; None without one, and for members of archives."""
    owner = clip.owner if ledger and not clip.in_archive else None
    entry = None if owner is None else ledger.get((split, owner))
    return None if entry is None else entry.sha256


def _annotated(index: ClipIndex) -> Iterator[tuple[Any, ...]]:
    """Yield name, id, start, end and label of each selected clip."""
    for first in range(0, len(index.table), _ROWS):
        table = index.table.slice(first, _ROWS)
        columns = [table[name].to_pylist() for name in ("youtube_id", "time_start", "time_end", "label")]
        yield from zip(index.names.slice(first, _ROWS).to_pylist(), *columns, strict=True)


def _file_columns(clip: Clip, probe: ClipProbe) -> tuple[Any, ...]:
    facts = (None,) * 7 if probe.info is None else _FACTS(probe.info)
    return (printable(clip.path), probe.bytes, *facts)
