"""`cut` against full decoding: which frames, when, turned how, beside which sound; and videos that it refuses.

Most sources and cuts here are lossless, so that frames are compared by their hashes; what the real settings lose
is bounded by the last tests.
"""

import hashlib
import io
import resource
import struct
from fractions import Fraction

import av
import numpy as np
import pytest

from kinetics_tools.media import ClipError, EmptySegmentError, cut
from kinetics_tools.media.cut import _H264

HEIGHT, WIDTH = 48, 64
RATE = 48_000
LOSSLESS = {"preset": "ultrafast", "qp": "0", "threads": "1"}
# At qp 0, x264 makes no B-frames.
REORDERED = {"qp": "1", "b_strategy": "0"}

EVEN = [Fraction(i, 25) for i in range(40)]
# Screen recordings and phones: pictures that stand, and bursts.
UNEVEN = [Fraction(ms, 1000) for ms in (0, 40, 73, 107, 500, 533, 534, 900, 940, 1400, 1401, 1402, 2000, 2300)]


@pytest.fixture
def lossless(monkeypatch):
    monkeypatch.setitem(_H264, "qp", "0")
    monkeypatch.delitem(_H264, "crf")


def noise(count, *, seed=0, height=HEIGHT, width=WIDTH):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


def hiss(seconds):
    """Mono sound of which no part resembles another, without the high notes that AAC leaves out."""
    spectrum = np.fft.rfft(np.random.default_rng(1).normal(size=round(seconds * RATE)))
    spectrum[round(6000 * seconds) :] = 0
    samples = np.fft.irfft(spectrum).astype(np.float32)
    return samples / np.abs(samples).max() / 2


def add_pictures(
    container, times, *, images=None, codec="libx264", options=None, pix_fmt="yuv420p", time_base=Fraction(1, 12_000)
):
    images = noise(len(times)) if images is None else images
    options = {**(LOSSLESS if codec == "libx264" else {}), **(options or {})}
    stream = container.add_stream(codec, 25, options=options)
    stream.height, stream.width, stream.pix_fmt = *images[0].shape[:2], pix_fmt
    stream.codec_context.time_base = time_base
    packets = []
    # Without durations, a file does not tell how long its last frame lasts.
    lasting = dict(zip(times, [*times[1:], times[-1] + Fraction(1, 25)], strict=True))
    for time, image in zip(times, images, strict=True):
        frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
        frame.pts, frame.time_base = round(time / time_base), time_base
        packets += stream.encode(frame)
    packets += stream.encode()
    for packet in packets:
        time = packet.pts * packet.time_base
        packet.duration = round((lasting[time] - time) / packet.time_base)
    return packets


def add_sound(container, samples, *, codec="aac", begin=Fraction(0)):
    stream = container.add_stream(codec, RATE, layout="mono", options={"b": "256000"})
    frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="fltp", layout="mono")
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), round(begin * RATE)
    return stream.encode(frame) + stream.encode()


def write(path, make, *, format="mp4", **options):
    """A file of the packets of `make(container)`, in the order of their times."""
    with av.open(
        str(path), "w", format=format, container_options={"max_interleave_delta": "0"}, options=options
    ) as file:
        for packet in sorted(make(file), key=lambda packet: packet.dts * packet.time_base):
            file.mux(packet)
    return path


def shown(path):
    """(time, hash) of every frame, by full decoding."""
    with av.open(str(path)) as container:
        return [(frame.pts * frame.time_base, digest(frame)) for frame in container.decode(video=0)]


def is_reordered(path):
    """Return True if frames are stored in another order than they are shown in."""
    with av.open(str(path)) as container:
        times = [packet.pts for packet in container.demux(video=0) if packet.size]
    return times != sorted(times)


def digest(frame):
    return hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest()


def windows(frames):
    """Segments that begin and end at a frame, right before one, right after one, and beyond the last."""
    times = [time for time, _ in frames]
    epsilon = Fraction(1, 1_000_000)
    count = len(times)
    for first, last in ((0, 1), (1, count // 2), (count // 2, count - 1)):
        yield times[first], times[last]
        yield max(times[first] - epsilon, Fraction(0)), times[last] + epsilon
    yield times[count // 3] + epsilon, times[-1] - epsilon
    yield times[count // 2], times[-1] + 100


def assert_exact(source, tmp_path, *, frames=None, zero=Fraction(0), segments=None):
    """Every segment, by default those of `windows`, holds exactly the frames of full decoding, at their distances."""
    frames = [(time - zero, one) for time, one in frames or shown(source)]
    for start, end in segments or windows(frames):
        # As the annotations have them: floats.
        info = cut(source, tmp_path / "cut.mp4", start_seconds=float(start), end_seconds=float(end))
        wanted = [(time, one) for time, one in frames if round(start, 6) <= time < round(end, 6)]
        found = shown(tmp_path / "cut.mp4")
        assert [one for _, one in found] == [one for _, one in wanted], (float(start), float(end))
        assert [time for time, _ in found] == [time - wanted[0][0] for time, _ in wanted]
        assert (info.frames, info.first_seconds) == (len(wanted), float(wanted[0][0]))
        assert info.last_seconds == float(wanted[-1][0])
    return info


# ---- Frames -------------------------------------------------------------------------------------------------

SOURCES = {
    "one key frame": (EVEN, {"g": "250", "bf": "0"}),
    "b-frames": (EVEN, {**REORDERED, "g": "12", "bf": "3"}),
    "open gop": (EVEN, {**REORDERED, "bf": "3", "x264-params": "open-gop=1:keyint=12:min-keyint=12:scenecut=0"}),
    "variable rate": (UNEVEN, {"g": "4", "bf": "0"}),
    "variable rate, b-frames": (UNEVEN, {**REORDERED, "g": "5", "bf": "2"}),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("format", ["mp4", "matroska"])
def test_the_frames_are_those_of_full_decoding(name, format, lossless, tmp_path):
    times, options = SOURCES[name]
    time_base = Fraction(1, 1000) if times is UNEVEN else Fraction(1, 12_000)
    source = write(
        tmp_path / "source",
        lambda file: add_pictures(file, times, options=options, time_base=time_base),
        format=format,
    )
    assert is_reordered(source) == (options["bf"] != "0")
    frames = shown(source)
    assert [time for time, _ in frames] == times
    assert len({one for _, one in frames}) == len(times)
    assert_exact(source, tmp_path, frames=frames)


def fragmented(path, times):
    """Write pictures as YouTube serves them: without a table of all frames, in fragments that begin with a key frame.

    Without an edit list, so that the first frame is shown two frames after the first one is to be decoded.
    """
    options = {**REORDERED, "g": "12", "bf": "2"}
    return write(
        path, lambda file: add_pictures(file, times, options=options), movflags="frag_keyframe+empty_moov+dash"
    )


def in_a_transport_stream(path, times):
    """Where time does not begin at 0, and a seek is by the time of decoding."""
    late = [Fraction(7, 5) + time for time in times]
    options = {**REORDERED, "g": "12", "bf": "2"}
    return write(path, lambda file: add_pictures(file, late, options=options), format="mpegts")


def late_in_matroska(path, times):
    """Which counts its length from 0, not from its first frame."""
    late = [Fraction(7, 5) + time for time in times]
    options = {**REORDERED, "g": "12", "bf": "2"}
    return write(
        path, lambda file: add_pictures(file, late, options=options, time_base=Fraction(1, 1000)), format="matroska"
    )


def vp9(path, times):
    options = {"g": "12", "deadline": "realtime", "cpu-used": "8"}

    def make(file):
        return add_pictures(file, times, codec="libvpx-vp9", options=options, time_base=Fraction(1, 1000))

    return write(path, make, format="webm")


@pytest.mark.parametrize("make", [fragmented, in_a_transport_stream, late_in_matroska, vp9])
def test_other_containers(make, lossless, tmp_path):
    source = make(tmp_path / "source", EVEN)
    assert is_reordered(source) == (make is not vp9)
    frames = shown(source)
    zero = frames[0][0]
    assert (zero > 1) == (make in (in_a_transport_stream, late_in_matroska))
    assert [time - zero for time, _ in frames] == EVEN
    assert_exact(source, tmp_path, frames=frames, zero=zero)


def test_time_counts_from_the_first_stamp_of_the_file(lossless, tmp_path):
    """Pictures that begin after the sound do so in the segment, too; alone they begin at 0."""
    late = [Fraction(1, 2) + time for time in EVEN]
    alone = write(tmp_path / "alone.mp4", lambda file: add_pictures(file, late, options={"g": "12"}))
    assert shown(alone)[0][0] == Fraction(1, 2)
    assert cut(alone, tmp_path / "cut.mp4", start_seconds=0, end_seconds=0.4).first_seconds == 0
    both = write(
        tmp_path / "both.mp4",
        lambda file: add_pictures(file, late, options={"g": "12"}) + add_sound(file, hiss(2)),
    )
    assert_exact(both, tmp_path)
    info = cut(both, tmp_path / "cut.mp4", start_seconds=0.2, end_seconds=1)
    assert (info.first_seconds, info.frames, info.has_audio) == (0.5, 13, True)
    assert likeness(tmp_path / "cut.mp4", hiss(2), 0.5, 1) > 0.9
    with pytest.raises(EmptySegmentError, match=r"no frame in \[0, 0\.4\) s; the next one is at 0\.50 s"):
        cut(both, tmp_path / "cut.mp4", start_seconds=0, end_seconds=0.4)


TURNS = {
    # (a, b, c, d) of the display matrix: what a viewer sees of an (H, W) array
    (1, 0, 0, 1): lambda image: image,
    (0, 1, -1, 0): lambda image: np.rot90(image, -1),
    (-1, 0, 0, -1): lambda image: np.rot90(image, 2),
    (0, -1, 1, 0): lambda image: np.rot90(image, 1),
    (-1, 0, 0, 1): np.fliplr,
    (1, 0, 0, -1): np.flipud,
    (0, 1, 1, 0): np.transpose,
    (0, -1, -1, 0): lambda image: np.rot90(image, 2).T,
}


def luma(path):
    """(T, H, W) uint8"""
    with av.open(str(path)) as container:
        planes = [(frame.to_ndarray(), frame.height, frame.width) for frame in container.decode(video=0)]
    return np.stack([(plane if plane.ndim == 2 else plane[0])[:height, :width] for plane, height, width in planes])


@pytest.mark.parametrize("matrix", TURNS)
def test_pictures_are_turned_as_they_are_shown(matrix, lossless, tmp_path):
    source = write(tmp_path / "source.mp4", lambda file: add_pictures(file, EVEN[:10]))
    content = bytearray(source.read_bytes())
    place = content.find(b"tkhd") + 44
    assert struct.unpack_from(">9i", content, place) == (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", content, place, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    source.write_bytes(content)
    cut(source, tmp_path / "cut.mp4", start_seconds=0.1, end_seconds=0.3)
    expected = np.stack([TURNS[matrix](image) for image in luma(source)[3:8]])
    np.testing.assert_array_equal(luma(tmp_path / "cut.mp4"), expected)
    with av.open(str(tmp_path / "cut.mp4")) as container:
        frame = next(container.decode(video=0))
        assert "DISPLAYMATRIX" not in [data.type.name for data in frame.side_data]


def test_an_odd_row_and_column_are_cut_off(lossless, tmp_path):
    """4:2:0 has colours for even sizes only."""
    images = noise(10, height=49, width=65)
    source = write(
        tmp_path / "source.mp4", lambda file: add_pictures(file, EVEN[:10], images=images, pix_fmt="yuv444p")
    )
    cut(source, tmp_path / "cut.mp4", start_seconds=0, end_seconds=1)
    np.testing.assert_array_equal(luma(tmp_path / "cut.mp4"), luma(source)[:, :48, :64])


def test_colours_and_the_shape_of_pixels_are_declared_as_in_the_source(tmp_path):
    def make(file):
        stream = file.add_stream("libx264", 25, options=LOSSLESS)
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        context = stream.codec_context
        context.color_range, context.colorspace, context.color_primaries, context.color_trc = 2, 1, 1, 1
        context.sample_aspect_ratio = Fraction(4, 3)
        frame = av.VideoFrame.from_ndarray(noise(1)[0], format="rgb24").reformat(format="yuv420p")
        return stream.encode(frame) + stream.encode()

    source = write(tmp_path / "source.mp4", make)
    cut(source, tmp_path / "cut.mp4", start_seconds=0, end_seconds=1)
    for path in (source, tmp_path / "cut.mp4"):
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            next(container.decode(video=0))
            found = (context.color_range, context.colorspace, context.color_primaries, context.color_trc)
            assert found == (2, 1, 1, 1)
            assert context.sample_aspect_ratio == Fraction(4, 3)


def test_of_two_video_streams_the_first_one_is_cut(lossless, tmp_path):
    """As by `probe` and `decode`."""
    small, large = noise(40, height=32, width=32), noise(40, seed=1)

    def make(file):
        first = add_pictures(file, EVEN, images=small, options={"g": "12"})
        return first + add_pictures(file, EVEN, images=large, options={"g": "12"})

    source = write(tmp_path / "source.mp4", make)
    assert_exact(source, tmp_path)
    with av.open(str(tmp_path / "cut.mp4")) as container:
        assert len(container.streams) == 1
        assert container.streams.video[0].height == 32


# ---- Times --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("start", "end", "seconds"), [(0, 0.4, 0.4), (0.3, 0.5, 0.2), (1, 9, 0.6), (0.01, 0.41, 0.4)])
def test_a_clip_lasts_to_the_end_of_its_last_frame(start, end, seconds, tmp_path):
    source = write(tmp_path / "source.mp4", lambda file: add_pictures(file, EVEN))
    info = cut(source, tmp_path / "cut.mp4", start_seconds=start, end_seconds=end)
    assert info.duration_seconds == pytest.approx(seconds)
    with av.open(str(tmp_path / "cut.mp4")) as container:
        stream = container.streams.video[0]
        assert float(stream.duration * stream.time_base) == pytest.approx(seconds)
        assert (stream.start_time, stream.average_rate) == (0, 25)


@pytest.mark.parametrize(("end", "seconds"), [(2, 1.48), (0.77, 0.28)])
def test_a_picture_that_stands_long_ends_with_the_segment(end, seconds, tmp_path):
    times = [*EVEN[:20], Fraction(5)]
    source = write(tmp_path / "source.mp4", lambda file: add_pictures(file, times, time_base=Fraction(1, 1000)))
    info = cut(source, tmp_path / "cut.mp4", start_seconds=0.5, end_seconds=end)
    with av.open(str(tmp_path / "cut.mp4")) as container:
        stream = container.streams.video[0]
        assert info.duration_seconds == float(stream.duration * stream.time_base) == pytest.approx(seconds)


def key_frames(path):
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert [packet.pts for packet in packets] == [packet.dts for packet in packets], "readers need no edit list"
    return [packet.is_keyframe for packet in packets]


@pytest.mark.parametrize("content", ["still", "pan", "fade", "noise"])
def test_key_frames_are_not_those_of_the_source(content, tmp_path):
    one, other = noise(2)
    count = len(EVEN)
    wide = np.repeat(np.repeat(noise(1, height=HEIGHT // 8, width=WIDTH), 8, axis=1), 8, axis=2)[0]
    images = {
        "still": [one] * count,
        "pan": [wide[:, 2 * index : 2 * index + WIDTH] for index in range(count)],
        "fade": [(one * (1 - share) + other * share).astype(np.uint8) for share in np.linspace(0, 1, count)],
        "noise": noise(count),
    }
    found = {}
    for distance in ("1", "250"):
        pictures = {"images": np.stack(images[content]), "options": {"g": distance, "sc_threshold": "0"}}
        source = write(tmp_path / "source.mp4", lambda file: add_pictures(file, EVEN, **pictures))  # noqa: B023
        assert sum(key_frames(source)) == (count if distance == "1" else 1)
        cut(source, tmp_path / "cut.mp4", start_seconds=0, end_seconds=1)
        found[distance] = key_frames(tmp_path / "cut.mp4")
    assert found["1"] == found["250"], "they are where the encoder wants them"
    if content != "noise":  # of which it wants many
        assert found["1"] == [True] + [False] * 24


def test_floats_mean_what_they_are_written_as(tmp_path):
    """The float 0.6 is a little less than 15 frames of 1/25 s; as the float32 of an annotation, it is a little more."""
    source = write(tmp_path / "source.mp4", lambda file: add_pictures(file, EVEN))
    for start, end in ((0.6, 1.4), (float(np.float32(0.6)), float(np.float32(1.4)))):
        info = cut(source, tmp_path / "cut.mp4", start_seconds=start, end_seconds=end)
        assert (info.first_seconds, info.frames) == (0.6, 20)


def test_the_same_source_gives_the_same_bytes(tmp_path):
    source = write(tmp_path / "source.mp4", lambda file: add_pictures(file, EVEN) + add_sound(file, hiss(1)))
    for name in ("one", "two"):
        cut(source, tmp_path / name, start_seconds=0.2, end_seconds=0.9)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_index_comes_first(tmp_path):
    source = write(tmp_path / "source.mp4", lambda file: add_pictures(file, EVEN))
    cut(source, tmp_path / "cut.mp4", start_seconds=0, end_seconds=1)
    content = (tmp_path / "cut.mp4").read_bytes()
    assert content.find(b"moov") < content.find(b"mdat")


# ---- Sound --------------------------------------------------------------------------------------------------


def heard(path):
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def likeness(path, samples, start, end):
    """Return the likeness (at most 1) of the clip's sound and samples[start:end] (s). No shift by 1 ms fits better."""
    found, wanted = heard(path), samples[round(start * RATE) : round(end * RATE)]
    assert abs(len(found) - len(wanted)) <= 2048  # AAC comes in blocks of 1024
    count = min(len(found), len(wanted))
    found, wanted = found[:count], wanted[:count]
    correlation = np.fft.irfft(np.fft.rfft(found, 2 * count) * np.conj(np.fft.rfft(wanted, 2 * count)))
    correlation /= np.sqrt((found**2).sum() * (wanted**2).sum())
    lag = np.argmax(correlation)
    # Matroska rounds times to milliseconds.
    assert min(lag, 2 * count - lag) <= RATE // 1000, lag
    return correlation[lag]


@pytest.mark.parametrize(("codec", "format"), [("aac", "mp4"), ("libopus", "matroska")])
@pytest.mark.parametrize(("start", "end"), [(0, 1), (0.505, 1.1), (1.2, 5)])
def test_sound_is_cut_to_the_sample_beside_its_pictures(codec, format, start, end, tmp_path):
    samples = hiss(2)
    source = write(
        tmp_path / "source",
        lambda file: (
            add_pictures(file, [*EVEN, *[time + Fraction(8, 5) for time in EVEN[:10]]], options={"g": "12"})
            + add_sound(file, samples, codec=codec)
        ),
        format=format,
    )
    info = cut(source, tmp_path / "cut.mp4", start_seconds=start, end_seconds=end)
    assert info.has_audio
    assert likeness(tmp_path / "cut.mp4", samples, info.first_seconds, min(end, 2)) > 0.9


def test_sound_is_whole_from_the_first_sample_where_a_key_frame_begins(tmp_path):
    """Decoders give wrong samples right after a seek."""
    samples = hiss(2)
    source = write(
        tmp_path / "source.mp4", lambda file: add_pictures(file, EVEN, options={"g": "12"}) + add_sound(file, samples)
    )
    cut(source, tmp_path / "cut.mp4", start_seconds=0.96, end_seconds=1.5)
    begin = round(0.96 * RATE)
    found, wanted = heard(tmp_path / "cut.mp4")[:512], samples[begin : begin + 512]
    assert np.corrcoef(found, wanted)[0, 1] > 0.9


def test_sound_may_be_a_file_of_its_own(tmp_path):
    """YouTube serves most formats so. Sound in the file of pictures, if any, is not used."""
    pictures = write(tmp_path / "pictures.mp4", lambda file: add_pictures(file, EVEN) + add_sound(file, -hiss(2)))
    sound = write(tmp_path / "sound.webm", lambda file: add_sound(file, hiss(2), codec="libopus"), format="webm")
    info = cut(pictures, tmp_path / "cut.mp4", start_seconds=0.5, end_seconds=1.5, audio=sound)
    assert likeness(tmp_path / "cut.mp4", hiss(2), info.first_seconds, 1.5) > 0.9
    silent = write(tmp_path / "silent.mp4", lambda file: add_pictures(file, EVEN))
    with pytest.raises(ClipError, match=r"silent\.mp4: has no sound stream"):
        cut(pictures, tmp_path / "cut.mp4", start_seconds=0.5, end_seconds=1.5, audio=silent)


def test_sound_that_begins_late_or_ends_early_stays_in_its_place(tmp_path):
    samples = hiss(0.6)
    source = write(
        tmp_path / "source.mp4",
        lambda file: add_pictures(file, EVEN, options={"g": "12"}) + add_sound(file, samples, begin=Fraction(1, 2)),
    )
    cut(source, tmp_path / "cut.mp4", start_seconds=0.2, end_seconds=1.5)
    silence = np.zeros(round(0.3 * RATE), np.float32)
    assert likeness(tmp_path / "cut.mp4", np.concatenate([silence, samples]), 0, 0.9) > 0.9
    assert cut(source, tmp_path / "cut.mp4", start_seconds=1.2, end_seconds=1.5).has_audio is False
    with av.open(str(tmp_path / "cut.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


# ---- What it reads, and refuses -----------------------------------------------------------------------------


class CountingFile(io.BytesIO):
    count = 0

    def read(self, size=-1):
        data = super().read(size)
        self.count += len(data)
        return data


@pytest.mark.parametrize("has_audio", [True, False])
def test_little_more_than_the_segment_is_read(has_audio, tmp_path):
    times = [Fraction(i, 25) for i in range(25 * 40)]
    images = [noise(50)[i % 50] for i in range(len(times))]

    def make(file):
        pictures = add_pictures(file, times, images=images, options={"g": "25"})
        # Sound that ends before the segment must not make us look for it to the end of the file.
        return pictures + (add_sound(file, hiss(5)) if has_audio else [])

    source = write(tmp_path / "source.mp4", make, movflags="faststart")
    file = CountingFile(source.read_bytes())
    info = cut(file, tmp_path / "cut.mp4", start_seconds=10, end_seconds=12)
    assert (info.frames, info.has_audio) == (50, False)
    share = file.count / len(file.getvalue())
    assert share < (14 if has_audio else 5) / 40, share


def test_a_stream_without_an_index_is_not_read_from_its_beginning(tmp_path):
    times = [Fraction(7, 5) + Fraction(i, 25) for i in range(25 * 40)]
    images = np.tile(noise(50), (20, 1, 1, 1))
    source = write(
        tmp_path / "source",
        lambda file: add_pictures(file, times, images=images, options={"g": "50"}),
        format="mpegts",
    )
    file = CountingFile(source.read_bytes())
    assert cut(file, tmp_path / "cut.mp4", start_seconds=30, end_seconds=32).frames == 50
    assert file.count / len(file.getvalue()) < 0.4


def test_a_segment_beyond_the_end_is_an_error_of_its_own(tmp_path):
    for make in (fragmented, in_a_transport_stream, vp9):
        source = make(tmp_path / "source", EVEN)
        with pytest.raises(EmptySegmentError, match=r"source: no frame in \[84, 94\) s; its pictures end at 1\.\d+ s"):
            cut(source, tmp_path / "cut.mp4", start_seconds=84, end_seconds=94)
        assert not (tmp_path / "cut.mp4").exists()


def test_a_video_that_was_cut_off_is_refused_and_not_shortened(tmp_path):
    def make(file):
        return add_pictures(file, EVEN, options={"g": "12"})

    for name, options in (("moov first", {"movflags": "faststart"}), ("matroska", {"format": "matroska"})):
        content = write(tmp_path / "source", make, **options).read_bytes()
        (tmp_path / "half").write_bytes(content[: len(content) // 2])
        with pytest.raises(ClipError, match=r"half: (is not a readable clip|has a corrupt frame at 0\.\d+ s)"):
            cut(tmp_path / "half", tmp_path / "cut.mp4", start_seconds=0.2, end_seconds=1.4)
        assert not (tmp_path / "cut.mp4").exists(), name
        # What lies before the damage can be had.
        assert cut(tmp_path / "half", tmp_path / "cut.mp4", start_seconds=0.1, end_seconds=0.3).frames == 5
        (tmp_path / "cut.mp4").unlink()


def test_a_video_that_states_only_the_order_of_storage_is_cut_in_the_order_of_the_decoder(lossless, tmp_path):
    """AVI does: the n-th frame of the decoder is shown at the n-th time."""

    def make(file):
        return add_pictures(file, EVEN, options={**REORDERED, "bf": "2"}, time_base=Fraction(1, 25))

    source = write(tmp_path / "source", make, format="avi")
    with av.open(str(source)) as container:
        images = [digest(frame) for frame in container.decode(video=0)]
    assert_exact(source, tmp_path, frames=list(zip(EVEN, images, strict=True)))


def test_what_is_no_video_is_a_clip_error(tmp_path):
    (tmp_path / "text").write_bytes(b"not a clip\n" * 99)
    sound = write(tmp_path / "sound", lambda file: add_sound(file, hiss(1)))
    for name, reason in (("text", "is not a readable clip"), ("sound", "has no video stream")):
        with pytest.raises(ClipError, match=f"{name}: {reason}.*download it again"):
            cut(tmp_path / name, tmp_path / "cut.mp4", start_seconds=0, end_seconds=1)
    assert sound.exists()
    with pytest.raises(FileNotFoundError, match="absent"):
        cut(tmp_path / "absent", tmp_path / "cut.mp4", start_seconds=0, end_seconds=1)


@pytest.mark.parametrize(("start", "end"), [(3, 3), (3, 2), (-1, 2)])
def test_a_segment_must_have_a_length(start, end, tmp_path):
    with pytest.raises(ValueError, match=rf"segment \[{start}, {end}\): must begin at 0 or later and end after that"):
        cut(tmp_path / "any.mp4", tmp_path / "cut.mp4", start_seconds=start, end_seconds=end)


def test_errors_of_the_source_pass_through(tmp_path):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise ConnectionError("the server hung up")

    with pytest.raises(ConnectionError, match="the server hung up"):
        cut(Broken(), tmp_path / "cut.mp4", start_seconds=0, end_seconds=1)


def test_a_clip_that_cannot_be_written_is_an_os_error_and_leaves_nothing(tmp_path):
    source = write(tmp_path / "source.mp4", lambda file: add_pictures(file, EVEN))
    with pytest.raises(FileNotFoundError, match=r"absent/cut\.mp4"):
        cut(source, tmp_path / "absent" / "cut.mp4", start_seconds=0, end_seconds=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))  # stands for a full disk
    try:
        with pytest.raises(OSError, match=r"cut\.mp4"):
            cut(source, tmp_path / "cut.mp4", start_seconds=0, end_seconds=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not (tmp_path / "cut.mp4").exists()


# ---- Real clips ---------------------------------------------------------------------------------------------

REAL = ("sports_340x256.mp4", "arm_wrestling_340x256.mp4", "flipping_pancake_426x240.mkv", "nasa_two_streams.mp4")


@pytest.mark.parametrize("name", [*REAL, "one_second_340x256.mp4"])
def test_cuts_of_real_clips_are_exact(name, shared, lossless, tmp_path):
    source = shared / "clips" / name
    frames = shown(source)
    times = [time for time, _ in frames]
    # To a frame, to right after one, and from a late start to beyond the end.
    segments = [(Fraction(1, 2), times[29]), (times[20], times[25] + Fraction(1, 1000)), (times[-20], times[-1] + 9)]
    assert_exact(source, tmp_path, frames=frames, segments=segments)


def psnr(one, other):
    """dB of each frame of two (T, H, W) uint8"""
    errors = ((one.astype(np.float32) - other) ** 2).mean(axis=(1, 2))
    return 10 * np.log10(255**2 / np.maximum(errors, 1e-3))


@pytest.mark.parametrize("name", REAL[:3])
def test_encoding_loses_far_less_than_one_frame_makes(name, shared, tmp_path):
    """Each frame is above 35 dB; compared with the frame before or after it, most are not even near."""
    source = shared / "clips" / name
    info = cut(source, tmp_path / "cut.mp4", start_seconds=3, end_seconds=7.01)
    frames, found = luma(source), luma(tmp_path / "cut.mp4")
    first = [time >= 3 for time, _ in shown(source)].index(True)
    assert psnr(frames[first : first + info.frames], found).min() > 35
    for shift in (-1, 1):
        assert np.median(psnr(frames[first + shift : first + shift + info.frames], found)) < 32
