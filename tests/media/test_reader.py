"""Frames by index against a plain decode of everything by PyAV: identical unscaled, close where both scale."""

import contextlib
import io
import os
import random
import struct
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest

from kinetics_tools.media import ClipError, Encoding, VideoReader, View, decode, encode, probe, read_audio, write_clip
from kinetics_tools.media import packets as stored
from kinetics_tools.media.mp4_index import frame_table
from kinetics_tools.sampling.samplers import EveryClip, RandomClip, Seconds, Segments, UniformClips

HEIGHT, WIDTH = 48, 64
CLIPS = (
    "arm_wrestling_340x256.mp4",
    "flipping_pancake_426x240.mkv",
    "nasa_two_streams.mp4",
    "one_second_340x256.mp4",
    "sports_340x256.mp4",
)
SAMPLERS = (
    RandomClip(16, 4),
    RandomClip(16, 4, align="grid"),
    RandomClip(8, 8, target_fps=15),
    RandomClip(16, 4, short="loop"),
    UniformClips(3, 8, 4),
    UniformClips(2, 8, 4, offset=True),
    Segments(8),
    Segments(8, random=True),
    EveryClip(8, 40, 10),
    Seconds(1, 8),
    Seconds(0.5, 10, num_clips=3),
)


def rgb(frame):
    """Convert like `frame.to_ndarray(format="rgb24")`, with the matrix that the frame names."""
    matrix = {"src_colorspace": "ITU709", "dst_colorspace": "ITU709"} if frame.colorspace == 1 else {}
    ranges = {"src_color_range": "MPEG", "dst_color_range": "JPEG"} if matrix else {}
    return frame.reformat(format="rgb24", **matrix, **ranges).to_ndarray()


def plain(content):
    with av.open(io.BytesIO(content)) as container:
        container.streams.video[0].thread_count = 1
        return np.stack([rgb(frame) for frame in container.decode(video=0)])


def scaled_by_pyav(content):
    """Every frame, (96, 112, 3), scaled as `decode` promises it"""
    with av.open(io.BytesIO(content)) as container:
        return [scaled_frame(frame) for frame in container.decode(video=0)]


def scaled_frame(frame):
    matrix = "ITU709" if frame.colorspace == 1 else "ITU601"
    return frame.reformat(112, 96, "gbrp", matrix, matrix, "BILINEAR", "MPEG", "JPEG").to_ndarray()


def psnr(one, other):
    error = np.mean((one.astype(float) - other) ** 2)
    return 10 * np.log10(255**2 / error) if error else np.inf


def pictures(count, *, height=HEIGHT, width=WIDTH, seed=0):
    """Smooth pictures that move, each one another."""
    rng = np.random.default_rng(seed)
    coarse = av.VideoFrame.from_ndarray(rng.integers(0, 256, (12, 16, 3), np.uint8), format="rgb24")
    texture = coarse.reformat(2 * width, 2 * height, "rgb24").to_ndarray()
    return [np.roll(texture, (3 * time, 5 * time), (0, 1))[:height, :width] for time in range(count)]


def encoded(
    count=50,
    *,
    format="mp4",
    codec="libx264",
    pixels="yuv420p",
    size=(HEIGHT, WIDTH),
    times=None,
    seed=0,
    movflags="",
    sound=None,
    sound_seconds=3,
    **options,
):
    """The bytes of a clip, 25 frames a second, whose frames are shown at `times` in 25ths of a second.

    `sound` is the codec of its sound, which is silence, if it is to have any.
    """
    file = io.BytesIO()
    container_options = {"fflags": "+bitexact", **({"movflags": movflags} if movflags else {})}
    with av.open(file, "w", format=format, container_options=container_options) as container:
        stream = container.add_stream(codec, 25, options={"threads": "1", **options})
        (stream.height, stream.width), stream.pix_fmt = size, pixels
        if sound:
            heard = container.add_stream(sound, 48_000, layout="mono")
            silence = np.zeros((1, sound_seconds * 48_000), np.float32)
            frame = av.AudioFrame.from_ndarray(silence, format="fltp", layout="mono")
            frame.sample_rate = 48_000
            container.mux(heard.encode(frame))
            container.mux(heard.encode())
        for time, image in zip(
            times or range(count), pictures(count, height=size[0], width=size[1], seed=seed), strict=True
        ):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


@pytest.fixture(scope="module")
def clip():
    return encoded(bf="2", g="12")


@pytest.fixture(scope="module", params=[*CLIPS, *(f"train {name}" for name in CLIPS)])
def real(request):
    """The bytes of a real clip, as it is or prepared, and all of its frames."""
    folder = os.environ.get("KINETICS_SHARED")
    if not folder:
        lacking = "set KINETICS_SHARED to the folder with the real annotation files and clips"
        if os.environ.get("KINETICS_TESTS_MUST_RUN") == "1":
            pytest.fail(lacking, pytrace=False)
        pytest.skip(lacking)
    kind, _, name = request.param.rpartition(" ")
    content = Path(folder, "clips", name).read_bytes()
    if kind:
        content = encode(content, Encoding(short_side=128))
    return content, plain(content), scaled_by_pyav(content)


# ---- Which frames -------------------------------------------------------------------------------------------


def test_frames_of_real_clips_are_those_of_a_full_decode(real):
    content, frames, _ = real
    count, rng = len(frames), random.Random(0)
    wanted = [[0], [count - 1], [count - 1, 0, count // 2, count // 2, 3], list(range(count))]
    wanted += [[rng.randrange(count) for _ in range(rng.randint(1, 8))] for _ in range(4)]
    for indices in wanted:
        assert np.array_equal(decode(content, indices), frames[indices]), indices


@pytest.mark.parametrize("sampler", SAMPLERS, ids=str)
def test_what_samplers_take_of_real_clips(real, sampler):
    content, frames, same = real
    with VideoReader(content) as reader:
        assert reader.num_frames == len(frames)
        indices = sampler(reader.num_frames, reader.fps, np.random.default_rng(0))
        if not indices.size:
            pytest.skip("the clip is shorter than a window")
        assert np.array_equal(reader.decode(indices), frames[indices]), indices
        scaled = reader.decode(indices, view=View(size=(96, 112)))
    first = av.VideoFrame.from_ndarray(frames[indices.flat[0]], format="rgb24")
    expected = first.to_ndarray(format="rgb24", width=112, height=96, interpolation="BICUBIC")
    assert psnr(scaled.reshape(-1, 96, 112, 3)[0], expected) > 30
    for row, index in enumerate(indices.flat):
        assert psnr(scaled.reshape(-1, 96, 112, 3)[row], same[index]) > 40


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"bf": "0"},
        {"bf": "3", "b-pyramid": "strict"},
        {"bf": "5", "g": "10", "b-pyramid": "normal"},
        {"g": "9", "x264-params": "open-gop=1:bframes=3:keyint=9:min-keyint=3"},
        {"x264-params": "intra-refresh=1:keyint=12"},
        {"g": "1"},
        {"codec": "mpeg4", "bf": "2", "g": "11"},
        {"codec": "libvpx-vp9", "format": "webm", "g": "16", "cpu-used": "8", "deadline": "realtime"},
        {"codec": "libx264", "format": "matroska", "bf": "3", "g": "14"},
        {"codec": "libx264", "format": "mpegts", "bf": "2", "g": "14"},
        {"codec": "libx264", "format": "avi", "bf": "0", "g": "14"},
        {"codec": "libx265", "bf": "3", "x265-params": "log-level=none:keyint=12:open-gop=1:pools=1"},
        {"codec": "libx264", "pixels": "yuv444p", "bf": "2"},
        {"codec": "libx264", "pixels": "yuv420p10le", "bf": "2"},
        {"times": [time * time // 9 + time for time in range(50)], "bf": "3"},
        {"times": [time + (40 if time > 20 else 0) for time in range(50)], "bf": "3", "format": "matroska"},
    ],
    ids=str,
)
def test_frames_of_every_kind_of_stream(options):
    if options.get("codec", "libx264") not in av.codecs_available:
        pytest.skip(f"this build of FFmpeg lacks {options['codec']}")
    content = encoded(**options)
    frames = plain(content)
    assert len(frames) == 50
    rng = random.Random(0)
    for indices in (
        [0],
        [49],
        list(range(50)),
        [49, 0, 25, 25],
        *([rng.randrange(50) for _ in range(rng.randint(1, 5))] for _ in range(30)),
    ):
        assert np.array_equal(decode(content, indices), frames[indices]), indices


SOUNDING = {
    "mp4": {"sound": "aac"},
    "fragments": {"sound": "aac", "movflags": "frag_keyframe+empty_moov"},
    "fragments after a first part": {"sound": "aac", "movflags": "frag_keyframe"},
    "Matroska": {"sound": "aac", "format": "matroska"},
    "WebM": {"sound": "libopus", "format": "webm", "codec": "libvpx-vp9", "cpu-used": "8", "deadline": "realtime"},
}


@pytest.mark.parametrize("container", SOUNDING)
def test_sound_may_outlast_the_pictures(container):
    """By a second: what such a file says of its length is not that of the pictures."""
    content = encoded(g="12", **SOUNDING[container])
    frames = plain(content)
    assert len(frames) == 50
    np.testing.assert_array_equal(decode(content, range(50)), frames)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
@pytest.mark.parametrize("container", SOUNDING)
def test_a_clip_with_sound_that_lacks_its_end_is_refused(container, share, tmp_path):
    content = encoded(g="12", **SOUNDING[container])
    cut = tmp_path / "cut"
    cut.write_bytes(content[: int(len(content) * share)])
    for video in (cut, cut.read_bytes()):
        with pytest.raises(ClipError, match=r"(is not a readable clip|is truncated).*; drop it or download it again"):
            VideoReader(video)


@pytest.mark.parametrize("format", ["avi", "asf"])
def test_frames_come_as_they_are_shown_where_the_file_does_not_say_when(format):
    content = encoded(format=format, bf="2", g="12")
    frames = plain(content)
    for one, other in zip(frames, plain(encoded(bf="2", g="12")), strict=True):
        assert psnr(one, other) > 30, "a decoder gives them as they are shown"
    with VideoReader(content) as reader:
        assert (reader.num_frames, reader.fps) == (50, 25)
        assert reader.span([3, 10]) == pytest.approx((3 / 25, 11 / 25))
        for indices in (range(50), [49, 0, 25, 25], [3]):
            np.testing.assert_array_equal(reader.decode(indices), frames[list(indices)])


def test_frames_that_an_edit_list_hides_do_not_count(clip, tmp_path):
    cut = tmp_path / "cut.mp4"
    with (
        av.open(io.BytesIO(clip)) as source,
        av.open(str(cut), "w", options={"avoid_negative_ts": "disabled"}) as target,
    ):
        video = source.streams.video[0]
        copy = target.add_stream_from_template(video)
        shift = int(7 / video.average_rate / video.time_base)
        for packet in source.demux(video):
            if packet.size:
                packet.stream, packet.pts, packet.dts = copy, packet.pts - shift, packet.dts - shift
                target.mux(packet)
    frames = plain(cut.read_bytes())
    assert len(frames) == 43
    np.testing.assert_array_equal(decode(cut, [42, 0, 5, 20]), frames[[42, 0, 5, 20]])
    np.testing.assert_array_equal(frames, plain(clip)[7:])


def test_a_careless_cut_begins_at_its_first_key_frame(clip, tmp_path):
    cut = tmp_path / "cut.mp4"
    with av.open(io.BytesIO(clip)) as source, av.open(str(cut), "w") as target:
        video = source.streams.video[0]
        copy = target.add_stream_from_template(video)
        for packet in [packet for packet in source.demux(video) if packet.size][5:]:
            packet.stream = copy
            target.mux(packet)
    frames = plain(cut.read_bytes())
    with VideoReader(cut) as reader:
        assert reader.num_frames == len(frames) == 38
        np.testing.assert_array_equal(reader.decode(range(38)), frames)


def test_a_decode_sends_little(clip, monkeypatch):
    """One of 50 frames with a key frame every 12 takes at most one group of pictures."""
    with VideoReader(clip) as reader:
        runs = reader._runs([30])
        assert sum(stop - start for start, stop in runs) <= 12
        assert len(reader._runs([2, 47])) == 2


def test_indices_outside_of_the_clip_name_it(clip):
    for indices in ([50], [-1, 3], [[0, 1], [2, 99]]):
        with pytest.raises(IndexError, match=r"a clip of \d+ bytes: frame -?\d+ of 50; indices are from 0 up"):
            decode(clip, indices)
    for indices in ([0.5], [[[1]]]):
        with pytest.raises(ValueError, match=r"must be integers, \(T,\) or \(N, T\)"):
            decode(clip, indices)
    with pytest.raises(ValueError, match="at least one frame"):
        decode(clip, [])


def test_times_are_those_of_the_frames():
    times = [time * time // 9 + time for time in range(50)]
    with VideoReader(encoded(times=times, bf="3")) as reader:
        np.testing.assert_allclose(reader.times_seconds, np.array(times) / 25)
        assert reader.fps == pytest.approx(49 / (times[-1] / 25))
        assert reader.span([3, 10, 4]) == pytest.approx((times[3] / 25, times[11] / 25))
    with VideoReader(encoded(50)) as reader:
        assert reader.fps == 25
        assert reader.span([[0], [49]]) == pytest.approx((0, 2))


# ---- Pictures -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", [View(), View((5, 3, 31, 20)), View((4, 6, 32, 20), (24, 30)), View(size=(30, 40))])
def test_layouts_and_flips_hold_the_same_pixels(clip, view):
    indices = [[3, 0, 3], [20, 21, 49]]
    with VideoReader(clip) as reader:
        frames = reader.decode(indices, view=view)
        for layout, axes in (("TCHW", (0, 1, 4, 2, 3)), ("CTHW", (0, 4, 1, 2, 3))):
            other = reader.decode(indices, view=view, layout=layout)
            assert other.flags.c_contiguous
            assert other.flags.writeable
            np.testing.assert_array_equal(other, frames.transpose(axes))
            flipped = reader.decode(indices, view=View(view.crop, view.size, flip=True), layout=layout)
            np.testing.assert_array_equal(flipped, frames.transpose(axes)[..., ::-1])
        flipped = reader.decode(indices, view=View(view.crop, view.size, flip=True))
        np.testing.assert_array_equal(flipped, frames[:, :, :, ::-1])
        several = reader.decode_views(indices, views=lambda height, width: [view, View()])
        np.testing.assert_array_equal(several[0], frames)


@pytest.mark.parametrize("crop", [(0, 0, 48, 64), (2, 4, 30, 40), (5, 3, 31, 21), (10, 10, 38, 54), (47, 63, 1, 1)])
@pytest.mark.parametrize("pixels", ["yuv420p", "yuv444p", "yuv420p10le"])
def test_crops_are_cut_out_before_they_are_scaled(crop, pixels):
    content = encoded(3, pixels=pixels)
    top, left, height, width = crop
    whole = plain(content)
    part = decode(content, [1], crop=crop)
    np.testing.assert_array_equal(part, whole[1:2, top : top + height, left : left + width])
    scaled = decode(content, [1], crop=crop, size=(20, 30))[0]
    image = av.VideoFrame.from_ndarray(np.ascontiguousarray(part[0]), format="rgb24")
    expected = image.reformat(30, 20, "rgb24", interpolation="BILINEAR").to_ndarray()
    assert psnr(scaled, expected) > 25


@pytest.mark.parametrize("width", [64, 66, 72, 340])
def test_an_odd_crop_has_the_right_edge_of_the_picture(width):
    """libswscale skips the last columns of planar RGB if the width is 1 to 8 more than a multiple of 16."""
    content = encoded(2, size=(48, width))
    part = plain(content)[1, 1:46, width - 41 :]
    scaled = decode(content, [1], crop=(1, width - 41, 45, 41), size=(90, 82))[0]
    image = av.VideoFrame.from_ndarray(np.ascontiguousarray(part), format="rgb24")
    expected = image.reformat(82, 90, "rgb24", interpolation="BILINEAR").to_ndarray()
    assert psnr(scaled[:, -8:], expected[:, -8:]) > 30


def test_crops_outside_of_the_picture(clip):
    for crop in ((0, 0, 49, 64), (-1, 0, 4, 4), (0, 60, 4, 5), (0, 0, 0, 4)):
        with pytest.raises(ValueError, match=r"must lie in the picture of 48x64 pixels"):
            decode(clip, [0], crop=crop)
    with pytest.raises(ValueError, match="size="):
        decode(clip, [0], size=(0, 4))
    with pytest.raises(ValueError, match=r"size=64: must be \(height, width\), whole numbers of pixels"):
        decode(clip, [0], size=64)
    with pytest.raises(ValueError, match=r"crop=\(0, 0, 8\): must be \(top, left, height, width\)"):
        decode(clip, [0], crop=(0, 0, 8))
    with pytest.raises(ClipError, match="the video has neither bytes nor a path; drop the row"):
        decode(None, [0])
    with pytest.raises(ValueError, match="unknown layout 'HWC'"):
        decode(clip, [0], layout="HWC")


@pytest.mark.parametrize("options", [{}, {"format": "matroska"}, {"format": "avi"}, {"codec": "mpeg4"}], ids=str)
def test_a_reader_goes_on_after_a_crop_outside_of_the_picture(options):
    content = encoded(bf="2", g="12", **options)
    frames = plain(content)
    with VideoReader(content) as reader:
        for first in (3, 20, 49):
            for indices in ([3, 5], [0, 49], [30]):
                with pytest.raises(ValueError, match="must lie in the picture"):
                    reader.decode([first], view=View(crop=(0, 0, 99, 99)))
                np.testing.assert_array_equal(reader.decode(indices), frames[indices])


def test_colours_mean_what_the_clip_says():
    """Colour bars in both matrices and both ranges."""
    bars = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for number, colour in enumerate([(200, 30, 30), (30, 200, 30), (30, 30, 200), (200, 200, 200)]):
        bars[:, 16 * number : 16 * number + 16] = colour
    for matrix, number in (("ITU709", 1), ("ITU601", 6)):
        for range_, full in (("MPEG", 1), ("JPEG", 2)):
            file = io.BytesIO()
            with av.open(file, "w", format="mp4") as container:
                stream = container.add_stream("libx264", 25, options={"crf": "1"})
                stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
                stream.codec_context.colorspace, stream.codec_context.color_range = number, full
                frame = av.VideoFrame.from_ndarray(bars, format="rgb24")
                frame = frame.reformat(WIDTH, HEIGHT, "yuv420p", matrix, matrix, None, "JPEG", range_)
                container.mux(stream.encode(frame))
                container.mux(stream.encode())
            for size in (None, (24, 32)):
                image = decode(file.getvalue(), [0], size=size)[0]
                middles = image[image.shape[0] // 2, image.shape[1] // 8 :: image.shape[1] // 4]
                np.testing.assert_allclose(middles, bars[0, 8::16], atol=8)


def test_colours_that_only_the_file_states(clip):
    file = io.BytesIO()
    with av.open(io.BytesIO(clip)) as source, av.open(file, "w", format="mp4") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 1, 1, 1, 2
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    content = file.getvalue()
    assert frame_table(content).config.colours == (1, 1, 1, 2)
    expected = plain(content)
    assert np.abs(expected.astype(int) - plain(clip)).max() > 10
    np.testing.assert_array_equal(decode(content, range(50)), expected)


# ---- Sources ------------------------------------------------------------------------------------------------


def test_every_form_of_a_video_reads_the_same(clip, tmp_path, monkeypatch):
    import fsspec

    expected = decode(clip, [4, 2])
    path = tmp_path / "clip.mp4"
    path.write_bytes(clip)
    with fsspec.open("memory://folder/clip.mp4", "wb") as file:
        file.write(clip)
    for video in (
        path,
        str(path),
        {"bytes": clip, "path": "no path.mp4"},
        {"bytes": None, "path": str(path)},
        {"bytes": None, "path": "memory://folder/clip.mp4"},
        "memory://folder/clip.mp4",
        io.BytesIO(clip),
    ):
        np.testing.assert_array_equal(decode(video, [4, 2]), expected)
    monkeypatch.chdir(tmp_path)
    for name in ("-clip.mp4", "http:clip.mp4"):
        path.with_name(name).write_bytes(clip)
        np.testing.assert_array_equal(decode(name, [4, 2]), expected)


def test_decoders_of_datasets(clip, torchcodec):
    import datasets

    video = datasets.Video()
    decoder = video.decode_example({"bytes": clip, "path": None})
    np.testing.assert_array_equal(decode(decoder, [4, 2]), decode(clip, [4, 2]))
    with pytest.raises(TypeError, match="keeps no bytes"):
        decode(torchcodec.decoders.VideoDecoder(clip), [0])


def test_frames_agree_with_torchcodec(real, torchcodec):
    content, frames, _ = real
    decoder = torchcodec.decoders.VideoDecoder(content, stream_index=0, dimension_order="NHWC")
    indices = [0, len(frames) // 2, len(frames) - 1]
    assert psnr(decode(content, indices), decoder.get_frames_at(indices).data.numpy()) > 40


@pytest.mark.parametrize("fault", ["empty", "text", "half", "index first, half", "sound alone"])
def test_what_cannot_be_read_is_a_clip_error_with_its_name(tmp_path, fault):
    clip = tmp_path / "clip.mp4"
    write_clip(clip, pictures(30), fps=10)
    content = clip.read_bytes()
    if fault == "sound alone":
        with av.open(str(clip), "w") as container:
            stream = container.add_stream("aac", 44_100, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.float32), format="fltp", layout="mono")
            frame.sample_rate = 44_100
            container.mux(stream.encode(frame))
            container.mux(stream.encode())
    else:
        first = encode(content)
        broken = {
            "empty": b"",
            "text": b"not a clip\n" * 99,
            "half": content[: len(content) // 2],
            "index first, half": first[: len(first) * 2 // 3],
        }
        clip.write_bytes(broken[fault])
    with pytest.raises(ClipError, match=r"clip\.mp4: .*drop it or download it again"):
        decode(clip, [0, 29])


def test_a_path_that_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.mp4"):
        decode(tmp_path / "absent.mp4", [0])
    with pytest.raises(ValueError, match="drop the row"):
        decode({"bytes": None, "path": None}, [0])


def test_damage_ends_in_frames_or_in_a_clip_error(clip):
    """Never in a hang or a crash."""
    rng = random.Random(0)
    for _ in range(100):
        content = bytearray(clip)
        for _ in range(rng.randint(1, 20)):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        with contextlib.suppress(ClipError, IndexError):
            assert decode(bytes(content), [0, 10, 30], size=(20, 20)).shape == (3, 20, 20, 3)


# ---- Sound --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tone(tmp_path_factory):
    """Two seconds of uncompressed sound whose pitch rises from 200 to 1,000 Hz, beside frames that begin at 0.2 s."""
    path = tmp_path_factory.mktemp("tone") / "tone.mov"
    seconds = np.arange(2 * 44_100) / 44_100
    samples = (0.3 * np.sin(2 * np.pi * (200 * seconds + 200 * seconds**2))).astype(np.float32)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 25, options={"bf": "0"})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        sound = container.add_stream("pcm_s16le", 44_100, layout="mono")
        for time, image in enumerate(pictures(45)):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            frame.pts, frame.time_base = time + 5, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        for start in range(0, len(samples), 1000):
            whole = np.round(samples[start : start + 1000] * 32_767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(whole[np.newaxis], format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 44_100, start, Fraction(1, 44_100)
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    return path, samples[44_100 // 5 :]


def test_sound_of_a_span_lies_beside_its_frames(tone):
    path, samples = tone
    whole = read_audio(path)
    assert whole.sample_rate == 44_100
    assert whole.samples.dtype == np.float32
    np.testing.assert_allclose(whole.samples[0], samples, atol=1e-4)
    for start, end in ((0, 0.5), (0.7, 1.3), (1.2, 1.8)):
        part = read_audio(path.read_bytes(), start_seconds=start, end_seconds=end)
        first, count = round(start * 44_100), round((end - start) * 44_100)
        assert part.samples.shape == (1, count)
        np.testing.assert_allclose(part.samples[0], samples[first : first + count], atol=1e-4)
    low = read_audio(path, start_seconds=0.7, end_seconds=1.3, sample_rate=16_000)
    assert (low.samples.shape, low.sample_rate) == ((1, 9600), 16_000)
    expected = np.interp(0.7 + np.arange(9600) / 16_000, np.arange(len(samples)) / 44_100, samples)
    np.testing.assert_allclose(low.samples[0, 100:-100], expected[100:-100], atol=0.01)


def test_sound_of_real_clips_is_that_of_a_full_decode(shared):
    """AAC and Opus need what lies before a span, too."""
    for name in ("flipping_pancake_426x240.mkv", "nasa_two_streams.mp4"):
        path = shared / "clips" / name
        whole = read_audio(path)
        for start, end in ((0, 0.5), (1, 3.5), (8, 10)):
            part = read_audio(path, start_seconds=start, end_seconds=end)
            first = round(start * whole.sample_rate)
            expected = whole.samples[:, first : first + part.samples.shape[1]]
            np.testing.assert_allclose(part.samples, expected, atol=1e-4)


def test_sound_beyond_its_end_is_silent_and_may_be_absent(tone, clip):
    path, _ = tone
    late = read_audio(path, start_seconds=1.5, end_seconds=4)
    assert late.samples.shape == (1, round(2.5 * 44_100))
    assert late.samples[:, :10_000].any()
    assert not late.samples[:, 44_100:].any()
    assert read_audio(clip).samples.shape == (1, 0)
    with pytest.raises(ValueError, match="must begin at 0 or later"):
        read_audio(path, start_seconds=2, end_seconds=1)


# ---- The table of an mp4 ------------------------------------------------------------------------------------


def demuxed(content):
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
        return (
            [(packet.pos, packet.size, packet.pts) for packet in packets],
            [position for position, packet in enumerate(packets) if packet.is_keyframe],
            stream.time_base,
        )


def tabled(content):
    table = frame_table(content)
    rows = zip(table.offsets.tolist(), table.sizes.tolist(), table.times.tolist(), strict=True)
    return list(rows), table.keys.tolist(), Fraction(1, table.timescale)


@pytest.mark.parametrize(
    "options", [{}, {"bf": "0"}, {"bf": "3", "g": "8"}, {"times": [i * i for i in range(50)]}], ids=str
)
def test_the_table_holds_what_ffmpeg_reads(options):
    content = encoded(**options)
    assert tabled(content) == demuxed(content)
    assert tabled(encode(content)) == demuxed(encode(content))


def test_the_tables_of_real_clips(shared):
    for path in sorted((shared / "clips").glob("*.mp4")):
        assert tabled(path.read_bytes()) == demuxed(path.read_bytes())
    assert frame_table((shared / "clips" / "flipping_pancake_426x240.mkv").read_bytes()) is None


# Of the display matrix in tkhd: a, b, c, d, and what a player makes of the stored pictures with it.
TURNS = {
    "clockwise": ((0, 1, -1, 0), lambda frames: np.rot90(frames, -1, (1, 2))),
    "half": ((-1, 0, 0, -1), lambda frames: np.rot90(frames, 2, (1, 2))),
    "anticlockwise": ((0, -1, 1, 0), lambda frames: np.rot90(frames, 1, (1, 2))),
    "mirrored": ((-1, 0, 0, 1), lambda frames: frames[:, :, ::-1]),
}


def turned(content, matrix):
    a, b, c, d = (number << 16 for number in matrix)
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    header = content.index(b"tkhd")
    return content[:header] + content[header:].replace(upright, struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30), 1)


@pytest.mark.parametrize("turn", TURNS)
def test_turned_clips_are_upright(clip, turn):
    matrix, upright = TURNS[turn]
    content, expected = turned(clip, matrix), upright(plain(clip))
    assert frame_table(content).config is None
    np.testing.assert_array_equal(decode(content, range(50)), expected)
    top, left, height, width = 4, 6, 30, 40
    cropped = expected[[7, 3], top : top + height, left : left + width]
    np.testing.assert_array_equal(decode(content, [7, 3], crop=(top, left, height, width)), cropped)
    np.testing.assert_array_equal(decode(content, [7, 3], flip=True), expected[[7, 3], :, ::-1])
    size = expected.shape[1] // 2, expected.shape[2] // 2
    halves = expected[[7, 3]].reshape(2, size[0], 2, size[1], 2, 3).mean((2, 4))
    assert psnr(decode(content, [7, 3], size=size), halves) > 30


def test_a_decoder_that_rested_gives_the_frames_of_the_next_clip(clip, monkeypatch):
    other = encoded(40, seed=1, bf="2", g="12")
    assert frame_table(other).config == frame_table(clip).config is not None
    damaged = bytearray(clip)
    damaged[clip.index(b"mdat") + 900 : clip.index(b"mdat") + 1000 : 7] = bytes(15)
    opened = []
    create = av.CodecContext.create
    counting = SimpleNamespace(create=lambda *args: opened.append(args) or create(*args))
    monkeypatch.setattr(stored.av, "CodecContext", counting)
    stored._idle.by_config.clear()
    for content in (clip, other, clip):
        count = len(plain(content))
        for indices in ([count - 1], [9, 2, 30], range(count)):
            np.testing.assert_array_equal(decode(content, indices), plain(content)[list(indices)])
    assert len(opened) == 1
    with contextlib.suppress(ClipError):
        decode(bytes(damaged), range(50))
    np.testing.assert_array_equal(decode(other, range(40)), plain(other))


def with_parameters_in_packets(content):
    """The clip with a parameter set before each of its key frames, as transport streams have it."""
    file = io.BytesIO()
    with av.open(io.BytesIO(content)) as source, av.open(file, "w", format="mp4") as target:
        parameters = source.streams.video[0].codec_context.extradata
        unit = parameters[6 : 8 + int.from_bytes(parameters[6:8], "big")]
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                copy = av.Packet(bytes(2) + unit + bytes(packet) if packet.is_keyframe else bytes(packet))
                copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
                copy.time_base, copy.is_keyframe, copy.stream = packet.time_base, packet.is_keyframe, stream
                target.mux(copy)
    return file.getvalue()


def test_clips_that_bring_other_parameters_get_a_decoder_of_their_own(clip):
    content = with_parameters_in_packets(clip)
    assert frame_table(content).config is None
    np.testing.assert_array_equal(decode(content, [49, 0, 20]), plain(clip)[[49, 0, 20]])


def test_unusual_files_are_left_to_ffmpeg(clip):
    assert frame_table(clip) is not None
    assert frame_table(clip[:-1000]) is None
    assert frame_table(clip.replace(b"stsz", b"stz2")) is None
    assert frame_table(clip.replace(b"avc1", b"encv")) is None
    edits = clip.index(b"elst")
    # Nine edits; one that begins later; a faster one; one that ends before the last frames.
    for position, value in ((edits + 11, 9), (edits + 19, 5), (edits + 21, 2), (edits + 14, 0)):
        assert frame_table(clip[:position] + bytes([value]) + clip[position + 1 :]) is None
    # The samples of a chunk that have no description, and chunks that begin with the second.
    runs = clip.index(b"stsc") + 4
    for position, value in ((runs + 19, 2), (runs + 11, 2)):
        assert frame_table(clip[:position] + bytes([value]) + clip[position + 1 :]) is None
    scale = clip.index(b"mdhd") + 16
    for timescale in (0, 1 << 31, (1 << 32) - 1):
        content = clip[:scale] + struct.pack(">I", timescale) + clip[scale + 4 :]
        assert frame_table(content) is None
        shown = plain(content)  # in seconds instead of milliseconds, so that the edit list hides most frames
        np.testing.assert_array_equal(decode(content, range(len(shown))), shown)
    file = io.BytesIO()
    options = {"movflags": "frag_keyframe+empty_moov"}
    with av.open(file, "w", format="mp4", container_options=options) as container:
        stream = container.add_stream("libx264", 25)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        for image in pictures(30):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode())
    assert frame_table(file.getvalue()) is None
    np.testing.assert_array_equal(decode(file.getvalue(), [29, 3]), plain(file.getvalue())[[29, 3]])


def test_a_damaged_table_gives_none_or_a_table(clip):
    rng = random.Random(1)
    start = clip.index(b"moov")
    for _ in range(500):
        content = bytearray(clip)
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(start, len(content))] ^= 1 << rng.randrange(8)
        table = frame_table(bytes(content))
        assert table is None or (table.offsets + table.sizes).max() <= len(content)


def test_the_first_of_two_videos_is_read_also_if_its_handler_is_unknown():
    """FFmpeg knows it by its codec."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        streams = [container.add_stream("libx264", 25) for _ in range(2)]
        for stream, size in zip(streams, (32, 48), strict=True):
            stream.height, stream.width, stream.pix_fmt = size, size, "yuv420p"
        for stream, size, count in zip(streams, (32, 48), (20, 10), strict=True):
            for _ in range(count):
                frame = av.VideoFrame.from_ndarray(np.zeros((size, size, 3), np.uint8), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    content = file.getvalue()
    for changed in (content, content.replace(b"\0vide\0", b"\0vidX\0", 1)):
        with av.open(io.BytesIO(changed)) as container:
            assert sum(1 for _ in container.decode(video=0)) == 20
        with VideoReader(changed) as reader:
            assert reader.decode(range(reader.num_frames)).shape == (20, 32, 32, 3)
        assert probe(changed).num_frames == 20
