"""The annotated clips of a tree, on a disk or in an object store, and where each lies."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

import kinetics
from kinetics_tools.store import Store

__all__ = ["clip_tables"]


def clip_tables(
    release: str,
    data_dir: str | os.PathLike[str],
    *,
    splits: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    annotations: str | None = None,
) -> Iterator[tuple[str, pa.Table]]:
    """(split, clips) of those splits, or of all that are there, as `Kinetics.local_clips` gives them.

    `data_dir` is a path or a URL that `fsspec` opens; without `annotations`, those in it count. Raises
    FileNotFoundError where there are no clips, and ValueError where none is asked for.
    """
    store = Store(data_dir)
    found: Iterator[tuple[str, pa.Table | None]]
    given: dict[str, Any] = {"splits": splits, "classes": classes, "annotations": annotations, "decode": False}
    if store.is_local:
        builder = kinetics.Kinetics(config_name=release, data_dir=store.root, **given)
        builder.config.check()
        there = [split for split in kinetics.SPLITS if kinetics.split_directories(builder.config.data_dir, split)]
        found = ((split, builder.local_clips(split)) for split in builder.config.splits or there)
    else:
        found = _remote_tables(store, release, given)
    count = 0
    for split, clips in found:
        if clips is None:
            continue
        if not len(clips):
            raise ValueError(f"no clip of the {split} split is asked for; choose other classes or annotations")
        count += 1
        yield split, clips
    if not count:
        raise FileNotFoundError(f"no clips in {store.url}: it should hold train, val or test; `kinetics download` does")


def _remote_tables(store: Store, release: str, given: dict[str, Any]) -> Iterator[tuple[str, pa.Table | None]]:
    config = kinetics.Kinetics(config_name=release, **given).config
    config.check()
    given = {**given, "classes": config.classes}
    with tempfile.TemporaryDirectory(prefix="kinetics-annotations-") as folder:
        if config.annotations is None:
            _fetch_annotations(store, Path(folder))
        for split in config.splits or kinetics.SPLITS:
            files = (path for name in kinetics.split_spellings(split) for path in store.find(name))
            paths = [path for path in files if kinetics.is_clip(path.rpartition("/")[2])]
            if paths or config.splits:
                annotations = config.annotations or kinetics.annotations_of_tree(folder, split)
                asked = {**given, "splits": config.splits and [split], "annotations": annotations}
                yield split, kinetics.Kinetics(config_name=release, **asked).local_clips(split, paths)


def _fetch_annotations(store: Store, folder: Path) -> None:
    """What may be annotations, in `annotations/` or beside the splits, as it lies in local trees."""
    for place in ("annotations/", ""):
        (folder / place).mkdir(exist_ok=True)
        for name in store.sizes(place):
            if name.lower().endswith((".csv", ".json")):
                (folder / place / name).write_bytes(store.read(place + name))
