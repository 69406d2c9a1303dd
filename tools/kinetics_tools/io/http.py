"""Files on web servers, read front to back and resumed after errors."""

import base64
import errno
import functools
import http.client
import io
import math
import re
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from typing import Any, BinaryIO

from datasets.utils.logging import get_logger

from kinetics_tools import __version__
from kinetics_tools.errors import ChangedError
from kinetics_tools.io.retry import RetryPolicy, parse_retry_after
from kinetics_tools.io.urls import is_url, without_credentials
from kinetics_tools.text import format_count, printable

_logger = get_logger("datasets.kinetics")

_TRANSIENT_STATUS = (408, 425, 429)
_ERROR_OF_STATUS = {
    401: PermissionError,
    403: PermissionError,
    404: FileNotFoundError,
    410: FileNotFoundError,
    416: ChangedError,  # the file is shorter than the part of it that we have
}
#: Message for a web page that came instead of a file.
WEB_PAGE = "a web page came instead of the file; does this network need a login? Open it in a browser, then rerun"
"""Message for a server that answers with a page, such as the login of a network."""
_HEAD_TIMEOUT_SECONDS = 30.0
_CONNECT_SECONDS = 8.0  # the first packet is repeated after 1, 3 and 7 s
_TOLD_WAIT_SECONDS = 30.0  # longer waits are told
_hosts_that_answered: set[str] = set()


class HttpFile(io.RawIOBase):
    """File on a web server, read front to back once, which survives dropped connections.

    After an error it resumes by Range at the byte where it stopped; if the server ignores Range, it skips the known
    bytes. An answer without ETag or length does not count as a change. Reads are unbuffered: wrap the object in
    `io.BufferedReader` for small reads. This class exists because no client library resumes a body with If-Range.

    Args:
        url: http or https address. A user and a password in it are sent as basic authentication. Messages and the log
            show neither them nor the query.
        start: byte to begin at, for a reader that has the bytes before it.
        etag: ETag of the file when those bytes were read.

    Attributes:
        size: length in bytes; None if unknown.
        etag: ETag of the file; None without one.

    Raises:
        FileNotFoundError: HTTP 404 or 410.
        PermissionError: HTTP 401 or 403.
        ChangedError: the file changed between two requests, or is shorter than announced.
        ConnectionError: retries did not help. The message names the byte.
        ValueError: `url` is not a valid URL.
    """

    policy = RetryPolicy(retries=6, longest_wait_seconds=600.0)
    # For a refused connection, an unknown host or no route, as long as the host has not answered this process at all.
    policy_without_answer = RetryPolicy(retries=2)
    timeout_seconds = 30.0
    # As long as the host has not answered, no retry starts later, the latter for hosts that take connections.
    unreachable_seconds, unanswered_seconds = 8.0, 60.0

    def __init__(self, url: str, *, start: int = 0, etag: str | None = None):
        self.url = url
        self._shown = without_credentials(url)
        self._host = urllib.parse.urlsplit(self._shown).netloc
        self._started = time.monotonic()
        self.etag = etag
        self.size: int | None = None
        self._position = start
        # End of the part that the current answer to a Range holds, which may be less than the rest of the file.
        self._part_end: int | None = None
        self._response: Any = None
        self._failures = 0
        self._has_answered = False
        self._has_warned = False
        while self._response is None:
            self._attempt(self._connect)

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        while self.size is None or self._position < self.size:
            count = self._attempt(lambda: self._read(buffer))
            if count is not None:
                self._position += count
                return count
        return 0

    def close(self) -> None:
        self._disconnect()
        super().close()

    def _attempt(self, step: Callable[[], int]) -> int | None:
        """Run `step`; return None after a retryable error, when it is time for the next attempt."""
        retry_after, policy, limit_seconds = None, self.policy, math.inf
        try:
            result = step()
        except urllib.error.HTTPError as error:
            _hosts_that_answered.add(self._host)
            if error.code not in _TRANSIENT_STATUS and error.code < 500:
                if error.code == 416 and self._is_end(error.headers):
                    self.size = self._position
                    return None
                raise self._permanent(error) from None
            retry_after = parse_retry_after(error.headers.get("Retry-After", ""))
            reason = _status(error)
        except ChangedError:
            raise
        except (http.client.HTTPException, OSError) as error:  # of TLS and of routes, too
            cause = getattr(error, "reason", error)  # what urllib wraps
            reason = str(cause) or type(cause).__name__
            policy, limit_seconds = self._limits(cause)
        else:
            self._failures = 0
            self._has_answered = True
            _hosts_that_answered.add(self._host)
            return result
        self._disconnect()
        self._failures += 1
        if self._failures > policy.retries or time.monotonic() - self._started > limit_seconds:
            raise self._exhausted(reason)
        if not self._has_warned:
            self._has_warned = True
            _logger.warning(f"no answer from {self._host} ({reason}); retrying")
        wait = policy.wait_seconds(self._failures, retry_after)
        tell = _logger.warning if wait >= _TOLD_WAIT_SECONDS else _logger.info
        tell(f"{self._shown}: {reason} at byte {self._position:,}; next attempt in {wait:.1f} s")
        time.sleep(wait)
        return None

    def _limits(self, cause: object) -> tuple[RetryPolicy, float]:
        """Return the policy after an error without an answer, and the seconds after which no retry starts."""
        if self._host in _hosts_that_answered:
            return self.policy, math.inf
        if _is_unreachable(cause):
            return self.policy_without_answer, self.unreachable_seconds
        return self.policy, self.unanswered_seconds

    def _permanent(self, error: urllib.error.HTTPError) -> OSError:
        meaning = ""
        if error.code == 416:
            announced = "had before" if self.size is None else f"announced, {self.size:,} bytes"
            meaning = f": the file ends before byte {self._position:,}, it is shorter than {announced}"
        elif error.code == 403:  # stores that do not tell what they have, such as S3 without the right to list
            meaning = ": the file does not exist, or you may not read it"
        kind = _ERROR_OF_STATUS.get(error.code, OSError)
        return kind(f"{self._shown}: {_status(error)}{meaning}")

    def _exhausted(self, reason: str) -> ConnectionError:
        where, advice = "", "check your network connection and rerun the same command"
        if self._position:
            where = f", at byte {self._position:,}" + ("" if self.size is None else f" of {self.size:,}")
            advice = "received bytes are kept; rerun the same command to resume"
        attempts = format_count(self._failures, "attempt")
        return ConnectionError(f"{self._shown}: {reason}{where}, after {attempts}; {advice}")

    def _connect(self) -> int:
        # Identity, because a proxy that compresses would make byte positions meaningless.
        headers = {"Accept-Encoding": "identity"}
        if self._position:
            headers["Range"] = f"bytes={self._position}-"
            if self.etag:
                headers["If-Range"] = self.etag
        response = _open(self.url, headers, timeout=self.timeout_seconds)
        self._response = response
        size, self._part_end = response.length, None
        if response.status == 206:
            part = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", response.headers.get("Content-Range", ""))
            if part is None or not self._position == int(part[1]) <= int(part[2]):
                raise http.client.HTTPException(f"asked for byte {self._position:,}, got {part and part[0]}")
            size, self._part_end = None if part[3] == "*" else int(part[3]), int(part[2]) + 1
        etag = response.headers.get("ETag")
        if (self.etag and etag and etag != self.etag) or (None not in (size, self.size) and size != self.size):
            raise ChangedError(f"{self._shown}: changed on the server while it was read; start again")
        self.size = self.size if size is None else size
        self.etag = self.etag or etag
        if response.status != 206:
            self._skip(self._position)
        return 0

    def _is_end(self, headers: Any) -> bool:
        """Return True if HTTP 416 means that a file of unknown length is complete."""
        told = headers.get("Content-Range") == f"bytes */{self._position}"
        return self._has_answered and self.size is None and (told or self._position == self._part_end)

    def _skip(self, count: int) -> None:
        scratch = memoryview(bytearray(1 << 20))
        while count:
            got = self._response.readinto(scratch[: min(count, len(scratch))])
            if not got:
                raise ConnectionError("the connection was closed")
            count -= got

    def _read(self, buffer: Any) -> int:
        if self._response is None:
            self._connect()
        count: int = self._response.readinto(buffer)
        if count or not len(buffer) or self._position == self.size:
            return count
        if self._position == self._part_end:
            self._disconnect()
            return self._read(buffer)
        if self.size is not None or self._part_end is not None:
            raise ConnectionError("the connection was closed")
        return 0

    def _disconnect(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None


def open_binary(path: str) -> BinaryIO:
    """Open a local file or an http or https address for reading front to back."""
    if is_url(path):
        return io.BufferedReader(HttpFile(path))
    return open(path, "rb")


def _is_unreachable(cause: object) -> bool:
    """Return True if an error means that there is no such host, no route to it, or no server."""
    no_route = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)
    is_unknown = isinstance(cause, ConnectionRefusedError | socket.gaierror | _NoConnectionError)
    return is_unknown or (isinstance(cause, OSError) and cause.errno in no_route)


def url_exists(url: str) -> bool:
    """Return False if the server answers HTTP 403, 404 or 410. Other errors count as True: reading shows them."""
    try:
        _head(url).close()
    except urllib.error.HTTPError as error:
        return error.code not in (403, 404, 410)
    except (OSError, http.client.HTTPException, ValueError) as error:
        _logger.info(f"{without_credentials(url)}: {error}")
    return True


def is_web_page(head: bytes) -> bool:
    """Return True if the first bytes of a file are HTML or XML."""
    return head.lstrip().startswith(b"<")


def remote_size(url: str) -> int:
    """Return the length of a file on a server in bytes, by a HEAD request; 0 if unknown."""
    try:
        with _head(url) as response:
            return response.length or int(response.headers.get("Content-Length") or 0)
    except (OSError, http.client.HTTPException, ValueError) as error:
        _logger.info(f"{without_credentials(url)}: size unknown: {error}")
        return 0


def _head(url: str) -> Any:
    return _open(url, {}, timeout=_HEAD_TIMEOUT_SECONDS, method="HEAD")


def _open(url: str, headers: dict[str, str], *, timeout: float, method: str = "GET") -> Any:
    """Return the response to a request. Raises ValueError for a URL that cannot be requested."""
    try:
        if not is_url(url):  # urllib opens files and FTP, too
            raise ValueError(url)
        parts = urllib.parse.urlsplit(url)
        user, _, host = parts.netloc.rpartition("@")
        path, query = (urllib.parse.quote(part, safe="/%:;=@!$&'()*+,~?") for part in (parts.path, parts.query))
        plain = parts._replace(netloc=host, path=path, query=query, fragment="")
        request = urllib.request.Request(plain.geturl(), method=method)
        for name, value in {"User-Agent": f"kinetics-dataset/{__version__}", **headers}.items():
            request.add_header(name, value)
        if user:  # not for the host of a redirection
            basic = base64.b64encode(urllib.parse.unquote(user).encode()).decode()
            request.add_unredirected_header("Authorization", f"Basic {basic}")
        return _urlopen(request, timeout=timeout)
    except (ValueError, http.client.InvalidURL):
        raise ValueError(f"{without_credentials(url)}: not a valid URL") from None


class _NoConnectionError(TimeoutError):
    """Raised when a host does not take a connection, as behind a firewall that drops packets."""


def _connect(address: tuple[str, int], timeout: float, source_address: Any = None) -> socket.socket:
    """Connect like `socket.create_connection`, with a limit of its own for all addresses of a host together."""
    addresses = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)
    try:
        connection = socket.create_connection(address, _CONNECT_SECONDS / len(addresses), source_address)
    except TimeoutError:
        raise _NoConnectionError(f"no connection within {_CONNECT_SECONDS:.0f} s") from None
    connection.settimeout(timeout)
    return connection


class _HttpConnection(http.client.HTTPConnection):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._create_connection = _connect


class _HttpsConnection(http.client.HTTPSConnection):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._create_connection = _connect


class _HttpHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_HttpConnection, req)


class _HttpsHandler(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(_HttpsConnection, req, context=self._context)  # type: ignore[attr-defined]


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_HttpHandler, _HttpsHandler)


def _urlopen(request: urllib.request.Request, *, timeout: float) -> Any:
    return _opener().open(request, timeout=timeout)


def _status(error: urllib.error.HTTPError) -> str:
    return printable(f"HTTP {error.code} {error.reason}", 200)
