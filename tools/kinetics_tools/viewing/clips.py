"""One table of clips from any source: a clip directory, prepared shards, on the Hub too, or a CSV file of verify."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from rich.console import Console

from kinetics_tools.annotations import Selection, clip_names
from kinetics_tools.errors import first_line
from kinetics_tools.io import Folder
from kinetics_tools.preparation import MANIFEST_NAME
from kinetics_tools.releases import RELEASES, SPLITS, source_first
from kinetics_tools.sources import ClipFinder, check_data_dir, split_directories
from kinetics_tools.text import format_count
from kinetics_tools.verification import verify
from kinetics_tools.verification.report import COLUMNS
from kinetics_tools.viewing.shards import CLIPS, filled, label_names, read_prepared

_ADVICE = "check your network connection, the name and your token, and rerun the same command"


@dataclass(frozen=True, repr=False)
class Clips:
    """Clips of a source.

    Attributes:
        source: path or URL as given.
        kind: "directory", "prepared" or "report".
        folder: directory or URL that holds the paths in the table, None for a report.
        table: one row for each annotated clip and each unexpected file, with the columns CLIPS. Unknown values are
            null: prepared shards do not tell the label of a missing clip, nor the bytes of each clip.
        problems: sentences about parts of the source that could not be read; the table is without them.
    """

    source: str
    kind: str
    folder: str | None
    table: pa.Table
    problems: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Clips({self.source!r}, {self.kind}, {format_count(len(self.table), 'row')})"


def read_clips(
    source: str | os.PathLike[str],
    release: str | None = None,
    *,
    splits: Sequence[str] | None = None,
    annotations: str | None = None,
    workers: int | None = None,
    console: Console | None = None,
) -> Clips:
    """Return the clips of a source. The release may come first, as in other functions.

    A remote source that cannot be reached gives no clips, and a `problems` entry. So do shards that cannot be read. A
    clip directory whose annotations cannot be had gives the clips that its names tell.

    Args:
        source: a clip directory, which `verify` checks; a directory or URL with prepared shards; "user/name" of a
            repository on the Hub with such shards; or the CSV file of `verify`. Of shards, no video is read.
        release: "400", "600", "700" or "700-2020"; None takes all releases of prepared shards.
        splits: splits to read; None for all.
        annotations: annotation directory, file or URL. It gives missing clips of prepared shards their labels.
        workers: number of processes for a clip directory; None for one per core.
        console: shows the progress of `verify`; None for the standard output.

    Raises:
        ValueError: `release` is needed, unknown or not that of the shards, or the source is none of these.
        FileNotFoundError: the source does not exist.
    """
    source, release = source_first(source, release)
    asked = Selection(release=release or RELEASES[0], splits=splits, annotations=annotations)
    release = release and asked.release
    given = os.fspath(source)
    if given.lower().endswith(".csv"):
        return Clips(given, "report", None, _read_report(given, _needed(release, given), asked))
    folder = _folder_of(given)
    try:
        clips = _read_folder(given, folder, release, asked)
    except (FileNotFoundError, ValueError):
        raise
    except Exception as error:  # clients of stores have errors of their own
        if folder.is_local:
            raise
        problem = f"{given} cannot be read: {first_line(error)}; {_ADVICE}"
        return Clips(given, "prepared", folder.url, CLIPS.empty_table(), (problem,))
    if clips is not None:
        return clips
    name = _needed(release, given)
    table, problems = _read_directory(given, name, asked, workers, console)
    return Clips(given, "directory", folder.url, _with_release(table, name), problems)


def _read_folder(given: str, folder: Folder, release: str | None, asked: Selection) -> Clips | None:
    """Return the clips of prepared shards; None for a local directory without shards."""

    def having(names: Sequence[str]) -> list[str]:
        return [name for name in names if MANIFEST_NAME in folder.sizes(name)]

    if not folder.is_local and not folder.sizes():
        raise FileNotFoundError(f"{given} does not exist, is empty, or needs a token that may read it; {_ADVICE}")
    found = having([release] if release else RELEASES)
    if not found and (others := having(RELEASES)):
        raise ValueError(f"{given} has prepared shards of {', '.join(others)}, and none of {release}")
    if not found and not folder.is_local:
        raise ValueError(f"{given} has no prepared shards; pass what kinetics prepare and kinetics push have written")
    if not found:
        return None
    read = [read_prepared(folder, name, asked) for name in found]
    problems = tuple(problem for _, problems in read for problem in problems)
    return Clips(given, "prepared", folder.url, pa.concat_tables([table for table, _ in read]), problems)


def _read_directory(
    given: str, release: str, asked: Selection, workers: int | None, console: Console | None
) -> tuple[pa.Table, tuple[str, ...]]:
    """Return the clips of a clip directory as `verify` finds them; without annotations, by their names."""
    try:
        report = verify(
            release, given, splits=asked.splits, annotations=asked.annotations, workers=workers, console=console
        )
        return report.clips, ()
    except OSError as error:
        tables = _named_clips(check_data_dir(given), asked) if asked.annotations is None else []
        if not tables:
            raise
        problem = f"clips are neither checked nor missing, because there are no annotations: {first_line(error)}"
        return pa.concat_tables(tables), (problem,)


def _named_clips(root: str, asked: Selection) -> list[pa.Table]:
    """Return the clips of each split that have their labels and segments by the names of their files."""
    finder, tables = ClipFinder(asked, root), []
    for split in asked.splits or [split for split in SPLITS if split_directories(root, split)]:
        try:
            found = finder.table(split)
        except OSError:  # no files, or annotations are needed
            continue
        if found is not None:
            columns = {
                "split": pa.repeat(split, len(found)),
                "clip": clip_names(found),
                **{name: found[name] for name in ("youtube_id", "time_start", "time_end")},
                "label": pa.array(label_names(found["label"], asked.release), pa.string()),
                "status": pa.repeat("present", len(found)),
                "detail": pa.repeat("not checked", len(found)),
                "path": pc.replace_substring_regex(found["path"], f"^{re.escape(root.rstrip('/'))}/", ""),
            }
            tables.append(filled(columns, len(found), COLUMNS))
    return tables


def _needed(release: str | None, source: str) -> str:
    if release is None:
        raise ValueError(f"{source}: name the release of its clips, such as 700")
    return release


def _folder_of(source: str) -> Folder:
    """Return the folder at a path, at a URL, or of a repository USER/NAME on the Hub."""
    if "://" in source or os.path.isdir(os.path.expanduser(source)):
        return Folder(source)
    if source.count("/") == 1 and not source.startswith((".", "/", "~")):
        return Folder(f"hf://datasets/{source}")
    raise FileNotFoundError(f"{source} does not exist; pass a clip directory, prepared shards, or user/name of the Hub")


def _with_release(table: pa.Table, release: str) -> pa.Table:
    columns = {"release": pa.repeat(release, len(table)), "row": pa.nulls(len(table), pa.int64())}
    return pa.table([columns.get(name, table[name] if name in COLUMNS.names else None) for name in CLIPS.names], CLIPS)


def _read_report(path: str, release: str, asked: Selection) -> pa.Table:
    """Return the clips in a CSV file of verify."""
    options = pa.csv.ConvertOptions(
        column_types={**dict(zip(COLUMNS.names, COLUMNS.types, strict=True))}, strings_can_be_null=True
    )
    try:
        table = pa.csv.read_csv(path, convert_options=options).select(COLUMNS.names)
    except (pa.ArrowInvalid, KeyError) as error:
        raise ValueError(f"{path}: is not a CSV file of kinetics verify ({error})") from None
    if asked.splits:
        table = table.filter(pc.is_in(table["split"], pa.array(asked.splits)))
    return _with_release(table, release)
