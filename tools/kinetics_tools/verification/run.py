"""Check of a clip directory against the annotations.

    >>> from kinetics_tools import verify
    >>> report = verify("400", "k400")
    >>> report.is_complete, report.splits["validation"].counts["missing"]
    (False, 25)
    >>> verify("400", "k400", classes=["abseiling", "zumba"]).is_complete
    True

It takes any layout that `load_dataset("kinetics", ..., data_dir=...)` reads and changes no clip. Probes are cached in
`.kinetics-probes.jsonl` in the directory or, if that cannot be written, in the download cache of `datasets`. A second
run opens only files whose size or time has changed, and the same call after an interrupt or a kill resumes.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from kinetics_tools.annotations import ClipIndex, OtherSplit, Selection, annotation_file, drop_repeats, read_split
from kinetics_tools.downloading import Entry, read_ledger
from kinetics_tools.probing import ProbeTable, open_cache
from kinetics_tools.releases import SPLITS
from kinetics_tools.run import Progress
from kinetics_tools.sources import check_class_folders, check_data_dir, layout_hint, split_directories
from kinetics_tools.text import check_count, printable
from kinetics_tools.verification.classify import Classifier, recorded_sha256
from kinetics_tools.verification.examine import Examiner
from kinetics_tools.verification.inventory import Clip, Inventory
from kinetics_tools.verification.overlap import shared_videos
from kinetics_tools.verification.report import COLUMNS, STATUSES, Report, SplitReport, check_reports

_ROWS = 10_000


def verify(
    release: str,
    directory: str | os.PathLike[str],
    *,
    splits: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    subset: str | None = None,
    exclude: Sequence[str] | str | None = None,
    exclude_by: str = "video",
    max_clips_per_class: int | None = None,
    seed: int = 0,
    annotations: str | None = None,
    force_release: bool = False,
    deep: bool = False,
    overlaps: Sequence[str] | str = (),
    workers: int | None = None,
    report_path: str | os.PathLike[str] | None = None,
    csv_path: str | os.PathLike[str] | None = None,
    console: Console | None = None,
) -> Report:
    """Check the clips in `directory` against the annotations of a release.

    A clip is "short" if its video is over 0.5 s shorter than its segment, and "misplaced" if its class directory is not
    its label's. It is a "duplicate" if an annotated clip before it, by file name, has the same bytes. Clips in archives
    are read if a split has no extracted ones.

    Args:
        splits: splits to check; by default those that `directory` has.
        classes: classes to check, as for `download`; by default all. Clips of other classes are neither missing nor
            unexpected. Without `splits`, splits without labels are skipped.
        subset: classes or clips to check, see `Selection`; other clips are treated like those of other classes.
        exclude: splits whose videos are excluded, see `Selection`.
        exclude_by: "video" or "seconds", see `Selection`.
        max_clips_per_class: maximum number of annotated clips per class, as for `download`; None for all.
        seed: seed for the choice of clips with `max_clips_per_class`.
        annotations: annotation directory, file or URL; by default those in `directory`, else the published edition.
        force_release: check a directory that fits another release better, see `Selection`.
        deep: decode every frame instead of reading headers, and check the SHA-256 of files against the ledger.
        overlaps: other splits to list shared videos with, as "700:train", or "700:train=PATH" of its annotations.
        workers: number of processes; by default one per core.
        report_path: JSON file for the report. Only an earlier report is replaced.
        csv_path: CSV file for a row per clip. Only an earlier report is replaced.
        console: where to show progress; None for the standard output.

    Raises:
        ValueError, OSError: before any clip is opened, for invalid arguments, missing or malformed annotations, and
            reports that cannot be written.
        KeyboardInterrupt: interrupted; the message says how to resume.
    """
    selection = Selection(
        release=release,
        splits=splits,
        classes=classes,
        subset=subset,
        exclude=exclude,
        exclude_by=exclude_by,
        max_clips_per_class=max_clips_per_class,
        seed=seed,
        annotations=annotations,
        force_release=force_release,
    )
    if not os.path.isdir(os.path.expanduser(directory)):
        raise FileNotFoundError(f"directory {os.fspath(directory)!r} does not exist; pass a directory of clips")
    release = selection.release
    root = check_data_dir(directory)
    if workers is not None:
        check_count(workers=workers)
    check_reports(report_path, csv_path)
    others = OtherSplit.parse_all(overlaps)
    check_class_folders(root, selection)
    paths, tables = _read_annotations(root, selection)
    indices = _choose(tables, selection)
    shared = shared_videos({split: index.table for split, index in indices.items()}, release, others)

    trees = [Inventory(root, release, split, index) for split, index in indices.items()]
    for tree in trees:
        tree.drop_excluded()
        tree.index.forget()  # while clips are probed, the workers need the memory
    # The number of clips in archives is known only at their ends.
    count = sum(len(tables[tree.split]) if tree.archives else len(tree.clips) for tree in trees)
    ledger = read_ledger(root)
    with open_cache(root) as cache, Progress(clips=count, console=console) as progress:
        examiner = Examiner(root, cache, progress, deep=deep, workers=workers)
        duplicates = _examine(examiner, trees, ledger if deep else {})
    classifier = Classifier(release, trees, examiner.probes, duplicates, ledger)
    tables_of = {tree.split: _table(classifier.rows(tree)) for tree in trees}
    report = Report(
        release=release,
        directory=os.fspath(directory),
        deep=deep,
        splits={tree.split: _split_report(tree, paths[tree.split], tables_of[tree.split]) for tree in trees},
        clips=pa.concat_tables(tables_of.values()),
        duplicates=[[printable(clip.path) for clip in group] for group in duplicates],
        overlaps=shared,
        opened=examiner.opened,
        selection=selection,
        unchanged=examiner.unchanged,
    )
    report.write(report_path, csv_path)
    return report


def _read_annotations(root: str, selection: Selection) -> tuple[dict[str, str], dict[str, pa.Table]]:
    """Return path and content of the annotation file of each split."""
    splits = selection.splits or [split for split in SPLITS if split_directories(root, split)]
    if not splits:
        raise FileNotFoundError(f"no clips of kinetics {selection.release} in {root}: {layout_hint(root)}")
    paths, tables = {}, {}
    for split in splits:
        path = annotation_file(selection.release, split, annotations=selection.annotations, data_dir=root)
        table = read_split(path, selection.release, split, force_release=selection.force_release)
        paths[split], tables[split] = path, drop_repeats(table, path)
    return paths, tables


def _choose(tables: dict[str, pa.Table], selection: Selection) -> dict[str, ClipIndex]:
    """Return the selected clips of each split; with classes, only of splits that have labels."""
    if selection.class_names is not None and not selection.splits:
        labelled = {
            split: table for split, table in tables.items() if pc.any(pc.greater_equal(table["label"], 0)).as_py()
        }
        tables = labelled or tables
    indices = {split: ClipIndex(table, selection.choose(table, split)) for split, table in tables.items()}
    if not selection.takes_all and not any(map(len, indices.values())):
        raise ValueError(f"no annotated clip of {', '.join(indices)} is selected by {selection.text()}")
    return indices


def _examine(
    examiner: Examiner, trees: Sequence[Inventory], ledger: Mapping[tuple[str, str], Entry]
) -> list[list[Clip]]:
    """Examine all clips, and return groups of clips with the same bytes."""
    try:
        examiner.examine_files([clip for tree in trees for clip in tree.clips])
        for tree in trees:
            examiner.examine_archives(tree)
            tree.drop_excluded()  # of those in archives
        examiner.hash_files(_recorded(trees, examiner.probes, ledger))
        return examiner.find_duplicates(trees)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"interrupted: {examiner.opened:,} clips were opened; rerun the same command to resume"
        ) from None


def _recorded(
    trees: Sequence[Inventory], probes: ProbeTable, ledger: Mapping[tuple[str, str], Entry]
) -> Iterator[Clip]:
    """Yield the readable clips whose SHA-256 the ledger has."""
    for tree in trees:
        for clip in tree.clips if ledger else ():
            if clip.number not in probes.errors and recorded_sha256(ledger, tree.split, clip):
                yield clip


def _split_report(tree: Inventory, annotations: str, rows: pa.Table) -> SplitReport:
    found = {one["values"]: one["counts"] for one in pc.value_counts(rows["status"]).to_pylist()}
    return SplitReport(
        annotations=annotations,
        annotated=len(rows) - found.get("unexpected", 0),
        counts={status: found.get(status, 0) for status in STATUSES},
        replaced=tree.replaced,
        archives_left_out=tree.archives_left_out,
        broken_archives=tree.broken,
        left_out=tree.left_out,
        is_extracted=not tree.archives,
    )


def _table(rows: Iterator[tuple[Any, ...]]) -> pa.Table:
    """Return rows as a table, few at a time: as Python's values, those of 650,000 clips take a GB."""
    batches = []
    while some := list(islice(rows, _ROWS)):
        columns = zip(*some, strict=True)
        arrays = [pa.array(values, type=kind) for kind, values in zip(COLUMNS.types, columns, strict=True)]
        batch = pa.RecordBatch.from_arrays(arrays, schema=COLUMNS)
        # A copy of the exact size: buffers that grew by doubling take 70 MB more.
        batches.append(pa.ipc.read_record_batch(batch.serialize(), COLUMNS))
    return pa.Table.from_batches(batches, COLUMNS)
