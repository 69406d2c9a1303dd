"""`kinetics prepare`."""

from typing import Annotated, Any

import kinetics_tools
from kinetics_tools.cli import options
from kinetics_tools.cli.options import OUTPUT, PARALLELISM, SOURCE, flag, option
from kinetics_tools.run import PlainConsole

EPILOG = options.examples("kinetics prepare 700 --data-dir k700 --out prepared --split validation")


def prepare(
    release: options.Release,
    data_dir: Annotated[str, option(SOURCE, "Clip directory, as from `kinetics download`, or URL.")],
    out: Annotated[str, option(OUTPUT, "Output directory or URL. An unfinished run there is resumed.")],
    splits: options.Splits = None,
    classes: options.Classes = None,
    subset: options.Subset = None,
    exclude: options.Exclude = None,
    exclude_by: options.ExcludeBy = "video",
    annotations: options.LocalAnnotations = None,
    force_release: options.ForceRelease = False,
    profile: options.Profile = "train",
    short_side: options.ShortSide = None,
    max_fps: options.MaxFps = None,
    crf: options.Crf = None,
    preset: options.Preset = None,
    audio: options.Audio = None,
    audio_column: options.AudioColumn = None,
    poster: options.Poster = False,
    clips_per_shard: options.ClipsPerShard = 512,
    seed: options.OrderSeed = 0,
    workers: options.Workers = None,
    engine: Annotated[str, option(PARALLELISM, "local, or ray for a cluster.")] = "local",
    address: Annotated[str | None, option(PARALLELISM, "With ray: cluster address.", "that of this machine")] = None,
    shards: options.Shards = None,
    allow_mixed_versions: options.AllowMixedVersions = False,
    dry_run: Annotated[bool, flag(OUTPUT, "--dry-run", "Estimate size and time from a few clips.")] = False,
) -> None:
    """Write Parquet shards that plain `datasets` loads and streams. Exits with 1 if shards are missing."""
    choice: Any = {"splits": splits, "classes": classes, "subset": subset, "exclude": exclude, "exclude_by": exclude_by}
    choice |= {"annotations": annotations, "force_release": force_release, "shards": shards}
    choice |= {"engine": engine, "address": address, "audio_column": audio_column, "poster": poster}
    report = kinetics_tools.prepare(
        release,
        data_dir,
        out,
        **choice,
        profile=profile,
        encoding=options.encoding_of(short_side=short_side, max_fps=max_fps, crf=crf, preset=preset, audio=audio),
        clips_per_shard=clips_per_shard,
        seed=seed,
        workers=workers,
        dry_run=dry_run,
        allow_mixed_versions=allow_mixed_versions,
    )
    if not dry_run:
        PlainConsole().print(report.table())
    options.finish(report.lines(), is_complete=bool(dry_run or (shards and not report.failed) or report.is_complete))
