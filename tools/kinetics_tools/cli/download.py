"""`kinetics download`."""

from pathlib import Path
from typing import Annotated, Any

import kinetics_tools
from kinetics_tools.cli import options
from kinetics_tools.cli.options import OUTPUT, PARALLELISM, flag, option

EPILOG = options.examples(
    "kinetics download 400 --out k400 --split validation --dry-run",
    "kinetics download 400 --out k400 --split validation --classes zumba",
    "kinetics download 400 --out k400 --source youtube --cookies cookies.txt",
    more="The environment variable KINETICS_MIRROR sets the URL of another mirror of the archives.",
)


def download(
    release: options.Release,
    out: Annotated[Path, option(OUTPUT, "Output directory. An unfinished download there is resumed.")],
    splits: options.Splits = None,
    classes: options.Classes = None,
    subset: options.Subset = None,
    exclude: options.Exclude = None,
    exclude_by: options.ExcludeBy = "video",
    max_clips_per_class: options.MaxPerClass = None,
    seed: options.SampleSeed = 0,
    annotations: options.Annotations = None,
    source: options.Source = "archives",
    workers: Annotated[int, option(PARALLELISM, "Number of parallel downloads of archives or videos.")] = 4,
    rate_limit: options.RateLimit = None,
    keep_archives: Annotated[bool, flag(OUTPUT, "--keep-archives", "Keep the archives in archives/.")] = False,
    formats: options.Formats = None,
    cookies: options.Cookies = None,
    proxy: options.Proxy = None,
    sleep_seconds: options.Sleep = None,
    url_template: options.UrlTemplate = None,
    retry_errors: options.RetryErrors = False,
    dry_run: Annotated[bool, flag(OUTPUT, "--dry-run", "Print the pending downloads; write nothing.")] = False,
) -> None:
    """Download clips as <split>/<class>/<clip>.mp4. Exits with 1 if any failed; rerun the same command to resume."""
    choice: Any = {"splits": splits, "classes": classes, "subset": subset, "exclude": exclude, "exclude_by": exclude_by}
    report = kinetics_tools.download(
        release,
        out,
        **choice,
        max_clips_per_class=max_clips_per_class,
        seed=seed,
        annotations=annotations,
        source=source,
        workers=workers,
        rate_limit=rate_limit,
        keep_archives=keep_archives,
        youtube=options.youtube_of(
            formats=formats, cookies=cookies, proxy=proxy, sleep_seconds=sleep_seconds, url_template=url_template
        ),
        retry_errors=retry_errors,
        dry_run=dry_run,
    )
    options.finish(report.lines(), is_complete=dry_run or report.is_complete)
