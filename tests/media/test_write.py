"""Clips that PyAV itself reads back, frames by known colours, and clips that cannot be read."""

from fractions import Fraction

import av
import numpy as np
import pytest

from kinetics_tools.media import (
    ClipError,
    check_frames,
    contact_sheet,
    cut,
    decode,
    encode,
    probe,
    read_audio,
    write_clip,
    write_png,
)

HEIGHT, WIDTH = 48, 64
# H.264 with 4:2:0 chroma keeps a flat grey to a few levels.
TOLERANCE = 4


def greys(levels):
    return [np.full((HEIGHT, WIDTH, 3), level, np.uint8) for level in levels]


def sine(seconds, *, sample_rate=44_100, pitch_hz=440):
    return (0.3 * np.sin(2 * np.pi * pitch_hz * np.arange(seconds * sample_rate) / sample_rate)).astype(np.float32)


@pytest.fixture
def clip(tmp_path):
    path = tmp_path / "clip.mp4"
    write_clip(path, greys(range(20, 220, 20)), fps=10, audio=sine(1))
    return path


def test_a_written_clip_has_the_streams_of_a_public_one(clip):
    with av.open(str(clip)) as container:
        video, audio = container.streams
        assert (video.codec_context.name, video.pix_fmt) == ("h264", "yuv420p")
        assert (video.width, video.height, video.average_rate) == (WIDTH, HEIGHT, 10)
        assert (audio.codec_context.name, audio.rate, audio.channels) == ("aac", 44_100, 1)
        assert video.duration * video.time_base == 1
        assert float(audio.duration * audio.time_base) == pytest.approx(1, abs=0.05)
        frames = list(container.decode(video=0))
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(i, 10) for i in range(10)]
    content = clip.read_bytes()
    assert content.find(b"moov") > content.find(b"mdat"), "the index must be at the end, as in the public clips"


def test_frame_rates_need_not_be_whole(tmp_path):
    rate = Fraction(30_000, 1001)
    write_clip(tmp_path / "ntsc.mp4", greys([90] * 30), fps=rate)
    with av.open(str(tmp_path / "ntsc.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        assert container.streams.video[0].average_rate == rate
        assert container.streams.video[0].frames == 30


def test_key_frames_are_rare_and_frames_are_reordered(tmp_path):
    rng = np.random.default_rng(0)
    noise = (rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(30))
    write_clip(tmp_path / "noise.mp4", noise, fps=30)
    with av.open(str(tmp_path / "noise.mp4")) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    assert [packet.is_keyframe for packet in packets] == [True] + [False] * 29
    assert [packet.pts for packet in packets] != sorted(packet.pts for packet in packets)


def test_sound_stays_beside_its_pictures(tmp_path):
    """Also past the 10 s after which FFmpeg's muxer by itself no longer waits for the other stream."""
    write_clip(tmp_path / "long.mp4", greys([90] * 150), fps=10, audio=sine(15))
    with av.open(str(tmp_path / "long.mp4")) as container:
        packets = [packet for packet in container.demux() if packet.size]
    packets.sort(key=lambda packet: packet.pos)
    seconds = [float(packet.dts * packet.time_base) for packet in packets]
    assert max(np.maximum.accumulate(seconds) - seconds) < 0.5


def test_sound_survives(tmp_path):
    write_clip(tmp_path / "tone.mp4", greys([90] * 10), fps=10, audio=sine(1, pitch_hz=1000))
    with av.open(str(tmp_path / "tone.mp4")) as container:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    loudest = np.argmax(np.abs(np.fft.rfft(samples[:44_100]))) * 44_100 / 44_100
    assert loudest == pytest.approx(1000, abs=2)
    assert np.abs(samples).max() == pytest.approx(0.3, abs=0.05)


def test_the_same_input_gives_the_same_bytes(tmp_path, clip):
    write_clip(tmp_path / "again.mp4", iter(greys(range(20, 220, 20))), fps=10, audio=sine(1))
    assert (tmp_path / "again.mp4").read_bytes() == clip.read_bytes()


def test_a_clip_without_frames_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"empty\.mp4: a clip needs at least one frame"):
        write_clip(tmp_path / "empty.mp4", [], fps=10)
    assert not (tmp_path / "empty.mp4").exists()


def test_colours_keep_their_order(tmp_path):
    red = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    red[..., 0] = 200
    write_clip(tmp_path / "red.mp4", [red] * 3, fps=10)
    np.testing.assert_allclose(decode(tmp_path / "red.mp4", [0]).mean(axis=(0, 1, 2)), [200, 0, 0], atol=8)


def test_contact_sheet_has_a_row_for_each_clip():
    rows = np.arange(2 * 3, dtype=np.uint8).reshape(2, 3, 1, 1, 1) * np.ones((2, 3, 5, 7, 3), np.uint8)
    sheet = contact_sheet(list(rows), gap=2)
    assert sheet.shape == (2 * (5 + 2) + 2, 3 * (7 + 2) + 2, 3)
    assert sheet.dtype == np.uint8
    for row in range(2):
        for column in range(3):
            frame = sheet[2 + 7 * row : 7 + 7 * row, 2 + 9 * column : 9 + 9 * column]
            assert (frame == 3 * row + column).all()
    is_line = np.ones(sheet.shape[:2], bool)
    is_line[np.ix_([2, 3, 4, 5, 6, 9, 10, 11, 12, 13], [*range(2, 9), *range(11, 18), *range(20, 27)])] = False
    assert (sheet[is_line] == 255).all()
    assert contact_sheet(list(rows), gap=0).shape == (10, 21, 3)


def test_png_keeps_every_pixel(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)
    write_png(tmp_path / "image.png", image)
    assert (tmp_path / "image.png").read_bytes().startswith(b"\x89PNG")
    with av.open(str(tmp_path / "image.png")) as container:
        np.testing.assert_array_equal(next(container.decode(video=0)).to_ndarray(format="rgb24"), image)


LOOKS = {
    "probe": probe,
    "check_frames": check_frames,
    "decode": lambda path: decode(path, [0]),
    "encode": encode,
    "cut": lambda path: cut(path, path.with_name("cut.mp4"), start_seconds=0, end_seconds=1),
    "read_audio": read_audio,
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_codec_without_a_decoder_is_a_clip_error(look, clip):
    clip.write_bytes(clip.read_bytes().replace(b"avc1", b"zzz9"))
    reason = r"is not a readable clip \(FFmpeg has no decoder for its codec\); drop it or download it again"
    with pytest.raises(ClipError, match=rf"{clip.name}: {reason}"):
        LOOKS[look](clip)


@pytest.mark.parametrize("look", ["encode", "cut", "read_audio"])
def test_sound_without_a_decoder_is_a_clip_error(look, clip):
    content = clip.read_bytes()
    clip.write_bytes(content.replace(b"mp4a", b"zzz9").replace(b"esds", b"zzz9"))
    assert probe(clip) == probe(content)
    reason = r"is not a readable clip \(FFmpeg has no decoder for its sound\); drop it or download it again"
    with pytest.raises(ClipError, match=rf"{clip.name}: {reason}"):
        LOOKS[look](clip)
