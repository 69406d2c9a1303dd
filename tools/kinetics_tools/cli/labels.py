"""`kinetics labels`."""

import csv
import json
from pathlib import Path
from typing import Annotated

import typer

from kinetics_tools.cli import options
from kinetics_tools.cli.options import OUTPUT, SELECTION, option
from kinetics_tools.run import PlainConsole

EPILOG = options.examples(
    "kinetics labels 600 --space opengvlab --to sorted",
    "kinetics labels 400 --to sorted-700 --out 400to700.csv",
    "kinetics labels 710 --space opengvlab --out id2label.json",
)
_RELEASE = "Release: 400, 600, 700 or 700-2020; 710 for the merged classes."
_SPACE = "Label space: sorted, torchvision-folders, opengvlab, mmaction2-710, or a file."
_OUT = "File (.csv, .json or .txt) to write instead of printing. Must not exist."


def labels(
    release: Annotated[str, typer.Argument(help=_RELEASE)],
    space: Annotated[str, option(SELECTION, _SPACE, "sorted", "--space")] = "sorted",
    to: Annotated[str | None, option(SELECTION, "Also give the index in this label space.", "none", "--to")] = None,
    out: Annotated[Path | None, option(OUTPUT, _OUT)] = None,
) -> None:
    """Print an order of labels, or the map from one order to another, where -1 means that the class is missing."""
    from kinetics_tools.annotations import label_space
    from kinetics_tools.io import replacing
    from kinetics_tools.text import check_choice

    if out is not None:
        check_choice(out.suffix.lower(), (".csv", ".json", ".txt"), "suffix of --out")
        if out.exists():
            raise ValueError(f"{out} exists; move it or pass another name")
    source = label_space(space, release)
    target = None if to is None else label_space(to, release)
    notes = (one.note() for one in (source, target) if one)
    PlainConsole(stderr=True).print_lines(f"note: {note}" for note in notes if note)
    names = source.names
    indices: list[int] | None = None if target is None else source.to(target).tolist()
    mapped: list[tuple[int, ...]] = [()] * len(names) if indices is None else [(index,) for index in indices]
    rows = [(index, *to, name) for index, (to, name) in enumerate(zip(mapped, names, strict=True))]
    if out is None:
        PlainConsole().print_lines("  ".join(f"{one:>3}" for one in row) for row in rows)
        return
    with replacing(out) as partial, open(partial, "w", encoding="utf-8", newline="") as file:
        if out.suffix.lower() == ".csv":
            writer = csv.writer(file, lineterminator="\n")
            writer.writerows([["index", *["to"] * bool(to), "name"], *rows])
        elif out.suffix.lower() == ".json":
            json.dump(dict(enumerate(names)) if indices is None else indices, file, indent=2)
        else:
            file.writelines(f"{line}\n" for line in (names if indices is None else indices))
    PlainConsole().print(f"wrote {out}")
