"""Plan of a download: the annotated clips of each split, and the archives that hold them."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from kinetics_tools.annotations import ClipIndex, Selection, annotation_file, drop_repeats, read_split
from kinetics_tools.downloading.archive import Archive
from kinetics_tools.downloading.clip_tree import ClipTree, copy_annotations
from kinetics_tools.downloading.ledger import Entry
from kinetics_tools.downloading.state import SplitState
from kinetics_tools.errors import NoLabelsError
from kinetics_tools.io import remote_size
from kinetics_tools.releases import SPLITS
from kinetics_tools.sources import archive_urls

# Of clips of 720 rows, as `media.cut` encodes them; of 256 rows it is a quarter of that.
_SEGMENT_BYTES_PER_SECOND = 400_000


@dataclass(frozen=True)
class Needs:
    """Bytes to download, estimated bytes to write, and free space; the size of `unknown_sizes` files is unknown."""

    bytes_to_fetch: int
    unknown_sizes: int
    disk_bytes: int
    free_bytes: int


@dataclass(frozen=True)
class _Split:
    table: pa.Table  # as the annotation file has it
    index: ClipIndex
    annotations: str
    archives: list[Archive]


class Plan:
    """Clips and, with `archives`, archives of a selection, by the lists and annotations of the mirror."""

    def __init__(self, selection: Selection, out: Path, *, archives: bool, console: Console):
        self.selection = selection
        self.out = out
        self._splits: dict[str, _Split] = {}
        for split in selection.splits or SPLITS:
            try:
                self._splits[split] = self._split(split, archives=archives)
            except NoLabelsError as error:
                if selection.splits is not None:
                    raise
                console.print(f"{split}: skipped: {error}")

    def _split(self, split: str, *, archives: bool) -> _Split:
        asked, release = self.selection, self.selection.release
        urls = archive_urls(release, split, classes=asked.class_names, mirror=asked.mirror) if archives else []
        path = annotation_file(release, split, annotations=asked.annotations, mirror=asked.mirror)
        table = read_split(path, release, split)
        annotated = drop_repeats(table, path)
        index = ClipIndex(annotated, asked.choose(annotated, split))
        found = [Archive(self.out, url, split, number) for number, url in enumerate(urls)]
        return _Split(table, index, path, found)

    def states(self, entries: Mapping[tuple[str, str], Entry], *, clean: bool) -> dict[str, SplitState]:
        """Return the state of each split; `clean` removes unfinished files of killed runs."""
        return {
            split: SplitState(
                ClipTree(self.out, self.selection.release, split, plan.index), plan.archives, entries, clean=clean
            )
            for split, plan in self._splits.items()
        }

    def copy_annotations(self) -> None:
        """Copy the annotations into the output directory."""
        for split, plan in self._splits.items():
            copy_annotations(plan.annotations, self.out, self.selection.release, split, plan.table)

    def needs(
        self, states: Mapping[str, SplitState], archives: Sequence[Archive], *, workers: int, keep: bool
    ) -> Needs:
        """Return the bytes and space to download `archives`, `workers` at once. Asks the server for their lengths."""
        to_fetch = [archive for archive in archives if not archive.kept.exists()]
        with ThreadPoolExecutor(16) as pool:
            sizes = dict(zip(to_fetch, pool.map(lambda archive: remote_size(archive.url), to_fetch), strict=True))
        here = {archive: archive.partial_bytes for archive in to_fetch}
        clips = sum(self._clip_bytes(state, sizes) for state in states.values())
        in_flight = sorted(sizes.values(), reverse=True)[: None if keep else workers]
        return Needs(
            bytes_to_fetch=sum(max(0, size - here[archive]) for archive, size in sizes.items()),
            unknown_sizes=sum(not size for size in sizes.values()),
            disk_bytes=max(0, round(clips) + sum(in_flight) - sum(here.values())),
            free_bytes=self._free_bytes(),
        )

    def needs_of_segments(self, names: Mapping[str, Collection[str]]) -> Needs:
        """Return the estimated space for the clips of `names`, by split, cut from their videos."""
        seconds = 0.0
        for split, chosen in names.items():
            index, wanted = self._splits[split].index, set(chosen)
            rows = index.table.filter(pa.array([name in wanted for name in index], type=pa.bool_()))
            seconds += sum(rows["time_end"].to_pylist()) - sum(rows["time_start"].to_pylist())
        return Needs(0, sum(map(len, names.values())), round(seconds * _SEGMENT_BYTES_PER_SECOND), self._free_bytes())

    def _free_bytes(self) -> int:
        folder = next(folder for folder in (self.out, *self.out.absolute().parents) if folder.is_dir())
        return shutil.disk_usage(folder).free

    def _clip_bytes(self, state: SplitState, sizes: Mapping[Archive, int]) -> float:
        """Return an estimate of the bytes of clips in these archives. Clips do not compress."""
        plan = self._splits[state.tree.split]
        classes = self.selection.class_names
        rows = len(plan.index.annotated)
        if classes is not None and len(plan.archives) == len(classes):  # one archive for each class
            of_classes = Selection(self.selection.release, classes=classes)
            rows = len(of_classes.choose(plan.index.annotated, state.tree.split))
        share = len(plan.index) / max(rows, 1)
        mine = {archive.key: size for archive, size in sizes.items() if archive.split == state.tree.split}
        return sum(max(0.0, size * share - state.bytes_of[key]) for key, size in mine.items())
