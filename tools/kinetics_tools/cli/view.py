"""`kinetics view`."""

import contextlib
import ipaddress
import threading
from pathlib import Path
from typing import Annotated

import typer

from kinetics_tools.cli import options
from kinetics_tools.cli.options import OUTPUT, RELEASE_HELP, SELECTION, SOURCE, flag, option
from kinetics_tools.cli.report import SOURCE_HELP
from kinetics_tools.releases import source_first
from kinetics_tools.run import PlainConsole

EPILOG = options.examples("kinetics view k700 700", "kinetics view prepared --compare user/kinetics")
_HOST = "Address to listen on. Any but 127.0.0.1 lets other machines watch the clips."


def view(
    source: Annotated[str, typer.Argument(help=SOURCE_HELP)],
    release: Annotated[str | None, typer.Argument(help=RELEASE_HELP, show_default="all of prepared shards")] = None,
    splits: options.Splits = None,
    annotations: options.LocalAnnotations = None,
    predictions: Annotated[Path | None, option(SOURCE, "Predictions to show, as for evaluate.")] = None,
    prediction_split: Annotated[str, option(SELECTION, "Split of the predictions.")] = "validation",
    compare: Annotated[str | None, option(SOURCE, "Another source, to list shared videos with.")] = None,
    host: Annotated[str, option(OUTPUT, _HOST)] = "127.0.0.1",
    port: Annotated[int | None, option(OUTPUT, "Port.", "a free one from 7860 on")] = None,
    browser: Annotated[bool, flag(OUTPUT, "--browser", "Open a browser.")] = False,
    workers: options.Workers = None,
) -> None:
    """Watch the clips of a copy in the browser: charts, filters, frames of samplers. Ctrl-C ends it."""
    from kinetics_tools.viewing import read_clips
    from kinetics_tools.viewing.app import serve
    from kinetics_tools.viewing.predictions import score
    from kinetics_tools.viewing.viewer import Viewer

    console = PlainConsole(stderr=True)
    source, release = source_first(source, release)
    clips = read_clips(source, release, splits=splits, annotations=annotations, workers=workers, console=console)
    scores = None
    if predictions is not None:
        clips, scores = score(clips, predictions, prediction_split, annotations)
    other = read_clips(compare, release, splits=splits, workers=workers, console=console) if compare else None
    console.print_lines(f"note: {problem}" for problem in clips.problems)
    app = serve(Viewer(clips, other, scores), host=host, port=port, open_browser=browser)
    if not _is_loopback(host):
        console.print(f"note: everyone who reaches {host} can watch these clips")
    console.print(f"open {app.local_url} in a browser; Ctrl-C ends")
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
    app.close(verbose=False)


def _is_loopback(host: str) -> bool:
    with contextlib.suppress(ValueError):  # a name
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"
