"""MDS of mosaicml-streaming: `train/index.json` and `train/00000/shard.00000.mds`."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any

from kinetics_tools.conversion.formats.base import Format, Row, label_name, row_of
from kinetics_tools.conversion.source import Part, SourceClip
from kinetics_tools.io import new_directory
from kinetics_tools.preparation import DroppedClip

_ENCODINGS = {bytes: "bytes", str: "str", bool: "uint8", int: "int", float: "float64"}


class MdsFormat(Format):
    """Directories for `StreamingDataset`, one per split, written by mosaicml-streaming."""

    library = "streaming"
    install = "mosaicml-streaming"

    def write(self, part: Part, clips: Iterable[SourceClip], drop: Callable[[DroppedClip], Any]) -> list[Row]:
        """Write the shards of a part and their index in a directory of their own."""
        from streaming import MDSWriter

        rows: list[Row] = []
        with ExitStack() as stack:
            folder = stack.enter_context(new_directory(self.out / part.split / f"{part.number:05d}"))
            writer = None
            for clip in clips:
                about = {"file_name": clip.file_name, "label": clip.label, "label_name": label_name(clip, self.release)}
                sample = {"video": clip.content, **about, **clip.keys, **clip.measured}
                if writer is None:
                    columns = {name: _ENCODINGS[type(value)] for name, value in sample.items()}
                    writer = stack.enter_context(MDSWriter(out=str(folder), columns=columns))
                writer.write(sample)
                rows.append(row_of(clip, directory=f"{part.number:05d}"))
        return rows

    def finish(self, split: str, rows: Sequence[Sequence[Row]]) -> None:
        """Merge the indices of the parts."""
        from streaming.base.util import merge_index

        root = self.out / split
        merge_index([str(root / part[0]["directory"] / "index.json") for part in rows if part], str(root))
