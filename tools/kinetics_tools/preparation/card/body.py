"""Text of the dataset card: the template `card.md.j2` with values from the manifests."""

import functools
import re
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jinja2

from kinetics_tools.annotations import map_index
from kinetics_tools.preparation.card.header import split_header
from kinetics_tools.preparation.clip import REASON_NAMES
from kinetics_tools.preparation.parquet import MEASURED
from kinetics_tools.releases import CITATIONS, LABELS, PAPERS, RELEASES
from kinetics_tools.text import format_size, printable

OWN_BEGIN = "<!-- begin: yours -->"
_OWN_END = "<!-- end: yours -->"
_OWN_HINT = "<!-- Text between these lines stays when the card is written again. -->\n"

_NOT_SELECTED, _EXCLUDED, _NOT_MADE = "not selected", "excluded", "not made yet"
_NEVER_NAMED = (_NOT_SELECTED, _EXCLUDED, _NOT_MADE)
_REASONS = ("missing", "empty", "unreadable", "crashed", *_NEVER_NAMED)
_MEASURED_OPTIONS = {"profile": "train", "short_side": 256, "crf": 23}
_ORDER_OPTIONS = ("seed", "clips_per_shard")

PICTURE_FOLDER = "images"
CLASS_CHART, CONTACT_SHEET = f"{PICTURE_FOLDER}/classes.svg", f"{PICTURE_FOLDER}/clips.jpg"
"""Pictures that may lie beside a card."""

Releases = Mapping[str, Mapping[str, Mapping[str, Any]]]  # release -> split -> its entry in the manifest


def is_partial(entry: Mapping[str, Any]) -> bool:
    """Return True if shards of a split are still to be made."""
    return bool(entry["shards_done"] != entry["shards"])


def card_body(releases: Releases, *, repo_id: str | None, pictures: Mapping[str, str]) -> str:
    """Return the card from its title on; see `make_card`."""
    shown = {"chart_text": pictures.get(CLASS_CHART), "sheet_text": pictures.get(CONTACT_SHEET)}
    paths = {"class_chart": CLASS_CHART, "contact_sheet": CONTACT_SHEET}
    text = _template().render(_values(releases, repo_id), **shown, **paths)
    return re.sub(r"\n{3,}", "\n\n", text)


def _values(releases: Releases, repo_id: str | None) -> dict[str, Any]:
    """Return the values of the template; `releases` are in the order of RELEASES."""
    names = list(releases)
    splits = [
        _split_values(release, name, entry) for release, found in releases.items() for name, entry in found.items()
    ]
    reasons = [reason for reason in _REASONS if any(reason in split["missing"] for split in splits)]
    sources = [f"`{_code(one['source'])}` ({one['title']})" for one in splits if one["source"]]
    has_dropped = any(split["entry"]["dropped"] for split in splits)
    # The smallest split of the last release is what users try first.
    last = [split for split in splits if split["release"] == names[-1]]
    first_try = min(last, key=lambda one: (one["entry"]["rows"], one["name"]))
    where = f'"{repo_id or "path/to/this/folder"}", "{first_try["release"]}", split="{first_try["name"]}"'
    return {
        "releases": names,
        "columns": MEASURED,
        "all_releases": RELEASES,
        "labels_of": LABELS,
        "papers": PAPERS,
        "repo_id": repo_id,
        "splits": splits,
        "has_video": any(split["has_video"] for split in splits),
        "clips": sum(split["entry"]["rows"] for split in splits),
        "labels": max((_selected_labels(name, splits) for name in names), key=len),
        "first_try": first_try,
        "load_call": f"load_dataset({where}",
        "reasons": reasons,
        "named_reasons": [f"*{one}*" for one in reasons if has_dropped and one not in _NEVER_NAMED],
        "sources": sources,
        "unannotated": [split["title"] for split in splits if split["annotated"] is None],
        "is_whole": not reasons and len(sources) == len(splits),
        "shared_actions": " and ".join(_shared_actions(*pair) for pair in (("400", "600"), ("600", "700"))),
        "has_poster": any(one["options"].get("poster") for one in splits),
        "audio_rates": sorted({one["options"]["audio_column"] for one in splits if "audio_column" in one["options"]}),
        "processing": _processing(splits),
        "measured": [split["title"] for split in splits if split["is_measured"]],
        # Each release builds on the earlier ones, so all are cited, those of this card first.
        "citations": [CITATIONS[name] for name in dict.fromkeys([*names, *RELEASES])],
    }


def _split_values(release: str, name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    basis = entry.get("basis", {})  # old manifests have none
    clips = entry["clips"] - sum(entry["dropped"].values())
    missing = {REASON_NAMES.get(reason, reason): count for reason, count in entry["dropped"].items()}
    if basis:
        missing[_EXCLUDED] = sum((basis.get("excluded") or {}).values())
        missing[_NOT_SELECTED] = basis["annotated"] - basis["wanted"] - missing[_EXCLUDED]
        missing[_NOT_MADE] = basis["wanted"] - entry["clips"]
    is_annotated = basis.get("annotations", "") is not None  # or else clips were found by their file names alone
    options = entry.get("options", {})
    has_video = entry.get("content") != "annotations"
    return {
        "release": release,
        "name": name,
        "title": f"{release} {name}",
        "entry": entry,
        "is_partial": is_partial(entry),
        "has_video": has_video,
        "subset": basis.get("subset"),
        "excluded": basis.get("excluded") or {},
        "exclude_by": basis.get("exclude_by", "video"),
        "classes": [_plain(label) for label in basis.get("classes") or []],
        "clips": clips,
        "missing": {reason: count for reason, count in missing.items() if count},
        "annotated": clips + sum(missing.values()) if is_annotated else None,
        "source": basis.get("annotations"),
        "options": options and {**options, **{one: basis[one] for one in _ORDER_OPTIONS if one in basis}},
        "is_measured": has_video and options.items() >= _MEASURED_OPTIONS.items(),
    }


def _selected_labels(release: str, splits: list[dict[str, Any]]) -> list[str]:
    selected = (one["classes"] or LABELS[release] for one in splits if one["release"] == release)
    return sorted(set().union(*selected))


@functools.cache
def _shared_actions(release: str, other: str) -> str:
    count = sum(map_index(index, release, other) is not None for index in range(len(LABELS[release])))
    return f"{count} actions of {release} are in {other}"


def _processing(splits: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Group the splits by their options and versions."""
    groups: dict[str, dict[str, Any]] = {}
    for split in splits:
        if split["options"]:
            group = {"options": split["options"], "versions": split["entry"].get("made_with", {})}
            groups.setdefault(repr(group), {**group, "titles": []})["titles"].append(split["title"])
    return list(groups.values())


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=jinja2.StrictUndefined
    )
    filters = {"plain": _plain, "code": _code, "hours": _hours, "option_value": _option_value}
    environment.filters.update(number="{:,}".format, size=format_size, **filters)
    return environment.from_string(files(__package__).joinpath("card.md.j2").read_text(encoding="utf-8"))


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.1f}" if hours >= 1 else f"{hours:.2g}"


def _option_value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{_plain(name)} {_option_value(one)}" for name, one in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else _plain(value)


def _plain(value: Any) -> str:
    """Return a value from a manifest with Markdown and HTML escaped."""
    return re.sub(r"[\\`*<>\[\]|&]", r"\\\g<0>", printable(str(value)))


def _code(value: Any) -> str:
    """Return a value from a manifest for a code span, also in a table."""
    return printable(str(value)).replace("`", "'").replace("|", "/")


# ---- Sections of the user -----------------------------------------------------------------------------------


def with_own_sections(text: str, previous: str) -> str:
    """Return `text` with the user's sections of the previous card, each after its previous heading."""
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
    """Return heading -> the user's sections after it; "" stands for those before the first heading."""
    found: dict[str, list[str]] = {}
    heading, (text, *rest) = "", split_header(card)[1].split(f"{OWN_BEGIN}\n")
    for part in rest:
        heading = next((line for line in reversed(text.split("\n")) if line.startswith("## ")), heading)
        own, _, text = part.partition(_OWN_END)
        found.setdefault(heading, []).append(own)
    return found
