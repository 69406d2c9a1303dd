"""Batches that workers make in memory that they use again: none may change while anyone still has it."""

import gc
import sys
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest

from kinetics_tools.sampling import collate

# Of 0.9 MB; two of them are over the size from which on memory is used again.
SHAPE = (2, 384, 384, 3)
ROWS, BATCH = 40, 2


class Numbered:
    """Rows whose frames hold their number."""

    def __init__(self, dtype="uint8", rows=ROWS):
        self.dtype, self.rows = dtype, rows

    def __len__(self):
        return self.rows

    def __getitem__(self, row):
        return {"label": row, "frames": np.full(SHAPE, row, self.dtype)}


def batches(torch, rows=None, collate_fn=collate, **options):
    options = {"num_workers": 2, "multiprocessing_context": "fork", **options}
    return torch.utils.data.DataLoader(rows or Numbered(), batch_size=BATCH, collate_fn=collate_fn, **options)


def assert_right(batch):
    frames = batch["frames"].numpy()
    assert np.array_equal(frames, np.broadcast_to(batch["label"].numpy().reshape(-1, 1, 1, 1, 1), frames.shape))


def file_of(tensor):
    """Which shared file a tensor lies in, by the system's list of mapped memory."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, _, _, inode = line.split()[:5]
        start, end = (int(one, 16) for one in span.split("-"))
        if start <= tensor.data_ptr() < end:
            return inode
    raise AssertionError("mapped nowhere")


@pytest.mark.parametrize("dtype", ["uint8", "float32", "int64"])
def test_batches_that_are_kept_stay_as_they_are(torch, dtype):
    kept = list(batches(torch, Numbered(dtype, rows=40)))
    assert [batch["label"].tolist() for batch in kept] == [[row, row + 1] for row in range(0, 40, 2)]
    for batch in kept:
        assert batch["frames"].dtype == getattr(torch, dtype)
        assert type(batch["frames"]) is torch.Tensor
        assert_right(batch)


def test_batches_stay_that_a_spawned_worker_makes(torch):
    for batch in list(batches(torch, Numbered(rows=8), num_workers=1, multiprocessing_context="spawn")):
        assert_right(batch)


def test_parts_of_a_batch_keep_all_of_it(torch):
    kept = []
    for number, batch in enumerate(batches(torch)):
        frames = batch["frames"]
        if number < 3:
            kept.append((2 * number + 1, frames[1, :1, ::2]))
        elif number < 6:
            kept.append((2 * number + 1, frames.numpy()[1, 1:]))
        elif number < 9:
            kept.append((2 * number + 1, frames.flatten(1).unbind()[1]))
        del batch, frames
    assert [sorted(set(np.asarray(part).flat)) for _, part in kept] == [[row] for row, _ in kept]


@pytest.mark.skipif(sys.platform != "linux", reason="reads the list of mapped memory that Linux keeps")
def test_memory_that_was_let_go_is_used_again(torch):
    files = []
    for batch in batches(torch, num_workers=1):
        assert_right(batch)
        files.append(file_of(batch["frames"]))
        del batch
    assert len(files) == ROWS / BATCH
    assert len(set(files)) <= 5  # 2 asked for ahead, one in the queue, one being made, one here
    kept = [file_of(batch["frames"]) for batch in list(batches(torch, num_workers=1))]
    assert len(set(kept)) == ROWS / BATCH


def changed_in_place(rows):
    batch = collate(rows)
    batch["frames"].transpose_(1, 4)
    return batch


def cut_short(rows):
    batch = collate(rows)
    return {**batch, "frames": batch["frames"][:, :1]}


def moved(rows):
    batch = collate([{**row, "frames": row["frames"] + 100} for row in rows])
    batch["frames"].data = batch["frames"] - 100
    return batch


def made_twice(rows):
    collate([{**row, "frames": row["frames"] + 100} for row in rows])
    return collate(rows)


def sent_twice(rows):
    batch = collate(rows)
    return {**batch, "again": batch["frames"]}


@pytest.mark.parametrize("collate_fn", [changed_in_place, cut_short, moved, made_twice, sent_twice])
@pytest.mark.parametrize("is_kept", [False, True])
def test_what_a_worker_does_to_a_batch_arrives(torch, collate_fn, is_kept):
    given = batches(torch, collate_fn=collate_fn)
    shape = {changed_in_place: (2, 3, 384, 384, 2), cut_short: (2, 1, 384, 384, 3)}.get(collate_fn, (2, *SHAPE))
    for batch in list(given) if is_kept else given:
        assert batch["frames"].shape == shape
        assert_right(batch)
        if collate_fn is sent_twice:
            assert_right({**batch, "frames": batch["again"]})


@pytest.mark.skipif(sys.platform != "linux", reason="reads the list of mapped memory that Linux keeps")
def test_small_tensors_are_sent_as_what_they_hold(torch):
    class Mixed(Numbered):
        def __getitem__(self, row):
            small = {"fps": row / 2, "has_audio": row % 3 == 0, "point": np.full((2, 3), row, "int16")}
            return {**super().__getitem__(row), **small}

    for number, batch in enumerate(batches(torch, Mixed(rows=8))):
        rows = [2 * number, 2 * number + 1]
        for name, dtype, expected in (
            ("label", torch.int64, rows),
            ("fps", torch.float64, [row / 2 for row in rows]),
            ("has_audio", torch.bool, [row % 3 == 0 for row in rows]),
            ("point", torch.int16, [[[row] * 3] * 2 for row in rows]),
        ):
            assert type(batch[name]) is torch.Tensor
            assert batch[name].dtype == dtype
            assert batch[name].tolist() == expected
            assert file_of(batch[name]) == "0"  # in no file that is shared
            batch[name].zero_()
        assert file_of(batch["frames"]) != "0"


def test_batches_of_other_sizes_take_the_place_of_free_memory(torch):
    class Growing(Numbered):
        def __getitem__(self, row):
            return {"label": row, "frames": np.full((1 + row // 2, 512, 512, 3), row, "uint8")}

    kept = [batch for batch in batches(torch, Growing(rows=24)) if not batch["label"][0] % 4]
    assert len(kept) == 6
    for batch in kept:
        assert_right(batch)


def test_two_receivers_of_one_batch_do_not_share_it(torch):
    from kinetics_tools.sampling.shared_batches import _Buffer

    buffer = _Buffer(1 << 20)
    batch = buffer.lend((1 << 20,), torch.uint8).fill_(7)
    first = ForkingPickler.loads(ForkingPickler.dumps(batch))
    second = ForkingPickler.loads(ForkingPickler.dumps(batch))
    assert not buffer.is_free()
    del batch
    gc.collect()
    assert not buffer.is_free()  # for the first
    del first
    gc.collect()
    assert buffer.is_free()
    buffer.lend((1 << 20,), torch.uint8).fill_(9)
    assert second.unique().tolist() == [7]
