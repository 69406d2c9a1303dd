"""Frames as JPEG files with the lists of MMAction2: `rawframes_val/CLASS/CLIP/img_00001.jpg`."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from kinetics_tools.conversion.files import safe_folder
from kinetics_tools.conversion.formats.base import Format, Row, put, row_of
from kinetics_tools.conversion.jpegs import frames_of
from kinetics_tools.conversion.source import Part, SourceClip
from kinetics_tools.conversion.trainers import SPLIT_WORDS
from kinetics_tools.preparation import DroppedClip
from kinetics_tools.run import Crash, IdleProcesses, run

_LIMIT_SECONDS = 300.0  # for one clip, which takes about two


class FramesFormat(Format):
    """A directory of frames per clip. A process of each thread decodes, so that a crash costs one clip."""

    part_bytes = 100_000_000

    def __enter__(self) -> "FramesFormat":
        self._idle = IdleProcesses()
        return self

    def __exit__(self, *exception: object) -> None:
        self._idle.__exit__(*exception)

    def write(self, part: Part, clips: Iterable[SourceClip], drop: Callable[[DroppedClip], Any]) -> list[Row]:
        """Write the frames of each clip, except of those that an interrupted call has written."""
        root = self.out / f"rawframes_{SPLIT_WORDS[part.split]}"

        def items() -> Iterator[tuple[Row, tuple[bytes, str]]]:
            for clip in clips:
                folder = f"{safe_folder(clip.label, self.release)}/{clip.name}" if clip.label >= 0 else clip.name
                yield row_of(clip, directory=folder), (clip.content, str(root / folder))

        rows = []
        results = run(frames_of, items(), workers=1, batch_size=1, limit_seconds=_LIMIT_SECONDS, idle=self._idle)
        with contextlib.closing(results):
            for row, found in results:
                if isinstance(found, int):
                    rows.append({**row, "frames": found})
                elif isinstance(found, Crash):
                    drop(DroppedClip(row["name"], "crashed", found.reason))
                else:
                    drop(DroppedClip(row["name"], "unreadable", found))
        return rows

    def finish(self, split: str, rows: Sequence[Sequence[Row]]) -> None:
        """Write the list of the clips with a label, in the order of their names."""
        listed = sorted((row for part in rows for row in part if row["label"] >= 0), key=lambda row: row["name"])
        lines = (f"{row['directory']} {row['frames']} {row['label']}\n" for row in listed)
        name = f"kinetics{self.release.removesuffix('-2020')}_{SPLIT_WORDS[split]}_list_rawframes.txt"
        put(self.out / name, "".join(lines).encode())
