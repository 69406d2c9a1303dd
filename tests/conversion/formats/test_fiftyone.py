"""FiftyOne, read by its importer, which needs no database."""

import os

import pytest

from kinetics_tools import convert
from tests.support.clip_tree import rows_of
from tests.support.conversions import killed_and_resumed
from tests.support.trees import CLIPS, write_annotations, write_tree

os.environ["FIFTYONE_DO_NOT_TRACK"] = "1"
fiftyone = pytest.importorskip("fiftyone", reason="fiftyone is not installed")


def read(folder):
    """Return by file name the bytes and the labels of each clip."""
    from fiftyone.utils.data.importers import FiftyOneVideoLabelsDatasetImporter

    found = {}
    with FiftyOneVideoLabelsDatasetImporter(dataset_dir=str(folder)) as importer:
        for path, _, labels, frames in importer:
            assert not frames
            with open(path, "rb") as file:
                found[os.path.basename(path)] = file.read(), {name: one.label for name, one in labels.items()}
        assert len(importer) == len(found)
    return found


def test_the_importer_reads_names_labels_and_bytes(tmp_path):
    convert(write_tree(tmp_path / "tree"), tmp_path / "out", to="fiftyone", release="700")
    for split, clips in CLIPS.items():
        assert read(tmp_path / "out" / split) == {
            clip.file_name: (
                clip.content,
                {
                    "ground_truth": clip.label,
                    "youtube_id": clip.youtube_id,
                    "time_start": str(float(clip.time_start)),
                    "time_end": str(float(clip.time_end)),
                },
            )
            for clip in clips
        }


def test_clips_without_a_label_have_no_ground_truth(tmp_path):
    tree = write_tree(tmp_path / "tree", "flat", clips={"test": CLIPS["test"]})
    write_annotations(tree / "annotations" / "test.csv", CLIPS["test"], "test", labels=False)
    convert(tree, tmp_path / "out", to="fiftyone", release="700")
    found = read(tmp_path / "out" / "test")
    assert len(found) == 8
    assert not any("ground_truth" in labels for _, labels in found.values())


def test_prepared_shards_keep_their_measurements(prepared, tmp_path):
    convert(prepared, tmp_path / "out", to="fiftyone")
    found, rows = read(tmp_path / "out" / "validation"), rows_of(prepared)
    assert found.keys() == rows.keys()
    for name, row in rows.items():
        content, labels = found[name]
        assert content == row.pop("video")["bytes"]
        assert labels.pop("ground_truth")
        del row["label"]
        assert labels == {column: str(value) for column, value in row.items()}


def test_a_killed_conversion_resumes_with_the_same_result(tmp_path, monkeypatch, clips):
    out, whole = killed_and_resumed(tmp_path, monkeypatch, "fiftyone", clips)
    assert out == whole
