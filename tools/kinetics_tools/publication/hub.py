"""A dataset repository on the Hub, as a place for prepared clips, and what it shares with buckets there."""

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, HfFileSystem

# Not all of them are in huggingface_hub.errors before 0.25.
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    validate_repo_id,
)

from kinetics_tools.errors import PushError, TransientError
from kinetics_tools.io.retry import parse_retry_after
from kinetics_tools.publication.digests import Digests
from kinetics_tools.publication.remote import FOOTER_BYTES, RemoteFile, State

__all__ = ["OnTheHub", "Repository"]

_TOKENS = "https://huggingface.co/settings/tokens"
_FATAL = (400, 401, 403, 404, 413)
_MOVED = (409, 412)


class OnTheHub:
    """What all places there share: a token, whether it may write, and errors that do not hold it."""

    _to_propose = False  # which takes no right to write

    def __init__(self, name: str, token: str | None):
        # Given in each request, even where the environment forbids to send the one that is stored unasked.
        self._token = token or huggingface_hub.get_token()
        self._api = HfApi(token=self._token)
        self._name = name

    @property
    def token(self) -> str | None:
        return self._token

    @property
    def endpoint(self) -> str:
        return self._api.endpoint

    def check_rights(self) -> None:
        """Raises PushError where there is no token, or one that may not write there."""
        if self.token is None:
            raise PushError(
                f"no token to push to {self._name} with: make one that may write at {_TOKENS}, then "
                "`hf auth login`, or set HF_TOKEN"
            )
        try:
            with self._asking("who owns the token"):
                me = self._api.whoami()
        except PushError as error:
            raise PushError(
                f"the Hub does not take the token: make one that may write at {_TOKENS} ({error})"
            ) from None
        if "/" not in self._name:
            self._name = f"{me['name']}/{self._name}"
        problem = _problem_of_rights(me, self._name, self._to_propose)
        if problem:
            raise PushError(f"{problem}; make a token that may write to {self._name} at {_TOKENS}")

    @contextlib.contextmanager
    def _asking(self, what: str, fatal: Sequence[int] = _FATAL) -> Iterator[None]:
        """Turns what the client raises into PushError or TransientError, without the request, which has the token."""
        try:
            yield
        except (PushError, TransientError):
            raise
        except (OfflineModeIsEnabled, LocalTokenNotFoundError) as error:
            raise PushError(self._clean(f"{what}: {error}")) from None
        except Exception as error:
            status, retry_after = _answer_of(error)
            message = self._clean(f"{what}: {_first_line(error)}")
            if status in fatal or "Invalid metadata" in message:
                raise PushError(message) from None
            raise TransientError(message, is_conflict=status in _MOVED, retry_after_seconds=retry_after) from None

    def _clean(self, text: str) -> str:
        token = self.token
        return text.replace(token, "***") if token else text


class Repository(OnTheHub):
    """A dataset repository, at a branch. With `create_pr` its one commit opens a pull request."""

    def __init__(
        self,
        repo_id: str,
        *,
        token: str | None = None,
        revision: str | None = None,
        create_pr: bool = False,
        workers: int = 5,
    ):
        try:
            validate_repo_id(repo_id)
        except ValueError as error:
            raise ValueError(
                f"{repo_id!r} is no name of a repository, which is USER/NAME; a folder is given by its URL, such as "
                f"file:///data/kinetics ({error})"
            ) from None
        super().__init__(repo_id, token)
        self._revision = revision or "main"
        self._create_pr = self._to_propose = create_pr
        self._workers = workers
        self._uploaded: dict[str, CommitOperationAdd] = {}

    @property
    def repo_id(self) -> str:
        return self._name

    @property
    def url(self) -> str:
        return f"{self._api.endpoint}/datasets/{self.repo_id}"

    def check_settings(self, *, private: bool | None, gated: str | None) -> None:
        if self._create_pr and (private is not None or gated is not None):
            raise ValueError("create_pr opens a pull request, which changes no settings; leave out private and gated")

    def prepare(self, *, private: bool | None, gated: str | None) -> None:
        if self._create_pr:
            return
        with self._asking(f"making {self.repo_id}"):
            self._api.create_repo(self.repo_id, repo_type="dataset", private=private, exist_ok=True)
            if private:
                self._set_private(True)
            if gated in ("auto", "manual"):
                self._set_gated(gated)
            if self._revision != "main":
                self._api.create_branch(self.repo_id, branch=self._revision, repo_type="dataset", exist_ok=True)

    def finish(self, *, private: bool | None, gated: str | None) -> None:
        with self._asking(f"the settings of {self.repo_id}"):
            if gated == "no":
                self._set_gated(False)
            if private is False:
                self._set_private(False)

    def _set_private(self, private: bool) -> None:
        if self._api.repo_info(self.repo_id, repo_type="dataset").private == private:
            return
        if hasattr(self._api, "update_repo_visibility"):  # before huggingface_hub 1.0
            self._api.update_repo_visibility(self.repo_id, private=private, repo_type="dataset")
        else:
            self._api.update_repo_settings(self.repo_id, private=private, repo_type="dataset")

    def _set_gated(self, gated: Any) -> None:
        if not hasattr(self._api, "update_repo_settings"):
            raise PushError("huggingface_hub is too old to gate a repository: pip install 'huggingface_hub>=0.25'")
        self._api.update_repo_settings(self.repo_id, gated=gated, repo_type="dataset")

    def look(self) -> State:
        exists = True
        with self._asking(f"what {self.repo_id} holds"):
            try:
                info = self._api.repo_info(self.repo_id, repo_type="dataset", revision=self._revision)
            except RepositoryNotFoundError:
                if self._create_pr:
                    raise PushError(
                        f"{self.repo_id} is not there, and a pull request needs a repository; push without "
                        "--create-pr first"
                    ) from None
                return State({}, exists=False)
            except RevisionNotFoundError:  # the branch will start at main
                info, exists = self._api.repo_info(self.repo_id, repo_type="dataset"), False
            entries = self._api.list_repo_tree(self.repo_id, recursive=True, revision=info.sha, repo_type="dataset")
            files = {entry.path: _remote_file(entry) for entry in entries if hasattr(entry, "size")}
            return State(files, info.sha, exists)

    def read(self, name: str, state: State) -> bytes:
        with tempfile.TemporaryDirectory() as folder, self._asking(f"{name} of {self.repo_id}"):
            path = self._api.hf_hub_download(
                self.repo_id, name, repo_type="dataset", revision=state.head, cache_dir=folder
            )
            return Path(path).read_bytes()

    def open(self, name: str, state: State) -> BinaryIO:
        # A new one each time, as it remembers what it once saw.
        fs = HfFileSystem(endpoint=self._api.endpoint, token=self.token, skip_instance_cache=True)
        with self._asking(f"{name} of {self.repo_id}"):
            file: BinaryIO = fs.open(f"datasets/{self.repo_id}@{state.head}/{name}", block_size=FOOTER_BYTES)
        return file

    def holds(self, state: State, name: str, digests: Digests) -> bool:
        remote = state.files.get(name)
        if remote is None or remote.size != digests.size(name):
            return False
        if remote.sha256 is not None:
            return remote.sha256 == digests.sha256(name)
        content = digests.path(name).read_bytes()
        return remote.git_oid == hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()

    def commit(
        self, state: State, message: str, add: Mapping[str, bytes | None], delete: Sequence[str], digests: Digests
    ) -> str:
        where: dict[str, Any] = {"repo_type": "dataset", "create_pr": self._create_pr, "num_threads": self._workers}
        # A pull request starts at main, and one need not be allowed to write there.
        where["revision"] = None if self._create_pr else self._revision
        files = [name for name, content in add.items() if content is None]
        with ThreadPoolExecutor(self._workers) as pool:  # before huggingface_hub 2.0 this reads the files
            list(pool.map(lambda name: self._addition(name, digests), files))
        additions = [self._uploaded[name] for name in files]
        with self._asking("the upload", fatal=(400, 401, 404, 413)):  # not 403, which says that a URL has expired
            self._api.preupload_lfs_files(self.repo_id, additions=additions, **where)
        for name in files:
            digests.learn(name, self._uploaded[name].upload_info.sha256.hex())
            # Else a file would be left out of the commit that was there when the upload began and is not now.
            self._uploaded[name]._remote_oid = None
        operations: list[Any] = [
            *additions,
            *(CommitOperationAdd(name, content) for name, content in add.items() if content is not None),
            *(CommitOperationDelete(name, is_folder=False) for name in delete),
        ]
        try:
            with self._asking("the commit"):
                done = self._api.create_commit(
                    self.repo_id, operations, commit_message=message, parent_commit=state.head, **where
                )
        except PushError:
            self._uploaded.clear()  # the Hub may have lost what it once had
            raise
        for name in files:
            del self._uploaded[name]
        self._revision = done.pr_revision or self._revision  # what is to be read back
        return str(done.pr_url or done.commit_url)

    def _addition(self, name: str, digests: Digests) -> None:
        if name not in self._uploaded:
            addition = CommitOperationAdd(name, str(digests.path(name)))
            known = digests.known(name)
            if known is not None:
                addition.upload_info.sha256 = bytes.fromhex(known)
            self._uploaded[name] = addition


def _remote_file(entry: Any) -> RemoteFile:
    lfs = getattr(entry, "lfs", None)
    if lfs is None:
        return RemoteFile(entry.size, git_oid=entry.blob_id)
    return RemoteFile(entry.size, sha256=lfs["sha256"] if isinstance(lfs, dict) else lfs.sha256)


def _answer_of(error: BaseException | None) -> tuple[int | None, float]:
    """Status and, in seconds, Retry-After of the answer that an error came of, however it was wrapped."""
    while error is not None:
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        if response is not None and status is not None:
            asked = response.headers.get("Retry-After", "")
            return status, parse_retry_after(asked) or 0.0
        error = error.__cause__ or error.__context__
    return None, 0.0


def _first_line(error: BaseException) -> str:
    """What an error says, and what the error says that it came of; after a colon, the next line is read, too."""
    said: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        lines = [line.strip() for line in str(cause).splitlines() if line.strip()] or [type(cause).__name__]
        line = " ".join(lines[: 2 if lines[0].endswith(":") else 1])
        said += [] if line in said else [line]
        cause = cause.__cause__
    return ": ".join(said)


def _problem_of_rights(me: Mapping[str, Any], repo_id: str, create_pr: bool) -> str | None:
    """Why a token may not write to a repository, by what the Hub tells about it; None where it may, or may be able."""
    token = me.get("auth", {}).get("accessToken", {})
    role = token.get("role")
    if role == "read":
        return f"the token of {me['name']} may only read"
    if create_pr:
        return None
    namespace = repo_id.partition("/")[0]
    mine = {me["name"]: "admin"} | {org["name"]: org.get("roleInOrg", "write") for org in me.get("orgs", [])}
    if role != "fineGrained":
        if namespace not in mine:
            return f"{namespace} is neither {me['name']} nor an organisation of {me['name']}"
        return f"{me['name']} may only read in {namespace}" if mine[namespace] == "read" else None
    for scope in token.get("fineGrained", {}).get("scoped", []):
        named = scope.get("entity", {}).get("name")
        if named in (namespace, repo_id) and any("write" in one for one in scope.get("permissions", [])):
            return None
    return f"the fine-grained token of {me['name']} may not write to {repo_id}"
