"""Class names: spellings, indices, and maps to torchvision."""

import functools
import re
import urllib.parse
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.releases import LABELS, RELEASES, check_release
from kinetics_tools.text import few, unknown_choice


def normalize_label(label: str) -> str:
    """Return the letters and digits of a class name in lower case: the part that all public spellings share.

    The result is distinct for all classes of a release. In class directories, torchvision and the ActivityNet crawler
    write `_` for spaces and drop `'`, `(` and `)`. Others keep the name, quote it for a URL, or change its case.
    """
    return re.sub(r"[^a-z0-9]", "", urllib.parse.unquote(label).lower())


@functools.cache
def label_index(release: str) -> dict[str, int]:
    """Return the class indices of a release by normalized class name."""
    labels = LABELS[check_release(release)]
    return {normalize_label(label): index for index, label in enumerate(labels)}


def find_label(name: str, release: str) -> int:
    """Return the index of a class (0 to 399, 599 or 699), by its name in any public spelling.

    Raises:
        ValueError: the release has no such class. The message suggests the nearest one.
    """
    known = label_index(release)
    if not isinstance(name, str):
        raise ValueError(f"class {name!r} is not a class name, such as {LABELS[release][0]!r}")
    if normalize_label(name) not in known:
        raise ValueError(unknown_choice(name, LABELS[release], f"class of {release}"))
    return known[normalize_label(name)]


def to_torchvision(index: int, release: str) -> int:
    """Return the index that torchvision.datasets.Kinetics gives to the class with `index` in `release`."""
    _label(index, release)
    return _torchvision_order(release).index(index)


def from_torchvision(index: int, release: str) -> int:
    """Return the index in `release` of the class to which torchvision.datasets.Kinetics gives `index`."""
    _label(index, release)
    return _torchvision_order(release)[index]


@functools.cache
def _torchvision_order(release: str) -> tuple[int, ...]:
    # torchvision sorts the names of its class directories, which differ from class names: a few classes swap.
    names = [label.replace(" ", "_").translate({ord(char): None for char in "'()"}) for label in LABELS[release]]
    return tuple(sorted(range(len(names)), key=names.__getitem__))


def _label(index: int, release: str) -> str:
    labels = LABELS[check_release(release)]
    if not 0 <= index < len(labels):
        raise ValueError(f"class index {index} is outside of release {release} (valid: 0 to {len(labels) - 1})")
    return labels[index]


def label_indices(labels: pa.Array | pa.ChunkedArray, release: str) -> pa.Array | pa.ChunkedArray:
    """Return the class indices (int64) of an Arrow array of class names; -1 for null.

    Raises:
        ValueError: a name is not a class of `release`. The message gives its row and suggests the nearest class.
    """
    known = label_index(release)
    indices = pc.index_in(labels, value_set=pa.array(LABELS[release]))
    if indices.null_count > labels.null_count:
        unknown = pc.and_(pc.is_null(indices), pc.is_valid(labels))
        spellings = pc.unique(pc.filter(labels, unknown)).to_pylist()
        for name in spellings:
            if normalize_label(name) not in known:
                row = pc.index(labels, name).as_py()
                raise ValueError(unknown_choice(name, LABELS[release], f"class of {release} in row {row + 1}"))
        found = pa.array([known[normalize_label(name)] for name in spellings], type=pa.int32())
        indices = pc.if_else(unknown, pc.take(found, pc.index_in(labels, value_set=pa.array(spellings))), indices)
    return pc.fill_null(indices.cast(pa.int64()), -1)


def misfit(names: Iterable[str], release: str, what: str) -> str | None:
    """Return an error message if class names fit another release better than `release`; otherwise None.

    A release fits better if more of the names are its classes. Names without a class in any release do not count.

    Args:
        names: class names, in any spelling.
        release: the release that is asked for.
        what: what bears the names, in the plural, for the message.
    """
    by_key = {normalize_label(name): name for name in names}
    found = {other: by_key.keys() & label_index(other).keys() for other in RELEASES}
    most = max(map(len, found.values()))
    if len(found[release]) == most:
        return None
    others = [other for other in RELEASES if len(found[other]) == most]
    odd = sorted(by_key[key] for key in found[others[0]] - found[release])
    return (
        f"{len(odd):,} of {len(by_key):,} {what} are classes of {' and '.join(others)} and not of {release} "
        f"({few(odd)}): this is release {others[0]}; ask for it, or pass force_release=True to take the classes that "
        f"{release} has"
    )
