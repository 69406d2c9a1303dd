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
        except (ValueError, OSError, ImportError) as error:
            message = " ".join(str(error).split())
            Console(stderr=True, soft_wrap=True).print(f"error: {message}", style="red", markup=False, highlight=False)
            raise typer.Exit(2) from None
        except KeyboardInterrupt as interrupt:
            if interrupt.args:  # how to go on
                Console(stderr=True, soft_wrap=True).print(str(interrupt), markup=False, highlight=False)
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


@app.command(
    epilog='Example: [bold]kinetics download 400 --out k400 --split validation --classes "abseiling,zumba"[/bold]'
)
def download(
    release: Annotated[str, typer.Argument(help="400, 600, 700 or 700-2020.")],
    out: Annotated[Path, typer.Option(help="Folder of the clips; new, or from an earlier run, which goes on.")],
    split: Annotated[list[str] | None, typer.Option(help="train, validation or test; may be given again.")] = None,
    classes: Annotated[str | None, typer.Option(help="Labels, separated by commas; all without.")] = None,
    max_per_class: Annotated[int | None, typer.Option(help="At most so many clips of each class.")] = None,
    source: Annotated[str, typer.Option(help="archives or youtube.")] = "archives",
    workers: Annotated[int, typer.Option(help="How many archives or videos at once.")] = 4,
    rate_limit: Annotated[str | None, typer.Option(help="Bytes a second over all workers, such as 10MB.")] = None,
    keep_archives: Annotated[bool, typer.Option("--keep-archives", help="Leave the archives in OUT/archives.")] = False,
    formats: Annotated[str | None, typer.Option(help="youtube: yt-dlp's choice of formats.")] = None,
    cookies: Annotated[Path | None, typer.Option(help="youtube: file of cookies, in Netscape's format.")] = None,
    proxy: Annotated[str | None, typer.Option(help="youtube: URL of a proxy.")] = None,
    sleep: Annotated[float | None, typer.Option(help="youtube: seconds before each request for a page.")] = None,
    url_template: Annotated[str | None, typer.Option(help="youtube: URL of a video, with {youtube_id} in it.")] = None,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="youtube: try videos again that could not be had.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched, and write nothing.")] = False,
) -> None:
    """Fetch clips into OUT/<split>/<class>/. Exit code 1: some could not be fetched; the same command goes on."""
    from kinetics_tools.download import download
    from kinetics_tools.youtube import YouTubeOptions

    youtube: dict[str, Any] = {"formats": formats, "cookies": cookies, "proxy": proxy}
    youtube |= {"sleep_seconds": sleep, "url_template": url_template}
    youtube = {name: value for name, value in youtube.items() if value is not None}
    report = download(
        release,
        out,
        splits=split,
        classes=classes.split(",") if classes else None,
        max_clips_per_class=max_per_class,
        source=source,
        workers=workers,
        rate_limit=rate_limit,
        keep_archives=keep_archives,
        youtube=YouTubeOptions(**youtube) if youtube else None,
        retry_errors=retry_errors,
        dry_run=dry_run,
    )
    typer.echo("\n".join(report.lines()))
    raise typer.Exit(0 if dry_run or report.is_complete else 1)


@app.command(epilog="Example: [bold]kinetics verify k400 400 --csv clips.csv --overlap 700:train[/bold]")
def verify(
    directory: Annotated[Path, typer.Argument(help="Folder with train, val or test.")],
    release: Annotated[str, typer.Argument(help="400, 600, 700 or 700-2020.")],
    split: Annotated[list[str] | None, typer.Option(help="train, validation or test; may be given again.")] = None,
    annotations: Annotated[str | None, typer.Option(help="Folder, file or URL of the annotations.")] = None,
    deep: Annotated[bool, typer.Option("--deep", help="Decode every frame.")] = False,
    overlap: Annotated[
        list[str] | None,
        typer.Option(help="Also list the videos shared with RELEASE:SPLIT, or RELEASE:SPLIT=PATH of annotations."),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="How many processes; one a core without.")] = None,
    report: Annotated[Path, typer.Option(help="File for the report as JSON.")] = Path("report.json"),
    csv: Annotated[Path | None, typer.Option(help="File for a row for each clip.")] = None,
) -> None:
    """Hold a tree of clips against the annotations. Exit code 1: a clip is missing, misplaced or no good."""
    from kinetics_tools.verify import verify

    found = verify(
        directory,
        release,
        splits=split,
        annotations=annotations,
        deep=deep,
        overlaps=overlap or (),
        workers=workers,
        report_path=report,
        csv_path=csv,
        console=Console(stderr=True, soft_wrap=True, markup=False, highlight=False),
    )
    Console(highlight=False).print(found.table())
    typer.echo("\n".join(found.lines()))
    raise typer.Exit(0 if found.is_complete else 1)


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
