"""Sound of a clip: decoding and encoding."""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from typing import Any, NamedTuple

import av
import av.container
import av.filter
import numpy as np
import numpy.typing as npt

from kinetics_tools.errors import ClipError
from kinetics_tools.media.open import (
    check_decoder,
    check_headers,
    demux,
    discard_others,
    load,
    open_container,
    source_of,
)
from kinetics_tools.media.reader import VideoReader

SOUND_LEAD_SECONDS = Fraction(1, 4)
"""Sound to decode before the part that is wanted: the first packets after a seek (AAC 1, Opus 80 ms) decode wrongly."""
# A frame of sound this far from the end of the one before it still follows it: times are rounded, and captured ones
# jitter. A lost frame of AAC or MP3 takes longer.
_JITTER_SECONDS = 0.015
_LONGEST_GAP_SECONDS = 60
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

    Sound without gaps is what a plain decode gives. Its place is the median of its times, since containers such as
    Matroska round each of them. Sound that changes its rate or its channels keeps those of its beginning.

    Args:
        video: as for `decode`, except files that cannot seek.
        start_seconds: at least 0; `VideoReader.span` returns the seconds that some frames take.
        end_seconds: None reads to the end. Otherwise there are round((end - start) * rate) samples, silent where the
            sound has gaps or has ended.
        sample_rate: in Hz, to resample to; None keeps the clip's own.

    Raises:
        ClipError: the clip is unreadable, or a time of its sound is corrupt.
        FileNotFoundError: `video` is a path that does not exist.
    """
    if not 0 <= start_seconds < (np.inf if end_seconds is None else end_seconds):
        raise ValueError(f"span [{start_seconds}, {end_seconds}): must begin at 0 or later and end after that")
    source = load(video)
    name = source_of(source)[0]
    check_headers(source)
    with VideoReader(source) as reader:
        zero = reader.start_seconds
    with open_container(source) as container:
        stream: Any = container.streams.best("audio")
        if stream is None:
            return _NO_SOUND
        check_decoder(name, stream)
        start = zero + Fraction(start_seconds)
        end = None if end_seconds is None else zero + Fraction(end_seconds)
        runs = _placed(_uniform(_decoded(name, container, stream, start, end), as_floats=True))
    if not runs:
        return _NO_SOUND
    rate, channels = runs[0].frames[0].sample_rate, runs[0].frames[0].layout.nb_channels
    firsts = [round((run.seconds - start) * rate) for run in runs]
    ends = [first + run.count for first, run in zip(firsts, runs, strict=True)]
    if end_seconds is None:
        _check_gaps(name, firsts, ends, rate)
        count = max(ends[-1], 0)
    else:
        count = round((Fraction(end_seconds) - Fraction(start_seconds)) * rate)
    sound = np.zeros((channels, count), np.float32)
    for first, run in zip(firsts, runs, strict=True):
        for frame in run.frames:
            part = _samples(frame)[:, max(-first, 0) : max(count - first, 0)]
            sound[:, max(first, 0) : max(first, 0) + part.shape[1]] = part
            first += frame.samples
    if sample_rate is None or sample_rate == rate:
        return Sound(sound, rate)
    return Sound(_resampled(sound, rate, sample_rate), sample_rate)


def mono_flac(video: Any, sample_rate: int) -> bytes | None:
    """Return the sound of a clip as mono FLAC of 16 bits; None without sound, or if all of it is silent.

    `video` and `sample_rate` are as for `read_audio`. Channels are averaged.
    """
    samples = np.rint(read_audio(video, sample_rate=sample_rate).samples.mean(axis=0) * 32767).clip(-32768, 32767)
    if not samples.any():
        return None
    frame = av.AudioFrame.from_ndarray(samples.astype(np.int16)[None], format="s16", layout="mono")
    frame.sample_rate = sample_rate
    file = io.BytesIO()
    with av.open(file, "w", format="flac") as container:
        stream = container.add_stream("flac", sample_rate, layout="mono", format="s16")
        container.mux([packet for one in (frame, None) for packet in stream.encode(one)])
    return file.getvalue()


def _check_gaps(name: str, firsts: Sequence[int], ends: Sequence[int], rate: int) -> None:
    """Raise ClipError for a gap that only a corrupt time explains: its silence would fill the memory."""
    for before, first in zip((0, *ends), firsts, strict=False):
        if first - before > _LONGEST_GAP_SECONDS * rate:
            where = f"from {before / rate:.2f} to {first / rate:.2f} s"
            raise ClipError(f"{name}: has no sound {where}, so its times are corrupt; drop it or download it again")


# ---- Decoding -----------------------------------------------------------------------------------------------

Heard = tuple[Fraction | None, av.AudioFrame]
"""Time in seconds of a frame of sound, None if the file states none, and the frame."""


class _Run:
    """Frames of sound without a gap between them."""

    def __init__(self, rate: int) -> None:
        self.frames: list[av.AudioFrame] = []
        self.count = 0  # of samples
        self._rate = rate
        self._starts: list[tuple[float, int, Fraction]] = []  # of the run, as the time of each frame states it

    def reaches(self, time: Fraction, held: Sequence[Heard]) -> bool:
        """Return True if the run and the frames that follow it end at `time`."""
        count = self.count + sum(frame.samples for _, frame in held)
        return abs(float(time) - count / self._rate - self._starts[0][0]) <= _JITTER_SECONDS

    def add(self, time: Fraction | None, frame: av.AudioFrame) -> None:
        if time is not None:
            self._starts.append((float(time) - self.count / self._rate, self.count, time))
        self.frames.append(frame)
        self.count += frame.samples

    @property
    def seconds(self) -> Fraction:
        """Time of the first sample: the median of what the frames state, since times are rounded and some are wrong."""
        _, count, time = sorted(self._starts)[(len(self._starts) - 1) // 2]
        return time - Fraction(count, self._rate)


def decoded_sound(packet: Any) -> list[av.AudioFrame]:
    """Return the frames of a packet of sound; none if it is corrupt, since only pictures make a clip unreadable."""
    try:
        frames: list[av.AudioFrame] = packet.decode()
    except av.error.InvalidDataError:
        return []
    return frames


def time_of(frame: "av.AudioFrame | av.Packet[Any]") -> Fraction | None:
    """Return the time of a frame or packet of sound in seconds on the clock of its file; None if it states none."""
    stamp = frame.dts if frame.pts is None else frame.pts  # AVI has only the former
    return None if stamp is None or frame.time_base is None else stamp * frame.time_base


def _decoded(
    name: str, container: av.container.InputContainer, stream: Any, start: Fraction, end: Fraction | None
) -> Iterator[Heard]:
    """Yield frames of sound from somewhat before `start` s on."""
    discard_others(container, stream)
    stream.codec_context.thread_count = 1
    is_entered = True
    target = start - SOUND_LEAD_SECONDS
    if target > (stream.start_time or 0) * stream.time_base:
        ticks = int(target / stream.time_base)
        if ticks.bit_length() > 63:
            raise ClipError(f"{name}: shows its first frame at {float(start):.0f} s; drop it or download it again")
        container.seek(ticks, stream=stream)
        is_entered = False
    for packet in demux(container, stream):
        try:
            for frame in packet.decode():
                time = time_of(frame)
                if end is not None and time is not None and time >= end:
                    return
                is_entered = True
                yield time, frame
        except av.error.InvalidDataError:
            # A program stream is entered in the middle of a packet, which does not decode.
            if is_entered:
                raise


def _uniform(sounds: Iterable[Heard], *, as_floats: bool = False) -> Iterator[Heard]:
    """Convert frames to the rate and the channels of the first one, and to its format or to floats."""
    resampler: Any = None
    shape, target = None, None
    for time, frame in sounds:
        now = (frame.format.name, frame.layout.name, frame.sample_rate)
        if now != shape:
            if resampler is not None:
                yield from ((None, part) for part in resampler.resample(None) if part)
            # PyAV reads beyond the planes of 8 and more channels.
            floats = "fltp" if frame.layout.nb_channels < 8 else "flt"
            target = target or (floats if as_floats else now[0], *now[1:])
            resampler, shape = av.AudioResampler(*target), now
        for part in resampler.resample(frame):
            yield time, part
            time = None
    if resampler is not None:
        yield from ((None, part) for part in resampler.resample(None) if part)


def _placed(sounds: Iterable[Heard]) -> list[_Run]:
    """Join the frames of sound without a gap: their times are missing or rounded, and placing each would click."""
    runs: list[_Run] = []
    held: list[Heard] = []  # frames with another time than the run's, which the next frame confirms or not
    for time, frame in sounds:
        if not runs:
            if time is None:
                continue  # nothing states where the frame belongs
            runs.append(_Run(frame.sample_rate))
        elif time is not None and not runs[-1].reaches(time, held):
            if not held:
                held = [(time, frame)]
                continue
            runs.append(_Run(frame.sample_rate))
        else:
            held = [(None, one) for _, one in held]
        for heard in (*held, (time, frame)):
            runs[-1].add(*heard)
        held = []
    for _, frame in held:
        runs[-1].add(None, frame)
    return runs


def _resampled(sound: npt.NDArray[np.float32], rate: int, target_rate: int) -> npt.NDArray[np.float32]:
    count = round(Fraction(sound.shape[1] * target_rate, rate))
    layout = f"{len(sound)} channels"
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound.T).reshape(1, -1), format="flt", layout=layout)
    frame.sample_rate = rate
    resampler = av.AudioResampler(format="flt", layout=layout, rate=target_rate)
    parts = [_samples(part) for part in (*resampler.resample(frame), *resampler.resample(None))]
    joined = np.concatenate([*parts, np.zeros((len(sound), count), np.float32)], axis=1)
    return np.ascontiguousarray(joined[:, :count])


def _samples(frame: av.AudioFrame) -> npt.NDArray[np.float32]:
    """Return the samples of a frame of floats, (channels, samples)."""
    samples: Any = frame.to_ndarray()
    return samples if frame.format.is_planar else samples.reshape(-1, frame.layout.nb_channels).T


def has_one_shape(packets: Iterable[tuple[Any, Any]]) -> bool:
    """Return True if the packets of (time, packet) state one sample rate and one number of channels, or none at all.

    AAC in transport streams and MP3 state them in each packet, and an mp4 once for all.
    """
    shapes = set()
    for _, packet in packets:
        head = bytes(memoryview(packet)[:4])
        if packet.size >= 4 and head[0] == 0xFF and head[1] >= 0xE0:  # neither raw AAC nor Opus of a clip begins so
            is_aac = head[1] & 0x06 == 0
            rate = head[2] & (0x3C if is_aac else 0x0C)
            channels = (head[2] & 1, head[3] >> 6) if is_aac else head[3] >> 6 == 3
            shapes.add((head[1] & 0xF8, rate, channels))
    return len(shapes) <= 1


def aac_packets(
    container: av.container.OutputContainer,
    sounds: Iterable[Heard],
    start: Fraction,
    end: Fraction,
) -> list[Any]:
    """Encode the sound in [start, end) s as packets of a new AAC stream from 0 on; without sound, add no stream."""
    runs = _placed(_uniform(sounds))
    if not runs:
        return []
    first = runs[0].frames[0]
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
        graph.add("aresample", f"{target_rate}:async=1:first_pts=0:min_hard_comp={_JITTER_SECONDS}"),
        graph.add("aformat", f"sample_fmts=fltp:channel_layouts={layout}"),
        graph.add("abuffersink"),
    ).configure()
    for run in runs:
        position = round(run.seconds * rate)
        for frame in run.frames:
            frame.time_base, frame.pts = Fraction(1, rate), position
            graph.push(frame)
            position += frame.samples
    graph.push(None)
    frames: list[Any] = []
    with suppress(EOFError, BlockingIOError):
        while True:
            frames.append(graph.pull())
    if not frames:
        return []
    stream = container.add_stream("aac", target_rate, layout=layout, options=_AAC)
    return [packet for frame in (*frames, None) for packet in stream.encode(frame)]
