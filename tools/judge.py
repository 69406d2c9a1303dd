"""What each annotated clip of a split is, and each file that is none of them."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

import pyarrow as pa

import kinetics
from kinetics_tools.inventory import Clip, Inventory
from kinetics_tools.ledger import Entry
from kinetics_tools.tree import class_of

__all__ = ["SHORT_SECONDS", "Annotated", "Judge", "printable", "recorded_sha256"]

SHORT_SECONDS = 0.5  # a clip that lacks more than this of its segment is short


class Annotated:
    """The annotated clips by split: all of them in `tables`, and in `wanted` the rows that are asked for."""

    def __init__(self, tables: Mapping[str, pa.Table], wanted: Mapping[str, pa.Table]):
        self.wanted = wanted
        self.names = {split: kinetics.clip_names(table).to_pylist() for split, table in wanted.items()}
        self._all, self._of_ids, self._wanted_names = {}, {}, {}
        for split, names in self.names.items():
            whole = names if tables[split] is wanted[split] else kinetics.clip_names(tables[split]).to_pylist()
            self._all[split], self._of_ids[split] = frozenset(whole), _names_of_ids(whole)
            self._wanted_names[split] = self._all[split] if whole is names else frozenset(names)

    def find(self, split: str, stem: str) -> str | None:
        """The annotated clip that a file is, as the loader finds it: the id alone is enough where it has one clip."""
        return stem if stem in self._all[split] else self._of_ids[split].get(stem)

    def is_asked_for(self, split: str, stem: str) -> bool:
        """Whether a file is one of the clips that are asked for, or none that is annotated."""
        name = self.find(split, stem)
        return name is None or name in self._wanted_names[split]


class Judge:
    """Says of each annotated clip that is asked for, and of each file that is none, what it is."""

    def __init__(
        self,
        release: str,
        trees: Sequence[Inventory],
        annotated: Annotated,
        duplicates: Sequence[Sequence[Clip]],
        ledger: Mapping[tuple[str, str], Entry],
    ):
        self._release = release
        self._annotated = annotated
        self._ledger = ledger
        self._alike = {clip.path: group for group in duplicates for clip in group}
        self._first: dict[str, Clip] = {}  # path -> of the annotated clips with the same bytes that of the first name
        # path -> name of the annotated clip that the file is
        self._owners = {
            clip.path: name
            for tree in trees
            for clip in tree.clips
            if (name := annotated.find(tree.split, clip.stem)) is not None
        }
        for group in duplicates:
            known = sorted(
                (clip for clip in group if clip.path in self._owners),
                key=lambda clip: (self._owners[clip.path], clip.path),
            )
            self._first |= {clip.path: known[0] for clip in known}

    def rows(self, tree: Inventory) -> list[tuple[Any, ...]]:
        """Values for COLUMNS: of each clip of a split that is asked for, in order, then of each unexpected file."""
        split, table = tree.split, self._annotated.wanted[tree.split]
        candidates: defaultdict[str, list[Clip]] = defaultdict(list)
        unexpected: list[tuple[Clip, str]] = []
        for clip in tree.clips:
            owner = self._owners.get(clip.path)
            if owner is None:
                unexpected.append((clip, self._why_unexpected(split, clip)))
            else:
                candidates[owner].append(clip)
        rows = []
        columns = [table[name].to_pylist() for name in ("youtube_id", "time_start", "time_end", "label")]
        for name, youtube_id, start, end, label in zip(self._annotated.names[split], *columns, strict=True):
            shown = (split, name, youtube_id, start, end, kinetics.LABELS[self._release][label] if label >= 0 else None)
            if name not in candidates:
                rows.append((*shown, "missing", self._why_missing(split, name), *_no_file()))
                continue
            best, *others = self._as_loaded(candidates[name], label)
            unexpected += [(clip, f"another file of {best.path}") for clip in others]
            rows.append((*shown, *self._judged(best, split, name, label, end - start), *_file(best)))
        for clip, why in sorted(unexpected, key=lambda item: item[0].path):
            twin = next((other for other in self._alike.get(clip.path, ()) if other is not clip), None)
            details = [why, clip.known.error, f"same bytes as {twin.path}" if twin else None]
            detail = "; ".join(filter(None, details))
            rows.append(
                (split, printable(clip.stem), None, None, None, None, "unexpected", printable(detail), *_file(clip))
            )
        for path in tree.deeper:
            stem = printable(path.rpartition("/")[2].rpartition(".")[0])
            shown = (split, stem, None, None, None, None)
            why = "deeper than any layout has clips, and not looked into"
            rows.append((*shown, "unexpected", why, printable(path), *_no_file()[1:]))
        return rows

    def _as_loaded(self, clips: list[Clip], label: int) -> list[Clip]:
        """Of the files of one clip first the one that the loader takes; of members of archives that is the first."""

        def order(clip: Clip) -> Any:
            has_bytes = bool(clip.known.bytes)
            return kinetics.file_order(clip.path, clip.folder, has_bytes=has_bytes, label=label, release=self._release)

        return clips if clips[0].in_archive else sorted(clips, key=order)

    def _judged(self, clip: Clip, split: str, owner: str, label: int, seconds: float) -> tuple[str, str]:
        """The status, the first that holds, and all that is wrong."""
        found, info = [], clip.known.info
        recorded = recorded_sha256(self._ledger, split, owner, clip)
        if clip.known.bytes == 0:
            found.append(("empty", "has no bytes"))
        elif clip.known.error is not None:
            found.append(("unreadable", clip.known.error))
        elif None not in (recorded, clip.known.sha256) and recorded != clip.known.sha256:
            found.append(("unreadable", "is not what was downloaded, by SHA-256: delete it and download it again"))
        first = self._first.get(clip.path, clip)
        if self._owners[first.path] != owner:
            found.append(("duplicate", f"same bytes as {first.path}"))
        if self._is_misplaced(clip, label):
            found.append(("misplaced", f"annotated as {kinetics.LABELS[self._release][label]}"))
        if info is not None and seconds - info.duration_seconds > SHORT_SECONDS:
            found.append(("short", f"{info.duration_seconds:.2f} s of {seconds:g} s"))
        return found[0][0] if found else "present", printable("; ".join(detail for _, detail in found))

    def _is_misplaced(self, clip: Clip, label: int) -> bool:
        if label < 0 or not clip.folder:
            return False
        index = class_of(clip.folder, self._release)
        # Archives may have their members in any folder, such as the name of the archive.
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
        for other in self._annotated.wanted:
            if other != split and self._annotated.find(other, clip.stem) is not None:
                return f"annotated in {other}"
        return "not annotated"


def _names_of_ids(names: Sequence[str]) -> dict[str, str]:
    counts = Counter(name[:11] for name in names)
    return {name[:11]: name for name in names if counts[name[:11]] == 1}


def recorded_sha256(ledger: Mapping[tuple[str, str], Entry], split: str, name: str, clip: Clip) -> str | None:
    """What the ledger has of the file of an annotated clip; None of a member of an archive, which it did not write."""
    entry = None if clip.in_archive else ledger.get((split, name))
    return None if entry is None else entry.sha256


def printable(text: str) -> str:
    """File names may be no text in any encoding."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _file(clip: Clip) -> tuple[Any, ...]:
    info = clip.known.info
    return (printable(clip.path), clip.known.bytes, *(astuple(info) if info else (None,) * 7))


def _no_file() -> tuple[Any, ...]:
    return (None,) * 9
