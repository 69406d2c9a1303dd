"""What `push` needs of a place for prepared clips: repository.py, bucket.py and folder.py are the places.

All hold the same tree. A repository changes by commits, each of them whole or not there; the others by files, of which
the card comes last.
"""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeVar

from kinetics_tools.digests import Digests
from kinetics_tools.shard_file import FOOTER_BYTES, read_footer

__all__ = [
    "FOOTER_BYTES",
    "LONGEST_WAIT_SECONDS",
    "Destination",
    "PushError",
    "RemoteFile",
    "State",
    "Unavailable",
    "has_footer_of",
    "patiently",
]

LONGEST_WAIT_SECONDS = 60.0
_TRIES = 7  # without success in between
_TRIES_MOVED = 100  # each time another pusher got on

T = TypeVar("T")


class PushError(OSError):
    """Nothing that a second try would help with."""


class Unavailable(OSError):
    """What may pass: a server that is busy, a connection that broke, another pusher who was first."""

    def __init__(self, message: str, *, moved: bool = False, retry_after_seconds: float = 0.0):
        super().__init__(message)
        self.moved = moved
        self.retry_after_seconds = retry_after_seconds


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


def patiently(function: Callable[[], T], tell: Callable[[str], Any] = lambda text: None) -> T:
    """What `function` returns, asked again while it raises Unavailable, for some minutes."""
    tries = moved = 0
    while True:
        try:
            return function()
        except Unavailable as error:
            if error.moved:
                moved += 1
                wait = random.uniform(0, min(0.1 * moved, 5.0))
            else:
                tries += 1
                wait = max(
                    error.retry_after_seconds, min(2.0**tries / 2, LONGEST_WAIT_SECONDS) * random.uniform(0.5, 1)
                )
            if tries > _TRIES or moved > _TRIES_MOVED:
                raise PushError(
                    f"{error}; gave up after {tries + moved} tries, the same command goes on later"
                ) from None
            if not error.moved:
                tell(f"{error}; next try in {wait:.0f} s")
            time.sleep(wait)


def has_footer_of(path: Path, file: BinaryIO, size: int) -> bool:
    """Whether two Parquet files of a size have the same footer, which knows of each clip in the file."""
    with open(path, "rb") as mine:
        return read_footer(mine, size) == read_footer(file, size)
