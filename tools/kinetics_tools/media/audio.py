"""Sound of a clip: decoding and encoding."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from typing import Any, NamedTuple

import av
import av.container
import av.filter
import numpy as np
import numpy.typing as npt

from kinetics_tools.media.open import check_decoder, discard_others, load, open_container, source_of
from kinetics_tools.media.reader import VideoReader

SOUND_LEAD_SECONDS = Fraction(1, 4)
"""Sound to decode before the part that is wanted: the first packets after a seek (AAC 1, Opus 80 ms) decode wrongly."""
_AAC = {"aac_coder": "fast", "b": "128000"}
_AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)


class Sound(NamedTuple):
    """Sound of a clip.

    Attributes:
        samples: (channels, samples) float32 in [-1, 1]; of shape (1, 0) for a clip without sound.
        sample_rate: in Hz; 0 for a clip without sound.
    """

    samples: npt.NDArray[np.float32]
    sample_rate: int


_NO_SOUND = Sound(np.zeros((1, 0), np.float32), 0)


def read_audio(
    video: Any, *, start_seconds: float = 0.0, end_seconds: float | None = None, sample_rate: int | None = None
) -> Sound:
    """Return the sound of [start_seconds, end_seconds), in seconds from when the first frame of the clip is shown.

    Args:
        video: as for `decode`, except files that cannot seek.
        start_seconds: at least 0; `VideoReader.span` returns the seconds that some frames take.
        end_seconds: None reads to the end. Otherwise there are round((end - start) * rate) samples, silent where the
            sound has gaps or has ended.
        sample_rate: in Hz, to resample to; None keeps the clip's own.
    """
    if not 0 <= start_seconds < (np.inf if end_seconds is None else end_seconds):
        raise ValueError(f"span [{start_seconds}, {end_seconds}): must begin at 0 or later and end after that")
    source = load(video)
    with VideoReader(source) as reader:
        zero = reader.start_seconds
    with open_container(source) as container:
        stream: Any = container.streams.best("audio")
        if stream is None:
            return _NO_SOUND
        check_decoder(source_of(source)[0], stream)
        start = zero + Fraction(start_seconds)
        parts = list(_decoded(container, stream, start, None if end_seconds is None else zero + Fraction(end_seconds)))
        rate = stream.rate
    if not parts:
        return _NO_SOUND
    if end_seconds is None:
        last, samples = parts[-1]
        count = max(round((last - start) * rate) + samples.shape[1], 0)
    else:
        count = round((Fraction(end_seconds) - Fraction(start_seconds)) * rate)
    sound = np.zeros((parts[0][1].shape[0], count), np.float32)
    for time, samples in parts:
        first = round((time - start) * rate)
        part = samples[:, max(-first, 0) : max(count - first, 0)]
        sound[:, max(first, 0) : max(first, 0) + part.shape[1]] = part
    if sample_rate is None or sample_rate == rate:
        return Sound(sound, rate)
    return Sound(_resampled(sound, rate, sample_rate), sample_rate)


def _decoded(
    container: av.container.InputContainer, stream: Any, start: Fraction, end: Fraction | None
) -> Iterator[tuple[Fraction, npt.NDArray[np.float32]]]:
    """Yield times in seconds and samples, (channels, samples), from somewhat before `start` on."""
    discard_others(container, stream)
    stream.codec_context.thread_count = 1
    target = start - SOUND_LEAD_SECONDS
    if target > (stream.start_time or 0) * stream.time_base:
        container.seek(int(target / stream.time_base), stream=stream)
    to_float = av.AudioResampler(format="fltp")
    for frame in container.decode(stream):
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
    parts = [part.to_ndarray() for part in (*resampler.resample(frame), *resampler.resample(None))]
    joined = np.concatenate([*parts, np.zeros((len(sound), count), np.float32)], axis=1)
    return joined[:, :count].astype(np.float32, copy=False)


def aac_packets(
    container: av.container.OutputContainer,
    sounds: Sequence[tuple[Fraction, av.AudioFrame]],
    start: Fraction,
    end: Fraction,
) -> list[Any]:
    """Encode the sound in [start, end) s as packets of a new AAC stream from 0 on; without sound, add no stream."""
    if not sounds:
        return []
    first = sounds[0][1]
    rate = first.sample_rate
    target_rate = rate if rate in _AAC_RATES else 48_000
    layout = "mono" if first.layout.nb_channels == 1 else "stereo"
    begin = round(start * rate)
    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add_abuffer(sample_rate=rate, format=first.format.name, layout=first.layout, time_base=Fraction(1, rate)),
        graph.add("atrim", f"start_pts={begin}:end_pts={round(end * rate)}"),
        graph.add("asetpts", f"PTS-{begin}"),
        # Fills gaps with silence, at the beginning too: later sound stays beside its pictures.
        graph.add("aresample", f"{target_rate}:async=1:first_pts=0"),
        graph.add("aformat", f"sample_fmts=fltp:channel_layouts={layout}"),
        graph.add("abuffersink"),
    ).configure()
    for seconds, frame in sounds:
        frame.time_base, frame.pts = Fraction(1, rate), round(seconds * rate)
        graph.push(frame)
    graph.push(None)
    frames: list[Any] = []
    with suppress(EOFError, BlockingIOError):
        while True:
            frames.append(graph.pull())
    if not frames:
        return []
    stream = container.add_stream("aac", target_rate, layout=layout, options=_AAC)
    return [packet for frame in (*frames, None) for packet in stream.encode(frame)]
