"""`kinetics evaluate`."""

import json
from pathlib import Path
from typing import Annotated

import typer

import kinetics_tools
from kinetics_tools.cli import options
from kinetics_tools.cli.options import option

EPILOG = options.examples(
    "kinetics evaluate submission.json 700 --annotations k700/annotations",
    "kinetics evaluate scores.parquet 400 --split val --report figures.json",
)


def evaluate(
    predictions: Annotated[Path, typer.Argument(help="Challenge submission (.json), or scores (.csv, .parquet).")],
    release: options.Release,
    split: Annotated[str, option("Split: train, validation (val) or test.")] = "validation",
    annotations: options.Annotations = None,
    report: Annotated[Path | None, option("JSON file for all figures.")] = None,
    confusion: Annotated[Path | None, option("CSV file for the confusion matrix.")] = None,
) -> None:
    """Score predictions: top-1, top-5, their mean error, each class. Exits with 1 if any are missing or bad.

    A submission is {"results": {video id: [{"label", "score"}, ...]}}. CSV and Parquet have the columns youtube_id,
    label and score, or youtube_id and one for each class; Parquet also youtube_id and scores, a list in label order.
    With time_start and time_end they score clips, otherwise videos.
    """
    from kinetics_tools.evaluation import write_confusion
    from kinetics_tools.io.atomic import check_target

    for path in filter(None, (report, confusion)):
        check_target(path)
    found = kinetics_tools.evaluate(predictions, release, split=split, annotations=annotations)
    if report is not None:
        report.write_text(json.dumps(found.as_dict(), indent=2) + "\n", encoding="utf-8")
    if confusion is not None:
        write_confusion(found, confusion)
    typer.echo("\n".join(found.lines()))
    raise typer.Exit(0 if found.is_complete else 1)
