"""The `kinetics` command: verbs, errors and exit codes."""

import errno
import logging
import os
import re
import sys
import traceback
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from kinetics_tools.cli import (
    classes,
    convert,
    demo,
    doctor,
    download,
    evaluate,
    export,
    infos,
    labels,
    options,
    prepare,
    push,
    report,
    verify,
    view,
)
from kinetics_tools.errors import KineticsError
from kinetics_tools.run import PlainConsole

_ADVICE = "check the names, paths and URLs, your network connection and your token"


def _without_types_of_flags(parameters: list[Any]) -> list[Any]:
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""  # or the help page would say <bool> after an option without a value
    return parameters


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        # Older releases of typer convert paths later, newer ones have no types of parameters.
        paths = {one.name for one in self.params if getattr(getattr(one, "type", None), "name", None) == "path"}
        for name, value in ctx.params.items():
            is_path = name in paths or isinstance(value, Path)
            if is_path and re.match(r"[a-z][a-z0-9+.-]+:/", str(value)):  # a Path has one slash of two
                raise ValueError(f"{name} must be a local path, not a URL")
        return super().invoke(ctx)


class _Group(TyperGroup):
    """Command group that turns an exception of a verb into one line and an exit code."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        console = PlainConsole(stderr=True)
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except KeyboardInterrupt as interrupt:
            console.print(str(interrupt) or "interrupted")  # a verb says how to resume
            raise typer.Exit(130) from None
        except Exception as error:
            if _package_of(error) in ("typer", "click"):  # exit codes and usage errors
                raise
            message = _message(error)
            if not message:
                console.print_lines(traceback.format_exc().splitlines())
                message = "this is a bug; please report it with the lines above"
            command = self.commands.get(ctx.invoked_subcommand or "")
            console.print(f"error: {_as_typed(message, command) if command else message}", style="red")
            raise typer.Exit(2) from None


def _package_of(error: Exception) -> str:
    return type(error).__module__.partition(".")[0]


def _message(error: Exception) -> str:
    """Return the message for an error of an input, the disk, the network or another library; "" for a bug."""
    text = " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, KineticsError) or not isinstance(error, OSError) or not error.errno:
        if isinstance(error, (KineticsError, ValueError, OSError, ImportError)):
            return text
        # Clients of the Hub and of stores have errors of their own.
        is_ours = _package_of(error) in (*sys.stdlib_module_names, "kinetics", "kinetics_tools")
        return "" if is_ours else f"{text}; {_ADVICE}"
    named = error.strerror if error.filename is None else f"{os.fsdecode(error.filename)}: {error.strerror}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{named}; make room and rerun the command"
    return f"{text}; {_ADVICE}" if error.filename is None else str(named)


def _as_typed(message: str, command: Any) -> str:
    """Return the message of a Python error with arguments named as options of `command`."""
    typed = {one.name: one.opts[0] for one in command.params if one.param_type_name == "option"}
    for one in command.params:
        if one.param_type_name == "argument" and one.name != "release":  # SOURCE of convert, DIRECTORY of export
            typed.setdefault("data_dir", one.name.upper())

    def replace(found: re.Match[str]) -> str:
        name, given, quoted, bare = found.groups()
        value = quoted or bare
        is_subject = message.startswith(" must be", found.end())
        if not given and "_" not in name and not is_subject:  # a word like others
            return found[0]
        return f"{typed[name]} {value}" if value and value != "True" else typed[name]

    # Paths and URLs may hold the same words.
    return re.sub(rf"(?<![\w/.?&-])({'|'.join(typed)})(=(?:'([^']*)'|([\w.+-]+))?)?(?![\w/-])", replace, message)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("kinetics-dataset"))
        raise typer.Exit


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
    pretty_exceptions_show_locals=False,  # one may be a token
)


@app.callback(epilog=options.examples("kinetics demo --out demo"))
def _kinetics(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Kinetics-400, 600, 700 and 700-2020 as a Hugging Face dataset."""


app.command(cls=_Command, epilog=demo.EPILOG)(demo.demo)
app.command(cls=_Command, epilog=download.EPILOG)(download.download)
app.command(cls=_Command, epilog=verify.EPILOG)(verify.verify)
app.command(cls=_Command, epilog=prepare.EPILOG)(prepare.prepare)
app.command(cls=_Command, epilog=push.EPILOG)(push.push)
app.command(cls=_Command, epilog=evaluate.EPILOG)(evaluate.evaluate)
app.command(cls=_Command, epilog=export.EPILOG)(export.export)
app.command(cls=_Command, epilog=convert.EPILOG)(convert.convert)
app.command(cls=_Command, epilog=report.EPILOG)(report.report)
app.command(cls=_Command, epilog=view.EPILOG)(view.view)
app.command(cls=_Command, epilog=classes.EPILOG)(classes.classes)
app.command(cls=_Command, epilog=labels.EPILOG)(labels.labels)
app.command(cls=_Command, epilog=infos.EPILOG)(infos.infos)
app.command(cls=_Command, epilog=doctor.EPILOG)(doctor.doctor)


class StderrHandler(logging.StreamHandler[Any]):
    """Handler that looks up `sys.stderr` for each line: a spinner or bar replaces it, and makes room for the line."""

    stream = property(lambda self: sys.stderr, lambda self, stream: None)


def main() -> None:
    """Run the command that `sys.argv` names: exit code 0, 1 for findings, 2 for an error, 130 for an interrupt."""
    logger = logging.getLogger("datasets.kinetics")
    logger.addHandler(StderrHandler())
    logger.propagate = False  # `datasets` writes past the display
    app()


if __name__ == "__main__":
    main()
