"""A local Hugging Face Hub: what huggingface_hub, datasets and hf_xet say to the real one, over HTTP on 127.0.0.1.

    with Hub(root, faults=[Fault("status", "*/commit/*", code=412, times=1)]) as hub:
        HfApi(endpoint=hub.url, token=ANN).create_repo("ann/kinetics", repo_type="dataset")
        subprocess.run(command, env=environment(hub.url, home, token=ANN))
        assert hub.bytes_received("/_blobs/*") == 0

It holds datasets, and no other kind of repository, and buckets. Here are its routes (those of buckets alone are in
hub_bucket.py), which stand on the Server of hub_server.py. What they read and write (hub_repository.py, hub_xet.py)
is all on disk below `root`, which outlives the server:
HubProcess (hub_process.py) and `python tests/hub.py ROOT` serve from a process that a test may kill and start again.
Nothing of the project is imported: a mistake there cannot hide itself here.
"""

import argparse
import base64
import contextlib
import fnmatch
import functools
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode

import yaml

from tests.support import hub_xet
from tests.support.fault_server import Fault, stay
from tests.support.hub_answer import Answer, Refusal
from tests.support.hub_bucket import Bucket, BucketHandler
from tests.support.hub_repository import Commit, Repository, git_sha1
from tests.support.hub_server import ROUTES, Server, route
from tests.support.hub_storage import Storage

_PAGE_ENTRIES, _EXPANDED_PAGE_ENTRIES = 1000, 100
_REGULAR_BYTES = 10 << 20  # the Hub takes no larger file outside of LFS


class _Handler(BucketHandler):
    routes = ROUTES

    # Who one is, and repositories.

    @route("GET", "/api/whoami-v2", "user")
    def _whoami(self) -> Any:
        me = self.me()
        token: dict[str, Any] = {"displayName": "test", "role": me.role}
        if me.role == "fineGrained":
            scoped = [{"entity": {"type": "user", "name": name}, "permissions": ["repo.write"]} for name in me.scopes]
            token["fineGrained"] = {"global": [], "scoped": scoped}
        auth = {"type": "access_token", "accessToken": token}
        orgs = [{"type": "org", "name": name, "roleInOrg": "write"} for name in me.orgs]
        return {"type": "user", "name": me.user, "fullname": me.user, "orgs": orgs, "auth": auth}

    @route("POST", "/api/validate-yaml", "anyone")
    def _validate_yaml(self) -> Any:
        try:
            _front_matter(self.asked()["content"])
        except (ValueError, yaml.YAMLError) as error:
            return Answer.json({"errors": [{"message": str(error)}], "warnings": []}, 400)
        return {"errors": [], "warnings": []}

    def _repo_id(self, asked: Mapping[str, Any]) -> str:
        namespace, name = asked.get("organization") or self.me().user, asked["name"]
        if asked.get("type") != "dataset" or not re.fullmatch(r"\w[\w.-]{0,95}", name):
            raise Refusal(400, f"{asked.get('type')} {name!r}: this hub holds datasets, named of letters, . _ and -")
        if not self.me().may_write(namespace):
            raise Refusal(403, f"You don't have the rights to create a dataset under the namespace {namespace!r}")
        return f"{namespace}/{name}"

    @route("POST", "/api/repos/create", "user")
    def _create(self) -> Any:
        asked = self.asked()
        repo_id = self._repo_id(asked)
        about = {"url": f"{self.hub.url}/datasets/{repo_id}", "name": repo_id}
        with self.hub.lock:
            if repo_id in self.hub.repositories:
                return Answer.json({**about, "error": "You already created this dataset repo"}, 409)
            made = Repository.create(self.hub.root, repo_id, self.me().user, self.is_private(asked))
            self.hub.repositories[repo_id] = made
        return about

    @route("DELETE", "/api/repos/delete", "user")
    def _delete(self) -> Any:
        repo_id, removed = self._repo_id(self.asked()), self.hub.root / f".{secrets.token_hex(4)}"
        with self.hub.lock:
            if repo_id not in self.hub.repositories:
                raise Refusal(404, "Repository not found", "RepoNotFound")
            self.hub.repositories.pop(repo_id).directory.rename(removed)
        shutil.rmtree(removed)
        return {}

    @route("PUT", "/api/datasets/REPO/settings", "write")
    def _settings(self, repo: Repository) -> Any:
        asked = self.asked()
        changes = {"gated": asked["gated"]} if "gated" in asked else {}
        if "visibility" in asked or "private" in asked:
            changes["private"] = self.is_private(asked)
        with repo.lock:
            repo.update(**changes)
        return changes

    @route("POST", "/api/datasets/REPO/user-access-request/grant", "write")
    def _grant(self, repo: Repository) -> Any:
        with repo.lock:
            repo.update(granted=[*repo.state["granted"], self.asked()["user"]])
        return {}

    @route("GET", "/api/datasets/REPO/auth-check(?P<write>/write)?", "files")
    def _auth_check(self, repo: Repository, write: str = "") -> Any:
        if write:
            self.must_write(repo)
        return {}

    @route("GET", "/api/datasets", "anyone")
    def _list(self) -> Any:
        author = self.query.get("author")
        datasets = [repo for repo in self.hub.repositories.values() if isinstance(repo, Repository)]
        found = [repo for repo in datasets if author in (None, repo.namespace)]
        return [self._info(repo) for repo in found if not repo.state["private"] or self.reads(repo)]

    @route("GET", "/api/datasets/REPO(/revision/REV)?", "read")
    def _info(self, repo: Repository, rev: str = "main") -> Any:
        commit, siblings, card = repo.commit(rev), [], {}
        for path, entry in sorted(commit.files.items()):
            sibling: dict[str, Any] = {"rfilename": path}
            if "blobs" in self.query:
                about = entry.described(path)
                sibling |= {"size": entry.size, "blobId": about["oid"]}
                sibling |= {"lfs": {**about["lfs"], "sha256": entry.oid}} if entry.lfs else {}
            siblings.append(sibling)
        if "README.md" in commit.files:
            with contextlib.suppress(ValueError, yaml.YAMLError):
                card = _front_matter(repo.blob(commit.files["README.md"].oid).read_text())
        about = {"_id": git_sha1(repo.id.encode())[:24], "id": repo.id, "author": repo.namespace, "sha": commit.oid}
        about |= {"private": repo.state["private"], "gated": repo.state["gated"], "disabled": False}
        about |= {"createdAt": repo.state["created"], "lastModified": commit.date, "downloads": 0, "likes": 0}
        return {**about, "tags": [], "cardData": card, "siblings": siblings}

    # Branches, tags, pull requests.

    @route("GET", "/api/datasets/REPO/refs", "read")
    def _refs(self, repo: Repository) -> Any:
        found: dict[str, list[dict[str, str]]] = {"branches": [], "tags": [], "converts": [], "pullRequests": []}
        kinds = {"heads": "branches", "tags": "tags", "pr": "pullRequests"}
        for ref, oid in repo.state["refs"].items():
            _, kind, name = ref.split("/", 2)
            found[kinds[kind]].append({"name": name, "ref": ref, "targetCommit": oid})
        return found

    @route("POST", "/api/datasets/REPO/branch/(?P<name>[^/]+)", "write")
    def _create_branch(self, repo: Repository, name: str) -> Any:
        repo.add_ref(f"refs/heads/{name}", self.asked().get("startingPoint") or "main")
        return {}

    @route("POST", "/api/datasets/REPO/tag/REV", "write")
    def _create_tag(self, repo: Repository, rev: str) -> Any:
        repo.add_ref(f"refs/tags/{self.asked()['tag']}", rev)
        return {}

    @route("DELETE", "/api/datasets/REPO/(?P<kind>branch|tag)/(?P<name>[^/]+)", "write")
    def _delete_ref(self, repo: Repository, kind: str, name: str) -> Any:
        ref = f"refs/heads/{name}" if kind == "branch" else f"refs/tags/{name}"
        if ref == "refs/heads/main":
            raise Refusal(403, "Cannot delete the default branch")
        repo.remove_ref(ref)
        return {}

    @route("GET", "/api/datasets/REPO/commits/REV", "read")
    def _commits(self, repo: Repository, rev: str) -> Any:
        return [
            {"id": c.oid, "title": c.title, "message": c.message, "date": c.date, "authors": [{"user": c.author}]}
            for c in repo.history(rev)
        ]

    @route("POST", "/api/datasets/REPO/discussions", "read")
    def _open_discussion(self, repo: Repository) -> Any:
        asked = self.asked()
        return {"num": self._open(repo, asked["title"], "main" if asked.get("pullRequest") else None)}

    def _open(self, repo: Repository, title: str, base: str | None) -> int:
        if self.me().role == "read":
            raise Refusal(403, "This token may not open discussions")
        return repo.open_discussion(title, self.me().user, base)

    @route("GET", r"/api/datasets/REPO/discussions/(?P<number>\d+)", "read")
    def _show_discussion(self, repo: Repository, number: str) -> Any:
        about = repo.discussion(int(number))
        changes = {"base": "refs/heads/main", "mergeCommitId": about.get("merged")}
        shown = {"repo": {"name": repo.id, "type": "dataset"}, "events": [], "filesWithConflicts": []}
        return {**about, **shown, "changes": changes}

    @route("POST", r"/api/datasets/REPO/discussions/(?P<number>\d+)/merge", "write")
    def _merge(self, repo: Repository, number: str) -> Any:
        repo.merge(int(number), self.me().user)
        return {}

    # Reading.

    @route("GET", "/api/datasets/REPO/tree/REV(/(?P<path>.+))?", "read")
    def _tree(self, repo: Repository, rev: str, path: str = "") -> Any:
        commit, expand = repo.commit(rev), self.query.get("expand", "").lower() == "true"
        headers = {"X-Repo-Commit": commit.oid}
        recursive = self.query.get("recursive", "").lower() == "true"
        entries = list(repo.listing(commit.files, path.strip("/"), recursive))
        if path and not entries:
            raise Refusal(404, f"{path} does not exist on {rev!r}", "EntryNotFound", headers)
        start = int(self.query.get("cursor", 0))
        stop = start + (_EXPANDED_PAGE_ENTRIES if expand else _PAGE_ENTRIES)
        if stop < len(entries):
            query = urlencode({**self.query, "cursor": stop})
            headers["Link"] = f'<{self.hub.url}{self.path.partition("?")[0]}?{query}>; rel="next"'
        return Answer.json(self._page(repo, commit, entries[start:stop], expand), headers=headers)

    @route("POST", "/api/datasets/REPO/paths-info/REV", "read")
    def _paths_info(self, repo: Repository, rev: str) -> Any:
        form, commit = parse_qs(self.body().decode()), repo.commit(rev)
        found = []
        for path in form.get("paths", []):
            siblings = repo.listing(commit.files, path.strip("/").rpartition("/")[0])
            found += [entry for entry in siblings if entry["path"] == path.strip("/")]
        return self._page(repo, commit, found, form.get("expand", [""])[-1].lower() == "true")

    def _page(self, repo: Repository, commit: Commit, entries: list[dict[str, Any]], expand: bool) -> Any:
        """With `expand` each entry with the last commit that touched it."""
        for entry in entries if expand else []:
            touched = repo.last_touched(commit, entry["path"])
            entry["lastCommit"] = {"id": touched.oid, "title": touched.title, "date": touched.date}
        return entries

    @route("GET HEAD", "/datasets/REPO/resolve/REV/(?P<path>.+)", "files")
    def _resolve(self, repo: Repository, rev: str, path: str) -> Any:
        commit = repo.commit(rev)
        headers, entry = {"X-Repo-Commit": commit.oid}, commit.files.get(path)
        if entry is None:
            raise Refusal(404, "Entry not found", "EntryNotFound", headers)
        headers["ETag"] = f'"{entry.oid}"'
        if not entry.lfs:
            return Answer(repo.blob(entry.oid), headers=headers)
        headers |= {"X-Linked-ETag": f'"{entry.oid}"', "X-Linked-Size": str(entry.size)}
        headers["Location"] = self.hub.sign("GET", f"/_blobs/{repo.id}/{entry.oid}")
        recipe = repo.recipe(entry.oid)
        if recipe is not None:
            headers["X-Xet-Hash"] = recipe["hash"]
            headers["X-Xet-Refresh-Route"] = f"{self.hub.url}/api/datasets/{repo.id}/xet-read-token/{commit.oid}"
        return Answer(b"", 302, headers)

    @route("GET HEAD", "/_blobs/REPO/OID", "signature")
    def _get_blob(self, repo: Storage, oid: str) -> Any:
        return Answer(repo.blob(oid), headers={"ETag": f'"{oid}"'})

    # Writing.

    @route("POST", "/api/datasets/REPO/preupload/REV", "read")
    def _preupload(self, repo: Repository, rev: str) -> Any:
        if "create_pr" not in self.query:
            self.must_write(repo)
        asked, there = self.asked(), repo.commit(rev).files
        attributes = repo.blob(there[".gitattributes"].oid).read_text() if ".gitattributes" in there else ""
        large = [line.split()[0] for line in attributes.splitlines() if "filter=lfs" in line]
        ignored = [line for line in asked.get("gitIgnore", "").splitlines() if line and not line.startswith("#")]
        files = []
        for file in asked["files"]:
            name, entry = file["path"].rpartition("/")[2], there.get(file["path"])
            lfs = file["size"] > _REGULAR_BYTES or b"\0" in base64.b64decode(file["sample"])
            lfs = lfs or any(fnmatch.fnmatchcase(name, pattern) for pattern in large)
            oid = entry.oid if entry is not None and entry.lfs == lfs else None
            ignore = any(fnmatch.fnmatchcase(name, pattern) for pattern in ignored)
            mode = "lfs" if lfs else "regular"
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": ignore, "oid": oid})
        return {"files": files}

    @route("POST", r"/datasets/REPO\.git/info/lfs/objects/batch", "read")
    def _lfs_batch(self, repo: Repository) -> Any:
        asked, objects = self.asked(), []
        if "ref" in asked:  # without one it is for a pull request, which any reader may open
            self.must_write(repo)
        multipart = "multipart" in asked.get("transfers", [])
        for wanted in asked["objects"]:
            path, parts = f"/_blobs/{repo.id}/{wanted['oid']}", math.ceil(wanted["size"] / self.hub.part_bytes)
            found: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"]}
            if not repo.blob(wanted["oid"]).exists():
                upload: dict[str, Any] = {"href": self.hub.sign("PUT", path)}
                if multipart and parts > 1:
                    urls = {str(number): self.hub.sign("PUT", f"{path}/{number}") for number in range(1, parts + 1)}
                    header = {"chunk_size": str(self.hub.part_bytes), **urls}
                    upload = {"href": self.hub.sign("POST", path), "header": header}
                verify = {"href": f"{self.hub.url}/datasets/{repo.id}.git/info/lfs/objects/verify"}
                found["actions"] = {"upload": upload, "verify": verify}
            objects.append(found)
        return {"transfer": "multipart" if multipart else "basic", "objects": objects}

    @route("POST", r"/datasets/REPO\.git/info/lfs/objects/verify", "read")
    def _lfs_verify(self, repo: Repository) -> Any:
        asked = self.asked()
        blob = repo.blob(asked["oid"])
        if not blob.exists() or blob.stat().st_size != asked["size"]:
            raise Refusal(404, f"LFS object {asked['oid']} was not uploaded whole")
        return {}

    @route("PUT", "/_blobs/REPO/OID", "signature")
    def _put_blob(self, repo: Repository, oid: str) -> Any:
        repo.keep_blob(oid, *self.receive(repo, oid))
        return Answer(headers={"ETag": f'"{oid}"'})

    @route("PUT", r"/_blobs/REPO/OID/(?P<number>\d+)", "signature")
    def _put_part(self, repo: Repository, oid: str, number: str) -> Any:
        upload, etag = self.receive(repo, oid)
        repo.keep_part(oid, int(number), upload, etag)
        return Answer(headers={"ETag": f'"{etag}"'})

    @route("POST", "/_blobs/REPO/OID", "signature")
    def _complete_parts(self, repo: Repository, oid: str) -> Any:
        repo.join_parts(oid, sorted((part["partNumber"], part["etag"].strip('"')) for part in self.asked()["parts"]))
        return {}

    @route("POST", "/api/datasets/REPO/commit/REV", "read")
    def _commit(self, repo: Repository, rev: str) -> Any:
        pull_request = "create_pr" in self.query
        if not pull_request:
            self.must_write(repo)
        try:
            header, *operations = [json.loads(line) for line in self.body().splitlines()]
        except ValueError:
            raise Refusal(400, "the body is no header and operations, a line of JSON each") from None
        about, url = header["value"], f"{self.hub.url}/datasets/{repo.id}"
        with repo.lock:
            ref = repo.branch(rev)
            head = repo.state["refs"][ref]
            parent = about.get("parentCommit") or head
            if pull_request:
                head = repo.resolve(parent)
            elif not head.startswith(parent):
                raise Refusal(412, "A commit has happened since. Please refresh and try again.")
            files = repo.apply(repo.commit(head).files, operations)
            opened = {}
            if pull_request:
                number = self._open(repo, about["summary"], head)
                ref, opened = f"refs/pr/{number}", {"pullRequestUrl": f"{url}/discussions/{number}"}
            oid = repo.add_commit(head, files, about["summary"], self.me().user, about.get("description", ""))
            repo.move(ref, oid)
        return {"success": True, "commitOid": oid, "commitUrl": f"{url}/commit/{oid}", **opened}

    # Xet.

    @route("GET", "/api/BUCKET/xet-(?P<role>read|write)-token", "files")
    @route("GET", "/api/datasets/REPO/xet-(?P<role>read|write)-token/REV", "files")
    def _xet_token(self, repo: Storage, role: str, rev: str = "") -> Any:
        if not self.hub.xet:
            raise Refusal(404, "This hub has no Xet store")
        if role == "write" and "create_pr" not in self.query:
            self.must_write(repo)
        url, expires = f"{self.hub.url}/_cas/{repo.id}", self.hub.expiry()
        token = f"{role}.{expires}.{self.hub.signature(role, repo.id, expires)}"
        headers = {"X-Xet-Access-Token": token, "X-Xet-Token-Expiration": expires, "X-Xet-Cas-Url": url}
        return Answer.json({"accessToken": token, "exp": int(expires), "casUrl": url}, headers=headers)

    @route("GET", "/_cas/REPO/v1/chunks/default/OID", "xet-write")
    def _known_chunks(self, repo: Storage, oid: str) -> Any:
        return Answer(hub_xet.shard_of_chunk(repo, oid))

    @route("POST", "/_cas/REPO/v1/xorb-grants/default/OID", "xet-write")
    def _grant_xorb(self, repo: Storage, oid: str) -> Any:
        if repo.xorb(oid).exists():
            return {}
        url = self.hub.sign("PUT", f"/_blobs/{repo.id}/xorbs/{oid}")
        return Answer.json({"id": oid, "method": "PUT", "url": url, "headers": {}}, 201)

    @route("PUT", "/_blobs/REPO/xorbs/OID", "signature")
    def _put_xorb(self, repo: Storage, oid: str) -> Any:
        os.replace(self.receive(repo, oid)[0], repo.xorb(oid))
        return {}

    @route("POST", "/_cas/REPO/v1/xorb-commits/default/OID/grant/[0-9a-f]+", "xet-write")
    def _commit_xorb(self, repo: Storage, oid: str) -> Any:
        if not repo.xorb(oid).exists():
            raise Refusal(404, "nothing was uploaded for this grant")
        return {"was_inserted": True}

    @route("POST", "/_cas/REPO/v(?P<version>[12])/shards", "xet-write")
    def _put_shard(self, repo: Storage, version: str) -> Any:
        hub_xet.add_shard(repo, self.body())
        return {"type": "result"} if version == "2" else {"result": 1}

    @route("GET", "/_cas/REPO/v1/reconstructions/OID", "xet-read")
    def _reconstruction(self, repo: Storage, oid: str) -> Any:
        recipe = repo.recipe(oid)
        if recipe is None:
            raise Refusal(404, f"no file has the Xet hash {oid}")
        size = repo.blob(recipe["sha256"]).stat().st_size
        first, last = self.window(size) or (0, size)

        def url_of(xorb: str) -> str:
            return self.hub.sign("GET", f"/_blobs/{repo.id}/xorbs/{xorb}")

        found = hub_xet.reconstruction(repo, recipe["terms"], first, last, url_of)
        if not found["terms"]:
            raise Refusal(416, f"{self.record.range} lies behind the end of a file of {size} bytes")
        return found

    @route("GET", "/_blobs/REPO/xorbs/OID", "signature")
    def _get_xorb(self, repo: Storage, oid: str) -> Any:
        return Answer(repo.xorb(oid))


class Hub(Server):
    """A Server, with all its options, that knows the routes of the Hub."""

    handler = _Handler

    def __init__(self, root: Path | str, **options: Any) -> None:
        super().__init__(root, **options)
        for path in self.root.glob("buckets/*/*/repo.json"):
            bucket_id = path.parent.relative_to(self.root).as_posix()
            self.repositories[bucket_id] = Bucket(self.root, bucket_id)

    def __enter__(self) -> "Hub":
        super().__enter__()
        return self


@functools.lru_cache(64)
def _front_matter(readme: str) -> dict[str, Any]:
    """The YAML at the head of a README.md."""
    match = re.match(r"---\s*\n(.*?)\n?---\s*(\n|$)", readme, re.DOTALL)
    # In C where there is it: a card of 700 labels is long, and who asks for it waits.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data = (yaml.load(match[1], Loader=loader) or {}) if match is not None else {}
    if not isinstance(data, dict):
        raise ValueError("the card's YAML is no mapping")
    return data


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve the datasets below a directory as the Hugging Face Hub does.")
    parser.add_argument("root", type=Path)
    parser.add_argument("--options", type=json.loads, default={}, help='of Hub: {"port": 8000, "xet": true}')
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with whoever feeds stdin")
    arguments = parser.parse_args()
    faults = [Fault(**fault) for fault in arguments.options.pop("faults", [])]
    with Hub(arguments.root, faults=faults, **arguments.options) as hub:
        stay(hub, until_stdin_closes=arguments.until_stdin_closes)


if __name__ == "__main__":
    main()
