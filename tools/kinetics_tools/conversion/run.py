"""Export of a clip directory as the lists that a trainer reads.

>>> from kinetics_tools import export
>>> export("400", "k400", "lists", trainer="videomae").written
{'train.csv': 240258, 'val.csv': 19881, 'test.csv': 19881}
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.annotations import Selection, label_space
from kinetics_tools.conversion.files import extract_clips, link_clips, without_unreadable
from kinetics_tools.conversion.lists import ClipList, ExportReport, in_order, write_lists
from kinetics_tools.conversion.source import open_source
from kinetics_tools.conversion.trainers import SPLIT_WORDS, TRAINERS, Trainer
from kinetics_tools.io import check_apart
from kinetics_tools.preparation import MANIFEST_NAME
from kinetics_tools.sources import check_data_dir, clip_tables, split_directories
from kinetics_tools.text import check_choice


def export(
    release: str,
    data_dir: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    trainer: str,
    splits: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    subset: str | None = None,
    exclude: Sequence[str] | str | None = None,
    exclude_by: str = "video",
    annotations: str | None = None,
    force_release: bool = False,
    space: str | os.PathLike[str] | None = None,
    prefix: str | None = None,
    link: str | os.PathLike[str] | None = None,
    extract: str | os.PathLike[str] | None = None,
) -> ExportReport:
    """Write the lists of clips that a trainer reads, under the names that it expects.

    Clips that are missing, empty or unreadable, or have no label, are counted and not listed. Each file is opened once,
    as by `verify`, whose cache is used. Lists are sorted by the names of clips.

    Args:
        release: "400", "600", "700" or "700-2020".
        data_dir: clip directory; with `extract`, a directory of prepared shards.
        out: output directory for the lists.
        trainer: one of `TRAINERS`.
        splits: splits to list; None for all in `data_dir`.
        classes: classes to write; None for all.
        subset: classes or clips to write, see `Selection`.
        exclude: splits whose videos are excluded, see `Selection`.
        exclude_by: "video" or "seconds", see `Selection`.
        annotations: directory, file or URL of the annotations, see `Selection`.
        force_release: list a directory that fits another release better, see `Selection`.
        space: label space of the labels; None for the one of the trainer's published models.
        prefix: replaces `data_dir` (or `link` or `extract`) in paths; "" makes them relative, None absolute.
        link: directory for hard links with names that every trainer can read.
        extract: directory to write the clips of prepared shards to.

    Raises:
        ValueError: invalid arguments, or the trainer cannot read a path; nothing is listed then.
        FileNotFoundError: `data_dir` has no clips.
    """
    kind = TRAINERS[check_choice(trainer, tuple(TRAINERS), "trainer")]
    asked = Selection(
        release,
        splits=splits,
        classes=classes,
        subset=subset,
        exclude=exclude,
        exclude_by=exclude_by,
        annotations=annotations,
        force_release=force_release,
    )
    release = asked.release
    chosen = label_space(space or ("opengvlab" if kind.opengvlab else "sorted"), release.removesuffix("-2020"))
    root = check_data_dir(data_dir)
    check_apart(root, *(os.fspath(place) for place in (out, link, extract) if place is not None))
    if extract is not None:
        root = _extracted(root, asked, extract)
    elif Path(root, release, MANIFEST_NAME).exists():
        raise ValueError(f"{root} holds prepared shards; pass extract=DIRECTORY to write their clips to files")
    missing, unreadable, unlabelled, tables = {}, {}, {}, {}
    for split, clips in clip_tables(asked, root):
        missing[split] = clips["path"].null_count
        there, unreadable[split] = without_unreadable(clips.filter(pc.is_valid(clips["path"])), root)
        unlabelled[split] = pc.sum(pc.less(there["label"], 0)).as_py() or 0
        listed = in_order(there)
        if len(listed):
            tables[split] = listed if link is None else link_clips(listed, release, split, link)
    place = root if link is None else Path(link).absolute().as_posix()
    lists = [ClipList(name, release, clips, place, prefix) for name, clips in list_names(kind, release, tables)]
    written, skipped = write_lists(lists, out, kind, chosen)
    notes = [note for note in [chosen.note()] if note and skipped]
    notes += [f"{name}: lists the clips of validation" for name in test_of_validation(kind, release, tables)]
    return ExportReport(os.fspath(out), chosen.name, written, missing, unreadable, unlabelled, skipped, notes)


def list_names(trainer: Trainer, release: str, tables: dict[str, pa.Table]) -> Iterator[tuple[str, pa.Table]]:
    """Yield file name and clips of each list: those of the splits, and a test list of validation where it is needed."""
    test = test_of_validation(trainer, release, tables)
    for split, clips in tables.items():
        if not (split == "test" and test):
            yield list_name(trainer, release, split), clips
    for name in test:
        yield name, tables["validation"]


def test_of_validation(trainer: Trainer, release: str, tables: dict[str, pa.Table]) -> list[str]:
    """Return the name of the test list if it holds the clips of validation: trainers open it for the final figures."""
    if "validation" in tables and (trainer.tests_validation or "test" not in tables):
        return [list_name(trainer, release, "test")]
    return []


def list_name(trainer: Trainer, release: str, split: str, *, merged: bool = False) -> str:
    """Return the file name of the list of a split; with `merged`, of the clips of a release among the merged ones."""
    pattern = trainer.merged_name if merged else trainer.file_name
    return pattern.format(release=release.removesuffix("-2020"), split=SPLIT_WORDS[split])


def _extracted(prepared: str, asked: Selection, directory: str | os.PathLike[str]) -> str:
    if not Path(prepared, asked.release, MANIFEST_NAME).exists():
        raise ValueError(f"{prepared} has no prepared shards of {asked.release}; omit extract for a clip directory")
    source = open_source(prepared, asked.release, splits=asked.splits)
    counts = {split: extract_clips(source, split, directory) for split in source.units}
    if not any(counts.values()):
        raise FileNotFoundError(f"{prepared} has no labelled clips of {asked.release} {', '.join(counts)}")
    root = check_data_dir(directory)
    assert all(split_directories(root, split) for split, count in counts.items() if count)
    return root
