"""What `push` needs of a place for prepared clips: repository.py, bucket.py and folder.py are the places.

All hold the same tree. A repository changes by commits, each of them whole or not there; the others by files, of which
the card comes last.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from kinetics_tools.errors import PushError, TransientError
from kinetics_tools.io.retry import RetryPolicy, retry
from kinetics_tools.preparation.parquet import FOOTER_BYTES, read_footer
from kinetics_tools.publication.digests import Digests

__all__ = [
    "FOOTER_BYTES",
    "REMOTE_POLICY",
    "Destination",
    "RemoteFile",
    "State",
    "has_footer_of",
    "retry_remote",
]

REMOTE_POLICY = RetryPolicy(retries=7, first_wait_seconds=1.0, longest_wait_seconds=60.0)

T = TypeVar("T")


@dataclass(frozen=True)
class RemoteFile:
    """`sha256` is None where it is not known; `git_oid` is known of files in git alone, `xet_hash` of a bucket's."""

    size: int
    sha256: str | None = None
    git_oid: str | None = None
    xet_hash: str | None = None


@dataclass(frozen=True)
class State:
    """The files at a moment: path -> file. `head` is the commit; None of a folder, and where there is nothing yet.

    `exists` says whether the repository and its branch are there.
    """

    files: Mapping[str, RemoteFile]
    head: str | None = None
    exists: bool = True


class Destination(Protocol):
    """What `push` needs of a place."""

    @property
    def url(self) -> str: ...

    @property
    def repo_id(self) -> str | None: ...

    def check_rights(self) -> None:
        """Raises PushError where it is known that one may not write there."""

    def check_settings(self, *, private: bool | None, gated: str | None) -> None:
        """Raises ValueError for what the place does not have."""

    def prepare(self, *, private: bool | None, gated: str | None) -> None:
        """Makes the place, and closes it where so asked, before anything is sent."""

    def finish(self, *, private: bool | None, gated: str | None) -> None:
        """Opens the place where so asked."""

    def look(self) -> State: ...

    def read(self, name: str, state: State) -> bytes: ...

    def open(self, name: str, state: State) -> BinaryIO:
        """For reading parts of it."""

    def holds(self, state: State, name: str, digests: Digests) -> bool:
        """Whether a local file is there with the same content."""

    def commit(
        self, state: State, message: str, add: Mapping[str, bytes | None], delete: Sequence[str], digests: Digests
    ) -> str:
        """Adds files (None for what the local file of that name holds) and deletes some; returns the URL to see it."""


def retry_remote(function: Callable[[], T], on_retry: Callable[[str], Any] = lambda text: None) -> T:
    """Return the result of `function`, retried for some minutes while it raises TransientError.

    Raises PushError when that did not help. `on_retry` is called with a line of text for the user.
    """
    try:
        return retry(
            function, REMOTE_POLICY, on_retry=lambda error, wait: on_retry(f"{error}; next attempt in {wait:.0f} s")
        )
    except TransientError as error:
        raise PushError(f"{error}; retries did not help, rerun the same command later to resume") from None


def has_footer_of(path: Path, file: BinaryIO, size: int) -> bool:
    """Whether two Parquet files of a size have the same footer, which knows of each clip in the file."""
    with open(path, "rb") as mine:
        return read_footer(mine, size) == read_footer(file, size)
