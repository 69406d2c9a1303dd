"""Repository of the tests' Hub on disk: commits, refs and blobs."""

import base64
import hashlib
import itertools
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.hub_answer import Refusal
from tests.support.hub_storage import BLOCK_BYTES, Storage, now, write_whole

# Of the .gitattributes that the Hub puts into a new dataset.
GITATTRIBUTES = "".join(
    f"{pattern} filter=lfs diff=lfs merge=lfs -text\n"
    for pattern in ("*.arrow", "*.bin", "*.gz", "*.parquet", "*.tar", "*.zip", "*.mp4", "*.webm", "*.jpg")
)


class Entry(NamedTuple):
    """A file in a commit: `oid` is the SHA-256 of one in LFS, else the SHA-1 that git gives it."""

    oid: str
    size: int

    @property
    def lfs(self) -> bool:
        return len(self.oid) == 64

    def described(self, path: str) -> dict[str, Any]:
        """Return the entry in answers of tree and paths-info: the `oid` of one in LFS is that of its pointer."""
        if not self.lfs:
            return {"type": "file", "path": path, "oid": self.oid, "size": self.size}
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.oid}\nsize {self.size}\n".encode()
        lfs = {"oid": self.oid, "size": self.size, "pointerSize": len(pointer)}
        return {"type": "file", "path": path, "oid": git_sha1(pointer), "size": self.size, "lfs": lfs}


@dataclass(frozen=True)
class Commit:
    oid: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    files: dict[str, Entry]


class Repository(Storage):
    """One repository's directory below the root of a hub, which tests may open too, to read.

    `blobs` and `commits` only ever grow; replacing `repo.json` is what moves a branch, so a kill at any point
    leaves the old state or the new.
    """

    def __init__(self, root: Path | str, repo_id: str, state: dict[str, Any] | None = None) -> None:
        super().__init__(root, repo_id, state)
        self._commits: dict[str, Commit] = {}

    @classmethod
    def create(cls, root: Path, repo_id: str, author: str, private: bool) -> "Repository":
        repo = cls(root, repo_id, {**cls.settings(private), "refs": {}, "discussions": []})
        (repo.directory / "commits").mkdir(parents=True)
        files = {".gitattributes": repo.add_blob(GITATTRIBUTES.encode())}
        repo.move("refs/heads/main", repo.add_commit(None, files, "initial commit", author))
        return repo

    def move(self, ref: str, oid: str, **changes: Any) -> None:
        self.update(refs={**self.state["refs"], ref: oid}, **changes)

    def add_blob(self, content: bytes) -> Entry:
        entry = Entry(git_sha1(content), len(content))
        write_whole(self.blob(entry.oid), content)
        return entry

    def keep_part(self, oid: str, number: int, upload: Path, etag: str) -> None:
        os.replace(upload, self._part(oid, number, etag))

    def join_parts(self, oid: str, named: Iterable[tuple[int, str]]) -> None:
        """Makes a blob of the parts that were kept under these numbers and ETags, in this order."""
        whole, digest = self.upload(oid), hashlib.sha256()
        parts = [self._part(oid, number, etag) for number, etag in named]
        if not all(part.exists() for part in parts):
            raise Refusal(400, "InvalidPart: one or more of the specified parts could not be found")
        with open(whole, "wb") as file:
            for part in parts:
                with open(part, "rb") as source:
                    while block := source.read(BLOCK_BYTES):
                        digest.update(block)
                        file.write(block)
        self.keep_blob(oid, whole, digest.hexdigest())
        for part in whole.parent.glob(f"{oid}.*.*"):
            part.unlink()

    def _part(self, oid: str, number: int, etag: str) -> Path:
        return self.directory / "uploads" / f"{oid}.{number}.{etag}"

    def resolve(self, revision: str) -> str:
        """The commit that a branch, tag, pull request (refs/pr/1) or (shortened) hash names."""
        refs: dict[str, str] = self.state["refs"]
        for ref in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if ref in refs:
                return refs[ref]
        if re.fullmatch(r"[0-9a-f]{7,40}", revision):
            for path in (self.directory / "commits").glob(f"{revision}*.json"):
                return path.stem
        raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")

    def branch(self, revision: str) -> str:
        """The ref that a commit to `revision` moves."""
        ref = revision if revision.startswith("refs/pr/") else f"refs/heads/{revision}"
        if ref not in self.state["refs"]:
            raise Refusal(404, f"{revision} is no branch", "RevisionNotFound")
        return ref

    def add_ref(self, ref: str, revision: str) -> None:
        with self.lock:
            if ref in self.state["refs"]:
                raise Refusal(409, f"Reference already exists: {ref}")
            self.move(ref, self.resolve(revision))

    def remove_ref(self, ref: str) -> None:
        with self.lock:
            if ref not in self.state["refs"]:
                raise Refusal(404, f"Reference does not exist: {ref}", "RevisionNotFound")
            self.update(refs={name: oid for name, oid in self.state["refs"].items() if name != ref})

    def commit(self, revision: str = "main") -> Commit:
        oid = self.resolve(revision)
        if oid not in self._commits:
            fields = json.loads((self.directory / "commits" / f"{oid}.json").read_text())
            files = {path: Entry(*entry) for path, entry in fields.pop("files").items()}
            self._commits[oid] = Commit(oid, files=files, **fields)
        return self._commits[oid]

    def history(self, revision: str = "main") -> Iterator[Commit]:
        """The commits of a branch, the newest first."""
        oid: str | None = self.resolve(revision)
        while oid is not None:
            commit = self.commit(oid)
            yield commit
            oid = commit.parent

    def last_touched(self, commit: Commit, path: str) -> Commit:
        """The last commit, up to this one, that changed a file or what is in a folder."""

        def at(commit: Commit) -> set[tuple[str, Entry]]:
            return {item for item in commit.files.items() if f"{item[0]}/".startswith(f"{path}/")}

        *_, found = itertools.takewhile(lambda older: at(older) == at(commit), self.history(commit.oid))
        return found

    def add_commit(
        self, parent: str | None, files: Mapping[str, Entry], title: str, author: str, message: str = ""
    ) -> str:
        fields = {"parent": parent, "title": title, "message": message, "author": author, "date": now()}
        content = json.dumps({**fields, "files": files}, sort_keys=True).encode()
        oid = hashlib.sha1(content).hexdigest()
        write_whole(self.directory / "commits" / f"{oid}.json", content)
        return oid

    def apply(self, files: Mapping[str, Entry], operations: Iterable[Any]) -> dict[str, Entry]:
        """Apply a commit's operations to the files of its parent."""
        changed = dict(files)
        for operation in operations:
            key, value = operation["key"], operation["value"]
            path, folder = value["path"], f"{value['path'].strip('/')}/"
            if key == "file":
                changed[path] = self.add_blob(base64.b64decode(value["content"]))
            elif key == "lfsFile":
                blob = self.blob(value["oid"])
                if not blob.exists():
                    raise Refusal(400, f"LFS pointer of {path} points to a file that does not exist")
                changed[path] = Entry(value["oid"], blob.stat().st_size)
            elif key == "deletedFile" and path in changed:
                del changed[path]
            elif key == "deletedFolder" and any(name.startswith(folder) for name in changed):
                changed = {name: entry for name, entry in changed.items() if not name.startswith(folder)}
            elif key in ("deletedFile", "deletedFolder"):
                raise Refusal(404, f"A file with this name doesn't exist: {path}", "EntryNotFound")
            else:
                raise Refusal(400, f"operation {key!r} is unknown")
        return changed

    def open_discussion(self, title: str, author: str, base: str | None) -> int:
        """A new discussion, or a pull request that starts at the revision `base`; returns its number."""
        with self.lock:
            base = base and self.resolve(base)
            number = len(self.state["discussions"]) + 1
            about = {"num": number, "title": title, "author": {"name": author}, "createdAt": now()}
            about |= {"isPullRequest": base is not None, "base": base, "status": "open"}
            refs = self.state["refs"] | ({} if base is None else {f"refs/pr/{number}": base})
            self.update(discussions=[*self.state["discussions"], about], refs=refs)
        return number

    def discussion(self, number: int) -> dict[str, Any]:
        discussions: list[dict[str, Any]] = self.state["discussions"]
        if not 0 < number <= len(discussions):
            raise Refusal(404, f"Discussion {number} not found")
        return discussions[number - 1]

    def merge(self, number: int, author: str) -> None:
        """Brings what a pull request changed into main."""
        with self.lock:
            about = self.discussion(number)
            before, after, main = self.commit(about["base"]), self.commit(f"refs/pr/{number}"), self.commit("main")
            files = {path: e for path, e in main.files.items() if path in after.files or path not in before.files}
            files |= {path: e for path, e in after.files.items() if before.files.get(path) != e}
            oid = self.add_commit(main.oid, files, about["title"], author)
            discussions = list(self.state["discussions"])
            discussions[number - 1] = {**about, "status": "merged", "merged": oid}
            self.move("refs/heads/main", oid, discussions=discussions)

    def listing(self, files: Mapping[str, Entry], folder: str, recursive: bool = False) -> Iterator[dict[str, Any]]:
        """Return the entries of a folder, sorted, as tree lists them; a folder's `oid` changes with its content."""
        prefix = f"{folder}/" if folder else ""
        inside = sorted((path[len(prefix) :], entry) for path, entry in files.items() if path.startswith(prefix))
        for name, group in itertools.groupby(inside, key=lambda item: item[0].partition("/")[0]):
            below = list(group)
            if below[0][0] == name:
                recipe = self.recipe(below[0][1].oid)
                yield below[0][1].described(prefix + name) | ({"xetHash": recipe["hash"]} if recipe else {})
                continue
            oid = hashlib.sha1(json.dumps(below).encode()).hexdigest()
            yield {"type": "directory", "path": prefix + name, "oid": oid, "size": 0}
            if recursive:
                yield from self.listing(files, prefix + name, True)


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()
