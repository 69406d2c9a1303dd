"""The facts about the dataset that the Hub and `datasets` read: dataset_infos.json, and the card of prepared shards."""

import functools
import re
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import datasets
import yaml  # type: ignore[import-untyped]
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCardData

from kinetics_tools.io.folder import Folder
from kinetics_tools.preparation.card_text import OWN_BEGIN, OWN_END, card_text, is_partial
from kinetics_tools.preparation.manifest import read_summary
from kinetics_tools.preparation.parquet import prepared_features
from kinetics_tools.releases import RELEASES, clip_features

__all__ = [
    "CARD_NAME",
    "annotation_features",
    "card_patterns",
    "check_header",
    "check_place",
    "has_text",
    "is_named",
    "is_ours",
    "make_card",
    "make_placeholder",
    "write_card",
]

CARD_NAME = "README.md"
_PATTERN_MARKS = ("*", "?", "[", "::")  # for `datasets`, the path of a folder is a part of a pattern
_PLACEHOLDER = "being-uploaded"
_EMPTY_SECTION = "<!-- What you write between these lines stays when the card is made again. -->\n"


def check_place(store: Folder) -> None:
    """Raises ValueError where `write_card` could not write, or nobody could load.

    That is: a folder that `datasets` cannot load, or that lies in a file; one with a README.md that `write_card` did
    not make, or whose header cannot be kept; and one with a damaged prepare.json.
    """
    if store.is_local:
        for path in (Path(store.root), *Path(store.root).parents):
            if path.is_file():
                raise ValueError(f"{path} is a file; name a folder")
        if odd := next((mark for mark in _PATTERN_MARKS if mark in store.root), None):
            raise ValueError(f"{store.root} has {odd!r} in it, and `datasets` loads no such folder; name another")
    for release in RELEASES:
        read_summary(store, release)
    previous = _previous(store)
    if previous and not is_ours(previous):
        raise ValueError(
            f"{store.path(CARD_NAME)} is not ours, and the card of the prepared clips would replace it; name another "
            "folder, or move that file"
        )
    check_header(previous, store.path(CARD_NAME))


def write_card(store: Folder) -> bool:
    """Writes README.md for the prepared splits in `store` that are complete; none where no split is.

    Returns whether that was to be done: whether it was not there already.
    """
    summaries = {}
    for release in RELEASES:
        splits = read_summary(store, release)["splits"]
        if complete := {name: split for name, split in splits.items() if not is_partial(split)}:
            summaries[release] = {"splits": complete}
    if not summaries:
        return False
    sizes = {f"{release}/{name}": size for release in summaries for name, size in store.sizes(release).items()}
    previous = _previous(store)
    card = make_card(summaries, sizes, previous=previous)
    if card == previous:
        return False
    store.write(CARD_NAME, card.encode())
    return True


def _previous(store: Folder) -> str:
    """The README.md that is there; empty where there is none."""
    try:
        return store.read(CARD_NAME).decode(errors="replace")
    except FileNotFoundError:
        return ""


def make_card(
    summaries: Mapping[str, Mapping[str, Any]],
    sizes: Mapping[str, int],
    *,
    repo_id: str | None = None,
    previous: str = "",
) -> str:
    """The card that names the splits in `summaries`, all of it.

    `summaries` has of each release what its prepare.json says; `sizes` is file -> bytes. `repo_id` is that of the
    repository, None for a folder. Of the `previous` card stay a user's own sections, which stand between
    `<!-- begin: yours -->` and `<!-- end: yours -->`, what its header has beside ours, and configs that are no release.
    """
    releases = {name: summaries[name]["splits"] for name in RELEASES if summaries.get(name, {}).get("splits")}
    rows = [split["rows"] for splits in releases.values() for split in splits.values()]
    data = DatasetCardData(
        license="cc-by-4.0",
        task_categories=["video-classification"],
        pretty_name="Kinetics",
        size_categories=[_size_category(sum(rows))],
        source_datasets=["original"],
        tags=["video", "action-recognition", "kinetics", *(f"kinetics-{name}" for name in releases)],
    )
    DatasetInfosDict({name: _info(name, splits, sizes) for name, splits in releases.items()}).to_dataset_card_data(data)
    configs: dict[str, Any] = {
        name: {"data_files": [{"split": split, "path": _files(entry, sizes)} for split, entry in splits.items()]}
        for name, splits in releases.items()
    }
    configs[max(releases, key=RELEASES.index)]["default"] = True
    MetadataConfigs(configs).to_dataset_card_data(data)
    _keep_header(data, _header(previous))
    return f"---\n{_yaml(data)}\n---\n\n{_with_own_sections(card_text(releases, repo_id=repo_id), previous)}"


def make_placeholder(previous: str = "") -> str:
    """The card of a repository whose first files are on their way: it names a file that never comes.

    Without one, `datasets` would go by the names of the files and load those that have arrived.
    """
    data = DatasetCardData(pretty_name="Kinetics")
    MetadataConfigs({_PLACEHOLDER: {"data_files": f"{_PLACEHOLDER}/*.parquet"}}).to_dataset_card_data(data)
    _keep_header(data, _header(previous))
    text = "# Kinetics\n\nThis data set is being uploaded. Its description comes with the last file.\n"
    return f"---\n{_yaml(data)}\n---\n\n{_with_own_sections(text, previous)}"


def card_patterns(card: str) -> list[str] | None:
    """The patterns of the data files that a card names; None where it leaves them to be found by `datasets`."""
    configs = _header(card).get("configs")
    if not configs:
        return None
    patterns: list[str] = []
    for config in configs:
        files = config.get("data_files", [])
        entries = [files] if isinstance(files, str | dict) else files
        for entry in entries:
            path = entry.get("path", []) if isinstance(entry, dict) else entry
            patterns += [path] if isinstance(path, str) else path
    return patterns


def is_named(name: str, patterns: Iterable[str]) -> bool:
    """Whether a file is one of the data files that the patterns of a card name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def is_ours(card: str) -> bool:
    """Whether `make_card` or `make_placeholder` made it."""
    return OWN_BEGIN in card


def has_text(card: str) -> bool:
    """Whether anything stands behind the header of a card."""
    return bool(_split_header(card)[1].strip())


def annotation_features(release: str) -> datasets.Features:
    """The columns of what is published without video."""
    keys = {name: feature for name, feature in clip_features(release).items() if name != "video"}
    return datasets.Features({**keys, "available": datasets.Value("bool"), "reason": datasets.Value("string")})


def _info(release: str, splits: Mapping[str, Any], sizes: Mapping[str, int]) -> datasets.DatasetInfo:
    patterns = [split["files"] for split in splits.values()]
    is_video = all(split.get("content") != "annotations" for split in splits.values())
    return datasets.DatasetInfo(
        features=prepared_features(release) if is_video else annotation_features(release),
        splits=datasets.SplitDict(
            {
                name: datasets.SplitInfo(name, num_bytes=split["bytes_out"], num_examples=split["rows"])
                for name, split in splits.items()
            }
        ),
        download_size=sum(size for path, size in sizes.items() if is_named(path, patterns)),
        dataset_size=sum(split["bytes_out"] for split in splits.values()),
    )


def _files(split: Mapping[str, Any], sizes: Mapping[str, int]) -> str | list[str]:
    """The pattern of a split that is whole; of any other its files one by one, so that what is to come is not seen."""
    pattern: str = split["files"]
    return sorted(name for name in sizes if is_named(name, [pattern])) if is_partial(split) else pattern


def _size_category(rows: int) -> str:
    """Of the Hub's, such as "10K<n<100K"."""
    edges = ("1K", "10K", "100K", "1M", "10M")
    for edge, (low, high) in zip((10**3, 10**4, 10**5, 10**6), zip(("", *edges), edges, strict=False), strict=False):
        if rows < edge:
            return f"{low}<n<{high}" if low else f"n<{high}"
    return "1M<n<10M"


def _split_header(card: str) -> tuple[str, str]:
    """The YAML between the two first lines of dashes, and what follows them."""
    lines = card.split("\n")
    dashes = [number for number, line in enumerate(lines) if line.rstrip() == "---"][:2]
    if len(dashes) < 2 or dashes[0] != 0:
        return "", card
    return "\n".join(lines[1 : dashes[1]]), "\n".join(lines[dashes[1] + 1 :])


@functools.lru_cache(4)
def _loaded_header(card: str) -> Any:
    """What the YAML of a card's header holds; its text where it is no YAML."""
    text = _split_header(card)[0]
    try:
        return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError:
        return text


def _header(card: str) -> dict[str, Any]:
    """What the header of a card says; nothing where it is no YAML of names and values."""
    values = _loaded_header(card)
    return values if isinstance(values, dict) else {}


def check_header(card: str, where: str) -> None:
    """Raises ValueError, which calls the card `where`, for a header that `make_card` could not keep."""
    problem = None
    if not isinstance(_loaded_header(card) or {}, dict):
        problem = "is no YAML of names and values"
    values = _header(card)
    if not isinstance(values.get("tags") or [], list):
        problem = "has tags that are no list"
    for name in ("configs", "dataset_info"):
        if not all(isinstance(one, dict) for one in _listed(values.get(name))):
            problem = f"has {name} that are no names and values"
    if problem:
        raise ValueError(f"{where}: its header {problem}; mend it, and run the same command again")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _values(data: Any) -> dict[str, Any]:
    values: dict[str, Any] = data.to_dict()
    return values


def _yaml(data: DatasetCardData) -> str:
    """As `to_yaml` gives it, ten times faster: the names of the labels make a thousand lines and more."""
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(_values(data), Dumper=dumper, sort_keys=False, allow_unicode=True, line_break="\n")
    return text.strip()


def _keep_header(data: DatasetCardData, previous: Mapping[str, Any]) -> None:
    """Takes into `data` what the header of the previous card has beside it."""
    known = {name for name, value in _values(data).items() if value is not None}
    for name, value in previous.items():
        if name == "tags":
            data["tags"] = list(dict.fromkeys([*data.get("tags", []), *_listed(value)]))
        elif name in ("configs", "dataset_info"):
            others = [one for one in _listed(value) if _is_foreign(one)]
            if others:
                data[name] = [*_listed(data.get(name)), *others]
        elif name not in known:
            data[name] = value


def _is_foreign(config: Mapping[str, Any]) -> bool:
    return config.get("config_name") not in (*RELEASES, _PLACEHOLDER, None)


def _last_heading(text: str) -> str:
    return next((line for line in reversed(text.split("\n")) if line.startswith("## ")), "")


def _with_own_sections(text: str, previous: str) -> str:
    """`text` with a user's own sections of the previous card, each behind the section that it stood behind there."""
    blocks: dict[str, list[str]] = {}
    heading, (first, *rest) = "", _split_header(previous)[1].split(f"{OWN_BEGIN}\n")
    for part in rest:
        heading = _last_heading(first) or heading
        own, _, first = part.partition(OWN_END)
        blocks.setdefault(heading, []).append(own)
    blocks.setdefault("", [_EMPTY_SECTION])
    parts = []
    sections = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    headings = [section.partition("\n")[0] if section.startswith("## ") else "" for section in sections]
    blocks[headings[-1]] = [
        *blocks.get(headings[-1], []),
        *(own for heading, owns in blocks.items() if heading not in headings for own in owns),
    ]
    for heading, section in zip(headings, sections, strict=True):
        parts.append(section.rstrip("\n"))
        parts += [f"{OWN_BEGIN}\n{own}{OWN_END}" for own in blocks.get(heading, [])]
    return "\n\n".join(parts) + "\n"
