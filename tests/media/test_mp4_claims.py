"""Mp4 files that claim more samples than they can hold, for which FFmpeg would take gigabytes."""

import io
import struct

import av
import numpy as np
import pytest

from kinetics_tools.media import ClipError, decode, encode, probe, read_audio
from kinetics_tools.media.mp4_claims import false_claim


def written(**options):
    file = io.BytesIO()
    with av.open(file, "w", format="mp4", container_options=options) as container:
        pictures = container.add_stream("libx264", 25, options={"bf": "2"})
        pictures.height, pictures.width, pictures.pix_fmt = 32, 32, "yuv420p"
        sound = container.add_stream("aac", 44_100, layout="mono")
        for value in range(20):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), value, np.uint8), format="rgb24")
            container.mux(pictures.encode(frame))
        container.mux(pictures.encode())
        noise = av.AudioFrame.from_ndarray(np.zeros((1, 30_000), np.float32), format="fltp", layout="mono")
        noise.sample_rate = 44_100
        container.mux([*sound.encode(noise), *sound.encode()])
    return file.getvalue()


def changed(content, kind, numbers, *, last=False):
    """Write `numbers` over the start of a box's content."""
    start = (content.rindex(kind) if last else content.index(kind)) + 4
    data = struct.pack(f">{len(numbers)}I", *numbers)
    return content[:start] + data + content[start + len(data) :]


FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}
PLAIN: dict[str, str] = {}
CASES = {
    "fragment": (
        FRAGMENTS,
        b"trun",
        (0x001, 0x0500_0000),
        False,
        "its trun box states 83,886,0.. samples in a file of",
    ),
    "list of a fragment": (FRAGMENTS, b"trun", (0xF01, 0x0500_0000), False, "its trun box is corrupt"),
    "samples of one size": (PLAIN, b"stsz", (0, 1, 1 << 30), False, "its stsz box states 1,073,741,8.. samples"),
    "sizes": (PLAIN, b"stsz", (0, 0, 1 << 30), False, "its stsz box is corrupt"),
    "durations": (PLAIN, b"stts", (0, 1 << 20), False, "its stts box is corrupt"),
    "one duration": (PLAIN, b"stts", (0, 1, 1 << 30), False, "its stts box states 1,073,741,8.. samples"),
    "delays": (PLAIN, b"ctts", (0, 1, 1 << 30), False, "its ctts box states 1,073,741,8.. samples"),
    "sound": (PLAIN, b"stsz", (0, 1, 1 << 30), True, "its stsz box states 1,073,741,8.. samples"),
}


@pytest.mark.parametrize("case", CASES)
def test_more_samples_than_bytes_are_refused(case):
    options, kind, numbers, last, message = CASES[case]
    content = written(**options)
    assert probe(content).num_frames == 20
    content = changed(content, kind, numbers, last=last)
    for read in (probe, read_audio, encode):
        with pytest.raises(ClipError, match=rf"is not a readable clip \({message}.*; drop it or download it again"):
            read(content)
    if not last:  # `decode` reads no sound
        with pytest.raises(ClipError, match=message):
            decode(content, [0])


def test_boxes_are_found_as_ffmpeg_finds_them():
    table = struct.pack(">I4s4I", 24, b"stts", 0, 1, 1 << 30, 1)
    long = struct.pack(">I4sQ", 1, b"trak", 16 + len(table)) + table
    for index in (
        table,
        struct.pack(">I4s", 0, b"trak") + table,  # up to the end
        struct.pack(">I4s", 1 << 20, b"trak") + table,  # beyond the end
        long,
        struct.pack(">I4s", 8, b"free") + long,
        *(struct.pack(">I4s", 8 + len(table), kind) + table for kind in (b"moof", b"mvex", b"udta", b"edts")),
    ):
        assert false_claim(index, 1 << 20) == "its stts box states 1,073,741,824 samples in a file of 1,048,576 bytes"
    for nested in range(40):
        table = struct.pack(">I4s", 8 + len(table), b"stbl") + table
        assert (false_claim(table, 1 << 20) is None) == (nested >= 10)
    assert false_claim(struct.pack(">I4s", 7, b"trak") + table, 1) is None
    assert false_claim(struct.pack(">I4s", 8, b"cmov"), 1 << 20) == "its cmov box is corrupt"


def test_the_claims_of_an_mp4_count_behind_a_first_box_of_any_kind():
    content = written().replace(b"ftyp", b"vtyp", 1)
    with av.open(io.BytesIO(content)) as container:
        assert container.format.name.startswith("mov")
    assert probe(content).num_frames == 20
    with pytest.raises(ClipError, match="its stts box states"):
        probe(changed(content, b"stts", (0, 1, 1 << 30)))
