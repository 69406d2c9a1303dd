"""Samplers and framings against formulas of the peers that they follow."""

import itertools
import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetics_tools import sampling
from kinetics_tools.media import View, write_clip
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
    samplers,
)
from tests.support.clients import ROOT

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


def test_each_sampler_is_public_and_has_a_section_in_the_docs():
    classes = [one for one in vars(samplers).values() if isinstance(one, type)]
    here = [one.__name__ for one in classes if one.__module__ == samplers.__name__]
    page = (ROOT / "docs" / "sample.md").read_text(encoding="utf-8")
    assert len(here) >= 5
    assert [name for name in here if name not in sampling.__all__ or f"`{name}" not in page] == []


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
any_sampler = st.one_of(
    st.builds(RandomClip, counts, counts, short=shorts),
    st.builds(lambda count, stride, short: RandomClip(count, 4 * stride, "grid", short=short), counts, counts, shorts),
    st.builds(RandomClip, counts, counts, target_fps=st.floats(1, 60), short=shorts),
    st.builds(UniformClips, counts, counts, counts, st.floats(1, 60) | st.none(), st.booleans(), shorts),
    st.builds(Segments, counts, st.booleans(), shorts),
    st.builds(EveryClip, counts, counts, st.none() | st.floats(1, 60)),
    st.builds(lambda seconds, fps, clips: Seconds(seconds, fps, clips), st.floats(1, 9), st.floats(1, 60), counts),
)


@given(any_sampler, st.integers(1, 400), st.floats(1, 120), st.integers(0, 2**32))
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
        (lambda: Frames(RandomClip(4), CenterCrop), "CenterCrop'>: must be a framing such as CenterCrop(224)"),
        (lambda: Frames(RandomClip(4), RandomClip(4)), "framing=RandomClip(num_frames=4,"),
        (lambda: Frames(RandomClip(4), len), "framing=<built-in function len>: must be a framing such as"),
        (lambda: Frames(RandomClip(4), lambda height, width, rng: 5), "must be a framing such as CenterCrop(224)"),
        (lambda: Frames(4), "sampler=4: must be a sampler such as RandomClip(16, 4)"),
        (lambda: Frames(RandomClip), "RandomClip'>: must be a sampler such as RandomClip(16, 4)"),
        (
            lambda: Frames(CenterCrop(32), RandomClip(4)),
            "sampler=CenterCrop(size=32, short_side=None): must be a sampler",
        ),
        (lambda: Frames(CenterCrop(32), RandomClip(4)), "the sampler comes first, as in Frames(RandomClip(16, 4), Cen"),
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


def test_functions_of_a_user_are_samplers_and_framings(tmp_path):
    """Also those that are for clips of other sizes than the one that they are tried with."""
    write_clip(tmp_path / "clip.mp4", np.zeros((9, 48, 64, 3), np.uint8), fps=10)

    def last(num_frames, fps, rng):
        if num_frames > 20:
            raise ValueError("too long")
        return np.array([num_frames - 1])

    frames = Frames(last, lambda height, width, rng: [View(size=({(48, 64): 24}[height, width], 32))])
    assert frames.decode(str(tmp_path / "clip.mp4")).shape == (1, 24, 32, 3)
