"""Bytes from outside open no file and no socket but their own."""

import re
import socket
import struct
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest

import kinetics_tools
from kinetics_tools.media import ClipError, cut, decode, encode, probe, read_audio, write_clip
from kinetics_tools.media.mp4_index import frame_table

ALLOWED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "flv", "asf", "mpeg", "mpegts", "ogg", "nut"}


@pytest.fixture
def other(tmp_path):
    """A file of the disk that no clip may show."""
    write_clip(tmp_path / "other.mp4", [np.full((32, 32, 3), 200, np.uint8)] * 5, fps=25)
    return tmp_path / "other.mp4"


def readers(path):
    """Return each way to read a clip, from its path and from its bytes."""
    sources = (str(path), path.read_bytes(), {"bytes": path.read_bytes(), "path": path.name})
    target = path.with_name("cut.mp4")
    for source in sources:
        yield partial(probe, source)
        yield partial(decode, source, [0])
        yield partial(read_audio, source)
        yield partial(encode, source)
        yield partial(cut, source, target, start_seconds=0, end_seconds=1)


def script(format, port, other):
    return {
        "concat": f"ffconcat version 1.0\nfile {other.name}\n",
        "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nhttp://127.0.0.1:{port}/\n{other.name}\n#EXT-X-ENDLIST\n",
        "image2": f"{other.name}\n",
        "realtext": f'<window><img src="http://127.0.0.1:{port}/"/></window>',
        "sdp": f"v=0\no=- 0 0 \nc=IN IP4 127.0.0.1\nm=video {port} RTP/AVP 96\na=rtpmap:96 H264/90000\n",
        "tty": f"file {other.name}\n",
        "vobsub": f"# VobSub index file, v7 (do not modify this line!)\nid: en, index: 0\nfile {other.name}\n",
    }[format]


@pytest.mark.parametrize(
    ("format", "name"),
    [
        ("concat", "clip.mp4"),
        ("sdp", "clip.mp4"),
        ("vobsub", "clip.mp4"),
        ("realtext", "clip.mp4"),
        ("hls", "clip.m3u8"),
        ("tty", "clip.ans"),
        ("image2", "clip%03d.png"),
    ],
)
def test_a_script_named_like_a_clip_opens_nothing(format, name, other):
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        path = other.with_name(name)
        path.write_text(script(format, server.getsockname()[1], other))
        for position, read in enumerate(readers(path)):
            with pytest.raises(ClipError, match=r"is not a readable clip \(.*\); drop it or") as error:
                read()
            # `decode` reads a small file, and some formats are known by the name of the file alone.
            assert position > 0 or f"its format is {format}, not one of mov, matroska," in str(error.value)
        with pytest.raises(BlockingIOError):
            server.accept()


def input_formats():
    for name in sorted(av.formats_available):
        try:
            yield av.ContainerFormat(name, "r").name
        except ValueError:
            continue  # FFmpeg only writes it


def test_every_other_format_of_ffmpeg_is_refused_by_its_name(other, monkeypatch):
    aliases = {alias for name in ALLOWED for alias in name.split(",")}
    refused = set(input_formats()) - ALLOWED - aliases
    assert refused >= {"concat", "hls", "image2", "lavfi", "rtp", "rtsp", "sap", "sdp", "tty", "vobsub"}
    opened = av.open
    # FFmpeg is not asked about a plain mp4.
    other.write_bytes(other.read_bytes().replace(b"ftyp", b"free", 1))
    for name in refused:
        monkeypatch.setattr(
            av, "open", lambda *args, name=name, **options: opened(*args, **{**options, "format": name})
        )
        for source in (other, other.read_bytes()):
            with pytest.raises(ClipError, match=f"its format is {re.escape(name)}, not one of"):
                probe(source)


def test_only_one_module_opens_media_and_demuxes():
    package = Path(kinetics_tools.__file__).parent
    reading = [path.name for path in package.rglob("*.py") for line in path.read_text().splitlines() if is_open(line)]
    assert reading == ["open.py"] * 2


def is_open(line):
    is_written = '"w"' in line or line.rstrip().endswith("(")
    return ("av.open(" in line and not is_written) or "container.demux(" in line


def with_reference(content, path):
    """Return an mp4 whose samples lie in another file, as a QuickTime alias states it."""
    name = path.encode()
    levels = struct.pack(">hh", 1, 1)  # up from this file and down to the other: both lie in one folder
    located = struct.pack(">hh", 2, len(name)) + name + bytes(len(name) % 2)
    alias = bytes(4 + 130) + levels + bytes(16) + located + b"\xff\xff"
    entry = struct.pack(">I4s", 8 + len(alias), b"alis") + alias
    added = len(entry) - 12
    changed = bytearray(content)
    start = content.index(b"dref") - 4
    for kind in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        at = content.index(kind) - 4
        changed[at : at + 4] = struct.pack(">I", int.from_bytes(content[at : at + 4], "big") + added)
    changed[start + 16 : start + 28] = entry
    return bytes(changed)


def test_samples_in_another_file_are_not_read(other, tmp_path):
    clip = tmp_path / "clip.mp4"
    write_clip(clip, [np.zeros((32, 32, 3), np.uint8)] * 5, fps=25)
    clip.write_bytes(with_reference(clip.read_bytes(), "/other.mp4"))
    assert frame_table(clip.read_bytes()) is None
    allowed = {"enable_drefs": "1", "use_absolute_path": "1"}
    with av.open(f"file:{clip}", container_options=allowed) as container:
        shown = [frame.to_ndarray(format="gray").mean() for frame in container.decode(video=0)]
    assert shown
    assert max(shown) > 150  # FFmpeg would follow the reference
    for read in readers(clip):
        with pytest.raises(ClipError):
            read()


def test_pictures_that_take_gigabytes_are_refused(tmp_path):
    """A few hundred kilobytes of H.264 can hold pictures of any size."""
    clip, height, width = tmp_path / "clip.mp4", 4112, 4096
    with av.open(str(clip), "w") as container:
        stream = container.add_stream("libx264", 25, options={"preset": "ultrafast", "threads": "1"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        container.mux([*stream.encode(av.VideoFrame(width, height, "yuv420p")), *stream.encode()])
    for read in readers(clip):
        with pytest.raises(
            ClipError, match=r"has 4,096 x 4,112 pixels, above 16,777,216 in all\); scale it down first"
        ):
            read()
    content = clip.read_bytes()
    stated = content.index(struct.pack(">HH", width, height), content.index(b"stsd"))
    clip.write_bytes(content[:stated] + struct.pack(">HH", 64, 64) + content[stated + 4 :])
    for read in (partial(decode, clip, [0]), partial(encode, clip)):
        with pytest.raises(ClipError):
            read()
