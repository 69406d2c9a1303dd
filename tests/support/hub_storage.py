"""Storage of the tests' Hub: access, blobs and their uploads."""

import json
import os
import secrets
import threading
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tests.support.hub_answer import Refusal

BLOCK_BYTES = 1 << 20  # what one read takes, of a file or from a client


class Storage:
    """A directory below the root of a hub, and in it `repo.json`, which holds the state and is replaced whole."""

    def __init__(self, root: Path | str, repo_id: str, state: dict[str, Any] | None = None) -> None:
        self.id, self.namespace = repo_id, repo_id.split("/")[-2]
        self.directory = Path(root) / repo_id
        self.lock = threading.RLock()
        for name in ("blobs", "uploads", "xet", "xorbs") if state is not None else ():
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        self.state = json.loads((self.directory / "repo.json").read_text()) if state is None else state

    @staticmethod
    def settings(private: bool) -> dict[str, Any]:
        """Return the initial state of a new one."""
        return {"private": private, "gated": False, "granted": [], "created": now()}

    def update(self, **changes: Any) -> None:
        self.state = self.state | changes
        write_whole(self.directory / "repo.json", json.dumps(self.state).encode())

    def blob(self, oid: str) -> Path:
        return self.directory / "blobs" / oid

    def xorb(self, xet_hash: str) -> Path:
        return self.directory / "xorbs" / xet_hash

    def upload(self, oid: str) -> Path:
        """A new name for what is still arriving."""
        return self.directory / "uploads" / f"{oid}.{secrets.token_hex(4)}"

    def keep_blob(self, oid: str, upload: Path, sha256: str) -> None:
        if sha256 != oid:
            upload.unlink()
            raise Refusal(400, f"BadDigest: {sha256} came for {oid}")
        os.replace(upload, self.blob(oid))

    def recipe(self, oid: str) -> dict[str, Any] | None:
        """Return the chunks of a file, by its SHA-256 or Xet hash; None if it was not uploaded by Xet."""
        path = self.directory / "xet" / oid
        return json.loads(path.read_text()) if path.exists() else None


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_whole(path: Path, content: bytes) -> None:
    """Replaces a file so that nobody, even after a kill, finds it half written."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    temporary.write_bytes(content)
    os.replace(temporary, path)
