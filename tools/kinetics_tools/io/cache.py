"""Download cache of `datasets`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
from filelock import FileLock

from kinetics_tools.errors import ChangedError
from kinetics_tools.io.partial import PartialFile, discard_partial

_BLOCK_BYTES = 1 << 20


class DownloadCache:
    """Download cache of `datasets`, in which a file has the name that the library derives from its URL.

    Args:
        directory: the cache; by default that of `datasets`.
        force: download files again, once per object, even if they are in the cache.
    """

    def __init__(self, directory: str | None = None, *, force: bool = False):
        self.directory = str(directory or datasets.config.DOWNLOADED_DATASETS_PATH)
        self._force = force
        self._fetched: set[str] = set()

    def path(self, url: str) -> str:
        """Return the path of the file at `url` in the cache, even if it does not exist yet."""
        return os.path.join(self.directory, datasets.utils.file_utils.hash_url_to_filename(url))

    def held_bytes(self, url: str) -> int:
        """Return the number of bytes of the file at `url` in the cache, complete or partial."""
        held = next(filter(os.path.exists, (self.path(url), str(self._partial(url)))), None)
        return os.path.getsize(held) if held and not self._is_forced(url) else 0

    def fetch(self, url: str, *, progress: Callable[[int], Any] | None = None) -> str:
        """Return the path of the file at `url`, downloaded if it is missing. A partial download is resumed.

        `progress` is called with the number of bytes of each step. Raises the errors of `HttpFile`.
        """
        path = self.path(url)
        os.makedirs(self.directory, exist_ok=True)
        with FileLock(path + ".lock"):
            is_forced = self._is_forced(url)
            if is_forced:
                discard_partial(self._partial(url))
            if is_forced or not os.path.exists(path):
                try:
                    self._download(url, progress)
                except ChangedError:
                    discard_partial(self._partial(url))
                    self._download(url, progress)
        self._fetched.add(url)
        return path

    def _download(self, url: str, progress: Callable[[int], Any] | None) -> None:
        tell = progress or (lambda count: None)
        with PartialFile(url, self._partial(url)) as source:
            tell(source.skip_held())
            scratch = bytearray(_BLOCK_BYTES)
            while count := source.readinto(scratch):
                tell(count)
            source.keep(Path(self.path(url)))

    def _partial(self, url: str) -> Path:
        return Path(self.path(url) + ".incomplete")

    def _is_forced(self, url: str) -> bool:
        return self._force and url not in self._fetched
