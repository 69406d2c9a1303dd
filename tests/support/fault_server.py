"""A web server of a directory of files, as S3 has them, that misbehaves on purpose.

    with FaultServer(root, faults=[Fault("cut", "*part_0.tar.gz", at=1000, times=1)]) as server:
        os.environ["KINETICS_MIRROR"] = server.url

`spawn` and `python tests/fault_server.py ROOT` serve from a process of their own, for benchmarks and kill tests.
Standard library only, and nothing of the project: a mistake there cannot hide itself here.
"""

import argparse
import contextlib
import fnmatch
import http.server
import json
import mimetypes
import os
import random
import re
import signal
import socket
import socketserver
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Any, Literal, get_args
from urllib.parse import quote, unquote

Kind = Literal[
    "status", "cut", "stall", "slow", "wrong_length", "corrupt", "ignore_range", "open_range", "chunked", "changed",
    "no_etag",
]  # fmt: skip

_SENDFILE_BYTES = 4 << 20  # also how often `Request.sent` moves
_READ_BYTES = 256 << 10  # where bytes pass through Python: chunked and corrupt bodies
_SLOW_BYTES = 32 << 10
_SETTLE_SECONDS = 0.5


@dataclass(frozen=True)
class Fault:
    """One way to misbehave, and the requests that get it.

    status        answers `code`, with `retry_after` (seconds, or an HTTP date) if given
    cut           closes before byte `at`, though Content-Length promised it; with `reset` by RST, not FIN
    stall         sends nothing from byte `at` on, waits `seconds`, closes
    slow          sends `bytes_per_second` on this connection
    wrong_length  `by` > 0: Content-Length is `by` too large, the body ends early and orderly;
                  `by` < 0: the file is `-by` bytes shorter on the server, and every header agrees with that
    corrupt       byte `at` has all its bits flipped
    ignore_range  answers a Range request with 200 and the whole file
    open_range    answers a Range request with Content-Range: bytes a-b/*, which does not tell the size; with
                  `by` > 0 with so many bytes at most
    chunked       Transfer-Encoding: chunked, no Content-Length
    changed       another ETag; with `other` (a URL path below the root) also that file's content and size
    no_etag       no ETag

    `at` counts from the start of the file, or with `relative` from the start of the response. A fault counts
    only the requests it can act on: right path and method, the file exists, byte `at` lies in the response,
    a Range is there to ignore. Of those it takes [skip, skip + times), per path with `per_path`, and of them
    the share `probability`, drawn from (seed, method, path, range, how often that was asked): the same for
    any order of threads. Faults of different kinds add up; of one kind the first in the list that strikes
    wins and later ones do not count that request, so two with `times=1` strike one after the other.
    """

    kind: Kind
    path: str = "*"  # fnmatch on the unquoted path, which begins with "/"
    method: str = "*"  # or "GET", "HEAD"
    skip: int = 0
    times: int | None = None  # None: every request
    per_path: bool = False
    probability: float = 1.0
    seed: int = 0
    at: int = 0
    relative: bool = False
    code: int = 503
    retry_after: str | float | None = None
    seconds: float = 30.0
    bytes_per_second: float = 1_000_000.0
    by: int = 0
    reset: bool = False
    other: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"fault {self.kind!r} is unknown; take one of {', '.join(get_args(Kind))}")
        if self.kind == "wrong_length" and self.by == 0:
            raise ValueError("by=0 makes no wrong_length; give by > 0 (too long) or by < 0 (truncated file)")

    def position(self, start: int) -> int:
        """Offset in the file of byte `at`, for a response that begins at byte `start` of the file."""
        return self.at + start if self.relative else self.at

    def strikes(self, request: "Request", start: int, stop: int, counts: Counter[str]) -> bool:
        """Return True if `request` gets this fault in a response of bytes [start, stop); updates `counts`."""
        if self.method not in ("*", request.method) or not fnmatch.fnmatchcase(request.path, self.path):
            return False
        if self.kind in ("cut", "stall", "corrupt") and not start <= self.position(start) < stop:
            return False
        if self.kind in ("ignore_range", "open_range") and request.range is None:
            return False
        scope = f"in {request.path if self.per_path else '*'}"
        counts[scope] += 1
        if not self.skip < counts[scope] <= self.skip + (sys.maxsize if self.times is None else self.times):
            return False
        draw = f"{self.seed} {request.method} {request.path} {request.range}"
        counts[draw] += 1
        return random.Random(f"{draw} {counts[draw]}").random() < self.probability


@dataclass
class Request:
    """One line of the log. `path` is unquoted, without query; `client` is the port the client came from,
    so equal numbers mean one kept-alive connection."""

    method: str
    path: str
    range: str | None
    client: int
    status: int = 0
    sent: int = 0  # body bytes given to the kernel; the client may have read fewer
    faults: list[str] = field(default_factory=list)
    done: bool = False  # answered, or stalling


_Faults = dict[Kind, Fault]  # those that strike one request


class FaultServer:
    """Serves the directory `root` at `url` while the `with` block runs."""

    def __init__(self, root: Path | str, *, faults: Iterable[Fault] = (), port: int = 0) -> None:
        self.root = Path(root)
        if not self.root.is_dir():
            raise ValueError(f"{str(root)!r} is not a directory; it shall hold the files to serve")
        self._faults: list[tuple[Fault, Counter[str]]] = [(fault, Counter()) for fault in faults]
        self._requests: list[Request] = []
        self._changed = threading.Condition()  # guards the two above
        self._stopping = threading.Event()
        self._server = _Listener(self, ("127.0.0.1", port))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "FaultServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends stalls, open connections and all threads."""
        self._stopping.set()
        self._server.shutdown()
        self._thread.join()
        for connection, thread in self._server.connections.copy().items():
            hang_up(connection)
            thread.join(timeout=10)
        self._server.server_close()

    def url_of(self, path: str) -> str:
        """The URL of a file, from its unquoted path below the root."""
        return f"{self.url}/{quote(path.lstrip('/'))}"

    def add(self, *faults: Fault) -> None:
        with self._changed:
            self._faults += [(fault, Counter()) for fault in faults]

    def clear(self, *, log: bool = False) -> None:
        """Removes all faults, and with `log` also forgets the requests so far."""
        with self._changed:
            self._faults = []
            if log:
                self._requests = []

    @property
    def requests(self) -> list[Request]:
        """The log in order of arrival.

        A client can hold the last byte before the server has noted that it sent it, so this and what builds
        on it wait for running answers (not for stalled ones) to end, at most half a second.
        """
        with self._changed:
            self._changed.wait_for(lambda: all(request.done for request in self._requests), _SETTLE_SECONDS)
            return list(self._requests)

    def matching(self, pattern: str = "*", method: str | None = None) -> list[Request]:
        found = [request for request in self.requests if fnmatch.fnmatchcase(request.path, pattern)]
        return [request for request in found if method in (None, request.method)]

    def count(self, pattern: str = "*", method: str | None = None) -> int:
        return len(self.matching(pattern, method))

    def bytes_sent(self, pattern: str = "*") -> int:
        return sum(request.sent for request in self.matching(pattern))

    def _finish(self, request: Request) -> None:
        with self._changed:
            request.done = True
            self._changed.notify_all()

    def _draw(self, request: Request, *kinds: Kind, start: int = 0, stop: int = 0) -> _Faults:
        drawn: _Faults = {}
        with self._changed:
            for fault, counts in self._faults:
                wanted = fault.kind in kinds and fault.kind not in drawn
                if wanted and fault.strikes(request, start, stop, counts):
                    drawn[fault.kind] = fault
                    request.faults.append(fault.kind)
        return drawn


class _Listener(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True  # joined by FaultServer.__exit__; a test that dies without it must still exit
    # The default backlog of 5 drops connections of a parallel client, and each drop costs it a second.
    request_queue_size = 128

    def __init__(self, owner: FaultServer, address: tuple[str, int]) -> None:
        self.owner = owner
        self.connections: dict[socket.socket, threading.Thread] = {}
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        # HTTPServer asks DNS for its own name here, which takes seconds on machines without DNS.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self.connections[request] = threading.current_thread()
        if self.owner._stopping.is_set():  # the end may have come before this one was noted
            hang_up(request)
        try:
            super().process_request_thread(request, client_address)
        finally:
            del self.connections[request]

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # clients hang up as they like
            super().handle_error(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Listener

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path = unquote(self.path.partition("?")[0])
        request = Request(self.command, path, self.headers.get("Range"), self.client_address[1])
        with self.server.owner._changed:
            self.server.owner._requests.append(request)
        try:
            self._answer(request)
        except ConnectionError:  # the client hung up
            self.close_connection = True
        finally:
            self.server.owner._finish(request)

    do_HEAD = do_GET

    def _answer(self, request: Request) -> None:
        owner = self.server.owner
        refusal = owner._draw(request, "status").get("status")
        if refusal is not None:
            wait = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
            return self._refuse(request, refusal.code, wait)
        local = owner.root / request.path.lstrip("/")
        if ".." in local.parts or local.is_dir():
            return self._refuse(request, 403)
        if not local.is_file():
            return self._refuse(request, 404)
        faults = owner._draw(request, "changed", "wrong_length", "ignore_range")
        changed = faults.get("changed")
        if changed is not None and changed.other is not None:
            local = owner.root / changed.other.lstrip("/")
        by = faults["wrong_length"].by if "wrong_length" in faults else 0

        with open(local, "rb") as file:
            stat = os.fstat(file.fileno())
            size = max(0, stat.st_size + min(by, 0))
            etag = f'"{stat.st_mtime_ns:x}-{size:x}{"-changed" if changed is not None else ""}"'
            modified = formatdate(stat.st_mtime, usegmt=True)
            start, stop, partial = 0, size, False
            unchanged = self.headers.get("If-Range") in (None, etag, modified)
            window = window_of(request.range, size) if unchanged and "ignore_range" not in faults else None
            if window is not None:
                start, stop, partial = *window, True
                if start >= stop:
                    return self._refuse(request, 416, {"Content-Range": f"bytes */{size}"})
            total = str(size)
            if partial and (open_range := owner._draw(request, "open_range").get("open_range")) is not None:
                total, stop = "*", min(stop, start + (open_range.by or size))
            faults |= owner._draw(request, "chunked", "slow", "no_etag")
            if request.method == "GET":
                faults |= owner._draw(request, "cut", "stall", "corrupt", start=start, stop=stop)

            request.status = 206 if partial else 200
            self.send_response(request.status)
            # No Content-Encoding, which S3 does not send either: clients would unpack a .tar.gz on the way.
            self.send_header("Content-Type", mimetypes.guess_type(local.name)[0] or "binary/octet-stream")
            self.send_header("Accept-Ranges", "bytes")
            if "no_etag" not in faults:
                self.send_header("ETag", etag)
            self.send_header("Last-Modified", modified)
            if partial:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{total}")
            if "chunked" in faults:
                self.send_header("Transfer-Encoding", "chunked")
            else:
                self.send_header("Content-Length", str(stop - start + max(by, 0)))
            self.end_headers()
            if request.method == "GET":
                self.close_connection |= by > 0
                self._send_body(request, file.fileno(), start, stop, faults)

    def _refuse(self, request: Request, status: int, headers: Mapping[str, str] | None = None) -> None:
        body = f"<Error><Code>{status}</Code></Error>\n".encode()
        request.status = status
        self.send_response(status)
        for name, value in {"Content-Type": "application/xml", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if request.method == "GET":
            self.wfile.write(body)
            request.sent += len(body)

    def _send_body(self, request: Request, file: int, start: int, stop: int, faults: _Faults) -> None:
        ends = {fault.position(start): fault for kind, fault in faults.items() if kind in ("cut", "stall")}
        end = min(ends, default=stop)
        flip = faults["corrupt"].position(start) if "corrupt" in faults else -1
        chunked = "chunked" in faults
        slow = faults.get("slow")
        began = time.monotonic()
        position = start
        while position < end:
            if chunked or position <= flip < end:
                block = bytearray(os.pread(file, min(end - position, _READ_BYTES), position))
                sent = len(block)
                if position <= flip < position + sent:
                    block[flip - position] ^= 0xFF
                self.connection.sendall(b"%x\r\n%b\r\n" % (sent, bytes(block)) if chunked else block)
            else:
                count = min(end - position, _SENDFILE_BYTES if slow is None else _SLOW_BYTES)
                sent = os.sendfile(self.connection.fileno(), file, position, count)
            if sent == 0:  # the file shrank under us: the client must see a short body, not wait
                self.close_connection = True
                return
            position += sent
            request.sent += sent
            if slow is not None:
                due = began + (position - start) / slow.bytes_per_second
                self.server.owner._stopping.wait(max(0.0, due - time.monotonic()))
        ending = ends.get(end)
        if ending is None:
            if chunked:
                self.connection.sendall(b"0\r\n\r\n")
            return
        self.close_connection = True
        if ending.kind == "stall":
            self.server.owner._finish(request)
            self.server.owner._stopping.wait(ending.seconds)
        elif ending.reset:
            # Linger of zero: close() sends RST. rfile shares the socket, which closes with the last of them.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.rfile.close()
            self.connection.close()


def hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side, or its own thread, was faster
        connection.shutdown(socket.SHUT_RDWR)


def window_of(header: str | None, size: int) -> tuple[int, int] | None:
    """[start, stop) that a Range header asks for; None where it is absent, malformed or asks for several
    ranges, all of which get the whole file, as on S3; start >= stop where nothing satisfies it."""
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", (header or "").strip())
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(int(last) + 1, size) if last else size


@contextlib.contextmanager
def spawn(root: Path | str, *, faults: Iterable[Fault] = (), log: Path | str | None = None) -> Iterator[str]:
    """The URL of a server in another process, which shares no interpreter lock with the client.

    It ends with the block, or with this process, however that dies; then `log` holds its requests, a JSON
    object each line.
    """
    command = [sys.executable, "-m", "tests.support.fault_server", str(root), "--until-stdin-closes"]
    command += ["--faults", json.dumps([asdict(fault) for fault in faults])]
    command += ["--log", str(log)] if log is not None else []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError(f"server of {str(root)!r} did not start; its error is on stderr above")
            yield url
        finally:
            process.stdin.close()
            process.wait(timeout=30)


def stay(server: FaultServer, *, until_stdin_closes: bool) -> None:
    """Prints the URL of a server that runs, and waits for Ctrl-C, for `kill`, or for who feeds stdin to end."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # `kill` leaves a log too
    with contextlib.suppress(KeyboardInterrupt):
        print(server.url, flush=True)  # from now on someone may end this
        if until_stdin_closes:
            sys.stdin.read()
        else:
            threading.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a directory over HTTP, with faults.")
    parser.add_argument("root", type=Path)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one; the URL is the first line")
    parser.add_argument("--faults", type=json.loads, default=[], help='[{"kind": "cut", "at": 1000}]')
    parser.add_argument("--log", type=Path, help="write the requests here at the end, one JSON object a line")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with whoever feeds stdin")
    options = parser.parse_args()
    faults = [options.faults] if isinstance(options.faults, dict) else options.faults
    with FaultServer(options.root, faults=[Fault(**fault) for fault in faults], port=options.port) as server:
        stay(server, until_stdin_closes=options.until_stdin_closes)
    if options.log is not None:
        options.log.write_text("".join(f"{json.dumps(asdict(request))}\n" for request in server.requests))


if __name__ == "__main__":
    main()
