"""The facts about the dataset that the Hub and `datasets` read: dataset_infos.json, and the card of prepared shards."""

import json
import os
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import datasets
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCardData

import kinetics
from kinetics_tools.shard_file import prepared_features
from kinetics_tools.store import Store
from kinetics_tools.summary import read_summary

__all__ = ["CARD_NAME", "dataset_infos", "write_card", "write_infos"]

CARD_NAME = "README.md"


def dataset_infos() -> dict[str, dict[str, Any]]:
    """What kinetics.py declares of each release, in the form of dataset_infos.json.

    `num_examples` of a split is the number of rows of the default annotation edition; a count that no second
    source confirms is left out. `datasets.DatasetInfo.from_dict` reads each value.
    """
    infos = {}
    for release in kinetics.RELEASES:
        # Features as they are stored; whether a machine can decode them is not a fact about the dataset.
        info = kinetics.Kinetics(config_name=release, decode=False).info
        features = info.features.to_dict()
        features["video"] = {"_type": "Video"}
        infos[release] = {
            "description": info.description,
            "citation": info.citation,
            "homepage": info.homepage,
            "license": info.license,
            "features": features,
            "builder_name": info.builder_name,
            "dataset_name": info.dataset_name,
            "config_name": release,
            "version": str(info.version),
            "splits": {name: _split(name, split.num_examples) for name, split in info.splits.items()},
        }
    return infos


def _split(name: str, num_examples: int) -> dict[str, Any]:
    return {"name": name, "num_examples": num_examples} if num_examples else {"name": name}


def write_infos(path: str | os.PathLike[str] = "dataset_infos.json") -> Path:
    """Writes `dataset_infos()` to `path` and returns it. The file is replaced whole, or not at all."""
    path = Path(path)
    partial = path.with_name(path.name + ".incomplete")
    partial.write_text(json.dumps(dataset_infos(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(partial, path)
    return path


# ---- The card -----------------------------------------------------------------------------------------------


def write_card(store: Store) -> None:
    """Writes README.md for the prepared splits in `store` that are complete; none where no split is."""
    releases = {release: splits for release in kinetics.RELEASES if (splits := _complete_splits(store, release))}
    if not releases:
        return
    data = DatasetCardData(license="cc-by-4.0", task_categories=["video-classification"], pretty_name="Kinetics")
    infos = {release: _info(store, release, splits) for release, splits in releases.items()}
    DatasetInfosDict(infos).to_dataset_card_data(data)
    configs: dict[str, Any] = {
        release: {"data_files": [{"split": name, "path": split["files"]} for name, split in splits.items()]}
        for release, splits in releases.items()
    }
    if len(releases) > 1:
        configs[max(releases, key=kinetics.RELEASES.index)]["default"] = True
    MetadataConfigs(configs).to_dataset_card_data(data)
    store.write(CARD_NAME, f"---\n{data.to_yaml()}\n---\n\n{_text(releases)}".encode())


def _complete_splits(store: Store, release: str) -> dict[str, Any]:
    splits = read_summary(store, release)["splits"]
    return {name: split for name, split in splits.items() if split["shards_done"] == split["shards"]}


def _info(store: Store, release: str, splits: dict[str, Any]) -> datasets.DatasetInfo:
    sizes = store.sizes(release)
    files = [split["files"].rpartition("/")[2] for split in splits.values()]
    return datasets.DatasetInfo(
        features=prepared_features(release),
        splits=datasets.SplitDict(
            {
                name: datasets.SplitInfo(name, num_bytes=split["bytes_out"], num_examples=split["rows"])
                for name, split in splits.items()
            }
        ),
        download_size=sum(size for name, size in sizes.items() if any(fnmatchcase(name, file) for file in files)),
        dataset_size=sum(split["bytes_out"] for split in splits.values()),
    )


def _text(releases: dict[str, Any]) -> str:
    lines = ["# Kinetics", "", "Clips of human actions, prepared for training.", ""]
    lines += ["| release | split | clips | annotated |", "|---|---|---|---|"]
    for release, splits in releases.items():
        lines += [f"| {release} | {name} | {split['rows']:,} | {split['clips']:,} |" for name, split in splits.items()]
    return "\n".join(lines) + "\n"
