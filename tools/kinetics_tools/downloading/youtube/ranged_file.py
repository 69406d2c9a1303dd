"""File on a web server of which parts are read: the index and one segment of a long video."""

import io
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from kinetics_tools.errors import RemoteError, TransientError
from kinetics_tools.io import RetryPolicy, retry

__all__ = ["RangedFile"]

# Status, headers and body for the bytes [first, last] of the file. Raises ConnectionError without an answer.
Request = Callable[[int, int], tuple[int, Mapping[str, str], bytes]]

_BLOCK_BYTES = 64 << 10
_MAX_BLOCKS = 8  # of one request
_CACHED_BLOCKS = 256


class RangedFile(io.RawIOBase):
    """Seekable file on a server that answers to Range, of which little more is downloaded than is read.

    Each request is for a range with an end: a server that is asked for all the rest fills the buffers of the network
    with it at every seek, and YouTube sends such rests slowly. A range is 64 KiB after a seek, and then half of what
    was read in a row before it, up to 512 KiB. The last 16 MiB are cached, because FFmpeg alternates between sound and
    pictures of one file.

    `on_bytes` is called with the number of bytes of each answer; `stop` ends the waits before retries. Raises
    RemoteError if retries do not help, or the server does not serve the file, ignores Range or changes the file.
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
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._position = 0
        self._etag: str | None = None
        self._size: int | None = None
        self._block(0)

    @property
    def size(self) -> int:
        """Length of the file in bytes."""
        assert self._size is not None
        return self._size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        if self._position >= self.size:
            return 0
        index, offset = divmod(self._position, _BLOCK_BYTES)
        data = memoryview(self._block(index))[offset : offset + len(buffer)]
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _block(self, index: int) -> bytes:
        if index not in self._blocks:
            before = 0
            while before < 2 * _MAX_BLOCKS and index - before - 1 in self._blocks:
                before += 1
            data = self._fetch(index * _BLOCK_BYTES, max(1, (before + 1) // 2) * _BLOCK_BYTES)
            for start in range(0, max(len(data), 1), _BLOCK_BYTES):
                self._blocks[index + start // _BLOCK_BYTES] = data[start : start + _BLOCK_BYTES]
            while len(self._blocks) > _CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(index)
        return self._blocks[index]

    def _fetch(self, first: int, count: int) -> bytes:
        last = first + count - 1
        status = None

        def attempt() -> bytes:
            nonlocal status
            status = None
            try:
                status, headers, body = self._request(first, last)
            except ConnectionError as error:
                raise TransientError(str(error) or type(error).__name__) from None
            if self._on_bytes is not None:
                self._on_bytes(len(body))
            if status == 206:
                self._check(first, last, headers, body)
                return body
            reason = "the server ignores Range" if status == 200 else f"HTTP Error {status}"
            raise (TransientError if status == 408 or status >= 500 else RemoteError)(reason)

        try:
            return retry(attempt, self.policy, stop=self._stop)
        except (TransientError, RemoteError) as error:
            raise RemoteError(f"{self.name}: {error} (bytes {first:,} to {last:,})", status=status) from None

    def _check(self, first: int, last: int, headers: Mapping[str, str], body: bytes) -> None:
        """Check that an answer is the requested part of the file that earlier answers were from."""
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", headers.get("Content-Range", ""))
        if found is None:
            raise TransientError(f"the server answers with Content-Range {headers.get('Content-Range')!r}")
        size, etag = int(found[3]), headers.get("ETag")
        if int(found[1]) != first or len(body) != min(last + 1, size) - first:
            raise TransientError(f"received {len(body):,} bytes as {found[0]}")
        if self._size not in (None, size) or self._etag not in (None, etag):
            raise RemoteError("changed on the server while it was read; rerun the same command")
        self._size, self._etag = size, etag
