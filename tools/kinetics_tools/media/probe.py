"""What a clip's file holds, from its headers, or by decoding all of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import av.container
import av.video.stream

from kinetics_tools.errors import ClipError
from kinetics_tools.media.open import VideoSource, check_headers, discard_others, open_video, source_of

# No decoder may run: FFmpeg otherwise decodes the first frames to learn what the headers mostly say.
_HEADERS_ONLY = {"codec_whitelist": "-", "probesize": "32"}
# Damage is an error, not something to paint over; the filter makes frames smoother, which nobody looks at here.
_STRICT = {"err_detect": "explode", "skip_loop_filter": "all"}


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """What a clip's file holds: of its first video stream, the one that `decode` reads, but for `has_audio`.

    Attributes:
        duration_seconds: how long the frames are shown, as the file's own index sums it up, which in an mp4 of variable
            rate may be some frames less than from when the first frame is shown to when the last one ends; over 0.
        fps: mean number of frames a second: the rate that the file states, where num_frames and duration_seconds
            agree with it to half a frame; else their quotient.
        num_frames: frames that decoding gives where none is damaged, at least 1; without those that an edit list
            takes away, and those that a careless cut left before the first key frame.
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


def probe(video: VideoSource) -> ClipInfo:
    """What a clip's headers say. Decodes nothing; of an mp4 it reads the headers and the first frame.

    Where the headers do not say how many frames there are, as in Matroska, or contradict themselves, it reads the
    whole file and counts. Raises ClipError for a clip that cannot be read, one that is cut off among them, and
    FileNotFoundError for a path that does not exist.
    """
    check_headers(video)
    name, source = source_of(video)
    with open_video(video, container_options=_HEADERS_ONLY) as (container, stream):
        if stream.width and stream.height:
            return _info(name, container, stream)
    # Some headers leave the size of the picture to the decoder.
    if not isinstance(source, str):
        source.seek(0)
    with open_video(video) as (container, stream):
        return _info(name, container, stream)


def check_frames(video: VideoSource) -> int:
    """Decode every frame of a clip and return how many there are.

    Raises ClipError that says when in the clip the first damage lies, as far as the decoder notices: H.264 nearly
    always does, VP9, which has no redundancy, hardly ever. FileNotFoundError for a path that does not exist.
    """
    name = source_of(video)[0]
    count = 0
    with open_video(video) as (container, stream):
        stream.codec_context.thread_count = 1  # the caller has other clips for the other cores
        stream.codec_context.options = _STRICT
        for packet in container.demux(stream):
            try:
                frames = stream.decode(packet)
            except av.error.FFmpegError as error:
                raise damaged(name, packet, error.strerror or "its decoder says so") from error
            for frame in frames:
                if frame.is_corrupt:
                    raise damaged(name, frame, "its decoder says so")
                count += 1
    if not count:
        raise ClipError(f"{name}: has no frames; drop it or fetch it again")
    return count


def _info(name: str, container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> ClipInfo:
    frames, rate = stream.frames, stream.average_rate or Fraction(0)
    seconds = (stream.duration or 0) * (stream.time_base or Fraction(0))
    discard_others(container, stream)
    packets = container.demux(stream)
    first = next(packets)
    # Of an mp4 the count is the length of its index; in other containers it is what the writer hoped for. Where it
    # and the duration disagree, an edit list takes frames away, or more of them lie in fragments.
    is_stated = "mp4" in container.format.name and frames and _agree(frames, seconds, rate)
    if not is_stated or not first.is_keyframe:
        frames, seconds = _count(name, stream, chain([first], packets))
    return ClipInfo(
        duration_seconds=float(seconds),
        fps=float(rate if _agree(frames, seconds, rate) else frames / seconds),
        num_frames=frames,
        width=stream.width,
        height=stream.height,
        has_audio=bool(container.streams.audio),
        codec=codec_name(stream.codec_context.codec),
    )


def damaged(name: str, at: "av.Packet[Any] | av.VideoFrame", reason: str) -> ClipError:
    time = at.pts if at.pts is not None else at.dts
    where = "" if time is None or at.time_base is None else f" at {float(time * at.time_base):.2f} s"
    return ClipError(f"{name}: has a damaged frame{where} ({reason}); drop it or fetch it again")


def _agree(frames: int, seconds: Fraction, rate: Fraction) -> bool:
    """Whether so many frames take so long, to half a frame: Matroska has times in ms, mp4 edit lists often, too."""
    return rate > 0 and abs(frames - seconds * rate) <= Fraction(1, 2)


def codec_name(codec: av.Codec) -> str:
    # PyAV 14 knows the name of the decoder only, which differs for few codecs: "libdav1d" for "av1".
    return str(getattr(codec, "canonical_name", codec.name))


def _count(name: str, stream: av.video.stream.VideoStream, packets: Iterable[Any]) -> tuple[int, Fraction]:
    """Frames of a stream and the seconds that they take, by reading all of its packets."""
    frames: list[tuple[int | None, int]] = []  # (start, duration) in the stream's time base
    has_key, key = False, None
    for packet in packets:
        if packet.is_corrupt:
            raise ClipError(f"{name}: is not a readable clip (it is cut off or damaged); drop it or fetch it again")
        if not packet.size:
            continue
        start = packet.dts if packet.pts is None else packet.pts  # AVI has only the former
        if packet.is_keyframe and not has_key:
            # A careless cut: neither what is stored before the first key frame nor what is shown before it decodes.
            has_key, key = True, start
            frames.clear()
        if not packet.is_discard:
            frames.append((start, packet.duration or 0))
    if key is not None:
        frames = [frame for frame in frames if frame[0] is None or frame[0] >= key]
    times = [(start, duration) for start, duration in frames if start is not None]
    if not times:  # as of a song's cover picture, too
        raise ClipError(f"{name}: has no frames; drop it or fetch it again")
    (first, _), (last, duration) = min(times), max(times)
    ticks = last - first + (duration or Fraction(last - first, max(len(times) - 1, 1)))
    seconds = ticks * (stream.time_base or Fraction(0))
    if not seconds:
        raise ClipError(f"{name}: does not say how long its frames are shown; drop it or fetch it again")
    return len(frames), seconds
