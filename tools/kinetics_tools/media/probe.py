"""Facts about a clip's file: `probe` reads its headers, `check_frames` decodes all of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import av
import av.container
import av.video.stream

from kinetics_tools.media.bitstream import BYTES_TO_SLICE
from kinetics_tools.media.damage import StrictDecoder, check_count, whole_packets
from kinetics_tools.media.frame_index import index_frames, tells_frames
from kinetics_tools.media.mp4_index import movie_table
from kinetics_tools.media.open import (
    MAX_PIXELS,
    VideoSource,
    check_decoder,
    check_headers,
    checked_headers,
    find_video_stream,
    open_container,
    open_video,
    raw_file,
    source_of,
)
from kinetics_tools.media.truncation import Headers

# No decoder may run: FFmpeg otherwise decodes the first frames to learn what the headers mostly state.
_HEADERS_ONLY = {"codec_whitelist": "-", "probesize": "32"}


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

    A plain mp4 has H.264 or HEVC and usual tracks, and its index shows each stored frame once. Any other file is read
    as a whole to count its frames. In any container it is also decoded, and checked as by `check_frames`, if packets do
    not tell the number either:

    - H.264 or HEVC that does not begin with a picture that stands alone, as after a cut without encoding.
    - Interlaced H.264.
    - All codecs except H.264, HEVC, VP8, VP9 and AV1, such as the MPEG-4 Part 2 of most AVI files.

    Raises:
        ClipError: the clip is unreadable or truncated.
        FileNotFoundError: `video` is a path that does not exist.
    """
    name, source = source_of(video)
    with raw_file(source) as file:
        headers = checked_headers(name, file)
        info = _info_of_table(headers, file)
    if info is not None:
        return info
    with open_container(video, _HEADERS_ONLY, headers.head) as container:
        stream = find_video_stream(container)
        if stream is not None and stream.codec_context is not None and stream.width and stream.height:
            check_decoder(name, stream)
            return _info(video, container, stream)
    # Some headers leave the size of the picture to the decoder, or do not even name the streams.
    with open_video(video) as (container, stream):
        return _info(video, container, stream)


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


def _info_of_table(headers: Headers, file: BinaryIO) -> ClipInfo | None:
    """Return facts from the frame table of a plain mp4; None if FFmpeg must read the file."""
    if headers.moov is None or headers.head[4:8] != b"ftyp":
        return None
    table = movie_table(headers.moov, headers.size)
    if table is None or not (table.has_known_tracks and 0 < table.width * table.height <= MAX_PIXELS):
        return None
    file.seek(table.offsets[0])
    if not tells_frames(table, file.read(min(table.sizes[0], BYTES_TO_SLICE))):
        return None
    return ClipInfo(
        duration_seconds=table.seconds,
        fps=table.fps,
        num_frames=len(table.sizes),
        width=table.width,
        height=table.height,
        has_audio=table.has_sound,
        codec=table.codec,
    )


def _info(video: VideoSource, container: av.container.InputContainer, stream: av.video.stream.VideoStream) -> ClipInfo:
    index = index_frames(video, container, stream, whole_packets(source_of(video)[0], container, stream))
    frames, seconds, rate = len(index.times), index.seconds, stream.average_rate
    return ClipInfo(
        duration_seconds=float(seconds),
        # Matroska, and often an edit list of an mp4, has times in ms.
        fps=float(rate if rate and 2 * abs(frames - seconds * rate) <= 1 else frames / seconds),
        num_frames=frames,
        width=stream.width,
        height=stream.height,
        has_audio=bool(container.streams.audio),
        codec=stream.codec_context.codec.canonical_name,
    )
