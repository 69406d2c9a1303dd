"""Opening of video sources, with FFmpeg's errors turned into ClipError."""

import io
import os
import reprlib
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from types import MappingProxyType
from typing import Any, BinaryIO, cast

import av
import av.container
import av.logging
import av.stream
import av.video.stream

from kinetics_tools.errors import ClipError
from kinetics_tools.io.stores import open_store
from kinetics_tools.media.truncation import Headers, read_headers

# These containers state when a frame is decoded, not when it is shown. FFmpeg derives the latter for most codecs, but
# not for these.
_UNTIMED_CONTAINERS = ("avi", "asf")
_UNTIMED_CODECS = ("h264", "hevc")
_MAX_BYTES_IN_MEMORY = 1 << 25
# Pictures of up to 5K: with all pictures that a decoder keeps for reference, larger ones take gigabytes.
MAX_PIXELS = 1 << 24
# Containers of clips. FFmpeg also takes text for a playlist or a session, and then opens the files and sockets that it
# names. None of these containers refers to another file, except QuickTime's, where FFmpeg ignores that by default.
_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"  # one format of FFmpeg's
_FORMATS = "mov,matroska,avi,flv,asf,mpeg,mpegts,ogg,nut"

VideoSource = str | os.PathLike[str] | bytes | BinaryIO | io.RawIOBase | Mapping[str, Any]
"""Path, the bytes of a file, a binary file that can seek, or {"bytes", "path"} as `Video(decode=False)` gives them."""


def load(video: Any) -> Mapping[str, Any]:
    """Return {"bytes", "path"} of an argument of `decode`; an open or a large file is not read but given as "path"."""
    video = getattr(video, "_hf_encoded", None) or video  # what a decoder of `datasets` was made of
    if type(video).__name__ == "VideoDecoder":
        raise TypeError("a VideoDecoder not from `datasets` keeps no bytes; pass the file's bytes or path")
    if isinstance(video, Mapping):
        content, path = video.get("bytes"), video.get("path")
    else:
        content, path = (video, None) if isinstance(video, bytes) else (None, video)
    if content is None and isinstance(path, str) and "://" in path:
        store, name = open_store(path)
        with store.open(name, "rb") as file:
            content = file.read()
    elif content is None and isinstance(path, str | os.PathLike):
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size <= _MAX_BYTES_IN_MEMORY:
                content = file.read()
    return {"bytes": content, "path": path}


def source_of(video: VideoSource) -> tuple[str, str | BinaryIO]:
    """Return the name of a clip for messages, and the URL or file for PyAV."""
    if isinstance(video, str):  # nearly always, and other checks take longer
        return video, url_of(video)
    content: Any = video if isinstance(video, bytes) else None
    path: Any = None if isinstance(video, bytes) else video
    if isinstance(video, Mapping):
        content, path = video.get("bytes"), video.get("path")
    if content is path is None:
        raise ClipError("the video has neither bytes nor a path; drop the row")
    if content is None and hasattr(path, "read"):
        return str(getattr(path, "name", "a file")), cast(BinaryIO, path)
    if path is not None and not isinstance(path, str | os.PathLike):
        shown = reprlib.repr(path)
        raise TypeError(f"video={shown}: must be a path, the bytes of a file, an open file, or its bytes and path")
    name = f"a clip of {len(content)} bytes" if path is None else os.fspath(path)
    return name, url_of(cast(str, path)) if content is None else io.BytesIO(content)


def url_of(path: str | os.PathLike[str]) -> str:
    """Return a URL for FFmpeg, which takes the text before a colon in a file name for a protocol."""
    return f"file:{os.fspath(path)}"


def check_headers(video: VideoSource) -> Headers:
    """Return facts from the headers of a file, or raise ClipError if they show that it is truncated."""
    name, source = source_of(video)
    with raw_file(source) as file:
        return checked_headers(name, file)


def raw_file(source: str | BinaryIO) -> AbstractContextManager[BinaryIO]:
    """Open the file of `source_of` for reading without FFmpeg; an open one is not closed at the end."""
    if isinstance(source, str):  # without a buffer: a few bytes are read in each place
        return cast(BinaryIO, open(source.removeprefix("file:"), "rb", buffering=0))
    return nullcontext(source)


def checked_headers(name: str, file: BinaryIO) -> Headers:
    """Return facts from the headers of a clip; see `check_headers`."""
    headers = read_headers(file)
    if headers.problem:
        raise ClipError(f"{name}: is not a readable clip ({headers.problem}); drop it or download it again")
    return headers


@contextmanager
def open_video(
    video: VideoSource, container_options: Mapping[str, str] = MappingProxyType({})
) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    """Open a clip and give its container and its video stream; see `open_container` and `video_stream`."""
    with open_container(video, container_options) as container:
        yield container, video_stream(source_of(video)[0], container)


@contextmanager
def open_container(
    video: VideoSource, container_options: Mapping[str, str] = MappingProxyType({}), head: bytes | None = None
) -> Iterator[av.container.InputContainer]:
    """Open a clip; FFmpeg's errors become ours, also those in the body of the `with`.

    `head` is the first bytes of the file, at least 8, if they are known.
    """
    name, file = source_of(video)
    # A file in memory needs no protocol, and "-" is the name of none.
    protocols = "file" if isinstance(file, str) else "-"
    options = {**container_options, "format_whitelist": _FORMATS, "protocol_whitelist": protocols}
    with clip_errors(name), _opened(name, file, options, head) as container:
        yield container


def _opened(
    name: str, file: str | BinaryIO, options: dict[str, str], head: bytes | None
) -> av.container.InputContainer:
    try:
        return _open(file, options, head)
    except av.error.ArgumentError:
        found = _refused_format(file, options)
        if found is None:
            raise
        message = f"{name}: is not a readable clip (its format is {found}, not one of {_FORMATS.replace(',', ', ')})"
        raise ClipError(f"{message}; drop it or convert it") from None


def _open(file: str | BinaryIO, options: dict[str, str], head: bytes | None = None) -> av.container.InputContainer:
    if not isinstance(file, str):
        file.seek(0)
    # FFmpeg compares other beginnings with those of all formats, which takes 0.06 ms.
    known: Any = {"format": _MP4} if (head or _head(file))[4:8] == b"ftyp" else {}
    # Titles may be in any encoding, or none.
    return av.open(file, "r", metadata_errors="replace", container_options=options, **known)


def _head(file: str | BinaryIO) -> bytes:
    with suppress(OSError):  # FFmpeg tells which
        if isinstance(file, str):
            with open(file.removeprefix("file:"), "rb") as opened:
                return opened.read(8)
        head = file.read(8)
        file.seek(0)
        return head
    return b""


_log_level = threading.Lock()


def _refused_format(file: str | BinaryIO, options: dict[str, str]) -> str | None:
    """Return the format of a file that is not in `_FORMATS`, which FFmpeg states only in its log."""
    with _log_level:
        level = av.logging.get_level()
        av.logging.set_level(av.logging.PANIC)  # errors get their line of the log, and nothing is printed
        try:
            _open(file, options).close()
        except av.error.ArgumentError as error:
            log: Any = error.log or (0, "", "")
            _, found, message = log
            return found if message.startswith("Format not on whitelist") else None
        finally:
            av.logging.set_level(level)
    return None


@contextmanager
def clip_errors(name: str) -> Iterator[None]:
    """Turn FFmpeg's errors into ClipError or FileNotFoundError that name the clip."""
    try:
        yield
    except av.error.FileNotFoundError as error:
        raise FileNotFoundError(error.errno, error.strerror, name) from None
    except av.error.FFmpegError as error:
        message = f"{name}: is not a readable clip ({error.strerror}); drop it or download it again"
        raise ClipError(message) from error


def video_stream(name: str, container: av.container.InputContainer) -> av.video.stream.VideoStream:
    """Return the first video stream that is not a cover picture; raise ClipError without one that FFmpeg decodes."""
    stream = find_video_stream(container)
    if stream is None:
        raise ClipError(f"{name}: has no video stream; drop it or download it again")
    check_decoder(name, stream)
    return stream


def find_video_stream(container: av.container.InputContainer) -> av.video.stream.VideoStream | None:
    """Return the first video stream that is not a cover picture, or None."""
    cover = av.stream.Disposition.attached_pic
    return next((stream for stream in container.streams.video if not stream.disposition & cover), None)


def check_decoder(name: str, stream: Any) -> None:
    """Raise ClipError for a stream that FFmpeg can demux but not decode, or whose pictures are too large."""
    if stream.codec_context is None:
        what = "sound" if stream.type == "audio" else "codec"
        message = f"{name}: is not a readable clip (FFmpeg has no decoder for its {what}); drop it or download it again"
        raise ClipError(message)
    if stream.type == "video" and stream.width * stream.height > MAX_PIXELS:
        size = f"{stream.width:,} x {stream.height:,} pixels, above {MAX_PIXELS:,} in all"
        raise ClipError(f"{name}: is not a readable clip (a picture has {size}); scale it down first")


def demux(container: av.container.InputContainer, *streams: Any) -> Iterator[Any]:
    """Yield the packets of `streams`, or of all, and last an empty one for each, without streams that begin late.

    PyAV knows only the streams that the start of a file has, and fails at the end if FFmpeg has found others.
    """
    with suppress(IndexError):
        yield from container.demux(*streams)


def discard_others(container: av.container.InputContainer, stream: Any) -> None:
    """Make FFmpeg skip the packets of all other streams."""
    for other in container.streams:
        if other.index != stream.index:
            other.discard = av.stream.Discard.all


def is_untimed(container: av.container.InputContainer, stream: Any) -> bool:
    """Return True if the file does not state when its frames, stored in another order, are shown.

    FFmpeg's times for them are wrong. The n-th frame that a decoder gives is shown when the n-th packet is decoded.
    """
    decoder = stream.codec_context
    return bool(
        container.format.name in _UNTIMED_CONTAINERS and decoder.name in _UNTIMED_CODECS and decoder.has_b_frames
    )
