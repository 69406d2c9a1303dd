"""The count and the order of frames against a plain decode by PyAV, and for which files packets tell them."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from kinetics_tools.media import ClipError, VideoReader, check_frames, cut, decode, encode, frame_index, probe
from tests.support.agreement import plain_frames

HEIGHT, WIDTH = 48, 64

# Frames that `ffprobe -count_frames` counts.
FAULTS = {
    "01-packed-bframes/xvid.avi": 48,
    "01-packed-bframes/xvidcopy.mkv": 48,
    "01-packed-bframes/xvidcopy.mp4": 48,
    "03-open-gop-cut-refused/midstart.ts": 190,
    "03-open-gop-cut-refused/ogcut.mp4": 80,
    "04-leading-frames-counted/h264open_cut.mkv": 30,
    "04-leading-frames-counted/hevcopen_cut.mkv": 30,
    "07-not-coded-vops/nvop.avi": 46,
    "07-not-coded-vops/nvop.mp4": 46,
    "09-cover-first/noudta_cover.mp4": 50,
    "15-403-for-absent/clip.mp4": 48,
    "18-sound-without-times/wma.mkv": 50,
    "19-flv-late-video/flv_late_video.mp4": 50,
    "23-subtitles-outlast/subs_long.mkv": 50,
    "26-edit-of-part-of-a-frame/short_edit.mp4": 44,
}


@pytest.mark.parametrize("name", FAULTS)
def test_frames_are_those_of_a_plain_decode(shared, name):
    path = shared / "faults" / name
    frames = plain_frames(path)
    assert probe(path).num_frames == check_frames(path) == len(frames) == FAULTS[name]
    with VideoReader(path) as reader:
        assert reader.num_frames == len(frames)
        np.testing.assert_array_equal(reader.decode(range(len(frames))), frames)
        assert (np.diff(reader.times_seconds) > 0).all()
    for indices in ([len(frames) - 1], [17, 3, 17], [len(frames) // 2]):
        np.testing.assert_array_equal(decode(path, indices), np.stack(frames)[indices])


def test_frames_after_a_picture_in_the_place_of_another_are_those_of_a_plain_decode(shared, tmp_path):
    path = tmp_path / "clip.mkv"
    with av.open(shared / "faults/03-open-gop-cut-refused/ogcut.mp4") as clip, av.open(path, "w") as container:
        stream = container.add_stream_from_template(clip.streams.video[0])
        packets = [packet for packet in clip.demux() if packet.size]
        copy = av.Packet(bytes(packets[28]))
        copy.pts, copy.dts, copy.time_base = packets[50].pts, packets[50].dts, packets[50].time_base
        for packet in [*packets[:50], copy, *packets[51:]]:
            packet.stream = stream
            container.mux(packet)
    frames = plain_frames(path)
    assert probe(path).num_frames == check_frames(path) == len(frames) == 79
    np.testing.assert_array_equal(decode(path, range(79)), frames)
    np.testing.assert_array_equal(decode(path, [57, 53]), [frames[57], frames[53]])


def nearest(content, frames):
    """Index of the most similar one of `frames` for each picture of a clip."""
    grey = np.stack(frames).mean(-1, dtype=np.float32)
    with av.open(io.BytesIO(content)) as container:
        images = [frame.to_ndarray(format="rgb24").mean(-1, dtype=np.float32) for frame in container.decode(video=0)]
    return [int(np.abs(grey - image).mean((1, 2)).argmin()) for image in images]


@pytest.mark.parametrize("name", ["xvid.avi", "xvidcopy.mkv", "xvidcopy.mp4"])
def test_prepare_and_cut_keep_the_frames_of_packed_pictures_in_order(shared, tmp_path, name):
    path = shared / "faults" / "01-packed-bframes" / name
    frames = plain_frames(path)
    assert nearest(encode(path), frames) == list(range(48))
    made = cut(path, tmp_path / "cut.mp4", start_seconds=1, end_seconds=1.6)
    # The first frame is shown 4/25 s after the first time stamp of the file.
    assert (made.frames, made.first_seconds) == (15, 1.0)
    assert nearest((tmp_path / "cut.mp4").read_bytes(), frames) == list(range(21, 36))


def encoded(count=50, *, format="mp4", codec="libx264", change=lambda packets: packets, **options):
    """The bytes of a clip, 25 frames a second, of the packets that `change` makes of those of the encoder."""
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    with av.open(file, "w", format=format) as container:
        stream = container.add_stream(codec, 25, options={"threads": "1", **options})
        stream.height, stream.width, stream.pix_fmt = HEIGHT, WIDTH, "yuv420p"
        texture = rng.integers(0, 256, (2 * HEIGHT, 2 * WIDTH, 3), np.uint8)
        packets = []
        for time in range(count):
            image = np.roll(texture, (2 * time, 3 * time), (0, 1))[:HEIGHT, :WIDTH]
            packets += stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24"))
        for packet in change([*packets, *stream.encode()]):
            container.mux(packet)
    return file.getvalue()


def of_storage(packets):
    """Give packets the times at which they are stored, like a raw stream that was put into a container."""
    for number, packet in enumerate(packets):
        packet.pts = packet.dts = number
        packet.time_base = Fraction(1, 25)
    return packets


@pytest.mark.parametrize("format", ["mp4", "matroska"])
def test_times_of_storage_do_not_change_the_order_of_the_decoder(tmp_path, format):
    path = tmp_path / "clip"
    path.write_bytes(encoded(format=format, change=of_storage, bf="2", g="12"))
    frames = np.stack(plain_frames(path))
    assert len(frames) == probe(path).num_frames == check_frames(path) == 50
    for video in (path, path.read_bytes()):
        with VideoReader(video) as reader:
            np.testing.assert_allclose(reader.times_seconds, np.arange(50) / 25, atol=1e-3)
            for indices in (list(range(50)), [7], [30, 2, 31]):
                np.testing.assert_array_equal(reader.decode(indices), frames[indices])
    assert nearest(encode(path), frames) == list(range(50))
    cut(path, tmp_path / "cut.mp4", start_seconds=0.4, end_seconds=0.8)
    assert nearest((tmp_path / "cut.mp4").read_bytes(), frames) == list(range(10, 20))


def copy_of(packet, data):
    """A packet with the stamps of another one."""
    copy = av.Packet(data)
    for name in ("pts", "dts", "duration", "time_base", "is_keyframe", "stream"):
        setattr(copy, name, getattr(packet, name))
    return copy


def test_pictures_of_vp8_that_are_not_shown_do_not_count(tmp_path):
    def hidden(packets):
        data = bytes(packets[20])
        packets[20] = copy_of(packets[20], bytes([data[0] & ~16]) + data[1:])  # the bit that shows it
        return packets

    path = tmp_path / "clip.webm"
    path.write_bytes(encoded(codec="libvpx", format="webm", change=hidden, g="25"))
    frames = plain_frames(path)
    assert probe(path).num_frames == check_frames(path) == len(frames) == 49
    np.testing.assert_array_equal(decode(path, [19, 20, 48]), np.stack(frames)[[19, 20, 48]])


@pytest.mark.parametrize(("first", "shown"), [(9, True), (0, False)])
def test_packets_tell_unless_the_first_picture_needs_others(monkeypatch, tmp_path, first, shown):
    """With intra refresh, a cut begins with a picture that the decoder needs more of before it shows any."""
    monkeypatch.setattr(frame_index, "_decoded_index", lambda video: pytest.fail("decodes"))
    options = {"x264-params": "intra-refresh=1:keyint=9:bframes=0"}
    path = tmp_path / "clip.mp4"
    path.write_bytes(encoded(change=lambda packets: packets[first:], **options))
    if not shown:
        assert probe(path).num_frames == 50
        return
    monkeypatch.undo()
    frames = plain_frames(path)
    assert len(frames) < 41
    assert probe(path).num_frames == check_frames(path) == len(frames)
    np.testing.assert_array_equal(decode(path, range(len(frames))), frames)


def test_no_frame_after_a_refreshed_picture_is_lost_in_a_cut(tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(encoded(**{"x264-params": "intra-refresh=1:keyint=12:bframes=0"}))
    frames = plain_frames(path)
    for first, last in ((13, 15), (25, 40)):
        made = cut(path, tmp_path / "cut.mp4", start_seconds=first / 25, end_seconds=last / 25)
        assert made.frames == last - first
        assert nearest((tmp_path / "cut.mp4").read_bytes(), frames) == list(range(first, last))


@pytest.mark.parametrize("name", ["arm_wrestling_340x256.mp4", "flipping_pancake_426x240.mkv", "nasa_two_streams.mp4"])
def test_packets_tell_the_frames_and_the_order_of_usual_clips(shared, monkeypatch, name):
    monkeypatch.setattr(frame_index, "_decoded_index", lambda video: pytest.fail("decodes"))
    assert probe(shared / "clips" / name).num_frames > 1
    with VideoReader(shared / "clips" / name) as reader:
        assert reader._is_ordered, "frames are not found by their times"


def test_a_picture_that_stands_for_a_minute_is_corrupt(tmp_path):
    def late(packets):
        for packet in packets[20:]:
            packet.pts, packet.dts = packet.pts + 25 * 100, packet.dts + 25 * 100
        return packets

    path = tmp_path / "clip.mp4"
    path.write_bytes(encoded(change=late, bf="0"))
    for function in (probe, check_frames, encode, VideoReader):
        with pytest.raises(ClipError, match=r"shows one frame from 0\.76 to 100\.80 s, so its times are corrupt"):
            function(path)


def test_a_packet_without_a_picture_is_damage(tmp_path):
    path = tmp_path / "clip.mp4"
    delimiter = b"\0\0\0\1\x09\xf0"
    path.write_bytes(encoded(change=lambda packets: [*packets[:-1], copy_of(packets[-1], delimiter)], bf="0"))
    for function in (check_frames, encode):
        with pytest.raises(ClipError, match=r"clip\.mp4: has a corrupt frame at 1\.96 s"):
            function(path)


def test_a_concealed_picture_is_damage_for_all(tmp_path):
    """A plain decode shows it, with parts of the picture before."""

    def changed(packets):
        data = bytearray(bytes(packets[30]))
        data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
        packets[30] = copy_of(packets[30], bytes(data))
        return packets

    path = tmp_path / "clip.mp4"
    path.write_bytes(encoded(change=changed, bf="0", g="10"))
    assert len(plain_frames(path)) == 50
    for function in (check_frames, encode, lambda path: decode(path, [30]), lambda path: decode(path, range(50))):
        with pytest.raises(ClipError, match=r"clip\.mp4: has a corrupt frame at 1\.20 s"):
            function(path)
    assert decode(path, [45]).shape == (1, HEIGHT, WIDTH, 3)
