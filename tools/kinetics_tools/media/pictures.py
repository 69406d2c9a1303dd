"""Pictures, uint8 RGB arrays with the axes (H, W, C): contact sheets and PNG files."""

import os
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
"""Array of uint8 pixels: a picture (H, W, C) in RGB."""


def contact_sheet(rows: Sequence[Pixels], *, gap: int = 4) -> Pixels:
    """Lay clips out as a picture, (H, W, C) uint8: a row for each clip, its frames from left to right.

    Each row is (T, H, W, C) uint8, and all have one shape. `gap` is the width in pixels of the white lines around the
    frames.
    """
    frames = np.stack(rows)
    border = ((0, 0), (0, 0), (gap, 0), (gap, 0), (0, 0))
    frames = np.pad(frames, border, constant_values=255)
    clips, times, height, width, channels = frames.shape
    sheet = frames.swapaxes(1, 2).reshape(clips * height, times * width, channels)
    return np.pad(sheet, ((0, gap), (0, gap), (0, 0)), constant_values=255)


def write_png(path: str | os.PathLike[str], image: Pixels) -> None:
    """Write an (H, W, 3) uint8 RGB picture as PNG; a file at `path` is replaced."""
    encoder = av.CodecContext.create("png", "w")
    encoder.height, encoder.width, _ = image.shape
    encoder.pix_fmt, encoder.time_base = "rgb24", Fraction(1)
    packets = encoder.encode(av.VideoFrame.from_ndarray(image, format="rgb24")) + encoder.encode()
    with open(path, "wb") as file:
        file.writelines(bytes(packet) for packet in packets)
