"""Options of the verbs, and the parsing of their values."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from kinetics_tools.run import PlainConsole

# Panels of the help pages.
SELECTION, SOURCE, ENCODING, PARALLELISM, OUTPUT = "Selection", "Source", "Encoding", "Parallelism", "Output"

if TYPE_CHECKING:
    from kinetics_tools.downloading import YouTubeOptions
    from kinetics_tools.media import Encoding


def examples(*commands: str, more: str = "") -> str:
    """Return the end of a help page. Each command is a paragraph within 80 columns, so that it can be copied."""
    return "\n\n".join(["Examples:", *(f"[bold]{command}[/bold]" for command in commands), more]).rstrip()


def option(panel: str, help: str, default: str | bool = True, *names: str, **more: Any) -> Any:
    """Return an option of typer in a panel of the help page. `default` is shown instead of a default of None."""
    return typer.Option(*names, help=help, show_default=default, rich_help_panel=panel, **more)


def flag(panel: str, name: str, help: str) -> Any:
    """Return an option of typer that takes no value."""
    return typer.Option(name, help=help, rich_help_panel=panel)


def split_commas(values: list[str] | None) -> list[str] | None:
    """Return the items of an option that may be repeated and may hold several items, separated by commas."""
    from kinetics_tools.text import as_names

    return as_names(values) or None


def parse_splits(values: list[str] | None) -> list[str] | None:
    """Return the names of splits in any spelling, separated by commas."""
    from kinetics_tools.releases import find_split

    return [find_split(item) for item in split_commas(values) or []] or None


def parse_range(text: str | None) -> Any:
    """Return the range (start, stop) in "START:STOP", None without a text."""
    from kinetics_tools.preparation import parse_shards

    return parse_shards(text) if text else None


def release_first(release: str, other: Path) -> tuple[str, Path]:
    """Return a release and a path in this order. Until 0.2, commands also accept them in the order of 0.1."""
    from kinetics_tools.releases import RELEASES

    if release in RELEASES or str(other) not in RELEASES:
        return release, other
    typer.echo("note: the release comes first; the other order will be an error in 0.2", err=True)
    return str(other), Path(release)


def given(**options: Any) -> dict[str, Any]:
    """Return the options that have a value; the library knows the defaults of the others."""
    return {name: value for name, value in options.items() if value is not None}


def encoding_of(**options: Any) -> "Encoding | None":
    """Return the encoding with the given options, None if there are none."""
    from kinetics_tools.media import Encoding

    return Encoding(**chosen) if (chosen := given(**options)) else None


def youtube_of(**options: Any) -> "YouTubeOptions | None":
    """Return the YouTube settings with the given options, None if there are none."""
    from kinetics_tools.downloading import YouTubeOptions

    return YouTubeOptions(**chosen) if (chosen := given(**options)) else None


def refuse_without(switches: str, context: typer.Context, names: Sequence[str]) -> None:
    """Raise ValueError if one of these options was given, which has no effect without the `switches`."""
    options = {one.name: one.opts[0] for one in context.command.params}
    sources = {name: context.get_parameter_source(name) for name in names}
    if typed := [options[name] for name, source in sources.items() if source and source.name != "DEFAULT"]:
        raise ValueError(f"{', '.join(typed)} without {switches}: prepared clips are pushed unchanged; omit it")


def finish(lines: Iterable[str], *, is_complete: bool) -> NoReturn:
    """Print the lines of a report and end the command: exit code 0, or 1 if the report is not complete."""
    PlainConsole().print_lines(lines)
    raise typer.Exit(0 if is_complete else 1)


# ---- Several verbs ------------------------------------------------------------------------------------------

_ALL_SPLITS = "Splits: train, validation (val), test."
_SPLITS: Any = {"metavar": "SPLIT,...", "callback": parse_splits}
_CLASSES: Any = {"metavar": "CLASS,...", "callback": split_commas}
_SUBSET = "Subset, such as mini-200, or file of classes or clips."
_EXCLUDE = "Exclude the videos of these splits; RELEASE:SPLIT=PATH sets their annotations."
_FORCE_RELEASE = "Take clips that fit another release better; unknown classes are skipped."
_MAX_PER_CLASS = "Maximum number of clips per class."
_PUBLISHED = "the published ones"
_BESIDE = "those beside the clips, else the published ones"

RELEASE_HELP = "Release: 400, 600, 700 or 700-2020."
Release = Annotated[str, typer.Argument(help=RELEASE_HELP)]
Splits = Annotated[list[str] | None, option(SELECTION, _ALL_SPLITS, "all", "--split", **_SPLITS)]
Classes = Annotated[list[str] | None, option(SELECTION, "Class labels.", "all", **_CLASSES)]
MaxPerClass = Annotated[int | None, option(SELECTION, _MAX_PER_CLASS, "no limit", "--max-per-class")]
SampleSeed = Annotated[int, option(SELECTION, "Seed for the choice of clips with --max-per-class.")]
Subset = Annotated[str | None, option(SELECTION, _SUBSET, "all")]
Exclude = Annotated[list[str] | None, option(SELECTION, _EXCLUDE, "none", metavar="RELEASE:SPLIT,...")]
ExcludeBy = Annotated[str, option(SELECTION, "With --exclude: video, or seconds for overlapping segments only.")]
Annotations = Annotated[str | None, option(SELECTION, "Annotation directory, file or URL.", _PUBLISHED)]
LocalAnnotations = Annotated[str | None, option(SELECTION, "Annotation directory, file or URL.", _BESIDE)]
ForceRelease = Annotated[bool, flag(SELECTION, "--force-release", _FORCE_RELEASE)]
Workers = Annotated[int | None, option(PARALLELISM, "Number of parallel worker processes.", "one per core")]

# ---- How clips are prepared: prepare, push ------------------------------------------------------------------

_SHARDS = "Half-open range START:STOP of the shards of one split to write, e.g. 0:16."
_MIXED_VERSIONS = "Mix shards made with several versions of av, pyarrow or this package."
_AUDIO_COLUMN = "Sample rate in Hz of a column with the sound, mono FLAC, e.g. 16000."
_PRESET = "With profile train: x264 preset; slower ones give smaller files."

Profile = Annotated[str, option(ENCODING, "train: re-encode for fast sampling; source: keep the original bytes.")]
ShortSide = Annotated[int | None, option(ENCODING, "With profile train: maximum short side in pixels.", "256")]
MaxFps = Annotated[float | None, option(ENCODING, "With profile train: maximum frames per second.", "30")]
Crf = Annotated[float | None, option(ENCODING, "With profile train: x264 quality (CRF); lower is better.", "23")]
Preset = Annotated[str | None, option(ENCODING, _PRESET, "veryfast")]
Audio = Annotated[str | None, option(ENCODING, "With profile train: copy, aac or none.", "copy")]
Poster = Annotated[bool, flag(ENCODING, "--poster", "Add a first column with a picture of each clip, for viewers.")]
AudioColumn = Annotated[int | None, option(ENCODING, _AUDIO_COLUMN, "no column")]
ClipsPerShard = Annotated[int, option(ENCODING, "Maximum number of clips in a shard.")]
OrderSeed = Annotated[int, option(ENCODING, "Seed for the shuffle order of clips.")]
Shards = Annotated[str | None, option(PARALLELISM, _SHARDS, "all", callback=parse_range)]
AllowMixedVersions = Annotated[bool, flag(OUTPUT, "--allow-mixed-versions", _MIXED_VERSIONS)]

# ---- download -----------------------------------------------------------------------------------------------

_FORMATS = r"With youtube: formats to choose from, as in yt-dlp, e.g. 'bv*\[height<=360]+ba/b'."
_RATE_LIMIT = "Maximum bytes per second of all workers, e.g. 10MB."
_SLEEP = "With youtube: seconds to wait before each page request."
_URL_TEMPLATE = "With youtube: URL of a video's page, e.g. https://example.org/{youtube_id}."
_RETRY_ERRORS = "With youtube: also retry videos that failed permanently (removed, private, ...)."

Source = Annotated[str, option(SOURCE, "archives, or youtube to download only the annotated segments.")]
RateLimit = Annotated[str | None, option(PARALLELISM, _RATE_LIMIT, "no limit")]
Formats = Annotated[str | None, option(SOURCE, _FORMATS, "the best up to 720 pixels high")]
Cookies = Annotated[Path | None, option(SOURCE, "With youtube: cookie file in Netscape format.")]
Proxy = Annotated[str | None, option(SOURCE, "With youtube: proxy URL, e.g. socks5://127.0.0.1:1080.")]
Sleep = Annotated[float | None, option(SOURCE, _SLEEP, "0", "--sleep")]
UrlTemplate = Annotated[str | None, option(SOURCE, _URL_TEMPLATE, "YouTube's")]
RetryErrors = Annotated[bool, flag(SOURCE, "--retry-errors", _RETRY_ERRORS)]

# ---- push ---------------------------------------------------------------------------------------------------

_REPO_ID = "Repository USER/NAME or NAME, or URL of a bucket or directory."
_ALL_RELEASES = "Releases: 400, 600, 700, 700-2020."
_RELEASES: Any = {"metavar": "RELEASE,...", "callback": split_commas}
_VISIBILITY = "Visibility of the repository. A new one is private unless --public."
_STREAM = "Prepare shards during the upload, and delete each after it. Needs one --release."
_NO_PICTURES = "Publish no chart of classes and no frames of clips with the card."
_DRY_RUN = "Print the pending changes; publish nothing."
_ANNOTATIONS_ONLY = "Publish keys, labels and availability without videos."

RepoId = Annotated[str, typer.Argument(help=_REPO_ID, metavar="REPO_ID")]
Releases = Annotated[list[str] | None, option(SELECTION, _ALL_RELEASES, "all", "--release", **_RELEASES)]
Private = Annotated[bool | None, option(OUTPUT, _VISIBILITY, "unchanged", "--private/--public")]
Gated = Annotated[str | None, option(OUTPUT, "Gate with auto or manual approval; no removes it.", "unchanged")]
Revision = Annotated[str | None, option(OUTPUT, "Branch to push to.", "main")]
CreatePr = Annotated[bool, flag(OUTPUT, "--create-pr", "Open a pull request instead of committing to the branch.")]
CommitMessage = Annotated[str | None, option(OUTPUT, "Message of the last commit.", "a summary")]
Token = Annotated[str | None, option(OUTPUT, "Hub token with write access.", "HF_TOKEN or `hf auth login`")]
DeleteLocal = Annotated[bool, flag(OUTPUT, "--delete-local", "Delete the local shards when all are published.")]
NoPictures = Annotated[bool, flag(OUTPUT, "--no-pictures", _NO_PICTURES)]
ReadBack = Annotated[bool, flag(OUTPUT, "--verify", "Read samples back and compare them.")]
AllowPartial = Annotated[bool, flag(OUTPUT, "--allow-partial", "Publish splits with missing shards, too.")]
Force = Annotated[bool, flag(OUTPUT, "--force", "Push even if the repository has other content.")]
Uploads = Annotated[int, option(PARALLELISM, "Number of parallel uploads.")]
PushDryRun = Annotated[bool, flag(OUTPUT, "--dry-run", _DRY_RUN)]
AnnotationsOnly = Annotated[bool, flag(SOURCE, "--annotations-only", _ANNOTATIONS_ONLY)]
Stream = Annotated[bool, flag(SOURCE, "--stream", _STREAM)]
StreamForceRelease = Annotated[bool, flag(SELECTION, "--force-release", f"With --stream: {_FORCE_RELEASE.lower()}")]
StreamDataDir = Annotated[str | None, option(SOURCE, "With --stream: clip directory or URL.")]
MaxDisk = Annotated[str, option(SOURCE, "With --stream: maximum disk space for shards.")]
StreamAnnotations = Annotated[str | None, option(SELECTION, "With --stream, --annotations-only: annotations.", _BESIDE)]

_ENCODING = ("short_side", "max_fps", "crf", "preset", "audio")
_STREAM_ONLY = ("data_dir", "max_disk", "classes", "force_release", "profile", *_ENCODING, "clips_per_shard", "seed")


def push_arguments(context: typer.Context) -> dict[str, Any]:
    """Return the keyword arguments of `kinetics_tools.push` for the options that were typed."""
    typed = dict(context.params)
    if not typed["stream"]:
        refuse_without("--stream", context, _STREAM_ONLY)
        if not typed["annotations_only"]:
            refuse_without("--stream or --annotations-only", context, ["annotations"])
    passed = {name: value for name, value in typed.items() if name not in ("out", "target", "stream", *_STREAM_ONLY)}
    passed["pictures"] = not passed.pop("no_pictures")
    if not typed["stream"]:
        return passed

    from kinetics_tools.preparation.options import PrepareOptions
    from kinetics_tools.publication.streaming import stream_of

    encoding = encoding_of(**{name: typed[name] for name in _ENCODING})
    stream = stream_of(
        passed.pop("releases"),
        passed.pop("splits"),
        **{name: typed[name] for name in ("classes", "annotations", "force_release", "data_dir", "max_disk")},
        options=PrepareOptions(typed["profile"], encoding, typed["clips_per_shard"], typed["seed"]),
    )
    return {**passed, "stream": stream}
