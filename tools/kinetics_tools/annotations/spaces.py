"""Label spaces: the orders of labels that published models and frameworks use.

    >>> from kinetics_tools import label_space
    >>> label_space("opengvlab-600").to("sorted")[:3]
    array([175, 111, 352])

The lists in `lists/spaces` are as their publishers wrote them.
"""

import functools
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from kinetics_tools.annotations.labels import from_torchvision, label_index, normalize_label
from kinetics_tools.annotations.renames import counterpart, renamed
from kinetics_tools.io.json_shape import parse_json
from kinetics_tools.releases import LABELS, RELEASES, check_release
from kinetics_tools.text import few, unknown_choice

MERGED = "710"
"""Release of the spaces that merge the classes of 400, 600 and 700."""
MERGED_CLASSES = 710
"""Number of merged classes."""

_FOLDER = Path(__file__).with_name("lists") / "spaces"
_PUBLISHED = {
    "opengvlab-400": "400",
    "opengvlab-600": "600",
    "opengvlab-700": "700",
    "opengvlab-710": MERGED,
    "mmaction2-710": MERGED,
}
_ORDERS = ("sorted", "torchvision-folders")
SPACES = (*(f"{order}-{release}" for order in _ORDERS for release in RELEASES), *_PUBLISHED)
"""Names of the known label spaces."""
# OpenGVLab's list of 400 is in byte order of the names of 400. These two stand where other classes belong.
_CLEAR_ERRORS = {("400", "hugging baby"): "hugging", ("400", "opening wine bottle"): "opening bottle"}


@dataclass(frozen=True, repr=False)
class LabelSpace:
    """Order of labels.

    Attributes:
        name: one of `SPACES`, or the path of a file.
        release: "400", "600", "700", "700-2020", or "710" for the merged classes.
        published: names as the publisher wrote them, by index.
        classes: names in `release`, by index; None where `published` is ambiguous.
    """

    name: str
    release: str
    published: tuple[str, ...]
    classes: tuple[str | None, ...]

    def __repr__(self) -> str:
        return f"LabelSpace({self.name!r}, {len(self)} classes of {self.release})"

    def __len__(self) -> int:
        return len(self.published)

    @property
    def names(self) -> tuple[str, ...]:
        """Names in `release`, or as published where those are ambiguous."""
        return tuple(one or name for one, name in zip(self.classes, self.published, strict=True))

    @property
    def ambiguous(self) -> dict[int, str]:
        """Index -> published name of the entries that do not say which class they are."""
        return {index: self.published[index] for index, one in enumerate(self.classes) if one is None}

    def to(self, target: "LabelSpace | str", *, doubtful: bool = False) -> npt.NDArray[np.int64]:
        """Return the index in `target` of each index of this space: (C,) int64, -1 without a counterpart.

        Args:
            target: a space, or the name or file of one; "sorted" is that of the same release.
            doubtful: see `map_label`. To and from the merged classes, which are defined by these renames, always True.

        Raises:
            ValueError: unknown space, or a file that is not one.
        """
        if not isinstance(target, LabelSpace):
            target = label_space(target, None if self.release == MERGED else self.release)
        own = {normalize_label(name) for name in self.classes if name}
        other = {normalize_label(name): index for index, name in enumerate(target.classes) if name}
        doubtful = doubtful or MERGED in (self.release, target.release)
        found = [name and counterpart(normalize_label(name), own, other, doubtful=doubtful) for name in self.classes]
        return np.array([-1 if name is None else other[name] for name in found], np.int64)

    def note(self) -> str | None:
        """Return the reason that some entries have no counterpart, as text; None if there are none."""
        if not self.ambiguous:
            return None
        entries = ", ".join(f"{index} {name!r}" for index, name in self.ambiguous.items())
        named = {normalize_label(one) for one in self.classes if one}
        missing = [one for one in LABELS.get(self.release, ()) if normalize_label(one) not in named]
        of = f", and no entry is {few(missing)}" if missing else ""
        return f"{self.name}: the published list is ambiguous at {entries}{of}; these entries map to nothing"


def label_space(name: str | os.PathLike[str], release: str | None = None) -> LabelSpace:
    """Return a label space.

    Args:
        name: one of `SPACES`, with or without its release, such as "sorted" or "opengvlab-600". Otherwise a file: one
            class name per line, or JSON that maps each index to a name, which may be below a key "id2label".
        release: release of the classes; required for files and names without a release.

    Raises:
        ValueError: unknown space, a file with an unknown or repeated class, or a missing `release`.
    """
    name = os.fspath(name)
    if release is not None and release != MERGED:
        release = check_release(release)
    for known in (name, f"{name}-{release}", f"{name}-{release}".removesuffix("-2020")):
        if known in SPACES:
            return _known_space(known)
    if not os.path.isfile(name):
        if of_releases := [space for space in SPACES if space.startswith(f"{name}-")]:
            named = f"label space {name!r}"
            if release is None:
                raise ValueError(f"{named} needs a release: {few(of_releases, 4)}")
            of_release = few((space for space in SPACES if space.endswith(f"-{release}")), len(SPACES))
            raise ValueError(f"{named} does not exist for {release}: expected one of {of_release}, or a file")
        raise ValueError(unknown_choice(name, SPACES, "label space") + "; or pass the path of an existing file")
    if release is None:
        raise ValueError(f"{name}: pass the release whose classes it lists")
    return _space(name, release, _read_file(name), strict=True)


def spaces_of(release: str, size: int) -> list[LabelSpace]:
    """Return the known label spaces for predictions with `size` classes of clips of `release`."""
    wanted = {MERGED} if size == MERGED_CLASSES else {release, "700"} if release == "700-2020" else {release}
    found = map(_known_space, SPACES)
    return [space for space in found if space.release in wanted and len(space) == size]


@functools.cache
def _known_space(name: str) -> LabelSpace:
    if name in _PUBLISHED:
        lines = (_FOLDER / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        return _space(name, _PUBLISHED[name], lines[1:])  # the first line is the source
    order, release = next((order, name.removeprefix(f"{order}-")) for order in _ORDERS if name.startswith(order))
    labels = LABELS[release]
    if order == "torchvision-folders":
        labels = tuple(labels[from_torchvision(index, release)] for index in range(len(labels)))
    return LabelSpace(name, release, labels, labels)


def _space(name: str, release: str, published: Sequence[str], *, strict: bool = False) -> LabelSpace:
    """Return the space of a list. With `strict`, a name that is not a class raises ValueError."""
    if repeated := [one for one, count in Counter(map(normalize_label, published)).items() if count > 1]:
        again = [one for one in published if normalize_label(one) in repeated]
        raise ValueError(f"{name}: repeated classes: {few(again)}; each index needs a class of its own")
    keys = {normalize_label(one) for one in published}
    classes = tuple(_class_of(one, release, keys) for one in published)
    space = LabelSpace(name, release, tuple(published), classes)
    if strict:
        for index, one in space.ambiguous.items():
            if renamed(normalize_label(one)) not in keys:
                raise ValueError(
                    f"{name}: index {index}: {unknown_choice(one, LABELS[release], f'class of {release}')}"
                )
    return space


def _class_of(name: str, release: str, keys: set[str]) -> str | None:
    """Return the name in `release` of an entry; None if another entry has the name that later releases gave it."""
    key = normalize_label(name)
    if renamed(key) in keys:
        return None
    if release == MERGED:
        return name
    known = label_index(release)
    found = counterpart(key, (), known, doubtful=True)
    return _CLEAR_ERRORS.get((release, name)) if found is None else LABELS[release][known[found]]


def _read_file(path: str) -> list[str]:
    """Return the names in a file of one name per line, or in JSON of index to name."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text in UTF-8; pass a list of names") from None
    if not path.lower().endswith(".json"):
        names = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    else:
        names = _names_by_index(path, text)
    if not names:
        raise ValueError(f"{path}: the file has no class names")
    return names


def _names_by_index(path: str, text: str) -> list[str]:
    try:
        content = parse_json(text, ({"id2label": {str: str}}, {str: str}))
    except ValueError as error:
        raise ValueError(f"{path}: not valid JSON of index to name ({error})") from None
    by_index = content.get("id2label", content)
    names = [by_index.get(str(index)) for index in range(len(by_index))]
    if None in names:
        raise ValueError(
            f'{path}: must map each index from 0 on to a name, as {{"0": "abseiling", "1": "air drumming"}}'
        )
    return names
