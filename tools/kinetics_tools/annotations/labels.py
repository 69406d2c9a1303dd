"""Class names: their spellings, their indices, and what they are called elsewhere."""

import functools
import re
import urllib.parse

import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.releases import LABELS, RELEASES
from kinetics_tools.text import check_choice

__all__ = [
    "find_label",
    "from_torchvision",
    "label_index",
    "label_indices",
    "map_index",
    "map_label",
    "normalize_label",
    "to_torchvision",
]


def normalize_label(label: str) -> str:
    """What every public tool's spelling of a label has in common: its letters and digits, in lower case.

    Distinct for all classes of a release. torchvision and the ActivityNet crawler write class directories with
    `_` for spaces and without `'`, `(` and `)`; others keep the label, quote it for a URL, or change its case.
    """
    return re.sub(r"[^a-z0-9]", "", urllib.parse.unquote(label).lower())


@functools.cache
def label_index(release: str) -> dict[str, int]:
    return {normalize_label(label): index for index, label in enumerate(LABELS[release])}


def find_label(name: str, release: str) -> int:
    """Index of a class of `release` (0 to 399, 599 or 699), by its label or any public tool's spelling of it.

    Raises ValueError naming the nearest label where the release has no such class.
    """
    labels = LABELS[check_choice(release, RELEASES, "release")]
    if not isinstance(name, str):
        raise ValueError(f"class {name!r} is no label; pass one as LABELS[{release!r}] has it, such as {labels[0]!r}")
    index = label_index(release).get(normalize_label(name))
    if index is None:
        check_choice(name, labels, f"class of {release}")
    assert index is not None
    return index


def map_index(index: int, source: str, target: str) -> int | None:
    """The index in release `target` of the class that has `index` in release `source`; None where it has none.

    A class is the same where its label is, but for the case of letters: 400 and 600 write "American" differently.
    -1, which stands for no label, stays -1.
    """
    if index == -1:
        return -1
    labels = LABELS[check_choice(source, RELEASES, "release")]
    return label_index(check_choice(target, RELEASES, "release")).get(
        normalize_label(labels[check_label_index(index, source)])
    )


def check_label_index(index: int, release: str) -> int:
    if not 0 <= index < len(LABELS[release]):
        raise ValueError(
            f"class index {index} is outside of release {release} (valid: 0 to {len(LABELS[release]) - 1})"
        )
    return index


def map_label(label: str, source: str, target: str) -> str | None:
    """The label in release `target` of a class of release `source`; None where `target` does not have it."""
    index = map_index(find_label(label, source), source, target)
    return None if index is None else LABELS[target][index]


@functools.cache
def _torchvision_order(release: str) -> tuple[int, ...]:
    """Our index of each torchvision index.

    torchvision.datasets.Kinetics numbers the sorted names of its class folders, which it writes with `_` for
    spaces and without `'`, `(` and `)`: that order differs from the order of the labels in a few places.
    """
    names = [label.replace(" ", "_").translate({ord(char): None for char in "'()"}) for label in LABELS[release]]
    return tuple(sorted(range(len(names)), key=names.__getitem__))


def to_torchvision(index: int, release: str) -> int:
    """The index that torchvision.datasets.Kinetics gives to the class that has `index` in `release`."""
    return _torchvision_order(check_choice(release, RELEASES, "release")).index(check_label_index(index, release))


def from_torchvision(index: int, release: str) -> int:
    """The index in `release` of the class to which torchvision.datasets.Kinetics gives `index`."""
    return _torchvision_order(check_choice(release, RELEASES, "release"))[check_label_index(index, release)]


def label_indices(labels: pa.Array | pa.ChunkedArray, release: str) -> pa.Array | pa.ChunkedArray:
    """Class indices (int64) of an Arrow array of labels; -1 where the label is null.

    Raises ValueError naming the first label that is no class of `release`, its row, and the nearest class.
    """
    indices = pc.index_in(labels, value_set=pa.array(LABELS[check_choice(release, RELEASES, "release")]))
    if indices.null_count > labels.null_count:
        unknown = pc.and_(pc.is_null(indices), pc.is_valid(labels))
        spellings = pc.unique(pc.filter(labels, unknown)).to_pylist()
        known = {name: label_index(release).get(normalize_label(name)) for name in spellings}
        for name, index in known.items():
            if index is None:
                row = pc.index(labels, name).as_py()
                check_choice(name, LABELS[release], f"class of {release} in row {row + 1}")
        found = pa.array(known.values(), type=pa.int32())
        others = pc.take(found, pc.index_in(labels, value_set=pa.array(list(known))))
        indices = pc.if_else(unknown, others, indices)
    return pc.fill_null(indices.cast(pa.int64()), -1)
