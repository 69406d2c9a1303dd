"""Frames of a clip as JPEG files."""

import os
from fractions import Fraction
from typing import Any

import av

from kinetics_tools.media.reader import VideoReader

_QUANTIZER = 2  # the finest of the encoder; frames of real clips then differ by 40 dB
_DECODED_AT_ONCE = 32


def write_jpegs(video: Any, directory: str | os.PathLike[str]) -> int:
    """Write all frames of a clip to `directory`/img_00001.jpg and so on; return their number.

    The pictures are upright, at full size, with 4:2:0 chroma.

    Args:
        video: see `decode`.
        directory: an existing directory.

    Raises:
        ClipError: the clip cannot be read. Frames that were written before stay.
    """
    with VideoReader(video) as reader:
        encoder: Any = None
        for start in range(0, reader.num_frames, _DECODED_AT_ONCE):
            indices = range(start, min(start + _DECODED_AT_ONCE, reader.num_frames))
            for number, image in enumerate(reader.decode(indices), start + 1):
                if encoder is None:
                    encoder = av.CodecContext.create("mjpeg", "w")
                    encoder.height, encoder.width, _ = image.shape
                    encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1)
                    encoder.qmin = encoder.qmax = _QUANTIZER
                frame = av.VideoFrame.from_ndarray(image, format="rgb24")
                frame.pts = number
                with open(os.path.join(directory, f"img_{number:05d}.jpg"), "wb") as file:
                    file.writelines(bytes(packet) for packet in encoder.encode(frame))
        return reader.num_frames
