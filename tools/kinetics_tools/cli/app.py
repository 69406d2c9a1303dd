"""The `kinetics` command: arguments and printing, nothing else."""

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand, TyperGroup


def _without_types_of_flags(parameters: list[Any]) -> list[Any]:
    """The same, for a help page that does not say <bool> of what takes no value."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _as_typed(message: str, command: Any) -> str:
    """An error's message with the options that can be typed, where it has the arguments of a function."""
    names = "|".join(parameter.name for parameter in command.params if parameter.param_type_name == "option")

    def typed(found: re.Match[str]) -> str:
        name, given, quoted, bare = found.groups()
        value = quoted or bare
        if not given and "_" not in name:  # a word like others
            return found[0]
        return f"{_option(name)} {value}" if value else _option(name)

    # Not in paths and URLs.
    return re.sub(rf"(?<![\w/.?&-])({names})(=(?:'([^']*)'|([\w.+-]+))?)?(?![\w/-])", typed, message)


class _Group(TyperGroup):
    """Turns what a verb raises into one line and an exit code, before typer makes a traceback of it."""

    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types_of_flags(super().get_params(ctx))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise
        except (ValueError, OSError, ImportError) as error:
            message = " ".join(str(error).split())
            command = self.commands.get(ctx.invoked_subcommand or "")
            message = _as_typed(message, command) if command else message
            Console(stderr=True, soft_wrap=True).print(f"error: {message}", style="red", markup=False, highlight=False)
            raise typer.Exit(2) from None
        except KeyboardInterrupt as interrupt:
            message = str(interrupt) or "interrupted"  # a verb says how to go on
            Console(stderr=True, soft_wrap=True).print(message, markup=False, highlight=False)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # one may be a token
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("kinetics-dataset"))
        raise typer.Exit


def _examples(*commands: str, more: str = "") -> str:
    """The end of a help page. Each command is a paragraph, and fits a terminal of 80 columns: it can be copied."""
    return "\n\n".join(["Examples:", *(f"[bold]{command}[/bold]" for command in commands), more]).rstrip()


@app.callback(epilog=_examples("kinetics demo --out demo"))
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Kinetics-400, 600, 700 and 700-2020 as a Hugging Face dataset."""


@app.command(cls=_Command, epilog=_examples("kinetics demo --out /tmp/kinetics-demo"))
def demo(
    out: Annotated[Path, typer.Option(help="Folder to make; new, empty, or an earlier demo.")] = Path("demo"),
) -> None:
    """Make a small sample of every release, without downloads, and walk through loading and reading it."""
    from kinetics_tools.demo import run_demo

    run_demo(out)


_Splits = Annotated[
    list[str] | None,
    typer.Option(help="Of train, validation (val), test; separated by commas (default: all).", metavar="SPLIT,..."),
]
_Classes = Annotated[
    list[str] | None, typer.Option(help="Labels, separated by commas (default: all).", metavar="CLASS,...")
]
_MaxPerClass = Annotated[int | None, typer.Option(help="At most so many clips of each class.")]
_Seed = Annotated[int, typer.Option(help="With --max-per-class: which clips they are.")]
_Annotations = Annotated[
    str | None, typer.Option(help="Folder, file or URL of the annotations (default: the published ones).")
]


_Profile = Annotated[str, typer.Option(help="train: encoded for fast sampling; source: the clips' own bytes.")]
_ShortSide = Annotated[int | None, typer.Option(help="train: pixels at most of the short side (default: 256).")]
_MaxFps = Annotated[float | None, typer.Option(help="train: frames a second at most (default: 30).")]
_Crf = Annotated[float | None, typer.Option(help="train: quality, lower is better (default: 23).")]
_Preset = Annotated[str | None, typer.Option(help="train: preset of x264, faster or smaller (default: veryfast).")]
_Audio = Annotated[str | None, typer.Option(help="train: copy, aac or none (default: copy).")]
_ClipsPerShard = Annotated[int, typer.Option(help="Clips in a file at most.")]
_Order = Annotated[int, typer.Option(help="Of the order of clips.")]


def _items(values: list[str] | None) -> list[str] | None:
    """Of an option that is given several times, or once with commas, or both."""
    return [item.strip() for value in values for item in value.split(",")] if values else None


def _splits(values: list[str] | None) -> list[str] | None:
    """As `_items`, of splits in any spelling."""
    from kinetics_tools.releases import find_split

    items = _items(values)
    return items and [find_split(item) for item in items]


def _encoding(**options: Any) -> Any:
    """The Encoding that was asked for; None where nothing of one was."""
    from kinetics_tools.media import Encoding

    given = _given(**options)
    return Encoding(**given) if given else None


def _given(**options: Any) -> dict[str, Any]:
    """Those that were given: of the others the library knows the defaults."""
    return {name: value for name, value in options.items() if value is not None}


@app.command(
    cls=_Command,
    epilog=_examples(
        "kinetics download 400 --out k400 --split validation --dry-run",
        "kinetics download 400 --out k400 --split validation --classes zumba",
        "kinetics download 400 --out k400 --source youtube --cookies cookies.txt",
        more="The environment variable KINETICS_MIRROR is the URL of another mirror of the archives.",
    ),
)
def download(
    release: Annotated[str, typer.Argument(help="400, 600, 700 or 700-2020.")],
    out: Annotated[Path, typer.Option(help="Folder of the clips; new, or from an earlier run, which goes on.")],
    split: _Splits = None,
    classes: _Classes = None,
    max_per_class: _MaxPerClass = None,
    seed: _Seed = 0,
    annotations: _Annotations = None,
    source: Annotated[
        str, typer.Option(help="archives, or youtube for single videos: of each its segment alone.")
    ] = "archives",
    workers: Annotated[int, typer.Option(help="How many archives or videos at once.")] = 4,
    rate_limit: Annotated[str | None, typer.Option(help="Bytes a second over all workers, such as 10MB.")] = None,
    keep_archives: Annotated[bool, typer.Option("--keep-archives", help="Leave the archives in OUT/archives.")] = False,
    formats: Annotated[
        str | None,
        typer.Option(
            help=r"youtube: which formats, as yt-dlp's --format, such as 'bv*\[height<=360]+ba/b' "
            "(default: the best of up to 720 rows)."
        ),
    ] = None,
    cookies: Annotated[Path | None, typer.Option(help="youtube: file of cookies, in Netscape's format.")] = None,
    proxy: Annotated[str | None, typer.Option(help="youtube: URL of a proxy, such as socks5://127.0.0.1:1080.")] = None,
    sleep: Annotated[float | None, typer.Option(help="youtube: seconds before each request for a page.")] = None,
    url_template: Annotated[
        str | None,
        typer.Option(help="youtube: page of a video, such as https://example.org/{youtube_id} (default: YouTube's)."),
    ] = None,
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="youtube: also ask again for what was removed, private and so on.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be fetched, and write nothing.")] = False,
) -> None:
    """Fetch clips into OUT/<split>/<class>/. Exit code 1: some could not be fetched; the same command goes on."""
    from kinetics_tools import download
    from kinetics_tools.downloading import YouTubeOptions

    youtube = _given(formats=formats, cookies=cookies, proxy=proxy, sleep_seconds=sleep, url_template=url_template)
    report = download(
        release,
        out,
        splits=_splits(split),
        classes=_items(classes),
        max_clips_per_class=max_per_class,
        seed=seed,
        annotations=annotations,
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


@app.command(
    cls=_Command,
    epilog=_examples(
        "kinetics verify k400 400 --csv clips.csv --overlap 700:train",
        'kinetics verify k400 400 --split validation --classes "abseiling,zumba"',
    ),
)
def verify(
    directory: Annotated[Path, typer.Argument(help="Folder with train, val or test.")],
    release: Annotated[str, typer.Argument(help="400, 600, 700 or 700-2020.")],
    split: _Splits = None,
    classes: _Classes = None,
    max_per_class: _MaxPerClass = None,
    seed: _Seed = 0,
    annotations: Annotated[
        str | None,
        typer.Option(help="Folder, file or URL of the annotations (default: those in DIRECTORY, else the published)."),
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Decode every frame, and compare SHA-256 with the ledger's.")
    ] = False,
    overlap: Annotated[
        list[str] | None,
        typer.Option(
            help="Also list the videos shared with RELEASE:SPLIT, or RELEASE:SPLIT=PATH of annotations.",
            metavar="RELEASE:SPLIT",
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(help="How many processes; one a core without.")] = None,
    report: Annotated[Path, typer.Option(help="File for the report as JSON.")] = Path("report.json"),
    csv: Annotated[Path | None, typer.Option(help="File for a row for each clip.")] = None,
) -> None:
    """Hold a tree of clips against the annotations. Exit code 1: a clip is missing, misplaced or no good."""
    from kinetics_tools import verify

    found = verify(
        directory,
        release,
        splits=_splits(split),
        classes=_items(classes),
        max_clips_per_class=max_per_class,
        seed=seed,
        annotations=annotations,
        deep=deep,
        overlaps=overlap or (),
        workers=workers,
        report_path=report,
        csv_path=csv,
        console=Console(stderr=True, soft_wrap=True, markup=False, highlight=False),
    )
    Console(highlight=False).print(found.table())
    typer.echo(f"wrote {' and '.join(str(path) for path in (report, csv) if path)}")
    typer.echo("\n".join(found.lines()))
    raise typer.Exit(0 if found.is_complete else 1)


@app.command(cls=_Command, epilog=_examples("kinetics prepare 700 --data-dir k700 --out kinetics --split validation"))
def prepare(
    release: Annotated[str, typer.Argument(help="400, 600, 700 or 700-2020.")],
    data_dir: Annotated[
        str, typer.Option(help="Folder with train, val or test, as `kinetics download` makes it, or a URL of one.")
    ],
    out: Annotated[str, typer.Option(help="Folder to write to, or a URL of one; an earlier run's is gone on with.")],
    split: _Splits = None,
    classes: _Classes = None,
    annotations: Annotated[
        str | None,
        typer.Option(help="Folder, file or URL of the annotations (default: those in DATA_DIR, else the published)."),
    ] = None,
    profile: _Profile = "train",
    short_side: _ShortSide = None,
    max_fps: _MaxFps = None,
    crf: _Crf = None,
    preset: _Preset = None,
    audio: _Audio = None,
    clips_per_shard: _ClipsPerShard = 512,
    seed: _Order = 0,
    workers: Annotated[int | None, typer.Option(help="How many files at once; one a core without.")] = None,
    engine: Annotated[str, typer.Option(help="local or ray.")] = "local",
    address: Annotated[str | None, typer.Option(help="ray: of the cluster.")] = None,
    shards: Annotated[str | None, typer.Option(help="FIRST:END, only these files of the split, END left out.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Try a few clips, say how much and how long.")] = False,
) -> None:
    """Make Parquet files that plain `datasets` loads and streams. Exit code 1: some are still to be made."""
    from kinetics_tools.preparation.run import parse_shards, prepare

    report = prepare(
        release,
        data_dir,
        out,
        splits=_splits(split),
        classes=_items(classes),
        annotations=annotations,
        profile=profile,
        encoding=_encoding(short_side=short_side, max_fps=max_fps, crf=crf, preset=preset, audio=audio),
        clips_per_shard=clips_per_shard,
        seed=seed,
        workers=workers,
        engine=engine,
        address=address,
        shards=parse_shards(shards) if shards else None,
        dry_run=dry_run,
    )
    if not dry_run:
        Console(highlight=False).print(report.table())
    typer.echo("\n".join(report.lines()))
    raise typer.Exit(0 if dry_run or shards or report.is_complete else 1)


# What only a stream takes of the options of push.
_OF_STREAM = ("data_dir", "max_disk", "classes", "profile", "short_side", "max_fps", "crf", "preset", "audio",
              "clips_per_shard", "seed")  # fmt: skip


def _refuse_without(switches: str, context: typer.Context, names: Sequence[str]) -> None:
    """Raises ValueError where an option of these was given, which without others would do nothing."""
    sources = {name: context.get_parameter_source(name) for name in names}
    if given := [_option(name) for name, source in sources.items() if source and source.name != "DEFAULT"]:
        raise ValueError(f"{', '.join(given)} without {switches}: what is prepared is pushed as it is; leave it out")


@app.command(
    cls=_Command,
    epilog=_examples(
        "kinetics push kinetics user/kinetics --private --dry-run",
        "kinetics push kinetics hf://buckets/user/clips",
        "kinetics push kinetics s3://bucket/kinetics",
    ),
)
def push(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="Folder that `kinetics prepare` wrote.")],
    target: Annotated[
        str,
        typer.Argument(
            help="Repository, USER/NAME or your own NAME; or the URL of a bucket or folder.", metavar="REPO_ID"
        ),
    ],
    split: _Splits = None,
    release: Annotated[
        list[str] | None,
        typer.Option(help="Of 400, 600, 700, 700-2020; separated by commas (default: all).", metavar="RELEASE,..."),
    ] = None,
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="Who sees the repository (default: as it is).")
    ] = None,
    gated: Annotated[str | None, typer.Option(help="auto, manual or no: whether readers must ask first.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch to push to (default: main).")] = None,
    create_pr: Annotated[bool, typer.Option("--create-pr", help="Open a pull request instead.")] = False,
    commit_message: Annotated[str | None, typer.Option(help="Of the commit that readers see.")] = None,
    token: Annotated[str | None, typer.Option(help="That may write there (default: HF_TOKEN or `hf auth login`).")] = (
        None
    ),
    workers: Annotated[int, typer.Option(help="How many files at once.")] = 5,
    delete_local: Annotated[bool, typer.Option("--delete-local", help="Remove the files here when all is there.")] = (
        False
    ),
    verify: Annotated[bool, typer.Option("--verify", help="Read samples back and compare.")] = False,
    allow_partial: Annotated[bool, typer.Option("--allow-partial", help="Also splits that lack files.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also into a repository that holds something else.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent, and send nothing.")] = False,
    annotations_only: Annotated[
        bool, typer.Option("--annotations-only", help="Keys, labels, segments and availability, without any video.")
    ] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Prepare on the way: make files in OUT, send and remove them. One release.")
    ] = False,
    data_dir: Annotated[str | None, typer.Option(help="stream: folder of the clips, or a URL of one.")] = None,
    max_disk: Annotated[str, typer.Option(help="stream: how much of OUT may be taken.")] = "20GB",
    classes: _Classes = None,
    annotations: Annotated[
        str | None, typer.Option(help="stream, annotations-only: folder, file or URL of the annotations.")
    ] = None,
    profile: _Profile = "train",
    short_side: _ShortSide = None,
    max_fps: _MaxFps = None,
    crf: _Crf = None,
    preset: _Preset = None,
    audio: _Audio = None,
    clips_per_shard: _ClipsPerShard = 512,
    seed: _Order = 0,
) -> None:
    """Publish prepared clips, all of them or nothing for whoever reads. The same command goes on where it stopped.

    The options from --data-dir on are of --stream, and mean there what they mean to `kinetics prepare`.
    """
    from kinetics_tools import push
    from kinetics_tools.preparation.options import PrepareOptions
    from kinetics_tools.publication.streaming import stream_of

    if not stream:
        _refuse_without("--stream", context, _OF_STREAM)
    if not (stream or annotations_only):
        _refuse_without("--stream or --annotations-only", context, ["annotations"])
    made_as: Any = None
    if stream:
        encoding = _encoding(short_side=short_side, max_fps=max_fps, crf=crf, preset=preset, audio=audio)
        made_as = stream_of(
            _items(release),
            _splits(split),
            classes=_items(classes),
            annotations=annotations,
            data_dir=data_dir,
            max_disk=max_disk,
            options=PrepareOptions(profile, encoding, clips_per_shard, seed),
        )
    report = push(
        out,
        target,
        releases=None if stream else _items(release),
        splits=None if stream else _splits(split),
        private=private,
        gated=gated,
        revision=revision,
        create_pr=create_pr,
        commit_message=commit_message,
        token=token,
        workers=workers,
        delete_local=delete_local,
        verify=verify,
        allow_partial=allow_partial,
        force=force,
        dry_run=dry_run,
        annotations_only=annotations_only,
        annotations=annotations,
        stream=made_as,
    )
    typer.echo("\n".join(report.lines()))


@app.command(
    cls=_Command,
    epilog=_examples(
        "kinetics evaluate submission.json 700 --annotations k700/annotations",
        "kinetics evaluate scores.parquet 400 --split val --report figures.json",
    ),
)
def evaluate(
    predictions: Annotated[Path, typer.Argument(help="A challenge's submission (.json), or scores (.csv, .parquet).")],
    release: Annotated[str, typer.Argument(help="400, 600, 700 or 700-2020.")],
    split: Annotated[str, typer.Option(help="train, validation (val) or test.")] = "validation",
    annotations: _Annotations = None,
    report: Annotated[Path | None, typer.Option(help="File for all figures as JSON.")] = None,
    confusion: Annotated[Path | None, typer.Option(help="File for the confusion of classes as CSV.")] = None,
) -> None:
    """Score predictions: top-1, top-5, their mean error, each class. Exit code 1: some are missing or bad.

    A submission is {"results": {video id: [{"label", "score"}, ...]}}. CSV and Parquet have the columns youtube_id,
    label and score, or youtube_id and one for each class; Parquet also youtube_id and scores, a list in label order.
    With time_start and time_end they are for clips, else for videos.
    """
    from kinetics_tools.evaluation import evaluate, write_confusion
    from kinetics_tools.io.atomic import check_target

    for path in filter(None, (report, confusion)):
        check_target(path)
    found = evaluate(predictions, release, split=split, annotations=annotations)
    if report is not None:
        report.write_text(json.dumps(found.as_dict(), indent=2) + "\n", encoding="utf-8")
    if confusion is not None:
        write_confusion(found, confusion)
    typer.echo("\n".join(found.lines()))
    raise typer.Exit(0 if found.is_complete else 1)


@app.command(cls=_Command, epilog=_examples("kinetics infos", "kinetics infos infos.json --repo user/kinetics"))
def infos(
    path: Annotated[Path, typer.Argument(help="File to write; one of more releases is not replaced.")] = Path(
        "dataset_infos.json"
    ),
    repo: Annotated[str | None, typer.Option(help="Of what a repository holds, USER/NAME, with its counts.")] = None,
    token: Annotated[str | None, typer.Option(help="repo: where it is private.")] = None,
) -> None:
    """Export what kinetics.py declares: features, classes and splits of every release; or what a repository holds."""
    from kinetics_tools.publication import published_infos, write_infos

    if repo is None:
        write_infos(path)
    else:
        write_infos(path, published_infos(repo, token=token))
    typer.echo(f"Wrote {path}")


def main() -> None:
    """Run the command that `sys.argv` names: exit code 0, 2 for an error, 130 for an interrupt."""
    app()


if __name__ == "__main__":
    main()
