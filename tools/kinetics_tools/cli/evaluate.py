"""`kinetics evaluate`."""

from pathlib import Path
from typing import Annotated, Any

import typer

import kinetics_tools
from kinetics_tools.cli import options
from kinetics_tools.cli.options import OUTPUT, SELECTION, option
from kinetics_tools.run import PlainConsole

EPILOG = options.examples(
    "kinetics evaluate 700 submission.json --annotations k700/annotations",
    "kinetics evaluate 400 scores.parquet --split val --report figures.json",
    more='A submission is {"results": {video id: \\[{"label", "score"}, ...]}}. CSV and Parquet have the columns '
    "youtube_id, label and score, or youtube_id and one per class. Parquet may have youtube_id and scores, a list in "
    "label order. With time_start and time_end they score clips, otherwise videos.",
)

_SPACE = "Order of labels that are indices, such as opengvlab-710, or a file of names."


def evaluate(
    release: options.Release,
    predictions: Annotated[Path, typer.Argument(help="Challenge submission (.json), or scores (.csv, .parquet).")],
    split: Annotated[str, option(SELECTION, "Split: train, validation (val) or test.")] = "validation",
    label_space: Annotated[str | None, option(SELECTION, _SPACE, "that of the release")] = None,
    subset: options.Subset = None,
    exclude: options.Exclude = None,
    exclude_by: options.ExcludeBy = "video",
    annotations: options.Annotations = None,
    report: Annotated[Path | None, option(OUTPUT, "JSON file for the scores.")] = None,
    confusion: Annotated[Path | None, option(OUTPUT, "CSV file for the confusion matrix.")] = None,
) -> None:
    """Compute top-1, top-5, their mean error and class scores. Exits with 1 if predictions are missing or invalid."""
    from kinetics_tools.evaluation import CONFUSION_BEGINNING, REPORT_BEGINNING, write_confusion, write_report
    from kinetics_tools.io.atomic import check_outputs

    release, predictions = options.release_first(release, predictions)
    check_outputs((report, REPORT_BEGINNING), (confusion, CONFUSION_BEGINNING))
    choice: Any = {"subset": subset, "exclude": exclude, "exclude_by": exclude_by, "annotations": annotations}
    found = kinetics_tools.evaluate(release, predictions, split=split, label_space=label_space, **choice)
    PlainConsole().print_lines(found.lines())
    if report is not None:
        write_report(found, report)
    if confusion is not None:
        write_confusion(found, confusion)
    written = " and ".join(str(path) for path in (report, confusion) if path)
    options.finish([f"wrote {written}"] if written else [], is_complete=found.is_complete)
