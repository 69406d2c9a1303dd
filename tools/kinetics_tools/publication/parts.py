"""Prepared splits to publish."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import datasets

from kinetics_tools.io.folder import Folder
from kinetics_tools.preparation import FORMAT, ShardPlan, parse_name, prepared_features, read_manifest
from kinetics_tools.preparation.card import annotation_features
from kinetics_tools.preparation.extra_columns import ExtraColumns, check_same_columns
from kinetics_tools.releases import RELEASES, check_release, find_split
from kinetics_tools.text import as_names


@dataclass(frozen=True)
class Part:
    """A split to publish.

    Attributes:
        count: number of its shards.
        pattern: names of its shards, as a card has it.
        about: how it was prepared, from prepare.json: "basis", "options", "made_with" for shards that do not name
            their versions, and "content" if it has no video.
    """

    release: str
    split: str
    count: int
    fingerprint: str
    pattern: str
    about: Mapping[str, Any] = field(repr=False)

    @classmethod
    def from_manifest(cls, release: str, split: str, entry: Mapping[str, Any]) -> "Part":
        """Return the part that an entry of prepare.json describes."""
        about = {name: entry[name] for name in ("content", "basis", "options", "made_with") if name in entry}
        return cls(release, split, entry["shards"], entry["fingerprint"], entry["files"], about)

    @classmethod
    def from_plan(cls, plan: ShardPlan) -> "Part":
        """Return the part of a split that is still to be prepared."""
        about = {"basis": plan.basis, "options": plan.options}
        return cls(plan.release, plan.split, plan.count, plan.fingerprint, plan.pattern, about)

    @property
    def basis(self) -> Mapping[str, Any]:
        """Inputs of the plan of the split, as in prepare.json."""
        return self.about.get("basis", {})

    @property
    def has_video(self) -> bool:
        """True if the shards hold videos, and not annotations only."""
        return "content" not in self.about

    @property
    def title(self) -> str:
        """Release and split, for messages."""
        return f"{self.release} {self.split}"

    @property
    def features(self) -> datasets.Features:
        """Columns of the shards."""
        if not self.has_video:
            return annotation_features(self.release)
        return prepared_features(self.release, ExtraColumns.of(self.about.get("options", {})))

    def shard(self, name: str) -> int | None:
        """Return the number of the shard that a file holds; None for any other file."""
        found = parse_name(name) if name.startswith(f"{self.release}/") else None
        return found[1] if found and (found[0], found[2:]) == (self.split, (self.count, self.fingerprint)) else None

    def replaces(self, name: str) -> bool:
        """Return True if a file is a shard of another preparation of this split."""
        found = parse_name(name) if name.startswith(f"{self.release}/") else None
        return found is not None and found[0] == self.split and self.shard(name) is None


def find_parts(store: Folder, releases: Sequence[str] | None, splits: Sequence[str] | None) -> list[Part]:
    """Return the prepared splits in a folder, or those of `releases` and `splits`.

    Raises:
        ValueError: a release or split is unknown or not in the folder.
    """
    releases = None if releases is None else [*map(check_release, as_names(releases))]
    splits = None if splits is None else [*map(find_split, as_names(splits))]
    found = [
        Part.from_manifest(release, split, entry)
        for release in RELEASES
        for split, entry in read_manifest(store, release)["splits"].items()
    ]
    titles = ", ".join(part.title for part in found) or "no prepared splits"
    parts = [
        part
        for part in found
        if (releases is None or part.release in releases) and (splits is None or part.split in splits)
    ]
    for release in releases or ():
        if not any(part.release == release for part in parts):
            raise ValueError(f"{store.url} has no {release} {'/'.join(splits or ('split',))}; it has {titles}")
    for split in splits or ():
        if not any(part.split == split for part in parts):
            raise ValueError(f"{store.url} has no {split} split; it has {titles}")
    if not parts and store.is_local and not os.path.isdir(store.root):
        raise ValueError(f"{store.url} does not exist; pass the directory that `kinetics prepare` wrote")
    if not parts:
        raise ValueError(f"{store.url} has no prepared splits; run `kinetics prepare` first")
    return parts


def check_parts(store: Folder, parts: Iterable[Part]) -> None:
    """Raise ValueError if a folder has shards of two preparations of a split, of another version, or other columns."""
    parts = list(parts)
    for release in {part.release for part in parts if part.has_video}:
        check_same_columns({part.split: part.about for part in parts if part.release == release and part.has_video})
    for part in parts:
        made_as = part.about.get("options", {}).get("format", FORMAT["format"])
        if made_as != FORMAT["format"]:
            raise ValueError(
                f"the shards of {part.title} have format {made_as}, and this version publishes {FORMAT['format']}; "
                "prepare them again, or publish them with the version that made them"
            )
        others = sorted(name for name in store.sizes(part.release) if part.replaces(f"{part.release}/{name}"))
        if others:
            raise ValueError(
                f"{store.path(part.release)} mixes two preparations of {part.split}: prepare.json names "
                f"{part.fingerprint}, and there is {others[0]}; remove the shards of one of them"
            )
