"""Facts from headers against a full decode by PyAV; truncated clips of every kind; corrupt frames."""

import importlib
import io
import struct
import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest

from kinetics_tools.media import ClipError, ClipInfo, check_frames, probe, write_clip
from kinetics_tools.media.truncation import read_headers

HEIGHT, WIDTH = 48, 64


def noise(count, *, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(count)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """50 frames, 25 a second, with sound; its index at the end."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    sound = np.zeros(2 * 44_100, np.float32)
    write_clip(path, noise(50), fps=25, audio=sound)
    return path


def encoded(path, *, format, options=None, codec="libx264", times=range(50), lost=0):
    """The bytes of a clip, 25 frames a second, whose frames are shown at `times` in 25ths of a second.

    It has a key frame every 18, and lacks the first `lost` frames in the order of storage.
    """
    with av.open(str(path), "w", format=format, container_options=options or {}) as container:
        stream = container.add_stream(codec, 25, options={"bf": "2", "g": "18", "sc_threshold": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        packets = []
        for time, image in zip(times, noise(len(times)), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 25)
            packets += stream.encode(frame)
        for packet in [*packets, *stream.encode()][lost:]:
            container.mux(packet)
    return path.read_bytes()


def decoded(content):
    """Frames, and the seconds from the first one's time to the last one's."""
    with av.open(io.BytesIO(content)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    return len(times), max(times) - min(times)


def test_of_a_made_clip(clip):
    expected = ClipInfo(
        duration_seconds=2.0, fps=25.0, num_frames=50, width=WIDTH, height=HEIGHT, has_audio=True, codec="h264"
    )
    content = clip.read_bytes()
    assert probe(clip) == probe(str(clip)) == expected
    assert probe(content) == probe({"bytes": content, "path": "x.mp4"}) == expected
    assert probe({"bytes": None, "path": str(clip)}) == expected
    assert check_frames(clip) == check_frames(content) == 50


@pytest.mark.parametrize(
    ("name", "frames", "fps", "size", "has_audio"),
    [
        ("arm_wrestling_340x256.mp4", 280, 28, (340, 256), False),
        ("sports_340x256.mp4", 300, 30, (340, 256), False),
        ("one_second_340x256.mp4", 32, 30, (340, 256), False),
        ("flipping_pancake_426x240.mkv", 310, 30, (426, 240), True),
        ("nasa_two_streams.mp4", 325, 25, (320, 180), True),
    ],
)
def test_of_real_clips(shared, name, frames, fps, size, has_audio):
    path = shared / "clips" / name
    info = probe(path)
    assert (info.num_frames, info.fps, info.width, info.height) == (frames, fps, *size)
    assert (info.has_audio, info.codec) == (has_audio, "h264")
    count, seconds = decoded(path.read_bytes())
    assert count == frames
    # One of them lacks a frame before its last, which its header does not tell.
    assert info.duration_seconds == pytest.approx(seconds + 1 / fps, abs=1.1 / fps)
    assert check_frames(path) == frames


CONTAINERS = {
    "index in front": ("mp4", {"movflags": "faststart"}),
    "fragments": ("mp4", {"movflags": "frag_keyframe+empty_moov"}),
    "Matroska": ("matroska", {}),
    "transport stream": ("mpegts", {}),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_of_other_containers(tmp_path, container):
    format, options = CONTAINERS[container]
    content = encoded(tmp_path / "clip", format=format, options=options)
    info = probe(content)
    # Times are whole ms in Matroska.
    assert info.duration_seconds == pytest.approx(2.0, abs=1.1e-3)
    assert (info.num_frames, info.fps) == (50, 25)
    assert (info.width, info.height, info.has_audio, info.codec) == (WIDTH, HEIGHT, False, "h264")
    assert check_frames(content) == 50


def test_of_an_avi(tmp_path):
    content = encoded(tmp_path / "clip.avi", format="avi", codec="mpeg4")
    assert probe(content) == ClipInfo(2.0, 25.0, 50, WIDTH, HEIGHT, False, "mpeg4")
    assert check_frames(content) == 50
    with pytest.raises(ClipError, match=r"\(truncated or corrupt\)"):
        probe(content[: len(content) // 2])


@pytest.mark.parametrize("format", ["mp4", "matroska"])
def test_the_rate_of_a_clip_with_a_pause_is_the_mean(tmp_path, format):
    info = probe(encoded(tmp_path / "clip", format=format, times=[*range(25), *range(75, 100)]))
    assert info.num_frames == 50
    assert info.duration_seconds == pytest.approx(4.0, abs=2e-3)
    assert info.fps == pytest.approx(12.5, abs=0.01)


def test_rates_need_not_be_whole(tmp_path):
    write_clip(tmp_path / "ntsc.mp4", noise(30), fps=Fraction(30_000, 1001))
    assert probe(tmp_path / "ntsc.mp4").fps == pytest.approx(30_000 / 1001)


def test_frames_that_an_edit_list_takes_away_do_not_count(tmp_path):
    options = {"avoid_negative_ts": "disabled"}
    content = encoded(tmp_path / "clip", format="mp4", options=options, times=range(-25, 25))
    with av.open(io.BytesIO(content)) as container:
        assert container.streams.video[0].frames == 50, "the header counts them"
    frames, seconds = decoded(content)
    assert frames == 25, "the muxer wrote no edit list"
    info = probe(content)
    assert info.num_frames == frames
    assert info.duration_seconds == pytest.approx(seconds + 1 / 25, abs=1e-3)
    assert info.fps == 25


def test_a_frame_that_an_edit_list_hides_after_a_shown_one_does_not_count(tmp_path):
    source, file = io.BytesIO(encoded(tmp_path / "clip", format="mp4")), io.BytesIO()
    with av.open(source) as clip, av.open(file, "w", format="mp4") as container:
        stream = container.add_stream_from_template(clip.streams.video[0])
        for number, packet in enumerate(packet for packet in clip.demux() if packet.size):
            packet.stream = stream
            packet.pts = packet.dts if number == 1 else packet.pts
            container.mux(packet)
    content = file.getvalue()
    with av.open(io.BytesIO(content)) as container:
        assert container.streams.video[0].frames == 50, "the header counts it"
    assert decoded(content)[0] == 49, "the muxer wrote no edit list"
    assert probe(content).num_frames == check_frames(content) == 49


@pytest.mark.parametrize("container", CONTAINERS)
def test_frames_before_the_first_key_frame_do_not_count(tmp_path, container):
    """A careless cut leaves them; nothing can decode them."""
    format, options = CONTAINERS[container]
    content = encoded(tmp_path / "clip", format=format, options=options, lost=6)
    frames, seconds = decoded(content)
    assert frames == 32
    info = probe(content)
    assert (info.num_frames, info.fps) == (frames, 25)
    assert info.duration_seconds == pytest.approx(seconds + 1 / 25, abs=1.1e-3)


# ---- Plain mp4 files, which FFmpeg is not asked about


@pytest.fixture(scope="module")
def with_sound(tmp_path_factory):
    """The bytes of a clip whose sound lies in several chunks of different lengths."""
    path = tmp_path_factory.mktemp("sound") / "clip.mp4"
    write_clip(path, noise(50), fps=Fraction(30_000, 1001), audio=np.zeros(80_000, np.float32))
    return path.read_bytes()


@pytest.mark.parametrize("codec", ["libx264", "libx265", "sound"])
def test_of_a_plain_mp4_without_ffmpeg(tmp_path, with_sound, monkeypatch, codec):
    content = with_sound if codec == "sound" else encoded(tmp_path / "clip", format="mp4", codec=codec)
    with av.open(io.BytesIO(content)) as container:
        stream = container.streams.video[0]
        expected = ClipInfo(
            duration_seconds=pytest.approx(float(stream.duration * stream.time_base), abs=1e-3),
            fps=pytest.approx(float(stream.average_rate)),
            num_frames=sum(1 for _ in container.decode(stream)),
            width=stream.width,
            height=stream.height,
            has_audio=len(container.streams.audio) > 0,
            codec=stream.codec_context.name,
        )
    module = importlib.import_module("kinetics_tools.media.probe")
    monkeypatch.setattr(module, "open_container", lambda *args: pytest.fail("asks FFmpeg"))
    assert probe(content) == expected


# In the last box of the kind, which is of the sound: position after its type, and 4 bytes.
CORRUPT_SOUND = {
    "references": (b"dref", 4, 255),
    "length of the reference": (b"dref", 8, 11),
    "no descriptions": (b"stsd", 4, 0),
    "length of the description": (b"stsd", 8, 1),
    "version": (b"mdhd", 0, 2 << 24),
}


@pytest.mark.parametrize("case", CORRUPT_SOUND)
def test_a_track_of_sound_that_ffmpeg_refuses_is_corrupt(with_sound, case):
    kind, offset, number = CORRUPT_SOUND[case]
    content = bytearray(with_sound)
    struct.pack_into(">I", content, with_sound.rindex(kind) + 4 + offset, number)
    with pytest.raises(av.error.FFmpegError), av.open(io.BytesIO(content)):
        pass
    with pytest.raises(ClipError, match="is not a readable clip"):
        probe(bytes(content))


def test_a_table_of_sound_that_claims_billions_of_chunks_takes_no_memory_for_them(with_sound):
    content = bytearray(with_sound)
    chunks = with_sound.rindex(b"stco") + 4
    assert chunks > with_sound.rindex(b"soun")
    struct.pack_into(">I", content, chunks + 4, (1 << 32) - 1)
    tracemalloc.start()
    try:
        info = probe(bytes(content))
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()
    with av.open(io.BytesIO(content)) as container:
        assert info.num_frames == sum(1 for _ in container.decode(video=0))


def test_an_index_that_points_beyond_the_end_is_corrupt(with_sound):
    content = bytearray(with_sound)
    chunks = with_sound.index(b"stco") + 4
    (count,) = struct.unpack_from(">I", content, chunks + 4)
    struct.pack_into(">I", content, chunks + 4 + 4 * count, len(content) - 10)
    for read in (probe, check_frames):
        with pytest.raises(ClipError, match=r"\(truncated or corrupt\)"):
            read(bytes(content))


# ---- What is no clip


def box_starts(content):
    starts, position = {}, 0
    while position < len(content):
        starts[content[position + 4 : position + 8].decode()] = position
        position += int.from_bytes(content[position : position + 4], "big")
    return starts


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("container", ["index at the end", "index in front", "fragments", "Matroska"])
def test_a_clip_that_lacks_its_end_is_cut_off(tmp_path, container, share):
    format, options = CONTAINERS.get(container, ("mp4", {}))
    content = encoded(tmp_path / "clip", format=format, options=options)
    # What lies behind the last fragment is a table that nobody needs.
    for end in (int(len(content) * share), len(content) - (200 if container == "fragments" else 1)):
        with pytest.raises(ClipError, match=r"a clip of \d+ bytes: is not a readable clip \(truncated: .*; drop it or"):
            probe(content[:end])


def test_the_bytes_that_are_missing_are_counted(clip):
    content = clip.read_bytes()
    starts = box_starts(content)
    assert sorted(starts, key=starts.get) == ["ftyp", "free", "mdat", "moov"]
    cases = {
        starts["moov"] + 20: f"truncated: {len(content) - starts['moov'] - 20:,} bytes of its moov box are missing",
        starts["moov"]: "truncated: it has no moov box",
        starts["moov"] - 10: "truncated: 10 bytes of its mdat box are missing",
        starts["mdat"]: "truncated: it has no moov box",
        20: "truncated: it has no moov box",
    }
    for end, problem in cases.items():
        assert read_headers(io.BytesIO(content[:end])).problem == problem
    assert read_headers(io.BytesIO(content)).problem is None


def mp4(*boxes, tail=b""):
    return b"".join(boxes) + tail


def box(kind, size, *, length=None, long=False):
    head = (1).to_bytes(4, "big") + kind if long else (size if length is None else length).to_bytes(4, "big") + kind
    head += (size if length is None else length).to_bytes(8, "big") if long else b""
    return head + bytes(size - len(head))


def ebml(segment_length, content, *, width=8):
    unknown = (1 << 7 * width) - 1
    value = unknown if segment_length is None else segment_length
    length = (value | 1 << 7 * width).to_bytes(width, "big")
    return b"\x1a\x45\xdf\xa3" + b"\x84" + bytes(4) + b"\x18\x53\x80\x67" + length + bytes(content)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", None),
        (b"text that is no clip at all", None),
        (mp4(box(b"ftyp", 16), box(b"moov", 30)), None),
        (mp4(box(b"ftyp", 16), box(b"moov", 30), box(b"mdat", 40, length=0)), None),
        (mp4(box(b"ftyp", 16), box(b"moov", 30), box(b"mdat", 40, long=True)), None),
        (mp4(box(b"ftyp", 16), box(b"moov", 30), box(b"mdat", 40, length=41, long=True)), "1 bytes of its mdat box"),
        (mp4(box(b"ftyp", 16), box(b"moov", 30), box(b"free", 40, length=99)), None),
        (mp4(box(b"ftyp", 16), box(b"moov", 30), tail=bytes(100)), None),
        (mp4(box(b"ftyp", 16), box(b"moov", 30), tail=b"abc"), None),
        (mp4(box(b"moof", 30), box(b"mdat", 40, length=50)), "10 bytes of its mdat box"),
        (mp4(box(b"ftyp", 16), box(b"mdat", 30)), "no moov box"),
        (mp4(box(b"ftyp", 16, length=7), box(b"moov", 30)), "no moov box"),
        (ebml(10, 10), None),
        (ebml(10, 12), None),
        (ebml(10, 9), "1 bytes of its segment"),
        (ebml(None, 9), None),
        (ebml(10, 9, width=1), "1 bytes of its segment"),
        (ebml(None, 9, width=1), None),
        (b"\x1a\x45\xdf\xa3", None),
        (b"\x1a\x45\xdf\xa3\x00\x00", None),
        (b"\x1a\x45\xdf\xa3\xff" + bytes(30), None),
    ],
)
def test_headers(content, problem):
    file = io.BytesIO(content)
    found = read_headers(file).problem
    assert (found is None) if problem is None else problem in found
    assert file.tell() == 0


def test_sound_alone_and_pictures_alone_are_no_clips(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", 44_100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 44_100), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(ClipError, match=r"sound\.mp4: has no video stream; drop it or download it again"):
        probe(path)


def test_a_clip_without_frames_is_none(tmp_path):
    path = tmp_path / "none.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", 25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        container.start_encoding()
    for look in (probe, check_frames):
        with pytest.raises(ClipError, match=r"none\.mp4: has no "):
            look(path)


@pytest.mark.parametrize("content", [b"", b"not a clip\n" * 99, bytes(5000)])
def test_what_is_no_video_is_a_clip_error_with_its_name(tmp_path, content):
    path = tmp_path / "bad.mp4"
    path.write_bytes(content)
    for look in (probe, check_frames):
        with pytest.raises(ClipError, match=r"bad\.mp4: is not a readable clip .*; drop it or download it again"):
            look(path)
        with pytest.raises(ClipError, match=rf"a clip of {len(content)} bytes: is not a readable clip"):
            look(content)
        with pytest.raises(FileNotFoundError, match=r"absent\.mp4"):
            look(tmp_path / "absent.mp4")


# ---- Damage that the headers do not show


def test_damaged_frames_show_when_they_are_decoded(clip):
    content = clip.read_bytes()
    starts = box_starts(content)
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(20):
        damaged = bytearray(content)
        for position in rng.integers(starts["mdat"] + 8, starts["moov"], 8):
            damaged[position] ^= 0xFF
        assert probe(bytes(damaged)) == probe(content)
        try:
            check_frames(bytes(damaged))
        except ClipError:
            found += 1
    assert found >= 19


def test_the_damaged_frame_has_its_time(tmp_path):
    path = tmp_path / "clip.mp4"
    write_clip(path, noise(10), fps=10)
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    last = max(packets, key=lambda packet: packet.pts)
    content = bytearray(path.read_bytes())
    content[last.pos + 20 : last.pos + last.size] = bytes(last.size - 20)
    path.write_bytes(content)
    with pytest.raises(ClipError, match=r"clip\.mp4: has a corrupt frame at 0\.90 s \(.*; drop it or download"):
        check_frames(path)
