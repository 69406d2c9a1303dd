"""A local Hugging Face Hub: what huggingface_hub, datasets and hf_xet say to the real one, over HTTP on 127.0.0.1.

    with Hub(root, faults=[Fault("status", "*/commit/*", code=412, times=1)]) as hub:
        HfApi(endpoint=hub.url, token=ANN).create_repo("ann/kinetics", repo_type="dataset")
        subprocess.run(command, env=environment(hub.url, home, token=ANN))
        assert hub.bytes_received("/_blobs/*") == 0

It holds datasets, and no other kind of repository. Everything is on disk below `root`, which outlives the
server: `HubProcess` and `python tests/hub.py ROOT` serve from a process that a test may kill and start again.
Nothing of the project is imported: a mistake there cannot hide itself here.
"""

import argparse
import base64
import contextlib
import fnmatch
import functools
import hashlib
import hmac
import itertools
import json
import math
import mmap
import os
import re
import secrets
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar
from urllib.parse import parse_qs, unquote, urlencode

import pyarrow
import yaml

import mirror
from mirror import Fault, Mirror

_BLOCK_BYTES = 1 << 20  # what one read from a client takes
_SLOW_BYTES = 32 << 10
_PAGE_ENTRIES, _EXPANDED_PAGE_ENTRIES = 1000, 100
_REGULAR_BYTES = 10 << 20  # the Hub takes no larger file outside of LFS

# Of the .gitattributes that the Hub puts into a new dataset.
GITATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n"
    for pattern in ("*.arrow", "*.bin", "*.gz", "*.parquet", "*.tar", "*.zip", "*.mp4", "*.webm")
)


@dataclass(frozen=True)
class Token:
    """Whose token it is, and what it may do: "read", "write", or ("fineGrained") write to `scopes` alone."""

    user: str
    role: Literal["read", "write", "fineGrained"]
    orgs: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()

    def may_read(self, namespace: str) -> bool:
        return namespace in (self.user, *self.orgs)

    def may_write(self, namespace: str) -> bool:
        if self.role == "fineGrained":
            return namespace in self.scopes
        return self.role == "write" and self.may_read(namespace)


ANN, ANN_READS, ANN_FINE, BOB = "hf_annWritesToAll", "hf_annOnlyReads", "hf_annWritesToLab", "hf_bobWritesToHis"
TOKENS = {
    ANN: Token("ann", "write", orgs=("lab",)),
    ANN_READS: Token("ann", "read", orgs=("lab",)),
    ANN_FINE: Token("ann", "fineGrained", orgs=("lab",), scopes=("lab",)),
    BOB: Token("bob", "write"),
}

# --- Repositories on disk -----------------------------------------------------------------------------------


class Entry(NamedTuple):
    """A file in a commit: `oid` is the SHA-256 of one in LFS, else the SHA-1 that git gives it."""

    oid: str
    size: int

    @property
    def lfs(self) -> bool:
        return len(self.oid) == 64

    def described(self, path: str) -> dict[str, Any]:
        """As tree and paths-info list it: the `oid` of one in LFS is that of its pointer."""
        if not self.lfs:
            return {"type": "file", "path": path, "oid": self.oid, "size": self.size}
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.oid}\nsize {self.size}\n".encode()
        lfs = {"oid": self.oid, "size": self.size, "pointerSize": len(pointer)}
        return {"type": "file", "path": path, "oid": git_sha1(pointer), "size": self.size, "lfs": lfs}


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    files: dict[str, Entry]


class Repository:
    """One repository's directory below the root of a hub, which tests may open too, to read.

    `blobs` and `commits` only ever grow; replacing `repo.json` is what moves a branch, so a kill at any point
    leaves the old state or the new.
    """

    def __init__(self, root: Path | str, repo_id: str, state: dict[str, Any] | None = None) -> None:
        self.id, self.namespace = repo_id, repo_id.split("/")[0]
        self.directory = Path(root) / repo_id
        self.lock = threading.RLock()
        self.state = json.loads((self.directory / "repo.json").read_text()) if state is None else state
        self._commits: dict[str, Commit] = {}

    @classmethod
    def create(cls, root: Path, repo_id: str, author: str, private: bool) -> "Repository":
        state = {"private": private, "gated": False, "granted": [], "created": _now(), "refs": {}, "discussions": []}
        repo = cls(root, repo_id, state)
        for name in ("blobs", "commits", "uploads", "xet", "xorbs"):
            (repo.directory / name).mkdir(parents=True, exist_ok=True)
        files = {".gitattributes": repo.add_blob(GITATTRIBUTES.encode())}
        repo.move("refs/heads/main", repo.add_commit(None, files, "initial commit", author))
        return repo

    def update(self, **changes: Any) -> None:
        self.state = self.state | changes
        _write(self.directory / "repo.json", json.dumps(self.state).encode())

    def move(self, ref: str, oid: str, **changes: Any) -> None:
        self.update(refs={**self.state["refs"], ref: oid}, **changes)

    def blob(self, oid: str) -> Path:
        return self.directory / "blobs" / oid

    def xorb(self, xet_hash: str) -> Path:
        return self.directory / "xorbs" / xet_hash

    def upload(self, oid: str) -> Path:
        """A new name for what is still arriving."""
        return self.directory / "uploads" / f"{oid}.{secrets.token_hex(4)}"

    def add_blob(self, content: bytes) -> Entry:
        entry = Entry(git_sha1(content), len(content))
        _write(self.blob(entry.oid), content)
        return entry

    def keep_blob(self, oid: str, upload: Path, sha256: str) -> None:
        if sha256 != oid:
            upload.unlink()
            raise _Refusal(400, f"BadDigest: {sha256} came for {oid}")
        os.replace(upload, self.blob(oid))

    def recipe(self, oid: str) -> dict[str, Any] | None:
        """Of which chunks a file consists, by its SHA-256 or Xet hash; None if it did not come through Xet."""
        path = self.directory / "xet" / oid
        return json.loads(path.read_text()) if path.exists() else None

    def resolve(self, revision: str) -> str:
        """The commit that a branch, tag, pull request (refs/pr/1) or (shortened) hash names."""
        refs: dict[str, str] = self.state["refs"]
        for ref in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if ref in refs:
                return refs[ref]
        if re.fullmatch(r"[0-9a-f]{7,40}", revision):
            for path in (self.directory / "commits").glob(f"{revision}*.json"):
                return path.stem
        raise _Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def branch(self, revision: str) -> str:
        """The ref that a commit to `revision` moves."""
        ref = revision if revision.startswith("refs/pr/") else f"refs/heads/{revision}"
        if ref not in self.state["refs"]:
            raise _Refusal(404, f"{revision} is no branch", "RevisionNotFound")
        return ref

    def commit(self, revision: str = "main") -> Commit:
        oid = self.resolve(revision)
        if oid not in self._commits:
            fields = json.loads((self.directory / "commits" / f"{oid}.json").read_text())
            files = {path: Entry(*entry) for path, entry in fields.pop("files").items()}
            self._commits[oid] = Commit(oid, files=files, **fields)
        return self._commits[oid]

    def history(self, revision: str = "main") -> Iterator[Commit]:
        """The commits of a branch, the newest first."""
        oid: str | None = self.resolve(revision)
        while oid is not None:
            commit = self.commit(oid)
            yield commit
            oid = commit.parent

    def add_commit(
        self, parent: str | None, files: Mapping[str, Entry], title: str, author: str, message: str = ""
    ) -> str:
        fields = {"parent": parent, "title": title, "message": message, "author": author, "date": _now()}
        content = json.dumps({**fields, "files": files}, sort_keys=True).encode()
        oid = hashlib.sha1(content).hexdigest()
        _write(self.directory / "commits" / f"{oid}.json", content)
        return oid

    def listing(self, files: Mapping[str, Entry], folder: str, recursive: bool = False) -> Iterator[dict[str, Any]]:
        """What lies in a folder, sorted, as tree lists it; the `oid` of a folder moves with what is below it."""
        prefix = f"{folder}/" if folder else ""
        inside = sorted((path[len(prefix) :], entry) for path, entry in files.items() if path.startswith(prefix))
        for name, group in itertools.groupby(inside, key=lambda item: item[0].partition("/")[0]):
            below = list(group)
            if below[0][0] == name:
                recipe = self.recipe(below[0][1].oid)
                yield below[0][1].described(prefix + name) | ({"xetHash": recipe["hash"]} if recipe else {})
                continue
            oid = hashlib.sha1(json.dumps(below).encode()).hexdigest()
            yield {"type": "directory", "path": prefix + name, "oid": oid, "size": 0}
            if recursive:
                yield from self.listing(files, prefix + name, True)


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()


def _front_matter(readme: str) -> dict[str, Any]:
    """The YAML at the head of a README.md."""
    match = re.match(r"---\s*\n(.*?)\n?---\s*(\n|$)", readme, re.DOTALL)
    data = (yaml.safe_load(match[1]) or {}) if match is not None else {}
    if not isinstance(data, dict):
        raise ValueError("the card's YAML is no mapping")
    return data


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    temporary.write_bytes(content)
    os.replace(temporary, path)


# --- The server ---------------------------------------------------------------------------------------------


@dataclass
class Request(mirror.Request):
    """One line of the log. The path is without query, which holds the signatures of URLs."""

    authorized: bool = False  # it carried a token, good or bad
    received: int = 0  # body bytes taken from the client


class Hub(Mirror):
    """Serves the repositories below `root` at `url` while the `with` block runs.

    With `xet` it also is a Xet store, which clients that have hf_xet then use; else they must be told not to.
    An LFS file of more than `part_bytes` is uploaded in parts of that size. The URLs to upload to and download
    from expire after `url_seconds`. `log` is a file that gets each finished request as a line of JSON, at once:
    it outlives a killed server.

    Of the faults of a mirror it knows status, cut, stall and slow, and corrupt for downloads. In a PUT, which is
    how content is uploaded, they count the bytes of the request, else those of the answer: a commit that is
    "cut" at 0 takes effect, and nobody learns of it.
    """

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
        self._server.RequestHandlerClass = _Handler
        self.add(*faults)
        # Blobs have another origin than the API, as they do at the Hub: clients must not send a token there.
        self._blob_url = self.url.replace("127.0.0.1", "localhost")
        self.xet, self.part_bytes, self.url_seconds = xet, part_bytes, url_seconds
        self.lock = threading.RLock()  # guards the table of repositories; each has a lock of its own
        self.repositories: dict[str, Repository] = {}
        for path in self.root.glob("*/*/repo.json"):
            repo_id = path.parent.relative_to(self.root).as_posix()
            self.repositories[repo_id] = Repository(self.root, repo_id)
        key = self.root / "key"
        if not key.exists():
            _write(key, secrets.token_bytes(32))
        self._key = key.read_bytes()  # URLs that a killed server has signed stay good
        self._log = None if log is None else Path(log)

    def __enter__(self) -> "Hub":
        super().__enter__()
        return self

    def add(self, *faults: Fault) -> None:
        for fault in faults:
            if fault.kind not in ("status", "cut", "stall", "slow", "corrupt"):
                raise ValueError(f"fault {fault.kind!r} is a mirror's alone; take status, cut, stall, slow or corrupt")
        super().add(*faults)

    def bytes_received(self, pattern: str = "*") -> int:
        return _received(self.requests, pattern)

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

    def _finish(self, request: mirror.Request) -> None:
        with self._changed:
            if self._log is not None and not request.done:
                with open(self._log, "a") as log:
                    log.write(json.dumps({**asdict(request), "done": True}) + "\n")
        super()._finish(request)


def _received(requests: Iterable[Any], pattern: str) -> int:
    return sum(request.received for request in requests if fnmatch.fnmatchcase(request.path, pattern))


@dataclass
class _Answer:
    content: bytes | Path = b""  # of a file the whole, or what Range asks for
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> _Answer:
    return _Answer(json.dumps(value).encode(), status, headers or {})


class _Refusal(Exception):
    """The Hub's way to say no. Clients tell the cases apart by `code`, and by the status only over https."""

    def __init__(self, status: int, message: str, code: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        named = {"X-Error-Message": message, **({"X-Error-Code": code} if code else {}), **(headers or {})}
        self.answer = _json({"error": message}, status, named)


_Access = Literal["anyone", "user", "signature", "xet-read", "xet-write", "read", "files", "write"]
_Method = TypeVar("_Method", bound=Callable[..., Any])
_ROUTES: list[tuple[list[str], re.Pattern[str], _Access, Callable[..., Any]]] = []


def _route(methods: str, path: str, access: _Access) -> Callable[[_Method], _Method]:
    """Marks what answers a path, and who may ask: with "read" and "write" those who have that right to REPO,
    with "files" those who may also read what a gated one holds, with "signature" whoever has a signed URL, with
    "xet-read" and "xet-write" whoever has such a token."""
    path = path.replace("REPO", r"(?P<repo>[\w.-]+/[\w.-]+)").replace("REV", "(?P<rev>[^/]+)")
    path = path.replace("OID", "(?P<oid>[0-9a-f]{64})")

    def register(method: _Method) -> _Method:
        _ROUTES.append((methods.split(), re.compile(path), access, method))
        return method

    return register


class _Handler(mirror._Handler):
    rbufsize = wbufsize = 64 << 10
    hub: Hub
    user: Token | None

    def do_GET(self) -> None:
        self.hub = self.server.mirror  # type: ignore[assignment]
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
            mirror._hang_up(self.connection)
        finally:
            self.hub._finish(self.record)

    do_HEAD = do_POST = do_PUT = do_DELETE = do_GET

    def _answer_to(self, path: str) -> _Answer:
        try:
            fault = self.hub._draw(self.record, "status").get("status")
            if fault is not None:
                wait = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
                raise _Refusal(fault.code, f"the fault that was asked for: {fault.code}", headers=wait)
            for methods, pattern, access, method in _ROUTES:
                match = pattern.fullmatch(path) if self.command in methods else None
                if match is not None:
                    arguments: dict[str, Any] = {k: unquote(v) for k, v in match.groupdict().items() if v is not None}
                    self._admit(access, path, arguments)
                    found = method(self, **arguments)
                    return found if isinstance(found, _Answer) else _json(found)
            raise _Refusal(404, "Sorry, we can't find the page you are looking for.")
        except _Refusal as refusal:
            return refusal.answer

    def _admit(self, access: _Access, path: str, arguments: dict[str, Any]) -> None:
        """Refuses those who lack the right; puts the repository in the place of its name."""
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        trusted = access in ("signature", "xet-read", "xet-write")
        if access == "signature":
            if token:  # as S3, whose signed URLs these stand for
                raise _Refusal(400, "Only one auth mechanism allowed")
            expires, signature = self.query.get("expires", "0"), self.query.get("signature", "")
            if not self._signed(self.command.replace("HEAD", "GET"), path, expires, signature):
                raise _Refusal(403, "Request has expired")
        elif trusted:
            role, expires, signature = f"{token}..".split(".")[:3]
            if not self.hub.xet or not self._signed(role, arguments["repo"], expires, signature):
                raise _Refusal(401 if self.hub.xet else 404, "Invalid Xet token")
            if access == "xet-write" and role != "write":
                raise _Refusal(403, "This Xet token is for reading alone")
        self.user = TOKENS.get(token)
        if token and self.user is None and not trusted:
            raise _Refusal(401, "Invalid credentials in Authorization header")
        if access == "user":
            self._me()
        if "repo" not in arguments:
            return
        repo = arguments["repo"] = self.hub.repositories.get(arguments["repo"])
        if repo is None or (repo.state["private"] and not trusted and not self._reads(repo)):
            # The same for one that is not there and one that is hidden.
            raise _Refusal(404 if self.user else 401, "Repository not found", "RepoNotFound")
        if access == "write":
            self._must_write(repo)
        granted = self.user is not None and (self._reads(repo) or self.user.user in repo.state["granted"])
        if access == "files" and repo.state["gated"] and not granted:
            raise _Refusal(403 if self.user else 401, f"Access to dataset {repo.id} is restricted.", "GatedRepo")

    def _signed(self, what: str, where: str, expires: str, signature: str) -> bool:
        good = hmac.compare_digest(self.hub.signature(what, where, expires), signature)
        return good and float(expires) > time.time()

    def _me(self) -> Token:
        if self.user is None:
            raise _Refusal(401, "Invalid username or password.")
        return self.user

    def _reads(self, repo: Repository) -> bool:
        return self.user is not None and self.user.may_read(repo.namespace)

    def _must_write(self, repo: Repository) -> None:
        if not self._me().may_write(repo.namespace):
            raise _Refusal(403, f"This token may not write to {repo.id}")

    def _blocks(self, *, faults: bool = True) -> Iterator[memoryview]:
        """What is unread of the request's body, in blocks that are good until the next."""
        size, began = self.unread, time.monotonic()
        kinds: tuple[mirror.Kind, ...] = ("cut", "stall", "slow") if faults and self.command == "PUT" else ()
        drawn = self.hub._draw(self.record, *kinds, stop=size)
        slow, end = drawn.pop("slow", None), next(iter(drawn.values()), None)
        stop = size if end is None else end.at
        buffer = memoryview(bytearray(min(size, _SLOW_BYTES if slow else _BLOCK_BYTES)))
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

    def _body(self) -> bytes:
        return b"".join(bytes(block) for block in self._blocks())

    def _asked(self) -> Any:
        try:
            return json.loads(self._body() or b"{}")
        except ValueError:
            raise _Refusal(400, "the body is no JSON") from None

    def _receive(self, repo: Repository, oid: str) -> tuple[Path, str]:
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

    def _end(self, fault: Fault) -> None:
        if fault.kind == "stall":
            self.hub._finish(self.record)
            self.hub._stopping.wait(fault.seconds)
        raise ConnectionAbortedError

    def _send(self, answer: _Answer) -> None:
        content, status, headers = answer.content, answer.status, dict(answer.headers)
        size = content.stat().st_size if isinstance(content, Path) else len(content)
        start, stop = 0, size
        window = mirror._window(self.record.range, size) if isinstance(content, Path) else None
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
        kinds: tuple[mirror.Kind, ...] = () if self.command == "PUT" else ("cut", "stall")
        end = next(iter(self.hub._draw(self.record, *kinds, stop=stop).values()), None)
        self.record.sent += self.wfile.write(content[: stop if end is None else end.at])
        self.wfile.flush()
        if end is not None:
            self._end(end)

    # Who one is, and repositories.

    @_route("GET", "/api/whoami-v2", "user")
    def _whoami(self) -> Any:
        me = self._me()
        token: dict[str, Any] = {"displayName": "test", "role": me.role}
        if me.role == "fineGrained":
            scoped = [{"entity": {"type": "user", "name": name}, "permissions": ["repo.write"]} for name in me.scopes]
            token["fineGrained"] = {"global": [], "scoped": scoped}
        auth = {"type": "access_token", "accessToken": token}
        orgs = [{"type": "org", "name": name, "roleInOrg": "write"} for name in me.orgs]
        return {"type": "user", "name": me.user, "fullname": me.user, "orgs": orgs, "auth": auth}

    @_route("POST", "/api/validate-yaml", "anyone")
    def _validate_yaml(self) -> Any:
        try:
            _front_matter(self._asked()["content"])
        except (ValueError, yaml.YAMLError) as error:
            return _json({"errors": [{"message": str(error)}], "warnings": []}, 400)
        return {"errors": [], "warnings": []}

    def _repo_id(self, asked: Mapping[str, Any]) -> str:
        namespace, name = asked.get("organization") or self._me().user, asked["name"]
        if asked.get("type") != "dataset" or not re.fullmatch(r"\w[\w.-]{0,95}", name):
            raise _Refusal(400, f"{asked.get('type')} {name!r}: this hub holds datasets, named of letters, . _ and -")
        if not self._me().may_write(namespace):
            raise _Refusal(403, f"You don't have the rights to create a dataset under the namespace {namespace!r}")
        return f"{namespace}/{name}"

    @_route("POST", "/api/repos/create", "user")
    def _create(self) -> Any:
        asked = self._asked()
        repo_id = self._repo_id(asked)
        about = {"url": f"{self.hub.url}/datasets/{repo_id}", "name": repo_id}
        with self.hub.lock:
            if repo_id in self.hub.repositories:
                return _json({**about, "error": "You already created this dataset repo"}, 409)
            private = asked.get("visibility") == "private" or asked.get("private", False)
            self.hub.repositories[repo_id] = Repository.create(self.hub.root, repo_id, self._me().user, private)
        return about

    @_route("DELETE", "/api/repos/delete", "user")
    def _delete(self) -> Any:
        repo_id, removed = self._repo_id(self._asked()), self.hub.root / f".{secrets.token_hex(4)}"
        with self.hub.lock:
            if repo_id not in self.hub.repositories:
                raise _Refusal(404, "Repository not found", "RepoNotFound")
            self.hub.repositories.pop(repo_id).directory.rename(removed)
        shutil.rmtree(removed)
        return {}

    @_route("PUT", "/api/datasets/REPO/settings", "write")
    def _settings(self, repo: Repository) -> Any:
        asked = self._asked()
        changes = {"gated": asked["gated"]} if "gated" in asked else {}
        if "visibility" in asked or "private" in asked:
            changes["private"] = asked.get("visibility") == "private" or asked.get("private", False)
        with repo.lock:
            repo.update(**changes)
        return changes

    @_route("POST", "/api/datasets/REPO/user-access-request/grant", "write")
    def _grant(self, repo: Repository) -> Any:
        with repo.lock:
            repo.update(granted=[*repo.state["granted"], self._asked()["user"]])
        return {}

    @_route("GET", "/api/datasets/REPO/auth-check(?P<write>/write)?", "files")
    def _auth_check(self, repo: Repository, write: str = "") -> Any:
        if write:
            self._must_write(repo)
        return {}

    @_route("GET", "/api/datasets", "anyone")
    def _list(self) -> Any:
        author = self.query.get("author")
        found = [repo for repo in self.hub.repositories.values() if author in (None, repo.namespace)]
        return [self._info(repo) for repo in found if not repo.state["private"] or self._reads(repo)]

    @_route("GET", "/api/datasets/REPO(/revision/REV)?", "read")
    def _info(self, repo: Repository, rev: str = "main") -> Any:
        commit, siblings, card = repo.commit(rev), [], {}
        for path, entry in sorted(commit.files.items()):
            sibling: dict[str, Any] = {"rfilename": path}
            if "blobs" in self.query:
                about = entry.described(path)
                sibling |= {"size": entry.size, "blobId": about["oid"]}
                sibling |= {"lfs": {**about["lfs"], "sha256": entry.oid}} if entry.lfs else {}
            siblings.append(sibling)
        if "README.md" in commit.files:
            with contextlib.suppress(ValueError, yaml.YAMLError):
                card = _front_matter(repo.blob(commit.files["README.md"].oid).read_text())
        about = {"_id": git_sha1(repo.id.encode())[:24], "id": repo.id, "author": repo.namespace, "sha": commit.oid}
        about |= {"private": repo.state["private"], "gated": repo.state["gated"], "disabled": False}
        about |= {"createdAt": repo.state["created"], "lastModified": commit.date, "downloads": 0, "likes": 0}
        return {**about, "tags": [], "cardData": card, "siblings": siblings}

    # Branches, tags, pull requests.

    @_route("GET", "/api/datasets/REPO/refs", "read")
    def _refs(self, repo: Repository) -> Any:
        found: dict[str, list[dict[str, str]]] = {"branches": [], "tags": [], "converts": [], "pullRequests": []}
        kinds = {"heads": "branches", "tags": "tags", "pr": "pullRequests"}
        for ref, oid in repo.state["refs"].items():
            _, kind, name = ref.split("/", 2)
            found[kinds[kind]].append({"name": name, "ref": ref, "targetCommit": oid})
        return found

    @_route("POST", "/api/datasets/REPO/branch/(?P<name>[^/]+)", "write")
    def _create_branch(self, repo: Repository, name: str) -> Any:
        return self._add_ref(repo, f"refs/heads/{name}", self._asked().get("startingPoint") or "main")

    @_route("POST", "/api/datasets/REPO/tag/REV", "write")
    def _create_tag(self, repo: Repository, rev: str) -> Any:
        return self._add_ref(repo, f"refs/tags/{self._asked()['tag']}", rev)

    def _add_ref(self, repo: Repository, ref: str, start: str) -> Any:
        with repo.lock:
            if ref in repo.state["refs"]:
                raise _Refusal(409, f"Reference already exists: {ref}")
            repo.move(ref, repo.resolve(start))
        return {}

    @_route("DELETE", "/api/datasets/REPO/(?P<kind>branch|tag)/(?P<name>[^/]+)", "write")
    def _delete_ref(self, repo: Repository, kind: str, name: str) -> Any:
        ref = f"refs/heads/{name}" if kind == "branch" else f"refs/tags/{name}"
        if ref == "refs/heads/main":
            raise _Refusal(403, "Cannot delete the default branch")
        with repo.lock:
            if ref not in repo.state["refs"]:
                raise _Refusal(404, f"Reference does not exist: {ref}", "RevisionNotFound")
            repo.update(refs={name: oid for name, oid in repo.state["refs"].items() if name != ref})
        return {}

    @_route("GET", "/api/datasets/REPO/commits/REV", "read")
    def _commits(self, repo: Repository, rev: str) -> Any:
        return [
            {"id": c.oid, "title": c.title, "message": c.message, "date": c.date, "authors": [{"user": c.author}]}
            for c in repo.history(rev)
        ]

    @_route("POST", "/api/datasets/REPO/discussions", "read")
    def _open_discussion(self, repo: Repository) -> Any:
        asked = self._asked()
        with repo.lock:
            return {"num": self._open(repo, asked["title"], "main" if asked.get("pullRequest") else None)}

    def _open(self, repo: Repository, title: str, base: str | None) -> int:
        """A new discussion, or a pull request that starts at `base`; returns its number."""
        if self._me().role == "read":
            raise _Refusal(403, "This token may not open discussions")
        base = base and repo.resolve(base)
        number = len(repo.state["discussions"]) + 1
        about = {"num": number, "title": title, "author": {"name": self._me().user}, "createdAt": _now()}
        about |= {"isPullRequest": base is not None, "base": base, "status": "open"}
        refs = repo.state["refs"] | ({} if base is None else {f"refs/pr/{number}": base})
        repo.update(discussions=[*repo.state["discussions"], about], refs=refs)
        return number

    def _discussion(self, repo: Repository, number: str) -> dict[str, Any]:
        discussions: list[dict[str, Any]] = repo.state["discussions"]
        if not 0 < int(number) <= len(discussions):
            raise _Refusal(404, f"Discussion {number} not found")
        return discussions[int(number) - 1]

    @_route("GET", r"/api/datasets/REPO/discussions/(?P<number>\d+)", "read")
    def _show_discussion(self, repo: Repository, number: str) -> Any:
        about = self._discussion(repo, number)
        changes = {"base": "refs/heads/main", "mergeCommitId": about.get("merged")}
        shown = {"repo": {"name": repo.id, "type": "dataset"}, "events": [], "filesWithConflicts": []}
        return {**about, **shown, "changes": changes}

    @_route("POST", r"/api/datasets/REPO/discussions/(?P<number>\d+)/merge", "write")
    def _merge(self, repo: Repository, number: str) -> Any:
        with repo.lock:
            about = self._discussion(repo, number)
            before, after, main = repo.commit(about["base"]), repo.commit(f"refs/pr/{number}"), repo.commit("main")
            files = {path: e for path, e in main.files.items() if path in after.files or path not in before.files}
            files |= {path: e for path, e in after.files.items() if before.files.get(path) != e}
            oid = repo.add_commit(main.oid, files, about["title"], self._me().user)
            discussions = list(repo.state["discussions"])
            discussions[int(number) - 1] = {**about, "status": "merged", "merged": oid}
            repo.move("refs/heads/main", oid, discussions=discussions)
        return {}

    # Reading.

    @_route("GET", "/api/datasets/REPO/tree/REV(/(?P<path>.+))?", "read")
    def _tree(self, repo: Repository, rev: str, path: str = "") -> Any:
        commit, expand = repo.commit(rev), self.query.get("expand", "").lower() == "true"
        headers = {"X-Repo-Commit": commit.oid}
        recursive = self.query.get("recursive", "").lower() == "true"
        entries = list(repo.listing(commit.files, path.strip("/"), recursive))
        if path and not entries:
            raise _Refusal(404, f"{path} does not exist on {rev!r}", "EntryNotFound", headers)
        start = int(self.query.get("cursor", 0))
        stop = start + (_EXPANDED_PAGE_ENTRIES if expand else _PAGE_ENTRIES)
        if stop < len(entries):
            query = urlencode({**self.query, "cursor": stop})
            headers["Link"] = f'<{self.hub.url}{self.path.partition("?")[0]}?{query}>; rel="next"'
        return _json(self._page(repo, commit, entries[start:stop], expand), headers=headers)

    @_route("POST", "/api/datasets/REPO/paths-info/REV", "read")
    def _paths_info(self, repo: Repository, rev: str) -> Any:
        form, commit = parse_qs(self._body().decode()), repo.commit(rev)
        found = []
        for path in form.get("paths", []):
            siblings = repo.listing(commit.files, path.strip("/").rpartition("/")[0])
            found += [entry for entry in siblings if entry["path"] == path.strip("/")]
        return self._page(repo, commit, found, form.get("expand", [""])[-1].lower() == "true")

    def _page(self, repo: Repository, commit: Commit, entries: list[dict[str, Any]], expand: bool) -> Any:
        """With `expand` each entry with the last commit that touched it."""

        def last(path: str) -> Commit:
            def at(commit: Commit) -> set[tuple[str, Entry]]:
                return {item for item in commit.files.items() if f"{item[0]}/".startswith(f"{path}/")}

            *_, found = itertools.takewhile(lambda older: at(older) == at(commit), repo.history(commit.oid))
            return found

        for entry in entries if expand else []:
            touched = last(entry["path"])
            entry["lastCommit"] = {"id": touched.oid, "title": touched.title, "date": touched.date}
        return entries

    @_route("GET HEAD", "/datasets/REPO/resolve/REV/(?P<path>.+)", "files")
    def _resolve(self, repo: Repository, rev: str, path: str) -> Any:
        commit = repo.commit(rev)
        headers, entry = {"X-Repo-Commit": commit.oid}, commit.files.get(path)
        if entry is None:
            raise _Refusal(404, "Entry not found", "EntryNotFound", headers)
        headers["ETag"] = f'"{entry.oid}"'
        if not entry.lfs:
            return _Answer(repo.blob(entry.oid), headers=headers)
        headers |= {"X-Linked-ETag": f'"{entry.oid}"', "X-Linked-Size": str(entry.size)}
        headers["Location"] = self.hub.sign("GET", f"/_blobs/{repo.id}/{entry.oid}")
        recipe = repo.recipe(entry.oid)
        if recipe is not None:
            headers["X-Xet-Hash"] = recipe["hash"]
            headers["X-Xet-Refresh-Route"] = f"{self.hub.url}/api/datasets/{repo.id}/xet-read-token/{commit.oid}"
        return _Answer(b"", 302, headers)

    @_route("GET HEAD", "/_blobs/REPO/OID", "signature")
    def _get_blob(self, repo: Repository, oid: str) -> Any:
        return _Answer(repo.blob(oid), headers={"ETag": f'"{oid}"'})

    # Writing.

    @_route("POST", "/api/datasets/REPO/preupload/REV", "read")
    def _preupload(self, repo: Repository, rev: str) -> Any:
        if "create_pr" not in self.query:
            self._must_write(repo)
        asked, there = self._asked(), repo.commit(rev).files
        attributes = repo.blob(there[".gitattributes"].oid).read_text() if ".gitattributes" in there else ""
        large = [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line]
        ignored = [line for line in asked.get("gitIgnore", "").splitlines() if line and not line.startswith("#")]
        files = []
        for file in asked["files"]:
            name, entry = file["path"].rpartition("/")[2], there.get(file["path"])
            lfs = file["size"] > _REGULAR_BYTES or b"\0" in base64.b64decode(file["sample"])
            lfs = lfs or any(fnmatch.fnmatchcase(name, pattern) for pattern in large)
            oid = entry.oid if entry is not None and entry.lfs == lfs else None
            ignore = any(fnmatch.fnmatchcase(name, pattern) for pattern in ignored)
            mode = "lfs" if lfs else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": ignore, "oid": oid})
        return {"files": files}

    @_route("POST", r"/datasets/REPO\.git/info/lfs/objects/batch", "read")
    def _lfs_batch(self, repo: Repository) -> Any:
        asked, objects = self._asked(), []
        if "ref" in asked:  # without one it is for a pull request, which any reader may open
            self._must_write(repo)
        multipart = "multipart" in asked.get("transfers", [])
        for wanted in asked["objects"]:
            path, parts = f"/_blobs/{repo.id}/{wanted['oid']}", math.ceil(wanted["size"] / self.hub.part_bytes)
            found: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
            if not repo.blob(wanted["oid"]).exists():
                upload: dict[str, Any] = {"href": self.hub.sign("PUT", path)}
                if multipart and parts > 1:
                    urls = {str(number): self.hub.sign("PUT", f"{path}/{number}") for number in range(1, parts + 1)}
                    header = {"chunk_size": str(self.hub.part_bytes), **urls}
                    upload = {"href": self.hub.sign("POST", path), "header": header}
                verify = {"href": f"{self.hub.url}/datasets/{repo.id}.git/info/lfs/objects/verify"}
                found["actions"] = {"upload": upload, "verify": verify}
            objects.append(found)
        return {"transfer": "multipart" if multipart else "basic", "objects": objects}

    @_route("POST", r"/datasets/REPO\.git/info/lfs/objects/verify", "read")
    def _lfs_verify(self, repo: Repository) -> Any:
        asked = self._asked()
        blob = repo.blob(asked["oid"])
        if not blob.exists() or blob.stat().st_size != asked["size"]:
            raise _Refusal(404, f"LFS object {asked['oid']} was not uploaded whole")
        return {}

    @_route("PUT", "/_blobs/REPO/OID", "signature")
    def _put_blob(self, repo: Repository, oid: str) -> Any:
        repo.keep_blob(oid, *self._receive(repo, oid))
        return _Answer(headers={"ETag": f'"{oid}"'})

    @_route("PUT", r"/_blobs/REPO/OID/(?P<number>\d+)", "signature")
    def _put_part(self, repo: Repository, oid: str, number: str) -> Any:
        upload, etag = self._receive(repo, oid)
        os.replace(upload, upload.with_name(f"{oid}.{number}.{etag}"))
        return _Answer(headers={"ETag": f'"{etag}"'})

    @_route("POST", "/_blobs/REPO/OID", "signature")
    def _complete_parts(self, repo: Repository, oid: str) -> Any:
        whole, digest = repo.upload(oid), hashlib.sha256()
        named = sorted((part["partNumber"], part["etag"].strip('"')) for part in self._asked()["parts"])
        parts = [whole.with_name(f"{oid}.{number}.{etag}") for number, etag in named]
        if not all(part.exists() for part in parts):
            raise _Refusal(400, "InvalidPart: one or more of the specified parts could not be found")
        with open(whole, "wb") as file:
            for part in parts:
                with open(part, "rb") as source:
                    while block := source.read(_BLOCK_BYTES):
                        digest.update(block)
                        file.write(block)
        repo.keep_blob(oid, whole, digest.hexdigest())
        for part in whole.parent.glob(f"{oid}.*.*"):
            part.unlink()
        return {}

    @_route("POST", "/api/datasets/REPO/commit/REV", "read")
    def _commit(self, repo: Repository, rev: str) -> Any:
        pull_request = "create_pr" in self.query
        if not pull_request:
            self._must_write(repo)
        try:
            header, *operations = [json.loads(line) for line in self._body().splitlines()]
        except ValueError:
            raise _Refusal(400, "the body is no header and operations, a line of JSON each") from None
        about, url = header["value"], f"{self.hub.url}/datasets/{repo.id}"
        with repo.lock:
            ref = repo.branch(rev)
            head = repo.state["refs"][ref]
            parent = about.get("parentCommit") or head
            if pull_request:
                head = repo.resolve(parent)
            elif not head.startswith(parent):
                raise _Refusal(412, "A commit has happened since. Please refresh and try again.")
            files = self._apply(repo, repo.commit(head).files, operations)
            opened = {}
            if pull_request:
                number = self._open(repo, about["summary"], head)
                ref, opened = f"refs/pr/{number}", {"pullRequestUrl": f"{url}/discussions/{number}"}
            oid = repo.add_commit(head, files, about["summary"], self._me().user, about.get("description", ""))
            repo.move(ref, oid)
        return {"success": True, "commitOid": oid, "commitUrl": f"{url}/commit/{oid}", **opened}

    def _apply(self, repo: Repository, files: Mapping[str, Entry], operations: Iterable[Any]) -> dict[str, Entry]:
        changed = dict(files)
        for operation in operations:
            key, value = operation["key"], operation["value"]
            path, folder = value["path"], f"{value['path'].strip('/')}/"
            if key == "file":
                changed[path] = repo.add_blob(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                blob = repo.blob(value["oid"])
                if not blob.exists():
                    raise _Refusal(400, f"LFS pointer of {path} points to a file that does not exist")
                changed[path] = Entry(value["oid"], blob.stat().st_size)
            elif key == "deletedFile" and path in changed:
                del changed[path]
            elif key == "deletedFolder" and any(name.startswith(folder) for name in changed):
                changed = {name: entry for name, entry in changed.items() if not name.startswith(folder)}
            elif key in ("deletedFile", "deletedFolder"):
                raise _Refusal(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
            else:
                raise _Refusal(400, f"operation {key!r} is unknown")
        return changed

    # Xet: files arrive as chunks in xorbs, and shards that say which chunks make a file.

    @_route("GET", "/api/datasets/REPO/xet-(?P<role>read|write)-token/REV", "files")
    def _xet_token(self, repo: Repository, role: str, rev: str) -> Any:
        if not self.hub.xet:
            raise _Refusal(404, "This hub has no Xet store")
        if role == "write" and "create_pr" not in self.query:
            self._must_write(repo)
        url, expires = f"{self.hub.url}/_cas/{repo.id}", self.hub.expiry()
        token = f"{role}.{expires}.{self.hub.signature(role, repo.id, expires)}"
        headers = {"X-Xet-Access-Token": token, "X-Xet-Token-Expiration": expires, "X-Xet-Cas-Url": url}
        return _json({"accessToken": token, "exp": int(expires), "casUrl": url}, headers=headers)

    @_route("GET", "/_cas/REPO/v1/chunks/default/OID", "xet-write")
    def _known_chunks(self, repo: Repository, oid: str) -> Any:
        """What was uploaded together with a chunk, so that a client without a cache need not send it again."""
        chunk = struct.pack("<4Q", *(int(number, 16) for number in re.findall(".{16}", oid)))
        for path in (repo.directory / "xet").glob("*.xorbs"):
            xorbs = path.read_bytes()
            if chunk in xorbs:
                return _Answer(_shard_of_xorbs(xorbs))
        raise _Refusal(404, f"no xorb holds the chunk {oid}")

    @_route("POST", "/_cas/REPO/v1/xorb-grants/default/OID", "xet-write")
    def _grant_xorb(self, repo: Repository, oid: str) -> Any:
        if repo.xorb(oid).exists():
            return {}
        url = self.hub.sign("PUT", f"/_blobs/{repo.id}/xorbs/{oid}")
        return _json({"id": oid, "method": "PUT", "url": url, "headers": {}}, 201)

    @_route("PUT", "/_blobs/REPO/xorbs/OID", "signature")
    def _put_xorb(self, repo: Repository, oid: str) -> Any:
        os.replace(self._receive(repo, oid)[0], repo.xorb(oid))
        return {}

    @_route("POST", "/_cas/REPO/v1/xorb-commits/default/OID/grant/[0-9a-f]+", "xet-write")
    def _commit_xorb(self, repo: Repository, oid: str) -> Any:
        if not repo.xorb(oid).exists():
            raise _Refusal(404, "nothing was uploaded for this grant")
        return {"was_inserted": True}

    @_route("POST", "/_cas/REPO/v(?P<version>[12])/shards", "xet-write")
    def _put_shard(self, repo: Repository, version: str) -> Any:
        """Builds the files at once, so that all else finds blobs as LFS would have left them; a file that does
        not come out as its SHA-256 is refused."""
        shard = self._body()
        files, xorbs = _split_shard(shard)
        for recipe in files:
            sha256 = recipe["sha256"]
            if not repo.blob(sha256).exists():
                upload, digest = repo.upload(sha256), hashlib.sha256()
                with open(upload, "wb") as file:
                    for xorb, start, stop in recipe["terms"]:
                        for chunk in _unpack(repo.xorb(xorb), start, stop):
                            digest.update(chunk)
                            file.write(chunk)
                repo.keep_blob(sha256, upload, digest.hexdigest())
            for name in (sha256, recipe["hash"]):
                _write(repo.directory / "xet" / name, json.dumps(recipe).encode())
        _write(repo.directory / "xet" / f"{hashlib.sha256(shard).hexdigest()}.xorbs", xorbs)
        return {"type": "result"} if version == "2" else {"result": 1}

    @_route("GET", "/_cas/REPO/v1/reconstructions/OID", "xet-read")
    def _reconstruction(self, repo: Repository, oid: str) -> Any:
        """Which chunks of which xorbs hold the range that is asked for of a file, and where to fetch them."""
        recipe = repo.recipe(oid)
        if recipe is None:
            raise _Refusal(404, f"no file has the Xet hash {oid}")
        size = repo.blob(recipe["sha256"]).stat().st_size
        first, last = mirror._window(self.record.range, size) or (0, size)
        terms: list[dict[str, Any]] = []
        fetch: dict[str, list[dict[str, Any]]] = {}
        offset = position = 0
        for xorb, start, stop in recipe["terms"]:
            marks = _marks(repo.xorb(xorb))
            begin = position - marks[start].unpacked  # where in the file the xorb's first byte would be
            position = begin + marks[stop].unpacked
            while start < stop and begin + marks[start + 1].unpacked <= first:
                start += 1
            while start < stop and begin + marks[stop - 1].unpacked >= last:
                stop -= 1
            if start == stop:
                continue
            if not terms:
                offset = first - begin - marks[start].unpacked
            chunks = {"start": start, "end": stop}
            packed = {"start": marks[start].packed, "end": marks[stop].packed - 1}
            url = self.hub.sign("GET", f"/_blobs/{repo.id}/xorbs/{xorb}")
            length = marks[stop].unpacked - marks[start].unpacked
            terms.append({"hash": xorb, "unpacked_length": length, "range": chunks})
            fetch.setdefault(xorb, []).append({"range": chunks, "url": url, "url_range": packed})
        if not terms:
            raise _Refusal(416, f"{self.record.range} lies behind the end of a file of {size} bytes")
        return {"offset_into_first_range": offset, "terms": terms, "fetch_info": fetch}

    @_route("GET", "/_blobs/REPO/xorbs/OID", "signature")
    def _get_xorb(self, repo: Repository, oid: str) -> Any:
        return _Answer(repo.xorb(oid))


# The formats: https://huggingface.co/docs/xet/xorb and https://huggingface.co/docs/xet/shard


class _Mark(NamedTuple):
    """Where a chunk begins, in its xorb and in what that unpacks to."""

    packed: int
    unpacked: int


def _chunk_header(xorb: Any, at: int) -> tuple[int, int, int]:
    """Bytes packed, how, and bytes unpacked of the chunk at a place in a xorb."""
    sizes = [int.from_bytes(xorb[i : i + 3], "little") for i in (at + 1, at + 5)]
    return sizes[0], xorb[at + 4], sizes[1]


@functools.lru_cache(256)
def _marks(path: Path) -> list[_Mark]:
    """Of each chunk of a xorb, and of the end."""
    marks = [_Mark(0, 0)]
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as xorb:
        while marks[-1].packed < len(xorb) and xorb[marks[-1].packed] == 0:  # the version; a footer begins otherwise
            packed, _, unpacked = _chunk_header(xorb, marks[-1].packed)
            marks.append(_Mark(marks[-1].packed + 8 + packed, marks[-1].unpacked + unpacked))
    return marks


def _unpack(path: Path, start: int, stop: int) -> Iterator[bytes | bytearray]:
    """The chunks [start, stop) of a xorb."""
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as xorb:
        for mark in _marks(path)[start:stop]:
            packed, scheme, unpacked = _chunk_header(xorb, mark.packed)
            chunk: bytes | bytearray = xorb[mark.packed + 8 : mark.packed + 8 + packed]
            if scheme != 0:
                chunk = pyarrow.decompress(chunk, decompressed_size=unpacked, codec="lz4", asbytes=True)
            if scheme == 2:  # the first bytes of each four, then the second ones, ...
                grouped, chunk, at = chunk, bytearray(unpacked), 0
                for i in range(4):
                    count = len(range(i, unpacked, 4))
                    chunk[i::4] = grouped[at : at + count]
                    at += count
            yield chunk


_SHARD_TAG = b"HFRepoMetaData\0" + bytes.fromhex("5569 6745 6a7b 8157 83a5 bdd9 5ccd d14a a9")
_BOOKEND = b"\xff" * 32 + b"\0" * 16  # after the files, and after the xorbs


def _split_shard(shard: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """Each file's Xet hash, SHA-256 and terms (of which xorb the chunks [start, stop)), and, as it is in the
    shard, the list of the xorbs and their chunks."""
    files, at = [], 48
    while not shard.startswith(_BOOKEND, at):
        flags, count = struct.unpack_from("<II", shard, at + 32)
        if not flags & 1 << 30:
            raise _Refusal(400, "the shard holds a file without SHA-256")
        entries = range(at + 48, at + 48 + 48 * count, 48)
        terms = [(_hash(shard, entry), *struct.unpack_from("<II", shard, entry + 40)) for entry in entries]
        last = entries.stop + (48 * count if flags & 1 << 31 else 0)  # with that flag come hashes to verify terms
        files.append({"hash": _hash(shard, at), "sha256": _hash(shard, last), "terms": terms})
        at = last + 48
    begin = at = at + 48
    while not shard.startswith(_BOOKEND, at):
        at += 48 + 48 * struct.unpack_from("<I", shard, at + 36)[0]
    return files, shard[begin:at]


def _shard_of_xorbs(xorbs: bytes) -> bytes:
    """A shard with no files; its tables for looking up are empty, so that who reads it makes them."""
    end = 96 + len(xorbs) + 48
    header = struct.pack("<32s2Q", _SHARD_TAG, 2, 200)
    footer = struct.pack("<9Q32x2Q72xQ", 1, 48, 96, end, 0, end, 0, end, 0, int(time.time()), 2**63, end)
    return header + _BOOKEND + xorbs + _BOOKEND + footer


def _hash(shard: bytes, at: int) -> str:
    """As Xet writes a hash: four little-endian numbers."""
    return "".join(f"{number:016x}" for number in struct.unpack_from("<4Q", shard, at))


# --- Clients and processes ----------------------------------------------------------------------------------


def environment(url: str, home: Path | str, *, token: str | None = None, xet: bool = False) -> dict[str, str]:
    """For a process that shall speak to the hub at `url`: these are read when huggingface_hub is imported.

    One `home` for each hub and user: the cache in it knows neither, and would give private files to anyone.
    """
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        **({"HF_TOKEN": token} if token else {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}),
        "HF_HUB_DISABLE_XET": "0" if xet else "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets would wait for another host
        "NO_PROXY": "127.0.0.1,localhost",
    }


class HubProcess:
    """A hub in a process of its own, which shares no interpreter lock with the client and can be killed.

    It takes the `options` of Hub, serves while the `with` block runs, and ends with this process too, however
    that dies.
    """

    def __init__(self, root: Path | str, *, faults: Iterable[Fault] = (), **options: Any) -> None:
        self._log = Path(options.setdefault("log", str(Path(root) / "log")))
        self._options = {**options, "faults": [asdict(fault) for fault in faults]}
        self._command = [sys.executable, __file__, str(root), "--until-stdin-closes", "--options"]

    def __enter__(self) -> "HubProcess":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def start(self) -> None:
        """Also brings a killed one back, at the same URL; its faults begin anew."""
        command = [*self._command, json.dumps(self._options)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError(f"hub of {self._command[2]!r} did not start; its error is on stderr above")
        self._options["port"] = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=30)

    @property
    def requests(self) -> list[Request]:
        """Those that were answered, in that order."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [Request(**json.loads(line)) for line in lines]

    def bytes_received(self, pattern: str = "*") -> int:
        return _received(self.requests, pattern)

    def wait_for(self, condition: Callable[[Request], bool], seconds: float = 30) -> None:
        """Waits for a request that is answered, or stalls, and meets the condition."""
        deadline = time.monotonic() + seconds
        while not any(map(condition, self.requests)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no such request in {seconds} s")
            time.sleep(0.02)


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the datasets below a directory as the Hugging Face Hub does.")
    parser.add_argument("root", type=Path)
    parser.add_argument("--options", type=json.loads, default={}, help='of Hub: {"port": 8000, "xet": true}')
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with whoever feeds stdin")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    faults = [Fault(**fault) for fault in arguments.options.pop("faults", [])]
    with Hub(arguments.root, faults=faults, **arguments.options) as hub:
        print(hub.url, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            if arguments.until_stdin_closes:
                sys.stdin.read()
            else:
                threading.Event().wait()


if __name__ == "__main__":
    main()
