"""Video files in and out: the only module that imports `av`.

Pictures are uint8 RGB arrays with the axes (H, W, C), clips are (T, H, W, C), sound is mono float32 in
[-1, 1]. PyAV's wheels carry FFmpeg, so nothing here needs an `ffmpeg` program.
"""

import io
import os
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any, BinaryIO, cast

import av
import av.container
import av.filter
import av.sidedata.sidedata
import av.stream
import av.video.reformatter
import av.video.stream
import numpy as np
import numpy.typing as npt

from kinetics_tools.headers import file_problem

Pixels = npt.NDArray[np.uint8]
VideoSource = str | os.PathLike[str] | bytes | BinaryIO | io.RawIOBase | Mapping[str, Any]

# The public clips have a key frame every 250 and frames in another order than they are shown in: B-frames.
# One thread, because x264 gives other bytes for another number of threads.
_H264 = {"preset": "ultrafast", "bf": "2", "crf": "26", "g": "250", "threads": "1"}
_AAC = {"aac_coder": "fast", "b": "48000"}
# Bit-exact leaves the name of the FFmpeg release out of the file. Without the limit taken away, the muxer
# stops interleaving once sound is 10 s ahead of pictures.
_MP4 = {"fflags": "+bitexact", "max_interleave_delta": "0"}

# Without B-frames, since then frames are stored in the order and for the time that they are shown, and no edit
# list is needed; they would save 5 % at equal quality. Without look-ahead, since x264's macroblock tree reads memory
# that it never wrote where pictures are narrow, and gives other bytes from time to time; it saves nothing here.
_CUT_H264 = {"preset": "veryfast", "crf": "19", "bf": "0", "rc-lookahead": "0", "g": "250", "threads": "1"}
_CUT_AAC = {"aac_coder": "fast", "b": "128000"}
# The index goes to the front, so that a reader of a remote file finds it with the first bytes.
_CUT_MP4 = {**_MP4, "movflags": "+faststart"}
_AAC_RATES = (96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000)
# The first packets after a seek decode to other sound than when all is decoded: AAC takes one, Opus 80 ms.
_SOUND_LEAD_SECONDS = Fraction(1, 4)
# How far sound may lie behind pictures in a file: 10 s is where FFmpeg's muxers stop waiting for it.
_INTERLEAVING_SECONDS = 10
# A file that ends earlier than this before the end that its header states was cut off.
_TRUNCATED_SECONDS = Fraction(1, 2)
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

# No decoder may run: FFmpeg otherwise decodes the first frames to learn what the headers mostly say.
_HEADERS_ONLY = {"codec_whitelist": "-", "probesize": "32"}
# Damage is an error, not something to paint over; the filter makes frames smoother, which nobody looks at here.
_STRICT = {"err_detect": "explode", "skip_loop_filter": "all"}


class ClipError(ValueError):
    """A clip that cannot be read: no video file, cut short, without a video stream or without frames."""


class EmptySegmentError(ClipError):
    """No frame lies in the segment, mostly because the video ends before it."""


@dataclass(frozen=True)
class Cut:
    """What `cut` wrote. Seconds are times in the source."""

    frames: int
    first_seconds: float  # when the first frame is shown
    last_seconds: float  # when the last frame is shown
    duration_seconds: float  # of the clip: from the first frame to the end of the last one
    has_audio: bool


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """What a clip's file holds: of its first video stream, the one that `read_frames` reads, but for `has_audio`.

    Attributes:
        duration_seconds: from when the first frame is shown to when the last one ends; over 0.
        fps: mean number of frames a second: the rate that the file states, where num_frames and duration_seconds
            agree with it to half a frame; else their quotient.
        num_frames: frames that decoding gives where none is damaged, at least 1; without those that an edit list
            takes away.
        width, height: of the frames as they are stored, in pixels; rotation, if the file asks for it, comes after.
        has_audio: whether there is a sound stream.
        codec: FFmpeg's name of the codec, such as "h264", "vp9", "av1".
    """

    duration_seconds: float
    fps: float
    num_frames: int
    width: int
    height: int
    has_audio: bool
    codec: str


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

    Raises EmptySegmentError where no frame lies in the segment, ClipError for a video that cannot be read or was
    cut off, what reading `video` raises, and OSError where `path` cannot be written; then nothing is left there.
    """
    # To the microsecond: 0.9 is meant where a float holds a little more.
    start, end = (Fraction(round(seconds * 1_000_000), 1_000_000) for seconds in (start_seconds, end_seconds))
    if not 0 <= start < end:
        raise ValueError(f"segment [{start_seconds}, {end_seconds}): must begin at 0 or later and end after that")
    container = av.open(_url(path), "w", format="mp4", container_options=_CUT_MP4)
    name = _source(video)[0]
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


def probe(video: VideoSource) -> ClipInfo:
    """What a clip's headers say. Decodes nothing; of an mp4 it reads a few kB.

    Where the headers do not say how many frames there are, as in Matroska, or contradict themselves, it reads the
    whole file and counts. Raises ClipError for a clip that cannot be read, one that is cut off among them, and
    FileNotFoundError for a path that does not exist.
    """
    name, source = _source(video)
    if isinstance(source, str):
        with open(source.removeprefix("file:"), "rb") as file:
            problem = file_problem(file)
    else:
        problem = file_problem(source)
    if problem:
        raise ClipError(f"{name}: is not a readable clip ({problem}); drop it or fetch it again")
    with _open(video, container_options=_HEADERS_ONLY) as (container, stream):
        if stream.codec_context is not None and stream.width and stream.height:
            return _info(name, container, stream)
    # Some headers leave the size of the picture to the decoder.
    if not isinstance(source, str):
        source.seek(0)
    with _open(video) as (container, stream):
        return _info(name, container, stream)


def check_frames(video: VideoSource) -> int:
    """Decode every frame of a clip and return how many there are.

    Raises ClipError that says when in the clip the first damage lies, as far as the decoder notices: H.264 nearly
    always does, VP9, which has no redundancy, hardly ever. FileNotFoundError for a path that does not exist.
    """
    name = _source(video)[0]
    count = 0
    with _open(video) as (container, stream):
        stream.codec_context.thread_count = 1  # the caller has other clips for the other cores
        stream.codec_context.options = _STRICT
        for packet in container.demux(stream):
            try:
                frames = stream.decode(packet)
            except av.error.FFmpegError as error:
                raise _damaged(name, packet, error.strerror or "its decoder says so") from error
            for frame in frames:
                if frame.is_corrupt:
                    raise _damaged(name, frame, "its decoder says so")
                count += 1
    if not count:
        raise ClipError(f"{name}: has no frames; drop it or fetch it again")
    return count


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
    sound = _aac_packets(container, sounds, times[0], end)
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
    with _container(video) as container:
        pictures = container.streams.best("video")
        if pictures is None:
            raise ClipError(f"{_source(video)[0]}: has no video stream; drop it or fetch it again")
        sound = container.streams.best("audio", related=pictures) if audio is None else None
        streams: list[Any] = [pictures] if sound is None else [pictures, sound]
        # Exact, while the container's own start is rounded to microseconds. What lies before 0 an edit list hides.
        starts = [stream.start_time * stream.time_base for stream in streams if stream.start_time is not None]
        zero = Fraction(max(min(starts, default=0), 0))
        yield from _decoded(container, streams, zero, start, end)
    if audio is not None:
        with _container(audio) as container:
            sound = container.streams.best("audio")
            if sound is None:
                raise ClipError(f"{_source(audio)[0]}: has no sound stream; leave it out or fetch it again")
            yield from _decoded(container, [sound], zero, start, end)


def _decoded(
    container: av.container.InputContainer, streams: Sequence[Any], zero: Fraction, start: Fraction, end: Fraction
) -> Iterator[_Decoded]:
    """The frames of `streams` in [start, end) s after `zero`, as `_segment` gives them."""
    begin = start if streams[-1].type == "video" else start - _SOUND_LEAD_SECONDS
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
        length = Fraction(container.duration or 0, av.time_base)
    last = max(reached.values())
    if last + _TRUNCATED_SECONDS < min(end, length):
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
    back = Fraction(0)
    while True:
        target = zero + max(begin - back, Fraction(0))
        container.seek(int(target / stream.time_base), stream=stream)
        packets = container.demux(streams)
        held: list[Any] = []
        for packet in packets:
            held.append(packet)
            is_late = packet.pts is None or packet.pts * packet.time_base > zero + begin
            if packet.stream.index == stream.index and (packet.is_keyframe or is_late):
                break
        if target == zero:
            yield from held
        elif packet.is_keyframe and not is_late:
            yield from (other for other in held if other.stream.index != stream.index or other is packet)
        else:
            back = 2 * back + 1
            continue
        yield from packets
        return


def _turn(frame: av.VideoFrame) -> str:
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
    filters = [part for part in (*_turn(frame).split(","), crop, convert) if part]
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
        encoder.sample_aspect_ratio = 1 / shape if "transpose" in _turn(frame) else shape
    # Without these, readers guess which colours the numbers mean.
    encoder.color_range, encoder.colorspace = decoder.color_range, decoder.colorspace
    encoder.color_primaries, encoder.color_trc = decoder.color_primaries, decoder.color_trc
    return stream


def _aac_packets(
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


def _info(name: str, container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> ClipInfo:
    if stream.codec_context is None:
        raise ClipError(f"{name}: FFmpeg has no decoder for its codec; drop it or fetch it again")
    frames, rate = stream.frames, stream.average_rate or Fraction(0)
    seconds = (stream.duration or 0) * (stream.time_base or Fraction(0))
    # Of an mp4 the count is the length of its index; in other containers it is what the writer hoped for. Where it
    # and the duration disagree, an edit list takes frames away, or more of them lie in fragments.
    if "mp4" not in container.format.name or not frames or not _agree(frames, seconds, rate):
        frames, seconds = _count(name, container, stream)
    return ClipInfo(
        duration_seconds=float(seconds),
        fps=float(rate if _agree(frames, seconds, rate) else frames / seconds),
        num_frames=frames,
        width=stream.width,
        height=stream.height,
        has_audio=bool(container.streams.audio),
        codec=_codec_name(stream.codec_context.codec),
    )


def _damaged(name: str, at: "av.Packet[Any] | av.VideoFrame", reason: str) -> ClipError:
    time = at.pts if at.pts is not None else at.dts
    where = "" if time is None or at.time_base is None else f" at {float(time * at.time_base):.2f} s"
    return ClipError(f"{name}: has a damaged frame{where} ({reason}); drop it or fetch it again")


def _agree(frames: int, seconds: Fraction, rate: Fraction) -> bool:
    """Whether so many frames take so long, to half a frame: Matroska has times in ms, mp4 edit lists often, too."""
    return rate > 0 and abs(frames - seconds * rate) <= Fraction(1, 2)


def _codec_name(codec: av.Codec) -> str:
    # PyAV 14 knows the name of the decoder only, which differs for few codecs: "libdav1d" for "av1".
    return str(getattr(codec, "canonical_name", codec.name))


def _count(
    name: str, container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> tuple[int, Fraction]:
    """Frames of a stream and the seconds that they take, by reading all of its packets."""
    for other in container.streams:
        if other.index != stream.index and hasattr(other, "discard"):  # PyAV 14 reads what it passes over
            other.discard = av.stream.Discard.all
    frames = 0
    times = []  # (start, duration) of frames in the stream's time base
    for packet in container.demux(stream):
        if packet.is_corrupt:
            raise ClipError(f"{name}: is not a readable clip (it is cut off or damaged); drop it or fetch it again")
        if packet.size and not packet.is_discard:
            frames += 1
            start = packet.dts if packet.pts is None else packet.pts  # AVI has only the former
            if start is not None:
                times.append((start, packet.duration or 0))
    if not times:  # as of a song's cover picture, too
        raise ClipError(f"{name}: has no frames; drop it or fetch it again")
    (first, _), (last, duration) = min(times), max(times)
    ticks = last - first + (duration or Fraction(last - first, max(len(times) - 1, 1)))
    seconds = ticks * (stream.time_base or Fraction(0))
    if not seconds:
        raise ClipError(f"{name}: does not say how long its frames are shown; drop it or fetch it again")
    return frames, seconds


@contextmanager
def _open(
    video: VideoSource, **options: Any
) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    with _container(video, **options) as container:
        if not container.streams.video:
            raise ClipError(f"{_source(video)[0]}: has no video stream; drop it or fetch it again")
        yield container, container.streams.video[0]


@contextmanager
def _container(video: VideoSource, **options: Any) -> Iterator[av.container.InputContainer]:
    # The one place that turns FFmpeg's errors, also those met later while decoding, into ours.
    name, file = _source(video)
    try:
        with av.open(file, **options) as container:
            yield container
    except av.error.FileNotFoundError as error:
        raise FileNotFoundError(error.errno, error.strerror, name) from None
    except av.error.FFmpegError as error:
        message = f"{name}: is not a readable clip ({error.strerror}); drop it or fetch it again"
        raise ClipError(message) from error


def _source(video: VideoSource) -> tuple[str, str | BinaryIO]:
    """What to call a clip in a message, and what to give to PyAV."""
    if isinstance(video, Mapping):
        content, path = video["bytes"], video["path"]
    elif isinstance(video, bytes):
        content, path = video, None
    elif isinstance(video, str | os.PathLike):
        content, path = None, video
    else:
        return str(getattr(video, "name", "a file")), cast(BinaryIO, video)
    name = f"a clip of {len(content)} bytes" if path is None else os.fspath(path)
    return name, _url(path) if content is None else io.BytesIO(content)


def _url(path: str | os.PathLike[str]) -> str:
    # Without the protocol, FFmpeg takes what stands before a colon in a file name for one.
    return f"file:{os.fspath(path)}"
