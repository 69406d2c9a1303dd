"""What each annotated clip of a split is, and each file that is none of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from kinetics_tools.downloading.clip_tree import class_of
from kinetics_tools.downloading.ledger import Entry
from kinetics_tools.releases import LABELS
from kinetics_tools.sources.tree import file_order
from kinetics_tools.text import printable
from kinetics_tools.verification.inventory import Clip, Inventory

__all__ = ["SHORT_SECONDS", "Judge", "recorded_sha256"]

SHORT_SECONDS = 0.5  # a clip that lacks more than this of its segment is short


class Judge:
    """Says of each annotated clip that is asked for, and of each file that is none, what it is."""

    def __init__(
        self,
        release: str,
        trees: Sequence[Inventory],
        duplicates: Sequence[Sequence[Clip]],
        ledger: Mapping[tuple[str, str], Entry],
    ):
        self._release = release
        self._indices = {tree.split: tree.index for tree in trees}
        self._ledger = ledger
        self._alike = {clip.path: group for group in duplicates for clip in group}
        self._first: dict[str, Clip] = {}  # path -> of the annotated clips with the same bytes that of the first name
        # path -> name of the annotated clip that the file is
        self._owners = {
            clip.path: name for tree in trees for clip in tree.clips if (name := tree.index.find(clip.stem)) is not None
        }
        for group in duplicates:
            known = sorted(
                (clip for clip in group if clip.path in self._owners),
                key=lambda clip: (self._owners[clip.path], clip.path),
            )
            self._first |= {clip.path: known[0] for clip in known}

    def rows(self, tree: Inventory) -> list[tuple[Any, ...]]:
        """Values for COLUMNS: of each clip of a split that is asked for, in order, then of each unexpected file."""
        split, table = tree.split, tree.index.table
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
        for name, youtube_id, start, end, label in zip(tree.index.names.to_pylist(), *columns, strict=True):
            shown = (split, name, youtube_id, start, end, LABELS[self._release][label] if label >= 0 else None)
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
            is_empty = not clip.known.bytes
            return file_order(clip.path, clip.folder, is_empty=is_empty, label=label, release=self._release)

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
            found.append(("misplaced", f"annotated as {LABELS[self._release][label]}"))
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
        for other, index in self._indices.items():
            if other != split and index.find(clip.stem) is not None:
                return f"annotated in {other}"
        return "not annotated"


def recorded_sha256(ledger: Mapping[tuple[str, str], Entry], split: str, name: str, clip: Clip) -> str | None:
    """What the ledger has of the file of an annotated clip; None of a member of an archive, which it did not write."""
    entry = None if clip.in_archive else ledger.get((split, name))
    return None if entry is None else entry.sha256


def _file(clip: Clip) -> tuple[Any, ...]:
    info = clip.known.info
    return (printable(clip.path), clip.known.bytes, *(astuple(info) if info else (None,) * 7))


def _no_file() -> tuple[Any, ...]:
    return (None,) * 9
