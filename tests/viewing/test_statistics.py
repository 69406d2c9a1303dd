"""Figures of a table of clips, compared with pandas on the same table."""

import shutil

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from kinetics_tools.viewing import CLIPS, read_clips, statistics


@pytest.fixture(scope="module")
def clips():
    """A made table of 3,000 clips of two releases, some not there."""
    rng = np.random.default_rng(0)
    count = 3000
    start = rng.integers(0, 300, count).astype(np.float32)
    length = rng.choice([10, 10, 10, 7], count).astype(np.float32)
    status = rng.choice(["present", "missing", "unreadable", "unexpected"], count, p=[0.8, 0.1, 0.05, 0.05])
    there = status == "present"
    unknown = np.where(there, 1.0, np.nan)
    columns = {
        "release": rng.choice(["400", "700"], count),
        "split": rng.choice(["train", "validation"], count),
        "clip": [f"clip{number}" for number in range(count)],
        "youtube_id": [f"video{number:06d}" for number in rng.integers(0, 2000, count)],
        "time_start": start,
        "time_end": start + length,
        "label": rng.choice(["abseiling", "zumba", "yoga"], count),
        "status": status,
        "detail": np.where(status == "missing", rng.choice(["private video", ""], count), ""),
        "duration": rng.normal(10, 0.1, count) * unknown,
        "fps": rng.choice([25, 29.97, 30], count) * unknown,
        "bytes": np.where(there, rng.integers(10_000, 2_000_000, count), 0),
        "width": np.where(there, 340, 0),
        "height": np.where(there, rng.choice([256, 260], count), 0),
    }
    frame = pd.DataFrame({name: columns.get(name, pd.Series([None] * count)) for name in CLIPS.names})
    for name in ("bytes", "width", "height"):
        frame[name] = frame[name].where(there)
    return pa.Table.from_pandas(frame, schema=CLIPS, preserve_index=False)


def annotated(clips):
    frame = clips.to_pandas()
    return frame[frame.status != "unexpected"]


def as_counts(table, *columns):
    """Return {values of columns: the last column}."""
    return {tuple(row[name] for name in columns): row[table.column_names[-1]] for row in table.to_pylist()}


def test_clips_by_split_and_status(clips):
    expected = clips.to_pandas().groupby(["release", "split", "status"]).size().to_dict()
    assert as_counts(statistics.by_split(clips), "release", "split", "status") == expected


def test_missing_clips_by_reason(clips):
    frame = annotated(clips)
    frame = frame[frame.status != "present"]
    reason = frame.detail.where((frame.status == "missing") & (frame.detail != ""), frame.status)
    expected = frame.assign(reason=reason).groupby(["release", "split", "reason"]).size().to_dict()
    found = statistics.by_reason(clips)
    assert set(found["reason"].to_pylist()) == {"private video", "missing", "unreadable"}
    assert as_counts(found, "release", "split", "reason") == expected


def test_only_the_most_frequent_reasons_are_named():
    names = [f"reason {number:02d}" for number in range(20)]
    rows = [name for number, name in enumerate(names) for _ in range(number + 1)]
    found = statistics.by_reason(made(status=["missing"] * len(rows), detail=rows))
    counts = as_counts(found, "reason")
    assert set(counts) == {(name,) for name in names[8:]} | {("other",)}
    assert counts["other",] == sum(range(1, 9))


def test_clips_of_each_class(clips):
    frame = annotated(clips)
    groups = frame.groupby(["release", "split", "label"]).status
    found = statistics.by_class(clips)
    assert as_counts(found.drop_columns("present"), "release", "split", "label") == groups.size().to_dict()
    expected = groups.apply(lambda status: (status == "present").sum()).to_dict()
    assert as_counts(found, "release", "split", "label") == expected


@pytest.mark.parametrize("measure", ["duration", "fps", "bytes", "bitrate"])
def test_histograms_hold_every_clip_that_has_the_measure(clips, measure):
    frame = clips.to_pandas()
    values = frame["bytes"] * 8 / frame.duration if measure == "bitrate" else frame[measure]
    found = statistics.distribution(clips, measure).to_pandas()
    assert found.groupby("split").clips.sum().to_dict() == frame[values.notna()].groupby("split").size().to_dict()
    inner = found[(found.low > found.low.min()) & (found.high < found.high.max())]
    for row in inner[inner.split == "train"].itertuples():
        inside = (values >= row.low) & (values < row.high) & (frame.split == "train")
        assert row.clips == inside.sum()


def test_a_measure_that_no_clip_has_gives_no_bars(clips):
    assert len(statistics.distribution(clips, "num_frames")) == 0


def test_clips_by_resolution_and_frame_rate(clips):
    frame = clips.to_pandas()
    frame = frame[frame.width.notna()]
    names = frame.width.astype(int).astype(str) + "x" + frame.height.astype(int).astype(str)
    expected = frame.assign(value=names).groupby(["split", "value"]).size().to_dict()
    assert as_counts(statistics.by_value(clips, "resolution"), "split", "value") == expected
    rates = {
        float(value): count
        for (_, value), count in as_counts(statistics.by_value(clips, "fps"), "split", "value").items()
    }
    assert set(rates) == {25, 29.97, 30}


def test_videos_that_splits_share(clips):
    frame = annotated(clips)
    sets = frame.groupby(["release", "split"]).youtube_id.apply(set)
    names = [f"{release} {split}" for release, split in sets.index]
    found = as_counts(statistics.shared_videos(clips), "a", "b")
    for a, first in zip(names, sets, strict=True):
        for b, second in zip(names, sets, strict=True):
            assert found[a, b] == len(first & second)


def test_clips_of_each_video_and_lengths_of_segments(clips):
    frame = annotated(clips)
    per_video = frame.groupby(["release", "split", "youtube_id"]).size()
    expected = per_video.groupby(level=[0, 1]).value_counts().to_dict()
    assert as_counts(statistics.clips_per_video(clips), "release", "split", "clips") == expected
    lengths = frame.assign(seconds=(frame.time_end - frame.time_start).astype(float))
    expected = lengths.groupby(["release", "split", "seconds"]).size().to_dict()
    assert as_counts(statistics.segment_lengths(clips), "release", "split", "seconds") == expected


def made(**columns):
    """Return a table of clips with some columns; the others are null."""
    count = len(next(iter(columns.values())))
    columns = {"release": ["400"] * count, "split": ["train"] * count, **columns}
    arrays = [pa.array(columns.get(field.name, [None] * count), field.type) for field in CLIPS]
    return pa.table(arrays, schema=CLIPS)


def test_figures_of_a_real_annotation_file(shared, tmp_path):
    (tmp_path / "val").mkdir()
    shutil.copy(shared / "annotations" / "cvdf_k400_val.csv", tmp_path / "val.csv")
    clips = read_clips(tmp_path, "400", workers=1).table
    frame = pd.read_csv(tmp_path / "val.csv")
    frame = frame.drop_duplicates(["youtube_id", "time_start", "time_end"])
    found = statistics.totals(clips)
    assert (found["annotated"], found["missing"], found["present"]) == (len(frame), len(frame), 0)
    counts = {
        label: count
        for (label,), count in as_counts(statistics.by_class(clips).drop_columns("present"), "label").items()
    }
    assert counts == frame.groupby("label").size().to_dict()
    per_video = frame.groupby("youtube_id").size().value_counts().to_dict()
    assert {
        clips: videos for (clips,), videos in as_counts(statistics.clips_per_video(clips), "clips").items()
    } == per_video
    seconds = (frame.time_end - frame.time_start).value_counts().to_dict()
    assert {key: count for (key,), count in as_counts(statistics.segment_lengths(clips), "seconds").items()} == seconds


def test_totals_and_rows_of_splits(clips):
    frame = clips.to_pandas()
    known = annotated(clips)
    counts = known.status.value_counts()
    assert statistics.totals(clips) == {
        "annotated": len(known),
        "present": counts["present"],
        "missing": counts["missing"],
        "other problems": counts["unreadable"],
        "unexpected": len(frame) - len(known),
        "classes": frame[frame.status == "present"].label.nunique(),
        "hours": pytest.approx(frame.duration.sum() / 3600),
    }
    expected = frame.groupby(["release", "split", "status"]).size()
    for row in statistics.by_status(clips):
        for status in ("present", "missing", "unreadable", "unexpected", "short"):
            assert row[status] == expected.get((row["release"], row["split"], status), 0)


def test_a_users_table_is_joined_by_its_keys():
    clips = made(youtube_id=["a", "b", "a"], time_start=[0, 5, 7], time_end=[10, 15, 17])
    by_video = statistics.with_metadata(clips, pa.table({"youtube_id": ["b", "a"], "country": ["DE", "BR"]}))
    assert by_video["country"].to_pylist() == ["BR", "DE", "BR"]
    keys = {"youtube_id": ["a"], "time_start": [7], "time_end": [17]}
    by_clip = statistics.with_metadata(clips, pa.table({**keys, "camera": ["phone"]}))
    assert by_clip["camera"].to_pylist() == [None, None, "phone"]
    assert by_clip.select(CLIPS.names).equals(clips)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"id": ["a"], "country": ["DE"]}, "needs the column youtube_id"),
        ({"youtube_id": ["a"]}, "needs the column youtube_id and another one"),
        ({"youtube_id": ["a", "a"], "country": ["DE", "BR"]}, "two rows with the same youtube_id"),
        ({"youtube_id": ["a"], "label": ["x"]}, "rename its column label"),
    ],
)
def test_a_table_that_cannot_be_joined_is_refused(metadata, message):
    with pytest.raises(ValueError, match=message):
        statistics.with_metadata(made(youtube_id=["a"]), pa.table(metadata))
