"""Prepared folders, loaded and streamed by `datasets`."""

import functools
import itertools
import json
import os
from collections import Counter

import datasets
import pytest

from tests.support.clients import ROOT, run_program
from tests.support.clip_tree import rows_of

ALONE = """
import sys, json
sys.path = [path for path in sys.path if path != {here!r}]
import datasets
name, out = sys.argv[1:]
found = {{}}
for streaming in (True, False):
    for data in (name, out):
        ds = datasets.load_dataset(data, "700", split="validation", streaming=streaming)
        ds = ds.cast_column("video", datasets.Video(decode=False))
        found[f"{{streaming}} {{data == name}}"] = [[row["video"]["path"], row["label"]] for row in ds]
assert "kinetics" not in sys.modules and "kinetics_tools" not in sys.modules
print(json.dumps(found))
"""


def test_plain_datasets_loads_and_streams_it(prepared, tmp_path):
    (tmp_path / "kinetics").symlink_to(prepared)
    code = ALONE.format(here=str(ROOT))
    env = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    printed = run_program(code, "kinetics", prepared, cwd=tmp_path, env=env)
    expected = [[name, row["label"]] for name, row in rows_of(prepared).items()]
    assert len(expected) == 26
    assert json.loads(printed.splitlines()[-1]) == dict.fromkeys(
        ("True True", "True False", "False True", "False False"), expected
    )


def test_kinetics_loads_it_too_when_the_folder_is_called_so(prepared, tmp_path, monkeypatch):
    (tmp_path / "kinetics").symlink_to(prepared)
    monkeypatch.chdir(tmp_path)
    ds = datasets.load_dataset("kinetics", "700", split="validation", streaming=True)
    assert len(list(ds.cast_column("video", datasets.Video(decode=False)))) == 26


def test_torchcodec_decodes_every_row(prepared, torchcodec):
    for row in datasets.load_dataset(str(prepared), "700", split="validation", streaming=True):
        assert row["video"].metadata.num_frames == row["num_frames"] == len(row["video"][:])


# One file at a time: where `datasets` would read ten at once, it has that option.
ONE_FILE = {"max_buffer_input_shards": 1} if datasets.__version__ >= "5" else {}


def shuffled(prepared, epoch, **options):
    ds = datasets.load_dataset(str(prepared), "700", split="validation", streaming=True)
    ds = ds.cast_column("video", datasets.Video(decode=False)).select_columns(["youtube_id"])
    ds = ds.shuffle(seed=3, buffer_size=1, **options)
    ds.set_epoch(epoch)
    return ds


def ids_of(examples):
    return [row["youtube_id"] for row in examples]


@pytest.mark.skipif(datasets.__version__ < "4", reason="datasets 3 loses the one row in its buffer")
@pytest.mark.parametrize("options", [{}, ONE_FILE] if ONE_FILE else [{}])
def test_a_shuffled_stream_resumes_exactly(prepared, options, monkeypatch):
    # `datasets` sleeps so long at the end of each stream, for threads of older Arrow.
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0, raising=False)
    stream = functools.partial(shuffled, prepared, **options)
    whole = ids_of(stream(1))
    assert whole != ids_of(stream(0))
    assert sorted(whole) == sorted(ids_of(stream(0))) != whole
    for position in (1, 7, 13, 25):
        ds, again = stream(1), stream(1)
        rows = iter(ds)
        assert ids_of(itertools.islice(rows, position)) == whole[:position]
        again.load_state_dict(ds.state_dict())
        assert ids_of(again) == whole[position:]


def test_a_shuffled_stream_resumes_exactly_on_nodes_with_workers(prepared, torchdata):
    from datasets.distributed import split_dataset_by_node

    def loader(node):
        ds = split_dataset_by_node(shuffled(prepared, 1, **ONE_FILE), rank=node, world_size=2)
        return torchdata.stateful_dataloader.StatefulDataLoader(ds, batch_size=None, num_workers=2)

    seen = Counter()
    for node in range(2):
        whole = ids_of(loader(node))
        for position in (1, len(whole) // 2):
            stopped = loader(node)
            assert ids_of(itertools.islice(stopped, position)) == whole[:position]
            again = loader(node)
            again.load_state_dict(stopped.state_dict())
            assert ids_of(again) == whole[position:]
        seen.update(whole)
    assert seen == Counter(ids_of(shuffled(prepared, 1, **ONE_FILE)))
