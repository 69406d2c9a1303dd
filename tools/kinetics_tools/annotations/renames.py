"""Maps of classes between releases, which rename some of them."""

import csv
import functools
from collections.abc import Container, Mapping
from pathlib import Path

from kinetics_tools.annotations.labels import find_label, label_index, normalize_label
from kinetics_tools.releases import LABELS

_LISTS = Path(__file__).with_name("lists")


def map_index(index: int, source: str, target: str, *, doubtful: bool = False) -> int | None:
    """Return the index in release `target` of the class with `index` in release `source`; None if it has none.

    An index of -1 (no label) stays -1. See `map_label`.
    """
    if index == -1:
        return -1
    known = label_index(source)
    if not 0 <= index < len(known):
        raise ValueError(f"class index {index} is outside of release {source} (valid: 0 to {len(known) - 1})")
    name = counterpart(normalize_label(LABELS[source][index]), known, label_index(target), doubtful=doubtful)
    return None if name is None else label_index(target)[name]


def map_label(label: str, source: str, target: str, *, doubtful: bool = False) -> str | None:
    """Return the name in release `target` of the class `label` of release `source`; None if it has none.

    Names are the same regardless of case and punctuation. 600 renamed ten classes of 400, and widened "baby waking up"
    to "waking up". `doubtful` also accepts four classes that were narrowed or changed, such as "picking fruit", which
    700 replaced by "picking apples", and the way back from "waking up".
    """
    index = map_index(find_label(label, source), source, target, doubtful=doubtful)
    return None if index is None else LABELS[target][index]


def counterpart(
    name: str, known: Container[str], target: Container[str] | Mapping[str, int], *, doubtful: bool = False
) -> str | None:
    """Return the name in `target` of the class `name` among `known`; None if it has none. All names are normalized."""
    if name in target:
        return name
    # Where a release has both names of a widened class, they are two classes.
    wider, narrower = _renames("wider").get(name), _old_names("wider").get(name)
    candidates = [renamed(name), _old_names("same").get(name), None if wider in known else wider]
    if doubtful:
        candidates += [_renames("doubtful").get(name), _old_names("doubtful").get(name)]
        candidates += [None if narrower in known else narrower]
    return next((one for one in candidates if one is not None and one in target), None)


def renamed(name: str) -> str | None:
    """Return the normalized name that later releases have for the class `name`; None if they did not rename it."""
    return _renames("same").get(name)


@functools.cache
def _renames(kind: str) -> dict[str, str]:
    """Return normalized old name -> new name of the renames of a kind."""
    with open(_LISTS / "renames.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] == kind]
    return {normalize_label(row["old"]): normalize_label(row["new"]) for row in rows}


@functools.cache
def _old_names(kind: str) -> dict[str, str]:
    return {new: old for old, new in _renames(kind).items()}
