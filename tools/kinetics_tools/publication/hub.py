"""Dataset repository on the Hub as a remote, and the base class that it shares with buckets."""

import contextlib
import functools
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, TypeVar

import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, HfFileSystem, errors, utils
from huggingface_hub.hf_api import RepoFile
from packaging.version import Version

from kinetics_tools.errors import PushError, TransientError
from kinetics_tools.io.folder import Folder
from kinetics_tools.io.retry import parse_retry_after
from kinetics_tools.preparation import FOOTER_BYTES
from kinetics_tools.publication.remote import Access, Change, Listing, Remote
from kinetics_tools.publication.upload_bar import OnBytes, client_bytes

_CLIENT = "1.29"  # the first with resumable folder uploads and bucket settings
_TOKENS = "https://huggingface.co/settings/tokens"
_FATAL = (400, 401, 403, 404, 413)
_CONFLICTS = (409, 412)

T = TypeVar("T")


class HubRemote(Remote):
    """Common part of repositories and buckets: a token, its rights, ranged reads, and errors without the token."""

    _needs_write = True

    def __init__(self, name: str, token: str | None):
        if Version(huggingface_hub.__version__) < Version(_CLIENT):
            raise ImportError(
                f"publishing needs huggingface_hub {_CLIENT} or newer, this is {huggingface_hub.__version__}: "
                f"pip install 'huggingface_hub>={_CLIENT}'"
            )
        # Sent with each request, even if the environment forbids to send the stored token implicitly.
        self._token = token or huggingface_hub.get_token()
        self._api = HfApi(token=self._token)
        self.changes = []
        self._name = name

    @functools.cached_property
    def _fs(self) -> HfFileSystem:
        return HfFileSystem(endpoint=self._api.endpoint, token=self._token, skip_instance_cache=True)

    def check_rights(self) -> None:
        if self._token is None:
            raise PushError(
                f"no token to push to {self._name}: create one with write access at {_TOKENS}, then run "
                "`hf auth login` or set HF_TOKEN"
            )
        if huggingface_hub.constants.HF_HUB_OFFLINE:
            raise PushError(f"cannot push to {self._name}: HF_HUB_OFFLINE is set; unset it and rerun the same command")
        try:
            with self._errors("identify the owner of the token"):
                me = self._api.whoami()
        except PushError as error:
            raise PushError(f"{error}; create a token with write access at {_TOKENS}") from None
        if "/" not in self._name:
            self._name = f"{me['name']}/{self._name}"
        problem = _rights_problem(me, self._name, needs_write=self._needs_write)
        if problem:
            raise PushError(f"{problem}; create a token with write access to {self._name} at {_TOKENS}")

    def create(self, access: Access) -> None:
        with self._errors(f"create {self.url}"):
            self._create()
            if access.private:
                self._set("private", True)
            if access.gated in ("auto", "manual"):
                self._set("gated", access.gated)

    def open_to_readers(self, access: Access) -> None:
        with self._errors(f"change the settings of {self.url}"):
            if access.gated == "no":
                self._set("gated", "no")
            if access.private is False:
                self._set("private", False)

    def open(self, name: str, listing: Listing) -> BinaryIO:
        with self._errors(f"open {name} of {self._name}"):
            path = self._path(name, listing)
            # The size saves a request.
            file: BinaryIO = self._fs.open(path, block_size=FOOTER_BYTES, size=listing.files[name])
            return file

    def use(self, name: str, listing: Listing, function: Callable[[BinaryIO], T]) -> T:
        with self._errors(f"read {name} of {self._name}"), self.open(name, listing) as file:
            return function(file)

    @abstractmethod
    def _path(self, name: str, listing: Listing) -> str: ...

    @abstractmethod
    def _create(self) -> None:
        """Create the remote as a private one, if it does not exist: clips show people."""

    def _set(self, name: str, value: Any) -> None:
        wanted = False if value == "no" else value  # as the Hub calls it
        if getattr(self._settings(), name) != wanted:
            self._update(**{name: wanted})
            self.changes.append((name, value))

    @abstractmethod
    def _settings(self) -> Any:
        """Return an object with the present settings as attributes."""

    @abstractmethod
    def _update(self, **settings: Any) -> None: ...

    @contextlib.contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        """Turn errors of the client into PushError or TransientError, without the request, because it has the token."""
        try:
            yield
        except (PushError, TransientError):
            raise
        except Exception as error:
            message = self._without_token(f"cannot {action}: {_first_lines(error)}")
            response = _response_of(error)
            status = response.status_code if response is not None else None
            # Storage elsewhere answers 403 if an upload URL has expired.
            has_expired = status == 403 and not str(response.url).startswith(self._api.endpoint)
            is_fatal = isinstance(error, errors.OfflineModeIsEnabled | errors.LocalTokenNotFoundError | ImportError)
            if is_fatal or (status in _FATAL and not has_expired) or "Invalid metadata" in message:
                raise PushError(message) from None
            asked = parse_retry_after(response.headers.get("Retry-After", "")) if response is not None else None
            raise TransientError(
                message,
                is_conflict=status in _CONFLICTS,
                is_answered=response is not None,
                retry_after_seconds=asked or 0.0,
            ) from None

    def _without_token(self, text: str) -> str:
        return text.replace(self._token, "***") if self._token else text


class Repository(HubRemote):
    """A branch of a dataset repository. With `create_pr`, its one commit opens a pull request instead."""

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
            utils.validate_repo_id(repo_id)  # type: ignore[attr-defined]
        except ValueError as error:
            url, reason = "file:///data/kinetics", f" ({error})"
            if repo_id.startswith(("/", "./", "../", "~")):
                url, reason = f"file://{Folder(repo_id).root}", ""
            raise ValueError(
                f"invalid repository {repo_id!r}: expected USER/NAME, or the URL of a folder, such as {url}{reason}"
            ) from None
        super().__init__(repo_id, token)
        self._revision = revision or "main"
        self._create_pr = create_pr
        self._needs_write = not create_pr
        self._workers = workers

    @property
    def repo_id(self) -> str:  # type: ignore[override]
        return self._name

    @property
    def url(self) -> str:  # type: ignore[override]
        return f"{self._api.endpoint}/datasets/{self._name}"

    def check_access(self, access: Access) -> None:
        if self._create_pr and access != Access():
            raise ValueError("create_pr changes no settings of the repository; omit private and gated")

    def _create(self) -> None:
        if self._create_pr:
            return
        self._api.create_repo(self._name, repo_type="dataset", private=True, exist_ok=True)
        if self._revision != "main":
            self._api.create_branch(self._name, branch=self._revision, repo_type="dataset", exist_ok=True)

    def _settings(self) -> Any:
        return self._api.repo_info(self._name, repo_type="dataset")

    def _update(self, **settings: Any) -> None:
        self._api.update_repo_settings(self._name, repo_type="dataset", **settings)

    def list_files(self) -> Listing:
        exists = True
        with self._errors(f"list the files of {self._name}"):
            try:
                info = self._api.repo_info(self._name, repo_type="dataset", revision=self._revision)
            except errors.RevisionNotFoundError:  # the branch will start at main
                info, exists = self._api.repo_info(self._name, repo_type="dataset"), False
            except errors.RepositoryNotFoundError:
                if self._create_pr:
                    raise PushError(
                        f"{self._name} does not exist, and a pull request needs a repository; push without "
                        "--create-pr first"
                    ) from None
                return Listing({}, exists=False)
            tree = self._api.list_repo_tree(self._name, recursive=True, revision=info.sha, repo_type="dataset")
            files = [entry for entry in tree if isinstance(entry, RepoFile)]
        digests = {file.path: file.lfs.sha256 for file in files if file.lfs is not None}
        return Listing({file.path: file.size for file in files}, info.sha, exists, digests)

    def _path(self, name: str, listing: Listing) -> str:
        return f"datasets/{self._name}@{listing.head}/{name}"

    def commit(self, change: Change, listing: Listing, message: str, local: Folder, on_bytes: OnBytes) -> str:
        """Upload only shards by `upload_folder`, which resumes; anything else in one atomic commit.

        Without Xet, `upload_folder` makes one commit, too, and resumes from the files that the Hub has stored.
        """
        where: dict[str, Any] = {
            "repo_id": self._name,
            "repo_type": "dataset",
            "revision": None if self._create_pr else self._revision,  # a pull request starts at main
            "parent_commit": listing.head,
            "commit_message": message,
        }
        with self._errors(f"upload to {self._name}"), client_bytes(on_bytes):
            if not (change.texts or change.delete):
                shards = list(change.shards)
                return self._api.upload_folder(folder_path=local.root, allow_patterns=shards, **where).commit_url
            operations: list[Any] = [
                *(CommitOperationAdd(name, local.path(name)) for name in change.shards),
                *(CommitOperationAdd(name, content) for name, content in change.texts.items()),
                *(CommitOperationDelete(name, is_folder=False) for name in change.delete),
            ]
            done = self._api.create_commit(
                operations=operations, create_pr=self._create_pr, num_threads=self._workers, **where
            )
        self._revision = done.pr_revision or self._revision  # what is to be read back
        return str(done.pr_url or done.commit_url)

    def load_arguments(self, listing: Listing) -> dict[str, Any]:
        return {"path": self._name, "revision": listing.head, "token": self._token}


def _response_of(error: BaseException | None) -> Any:
    """Return the server response behind an error, however it was wrapped; None without one."""
    while error is not None:
        response = getattr(error, "response", None)
        if getattr(response, "status_code", None) is not None:
            return response
        error = error.__cause__ or error.__context__
    return None


def _first_lines(error: BaseException) -> str:
    """Return the first line of an error and of its causes; after a colon, the second line as well."""
    texts: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        lines = [line.strip() for line in str(cause).splitlines() if line.strip()] or [type(cause).__name__]
        text = " ".join(lines[: 2 if lines[0].endswith(":") else 1])
        texts += [] if text in texts else [text]
        cause = cause.__cause__
    return ": ".join(texts)


def _rights_problem(me: Mapping[str, Any], name: str, *, needs_write: bool) -> str | None:
    """Return the reason, from `whoami`, that a token has no write access; None if it has, or may have."""
    token = me.get("auth", {}).get("accessToken", {})
    role = token.get("role")
    if role == "read":
        return f"the token of {me['name']} is read-only"
    if not needs_write:
        return None
    namespace = name.partition("/")[0]
    roles = {me["name"]: "admin"} | {org["name"]: org.get("roleInOrg", "write") for org in me.get("orgs", [])}
    if role != "fineGrained":
        if namespace not in roles:
            return f"{namespace} is neither {me['name']} nor an organization of {me['name']}"
        return f"{me['name']} has only read access in {namespace}" if roles[namespace] == "read" else None
    for scope in token.get("fineGrained", {}).get("scoped", []):
        entity = scope.get("entity", {}).get("name")
        if entity in (namespace, name) and any("write" in one for one in scope.get("permissions", [])):
            return None
    return f"the fine-grained token of {me['name']} has no write access to {name}"
