"""Tables of the clips in a directory, local or in an object store."""

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from kinetics_tools.annotations.find import annotations_of_tree
from kinetics_tools.annotations.selection import Selection
from kinetics_tools.io.folder import Folder
from kinetics_tools.releases import SPLITS, directory_names
from kinetics_tools.sources.class_folders import check_class_folders, check_class_names
from kinetics_tools.sources.clips import ClipFinder, check_data_dir
from kinetics_tools.sources.tree import class_folder, layout_hint, split_directories
from kinetics_tools.text import is_video_name


def local_clips(
    selection: Selection, data_dir: str | os.PathLike[str], split: str, paths: Iterable[str] | None = None
) -> pa.Table | None:
    """Return the clips of one split of a clip directory; see `ClipFinder.table`."""
    return ClipFinder(selection, check_data_dir(data_dir)).table(split, paths)


def clip_tables(selection: Selection, data_dir: str | os.PathLike[str]) -> Iterator[tuple[str, pa.Table]]:
    """Yield (split, clips) of the selected splits, by default of all that exist; see `ClipFinder.table`.

    Args:
        selection: the selected clips. Its `annotations` default to those in `data_dir`.
        data_dir: a path, or a URL that `fsspec` opens.

    Raises:
        FileNotFoundError: there are no clips.
        ValueError: no clip of a split is asked for.
    """
    folder = Folder(data_dir)
    found = _local_tables(selection, folder.root) if folder.is_local else _remote_tables(selection, folder)
    count = 0
    for split, clips in found:
        if clips is None:
            continue
        if not len(clips):
            by = f" by {asked}" if (asked := selection.text()) else ""
            raise ValueError(
                f"no clip of the {split} split is selected{by}; choose other classes, subsets or annotations"
            )
        count += 1
        yield split, clips
    if not count:
        hint = layout_hint(folder.root) if folder.is_local else "it must hold train, val or test"
        raise FileNotFoundError(f"no clips in {folder.url}: {hint}")


def _local_tables(selection: Selection, root: str) -> Iterator[tuple[str, pa.Table | None]]:
    finder = ClipFinder(selection, check_data_dir(root))
    check_class_folders(root, selection)
    there = [split for split in SPLITS if split_directories(str(finder.data_dir), split)]
    for split in selection.splits or there:
        yield split, finder.table(split)


def _remote_tables(selection: Selection, folder: Folder) -> Iterator[tuple[str, pa.Table | None]]:
    with tempfile.TemporaryDirectory(prefix="kinetics-annotations-") as local:
        if selection.annotations is None:
            _copy_annotations(folder, Path(local))
        for split in selection.splits or SPLITS:
            files = (path for name in directory_names(split) for path in folder.find(name))
            paths = [path for path in files if is_video_name(path.rpartition("/")[2])]
            check_class_names({f"{split}/{class_folder(path, split)}" for path in paths} - {f"{split}/"}, selection)
            if paths or selection.splits:
                annotations = selection.annotations or annotations_of_tree(local, split)
                asked = replace(selection, annotations=annotations)
                yield split, ClipFinder(asked).table(split, paths)


def _copy_annotations(folder: Folder, local: Path) -> None:
    """Copy files that may be annotations, in `annotations/` or beside the splits."""
    for place in ("annotations/", ""):
        (local / place).mkdir(exist_ok=True)
        for name in folder.sizes(place):
            if name.lower().endswith((".csv", ".json")):
                (local / place / name).write_bytes(folder.read(place + name))
