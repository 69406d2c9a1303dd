"""Rule of what makes a clip corrupt or truncated, for everything that reads clips."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import av.container
import av.video.stream

from kinetics_tools.errors import ClipError
from kinetics_tools.media.bitstream import REORDERING_CODECS, shows_every_packet
from kinetics_tools.media.open import MAX_PIXELS, demux, discard_others
from kinetics_tools.media.truncation import check_end

# The headers of these containers show that an end is missing; see `check_headers`.
_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
CHECKED_CONTAINERS = (_MP4, "matroska,webm")


class StrictDecoder:
    """Decoder of a video stream that raises ClipError for a corrupt frame; `count` is the number of frames so far.

    Corrupt frames are those that the decoder rejects, or had to conceal. If the pictures do not start with one that
    stands alone, as after a cut, the decoder misses pictures that it is told to forget. The frames are intact, so there
    only a concealed one is corrupt. Packets that the decoder rejects before the first frame are never shown.
    """

    def __init__(self, name: str, stream: av.video.stream.VideoStream, **options: str) -> None:
        self.count = 0
        self._name, self._stream, self._options = name, stream, options
        self._is_after_cut: bool | None = None

    def decode(self, packet: Any) -> list[av.VideoFrame]:
        """Return the frames that `packet` completes; None instead of a packet returns the last ones."""
        context = self._stream.codec_context
        if self._is_after_cut is None:
            codec = context.codec.canonical_name
            self._is_after_cut = codec in REORDERING_CODECS and not (
                packet and shows_every_packet(codec, context.extradata, packet, is_key=packet.is_keyframe)
            )
            context.thread_count = 1  # the caller has other clips for the other cores
            strictness = {} if self._is_after_cut else {"err_detect": "explode"}
            context.options = {**self._options, "max_pixels": f"{MAX_PIXELS}", **strictness}
        try:
            frames = context.decode(packet)
        except av.error.FFmpegError as error:
            if self._is_after_cut and not self.count:
                return []
            raise corrupt_at(self._name, packet, error.strerror) from error
        for frame in frames:
            if packet is None:  # PyAV takes the unit of time from packets
                frame.time_base = self._stream.time_base
            if frame.is_corrupt:
                raise corrupt_at(self._name, frame)
        self.count += len(frames)
        return frames


def whole_packets(  # noqa: C901  (one pass over packets of all streams)
    name: str, container: av.container.InputContainer, stream: av.video.stream.VideoStream, sound: Any = None
) -> Iterator[Any]:
    """Yield the packets of `stream`, and of `sound` if it is given, that are not empty.

    Raises:
        ClipError: a packet of `stream` is not whole, or the packets end well before the stated end.
    """
    is_mp4, is_checked = container.format.name == _MP4, container.format.name in CHECKED_CONTAINERS
    # Matroska states only the duration of its longest stream, such as one of subtitles.
    states_length = is_mp4 or not is_checked
    is_alone = is_checked and sound is None
    if is_alone:
        discard_others(container, stream)
    wanted = [stream] if sound is None else [stream, sound]
    count, end, reached = 0, None, 0
    for packet in demux(container, *(wanted if is_checked else ())):
        if not packet.size:
            continue
        is_picture = is_alone or packet.stream is stream
        if is_picture and packet.is_corrupt:
            raise ClipError(f"{name}: is not a readable clip (truncated or corrupt); drop it or download it again")
        count += is_picture
        if states_length:
            start = packet.dts if packet.pts is None else packet.pts
            if is_mp4 and is_picture and start is not None:
                end = max(start + (packet.duration or 0), start if end is None else end)
            elif not is_mp4 and start is not None and packet.time_base is not None:
                reached = max(reached, (start + (packet.duration or 0)) * packet.time_base)
        if is_checked or packet.stream in wanted:
            yield packet
    # A truncated file may still have a complete index, and fragments may be missing.
    start, duration, base = stream.start_time, stream.duration, stream.time_base or Fraction(1)
    if is_mp4 and count != stream.frames and start is not None and duration is not None and end is not None:
        check_end(name, (end - start) * base, duration * base)
    elif not is_checked:
        check_end(name, Fraction(reached), Fraction(container.duration or 0, av.time_base))


def check_count(name: str, count: int, expected: int) -> None:
    """Raise ClipError if a decoder gave another number of frames than the index of clip `name` has."""
    if count != expected:
        raise ClipError(f"{name}: is corrupt: {count:,} of {expected:,} frames decode; drop it or download it again")


def corrupt_at(name: str, item: "av.Packet[Any] | av.frame.Frame | None", reason: str | None = None) -> ClipError:
    """Return the error for a packet or frame that the decoder of clip `name` rejects."""
    time = None if item is None else item.dts if item.pts is None else item.pts
    where = (
        "" if item is None or time is None or item.time_base is None else f" at {float(time * item.time_base):.2f} s"
    )
    reason = reason or "its decoder says so"
    return ClipError(f"{name}: has a corrupt frame{where} ({reason}); drop it or download it again")
