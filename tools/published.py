"""What a repository on the Hub declares about the clips that it holds, in the form of dataset_infos.json."""

from typing import Any

from datasets.info import DatasetInfosDict
from huggingface_hub import DatasetCard

import kinetics
from kinetics_tools.card import CARD_NAME, dataset_infos
from kinetics_tools.destination import PushError, patiently
from kinetics_tools.repository import Repository

__all__ = ["published_infos"]


def published_infos(repo_id: str, *, revision: str | None = None, token: str | None = None) -> dict[str, Any]:
    """As `dataset_infos`, with the releases, features, splits and sizes that the card of a repository names.

    Raises PushError where there is no such repository, or no card that names a release.
    """
    repository = Repository(repo_id, token=token, revision=revision)
    state = patiently(repository.look)
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
        raise PushError(f"{repository.url} is not there, or its card names none of {', '.join(kinetics.RELEASES)}")
    return found
