"""Conversion of prepared shards or a clip directory to the files of another library.

>>> from kinetics_tools import convert
>>> convert("prepared", "k700-wds", to="webdataset").written
{'validation': 33914}
"""

import contextlib
import functools
import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from kinetics_tools.conversion.formats import FORMATS, Format
from kinetics_tools.conversion.source import Part, Source, SourceClip, fingerprint, open_source, plan_parts, repeated
from kinetics_tools.errors import clip_reason
from kinetics_tools.io import JsonLog, check_apart, check_shape, disk_errors, held_alone, read_json_lines
from kinetics_tools.preparation import DROPPED_SHAPE, DroppedClip
from kinetics_tools.run import Crash, Progress, spread
from kinetics_tools.text import TextReport, check_choice, check_count, few, format_count

_LOG_NAME = ".kinetics-convert.jsonl"
_LOCK_NAME = ".kinetics-convert.lock"

# Of a finished part. Rows have what their format needs, too.
_RECORD_SHAPE = {"split": str, "number": int, "rows": [{"name": str, "label": int}], "dropped": [DROPPED_SHAPE]}
_Record = dict[str, Any]


@dataclass(frozen=True, repr=False)
class ConversionReport(TextReport):
    """Result of `convert`.

    Attributes:
        out: output directory.
        to: format.
        written: split -> number of clips.
        missing: split -> number of annotated clips that no archive has.
        dropped: split -> clips that could not be read.
        notes: further lines.
    """

    out: str
    to: str
    written: dict[str, int]
    missing: dict[str, int]
    dropped: dict[str, list[DroppedClip]]
    notes: Sequence[str] = ()

    @property
    def is_complete(self) -> bool:
        """True if no clip was dropped."""
        return not any(self.dropped.values())

    def lines(self) -> list[str]:
        """Return the report as lines of text."""
        lines = [f"{split}: {format_count(count, 'clip')}" for split, count in self.written.items()]
        lines += [f"{split}: missing: {count:,}" for split, count in self.missing.items() if count]
        for split, clips in self.dropped.items():
            if clips:
                examples = few(f"{clip.name}: {clip_reason(clip.detail, clip.name) or clip.reason}" for clip in clips)
                lines.append(f"{split}: dropped: {len(clips):,} ({examples}); the same command retries them")
        count = format_count(sum(self.written.values()), "clip")
        return [*lines, *self.notes, f"converted {count} to {self.to} in {self.out}"]


def convert(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    to: str,
    release: str | None = None,
    splits: Sequence[str] | None = None,
    annotations: str | None = None,
    force_release: bool = False,
    workers: int | None = None,
    console: Console | None = None,
) -> ConversionReport:
    """Write the clips of prepared shards or of a clip directory in another format, with unchanged bytes.

    Clips are written in parts of about 1 GB. The same call resumes an interrupted one, and retries parts with clips
    that were dropped.

    Args:
        source: directory or URL of prepared shards, or a clip directory with files or archives.
        out: output directory, new, empty, or that of an earlier call with the same arguments.
        to: one of `FORMATS`.
        release: "400", "600", "700" or "700-2020"; None for the only one of prepared shards.
        splits: splits to convert; None for all.
        annotations: for a clip directory: directory, file or URL of the annotations, see `Selection`, as for
            `force_release`.
        workers: number of parts that are written at once; None for one per core.
        console: where to show progress; None for the standard output.

    Raises:
        ValueError: invalid arguments, missing shards, or `out` has other content.
        FileNotFoundError: the source has no clips.
        ModuleNotFoundError: the library of the format is not installed.
        DiskError: a file cannot be written.
        KeyboardInterrupt: interrupted; the message says how to resume.
    """
    kind = FORMATS[check_choice(to, tuple(FORMATS), "format")]
    kind.check()
    if workers is not None:
        check_count(workers=workers)
    if "://" in os.fspath(out):
        raise ValueError(f"out={os.fspath(out)!r} must be a local directory; convert there and copy the files")
    check_apart(source, os.fspath(out))
    clips = open_source(source, release, splits=splits, annotations=annotations, force_release=force_release)
    folder = Path(out).absolute()
    head = {"to": to, "source": fingerprint(clips, to)}
    busy = f"{folder} is being written by another conversion; wait until it has ended"
    lock = held_alone(folder / _LOCK_NAME, busy)
    with _resumable(), lock, _open_log(folder, head) as log, kind(folder, clips.release) as format:
        records = _Job(clips, format).run(log, workers, console)
        by_split = {split: [one for one in records if one["split"] == split] for split in clips.units}
        for split, parts in by_split.items():
            if any(part["rows"] for part in parts):
                format.finish(split, [part["rows"] for part in parts])
    return _report(os.fspath(out), to, clips, by_split)


def _report(out: str, to: str, source: Source, by_split: dict[str, list[_Record]]) -> ConversionReport:
    rows = {split: [row["name"] for part in parts for row in part["rows"]] for split, parts in by_split.items()}
    dropped = {
        split: [DroppedClip(**one) for part in parts for one in part["dropped"]] for split, parts in by_split.items()
    }
    missing = {split: source.clips[split] - len(set(rows[split])) - len(dropped[split]) for split in rows}
    written = {split: len(names) for split, names in rows.items()}
    notes = [f"{split}: {note}" for split, names in rows.items() if (note := repeated(names))]
    return ConversionReport(out, to, written, missing, dropped, notes)


class _Stopped(Exception):
    """Raised in a thread that writes a part when the run ends."""


class _Job:
    def __init__(self, source: Source, format: Format):
        self.source = source
        self.format = format
        self.stop = threading.Event()

    def run(self, log: JsonLog, workers: int | None, console: Console | None) -> list[_Record]:
        """Write the parts that the log does not have; return the records of all, in order."""
        parts = plan_parts(self.source, self.format.part_bytes)
        done = {(one["split"], one["number"]): one for one in read_json_lines(log.path, _as_record)}
        done = {key: one for key, one in done.items() if not one["dropped"]}  # an unreadable clip may be repaired
        todo = [part for part in parts if (part.split, part.number) not in done]
        before = sum(len(one["rows"]) for one in done.values())
        counts = {"converted before": before} if before else {}
        progress = Progress(clips=sum(self.source.clips.values()), counts=counts, console=console)
        with progress.drawn():
            write = functools.partial(self._write, progress=progress)
            made = spread(write, zip(todo, todo, strict=True), workers=workers, stop=self.stop)
            with contextlib.closing(made):
                for part, record in made:
                    assert not isinstance(record, Crash)  # threads do not crash
                    with disk_errors(log.path):
                        log.append(record)
                    done[part.split, part.number] = record
        return [done[part.split, part.number] for part in parts]

    def _write(self, part: Part, *, progress: Progress) -> _Record:
        dropped: list[DroppedClip] = []

        def drop(clip: DroppedClip) -> None:
            dropped.append(clip)
            progress.count(clip.reason)

        def readable() -> Iterator[SourceClip]:
            for clip in self.source.read(part):
                if self.stop.is_set():
                    raise _Stopped
                if isinstance(clip, DroppedClip):
                    drop(clip)
                    continue
                yield clip
                progress.count("converted")
                progress.add_bytes(len(clip.content))

        rows = self.format.write(part, readable(), drop)
        return {"split": part.split, "number": part.number, "rows": rows, "dropped": [asdict(one) for one in dropped]}


@contextlib.contextmanager
def _resumable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; finished parts are kept. Rerun the same command to resume") from None


def _open_log(folder: Path, head: dict[str, str]) -> JsonLog:
    """Return the log of the parts in `folder`, whose first line is `head`."""
    path = folder / _LOG_NAME
    found = next(read_json_lines(path, _as_head), None)
    if found is None and any(name not in (_LOCK_NAME, _LOG_NAME) for name in os.listdir(folder)):
        raise ValueError(f"{folder} has other content; choose a new or empty directory")
    if found not in (None, head):
        raise ValueError(
            f"{folder} has a conversion to {found['to']}, or of clips that have changed since; choose a new or empty "
            "directory"
        )
    log = JsonLog(path, compact=True)
    if found is None:
        with disk_errors(path):
            log.append(head)
    return log


def _as_head(value: Any) -> dict[str, str]:
    head: dict[str, str] = check_shape(value, {"to": str, "source": str})
    return head


def _as_record(value: Any) -> _Record:
    record: _Record = check_shape(value, _RECORD_SHAPE)
    return record
