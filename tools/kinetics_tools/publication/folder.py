"""Folder that `fsspec` opens, on a disk or in an object store, as a remote."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, TypeVar

from kinetics_tools.io.folder import Folder
from kinetics_tools.preparation.card import CARD_NAME, PICTURE_FOLDER
from kinetics_tools.publication.remote import Access, Change, Listing, Remote
from kinetics_tools.publication.upload_bar import OnBytes
from kinetics_tools.releases import RELEASES

_BLOCK_BYTES = 1 << 20

T = TypeVar("T")


class FolderRemote(Remote):
    """Folder at `url`. The last card of concurrent pushes wins."""

    repo_id: str | None = None

    def __init__(self, url: str, *, workers: int = 5):
        self._store = Folder(url)
        self._workers = workers
        self.url = self._store.url
        self.changes = []

    def check_access(self, access: Access) -> None:
        if access != Access():
            raise ValueError(f"private, public and gated are settings of the Hub, and {self.url} is a folder")

    def list_files(self) -> Listing:
        files = self._store.sizes()
        for folder in (*RELEASES, PICTURE_FOLDER):
            files |= {f"{folder}/{name}": size for name, size in self._store.sizes(folder).items()}
        return Listing({name: size for name, size in files.items() if not name.endswith(".tmp")})

    def read(self, name: str, listing: Listing) -> bytes:
        return self._store.read(name)

    def open(self, name: str, listing: Listing) -> BinaryIO:
        return self._store.open(name)

    def use(self, name: str, listing: Listing, function: Callable[[BinaryIO], T]) -> T:
        with self.open(name, listing) as file:
            return function(file)

    def commit(self, change: Change, listing: Listing, message: str, local: Folder, on_bytes: OnBytes) -> str:
        def upload(name: str) -> None:
            with self._store.writing(name) as file, local.open(name) as source:
                while block := source.read(_BLOCK_BYTES):
                    file.write(block)
                    on_bytes(len(block))

        with ThreadPoolExecutor(self._workers) as pool:
            list(pool.map(upload, change.shards))
        for name in sorted(change.texts, key=lambda name: name == CARD_NAME):
            self._store.write(name, change.texts[name])
        for name in change.delete:
            self._store.remove(name)
        return self.url

    def load_arguments(self, listing: Listing) -> dict[str, Any] | None:
        # `load_dataset` reads the card of a local folder, and of no other URL.
        return {"path": self._store.root} if self._store.is_local else None
