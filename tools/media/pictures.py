"""Pictures, uint8 RGB arrays with the axes (H, W, C): out of clips, beside each other, and as PNG files."""

import os
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import av
import av.video.reformatter
import numpy as np
import numpy.typing as npt

from kinetics_tools.media.source import ClipError, VideoSource, open_video, source_of

Pixels = npt.NDArray[np.uint8]


def read_frames(video: VideoSource, *, count: int, size: tuple[int, int] | None = None) -> Pixels:
    """Read `count` frames spread evenly over a clip: (T, H, W, C) uint8 RGB, T = `count`.

    Frame i is the middle one of the i-th of `count` equal parts, so a clip shorter than `count` frames
    repeats some. `video` is a path, the bytes of a file, or the {"bytes", "path"} of a `Video(decode=False)`
    column. `size` is (height, width) to scale to; by default frames keep their own. Raises ClipError for a
    clip that cannot be read, FileNotFoundError for a path that does not exist.
    """
    if count < 1:
        raise ValueError(f"count={count}: must be at least 1")
    with open_video(video) as (container, stream):
        # Counted, since the number in the header is missing or wrong in some files; and kept, since a clip's
        # packets take about a megabyte and not all files can be read twice without a seek that fails.
        packets = list(container.demux(stream))
        total = sum(packet.size > 0 and not packet.is_discard for packet in packets)
        wanted = [(2 * part + 1) * total // (2 * count) for part in range(count)]
        # A reformatter of our own keeps the scaler between frames; frame.reformat() makes one for each.
        reformatter = av.video.reformatter.VideoReformatter()
        height, width = size or (None, None)
        frames: list[Any] = []
        frame = None
        for index, frame in enumerate(frame for packet in packets for frame in stream.decode(packet)):
            if index == wanted[len(frames)]:
                image = reformatter.reformat(frame, width, height, "rgb24").to_ndarray()
                frames += [image] * wanted.count(index)
                if len(frames) == count:
                    return np.stack(frames)
        if frame is None:
            raise ClipError(f"{source_of(video)[0]}: has no frames; drop it or fetch it again")
        # Some packets decode to no frame, for example those before the first key frame of a careless cut.
        image = reformatter.reformat(frame, width, height, "rgb24").to_ndarray()
        return np.stack(frames + [image] * (count - len(frames)))


def contact_sheet(rows: Sequence[Pixels], *, gap: int = 4) -> Pixels:
    """Lay clips out as a picture, (H, W, C) uint8: a row for each clip, its frames from left to right.

    Each row is (T, H, W, C) uint8 and all have one shape, or NumPy's ValueError says otherwise. `gap` is the
    width in pixels of the white lines around the frames.
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
