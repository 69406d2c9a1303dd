"""Base of the formats of `convert`, and atomic files in them."""

import importlib
import os
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

from kinetics_tools.conversion.source import Part, SourceClip
from kinetics_tools.io import disk_errors
from kinetics_tools.preparation import DroppedClip
from kinetics_tools.releases import LABELS

Row = dict[str, Any]
"""Facts about a written clip, in JSON types: "name" and "label", and those that `finish` of its format needs."""


class Format:
    """Format of a conversion, open while its `with` block runs.

    Attributes:
        library: module that writes it, None if this package alone does.
        install: arguments of `pip install` for the library.
        part_bytes: largest size of a part of several units.
        out: output directory.
        release: release of the labels.
    """

    library: ClassVar[str | None] = None
    install: ClassVar[str] = ""
    part_bytes: ClassVar[int] = 1_000_000_000

    def __init__(self, out: Path, release: str):
        self.out = out
        self.release = release

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    @classmethod
    def check(cls) -> None:
        """Raise ModuleNotFoundError if the library is not installed."""
        if cls.library is None:
            return
        try:
            importlib.import_module(cls.library)
        except ImportError as error:
            raise ModuleNotFoundError(
                f"{cls.library} does not load ({error}): pip install {cls.install}", name=cls.library
            ) from None

    def write(self, part: Part, clips: Iterable[SourceClip], drop: Callable[[DroppedClip], Any]) -> list[Row]:
        """Write the clips of a part, and return a row for each; `drop` takes those that are skipped.

        A second call replaces what an interrupted one has written.
        """
        raise NotImplementedError

    def finish(self, split: str, rows: Sequence[Sequence[Row]]) -> None:
        """Write what describes a whole split, given the rows of each part. It may be called again."""


_LOCKS = [threading.Lock() for _ in range(64)]  # two archives may hold the same clip


def label_name(clip: SourceClip, release: str) -> str:
    """Return the class of a clip, "" without one."""
    return LABELS[release][clip.label] if clip.label >= 0 else ""


def row_of(clip: SourceClip, **more: Any) -> Row:
    """Return the row of a clip."""
    return {"name": clip.name, "label": clip.label, **more}


def put(path: Path, content: bytes) -> None:
    """Write a file that is complete or not there. Threads of this process may write the same one."""
    # Not `Folder.write`: its temporary files have random names, and those of a killed run would stay.
    partial = path.with_name(f".{path.name}.tmp")
    with disk_errors(path), _LOCKS[hash(path) % len(_LOCKS)]:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
