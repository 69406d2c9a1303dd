"""Scanner of clip directories, and the order of several files of a clip."""

import functools
import os
import shlex
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from stat import S_ISDIR
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.annotations.find import find_annotations
from kinetics_tools.annotations.labels import label_index, normalize_label
from kinetics_tools.annotations.read import YOUTUBE_ID
from kinetics_tools.io.stores import open_store
from kinetics_tools.releases import RELEASES, SPLITS, directory_names
from kinetics_tools.text import few, is_archive_name, is_video_name, stem_of


def split_directories(data_dir: str, split: str) -> list[str]:
    """Return the directories in `data_dir` that hold a split, such as `val` and `validate`, whichever exist."""
    return [f"{data_dir}/{name}" for name in directory_names(split) if os.path.isdir(f"{data_dir}/{name}")]


def layout_hint(data_dir: str) -> str:
    """Return what to pass instead of a directory without clips, or what it must hold."""
    parent, name = os.path.split(data_dir)
    if not any(split_directories(data_dir, split) for split in SPLITS):
        if any(name in directory_names(split) for split in SPLITS):
            return f"it is the directory of one split; pass {parent}"
        if is_prepared(data_dir):
            shards = [name for name in RELEASES if os.path.isdir(f"{data_dir}/{name}")] or ["RELEASE"]
            return f'it holds prepared shards; load them with load_dataset("{data_dir}", "{shards[0]}")'
    return (
        "it must hold train, val (or validate, validation) or test, each with <class>/<clip>.mp4, <clip>.mp4 or "
        f"*.tar.gz, as `kinetics download` writes them; it holds {few(sorted(os.listdir(data_dir)), 10) or 'nothing'}"
    )


def extraction(data_dir: str, release: str) -> str:
    """Return the command that extracts the archives in `data_dir`, for messages."""
    return shlex.join(["kinetics", "convert", data_dir, release, "--to", "files", "--out", "extracted"])


def class_directories(data_dir: str, splits: Iterable[str], paths: Iterable[str] | None = None) -> list[str]:
    """Return the directories in those of splits, relative to `data_dir`, that may be named after classes.

    Args:
        data_dir: the clip directory.
        splits: names of splits.
        paths: those of a `tree_state` of the splits, so that large directories are not listed again.
    """
    parents = {directory for split in splits for directory in split_directories(data_dir, split)}
    if paths is None:
        paths = chain.from_iterable(map(clip_directories, parents))
    found = []
    for path in paths:
        parent, _, name = path.rpartition("/")
        if parent in parents and not name.startswith(".") and not is_video_name(name) and os.path.isdir(path):
            found.append(path[len(data_dir) + 1 :])
    return found


@dataclass
class SplitFiles:
    """Files in a directory of clips and in the directories in it, by kind. All are paths.

    Attributes:
        clips: files that are named like clips.
        dead_links: broken links that are named like clips.
        no_files: directories, FIFOs and sockets that are named like clips.
        archives: archives directly in the directory.
        folders: directories directly in the directory, which may be named after classes.
        unfinished: leftovers of killed downloads, named `.*.tmp`.
    """

    clips: list[str] = field(default_factory=list)
    dead_links: list[str] = field(default_factory=list)
    no_files: list[str] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)

    def add(self, other: "SplitFiles") -> None:
        """Add the files of another directory."""
        for name, paths in vars(other).items():
            getattr(self, name).extend(paths)

    def _add_file(self, entry: "os.DirEntry[str]") -> bool:
        if is_video_name(entry.name):
            # Nothing but a link needs a look.
            kind = self.clips if entry.is_file() else self.no_files if _is_special(entry) else self.dead_links
            kind.append(entry.path)
        elif entry.name.startswith(".") and entry.name.endswith(".tmp"):
            self.unfinished.append(entry.path)
        else:
            return False
        return True


def _is_special(entry: "os.DirEntry[str]") -> bool:
    """Return True for a directory, FIFO or socket. The last two would block a reader. A broken link is none of them."""
    return not entry.is_file() and os.path.exists(entry.path)


def scan_directory(directory: str) -> SplitFiles:
    """Return the files in a directory and in the directories in it, the depth of the public layouts."""
    found = SplitFiles()
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir():
                found.folders.append(entry.path)
            elif not found._add_file(entry) and is_archive_name(entry.name) and not _is_special(entry):
                found.archives.append(entry.path)
    for folder in found.folders:
        with os.scandir(folder) as files:
            for file in files:
                found._add_file(file)
    return found


def scan_split(data_dir: str, split: str) -> SplitFiles:
    """Return the files of a split, in whichever of its directories exist."""
    found = SplitFiles()
    for directory in split_directories(data_dir, split):
        found.add(scan_directory(directory))
    return found


def clips_below(folders: Iterable[str]) -> Iterator[str]:
    """Yield the paths of clips in directories in `folders`: deeper than in any public layout."""
    for folder in folders:
        with os.scandir(folder) as entries:
            tops = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
        for top in tops:
            for parent, _, names in os.walk(top):
                yield from (f"{parent}/{name}" for name in names if is_video_name(name))


def class_folder(path: str, split: str) -> str:
    """Return the name of the directory of a clip, which may name its class; "" if it is the directory of the split."""
    folder = path.rsplit("/", 2)[-2]
    return "" if folder in directory_names(split) else folder


def is_prepared(directory: str) -> bool:
    """Return True if `directory` is a prepared dataset, Parquet with a card that names its files."""
    card = directory + "/README.md"
    if not os.path.isfile(card) or os.path.isfile(directory + "/kinetics.py"):
        return False
    with open(card, encoding="utf-8", errors="replace") as file:
        return any(line.startswith("configs:") for line in file)


# ---- Several files of one clip ------------------------------------------------------------------------------


def has_bytes(path: str) -> bool:
    """Return True if a file exists and is not empty. `path` may be a URL that `fsspec` opens."""
    try:
        if "://" in path:
            files, name = open_store(path)
            return bool(files.size(name) != 0)
        return os.path.getsize(path) > 0
    except OSError:
        return False


def file_order(path: str, folder: str, *, is_empty: bool, label: int, release: str) -> tuple[bool, int, bool, str]:
    """Return the sort key of the files of one clip; the first file is used.

    A file with bytes comes before an empty one. Then: its class directory, no class directory (`folder` is ""), another
    class's. Then a name with the segment comes first, then the first path. `label` is the class index of the clip, -1
    without one.
    """
    index = label_index(release).get(normalize_label(folder))
    place = 1 if not folder else 0 if index == label else 2
    return is_empty, place, len(stem_of(path)) == 11, path


def one_file_per_name(
    paths: Iterable[str], order: Callable[[str, str], Any], *, name_of: Callable[[str], str] = str
) -> tuple[dict[str, str], list[str]]:
    """Return one file for each clip name, and the names that several files have.

    Args:
        paths: files of clips.
        order: sort key of (name, path); the first file is used.
        name_of: maps the stem of a file to the name of the clip.
    """
    paths = list(paths)
    names = list(map(name_of, map(stem_of, paths)))
    by_name = dict(zip(names, paths, strict=True))
    rivals: dict[str, list[str]] = {}
    if len(by_name) < len(paths):
        counts = Counter(names)
        for name, path in zip(names, paths, strict=True):
            if counts[name] > 1:
                rivals.setdefault(name, []).append(path)
    for name, files in rivals.items():
        by_name[name] = min(files, key=functools.partial(order, name))
    return by_name, list(rivals)


def table_of_names(paths: Iterable[str], release: str, split: str) -> pa.Table:
    """Return the annotations that a class tree without annotation files implies, as `read_split` would.

    The class is the directory of a file, the segment is in its name.
    """
    known = label_index(release)
    label_of = functools.cache(lambda folder: known.get(normalize_label(folder)))
    paths = [path for path in paths if label_of(class_folder(path, split)) is not None]
    by_stem, _ = one_file_per_name(paths, lambda _, path: (not has_bytes(path), path))
    stems = sorted(by_stem)
    pattern = rf"^(?P<youtube_id>{YOUTUBE_ID})_(?P<time_start>\d{{6}})_(?P<time_end>\d{{6}})$"
    fields = pc.extract_regex(pa.array(stems, type=pa.string()), pattern)
    labels = pa.array([label_of(class_folder(by_stem[stem], split)) for stem in stems], type=pa.int64())
    # The fields of a null are empty strings, which do not cast to numbers.
    is_clip_name = pc.is_valid(fields)
    fields, labels = fields.filter(is_clip_name), labels.filter(is_clip_name)
    return pa.table(
        {
            "youtube_id": fields.field("youtube_id"),
            "time_start": fields.field("time_start").cast(pa.float32()),
            "time_end": fields.field("time_end").cast(pa.float32()),
            "label": labels,
        }
    )


# ---- State, for the names of caches -------------------------------------------------------------------------


def tree_state(
    data_dir: str | None, splits: Iterable[str], annotations: str | None, more: Iterable[str] = ()
) -> list[tuple[str, int, int]]:
    """Return (path, bytes, time of change in ns) of directories, archives and annotation files.

    They change when clips or annotations do. A directory changes when its entries do, so clips in it are not listed;
    its size is given as 0.

    Args:
        data_dir: the clip directory, if there is one.
        splits: splits that are loaded.
        annotations: a file or directory that replaces the annotations in `data_dir`.
        more: further directories and files.
    """
    files: set[str] = set(more)
    splits = list(splits)
    if data_dir is not None:
        folders = {split: split_directories(data_dir, split) for split in splits}
        splits = [split for split in splits if folders[split]]
        for directories in folders.values():
            for directory in directories:
                files.update(clip_directories(directory))
    if annotations is not None:
        places = [annotations]
        files.update(filter(os.path.isfile, places))
    else:
        places = [data_dir + "/annotations", data_dir] if data_dir is not None else []
    found = (find_annotations(place, split) for place in places for split in splits)
    files.update(path for path in found if path is not None)
    # A link to nothing is described by its own time.
    stats = ((path, os.stat(path, follow_symlinks=os.path.exists(path))) for path in files)
    return sorted((path, 0 if S_ISDIR(stat.st_mode) else stat.st_size, stat.st_mtime_ns) for path, stat in stats)


def clip_directories(directory: str) -> list[str]:
    """Return a directory of clips, with the directories and archives in it."""
    with os.scandir(directory) as entries:
        holders = [entry.path for entry in entries if entry.is_dir() or is_archive_name(entry.name)]
    return [directory, *holders]
