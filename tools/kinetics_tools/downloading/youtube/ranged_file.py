"""A file on a web server of which parts are read, here and there: the index and a segment of a long video."""

import io
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from random import random
from typing import Any

from kinetics_tools.errors import RemoteError

__all__ = ["RangedFile"]

# Status, headers and body for the bytes [first, last] of the file. Raises ConnectionError where no answer comes.
Request = Callable[[int, int], tuple[int, Mapping[str, str], bytes]]

_BLOCK_BYTES = 64 << 10
_MAX_BLOCKS = 8  # of one request
_CACHED_BLOCKS = 256


class RangedFile(io.RawIOBase):
    """The file that `request` asks a server for, readable anywhere, of which little more is fetched than is read.

    Each request is for a range with an end, since a server that is asked for all the rest fills the buffers of the
    network with it (megabytes, for every seek), and YouTube sends such rests slowly. A range is 64 KiB after a seek,
    and then half of what was read in a row before it, up to 512 KiB. The last 16 MiB are kept, since FFmpeg goes to and
    fro between sound and pictures of one file.

    What another try may mend (no answer, 408, 5xx, a short body) is asked for again, `tries` times in all with waits of
    0.5 s, doubling, with jitter, which `stop` ends. `on_bytes` is called with the number of bytes that came.

    Raises RemoteError where that did not help, for other statuses, where the server ignores Range, and where the file
    changes while it is read.
    """

    tries = 5
    backoff_seconds = 0.5

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
            first = index * _BLOCK_BYTES
            data = self._fetched(first, first + max(1, (before + 1) // 2) * _BLOCK_BYTES - 1)
            for start in range(0, max(len(data), 1), _BLOCK_BYTES):
                self._blocks[index + start // _BLOCK_BYTES] = data[start : start + _BLOCK_BYTES]
            while len(self._blocks) > _CACHED_BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(index)
        return self._blocks[index]

    def _fetched(self, first: int, last: int) -> bytes:
        for attempt in range(self.tries):
            if attempt and self._stop.wait(self.backoff_seconds * 2 ** (attempt - 1) * (0.5 + random())):
                break
            status = None
            try:
                status, headers, body = self._request(first, last)
                if self._on_bytes is not None:
                    self._on_bytes(len(body))
                if status == 206:
                    self._check(first, last, headers, body)
                    return body
                reason = f"HTTP Error {status}"
                if status == 200:
                    reason = "the server sends the whole file where a part was asked for"
                if status < 500 and status != 408:
                    break
            except ConnectionError as error:
                reason = str(error) or type(error).__name__
        raise RemoteError(f"{self.name}: {reason} (bytes {first:,} to {last:,})", status=status)

    def _check(self, first: int, last: int, headers: Mapping[str, str], body: bytes) -> None:
        """Remembers what file this is. Raises ConnectionError for an answer that is not what was asked for."""
        found = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", headers.get("Content-Range", ""))
        if found is None:
            raise ConnectionError(f"the server answers with Content-Range {headers.get('Content-Range')!r}")
        size, etag = int(found[3]), headers.get("ETag")
        if int(found[1]) != first or len(body) != min(last + 1, size) - first:
            raise ConnectionError(f"{len(body):,} bytes came, as {found[0]}")
        if self._size not in (None, size) or self._etag not in (None, etag):
            raise RemoteError(f"{self.name}: changed on the server while it was read; try again")
        self._size, self._etag = size, etag
