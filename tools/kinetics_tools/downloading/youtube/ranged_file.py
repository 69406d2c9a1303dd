"""File on a web server, read in parts: the index and one segment of a long video."""

import re
import threading
from collections.abc import Callable, Mapping
from typing import Any

from fsspec.spec import AbstractBufferedFile

from kinetics_tools.errors import RemoteError, TransientError
from kinetics_tools.io.retry import RetryPolicy, retry

# Status, headers and body for the bytes [first, last] of the file. Raises ConnectionError without an answer.
Request = Callable[[int, int], tuple[int, Mapping[str, str], bytes]]

# Measured on a segment of 10 s: smaller blocks need more requests, larger ones more bytes.
_BLOCK_BYTES = 168 << 10
# 16 MiB. With sound and pictures apart in one file, a read-ahead cache, which keeps one range, took 600 requests.
_CACHED_BLOCKS = 97


class RangedFile(AbstractBufferedFile):
    """Seekable file on a server that supports Range; downloads little more than is read.

    Each request is for a block with an end: an open range would fill the buffers of the network at every seek, and
    YouTube throttles open ranges. `on_bytes` is called with the number of bytes of each answer; `stop` ends the waits
    before retries. Raises RemoteError if retries do not help, or the server does not
    serve the file, ignores Range or changes the file.
    """

    policy = RetryPolicy(retries=4)

    def __init__(
        self,
        request: Request,
        *,
        name: str,
        on_bytes: Callable[[int], Any] | None = None,
        stop: threading.Event | None = None,
    ):
        self.name = name
        self._request = request
        self._on_bytes = on_bytes
        self._stop = stop or threading.Event()
        self._etag: str | None = None
        self._length: int | None = None
        self._head: bytes | None = None
        self._head = self._fetch_range(0, _BLOCK_BYTES)  # tells the length
        options = {"maxblocks": _CACHED_BLOCKS}
        super().__init__(
            None, name, block_size=_BLOCK_BYTES, cache_type="blockcache", cache_options=options, size=self._length
        )

    def _fetch_range(self, start: int, end: int) -> bytes:
        if start == 0 and self._head is not None:
            head, self._head = self._head, None
            return head
        status = None

        def attempt() -> bytes:
            nonlocal status
            status = None
            try:
                status, headers, body = self._request(start, end - 1)
            except ConnectionError as error:
                raise TransientError(str(error) or type(error).__name__) from None
            if self._on_bytes is not None:
                self._on_bytes(len(body))
            if status == 206:
                self._check(start, end, headers, body)
                return body
            reason = "the server ignores Range" if status == 200 else f"HTTP Error {status}"
            raise (TransientError if status == 408 or status >= 500 else RemoteError)(reason)

        try:
            return retry(attempt, self.policy, stop=self._stop)
        except (TransientError, RemoteError) as error:
            raise RemoteError(f"{self.name}: {error} (bytes {start:,} to {end - 1:,})", status=status) from None

    def _check(self, start: int, end: int, headers: Mapping[str, str], body: bytes) -> None:
        """Check that an answer is the requested part of the file that earlier answers were from."""
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", headers.get("Content-Range", ""))
        if found is None:
            raise TransientError(f"the server answers with Content-Range {headers.get('Content-Range')!r}")
        length, etag = int(found[3]), headers.get("ETag")
        if int(found[1]) != start or len(body) != min(end, length) - start:
            raise TransientError(f"received {len(body):,} bytes as {found[0]}")
        if self._length not in (None, length) or self._etag not in (None, etag):
            raise RemoteError("changed on the server while it was read; rerun the same command")
        self._length, self._etag = length, etag
