"""`kinetics push`."""

from pathlib import Path
from typing import Annotated

import typer

import kinetics_tools
from kinetics_tools.cli import options
from kinetics_tools.run import PlainConsole

EPILOG = options.examples(
    "kinetics push prepared user/kinetics --private --dry-run",
    "kinetics push prepared hf://buckets/user/clips",
    "kinetics push prepared s3://bucket/kinetics",
    "kinetics push shards user/kinetics --stream --release 700 --data-dir k700",
    more="--classes and the options under Encoding need --stream; see `kinetics prepare --help`.",
)


def push(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(help="Directory that `kinetics prepare` wrote.")],
    target: options.RepoId,
    splits: options.Splits = None,
    releases: options.Releases = None,
    classes: options.Classes = None,
    annotations: options.StreamAnnotations = None,
    force_release: options.StreamForceRelease = False,
    annotations_only: options.AnnotationsOnly = False,
    stream: options.Stream = False,
    data_dir: options.StreamDataDir = None,
    max_disk: options.MaxDisk = "20GB",
    profile: options.Profile = "train",
    short_side: options.ShortSide = None,
    max_fps: options.MaxFps = None,
    crf: options.Crf = None,
    preset: options.Preset = None,
    audio: options.Audio = None,
    clips_per_shard: options.ClipsPerShard = 512,
    seed: options.OrderSeed = 0,
    workers: options.Uploads = 5,
    private: options.Private = None,
    gated: options.Gated = None,
    revision: options.Revision = None,
    create_pr: options.CreatePr = False,
    commit_message: options.CommitMessage = None,
    token: options.Token = None,
    delete_local: options.DeleteLocal = False,
    no_pictures: options.NoPictures = False,
    verify: options.ReadBack = False,
    allow_partial: options.AllowPartial = False,
    allow_mixed_versions: options.AllowMixedVersions = False,
    force: options.Force = False,
    dry_run: options.PushDryRun = False,
) -> None:
    """Publish prepared clips atomically: readers see the old version or the new one. Rerun the command to resume."""
    console = PlainConsole()
    report = kinetics_tools.push(out, target, console=console, **options.push_arguments(context))
    console.print_lines(report.lines())
