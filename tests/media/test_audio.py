"""Sound against a plain decode by PyAV, whose frames follow one another."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from kinetics_tools.media import ClipError, Encoding, cut, encode, read_audio

RATE = 44_100


def hiss(seconds, *, rate=RATE, channels=1):
    """Sound of which no part resembles another, (channels, samples), without the high notes that encoders leave out."""
    spectrum = np.fft.rfft(np.random.default_rng(1).normal(size=(channels, round(seconds * rate))))
    spectrum[:, round(6000 * seconds) :] = 0
    samples = np.fft.irfft(spectrum).astype(np.float32)
    return samples / np.abs(samples).max() / 2


def sound_packets(stream, samples, *, begin=Fraction(0), block=1000):
    """Encode (channels, samples) from `begin` s on."""
    rate = stream.codec_context.sample_rate
    resampler = av.AudioResampler(stream.codec_context.format, stream.codec_context.layout, rate)
    packets = []
    for start in range(0, samples.shape[1], block):
        packed = np.ascontiguousarray(samples[:, start : start + block].T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=stream.codec_context.layout.name)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(begin * rate) + start
        for part in resampler.resample(frame):
            packets += stream.encode(part)
    return packets + stream.encode()


def written(parts, *, format="matroska", codec="aac", begin=Fraction(0), video="libx264", seconds=3):
    """Return a clip whose pictures begin at `begin` s; `parts` are the sound, each (begin in s, rate, samples)."""
    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        pictures = container.add_stream(video, 25)
        pictures.height, pictures.width, pictures.pix_fmt = 32, 32, "yuv420p"
        layouts = {1: "mono", 2: "stereo", 8: "7.1", 16: "hexadecagonal"}
        sound = container.add_stream(codec, parts[0][1], layout=layouts[len(parts[0][2])], options={"strict": "-2"})
        sound.bit_rate = 128_000
        packets = []
        for index in range(25 * seconds):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), index, np.uint8), format="rgb24")
            frame.pts, frame.time_base = index + round(begin * 25), Fraction(1, 25)
            packets += pictures.encode(frame)
        packets += pictures.encode()
        packets += sound_packets(sound, parts[0][2], begin=begin + parts[0][0])
        for start, rate, samples in parts[1:]:  # encoded apart, and put into the same stream
            with av.open(io.BytesIO(), "w", format="matroska") as other:
                encoder = other.add_stream(codec, rate, layout=layouts[len(samples)])
                for one in sound_packets(encoder, samples, begin=begin + start):
                    packet = av.Packet(adts(one, rate, len(samples)) if format == "mpegts" else bytes(one))
                    packet.pts, packet.dts, packet.time_base, packet.stream = one.pts, one.dts, one.time_base, sound
                    packets.append(packet)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return file.getvalue()


def adts(packet, rate, channels):
    """Return AAC with the header of transport streams: here FFmpeg would write that of the stream's beginning."""
    length, index = packet.size + 7, {48_000: 3, 44_100: 4}[rate]
    numbers = (
        0xFF,
        0xF1,
        0x40 | index << 2,
        channels << 6 | length >> 11,
        length >> 3 & 0xFF,
        (length & 7) << 5 | 31,
        252,
    )
    return bytes(numbers) + bytes(packet)


def plain(content):
    """Return the sound from when the first picture is shown on, as its frames follow one another."""
    packed = av.AudioResampler("flt")
    with av.open(io.BytesIO(content)) as container:
        picture = next(container.decode(video=0))
    with av.open(io.BytesIO(content)) as container:
        frames = list(container.decode(audio=0))
        parts = [part for frame in frames for part in packed.resample(frame)]
    samples = [part.to_ndarray().reshape(-1, part.layout.nb_channels).T for part in parts]
    start = frames[0].pts * frames[0].time_base - picture.pts * picture.time_base
    silence = np.zeros((len(samples[0]), max(round(start * parts[0].rate), 0)), np.float32)
    return np.concatenate([silence, *samples], axis=1)[:, max(round(-start * parts[0].rate), 0) :]


def shift_of(part, whole, expected):
    """Return how many samples `part` lies beside its position `expected` in `whole`, where it is the same sound."""
    count = part.shape[1]
    for shift in sorted(range(-60, 61), key=abs):
        begin = max(expected + shift, 0)
        other = whole[:, begin : begin + count]
        if other.shape == part.shape and np.abs(other - part).max() < 1e-3:
            return shift
    raise AssertionError("other sound")


@pytest.mark.parametrize(
    ("codec", "format"),
    [
        ("aac", "matroska"),
        ("aac", "flv"),
        ("libmp3lame", "flv"),
        ("libmp3lame", "matroska"),
        ("vorbis", "matroska"),
        ("libopus", "webm"),
        ("wmav2", "asf"),
        ("aac", "mpegts"),
        ("ac3", "mpegts"),
        ("aac", "mp4"),
    ],
)
def test_sound_without_a_gap_stays_without_one(codec, format):
    """Most of these containers round times; WMA and MP3 end with a frame that has none."""
    rate = 48_000 if codec == "libopus" else RATE
    video = {"webm": "libvpx", "asf": "mpeg4"}.get(format, "libx264")
    sound = hiss(3, rate=rate, channels=2 if codec == "vorbis" else 1)
    content = written([(0, rate, sound)], codec=codec, format=format, video=video)
    whole, expected = read_audio(content).samples, plain(content)
    tick = rate // 1000  # containers round times to this
    shift = shift_of(whole[:, tick:-tick], expected, tick)
    assert abs(shift) <= tick
    assert abs(whole.shape[1] - expected.shape[1]) <= tick
    for begin in (0.5, 1.3):
        part = read_audio(content, start_seconds=begin, end_seconds=begin + 0.5).samples
        assert abs(shift_of(part, whole, round(begin * rate))) <= tick


@pytest.mark.parametrize("codec", ["mp2", "ac3"])
def test_a_program_stream_is_entered_at_any_time(codec):
    """A seek ends within a packet of sound, which does not decode."""
    content = written([(0, RATE, hiss(3))], codec=codec, format="mpeg", video="mpeg2video", begin=Fraction(7))
    whole = read_audio(content).samples
    assert abs(shift_of(whole[:, 60:-60], plain(content), 60)) <= 1
    for begin in (0, 0.5, 1.3, 2.2):
        part = read_audio(content, start_seconds=begin, end_seconds=begin + 0.5).samples
        assert abs(shift_of(part, whole, round(begin * RATE))) <= 1


@pytest.mark.parametrize("channels", [8, 16])
def test_any_number_of_channels(channels, tmp_path):
    samples = hiss(3, channels=channels)
    content = written([(0, RATE, samples)], codec="pcm_s16le", format="mov")
    np.testing.assert_allclose(read_audio(content).samples, samples, atol=1e-4)
    assert read_audio(content, sample_rate=16_000).samples.shape == (channels, 48_000)
    assert read_audio(encode(content)).samples.shape[0] == 2
    assert cut_of(content, tmp_path).samples.shape[0] == 2


def cut_of(content, tmp_path):
    cut(content, tmp_path / "cut.mp4", start_seconds=1, end_seconds=3)
    return read_audio(tmp_path / "cut.mp4")


@pytest.mark.parametrize(("codec", "format"), [("mp2", "matroska"), ("aac", "mpegts")])
def test_sound_that_changes_its_rate_and_channels_keeps_those_of_its_beginning(codec, format, tmp_path):
    sound = hiss(3, rate=48_000)
    begun = hiss(1.5)
    later = np.repeat(sound[:, 72_000:], 2, axis=0)
    content = written([(0, RATE, begun), (Fraction(3, 2), 48_000, later)], codec=codec, format=format)
    found = read_audio(content)
    assert (found.sample_rate, len(found.samples)) == (RATE, 1)
    assert found.samples.shape[1] == pytest.approx(3 * RATE, abs=2048)
    expected = np.interp(np.arange(3 * RATE) / RATE, np.arange(144_000) / 48_000, sound[0])
    part = slice(2 * RATE, round(2.5 * RATE))
    for samples in (found.samples[0], read_audio(encode(content)).samples[0]):
        assert likeness(samples[part], expected[part]) > 0.95
    assert likeness(cut_of(content, tmp_path).samples[0][RATE * 6 // 10 :], expected[RATE * 16 // 10 :]) > 0.9


def likeness(one, other):
    """Return the correlation at the best shift of at most 15 ms."""
    count = min(len(one), len(other))
    one, other = one[:count], other[:count]
    products = np.fft.irfft(np.fft.rfft(one, 2 * count) * np.conj(np.fft.rfft(other, 2 * count)))
    near = np.concatenate([products[: RATE * 15 // 1000], products[-RATE * 15 // 1000 :]])
    return near.max() / np.sqrt((one**2).sum() * (other**2).sum())


@pytest.mark.parametrize("gap", [Fraction(26, 1000), Fraction(1, 2)])
def test_a_gap_is_silent_and_later_sound_stays_in_its_place(gap, tmp_path):
    samples = hiss(3)
    half, late = samples[:, : RATE * 3 // 2], samples[:, RATE * 3 // 2 + round(gap * RATE) :]
    content = written([(0, RATE, half), (Fraction(3, 2) + gap, RATE, late)], codec="pcm_s16le")
    expected = samples.copy()
    expected[:, RATE * 3 // 2 : RATE * 3 // 2 + round(gap * RATE)] = 0
    found = read_audio(content).samples
    assert abs(found.shape[1] - expected.shape[1]) <= RATE // 1000
    assert abs(shift_of(found[:, 100:RATE], expected, 100)) <= RATE // 1000
    assert abs(shift_of(found[:, RATE * 21 // 10 :], expected, RATE * 21 // 10)) <= RATE // 1000
    encoded = read_audio(encode(content, Encoding(audio="aac"))).samples
    assert likeness(encoded[0, RATE * 21 // 10 :], expected[0, RATE * 21 // 10 :]) > 0.95
    assert likeness(cut_of(content, tmp_path).samples[0, RATE * 11 // 10 :], expected[0, RATE * 21 // 10 :]) > 0.9


def test_a_time_years_ahead_is_no_reason_to_fill_the_memory():
    content = written([(0, RATE, hiss(1)), (10**6, RATE, hiss(1))], codec="pcm_s16le")
    with pytest.raises(ClipError, match=r"has no sound from 1\.00 to 1000000\.00 s, so its times are corrupt; drop it"):
        read_audio(content)
    assert read_audio(content, end_seconds=1).samples.shape == (1, RATE)
