"""Facts about a clip's file: `probe` reads its headers, `check_frames` decodes all of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import av.container
import av.video.stream

from kinetics_tools.errors import ClipError
from kinetics_tools.media.bitstream import shows_every_packet
from kinetics_tools.media.damage import StrictDecoder, check_count, whole_packets
from kinetics_tools.media.frame_index import LONGEST_STAND_SECONDS, index_frames
from kinetics_tools.media.open import (
    VideoSource,
    check_decoder,
    check_headers,
    find_video_stream,
    open_container,
    open_video,
    source_of,
)

# No decoder may run: FFmpeg otherwise decodes the first frames to learn what the headers mostly state.
_HEADERS_ONLY = {"codec_whitelist": "-", "probesize": "32"}
# More hidden frames than these change the duration.
_MAX_HIDDEN = 4


@dataclass(frozen=True, slots=True)
class ClipInfo:
    """Facts about a clip's file.

    All but `has_audio` describe the video stream that `decode` reads: the first one that is not a cover picture.

    Attributes:
        duration_seconds: duration of the frames by the index of the file, above 0. In an mp4 of variable rate it may
            be some frames shorter than the presentation.
        fps: mean number of frames per second: the stated rate if it agrees with num_frames and duration_seconds to
            half a frame, otherwise their quotient.
        num_frames: number of frames that a plain decode shows if none is corrupt, at least 1. Frames that an edit list
            hides, pictures that are not coded, and frames that need one before the first key frame are not shown.
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
    """Return facts from a clip's headers; reads only the headers and the first frame of a plain mp4.

    The whole file is read to count frames if the headers do not state their number (Matroska) or contradict themselves.
    In any container it is also decoded, and checked as by `check_frames`, if packets do not tell the number either:

    - H.264 or HEVC that does not begin with a picture that stands alone, as after a cut without encoding.
    - Interlaced H.264.
    - All codecs except H.264, HEVC, VP8, VP9 and AV1, such as the MPEG-4 Part 2 of most AVI files.

    Raises:
        ClipError: the clip is unreadable or truncated.
        FileNotFoundError: `video` is a path that does not exist.
    """
    head, _, may_skip = check_headers(video)
    with open_container(video, _HEADERS_ONLY, head) as container:
        stream = find_video_stream(container)
        if stream is not None and stream.codec_context is not None and stream.width and stream.height:
            check_decoder(source_of(video)[0], stream)
            return _info(video, container, stream, may_skip=may_skip)
    # Some headers leave the size of the picture to the decoder, or do not even name the streams.
    with open_video(video) as (container, stream):
        return _info(video, container, stream, may_skip=may_skip)


def check_frames(video: VideoSource) -> int:
    """Decode every frame of a clip and return their number.

    Raises:
        ClipError: a frame is corrupt; the message states its time. Decoders notice most corruption in H.264, and
            little in VP9, which has no redundancy. Or the clip is truncated.
        FileNotFoundError: `video` is a path that does not exist.
    """
    check_headers(video)
    name = source_of(video)[0]
    with open_video(video) as (container, stream):
        # The loop filter only makes frames smoother, and none is looked at.
        decoder = StrictDecoder(name, stream, skip_loop_filter="all")

        def decoded_packets() -> Iterator[Any]:
            for packet in whole_packets(name, container, stream):
                decoder.decode(packet)
                yield packet

        index = index_frames(video, container, stream, decoded_packets())
        if not index.is_decoded:
            decoder.decode(None)
            check_count(name, decoder.count, len(index.times))
    return len(index.times)


def _info(
    video: VideoSource,
    container: av.container.InputContainer,
    stream: av.video.stream.VideoStream,
    *,
    may_skip: bool,
) -> ClipInfo:
    name, codec = source_of(video)[0], stream.codec_context
    frames, rate = stream.frames, stream.average_rate or Fraction(0)
    seconds = (stream.duration or 0) * (stream.time_base or Fraction(0))
    packets = whole_packets(name, container, stream)
    first = next(packets, None)
    if first is None:
        raise ClipError(f"{name}: has no frames; drop it or download it again")
    # In an mp4 the stated number is the length of its index, in other containers a guess of the writer. If it and the
    # duration disagree, an edit list hides frames, or more of them lie in fragments.
    is_told = (
        not may_skip
        and "mp4" in container.format.name
        and frames == len(stream.index_entries)
        and _agree(frames, seconds, rate)
        and seconds <= LONGEST_STAND_SECONDS
        and not (first.is_discard or _hides_last_frames(stream.index_entries))
        and shows_every_packet(codec.codec.canonical_name, codec.extradata, first, is_key=first.is_keyframe)
    )
    if not is_told:
        index = index_frames(video, container, stream, chain([first], packets))
        frames, seconds = len(index.times), index.seconds
    return ClipInfo(
        duration_seconds=float(seconds),
        fps=float(rate if is_told or _agree(frames, seconds, rate) else frames / seconds),
        num_frames=frames,
        width=stream.width,
        height=stream.height,
        has_audio=bool(container.streams.audio),
        codec=codec.codec.canonical_name,
    )


def _agree(frames: int, seconds: Fraction, rate: Fraction) -> bool:
    """Return True if they agree to half a frame: Matroska, and often an edit list of an mp4, has times in ms."""
    # In integers, which takes a tenth of the time.
    scale = seconds.denominator * rate.denominator
    return rate > 0 and 2 * abs(frames * scale - seconds.numerator * rate.numerator) <= scale


def _hides_last_frames(entries: Any) -> bool:
    """Return True if an edit list hides one of the last frames in the index of an mp4."""
    return any(entries[position].is_discard for position in range(max(len(entries) - _MAX_HIDDEN, 0), len(entries)))
