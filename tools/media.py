"""Video files in and out: the only module that imports `av`.

Pictures are uint8 RGB arrays with the axes (H, W, C), clips are (T, H, W, C), sound is mono float32 in
[-1, 1]. PyAV's wheels carry FFmpeg, so nothing here needs an `ffmpeg` program.
"""

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import av.container
import av.video.reformatter
import av.video.stream
import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]
VideoSource = str | os.PathLike[str] | bytes | Mapping[str, Any]

# The public clips have a key frame every 250 and frames in another order than they are shown in: B-frames.
# One thread, because x264 gives other bytes for another number of threads.
_H264 = {"preset": "ultrafast", "bf": "2", "crf": "26", "g": "250", "threads": "1"}
_AAC = {"aac_coder": "fast", "b": "48000"}
# Bit-exact leaves the name of the FFmpeg release out of the file. Without the limit taken away, the muxer
# stops interleaving once sound is 10 s ahead of pictures.
_MP4 = {"fflags": "+bitexact", "max_interleave_delta": "0"}


class ClipError(ValueError):
    """A clip that cannot be read: no video file, cut short, without a video stream or without frames."""


def write_clip(
    path: str | os.PathLike[str],
    frames: Iterable[Pixels],
    *,
    fps: Fraction | int,
    audio: npt.NDArray[np.float32] | None = None,
    sample_rate: int = 44_100,
) -> None:
    """Write an mp4 like the public clips: H.264 and AAC, yuv420p, few key frames, the index at the end.

    `frames` are (H, W, 3) uint8 RGB of one size, H and W even, taken one at a time; `audio` is (samples,)
    float32 in [-1, 1] at `sample_rate` Hz. With one build of FFmpeg the same input gives the same bytes.
    A file at `path` is replaced. Raises ValueError when there are no frames.
    """
    images = iter(frames)
    first = next(images, None)
    if first is None:
        raise ValueError(f"{os.fspath(path)}: a clip needs at least one frame, got none; check its source")
    with av.open(_url(path), "w", format="mp4", container_options=_MP4) as container:
        video = container.add_stream("libx264", Fraction(fps), options=_H264)
        video.height, video.width, _ = first.shape
        video.pix_fmt = "yuv420p"
        if audio is not None:
            sound = container.add_stream("aac", sample_rate, layout="mono", options=_AAC)
            samples = av.AudioFrame.from_ndarray(audio[np.newaxis], format="fltp", layout="mono")
            samples.sample_rate = sample_rate
            container.mux(sound.encode(samples))
            container.mux(sound.encode())
        for image in chain([first], images):
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode())


def read_frames(video: VideoSource, *, count: int, size: tuple[int, int] | None = None) -> Pixels:
    """Read `count` frames spread evenly over a clip: (T, H, W, C) uint8 RGB, T = `count`.

    Frame i is the middle one of the i-th of `count` equal parts, so a clip shorter than `count` frames
    repeats some. `video` is a path, the bytes of a file, or the {"bytes", "path"} of a `Video(decode=False)`
    column. `size` is (height, width) to scale to; by default frames keep their own. Raises ClipError for a
    clip that cannot be read, FileNotFoundError for a path that does not exist.
    """
    if count < 1:
        raise ValueError(f"count={count}: must be at least 1")
    with _open(video) as (container, stream):
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
            raise ClipError(f"{_source(video)[0]}: has no frames; drop it or fetch it again")
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


@contextmanager
def _open(
    video: VideoSource,
) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    # The one place that turns FFmpeg's errors, also those met later while decoding, into ours.
    name, file = _source(video)
    try:
        with av.open(file) as container:
            if not container.streams.video:
                raise ClipError(f"{name}: has no video stream; drop it or fetch it again")
            yield container, container.streams.video[0]
    except av.error.FileNotFoundError as error:
        raise FileNotFoundError(error.errno, error.strerror, name) from None
    except av.error.FFmpegError as error:
        message = f"{name}: is not a readable clip ({error.strerror}); drop it or fetch it again"
        raise ClipError(message) from error


def _source(video: VideoSource) -> tuple[str, str | io.BytesIO]:
    """What to call a clip in a message, and what to give to PyAV."""
    if isinstance(video, Mapping):
        content, path = video["bytes"], video["path"]
    else:
        content, path = (video, None) if isinstance(video, bytes) else (None, video)
    name = f"a clip of {len(content)} bytes" if path is None else os.fspath(path)
    return name, _url(path) if content is None else io.BytesIO(content)


def _url(path: str | os.PathLike[str]) -> str:
    # Without the protocol, FFmpeg takes what stands before a colon in a file name for one.
    return f"file:{os.fspath(path)}"
