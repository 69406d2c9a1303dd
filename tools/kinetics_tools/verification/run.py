"""A tree of clips against the annotations: what is there, what is not, and what is there but no good.

    >>> from kinetics_tools.verify import verify
    >>> report = verify("k400", "400")
    >>> report.is_complete, report.splits["validation"].counts["missing"]
    (False, 25)
    >>> verify("k400", "400", classes=["abseiling", "zumba"]).is_complete  # what `download` was asked for
    True

Any layout that `load_dataset("kinetics", ..., data_dir=...)` reads, whoever made it; no clip is changed. What was
looked into is remembered in `.kinetics-verify.jsonl` in the tree, or, where that cannot be written, in the download
cache of `datasets`: a second run opens only files whose size or time has changed, and the same call after an interrupt
or a kill goes on where that stopped.
"""

import functools
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from kinetics_tools.annotations import annotation_file
from kinetics_tools.annotations.index import ClipIndex
from kinetics_tools.annotations.read import drop_repeats, read_split
from kinetics_tools.annotations.selection import Selection
from kinetics_tools.downloading.ledger import Entry, read_ledger
from kinetics_tools.io.cache import DownloadCache
from kinetics_tools.io.tar import read_archive
from kinetics_tools.releases import SPLITS
from kinetics_tools.run import processes
from kinetics_tools.run.progress import Progress
from kinetics_tools.sources.clips import check_data_dir
from kinetics_tools.sources.tree import split_directories
from kinetics_tools.text import printable
from kinetics_tools.verification.classify import Judge, recorded_sha256
from kinetics_tools.verification.inventory import Clip, Inventory
from kinetics_tools.verification.overlap import OtherSplit, shared_videos
from kinetics_tools.verification.probe_cache import FileState, Finding, Findings, digest, examine, file_state
from kinetics_tools.verification.report import (
    COLUMNS,
    STATUSES,
    Report,
    SplitReport,
    check_csv_target,
    check_json_target,
)

__all__ = ["verify"]

_CACHE_NAME = ".kinetics-verify.jsonl"
_STATUS = COLUMNS.get_field_index("status")

_Key = TypeVar("_Key")


def verify(
    directory: str | os.PathLike[str],
    release: str,
    *,
    splits: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    max_clips_per_class: int | None = None,
    seed: int = 0,
    annotations: str | None = None,
    deep: bool = False,
    overlaps: Sequence[str] = (),
    workers: int | None = None,
    report_path: str | os.PathLike[str] | None = None,
    csv_path: str | os.PathLike[str] | None = None,
    console: Console | None = None,
) -> Report:
    """Hold the clips in `directory` against the annotations of a release.

    Args:
        splits: those to look at; by default those that `directory` has a folder of.
        classes, max_clips_per_class, seed: which clips there should be, as for `download`; by default all. Of the
            others none is missing or unexpected. Without `splits`, those without labels are passed over for `classes`.
        annotations: directory, file or URL; by default those in `directory`, else the published edition.
        deep: decode every frame instead of reading headers, and hold the SHA-256 of files against the ledger's.
        overlaps: other splits, as "700:train" or "700:train=PATH" with the path of its annotations: which videos do
            they share with those of `directory`?
        workers: number of processes; by default one a core.
        report_path, csv_path: where to write the report as JSON, and a row for each clip; of what is there, an earlier
            report alone is replaced.
        console: where to show progress; nowhere by default.

    A clip is short where its video lasts over 0.5 s less than its segment, misplaced where its class directory is not
    its label's, and a duplicate where an annotated clip before it, by file name, has the same bytes. Clips in archives
    are read where a split has no extracted ones.

    Raises ValueError and OSError, before any clip is looked at, for arguments that make no sense, annotations that
    cannot be had or read, and reports that could not be written. After KeyboardInterrupt, which says how far it
    came, the same call goes on from there.
    """
    if not os.path.isdir(os.path.expanduser(directory)):
        raise FileNotFoundError(f"{os.fspath(directory)!r} does not exist or is no folder; name one that holds clips")
    selection = Selection(
        release=release,
        splits=splits,
        classes=classes,
        max_clips_per_class=max_clips_per_class,
        seed=seed,
        annotations=annotations,
    )
    root = check_data_dir(directory)
    if printable(root) != root:
        raise ValueError(f"the path {printable(root)} is not UTF-8, and Arrow opens no file there; rename its folder")
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; it must be 1 or more")
    if report_path is not None:
        check_json_target(report_path)
    if csv_path is not None:
        check_csv_target(csv_path)
    others = [OtherSplit.parse(text) for text in overlaps]
    here = [split for split in SPLITS if split_directories(root, split)]
    wanted = list(dict.fromkeys(selection.splits or here))
    if not wanted:
        raise FileNotFoundError(
            f"no clips of kinetics {release} in {root}: it should hold train, val (or validate, validation) or test, "
            "each with <class>/<clip>.mp4, <clip>.mp4 or *.tar.gz"
        )
    tables, files = {}, {}
    for split in wanted:
        files[split] = annotation_file(release, split, annotations=selection.annotations, data_dir=root)
        table = read_split(files[split], release, split)
        tables[split] = drop_repeats(table, files[split])
    indices = _choose(tables, selection)
    shared = shared_videos({split: index.table for split, index in indices.items()}, release, others)

    trees = [Inventory(root, release, split, index) for split, index in indices.items()]
    for tree in trees:
        tree.drop_excluded()
    ledger = read_ledger(root)
    # How many clips archives hold shows at their ends only.
    count = sum(len(tables[tree.split]) if tree.archives else len(tree.clips) for tree in trees)
    with (
        _open_findings(root) as findings,
        Progress(clips=count, console=console or Console(quiet=True)) as progress,
    ):
        look = _Look(root, findings, progress, deep=deep, workers=workers)
        try:
            look.into_files(trees)
            for tree in trees:
                look.into_archives(tree)
                tree.drop_excluded()  # of those in archives
            if deep:
                look.into_bytes(_recorded(trees, ledger))
            duplicates = look.duplicates(trees)
        except KeyboardInterrupt:
            done = f"{look.opened:,} clips were looked into"
            raise KeyboardInterrupt(f"interrupted; {done}, and the same command goes on from there") from None

    judge = Judge(release, trees, duplicates, ledger)
    rows = {tree.split: judge.rows(tree) for tree in trees}
    report = Report(
        release=release,
        directory=os.fspath(directory),
        deep=deep,
        splits={tree.split: _split_report(tree, files[tree.split], rows[tree.split]) for tree in trees},
        clips=_table([row for of_split in rows.values() for row in of_split]),
        duplicates=[[printable(clip.path) for clip in group] for group in duplicates],
        overlaps=shared,
        opened=look.opened,
        classes=None if selection.classes is None else tuple(selection.classes),
        max_clips_per_class=max_clips_per_class,
        seed=seed,
    )
    if report_path is not None:
        report.write_json(report_path)
    if csv_path is not None:
        report.write_csv(csv_path)
    return report


def _choose(tables: dict[str, pa.Table], selection: Selection) -> dict[str, ClipIndex]:
    """Return the clips that are asked for, of each split that has labels if classes are asked for."""
    if selection.classes is not None and not selection.splits:
        labelled = {
            split: table for split, table in tables.items() if pc.any(pc.greater_equal(table["label"], 0)).as_py()
        }
        tables = labelled or tables
    indices = {split: ClipIndex(table, selection.choose(table)) for split, table in tables.items()}
    if not selection.takes_all and not any(map(len, indices.values())):
        raise ValueError(f"no clip of {', '.join(selection.classes or ())} is annotated in {', '.join(indices)}")
    return indices


def _recorded(trees: Sequence[Inventory], ledger: Mapping[tuple[str, str], Entry]) -> Iterator[Clip]:
    """The clips that can be read and whose SHA-256 the ledger has."""
    for tree in trees:
        for clip in tree.clips:
            name = tree.index.find(clip.stem)
            if name is not None and clip.known.error is None and recorded_sha256(ledger, tree.split, name, clip):
                yield clip


def _split_report(tree: Inventory, annotations: str, rows: Sequence[tuple[Any, ...]]) -> SplitReport:
    found = Counter(row[_STATUS] for row in rows)
    return SplitReport(
        annotations=annotations,
        annotated=len(rows) - found["unexpected"],
        counts={status: found[status] for status in STATUSES},
        replaced=tree.replaced,
        archives_left_out=tree.archives_left_out,
        broken_archives=tree.broken,
        left_out=tree.left_out,
    )


def _open_findings(root: str) -> Findings:
    try:
        return Findings(os.path.join(root, _CACHE_NAME))
    except OSError:  # a tree that is not ours to write to
        directory = DownloadCache().directory
        os.makedirs(directory, exist_ok=True)
        name = hashlib.sha256(os.path.realpath(root).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        return Findings(os.path.join(directory, f"kinetics-verify-{name}.jsonl"))


class _Look:
    """Looks into the clips that are not known yet, in worker processes."""

    def __init__(self, root: str, findings: Findings, progress: Progress, *, deep: bool, workers: int | None):
        self.opened = 0
        self._root = root
        self._findings = findings
        self._progress = progress
        self._deep = deep
        self._workers = workers

    def into_files(self, trees: Sequence[Inventory]) -> None:
        """Sets `finding` of each extracted clip."""
        unknown: list[tuple[tuple[Clip, FileState], str]] = []
        for clip in (clip for tree in trees for clip in tree.clips):
            path = self._path(clip.path)
            state = file_state(path)
            if isinstance(state, str):
                clip.finding = Finding(None, "", None, state)
            elif state[0] == 0:
                clip.finding = Finding(0, "", None, "has no bytes")
            else:
                clip.finding = self._findings.clip(clip.path, state, deep=self._deep)
                if clip.finding is None:
                    unknown.append(((clip, state), path))
                    continue
            self._count(clip.finding)
        for (clip, state), finding in self._examined(unknown, batch_size=4 if self._deep else 32):
            if isinstance(finding, processes.Crash):  # not for the next run to believe
                clip.finding = Finding(state[0], "", None, finding.reason)
            else:
                clip.finding = finding
                self._findings.put(clip.path, state, finding, deep=self._deep)
            self._count(clip.finding)

    def into_archives(self, tree: Inventory) -> None:
        """Adds the clips in the archives of a split, with their findings."""
        known: dict[str, dict[str, Finding]] = {}
        unknown: dict[str, _Reading] = {}
        for archive in tree.archives:
            state = file_state(self._path(archive))
            if isinstance(state, str):
                tree.broken[archive] = state
                continue
            members = self._findings.members(archive, state, deep=self._deep)
            if members is None:
                unknown[archive] = _Reading(state)
            else:
                known[archive] = members
                for finding in members.values():
                    self._count(finding)
        members_of = self._members(tree, unknown)
        for (archive, number, member), finding in self._examined(members_of, batch_size=4):
            reading = unknown[archive]
            if isinstance(finding, processes.Crash):
                reading.lasts = False
                finding = Finding(None, "", None, finding.reason)
            reading.found[number] = (member, finding)
            self._count(finding)
            self._remember(archive, reading)
        for archive, reading in unknown.items():
            self._remember(archive, reading)
            known[archive] = reading.members()
        tree.add_members(known)

    def _members(
        self, tree: Inventory, readings: dict[str, "_Reading"]
    ) -> Iterator[tuple[tuple[str, int, str], bytes]]:
        for archive, reading in readings.items():
            number = 0
            try:
                with open(self._path(archive), "rb") as file:
                    for number, (member, data) in enumerate(read_archive(file, name=archive), start=1):
                        yield (archive, number, member), data
            except OSError as error:
                tree.broken[archive] = str(error).removeprefix(f"{archive}: ")
                reading.lasts = False
            reading.count = number

    def _remember(self, archive: str, reading: "_Reading") -> None:
        if reading.lasts and reading.count == len(reading.found):
            self._findings.put(archive, reading.state, reading.members(), deep=self._deep)
            reading.lasts = False

    def into_bytes(self, clips: Iterable[Clip]) -> None:
        """Sets the SHA-256 of extracted clips that have none yet."""
        unknown = [(clip, self._path(clip.path)) for clip in clips if clip.known.sha256 is None]
        for clip, sha256 in processes.run(digest, unknown, workers=self._workers):
            if isinstance(sha256, str):
                clip.finding = replace(clip.known, sha256=sha256)
                self._findings.put_digest(clip.path, sha256)

    def duplicates(self, trees: Sequence[Inventory]) -> list[list[Clip]]:
        """The groups of clips with the same bytes. Unreadable ones are alike for many reasons, and left out."""
        by_ends: defaultdict[Any, list[Clip]] = defaultdict(list)
        for clip in (clip for tree in trees for clip in tree.clips):
            if clip.known.error is None:
                by_ends[clip.known.bytes, clip.known.ends].append(clip)
        alike = [clip for group in by_ends.values() if len(group) > 1 for clip in group]
        self.into_bytes(alike)
        by_digest: defaultdict[str, list[Clip]] = defaultdict(list)
        for clip in alike:
            if clip.known.sha256 is not None:
                by_digest[clip.known.sha256].append(clip)
        return [group for group in by_digest.values() if len(group) > 1]

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}"

    def _examined(self, items: Iterable[tuple[_Key, Any]], *, batch_size: int) -> Iterator[tuple[_Key, Any]]:
        function = functools.partial(examine, deep=self._deep)
        for key, finding in processes.run(function, items, workers=self._workers, batch_size=batch_size):
            self.opened += 1
            yield key, finding

    def _count(self, finding: Finding) -> None:
        self._progress.count("readable" if finding.error is None else "unreadable")
        self._progress.tick()


@dataclass
class _Reading:
    """An archive while it is read: its members, numbered from 1, `count` of them once that is known."""

    state: FileState
    found: dict[int, tuple[str, Finding]] = field(default_factory=dict)
    count: int | None = None
    lasts: bool = True  # whether what is found is to be remembered, still

    def members(self) -> dict[str, Finding]:
        return dict(self.found[number] for number in sorted(self.found))


def _table(rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    if not rows:
        return COLUMNS.empty_table()
    columns = zip(COLUMNS.types, zip(*rows, strict=True), strict=True)
    return pa.Table.from_arrays([pa.array(values, type=kind) for kind, values in columns], schema=COLUMNS)
