"""Merged lists of 400, 600 and 700 with 710 classes, by the published rule.

The rule of OpenGVLab's K710: the training sets of the three releases, each video once, without the videos that any
release holds out for validation or test.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.annotations import MERGED, Selection, annotation_file, label_space, read_split
from kinetics_tools.conversion.files import link_clips, without_unreadable
from kinetics_tools.conversion.lists import ClipList, ExportReport, in_order, write_lists
from kinetics_tools.conversion.run import list_name
from kinetics_tools.conversion.trainers import TRAINERS
from kinetics_tools.io import check_apart
from kinetics_tools.sources import check_data_dir, clip_tables
from kinetics_tools.text import TextReport, check_choice, format_count

_PARTS = ["400", "600", "700"]
_SPLITS = ["train", "validation"]
# Counts of OpenGVLab's copies: clips of training and validation.
_PUBLISHED = {"400": (240_436, 19_796), "600": (366_006, 27_935), "merged": (658_340, 66_803)}

_Tables = Mapping[str, pa.Table]  # release -> its clips


@dataclass(frozen=True, repr=False)
class MergeReport(TextReport):
    """Result of `export_merged`.

    Attributes:
        export: lists and skipped clips.
        train, validation: release -> number of readable clips; "merged" -> number of clips that are kept.
        held_out: number of training clips of held-out videos, which are dropped. Further clips are dropped because
            another one is of the same video.
    """

    export: ExportReport
    train: Mapping[str, int]
    validation: Mapping[str, int]
    held_out: int

    def lines(self) -> list[str]:
        """Return the report as lines of text, with the published counts."""
        lines = []
        for name, count in self.train.items():
            published = " (published {:,} and {:,})".format(*_PUBLISHED[name]) if name in _PUBLISHED else ""
            lines.append(f"{name}: {count:,} clips to train, {self.validation[name]:,} to validate{published}")
        lines.append(f"dropped from training: {format_count(self.held_out, 'clip')} of held-out videos")
        return [*lines, *self.export.lines()]


def export_merged(
    data_dirs: Mapping[str, str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    trainer: str,
    space: str | os.PathLike[str] | None = None,
    prefix: str | None = None,
    link: str | os.PathLike[str] | None = None,
) -> MergeReport:
    """Write the merged lists of training and validation of 400, 600 and 700, with 710 labels.

    A video that several releases have is listed once, as a clip of the first of them.

    Args:
        data_dirs: "400", "600" and "700" (or "700-2020") -> clip directory. Annotations that a directory does not have
            are downloaded.
        out: output directory for the lists.
        trainer: one of `TRAINERS`.
        space: label space of the merged classes; None for the one that the trainer's models use.
        prefix: replaces each directory in paths, with the release behind it, as in "PREFIX/400/train/...".
        link: directory for hard links with safe names, as in "LINK/400/train/...".

    Raises:
        ValueError: invalid arguments, or the trainer cannot read a path.
        FileNotFoundError: a directory has no clips.
    """
    kind = TRAINERS[check_choice(trainer, tuple(TRAINERS), "trainer")]
    if sorted(release.removesuffix("-2020") for release in data_dirs) != _PARTS:
        raise ValueError(f"merged lists need clips of 400, 600 and 700, got {', '.join(data_dirs) or 'none'}")
    target = label_space(space or kind.merged_space, MERGED)
    roots = {release: check_data_dir(data_dirs[release]) for release in sorted(data_dirs)}
    for root in roots.values():
        check_apart(root, *(os.fspath(place) for place in (out, link) if place is not None))
    tables = {release: dict(clip_tables(Selection(release, splits=_SPLITS), root)) for release, root in roots.items()}
    held_out = _held_out(tables, roots)
    clips: dict[str, dict[str, pa.Table]] = {split: {} for split in _SPLITS}
    unreadable = {}
    for release, found in tables.items():
        for split in _SPLITS:
            readable, unreadable[f"{release} {split}"] = without_unreadable(in_order(found[split]), roots[release])
            clips[split][release] = readable
    kept = {split: _one_per_video(clips[split], held_out if split == "train" else set()) for split in _SPLITS}
    lists = []
    for split in _SPLITS:
        for release, table in kept[split].items():
            place, own = roots[release], prefix
            if link is not None:
                place = Path(link, release).absolute().as_posix()
                table = link_clips(table, release, split, place)
            if prefix is not None:
                own = f"{prefix.rstrip('/')}/{release}" if prefix else release
            names = {list_name(kind, release, one, merged=True) for one in _lists_of(split, kind.merged_name)}
            lists += [ClipList(name, release, table, place, own) for name in sorted(names)]
    written, skipped = write_lists(lists, out, kind, target)
    missing = {
        f"{name} {split}": found[split]["path"].null_count for name, found in tables.items() for split in _SPLITS
    }
    notes = [note for note in [target.note()] if note and skipped]
    videos = pa.array(sorted(held_out), pa.string())
    return MergeReport(
        ExportReport(os.fspath(out), target.name, written, missing, unreadable, {}, skipped, notes),
        train=_counts(clips["train"], kept["train"]),
        validation=_counts(clips["validation"], kept["validation"]),
        held_out=sum(len(one.filter(pc.is_in(one["youtube_id"], value_set=videos))) for one in clips["train"].values()),
    )


def _lists_of(split: str, pattern: str) -> list[str]:
    """Return the splits whose lists hold the clips of a split: lists of all releases have one for testing, too."""
    return ["validation", "test"] if split == "validation" and "{release}" not in pattern else [split]


def _held_out(tables: Mapping[str, _Tables], roots: Mapping[str, str]) -> set[str]:
    """Return the ids of all videos that a release has in validation or test."""
    ids: set[str] = set()
    for release, root in roots.items():
        ids.update(tables[release]["validation"]["youtube_id"].to_pylist())
        path = annotation_file(release, "test", data_dir=root)
        ids.update(read_split(path, release, "test")["youtube_id"].to_pylist())
    return ids


def _one_per_video(tables: _Tables, dropped: set[str]) -> _Tables:
    """Return the first clip of each video, over all releases, without videos in `dropped`."""
    seen = set(dropped)
    kept = {}
    for release, clips in tables.items():
        rows = []
        for row, youtube_id in enumerate(clips["youtube_id"].to_pylist()):
            if youtube_id not in seen:
                seen.add(youtube_id)
                rows.append(row)
        kept[release] = clips.take(pa.array(rows, pa.int64()))
    return kept


def _counts(clips: _Tables, kept: _Tables) -> dict[str, int]:
    return {**{release: len(one) for release, one in clips.items()}, "merged": sum(map(len, kept.values()))}
