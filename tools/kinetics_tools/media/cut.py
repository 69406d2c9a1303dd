"""Frame-accurate cutting of a segment of a video."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.container

from kinetics_tools.errors import ClipError, EmptySegmentError
from kinetics_tools.media.audio import SOUND_LEAD_SECONDS, Heard, aac_packets, decoded_sound, time_of
from kinetics_tools.media.damage import CHECKED_CONTAINERS, StrictDecoder, check_count, whole_packets
from kinetics_tools.media.frame_index import FrameIndex, index_frames
from kinetics_tools.media.open import (
    VideoSource,
    check_decoder,
    check_headers,
    demux,
    is_untimed,
    open_container,
    open_video,
    source_of,
    url_of,
)
from kinetics_tools.media.packets import seconds_of
from kinetics_tools.media.transforms import Rotation, rotation_of
from kinetics_tools.media.truncation import TRUNCATED_SECONDS, check_end
from kinetics_tools.media.write import MP4_INDEX_FIRST, add_h264_stream, filter_graph

# Without B-frames, frames are stored in the order and for the time that they are shown, and no edit list is needed;
# B-frames would save 5 % at equal quality. Without look-ahead, since x264's macroblock tree reads memory that it never
# wrote if pictures are narrow, and gives other bytes from time to time; it saves nothing here.
_H264 = {"preset": "veryfast", "crf": "19", "bf": "0", "rc-lookahead": "0", "g": "250", "threads": "1"}
# How far sound may lie behind pictures in a file: 10 s is where FFmpeg's muxers stop waiting for it.
_INTERLEAVING_SECONDS = 10


@dataclass(frozen=True)
class Cut:
    """Facts about the clip that `cut` wrote; times are in seconds of the source."""

    frames: int
    first_seconds: float  # when the first frame is shown
    last_seconds: float  # when the last frame is shown
    duration_seconds: float  # from the start of the first frame to the end of the last one
    has_audio: bool


def cut(
    video: VideoSource,
    path: str | os.PathLike[str],
    *,
    start_seconds: float,
    end_seconds: float,
    audio: VideoSource | None = None,
) -> Cut:
    """Write the segment [start_seconds, end_seconds) of a video as an mp4: H.264 and, if there is sound, AAC.

    The frames are exactly those with start <= time < end. A frame's time is its presentation time, counted from the
    first time stamp of the file, as in `ffmpeg -ss`. In the clip the first frame is at 0 and the others keep their
    distances; a video that ends within the segment gives a shorter clip. Sound is cut to the sample, from the first
    frame to the end. Pictures are rotated upright. The video stream is that of `probe`, and FFmpeg selects the sound.

    Everything is encoded again. Copied packets could begin between key frames only with an edit list that hides some,
    and readers such as decord ignore edit lists. Many readers also lack some of the sources' codecs.

    Args:
        video: if it is a binary file, little more than the segment is read from it.
        path: mp4 to write; an existing file is replaced.
        start_seconds: at least 0, to the microsecond.
        end_seconds: above `start_seconds`.
        audio: file with the sound, on the same clock; None takes the sound of `video`.

    Raises:
        EmptySegmentError: no frame lies in the segment.
        ClipError: the video is unreadable or truncated, has a corrupt frame, or does not state when its frames are
            shown.
        OSError: `path` cannot be written; no file is left there. Or `video` cannot be read.
    """
    # To the microsecond: 0.9 is meant if a float holds a little more.
    start, end = (Fraction(round(seconds * 1_000_000), 1_000_000) for seconds in (start_seconds, end_seconds))
    if not 0 <= start < end:
        raise ValueError(f"segment [{start_seconds}, {end_seconds}): must begin at 0 or later and end after that")
    name = source_of(video)[0]
    try:
        container, made, packets = _made(path, video, audio, start, end)
    except EmptySegmentError as error:
        raise EmptySegmentError(f"{name}: no frame in [{start_seconds:g}, {end_seconds:g}) s; {error}") from None
    except av.error.FFmpegError as error:
        raise ClipError(f"{name}: cannot be encoded ({error.strerror}); convert it first") from error
    try:
        for packet in packets:
            container.mux(packet)
        container.close()
    except BaseException as error:
        with suppress(OSError):
            os.unlink(path)
        if isinstance(error, av.error.FFmpegError):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    return made


class _DisorderedError(Exception):
    """Raised where frames cannot be found by seeking: times contradict their order, or key frames refer to others."""


def _made(
    path: str | os.PathLike[str], video: VideoSource, audio: VideoSource | None, start: Fraction, end: Fraction
) -> tuple[av.container.OutputContainer, Cut, list[Any]]:
    def attempt(index: FrameIndex | None) -> tuple[av.container.OutputContainer, Cut, list[Any]]:
        container = av.open(url_of(path), "w", format="mp4", container_options=MP4_INDEX_FIRST)
        return container, *_encoded(container, _segment(video, audio, start, end, index), end)

    try:
        return attempt(None)
    except _DisorderedError:
        with open_video(video) as (source, stream):
            index = index_frames(video, source, stream, whole_packets(source_of(video)[0], source, stream))
        return attempt(index)


_Decoded = tuple[Any, Any, av.VideoFrame | av.AudioFrame | None]
"""Stream, time in seconds, frame; once without a frame: the time at which the last picture of the segment ends.

Sound may have no time: None.
"""


def _encoded(
    container: av.container.OutputContainer, decoded: Iterable[_Decoded], end: Fraction
) -> tuple[Cut, list[Any]]:
    """Return packets of new streams of `container`, from time 0 on; they are held in memory."""
    times: list[Fraction] = []
    sounds: list[Heard] = []
    packets: list[Any] = []
    after = Fraction(0)
    for source, seconds, frame in decoded:
        if isinstance(frame, av.AudioFrame):
            sounds.append((seconds, frame))
        elif frame is None:
            after = seconds
        elif not times or seconds > times[-1]:  # of two frames at one time, the second is never seen
            if not times:
                rotation = rotation_of(frame)
                converted = _converter(source, frame, rotation)
                encoder = _h264_stream(container, source, converted(frame), rotation)
            picture = converted(frame)
            times.append(seconds)
            # Decoded frames ask the encoder for the type that they had.
            picture.pict_type = av.video.frame.PictureType.NONE
            picture.time_base, picture.pts = source.time_base, int((seconds - times[0]) / source.time_base)
            packets += encoder.encode(picture)
    if not times:
        what = "its pictures end" if after < end else "the next one is"
        raise EmptySegmentError(f"{what} at {float(after):.2f} s")
    packets += encoder.encode()
    # The last frame ends where it does in the source, but a picture that stands long ends with the segment.
    usual = times[-1] + (times[-1] - times[-2] if len(times) > 1 else Fraction(0))
    after = min(after if after > times[-1] else usual, max(end, usual))
    packets[-1].duration = int((after - times[-1]) / packets[-1].time_base)
    sound = aac_packets(container, sounds, times[0], end)
    made = Cut(len(times), float(times[0]), float(times[-1]), float(after - times[0]), has_audio=bool(sound))
    return made, packets + sound


def _converter(stream: Any, frame: av.VideoFrame, rotation: Rotation) -> Callable[[Any], Any]:
    """Return a function that prepares frames for the encoder: upright, of even size, 4:2:0 with 8 bits."""
    filters = list(rotation.filters)
    if frame.width % 2 or frame.height % 2:
        filters.append("crop=floor(iw/2)*2:floor(ih/2)*2:0:0")
    if frame.format.name not in ("yuv420p", "yuvj420p"):
        filters.append("format=yuv420p")
    if not filters:
        return lambda frame: frame
    width, height, pixels = frame.width, frame.height, frame.format.name
    graph = filter_graph(frame, stream.time_base, filters)

    def filtered(frame: Any) -> Any:
        graph.push(frame.reformat(width, height, pixels))  # the same frame, unless a stream changes its size
        return graph.pull()

    return filtered


def _h264_stream(
    container: av.container.OutputContainer, source: Any, picture: av.VideoFrame, rotation: Rotation
) -> Any:
    stream = add_h264_stream(
        container,
        source,
        (picture.height, picture.width),
        rate=source.average_rate or 25,
        time_base=source.time_base,
        options=_H264,
        pix_fmt=picture.format.name,
    )
    aspect = source.codec_context.sample_aspect_ratio  # of a pixel
    if aspect:
        stream.codec_context.sample_aspect_ratio = 1 / aspect if rotation.swaps_sides else aspect
    return stream


# ---- Decoding -----------------------------------------------------------------------------------------------


def _segment(
    video: VideoSource, audio: VideoSource | None, start: Fraction, end: Fraction, index: FrameIndex | None
) -> Iterator[_Decoded]:
    """Frames in [start, end) s and the end of the last picture; sound begins somewhat earlier.

    With an `index`, everything is decoded from the beginning, and the n-th picture gets the n-th time.
    """
    with open_video(video) as (container, pictures):
        name = source_of(video)[0]
        sound = container.streams.best("audio", related=pictures) if audio is None else None
        streams: list[Any] = [pictures] if sound is None else [pictures, sound]
        if sound is not None:
            check_decoder(name, sound)
        if index is None and is_untimed(container, pictures):
            raise _DisorderedError
        # Exact, while the container's own start is rounded to microseconds. An edit list hides frames before 0.
        starts = [stream.start_time * stream.time_base for stream in streams if stream.start_time is not None]
        zero = Fraction(max(min(starts, default=0), 0))
        yield from _decoded(video, container, streams, zero, start, end, index)
    if audio is not None:
        with open_container(audio) as container:
            sound = container.streams.best("audio")
            if sound is None:
                raise ClipError(f"{source_of(audio)[0]}: has no sound stream; omit it or download it again")
            check_decoder(source_of(audio)[0], sound)
            yield from _decoded(audio, container, [sound], zero, start, end, None)


def _decoded(  # noqa: C901  (one pass over packets of both streams)
    video: VideoSource,
    container: av.container.InputContainer,
    streams: Sequence[Any],
    zero: Fraction,
    start: Fraction,
    end: Fraction,
    index: FrameIndex | None,
) -> Iterator[_Decoded]:
    """Yield frames of `streams` in [start, end) s after `zero`, as `_segment` does."""
    name = source_of(video)[0]
    reached = {stream.index: Fraction(0) for stream in streams}
    wanted = set(reached)
    decoder, stop = StrictDecoder(name, streams[0]), Fraction(0)
    times = None if index is None else (time * index.time_base for time in index.times)
    first = before = None
    begin = start if streams[-1].type == "video" else start - SOUND_LEAD_SECONDS
    for packet in _packets(container, streams, zero, begin) if times is None else demux(container, *streams):
        number, is_picture = packet.stream.index, packet.stream.type == "video"
        if packet.pts is not None or packet.dts is not None:
            stop = seconds_of(name, packet) + (packet.duration or 0) * packet.time_base - zero
            reached[number] = max(reached[number], stop)
        if is_picture and first is None and packet.pts is not None:
            first = packet.pts * packet.time_base - zero
        if number not in wanted:
            # If sound ends early, do not read the whole rest of the file for it.
            if stop > end + _INTERLEAVING_SECONDS:
                return
            continue
        frames: Any = decoder.decode(packet if packet.size else None) if is_picture else decoded_sound(packet)
        if index is not None:
            check_count(name, max(decoder.count, len(index.times)), len(index.times))
        for frame in frames:
            if not is_picture:
                seconds = None if (stated := time_of(frame)) is None else stated - zero
            else:
                seconds = (seconds_of(name, frame) if times is None else next(times)) - zero
                # Frames are missing after a key frame that refers to others, as when pictures are refreshed in parts.
                is_late = before is None and first is not None and first < seconds > start
                if times is None and (is_late or (before is not None and seconds < before)):
                    raise _DisorderedError
                before = seconds
            if seconds is not None and seconds >= end:
                wanted.remove(number)
                if is_picture:
                    yield packet.stream, seconds, None
                break
            if not is_picture or (seconds is not None and seconds >= start):
                yield packet.stream, seconds, frame
        if not wanted:
            return
    if times is None and before is None and first is not None and first < end:
        raise _DisorderedError
    if max(reached.values()) + TRUNCATED_SECONDS < end:
        _check_end(video, container, streams[0], max(reached.values()), zero)
    if streams[0].index in wanted and streams[0].type == "video":
        yield streams[0], reached[streams[0].index], None


def _check_end(
    video: VideoSource, container: av.container.InputContainer, stream: Any, reached: Fraction, zero: Fraction
) -> None:
    """Check the time in seconds after `zero` that streams reach against the duration that the file states."""
    name = source_of(video)[0]
    if stream.duration is not None:
        stated = ((stream.start_time or 0) + stream.duration) * stream.time_base
        check_end(name, reached, Fraction(stated - zero))
    elif container.format.name in CHECKED_CONTAINERS:
        check_headers(video)  # subtitles may last longer
    else:
        check_end(name, reached, Fraction(container.duration or 0, av.time_base) - zero)


def _packets(
    container: av.container.InputContainer, streams: Sequence[Any], zero: Fraction, begin: Fraction
) -> Iterator[Any]:
    """Packets of `streams` from a key frame of the first one that is shown at `begin` s or earlier.

    A seek may land between key frames, or too late: at a key frame that is stored before `begin` but shown after it.
    Then frames would be lost, and with an open GOP those right before the key frame would decode wrongly.
    """
    stream = streams[0]
    # Transport streams seek by decoding time, which for the first packets is before any frame is shown.
    first = next(demux(container, stream))
    stamps = [stamp for stamp in (first.dts, first.pts) if stamp is not None]
    earliest = min(stamps) * stream.time_base if stamps else zero
    back = Fraction(0)
    while True:
        target = max(zero + begin - back, earliest)
        container.seek(int(target / stream.time_base), stream=stream)
        packets = demux(container, *streams)
        held: list[Any] = []
        for packet in packets:
            held.append(packet)
            is_late = packet.pts is None or packet.pts * packet.time_base > zero + begin
            if packet.stream.index == stream.index and (packet.is_keyframe or is_late):
                break
        if target == earliest:
            yield from held
        elif packet.is_keyframe and not is_late:
            yield from (other for other in held if other.stream.index != stream.index or other is packet)
        else:
            back = 2 * back + 1
            continue
        yield from packets
        return
