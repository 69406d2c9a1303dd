"""The text of the card of prepared clips: what a researcher wants to know of them, all of it out of prepare.json."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

from kinetics_tools.annotations.labels import map_label
from kinetics_tools.releases import CITATIONS, LABELS, PAPERS, RELEASES
from kinetics_tools.text import format_size

__all__ = ["OWN_BEGIN", "OWN_END", "card_text", "is_partial"]

OWN_BEGIN = "<!-- begin: yours -->"
OWN_END = "<!-- end: yours -->"

_Splits = Mapping[str, Mapping[str, Any]]  # split -> its part of prepare.json

_ABOUT = {
    "400": "the first: 400 actions, at least 400 clips of each",
    "600": "more actions and clips; most actions of 400 are among them",
    "700": "more actions again; nearly all of 600 are among them",
    "700-2020": "the actions of 700, at least 700 clips of each",
}
_NOT_ASKED, _NOT_MADE = "not asked for", "not made yet"
_REASONS = {
    "absent": "not at hand: most often no longer on YouTube, private, or blocked",
    "empty": "a file without content",
    "unreadable": "a file that does not decode",
    "crashed": "a file that takes its decoder down",
    _NOT_ASKED: "of other classes than those that were chosen",
    _NOT_MADE: "the files that would hold them are still to be made",
}
_COLUMNS = (
    ("video", "`Video`", "the encoded clip, as bytes and file name"),
    ("label", "`ClassLabel`", "index of the action; -1 where the release gives none"),
    ("youtube_id", "string", "11 characters; no key alone, as some videos carry two clips"),
    ("time_start, time_end", "float32", "the segment [start, end) in seconds of the source video"),
    ("duration", "float32", "seconds of the clip as it is here"),
    ("fps, num_frames", "float32, int32", "of the clip as it is here"),
    ("width, height", "int32", "pixels of the clip as it is here"),
    ("has_audio", "bool", "whether the clip has sound"),
)
_KEY_COLUMNS = (
    *_COLUMNS[1:4],
    ("available", "bool", "whether the publisher of this table had the clip, and it decoded"),
    ("reason", "string", "why not, where it was not"),
)
_OPTIONS = {
    "profile": "`train`: encoded so that sampling decodes little; `source`: the files' own bytes",
    "short_side": "pixels of the shorter side; smaller pictures keep their size",
    "max_fps": "frames a second at most",
    "crf": "quality of x264; lower is better",
    "preset": "of x264",
    "seed": "of the order of clips",
    "clips_per_shard": "annotated clips in a file, at most",
    "audio": "`copy`: the sound as it was where an mp4 takes it; `aac`: always encoded; `none`: left out",
    "format": "of the files, counted up when it changes",
    "row_group_bytes": "of video in a row group of the Parquet files, about",
    "chunks": "how the Parquet pages are cut, so that equal content is stored once",
}
# Milliseconds a clip on one core, as benchmarks/sampling.py measured them of real clips: prepared with these options
# and read by kinetics_tools, prepared and read by the fastest other, originals read by the fastest other.
_READING_OF = {"profile": "train", "short_side": 256, "crf": 23}
_READING_ON = "an AMD EPYC, 2026-11-26"
_READING = {"random, 16 frames, 4 apart": (5.3, 14.0, 37.0), "random, 8 frames, 8 apart": (4.3, 11.4, 35.4)}
_CLASSES_NAMED = 10
_ORDER = ("seed", "clips_per_shard")  # of the basis of a plan, what is an option and no choice of clips


def is_partial(split: Mapping[str, Any]) -> bool:
    """Whether shards of it are still to be made."""
    return bool(split["shards_done"] != split["shards"])


def card_text(releases: Mapping[str, _Splits], *, repo_id: str | None) -> str:
    """Markdown, from the title on. `repo_id` is that of the repository on the Hub, None for a folder."""
    names = list(releases)
    has_video = _has_video(releases)
    clips = sum(split["rows"] for splits in releases.values() for split in splits.values())
    classes = max((_classes(release, splits) for release, splits in releases.items()), key=len)
    shows = f"shows one of {len(classes)} human actions" if len(classes) > 1 else f"shows a human action, {classes[0]}"
    title = "Kinetics-" + ", ".join(names)
    lines = [f"# {title}", ""]
    if has_video:
        lines += [
            f"{clips:,} clips of about 10 s, each a segment of a YouTube video that {shows}:",
            "what video models are trained and judged on. The clips are in the Parquet files, so that plain",
            "[`datasets`](https://huggingface.co/docs/datasets) loads and streams them, with no other code.",
        ]
    else:
        lines += [
            f"{clips:,} segments of YouTube videos, which action each shows, and which of them could still be had.",
            "This is a table of keys and labels: **it holds no video.**",
        ]
    lines += [""]
    for release, splits in releases.items():
        for name, split in splits.items():
            if is_partial(split):
                done = f"{split['shards_done']:,} of its {split['shards']:,} files"
                lines += [f"> **Incomplete:** {release} {name} has {done} so far.", ""]
            if chosen := _basis(split).get("classes"):
                lines += [f"> **A part:** {release} {name} has {_selection(chosen, release)}.", ""]
    sections = [
        lines,
        _loading(releases, repo_id or "path/to/this/folder"),
        _counts(releases),
        _releases(names),
        _example(releases),
        _processing(releases) if has_video else [],
        _reading(releases),
        _labels(names),
        _use(),
        _licence(has_video, on_hub=repo_id is not None),
        _citation(names),
    ]
    text = "\n\n".join("\n".join(section).strip() for section in sections if section)
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text + "\n"


def _has_video(releases: Mapping[str, _Splits]) -> bool:
    return any(split.get("content") != "annotations" for splits in releases.values() for split in splits.values())


def _basis(split: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the plan of a split follows from; nothing where its prepare.json is older than that."""
    basis: Mapping[str, Any] = split.get("basis", {})
    return basis


def _classes(release: str, splits: _Splits) -> list[str]:
    """Those that any of the splits may have."""
    every = LABELS[release]
    return sorted({label for split in splits.values() for label in _basis(split).get("classes", every)})


def _selection(chosen: Sequence[str], release: str) -> str:
    """In words: "only the class abseiling"."""
    if len(chosen) == 1:
        return f"only the class {chosen[0]}"
    names = f": {', '.join(chosen)}" if len(chosen) <= _CLASSES_NAMED else ", which `prepare.json` names"
    return f"{len(chosen)} of {len(LABELS[release])} classes{names}"


def _loading(releases: Mapping[str, _Splits], source: str) -> list[str]:
    release = max(releases, key=RELEASES.index)
    # The smallest split is what one tries first.
    split = min(releases[release], key=lambda name: (releases[release][name]["rows"], name))
    call = f'load_dataset("{source}", "{release}", split="{split}"'
    lines = ["## Load it", "", "```python", "from datasets import load_dataset", ""]
    if not _has_video(releases):
        return [*lines, f"table = {call})", "```"]
    size = format_size(releases[release][split]["bytes_out"])
    lines += [
        f"clips = {call})  # whole: stores {size}",
        f"clips = {call}, streaming=True)  # stores nothing",
        "",
        "clip = next(iter(clips))  # with frames: pip install torch torchcodec",
        'frames = clip["video"].get_frames_at(list(range(0, clip["num_frames"], 4))).data  # uint8, N C H W',
        "```",
        "",
        "Rows are shuffled already, so that each file has the mix of the whole; `shuffle(seed=..., buffer_size=1)` and",
        "`set_epoch` then change the order of files from epoch to epoch without a buffer. (On `datasets` 5 also pass",
        "`max_buffer_input_shards=1`, or it reads ten files at once.) `split_dataset_by_node` and",
        "`DataLoader(num_workers=...)` share the files out among nodes and workers.",
        'Without torchcodec, `clips.cast_column("video", datasets.Video(decode=False))` gives the bytes.',
        "",
        "On Linux, streams over a fast network came 1.6 times as fast with these settings, made before Python starts:",
        "what one block was read into then serves the next, instead of having each of its pages cleared anew.",
        "",
        "```sh",
        "export MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=268435456",
        "```",
    ]
    return lines


def _counts(releases: Mapping[str, _Splits]) -> list[str]:
    lacking = {
        (release, name): _lacking(split) for release, splits in releases.items() for name, split in splits.items()
    }
    reasons = [reason for reason in _REASONS if any(reason in one for one in lacking.values())]
    heads = ["release", "split", "clips", "annotated", *reasons, "hours", "size", "files"]
    rows, sources, unknown = [], [], []
    for (release, name), missing in lacking.items():
        split = releases[release][name]
        clips = split["clips"] - sum(split["dropped"].values())
        is_known = _basis(split).get("annotations", "") is not None
        if is_known and _basis(split):
            sources.append(f"`{_basis(split)['annotations']}` ({release} {name})")
        elif not is_known:
            unknown.append(f"{release} {name}")
        rows.append(
            [
                release,
                name + (" (incomplete)" if is_partial(split) else ""),
                f"{clips:,}",
                f"{clips + sum(missing.values()):,}" if is_known else "unknown",
                *(f"{missing.get(reason, 0):,}" for reason in reasons),
                _hours(split["seconds"]),
                format_size(split["bytes_out"]),
                f"{split['shards_done']:,}",
            ]
        )
    lines = ["## Clips", "", *_table(heads, rows, numbers=range(2, len(heads)))]
    lines += ["", f"The annotations are those of {', '.join(sources)}."] if sources else []
    if unknown:
        lines += [
            "",
            f"{', '.join(unknown)}: made without annotations, by the names of folders and files; nothing tells",
        ]
        lines += ["which clips are missing."]
    if reasons:
        lines += ["", "Clips that are not here:", ""]
        lines += [f"- *{reason}*: {_REASONS[reason]}" for reason in reasons]
    if any(split["dropped"] for splits in releases.values() for split in splits.values()):
        named = " or ".join(f"*{reason}*" for reason in reasons if reason not in (_NOT_ASKED, _NOT_MADE))
        lines += ["", f"`prepare.json` beside the files of a release names each clip that is {named}."]
    if not reasons and len(sources) == len(rows):
        lines += ["", "Every annotated clip is here."]
    return lines


def _lacking(split: Mapping[str, Any]) -> dict[str, int]:
    """Why clips of a split are not here -> how many these are."""
    basis = _basis(split)
    found = dict(split["dropped"])
    if basis:
        found[_NOT_ASKED] = basis["annotated"] - basis["wanted"]
        found[_NOT_MADE] = basis["wanted"] - split["clips"]
    return {reason: count for reason, count in found.items() if count}


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.1f}" if hours >= 1 else f"{hours:.2g}"


def _releases(names: Sequence[str]) -> list[str]:
    rows = [
        [
            f"**{name}**" if name in names else name,
            f"{len(LABELS[name])}",
            _ABOUT[name],
            f"[paper]({PAPERS[name]})",
        ]
        for name in RELEASES
    ]
    shared = [
        f"{sum(map_label(label, one, other) is not None for label in LABELS[one])} actions of {one} are in {other}"
        for one, other in (("400", "600"), ("600", "700"))
    ]
    return [
        "## Releases",
        "",
        *_table(["release", "actions", "what it is", ""], rows, numbers=range(1, 2)),
        "",
        f"{' and '.join(shared)}. The same action has another index in another release.",
        "",
        "> **Releases share videos.** They were drawn from one pool, and a video that one release holds out for",
        "> validation may be in the training set of another, with the same segment or with another one. Before a model",
        "> that was trained on one release is judged on another, drop the `youtube_id`s that both have.",
    ]


def _example(releases: Mapping[str, _Splits]) -> list[str]:
    columns = _COLUMNS if _has_video(releases) else _KEY_COLUMNS
    return ["## An example", "", *_table(["column", "type", ""], [[f"`{n}`", t, about] for n, t, about in columns])]


def _processing(releases: Mapping[str, _Splits]) -> list[str]:
    groups: dict[str, tuple[Mapping[str, Any], Mapping[str, str], list[str]]] = {}
    for release, splits in releases.items():
        for name, split in splits.items():
            if "options" in split:
                options = {**split["options"], **{one: _basis(split)[one] for one in _ORDER if one in _basis(split)}}
                made_with = split.get("made_with", {})
                groups.setdefault(repr((options, made_with)), (options, made_with, []))[2].append(f"{release} {name}")
    lines = ["## How the clips were made"]
    for values, programs, users in groups.values():
        lines += ["", f"{', '.join(users)}:" if len(groups) > 1 else ""]
        rows = [[f"`{name}`", _value(value), _OPTIONS.get(name, "")] for name, value in values.items()]
        lines += ["", *_table(["option", "value", ""], rows)]
        versions = ", ".join(f"{name} {version}" for name, version in programs.items())
        lines += ["", f"With {versions}."] if versions else []
    return lines


def _reading(releases: Mapping[str, _Splits]) -> list[str]:
    """Of the splits that were made as those that were measured; nothing where none was."""
    fast: list[str] = []
    others: list[str] = []
    for release, splits in releases.items():
        for name, split in splits.items():
            is_measured = _READING_OF.items() <= split.get("options", {}).items() and "content" not in split
            (fast if is_measured else others).append(f"{release} {name}")
    if not fast:
        return []
    rows = [[what, *(f"{one:.1f} ms" for one in milliseconds)] for what, milliseconds in _READING.items()]
    heads = ["a clip at 224x224", "these, `kinetics_tools`", "these, the fastest other", "originals, the fastest other"]
    options = ", ".join(f"`{name}` {value}" for name, value in _READING_OF.items())
    return [
        "## How fast they read",
        "",
        *([f"This is about {', '.join(fast)}.", ""] if others else []),
        "Every fourth frame decodes without the three before it, and every 32nd on its own; `kinetics_tools`, of the",
        "package kinetics-dataset, makes use of that. So long a clip took on one core, where the others are PyAV,",
        f"torchcodec and decord with one thread ({_READING_ON}), of clips made with {options}:",
        "",
        *_table(heads, rows, numbers=range(1, 4)),
        "",
        "```python",
        "from kinetics_tools.sampling import Frames, RandomClip, RandomResizedCrop",
        "",
        'frames = Frames(RandomClip(16, 4, align="grid"), RandomResizedCrop(224, flip=0.5))',
        "clip = next(iter(frames.apply(clips)))  # clips as above, streaming or not",
        "```",
    ]


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(one)}" for name, one in value.items())
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else f"{value}"


def _labels(names: Sequence[str]) -> list[str]:
    lines = ["## Labels", "", "Indices are in the byte order of the names within a release."]
    seen: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        seen.setdefault(LABELS[name], []).append(name)
    for labels, users in seen.items():
        lines += ["", f"<details><summary>The {len(labels)} labels of Kinetics-{' and '.join(users)}</summary>", ""]
        lines += [f"{index}. {label}" for index, label in enumerate(labels)]
        lines += ["", "</details>"]
    return lines


def _use() -> list[str]:
    return [
        "## Intended use",
        "",
        "Training and judging models that recognise what people do in a video, and research on them.",
        "",
        "The clips show people who did not ask to be in a data set, children among them. Do not use them to recognise",
        "or track persons, to learn faces or voices for that, to infer health, origin, belief or other traits of the",
        "people shown, to make likenesses of them, or to watch over people. Labels were given by crowd workers and are",
        "not free of error; actions, places and people are those that YouTube has most of, and a model takes over that",
        "bias.",
    ]


def _licence(has_video: bool, *, on_hub: bool) -> list[str]:
    lines = [
        "## Licence, and how to have a clip removed",
        "",
        "The annotations are by DeepMind, under [CC BY 4.0](https://creativecommons.org/licenses/by/4.0/).",
        "**The videos belong to those who uploaded them**, under the terms that they chose there; nothing here gives",
        "rights to them. Who uses them answers for what they do with them.",
    ]
    where = "in a discussion of this repository" if on_hub else "of whoever publishes this folder"
    if has_video:
        lines += [
            "",
            f"Are you in a clip, or is it yours? Ask for its removal {where}, with the",
            "`youtube_id`; the publisher takes it out of the files.",
        ]
    return lines


def _citation(names: Sequence[str]) -> list[str]:
    """Of all releases, since each builds on those before; first of those that are here."""
    lines = ["## Citation", "", f"Please cite the paper of the release that you use: here {', '.join(names)}.", ""]
    ordered = [*names, *(name for name in RELEASES if name not in names)]
    return [*lines, "```bibtex", "\n\n".join(CITATIONS[name] for name in ordered), "```"]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Container[int] = ()) -> list[str]:
    """In Markdown; `numbers` are the columns that are aligned at the right."""
    rule = ["---:" if column in numbers else ":---" for column in range(len(heads))]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in (heads, rule, *rows)]
