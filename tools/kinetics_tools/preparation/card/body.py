"""Text of the dataset card: values from the manifests, put into the template `card.md.j2`."""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import jinja2

from kinetics_tools.annotations import map_label
from kinetics_tools.preparation.card.header import split_header
from kinetics_tools.releases import CITATIONS, LABELS, PAPERS, RELEASES
from kinetics_tools.text import format_size

__all__ = ["OWN_BEGIN", "card_body", "is_partial", "with_own_sections"]

OWN_BEGIN = "<!-- begin: yours -->"
_OWN_END = "<!-- end: yours -->"
_OWN_HINT = "<!-- Text between these lines stays when the card is written again. -->\n"

_NOT_SELECTED, _NOT_MADE = "not selected", "not made yet"
_REASONS = ("absent", "empty", "unreadable", "crashed", _NOT_SELECTED, _NOT_MADE)
_MEASURED_OPTIONS = {"profile": "train", "short_side": 256, "crf": 23}
_ORDER_OPTIONS = ("seed", "clips_per_shard")

Releases = Mapping[str, Mapping[str, Mapping[str, Any]]]  # release -> split -> its entry in the manifest


def is_partial(entry: Mapping[str, Any]) -> bool:
    """Return True if shards of a split are still to be made."""
    return bool(entry["shards_done"] != entry["shards"])


@dataclass(frozen=True)
class _Split:
    """A split in the card, with its `entry` in the manifest."""

    release: str
    name: str
    entry: Mapping[str, Any]

    @property
    def title(self) -> str:
        return f"{self.release} {self.name}"

    @property
    def is_partial(self) -> bool:
        return is_partial(self.entry)

    @property
    def has_video(self) -> bool:
        return self.entry.get("content") != "annotations"

    @property
    def basis(self) -> Mapping[str, Any]:
        """What the plan follows from; empty in old manifests."""
        basis: Mapping[str, Any] = self.entry.get("basis", {})
        return basis

    @property
    def classes(self) -> list[str]:
        """Selected classes; empty for all."""
        return list(self.basis.get("classes", []))

    @property
    def class_count(self) -> int:
        return len(LABELS[self.release])

    @property
    def clips(self) -> int:
        return int(self.entry["clips"] - sum(self.entry["dropped"].values()))

    @property
    def is_annotated(self) -> bool:
        """False if the clips were found by their file names alone."""
        return self.basis.get("annotations", "") is not None

    @property
    def annotated(self) -> int:
        return self.clips + sum(self.missing.values())

    @property
    def missing(self) -> dict[str, int]:
        """Reason -> number of clips that are not here."""
        counts = dict(self.entry["dropped"])
        if self.basis:
            counts[_NOT_SELECTED] = self.basis["annotated"] - self.basis["wanted"]
            counts[_NOT_MADE] = self.basis["wanted"] - self.entry["clips"]
        return {reason: count for reason, count in counts.items() if count}

    @property
    def options(self) -> dict[str, Any]:
        """Options that the split was made with; empty if the manifest does not say."""
        order = {name: self.basis[name] for name in _ORDER_OPTIONS if name in self.basis}
        return {**self.entry["options"], **order} if "options" in self.entry else {}

    @property
    def is_measured(self) -> bool:
        """True if the split was made like the clips whose reading speed was measured."""
        return self.has_video and _MEASURED_OPTIONS.items() <= self.entry.get("options", {}).items()


def card_body(releases: Releases, *, repo_id: str | None) -> str:
    """Return the card from its title on. `repo_id` is that of the Hub repository, None for a directory."""
    text = _template().render(_values(releases, repo_id))
    return re.sub(r"\n{3,}", "\n\n", text)


def _values(releases: Releases, repo_id: str | None) -> dict[str, Any]:
    """Return the values of the template; `releases` are in the order of RELEASES."""
    names = list(releases)
    splits = [_Split(release, name, entry) for release, found in releases.items() for name, entry in found.items()]
    reasons = [reason for reason in _REASONS if any(reason in split.missing for split in splits)]
    sources = [f"`{one.basis['annotations']}` ({one.title})" for one in splits if one.basis and one.is_annotated]
    # The smallest split of the last release is what users try first.
    smallest = min((one for one in splits if one.release == names[-1]), key=lambda one: (one.entry["rows"], one.name))
    source = repo_id or "path/to/this/folder"
    labels = max((_selected_labels(name, splits) for name in names), key=len)
    return {
        "releases": names,
        "all_releases": RELEASES,
        "labels_of": LABELS,
        "papers": PAPERS,
        "repo_id": repo_id,
        "splits": splits,
        "has_video": any(split.has_video for split in splits),
        "clips": sum(split.entry["rows"] for split in splits),
        "labels": labels,
        "smallest": smallest,
        "load_call": f'load_dataset("{source}", "{smallest.release}", split="{smallest.name}"',
        "reasons": reasons,
        "sources": sources,
        "unannotated": [split.title for split in splits if not split.is_annotated],
        "named_reasons": _named_reasons(splits, reasons),
        "is_whole": not reasons and len(sources) == len(splits),
        "shared_actions": " and ".join(_shared_actions(*pair) for pair in (("400", "600"), ("600", "700"))),
        "processing": _processing(splits),
        "measured": [split.title for split in splits if split.is_measured],
        "label_groups": _label_groups(names),
        # Each release builds on the earlier ones, so all are cited, those of this card first.
        "citations": [CITATIONS[name] for name in dict.fromkeys([*names, *RELEASES])],
    }


def _selected_labels(release: str, splits: list[_Split]) -> list[str]:
    return sorted({label for one in splits if one.release == release for label in one.classes or LABELS[release]})


def _named_reasons(splits: list[_Split], reasons: list[str]) -> list[str]:
    if not any(split.entry["dropped"] for split in splits):
        return []
    return [f"*{reason}*" for reason in reasons if reason not in (_NOT_SELECTED, _NOT_MADE)]


@functools.cache
def _shared_actions(release: str, other: str) -> str:
    count = sum(map_label(label, release, other) is not None for label in LABELS[release])
    return f"{count} actions of {release} are in {other}"


def _processing(splits: list[_Split]) -> list[dict[str, Any]]:
    """Group the splits that were made alike."""
    groups: dict[str, dict[str, Any]] = {}
    for split in splits:
        if split.options:
            group = {"options": split.options, "versions": split.entry.get("made_with", {})}
            groups.setdefault(repr(group), {**group, "titles": []})["titles"].append(split.title)
    return list(groups.values())


def _label_groups(names: list[str]) -> list[tuple[tuple[str, ...], list[str]]]:
    """Group the releases that have the same labels."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        groups.setdefault(LABELS[name], []).append(name)
    return list(groups.items())


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(number="{:,}".format, size=format_size, hours=_hours, option_value=_option_value)
    return environment.from_string(files(__package__).joinpath("card.md.j2").read_text(encoding="utf-8"))


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.1f}" if hours >= 1 else f"{hours:.2g}"


def _option_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_option_value(one)}" for name, one in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"{value}"


# ---- Sections of the user -----------------------------------------------------------------------------------


def with_own_sections(text: str, previous: str) -> str:
    """Return `text` with the user's sections of the previous card, each behind the heading that it followed there."""
    blocks = _own_sections(previous)
    blocks.setdefault("", [_OWN_HINT])
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    headings = [section.partition("\n")[0] if section.startswith("## ") else "" for section in sections]
    lost = [own for heading, owns in blocks.items() if heading not in headings for own in owns]
    blocks[headings[-1]] = [*blocks.get(headings[-1], []), *lost]
    parts = []
    for heading, section in zip(headings, sections, strict=True):
        parts.append(section.rstrip("\n"))
        parts += [f"{OWN_BEGIN}\n{own}{_OWN_END}" for own in blocks.get(heading, [])]
    return "\n\n".join(parts) + "\n"


def _own_sections(card: str) -> dict[str, list[str]]:
    """Return heading -> the user's sections behind it; "" is the heading of those before the first."""
    found: dict[str, list[str]] = {}
    heading, (text, *rest) = "", split_header(card)[1].split(f"{OWN_BEGIN}\n")
    for part in rest:
        heading = next((line for line in reversed(text.split("\n")) if line.startswith("## ")), heading)
        own, _, text = part.partition(_OWN_END)
        found.setdefault(heading, []).append(own)
    return found
