"""A segment of a video as a clip of its own, exact to the frame."""

import os
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import av.container
import av.filter
import av.sidedata.sidedata

from kinetics_tools.errors import ClipError, EmptySegmentError
from kinetics_tools.media.open import VideoSource, check_decoder, lacks_times, open_container, source_of, url_of
from kinetics_tools.media.write import MP4

# Without B-frames, since then frames are stored in the order and for the time that they are shown, and no edit
# list is needed; they would save 5 % at equal quality. Without look-ahead, since x264's macroblock tree reads memory
# that it never wrote where pictures are narrow, and gives other bytes from time to time; it saves nothing here.
_CUT_H264 = {"preset": "veryfast", "crf": "19", "bf": "0", "rc-lookahead": "0", "g": "250", "threads": "1"}
_CUT_AAC = {"aac_coder": "fast", "b": "128000"}
# The index goes to the front, so that a reader of a remote file finds it with the first bytes.
_CUT_MP4 = {**MP4, "movflags": "+faststart"}
_AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)
# The first packets after a seek decode to other sound than when all is decoded: AAC takes one, Opus 80 ms.
SOUND_LEAD_SECONDS = Fraction(1, 4)
# How far sound may lie behind pictures in a file: 10 s is where FFmpeg's muxers stop waiting for it.
_INTERLEAVING_SECONDS = 10
# A file that ends earlier than this before the end that its header states was cut off.
TRUNCATED_SECONDS = Fraction(1, 2)
# The filter that shows pictures as their display matrix (a, b, c, d) has them: (x, y) at (ax + cy, bx + dy).
_TURNS = {
    (1, 0, 0, 1): "",
    (0, 1, -1, 0): "transpose=clock",
    (-1, 0, 0, -1): "hflip,vflip",
    (0, -1, 1, 0): "transpose=cclock",
    (-1, 0, 0, 1): "hflip",
    (1, 0, 0, -1): "vflip",
    (0, 1, 1, 0): "transpose=cclock_flip",
    (0, -1, -1, 0): "transpose=clock_flip",
}


@dataclass(frozen=True)
class Cut:
    """What `cut` wrote. Seconds are times in the source."""

    frames: int
    first_seconds: float  # when the first frame is shown
    last_seconds: float  # when the last frame is shown
    duration_seconds: float  # of the clip: from the first frame to the end of the last one
    has_audio: bool


def cut(
    video: VideoSource,
    path: str | os.PathLike[str],
    *,
    start_seconds: float,
    end_seconds: float,
    audio: VideoSource | None = None,
) -> Cut:
    """Write the segment [start_seconds, end_seconds) of a video as an mp4: H.264 and, where there is sound, AAC.

    The frames are those with start <= time < end, exactly: the first one is the first that is shown at or after
    the start. A frame's time is its presentation time, counted from the first time stamp of the file, as
    `ffmpeg -ss` counts. In the clip the first frame is at 0 and the others keep their distances; a video that
    ends within the segment gives a shorter clip. Sound is cut where pictures begin and at the end, to the sample.
    Pictures are turned as the display matrix says. Of several streams it is the one that FFmpeg prefers.

    `video` may be a binary file that can seek; little more than the segment is read of it. `audio` is another
    file, with the sound, on the same clock. The encoded clip is held in memory; a file at `path` is replaced.

    Everything is encoded anew: copied packets could not begin between key frames, unless an edit list hid some
    of them, which readers such as decord count all the same; and sources come in codecs that many cannot read.

    Raises EmptySegmentError where no frame lies in the segment, ClipError for a video that cannot be read, was cut off
    or does not say when its frames are shown (an AVI of H.264 with B-frames), what reading `video` raises, and OSError
    where `path` cannot be written; then nothing is left there.
    """
    # To the microsecond: 0.9 is meant where a float holds a little more.
    start, end = (Fraction(round(seconds * 1_000_000), 1_000_000) for seconds in (start_seconds, end_seconds))
    if not 0 <= start < end:
        raise ValueError(f"segment [{start_seconds}, {end_seconds}): must begin at 0 or later and end after that")
    container = av.open(url_of(path), "w", format="mp4", container_options=_CUT_MP4)
    name = source_of(video)[0]
    try:
        made, packets = _encoded(container, _segment(video, audio, start, end), end)
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


_Decoded = tuple[Any, Fraction, av.VideoFrame | av.AudioFrame | None]


def _encoded(
    container: av.container.OutputContainer, decoded: Iterable[_Decoded], end: Fraction
) -> tuple[Cut, list[Any]]:
    """Packets of new streams of `container`, which begin at 0, for what `_segment` gives."""
    times: list[Fraction] = []
    sounds: list[tuple[Fraction, av.AudioFrame]] = []
    packets: list[Any] = []
    after = Fraction(0)
    for source, seconds, frame in decoded:
        if isinstance(frame, av.AudioFrame):
            sounds.append((seconds, frame))
        elif frame is None:
            after = seconds
        elif not times or seconds > times[-1]:  # at one time two frames: nobody ever sees the second
            if not times:
                upright = _upright(source, frame)
            picture = upright(frame)
            if not times:
                encoder = _h264_stream(container, source, frame, picture)
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
    made = Cut(
        frames=len(times),
        first_seconds=float(times[0]),
        last_seconds=float(times[-1]),
        duration_seconds=float(after - times[0]),
        has_audio=bool(sound),
    )
    return made, packets + sound


def _segment(video: VideoSource, audio: VideoSource | None, start: Fraction, end: Fraction) -> Iterator[_Decoded]:
    """The frames in [start, end) s: stream, time in seconds, frame; after the last picture its end, without frame.

    Sound begins somewhat earlier. Sound and pictures of one file come as they lie there.
    """
    with open_container(video) as container:
        pictures = container.streams.best("video")
        if pictures is None:
            raise ClipError(f"{source_of(video)[0]}: has no video stream; drop it or fetch it again")
        sound = container.streams.best("audio", related=pictures) if audio is None else None
        streams: list[Any] = [pictures] if sound is None else [pictures, sound]
        for stream in streams:
            check_decoder(source_of(video)[0], stream)
        if lacks_times(container, pictures):
            raise ClipError(f"{source_of(video)[0]}: does not say when its frames are shown; convert it to mp4 first")
        # Exact, while the container's own start is rounded to microseconds. What lies before 0 an edit list hides.
        starts = [stream.start_time * stream.time_base for stream in streams if stream.start_time is not None]
        zero = Fraction(max(min(starts, default=0), 0))
        yield from _decoded(container, streams, zero, start, end)
    if audio is not None:
        with open_container(audio) as container:
            sound = container.streams.best("audio")
            if sound is None:
                raise ClipError(f"{source_of(audio)[0]}: has no sound stream; leave it out or fetch it again")
            check_decoder(source_of(audio)[0], sound)
            yield from _decoded(container, [sound], zero, start, end)


def _decoded(
    container: av.container.InputContainer, streams: Sequence[Any], zero: Fraction, start: Fraction, end: Fraction
) -> Iterator[_Decoded]:
    """The frames of `streams` in [start, end) s after `zero`, as `_segment` gives them."""
    begin = start if streams[-1].type == "video" else start - SOUND_LEAD_SECONDS
    wanted = {stream.index for stream in streams}
    reached = {stream.index: Fraction(0) for stream in streams}
    stop = Fraction(0)
    for packet in _packets(container, streams, zero, begin):
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is not None:
            stop = (stamp + (packet.duration or 0)) * packet.time_base - zero
            reached[packet.stream.index] = max(reached[packet.stream.index], stop)
        if packet.stream.index not in wanted:
            # Where sound ends early, do not read the whole rest of the file for it.
            if stop > end + _INTERLEAVING_SECONDS:
                return
            continue
        for frame in packet.decode():
            stamp = frame.dts if frame.pts is None else frame.pts
            if stamp is None:
                raise ClipError(f"{container.name}: a frame has no time; convert the video to mp4 first")
            seconds = stamp * frame.time_base - zero
            if seconds >= end:
                wanted.remove(packet.stream.index)
                if packet.stream.type == "video":
                    yield packet.stream, seconds, None
                break
            if seconds >= start or packet.stream.type == "audio":
                yield packet.stream, seconds, frame
        if not wanted:
            return
    stream = streams[0]
    if stream.duration is not None:
        length = ((stream.start_time or 0) + stream.duration) * stream.time_base - zero
    else:
        # Counted from the first frame or, as in Matroska, from 0: at least so far it must go.
        length = Fraction(container.duration or 0, av.time_base) - zero
    last = max(reached.values())
    if last + TRUNCATED_SECONDS < min(end, length):
        raise ClipError(f"{container.name}: cut off at {float(last):.2f} of {float(length):.2f} s; fetch it again")
    if stream.index in wanted and stream.type == "video":
        yield stream, reached[stream.index], None


def _packets(
    container: av.container.InputContainer, streams: Sequence[Any], zero: Fraction, begin: Fraction
) -> Iterator[Any]:
    """The packets of `streams` from a key frame of the first one that is shown at `begin` s or earlier.

    A seek may land between key frames, or later than asked for: at a key frame that is stored before `begin` but shown
    after it. Then frames would be lost, and with an open GOP those right before the key frame decode to others.
    """
    stream = streams[0]
    # Transport streams seek by when packets are to be decoded, which for the first ones is before any frame is shown.
    first = next(container.demux(stream))
    stamps = [stamp for stamp in (first.dts, first.pts) if stamp is not None]
    earliest = min(stamps) * stream.time_base if stamps else zero
    back = Fraction(0)
    while True:
        target = max(zero + begin - back, earliest)
        container.seek(int(target / stream.time_base), stream=stream)
        packets = container.demux(streams)
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


def turn(frame: av.VideoFrame) -> str:
    """The filters that turn a frame as its display matrix says; none for an angle that is no multiple of 90."""
    matrix: Any = frame.side_data.get(av.sidedata.sidedata.Type.DISPLAYMATRIX)  # type: ignore[call-overload]
    if matrix is None:
        return ""
    a, b, _, c, d, *_ = struct.unpack("=9i", bytes(matrix))
    return _TURNS.get(tuple((value > 0) - (value < 0) for value in (a, b, c, d)), "")


def _upright(stream: Any, frame: av.VideoFrame) -> Callable[[Any], Any]:
    """What makes frames like this one ready for the encoder: upright, of even size, 4:2:0 with 8 bits."""
    crop = "crop=floor(iw/2)*2:floor(ih/2)*2:0:0" if frame.width % 2 or frame.height % 2 else ""
    convert = "" if frame.format.name in ("yuv420p", "yuvj420p") else "format=yuv420p"
    filters = [part for part in (*turn(frame).split(","), crop, convert) if part]
    if not filters:
        return lambda frame: frame
    size, pixels = (frame.width, frame.height), frame.format.name
    graph = av.filter.Graph()
    nodes = [graph.add_buffer(width=size[0], height=size[1], format=frame.format, time_base=stream.time_base)]
    for part in filters:
        name, _, arguments = part.partition("=")
        nodes.append(graph.add(name, arguments or None))
    graph.link_nodes(*nodes, graph.add("buffersink")).configure()

    def filtered(frame: Any) -> Any:
        graph.push(frame.reformat(*size, format=pixels))  # the same frame, but where a stream changes its size
        return graph.pull()

    return filtered


def _h264_stream(
    container: av.container.OutputContainer, source: Any, frame: av.VideoFrame, picture: av.VideoFrame
) -> Any:
    """A stream for pictures like this one, which was made of `frame`, with the times of stream `source`."""
    stream = container.add_stream("libx264", source.average_rate or 25, options=_CUT_H264)
    stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, picture.format.name
    encoder, decoder = stream.codec_context, source.codec_context
    encoder.time_base = source.time_base
    shape = decoder.sample_aspect_ratio  # of a pixel
    if shape:
        encoder.sample_aspect_ratio = 1 / shape if "transpose" in turn(frame) else shape
    # Without these, readers guess which colours the numbers mean.
    encoder.color_range, encoder.colorspace = decoder.color_range, decoder.colorspace
    encoder.color_primaries, encoder.color_trc = decoder.color_primaries, decoder.color_trc
    return stream


def aac_packets(
    container: av.container.OutputContainer,
    sounds: Sequence[tuple[Fraction, av.AudioFrame]],
    start: Fraction,
    end: Fraction,
) -> list[Any]:
    """The sound in [start, end) s as packets of a new stream that begins at 0; none, and no stream, without sound."""
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
        # Fills gaps with silence, at the beginning too: what follows stays beside its pictures.
        graph.add("aresample", f"{target_rate}:async=1:first_pts=0"),
        graph.add("aformat", f"sample_fmts=fltp:channel_layouts={layout}"),
        graph.add("abuffersink"),
    ).configure()
    for seconds, frame in sounds:
        frame.time_base, frame.pts = Fraction(1, rate), round(seconds * rate)
        graph.push(frame)
    graph.push(None)
    frames = list(_pulled(graph))
    if not frames:
        return []
    stream = container.add_stream("aac", target_rate, layout=layout, options=_CUT_AAC)
    return [packet for frame in (*frames, None) for packet in stream.encode(frame)]


def _pulled(graph: av.filter.Graph) -> Iterator[Any]:
    with suppress(EOFError, BlockingIOError):
        while True:
            yield graph.pull()
