"""`kinetics convert`."""

from pathlib import Path
from typing import Annotated, Any

import typer

import kinetics_tools
from kinetics_tools.cli import options
from kinetics_tools.cli.options import OUTPUT, PARALLELISM, option
from kinetics_tools.releases import source_first

EPILOG = options.examples(
    "kinetics convert prepared --to webdataset --out k700-wds",
    "kinetics convert k400 400 --to videofolder --out k400-videofolder",
)
_SOURCE = "Prepared shards (directory or URL), or clip directory with files or archives."
_RELEASE = "Release of a clip directory, or of prepared shards of several releases."
_TO = "fiftyone, files, frames, lance, mds, videofolder or webdataset."
_WORKERS = "Number of parts that are written at once."


def convert(
    source: Annotated[str, typer.Argument(help=_SOURCE)],
    to: Annotated[str, option(OUTPUT, _TO, True, "--to")],
    out: Annotated[Path, option(OUTPUT, "Output directory. An unfinished conversion there is resumed.")],
    release: Annotated[str | None, typer.Argument(help=_RELEASE, show_default="that of prepared shards")] = None,
    splits: options.Splits = None,
    annotations: options.LocalAnnotations = None,
    force_release: options.ForceRelease = False,
    workers: Annotated[int | None, option(PARALLELISM, _WORKERS, "one per core")] = None,
) -> None:
    """Write clips in the format of another library. Exits with 1 if clips were dropped."""
    source, release = source_first(source, release)
    chosen: Any = {"splits": splits, "annotations": annotations, "force_release": force_release}
    report = kinetics_tools.convert(source, out, to=to, release=release, **chosen, workers=workers)
    options.finish(report.lines(), is_complete=report.is_complete)
