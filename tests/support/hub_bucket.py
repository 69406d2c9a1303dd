"""Buckets of the tests' Hub: files by their paths, without history, and the routes of buckets alone.

    HfApi(endpoint=hub.url, token=ANN).create_bucket("ann/clips")
    assert hub.repositories["buckets/ann/clips"].files == {}

Their content comes through Xet alone (hub_xet.py). Live events are no route: clients take a 404 for an answer.
"""

import json
from pathlib import Path
from typing import Any

from tests.support.hub_answer import Answer, Refusal
from tests.support.hub_server import Handler, route
from tests.support.hub_storage import Storage, now


class Bucket(Storage):
    """Under buckets/NAMESPACE/NAME. `repo.json` names the files, so a kill leaves all of a batch or nothing."""

    @classmethod
    def create(cls, root: Path, bucket_id: str, private: bool) -> "Bucket":
        bucket = cls(root, bucket_id, {})
        bucket.update(**cls.settings(private), files={})
        return bucket

    @property
    def files(self) -> dict[str, str]:
        """Path -> SHA-256."""
        return {path: about["sha256"] for path, about in self.state["files"].items()}

    def described(self, path: str) -> dict[str, Any]:
        """A file as tree and paths-info list it."""
        about = {name: value for name, value in self.state["files"][path].items() if name != "sha256"}
        return {"type": "file", "path": path, **about}

    def tree(self, prefix: str, recursive: bool) -> list[dict[str, Any]]:
        """All files whose path begins with the prefix, which need not end at a slash; or what lies in that folder."""
        found: dict[str, dict[str, Any]] = {}
        for path in sorted(self.state["files"]):
            end = path.find("/", len(prefix) + 1) if prefix else path.find("/")
            if path.startswith(prefix) and (recursive or end < 0):
                found[path] = self.described(path)
            elif path.startswith(prefix):
                found[path[:end]] = {"type": "directory", "path": path[:end]}
        return list(found.values())

    def apply(self, operations: list[dict[str, Any]]) -> list[dict[str, str]]:
        """Does what can be done of a batch, and returns what cannot."""
        with self.lock:
            files, failed = dict(self.state["files"]), []
            for asked in operations:
                path, recipe = asked["path"], self.recipe(asked.get("xetHash", "none"))
                if asked["type"] == "deleteFile" and path in files:
                    del files[path]
                elif asked["type"] in ("addFile", "copyFile") and recipe is not None:
                    size = self.blob(recipe["sha256"]).stat().st_size
                    about = {"xetHash": recipe["hash"], "sha256": recipe["sha256"], "size": size}
                    files[path] = {**about, "uploadedAt": now()}
                else:
                    failed.append({"path": path, "error": f"{asked['type']}: no such file in this bucket"})
            self.update(files=files)
        return failed


class BucketHandler(Handler):
    @route("POST", "/api/(?P<bucket_id>buckets/(?P<namespace>[^/]+)/[^/]+)", "user")
    def _create_bucket(self, bucket_id: str, namespace: str) -> Any:
        about = {"url": f"{self.hub.url}/{bucket_id}"}
        if not self.me().may_write(namespace):
            raise Refusal(403, f"You don't have the rights to create a bucket under the namespace {namespace!r}")
        with self.hub.lock:
            if bucket_id in self.hub.repositories:
                return Answer.json({**about, "error": "You already created this bucket"}, 409)
            self.hub.repositories[bucket_id] = Bucket.create(self.hub.root, bucket_id, self.is_private(self.asked()))
        return about

    @route("GET", "/api/BUCKET", "read")
    def _bucket_info(self, repo: Bucket) -> Any:
        files, state = repo.state["files"], repo.state
        about = {"id": repo.id.removeprefix("buckets/"), "private": state["private"], "createdAt": state["created"]}
        return {**about, "size": sum(one["size"] for one in files.values()), "totalFiles": len(files)}

    @route("PUT", "/api/BUCKET/settings", "write")
    def _bucket_settings(self, repo: Bucket) -> Any:
        with repo.lock:
            repo.update(private=self.asked()["private"])
        return {}

    @route("GET", "/api/BUCKET/tree(/(?P<prefix>.+))?", "read")
    def _bucket_tree(self, repo: Bucket, prefix: str = "") -> Any:
        return repo.tree(prefix, self.query.get("recursive", "").lower() == "true")

    @route("POST", "/api/BUCKET/paths-info", "read")
    def _bucket_paths_info(self, repo: Bucket) -> Any:
        return [repo.described(path) for path in self.asked()["paths"] if path in repo.state["files"]]

    @route("POST", "/api/BUCKET/batch", "write")
    def _bucket_batch(self, repo: Bucket) -> Any:
        operations = [json.loads(line) for line in self.body().splitlines()]
        failed = repo.apply(operations)
        return Answer.json({"success": not failed, "failed": failed}, 422 if len(failed) == len(operations) else 200)

    @route("GET HEAD", "/BUCKET/resolve/(?P<path>.+)", "files")
    def _resolve_in_bucket(self, repo: Bucket, path: str) -> Any:
        about = repo.state["files"].get(path)
        if about is None:
            raise Refusal(404, "Entry not found", "EntryNotFound")
        headers = {"ETag": f'"{about["xetHash"]}"', "X-Linked-Size": str(about["size"]), "X-Xet-Hash": about["xetHash"]}
        headers["X-Xet-Refresh-Route"] = f"{self.hub.url}/api/{repo.id}/xet-read-token"
        headers["Location"] = self.hub.sign("GET", f"/_blobs/{repo.id}/{about['sha256']}")
        return Answer(b"", 302, headers)
