"""`split=` of load_dataset: every spelling and expression; the other splits are neither read nor named."""

import logging

import datasets
import pytest

from tests.support import patience
from tests.support.fault_server import FaultServer
from tests.support.trees import (
    CLIPS,
    DATASETS_MAJOR,
    Clip,
    load,
    rows,
    rows_of,
    write_annotations,
    write_public,
    write_tree,
)

TRAIN, VAL = CLIPS["train"], CLIPS["validation"]


@pytest.fixture
def data_dir(tmp_path):
    return write_tree(tmp_path / "tree")


@pytest.fixture
def root(tmp_path):
    (tmp_path / "mirror").mkdir()
    return tmp_path / "mirror"


@pytest.fixture
def mirror(root, monkeypatch):
    patience.impatient(monkeypatch, 0.001)
    with FaultServer(root) as server:
        yield server


@pytest.mark.parametrize("split", ["val", "validate", datasets.Split("val"), datasets.ReadInstruction("val")])
def test_every_spelling_of_a_split(data_dir, split):
    assert rows(load(data_dir=data_dir, split=split)) == rows_of(VAL)
    if not isinstance(split, datasets.ReadInstruction):
        assert rows(load(data_dir=data_dir, split=split, streaming=True)) == rows_of(VAL)


def test_spellings_in_expressions(data_dir):
    whole = load(data_dir=data_dir, split="validation")
    assert load(data_dir=data_dir, split="val[:25%]").to_list() == whole.to_list()[:2]
    assert rows(load(data_dir=data_dir, split="train+val")) == sorted(rows_of(TRAIN) + rows_of(VAL))
    assert rows(load(data_dir=data_dir, split="all")) == rows_of([clip for split in CLIPS.values() for clip in split])
    first, second = load(data_dir=data_dir, split=["val", "testing[2:4]"])
    assert rows(first) == rows_of(VAL)
    assert second.num_rows == 2
    assert load(data_dir=data_dir, splits=["val", "training"]).keys() == {"validation", "train"}


@pytest.mark.skipif(DATASETS_MAJOR < 5, reason="datasets 3 and 4 stream single splits only")
def test_spellings_in_sums_of_streams(data_dir):
    stream = load(data_dir=data_dir, split="train+val", streaming=True)
    assert rows(stream) == sorted(rows_of(TRAIN) + rows_of(VAL))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "valid"}, r"unknown split 'valid'; did you mean 'validation'"),
        ({"split": "train+vall[:10%]"}, r"unknown split 'vall'"),
        ({"split": "val[10"}, "Unrecognized instruction format: validation"),
        ({"split": "val", "splits": ["train"]}, r"split='validation' is not among splits=\['train'\]"),
        ({"split": "val[:10%]", "streaming": True}, r"split='validation\[:10%\]': a stream is of whole splits"),
    ],
)
def test_what_is_no_split_is_refused_before_anything_is_built(data_dir, hf_cache, options, message):
    with pytest.raises(ValueError, match=message):
        load(data_dir=data_dir, **options)
    assert not list(hf_cache.rglob("*.arrow"))


@pytest.mark.parametrize("streaming", [False, True])
def test_other_splits_are_neither_requested_nor_needed(mirror, root, streaming):
    write_public(root, "700-2020", {"validation": VAL})  # no list, archive or annotations of the others
    found = load("700-2020", split="val", mirror=mirror.url, streaming=streaming)
    assert rows(found) == rows_of(VAL, "700-2020")
    assert not mirror.matching("*train*")
    assert not mirror.matching("*test*")


@pytest.mark.parametrize("streaming", [False, True])
def test_other_splits_are_neither_reported_nor_checked(data_dir, streaming, caplog):
    missing = Clip("zumba", "aaaaaaaaaaa", 0, 10)
    for name, clips in (("val", VAL), ("test", CLIPS["test"])):
        write_annotations(data_dir / "annotations" / f"{name}.csv", [*clips, missing], name)
    write_annotations(data_dir / "annotations" / "k_train.csv", TRAIN, "train")
    (data_dir / "annotations" / "train.csv").rename(data_dir / "annotations" / "x_train.csv")  # one too many
    load(data_dir=data_dir, split="validation", streaming=streaming)
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert lines == ["kinetics 700 validation: 8 of 9 clips; missing: 1 (aaaaaaaaaaa_000000_000010)"]


def test_public_splits_that_are_built_already_are_not_built_twice(mirror, root, hf_cache):
    write_public(root, "700-2020")
    load("700-2020", mirror=mirror.url)
    files = sorted(hf_cache.rglob("*.arrow"))
    assert rows(load("700-2020", split="val", mirror=mirror.url)) == rows_of(VAL, "700-2020")
    assert sorted(hf_cache.rglob("*.arrow")) == files


def test_a_builder_that_others_make_has_all_splits(data_dir):
    builder = datasets.load_dataset_builder("kinetics", "700", data_dir=str(data_dir), decode=False)
    builder.download_and_prepare()
    assert list(builder.as_dataset()) == ["train", "validation", "test"]
    assert rows(builder.as_dataset(split="val")) == rows_of(VAL)
    assert rows(builder.as_streaming_dataset(split="val")) == rows_of(VAL)
