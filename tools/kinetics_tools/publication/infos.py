"""Export of dataset_infos.json, for kinetics.py or for a repository on the Hub."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard

from kinetics_tools.errors import PushError
from kinetics_tools.io.atomic import check_outputs, write_file
from kinetics_tools.io.json_shape import parse_json
from kinetics_tools.preparation.card import CARD_NAME
from kinetics_tools.publication.hub import Repository
from kinetics_tools.publication.remote import retry_remote
from kinetics_tools.releases import ANNOTATED_CLIPS, CACHE_VERSION, RELEASES, SPLITS, dataset_info


def dataset_infos() -> dict[str, dict[str, Any]]:
    """Return the declarations of kinetics.py by release, in the form of dataset_infos.json.

    `num_examples` of a split is the number of rows of the default annotation edition; a count that no second source
    confirms is omitted. `datasets.DatasetInfo.from_dict` reads each value.
    """
    infos = {}
    for release in RELEASES:
        info = dataset_info(release)
        counts = {split: ANNOTATED_CLIPS[release].get(split) for split in SPLITS}
        infos[release] = {
            "description": info.description,
            "citation": info.citation,
            "homepage": info.homepage,
            "license": info.license,
            # As stored: whether this machine can decode videos is not a fact about the dataset.
            "features": {**info.features.to_dict(), "video": {"_type": "Video"}},
            "builder_name": "kinetics",
            "dataset_name": "kinetics",
            "config_name": release,
            "version": CACHE_VERSION,
            "splits": {name: {"name": name, **({"num_examples": n} if n else {})} for name, n in counts.items()},
        }
    return infos


def write_infos(path: str | os.PathLike[str], infos: Mapping[str, Any] | None = None) -> Path:
    """Write `infos`, by default `dataset_infos()`, to a file atomically; return its path.

    Raises:
        ValueError: the file exists and is not such a file, or has releases that `infos` does not have.
    """
    infos = dataset_infos() if infos is None else infos
    check_outputs((path, rb'\s*\{\s*("[\d-]+": *\{|\})'))
    path = Path(path)
    try:
        present = parse_json(path.read_bytes(), {str: object})
    except (FileNotFoundError, ValueError):
        present = {}
    if lost := [name for name in RELEASES if name in present and name not in infos]:
        raise ValueError(
            f"{path} also has {', '.join(lost)}, which would be lost; name another file, as in `kinetics infos FILE "
            "--repo USER/NAME`"
        )
    write_file(path, json.dumps(infos, indent=2, ensure_ascii=False) + "\n")
    return path


def published_infos(repo_id: str, *, revision: str | None = None, token: str | None = None) -> dict[str, Any]:
    """Return `dataset_infos()` with the releases, features, splits and sizes that the card of a repository declares.

    Args:
        repo_id: dataset repository, "user/kinetics".
        revision: branch or commit; None for main.
        token: Hub token; None for HF_TOKEN or the stored one.

    Raises:
        PushError: the repository does not exist, or its card declares no release.
    """
    repository = Repository(repo_id, token=token, revision=revision)
    listing = retry_remote(repository.list_files, is_first=True)
    undeclared = f"{repository.url} does not exist, or its card declares none of {', '.join(RELEASES)}"
    if CARD_NAME not in listing.files:
        raise PushError(undeclared)
    card = retry_remote(lambda: repository.read(CARD_NAME, listing)).decode()
    published = DatasetInfosDict.from_dataset_card_data(DatasetCard(card, ignore_metadata_errors=True).data)
    found = {}
    for release, info in dataset_infos().items():
        if release in published:
            one = published[release]
            splits = {
                name: {"name": name, "num_examples": split.num_examples, "num_bytes": split.num_bytes}
                for name, split in one.splits.items()
            }
            sizes = {"download_size": one.download_size, "dataset_size": one.dataset_size}
            found[release] = {**info, "features": one.features.to_dict(), "splits": splits, **sizes}
    if not found:
        raise PushError(undeclared)
    return found
