"""`kinetics report`."""

from pathlib import Path
from typing import Annotated

import typer

import kinetics_tools
from kinetics_tools.cli import options
from kinetics_tools.cli.options import OUTPUT, RELEASE_HELP, SELECTION, SOURCE, option
from kinetics_tools.run import PlainConsole

EPILOG = options.examples(
    "kinetics report k700 700 --out report",
    "kinetics report prepared --out report --annotations k700/annotations",
    "kinetics report user/kinetics 700 --out report --predictions scores.parquet",
)
SOURCE_HELP = "Clip directory, prepared shards, USER/NAME or URL of published ones, or the CSV file of verify."
_METADATA = "CSV or Parquet with youtube_id and more columns, such as country, to count clips by."


def report(
    source: Annotated[str, typer.Argument(help=SOURCE_HELP)],
    release: Annotated[str | None, typer.Argument(help=RELEASE_HELP, show_default="all of prepared shards")] = None,
    out: Annotated[Path, option(OUTPUT, "Directory for index.html, charts/ and images/.")] = Path("report"),
    splits: options.Splits = None,
    annotations: options.LocalAnnotations = None,
    predictions: Annotated[Path | None, option(SOURCE, "Predictions to score, as for evaluate.")] = None,
    prediction_split: Annotated[str, option(SELECTION, "Split of the predictions.")] = "validation",
    metadata: Annotated[Path | None, option(SOURCE, _METADATA)] = None,
    workers: options.Workers = None,
) -> None:
    """Write a page with charts and pictures of a copy of Kinetics, and what it lacks. It opens without a network.

    Exits with 1 if a part of the copy cannot be read: the page says which.
    """
    done = kinetics_tools.write_report(
        source,
        release,
        out=out,
        splits=splits,
        annotations=annotations,
        predictions=predictions,
        prediction_split=prediction_split,
        metadata=metadata,
        workers=workers,
        console=PlainConsole(stderr=True),
    )
    notes = [f"note: {note}" for note in done.notes]
    lines = [f"wrote {done.path}", f"next: open {done.path} in a browser"]
    options.finish([*notes, *lines], is_complete=done.is_complete)
