"""Single videos into clips: of each only its segment is fetched, cut to the frame, and put in its place.

    >>> from kinetics_tools.youtube import YouTubeOptions, fetch_clip
    >>> fetch_clip("0wR5jVB-WPk", 417, 427, "clip.mp4", options=YouTubeOptions(proxy="socks5://127.0.0.1:1080"))
    FetchedClip(bytes=1273408, sha256='...', duration=10.01, fetched_bytes=2359296)

yt-dlp, an optional dependency, finds the addresses of a video's formats and makes the requests; `media.cut` reads from
there what it needs, by Range. What goes wrong with a video is a SegmentError of one of few kinds.
"""

import hashlib
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import random
from typing import Any, ClassVar
from urllib.parse import urlsplit

from datasets.utils.logging import get_logger

from kinetics_tools.downloading.youtube.errors import Kind, SegmentError, classify, plain_text
from kinetics_tools.downloading.youtube.ranged_file import RangedFile
from kinetics_tools.errors import RemoteError
from kinetics_tools.io.atomic import disk_errors
from kinetics_tools.media import ClipError, EmptySegmentError, cut
from kinetics_tools.run.threads import Workers

__all__ = [
    "FORMATS",
    "FetchedClip",
    "Outcome",
    "Segment",
    "YouTubeOptions",
    "fetch_clip",
    "fetch_clips",
]

_logger = get_logger("datasets.kinetics")

# Pictures and sound of their own files, as little as training needs: Kinetics is read at 256 to 340 pixels. Addresses
# that answer to Range, and no HDR, whose colours nobody maps back.
_PLAIN = "[protocol~='^https?$']"
_SMALL = f"[height<=?720][dynamic_range=?SDR]{_PLAIN}"
FORMATS = f"bv*{_SMALL}+ba{_PLAIN}/b{_SMALL}/bv*{_SMALL}/b{_PLAIN}"

_TIMEOUT_SECONDS = 15.0
# How often a clip is tried in one run, and the wait in seconds before the second time, which doubles.
_TRIES: dict[Kind, tuple[int, float]] = {"network": (3, 2.0), "rate-limited": (5, 30.0)}


@dataclass(frozen=True)
class YouTubeOptions:
    """How videos are asked for.

    Attributes:
        formats: what to choose of a video's formats, as yt-dlp's `--format`: pictures and sound, or a file with both.
        cookies: a file of cookies in Netscape's format, for videos that a signed-in user sees. It is not written to.
        proxy: URL of a proxy, such as "socks5://127.0.0.1:1080".
        sleep_seconds: wait before each request for what a video has, in each worker. The media themselves come
            without.
        url_template: the page of a video, with `{youtube_id}` in its place.

    Raises ValueError for what cannot be meant.
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
            raise ValueError(f"sleep_seconds is {self.sleep_seconds}; it must be 0 or more")
        if self.cookies is not None and not Path(self.cookies).is_file():
            raise ValueError(f"no file of cookies at {os.fspath(self.cookies)!r}; export one from a browser")


@dataclass(frozen=True)
class FetchedClip:
    """A clip that is in its place.

    Attributes:
        bytes: length of its file.
        sha256: of its file, 64 hexadecimal digits.
        duration: in seconds.
        fetched_bytes: what the network brought for it, without pages.
    """

    bytes: int
    sha256: str
    duration: float
    fetched_bytes: int


@dataclass(frozen=True)
class Segment:
    """What to fetch: [time_start, time_end) s of a video, to be written to `path`."""

    youtube_id: str
    time_start: float
    time_end: float
    path: Path


@dataclass(frozen=True)
class Outcome:
    """What became of a segment: either `clip` or `error` is given."""

    segment: Segment
    clip: FetchedClip | None = None
    error: SegmentError | None = None


def fetch_clip(
    youtube_id: str,
    time_start: float,
    time_end: float,
    path: str | os.PathLike[str],
    *,
    options: YouTubeOptions | None = None,
) -> FetchedClip:
    """Write the segment [time_start, time_end) s of a video to `path`, as `media.cut` does. Tries once.

    The clip has its final name only when it is complete and on the disk. Raises SegmentError for a video or segment
    that cannot be had, DiskError where `path` cannot be written, and ModuleNotFoundError without yt-dlp.
    """
    segment = Segment(youtube_id, time_start, time_end, Path(path))
    return _Session(options or YouTubeOptions()).fetch(segment)


def fetch_clips(
    segments: Iterable[Segment],
    record: Callable[[Outcome], Any],
    *,
    options: YouTubeOptions | None = None,
    workers: int = 4,
    stop: threading.Event | None = None,
    on_bytes: Callable[[int], Any] | None = None,
    tick: Callable[[], Any] | None = None,
) -> None:
    """Fetch many segments, `workers` at a time, and return when `record` was called with the outcome of each.

    What the network spoils is tried again, three times in all. When YouTube says that it is asked too often, all
    workers wait, 30 s and more; a clip that gets no further after five times is given up, and the next ones are tried
    once each until one succeeds.

    `record` is called by one thread at a time, right after the clip got its name; `on_bytes` by any thread with the
    number of bytes that came; `tick` by the calling thread about ten times a second. Once `stop` is set or with
    KeyboardInterrupt no other segment is begun, and those in flight are finished and recorded.

    Raises ValueError for options that yt-dlp does not take, ModuleNotFoundError without yt-dlp, and what `record` or
    the disk raises, which ends the run.
    """
    run = _Run(segments, record, options or YouTubeOptions(), stop or threading.Event(), on_bytes)
    run.run(workers, tick or (lambda: None))


class _Run:
    def __init__(
        self,
        segments: Iterable[Segment],
        record: Callable[[Outcome], Any],
        options: YouTubeOptions,
        stop: threading.Event,
        on_bytes: Callable[[int], Any] | None,
    ):
        self._segments = iter(segments)
        self._record = record
        self._new_session = partial(_Session, options, on_bytes=on_bytes, stop=stop)
        self._stop = stop
        self._lock = threading.Lock()  # guards the iterator, the calls of `record`, and what follows
        self._quiet_until = 0.0
        self._is_blocked = False
        self._fatal: BaseException | None = None

    def run(self, workers: int, tick: Callable[[], Any]) -> None:
        if workers < 1:
            raise ValueError(f"workers is {workers}; it must be 1 or more")
        self._new_session()  # options that are wrong are so before anything begins
        threads = Workers(self._work, workers)
        try:
            self._wait(threads, tick)
        except KeyboardInterrupt:
            self._stop.set()
            self._wait(threads, tick)  # which a second interrupt ends
            raise
        finally:
            self._stop.set()
        if self._fatal is not None:
            raise self._fatal

    def _wait(self, threads: Workers, tick: Callable[[], Any]) -> None:
        while not threads.wait(0.1):
            tick()

    def _work(self) -> None:
        try:
            session = self._new_session()
            while not self._stop.is_set():
                with self._lock:
                    segment = next(self._segments, None)
                if segment is None:
                    return
                outcome = self._outcome(session, segment)
                if outcome is not None:
                    with self._lock:
                        self._record(outcome)
        except BaseException as error:
            self._fatal = self._fatal or error
            self._stop.set()

    def _outcome(self, session: "_Session", segment: Segment) -> Outcome | None:
        """None where `stop` came before the segment could be had or given up."""
        failures = Counter[Kind]()
        while not self._stop.wait(max(0.0, self._quiet_until - time.monotonic())):
            try:
                clip = session.fetch(segment)
            except SegmentError as error:
                failures[error.kind] += 1
                if self._is_final(error.kind, failures[error.kind]):
                    return Outcome(segment, error=error)
                _logger.info(f"{segment.youtube_id}: {error.kind}: {error}; will be tried again")
            else:
                self._is_blocked = False
                return Outcome(segment, clip)
        return None

    def _is_final(self, kind: Kind, failures: int) -> bool:
        """Whether to give a segment up that failed so often; if not, this waits or makes all workers wait."""
        tries, wait = _TRIES.get(kind, (1, 0.0))
        wait *= 2 ** (failures - 1) * (0.5 + random())
        if kind != "rate-limited":
            self._is_blocked = False
            if failures < tries:
                self._stop.wait(wait)
            return failures >= tries
        with self._lock:
            is_final = self._is_blocked or failures >= tries
            self._is_blocked = is_final
            self._quiet_until = max(self._quiet_until, time.monotonic() + wait)
        return is_final


class _Session:
    """One yt-dlp, for one thread."""

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
            message = f"fetching single videos needs yt-dlp ({error}): pip install yt-dlp"
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
            raise ValueError(f"yt-dlp refuses the options: {plain_text(error)}") from None

    def fetch(self, segment: Segment) -> FetchedClip:
        """As `fetch_clip`."""
        fetched = 0

        def count(number: int) -> None:
            nonlocal fetched
            fetched += number
            if self._on_bytes is not None:
                self._on_bytes(number)

        temporary = segment.path.with_name(f".{segment.path.name}.youtube.tmp")
        formats = self._formats(segment)
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

    def _formats(self, segment: Segment) -> list[Mapping[str, Any]]:
        """What yt-dlp knows of the chosen file, or of the two with pictures and sound, in this order."""
        url = self._template.replace("{youtube_id}", segment.youtube_id)
        try:
            info = self._downloader.extract_info(url, download=False)
        except self._yt_dlp.utils.YoutubeDLError as error:
            raise SegmentError(classify(str(error)), plain_text(error)) from None
        except Exception as error:  # a page that breaks yt-dlp must not end a run of days
            raise SegmentError("other", f"yt-dlp fails with {type(error).__name__}: {plain_text(error)}") from error
        formats = sorted(info.get("requested_formats") or [info], key=lambda one: one.get("vcodec") == "none")
        for one in formats:
            if (
                "url" not in one
                or urlsplit(one["url"]).scheme not in ("http", "https")
                or one["protocol"] not in ("http", "https")
            ):
                kind = one.get("protocol") or info.get("_type")
                raise SegmentError("other", f"comes as {kind}, not as a file; choose formats with {_PLAIN}")
        if info.get("duration") and info["duration"] + 1 <= segment.time_start:  # rounded to seconds
            raise SegmentError("no such segment", f"the video has {info['duration']} s")
        # YouTube refuses requests that come sooner than its player would make them.
        self._stop.wait(max(0.0, max(one.get("available_at") or 0 for one in formats) - time.time()))
        return formats

    def _file(self, chosen: Mapping[str, Any], segment: Segment, on_bytes: Callable[[int], Any]) -> RangedFile:
        request = partial(self._get, chosen["url"], chosen.get("http_headers") or {})
        return RangedFile(request, name=segment.youtube_id, on_bytes=on_bytes, stop=self._stop)

    def _get(self, url: str, headers: Mapping[str, str], first: int, last: int) -> tuple[int, Mapping[str, str], bytes]:
        """For `RangedFile`, with yt-dlp's cookies and proxy."""
        own = {"Range": f"bytes={first}-{last}", "Accept-Encoding": "identity"}
        request = self._yt_dlp.networking.Request(url, headers={**headers, **own})
        try:
            with self._downloader.urlopen(request) as response:
                # No more, since where Range is ignored the body is the whole video.
                return response.status, response.headers, response.read(last - first + 1)
        except self._yt_dlp.networking.exceptions.HTTPError as error:
            error.close()
            return error.status, error.response.headers, b""
        except (self._yt_dlp.utils.YoutubeDLError, OSError) as error:
            raise ConnectionError(plain_text(error)) from None


class _YtDlpLog:
    """Passes on what yt-dlp has to say: each warning once, not for each video."""

    _warned: ClassVar[set[str]] = set()

    def debug(self, message: str) -> None:
        _logger.debug(message)

    def warning(self, message: str) -> None:
        what = re.sub(r"[A-Za-z0-9_-]{11}: ", "", message)
        if what not in self._warned:
            self._warned.add(what)
            _logger.warning(f"yt-dlp: {what}")

    def error(self, message: str) -> None:
        _logger.debug(message)  # also comes as an exception


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
