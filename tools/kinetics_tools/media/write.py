"""Writing of mp4 files: the parts that `encode` and `cut` share, and `write_clip` for tests and the demo."""

import os
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import av.container
import av.filter
import numpy as np
import numpy.typing as npt

from kinetics_tools.media.open import url_of
from kinetics_tools.media.pictures import Pixels

# The public clips have a key frame every 250 and frames in another order than they are shown in: B-frames.
# One thread, because x264 gives other bytes for another number of threads.
_H264 = {"preset": "ultrafast", "bf": "2", "crf": "26", "g": "250", "threads": "1"}
_AAC = {"aac_coder": "fast", "b": "48000"}
# Bit-exact leaves the name of the FFmpeg release out of the file. Without the limit taken away, the muxer
# stops interleaving once sound is 10 s ahead of pictures.
_MP4 = {"fflags": "+bitexact", "max_interleave_delta": "0"}
MP4_INDEX_FIRST = {**_MP4, "movflags": "+faststart"}
"""Options of the muxer, with the index at the front: a reader of a remote file finds it with the first bytes."""


def add_h264_stream(
    container: av.container.OutputContainer,
    source: Any,
    size: tuple[int, int],
    *,
    rate: Fraction | int,
    time_base: Fraction,
    options: dict[str, str],
    pix_fmt: str = "yuv420p",
) -> Any:
    """Add a stream for pictures of this size (height, width), with the colours that the stream `source` states."""
    stream: Any = container.add_stream("libx264", rate, options=options)
    (stream.height, stream.width), stream.pix_fmt = size, pix_fmt
    encoder, decoder = stream.codec_context, source.codec_context
    encoder.time_base = time_base
    # Without these, readers guess which colours the numbers mean.
    encoder.color_range, encoder.colorspace = decoder.color_range, decoder.colorspace
    encoder.color_primaries, encoder.color_trc = decoder.color_primaries, decoder.color_trc
    return stream


def filter_graph(frame: av.VideoFrame, time_base: Fraction, filters: Sequence[str]) -> av.filter.Graph:
    """Return a graph for frames like this one, with filters such as "hflip" or "crop=64:48:0:0"."""
    graph = av.filter.Graph()
    nodes = [graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=time_base)]
    for part in filters:
        name, _, arguments = part.partition("=")
        nodes.append(graph.add(name, arguments or None))
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()
    return graph


def write_clip(
    path: str | os.PathLike[str],
    frames: Iterable[Pixels],
    *,
    fps: Fraction | int,
    audio: npt.NDArray[np.float32] | None = None,
    sample_rate: int = 44_100,
) -> None:
    """Write an mp4 like the public clips: H.264 and AAC, yuv420p, few key frames, the index at the end.

    `frames` are (H, W, 3) uint8 RGB of one size, at least one, H and W even. `audio` is (samples,)
    float32 in [-1, 1] at `sample_rate` Hz. With one build of FFmpeg the same input gives the same bytes. A file at
    `path` is replaced.
    """
    images = iter(frames)
    first = next(images, None)
    if first is None:
        raise ValueError(f"{os.fspath(path)}: a clip needs at least one frame, got none; check its source")
    with av.open(url_of(path), "w", format="mp4", container_options=_MP4) as container:
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
