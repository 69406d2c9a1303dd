"""Interface of the remotes that `push` writes to: repositories and buckets on the Hub (hub.py, bucket.py), and folders.

All hold the same tree of files. A repository changes by atomic commits. A bucket and a folder change file by file:
first the shards, then the manifests, and the card last.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar

from kinetics_tools.errors import PushError, TransientError
from kinetics_tools.io.folder import Folder
from kinetics_tools.io.retry import RetryPolicy, retry
from kinetics_tools.preparation import read_footer
from kinetics_tools.publication.upload_bar import OnBytes

_POLICY = RetryPolicy(retries=7, first_wait_seconds=1.0, longest_wait_seconds=60.0)
_FIRST_RETRIES = 2  # within about 3 s

T = TypeVar("T")


@dataclass(frozen=True)
class Access:
    """Access settings of a remote: `gated` is "auto", "manual" or "no"; None leaves a setting unchanged."""

    private: bool | None = None
    gated: str | None = None


@dataclass(frozen=True)
class Listing:
    """Files of a remote at one moment.

    Attributes:
        files: path -> bytes.
        head: commit of the files; None for a bucket, a folder and an empty remote.
        exists: False if the repository, its branch or the bucket must be created first.
        digests: path -> SHA-256 in hexadecimal, for files whose digest the remote lists.
        contents: small files that were read so far, by path.
    """

    files: Mapping[str, int]
    head: str | None = None
    exists: bool = True
    digests: Mapping[str, str] = field(default_factory=dict, repr=False)
    contents: dict[str, bytes] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Change:
    """One step of a publication.

    Attributes:
        shards: names of local shards to upload.
        texts: path -> content of the files that describe the shards, such as the card and its pictures.
        delete: paths of remote shards and pictures that no card names any more.
        is_visible: True if the step writes the card that names the shards, so that readers see them.
    """

    shards: tuple[str, ...] = ()
    texts: Mapping[str, bytes] = field(default_factory=dict)
    delete: tuple[str, ...] = ()
    is_visible: bool = False


class Remote(ABC):
    """Interface that `push` needs of a remote. Methods raise PushError, or TransientError if a retry may help.

    Attributes:
        repo_id: name of a dataset repository, for its card; None for a bucket or a folder.
        changes: names and values of the settings that this object changed.
    """

    url: str
    repo_id: str | None
    changes: list[tuple[str, Any]]

    def check_rights(self) -> None:  # noqa: B027
        """Raise PushError if the token is known to lack the right to write."""

    @abstractmethod
    def check_access(self, access: Access) -> None:
        """Raise ValueError for a setting that the remote does not have."""

    def create(self, access: Access) -> None:  # noqa: B027
        """Create the remote if it does not exist, and restrict its readers if asked, before anything is uploaded."""

    def open_to_readers(self, access: Access) -> None:  # noqa: B027
        """Lift restrictions if asked, after everything is uploaded."""

    @abstractmethod
    def list_files(self) -> Listing:
        """Return the files of the remote."""

    @abstractmethod
    def open(self, name: str, listing: Listing) -> BinaryIO:
        """Open a file for ranged reads."""

    @abstractmethod
    def use(self, name: str, listing: Listing, function: Callable[[BinaryIO], T]) -> T:
        """Return `function` of an open file. Errors of its reads are those of this class."""

    def read(self, name: str, listing: Listing) -> bytes:
        """Return the bytes of a file."""
        return self.use(name, listing, lambda file: file.read(listing.files[name]))

    def footer(self, name: str, listing: Listing) -> bytes:
        """Return the footer of a shard."""
        return self.use(name, listing, lambda file: read_footer(file, listing.files[name]))

    @abstractmethod
    def commit(self, change: Change, listing: Listing, message: str, local: Folder, on_bytes: OnBytes) -> str:
        """Apply a change, whose shards lie in `local`, to the files of `listing`; return the URL that shows it.

        `on_bytes` is called with each number of uploaded bytes of shards.
        """

    @abstractmethod
    def load_arguments(self, listing: Listing) -> dict[str, Any] | None:
        """Return the arguments with which `load_dataset` loads the remote; None if it cannot."""


def retry_remote(
    function: Callable[[], T], say: Callable[[str], Any] = lambda text: None, *, is_first: bool = False
) -> T:
    """Return the result of `function`, retried for some minutes while it raises TransientError.

    `say` is called with a line of text before each retry. With `is_first`, the first request of a run, a server that
    cannot be reached is retried for some seconds only. Raises PushError if retries do not help.
    """
    unreached = 0

    def on_retry(error: TransientError, wait: float) -> None:
        nonlocal unreached
        unreached += not error.is_answered
        if is_first and unreached > _FIRST_RETRIES:
            raise PushError(f"{error}; check your network connection and rerun the same command")
        say(f"{error}; next attempt in {wait:.0f} s")

    try:
        return retry(function, _POLICY, on_retry=on_retry)
    except TransientError as error:
        raise PushError(f"{error}; retries did not help, rerun the same command later to resume") from None
