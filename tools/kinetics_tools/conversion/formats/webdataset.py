"""WebDataset: tar files of about 1 GB with `KEY.cls`, `KEY.json` and `KEY.mp4`."""

from collections.abc import Callable, Iterable
from typing import Any

from kinetics_tools.conversion.formats.base import Format, Row, label_name, row_of
from kinetics_tools.conversion.source import Part, SourceClip
from kinetics_tools.io import Folder
from kinetics_tools.preparation import DroppedClip


class WebDatasetFormat(Format):
    """Tar files `train-000000.tar`, written by webdataset."""

    library = "webdataset"
    install = "webdataset"

    def write(self, part: Part, clips: Iterable[SourceClip], drop: Callable[[DroppedClip], Any]) -> list[Row]:
        """Write a tar file. Equal clips give equal bytes."""
        import webdataset

        folder, name = Folder(self.out), f"{part.split}-{part.number:06d}.tar"
        rows = []
        with folder.writing(name) as file, webdataset.TarWriter(file, mtime=0) as tar:
            for clip in clips:
                about = {"label": label_name(clip, self.release) or None, **clip.keys, **clip.measured}
                key = f"v_{clip.name}"  # ids may begin with "__", and `datasets` skips members that do
                tar.write({"__key__": key, "cls": clip.label, "json": about, clip.suffix[1:]: clip.content})
                rows.append(row_of(clip))
        folder.clean(name)
        return rows
