"""Dataset card, README.md, which lists the shards for `datasets` and the Hub."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from kinetics_tools.io import Folder
from kinetics_tools.preparation.card.body import OWN_BEGIN, card_body, is_partial, with_own_sections
from kinetics_tools.preparation.card.header import check_header, make_header, placeholder_header, split_header
from kinetics_tools.preparation.manifest import read_manifest
from kinetics_tools.releases import RELEASES

CARD_NAME = "README.md"
_PATTERN_MARKS = ("*", "?", "[", "::")  # `datasets` takes the path of a directory for a part of a pattern


def check_output(folder: Folder) -> None:
    """Raise ValueError if `write_card` could not write to a directory, or `datasets` could not load it.

    Causes: the path is a file or looks like a pattern to `datasets`, README.md is not a dataset card of ours, or its
    header or the manifest is invalid.
    """
    if folder.is_local:
        for path in (Path(folder.root), *Path(folder.root).parents):
            if path.is_file():
                raise ValueError(f"{path} is a file; choose a directory")
        if mark := next((mark for mark in _PATTERN_MARKS if mark in folder.root), None):
            raise ValueError(f"{folder.root} contains {mark!r}, which `datasets` cannot load; choose another directory")
    for release in RELEASES:
        read_manifest(folder, release)
    previous = _previous(folder)
    if previous and not is_ours(previous):
        raise ValueError(
            f"{folder.path(CARD_NAME)} is not a card of `kinetics prepare` and would be replaced; choose "
            "another directory or move the file"
        )
    check_header(previous, folder.path(CARD_NAME))


def write_card(folder: Folder) -> bool:
    """Write README.md for the complete splits in a directory, if there are any. Return True if it has changed."""
    manifests = {}
    for release in RELEASES:
        splits = read_manifest(folder, release)["splits"]
        if complete := {name: entry for name, entry in splits.items() if not is_partial(entry)}:
            manifests[release] = {"splits": complete}
    if not manifests:
        return False
    sizes = {f"{release}/{name}": size for release in manifests for name, size in folder.sizes(release).items()}
    previous = _previous(folder)
    card = make_card(manifests, sizes, previous=previous)
    if card == previous:
        return False
    folder.write(CARD_NAME, card.encode())
    return True


def _previous(folder: Folder) -> str:
    try:
        return folder.read(CARD_NAME).decode(errors="replace")
    except FileNotFoundError:
        return ""


def make_card(
    manifests: Mapping[str, Mapping[str, Any]],
    sizes: Mapping[str, int],
    *,
    repo_id: str | None = None,
    previous: str = "",
    pictures: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return a card that lists all splits in `manifests`.

    Args:
        manifests: release -> its manifest.
        sizes: file name -> bytes.
        repo_id: the Hub repository; None for a directory.
        previous: the previous card. The user's sections, between `<!-- begin: yours -->` and `<!-- end: yours -->`,
            fields of its header that are not ours, and configs that are not a release are kept.
        pictures: CLASS_CHART -> its figures, and CONTACT_SHEET -> the labels of its clips, if these files exist.
    """
    releases = {name: manifests[name]["splits"] for name in RELEASES if manifests.get(name, {}).get("splits")}
    body = with_own_sections(card_body(releases, repo_id=repo_id, pictures=pictures), previous)
    return f"{make_header(releases, sizes, previous)}\n{body}"


def make_placeholder(previous: str = "") -> str:
    """Return the card of a repository while its first files are uploaded.

    Without one, `datasets` would find and load the files uploaded so far.
    """
    text = "# Kinetics\n\nThis dataset is being uploaded. Its description follows with the last file.\n"
    return f"{placeholder_header(previous)}\n{with_own_sections(text, previous)}"


def is_ours(card: str) -> bool:
    """Return True if a card was made by `make_card` or `make_placeholder`."""
    return OWN_BEGIN in card


def has_text(card: str) -> bool:
    """Return True if a card has text after its header."""
    return bool(split_header(card)[1].strip())
