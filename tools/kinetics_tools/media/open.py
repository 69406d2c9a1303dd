"""Where a video's bytes come from, and what is wrong with them in one exception."""

import io
import os
import reprlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import av
import av.container
import av.stream
import av.video.stream

from kinetics_tools.errors import ClipError
from kinetics_tools.media.truncation import file_problem

# Of a frame these say when it is to be decoded, not when it is shown. For most codecs FFmpeg knows what follows from
# that, for these it does not.
_UNTIMED_CONTAINERS = ("avi", "asf")
_UNTIMED_CODECS = ("h264", "hevc")

VideoSource = str | os.PathLike[str] | bytes | BinaryIO | io.RawIOBase | Mapping[str, Any]


def check_headers(video: VideoSource) -> None:
    """Raises ClipError for a file whose headers show that it is cut off, without FFmpeg; of an mp4 it reads little."""
    name, source = source_of(video)
    if isinstance(source, str):
        with open(source.removeprefix("file:"), "rb") as file:
            problem = file_problem(file)
    else:
        problem = file_problem(source)
    if problem:
        raise ClipError(f"{name}: is not a readable clip ({problem}); drop it or fetch it again")


@contextmanager
def open_video(
    video: VideoSource, **options: Any
) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    with open_container(video, **options) as container:
        if not container.streams.video:
            raise ClipError(f"{source_of(video)[0]}: has no video stream; drop it or fetch it again")
        check_decoder(source_of(video)[0], container.streams.video[0])
        yield container, container.streams.video[0]


@contextmanager
def open_container(video: VideoSource, **options: Any) -> Iterator[av.container.InputContainer]:
    """Errors of FFmpeg become ours, also those met later while decoding."""
    name, file = source_of(video)
    # Titles may be in any encoding, or none.
    with clip_errors(name), av.open(file, metadata_errors="replace", **options) as container:
        yield container


@contextmanager
def clip_errors(name: str) -> Iterator[None]:
    """The one place that turns FFmpeg's errors into ours."""
    try:
        yield
    except av.error.FileNotFoundError as error:
        raise FileNotFoundError(error.errno, error.strerror, name) from None
    except av.error.FFmpegError as error:
        message = f"{name}: is not a readable clip ({error.strerror}); drop it or fetch it again"
        raise ClipError(message) from error


def check_decoder(name: str, stream: Any) -> None:
    """Raises ClipError for a stream that FFmpeg can read out of the file but not decode."""
    if stream.codec_context is None:
        what = "sound" if stream.type == "audio" else "codec"
        message = f"{name}: is not a readable clip (FFmpeg has no decoder for its {what}); drop it or fetch it again"
        raise ClipError(message)


def discard_others(container: av.container.InputContainer, stream: Any) -> None:
    """Let FFmpeg pass over what is not of this stream."""
    for other in container.streams:
        if other.index != stream.index and hasattr(other, "discard"):  # PyAV 14 reads what it passes over
            other.discard = av.stream.Discard.all


def lacks_times(container: av.container.InputContainer, stream: Any) -> bool:
    """Whether nothing says when frames are shown that lie in another order: FFmpeg's times for them are wrong.

    Then the n-th frame that a decoder gives is shown when the n-th packet is to be decoded.
    """
    decoder = stream.codec_context
    return container.format.name in _UNTIMED_CONTAINERS and decoder.name in _UNTIMED_CODECS and decoder.has_b_frames


def source_of(video: VideoSource) -> tuple[str, str | BinaryIO]:
    """What to call a clip in a message, and what to give to PyAV."""
    if video is None or (isinstance(video, Mapping) and video.get("bytes") is video.get("path") is None):
        raise ClipError(f"video={video!r}: has neither bytes nor a path; drop the row")
    content: Any
    path: Any
    if isinstance(video, Mapping):
        content, path = video.get("bytes"), video.get("path")
    elif isinstance(video, bytes):
        content, path = video, None
    elif isinstance(video, str | os.PathLike):
        content, path = None, video
    elif not hasattr(video, "read"):
        shown = reprlib.repr(video)
        raise TypeError(f"video={shown}: must be a path, the bytes of a file, an open file, or its bytes and path")
    else:
        return str(getattr(video, "name", "a file")), cast(BinaryIO, video)
    name = f"a clip of {len(content)} bytes" if path is None else os.fspath(path)
    return name, url_of(path) if content is None else io.BytesIO(content)


def url_of(path: str | os.PathLike[str]) -> str:
    # Without the protocol, FFmpeg takes what stands before a colon in a file name for one.
    return f"file:{os.fspath(path)}"
