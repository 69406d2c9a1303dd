"""A clip encoded anew so that training reads it fast: the `train` profile of `kinetics prepare`."""

import io
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from statistics import median_low
from typing import Any, Literal, get_args

import av
import av.container
import av.filter

from kinetics_tools.errors import ClipError
from kinetics_tools.media.cut import SOUND_LEAD_SECONDS, TRUNCATED_SECONDS, aac_packets, turn
from kinetics_tools.media.open import VideoSource, check_decoder, check_headers, lacks_times, open_video, source_of
from kinetics_tools.media.probe import codec_name, damaged
from kinetics_tools.media.write import MP4

Audio = Literal["copy", "aac", "none"]
Preset = Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"]

# Every fourth frame refers to such frames alone, and nothing refers to the three before it, so that a reader may leave
# those out. A closed GOP that ends one frame before a multiple of four, or a clip that ends anywhere, ends with a
# P-frame: x264 has no B-frame without a later one. So each multiple of four and the last frame are references.
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
_MP4 = {**MP4, "movflags": "+faststart"}
# What browsers, too, read out of an mp4. PyAV before 14.2 opens an encoder for a copy, which not all have.
_COPIED_AUDIO = ("aac", "mp3", "opus") if tuple(map(int, av.__version__.split(".")[:2])) >= (14, 2) else ()
# The matrices that swscale knows; others, such as that of RGB, are converted to the usual one for the size.
_MATRICES = {1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020"}
_BT709, _SMPTE170M = 1, 6
_LIMITED, _FULL = 1, 2
# Bit-exact, since swscale has other roundings for other processors.
SCALER = "bicubic+accurate_rnd+bitexact"
# Containers such as Matroska round times to this.
_ROUNDED_SECONDS = Fraction(1, 1000)
_USUAL_RATES = [Fraction(rate) for rate in ("24000/1001", 24, 25, "30000/1001", 30, 48, 50, "60000/1001", 60)]
# A damaged time can lie years ahead.
_LONGEST_STAND_SECONDS = 60


@dataclass(frozen=True)
class Encoding:
    """How `encode` makes a clip.

    Attributes:
        short_side: pixels that the shorter side is scaled down to; a smaller picture keeps its size. Even.
        max_fps: frames a second at most.
        crf: x264's constant rate factor, 0 to 51: higher is smaller and worse.
        preset: of x264: slower is smaller.
        audio: "copy" the packets where the codec is usual in an mp4, else as AAC; always "aac"; or "none".
    """

    short_side: int = 256
    max_fps: float = 30
    crf: float = 23
    preset: Preset = "veryfast"
    audio: Audio = "copy"

    def __post_init__(self) -> None:
        if self.short_side < 2 or self.short_side % 2:
            raise ValueError(f"short_side={self.short_side}: must be an even number of pixels, 2 or more")
        if not 0 < self.max_fps <= 1000:
            raise ValueError(f"max_fps={self.max_fps}: must be over 0 and at most 1000")
        if not 0 <= self.crf <= 51:
            raise ValueError(f"crf={self.crf}: must be from 0, lossless, to 51")
        for name, choices in (("preset", get_args(Preset)), ("audio", get_args(Audio))):
            value = getattr(self, name)
            if value not in choices:
                raise ValueError(f"{name}={value!r}: must be one of {', '.join(choices)}")
        for name in ("max_fps", "crf"):  # 23.0 is 23, also to who writes down what was asked for
            if getattr(self, name) == int(getattr(self, name)):
                object.__setattr__(self, name, int(getattr(self, name)))


def encode(video: VideoSource, encoding: Encoding = Encoding()) -> bytes:
    """A clip as the bytes of an mp4 that decodes fast: H.264, 4:2:0 with 8 bits and limited range.

    Of several video streams it is the first, as for `probe`. The pictures are upright, with square pixels, and come
    at a constant rate: frame i is shown at i / fps, from 0 on. The sound keeps its place beside them. Every fourth
    frame and the last one are reference frames: a decoder that leaves out all others (`skip_frame="NONREF"`) gives
    them. With one build of FFmpeg the same input gives the same bytes.

    Raises ClipError for a clip that cannot be read, was cut off, or has a damaged frame, and says when in the clip;
    FileNotFoundError for a path that does not exist.
    """
    name = source_of(video)[0]
    timing = _timing(video, Fraction(encoding.max_fps).limit_denominator(1001))
    file = io.BytesIO()
    # To move the index to the front, the muxer reads back what it wrote.
    mp4 = av.open(file, "w", format="mp4", container_options=_MP4, io_open=lambda *_: io.BytesIO(file.getvalue()))
    with _opened(video) as (source, stream):
        sound = None if encoding.audio == "none" else source.streams.best("audio", related=stream)
        if sound is not None:
            check_decoder(name, sound)
        is_copied = (
            encoding.audio == "copy" and sound is not None and codec_name(sound.codec_context.codec) in _COPIED_AUDIO
        )
        heard: list[Any] = []
        frames = _decoded(name, source, stream, sound, heard, is_copied=is_copied)
        first = next(frames, None)
        if first is None:
            raise ClipError(f"{name}: has no frames; drop it or fetch it again")
        start = first[0]
        pictures = _Pictures(stream, first[1], encoding.short_side)
        try:
            encoder = _h264_stream(mp4, pictures, timing.fps, encoding)
            packets: list[Any] = []
            count = 0
            for frame in _at_constant_rate(name, first, frames, timing):
                picture = pictures(frame)
                picture.pict_type = av.video.frame.PictureType.NONE  # decoded frames ask for the type that they had
                picture.time_base, picture.pts = 1 / timing.fps, count
                packets += encoder.encode(picture)
                count += 1
            packets += encoder.encode()
            heard = [(seconds - start, item) for seconds, item in heard]
            end = count / timing.fps
            packets += _copied(mp4, sound, heard, end) if is_copied else aac_packets(mp4, heard, Fraction(0), end)
            for packet in packets:
                mp4.mux(packet)
            mp4.close()
        except av.error.FFmpegError as error:
            raise ClipError(f"{name}: cannot be encoded ({error.strerror}); convert it first") from error
    return file.getvalue()


_Timed = tuple[Fraction, av.VideoFrame]  # when a frame is shown, in s on the clock of the source


@dataclass(frozen=True)
class _Timing:
    source_fps: Fraction  # of most frames, where it varies
    fps: Fraction  # of the encoded clip
    end_seconds: Fraction  # when the last frame ends, on the clock of the source


def _timing(video: VideoSource, max_fps: Fraction) -> _Timing:
    """When frames are shown, by reading all packets, without decoding."""
    check_headers(video)
    name = source_of(video)[0]
    spans = []  # (start, end) of each frame in s
    reached = Fraction(0)
    with _opened(video) as (container, stream):
        is_untimed = lacks_times(container, stream)
        for packet in container.demux():
            is_picture = packet.stream.index == stream.index
            stamp = packet.dts if packet.pts is None or (is_untimed and is_picture) else packet.pts
            if not packet.size or stamp is None or packet.time_base is None:
                continue
            start, seconds = stamp * packet.time_base, (packet.duration or 0) * packet.time_base
            if packet.is_corrupt:
                raise ClipError(f"{name}: cut off or damaged at {float(start):.2f} s; drop it or fetch it again")
            reached = max(reached, start + seconds)
            if is_picture and not packet.is_discard:
                spans.append((start, start + seconds))
        # Counted from the first frame or, as in Matroska, from 0: at least so far it must go.
        length = Fraction(container.duration or 0, av.time_base)
        rates = [Fraction(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
    if not spans:
        raise ClipError(f"{name}: has no frames; drop it or fetch it again")
    if reached + TRUNCATED_SECONDS < length:
        where = f"{float(reached):.2f} of {float(length):.2f} s"
        raise ClipError(f"{name}: is cut off at {where}; drop it or fetch it again")
    times = sorted({start for start, _ in spans})
    rate = _rate(times, rates)
    last, end = max(spans)
    return _Timing(rate, _at_most(rate, max_fps), end if end > last else last + 1 / rate)


def _rate(times: Sequence[Fraction], stated: Sequence[Fraction]) -> Fraction:
    """The rate of a source with these frames: one that all of them keep to, or else that of most of them."""
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
    """`rate`, where it is too high its largest whole part: 25 of 50; or `max_fps` where that is far less: of 35."""
    part = rate / math.ceil(rate / max_fps)
    return part if part == rate or part >= max_fps * Fraction(4, 5) else max_fps


def _at_constant_rate(name: str, first: _Timed, frames: Iterable[_Timed], timing: _Timing) -> Iterator[av.VideoFrame]:
    """For every i the frame that the source shows at i / fps after its first one.

    Times may be rounded, or waver: they count as the nearest whole number of intervals of the source.
    """
    zero, held = first
    before = zero
    shown = 0

    def index_of(time: Fraction) -> int:  # the first i that is not before `time`
        intervals = math.floor((time - zero) * timing.source_fps + Fraction(1, 2))
        return math.ceil(intervals * timing.fps / timing.source_fps)

    for time, frame in frames:
        if time <= before:  # nobody ever sees it
            continue
        if time - before > _LONGEST_STAND_SECONDS:
            where = f"from {float(before):.2f} to {float(time):.2f} s"
            raise ClipError(f"{name}: shows one frame {where}, its times are damaged; drop it or fetch it again")
        while shown < index_of(time):
            yield held
            shown += 1
        before, held = time, frame
    end = max(index_of(min(timing.end_seconds, before + _LONGEST_STAND_SECONDS)), 1)
    while shown < end:
        yield held
        shown += 1


def _decoded(
    name: str, container: av.container.InputContainer, pictures: Any, sound: Any, heard: list[Any], *, is_copied: bool
) -> Iterator[_Timed]:
    """The time in s and the frame, for each; the same of sound, or its packets if `is_copied`, goes to `heard`."""
    streams = [pictures] if sound is None else [pictures, sound]
    for stream in streams:
        stream.codec_context.thread_count = 1  # the caller has other clips for the other cores
        stream.codec_context.options = {"err_detect": "explode"}
    is_untimed = lacks_times(container, pictures)
    due: deque[int | None] = deque()
    packet: Any = None
    try:
        for packet in container.demux(streams):
            if packet.is_corrupt:
                raise damaged(name, packet, "it is cut off")
            is_sound = packet.stream.type == "audio"
            if is_sound and is_copied:
                if packet.size:
                    heard.append((_seconds(name, packet), packet))
                continue
            if is_untimed and not is_sound and packet.size:
                due.append(packet.dts)
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise damaged(name, frame, "its decoder says so")
                if is_sound:
                    heard.append((_seconds(name, frame), frame))
                else:
                    if due:
                        frame.pts = due.popleft()
                    yield _seconds(name, frame), frame
    except av.error.FFmpegError as error:
        if packet is None:
            raise
        raise damaged(name, packet, error.strerror or "its decoder says so") from error


def _seconds(name: str, item: Any) -> Fraction:
    stamp = item.dts if item.pts is None else item.pts  # AVI has only the former
    if stamp is None or item.time_base is None:
        raise ClipError(f"{name}: does not say when its frames are shown; convert it to mp4 first")
    return Fraction(stamp * item.time_base)


class _Pictures:
    """Makes pictures for the encoder out of decoded frames: upright, small, of square pixels, limited range.

    All get the size, the turn and the colour matrix that the first one asks for.
    """

    def __init__(self, stream: Any, first: av.VideoFrame, short_side: int) -> None:
        self.stream = stream
        self.matrix = first.colorspace
        if self.matrix not in _MATRICES:
            self.matrix = _BT709 if min(first.width, first.height) >= 720 else _SMPTE170M
        self.width, self.height = _size(first.width, first.height, stream.sample_aspect_ratio, short_side)
        self._key: Any = None
        self._graph: av.filter.Graph | None = None
        # Only here, since PyAV keeps a frame whose side data was looked at until Python collects cycles.
        self._turn = [part for part in turn(first).split(",") if part]
        self.is_turned = any("transpose" in part for part in self._turn)

    def __call__(self, frame: av.VideoFrame) -> Any:
        key = (frame.width, frame.height, frame.format.name, frame.colorspace, frame.color_range)
        if key != self._key:
            self._key, self._graph = key, self._new_graph(frame)
        if self._graph is None:
            return frame
        self._graph.push(frame)
        return self._graph.pull()

    def _new_graph(self, frame: av.VideoFrame) -> av.filter.Graph | None:
        is_full = frame.color_range == _FULL or frame.format.name.startswith("yuvj")
        size = (frame.width, frame.height)
        parts = []
        cropped = (frame.width // 2 * 2, frame.height // 2 * 2)
        if size != cropped == (self.width, self.height):
            parts.append(f"crop={cropped[0]}:{cropped[1]}:0:0")
            size = cropped
        if size != (self.width, self.height) or is_full or frame.format.name != "yuv420p":
            matrices = f":out_color_matrix={_MATRICES[self.matrix]}"
            if not frame.format.is_rgb:
                matrices += f":in_color_matrix={_MATRICES[self.matrix]}"
            ranges = f":in_range={'full' if is_full or frame.format.is_rgb else 'limited'}:out_range=limited"
            parts += [f"scale={self.width}:{self.height}:flags={SCALER}{matrices}{ranges}", "format=yuv420p"]
        parts += self._turn
        if not parts:
            return None
        graph = av.filter.Graph()
        nodes = [
            graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=self.stream.time_base
            )
        ]
        for part in parts:
            name, _, arguments = part.partition("=")
            nodes.append(graph.add(name, arguments or None))
        graph.link_nodes(*nodes, graph.add("buffersink")).configure()
        return graph


def _size(width: int, height: int, pixel: Fraction | None, short_side: int) -> tuple[int, int]:
    """Even width and height with square pixels for pictures whose pixels have the aspect ratio `pixel`."""
    exact_width, exact_height = Fraction(width), Fraction(height)
    # As players do it, the side grows that is too short. Beyond these bounds, the ratio itself is damaged.
    if pixel and 1 < pixel <= 4:
        exact_width *= pixel
    elif pixel and Fraction(1, 4) <= pixel < 1:
        exact_height /= pixel
    scale = min(short_side / min(exact_width, exact_height), Fraction(1))
    return _even(exact_width * scale, width), _even(exact_height * scale, height)


def _even(exact: Fraction, stored: int) -> int:
    # Of a side that is not scaled, an odd row or column is cut off.
    return 2 * max(1, stored // 2 if exact == stored else math.floor(exact / 2 + Fraction(1, 2)))


def _h264_stream(
    container: av.container.OutputContainer, pictures: _Pictures, fps: Fraction, encoding: Encoding
) -> Any:
    options = {**H264, "preset": encoding.preset, "crf": str(encoding.crf)}
    stream = container.add_stream("libx264", fps, options=options)
    width, height = pictures.width, pictures.height
    stream.width, stream.height = (height, width) if pictures.is_turned else (width, height)
    stream.pix_fmt = "yuv420p"
    encoder, decoder = stream.codec_context, pictures.stream.codec_context
    encoder.time_base = 1 / fps
    encoder.sample_aspect_ratio = Fraction(1)
    encoder.color_range, encoder.colorspace = _LIMITED, pictures.matrix
    encoder.color_primaries, encoder.color_trc = decoder.color_primaries, decoder.color_trc
    return stream


def _copied(
    container: av.container.OutputContainer, source: Any, packets: Sequence[tuple[Fraction, Any]], end: Fraction
) -> list[Any]:
    """The packets with sound of [0, end) s, for a new stream; none, and no stream, where there is no such sound."""
    rate, frame_size = source.codec_context.sample_rate, source.codec_context.frame_size
    kept: list[Any] = []
    due = None
    for time, packet in packets:
        seconds = Fraction(frame_size, rate) if frame_size else (packet.duration or 0) * packet.time_base
        # Where times are rounded, sound goes on without a gap.
        if due is not None and abs(time - due) <= _ROUNDED_SECONDS:
            time = due
        due = time + seconds
        # What lies before 0 an edit list hides, but decoders need it for the first sound to be right.
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


def _opened(video: VideoSource) -> AbstractContextManager[tuple[Any, Any]]:
    if hasattr(video, "seek"):
        video.seek(0)
    return open_video(video)
