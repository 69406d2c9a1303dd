"""The plan of shards: every clip once, mixed, the same wherever it is made, and other names for other contents."""

import csv
import math
from collections import Counter
from fnmatch import fnmatchcase

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from kinetics_tools.preparation.plan import ShardPlan, parse_name, shard_count


def table(count, *, classes=20, weights=None):
    labels = [row % classes for row in range(count)] if weights is None else weights
    return pa.table(
        {
            "label": pa.array(labels, pa.int64()),
            "youtube_id": [f"video{row:06d}" for row in range(count)],
            "time_start": pa.array([float(row % 300) for row in range(count)], pa.float32()),
            "time_end": pa.array([float(row % 300 + 10) for row in range(count)], pa.float32()),
            "path": pa.array([f"/clips/{row}.mp4" for row in range(count)]),
        }
    )


def plan_of(clips, **options):
    given = {"release": "700", "split": "train", "options": {"profile": "train", "crf": 23}}
    return ShardPlan.of(clips, **{**given, **options})


@given(clips=st.integers(1, 700_000), each=st.integers(1, 5_000))
def test_shards_divide_evenly_among_nodes_and_hold_no_more_than_asked(clips, each):
    count = shard_count(clips, each)
    assert 1 <= count <= clips
    assert math.ceil(clips / count) <= each
    if count < clips:
        assert count % 8 == 0
    if clips / each > 64 and count < clips:
        assert count % 64 == 0
    # No more than needed, but for the rounding.
    assert count < max(clips / each, 1) + 64


@given(count=st.integers(1, 300), each=st.integers(1, 40), seed=st.integers(0, 5))
def test_each_clip_is_in_one_shard(count, each, seed):
    clips = table(count)
    plan = plan_of(clips, clips_per_shard=each, seed=seed)
    shards = [plan.rows(shard) for shard in range(plan.count)]
    assert all(0 < len(rows) <= each for rows in shards)
    assert max(map(len, shards)) - min(map(len, shards)) <= 1
    ids = [youtube_id for rows in shards for youtube_id in rows["youtube_id"].to_pylist()]
    assert sorted(ids) == clips["youtube_id"].to_pylist()
    (row,) = (row for row in plan.clips.to_pylist() if row["youtube_id"] == "video000000")
    assert row["name"] == "video000000_000000_000010"


def test_the_plan_does_not_depend_on_the_order_of_annotations_nor_on_what_is_there():
    clips = table(100)
    plan = plan_of(clips)
    turned = clips.take(list(range(99, -1, -1)))
    nowhere = clips.set_column(4, "path", pa.nulls(100, pa.string()))
    for other in (plan_of(turned), plan_of(nowhere)):
        assert other.fingerprint == plan.fingerprint
        assert other.clips["name"].to_pylist() == plan.clips["name"].to_pylist()


def test_whatever_decides_the_bytes_changes_the_name():
    clips = table(100)
    other_label = clips.set_column(0, "label", pa.array([1, *clips["label"].to_pylist()[1:]], pa.int64()))
    plans = [
        plan_of(clips),
        plan_of(clips, seed=1),
        plan_of(clips, split="validation"),
        plan_of(clips, release="600"),
        plan_of(clips, clips_per_shard=10),
        plan_of(clips, options={"profile": "train", "crf": 24}),
        plan_of(clips.slice(1)),
        plan_of(other_label),
    ]
    assert len({plan.fingerprint for plan in plans}) == len(plans)
    assert plan_of(clips, options={"crf": 23, "profile": "train"}).fingerprint == plans[0].fingerprint


def test_names():
    plan = plan_of(table(1000), clips_per_shard=20)
    name = plan.name(7)
    assert name == f"700/train-00007-of-00064-{plan.fingerprint}.parquet"
    assert parse_name(name) == ("train", 7, 64, plan.fingerprint)
    for other in ("700/prepare.json", name + ".tmp", "." + name.rpartition("/")[2], "train-7-of-8-abc.parquet"):
        assert parse_name(other) is None


def test_more_than_99_999_shards_have_names_that_sort_as_their_numbers():
    plan = plan_of(table(100_001), clips_per_shard=1)
    assert plan.count == 100_001
    name = plan.name(7)
    assert name == f"700/train-000007-of-100001-{plan.fingerprint}.parquet"
    for shard in (7, 99_999, 100_000):
        assert parse_name(plan.name(shard)) == ("train", shard, 100_001, plan.fingerprint)
        assert fnmatchcase(plan.name(shard), plan.pattern)
    assert name < plan.name(99_999) < plan.name(100_000)


def chi_square_99_9(freedom):
    """The value that chi-square exceeds in one of 1,000 cases (Wilson and Hilferty's approximation)."""
    term = 2 / (9 * freedom)
    return freedom * (1 - term + 3.0902 * math.sqrt(term)) ** 3


def test_each_window_of_256_rows_has_nearly_the_class_mix():
    """20 classes of very different sizes; windows that do not overlap, so that they are nearly independent."""
    weights = [label for label in range(20) for _ in range(100 + 40 * label)]
    plan = plan_of(table(len(weights), weights=weights))
    labels = plan.clips["label"].to_pylist()
    expected = {label: 256 * count / len(weights) for label, count in Counter(weights).items()}
    for begin in range(0, len(labels) - 255, 256):
        found = Counter(labels[begin : begin + 256])
        statistic = sum((found[label] - mean) ** 2 / mean for label, mean in expected.items())
        assert statistic < chi_square_99_9(19), begin


def test_real_annotations_are_mixed(shared):
    with open(shared / "annotations" / "activitynet_k700_val.csv", newline="") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    names = sorted(set(labels))
    clips = table(len(labels), weights=[names.index(label) for label in labels])
    plan = plan_of(clips, split="validation")
    assert plan.count == 128  # of at most 512 clips it takes 69, and 128 is the next multiple of 64
    begin = plan.clips["label"].to_pylist()[:700]
    assert len(set(begin)) > 400  # 700 draws of 700 classes: 1 - 1/e of them, 442
