"""Facts from the bits of pictures, against what the encoder was asked for."""

from fractions import Fraction

import av
import numpy as np
import pytest

from kinetics_tools.media.bitstream import may_reorder, shows_every_packet


def stream_of(codec, pixels="yuv420p", **options):
    """Parameters and packets of 12 pictures; the muxer's form of parameters with `flags=+global_header`."""
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 64, 48, pixels, Fraction(1, 25)
    encoder.options = {"threads": "1", **({"b_strategy": "0"} if codec == "libx264" else {}), **options}
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    packets = []
    for time in range(12):
        frame = av.VideoFrame.from_ndarray(np.roll(image, 3 * time, 1), format="rgb24")
        frame.pts = time
        packets += encoder.encode(frame)
    return encoder.extradata, [*packets, *encoder.encode()]


@pytest.mark.parametrize("flags", ["", "+global_header"])
@pytest.mark.parametrize(
    ("pixels", "options", "is_told", "reorders"),
    [
        ("yuv420p", {"bf": "2"}, True, True),
        ("yuv420p", {"bf": "0"}, True, False),
        ("yuv444p", {"bf": "2"}, True, True),
        ("yuv420p10le", {"bf": "2"}, True, True),
        ("yuv420p", {"profile": "baseline"}, True, False),
        ("yuv420p", {"x264-params": "tff=1"}, False, True),  # interlaced
    ],
)
def test_h264(flags, pixels, options, is_told, reorders):
    parameters, packets = stream_of("libx264", pixels, **options, **({"flags": flags} if flags else {}))
    assert shows_every_packet("h264", parameters, packets[0], is_key=True) is is_told
    assert not shows_every_packet("h264", parameters, packets[1], is_key=True), "it needs the first one"
    if flags:
        assert may_reorder("h264", parameters, packets) is reorders


def test_an_encoder_that_could_reorder_but_does_not():
    parameters, packets = stream_of("libx264", bf="2", flags="+global_header")
    assert may_reorder("h264", parameters, packets[:2]) is False
    assert may_reorder("h264", parameters, packets[:3]) is True


def test_others():
    parameters, packets = stream_of("libx265", **{"x265-params": "log-level=none:pools=1"})
    assert shows_every_packet("hevc", parameters, packets[0], is_key=True)
    assert not shows_every_packet("hevc", parameters, packets[1], is_key=True)
    assert shows_every_packet("vp9", None, packets[0], is_key=True)
    assert not shows_every_packet("vp9", None, packets[0], is_key=False)
    assert not shows_every_packet("mpeg4", None, packets[0], is_key=True), "only a decoder tells"


@pytest.mark.parametrize("data", [b"", b"\1", bytes(40), b"\0\0\1\x67", b"\0\0\1\x67" + b"\xff" * 9, b"\1" * 30])
def test_damage_is_unknown(data):
    for parameters in (None, b"", data):
        for codec in ("h264", "hevc"):
            assert not shows_every_packet(codec, parameters, data, is_key=True)
    may_reorder("h264", data, [data])
