"""Sound of a clip, cut to the sample where its frames are shown."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import av
import av.container
import numpy as np
import numpy.typing as npt

from kinetics_tools.media.cut import SOUND_LEAD_SECONDS
from kinetics_tools.media.open import check_decoder, discard_others, open_container, source_of
from kinetics_tools.media.reader import VideoReader, encoded_video


class Sound(NamedTuple):
    """Sound of a clip.

    Attributes:
        samples: (channels, samples) float32 in [-1, 1]; of shape (1, 0) where a clip has none.
        sample_rate: in Hz; 0 where a clip has none.
    """

    samples: npt.NDArray[np.float32]
    sample_rate: int


def read_audio(
    video: Any, *, start_seconds: float = 0.0, end_seconds: float | None = None, sample_rate: int | None = None
) -> Sound:
    """The sound of [start_seconds, end_seconds), counted from when the first frame of the clip is shown.

    `VideoReader.span` says which seconds some frames take. `video` is what `decode` takes, a file that can be read
    once excepted. These are round((end - start) * rate) samples, silent where the sound has gaps or has ended, and
    for `end_seconds=None` all that there are. `sample_rate` resamples; None keeps the clip's own.
    """
    if not 0 <= start_seconds < (np.inf if end_seconds is None else end_seconds):
        raise ValueError(f"span [{start_seconds}, {end_seconds}): must begin at 0 or later and end after that")
    source = encoded_video(video)
    with VideoReader(source) as reader:
        zero = reader.start_seconds
    if hasattr(source, "seek"):
        source.seek(0)
    with open_container(source) as container:
        stream: Any = container.streams.best("audio")
        if stream is None:
            return Sound(np.zeros((1, 0), np.float32), 0)
        check_decoder(source_of(source)[0], stream)
        start = zero + Fraction(start_seconds)
        pieces = list(_decoded(container, stream, start, None if end_seconds is None else zero + Fraction(end_seconds)))
        rate = stream.rate
    if not pieces:
        return Sound(np.zeros((1, 0), np.float32), 0)
    if end_seconds is None:
        last, samples = pieces[-1]
        count = max(round((last - start) * rate) + samples.shape[1], 0)
    else:
        count = round((Fraction(end_seconds) - Fraction(start_seconds)) * rate)
    sound = np.zeros((pieces[0][1].shape[0], count), np.float32)
    for time, samples in pieces:
        first = round((time - start) * rate)
        part = samples[:, max(-first, 0) : max(count - first, 0)]
        sound[:, max(first, 0) : max(first, 0) + part.shape[1]] = part
    if sample_rate is None or sample_rate == rate:
        return Sound(sound, rate)
    return Sound(_resampled(sound, rate, sample_rate), sample_rate)


def _decoded(
    container: av.container.InputContainer, stream: Any, start: Fraction, end: Fraction | None
) -> Iterator[tuple[Fraction, npt.NDArray[np.float32]]]:
    """Times in seconds and samples, (channels, samples), from somewhat before `start` on."""
    discard_others(container, stream)
    stream.codec_context.thread_count = 1
    target = start - SOUND_LEAD_SECONDS
    if target > (stream.start_time or 0) * stream.time_base:
        container.seek(int(target / stream.time_base), stream=stream)
    to_float = av.AudioResampler(format="fltp")
    for packet in container.demux(stream):
        for frame in packet.decode():
            if frame.pts is None:
                continue
            time = frame.pts * frame.time_base
            if end is not None and time >= end:
                return
            for converted in to_float.resample(frame):
                yield time, converted.to_ndarray().astype(np.float32, copy=False)


def _resampled(sound: npt.NDArray[np.float32], rate: int, target_rate: int) -> npt.NDArray[np.float32]:
    count = round(Fraction(sound.shape[1] * target_rate, rate))
    layout = {1: "mono", 2: "stereo"}.get(len(sound), f"{len(sound)}c")
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound), format="fltp", layout=layout)
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=target_rate)
    pieces = [piece.to_ndarray() for piece in (*resampler.resample(frame), *resampler.resample(None))]
    joined = np.concatenate([*pieces, np.zeros((len(sound), count), np.float32)], axis=1)
    return joined[:, :count].astype(np.float32, copy=False)
