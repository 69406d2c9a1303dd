"""Small pictures and animations as WebP, for pages."""

import io
from fractions import Fraction

import av
import numpy as np

from kinetics_tools.media.pictures import Pixels

_QUALITIES = (75, 60, 45, 30, 15, 5)


def webp(frames: Pixels, *, max_bytes: int, fps: float = 8.0) -> bytes:
    """Return frames as a WebP file of at most `max_bytes`: an animation that repeats, or a picture if there is one.

    The quality falls from 75 to 5 until the file is small enough; then every second frame is dropped, and at last every
    second pixel.

    Args:
        frames: (T, H, W, 3) uint8 RGB, with at least one frame.
        max_bytes: size of the file in bytes, at least 1,000.
        fps: frames per second of an animation.
    """
    while True:
        for quality in _QUALITIES:
            content = _encoded(frames, fps, quality)
            if len(content) <= max_bytes:
                return content
        if len(frames) > 2:
            frames, fps = frames[::2], fps / 2
        else:
            frames = frames[:1, ::2, ::2]


def _encoded(frames: Pixels, fps: float, quality: int) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="webp", options={"loop": "0"}) as container:
        codec = "libwebp_anim" if len(frames) > 1 else "libwebp"
        stream = container.add_stream(codec, Fraction(fps).limit_denominator(1000), options={"quality": str(quality)})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            picture.pts = number
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return file.getvalue()
