"""dataset_infos.json: what the dataset declares, and what a repository on the Hub declares of its clips."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard

from kinetics_tools.errors import PushError
from kinetics_tools.io.atomic import replacing
from kinetics_tools.preparation.card import CARD_NAME
from kinetics_tools.publication.hub import Repository
from kinetics_tools.publication.remote import retry_remote
from kinetics_tools.releases import ANNOTATED_CLIPS, RELEASES, SPLITS, dataset_info

__all__ = ["dataset_infos", "published_infos", "write_infos"]


def dataset_infos() -> dict[str, dict[str, Any]]:
    """What kinetics.py declares of each release, in the form of dataset_infos.json.

    `num_examples` of a split is the number of rows of the default annotation edition; a count that no second
    source confirms is left out. `datasets.DatasetInfo.from_dict` reads each value.
    """
    infos = {}
    for release in RELEASES:
        info = dataset_info(release)
        counts = ANNOTATED_CLIPS[release]
        # As stored; whether a machine can decode videos is not a fact about the dataset.
        features = {**info.features.to_dict(), "video": {"_type": "Video"}}
        infos[release] = {
            "description": info.description,
            "citation": info.citation,
            "homepage": info.homepage,
            "license": info.license,
            "features": features,
            "builder_name": "kinetics",
            "dataset_name": "kinetics",
            "config_name": release,
            "version": "1.0.0",
            "splits": {name: _split(name, counts.get(name, 0)) for name in SPLITS},
        }
    return infos


def _split(name: str, num_examples: int) -> dict[str, Any]:
    return {"name": name, "num_examples": num_examples} if num_examples else {"name": name}


def write_infos(path: str | os.PathLike[str] = "dataset_infos.json", infos: Mapping[str, Any] | None = None) -> Path:
    """Writes `infos`, or `dataset_infos()`, to `path`, which it returns. The file is replaced whole or not at all.

    Raises ValueError where the file has releases that `infos` lacks.
    """
    infos = dataset_infos() if infos is None else infos
    if lost := [name for name in _releases_in(Path(path)) if name not in infos]:
        raise ValueError(
            f"{path} has {', '.join(lost)}, too, which would be lost; name another file, as in `kinetics infos "
            "FILE --repo USER/NAME`"
        )
    with replacing(path) as partial:
        partial.write_text(json.dumps(infos, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return Path(path)


def _releases_in(path: Path) -> list[str]:
    """Those that a dataset_infos.json has; none where it is not there, or no JSON."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return []
    return [name for name in RELEASES if name in held]


def published_infos(repo_id: str, *, revision: str | None = None, token: str | None = None) -> dict[str, Any]:
    """As `dataset_infos`, with the releases, features, splits and sizes that the card of a repository names.

    Raises PushError where there is no such repository, or no card that names a release.
    """
    repository = Repository(repo_id, token=token, revision=revision)
    state = retry_remote(repository.look)
    card = repository.read(CARD_NAME, state).decode() if CARD_NAME in state.files else ""
    declared = DatasetInfosDict.from_dataset_card_data(DatasetCard(card, ignore_metadata_errors=True).data)
    found = {}
    for release, info in dataset_infos().items():
        if release in declared:
            there = declared[release]
            splits = {name: {"name": name, "num_examples": one.num_examples, "num_bytes": one.num_bytes}
                      for name, one in there.splits.items()}  # fmt: skip
            sizes = {"download_size": there.download_size, "dataset_size": there.dataset_size}
            found[release] = {**info, "features": there.features.to_dict(), "splits": splits, **sizes}
    if not found:
        raise PushError(f"{repository.url} is not there, or its card names none of {', '.join(RELEASES)}")
    return found
