"""Kinetics: clips of human actions, as a dataset for the Hugging Face `datasets` library.

    >>> import kinetics
    >>> from datasets import load_dataset
    >>> ds = load_dataset("kinetics", "700", data_dir="path/to/clips")      # clips that you have
    >>> ds = load_dataset("kinetics", "700", split="train", streaming=True)  # the public archives

Each clip is a segment of about 10 s of a YouTube video with one of 400, 600 or 700 labels:

    release    classes  clips    archives on the public mirror
    400        400      306,245  456 GB
    600        600      about 495,000  779 GB
    700        700      about 650,000  (its clips are in the archives of 700-2020)
    700-2020   700      about 644,000  710 GB

Annotations: DeepMind, CC BY 4.0 (https://deepmind.com/research/open-source/kinetics). The videos belong to
those who uploaded them. Public copy of the clips: https://github.com/cvdfoundation/kinetics-dataset.

With `datasets` 4 and newer, which run no dataset scripts, `import kinetics` registers the builder under the
name "kinetics". With `datasets` 3.6 this file works as a script, too:
`load_dataset("./kinetics.py", "700", trust_remote_code=True)`.
"""

import functools
import hashlib
import json
import os
import runpy
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from importlib import import_module
from itertools import chain
from typing import Any, ClassVar

import datasets
import pyarrow as pa
import pyarrow.compute as pc
from datasets.exceptions import DatasetGenerationError
from datasets.utils.logging import get_logger

from kinetics_tools import __version__ as _tools_version  # From: kinetics-dataset
from kinetics_tools.annotations import (  # From: kinetics-dataset
    ANNOTATION_SCHEMA,
    Selection,
    annotation_file,
    as_list,
    clip_name,
    clip_names,
    find_label,
    from_torchvision,
    label_indices,
    map_index,
    map_label,
    read_annotations,
    read_split,
    to_torchvision,
)
from kinetics_tools.errors import ArchiveError, ChangedError, EmptySplitError  # From: kinetics-dataset
from kinetics_tools.io import (  # From: kinetics-dataset
    DownloadCache,
    disk_spaces,
    is_url,
    mirror_url,
    read_archive,
    remote_size,
)
from kinetics_tools.releases import (  # From: kinetics-dataset
    ANNOTATED_CLIPS,
    CACHE_VERSION,
    LABELS,
    RELEASES,
    SPLITS,
    check_release,
    dataset_info,
    resolve_split,
)
from kinetics_tools.sources import (  # From: kinetics-dataset
    ArchiveSource,
    ArchiveStream,
    ClipFinder,
    FileSource,
    archive_urls,
    check_class_folders,
    check_data_dir,
    decoder_problem,
    embed_bytes,
    is_prepared,
    layout_hint,
    read_keys,
    replacement_archives,
    replacement_directories,
    tree_state,
    will_decode,
)
from kinetics_tools.text import check_choice, few, format_size  # From: kinetics-dataset

__version__ = "0.1.0"

__all__ = [
    "ANNOTATION_SCHEMA",
    "LABELS",
    "RELEASES",
    "SPLITS",
    "ArchiveError",
    "ChangedError",
    "Kinetics",
    "KineticsConfig",
    "annotation_file",
    "archive_urls",
    "clip_name",
    "clip_names",
    "embed_bytes",
    "find_label",
    "from_torchvision",
    "label_indices",
    "map_index",
    "map_label",
    "read_annotations",
    "read_archive",
    "read_split",
    "to_torchvision",
]

if _tools_version != __version__:
    raise ImportError(
        f"kinetics.py has version {__version__}, the package kinetics-dataset has {_tools_version}: "
        f"pip install kinetics-dataset=={__version__}"
    )

# A child of the library's logger, so that `datasets.logging.set_verbosity_*` applies to it.
_logger = get_logger("datasets.kinetics")

# `datasets` replaces `open`, `os.path.isdir` and others in the module of a builder by ones that take URLs and split
# paths at "::", unless it thinks that it has done so. We open URLs ourselves, and paths are paths.
_patched_for_streaming = True

_CACHE_VERSION = datasets.Version(CACHE_VERSION)


@dataclass(eq=False)
class KineticsConfig(datasets.BuilderConfig):
    """Choice of clips and how to load them. Each field is an argument of `load_dataset("kinetics", release, ...)`.

    Attributes:
        data_dir: directory with `train`, `val`/`validate`/`validation` and `test`, each holding
            `<class>/<clip>.mp4`, `<clip>.mp4` or archives as the public mirror has them. Without it, the public
            archives.
        splits: splits to load, from "train", "validation" and "test"; the others are not downloaded. None for all that
            exist.
        classes: names of the classes to load; None for all. `label` keeps its index in the whole release.
        subset: name of a published subset, such as "mini-200", or a file of classes or clips; None for all.
        exclude: splits whose videos are excluded, such as "400:validation,400:test"; None for none.
        exclude_by: "video" excludes whole videos, "seconds" only clips whose segments overlap.
        max_clips_per_class: maximum number of annotated clips of each class; None for all.
        annotations: directory, file or URL that replaces the annotations (default: those in `data_dir`; without
            them the names of class directories and files; else the published edition).
        mirror: URL that replaces the public hosts (default: the environment variable KINETICS_MIRROR).
        on_missing: how to handle missing clips and corrupt archives: "skip" reports them, "raise" raises
            FileNotFoundError or ArchiveError.
        seed: seed for the choice of clips with `max_clips_per_class`.
        decode: True decodes `video` to a torchcodec `VideoDecoder`, False returns `{"bytes", "path"}`, None decodes
            if the decoder loads. The stored data is the same.
        force_release: load a directory whose classes or annotations fit another release better; clips of classes that
            this release lacks are skipped.
    """

    data_dir: str | None = None
    splits: Sequence[str] | None = None
    classes: Sequence[str] | None = None
    subset: str | None = None
    exclude: Sequence[str] | str | None = None
    exclude_by: str = "video"
    max_clips_per_class: int | None = None
    annotations: str | None = None
    mirror: str | None = None
    on_missing: str = "skip"
    seed: int = 0
    decode: bool | None = None
    force_release: bool = False

    def selection(self) -> Selection:
        """Return the checked selection of clips. Raises the errors of `Selection`."""
        asked = (field.name for field in fields(Selection) if field.init and field.name != "release")
        return Selection(self.name, **{name: getattr(self, name) for name in asked})

    def check(self) -> None:
        """Check and normalize the fields: class names become those of the release, paths become absolute.

        Raises:
            ValueError: a field is not valid.
            FileNotFoundError: a path does not exist.
        """
        selection = self.selection()
        self.splits = selection.splits and list(selection.splits)
        self.classes = selection.classes and list(selection.classes)
        self.annotations, self.subset = selection.annotations, selection.subset
        self.exclude = selection.exclude and list(selection.exclude)
        check_choice(self.on_missing, ("skip", "raise"), "on_missing")
        if self.decode is not None and not isinstance(self.decode, bool):
            raise ValueError(f"decode must be True, False or None, got {self.decode!r}")
        if self.data_dir is not None:
            self.data_dir = check_data_dir(self.data_dir)

    def create_config_id(self, config_kwargs: dict[str, Any], custom_features: Any = None) -> str:
        """Return the name of the cache, from the arguments and the current state of a local directory."""
        self.check()
        asked = {name: getattr(self, name) for name in config_kwargs if name != "decode"}
        if state := self._state():
            asked["files"] = hashlib.sha256(json.dumps([state]).encode("utf-8")).hexdigest()[:16]
        if self.data_dir is not None:
            check_class_folders(self.data_dir, self.selection(), (path for path, *_ in state))
        mirror = mirror_url(self.mirror)
        if mirror:
            asked["mirror"] = mirror
        return super().create_config_id(asked, custom_features)

    def _state(self) -> list[tuple[str, int, int]]:
        more: Iterable[str] = self.selection().files
        if self.data_dir is not None:
            more = chain(more, replacement_directories(self.data_dir), replacement_archives(self.data_dir))
        return tree_state(self.data_dir, self.splits or SPLITS, self.annotations, more)

    def __eq__(self, other: object) -> bool:
        # Without `decode`, which does not change what is stored: `datasets` compares the config of a cache
        # directory's name with the declared config of that name.
        if not isinstance(other, KineticsConfig):
            return NotImplemented
        return {**vars(self), "decode": None} == {**vars(other), "decode": None}


class Kinetics(datasets.ArrowBasedBuilder):
    """Kinetics-400, 600, 700 and 700-2020. See `KineticsConfig` for the arguments."""

    VERSION = _CACHE_VERSION
    BUILDER_CONFIG_CLASS = KineticsConfig
    BUILDER_CONFIGS: ClassVar = [
        KineticsConfig(name=release, version=_CACHE_VERSION, description=f"Kinetics-{release}") for release in RELEASES
    ]

    def __init__(self, *args: Any, **kwargs: Any):
        # Now, because an iterator gives its names once, and `datasets` copies what it is given.
        for name in ("splits", "classes", "exclude"):
            if name in kwargs:
                kwargs[name] = as_list(kwargs[name])
        if kwargs.get("data_files") is not None:
            raise ValueError("kinetics takes no data_files; pass the directory of the clips as data_dir=")
        self._own_features = kwargs.get("features") is not None
        self._read_splits: tuple[str, ...] | None = None
        split, read = _split_of_call()
        asked = {"splits": [*read]} if read and kwargs.get("splits") is None else {}
        # As splits=, except for public archives if all splits are built already: they would take up the disk twice.
        is_built = False
        if asked and kwargs.get("data_dir") is None:
            super().__init__(*args, **kwargs)
            is_built = os.path.isdir(self._cache_dir)
        if not is_built:
            super().__init__(*args, **{**kwargs, **asked})
        splits = self.config.splits
        if read and splits and not set(read) <= set(splits):
            raise ValueError(f"split={split!r} is not among splits={splits!r}")
        if self.config.decode and (problem := decoder_problem()):
            raise ImportError(f"decode=True, but {problem}; or pass decode=False for bytes")

    def _create_builder_config(self, config_name: Any = None, **kwargs: Any) -> Any:
        if config_name is None:
            raise ValueError(f"which release? Pass one of {', '.join(RELEASES)}: load_dataset('kinetics', '700')")
        config_name = check_release(config_name)
        fixed = ("name", "version", "description", "data_files")
        options = [name for name in KineticsConfig.__dataclass_fields__ if name not in fixed]
        for name in kwargs.keys() - {"custom_features", "config_id"}:
            check_choice(name, options, "option")
        return super()._create_builder_config(config_name=config_name, **kwargs)

    def _info(self) -> datasets.DatasetInfo:
        config, info = self.config, dataset_info(self.config.name)
        info.features["video"] = datasets.Video(decode=config.decode is not False)
        if config.data_dir is None:
            # Known without asking a server, so that split names and counts are there before anything is downloaded.
            takes_all = config.annotations is None and config.selection().takes_all
            counts = ANNOTATED_CLIPS[config.name] if takes_all else {}
            splits = (datasets.SplitInfo(name, num_examples=counts.get(name, 0)) for name in config.splits or SPLITS)
            info.splits = datasets.SplitDict({split.name: split for split in splits})
        return info

    def get_exported_dataset_info(self) -> datasets.DatasetInfo:
        # `datasets` 3 applies a dataset_infos.json beside a builder to every load of it.
        return datasets.DatasetInfo()

    # -- What is asked for

    def as_dataset(self, split: Any = None, **kwargs: Any) -> Any:
        split, _ = resolve_split(split)
        self._set_decoding()
        return super().as_dataset(split, **kwargs)

    def as_streaming_dataset(self, split: Any = None, **kwargs: Any) -> Any:
        split, self._read_splits = resolve_split(split)
        if split is not None and "[" in str(split):
            raise ValueError(
                f"split={split!r}: a stream is of whole splits; omit streaming=True, or use take() and skip()"
            )
        return super().as_streaming_dataset(split, **kwargs)

    def _set_decoding(self) -> None:
        """Set if `video` is decoded: last of all, because looking for the decoder takes seconds."""
        if not self._own_features:
            # The cache may have been written where the decoder loads, or does not.
            self.info.features["video"] = datasets.Video(decode=will_decode(self.config.decode))

    # -- Sources of the clips

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        config = self.config
        download = dl_manager.download_config
        cache = DownloadCache(download.cache_dir, force=bool(download.force_download))
        selection = replace(config.selection(), splits=self._read_splits or config.splits)
        finder = ClipFinder(selection, config.data_dir, cache=cache, on_missing=config.on_missing)
        try:
            sources = self._sources(finder)
        except ConnectionError as error:
            if config.data_dir is not None:
                raise
            raise ConnectionError(f"{error}. To load your own clips, pass data_dir='path/to/clips'") from None
        archives = {split: source for split, source in sources.items() if isinstance(source, ArchiveSource)}
        if not dl_manager.is_streaming:
            failed = self._download_archives(archives, cache)
            sources.update({split: source.downloaded(failed) for split, source in archives.items()})
        elif archives and config.on_missing == "raise":
            raise ValueError(
                "on_missing='raise' cannot stream archives: missing clips are known only at their end; "
                "load without streaming, or pass on_missing='skip'"
            )
        if dl_manager.is_streaming:
            self._set_decoding()
        return [
            datasets.SplitGenerator(name=split, gen_kwargs={"shards": source.shards, "source": source})
            for split, source in sources.items()
        ]

    def _sources(self, finder: ClipFinder) -> dict[str, FileSource | ArchiveSource]:
        config = self.config
        sources: dict[str, FileSource | ArchiveSource] = {}
        empty: dict[str, str] = {}
        for split in finder.selection.splits or SPLITS:
            try:
                source = finder.source(split)
            except EmptySplitError as problem:
                empty[split] = str(problem)
            else:
                sources.update({split: source} if source is not None else {})
        if empty and not sources:
            reasons = "; ".join(f"{split}: {reason}" for split, reason in empty.items())
            raise ValueError(
                f"no clip of kinetics {config.name} to load: {reasons}. Choose other classes= or splits=, or "
                "check that data_dir= and annotations= belong together"
            )
        for split, reason in empty.items():
            _logger.warning(f"kinetics {config.name} {split}: skipped: {reason}")
        if not sources:
            hint = layout_hint(config.data_dir)
            raise FileNotFoundError(f"no clips of kinetics {config.name} in {config.data_dir}: {hint}")
        return sources

    # -- Without streaming

    def _download_archives(self, archives: dict[str, ArchiveSource], cache: DownloadCache) -> set[str]:
        """Download the archives; print the download size and the free space first. Return those that are corrupt."""
        shards = [shard for source in archives.values() for shard in source.shards]
        urls = list(filter(is_url, shards))
        with ThreadPoolExecutor(max_workers=16) as pool:
            sizes = dict(zip(urls, pool.map(remote_size, urls), strict=True))
        total = sum(sizes.values())
        # The size of a selection is known only when the archives are read.
        takes_all = all(source.index.takes_all for source in archives.values())
        local = sum(map(os.path.getsize, filter(os.path.exists, shards)))
        self._check_space(sizes, total + local, cache, takes_all=takes_all, splits=", ".join(archives))
        failed: set[str] = set()
        if not urls:
            return failed
        self._download_size = total
        stopped = threading.Event()
        whole = sum(size for url, size in sizes.items() if cache.held_bytes(url) >= size)  # `fetch` tells of a part
        with datasets.utils.tqdm(
            total=total, initial=whole, unit="B", unit_scale=True, desc="Downloading archives"
        ) as bar:

            def progress(count: int) -> None:
                if stopped.is_set():
                    raise InterruptedError("the download was stopped; the same call resumes it")
                bar.update(count)

            def fetch(url: str) -> None:
                try:
                    cache.fetch(url, progress=progress)
                except ChangedError as error:
                    if self.config.on_missing == "raise":
                        raise
                    _logger.warning(f"{error}; its clips are missing")
                    failed.add(url)

            with ThreadPoolExecutor(max_workers=4) as pool:
                try:
                    list(pool.map(fetch, urls))
                except BaseException:
                    stopped.set()  # or an error or Ctrl-C would wait for the archives in flight, of a gigabyte each
                    raise
        return failed

    def _check_space(
        self, sizes: dict[str, int], stored: int, cache: DownloadCache, *, takes_all: bool, splits: str
    ) -> None:
        total, unknown = sum(sizes.values()), sum(not size for size in sizes.values())
        missing = sum(max(0, size - cache.held_bytes(url)) for url, size in sizes.items())
        needed = {self._output_dir: stored if takes_all else 0} if os.path.isdir(self._output_dir) else {}
        if sizes:
            os.makedirs(cache.directory, exist_ok=True)
            needed[cache.directory] = missing
        spaces = disk_spaces(needed)
        if sizes:
            untold = f" ({unknown:,} of unknown size)" if unknown else ""
            free = ", ".join(f"{format_size(space.free)} are free in {space.directory}" for space in spaces)
            _logger.warning(
                f"kinetics {self.config.name} ({splits}): {len(sizes):,} archives of {format_size(total)}{untold}, "
                f"{format_size(missing)} of them to download to {cache.directory}, and at most "
                f"{format_size(stored)} for the dataset in {self._cache_dir_root}; {free}"
            )
        for space in spaces:
            if space.needed > space.free:
                raise OSError(
                    f"{format_size(space.needed)} are needed and {format_size(space.free)} are free in "
                    f"{space.directory}; choose splits= or classes=, pass a cache_dir= with more room, or use "
                    "streaming=True, which stores nothing"
                )

    def _download_and_prepare(self, dl_manager: Any, verification_mode: Any, **kwargs: Any) -> None:
        self.info.splits = None  # the published counts; the dataset may hold fewer
        try:
            super()._download_and_prepare(dl_manager, verification_mode, **kwargs)
        except OSError as error:
            # The library's name for any OSError while a split is written.
            if str(error).startswith("Cannot find data file") and error.__context__ is not None:
                raise error.__context__ from None
            raise
        self.info.download_size = self.__dict__.get("_download_size", 0)
        # `datasets` cannot read a split without rows.
        empty = [split for split, info in self.info.splits.items() if not info.num_examples]
        reason = "the archives hold none of its annotated clips"
        if len(empty) == len(self.info.splits):
            raise FileNotFoundError(
                f"no clip of kinetics {self.config.name} to load: {', '.join(empty)}: {reason}; check that "
                "data_dir= and annotations= belong together, and to this release"
            )
        for split in empty:
            _logger.warning(f"kinetics {self.config.name} {split}: skipped: {reason}")
            del self.info.splits[split]

    def _prepare_split(self, split_generator: Any, **kwargs: Any) -> None:
        super()._prepare_split(split_generator, **kwargs)
        source, split = split_generator.gen_kwargs["source"], split_generator.name
        if not isinstance(source, ArchiveSource):
            return
        files = self._fs.ls(self._fs._strip_protocol(self._output_dir), detail=False)
        built = [path for path in files if os.path.basename(path).startswith(f"{self.dataset_name}-{split}")]
        names = clip_names(pa.concat_tables(read_keys(path, self._fs) for path in built))
        wanted = source.index.names
        missing = wanted.filter(pc.invert(pc.is_in(wanted, value_set=names)))
        finder = ClipFinder(self.config.selection(), on_missing=self.config.on_missing)
        finder.report_missing(split, len(wanted), missing.to_pylist(), [])
        counts = pc.value_counts(names)
        twice = counts.field("values").filter(pc.greater(counts.field("counts"), 1)).to_pylist()
        if twice:
            _logger.warning(
                f"{finder.selection.title(split)}: {len(twice):,} clips are in several archives and loaded several "
                f"times ({few(twice)}), because processes read archives independently; omit num_proc to load each once"
            )

    def _prepare_split_single(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        try:
            yield from super()._prepare_split_single(*args, **kwargs)
        except DatasetGenerationError as error:
            # In the process that wrote, because an error loses its cause between processes.
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None
            raise

    # -- Examples

    def _get_examples_iterable_for_split(self, split_generator: Any) -> Any:
        if isinstance(split_generator.gen_kwargs["source"], ArchiveSource):
            # Through Arrow tables, as clips in files go, each clip's bytes would be copied several times.
            return ArchiveStream(self._generate_examples, split_generator.gen_kwargs)
        return super()._get_examples_iterable_for_split(split_generator)

    def _generate_examples(self, shards: list[Any], source: Any) -> Iterator[tuple[tuple[int, int], dict[str, Any]]]:
        for shard_index, shard in enumerate(shards):
            for index, example in enumerate(source.examples(shard)):
                yield (shard_index, index), example

    def _generate_tables(self, shards: list[Any], source: Any) -> Iterator[tuple[tuple[int, int], pa.Table]]:
        seen: set[int] = set()
        for shard_index, shard in enumerate(shards):
            for index, table in enumerate(source.tables(shard, seen)):
                yield (shard_index, index), table
        if isinstance(source, ArchiveSource):
            source.report()


def __dir__() -> list[str]:
    return [*__all__, "__doc__", "__version__"]


def _split_of_call() -> tuple[Any, tuple[str, ...] | None]:
    """Return the `split` of the call of `load_dataset` that makes a builder, see `resolve_split`; None without one."""
    # `load_dataset` tells `split` to `as_dataset` alone, after all splits are downloaded and built.
    frame = sys._getframe(2).f_back  # the caller of `load_dataset_builder`, which calls `Kinetics`
    if frame is None or (frame.f_globals.get("__name__"), frame.f_code.co_name) != ("datasets.load", "load_dataset"):
        return None, None
    return resolve_split(frame.f_locals.get("split"))


# ---- Registration -------------------------------------------------------------------------------------------


def _register() -> None:
    """Make `load_dataset("kinetics", ...)` use this builder; leave every other name to the library.

    `datasets` finds its own builders ("csv", "parquet") by name, but lists `data_dir` for them before it builds.
    Therefore the function that maps names to builders is wrapped.
    """
    load, inspect = import_module("datasets.load"), import_module("datasets.inspect")
    original = getattr(load, "dataset_module_factory", None)
    if original is None:
        _logger.warning(
            f"datasets {datasets.__version__} has no function to register kinetics with. Use the builder: "
            "kinetics.Kinetics(config_name='700', data_dir=...).as_streaming_dataset(), or install datasets<6."
        )
        return
    if getattr(original, "answers_for_kinetics", False):
        return

    @functools.wraps(original)
    def dataset_module_factory(path: str, *args: Any, **kwargs: Any) -> Any:
        if path != "kinetics" or (kwargs.get("data_dir") is None and is_prepared("kinetics")):
            return original(path, *args, **kwargs)
        return load.DatasetModule(__name__, str(Kinetics.VERSION), {"dataset_name": "kinetics"})

    dataset_module_factory.answers_for_kinetics = True  # type: ignore[attr-defined]
    for module in (load, inspect):
        if getattr(module, "dataset_module_factory", None) is original:
            module.dataset_module_factory = dataset_module_factory  # type: ignore[attr-defined]


if __name__ == "kinetics":
    _register()
elif __name__ == "__main__":  # python -m kinetics
    runpy.run_module("kinetics_tools", run_name="__main__")
