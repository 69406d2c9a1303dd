"""FiftyOne: a directory per split that `FiftyOneVideoLabelsDataset` imports."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from kinetics_tools.conversion.formats.base import Format, Row, label_name, put, row_of
from kinetics_tools.conversion.source import Part, SourceClip
from kinetics_tools.io import new_directory
from kinetics_tools.preparation import DroppedClip


class FiftyOneFormat(Format):
    """Directories with a manifest, videos and labels. The exporter of fiftyone writes them, without its database."""

    library = "fiftyone"
    install = "fiftyone"

    def write(self, part: Part, clips: Iterable[SourceClip], drop: Callable[[DroppedClip], Any]) -> list[Row]:
        """Write the clips of a part with their labels in a directory of their own, which is a whole dataset, too."""
        from fiftyone.core.labels import Classification
        from fiftyone.utils.data.exporters import FiftyOneVideoLabelsDatasetExporter

        rows = []
        with (
            new_directory(self.out / part.split / f"{part.number:05d}") as folder,
            FiftyOneVideoLabelsDatasetExporter(str(folder), export_media="move") as exporter,
        ):
            for clip in clips:
                video = folder / clip.file_name
                put(video, clip.content)
                texts = {name: str(value) for name, value in {**clip.keys, **clip.measured}.items()}
                if label := label_name(clip, self.release):
                    texts["ground_truth"] = label
                exporter.export_sample(str(video), {name: Classification(label=texts[name]) for name in texts}, None)
                rows.append(row_of(clip, directory=f"{part.number:05d}", suffix=clip.suffix))
        return rows

    def finish(self, split: str, rows: Sequence[Sequence[Row]]) -> None:
        """Write the manifest of all parts."""
        import eta.core.datasets as etad
        import eta.core.utils as etau

        index = etad.LabeledDatasetIndex(etau.get_class_name(etad.LabeledVideoDataset))
        for row in (row for part in rows for row in part):
            video, labels = f"data/{row['name']}{row['suffix']}", f"labels/{row['name']}.json"
            index.append(etad.LabeledDataRecord(f"{row['directory']}/{video}", f"{row['directory']}/{labels}"))
        put(self.out / split / "manifest.json", index.to_str().encode())
