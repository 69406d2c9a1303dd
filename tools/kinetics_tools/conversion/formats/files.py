"""Class tree with annotations: `val/abseiling/CLIP.mp4` and `annotations/val.csv`."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kinetics_tools.conversion.formats.base import Format, Row, label_name, put, row_of
from kinetics_tools.conversion.source import Part, SourceClip
from kinetics_tools.conversion.trainers import SPLIT_WORDS
from kinetics_tools.preparation import DroppedClip


class FilesFormat(Format):
    """Clip directory that `load_dataset` and the commands read. Clips without a label are in no class directory."""

    def write(self, part: Part, clips: Iterable[SourceClip], drop: Callable[[DroppedClip], Any]) -> list[Row]:
        """Write a file per clip."""
        folder = self.out / SPLIT_WORDS[part.split]
        rows = []
        for clip in clips:
            put(folder / label_name(clip, self.release) / clip.file_name, clip.content)
            rows.append(row_of(clip, label_name=label_name(clip, self.release), **clip.keys))
        return rows

    def finish(self, split: str, rows: Sequence[Sequence[Row]]) -> None:
        """Write the annotations in the order of the names of clips."""
        text, word = io.StringIO(), SPLIT_WORDS[split]
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["label", "youtube_id", "time_start", "time_end", "split"])
        for row in sorted((row for part in rows for row in part), key=lambda row: row["name"]):
            times = (f"{row[name]:g}" for name in ("time_start", "time_end"))
            writer.writerow([row["label_name"], row["youtube_id"], *times, word])
        put(self.out / "annotations" / f"{word}.csv", text.getvalue().encode())
