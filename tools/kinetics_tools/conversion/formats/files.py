"""Class tree with annotations: `val/abseiling/CLIP.mp4` and `annotations/val.csv`."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kinetics_tools.conversion.formats.base import Format, Row, put, row_of
from kinetics_tools.conversion.source import Part, SourceClip
from kinetics_tools.conversion.trainers import SPLIT_WORDS
from kinetics_tools.preparation import DroppedClip
from kinetics_tools.releases import LABELS


class FilesFormat(Format):
    """Clip directory that `load_dataset` and the commands read. Clips without a label are in no class directory."""

    def write(self, part: Part, clips: Iterable[SourceClip], drop: Callable[[DroppedClip], Any]) -> list[Row]:
        """Write a file per clip."""
        folder = self.out / SPLIT_WORDS[part.split]
        rows = []
        for clip in clips:
            put(folder / self._class(clip.label) / clip.file_name, clip.content)
            rows.append(row_of(clip, **clip.keys))
        return rows

    def _class(self, label: int) -> str:
        return LABELS[self.release][label] if label >= 0 else ""

    def finish(self, split: str, rows: Sequence[Sequence[Row]]) -> None:
        """Write the annotations in the order of the names of clips."""
        text, word = io.StringIO(), SPLIT_WORDS[split]
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["label", "youtube_id", "time_start", "time_end", "split"])
        for row in sorted((row for part in rows for row in part), key=lambda row: row["name"]):
            times = (f"{row[name]:g}" for name in ("time_start", "time_end"))
            writer.writerow([self._class(row["label"]), row["youtube_id"], *times, word])
        put(self.out / "annotations" / f"{word}.csv", text.getvalue().encode())
