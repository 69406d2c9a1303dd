"""`kinetics verify`."""

from pathlib import Path
from typing import Annotated, Any

import typer

import kinetics_tools
from kinetics_tools.cli import options
from kinetics_tools.cli.options import OUTPUT, SELECTION, flag, option
from kinetics_tools.run import PlainConsole

EPILOG = options.examples(
    "kinetics verify 400 k400 --csv clips.csv --overlap 700:train",
    'kinetics verify 400 k400 --split validation --classes "abseiling,zumba"',
)
_OVERLAP = "Also list videos shared with this split; RELEASE:SPLIT=PATH sets its annotations."


def verify(
    release: options.Release,
    directory: Annotated[Path, typer.Argument(help="Clip directory: holds train, val or test.")],
    splits: options.Splits = None,
    classes: options.Classes = None,
    subset: options.Subset = None,
    exclude: options.Exclude = None,
    exclude_by: options.ExcludeBy = "video",
    max_clips_per_class: options.MaxPerClass = None,
    seed: options.SampleSeed = 0,
    annotations: options.LocalAnnotations = None,
    force_release: options.ForceRelease = False,
    deep: Annotated[bool, flag("Options", "--deep", "Decode every frame; compare SHA-256 with the ledger.")] = False,
    overlap: Annotated[list[str] | None, option(SELECTION, _OVERLAP, metavar="RELEASE:SPLIT")] = None,
    workers: options.Workers = None,
    report: Annotated[Path | None, option(OUTPUT, "JSON file for the report.")] = None,
    csv: Annotated[Path | None, option(OUTPUT, "CSV file with a row per clip.")] = None,
) -> None:
    """Check a clip directory against the annotations. Exits with 1 if any clip is missing, misplaced or unreadable."""
    from kinetics_tools.verification import check_reports

    release, directory = options.release_first(release, directory)
    choice: Any = {"splits": splits, "classes": classes, "subset": subset, "exclude": exclude, "exclude_by": exclude_by}
    check_reports(report, csv)
    found = kinetics_tools.verify(
        release,
        directory,
        **choice,
        max_clips_per_class=max_clips_per_class,
        seed=seed,
        annotations=annotations,
        force_release=force_release,
        deep=deep,
        overlaps=overlap or (),
        workers=workers,
        console=PlainConsole(stderr=True),
    )
    PlainConsole().print(found.table())
    PlainConsole().print_lines(found.write(report, csv))
    options.finish(found.lines(), is_complete=found.is_complete)
