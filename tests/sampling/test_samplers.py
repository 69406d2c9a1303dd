"""Samplers and framings against formulas of the peers that they follow; `Frames` over datasets, epochs and workers."""

import io
import itertools
import math
import pickle
import random
import re
import subprocess
import sys
from fractions import Fraction

import av
import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetics_tools.media import ClipError, View, decode, write_clip
from kinetics_tools.sampling import (
    CenterCrop,
    EveryClip,
    Frames,
    RandomClip,
    RandomCrop,
    RandomResizedCrop,
    Scale,
    Seconds,
    Segments,
    ShortSide,
    ThreeCrops,
    UniformClips,
    collate,
)

LENGTHS = (1, 2, 3, 7, 15, 16, 17, 31, 60, 61, 62, 64, 250, 299, 300, 301)
RATES = (12.5, 24_000 / 1001, 25.0, 29.97, 30.0, 60.0)
EXACT_RATES = tuple(Fraction(*rate) for rate in ((25, 2), (24_000, 1001), (25, 1), (2997, 100), (30, 1), (60, 1)))


def rng(seed=0):
    return np.random.default_rng(seed)


# ---- Formulas of the peers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize(("count", "stride"), [(16, 4), (8, 8), (1, 1), (32, 2)])
def test_random_clips_start_anywhere_that_fits(length, count, stride):
    """TorchCodec: start in [0, max(N - span + 1, 1)), span = stride (T - 1) + 1; then every stride-th frame."""
    stops = max(length - (stride * (count - 1) + 1) + 1, 1)
    starts = set()
    generator = rng()
    for _ in range(20 * stops):
        indices = RandomClip(count, stride)(length, 30.0, generator)
        starts.add(int(indices[0]))
        expected = [min(int(indices[0]) + stride * frame, length - 1) for frame in range(count)]
        assert indices.tolist() == expected
    assert starts == set(range(stops))


@pytest.mark.parametrize("length", LENGTHS)
def test_clips_on_the_grid_start_at_all_multiples_of_four(length):
    generator = rng()
    starts = {int(RandomClip(16, 4, align="grid")(length, 30.0, generator)[0]) for _ in range(2000)}
    assert starts == set(range(0, max(length - 61, 0) + 1, 4))


def test_short_clips_repeat_or_loop():
    assert RandomClip(6, 2)(5, 30.0, rng()).tolist() == [0, 2, 4, 4, 4, 4]
    assert RandomClip(6, 2, short="loop")(5, 30.0, rng()).tolist() == [0, 2, 4, 1, 3, 0]
    assert Segments(4)(1, 30.0, rng()).tolist() == [0, 0, 0, 0]
    assert EveryClip(6)(5, 30.0).shape == (0, 6)


def slowfast_frames(start, length, fps, count, stride, target_fps):
    """temporal_sampling: linspace(start, end, T) clamped to [0, N - 1], made whole by truncation."""
    span = max(1.0, count * stride * fps / target_fps)
    return [min(max(int(i), 0), length - 1) for i in np.linspace(start, start + span - 1, count)]


@pytest.mark.parametrize(("length", "fps"), itertools.product(LENGTHS, RATES))
@pytest.mark.parametrize(("clips", "count", "stride"), [(10, 16, 4), (1, 8, 8), (5, 32, 2)])
def test_uniform_clips_are_the_views_of_slowfast(length, fps, clips, count, stride):
    """get_start_end_idx: delta = max(N - L, 0); clip k starts at delta k / n, or with USE_OFFSET_SAMPLING at
    floor(delta / 2) for one clip and k floor(delta / (n - 1)) for more."""
    delta = max(length - max(1.0, count * stride * fps / 30), 0)
    indices = UniformClips(clips, count, stride)(length, fps)
    offset = UniformClips(clips, count, stride, offset=True)(length, fps)
    for clip in range(clips):
        start = delta * clip / clips
        assert indices[clip].tolist() == slowfast_frames(start, length, fps, count, stride, 30)
        start = math.floor(delta / 2) if clips == 1 else clip * math.floor(delta / (clips - 1))
        assert offset[clip].tolist() == slowfast_frames(start, length, fps, count, stride, 30)


@pytest.mark.parametrize(("length", "fps"), itertools.product(LENGTHS, RATES))
def test_random_clips_at_a_rate_are_those_of_slowfast(length, fps):
    """get_start_end_idx with clip_idx = -1: start uniform in [0, delta]."""
    indices = RandomClip(16, 4, target_fps=30)(length, fps, rng(5))
    start = rng(5).uniform(0, max(length - max(1.0, 64 * fps / 30), 0))
    assert indices.tolist() == slowfast_frames(start, length, fps, 16, 4, 30)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("count", [1, 3, 8, 16])
def test_segments_are_those_of_tsn(length, count):
    """MMAction2 with clip_len=1, VideoMAE: in tests the middle of each segment of N / n frames; in training, with
    a = N // n > 0, i a + randint(a); with fewer frames round(i N / n)."""
    middles = [int(length / count * i + length / count / 2) for i in range(count)]
    assert Segments(count)(length, 30.0, rng()).tolist() == middles
    average = length // count
    seen = [Segments(count, random=True)(length, 30.0, rng(seed)) for seed in range(200)]
    if average:
        assert all(
            set(column) <= set(range(i * average, (i + 1) * average)) for i, column in enumerate(np.stack(seen).T)
        )
        if average <= 10:
            assert all(len(set(column)) == average for column in np.stack(seen).T)
    else:
        expected = [min(round(i * length / count), length - 1) for i in range(count)]
        assert all(indices.tolist() == expected for indices in seen)


def torchvision_windows(length, fps, count, step, rate):
    """VideoClips.compute_clips_for_video over frames 0..N-1: _resample_video_idx, then unfold(T, step)."""
    rate = rate or fps
    total = length * rate / fps
    ratio = fps / rate
    if ratio.is_integer():
        frames = list(range(length))[:: int(ratio)]
    else:
        frames = [int(np.float32(i) * np.float32(ratio)) for i in range(math.floor(total))]
    return [frames[start : start + count] for start in range(0, len(frames) - count + 1, step)]


@pytest.mark.parametrize(("length", "fps"), itertools.product(LENGTHS, RATES))
@pytest.mark.parametrize(("count", "step", "rate"), [(16, 1, None), (16, 16, 15), (8, 5, 7), (1, 1, 30), (4, 3, 50)])
def test_every_clip_is_what_torchvision_counts(length, fps, count, step, rate):
    sampler = EveryClip(count, step, rate)
    expected = torchvision_windows(length, fps, count, step, rate)
    expected = [[min(frame, length - 1) for frame in window] for window in expected]
    assert sampler(length, fps).tolist() == expected
    assert sampler.count(length, fps) == len(expected)
    assert [sampler.clip(number, length, fps).tolist() for number in range(len(expected))] == expected


def test_whole_ratios_take_every_frame_of_the_slice():
    """299 frames, from 30 to 15 a second: 150, not floor(149.5)."""
    assert EveryClip(1, 1, 15).count(299, 30.0) == 150
    assert EveryClip(1, 1, 7).count(299, 30.0) == 69


def test_one_offset_clip_starts_at_a_whole_frame():
    """PySlowFast: N = 300, L = 16 * 4 * 25 / 30 = 53.33, floor((N - L) / 2) = 123, then 3.49 frames apart."""
    indices = UniformClips(1, 16, 4, offset=True)(300, 25.0)[0]
    assert indices[:4].tolist() == [123, 126, 129, 133]


def pytorchvideo_frames(start, length, fps, duration, count):
    """Frames with start <= time < start + duration, then uniform_temporal_subsample: floor(k (t - 1) / (T - 1))."""
    kept = [frame for frame in range(length) if start * fps <= frame < (start + duration) * fps]
    kept = kept or [min(math.ceil(start * fps), length - 1)]
    return [kept[place * (len(kept) - 1) // max(count - 1, 1)] for place in range(count)]


@pytest.mark.parametrize(("length", "fps"), itertools.product(LENGTHS, EXACT_RATES))
@pytest.mark.parametrize(
    ("duration", "rate"), [(Fraction(64, 30), Fraction(15, 2)), (Fraction(1), 8), (Fraction(1, 10), 10)]
)
def test_seconds_are_those_of_pytorchvideo(length, fps, duration, rate):
    """random: start uniform in [0, max(D - c, 0)]; constant: i max(D - c, 0) / max(n - 1, 1). All in fractions."""
    latest, count = max(length / fps - duration, Fraction(0)), round(duration * rate)
    start = Fraction(rng(3).uniform(0, float(latest)))
    expected = pytorchvideo_frames(start, length, fps, duration, count)
    given = (float(duration), float(rate))
    assert Seconds(*given)(length, float(fps), rng(3)).tolist() == expected
    for clips in (1, 4, 10):
        starts = [i * latest / max(clips - 1, 1) for i in range(clips)]
        expected = [pytorchvideo_frames(start, length, fps, duration, count) for start in starts]
        assert Seconds(*given, num_clips=clips)(length, float(fps)).tolist() == expected


def test_seconds_span_as_many_frames_as_they_last():
    """2 s at 30 a second are 60 frames; the sixth of ten clips of 5 s starts at 5/3 s, at frame 50."""
    indices = Seconds(2, 16, num_clips=10)(150, 30.0)[5]
    assert (indices[0], indices[-1]) == (50, 109)


@pytest.mark.parametrize(
    "sampler",
    [Segments(8), EveryClip(8), UniformClips(2, 8), Seconds(2, 8, num_clips=2)],
    ids=lambda one: type(one).__name__,
)
def test_what_draws_nothing_needs_no_generator(sampler):
    np.testing.assert_array_equal(sampler(300, 30.0), sampler(300, 30.0, rng()))


@pytest.mark.parametrize(
    "sampler", [RandomClip(8), RandomClip(8, target_fps=15), Segments(8, random=True), Seconds(2, 8)], ids=str
)
def test_what_draws_says_that_it_needs_a_generator(sampler):
    with pytest.raises(ValueError, match="rng=None: this sampler is random"):
        sampler(300, 30.0)


# ---- Properties ---------------------------------------------------------------------------------------------

counts = st.integers(1, 40)
shorts = st.sampled_from(["repeat_last", "loop"])
samplers = st.one_of(
    st.builds(RandomClip, counts, counts, short=shorts),
    st.builds(lambda count, stride, short: RandomClip(count, 4 * stride, "grid", short=short), counts, counts, shorts),
    st.builds(RandomClip, counts, counts, target_fps=st.floats(1, 60), short=shorts),
    st.builds(UniformClips, counts, counts, counts, st.floats(1, 60) | st.none(), st.booleans(), shorts),
    st.builds(Segments, counts, st.booleans(), shorts),
    st.builds(EveryClip, counts, counts, st.none() | st.floats(1, 60)),
    st.builds(lambda seconds, fps, clips: Seconds(seconds, fps, clips), st.floats(1, 9), st.floats(1, 60), counts),
)


@given(samplers, st.integers(1, 400), st.floats(1, 120), st.integers(0, 2**32))
def test_indices_lie_in_the_clip_and_never_fall(sampler, length, fps, seed):
    indices = sampler(length, fps, rng(seed))
    assert indices.dtype == np.int64
    assert indices.shape[-1] == getattr(sampler, "num_frames", getattr(sampler, "frames_per_clip", indices.shape[-1]))
    assert ((indices >= 0) & (indices < length)).all()
    if getattr(sampler, "short", "") != "loop":
        assert (np.diff(indices, axis=-1) >= 0).all()
    np.testing.assert_array_equal(sampler(length, fps, rng(seed)), indices)


framings = st.one_of(
    st.builds(Scale, st.integers(1, 300) | st.tuples(st.integers(1, 300), st.integers(1, 300))),
    st.builds(ShortSide, st.integers(1, 300)),
    st.builds(lambda size, more: CenterCrop(size, size + more), st.integers(1, 300), st.integers(0, 100)),
    st.builds(lambda size, more: ThreeCrops(size, size + more), st.integers(1, 300), st.integers(0, 100)),
    st.builds(
        lambda size, low, high: RandomCrop(size, (size + low, size + low + high), 0.5), *[st.integers(1, 99)] * 3
    ),
    st.builds(lambda size: RandomResizedCrop(size, flip=0.5), st.integers(1, 300)),
)


@given(framings, st.integers(1, 500), st.integers(1, 500), st.integers(0, 2**32))
def test_views_lie_in_the_picture(framing, height, width, seed):
    for view in framing(height, width, rng(seed)):
        top, left, rows, columns = view.crop or (0, 0, height, width)
        assert min(top, left) >= 0
        assert min(rows, columns) >= 1
        assert top + rows <= height
        assert left + columns <= width
        assert view.size is None or min(view.size) >= 1 or isinstance(framing, ShortSide)
    assert framing(height, width, rng(seed)) == framing(height, width, rng(seed))


def test_crops_lie_where_they_would_after_scaling():
    """To a pixel: 256 of 340x512 scaled to a short side of 320 is 272 pixels wide in the stored picture."""
    (view,) = CenterCrop(256, 320)(340, 512)
    assert view == View((34, 120, 272, 272), (256, 256))
    left, middle, right = ThreeCrops(256)(340, 512)
    assert [view.crop for view in (left, middle, right)] == [(0, 0, 340, 340), (0, 86, 340, 340), (0, 172, 340, 340)]
    assert [view.crop[0] for view in ThreeCrops(100)(300, 200)] == [0, 50, 100]
    assert CenterCrop(224, 256)(256, 340) == [View((16, 58, 224, 224), (224, 224))]
    assert ShortSide(256)(360, 480) == [View(size=(256, 341))]


def test_random_resized_crops_have_the_areas_and_shapes_asked_for():
    generator = rng()
    boxes = [RandomResizedCrop(64)(240, 320, generator)[0].crop for _ in range(2000)]
    areas = np.array([rows * columns / (240 * 320) for _, _, rows, columns in boxes])
    ratios = np.array([columns / rows for _, _, rows, columns in boxes])
    assert 0.07 < areas.min() < 0.1
    assert 0.9 < areas.max() <= 1
    assert 0.7 < ratios.min() < 0.8
    assert 1.25 < ratios.max() < 1.4
    tall = RandomResizedCrop(64, scale=(1, 1))(500, 20, generator)[0].crop
    assert tall == (236, 0, 26, 20) or tall == (238, 0, 26, 20)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomClip(0), "num_frames must be at least 1, got 0"),
        (lambda: RandomClip(8, 0), "stride must be at least 1, got 0"),
        (lambda: RandomClip(16.5, 4), "num_frames must be an integer of at least 1, got 16.5"),
        (lambda: RandomClip(True), "num_frames must be an integer of at least 1, got True"),
        (lambda: RandomClip(16, 4, target_fps=0), "target_fps must be a number above 0, got 0"),
        (lambda: RandomClip(16, 4, target_fps=-3), "target_fps must be a number above 0, got -3"),
        (lambda: UniformClips(2, 16, 4, target_fps=0), "target_fps must be a number above 0, got 0"),
        (lambda: UniformClips(2, 16, 4, target_fps="30"), "target_fps must be a number above 0, got '30'"),
        (lambda: RandomClip(16, 5, align="grid"), "align='grid' with stride=5: must be a multiple of 4"),
        (lambda: CenterCrop(224, 128), "size must be at most short_side=128, got 224"),
        (lambda: ThreeCrops(224, 100), "size must be at most short_side=100, got 224"),
        (lambda: CenterCrop(0), "size must be at least 1, got 0"),
        (lambda: ShortSide(2.5), "size must be an integer of at least 1, got 2.5"),
        (lambda: Scale((224, 0)), "size must be an integer of at least 1, or (height, width) of such, got (224, 0)"),
        (lambda: RandomResizedCrop(0), "size must be at least 1, got 0"),
        (
            lambda: RandomResizedCrop(64, scale=(1, 0.1)),
            "scale must be (low, high), with 0 < low <= high <= 1, got (1, 0.1)",
        ),
        (lambda: RandomResizedCrop(64, ratio=(0, 1)), "ratio must be (low, high), with 0 < low <= high, got (0, 1)"),
        (lambda: RandomResizedCrop(64, flip=2), "flip must be a probability, from 0 to 1, got 2"),
        (lambda: RandomCrop(64, 256), "short_side must be (low, high), with low at least size=64, got 256"),
        (lambda: Frames(RandomClip(4), (224, 224)), "size must be an integer of at least 1, got (224, 224)"),
        (lambda: Frames(RandomClip(4), "224"), "size must be an integer of at least 1, got '224'"),
        (lambda: Frames(RandomClip(4), CenterCrop), "must be an object such as RandomClip(16, 4) or CenterCrop(224)"),
        (lambda: Frames(4), "sampler=4: must be an object such as RandomClip(16, 4)"),
        (lambda: Frames(RandomClip), "RandomClip'>: must be an object such as RandomClip(16, 4)"),
        (lambda: RandomClip(8, short="black"), "unknown short 'black' (valid: repeat_last, loop)"),
        (lambda: RandomClip(8, align="gop"), "unknown align 'gop' (valid: grid)"),
        (lambda: RandomClip(8, align="grid", target_fps=30), "pass only one of them"),
        (lambda: UniformClips(0, 8), "num_clips must be at least 1, got 0"),
        (lambda: EveryClip(8, frame_rate=0), "frame_rate must be a number above 0, got 0"),
        (lambda: Seconds(0.01, 1), "must make at least one frame"),
        (lambda: RandomCrop(300), "with low at least size=300"),
        (lambda: RandomResizedCrop(64, scale=0.5), "scale must be (low, high), with 0 < low <= high <= 1, got 0.5"),
        (lambda: RandomResizedCrop(64, flip="x"), "flip must be a probability, from 0 to 1, got 'x'"),
        (lambda: Frames(RandomClip(8), seed=-1), "seed must be at least 0, got -1"),
        (lambda: Frames(RandomClip(8), seed=None), "seed must be an integer of at least 0, got None"),
        (lambda: Frames(RandomClip(8)).set_epoch(1.5), "epoch must be an integer of at least 0, got 1.5"),
        (lambda: Seconds(2, 4)(30, 0.0, rng()), "fps must be a number above 0, got 0.0"),
        (lambda: EveryClip(2, 1, 15)(30, math.inf), "fps must be a number above 0, got inf"),
        (lambda: UniformClips(2, 8)(30, 0.0), "fps must be a number above 0, got 0.0"),
        (lambda: Frames(RandomClip(8), on_error="ignore"), "unknown on_error 'ignore' (valid: skip, raise)"),
        (lambda: Frames(RandomClip(8), layout="HW"), "unknown layout 'HW'"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize(
    "sampler",
    [RandomClip(8, 4), RandomClip(8, 4, target_fps=15), UniformClips(3, 8, short="loop"), Segments(8), Seconds(2, 4)],
    ids=str,
)
def test_a_clip_without_frames_has_none_to_choose(sampler):
    with pytest.raises(ValueError, match="num_frames must be at least 1, got 0"):
        sampler(0, 30.0, np.random.default_rng(0))


# ---- Over datasets ------------------------------------------------------------------------------------------

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
        with pytest.raises(ValueError, match="column='clip': there is none; the columns are video, label"):
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


def test_views_and_clips_have_axes_of_their_own(clips):
    frames = Frames(UniformClips(5, 4, 2), ThreeCrops(24), layout="CTHW").decode(clips[0])
    assert frames.shape == (3, 5, 3, 4, 24, 24)
    indices = UniformClips(5, 4, 2)(20, 10.0)
    left, _, right = ThreeCrops(24)(48, 64)
    np.testing.assert_array_equal(frames[0], decode(clips[0], indices, crop=left.crop, size=(24, 24), layout="CTHW"))
    np.testing.assert_array_equal(frames[2], decode(clips[0], indices, crop=right.crop, size=(24, 24), layout="CTHW"))


def test_a_clip_has_one_geometry():
    """Of a picture that stands still, all frames are the same."""
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
    with pytest.raises(ClipError, match=r"clip 1\.mp4: .*no clip of the batch can take its place"):
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
    with pytest.raises(ValueError, match=r"examples=\[\]: a batch has at least one"):
        collate([])
    with pytest.raises(ValueError, match=r"example 1 has the columns \['a'\], the first one \['a', 'b'\]"):
        collate([{"a": 1, "b": 2}, {"a": 1}])
    with pytest.raises(ValueError, match=r"a: has the shapes \(2,\), \(3,\), which make no batch"):
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
