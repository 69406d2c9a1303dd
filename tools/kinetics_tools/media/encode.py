"""Encoding of clips for fast reading in training: the `train` profile of `kinetics prepare`."""

import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, pairwise
from statistics import median_low
from typing import Any, Literal, get_args

import av
import av.container
import av.filter

from kinetics_tools.errors import ClipError
from kinetics_tools.media.audio import SOUND_LEAD_SECONDS, aac_packets, decoded_sound, has_one_shape, time_of
from kinetics_tools.media.damage import StrictDecoder, check_count, whole_packets
from kinetics_tools.media.frame_index import LONGEST_STAND_SECONDS, index_frames
from kinetics_tools.media.open import VideoSource, check_decoder, check_headers, open_video, source_of
from kinetics_tools.media.transforms import rotation_of
from kinetics_tools.media.write import MP4_INDEX_FIRST, add_h264_stream, filter_graph
from kinetics_tools.text import check_choice

Audio = Literal["copy", "aac", "none"]
Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]

# Every fourth frame refers to such frames alone, and nothing refers to the three before it, so that a reader may skip
# those. A closed GOP that ends one frame before a multiple of four, or a clip that ends anywhere, ends with a P-frame:
# x264 has no B-frame without a later one. So each multiple of four and the last frame are references.
H264 = {
    "tune": "fastdecode",
    "g": "32",
    "keyint_min": "32",
    "sc_threshold": "0",
    "bf": "3",
    "b_strategy": "0",
    "b-pyramid": "none",
    "weightp": "none",
    "weightb": "0",
    "flags": "+cgop",
    "a53cc": "0",
    # Its macroblock tree reads memory that it never wrote, at most sizes of pictures, and gives other bytes from run to
    # run. At equal quality it would save 3 %.
    "rc-lookahead": "0",
    # x264 gives other bytes for another number of threads.
    "threads": "1",
}
_COPIED_AUDIO = ("aac", "mp3", "opus")  # browsers, too, read these from an mp4
# The matrices that swscale knows; others, such as that of RGB, are converted to the usual one for the size.
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}
_BT709, _SMPTE170M = 1, 6
_LIMITED, _FULL = 1, 2
# Bit-exact, since swscale has other roundings for other processors.
SCALER = "bicubic+accurate_rnd+bitexact"
# Containers such as Matroska round times to this.
_ROUNDED_SECONDS = Fraction(1, 1000)
_USUAL_RATES = [Fraction(rate) for rate in ("24000/1001", 24, 25, "30000/1001", 30, 48, 50, "60000/1001", 60)]


@dataclass(frozen=True)
class Encoding:
    """Settings of `encode`.

    Attributes:
        short_side: even number of pixels that the shorter side is scaled down to; smaller pictures keep their size.
        max_fps: maximum number of frames per second, at most 1000.
        crf: x264's constant rate factor, 0 to 51: higher is smaller and worse.
        preset: of x264: slower is smaller.
        audio: "copy" keeps the packets if their codec is usual in an mp4, else encodes AAC; "aac"; or "none".
    """

    short_side: int = 256
    max_fps: float = 30
    crf: float = 23
    preset: Preset = "veryfast"
    audio: Audio = "copy"

    def __post_init__(self) -> None:
        if self.short_side < 2 or self.short_side % 2:
            raise ValueError(f"short_side must be an even number of pixels, at least 2, got {self.short_side}")
        if not 0 < self.max_fps <= 1000:
            raise ValueError(f"max_fps must be above 0 and at most 1000, got {self.max_fps}")
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf must be from 0, lossless, to 51, got {self.crf}")
        check_choice(self.preset, get_args(Preset), "preset")
        check_choice(self.audio, get_args(Audio), "audio")
        for name in ("max_fps", "crf"):  # 23.0 is stored as 23, like what is written down of the settings
            if getattr(self, name) == int(getattr(self, name)):
                object.__setattr__(self, name, int(getattr(self, name)))


def encode(video: VideoSource, encoding: Encoding = Encoding()) -> bytes:
    """Encode a clip to the bytes of an mp4 that decodes fast: H.264, 4:2:0 with 8 bits and limited range.

    The pictures are upright, with square pixels, at a constant rate: frame i is shown at i / fps seconds. The sound
    stays in sync. Every fourth frame and the last one are reference frames, so a decoder may skip all others
    (`skip_frame="NONREF"`). The video stream is that of `probe`. Sound that does
    not decode is silent. With one build of FFmpeg the same input
    gives the same bytes. See `decode` for `video`.

    Raises:
        ClipError: the clip is unreadable, truncated, or has a corrupt frame; the message states its time.
        FileNotFoundError: `video` is a path that does not exist.
    """
    name = source_of(video)[0]
    timing = _timing(video, Fraction(encoding.max_fps).limit_denominator(1001))
    file = io.BytesIO()
    # To move the index to the front, the muxer reads back what it wrote.
    mp4 = av.open(
        file, "w", format="mp4", container_options=MP4_INDEX_FIRST, io_open=lambda *_: io.BytesIO(file.getvalue())
    )
    with open_video(video) as (source, stream):
        sound = None if encoding.audio == "none" else source.streams.best("audio", related=stream)
        if sound is not None:
            check_decoder(name, sound)
            sound.codec_context.thread_count = 1  # the caller has other clips for the other cores
        is_copied = (
            encoding.audio == "copy" and sound is not None and sound.codec_context.codec.canonical_name in _COPIED_AUDIO
        )
        sounds: list[Any] = []
        frames = _decoded(name, source, stream, timing.times, sound, sounds, is_copied=is_copied)
        first = next(frames, None)
        if first is None:
            raise ClipError(f"{name}: has no frames; drop it or download it again")
        pictures = _Pictures(stream, first[1], encoding.short_side)
        try:
            encoder = _h264_stream(mp4, pictures, timing.fps, encoding)
            packets: list[Any] = []
            count = 0
            for frame in _at_constant_rate(first, frames, timing):
                picture = pictures(frame)
                picture.pict_type = av.video.frame.PictureType.NONE  # decoded frames ask for the type that they had
                picture.time_base, picture.pts = 1 / timing.fps, count
                packets += encoder.encode(picture)
                count += 1
            packets += encoder.encode()
            if is_copied and not has_one_shape(sounds):
                return encode(video, replace(encoding, audio="aac"))
            sounds = [(None if seconds is None else seconds - first[0], item) for seconds, item in sounds]
            end = count / timing.fps
            packets += _copied(mp4, sound, sounds, end) if is_copied else aac_packets(mp4, sounds, Fraction(0), end)
            for packet in packets:
                mp4.mux(packet)
            mp4.close()
        except av.error.FFmpegError as error:
            raise ClipError(f"{name}: cannot be encoded ({error.strerror}); convert it first") from error
    return file.getvalue()


# ---- Times --------------------------------------------------------------------------------------------------

_Timed = tuple[Fraction, av.VideoFrame]
"""Time in seconds at which a frame is shown, on the clock of the source, and the frame."""


@dataclass(frozen=True)
class _Timing:
    times: list[Fraction]  # when the frames are shown, on the clock of the source, in the order of the decoder
    source_fps: Fraction  # of most frames, if it varies
    fps: Fraction  # of the encoded clip
    end_seconds: Fraction  # when the last frame ends, on the clock of the source


def _timing(video: VideoSource, max_fps: Fraction) -> _Timing:
    check_headers(video)
    with open_video(video) as (container, stream):
        index = index_frames(video, container, stream, whole_packets(source_of(video)[0], container, stream))
        rates = [Fraction(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
    times = [time * index.time_base for time in index.times]
    rate = _rate(sorted(set(times)), rates)
    return _Timing(times, rate, _at_most(rate, max_fps), index.end * index.time_base)


def _rate(times: Sequence[Fraction], stated: Sequence[Fraction]) -> Fraction:
    """Return the frame rate of a source: one that all of its times match, else that of most of them."""
    if len(times) == 1:
        return stated[0] if stated else Fraction(25)
    mean = (len(times) - 1) / (times[-1] - times[0])
    for rate in (*stated, mean.limit_denominator(1001)):
        if rate and all(abs((time - times[0]) * rate - index) < Fraction(1, 2) for index, time in enumerate(times)):
            return rate
    interval = median_low(after - before for before, after in pairwise(times))
    usual = min(_USUAL_RATES, key=lambda rate: abs(1 / rate - interval))
    if abs(1 / usual - interval) <= _ROUNDED_SECONDS:
        return usual
    return (1 / interval).limit_denominator(1001) or 1 / interval


def _at_most(rate: Fraction, max_fps: Fraction) -> Fraction:
    """Return `rate` over the least whole number that fits `max_fps` (50 to 25); `max_fps` if that is far less (35)."""
    part = rate / math.ceil(rate / max_fps)
    return part if part == rate or part >= max_fps * Fraction(4, 5) else max_fps


def _at_constant_rate(first: _Timed, frames: Iterable[_Timed], timing: _Timing) -> Iterator[av.VideoFrame]:
    """Yield, for every i, the frame that the source shows at i / fps after its first one.

    Times may be rounded or jitter: they count as the nearest whole number of intervals of the source.
    """
    zero, held = first
    before = zero
    shown = 0

    def index_of(time: Fraction) -> int:  # the first i that is not before `time`
        intervals = math.floor((time - zero) * timing.source_fps + Fraction(1, 2))
        return math.ceil(intervals * timing.fps / timing.source_fps)

    for time, frame in frames:
        if time <= before:  # never seen
            continue
        while shown < index_of(time):
            yield held
            shown += 1
        before, held = time, frame
    end = max(index_of(min(timing.end_seconds, before + LONGEST_STAND_SECONDS)), 1)
    while shown < end:
        yield held
        shown += 1


def _decoded(
    name: str,
    container: av.container.InputContainer,
    pictures: Any,
    times: Sequence[Fraction],
    sound: Any,
    sounds: list[Any],
    *,
    is_copied: bool,
) -> Iterator[_Timed]:
    """Yield frames of pictures at their `times`; append those of sound, or its packets if `is_copied`, to `sounds`."""
    decoder = StrictDecoder(name, pictures)
    count = 0
    for packet in chain(whole_packets(name, container, pictures, sound), [None]):
        if sound is not None and packet is not None and packet.stream is sound:
            items = [packet] if is_copied else decoded_sound(packet)
            sounds += [(time_of(item), item) for item in items]
            continue
        for frame in decoder.decode(packet):
            if count < len(times):
                yield times[count], frame
            count += 1
    check_count(name, count, len(times))


# ---- Pictures -----------------------------------------------------------------------------------------------


class _Pictures:
    """Converter from decoded frames to pictures for the encoder: upright, small, of square pixels, limited range.

    All pictures get the size, the rotation and the colour matrix of the first one.
    """

    def __init__(self, stream: Any, first: av.VideoFrame, short_side: int) -> None:
        self.stream = stream
        self.matrix = first.colorspace
        if self.matrix not in _MATRICES:
            self.matrix = _BT709 if min(first.width, first.height) >= 720 else _SMPTE170M
        self.width, self.height = _size(first.width, first.height, stream.sample_aspect_ratio, short_side)
        self._key: Any = None
        self._graph: av.filter.Graph | None = None
        # Of the first frame only, since PyAV keeps a frame whose side data was read until Python collects cycles.
        self.rotation = rotation_of(first)

    def __call__(self, frame: av.VideoFrame) -> Any:
        key = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)
        if key != self._key:
            filters = self._filters(frame)
            self._key = key
            self._graph = filter_graph(frame, self.stream.time_base, filters) if filters else None
        if self._graph is None:
            return frame
        self._graph.push(frame)
        return self._graph.pull()

    def _filters(self, frame: av.VideoFrame) -> list[str]:
        is_full = frame.color_range == _FULL or frame.format.name.startswith("yuvj")
        size = (frame.width, frame.height)
        filters = []
        cropped = (frame.width // 2 * 2, frame.height // 2 * 2)
        if size != cropped == (self.width, self.height):
            filters.append(f"crop={cropped[0]}:{cropped[1]}:0:0")
            size = cropped
        if size != (self.width, self.height) or is_full or frame.format.name != "yuv420p":
            matrices = f":out_color_matrix={_MATRICES[self.matrix]}"
            if not frame.format.is_rgb:
                matrices += f":in_color_matrix={_MATRICES[self.matrix]}"
            ranges = f":in_range={'full' if is_full or frame.format.is_rgb else 'limited'}:out_range=limited"
            filters += [f"scale={self.width}:{self.height}:flags={SCALER}{matrices}{ranges}", "format=yuv420p"]
        return [*filters, *self.rotation.filters]


def _size(width: int, height: int, pixel: Fraction | None, short_side: int) -> tuple[int, int]:
    """Even width and height with square pixels, for pictures whose pixels have the aspect ratio `pixel`."""
    exact_width, exact_height = Fraction(width), Fraction(height)
    # As in players, the side grows that is too short. Beyond these bounds, the ratio itself is corrupt.
    if pixel and 1 < pixel <= 4:
        exact_width *= pixel
    elif pixel and Fraction(1, 4) <= pixel < 1:
        exact_height /= pixel
    scale = min(short_side / min(exact_width, exact_height), Fraction(1))
    return _even(exact_width * scale, width), _even(exact_height * scale, height)


def _even(exact: Fraction, stored: int) -> int:
    # A side that is not scaled loses an odd row or column.
    return 2 * max(1, stored // 2 if exact == stored else math.floor(exact / 2 + Fraction(1, 2)))


def _h264_stream(
    container: av.container.OutputContainer, pictures: _Pictures, fps: Fraction, encoding: Encoding
) -> Any:
    size = (pictures.width, pictures.height) if pictures.rotation.swaps_sides else (pictures.height, pictures.width)
    options = {**H264, "preset": encoding.preset, "crf": str(encoding.crf)}
    stream = add_h264_stream(container, pictures.stream, size, rate=fps, time_base=1 / fps, options=options)
    encoder = stream.codec_context
    encoder.sample_aspect_ratio = Fraction(1)
    encoder.color_range, encoder.colorspace = _LIMITED, pictures.matrix
    return stream


def _copied(
    container: av.container.OutputContainer, source: Any, packets: Sequence[tuple[Fraction | None, Any]], end: Fraction
) -> list[Any]:
    """Return the packets with the sound of [0, end) s, for a new stream; without sound, add no stream."""
    rate, frame_size = source.codec_context.sample_rate, source.codec_context.frame_size
    kept: list[Any] = []
    due = None
    for time, packet in packets:
        seconds = Fraction(frame_size, rate) if frame_size else (packet.duration or 0) * packet.time_base
        # Rounded and missing times leave no gap in the sound.
        if time is None or (due is not None and abs(time - due) <= _ROUNDED_SECONDS):
            time = due or Fraction(0)
        due = time + seconds
        # An edit list hides packets before 0, but decoders need them for the first sound to be right.
        if due > -SOUND_LEAD_SECONDS and time < end:
            duration = round((packet.duration or 0) * packet.time_base * rate)
            packet.time_base = Fraction(1, rate)
            packet.pts = packet.dts = round(time * rate)
            packet.duration = duration
            kept.append(packet)
    if kept:
        stream = container.add_stream_from_template(source)
        for packet in kept:
            packet.stream = stream
    return kept
