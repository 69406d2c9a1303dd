"""YAML header of the dataset card, which the Hub and `datasets` read."""

import functools
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

import datasets
import yaml  # type: ignore[import-untyped]
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCardData

from kinetics_tools.io import check_shape
from kinetics_tools.preparation.extra_columns import check_same_columns
from kinetics_tools.preparation.parquet import prepared_features
from kinetics_tools.releases import RELEASES, clip_features

_PLACEHOLDER = "being-uploaded"
_FILES = (str, {"path": (str, [str])})
_SHAPES = {
    "tags": (([str], None), "a list of texts"),
    "configs": ([{"data_files": (_FILES, [_FILES], None)}], "a list of mappings whose data_files name files"),
    "dataset_info": ([{str: object}], "a list of mappings"),
}
_SIZE_CATEGORIES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**7: "1M<n<10M"}


def split_header(card: str) -> tuple[str, str]:
    """Return the YAML of a card between its first two lines of dashes, and the text after them."""
    lines = card.split("\n")
    dashes = [number for number, line in enumerate(lines) if line.rstrip() == "---"][:2]
    if len(dashes) < 2 or dashes[0] != 0:
        return "", card
    return "\n".join(lines[1 : dashes[1]]), "\n".join(lines[dashes[1] + 1 :])


@functools.lru_cache(4)
def _load(card: str) -> Any:
    """Return the values of a header; its text if it is invalid YAML."""
    text = split_header(card)[0]
    try:
        # `DatasetCard` and `metadata_load` parse with Python, ten times as long: 0.3 s for four releases.
        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError):  # ValueError: of a date such as 2026-13-01
        return text


def _header(card: str) -> dict[str, Any]:
    values = _load(card)
    return values if isinstance(values, dict) else {}


def check_header(card: str, where: str) -> None:
    """Raise ValueError for an invalid header of a card; the message calls the card `where`."""
    values = _load(card) or {}
    problem = None
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        problem = "it must be a YAML mapping with names as keys"
    else:
        for name, (shape, expected) in _SHAPES.items():
            try:
                check_shape(_as_list(values.get(name)) if name != "tags" else values.get(name), shape)
            except ValueError as error:
                problem = f'"{name}" must be {expected} ({error})'
    if problem:
        raise ValueError(f"{where}: invalid card header: {problem}; fix it and rerun the same command")


def card_patterns(card: str) -> list[str] | None:
    """Return the patterns of the data files that a card lists; None if it lists none, so that `datasets` finds them."""
    configs = _as_list(_header(card).get("configs"))
    if not configs:
        return None
    patterns: list[str] = []
    for config in configs:
        entries = config.get("data_files") or []
        for entry in [entries] if isinstance(entries, str | dict) else entries:
            path = entry["path"] if isinstance(entry, dict) else entry
            patterns += [path] if isinstance(path, str) else path
    return patterns


def is_named(name: str, patterns: Iterable[str]) -> bool:
    """Return True if a file is one of the data files that the patterns of a card name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def annotation_features(release: str) -> datasets.Features:
    """Return the columns of a table that is published without video."""
    keys = {name: feature for name, feature in clip_features(release).items() if name != "video"}
    return datasets.Features({**keys, "available": datasets.Value("bool"), "reason": datasets.Value("string")})


def make_header(releases: Mapping[str, Mapping[str, Any]], sizes: Mapping[str, int], previous: str) -> str:
    """Return the header of a card with its lines of dashes; fields of the previous card that are not ours are kept.

    Args:
        releases: release -> split -> its entry in the manifest.
        sizes: file name -> bytes.
        previous: the previous card, or "".
    """
    rows = sum(split["rows"] for splits in releases.values() for split in splits.values())
    data = DatasetCardData(
        license="cc-by-4.0",
        task_categories=["video-classification"],
        pretty_name="Kinetics",
        size_categories=[next((name for limit, name in _SIZE_CATEGORIES.items() if rows < limit), "1M<n<10M")],
        source_datasets=["original"],
        tags=["video", "action-recognition", "kinetics", *(f"kinetics-{name}" for name in releases)],
    )
    DatasetInfosDict({name: _info(name, splits, sizes) for name, splits in releases.items()}).to_dataset_card_data(data)
    configs: dict[str, Any] = {
        name: {"data_files": [{"split": split, "path": _files(entry, sizes)} for split, entry in splits.items()]}
        for name, splits in releases.items()
    }
    configs[max(releases, key=RELEASES.index)]["default"] = True
    MetadataConfigs(configs).to_dataset_card_data(data)
    return _with_previous(data, previous)


def placeholder_header(previous: str) -> str:
    """Return the header of a card that lists a file that never exists."""
    data = DatasetCardData(pretty_name="Kinetics")
    MetadataConfigs({_PLACEHOLDER: {"data_files": f"{_PLACEHOLDER}/*.parquet"}}).to_dataset_card_data(data)
    return _with_previous(data, previous)


def _info(release: str, splits: Mapping[str, Any], sizes: Mapping[str, int]) -> datasets.DatasetInfo:
    patterns = [split["files"] for split in splits.values()]
    is_video = all(split.get("content") != "annotations" for split in splits.values())
    counts = {
        name: datasets.SplitInfo(name, num_bytes=split["bytes_out"], num_examples=split["rows"])
        for name, split in splits.items()
    }
    return datasets.DatasetInfo(
        features=prepared_features(release, check_same_columns(splits)) if is_video else annotation_features(release),
        splits=datasets.SplitDict(counts),
        download_size=sum(size for path, size in sizes.items() if is_named(path, patterns)),
        dataset_size=sum(split["bytes_out"] for split in splits.values()),
    )


def _files(split: Mapping[str, Any], sizes: Mapping[str, int]) -> str | list[str]:
    """Return the pattern of a complete split, or the files of an incomplete one, so that later ones stay invisible."""
    pattern: str = split["files"]
    if split["shards_done"] == split["shards"]:
        return pattern
    return sorted(name for name in sizes if is_named(name, [pattern]))


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _with_previous(data: Any, previous: str) -> str:
    values = data.to_dict()
    ours = dict(values)
    for name, value in _header(previous).items():
        if name == "tags":
            values["tags"] = list(dict.fromkeys([*values.get("tags", []), *_as_list(value)]))
        elif name in ("configs", "dataset_info"):
            others = [one for one in _as_list(value) if one.get("config_name") not in (*RELEASES, _PLACEHOLDER, None)]
            if others:
                values[name] = [*_as_list(values.get(name)), *others]
        elif name not in ours:
            values[name] = value
    # As `to_yaml` writes it, but by the dumper in C: the names of labels make a thousand lines.
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump(values, Dumper=dumper, sort_keys=False, allow_unicode=True, line_break="\n").strip()
    return f"---\n{text}\n---\n"
