"""A folder that `fsspec` opens, on a disk or in an object store, as a place for prepared clips."""

import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO

from kinetics_tools.io.folder import Folder
from kinetics_tools.preparation.card import CARD_NAME
from kinetics_tools.publication.digests import Digests
from kinetics_tools.publication.remote import RemoteFile, State, has_footer_of
from kinetics_tools.releases import RELEASES

__all__ = ["FolderRemote"]


class FolderRemote:
    """Where two write at once, the last card stands."""

    repo_id: str | None = None

    def __init__(self, url: str, *, workers: int = 5):
        self._store = Folder(url)
        self._workers = workers
        self.url = self._store.url

    @property
    def local_path(self) -> str | None:
        """None of a folder on another machine."""
        return self._store.root if self._store.is_local else None

    def check_rights(self) -> None:
        pass

    def check_settings(self, *, private: bool | None, gated: str | None) -> None:
        if private is not None or gated is not None:
            raise ValueError(f"private, public and gated are of repositories on the Hub; {self.url} is a folder")

    def prepare(self, *, private: bool | None, gated: str | None) -> None:
        pass

    def finish(self, *, private: bool | None, gated: str | None) -> None:
        pass

    def look(self) -> State:
        files = {name: RemoteFile(size) for name, size in self._store.sizes().items()}
        for release in RELEASES:
            files |= {f"{release}/{name}": RemoteFile(size) for name, size in self._store.sizes(release).items()}
        return State({name: file for name, file in files.items() if not name.endswith(".tmp")})

    def read(self, name: str, state: State) -> bytes:
        return self._store.read(name)

    def open(self, name: str, state: State) -> BinaryIO:
        return self._store.open(name)

    def holds(self, state: State, name: str, digests: Digests) -> bool:
        """By size and footer."""
        remote = state.files.get(name)
        if remote is None or remote.size != digests.size(name):
            return False
        with self._store.open(name) as file:
            return has_footer_of(digests.path(name), file, remote.size)

    def commit(
        self, state: State, message: str, add: Mapping[str, bytes | None], delete: Sequence[str], digests: Digests
    ) -> str:
        def send(name: str) -> None:
            content = add[name]
            with self._store.writing(name) as file:
                if content is not None:
                    file.write(content)
                    return
                with open(digests.path(name), "rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)

        described = sorted((name for name, content in add.items() if content is not None), key=lambda n: n == CARD_NAME)
        with ThreadPoolExecutor(self._workers) as pool:
            list(pool.map(send, [name for name in add if name not in described]))
        for name in described:
            send(name)
        for name in delete:
            self._store.remove(name)
        return self.url
