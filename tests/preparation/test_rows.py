"""Rows of prepared shards."""

import hashlib
import io
from pathlib import Path

import av
import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest

import kinetics
from kinetics_tools.preparation import prepare, read_report
from tests.support.clip_tree import BAD, SOURCE, manifest_of, rows_of, run, shards_of
from tests.support.trees import write_annotations, write_clips, write_tree

pytestmark = pytest.mark.usefixtures("in_process")


def test_source_keeps_the_bytes_of_each_clip_and_names_each_that_is_none(tree, clips, tmp_path):
    report = run(tree, tmp_path, **SOURCE)
    rows = rows_of(tmp_path)
    good = [clip for number, clip in enumerate(clips) if number not in BAD]
    assert {name: row["video"]["bytes"] for name, row in rows.items()} == {
        clip.file_name: clip.content for clip in good
    }
    for clip in good:
        row = dict(rows[clip.file_name])
        row.pop("video")
        label = kinetics.LABELS["700"].index(clip.label)
        times = {"time_start": clip.time_start, "time_end": clip.time_end}
        measured = {"num_frames": 9, "width": 64, "height": 48, "has_audio": False, "fps": 15}
        assert row.pop("duration") == pytest.approx(9 / 15)
        assert row == {"label": label, "youtube_id": clip.youtube_id, **times, **measured}
    split = report.splits["validation"]
    assert (split.clips, split.rows, split.dropped) == (30, 26, {"absent": 1, "empty": 1, "unreadable": 2})
    assert split.bytes_in == split.bytes_out == sum(len(clip.content) for clip in good)
    named = {}
    for name, content in shards_of(tmp_path).items():
        for one in read_report(io.BytesIO(content)).dropped:
            named[one.name] = one.reason
            assert str(tree) not in one.detail, name
    assert named == {clips[number].stem: reason for number, reason in BAD.items()}


def test_train_gives_what_the_encoding_says_and_measures_that(prepared, clips, tmp_path):
    rows = rows_of(prepared)
    assert len(rows) == 26
    row = rows[clips[0].file_name]
    with av.open(io.BytesIO(row["video"]["bytes"])) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert (len(frames), *frames[0].shape) == (row["num_frames"], row["height"], row["width"], 3)
    with av.open(io.BytesIO(clips[0].content)) as container:
        source = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    # Frame i is nearer to the source's frame i than to any other.
    for index, frame in enumerate(frames):
        errors = [np.abs(frame - other).mean() for other in source]
        assert int(np.argmin(errors)) == index


def test_rows_are_in_the_order_of_a_hash_whatever_is_there(prepared, tree, clips):
    """The order of `sha256(f"{seed}:{name}")`, with seed 0, over all annotated clips."""
    good = [clip.stem for number, clip in enumerate(clips) if number not in BAD]
    order = sorted(good, key=lambda stem: hashlib.sha256(f"0:{stem}".encode()).digest())
    assert [Path(name).stem for name in rows_of(prepared)] == order


def test_the_settings_are_those_of_datasets_for_video(prepared):
    path = sorted(Path(prepared).rglob("*.parquet"))[0]
    metadata = pq.ParquetFile(path).metadata
    columns = {metadata.row_group(0).column(i).path_in_schema: metadata.row_group(0).column(i) for i in range(12)}
    video = columns["video.bytes"]
    assert (video.compression, set(video.encodings)) == ("UNCOMPRESSED", {"PLAIN", "RLE"})
    assert columns["youtube_id"].compression == "SNAPPY"
    assert video.has_column_index or video.has_offset_index
    features = datasets.Features.from_arrow_schema(pq.read_schema(path))
    assert features["video"]._type == "Video"
    assert features["label"].names == list(kinetics.LABELS["700"])


def test_labels_that_are_not_there_choose_nothing(clips, tmp_path):
    """A split without labels is left out where classes are chosen, and refused where it is asked for by name."""
    tree = write_tree(tmp_path / "k", clips={"train": clips[7:12]})
    write_clips(tree / "test", clips[12:15], "flat")
    write_annotations(tree / "annotations" / "test.csv", clips[12:15], "test", labels=False)
    options = {"classes": ["zumba"], "profile": "source", "encoding": None}
    assert list(run(tree, tmp_path / "out", **options).splits) == ["train"]
    with pytest.raises(ValueError, match="no clip of this split has a label"):
        run(tree, tmp_path / "other", splits=["test"], **options)


def test_splits_that_are_there_are_prepared_and_classes_chosen(clips, tmp_path):
    tree = write_tree(tmp_path / "k", clips={"train": clips[7:], "validation": clips[7:12]})
    report = prepare("700", tree, tmp_path / "out", classes=["zumba"], profile="source", workers=1)
    assert {name: split.rows for name, split in report.splits.items()} == {
        name: sum(clip.label == "zumba" for clip in of_split)
        for name, of_split in (("train", clips[7:]), ("validation", clips[7:12]))
    }


def test_a_split_or_class_that_is_named_twice_is_made_once(clips, tmp_path):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]})
    given = {"profile": "source", "encoding": None, "classes": ["zumba", "Zumba", "abseiling"]}
    report = run(tree, tmp_path / "out", splits=["validation", "validation"], shards=(0, 8), **given)
    chosen = [clip for clip in clips[7:15] if clip.label in ("zumba", "abseiling")]
    assert (report.to_make, report.made) == (len(chosen), len(chosen))
    assert manifest_of(tmp_path / "out")["basis"]["classes"] == ["zumba", "abseiling"]
    once = run(tree, tmp_path / "once", **{**given, "classes": ["zumba", "abseiling"]})
    assert once.splits == report.splits
