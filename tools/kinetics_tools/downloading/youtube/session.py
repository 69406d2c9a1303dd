"""Session of yt-dlp: finds the formats of a video and cuts a segment out of them.

    >>> from kinetics_tools.downloading import YouTubeOptions, fetch_clip
    >>> fetch_clip("0wR5jVB-WPk", 417, 427, "clip.mp4", options=YouTubeOptions(proxy="socks5://127.0.0.1:1080"))
    FetchedClip(bytes=1273408, sha256='...', duration=10.01, fetched_bytes=2359296)

yt-dlp, an optional dependency, resolves the URLs of a video's formats and makes the requests. `media.cut` reads the
parts that it needs by Range. An error of a video is a SegmentError.
"""

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from datasets.utils.logging import get_logger

from kinetics_tools.downloading.youtube.errors import SegmentError, classify, plain_text
from kinetics_tools.downloading.youtube.ranged_file import RangedFile
from kinetics_tools.errors import ClipError, EmptySegmentError, RemoteError
from kinetics_tools.io import disk_errors, hide_credentials
from kinetics_tools.media import cut

_logger = get_logger("datasets.kinetics")

# Pictures and sound in separate files, no larger than training needs: Kinetics is read at 256 to 340 pixels. URLs that
# answer to Range, and no HDR, whose colours nobody maps back.
_PLAIN = "[protocol~='^https?$']"
_SMALL = f"[height<=?720][dynamic_range=?SDR]{_PLAIN}"
FORMATS = f"bv*{_SMALL}+ba{_PLAIN}/b{_SMALL}/bv*{_SMALL}/b{_PLAIN}"

_TIMEOUT_SECONDS = 15.0


@dataclass(frozen=True)
class YouTubeOptions:
    """Options for single videos. Raises ValueError for an invalid one.

    Attributes:
        formats: choice of formats, as yt-dlp's `--format`: pictures and sound, or a file with both.
        cookies: file of cookies in Netscape's format, for videos that need an account. It is never written to.
        proxy: URL of a proxy, such as "socks5://127.0.0.1:1080".
        sleep_seconds: wait before each request for a video's page, in each worker; requests for media have no wait.
        url_template: URL of a video's page, with `{youtube_id}` in it.
    """

    formats: str = FORMATS
    cookies: str | os.PathLike[str] | None = None
    proxy: str | None = None
    sleep_seconds: float = 0.0
    url_template: str = "https://www.youtube.com/watch?v={youtube_id}"

    def __post_init__(self) -> None:
        if "{youtube_id}" not in self.url_template or not urlsplit(self.url_template).scheme:
            raise ValueError(f"URL template {self.url_template!r} must be a URL with {{youtube_id}} in it")
        if self.sleep_seconds < 0:
            raise ValueError(f"sleep_seconds must be at least 0, got {self.sleep_seconds}")
        if self.cookies is not None and not Path(self.cookies).is_file():
            raise ValueError(f"cookies={os.fspath(self.cookies)!r} is not a file; export one from a browser")


@dataclass(frozen=True)
class Segment:
    """Half-open range [time_start, time_end) in seconds of a video, and the path to write it to."""

    youtube_id: str
    time_start: float
    time_end: float
    path: Path


@dataclass(frozen=True)
class FetchedClip:
    """Written clip: length, SHA-256 in hexadecimal, duration in seconds, and number of downloaded bytes."""

    bytes: int
    sha256: str
    duration: float
    fetched_bytes: int


def fetch_clip(
    youtube_id: str,
    time_start: float,
    time_end: float,
    path: str | os.PathLike[str],
    *,
    options: YouTubeOptions | None = None,
) -> FetchedClip:
    """Write the segment [time_start, time_end) s of a video to `path`, frame-accurate, without retries.

    The clip gets its final name only when it is complete and on disk.

    Raises:
        SegmentError: the video or the segment cannot be downloaded.
        DiskError: `path` cannot be written.
        ModuleNotFoundError: yt-dlp is not installed.
    """
    return Session(options or YouTubeOptions()).fetch(Segment(youtube_id, time_start, time_end, Path(path)))


class Session:
    """One yt-dlp, for one thread. Raises ValueError if it rejects the options."""

    def __init__(
        self,
        options: YouTubeOptions,
        *,
        on_bytes: Callable[[int], Any] | None = None,
        stop: threading.Event | None = None,
    ):
        try:
            import yt_dlp
            import yt_dlp.networking
        except ImportError as error:
            message = f"source='youtube' needs yt-dlp ({error}): pip install yt-dlp"
            raise ModuleNotFoundError(message, name="yt_dlp") from None
        self._yt_dlp: Any = yt_dlp
        self._template = options.url_template
        self._on_bytes = on_bytes
        self._stop = stop or threading.Event()
        parameters = {
            "quiet": True,
            "logger": _YtDlpLog(),
            "color": "no_color",
            "format": options.formats,
            "proxy": options.proxy,
            "cookiefile": None if options.cookies is None else os.fspath(options.cookies),
            "sleep_interval_requests": options.sleep_seconds,
            "socket_timeout": _TIMEOUT_SECONDS,
            "noplaylist": True,
        }
        try:
            self._downloader: Any = yt_dlp.YoutubeDL(parameters)  # never closed: that would write the cookies
            _ = self._downloader.cookiejar  # reads them
        except (yt_dlp.utils.YoutubeDLError, SyntaxError) as error:
            raise ValueError(f"yt-dlp rejects the options: {plain_text(error)}") from None

    def fetch(self, segment: Segment) -> FetchedClip:
        """Write a segment, as `fetch_clip`."""
        fetched = 0

        def count(number: int) -> None:
            nonlocal fetched
            fetched += number
            if self._on_bytes is not None:
                self._on_bytes(number)

        temporary = segment.path.with_name(f".{segment.path.name}.youtube.tmp")
        formats = self.formats(segment)
        with disk_errors(segment.path), _segment_errors():
            segment.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                made = cut(
                    self._file(formats[0], segment, count),
                    temporary,
                    start_seconds=segment.time_start,
                    end_seconds=segment.time_end,
                    audio=self._file(formats[1], segment, count) if len(formats) > 1 else None,
                )
                with open(temporary, "rb") as file:
                    os.fsync(file.fileno())
                    content = file.read()
                os.replace(temporary, segment.path)
            finally:
                temporary.unlink(missing_ok=True)
        return FetchedClip(len(content), hashlib.sha256(content).hexdigest(), made.duration_seconds, fetched)

    def formats(self, segment: Segment) -> list[Mapping[str, Any]]:
        """Return yt-dlp's entries of the chosen file, or of the two with pictures and sound, in this order."""
        url = self._template.replace("{youtube_id}", segment.youtube_id)
        try:
            info = self._downloader.extract_info(url, download=False)
        except self._yt_dlp.utils.YoutubeDLError as error:
            raise SegmentError(classify(str(error)), plain_text(error)) from None
        except Exception as error:  # a page that breaks yt-dlp must not end a run of days
            raise SegmentError("other", f"yt-dlp fails with {type(error).__name__}: {plain_text(error)}") from error
        formats = sorted(info.get("requested_formats") or [info], key=lambda one: one.get("vcodec") == "none")
        for one in formats:
            schemes = {urlsplit(one.get("url", "")).scheme, one.get("protocol")}
            if not schemes <= {"http", "https"}:
                kind = one.get("protocol") or info.get("_type")
                raise SegmentError("other", f"format is {kind}, not a file; choose formats with {_PLAIN}")
        if info.get("duration") and info["duration"] + 1 <= segment.time_start:  # rounded to seconds
            raise SegmentError("no such segment", f"the video has {info['duration']} s")
        # YouTube refuses requests that come sooner than its player would make them.
        self._stop.wait(max(0.0, max(one.get("available_at") or 0 for one in formats) - time.time()))
        return formats

    def _file(self, chosen: Mapping[str, Any], segment: Segment, on_bytes: Callable[[int], Any]) -> RangedFile:
        request = partial(self._get, chosen["url"], chosen.get("http_headers") or {})
        return RangedFile(request, name=segment.youtube_id, on_bytes=on_bytes, stop=self._stop)

    def _get(self, url: str, headers: Mapping[str, str], first: int, last: int) -> tuple[int, Mapping[str, str], bytes]:
        own = {"Range": f"bytes={first}-{last}", "Accept-Encoding": "identity"}
        request = self._yt_dlp.networking.Request(url, headers={**headers, **own})
        try:
            with self._downloader.urlopen(request) as response:
                # If Range is ignored, the body is the whole video: read no more of it.
                return response.status, response.headers, response.read(last - first + 1)
        except self._yt_dlp.networking.exceptions.HTTPError as error:
            error.close()
            return error.status, error.response.headers, b""
        except (self._yt_dlp.utils.YoutubeDLError, OSError) as error:
            raise ConnectionError(plain_text(error)) from None


class _YtDlpLog:
    """Logger for yt-dlp that logs each warning once, not for each video."""

    _warned: ClassVar[set[str]] = set()

    def debug(self, message: str) -> None:
        _logger.debug(message)

    def warning(self, message: str) -> None:
        text = re.sub(r"[A-Za-z0-9_-]{11}: ", "", hide_credentials(message))
        if text not in self._warned:
            self._warned.add(text)
            _logger.warning(f"yt-dlp: {text}")

    def error(self, message: str) -> None:
        _logger.debug(message)  # is also raised


@contextmanager
def _segment_errors() -> Iterator[None]:
    try:
        yield
    except RemoteError as error:
        raise SegmentError("rate-limited" if error.status == 429 else "network", str(error)) from None
    except EmptySegmentError as error:
        raise SegmentError("no such segment", str(error)) from None
    except OSError:
        raise  # of the disk
    except ClipError as error:
        raise SegmentError("other", str(error)) from error
    except Exception as error:  # one video must not end a run of days
        raise SegmentError("other", f"{type(error).__name__}: {error}") from error
