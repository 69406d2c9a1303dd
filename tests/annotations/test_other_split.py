"""Exclusion of clips whose videos another split holds, by hand-made rows and by the real annotations."""

import csv
import json
import logging

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetics_tools.annotations import Selection, clip_names, read_split, shares_video
from tests.support.trees import Clip, write_annotations

FILES = {
    "400:validation": "cvdf_k400_val.csv",
    "600:validation": "deepmind_k600_validate.csv",
    "700-2020:test": "deepmind_k700_2020_test.csv",
}


def official_rows(shared, name):
    with open(shared / "annotations" / name, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("by", ["video", "seconds"])
def test_what_is_excluded_from_the_real_annotations(shared, caplog, by):
    """Counted row by row in the official files."""
    table = read_split(str(shared / "annotations/deepmind_k600_validate.csv"), "600", "validation")
    others = [f"{name}={shared}/annotations/{FILES[name]}" for name in ("400:validation", "700-2020:test")]
    with caplog.at_level(logging.WARNING, "datasets.kinetics"):
        kept = Selection("600", exclude=",".join(others), exclude_by=by).choose(table, "validation")
    segments: dict[str, list[tuple[str, float, float]]] = {}
    for name in ("400:validation", "700-2020:test"):
        for row in official_rows(shared, FILES[name]):
            times = (float(row["time_start"]), float(row["time_end"]))
            segments.setdefault(row["youtube_id"], []).append((name, *times))
    counts, names = {"400:validation": 0, "700-2020:test": 0}, []
    for row in official_rows(shared, FILES["600:validation"]):
        start, end = float(row["time_start"]), float(row["time_end"])
        found = [
            name
            for name, first, last in segments.get(row["youtube_id"], [])
            if by == "video" or (start < last and first < end)
        ]
        if found:
            counts[min(found)] += 1
        else:
            names.append(f"{row['youtube_id']}_{int(start):06d}_{int(end):06d}")
    assert clip_names(kept).to_pylist() == names
    assert json.loads(kept.schema.metadata[b"excluded"]) == counts
    assert counts["400:validation"] > 10_000
    assert f"excluded {counts['400:validation']:,} clips of 28,267" in caplog.text


def test_the_choice_is_named_by_its_options(tmp_path):
    (tmp_path / "train.csv").touch()
    chosen = Selection("600", classes=["zumba"], exclude=f"400:train={tmp_path}/train.csv")
    assert chosen.text() == f"classes zumba; exclude 400:train={tmp_path}/train.csv"


segments = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 30), st.integers(1, 12)), max_size=12)


def table_of(rows):
    columns = {
        "youtube_id": pa.array([name * 11 for name, *_ in rows], pa.string()),
        "time_start": pa.array([float(start) for _, start, _ in rows], pa.float32()),
        "time_end": pa.array([float(start + length) for _, start, length in rows], pa.float32()),
    }
    return pa.table(columns)


@given(segments, segments)
def test_segments_overlap_if_they_share_a_second(ours, theirs):
    expected = [
        any(name == other and set(range(start, start + n)) & set(range(first, first + m)) for other, first, m in theirs)
        for name, start, n in ours
    ]
    assert shares_video(table_of(ours), table_of(theirs), by="seconds").to_pylist() == expected
    ids = {name for name, *_ in theirs}
    assert shares_video(table_of(ours), table_of(theirs)).to_pylist() == [name in ids for name, *_ in ours]


def test_several_splits_in_a_text_and_commas_in_paths(tmp_path):
    path = write_annotations(tmp_path / "a,b" / "val.csv", [Clip("zumba", "aaaaaaaaaaa", 0, 10)], "val")
    expected = (f"400:validation={path}", "600:test", "700-2020:test")
    for texts in (f"400:val={path}, 600:test,700-2020:test", [f"400:val={path}", "600:test,700-2020:test"]):
        assert Selection(700, exclude=texts).exclude == expected


def test_a_split_does_not_exclude_itself_and_says_so(tmp_path, caplog):
    clips = [Clip("zumba", "aaaaaaaaaaa", 0, 10), Clip("zumba", "bbbbbbbbbbb", 0, 10)]
    path = write_annotations(tmp_path / "val.csv", clips, "val")
    table = read_split(str(path), "700", "validation")
    asked = Selection("700", exclude=[f"700:val={path}"])
    assert asked.exclude == (f"700:validation={path}",)
    assert len(asked.choose(table, "validation")) == 2
    assert caplog.messages == ["kinetics 700 validation: 700:validation excludes nothing, because it is this split"]
    assert len(asked.choose(table, "train")) == 0
    assert asked.options() == [f"--exclude=700:validation={path}"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exclude": "400"}, "'400' does not name a release and a split"),
        ({"exclude": "400:dev"}, "unknown split 'dev'"),
        ({"exclude": "500:val"}, "unknown release '500'"),
        ({"exclude": []}, "exclude must name splits of releases"),
        ({"exclude": "400:val", "exclude_by": "second"}, "unknown exclude_by 'second'; did you mean 'seconds'"),
    ],
)
def test_exclusions_that_are_invalid(options, message):
    with pytest.raises(ValueError, match=message):
        Selection("700", **options)


def test_annotations_to_exclude_that_are_missing_are_named():
    with pytest.raises(FileNotFoundError, match="does not exist; pass the path of the annotations of 400:val"):
        Selection("700", exclude="400:val=/no/val.csv")
