"""Facts about a clip's file: `probe` reads its headers, `check_frames` decodes all of it."""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import av.container
import av.video.stream

from kinetics_tools.errors import ClipError
from kinetics_tools.media.open import VideoSource, check_headers, demux, discard_others, open_video, source_of

# No decoder may run: FFmpeg otherwise decodes the first frames to learn what the headers mostly state.
_HEADERS_ONLY = {"codec_whitelist": "-", "probesize": "32"}
# Corrupt frames are errors, not to be concealed; the loop filter only makes frames smoother, and none is looked at.
_STRICT = {"err_detect": "explode", "skip_loop_filter": "all"}


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """Facts about a clip's file. All but `has_audio` describe the first video stream, which `decode` reads.

    Attributes:
        duration_seconds: duration of the frames by the index of the file, above 0. In an mp4 of variable rate it may
            be some frames shorter than the presentation.
        fps: mean number of frames per second: the stated rate if it agrees with num_frames and duration_seconds to
            half a frame, otherwise their quotient.
        num_frames: number of frames that decode if none is corrupt, at least 1; without frames that an edit list
            hides and frames before the first key frame.
        width: of the stored frames, in pixels, before rotation.
        height: of the stored frames, in pixels, before rotation.
        has_audio: True if there is a sound stream.
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
    """Return facts from a clip's headers, without decoding; reads only the headers and the first frame of an mp4.

    The whole file is read to count frames if the headers do not state their number (Matroska) or contradict themselves.

    Raises:
        ClipError: the clip is unreadable or truncated.
        FileNotFoundError: `video` is a path that does not exist.
    """
    check_headers(video)
    name = source_of(video)[0]
    with open_video(video, container_options=_HEADERS_ONLY) as (container, stream):
        if stream.width and stream.height:
            return _info(name, container, stream)
    # Some headers leave the size of the picture to the decoder.
    with open_video(video) as (container, stream):
        return _info(name, container, stream)


def check_frames(video: VideoSource) -> int:
    """Decode every frame of a clip and return their number.

    Raises:
        ClipError: a frame is corrupt; the message states its time. Decoders notice most corruption in H.264, and
            little in VP9, which has no redundancy.
        FileNotFoundError: `video` is a path that does not exist.
    """
    name = source_of(video)[0]
    count = 0
    with open_video(video) as (container, stream):
        stream.codec_context.thread_count = 1  # the caller has other clips for the other cores
        stream.codec_context.options = _STRICT
        for packet in demux(container, stream):
            try:
                frames = stream.decode(packet)
            except av.error.FFmpegError as error:
                raise corrupt_at(name, packet, error.strerror) from error
            for frame in frames:
                if frame.is_corrupt:
                    raise corrupt_at(name, frame)
                count += 1
    if not count:
        raise ClipError(f"{name}: has no frames; drop it or download it again")
    return count


def corrupt_at(name: str, item: "av.Packet[Any] | av.frame.Frame", reason: str | None = None) -> ClipError:
    """Return the error for a packet or frame that the decoder of clip `name` rejects."""
    time = item.dts if item.pts is None else item.pts
    where = "" if time is None or item.time_base is None else f" at {float(time * item.time_base):.2f} s"
    reason = reason or "its decoder says so"
    return ClipError(f"{name}: has a corrupt frame{where} ({reason}); drop it or download it again")


def _info(name: str, container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> ClipInfo:
    frames, rate = stream.frames, stream.average_rate or Fraction(0)
    seconds = (stream.duration or 0) * (stream.time_base or Fraction(0))
    discard_others(container, stream)
    packets = demux(container, stream)
    first = next(packets)
    # In an mp4 the stated number is the length of its index, in other containers a guess of the writer. If it and the
    # duration disagree, an edit list hides frames, or more of them lie in fragments.
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
        codec=stream.codec_context.codec.canonical_name,
    )


def _agree(frames: int, seconds: Fraction, rate: Fraction) -> bool:
    """Return True if they agree to half a frame: Matroska, and often an edit list of an mp4, has times in ms."""
    return rate > 0 and abs(frames - seconds * rate) <= Fraction(1, 2)


def _count(name: str, stream: av.video.stream.VideoStream, packets: Iterable[Any]) -> tuple[int, Fraction]:
    """Return the number of frames of a stream and their seconds, by reading all of its packets."""
    frames: list[tuple[int | None, int]] = []  # (start, duration) in the stream's time base
    has_key, key = False, None
    for packet in packets:
        if packet.is_corrupt:
            raise ClipError(f"{name}: is not a readable clip (truncated or corrupt); drop it or download it again")
        if not packet.size:
            continue
        start = packet.dts if packet.pts is None else packet.pts  # AVI has only the former
        if packet.is_keyframe and not has_key:
            # A careless cut: frames stored or shown before the first key frame cannot be decoded.
            has_key, key = True, start
            frames.clear()
        if not packet.is_discard:
            frames.append((start, packet.duration or 0))
    if key is not None:
        frames = [frame for frame in frames if frame[0] is None or frame[0] >= key]
    times = [(start, duration) for start, duration in frames if start is not None]
    if not times:  # as of a song's cover picture, too
        raise ClipError(f"{name}: has no frames; drop it or download it again")
    (first, _), (last, duration) = min(times), max(times)
    ticks = last - first + (duration or Fraction(last - first, max(len(times) - 1, 1)))
    seconds = ticks * (stream.time_base or Fraction(0))
    if not seconds:
        raise ClipError(f"{name}: does not say how long its frames are shown; drop it or download it again")
    return len(frames), seconds
