"""`kinetics classes`."""

from typing import Annotated

import typer

from kinetics_tools.cli.options import RELEASE_HELP, examples

EPILOG = examples("kinetics classes", "kinetics classes 700 dog", "kinetics classes 400 > classes.txt")
_PATTERN = "Show only classes whose name has this text; upper and lower case are the same."


def classes(
    release: Annotated[str, typer.Argument(help=RELEASE_HELP)] = "700",
    pattern: Annotated[str, typer.Argument(help=_PATTERN, show_default="all")] = "",
) -> None:
    """Print the classes of a release, a line each: index and name, in label order."""
    from kinetics_tools.releases import LABELS, RELEASES
    from kinetics_tools.text import check_choice

    labels = LABELS[check_choice(release, RELEASES, "release")]
    found = [(index, label) for index, label in enumerate(labels) if pattern.lower() in label.lower()]
    for index, label in found:
        typer.echo(f"{index:3}  {label}")
    if not found:
        from kinetics_tools.annotations import find_label

        find_label(pattern, release)  # its error suggests the nearest name
