"""The text of the card of prepared clips: what a researcher wants to know of them, all of it out of prepare.json."""

from collections.abc import Container, Mapping, Sequence
from typing import Any

import kinetics
from kinetics_tools.progress import size_text

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
_REASONS = {
    "absent": "not at hand: most often no longer on YouTube, private, or blocked",
    "empty": "a file without content",
    "unreadable": "a file that does not decode",
    "crashed": "a file that takes its decoder down",
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
    "audio": "`copy`: the sound as it was where an mp4 takes it; `aac`: always encoded; `none`: left out",
    "format": "of the files, counted up when it changes",
    "row_group_bytes": "of video in a row group of the Parquet files, about",
    "chunks": "how the Parquet pages are cut, so that equal content is stored once",
}
# Milliseconds a clip on one core, as benchmarks/sampling.py measured them of real clips: prepared and read by
# kinetics_tools, prepared and read by the fastest other, originals read by the fastest other.
_READING_ON = "an Intel Xeon, 2026-11-25"
_READING = {"random, 16 frames, 4 apart": (6.9, 16.0, 44.0), "random, 8 frames, 8 apart": (5.1, 13.0, 41.0)}


def is_partial(split: Mapping[str, Any]) -> bool:
    """Whether shards of it are still to be made."""
    return bool(split["shards_done"] != split["shards"])


def card_text(releases: Mapping[str, _Splits], *, repo_id: str | None) -> str:
    """Markdown, from the title on. `repo_id` is that of the repository on the Hub, None for a folder."""
    names = list(releases)
    has_video = _has_video(releases)
    clips = sum(split["rows"] for splits in releases.values() for split in splits.values())
    classes = max(len(kinetics.LABELS[release]) for release in names)
    title = "Kinetics-" + ", ".join(names)
    lines = [f"# {title}", ""]
    if has_video:
        lines += [
            f"{clips:,} clips of about 10 s, each a segment of a YouTube video that shows one of {classes} human",
            "actions: what video models are trained and judged on. The clips are in the Parquet files, so that plain",
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
    sections = [
        lines,
        _loading(releases, repo_id or "path/to/this/folder"),
        _counts(releases),
        _releases(names),
        _example(releases),
        _processing(releases) if has_video else [],
        _reading() if has_video and _is_encoded(releases) else [],
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


def _loading(releases: Mapping[str, _Splits], source: str) -> list[str]:
    release = max(releases, key=kinetics.RELEASES.index)
    # The smallest split is what one tries first.
    split = min(releases[release], key=lambda name: (releases[release][name]["rows"], name))
    call = f'load_dataset("{source}", "{release}", split="{split}"'
    lines = ["## Load it", "", "```python", "from datasets import load_dataset", ""]
    if not _has_video(releases):
        return [*lines, f"table = {call})", "```"]
    size = size_text(releases[release][split]["bytes_out"])
    lines += [
        f"clips = {call})  # whole: stores {size}",
        f"clips = {call}, streaming=True)  # stores nothing",
        "",
        "clip = next(iter(clips))  # with frames: pip install torch torchcodec",
        'frames = clip["video"].get_frames_at(list(range(0, clip["num_frames"], 4))).data  # uint8, N C H W',
        "```",
        "",
        "Rows are shuffled already, so that each file has the mix of the whole; `shuffle(seed=..., buffer_size=1)` and",
        "`set_epoch` then change the order of files from epoch to epoch without a buffer. `split_dataset_by_node` and",
        "`DataLoader(num_workers=...)` share the files out among nodes and workers.",
        'Without torchcodec, `clips.cast_column("video", datasets.Video(decode=False))` gives the bytes.',
    ]
    return lines


def _counts(releases: Mapping[str, _Splits]) -> list[str]:
    dropped = [split["dropped"] for splits in releases.values() for split in splits.values()]
    reasons = sorted({reason for one in dropped for reason in one})
    heads = ["release", "split", "clips", "annotated", *reasons, "hours", "size", "files"]
    rows = [
        [
            release,
            name + (" (incomplete)" if is_partial(split) else ""),
            f"{split['clips'] - sum(split['dropped'].values()):,}",
            f"{split['clips']:,}",
            *(f"{split['dropped'].get(reason, 0):,}" for reason in reasons),
            f"{split['seconds'] / 3600:,.1f}",
            size_text(split["bytes_out"]),
            f"{split['shards_done']:,}",
        ]
        for release, splits in releases.items()
        for name, split in splits.items()
    ]
    lines = ["## Clips", "", *_table(heads, rows, numbers=range(2, len(heads)))]
    if reasons:
        lines += ["", "Annotated clips that are not here:", ""]
        lines += [f"- *{reason}*: {_REASONS.get(reason, reason)}" for reason in reasons]
        lines += ["", "`prepare.json` beside the files of a release names each clip that was there and is no good."]
    else:
        lines += ["", "Every annotated clip is here."]
    return lines


def _releases(names: Sequence[str]) -> list[str]:
    rows = [
        [
            f"**{name}**" if name in names else name,
            f"{len(kinetics.LABELS[name])}",
            _ABOUT[name],
            f"[paper]({kinetics.PAPERS[name]})",
        ]
        for name in kinetics.RELEASES
    ]
    shared = [
        f"{sum(kinetics.map_label(label, one, other) is not None for label in kinetics.LABELS[one])} actions of {one}"
        f" are in {other}"
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
    groups: dict[str, tuple[Mapping[str, Any], list[str]]] = {}
    for release, splits in releases.items():
        for name, split in splits.items():
            if "options" in split:
                key = repr((split["options"], split.get("made_with")))
                groups.setdefault(key, (split, []))[1].append(f"{release} {name}")
    lines = ["## How the clips were made"]
    for split, users in groups.values():
        lines += ["", f"{', '.join(users)}:" if len(groups) > 1 else ""]
        rows = [[f"`{name}`", _value(value), _OPTIONS.get(name, "")] for name, value in split["options"].items()]
        lines += ["", *_table(["option", "value", ""], rows)]
        made_with = ", ".join(f"{name} {version}" for name, version in split.get("made_with", {}).items())
        lines += ["", f"With {made_with}."] if made_with else []
    return lines


def _is_encoded(releases: Mapping[str, _Splits]) -> bool:
    """Whether all of it is in the `train` profile."""
    profiles = {split.get("options", {}).get("profile") for splits in releases.values() for split in splits.values()}
    return profiles == {"train"}


def _reading() -> list[str]:
    rows = [[what, *(f"{one:.1f} ms" for one in milliseconds)] for what, milliseconds in _READING.items()]
    heads = ["a clip at 224x224", "these, `kinetics_tools`", "these, the fastest other", "originals, the fastest other"]
    return [
        "## How fast they read",
        "",
        "Every fourth frame decodes without the three before it, and every 32nd on its own; `kinetics_tools`, of the",
        "package kinetics-dataset, makes use of that. So long a clip took on one core, where the others are PyAV,",
        f"torchcodec and decord with one thread ({_READING_ON}):",
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
        seen.setdefault(kinetics.LABELS[name], []).append(name)
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
    lines = ["## Citation", "", "Please cite the paper of the release that you use.", "", "```bibtex"]
    for name in kinetics.RELEASES:
        if name in names:
            lines += [kinetics.CITATIONS[name], ""]
    return [*lines[:-1], "```"]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Container[int] = ()) -> list[str]:
    """In Markdown; `numbers` are the columns that are aligned at the right."""
    rule = ["---:" if column in numbers else ":---" for column in range(len(heads))]
    return [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in (heads, rule, *rows)]
