"""Base of the routes of the tests' Hub: a Server with signed URLs, faults and a log, and a Handler that finds
the route of a request, admits who may ask, takes the body and sends the answer."""

import fnmatch
import hashlib
import hmac
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar
from urllib.parse import parse_qs, unquote, urlencode

from tests.support import fault_server
from tests.support.fault_server import Fault, FaultServer
from tests.support.hub_answer import Answer, Refusal
from tests.support.hub_repository import Repository
from tests.support.hub_storage import BLOCK_BYTES, Storage, write_whole
from tests.support.hub_token import TOKENS, Token

_SLOW_BYTES = 32 << 10


@dataclass
class Request(fault_server.Request):
    """One line of the log. The path is without query, which holds the signatures of URLs."""

    authorized: bool = False  # it carried a token, good or bad
    received: int = 0  # body bytes taken from the client


class Server(FaultServer):
    """Serves the repositories below `root` at `url` while the `with` block runs.

    With `xet` it also is a Xet store, which clients that have hf_xet then use; else they must be told not to.
    An LFS file of more than `part_bytes` is uploaded in parts of that size. The URLs to upload to and download
    from expire after `url_seconds`. `log` is a file that gets each finished request as a line of JSON, at once:
    it outlives a killed server.

    Of the faults there are it knows status, cut, stall and slow, and corrupt for downloads. In a PUT, which is
    how content is uploaded, they count the bytes of the request, else those of the answer: a commit that is
    "cut" at 0 takes effect, and nobody learns of it.
    """

    handler: ClassVar[type["Handler"]]

    def __init__(
        self,
        root: Path | str,
        *,
        faults: Iterable[Fault] = (),
        xet: bool = False,
        part_bytes: int = 64 << 20,
        url_seconds: float = 3600,
        port: int = 0,
        log: Path | str | None = None,
    ) -> None:
        Path(root).mkdir(parents=True, exist_ok=True)
        super().__init__(root, port=port)
        self._server.RequestHandlerClass = self.handler
        self.add(*faults)
        # Blobs have another origin than the API, as they do at the Hub: clients must not send a token there.
        self._blob_url = self.url.replace("127.0.0.1", "localhost")
        self.xet, self.part_bytes, self.url_seconds = xet, part_bytes, url_seconds
        self.lock = threading.RLock()  # guards the table of repositories; each has a lock of its own
        self.repositories: dict[str, Storage] = {}  # buckets/... among them
        for path in self.root.glob("*/*/repo.json"):
            repo_id = path.parent.relative_to(self.root).as_posix()
            self.repositories[repo_id] = Repository(self.root, repo_id)
        key = self.root / "key"
        if not key.exists():
            write_whole(key, secrets.token_bytes(32))
        self._key = key.read_bytes()  # URLs that a killed server has signed stay good
        self._log = None if log is None else Path(log)

    def add(self, *faults: Fault) -> None:
        for fault in faults:
            if fault.kind not in ("status", "cut", "stall", "slow", "corrupt"):
                raise ValueError(f"fault {fault.kind!r} is none of a hub; take status, cut, stall, slow or corrupt")
        super().add(*faults)

    def bytes_received(self, pattern: str = "*") -> int:
        return received(self.requests, pattern)

    def wait_for(self, condition: Callable[[Any], bool], seconds: float = 30) -> None:
        """Waits for a request that is answered, or stalls, and meets the condition."""
        with self._changed:
            if not self._changed.wait_for(lambda: any(r.done and condition(r) for r in self._requests), seconds):
                raise TimeoutError(f"no such request in {seconds} s")

    def sign(self, method: str, path: str) -> str:
        """A URL that lets anyone `method` a blob until it expires."""
        expires = self.expiry()
        query = urlencode({"expires": expires, "signature": self.signature(method, path, expires)})
        return f"{self._blob_url}{path}?{query}"

    def expiry(self) -> str:
        return str(int(time.time() + self.url_seconds))

    def signature(self, what: str, where: str, expires: str) -> str:
        return hmac.new(self._key, f"{what} {where} {expires}".encode(), "sha256").hexdigest()

    def _finish(self, request: fault_server.Request) -> None:
        with self._changed:
            if self._log is not None and not request.done:
                with open(self._log, "a") as log:
                    log.write(json.dumps({**asdict(request), "done": True}) + "\n")
        super()._finish(request)


def received(requests: Iterable[Any], pattern: str) -> int:
    return sum(request.received for request in requests if fnmatch.fnmatchcase(request.path, pattern))


Access = Literal["anyone", "user", "signature", "xet-read", "xet-write", "read", "files", "write"]


class Route(NamedTuple):
    """Route of a path and the users who may ask: with "read" and "write" those who have that right to the repository,
    with "files" those who may also read what a gated one holds, with "signature" whoever has a signed URL, with
    "xet-read" and "xet-write" whoever has such a token."""

    methods: Sequence[str]
    path: re.Pattern[str]  # its groups are the arguments of `answer`; `repo` becomes the repository of that name
    access: Access
    answer: Callable[..., Any]  # given the handler; what is no Answer is sent as JSON


ROUTES: list[Route] = []
_Method = TypeVar("_Method", bound=Callable[..., Any])
_NAMES = {
    "BUCKET": r"(?P<repo>buckets/[\w.-]+/[\w.-]+)",
    "REPO": r"(?P<repo>(buckets/)?[\w.-]+/[\w.-]+)",  # a bucket, where what both have is asked for
    "REV": "(?P<rev>[^/]+)",
    "OID": "(?P<oid>[0-9a-f]{64})",
}


def route(methods: str, path: str, access: Access) -> Callable[[_Method], _Method]:
    """Marks what answers a path, in which BUCKET, REPO, REV and OID stand for what these are."""
    for name, pattern in _NAMES.items():
        path = path.replace(name, pattern)

    def register(method: _Method) -> _Method:
        ROUTES.append(Route(methods.split(), re.compile(path), access, method))
        return method

    return register


class Handler(fault_server.Handler):
    """Answers the requests of one connection, by its `routes`."""

    routes: ClassVar[Sequence[Route]]
    rbufsize = wbufsize = 64 << 10
    hub: Server
    user: Token | None

    def do_GET(self) -> None:
        self.hub = self.server.owner  # type: ignore[assignment]
        path, _, query = self.path.partition("?")  # matched as it is: a revision may hold a quoted slash
        self.query = {name: values[-1] for name, values in parse_qs(query).items()}
        asked = self.command, unquote(path), self.headers.get("Range"), self.client_address[1]
        self.record = Request(*asked, authorized="Authorization" in self.headers)
        self.unread = int(self.headers.get("Content-Length") or 0)
        with self.hub._changed:
            self.hub._requests.append(self.record)
        try:
            answer = self._answer_to(path)
            for _ in self._blocks(faults=False):
                pass
            self._send(answer)
        except ConnectionError:  # the client hung up, or a fault wants that
            self.close_connection = True
            fault_server.hang_up(self.connection)
        finally:
            self.hub._finish(self.record)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _answer_to(self, path: str) -> Answer:
        try:
            fault = self.hub._draw(self.record, "status").get("status")
            if fault is not None:
                wait = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
                raise Refusal(fault.code, f"the fault that was asked for: {fault.code}", headers=wait)
            for route in self.routes:
                match = route.path.fullmatch(path) if self.command in route.methods else None
                if match is not None:
                    arguments: dict[str, Any] = {k: unquote(v) for k, v in match.groupdict().items() if v is not None}
                    self._admit(route.access, path, arguments)
                    found = route.answer(self, **arguments)
                    return found if isinstance(found, Answer) else Answer.json(found)
            raise Refusal(404, "Sorry, we can't find the page you are looking for.")
        except Refusal as refusal:
            return refusal.answer

    def _admit(self, access: Access, path: str, arguments: dict[str, Any]) -> None:
        """Refuses those who lack the right; puts the repository in the place of its name."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        trusted = access in ("signature", "xet-read", "xet-write")
        if access == "signature":
            if token:  # as S3, whose signed URLs these stand for
                raise Refusal(400, "Only one auth mechanism allowed")
            expires, signature = self.query.get("expires", "0"), self.query.get("signature", "")
            if not self._signed(self.command.replace("HEAD", "GET"), path, expires, signature):
                raise Refusal(403, "Request has expired")
        elif trusted:
            role, expires, signature = f"{token}..".split(".")[:3]
            if not self.hub.xet or not self._signed(role, arguments["repo"], expires, signature):
                raise Refusal(401 if self.hub.xet else 404, "Invalid Xet token")
            if access == "xet-write" and role != "write":
                raise Refusal(403, "This Xet token is for reading alone")
        self.user = TOKENS.get(token)
        if token and self.user is None and not trusted:
            raise Refusal(401, "Invalid credentials in Authorization header")
        if access == "user":
            self.me()
        if "repo" not in arguments:
            return
        repo = arguments["repo"] = self.hub.repositories.get(arguments["repo"])
        if repo is None or (repo.state["private"] and not trusted and not self.reads(repo)):
            # The same for one that is not there and one that is hidden.
            raise Refusal(404 if self.user else 401, "Repository not found", "RepoNotFound")
        if access == "write":
            self.must_write(repo)
        granted = self.user is not None and (self.reads(repo) or self.user.user in repo.state["granted"])
        if access == "files" and repo.state["gated"] and not granted:
            raise Refusal(403 if self.user else 401, f"Access to dataset {repo.id} is restricted.", "GatedRepo")

    def _signed(self, what: str, where: str, expires: str, signature: str) -> bool:
        good = hmac.compare_digest(self.hub.signature(what, where, expires), signature)
        return good and float(expires) > time.time()

    def me(self) -> Token:
        """Whose request it is; refuses one without a token."""
        if self.user is None:
            raise Refusal(401, "Invalid username or password.")
        return self.user

    def reads(self, repo: Storage) -> bool:
        return self.user is not None and self.user.may_read(repo.namespace)

    def must_write(self, repo: Storage) -> None:
        if not self.me().may_write(repo.namespace):
            raise Refusal(403, f"This token may not write to {repo.id}")

    def _blocks(self, *, faults: bool = True) -> Iterator[memoryview]:
        """Yield the unread part of the request's body, in blocks that are valid until the next."""
        size, began = self.unread, time.monotonic()
        kinds: tuple[fault_server.Kind, ...] = ("cut", "stall", "slow") if faults and self.command == "PUT" else ()
        drawn = self.hub._draw(self.record, *kinds, stop=size)
        slow, end = drawn.pop("slow", None), next(iter(drawn.values()), None)
        stop = size if end is None else end.at
        buffer = memoryview(bytearray(min(size, _SLOW_BYTES if slow else BLOCK_BYTES)))
        while self.unread:
            done = size - self.unread
            if end is not None and done == stop:
                self._end(end)
            count = self.rfile.readinto(buffer[: stop - done])
            if not count:
                raise ConnectionAbortedError("the client hung up within its request")
            self.unread -= count
            self.record.received += count
            if slow is not None:
                due = began + (done + count) / slow.bytes_per_second
                self.hub._stopping.wait(max(0.0, due - time.monotonic()))
            yield buffer[:count]

    def body(self) -> bytes:
        return b"".join(bytes(block) for block in self._blocks())

    def asked(self) -> Any:
        """The request's body, read as JSON."""
        try:
            return json.loads(self.body() or b"{}")
        except ValueError:
            raise Refusal(400, "the body is no JSON") from None

    @staticmethod
    def is_private(asked: dict[str, Any]) -> bool:
        """True if a request's body asks for a private place. Clients before 2.0 send another key."""
        return bool(asked.get("visibility") == "private" or asked.get("private", False))

    def receive(self, repo: Storage, oid: str) -> tuple[Path, str]:
        """Moves the request's body into a file; returns it and its SHA-256. A broken upload leaves nothing."""
        upload, digest = repo.upload(oid), hashlib.sha256()
        try:
            with open(upload, "wb") as file:
                for block in self._blocks():
                    digest.update(block)
                    file.write(block)
        except BaseException:
            upload.unlink()
            raise
        return upload, digest.hexdigest()

    def window(self, size: int) -> tuple[int, int] | None:
        """[start, stop) that the request wants of so many bytes; None if it wants all."""
        return fault_server.window_of(self.record.range, size)

    def _end(self, fault: Fault) -> None:
        if fault.kind == "stall":
            self.hub._finish(self.record)
            self.hub._stopping.wait(fault.seconds)
        raise ConnectionAbortedError

    def _send(self, answer: Answer) -> None:
        content, status, headers = answer.content, answer.status, dict(answer.headers)
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        start, stop = 0, size
        window = self.window(size) if isinstance(content, Path) else None
        if window is not None and window[0] < window[1]:
            (start, stop), status = window, 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        elif window is not None:
            content, stop, status = b"", 0, 416
            headers["Content-Range"] = f"bytes */{size}"
        if isinstance(content, Path):
            headers["Accept-Ranges"] = "bytes"
        elif content:
            headers["Content-Type"] = "application/json; charset=utf-8"
        self.record.status = status
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(stop - start)}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return self.wfile.flush()
        if isinstance(content, Path):
            self.wfile.flush()
            faults = self.hub._draw(self.record, "cut", "stall", "corrupt", "slow", start=start, stop=stop)
            with open(content, "rb") as file:
                return self._send_body(self.record, file.fileno(), start, stop, faults)
        kinds: tuple[fault_server.Kind, ...] = () if self.command == "PUT" else ("cut", "stall")
        end = next(iter(self.hub._draw(self.record, *kinds, stop=stop).values()), None)
        self.record.sent += self.wfile.write(content[: stop if end is None else end.at])
        self.wfile.flush()
        if end is not None:
            self._end(end)
