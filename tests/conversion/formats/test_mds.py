"""MDS, read by mosaicml-streaming."""

import pytest

from kinetics_tools import convert
from kinetics_tools.releases import LABELS
from tests.support.clip_tree import rows_of
from tests.support.conversions import killed_and_resumed
from tests.support.trees import CLIPS, write_tree

streaming = pytest.importorskip("streaming", reason="mosaicml-streaming needs huggingface_hub < 1")


def read(folder):
    return list(streaming.StreamingDataset(local=str(folder), shuffle=False, batch_size=1))


def test_streaming_reads_names_labels_and_bytes(tmp_path):
    convert(write_tree(tmp_path / "tree"), tmp_path / "out", to="mds", release="700")
    for split, clips in CLIPS.items():
        found = read(tmp_path / "out" / split)
        assert sorted((one["file_name"], one["video"], one["label"], one["label_name"]) for one in found) == sorted(
            (clip.file_name, clip.content, LABELS["700"].index(clip.label), clip.label) for clip in clips
        )


def test_prepared_shards_keep_their_measurements(prepared, tmp_path):
    convert(prepared, tmp_path / "out", to="mds")
    found = {one.pop("file_name"): one for one in read(tmp_path / "out" / "validation")}
    rows = rows_of(prepared)
    assert found.keys() == rows.keys()
    for name, row in rows.items():
        assert found[name]["video"] == row.pop("video")["bytes"]
        assert {column: found[name][column] for column in row} == row


def test_a_killed_conversion_resumes_with_the_same_result(tmp_path, monkeypatch, clips):
    out, whole = killed_and_resumed(tmp_path, monkeypatch, "mds", clips)
    assert out == whole
    assert [one["video"] for one in read(tmp_path / "out" / "train")] == [
        one["video"] for one in read(tmp_path / "whole" / "train")
    ]
