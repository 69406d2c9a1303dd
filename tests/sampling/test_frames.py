"""`Frames` over datasets: which rows come, with which frames, in which order, whatever the loader does."""

import io
import pickle
import random
import subprocess
import sys

import av
import datasets
import numpy as np
import pytest

from kinetics_tools.media import ClipError, decode, write_clip
from kinetics_tools.sampling import (
    EveryClip,
    Frames,
    FramesDataset,
    RandomClip,
    RandomCrop,
    RandomResizedCrop,
    ThreeCrops,
    UniformClips,
    collate,
)

FRAMES = Frames(RandomClip(4, 2), RandomResizedCrop(32, flip=0.5), seed=7)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    contents = []
    for seed in range(6):
        generator = np.random.default_rng(seed)
        images = generator.integers(0, 256, (20, 48, 64, 3), np.uint8)
        write_clip(folder / "clip.mp4", images, fps=10)
        contents.append((folder / "clip.mp4").read_bytes())
    return contents


def dataset(contents):
    rows = {
        "video": [{"bytes": content, "path": f"clip {row}.mp4"} for row, content in enumerate(contents)],
        "label": list(range(len(contents))),
    }
    features = {"video": datasets.Video(decode=False), "label": datasets.Value("int64")}
    plain = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    made = datasets.Dataset.from_dict(rows, features=datasets.Features({**features, "video": plain}))
    return made.cast(datasets.Features(features))


def streamed(contents, tmp_path, shards=1):
    table = dataset(contents)
    for shard in range(shards):
        part = table.shard(shards, shard, contiguous=True)
        part.to_parquet(str(tmp_path / f"{shard}.parquet"))
    files = sorted(str(path) for path in tmp_path.glob("*.parquet"))
    return datasets.load_dataset("parquet", data_files=files, split="train", streaming=True)


def test_frames_of_an_example_and_of_both_kinds_of_dataset(clips, tmp_path):
    table = dataset(clips)
    mapped, stream = FRAMES.apply(table), list(FRAMES.apply(streamed(clips, tmp_path)))
    assert len(mapped) == len(stream) == 6
    transformed = table.with_transform(FRAMES)
    for row in range(6):
        expected = FRAMES.decode(table[row]["video"])
        assert expected.shape == (4, 32, 32, 3)
        assert set(stream[row]) == {"label", "frames"} == set(mapped[row])
        assert stream[row]["label"] == mapped[row]["label"] == row
        for example in (stream[row], mapped[row], FRAMES(table[row]), transformed[row]):
            np.testing.assert_array_equal(example["frames"], expected)
    assert len(list(mapped)) == 6
    np.testing.assert_array_equal(mapped[-1]["frames"], mapped[5]["frames"])


def test_repr():
    frames = Frames(EveryClip(8), 112, layout="CTHW")
    assert repr(frames) == (
        f"Frames({EveryClip(8)!r}, CenterCrop(size=112, short_side=None), layout='CTHW', seed=0, on_error='skip', "
        "column='video')"
    )
    assert repr(FramesDataset([1, 2], frames)) == f"FramesDataset(2 rows, {frames!r})"


@pytest.mark.parametrize("kind", ["arrow", "numpy", "torch"])
def test_frames_of_a_dataset_with_a_format(clips, tmp_path, kind, request):
    if kind == "torch":
        request.getfixturevalue("torch")
    mapped = FRAMES.apply(dataset(clips).with_format(kind))
    stream = list(FRAMES.apply(streamed(clips, tmp_path).with_format(kind)))
    for row, video in enumerate(dataset(clips)["video"]):
        for example in (mapped[row], stream[row]):
            assert (example["label"], type(example["label"])) == (row, int)
            assert example["frames"].dtype == np.uint8
            np.testing.assert_array_equal(example["frames"], FRAMES.decode(video))


def test_a_format_that_chooses_columns_still_does(clips):
    table = dataset(clips).add_column("words", ["long"] * 6).with_format("numpy", columns=["video"])
    assert set(FRAMES.apply(table)[0]) == {"frames"}


def test_a_stream_whose_columns_nobody_knows(clips, tmp_path):
    stream = streamed(clips, tmp_path).cast_column("video", datasets.Video(decode=False))
    mapped = stream.map(lambda row: {**row, "label": row["label"] + 1})
    for row, example in enumerate(FRAMES.apply(mapped)):
        assert example["label"] == row + 1
        np.testing.assert_array_equal(example["frames"], FRAMES.decode(dataset(clips)[row]["video"]))


def test_a_column_that_is_not_there_is_named_with_those_that_are(clips, tmp_path):
    frames = Frames(RandomClip(4, 2), column="clip")
    stream = streamed(clips, tmp_path).cast_column("video", datasets.Video(decode=False))
    for call in (
        lambda: frames.apply(dataset(clips)),
        lambda: frames.apply(stream),
        lambda: frames(dataset(clips)[0]),
        lambda: dataset(clips).with_transform(frames)[0:2],
        lambda: next(iter(frames.apply(stream.map(lambda row: row)))),  # whose columns nobody knows before
    ):
        with pytest.raises(ValueError, match="column='clip' does not exist; the columns are video, label"):
            call()


def test_rows_are_taken_one_by_one_of_one_split(clips):
    table = dataset(clips)
    with pytest.raises(TypeError, match=r"row slice\(0, 2, None\): must be one whole number"):
        FRAMES.apply(table)[0:2]
    for index in (6, -7):
        with pytest.raises(IndexError, match=f"row {index} of 6"):
            FRAMES.apply(table)[index]
    for several in (datasets.DatasetDict(test=table), datasets.IterableDatasetDict(test=table.to_iterable_dataset())):
        with pytest.raises(TypeError, match=r"DatasetDict: choose one split of test, as by \['test'\]"):
            FRAMES.apply(several)
    with pytest.raises(TypeError, match=r"dataset must be a Dataset or IterableDataset of load_dataset, got 'k400'"):
        FRAMES.apply("k400")


def test_views_and_clips_have_axes_of_their_own(clips):
    frames = Frames(UniformClips(5, 4, 2), ThreeCrops(24), layout="CTHW").decode(clips[0])
    assert frames.shape == (3, 5, 3, 4, 24, 24)
    indices = UniformClips(5, 4, 2)(20, 10.0)
    left, _, right = ThreeCrops(24)(48, 64)
    np.testing.assert_array_equal(frames[0], decode(clips[0], indices, crop=left.crop, size=(24, 24), layout="CTHW"))
    np.testing.assert_array_equal(frames[2], decode(clips[0], indices, crop=right.crop, size=(24, 24), layout="CTHW"))


def test_a_clip_has_one_geometry():
    """All frames of a still picture are the same."""
    still = np.repeat(np.random.default_rng(0).integers(0, 256, (1, 6, 8, 3), np.uint8), 8, axis=0)
    still = still.repeat(8, axis=1).repeat(8, axis=2)
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", 10, options={"crf": "0"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        for image in still:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    for framing in (RandomResizedCrop(32, flip=0.5), RandomCrop(32, (40, 60), flip=0.5)):
        for seed in range(10):
            frames = Frames(RandomClip(8), framing, seed=seed).decode(file.getvalue())
            assert (frames == frames[0]).all()


def test_frames_depend_on_seed_epoch_and_clip_alone(clips, tmp_path):
    table = dataset(clips)

    def frames(seed=0, epoch=0, row=0):
        sampled = Frames(RandomClip(4, 2), RandomResizedCrop(32, flip=0.5), seed=seed)
        sampled.set_epoch(epoch)
        return sampled.decode(table[row]["video"])

    np.testing.assert_array_equal(frames(), frames())
    assert (frames() != frames(seed=1)).any()
    assert (frames() != frames(epoch=1)).any()
    same = table[0]["video"]["bytes"]
    twice = dataset([same, same])
    assert (FRAMES.decode(twice[0]["video"]) != FRAMES.decode(twice[1]["video"])).any()
    copied = pickle.loads(pickle.dumps(FRAMES))
    np.testing.assert_array_equal(copied.decode(table[2]["video"]), FRAMES.decode(table[2]["video"]))


def test_ranks_and_workers_give_what_one_process_does(clips, tmp_path, torch):
    from datasets.distributed import split_dataset_by_node

    table, stream = dataset(clips), streamed(clips, tmp_path, shards=6)
    frames = Frames(RandomClip(4, 2), RandomResizedCrop(32, flip=0.5), seed=7)
    for epoch in range(2):
        frames.set_epoch(epoch)
        expected = {row: frames.decode(table[row]["video"]) for row in range(6)}
        seen = {}
        for rank in range(2):
            part = split_dataset_by_node(stream, rank=rank, world_size=2)
            loader = torch.utils.data.DataLoader(
                frames.apply(part), batch_size=2, num_workers=2, collate_fn=collate, persistent_workers=True
            )
            for batch in loader:
                assert batch["frames"].dtype == torch.uint8
                seen.update(zip(batch["label"].tolist(), batch["frames"].numpy(), strict=True))
        assert seen.keys() == expected.keys()
        for row, one in expected.items():
            np.testing.assert_array_equal(seen[row], one)


def test_workers_that_run_already_learn_the_epoch(clips, torch):
    frames = Frames(RandomClip(4, 2), RandomResizedCrop(32, flip=0.5), seed=7)
    mapped = frames.apply(dataset(clips))
    loader = torch.utils.data.DataLoader(
        mapped, batch_size=3, num_workers=1, collate_fn=collate, persistent_workers=True
    )
    epochs = []
    for epoch in range(2):
        frames.set_epoch(epoch)
        epochs.append(np.concatenate([batch["frames"].numpy() for batch in loader]))
        np.testing.assert_array_equal(epochs[-1], np.stack([mapped[row]["frames"] for row in range(6)]))
    assert (epochs[0] != epochs[1]).any()


def test_workers_learn_the_epoch_also_where_torch_is_imported_late(clips, tmp_path, torch):
    (tmp_path / "clip.mp4").write_bytes(clips[0])
    code = f"""
import datasets
from kinetics_tools.sampling import Frames, RandomCrop, RandomClip, collate
table = datasets.Dataset.from_dict({{"video": [{{"path": {str(tmp_path / "clip.mp4")!r}, "bytes": None}}] * 2}})
frames = Frames(RandomClip(4, 2), RandomCrop(32, (40, 48)))
from torch.utils.data import DataLoader
loader = DataLoader(frames.apply(table), batch_size=2, num_workers=1, collate_fn=collate, persistent_workers=True)
sums = []
for epoch in range(4):
    frames.set_epoch(epoch)
    sums.append(sum(int(batch["frames"].sum()) for batch in loader))
print(len(set(sums)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 1


def test_an_open_file_draws_as_its_bytes_or_its_name_say(clips, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(clips[0])
    frames = Frames(RandomClip(4, 2), RandomResizedCrop(32, flip=0.5))
    with open(tmp_path / "clip.mp4", "rb") as file:
        np.testing.assert_array_equal(frames.decode(file), frames.decode(tmp_path / "clip.mp4"))
    np.testing.assert_array_equal(frames.decode(io.BytesIO(clips[0])), frames.decode(clips[0]))


def test_rows_without_a_clip_are_left_out(clips):
    table = [None, {"bytes": None, "path": None}, {"bytes": clips[0], "path": "0.mp4"}]
    with pytest.warns(UserWarning, match="has neither bytes nor a path; drop the row"):
        batch = FRAMES.drop_failed({"video": table, "label": [0, 1, 2]})
    assert batch["label"] == [2]


def test_the_next_clip_takes_the_place_of_a_bad_one(clips, tmp_path):
    contents = [clips[0], b"junk", clips[1], clips[2][: len(clips[2]) // 2], clips[3][:300]]
    table, stream = dataset(contents), streamed(contents, tmp_path)
    with pytest.warns(UserWarning, match=r"clip 1\.mp4: is not a readable clip .*the next clip takes its place"):
        assert [example["label"] for example in FRAMES.apply(stream)] == [0, 2]
    mapped = FRAMES.apply(table)
    with pytest.warns(UserWarning, match=r"clip 3\.mp4: "):
        assert [mapped[row]["label"] for row in range(5)] == [0, 2, 2, 0, 0]
    strict = Frames(RandomClip(4, 2), 32, on_error="raise")
    with pytest.raises(ClipError, match=r"clip 1\.mp4: "):
        list(strict.apply(stream))
    with pytest.raises(ClipError, match=r"clip 3\.mp4: "):
        strict.apply(table)[3]


def test_a_function_of_a_batch_gives_as_many_rows(clips):
    """The place of a clip that failed is taken by the next good one of the batch, after the last by the first."""
    table = dataset([clips[0], b"junk", clips[1], b"junk"])
    transformed = table.with_transform(FRAMES)
    with pytest.warns(UserWarning, match=r"clip 1\.mp4: .*the next clip takes its place"):
        assert transformed[0:3]["label"] == [0, 2, 2]
    with pytest.warns(UserWarning, match=r"clip 3\.mp4: "):
        batch = transformed[0:4]
    assert batch["label"] == [0, 2, 2, 0]
    for row, label in enumerate(batch["label"]):
        np.testing.assert_array_equal(batch["frames"][row], FRAMES.decode(table[label]["video"]))
    for removed in ([], ["video"]):
        with pytest.warns(UserWarning, match=r"clip 1\.mp4: "):
            mapped = table.map(FRAMES, batched=True, remove_columns=removed, load_from_cache_file=False)
        assert mapped["label"][:] == [0, 2, 2, 0]
    with pytest.raises(ClipError, match=r"clip 1\.mp4: .*the batch has no readable clip"):
        transformed[1]
    with pytest.raises(ClipError, match=r"clip 1\.mp4: "):
        table.map(FRAMES, load_from_cache_file=False)


def test_draws_do_not_depend_on_where_a_file_lies(clips, tmp_path):
    names = ("abcdefghij0_000001_000011.mp4", "abcdefghij1_000001_000011.mp4")
    paths = [tmp_path / "val" / "zumba" / names[0], tmp_path / "moved" / names[0], tmp_path / names[1]]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clips[0])
    stored = {"bytes": clips[0], "path": names[0]}
    archived = {"bytes": clips[0], "path": f"zip://val/{names[0]}::https://host/val.zip"}
    one, moved, other = (FRAMES.decode(path) for path in paths)
    for same in (moved, FRAMES.decode(str(paths[0])), FRAMES.decode(stored), FRAMES.decode(archived)):
        np.testing.assert_array_equal(same, one)
    assert (one != other).any()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_failures_in_a_row_are_counted_anew_after_an_error(tmp_path):
    stream = Frames(RandomClip(4, 2), 32).apply(streamed([b"junk"] * 40, tmp_path))
    for _ in range(2):
        with pytest.raises(ClipError, match=r"clip 31\.mp4"):
            list(stream)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_nothing_but_bad_clips_is_an_error_and_no_hang(tmp_path):
    contents = [b"junk"] * 40
    with pytest.raises(ClipError, match=r"clip \d+\.mp4"):
        list(Frames(RandomClip(4, 2), 32).apply(streamed(contents, tmp_path)))
    with pytest.raises(ClipError, match=r"clip \d+\.mp4"):
        Frames(RandomClip(4, 2), 32).apply(dataset(contents))[5]
    with pytest.raises(ClipError, match="none of the 3 clips can be read"):
        Frames(RandomClip(4, 2), 32).apply(dataset(contents[:3]))[1]


def test_windows_that_a_clip_is_too_short_for(clips):
    with pytest.raises(ClipError, match=r"its 20 frames are too few for EveryClip\(frames_per_clip=30"):
        Frames(EveryClip(30), 32).decode(clips[0])


def test_batches_without_torch(clips, monkeypatch):
    mapped = FRAMES.apply(dataset(clips))
    batch = collate([{**mapped[row], "youtube_id": "a"} for row in range(3)], torch=False)
    assert batch["frames"].shape == (3, 4, 32, 32, 3)
    assert batch["label"].tolist() == [0, 1, 2]
    assert batch["youtube_id"] == ["a", "a", "a"]
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match=r"pip install torch"):
        collate([mapped[0]], torch=True)


def test_examples_that_make_no_batch():
    with pytest.raises(ValueError, match=r"examples=\[\]: a batch needs at least one"):
        collate([])
    with pytest.raises(ValueError, match=r"example 1 has the columns \['a'\], the first one \['a', 'b'\]"):
        collate([{"a": 1, "b": 2}, {"a": 1}])
    with pytest.raises(ValueError, match=r"a: has the shapes \(2,\), \(3,\), which cannot be stacked"):
        collate([{"a": np.zeros(2)}, {"a": np.zeros(3)}])


def test_texts_of_numpy_are_listed():
    assert collate([{"a": np.str_("x")}, {"a": np.str_("y")}]) == {"a": ["x", "y"]}


@pytest.mark.parametrize("as_tensors", [True, False])
def test_tensors_are_stacked_as_arrays_are(clips, tmp_path, torch, as_tensors):
    stream = FRAMES.apply(streamed(clips, tmp_path)).with_format("torch")
    batch = collate(list(stream), torch=as_tensors)
    assert isinstance(batch["frames"], torch.Tensor if as_tensors else np.ndarray)
    assert batch["frames"].shape == (6, 4, 32, 32, 3)
    assert batch["label"].tolist() == list(range(6))
    np.testing.assert_array_equal(batch["frames"][3], FRAMES.decode(dataset(clips)[3]["video"]))


def test_damaged_clips_never_hang(clips):
    generator = random.Random(0)
    contents = []
    for _ in range(20):
        content = bytearray(clips[0])
        for _ in range(30):
            content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
        contents.append(bytes(content))
    mapped = Frames(RandomClip(4, 2), 32).apply(dataset([*contents, clips[1]]))
    with pytest.warns(UserWarning, match="the next clip takes its place"):
        assert all(mapped[row]["frames"].shape == (4, 32, 32, 3) for row in range(21))
