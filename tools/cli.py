"""The `kinetics` command: arguments and printing, nothing else."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup


class _Group(TyperGroup):
    """Turns what a verb raises into one line and an exit code, before typer makes a traceback of it."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (ValueError, OSError) as error:
            message = " ".join(str(error).split())
            Console(stderr=True, soft_wrap=True).print(f"error: {message}", style="red", markup=False, highlight=False)
            raise typer.Exit(2) from None
        except KeyboardInterrupt:
            raise typer.Exit(130) from None


app = typer.Typer(cls=_Group, no_args_is_help=True, add_completion=False, rich_markup_mode="rich")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("kinetics-dataset"))
        raise typer.Exit


@app.callback(epilog="Example: [bold]kinetics demo --out demo[/bold]")
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Kinetics-400, 600, 700 and 700-2020 as a Hugging Face dataset."""


@app.command(epilog="Example: [bold]kinetics demo --out /tmp/kinetics-demo[/bold]")
def demo(
    out: Annotated[Path, typer.Option(help="Folder to make; new, empty, or an earlier demo.")] = Path("demo"),
) -> None:
    """Make a small sample of every release, without downloads, and walk through loading and reading it."""
    from kinetics_tools.demo import demo

    demo(out)


@app.command(epilog="Example: [bold]kinetics infos[/bold]")
def infos(
    path: Annotated[Path, typer.Argument(help="File to write.")] = Path("dataset_infos.json"),
) -> None:
    """Export what kinetics.py declares: features, classes and splits of every release."""
    from kinetics_tools.card import write_infos

    write_infos(path)
    typer.echo(f"Wrote {path}")


def main() -> None:
    """Run the command that `sys.argv` names: exit code 0, 2 for an error, 130 for an interrupt."""
    app()
