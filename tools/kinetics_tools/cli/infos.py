"""`kinetics infos`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Column, Table

from kinetics_tools.cli.options import SOURCE, examples, option
from kinetics_tools.run import PlainConsole

EPILOG = examples("kinetics infos", "kinetics infos infos.json --repo user/kinetics")
_PATH = "File to write as JSON. A file with other releases is not overwritten."


def infos(
    path: Annotated[Path | None, typer.Argument(help=_PATH, show_default="only print a table")] = None,
    repo: Annotated[str | None, option(SOURCE, "Show the declarations of this repository, USER/NAME.")] = None,
    token: Annotated[str | None, option(SOURCE, "With --repo: Hub token, for a private repository.")] = None,
) -> None:
    """Show the splits and classes of every release. With PATH, write them and all features as dataset_infos.json."""
    from kinetics_tools.publication import dataset_infos, published_infos, write_infos

    found = dataset_infos() if repo is None else published_infos(repo, token=token)
    table = Table("release", "split", *(_right(name) for name in ("clips", "classes")))
    for release, info in found.items():
        for split, entry in info["splits"].items():
            clips = entry.get("num_examples")
            classes = len(info["features"]["label"]["names"])
            table.add_row(release, split, "unknown" if clips is None else f"{clips:,}", str(classes))
    if path is not None:
        write_infos(path, found)
    console = PlainConsole()
    console.print(table)
    if path is not None:
        console.print(f"wrote {path}")


def _right(name: str) -> Column:
    return Column(name, justify="right")
