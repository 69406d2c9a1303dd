"""Class trees, read by `load_dataset` and `verify`."""

from kinetics_tools import convert, verify
from tests.support.clip_tree import rows_of as rows_of_shards
from tests.support.trees import CLIPS, load, rows, rows_of, write_annotations, write_tree


def test_load_dataset_reads_the_same_rows(tmp_path):
    tree = write_tree(tmp_path / "tree", ".tar.gz")
    convert(tree, tmp_path / "out", to="files", release="700")
    found = load(data_dir=str(tmp_path / "out"))
    assert {split: rows(found[split]) for split in found} == {split: rows_of(clips) for split, clips in CLIPS.items()}


def test_clips_without_a_label_stay_without_one(tmp_path):
    tree = write_tree(tmp_path / "tree", "flat", clips={"test": CLIPS["test"]})
    write_annotations(tree / "annotations" / "test.csv", CLIPS["test"], "test", labels=False)
    convert(tree, tmp_path / "out", to="files", release="700")
    found = load(data_dir=str(tmp_path / "out"))
    assert rows(found["test"]) == rows_of(CLIPS["test"], labels=False)


def test_verify_finds_all_clips_of_prepared_shards(prepared, tmp_path):
    convert(prepared, tmp_path / "out", to="files")
    report = verify("700", tmp_path / "out", workers=1)
    assert set(report.clips["status"].to_pylist()) == {"short"}  # 0.6 s, and annotated with 10 s
    assert len(report.clips) == len(rows_of_shards(prepared))
