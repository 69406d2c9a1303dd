"""Static report of a source: a page and its pictures, in one folder."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from rich.console import Console

import kinetics_tools
from kinetics_tools.io import check_apart, check_outputs, trial_directory
from kinetics_tools.releases import LABELS, source_first
from kinetics_tools.text import printable
from kinetics_tools.verification.report import STATUSES
from kinetics_tools.viewing import html, statistics
from kinetics_tools.viewing.charts import charts_of, prediction_charts, write_pictures
from kinetics_tools.viewing.clips import read_clips
from kinetics_tools.viewing.continents import continents_of
from kinetics_tools.viewing.notes import notes_of
from kinetics_tools.viewing.page import BEGINNING, write_page
from kinetics_tools.viewing.predictions import score, wrong
from kinetics_tools.viewing.previews import preview_paths, write_previews


class WrittenReport(NamedTuple):
    """Report that was written.

    Attributes:
        path: path of index.html.
        notes: sentences of the page about what there is not, and what could not be read.
        is_complete: True if the whole source could be read.
    """

    path: Path
    notes: tuple[str, ...]
    is_complete: bool


def write_report(
    source: str | os.PathLike[str],
    release: str | None = None,
    *,
    out: str | os.PathLike[str],
    splits: Sequence[str] | None = None,
    annotations: str | None = None,
    predictions: str | os.PathLike[str] | None = None,
    prediction_split: str = "validation",
    metadata: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    console: Console | None = None,
) -> WrittenReport:
    """Write a page about the clips of a source, which opens from a disk without a network, and its charts as files.

    Args:
        source: as for `read_clips`.
        release: as for `read_clips`.
        out: folder for index.html, charts/*.png, charts/*.svg and images/. Only an earlier report is replaced.
        splits: splits to read; None for all.
        annotations: annotation directory, file or URL, as for `read_clips`.
        predictions: file for `evaluate`, of one release.
        prediction_split: split of the predictions.
        metadata: CSV or Parquet file with `youtube_id`, perhaps `time_start` and `time_end`, and other columns. Clips
            are counted by each of these, and by continent if one is `country` with ISO 3166-1 codes.
        workers: number of processes; None for one per core.
        console: where to show progress; None for the standard output.

    Returns:
        Path of index.html, and what the page says about parts that are missing. A source that cannot be reached makes
        a page, too, which says so.

    Raises:
        ValueError, OSError: the source, an argument or a file cannot be used.
    """
    source, release = source_first(source, release)
    check_apart(source, os.fspath(out))
    folder = Path(out)
    with trial_directory(folder):
        check_outputs((folder / "index.html", BEGINNING))
    table_of_user = _read_metadata(metadata) if metadata is not None else None
    clips = read_clips(source, release, splits=splits, annotations=annotations, workers=workers, console=console)
    found, wrong_rows = None, None
    if predictions is not None:
        clips, found = score(clips, predictions, prediction_split, annotations)
        wrong_rows = _escaped(wrong(clips.table)) if found is not None else None
    table, extra = clips.table, tuple[str, ...]()
    if table_of_user is not None:
        table, extra = _joined(table, table_of_user)
    releases = sorted(pc.unique(table["release"]).to_pylist())
    charts = charts_of(table, extra) + (prediction_charts(found) if found is not None else [])
    write_pictures(folder / "charts", charts)
    previews, notes = {}, notes_of(clips)
    if clips.folder is not None and "://" not in clips.folder:
        previews = write_previews(clips, folder, workers=workers, console=console)
    else:
        notes.append("No pictures of clips: they are made only of clips on a local disk.")
    write_page(
        folder / "index.html",
        title=", ".join(f"Kinetics-{name}" for name in releases) or "Kinetics",
        source=clips.source,
        command=f"kinetics report {os.fspath(source)} {release or ''}".strip(),
        version=kinetics_tools.__version__,
        sections=_sections(has_predictions=found is not None),
        notes=notes,
        statuses=STATUSES,
        splits=statistics.by_status(table),
        tiles=html.tiles(html.totals(table)) if len(table) else "",
        scores=found.lines()[1:5] if found is not None else [],
        has_predictions=wrong_rows is not None,
        charts=charts,
        data={
            "classes": _class_rows(table, previews),
            "problems": _escaped(statistics.problems(table)),
            "wrong": wrong_rows,
            "folder": clips.source if clips.kind == "directory" else None,
        },
    )
    return WrittenReport(folder / "index.html", tuple(notes), not clips.problems)


def _read_metadata(path: str | os.PathLike[str]) -> pa.Table:
    name = os.fspath(path)
    try:
        if name.lower().endswith(".parquet"):
            return pq.read_table(name)
        ids_are_text = pa.csv.ConvertOptions(column_types={"youtube_id": pa.string()})
        return pa.csv.read_csv(name, convert_options=ids_are_text)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{name}: is not a table in CSV or Parquet ({error})") from None


def _joined(clips: pa.Table, metadata: pa.Table) -> tuple[pa.Table, tuple[str, ...]]:
    """Return the clips with the columns of a user's table, and the names of these columns."""
    table = statistics.with_metadata(clips, metadata)
    if "country" in metadata.column_names and "continent" not in table.column_names:
        table = table.append_column("continent", continents_of(table["country"]))
    return table, tuple(table.column_names[len(clips.column_names) :])


def _sections(*, has_predictions: bool) -> list[tuple[str, str]]:
    last = [("predictions", "Predictions")] if has_predictions else []
    return [("overview", "Overview"), ("charts", "Charts"), ("classes", "Classes"), *last, ("problems", "Missing")]


def _class_rows(table: pa.Table, previews: dict[str, tuple[str, str]]) -> list[list[Any]]:
    """Return label, annotated and present clips, poster, loop and name of its clip for each class."""
    counts: dict[str, list[int]] = {}
    for release in sorted(set(table["release"].to_pylist())):
        counts |= {label: [0, 0] for label in LABELS[release]}
    for row in statistics.by_class(table).to_pylist():
        counts[row["label"]][0] += row["annotated"]
        counts[row["label"]][1] += row["present"]
    rows: list[list[Any]] = []
    for label in sorted(counts):
        poster, clip = previews.get(label, (None, None))
        loop = poster and preview_paths(Path(poster).stem)[1]
        rows.append([label, *counts[label], poster, loop, clip and printable(clip)])
    return rows


def _escaped(table: pa.Table) -> list[list[Any]]:
    """Return rows whose texts have no control characters."""
    rows = zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
    return [[printable(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
