"""Streams as training uses them: shards, nodes, workers, and going on where one stopped."""

import copy
import json
import pickle
from itertools import chain

import pytest
from datasets.distributed import split_dataset_by_node

import kinetics  # noqa: F401  (registers the builder)
from tests.support import patience
from tests.support.fault_server import Fault, FaultServer
from tests.support.mirror import tar_gz, write_mirror
from tests.support.trees import (
    clips_of,
    left_after,
    load,
    noisy,
    ordered_rows,
    rows,
    rows_of,
    write_annotations,
    write_tree,
)

CLIPS = clips_of("train", 25)


@pytest.fixture(params=["tree", "archives", "mirror", "bad mirror"])
def make(request, tmp_path, monkeypatch):
    """Makes the same stream of 25 clips, of 25 files or of 5 archives, again and again: copies of one, or anew."""

    def maker(*arguments, **options):
        def make(anew=False):
            return load(*arguments, split="train", streaming=True, **options) if anew else copy.deepcopy(first)

        first = make(anew=True)
        return make

    if request.param == "tree":
        data_dir = str(write_tree(tmp_path, clips={"train": CLIPS}))
        yield maker(data_dir=data_dir)
        return
    parts = {f"part_{number}": CLIPS[5 * number : 5 * number + 5] for number in range(5)}
    members = {name: {clip.file_name: clip.content for clip in part} for name, part in parts.items()}
    if request.param == "archives":
        (tmp_path / "train").mkdir()
        for name, content in members.items():
            (tmp_path / "train" / f"{name}.tar.gz").write_bytes(tar_gz(content))
        write_annotations(tmp_path / "train.csv", CLIPS, "train")
        yield maker(data_dir=str(tmp_path))
        return
    patience.impatient(monkeypatch, 0.001)
    write_mirror(tmp_path, "700-2020", {"train": members}, annotations={"train": [clip.row for clip in CLIPS]})
    faults = [Fault("cut", "*/part_*", at=200, relative=True, probability=0.5), Fault("status", probability=0.1)]
    with FaultServer(tmp_path, faults=faults if request.param == "bad mirror" else []) as mirror:
        yield maker("700-2020", splits=["train"], mirror=mirror.url)


# ---- Shards


def test_shards_are_the_archives(tmp_path):
    for count, layout in ((25, "flat"), (2, ".tar.gz"), (2, ".tar of class folders")):
        data_dir = write_tree(tmp_path / layout, layout, clips={"train": CLIPS})
        assert load(data_dir=str(data_dir), split="train", streaming=True).num_shards == count


@pytest.mark.parametrize("count", [2, 961, 1500])
def test_files_are_cut_into_even_groups(tmp_path, count):
    clips = clips_of("train", count)
    stream = load(data_dir=str(write_tree(tmp_path, "flat", clips={"train": clips})), split="train", streaming=True)
    shards = stream.num_shards
    assert 1 <= shards <= count
    sizes = [len(list(stream.shard(shards, index))) for index in range(0, shards, max(1, shards // 6))]
    assert max(sizes) - min(sizes) <= 1


def test_shards_of_the_mirror_are_its_archives(tmp_path):
    parts = {f"part_{number}": {clip.file_name: clip.content} for number, clip in enumerate(CLIPS[:7])}
    write_mirror(tmp_path, "600", {"val": parts}, annotations={"val": [clip.row for clip in CLIPS]})
    with FaultServer(tmp_path) as mirror:
        options = {"split": "validation", "splits": ["validation"], "mirror": mirror.url, "streaming": True}
        assert load("600", **options).num_shards == 7


def test_shards_of_a_stream_share_its_clips(make):
    stream = make()
    parts = [rows(stream.shard(num_shards=5, index=index)) for index in range(5)]
    assert sorted(chain(*parts)) == rows_of(CLIPS)
    assert all(parts)


def test_shuffling_moves_clips_and_loses_none(make):
    shuffled = ordered_rows(make().shuffle(seed=3, buffer_size=5))
    assert sorted(shuffled) == rows_of(CLIPS)
    assert shuffled != ordered_rows(make())


def test_a_stream_may_be_read_again(make):
    stream = make()
    assert ordered_rows(stream) == ordered_rows(stream) == ordered_rows(make(anew=True))


# ---- Going on


def test_a_resumed_stream_yields_exactly_what_was_left_at_every_position(make):
    whole = ordered_rows(make())
    assert sorted(whole) == rows_of(CLIPS)
    stream = make()
    iterator = iter(stream)
    for position in range(1, len(CLIPS) + 1):
        next(iterator)
        state = json.loads(json.dumps(stream.state_dict()))  # as a checkpoint keeps it
        again = make(anew=position % 8 == 0)
        again.load_state_dict(state)
        assert ordered_rows(again) == whole[position:]


def test_a_resumed_stream_can_be_resumed_again(make):
    whole = ordered_rows(make())
    state, found = None, []
    for _ in range(4):
        stream = make()
        if state is not None:
            stream.load_state_dict(state)
        iterator = iter(stream)
        found += ordered_rows(next(iterator) for _ in range(6))
        state = stream.state_dict()
    assert found == whole[:24]


def test_a_resumed_stream_of_mapped_clips(make):
    whole = [row[3] for row in ordered_rows(make())]

    def mapped():
        return make().map(lambda example: {"name": example["youtube_id"]}, remove_columns=["video"])

    for position in (1, 5, 6, 25):
        stream = mapped()
        iterator = iter(stream)
        for _ in range(position):
            next(iterator)
        again = mapped()
        again.load_state_dict(stream.state_dict())
        assert [example["name"] for example in again] == whole[position:]


def test_groups_of_several_files_are_resumed_inside(tmp_path):
    clips = clips_of("train", 1500)
    data_dir = str(write_tree(tmp_path, "flat", clips={"train": clips}))

    fresh = load(data_dir=data_dir, split="train", streaming=True).select_columns(["youtube_id", "time_start"])
    whole = list(copy.deepcopy(fresh))
    assert len(whole) == 1500
    stream = copy.deepcopy(fresh)
    for position, _ in enumerate(stream, 1):
        if position in (1, 2, 3, 750, 1500):
            again = copy.deepcopy(fresh)
            again.load_state_dict(stream.state_dict())
            assert list(again) == whole[position:]


def test_both_clips_of_a_video_are_resumed_as_two(make):
    # The last two are of one video.
    whole = ordered_rows(make())
    twins = [index for index, row in enumerate(whole) if row[3] == CLIPS[-1].youtube_id]
    assert len(twins) == 2
    for index in twins:
        assert left_after(index + 1, make) == whole[index + 1 :]


# ---- Nodes


@pytest.mark.parametrize("nodes", [1, 2, 3, 5])
def test_nodes_share_the_clips(make, nodes):
    parts = [rows(split_dataset_by_node(make(), rank=rank, world_size=nodes)) for rank in range(nodes)]
    assert sorted(chain(*parts)) == rows_of(CLIPS)
    assert all(parts)


def test_a_node_is_resumed(make):
    for rank in range(3):

        def node(rank=rank):
            return split_dataset_by_node(make(), rank=rank, world_size=3)

        whole = ordered_rows(node())
        for position in (1, 4, len(whole)):
            assert left_after(position, node) == whole[position:]


# ---- Workers


def as_given(examples):
    return examples


def test_each_clip_comes_once_from_two_workers(torch, make):
    loader = torch.utils.data.DataLoader(make(), batch_size=None, num_workers=2, collate_fn=as_given)
    assert rows(loader) == rows_of(CLIPS)


def test_batches_of_more_workers_than_archives(torch, make):
    loader = torch.utils.data.DataLoader(make(), batch_size=3, num_workers=6, collate_fn=as_given)
    assert rows(example for batch in loader for example in batch) == rows_of(CLIPS)


def test_workers_of_nodes_share_the_clips(torch, make):
    found = []
    for rank in range(2):
        node = split_dataset_by_node(make(), rank=rank, world_size=2)
        found += rows(torch.utils.data.DataLoader(node, batch_size=None, num_workers=2, collate_fn=as_given))
    assert sorted(found) == rows_of(CLIPS)


def test_a_whole_dataset_in_two_workers(torch, tmp_path):
    ds = load(data_dir=str(write_tree(tmp_path, clips={"train": CLIPS})), split="train")
    loader = torch.utils.data.DataLoader(ds, batch_size=None, num_workers=2, collate_fn=as_given)
    assert rows(loader) == rows_of(CLIPS)


def test_each_clip_comes_once_from_two_workers_that_are_resumed(torch, make):
    class Resumed(torch.utils.data.IterableDataset):
        """Resume like torchdata's StatefulDataLoader: take the state in a worker, and give it to a new one."""

        def __init__(self, stream, states=None, count=None):
            self.stream, self.states, self.count = stream, states, count

        def __iter__(self):
            worker = torch.utils.data.get_worker_info().id
            if self.states is not None:
                self.stream.load_state_dict(self.states[worker])
            for index, example in enumerate(self.stream):
                yield worker, example, copy.deepcopy(self.stream.state_dict())
                if self.count is not None and index + 1 == self.count:
                    return

    def loader(dataset):
        return torch.utils.data.DataLoader(dataset, batch_size=None, num_workers=2, collate_fn=as_given)

    found, states = [], {}
    for worker, example, state in loader(Resumed(make(), count=6)):
        found.append(example)
        states[worker] = pickle.loads(pickle.dumps(state))
    assert len(found) == 12
    found += [example for _, example, _ in loader(Resumed(make(), states))]
    assert rows(found) == rows_of(CLIPS)


# ---- Clips of real size


def test_a_stream_of_large_clips_is_resumed_in_the_middle_of_an_archive(tmp_path):
    clips = noisy(CLIPS[:8], 700_000)
    data_dir = str(write_tree(tmp_path, ".tar", clips={"train": clips}))

    def make():
        return load(data_dir=data_dir, split="train", streaming=True)

    whole = ordered_rows(make())
    assert sorted(whole) == rows_of(clips)
    for position in (1, 4, 7):
        assert left_after(position, make) == whole[position:]
