"""Lance, read by pylance."""

from collections import Counter

import pytest

from kinetics_tools import convert
from kinetics_tools.releases import LABELS
from tests.support.clip_tree import rows_of
from tests.support.conversions import killed_and_resumed
from tests.support.trees import CLIPS, noisy, write_tree

lance = pytest.importorskip("lance", reason="pylance is not installed")


def read(path):
    """Return the rows of a dataset, with the bytes of their blobs."""
    dataset = lance.dataset(str(path))
    rows = dataset.to_table(columns=[name for name in dataset.schema.names if name != "video"]).to_pylist()
    blobs = dataset.read_blobs("video", indices=list(range(len(rows))), preserve_order=True)
    return [{**row, "video": content} for row, (_, content) in zip(rows, blobs, strict=True)]


def test_lance_reads_names_labels_and_bytes(tmp_path):
    """Also of a clip that is large enough for a file of its own."""
    clips = {**CLIPS, "train": [*CLIPS["train"][:-1], *noisy(CLIPS["train"][-1:], 6_000_000)]}
    convert(write_tree(tmp_path / "tree", clips=clips), tmp_path / "out", to="lance", release="700")
    for split, some in clips.items():
        found = read(tmp_path / "out" / f"{split}.lance")
        assert sorted((one["file_name"], one["video"], one["label"], one["label_name"]) for one in found) == sorted(
            (clip.file_name, clip.content, LABELS["700"].index(clip.label), clip.label) for clip in some
        )
        dataset = lance.dataset(str(tmp_path / "out" / f"{split}.lance"))
        assert dataset.take_blobs("video", indices=[0])[0].read() == found[0]["video"]


def test_prepared_shards_keep_their_measurements(prepared, tmp_path):
    for _ in range(2):  # the second one changes nothing
        convert(prepared, tmp_path / "out", to="lance")
    found = {one.pop("file_name"): one for one in read(tmp_path / "out" / "validation.lance")}
    rows = rows_of(prepared)
    assert found.keys() == rows.keys()
    for name, row in rows.items():
        assert found[name]["video"] == row.pop("video")["bytes"]
        assert {column: found[name][column] for column in row} == row
    assert lance.dataset(str(tmp_path / "out" / "validation.lance")).version == 1


def test_a_killed_conversion_resumes_with_the_same_result(tmp_path, monkeypatch, clips):
    """The names of files are random: their number and the rows are equal."""
    big = noisy(clips, 100_000)  # in files beside those of the columns
    out, whole = killed_and_resumed(tmp_path, monkeypatch, "lance", big)
    assert Counter(name.rpartition(".")[2] for name in out) == Counter(name.rpartition(".")[2] for name in whole)
    for split in ("train", "validation"):
        assert read(tmp_path / "out" / f"{split}.lance") == read(tmp_path / "whole" / f"{split}.lance")
