"""Status of each annotated clip of a split, and of each unexpected file."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from kinetics_tools.downloading import Entry, class_of
from kinetics_tools.releases import LABELS
from kinetics_tools.sources import file_order
from kinetics_tools.text import printable
from kinetics_tools.verification.inventory import Clip, Inventory

SHORT_SECONDS = 0.5  # a clip that is shorter than its segment by more than this is "short"


class Classifier:
    """Classifier of the selected annotated clips and of unexpected files.

    The clips in `trees` are examined; `duplicates` are groups of clips with the same bytes.
    """

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
        self._twins = {clip.path: group for group in duplicates for clip in group}
        self._first: dict[str, Clip] = {}  # path -> the annotated clip with the same bytes that is first by name
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
        """Return values for COLUMNS: of each selected clip, in order, then of each unexpected file."""
        split, table = tree.split, tree.index.table
        files: defaultdict[str, list[Clip]] = defaultdict(list)
        unexpected: list[tuple[Clip, str]] = []
        for clip in tree.clips:
            owner = self._owners.get(clip.path)
            if owner is None:
                unexpected.append((clip, tree.index.why_not(clip.stem) or self._why_unexpected(split, clip)))
            else:
                files[owner].append(clip)
        rows = []
        columns = [table[name].to_pylist() for name in ("youtube_id", "time_start", "time_end", "label")]
        for name, youtube_id, start, end, label in zip(tree.index.names.to_pylist(), *columns, strict=True):
            key = (split, name, youtube_id, start, end, LABELS[self._release][label] if label >= 0 else None)
            if name not in files:
                rows.append((*key, "missing", self._why_missing(split, name), *_file_columns(None)))
                continue
            best, *others = self._in_loading_order(files[name], label)
            unexpected += [(clip, f"another file of {best.path}") for clip in others]
            rows.append((*key, *self._status(best, split, name, label, end - start), *_file_columns(best)))
        for clip, why in sorted(unexpected, key=lambda item: item[0].path):
            rows.append(self._unexpected_row(split, clip, why))
        for path in tree.deeper:
            stem = printable(path.rpartition("/")[2].rpartition(".")[0])
            why = "deeper than clips in any layout, and not checked"
            rows.append(
                (split, stem, None, None, None, None, "unexpected", why, printable(path), *_file_columns(None)[1:])
            )
        return rows

    def _unexpected_row(self, split: str, clip: Clip, why: str) -> tuple[Any, ...]:
        twin = next((other for other in self._twins.get(clip.path, ()) if other is not clip), None)
        detail = "; ".join(filter(None, [why, clip.known.error, f"same bytes as {twin.path}" if twin else None]))
        key = (split, printable(clip.stem), None, None, None, None)
        return (*key, "unexpected", printable(detail), *_file_columns(clip))

    def _in_loading_order(self, clips: list[Clip], label: int) -> list[Clip]:
        """Sort the files of one clip, first the one that the loader uses; in archives, the first member."""

        def order(clip: Clip) -> Any:
            is_empty = not clip.known.bytes
            return file_order(clip.path, clip.folder, is_empty=is_empty, label=label, release=self._release)

        return clips if clips[0].in_archive else sorted(clips, key=order)

    def _status(self, clip: Clip, split: str, owner: str, label: int, seconds: float) -> tuple[str, str]:
        """Return the first status that holds, and all problems."""
        problems, info = self._content_problems(clip, split, owner), clip.known.info
        first = self._first.get(clip.path, clip)
        if self._owners[first.path] != owner:
            problems.append(("duplicate", f"same bytes as {first.path}"))
        if self._is_misplaced(clip, label):
            problems.append(("misplaced", f"annotated as {LABELS[self._release][label]}"))
        if info is not None and seconds - info.duration_seconds > SHORT_SECONDS:
            problems.append(("short", f"{info.duration_seconds:.2f} s of {seconds:g} s"))
        return problems[0][0] if problems else "present", printable("; ".join(detail for _, detail in problems))

    def _content_problems(self, clip: Clip, split: str, owner: str) -> list[tuple[str, str]]:
        recorded = recorded_sha256(self._ledger, split, owner, clip)
        if clip.known.bytes == 0:
            return [("empty", "has no bytes")]
        if clip.known.error is not None:
            return [("unreadable", clip.known.error)]
        if None not in (recorded, clip.known.sha256) and recorded != clip.known.sha256:
            return [("unreadable", "differs from the download by SHA-256: delete it and download it again")]
        return []

    def _is_misplaced(self, clip: Clip, label: int) -> bool:
        if label < 0 or not clip.folder:
            return False
        index = class_of(clip.folder, self._release)
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


def recorded_sha256(ledger: Mapping[tuple[str, str], Entry], split: str, name: str, clip: Clip) -> str | None:
    """Return the ledger's SHA-256 of the file of an annotated clip; None without one, and for members of archives."""
    entry = None if clip.in_archive else ledger.get((split, name))
    return None if entry is None else entry.sha256


def _file_columns(clip: Clip | None) -> tuple[Any, ...]:
    if clip is None:
        return (None,) * 9
    info = clip.known.info
    return (printable(clip.path), clip.known.bytes, *(astuple(info) if info else (None,) * 7))
