"""`kinetics infos`."""

from pathlib import Path
from typing import Annotated

import typer

from kinetics_tools.cli.options import SOURCE, examples, option

EPILOG = examples("kinetics infos", "kinetics infos infos.json --repo user/kinetics")
_PATH = "Output file. A file with other releases is not overwritten."


def infos(
    path: Annotated[Path, typer.Argument(help=_PATH)] = Path("dataset_infos.json"),
    repo: Annotated[str | None, option(SOURCE, "Export the declarations of this repository, USER/NAME.")] = None,
    token: Annotated[str | None, option(SOURCE, "With --repo: Hub token, for a private repository.")] = None,
) -> None:
    """Write dataset_infos.json: features, classes and splits of every release. With --repo, those of a repository."""
    from kinetics_tools.publication import published_infos, write_infos

    if repo is None:
        write_infos(path)
    else:
        write_infos(path, published_infos(repo, token=token))
    typer.echo(f"Wrote {path}")
