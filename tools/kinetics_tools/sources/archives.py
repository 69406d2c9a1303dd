"""Clips in tar archives, local or public, as shards that are read front to back."""

import copy
import functools
import hashlib
import json
import os
from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet
from datasets.iterable_dataset import ExamplesIterable
from datasets.utils.logging import get_logger
from filelock import FileLock

from kinetics_tools.annotations.index import ClipIndex
from kinetics_tools.errors import ArchiveError, ChangedError
from kinetics_tools.io.atomic import write_file
from kinetics_tools.io.cache import DownloadCache
from kinetics_tools.io.http import open_binary
from kinetics_tools.io.json_shape import parse_json
from kinetics_tools.io.tar import read_archive
from kinetics_tools.io.urls import is_url, without_credentials
from kinetics_tools.sources.replacements import replaced_clip
from kinetics_tools.text import few, stem_of

_logger = get_logger("datasets.kinetics")

KEY_COLUMNS = ("label", "youtube_id", "time_start", "time_end")


def example_table(rows: pa.Table, contents: pa.Array, paths: pa.Array) -> pa.Table:
    """Return examples: `rows` of annotations with bytes (or nulls) and paths of their clips."""
    video = pa.StructArray.from_arrays([contents, paths], names=["bytes", "path"])
    return pa.table({"video": video, **{name: rows[name] for name in KEY_COLUMNS}})


def read_keys(path: str, files: Any) -> pa.Table:
    """Return the columns that identify a clip from a file of the cache; `files` is its fsspec file system."""
    columns = ["youtube_id", "time_start", "time_end"]
    if path.endswith(".parquet"):
        with files.open(path) as file:
            return pa.parquet.read_table(file, columns=columns)
    # Mapped, the bytes of the clips are not read.
    with pa.memory_map(path) if os.path.exists(path) else files.open(path) as file:
        reader = pa.ipc.open_stream(file)
        schema = pa.schema([reader.schema.field(name) for name in columns])
        return pa.Table.from_batches([batch.select(columns) for batch in reader], schema)


class ArchiveSource:
    """Clips in tar archives. A shard is the path or URL of one archive.

    A corrupt archive yields the clips before the error, and a warning. One from the network is read a second time,
    because the transfer may be the cause.

    Args:
        index: the annotated clips, and the selected ones.
        shards: paths and URLs of the archives.
        replacements: the archive whose clips win over those of the others; None without one.
        cache: download cache.
        title: name of the split in messages.
        strict: raise ArchiveError for a corrupt archive.
    """

    def __init__(
        self,
        index: ClipIndex,
        shards: list[str],
        replacements: str | None,
        cache: DownloadCache,
        *,
        title: str,
        strict: bool,
    ):
        self.index = index
        self.shards = shards
        self._replacements = replacements
        self._cache = cache
        self._title = title
        self._strict = strict
        self._origins: dict[str, str] = {}
        # For `report`: by shard, the unannotated members, and those that were seen before.
        self._unused: dict[str, tuple[list[str], list[str]]] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**{name: value for name, value in vars(self).items() if name != "_replaced"}, "_unused": {}}

    def urls(self) -> list[str]:
        """Return the archives that are not local."""
        return [shard for shard in self.shards if is_url(shard)]

    def downloaded(self, failed: Collection[str] = ()) -> "ArchiveSource":
        """Return this source with the local paths of downloaded archives, without those that `failed`."""
        local = {url: self._cache.path(url) for url in self.urls()}
        other = copy.copy(self)
        other.shards = [local.get(shard, shard) for shard in self.shards if shard not in failed]
        replacements = None if self._replacements in failed else self._replacements
        other._replacements = local.get(replacements or "", replacements)
        other._origins = {path: url for url, path in local.items()}
        return other

    def tables(self, shard: str, seen: set[int]) -> Iterator[pa.Table]:
        """Yield the clips of an archive as tables of one row; skip rows in `seen`, and add others to it."""
        for file_name, data, row in self._clips(shard, seen):
            contents, paths = pa.array([data], type=pa.binary()), pa.array([file_name])
            yield example_table(self.index.table.take([row]), contents, paths)

    def examples(self, shard: str) -> Iterator[dict[str, Any]]:
        """Yield the clips of an archive as Python values, without a copy of their bytes."""
        columns = [(name, self.index.table[name].combine_chunks()) for name in KEY_COLUMNS]
        for file_name, data, row in self._clips(shard, set()):
            keys = {name: column[row].as_py() for name, column in columns}
            yield {"video": {"bytes": data, "path": file_name}, **keys}

    def report(self) -> None:
        """Log unannotated and repeated members of the archives read since the last report."""
        # One by one, because the readers of other archives may end in other threads meanwhile.
        reported = [self._unused.pop(shard, ([], [])) for shard in list(self._unused)]
        kinds = "unannotated members of archives", "members that occur twice (one is loaded)"
        for number, kind in enumerate(kinds):
            names = [name for unused in reported for name in unused[number]]
            if names:
                _logger.warning(f"{self._title}: {kind}: {len(names):,} ({few(names)})")

    def _clips(self, shard: str, seen: set[int]) -> Iterator[tuple[str, bytes, int]]:
        """Yield (file name, bytes, row) of each wanted clip that is not in `seen`, and add its row there."""
        url = shard if is_url(shard) else self._origins.get(shard)
        # In the cache, the name of a file does not tell what it is.
        name = without_credentials(shard) if url in (None, shard) else f"{without_credentials(url)} ({shard})"
        # Looked up now, as in `read_archive`. A file may be a link to nothing.
        damage: tuple[type[OSError], ...] = (ArchiveError, ChangedError)
        damage += (FileNotFoundError,) if url is None else ()
        replaced = set() if shard == self._replacements else self._replaced
        loaded: set[int] = set()
        for may_read_again in (url is not None, False):
            try:
                for file_name, data, row in self._members(shard, name, seen, replaced):
                    if row not in loaded:
                        loaded.add(row)
                        yield file_name, data, row
                break
            except damage as error:
                if may_read_again:
                    _logger.warning(f"{error}; reading it again from its start")
                    if url is not None and url != shard:
                        os.remove(shard)
                        self._cache.fetch(url)
                    continue
                if self._strict:
                    raise
                advice = "" if url is None else "the server's copy is corrupt; "
                _logger.warning(f"{error}; {advice}{len(loaded):,} of its clips are loaded, the others are missing")
                break
        seen |= loaded
        _logger.info(f"{name}: {len(loaded):,} clips to load")

    def _members(self, shard: str, name: str, seen: set[int], replaced: set[int]) -> Iterator[tuple[str, bytes, int]]:
        """Yield the wanted members in one pass, skipping replaced clips."""
        here: set[int] = set()
        stems: list[str] = []
        unannotated: list[str] = []
        twice: list[str] = []
        find = self._find_replaced if shard == self._replacements else self.index.find
        try:
            with open_binary(shard) as file:
                for member, data in read_archive(file, name=name):
                    file_name, stem = member.rpartition("/")[2], stem_of(member)
                    stems.append(stem)
                    clip = find(stem)
                    row = None if clip is None else self.index.row(clip)
                    if row is None:
                        _logger.debug(f"{name}: {member!a} is not among the clips to load")
                        if clip is None:
                            unannotated.append(file_name)
                    elif row in replaced:
                        continue
                    elif row in here or row in seen:
                        twice.append(file_name)
                    else:
                        here.add(row)
                        yield file_name, data, row
        finally:  # not before: archives are read side by side, and `report` forgets what it told
            self._unused[shard] = (unannotated, twice)
        if shard == self._replacements and not os.path.exists(self._replaced_path):
            self._keep_replaced(stems)

    def _find_replaced(self, stem: str) -> str | None:
        return replaced_clip(self.index, stem)

    @functools.cached_property
    def _replaced(self) -> set[int]:
        """Return the rows of clips in the archive of replacements. Their names are cached, because it has 2 GB."""
        if self._replacements is None:
            return set()
        os.makedirs(self._cache.directory, exist_ok=True)
        with FileLock(self._replaced_path + ".lock"):
            stems = self._known_stems()
            if stems is None:
                _logger.warning(f"{without_credentials(self._replacements)}: listing the clips that it replaces")
                return {row for _, _, row in self._clips(self._replacements, set())}
            names = map(self._find_replaced, stems)
            return {row for name in names if name is not None and (row := self.index.row(name)) is not None}

    @property
    def _replaced_path(self) -> str:
        assert self._replacements is not None
        state: list[Any] = []
        if not is_url(self._replacements):
            stat = os.stat(self._replacements)
            state = [(self._replacements, stat.st_size, stat.st_mtime_ns)]
        digest = hashlib.sha256(json.dumps([self._replacements, state]).encode("utf-8")).hexdigest()[:16]
        return os.path.join(self._cache.directory, f"kinetics-replaced-clips-{digest}.json")

    def _known_stems(self) -> list[str] | None:
        """Return the names of replacements in the cache; None without them. A corrupt list is removed."""
        try:
            with open(self._replaced_path, "rb") as file:
                stems: list[str] = parse_json(file.read(), [str])
            return stems
        except FileNotFoundError:
            return None
        except ValueError:
            os.remove(self._replaced_path)
            return None

    def _keep_replaced(self, stems: list[str]) -> None:
        os.makedirs(self._cache.directory, exist_ok=True)
        write_file(self._replaced_path, json.dumps(sorted(stems)))


class ArchiveStream(ExamplesIterable):
    """Stream of examples from archives, which logs their unannotated members at its end, in each process."""

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        self.kwargs["source"].report()

    def shuffle_data_sources(self, generator: Any) -> "ArchiveStream":
        shards = self.kwargs["shards"]
        order = copy.deepcopy(generator).permutation(len(shards))
        shuffled = {**self.kwargs, "shards": [shards[index] for index in order]}
        return ArchiveStream(self.generate_examples_fn, shuffled)

    def shard_data_sources(self, *args: Any, **kwargs: Any) -> "ArchiveStream":
        return ArchiveStream(self.generate_examples_fn, super().shard_data_sources(*args, **kwargs).kwargs)

    def reshard_data_sources(self) -> "ArchiveStream":
        return self  # an archive is read front to back
