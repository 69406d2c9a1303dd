"""Shuffled shards: another order in each epoch, and no row lost or repeated when a stream resumes."""

import functools
import itertools
from collections import Counter

import datasets
import pytest
from datasets.distributed import split_dataset_by_node

from kinetics_tools.sampling import shuffle_shards
from tests.support.trees import CLIPS, FEW_LAYOUTS, load, write_tree


@pytest.fixture(autouse=True)
def no_sleep(monkeypatch):
    # `datasets` sleeps so long at the end of each stream, for threads of older Arrow.
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0, raising=False)


def shuffled(prepared, epoch, seed=3):
    ds = datasets.load_dataset(str(prepared), "700", split="validation", streaming=True)
    ds = ds.cast_column("video", datasets.Video(decode=False)).select_columns(["youtube_id"])
    ds = shuffle_shards(ds, seed=seed)
    ds.set_epoch(epoch)
    return ds


def ids_of(examples):
    return [row["youtube_id"] for row in examples]


def check_resume(make, positions):
    """Check that a stream in the state of another yields exactly what was left of it. Resume it again, too."""
    whole = ids_of(make())
    for position in positions:
        ds, again, third = make(), make(), make()
        assert ids_of(itertools.islice(ds, position)) == whole[:position]
        again.load_state_dict(ds.state_dict())
        assert ids_of(itertools.islice(again, 2)) == whole[position : position + 2]
        third.load_state_dict(again.state_dict())
        assert ids_of(third) == whole[position + 2 :]


def test_a_shuffled_stream_of_prepared_shards_resumes_exactly(prepared):
    whole = ids_of(shuffled(prepared, 1))
    assert sorted(whole) == sorted(ids_of(shuffled(prepared, 0)))
    assert len({tuple(ids_of(shuffled(prepared, epoch, seed))) for epoch in (0, 1, 2) for seed in (3, 4)}) == 6
    check_resume(functools.partial(shuffled, prepared, 1), (1, 7, 13, 24))
    check_resume(functools.partial(shuffled, prepared, 0), (5,))


def test_rows_of_a_shard_stay_together(prepared):
    ds = datasets.load_dataset(str(prepared), "700", split="validation", streaming=True)
    stored = [ids_of(ds.shard(ds.num_shards, index).select_columns(["youtube_id"])) for index in range(ds.num_shards)]
    first = {rows[0]: rows for rows in stored}
    found = ids_of(shuffled(prepared, 1))
    while found:
        rows = first.pop(found[0])
        assert found[: len(rows)] == rows
        found = found[len(rows) :]
    assert not first


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
def test_a_shuffled_stream_of_clips_resumes_exactly(tmp_path, layout):
    data_dir = write_tree(tmp_path, layout, clips={"train": CLIPS["train"]})
    check_resume(lambda: shuffle_shards(load(data_dir=data_dir, split="train", streaming=True), seed=1), (1, 3, 6))


def test_nodes_share_the_shards_and_resume_exactly(prepared):
    seen = []
    for rank in range(2):
        make = functools.partial(split_dataset_by_node, shuffled(prepared, 1), rank=rank, world_size=2)
        check_resume(make, (1, 5))
        seen += ids_of(make())
    assert sorted(seen) == sorted(ids_of(shuffled(prepared, 1)))


def test_what_is_no_stream_is_refused(prepared):
    with pytest.raises(TypeError, match="stream must be an IterableDataset, got list; pass streaming=True"):
        shuffle_shards([])


def test_a_shuffled_stream_resumes_exactly_on_nodes_with_workers(prepared, torchdata):
    def loader(node):
        ds = split_dataset_by_node(shuffled(prepared, 1), rank=node, world_size=2)
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
    assert seen == Counter(ids_of(shuffled(prepared, 1)))
