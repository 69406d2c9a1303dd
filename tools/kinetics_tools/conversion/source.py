"""Source of a conversion: the clips of prepared shards, or of a clip directory, with their bytes."""

import fnmatch
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow.parquet as pq
from datasets.utils.logging import get_logger

from kinetics_tools.annotations import YOUTUBE_ID, Selection, clip_name
from kinetics_tools.errors import EmptySplitError
from kinetics_tools.io import Folder
from kinetics_tools.preparation import MANIFEST_NAME, DroppedClip, read_manifest
from kinetics_tools.releases import LABELS, RELEASES, SPLITS
from kinetics_tools.sources import ArchiveSource, ClipFinder, FileSource, check_class_folders, check_data_dir
from kinetics_tools.text import VIDEO_SUFFIXES, check_choice, few

_logger = get_logger("datasets.kinetics")

_PART_CLIPS = 10_000  # the Hub and many file systems slow down with more files in a directory
_MAX_SECONDS = 1_000_000
_KEYS = ("label", "youtube_id", "time_start", "time_end")


@dataclass(frozen=True, slots=True)
class SourceClip:
    """Clip with its bytes.

    Attributes:
        name: stem of its file name, unique in its split; it has no dots.
        suffix: container, such as ".mp4".
        label: class index, -1 without a label.
        keys: "youtube_id", and "time_start" and "time_end" in seconds.
        measured: columns of `prepare` that were measured, such as "fps"; empty for other sources.
    """

    name: str
    suffix: str
    label: int
    keys: Mapping[str, Any]
    measured: Mapping[str, Any]
    content: bytes = field(repr=False)

    @classmethod
    def of(cls, row: Mapping[str, Any], path: str, content: bytes) -> "SourceClip":
        """Return the clip of a row with the columns of an example; `path` gives its suffix."""
        keys = {name: row[name] for name in _KEYS[1:]}
        name = clip_name(row["youtube_id"], row["time_start"], row["time_end"])
        measured = {name: row[name] for name in row if name not in ("video", *_KEYS)}
        suffix = os.path.splitext(path)[1].lower()
        suffix = suffix if suffix in VIDEO_SUFFIXES else ".mp4"
        return cls(name, suffix, row["label"], keys, measured, content)

    @property
    def file_name(self) -> str:
        """Name of a file with this clip."""
        return self.name + self.suffix


@dataclass(frozen=True, slots=True)
class Unit:
    """Stretch of a source that is read front to back: a shard, an archive, or a range of files.

    Attributes:
        key: how the source finds it.
        state: name and size of its files, which change when its clips do.
        clips: number of clips, None if unknown.
        bytes: size of its files.
    """

    key: Any
    state: str
    clips: int | None
    bytes: int


@dataclass(frozen=True)
class Part:
    """Units of a split that one thread converts together, about 1 GB."""

    split: str
    number: int
    units: tuple[Unit, ...]


class Source(Protocol):
    """Clips of one release.

    Attributes:
        units: split -> its units, in order.
        clips: split -> number of its clips; for archives, of the annotated ones.
    """

    release: str
    units: dict[str, list[Unit]]
    clips: dict[str, int]

    def read(self, part: Part) -> Iterator[SourceClip | DroppedClip]:
        """Yield the clips of a part, in order. A clip whose file is empty or cannot be read is a `DroppedClip`."""


def open_source(
    source: str | os.PathLike[str],
    release: str | None = None,
    *,
    splits: Sequence[str] | None = None,
    annotations: str | None = None,
    force_release: bool = False,
) -> Source:
    """Return the clips of a source.

    Args:
        source: directory or URL of prepared shards, or a clip directory with files or archives.
        release: "400", "600", "700" or "700-2020"; None for the only one of prepared shards.
        splits: splits to read; None for all.
        annotations, force_release: for a clip directory, see `Selection`.

    Raises:
        ValueError: `release` is needed or unknown, or shards are missing.
        FileNotFoundError: the source does not exist, or has no clips.
    """
    asked = Selection(release or RELEASES[0], splits=splits, annotations=annotations, force_release=force_release)
    folder = Folder(source)
    found = [name for name in RELEASES if MANIFEST_NAME in folder.sizes(name)]
    if found:
        if annotations is not None:
            raise ValueError(f"{folder.url} has prepared shards, whose labels are known; omit annotations")
        if release is None and len(found) > 1:
            raise ValueError(f"{folder.url} has shards of {', '.join(found)}; name the release to convert")
        release = check_choice(release or found[0], found, "release of the prepared shards")
        return PreparedSource(folder, release, splits)
    if release is None:
        raise ValueError(f"{folder.url} has no prepared shards; for a clip directory, name the release, such as 700")
    return DirectorySource(asked, check_data_dir(source))


def plan_parts(source: Source, part_bytes: int) -> list[Part]:
    """Return the parts of a source: units in order, at most `part_bytes` and 10,000 clips if a part has several.

    The parts depend on the source alone, so that a later run makes the same ones.
    """
    parts = []
    for split, units in source.units.items():
        groups: list[list[Unit]] = []
        room, clips = 0, 0
        for unit in units:
            count = unit.clips or 0
            if not groups or unit.bytes > room or clips + count > _PART_CLIPS:
                groups.append([])
                room, clips = part_bytes, 0
            groups[-1].append(unit)
            room, clips = room - unit.bytes, clips + count
        parts += [Part(split, number, tuple(group)) for number, group in enumerate(groups)]
    return parts


def fingerprint(source: Source, *more: str) -> str:
    """Return a hash of what is read, and of `more`."""
    states = {split: [unit.state for unit in units] for split, units in source.units.items()}
    return hashlib.sha256(json.dumps([source.release, states, *more]).encode()).hexdigest()[:16]


class PreparedSource:
    """Clips of prepared shards; see `Source`. A unit is a shard."""

    def __init__(self, folder: Folder, release: str, splits: Sequence[str] | None):
        self._folder = folder
        self.release = release
        self.units: dict[str, list[Unit]] = {}
        self.clips: dict[str, int] = {}
        manifest, sizes = read_manifest(folder, release)["splits"], folder.sizes(release)
        for split in Selection(release, splits=splits).splits or [split for split in SPLITS if split in manifest]:
            if split not in manifest:
                raise ValueError(f"{folder.url} has no split {split} of {release}; it has {', '.join(manifest)}")
            entry = manifest[split]
            names = sorted(fnmatch.filter(sizes, entry["files"].rpartition("/")[2]))
            if len(names) != entry["shards"]:
                raise ValueError(
                    f"{folder.url}: {entry['shards'] - len(names):,} of {entry['shards']:,} shards of {split} are "
                    "missing; rerun `kinetics prepare` to write them"
                )
            clips, size = (-(-entry[name] // entry["shards"]) for name in ("rows", "bytes_out"))  # means
            # Web servers list no sizes.
            known = {name: size if sizes[name] is None else sizes[name] for name in names}
            self.units[split] = [
                Unit(f"{release}/{name}", f"{name} {known[name]}", clips, known[name]) for name in names
            ]
            self.clips[split] = entry["rows"]

    def read(self, part: Part) -> Iterator[SourceClip]:
        """Yield the clips of a part, in order."""
        for unit in part.units:
            with self._folder.open(unit.key) as file, pq.ParquetFile(file) as shard:
                columns = [name for name in shard.schema_arrow.names if name != "audio"]
                for group in range(shard.num_row_groups):  # of 24 MB each
                    for row in shard.read_row_group(group, columns=columns).to_pylist():
                        self._check(row, unit.key)
                        yield SourceClip.of(row, row["video"]["path"] or "", row["video"]["bytes"])

    def _check(self, row: Mapping[str, Any], shard: str) -> None:
        """Raise ValueError for a row that `prepare` did not write, whose values would become paths."""
        times = [row["time_start"], row["time_end"]]
        is_good = (
            (row["video"] or {}).get("bytes") is not None
            and re.fullmatch(YOUTUBE_ID, row["youtube_id"] or "")
            and all(time is not None and 0 <= time < _MAX_SECONDS for time in times)
            and -1 <= (-2 if row["label"] is None else row["label"]) < len(LABELS[self.release])
        )
        if not is_good:
            raise ValueError(
                f"{self._folder.path(shard)}: invalid clip {row['youtube_id']!r} of {times} with label "
                f"{row['label']}; prepare the clips of {self.release} again"
            )


class DirectorySource:
    """Clips of a clip directory; see `Source`. A unit is an archive, or a range of files."""

    def __init__(self, selection: Selection, root: str):
        check_class_folders(root, selection)
        self.release = selection.release
        self.units: dict[str, list[Unit]] = {}
        self.clips: dict[str, int] = {}
        self._sources: dict[str, FileSource | ArchiveSource] = {}
        finder = ClipFinder(selection, root)
        for split in selection.splits or SPLITS:
            try:
                found = finder.source(split)
            except EmptySplitError as reason:
                if selection.splits:
                    raise
                _logger.warning(f"{selection.title(split)}: skipped: {reason}")
                continue
            if found is not None:
                self._sources[split] = found
            if isinstance(found, FileSource):
                self.units[split] = list(_ranges(found))
                self.clips[split] = sum(unit.clips or 0 for unit in self.units[split])
            elif found is not None:
                self.units[split] = list(map(_archive, found.shards))
                self.clips[split] = len(found.index)
        if not self.units:
            raise FileNotFoundError(f"no clips in {root}: it must hold train, val or test with files or archives")

    def read(self, part: Part) -> Iterator[SourceClip | DroppedClip]:
        """Yield the clips of a part, in order.

        Raises:
            OSError: no file of the part can be read, because a disk is gone, perhaps.
        """
        source, seen = self._sources[part.split], set[int]()
        count, failed = 0, None
        for unit in part.units:
            for table in source.tables(unit.key, seen):
                for row in table.to_pylist():
                    path, content = row["video"]["path"], row["video"]["bytes"]
                    name = clip_name(row["youtube_id"], row["time_start"], row["time_end"])
                    try:
                        content = Path(path).read_bytes() if content is None else content
                    except OSError as error:
                        failed = error
                        yield DroppedClip(name, "unreadable", error.strerror or str(error))
                        continue
                    count += 1
                    yield SourceClip.of(row, path, content) if content else DroppedClip(name, "empty")
        if failed is not None and not count:
            raise failed
        if isinstance(source, ArchiveSource):
            source.report()


def _archive(path: str) -> Unit:
    size = os.path.getsize(path)
    return Unit(path, f"{path.rpartition('/')[2]} {size}", None, size)


def _ranges(source: FileSource) -> Iterator[Unit]:
    for shard in source.shards:
        for table in source.tables(shard, set()):
            paths = [video["path"] for video in table["video"].to_pylist()]
            files = [f"{path.rpartition('/')[2]} {_size(path)}" for path in paths]
            state = hashlib.sha256("\n".join(files).encode()).hexdigest()
            yield Unit(shard, state, len(paths), sum(map(_size, paths)))


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:  # `read` reports it
        return 0


def repeated(names: Sequence[str]) -> str:
    """Return a line about names that occur twice, "" without one."""
    seen: set[str] = set()
    twice = sorted({name for name in names if name in seen or seen.add(name)})  # type: ignore[func-returns-value]
    return f"clips in several archives, written as often: {len(twice):,} ({few(twice)})" if twice else ""
