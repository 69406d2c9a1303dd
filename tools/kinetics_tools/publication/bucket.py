"""A bucket on the Hub, or a folder in one, as a place for prepared clips: files without history.

They come through Xet, each of them whole or not there, in batches, the card in the last; `datasets` heeds it from 4.8
on. Nothing is written under another name first, as it is in a `Folder`: to rename, buckets copy and delete.
"""

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from huggingface_hub import HfApi, HfFileSystem

from kinetics_tools.errors import PushError
from kinetics_tools.preparation.card import CARD_NAME
from kinetics_tools.publication.digests import Digests
from kinetics_tools.publication.hub import OnTheHub
from kinetics_tools.publication.remote import FOOTER_BYTES, RemoteFile, State, has_footer_of

__all__ = ["BUCKETS", "Bucket"]

BUCKETS = "hf://buckets/"


class Bucket(OnTheHub):
    """At "hf://buckets/NAMESPACE/NAME" or a folder below it. Where two write at once, the last card stands."""

    repo_id: str | None = None  # the card is that of a folder

    def __init__(self, url: str, *, token: str | None = None):
        namespace, _, rest = url.removeprefix(BUCKETS).strip("/").partition("/")
        name, _, folder = rest.partition("/")
        if not namespace or not name or "@" in namespace + name:
            raise ValueError(f"{url} is no bucket, which is {BUCKETS}NAMESPACE/NAME, nor a folder in one")
        if not hasattr(HfApi, "update_bucket_settings"):
            raise PushError("huggingface_hub is too old for buckets: pip install 'huggingface_hub>=1.29'")
        super().__init__(f"{namespace}/{name}", token)
        self._folder = f"{folder}/" if folder else ""
        self._fs = HfFileSystem(endpoint=self.endpoint, token=self.token, skip_instance_cache=True)
        self._held: dict[tuple[str, RemoteFile], bool] = {}
        self.url = f"{BUCKETS}{self._name}/{folder}".rstrip("/")

    def check_settings(self, *, private: bool | None, gated: str | None) -> None:
        if gated is not None:
            raise ValueError(f"{self.url} is in a bucket, which cannot be gated, only private; leave out gated")

    def prepare(self, *, private: bool | None, gated: str | None) -> None:
        with self._asking(f"making {self.url}"):
            self._api.create_bucket(self._name, private=private, exist_ok=True)
            if private:
                self._set_private(True)

    def finish(self, *, private: bool | None, gated: str | None) -> None:
        with self._asking(f"the settings of {self.url}"):
            if private is False:
                self._set_private(False)

    def _set_private(self, private: bool) -> None:
        if self._api.bucket_info(self._name).private != private:
            self._api.update_bucket_settings(self._name, private=private)

    def look(self) -> State:
        from huggingface_hub.errors import BucketNotFoundError

        self._fs.invalidate_cache()  # it would go on to see what it once saw
        with self._asking(f"what {self.url} holds"):
            try:
                self._api.bucket_info(self._name)
                entries = list(self._api.list_bucket_tree(self._name, self._folder.rstrip("/") or None, recursive=True))
            except BucketNotFoundError:
                return State({}, exists=False)
        files: dict[str, RemoteFile] = {}
        for entry in entries:  # of "clips" those of "clips2", too
            if entry.type == "file" and entry.path.startswith(self._folder):
                files[entry.path.removeprefix(self._folder)] = RemoteFile(entry.size, xet_hash=entry.xet_hash)
        return State(files)

    def read(self, name: str, state: State) -> bytes:
        with self._asking(f"{name} in {self.url}"):
            data: bytes = self._fs.cat_file(self._path(name))
            return data

    def open(self, name: str, state: State) -> BinaryIO:
        with self._asking(f"{name} in {self.url}"):
            file: BinaryIO = self._fs.open(self._path(name), block_size=FOOTER_BYTES)
            return file

    def holds(self, state: State, name: str, digests: Digests) -> bool:
        """By size and footer, which is read once for each content that is there."""
        remote = state.files.get(name)
        if remote is None or remote.size != digests.size(name):
            return False
        if (name, remote) not in self._held:
            with self.open(name, state) as file, self._asking(f"{name} in {self.url}"):
                self._held[name, remote] = has_footer_of(digests.path(name), file, remote.size)
        return self._held[name, remote]

    def commit(
        self, state: State, message: str, add: Mapping[str, bytes | None], delete: Sequence[str], digests: Digests
    ) -> str:
        described = {name: content for name, content in add.items() if content is not None}
        card = {CARD_NAME: described.pop(CARD_NAME)} if CARD_NAME in described else {}
        files = {name: str(digests.path(name)) for name, content in add.items() if content is None}
        batches: tuple[Mapping[str, Any], ...] = (files, described, card)
        with self._asking(f"the upload to {self.url}"):
            for batch in batches:  # the files of one need not arrive in order, nor all of them
                self._api.batch_bucket_files(self._name, add=[(what, self._key(name)) for name, what in batch.items()])
            self._api.batch_bucket_files(self._name, delete=[self._key(name) for name in delete])
        return self.url

    def _key(self, name: str) -> str:
        return self._folder + name

    def _path(self, name: str) -> str:
        return f"buckets/{self._name}/{self._key(name)}"
