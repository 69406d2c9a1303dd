"""`encode` against independent decoding: which frame is shown when, the order of frame types, geometry, colours, sound.

Most clips here are encoded without loss (crf 0), so that frames are known by their exact values; what the default
loses is bounded by the tests of the real clips.
"""

import functools
import hashlib
import io
import os
import random
import struct
import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from kinetics_tools.media import ClipError, Encoding, encode, probe

HEIGHT, WIDTH = 48, 64
RATE = 48_000
LOSSLESS = {"preset": "ultrafast", "qp": "0", "threads": "1"}
EXACT = Encoding(crf=0, preset="ultrafast")
NTSC = Fraction(30_000, 1001)


def noise(count, *, seed=0, height=HEIGHT, width=WIDTH):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def even(count, fps=25):
    return [Fraction(i) / Fraction(fps) for i in range(count)]


def add_pictures(
    container, times, *, images=None, codec="libx264", options=None, pix_fmt="yuv420p", tick=None, rate=25, tags=None
):
    """Packets of a new stream with a frame at each time; `images` may be av.VideoFrame."""
    images = noise(len(times)) if images is None else images
    stream = container.add_stream(codec, rate, options={**(LOSSLESS if codec == "libx264" else {}), **(options or {})})
    first = images[0]
    stream.height, stream.width = first.shape[:2] if isinstance(first, np.ndarray) else (first.height, first.width)
    stream.pix_fmt = pix_fmt
    tick = tick or Fraction(1, 60_000)
    stream.codec_context.time_base = tick
    for name, value in (tags or {}).items():
        setattr(stream.codec_context, name, value)
    packets = []
    interval = times[-1] - times[-2] if len(times) > 1 else 1 / Fraction(rate)
    lasting = dict(zip((round(time / tick) for time in times), [*times[1:], times[-1] + interval], strict=True))
    for time, image in zip(times, images, strict=True):
        if isinstance(image, np.ndarray):
            image = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
        image.pts, image.time_base = round(time / tick), tick
        packets += stream.encode(image)
    packets += stream.encode()
    for packet in packets:
        packet.duration = round(lasting[packet.pts] / tick) - packet.pts
    return packets


def add_sound(container, samples, *, codec="aac", begin=Fraction(0)):
    stream = container.add_stream(codec, RATE, layout="mono", options={"b": "256000"})
    frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), round(begin * RATE)
    return stream.encode(frame) + stream.encode()


def write(make, *, format="mp4", **options):
    """The bytes of a file of the packets of `make(container)`, in the order of their times."""
    file = io.BytesIO()
    with av.open(file, "w", format=format, container_options={"max_interleave_delta": "0", **options}) as container:
        for packet in sorted(make(container), key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return file.getvalue()


def clip(times, *, format="mp4", **arguments):
    return write(lambda file: add_pictures(file, times, **arguments), format=format)


def planes(frame):
    """(H, W) uint8 luma of a 4:2:0 frame"""
    plane = frame.planes[0]
    return np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)[: frame.height, : frame.width].copy()


def luma(content, *, stream=0):
    """(T, H, W) uint8"""
    with av.open(io.BytesIO(content)) as container:
        return np.stack([planes(frame) for frame in container.decode(video=stream)])


def times_of(content):
    with av.open(io.BytesIO(content)) as container:
        return [frame.pts * frame.time_base for frame in container.decode(video=0)]


def indices(found, frames):
    """Which of `frames` each of `found` equals, both (T, H, W)."""
    numbers = {frame.tobytes(): index for index, frame in enumerate(frames)}
    return [numbers.get(frame.tobytes()) for frame in found]


# ---- Options ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"short_side": 255}, "short_side must be an even number of pixels, at least 2, got 255"),
        ({"short_side": 0}, "short_side must be an even .*, got 0"),
        ({"max_fps": 0}, "max_fps must be above 0 and at most 1000, got 0"),
        ({"crf": 52}, "crf must be from 0, lossless, to 51, got 52"),
        ({"crf": float("nan")}, "crf must be from 0, lossless, to 51, got nan"),
        ({"preset": "placebo"}, r"unknown preset 'placebo'.*\(valid: ultrafast, superfast, veryfast, faster, fast"),
        ({"audio": "mp3"}, r"unknown audio 'mp3'.*\(valid: copy, aac, none\)"),
    ],
)
def test_options_are_checked_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        Encoding(**options)


# ---- The order of frames ------------------------------------------------------------------------------------


def frame_types(content):
    """A letter for each frame in the order of showing, by its NAL units: I for IDR, P, b for non-reference B."""
    types = {}
    with av.open(io.BytesIO(content)) as container:
        for packet in container.demux(video=0):
            data, position = bytes(packet), 0
            while position < len(data):
                size, head = struct.unpack_from(">IB", data, position)
                position += 4 + size
                importance, kind = head >> 5 & 3, head & 31
                if kind in (1, 5):
                    types[packet.pts] = "I" if kind == 5 else "P" if importance else "b"
    return "".join(types[pts] for pts in sorted(types))


def expected_types(count):
    """A closed GOP of 32 with three B-frames between P-frames; a frame that nothing follows in its GOP is a P-frame."""
    return "".join(
        "I" if i % 32 == 0 else "P" if i % 4 == 0 or i % 32 == 31 or i == count - 1 else "b" for i in range(count)
    )


def test_the_frame_types_of_each_length():
    images = noise(70, height=16, width=32)
    for count in range(1, 71):
        content = encode(clip(even(count), images=images[:count]))
        assert frame_types(content) == expected_types(count)
        assert times_of(content) == even(count)


@pytest.mark.parametrize("preset", ["ultrafast", "veryfast", "medium", "slower"])
@pytest.mark.parametrize("kind", ["cuts", "still", "fade"])
def test_frame_types_depend_on_neither_preset_nor_content(preset, kind):
    images = noise(70)
    if kind == "still":
        images = np.repeat(images[:1], 70, axis=0)
    if kind == "fade":
        images = (images[:1] * np.linspace(0, 1, 70)[:, None, None, None]).astype(np.uint8)
    content = encode(clip(even(70), images=images), Encoding(preset=preset))
    assert frame_types(content) == expected_types(70)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 31, 32, 33, 36, 64, 65, 70])
def test_the_reference_grid_decodes_alone(count):
    content = encode(clip(even(count)))
    frames = luma(content)
    with av.open(io.BytesIO(content)) as container:
        container.streams.video[0].codec_context.skip_frame = "NONREF"
        found = [(round(frame.pts * frame.time_base * 25), planes(frame)) for frame in container.decode(video=0)]
    grid = {*range(0, count, 4), *range(31, count, 32), count - 1}
    assert [index for index, _ in found] == sorted(grid)
    for index, frame in found:
        np.testing.assert_array_equal(frame, frames[index])


# ---- Times --------------------------------------------------------------------------------------------------


def test_frames_come_as_they_are_shown_where_the_file_does_not_say_when():
    """AVI gives the order of storage, which B-frames change."""
    arguments = {"options": {"qp": "1", "bf": "2", "g": "12"}, "tick": Fraction(1, 25)}
    of_mp4 = clip(even(50), **arguments)
    with av.open(io.BytesIO(of_mp4)) as container:
        stored = [packet.pts for packet in container.demux(video=0) if packet.size]
    assert stored != sorted(stored)
    made = encode(clip(even(50), format="avi", **arguments), EXACT)
    assert times_of(made) == even(50)
    assert indices(luma(made), luma(of_mp4)) == list(range(50))


@pytest.mark.parametrize(
    ("fps", "max_fps", "expected"),
    [
        (25, 30, 25),
        (24, 30, 24),
        (Fraction(24_000, 1001), 30, Fraction(24_000, 1001)),
        (NTSC, 30, NTSC),
        (30, 30, 30),
        (12, 30, 12),
        (50, 30, 25),
        (60, 30, 30),
        (2 * NTSC, 30, NTSC),
        (48, 30, 24),
        (120, 30, 30),
        (30, 10, 10),
        (30, 29, 29),  # every second frame would be half the rate for nothing
        (35, 30, 30),
    ],
)
def test_the_rate_is_that_of_the_source_or_a_whole_part_of_it(fps, max_fps, expected):
    times = even(48, fps)
    tick = 1 / Fraction(fps) / 512
    source = clip(times, rate=fps, tick=tick)
    content = encode(source, Encoding(crf=0, preset="ultrafast", max_fps=max_fps))
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.start_time) == (expected, 0)
    found = indices(luma(content), luma(source))
    step = Fraction(fps) / expected
    assert found == [int(index * step) for index in range(48) if index * step < 48]
    assert times_of(content) == even(len(found), expected)


UNEVEN = [Fraction(ms, 1000) for ms in (0, 40, 73, 107, 500, 533, 534, 900, 940, 1400, 1440, 1480, 2000, 2040)]


@pytest.mark.parametrize("format", ["mp4", "matroska"])
def test_a_variable_rate_becomes_constant(format):
    """Most intervals last 40 ms, so 25 fps: a frame is shown from the nearest multiple of 40 ms on."""
    source = clip(UNEVEN, tick=Fraction(1, 1000), format=format)
    content = encode(source, EXACT)
    expected = [0, 1, 2, *[3] * 10, *[6] * 10, 7, *[8] * 11, 9, 10, *[11] * 13, 12, 13]
    found = indices(luma(content), luma(source))
    assert found == expected
    assert times_of(content) == even(52)
    for index, one in enumerate(found):
        shown = max(k for k, time in enumerate(UNEVEN) if time < Fraction(index, 25) + Fraction(1, 50))
        assert one == shown


def test_a_variable_rate_is_halved_too():
    """60 fps with pauses: frame i is what the source shows at i / 30 s."""
    times = [Fraction(i, 60) for i in range(120) if i % 17 or i == 0 or i > 100]
    times = [time + (Fraction(1, 4) if time > 1 else 0) for time in times]
    source = clip(times)
    content = encode(source, EXACT)
    found = indices(luma(content), luma(source))
    assert times_of(content) == even(len(found), 30)
    assert found == [max(k for k, time in enumerate(times) if time <= Fraction(i, 30)) for i in range(len(found))]
    assert len(found) / 30 == pytest.approx(float(times[-1]) + 1 / 60, abs=1 / 30)


@pytest.mark.parametrize("fps", [24, 25, NTSC, 30, 50, 2 * NTSC, 60])
def test_times_rounded_to_milliseconds_lose_and_repeat_no_frame(fps):
    times = [Fraction(round(time * 1000), 1000) for time in even(240, fps)]
    source = clip(times, rate=fps, tick=Fraction(1, 1000), format="matroska")
    found = indices(luma(encode(source, EXACT)), luma(source))
    assert found == list(range(0, 240, 1 if fps <= 30 else 2))


def test_a_missing_frame_is_made_up_for():
    times = [time for index, time in enumerate(even(40)) if index not in (7, 20, 21)]
    source = clip(times)
    found = indices(luma(encode(source, EXACT)), luma(source))
    kept = [index for index in range(40) if index not in (7, 20, 21)]
    assert found == [kept.index(max(k for k in kept if k <= index)) for index in range(40)]


@pytest.mark.parametrize("format", ["mpegts", "avi", "matroska", "mov"])
def test_other_containers(format):
    late = Fraction(7, 5) if format in ("mpegts", "matroska") else Fraction(0)  # where time does not begin at 0
    options = {"bf": "0"} if format == "avi" else {"bf": "2", "qp": "1"}
    source = clip([late + time for time in even(40)], options=options, tick=Fraction(1, 25), format=format)
    content = encode(source, EXACT)
    assert indices(luma(content), luma(source)) == list(range(40))
    assert times_of(content) == even(40)


def test_frames_before_zero_and_those_that_an_edit_list_hides():
    """The first frame that is shown is at 0, whatever the file's clock says."""
    hidden = clip([time - Fraction(8, 25) for time in even(40)], options={"bf": "0"}, tick=Fraction(1, 25))
    assert len(luma(hidden)) == 32
    content = encode(hidden, EXACT)
    assert indices(luma(content), luma(hidden)) == list(range(32))
    assert times_of(content) == even(32)
    negative = clip([time - 1 for time in even(40)], tick=Fraction(1, 25), options={"bf": "0"}, format="nut")
    content = encode(negative, EXACT)
    assert times_of(content) == even(len(luma(negative)))


def test_times_that_lie_years_ahead_are_no_reason_to_encode_for_years():
    source = clip([*even(10), Fraction(10_000)], tick=Fraction(1, 1000))
    with pytest.raises(ClipError, match=r"shows one frame from 0\.36 to 10000\.00 s, so its times are corrupt"):
        encode(source)


# ---- Readers ------------------------------------------------------------------------------------------------


def rgb(content):
    with av.open(io.BytesIO(content)) as container:
        return [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]


READ = [(count, fps) for count in (1, 2, 6, 37, 70) for fps in (25, NTSC)]


@pytest.mark.parametrize(("count", "fps"), READ)
def test_torchcodec_sees_each_frame_at_its_time(count, fps, torchcodec):
    from torchcodec.decoders import VideoDecoder

    content = encode(clip(even(count, fps), rate=fps, tick=1 / Fraction(fps)))
    frames = rgb(content)
    for mode in ("exact", "approximate"):
        decoder = VideoDecoder(content, seek_mode=mode, dimension_order="NHWC")
        assert len(decoder) == len(frames) == count
        for index in reversed(range(count)):
            frame = decoder.get_frame_at(index)
            assert frame.pts_seconds == pytest.approx(float(index / fps))
            assert np.abs(frame.data.numpy() - frames[index]).max() <= 8


@pytest.mark.parametrize(("count", "fps"), READ)
def test_decord_sees_each_frame_at_its_time(count, fps):
    decord = pytest.importorskip("decord")
    content = encode(clip(even(count, fps), rate=fps, tick=1 / Fraction(fps)))
    frames = rgb(content)
    reader = decord.VideoReader(io.BytesIO(content))
    assert len(reader) == len(frames) == count
    starts = reader.get_frame_timestamp(range(count))[:, 0]
    np.testing.assert_allclose(starts, [float(index / fps) for index in range(count)], atol=1e-4)
    for index in reversed(range(count)):
        assert np.abs(reader[index].asnumpy() - frames[index]).max() <= 8


# ---- Geometry -----------------------------------------------------------------------------------------------

ANGLES = {
    # (a, b, c, d) of the display matrix: what a viewer sees of an (H, W) array
    90: ((0, 1, -1, 0), lambda image: np.rot90(image, -1)),
    180: ((-1, 0, 0, -1), lambda image: np.rot90(image, 2)),
    270: ((0, -1, 1, 0), lambda image: np.rot90(image, 1)),
}


def turned(source, angle):
    content = bytearray(source)
    place = content.find(b"tkhd") + 44
    a, b, c, d = (value << 16 for value in ANGLES[angle][0])
    struct.pack_into(">9i", content, place, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return bytes(content)


@pytest.mark.parametrize("angle", ANGLES)
def test_turned_clips_come_out_upright(angle):
    source = turned(clip(even(6)), angle)
    content = encode(source, EXACT)
    expected = np.stack([ANGLES[angle][1](image) for image in luma(source)])
    np.testing.assert_array_equal(luma(content), expected)
    with av.open(io.BytesIO(content)) as container:
        frame = next(container.decode(video=0))
        assert "DISPLAYMATRIX" not in [data.type.name for data in frame.side_data]


def test_a_turned_clip_is_scaled_upright():
    """A bright quarter stays in its corner."""
    image = np.full((120, 200, 3), 40, np.uint8)
    image[:60, :100] = 220
    content = encode(turned(clip(even(6), images=[image] * 6), 90), Encoding(short_side=60))
    found = luma(content)[0]
    assert found.shape == (100, 60)
    assert found[10:40, 40:55].min() > 180  # top right
    assert max(found[10:40, 5:20].max(), found[60:90, 5:55].max()) < 90


@pytest.mark.parametrize(
    ("width", "height", "pixel", "short_side", "expected"),
    [
        (64, 48, None, 256, (64, 48)),
        (64, 48, 1, 24, (32, 24)),
        (48, 64, 1, 24, (24, 32)),
        (320, 180, 1, 90, (160, 90)),
        (426, 240, 1, 120, (214, 120)),  # 213 is odd
        (65, 49, 1, 256, (64, 48)),
        (64, 48, Fraction(4, 3), 256, (86, 48)),  # 85.3
        (64, 48, Fraction(4, 3), 24, (42, 24)),  # 42.7
        (64, 48, Fraction(3, 4), 256, (64, 64)),
        (340, 256, Fraction(64, 51), 256, (426, 256)),  # a clip of 16:9, as labs store them
        (64, 48, Fraction(1, 100), 256, (64, 48)),  # damaged
        (2, 2, 1, 256, (2, 2)),
        (2, 64, 1, 256, (2, 64)),
        (300, 4, 1, 2, (150, 2)),
    ],
)
def test_sizes(width, height, pixel, short_side, expected):
    images = noise(5, width=width, height=height)
    tags = {"sample_aspect_ratio": Fraction(pixel)} if pixel else {}
    source = clip(even(5), images=images, pix_fmt="yuv444p", tags=tags)
    content = encode(source, Encoding(short_side=short_side))
    info = probe(content)
    assert (info.width, info.height, info.num_frames) == (*expected, 5)
    with av.open(io.BytesIO(content)) as container:
        assert container.streams.video[0].sample_aspect_ratio in (1, None)
        frame = next(container.decode(video=0))
        assert (frame.width, frame.height, frame.format.name) == (*expected, "yuv420p")


def test_an_odd_row_and_column_are_cut_off():
    source = clip(even(5), images=noise(5, height=49, width=65), pix_fmt="yuv444p")
    np.testing.assert_array_equal(luma(encode(source, EXACT)), luma(source)[:, :48, :64])


def test_a_scaled_picture_is_smooth_and_in_place():
    """Against the mean of each block of 4 x 4: no shift, and no aliasing of the finest pattern."""
    y, x = np.mgrid[:192, :256]
    wave = 128 + 60 * np.sin(x / 23) + 50 * np.cos(y / 17)
    image = np.clip(wave + 40 * ((x + y) % 2), 0, 255).astype(np.uint8)
    source = clip(even(5), images=[np.repeat(image[:, :, None], 3, axis=2)] * 5)
    found = luma(encode(source, Encoding(crf=0, short_side=48)))[0].astype(float)
    expected = luma(source)[0].reshape(48, 4, 64, 4).mean((1, 3))
    assert np.abs(found - expected)[1:-1, 1:-1].max() < 3


# ---- Colours ------------------------------------------------------------------------------------------------


def ramp(format, levels, *, color_range=None):
    """A frame whose luma are these levels, each in a column of 4 pixels, and whose chroma is grey."""
    frame = av.VideoFrame(4 * len(levels), 16, format)
    grey = 512 if "10" in format else 128
    for plane, row in zip(frame.planes, (np.repeat(levels, 4), [grey], [grey]), strict=True):
        kind = np.uint16 if "10" in format else np.uint8
        line = np.resize(np.asarray(row, kind), plane.line_size // kind().itemsize)
        plane.update(np.tile(line, (plane.height, 1)).tobytes())
    if color_range:
        frame.color_range = color_range
    return frame


def columns(content):
    return luma(content)[0][8, 1::4].astype(int)


@pytest.mark.parametrize("format", ["yuvj420p", "yuv420p"])
def test_full_range_becomes_limited(format):
    levels = np.arange(0, 256, 15)
    frames = [ramp(format, levels, color_range=2) for _ in range(5)]
    source = clip(even(5), images=frames, pix_fmt=format, tags={"color_range": 2})
    np.testing.assert_array_equal(columns(source), levels)
    content = encode(source, EXACT)
    np.testing.assert_allclose(columns(content), 16 + levels * 219 / 255, atol=1)
    with av.open(io.BytesIO(content)) as container:
        assert int(next(container.decode(video=0)).color_range) == 1


def test_ten_bits_become_eight():
    levels = np.arange(64, 941, 25)
    source = clip(even(5), images=[ramp("yuv420p10le", levels) for _ in range(5)], pix_fmt="yuv420p10le")
    content = encode(source, EXACT)
    np.testing.assert_allclose(columns(content), levels / 4, atol=1)


def test_limited_range_is_not_touched():
    levels = np.arange(0, 256, 15)
    source = clip(even(5), images=[ramp("yuv420p", levels) for _ in range(5)], tags={"color_range": 1})
    np.testing.assert_array_equal(columns(encode(source, EXACT)), levels)


@pytest.mark.parametrize(
    ("height", "matrix", "short_side", "expected"),
    [
        (64, 2, 256, 6),  # not specified: 601 for small pictures, 709 for large ones
        (64, 1, 256, 1),
        (64, 5, 32, 5),
        (64, 6, 32, 6),
        (720, 2, 256, 1),
        (720, 6, 256, 6),
        (64, 9, 256, 9),
    ],
)
def test_the_matrix_is_tagged_and_colours_stay(height, matrix, short_side, expected):
    width = height * 4 // 3 // 2 * 2
    image = np.full((height, width, 3), (200, 60, 30), np.uint8)
    source = clip(even(5), images=[image] * 5, tags={"colorspace": matrix, "color_range": 1})
    content = encode(source, Encoding(short_side=short_side))
    with av.open(io.BytesIO(source)) as container:
        before = next(container.decode(video=0))
    with av.open(io.BytesIO(content)) as container:
        frame = next(container.decode(video=0))
    assert (int(frame.colorspace), int(frame.color_range)) == (expected, 1)
    for one, other in zip(before.planes, frame.planes, strict=True):
        assert abs(int(bytes(one)[0]) - int(bytes(other)[0])) <= 1


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_no_reason_to_fail(transfer):
    tags = {"colorspace": 9, "color_primaries": 9, "color_trc": transfer, "color_range": 1}
    source = clip(even(9), pix_fmt="yuv420p10le", tags=tags, options={"qp": "20"})
    assert probe(encode(source)).num_frames == 9


@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuv444p", "gray", "rgb24"])
def test_other_pixels(pix_fmt):
    image = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    codec = {"gray": "ffv1", "rgb24": "libx264rgb"}.get(pix_fmt, "libx264")
    source = clip(even(5), images=[image] * 5, pix_fmt=pix_fmt, codec=codec, format="matroska")
    np.testing.assert_allclose(rgb(encode(source))[0], 120, atol=3)


# ---- Sound --------------------------------------------------------------------------------------------------


def hiss(seconds):
    """Mono sound of which no part resembles another, without the high notes that encoders leave out."""
    spectrum = np.fft.rfft(np.random.default_rng(1).normal(size=round(seconds * RATE)))
    spectrum[round(6000 * seconds) :] = 0
    samples = np.fft.irfft(spectrum).astype(np.float32)
    return samples / np.abs(samples).max() / 2


def sounding(samples, *, codec="aac", format="mp4", begin=Fraction(0), delay=Fraction(0), count=40):
    times = [delay + time for time in even(count)]
    return write(
        lambda file: add_pictures(file, times) + add_sound(file, samples, codec=codec, begin=begin), format=format
    )


def packets_of(content):
    with av.open(io.BytesIO(content)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def heard(content):
    """(samples,) float32 from time 0 on, by presentation times."""
    with av.open(io.BytesIO(content)) as container:
        found = np.zeros(4 * RATE, np.float32)
        for frame in container.decode(audio=0):
            samples = frame.to_ndarray().astype(np.float32)[0]
            samples = samples / 32768 if np.abs(samples).max() > 2 else samples
            begin = round(frame.pts * frame.time_base * RATE)
            skipped = max(0, -begin)
            found[begin + skipped : begin + len(samples)] = samples[skipped:]
    return found


def assert_in_place(content, samples):
    """`samples` are heard from 0 s on, to a millisecond, the unit of an mp4's edit lists."""
    found = heard(content)[: len(samples)]
    count = len(samples)
    correlation = np.fft.irfft(np.fft.rfft(found, 2 * count) * np.conj(np.fft.rfft(samples, 2 * count)))
    correlation /= np.sqrt((found**2).sum() * (samples**2).sum())
    lag = int(np.argmax(correlation))
    assert min(lag, 2 * count - lag) <= RATE // 1000
    assert correlation[lag] > 0.9


@pytest.mark.parametrize(
    ("codec", "format"),
    [("aac", "mp4"), ("aac", "matroska"), ("aac", "mpegts"), ("libopus", "matroska"), ("libmp3lame", "mp4")],
)
def test_sound_is_copied_bit_for_bit_and_in_place(codec, format):
    source = sounding(hiss(1.5), codec=codec, format=format)
    content = encode(source)
    before = packets_of(source)
    if format == "mpegts":  # each packet has a header that an mp4 has once
        before = [packet[7:] for packet in before]
    assert packets_of(content) == before
    assert_in_place(content, hiss(1.5))
    with av.open(io.BytesIO(content)) as container:
        pts = [packet.pts for packet in container.demux(audio=0) if packet.size]
        assert len(set(np.diff(pts[:-1]))) == 1, "sound goes on without gaps"


@pytest.mark.parametrize(("codec", "audio"), [("aac", "aac"), ("libopus", "aac"), ("ac3", "copy"), ("flac", "copy")])
def test_other_sound_becomes_aac(codec, audio):
    source = sounding(hiss(1.5), codec=codec, format="matroska") if codec != "flac" else flac()
    content = encode(source, Encoding(audio=audio))
    with av.open(io.BytesIO(content)) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
    assert_in_place(content, hiss(1.5))


def flac():
    def make(file):
        stream = file.add_stream("flac", RATE, layout="mono", format="s16")
        frame = av.AudioFrame.from_ndarray((hiss(1.5) * 32767).astype(np.int16)[np.newaxis], "s16", "mono")
        frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
        return add_pictures(file, even(40)) + stream.encode(frame) + stream.encode()

    return write(make, format="matroska")


@pytest.mark.parametrize("audio", ["copy", "aac"])
def test_sound_stays_beside_pictures_that_begin_later(audio):
    """Sound before the first picture is dropped; the rest keeps its time, counted from that picture."""
    content = encode(sounding(hiss(2), delay=Fraction(1, 2)), Encoding(audio=audio))
    assert times_of(content) == even(40)
    assert_in_place(content, hiss(2)[RATE // 2 :])


@pytest.mark.parametrize("audio", ["copy", "aac"])
def test_sound_that_begins_later_and_goes_on_after_the_end(audio):
    content = encode(sounding(hiss(2), begin=Fraction(1, 2)), Encoding(audio=audio))
    expected = np.concatenate([np.zeros(RATE // 2, np.float32), hiss(2)])[: round(1.6 * RATE)]
    assert_in_place(content, expected)
    with av.open(io.BytesIO(content)) as container:
        sound = container.streams.audio[0]
        assert 1.6 <= float((sound.start_time + sound.duration) * sound.time_base) < 1.65


def test_no_sound():
    for source, audio in ((sounding(hiss(1)), "none"), (clip(even(9)), "copy"), (clip(even(9)), "aac")):
        with av.open(io.BytesIO(encode(source, Encoding(audio=audio)))) as container:
            assert [stream.type for stream in container.streams] == ["video"]


def test_sound_all_of_which_lies_after_the_end_is_left_out():
    content = encode(sounding(hiss(1), begin=Fraction(5)))
    assert probe(content).has_audio is False


# ---- Files --------------------------------------------------------------------------------------------------


def test_the_index_comes_first_and_nothing_tells_of_when_and_with_what():
    content = encode(sounding(hiss(1)))
    assert content.find(b"ftyp") == 4
    assert content.find(b"moov") < content.find(b"mdat")
    assert b"Lavf" not in content
    with av.open(io.BytesIO(content)) as container:
        assert "creation_time" not in container.metadata
        assert "encoder" not in container.metadata
        assert [stream.type for stream in container.streams] == ["video", "audio"]


SIZES = ((16, 16), (32, 18), (64, 48), (66, 50), (128, 96), (340, 256), (426, 240))


def digests():
    """Clips of many sizes, since x264 read unwritten memory at some sizes only."""
    found = []
    for width, height in SIZES:
        base = noise(1, height=height, width=width)[0]
        images = [np.roll(base, index, 1) // (1 + index // 20) for index in range(36)]
        content = clip(even(36), images=images, options={"qp": "20"})
        for preset in ("veryfast", "medium"):
            found.append(hashlib.sha256(encode(content, Encoding(preset=preset))).hexdigest())
    content = encode(sounding(hiss(1)), Encoding(audio="aac"))
    return [*found, hashlib.sha256(content).hexdigest()]


def test_bytes_are_the_same_in_each_process():
    """Also where memory holds something else: glibc fills what it hands out with the bits of this variable."""
    script = "from tests.media.test_encode import digests; print(*digests())"
    outputs = []
    for fill in ("0", "85", "255"):
        environment = {**os.environ, "MALLOC_PERTURB_": fill}
        run = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        assert run.returncode == 0, run.stderr
        outputs.append(run.stdout.split())
    assert len(outputs[0]) == 2 * len(SIZES) + 1
    assert outputs[0] == outputs[1] == outputs[2]


def test_all_forms_of_a_source_give_the_same(tmp_path):
    source = sounding(hiss(1))
    path = tmp_path / "-clip.mp4"
    path.write_bytes(source)
    with open(path, "rb") as file:
        forms = [encode(one) for one in (source, path, str(path), file, {"bytes": source, "path": "clip.mp4"})]
    assert len(set(forms)) == 1
    assert sorted(item.name for item in tmp_path.iterdir()) == ["-clip.mp4"]


# ---- What it refuses ----------------------------------------------------------------------------------------


def test_what_is_no_video_is_a_clip_error_with_its_name(tmp_path):
    sound = write(lambda file: add_sound(file, hiss(1)))
    for content, reason in (
        (b"", "is not a readable clip"),
        (b"not a clip\n" * 99, "is not a readable clip"),
        (sound, "has no video stream"),
    ):
        path = tmp_path / "clip.mp4"
        path.write_bytes(content)
        with pytest.raises(ClipError, match=rf"clip\.mp4: {reason}.*download it again"):
            encode(path)
    with pytest.raises(FileNotFoundError, match="absent"):
        encode(tmp_path / "absent.mp4")


def test_two_video_streams_and_subtitles():
    """The first one, as for `probe`, although the second is larger."""
    small, large = noise(10, height=32, width=32), noise(10, seed=1)

    def make(file):
        first = add_pictures(file, even(10), images=small)
        second = add_pictures(file, even(10), images=large)
        return first + second

    source = write(make)
    content = encode(source, EXACT)
    assert (probe(source).width, probe(content).width) == (32, 32)
    assert indices(luma(content), luma(source)) == list(range(10))


def test_a_title_that_is_no_utf8_is_no_damage():
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        container.metadata["title"] = "a title"
        for packet in add_pictures(container, even(5)):
            container.mux(packet)
    assert probe(encode(file.getvalue().replace(b"a title", b"\xe9t\xe9 \xff\xfe."))).num_frames == 5


def test_damage_in_the_middle_is_named_with_its_time():
    source = bytearray(clip(even(100), options={"g": "10", "qp": "20"}))
    with av.open(io.BytesIO(bytes(source))) as container:
        place = [packet.pos for packet in container.demux(video=0) if packet.size][50]
    source[place + 20 : place + 220] = bytes(range(200))
    with pytest.raises(ClipError, match=r"a clip of \d+ bytes: has a corrupt frame at (1\.\d|2\.0)\d s"):
        encode(bytes(source))


def refusal(content):
    """The reason why `content` is refused, or None for a clip that is whole as far as its packets tell."""
    try:
        made = encode(content)
    except ClipError as error:
        return str(error)
    info = probe(made)
    assert len(luma(made)) == info.num_frames
    return None


@pytest.mark.parametrize("format", ["mp4", "moov first", "matroska", "mpegts", "fragments"])
def test_a_clip_that_was_cut_off_is_refused(format):
    options = {
        "moov first": {"movflags": "+faststart"},
        "fragments": {"movflags": "frag_keyframe+empty_moov"},
    }.get(format, {})
    container = format if format in ("matroska", "mpegts") else "mp4"
    if format == "moov first":
        source = encode(sounding(hiss(1.6)))
    else:
        source = write(
            lambda file: add_pictures(file, even(40), options={"g": "12"}) + add_sound(file, hiss(1.6)),
            format=container,
            **options,
        )
    assert refusal(source) is None
    for tenth in range(10):
        reason = refusal(source[: len(source) * tenth // 10])
        if format not in ("mpegts", "fragments"):  # which nothing tells that more was to come
            assert reason is not None, tenth


def test_flipped_bits_give_a_clip_or_a_reason():
    small = [np.roll(noise(1, height=32, width=32)[0], index, 1) for index in range(20)]
    source = write(
        lambda file: add_pictures(file, even(20), images=small, options={"qp": "30"}) + add_sound(file, hiss(0.8))
    )
    rng = random.Random(0)
    refused = 0
    for _ in range(200):
        content = bytearray(source)
        for _ in range(rng.choice((1, 1, 8))):
            place = rng.randrange(len(content))
            content[place] ^= 1 << rng.randrange(8)
        refused += refusal(bytes(content)) is not None
    assert 20 < refused < 200


# ---- Real clips ---------------------------------------------------------------------------------------------

REAL = ("sports_340x256.mp4", "arm_wrestling_340x256.mp4", "flipping_pancake_426x240.mkv", "nasa_two_streams.mp4")


def psnr(one, other):
    """dB of each frame of two (T, H, W) uint8"""
    errors = ((one.astype(np.float32) - other) ** 2).mean(axis=(1, 2))
    return 10 * np.log10(255**2 / np.maximum(errors, 1e-3))


@functools.cache
def encoded(path):
    return encode(path)


@pytest.mark.parametrize("name", REAL)
def test_each_frame_of_a_real_clip_is_nearest_to_its_own(name, shared):
    """At the same index, which is the same time, and clearly nearer than to the frames beside it."""
    content = encoded(shared / "clips" / name)
    info = probe(content)
    with av.open(str(shared / "clips" / name)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        times = [(frame.pts - frames[0].pts) * frame.time_base for frame in frames]
    source = np.stack([planes(frame.reformat(info.width, info.height, interpolation="BICUBIC")) for frame in frames])
    found = luma(content)
    assert len(found) == len(source)
    assert (
        np.abs(np.array([float(one - other) for one, other in zip(times, times_of(content), strict=True)])).max() < 2e-3
    )
    own = psnr(found, source)
    assert own.mean() > 33
    moving = psnr(source[1:], source[:-1]) < 30
    assert moving.any()
    assert (own[1:] > psnr(found[1:], source[:-1]))[moving].all()
    assert (own[:-1] > psnr(found[:-1], source[1:]))[moving].all()


def test_the_real_clips_become_no_larger(shared):
    before = sum((shared / "clips" / name).stat().st_size for name in REAL)
    assert sum(len(encoded(shared / "clips" / name)) for name in REAL) <= before
