"""`kinetics export`."""

from pathlib import Path
from typing import Annotated, Any

import typer

import kinetics_tools
from kinetics_tools.cli import options
from kinetics_tools.cli.options import OUTPUT, SELECTION, option
from kinetics_tools.releases import source_first

EPILOG = options.examples(
    "kinetics export 400 k400 --for slowfast --out lists --link k400-links",
    "kinetics export 700 prepared --for mmaction2 --out lists --extract k700",
    "kinetics export --merge 400=k400,600=k600,700=k700 --for umt --out k710",
)
_FOR = "slowfast, pytorchvideo, mmaction2, videomae, umt, internvideo, vjepa or dali."
_PREFIX = "Text instead of the directory in paths; '' makes them relative."
_LINK = "Directory for hard links without spaces in their names."
_EXTRACT = "Directory to write the clips of prepared shards to."
_MERGED: Any = {"metavar": "RELEASE=DIRECTORY,...", "callback": options.split_commas}
_MERGE = "Instead: merge these clips of 400, 600 and 700 into lists of 710 classes."


def export(
    trainer: Annotated[str, option(OUTPUT, _FOR, True, "--for")],
    out: Annotated[Path, option(OUTPUT, "Output directory for the lists.")],
    release: Annotated[str | None, typer.Argument(help=options.RELEASE_HELP)] = None,
    directory: Annotated[str | None, typer.Argument(help="Clip directory, or with --extract prepared shards.")] = None,
    splits: options.Splits = None,
    classes: options.Classes = None,
    subset: options.Subset = None,
    exclude: options.Exclude = None,
    exclude_by: options.ExcludeBy = "video",
    annotations: options.LocalAnnotations = None,
    force_release: options.ForceRelease = False,
    merge: Annotated[list[str] | None, option(SELECTION, _MERGE, "none", **_MERGED)] = None,
    space: Annotated[str | None, option(OUTPUT, "Label space of the labels.", "that of the trainer")] = None,
    prefix: Annotated[str | None, option(OUTPUT, _PREFIX, "absolute paths")] = None,
    link: Annotated[Path | None, option(OUTPUT, _LINK, "none")] = None,
    extract: Annotated[Path | None, option(OUTPUT, _EXTRACT, "none")] = None,
) -> None:
    """Write the lists of clips that a trainer reads, with labels in its order."""
    chosen: Any = {"classes": classes, "subset": subset, "exclude": exclude}
    chosen = options.given(**chosen, splits=splits, annotations=annotations)
    paths: Any = {"trainer": trainer, "space": space, "prefix": prefix, "link": link}
    if not merge:
        if release is None or directory is None:
            raise ValueError("export needs RELEASE and DIRECTORY, or --merge")
        directory, release = source_first(directory, release)
        paths |= {"extract": extract, "exclude_by": exclude_by, "force_release": force_release}
        found = kinetics_tools.export(str(release), directory, out, **chosen, **paths)
        options.finish(found.lines(), is_complete=True)
    if release or chosen or extract:
        raise ValueError("--merge takes all clips of its directories; omit RELEASE, and options that select or extract")
    data_dirs = dict(source.partition("=")[::2] for source in merge)
    options.finish(kinetics_tools.export_merged(data_dirs, out, **paths).lines(), is_complete=True)
