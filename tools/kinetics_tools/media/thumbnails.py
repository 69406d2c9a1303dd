"""Small pictures of clips: frames at a small size, as JPEG and WebP."""

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np

from kinetics_tools.media.pictures import Pixels
from kinetics_tools.media.reader import VideoReader
from kinetics_tools.media.transforms import Size, View

_WEBP_QUALITIES = (75, 60, 45, 30, 15, 5)
_START, _COMMENT = b"\xff\xd8", b"\xff\xfe"  # markers of JPEG
_JPEG_QUALITIES = (3, 5, 8, 12, 18, 31)  # of FFmpeg: the quantizer, so the best comes first


def thumbnail(reader: VideoReader, height: int, indices: Sequence[int] | None = None) -> Pixels:
    """Return frames of a clip at most `height` pixels high, with even sides: (T, H, W, 3) uint8 RGB.

    Args:
        reader: open clip.
        height: maximum height in pixels, at least 2.
        indices: frames to take; None for the middle one.
    """

    def views(full_height: int, full_width: int) -> list[View]:
        short = max(2, min(height, full_height) // 2 * 2)
        return [View(size=(short, max(2, round(full_width * short / full_height / 2) * 2)))]

    return reader.decode_views([reader.num_frames // 2] if indices is None else indices, views=views)[0]


def middle_tile(reader: VideoReader, size: Size) -> Pixels:
    """Return the middle frame of a clip, cut to a shape around its center: (H, W, 3) uint8 RGB.

    Args:
        reader: open clip.
        size: (height, width) in pixels to scale to.
    """

    def views(height: int, width: int) -> list[View]:
        kept = min(height, max(1, width * size[0] // size[1])), min(width, max(1, height * size[1] // size[0]))
        return [View(crop=((height - kept[0]) // 2, (width - kept[1]) // 2, *kept), size=size)]

    tile: Pixels = reader.decode_views([reader.num_frames // 2], views=views)[0][0]
    return tile


def jpeg(frames: Pixels, *, max_bytes: int) -> bytes:
    """Return the first frame as a JPEG file of at most `max_bytes`.

    The quality falls until the file is small enough; then every second pixel is dropped.

    Args:
        frames: (T, H, W, 3) uint8 RGB, with at least one frame.
        max_bytes: size of the file in bytes, at least 1,000.
    """
    while True:
        for quality in _JPEG_QUALITIES:
            content = _jpeg(frames[0], quality)
            if len(content) <= max_bytes:
                return content
        frames = frames[:1, ::2, ::2]


def with_comment(picture: bytes, comment: str) -> bytes:
    """Return a JPEG file with a comment of at most 65,000 bytes, which viewers do not show."""
    content = comment.encode()
    return b"".join([picture[:2], _COMMENT, (len(content) + 2).to_bytes(2, "big"), content, picture[2:]])


def comment_of(picture: bytes) -> str | None:
    """Return the comment that `with_comment` put into a JPEG file; None if there is none."""
    if picture[:4] != _START + _COMMENT:
        return None
    return picture[6 : 4 + int.from_bytes(picture[4:6], "big")].decode(errors="replace")


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
        for quality in _WEBP_QUALITIES:
            content = _encoded(frames, fps, quality)
            if len(content) <= max_bytes:
                return content
        if len(frames) > 2:
            frames, fps = frames[::2], fps / 2
        else:
            frames = frames[:1, ::2, ::2]


def _jpeg(frame: Pixels, quality: int) -> bytes:
    encoder = av.CodecContext.create("mjpeg", "w")
    encoder.height, encoder.width, _ = frame.shape
    encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1)
    encoder.qmin = encoder.qmax = quality
    picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
    return b"".join(bytes(packet) for packet in encoder.encode(picture) + encoder.encode())


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
