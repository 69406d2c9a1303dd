"""Bucket on the Hub, or a folder in one, as a remote: files without history. `datasets` reads its card from 4.8 on.

Each file is uploaded atomically by Xet under its final name, because buckets rename by copy and delete.
"""

from collections.abc import Mapping
from typing import Any

import datasets
import huggingface_hub
from huggingface_hub import errors

from kinetics_tools.io.folder import Folder
from kinetics_tools.preparation.card import CARD_NAME
from kinetics_tools.publication.hub import HubRemote
from kinetics_tools.publication.remote import Access, Change, Listing
from kinetics_tools.publication.upload_bar import OnBytes, client_bytes

BUCKETS = "hf://buckets/"


class Bucket(HubRemote):
    """Bucket at "hf://buckets/NAMESPACE/NAME", or a folder in it. The last card of concurrent pushes wins."""

    repo_id: str | None = None

    def __init__(self, url: str, *, token: str | None = None):
        namespace, _, rest = url.removeprefix(BUCKETS).strip("/").partition("/")
        name, _, folder = rest.partition("/")
        if not namespace or not name or "@" in namespace + name:
            raise ValueError(f"invalid bucket {url}: expected {BUCKETS}NAMESPACE/NAME, or a folder in it")
        super().__init__(f"{namespace}/{name}", token)
        self._folder = f"{folder}/" if folder else ""
        self.url = f"{BUCKETS}{self._name}/{folder}".rstrip("/")

    def check_access(self, access: Access) -> None:
        if access.gated is not None:
            raise ValueError(f"{self.url} cannot be gated, because it is in a bucket; omit gated, or pass private")

    def _create(self) -> None:
        self._api.create_bucket(self._name, private=True, exist_ok=True)

    def _settings(self) -> Any:
        return self._api.bucket_info(self._name)

    def _update(self, **settings: Any) -> None:
        self._api.update_bucket_settings(self._name, **settings)

    def list_files(self) -> Listing:
        self._fs.invalidate_cache()  # it keeps listings
        with self._errors(f"list the files of {self.url}"):
            try:
                self._api.bucket_info(self._name)
                entries = list(self._api.list_bucket_tree(self._name, self._folder.rstrip("/") or None, recursive=True))
            except errors.BucketNotFoundError:
                return Listing({}, exists=False)
        # The listing of "clips" has the files of "clips2", too.
        files = [entry for entry in entries if entry.type == "file" and entry.path.startswith(self._folder)]
        return Listing({entry.path.removeprefix(self._folder): entry.size for entry in files})

    def _path(self, name: str, listing: Listing) -> str:
        return f"buckets/{self._name}/{self._folder}{name}"

    def commit(self, change: Change, listing: Listing, message: str, local: Folder, on_bytes: OnBytes) -> str:
        texts = dict(change.texts)
        card = {CARD_NAME: texts.pop(CARD_NAME)} if CARD_NAME in texts else {}
        batches: tuple[Mapping[str, Any], ...] = ({name: local.path(name) for name in change.shards}, texts, card)
        with self._errors(f"upload to {self.url}"):
            for batch in batches:  # the files of a batch may arrive in any order, and not all of them
                add = [(content, self._folder + name) for name, content in batch.items()]
                with client_bytes(on_bytes if batch is batches[0] else lambda count: None):
                    self._api.batch_bucket_files(self._name, add=add)
            self._api.batch_bucket_files(self._name, delete=[self._folder + name for name in change.delete])
        return self.url

    def load_arguments(self, listing: Listing) -> dict[str, Any] | None:
        # Up to 5.2 at least, `datasets` lists the files of buckets with the stored token, whatever it is given.
        is_stored = self._token == huggingface_hub.get_token()
        if not is_stored or not hasattr(datasets.load, "HubBucketDatasetModuleFactory"):
            return None
        return {"path": self.url, "token": self._token}
