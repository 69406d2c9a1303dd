"""The facts about the dataset that the Hub and `datasets` read: dataset_infos.json."""

import json
import os
from pathlib import Path
from typing import Any

import kinetics


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
