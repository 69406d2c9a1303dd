"""Common uses of a dataset: looking, slicing, mapping, formats, pickling, processes."""

import pickle
import shutil

import datasets
import pytest
from datasets import concatenate_datasets, get_dataset_config_names, get_dataset_split_names, load_dataset_builder

import kinetics
from kinetics_tools.releases import LABELS, RELEASES
from tests.support.clients import run_program
from tests.support.hub import Hub
from tests.support.hub_process import environment
from tests.support.hub_token import ANN
from tests.support.trees import CLIPS, FEW_LAYOUTS, clips_of, load, ordered_rows, rows, rows_of, write_tree

TRAIN = CLIPS["train"]
_VERSION = tuple(int(part) for part in datasets.__version__.split(".")[:2])


@pytest.fixture
def data_dir(tmp_path):
    return str(write_tree(tmp_path / "tree"))


@pytest.fixture
def train(data_dir):
    return load(data_dir=data_dir, split="train")


# ---- Looking


@pytest.mark.parametrize("release", RELEASES)
def test_the_info_of_a_builder_says_what_it_is(release):
    info = load_dataset_builder("kinetics", release, decode=False).info
    assert list(info.features) == ["video", "label", "youtube_id", "time_start", "time_end"]
    assert info.features["label"] == datasets.ClassLabel(names=list(LABELS[release]))
    assert info.features["youtube_id"] == datasets.Value("string")
    assert info.features["time_start"] == info.features["time_end"] == datasets.Value("float32")
    assert info.features["video"] == datasets.Video(decode=False)
    assert "CC BY 4.0" in info.license
    assert info.homepage.startswith("https://")
    assert f"Kinetics-{release}" in info.description
    assert "@article" in info.citation


def test_releases_are_the_config_names():
    assert get_dataset_config_names("kinetics") == list(RELEASES)


@pytest.mark.parametrize("release", RELEASES)
def test_split_names_without_a_tree_need_no_server(release):
    assert get_dataset_split_names("kinetics", release) == ["train", "validation", "test"]


@pytest.mark.parametrize("layout", ["class folders", ".tar.gz"])
def test_split_names_of_a_tree_are_those_in_it(tmp_path, layout):
    data_dir = write_tree(tmp_path, layout, clips={"train": TRAIN, "validation": CLIPS["validation"]})
    found = get_dataset_split_names("kinetics", "700", data_dir=str(data_dir))
    assert sorted(found) == ["train", "validation"]


def test_split_sizes_after_a_load_are_those_loaded(data_dir):
    ds = load(data_dir=data_dir)
    sizes = {name: split.num_examples for name, split in ds["train"].info.splits.items()}
    assert sizes == {"train": 8, "validation": 8, "test": 8}
    assert {name: len(split) for name, split in ds.items()} == sizes


def test_a_builder_builds_and_streams(data_dir):
    builder = load_dataset_builder("kinetics", "700", data_dir=data_dir, decode=False)
    assert isinstance(builder, kinetics.Kinetics)
    builder.download_and_prepare()
    assert rows(builder.as_dataset("train")) == rows_of(TRAIN)
    assert rows(builder.as_streaming_dataset("train")) == rows_of(TRAIN)


def test_the_builder_class_works_without_load_dataset(data_dir):
    builder = kinetics.Kinetics(config_name="700", data_dir=data_dir, decode=False)
    builder.download_and_prepare()
    assert rows(builder.as_dataset("train")) == rows_of(TRAIN)
    assert rows(builder.as_streaming_dataset("train")) == rows_of(TRAIN)


@pytest.mark.parametrize("layout", ["class folders", ".tar.gz"])
def test_a_builder_writes_parquet(tmp_path, layout):
    data_dir = write_tree(tmp_path / "tree", layout, clips={"train": TRAIN})
    builder = load_dataset_builder("kinetics", "700", data_dir=str(data_dir), decode=False)
    builder.download_and_prepare(str(tmp_path / "out"), file_format="parquet")
    files = [str(path) for path in (tmp_path / "out").rglob("*.parquet")]
    ds = datasets.load_dataset("parquet", data_files=files, split="train")
    assert rows(ds.cast_column("video", datasets.Video(decode=False))) == rows_of(TRAIN)


# ---- Splits


@pytest.mark.parametrize("layout", ["class folders", ".tar.gz"])
def test_slices_of_a_split(tmp_path, layout):
    clips = clips_of("train", 200)
    data_dir = str(write_tree(tmp_path, layout, clips={"train": clips}))
    whole = ordered_rows(load(data_dir=data_dir, split="train"))
    assert sorted(whole) == rows_of(clips)
    assert ordered_rows(load(data_dir=data_dir, split="train[:1%]")) == whole[:2]
    assert ordered_rows(load(data_dir=data_dir, split="train[50%:]")) == whole[100:]
    assert ordered_rows(load(data_dir=data_dir, split="train[10:20]+train[-5:]")) == whole[10:20] + whole[-5:]


def test_splits_added_up_and_several_at_once(data_dir):
    both = load(data_dir=data_dir, split="train+test")
    assert rows(both) == sorted(rows_of(TRAIN) + rows_of(CLIPS["test"]))
    first, second = load(data_dir=data_dir, split=["test", "validation"])
    assert rows(first) == rows_of(CLIPS["test"])
    assert rows(second) == rows_of(CLIPS["validation"])


# ---- Working on rows


def test_filter_map_select_sort_and_shuffle(train):
    zumba = LABELS["700"].index("zumba")
    expected = [row for row in rows_of(TRAIN) if row[2] == zumba]
    assert rows(train.filter(lambda label: label == zumba, input_columns="label")) == expected
    named = train.map(lambda example: {"name": LABELS["700"][example["label"]]})
    assert sorted(named["name"]) == sorted(clip.label for clip in TRAIN)
    assert ordered_rows(train.select([3, 1])) == [ordered_rows(train)[index] for index in (3, 1)]
    assert list(train.sort("label")["label"]) == sorted(row[2] for row in rows_of(TRAIN))
    assert rows(train.shuffle(seed=1)) == rows_of(TRAIN)
    parts = train.train_test_split(test_size=3, seed=1)
    assert len(parts["test"]) == 3
    assert sorted(rows(parts["train"]) + rows(parts["test"])) == rows_of(TRAIN)
    assert train.features["label"].int2str(zumba) == "zumba"
    assert sorted(train.unique("youtube_id")) == sorted({clip.youtube_id for clip in TRAIN})


def test_filter_map_take_skip_and_shuffle_of_a_stream(data_dir):
    stream = load(data_dir=data_dir, split="train", streaming=True)
    whole = ordered_rows(stream)
    zumba = LABELS["700"].index("zumba")
    assert rows(stream.filter(lambda example: example["label"] == zumba)) == [
        r for r in rows_of(TRAIN) if r[2] == zumba
    ]
    named = stream.map(lambda example: {"name": LABELS["700"][example["label"]]})
    assert [example["name"] for example in named] == [LABELS["700"][row[2]] for row in whole]
    assert ordered_rows(stream.take(3)) == whole[:3]
    if _VERSION != (4, 8):  # which yields rows that it should skip: pull request 8236 of datasets, in 5.0
        assert ordered_rows(stream.skip(3)) == whole[3:]
    assert rows(stream.shuffle(seed=1, buffer_size=4)) == rows_of(TRAIN)
    assert {example["label"] for example in stream.select_columns(["label"])} == {row[2] for row in whole}


def test_releases_concatenate_after_their_labels_are_mapped(tmp_path):
    old = load("400", data_dir=str(write_tree(tmp_path / "old", clips={"train": TRAIN})), split="train")
    clips = clips_of("validation")
    new = load("700", data_dir=str(write_tree(tmp_path / "new", clips={"train": clips})), split="train")

    def mapped(example):
        return {"label": kinetics.map_index(example["label"], "400", "700")}

    both = concatenate_datasets([old.map(mapped, features=new.features), new])
    assert both.features == new.features
    assert rows(both) == sorted(rows_of(TRAIN, "700") + rows_of(clips, "700"))


def test_splits_concatenate_and_interleave_in_streams(data_dir):
    streams = [load(data_dir=data_dir, split=split, streaming=True) for split in ("train", "test")]
    expected = sorted(rows_of(TRAIN) + rows_of(CLIPS["test"]))
    assert rows(concatenate_datasets(streams)) == expected
    assert rows(datasets.interleave_datasets(streams, stopping_strategy="all_exhausted")) == expected


def test_a_dataset_is_saved_and_loaded(train, tmp_path):
    train.save_to_disk(tmp_path / "saved")
    again = datasets.load_from_disk(tmp_path / "saved")
    assert again.features == train.features
    assert rows(again) == rows_of(TRAIN)


# ---- Formats


def test_numpy_and_arrow_formats(train):
    batch = train.with_format("numpy", columns=["label", "time_start"])[:]
    assert batch["label"].tolist() == [row[2] for row in ordered_rows(train)]
    table = train.with_format("arrow")[:]
    assert table.column("label").to_pylist() == [row[2] for row in ordered_rows(train)]


def test_torch_format(torch, data_dir):
    for streaming in (False, True):
        ds = load(data_dir=data_dir, split="train", streaming=streaming)
        labels = [row[2] for row in ordered_rows(ds)]
        found = list(ds.with_format("torch"))
        assert all(isinstance(example["label"], torch.Tensor) for example in found)
        assert [example["label"].item() for example in found] == labels
        assert all(example["time_end"].dtype == torch.float32 for example in found)
        assert all(example["video"]["path"].endswith(".mp4") for example in found)


# ---- Pickling and processes


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
def test_builder_dataset_and_stream_survive_pickling(tmp_path, layout):
    data_dir = str(write_tree(tmp_path, layout))
    builder = pickle.loads(pickle.dumps(load_dataset_builder("kinetics", "700", data_dir=data_dir, decode=False)))
    builder.download_and_prepare()
    assert rows(builder.as_dataset("train")) == rows_of(TRAIN)
    assert rows(pickle.loads(pickle.dumps(load(data_dir=data_dir, split="train")))) == rows_of(TRAIN)
    stream = load(data_dir=data_dir, split="train", streaming=True)
    assert rows(pickle.loads(pickle.dumps(stream))) == rows_of(TRAIN)
    next(iter(stream))
    assert rows(pickle.loads(pickle.dumps(stream))) == rows_of(TRAIN)


def test_a_pickled_stream_is_small(tmp_path):
    clips = clips_of("train", 3000)
    data_dir = write_tree(tmp_path, "flat", clips={"train": clips})
    stream = load(data_dir=str(data_dir), split="train", streaming=True)
    names = sum(len(str(data_dir)) + len(clip.file_name) + 8 for clip in clips)
    assert len(pickle.dumps(stream)) < 3 * names


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
def test_two_processes_build_the_same(tmp_path, layout):
    data_dir = str(write_tree(tmp_path, layout, clips={"train": TRAIN}))
    assert rows(load(data_dir=data_dir, split="train", num_proc=2)) == rows_of(TRAIN)


def test_map_and_filter_in_two_processes(train):
    assert rows(train.map(lambda example: example, num_proc=2)) == rows_of(TRAIN)
    assert rows(train.filter(lambda example: True, num_proc=2)) == rows_of(TRAIN)


# ---- The Hub


PUSH = """
import sys
import datasets
import kinetics
ds = datasets.load_dataset("kinetics", "700", data_dir=sys.argv[1], split="train", decode=False)
ds.push_to_hub("ann/kinetics", config_name="700", split="train", private=True)
"""

READ = """
import sys
import datasets
assert "kinetics" not in sys.modules
for streaming in (False, True):
    ds = datasets.load_dataset("ann/kinetics", "700", split="train", streaming=streaming)
    ds = ds.cast_column("video", datasets.Video(decode=False))
    found = [(row["video"]["path"], row["video"]["bytes"].decode(), row["label"]) for row in ds]
    print(sorted(found))
"""


def test_push_to_hub_embeds_the_bytes_of_a_tree(data_dir, tmp_path):
    """The clips' own bytes arrive, and plain `datasets` reads them back when the tree is gone."""
    if _VERSION < (4, 6):
        pytest.skip("before datasets 4.6 push_to_hub embeds no video: kinetics.embed_bytes does")
    with Hub(tmp_path / "hub") as hub:
        env = environment(hub.url, tmp_path / "home", token=ANN)
        for code in (PUSH, READ):
            printed = run_program(code, data_dir, env=env, cwd=tmp_path, timeout=120)
            shutil.rmtree(data_dir, ignore_errors=True)
    names = LABELS["700"]
    expected = sorted((clip.file_name, clip.content.decode(), names.index(clip.label)) for clip in TRAIN)
    assert printed.splitlines() == [str(expected)] * 2
