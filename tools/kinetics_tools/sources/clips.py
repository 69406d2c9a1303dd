"""Annotations joined with files: the clips of a split and their paths."""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from datasets.utils.logging import get_logger

from kinetics_tools.annotations.find import absolute, annotation_file, annotations_of_tree, where_to_put
from kinetics_tools.annotations.index import ClipIndex
from kinetics_tools.annotations.labels import label_index, normalize_label
from kinetics_tools.annotations.read import YOUTUBE_ID, clip_name, drop_repeats, read_split
from kinetics_tools.annotations.selection import Selection
from kinetics_tools.errors import EmptySplitError, NoLabelsError
from kinetics_tools.io.cache import DownloadCache
from kinetics_tools.io.http import url_exists
from kinetics_tools.io.links import utf8_path
from kinetics_tools.io.urls import hide_credentials, is_url, without_credentials
from kinetics_tools.releases import DEFAULT_ANNOTATIONS, REPLACEMENTS_URL, SPLITS, split_spellings
from kinetics_tools.sources.archives import KEY_COLUMNS, ArchiveSource, example_table
from kinetics_tools.sources.class_folders import with_nearest
from kinetics_tools.sources.mirror import archive_urls
from kinetics_tools.sources.replacements import (
    REPLACEMENTS_NAME,
    has_replacements,
    replaced_clip,
    replacement_archives,
    replacement_clips,
)
from kinetics_tools.sources.tree import (
    class_folder,
    extraction,
    file_order,
    has_bytes,
    layout_hint,
    one_file_per_name,
    scan_split,
    split_directories,
    table_of_names,
)
from kinetics_tools.text import few, format_count, is_utf8, stem_of

_logger = get_logger("datasets.kinetics")

# Directory trees are cut into this many shards, which 1 to 6, 8, 10, 12, 16, 32 and 64 nodes or workers share evenly.
_TREE_SHARDS = 960
_ROWS = 1 << 16  # at once


def check_data_dir(data_dir: Any) -> str:
    """Return a clip directory as an absolute path in UTF-8; see `utf8_path`.

    Raises:
        ValueError: `data_dir` is not a path, or a URL.
        FileNotFoundError: there is no such directory.
    """
    if not isinstance(data_dir, str | os.PathLike):
        raise ValueError(f"data_dir must be a path, got {data_dir!r}")
    if "://" in os.fspath(data_dir):
        raise ValueError(
            f"data_dir={hide_credentials(os.fspath(data_dir))!r}: must be a local directory; mount the store, or "
            "prepare the clips at the URL with `kinetics prepare` and load the shards"
        )
    path = absolute(data_dir)
    if not os.path.isdir(path):
        raise FileNotFoundError(f"data_dir={path!r} does not exist or is not a directory")
    return utf8_path(path)


class FileSource:
    """Clips in files of their own. A shard is a range [start, stop) of rows."""

    def __init__(self, examples: pa.Table):
        self._examples = examples.combine_chunks()

    @property
    def shards(self) -> list[tuple[int, int]]:
        """Ranges of rows, of equal length up to one row."""
        count, rows = min(_TREE_SHARDS, len(self._examples)), len(self._examples)
        return [(rows * shard // count, rows * (shard + 1) // count) for shard in range(count)]

    def tables(self, shard: tuple[int, int], seen: set[int]) -> Iterator[pa.Table]:
        """Yield the examples of a shard. `seen` is for archives, which may hold a clip twice."""
        yield self._examples.slice(shard[0], shard[1] - shard[0])


class ClipFinder:
    """Finder of selected clips in a clip directory or in the public archives.

    Args:
        selection: the selected clips.
        data_dir: the clip directory; None for the public archives.
        cache: download cache.
        on_missing: "skip" logs missing clips, "raise" raises FileNotFoundError for them.
    """

    def __init__(
        self,
        selection: Selection,
        data_dir: str | None = None,
        *,
        cache: DownloadCache | None = None,
        on_missing: str = "skip",
    ):
        self.selection = selection
        self.data_dir = data_dir
        self._cache = cache or DownloadCache()
        self._on_missing = on_missing

    def source(self, split: str) -> FileSource | ArchiveSource | None:
        """Return the clips of a split as shards; None if `data_dir` lacks the split and it was not asked for.

        Raises:
            EmptySplitError: there is no clip to load.
            FileNotFoundError: the split was asked for and is missing, or a clip is missing and `on_missing` is "raise".
        """
        return self._public_source(split) if self.data_dir is None else self._local_source(split, self.data_dir)

    def table(self, split: str, paths: Iterable[str] | None = None) -> pa.Table | None:
        """Return the selected clips of a split, with the paths of their files in `data_dir`.

        Columns: label (int64, -1 without), youtube_id (string), time_start and time_end (float32, seconds), path
        (string, null for a missing clip). The metadata of the schema has "annotated", the number of annotated clips
        of the whole split, and "excluded", see `Selection.choose`. It has "annotations", the name or public URL of
        their file, unless they are implied by file names.

        Args:
            split: "train", "validation" or "test".
            paths: the files of the split, by default those in `data_dir`.

        Returns:
            None if no file is named like a clip. Also None if classes are selected, no clip has a label, and the
            split was not asked for.

        Raises:
            FileNotFoundError: the split has no such files; the message says how to use archives.
        """
        files, archives = self._list_files(split) if paths is None else (self._readable(split, paths), [])
        if not files:
            command = extraction(str(self.data_dir), self.selection.release)
            there = f"but {format_count(len(archives), 'archive')}; extract them first: {command}"
            there = there if archives else layout_hint(str(self.data_dir))
            raise FileNotFoundError(f"{self.data_dir}: the {split} split has no clips, {there}")
        try:
            index, annotations = self._index(split, files)
        except EmptySplitError as reason:
            _logger.warning(f"{self.selection.title(split)}: skipped: {reason}")
            return None
        return self._join(split, index, files, annotations)

    # -- Clip directories

    def _local_source(self, split: str, data_dir: str) -> FileSource | ArchiveSource | None:
        files, archives = self._list_files(split)
        if not files and not archives:
            if self.selection.splits is not None:
                names = ", ".join(split_spellings(split))
                there = [one for one in SPLITS if split_directories(data_dir, one)]
                hint = f"it has {few(there)}" if there and split not in there else layout_hint(data_dir)
                raise FileNotFoundError(
                    f"no clips and no archives in {data_dir}, in a directory called {names}: {hint}"
                )
            return None
        index, annotations = self._index(split, files)
        if not files:
            replacements = None
            if has_replacements(self.selection.release, split):
                archives += replacement_archives(data_dir)
                replacements = next((path for path in archives if path.endswith("/" + REPLACEMENTS_NAME)), None)
            return self._archive_source(split, index, sorted(archives), replacements)
        found = self._join(split, index, files, annotations)
        found = found.filter(pc.is_valid(found["path"]))
        if not len(found):
            self._check_wanted(index)
            raise EmptySplitError(f"all of its {len(index):,} annotated clips are missing")
        return FileSource(example_table(found, pa.nulls(len(found), pa.binary()), found["path"].combine_chunks()))

    def _list_files(self, split: str) -> tuple[list[str], list[str]]:
        """Return the paths of clips, or, if there are none, of archives."""
        assert self.data_dir is not None
        found = scan_split(self.data_dir, split)
        title = self.selection.title(split)
        if found.dead_links:
            names = few(map(stem_of, found.dead_links))
            _logger.warning(f"{title}: links to nothing are skipped: {len(found.dead_links):,} ({names})")
        if found.no_files:
            names = few(path.removeprefix(f"{self.data_dir}/") for path in found.no_files)
            _logger.warning(
                f"{title}: directories, pipes and sockets that are named like clips: {len(found.no_files):,} ({names})"
            )
        if found.clips and found.archives:
            _logger.warning(
                f"{title}: clips and {len(found.archives):,} archives are side by side; the archives are skipped"
            )
        clips = self._readable(split, found.clips)
        return clips, [] if clips else found.archives

    def _readable(self, split: str, paths: Iterable[str]) -> list[str]:
        """Return `paths` without those that Arrow cannot hold, which are logged."""
        paths = list(paths)
        odd = [path for path in paths if not path.isascii() and not is_utf8(path)]
        if odd:
            names = [repr(path.removeprefix(f"{self.data_dir}/")) for path in odd]
            title = self.selection.title(split)
            _logger.warning(f"{title}: files whose names are not UTF-8 are skipped: {len(odd):,} ({few(names)})")
            paths = list(filter(is_utf8, paths))
        return paths

    def _join(self, split: str, index: ClipIndex, files: list[str], annotations: str) -> pa.Table:
        by_name = self._one_file_per_clip(split, index, files)
        names = list(by_name)
        unannotated = index.unknown(names)
        if shared := [name for name in unannotated if index.why_not(name)]:
            _logger.warning(
                f"{self.selection.title(split)}: files that are named by a video alone are skipped: {len(shared):,}: "
                f"{shared[0]}: {index.why_not(shared[0])}"
            )
        index.forget()
        positions = index.positions(names)
        unasked = len(names) - len(unannotated) - pc.count_distinct(positions, mode="only_valid").as_py()
        if unasked:
            _logger.info(f"{self.selection.title(split)}: annotated clips that are not asked for: {unasked:,}")
        missing = index.names.filter(pc.is_null(positions)).to_pylist()
        self.report_missing(split, len(index), missing, unannotated)
        files = list(by_name.values())
        del by_name, names  # 100 MB of 650,000 clips
        paths = _taken(files, positions)
        about = {"annotated": f"{len(index.annotated)}"} | ({"annotations": annotations} if annotations else {})
        if excluded := (index.table.schema.metadata or {}).get(b"excluded"):
            about["excluded"] = excluded.decode()
        return index.table.select(KEY_COLUMNS).append_column("path", paths).replace_schema_metadata(about)

    def _one_file_per_clip(self, split: str, index: ClipIndex, files: list[str]) -> dict[str, str]:
        """Return the file of each clip by name, and log clips with several files."""

        def order(name: str, path: str) -> Any:
            is_empty, label = not has_bytes(path), index.label(name)
            folder, release = class_folder(path, split), self.selection.release
            return file_order(path, folder, is_empty=is_empty, label=label, release=release)

        by_name, several = one_file_per_name(files, order, name_of=index.name_of)
        if several:
            _logger.warning(
                f"{self.selection.title(split)}: clips with several files (one is used): "
                f"{len(several):,} ({few(several)})"
            )
        replacements, _ = one_file_per_name(
            self._replacements(split), order, name_of=lambda stem: replaced_clip(index, stem) or stem
        )
        by_name.update(replacements)
        return by_name

    def _replacements(self, split: str) -> list[str]:
        """Return the extracted replacements of 400, which win over the clips that they replace."""
        if self.data_dir is None or not has_replacements(self.selection.release, split):
            return []
        clips = replacement_clips(self.data_dir)
        if not clips:
            for archive in replacement_archives(self.data_dir):
                _logger.warning(
                    f"{self.selection.title(split)}: no clips are replaced, because {archive} is not extracted; "
                    f"extract it into {self.data_dir}/replacement"
                )
        return self._readable(split, clips)

    # -- Public archives

    def _public_source(self, split: str) -> ArchiveSource:
        selection = self.selection
        index, _ = self._index(split, [])
        try:
            urls = archive_urls(selection.release, split, classes=selection.class_names, mirror=selection.mirror)
        except (FileNotFoundError, PermissionError) as error:
            raise self._with_other_splits(error) from None
        name = REPLACEMENTS_URL.partition("/kinetics/")[2]
        replacements = next((url for url in urls if url.endswith(name)), None)
        if replacements is not None and not url_exists(replacements):
            title = selection.title(split)
            _logger.warning(f"{title}: no clips are replaced, because the mirror does not give {replacements}")
            urls.remove(replacements)
            replacements = None
        return self._archive_source(split, index, urls, replacements)

    def _archive_source(
        self, split: str, index: ClipIndex, shards: list[str], replacements: str | None
    ) -> ArchiveSource:
        self._check_wanted(index)
        title, strict = self.selection.title(split), self._on_missing == "raise"
        return ArchiveSource(index, shards, replacements, self._cache, title=title, strict=strict)

    # -- Annotations

    def _index(self, split: str, files: Sequence[str]) -> tuple[ClipIndex, str]:
        """Return the annotated clips, and the public name of their annotations; "" if implied by file names."""
        selection, path, annotations = self.selection, None, ""
        if selection.annotations is None and self.data_dir is not None:
            path = annotations_of_tree(self.data_dir, split)
        is_published = path is None and selection.annotations is None
        table = None
        if is_published and files and all(class_folder(file, split) for file in files):  # a class tree
            table = self._implied(split, files)
        if table is None:
            path = path or self._annotation_file(split)
            table = read_split(path, selection.release, split, force_release=selection.force_release)
            table = drop_repeats(table, path)
            annotations = self._public_name(path, is_published=is_published)
        if selection.takes_all:
            return ClipIndex(table.combine_chunks()), annotations
        try:
            return ClipIndex(table, selection.choose(table, split, self._cache)), annotations
        except NoLabelsError as error:
            if selection.splits is not None:
                raise
            raise EmptySplitError(str(error)) from None

    def _implied(self, split: str, files: Sequence[str]) -> pa.Table | None:
        """Return the annotations that a class tree implies; None if its files are named by their videos alone."""
        release = self.selection.release
        table = table_of_names(files, release, split)
        if len(table):
            return table
        known = label_index(release)
        folders = {file: class_folder(file, split) for file in sorted(files)}
        inside = [file for file, folder in folders.items() if normalize_label(folder) in known]
        if not inside:
            first = with_nearest(next(iter(folders.values())), release)
            raise EmptySplitError(f"none of its {len(files):,} files lies in a directory called like a class ({first})")
        if any(re.fullmatch(YOUTUBE_ID, stem_of(file)) for file in inside):
            return None
        raise EmptySplitError(
            f"none of its {len(inside):,} files in class directories is called like a clip, such as "
            f"{clip_name('0wR5jVB-WPk', 417, 427)}.mp4, or by its YouTube id, 0wR5jVB-WPk.mp4; there is "
            f"{os.path.relpath(inside[0], self.data_dir)}"
        )

    def _annotation_file(self, split: str) -> str:
        selection = self.selection
        try:
            return annotation_file(
                selection.release,
                split,
                annotations=selection.annotations,
                mirror=selection.mirror,
                cache=self._cache,
            )
        except FileNotFoundError as error:
            raise self._with_other_splits(error) from None
        except ConnectionError as error:
            if self.data_dir is None:
                raise
            raise ConnectionError(f"{error}; {where_to_put(self.data_dir, split)}") from None

    def _public_name(self, path: str, *, is_published: bool) -> str:
        """Return the public URL of an annotation file, or its name without directories."""
        given = DEFAULT_ANNOTATIONS[self.selection.release] if is_published else self.selection.annotations
        if given is not None and is_url(given):
            return without_credentials(given)
        return os.path.basename(path)

    def report_missing(self, split: str, wanted: int, missing: list[str], unannotated: list[str]) -> None:
        """Log missing and unannotated clips; raise FileNotFoundError with `on_missing` "raise"."""
        if missing and self._on_missing == "raise":
            raise FileNotFoundError(
                f"{len(missing):,} of {wanted:,} annotated clips of the {split} split are missing: {few(missing, 10)}"
            )
        parts = []
        if missing:
            parts.append(f"missing: {len(missing):,} ({few(missing)})")
        if unannotated:
            parts.append(f"unannotated files: {len(unannotated):,} ({few(unannotated)})")
        if parts:
            count = f"{wanted - len(missing):,} of {wanted:,} clips"
            _logger.warning(f"{self.selection.title(split)}: {count}; {'; '.join(parts)}")

    def _check_wanted(self, index: ClipIndex) -> None:
        if not len(index):
            raise EmptySplitError(f"none of its annotated clips is selected by {self.selection.text()}")

    def _with_other_splits(self, error: OSError) -> FileNotFoundError:
        """Return `error` of a split, with advice to load other splits unless splits were selected."""
        advice = "" if self.selection.splits else '; to load other splits, name them, as in splits=["validation"]'
        return FileNotFoundError(f"{error}{advice}")


def _taken(paths: list[str], positions: pa.Array) -> pa.ChunkedArray:
    """Return the paths at `positions`, in chunks: to build one array takes three times its memory."""
    chunks = []
    for start in range(0, len(positions), _ROWS):
        some = positions.slice(start, _ROWS).to_pylist()
        chunks.append(pa.array([None if one is None else paths[one] for one in some], pa.string()))
    return pa.chunked_array(chunks, pa.string())
