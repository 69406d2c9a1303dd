"""The hub of hub.py, driven by the real clients: huggingface_hub in this process, datasets and hf_xet in others."""

import concurrent.futures
import hashlib
import http.client
import json
import os
import random
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, HfApi
from huggingface_hub.utils import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from tests.support.clients import run_program
from tests.support.fault_server import Fault
from tests.support.hub import Hub
from tests.support.hub_process import HubProcess, environment
from tests.support.hub_repository import GITATTRIBUTES, Repository
from tests.support.hub_token import ANN, ANN_FINE, ANN_READS, BOB, TOKENS

# What has no setting for private repositories does not retry alike either, and knows no Xet.
recent = pytest.mark.skipif(not hasattr(HfApi, "update_repo_settings"), reason="the client is of 2024")

REPO = "ann/kinetics"
PART_BYTES = 300_000
LARGE = random.Random(0).randbytes(5 * PART_BYTES + 1)  # six parts
FILES = {
    "README.md": b"---\nlicense: cc-by-4.0\n---\n# Clips\n",
    "data/train-0.parquet": random.Random(1).randbytes(50_000),
    "data/train-1.parquet": LARGE,
    "data/empty.txt": b"",
    "odd names/50% + \xc3\xbc?.txt".encode("latin-1").decode(): b"odd",
}


def sha1(content: bytes) -> str:
    """Return the output of `git hash-object`."""
    return hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def oid(path: str, content: bytes) -> str:
    return sha256(content) if path.endswith(".parquet") else sha1(content)


@pytest.fixture(autouse=True)
def waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Puts this process online, without Xet and with a cache of its own; the seconds that clients did not wait."""
    waited: list[float] = []
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    for module in ("huggingface_hub.utils._http.time", "huggingface_hub.file_download.time"):
        monkeypatch.setattr(module, SimpleNamespace(sleep=waited.append))
    return waited


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub(tmp_path / "hub", part_bytes=PART_BYTES) as hub:
        # Old clients check a card there, whatever endpoint they were given.
        monkeypatch.setattr(huggingface_hub.hf_api, "ENDPOINT", hub.url, raising=False)
        yield hub


@pytest.fixture
def api(hub: Hub) -> HfApi:
    """Ann's, of a hub with an empty dataset."""
    api = api_of(hub)
    api.create_repo(REPO, repo_type="dataset")
    hub.clear(log=True)
    return api


def api_of(hub: Hub | HubProcess, token: str | bool = ANN) -> HfApi:
    return HfApi(endpoint=hub.url, token=token)


def write_files(root: Path, files: dict[str, bytes]) -> Path:
    for path, content in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)
    return root


def upload(api: HfApi, root: Path, files: dict[str, bytes], **options: Any) -> Any:
    return api.upload_folder(folder_path=write_files(root, files), repo_id=REPO, repo_type="dataset", **options)


def add(api: HfApi, path: str, content: bytes, **options: Any) -> Any:
    operations = [CommitOperationAdd(path, content)]
    return api.create_commit(REPO, operations, commit_message=f"add {path}", repo_type="dataset", **options)


def read(api: HfApi, path: str, **options: Any) -> bytes:
    return Path(api.hf_hub_download(REPO, path, repo_type="dataset", **options)).read_bytes()


def files(api: HfApi, **options: Any) -> list[str]:
    return api.list_repo_files(REPO, repo_type="dataset", **options)


def stored(hub: Hub, revision: str = "main") -> dict[str, str]:
    found = hub.repositories[REPO].commit(revision).files.items()
    return {path: entry.oid for path, entry in found if path != ".gitattributes"}


def status_of(error: pytest.ExceptionInfo[HfHubHTTPError]) -> int:
    return error.value.response.status_code


def run(
    code: str, home: Path, hub: Hub | HubProcess, *arguments: object, token: str | None = ANN, **options: Any
) -> Any:
    """Run a program with its own clients of the hub, and return its `answer`."""
    code = f"import json, sys\nfrom pathlib import Path\n{code}\nPath(sys.argv[1]).write_text(json.dumps(answer))"
    answer = home / "answer.json"
    home.mkdir(exist_ok=True)
    # Without torch, which `datasets` would import for nothing when it streams.
    env = {**environment(hub.url, home, token=token, **options), "USE_TORCH": "0"}
    run_program(code, answer, *arguments, env=env, timeout=120)
    return json.loads(answer.read_text())


def ask(url: str, method: str = "GET", body: bytes | None = None, **headers: str) -> tuple[int, Any, bytes]:
    """Status, headers and body that the standard library's client gets, which follows no redirect."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=10)
    try:
        connection.request(method, f"{parts.path}?{parts.query}", body, headers)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


# --- Who may do what ----------------------------------------------------------------------------------------


def test_whoami_tells_users_roles_and_organisations(hub: Hub) -> None:
    assert api_of(hub, ANN).whoami()["name"] == "ann"
    assert [org["name"] for org in api_of(hub, ANN).whoami()["orgs"]] == ["lab"]
    roles = {token: api_of(hub, token).whoami()["auth"]["accessToken"]["role"] for token in TOKENS}
    assert roles == {ANN: "write", ANN_READS: "read", ANN_FINE: "fineGrained", BOB: "write"}


@pytest.mark.parametrize("token", ["hf_unknown", False])
def test_whoami_needs_a_good_token(hub: Hub, token: str | bool) -> None:
    status, _, _ = ask(f"{hub.url}/api/whoami-v2", **({"Authorization": f"Bearer {token}"} if token else {}))
    assert status == 401


def test_a_repository_is_created_once_and_deleted(hub: Hub) -> None:
    api = api_of(hub)
    assert api.create_repo(REPO, repo_type="dataset") == f"{hub.url}/datasets/{REPO}"
    assert api.create_repo(REPO, repo_type="dataset", exist_ok=True) == f"{hub.url}/datasets/{REPO}"
    with pytest.raises(HfHubHTTPError) as error:
        api.create_repo(REPO, repo_type="dataset")
    assert status_of(error) == 409
    assert files(api) == [".gitattributes"]
    assert read(api, ".gitattributes") == GITATTRIBUTES.encode()

    api.delete_repo(REPO, repo_type="dataset")
    assert not api.repo_exists(REPO, repo_type="dataset")
    with pytest.raises(RepositoryNotFoundError):
        api.delete_repo(REPO, repo_type="dataset")
    assert not list(hub.root.glob("*/*/repo.json"))


@pytest.mark.parametrize(
    ("token", "repo_id", "status"),
    [
        (ANN, "lab/x", None),
        (ANN_FINE, "lab/x", None),
        (ANN_FINE, "ann/x", 403),
        (ANN_READS, "ann/x", 403),
        (ANN, "bob/x", 403),
        (BOB, "lab/x", 403),
        (False, "ann/x", 401),
    ],
)
def test_only_who_may_write_to_a_namespace_creates_in_it(
    hub: Hub, token: str | bool, repo_id: str, status: int | None
) -> None:
    if status is None:
        api_of(hub, token).create_repo(repo_id, repo_type="dataset")
        assert api_of(hub).repo_exists(repo_id, repo_type="dataset")
        return
    with pytest.raises(HfHubHTTPError) as error:
        api_of(hub, token).create_repo(repo_id, repo_type="dataset")
    assert status_of(error) == status
    assert not hub.repositories


@recent
@pytest.mark.parametrize(("token", "status"), [(ANN_READS, 403), (ANN_FINE, 403), (BOB, 403), (False, 401)])
def test_a_token_without_write_right_changes_nothing(
    hub: Hub, api: HfApi, tmp_path: Path, token: str | bool, status: int
) -> None:
    head = api.dataset_info(REPO).sha
    other = api_of(hub, token)
    attempts: list[Callable[[], Any]] = [
        lambda: add(other, "a.txt", b"a"),
        lambda: upload(other, tmp_path / "files", FILES),
        lambda: other.create_branch(REPO, branch="b", repo_type="dataset"),
        lambda: other.create_tag(REPO, tag="t", repo_type="dataset"),
        lambda: other.update_repo_settings(REPO, private=True, repo_type="dataset"),
        lambda: other.delete_repo(REPO, repo_type="dataset"),
        lambda: other.auth_check(REPO, repo_type="dataset", write=True),
    ]
    for attempt in attempts:
        with pytest.raises(HfHubHTTPError) as error:
            attempt()
        assert status_of(error) == status
    assert (api.dataset_info(REPO).sha, api.dataset_info(REPO).private) == (head, False)
    assert hub.bytes_received("/_blobs/*") == 0
    other.auth_check(REPO, repo_type="dataset")  # reading is free


@recent
def test_a_private_repository_is_as_if_it_were_not_there(hub: Hub, api: HfApi, tmp_path: Path) -> None:
    add(api, "a.parquet", LARGE)
    api.update_repo_settings(REPO, private=True, repo_type="dataset")
    assert read(api_of(hub, ANN_READS), "a.parquet") == LARGE
    for token, status in ((BOB, 404), (False, 401)):
        other = api_of(hub, token)
        with pytest.raises(RepositoryNotFoundError) as error:
            other.dataset_info(REPO)
        assert status_of(error) == status
        with pytest.raises(RepositoryNotFoundError) as error:
            other.hf_hub_download(REPO, "a.parquet", repo_type="dataset", cache_dir=tmp_path / str(status))
        assert status_of(error) == status
        assert [info.id for info in other.list_datasets(author="ann")] == []
        assert not other.repo_exists("ann/nothing", repo_type="dataset")
    assert [info.id for info in api.list_datasets(author="ann")] == [REPO]
    api.update_repo_settings(REPO, private=False, repo_type="dataset")
    assert api_of(hub, False).dataset_info(REPO).sha == api.dataset_info(REPO).sha


@recent
def test_a_gated_repository_shows_its_files_names_and_gives_its_content_to_whom_it_granted(
    hub: Hub, api: HfApi
) -> None:
    add(api, "a.parquet", LARGE)
    api.update_repo_settings(REPO, gated="manual", repo_type="dataset")
    assert api.dataset_info(REPO).gated == "manual"
    bob = api_of(hub, BOB)
    for token, status in ((BOB, 403), (False, 401)):
        assert "a.parquet" in files(api_of(hub, token))
        with pytest.raises(GatedRepoError) as error:
            read(api_of(hub, token), "a.parquet")
        assert status_of(error) == status
    api.grant_access(REPO, "bob", repo_type="dataset")
    assert read(bob, "a.parquet") == LARGE


# --- Uploading ----------------------------------------------------------------------------------------------


def test_a_pushed_folder_is_what_a_reader_gets(hub: Hub, api: HfApi, tmp_path: Path) -> None:
    commit = upload(api, tmp_path / "files", FILES)
    assert stored(hub) == {path: oid(path, content) for path, content in FILES.items()}
    snapshot = Path(api.snapshot_download(REPO, repo_type="dataset"))
    assert {path: (snapshot / path).read_bytes() for path in FILES} == FILES
    assert snapshot.name == commit.oid == api.dataset_info(REPO).sha
    content = sum(len(content) for path, content in FILES.items() if path.endswith(".parquet"))
    assert sum(request.received for request in hub.matching("/_blobs/*", "PUT")) == content
    assert sum(request.sent for request in hub.matching("/_blobs/*", "GET")) == content


def test_pushing_the_same_again_sends_no_content_and_makes_no_commit(hub: Hub, api: HfApi, tmp_path: Path) -> None:
    first = upload(api, tmp_path / "files", FILES)
    hub.clear(log=True)
    assert upload(api, tmp_path / "files", FILES).oid == first.oid
    assert hub.count("/_blobs/*") == hub.count("*/commit/*") == 0
    # Under another name the content is there already.
    add(api, "copy.parquet", LARGE)
    assert hub.count("/_blobs/*") == 0
    assert read(api, "copy.parquet") == LARGE


def test_info_lists_files_as_git_and_lfs_know_them(api: HfApi, tmp_path: Path) -> None:
    upload(api, tmp_path / "files", FILES)
    info = api.dataset_info(REPO, files_metadata=True)
    siblings = {file.rfilename: file for file in info.siblings or []}
    assert set(siblings) == {*FILES, ".gitattributes"}
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(LARGE)}\nsize {len(LARGE)}\n".encode()
    large, readme = siblings["data/train-1.parquet"], siblings["README.md"]
    assert large.lfs is not None
    assert (large.size, large.blob_id) == (len(LARGE), sha1(pointer))
    assert (large.lfs.sha256, large.lfs.size, large.lfs.pointer_size) == (sha256(LARGE), len(LARGE), len(pointer))
    assert (readme.size, readme.blob_id, readme.lfs) == (len(FILES["README.md"]), sha1(FILES["README.md"]), None)
    assert info.card_data is not None
    assert info.card_data.license == "cc-by-4.0"
    assert {file.size for file in api.dataset_info(REPO).siblings or []} == {None}


def test_a_large_file_goes_up_in_parts(hub: Hub, api: HfApi) -> None:
    add(api, "a.parquet", LARGE)
    puts = hub.matching("/_blobs/*", "PUT")
    assert [(put.path.rpartition("/")[2], put.received) for put in puts] == [
        *((str(number), PART_BYTES) for number in range(1, 6)),
        ("6", 1),
    ]
    assert read(api, "a.parquet") == LARGE
    assert not list((hub.root / REPO / "uploads").iterdir())
    hub.clear(log=True)
    add(api, "b.parquet", LARGE[:PART_BYTES])
    assert [put.path for put in hub.matching("/_blobs/*", "PUT")] == [f"/_blobs/{REPO}/{sha256(LARGE[:PART_BYTES])}"]


def test_content_must_have_the_digest_that_it_came_for(hub: Hub, api: HfApi) -> None:
    name = sha256(LARGE)
    wrong = LARGE[::-1]
    assert ask(hub.sign("PUT", f"/_blobs/{REPO}/{name}"), "PUT", wrong)[0] == 400
    _, headers, _ = ask(hub.sign("PUT", f"/_blobs/{REPO}/{name}/1"), "PUT", wrong)
    for etag in (headers["ETag"], '"none"'):
        parts = json.dumps({"oid": name, "parts": [{"partNumber": 1, "etag": etag}]}).encode()
        assert ask(hub.sign("POST", f"/_blobs/{REPO}/{name}"), "POST", parts)[0] == 400
    assert not hub.repositories[REPO].blob(name).exists()
    assert ask(hub.sign("PUT", f"/_blobs/{REPO}/{name}"), "PUT", LARGE)[0] == 200
    assert hub.repositories[REPO].blob(name).read_bytes() == LARGE


def test_what_goes_to_lfs_is_told_by_gitattributes_content_and_size(hub: Hub, api: HfApi) -> None:
    modes = {"a.parquet": b"text", "a.txt": b"text", "a.dat": b"\0", "big.txt": b"x" * (10 * 2**20 + 1), "b.mp4": b"v"}
    for path, content in modes.items():
        add(api, path, content)
    assert {path for path, digest in stored(hub).items() if len(digest) == 64} == {
        "a.parquet", "a.dat", "big.txt", "b.mp4",
    }  # fmt: skip
    add(api, ".gitattributes", b"*.txt filter=lfs diff=lfs merge=lfs -text\n")
    add(api, "b.txt", b"text")
    assert stored(hub)["b.txt"] == sha256(b"text")


def test_files_that_gitignore_names_are_left_out(api: HfApi, tmp_path: Path) -> None:
    upload(api, tmp_path / "files", {".gitignore": b"# mine\n*.tmp\n", "a.tmp": b"a", "a.txt": b"a"})
    assert files(api) == [".gitattributes", ".gitignore", "a.txt"]


def test_a_card_with_broken_yaml_is_refused_before_anything_moves(hub: Hub, api: HfApi) -> None:
    for broken in (b"---\na: [1\n---\n", b"---\n- a\n---\n"):
        with pytest.raises(ValueError, match=r"Invalid metadata in README\.md"):
            add(api, "README.md", broken)
    assert stored(hub) == {}


# --- Commits ------------------------------------------------------------------------------------------------


def test_of_two_pushers_on_one_head_the_second_is_told(hub: Hub, api: HfApi) -> None:
    head = api.dataset_info(REPO).sha
    first = add(api, "first.txt", b"1", parent_commit=head)
    with pytest.raises(HfHubHTTPError) as error:
        add(api, "second.txt", b"2", parent_commit=head)
    assert status_of(error) == 412
    assert stored(hub) == {"first.txt": sha1(b"1")}
    add(api, "second.txt", b"2", parent_commit=first.oid[:7])  # a short hash will do
    assert stored(hub) == {"first.txt": sha1(b"1"), "second.txt": sha1(b"2")}
    titles = [commit.title for commit in api.list_repo_commits(REPO, repo_type="dataset")]
    assert titles == ["add second.txt", "add first.txt", "initial commit"]


def test_no_commit_of_many_at_once_is_lost(hub: Hub, api: HfApi) -> None:
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        commits = list(pool.map(lambda n: add(api, f"{n}.parquet", b"%d" % n).oid, range(16)))
    assert stored(hub) == {f"{n}.parquet": sha256(b"%d" % n) for n in range(16)}
    history = [commit.oid for commit in hub.repositories[REPO].history()]
    assert set(history[:-1]) == set(commits)


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ({"key": "lfsFile", "value": {"path": "b", "algo": "sha256", "oid": "0" * 64, "size": 1}}, 400),
        ({"key": "deletedFile", "value": {"path": "none"}}, 404),
        ({"key": "deletedFolder", "value": {"path": "none/"}}, 404),
        ({"key": "renamedFile", "value": {"path": "a"}}, 400),
    ],
)
def test_a_commit_with_one_bad_operation_changes_nothing(
    hub: Hub, api: HfApi, line: dict[str, Any], status: int
) -> None:
    head = add(api, "a", b"a").oid
    good = {"key": "file", "value": {"path": "c", "content": "Yw==", "encoding": "base64"}}
    lines = [{"key": "header", "value": {"summary": "s", "description": ""}}, good, line]
    body = "\n".join(map(json.dumps, lines)).encode()
    answer = ask(f"{hub.url}/api/datasets/{REPO}/commit/main", "POST", body, Authorization=f"Bearer {ANN}")
    assert answer[0] == status
    assert api.dataset_info(REPO).sha == head
    assert stored(hub) == {"a": sha1(b"a")}


def test_one_commit_adds_replaces_copies_and_deletes(hub: Hub, api: HfApi) -> None:
    for path in ("old/a.txt", "old/b.txt", "keep.txt", "gone.txt", "large.parquet"):
        add(api, path, path.encode())
    operations = [
        CommitOperationDelete("old/"),
        CommitOperationDelete("gone.txt"),
        CommitOperationAdd("keep.txt", b"new"),
        CommitOperationAdd("old/c.txt", b"c"),
        CommitOperationCopy("large.parquet", "copy.parquet"),
        CommitOperationDelete("large.parquet"),
    ]
    api.create_commit(REPO, operations, commit_message="all", repo_type="dataset")
    assert stored(hub) == {
        "keep.txt": sha1(b"new"),
        "old/c.txt": sha1(b"c"),
        "copy.parquet": sha256(b"large.parquet"),
    }
    with pytest.raises(EntryNotFoundError):
        api.delete_file("gone.txt", REPO, repo_type="dataset")


def test_delete_patterns_of_an_upload_delete_in_the_same_commit(hub: Hub, api: HfApi, tmp_path: Path) -> None:
    upload(api, tmp_path / "old", {"data/old-0.parquet": b"0", "data/old-1.parquet": b"1", "README.md": b"# old"})
    before = len(list(hub.repositories[REPO].history()))
    upload(api, tmp_path / "new", {"data/new-0.parquet": b"2", "README.md": b"# new"}, delete_patterns="data/*")
    assert stored(hub) == {"data/new-0.parquet": sha256(b"2"), "README.md": sha1(b"# new")}
    assert len(list(hub.repositories[REPO].history())) == before + 1


def test_branches_and_tags_keep_what_they_name(hub: Hub, api: HfApi) -> None:
    first = add(api, "a.txt", b"1").oid
    api.create_tag(REPO, tag="v1", repo_type="dataset")
    api.create_branch(REPO, branch="feature/x", repo_type="dataset")
    add(api, "a.txt", b"2", revision="feature/x")
    last = add(api, "a.txt", b"3").oid
    found = {revision: read(api, "a.txt", revision=revision) for revision in ("v1", "feature/x", "main", first)}
    assert found == {"v1": b"1", "feature/x": b"2", "main": b"3", first: b"1"}
    refs = api.list_repo_refs(REPO, repo_type="dataset")
    assert {branch.name for branch in refs.branches} == {"main", "feature/x"}
    assert [(tag.name, tag.target_commit) for tag in refs.tags] == [("v1", first)]
    assert api.dataset_info(REPO, revision=last[:8]).sha == last

    with pytest.raises(HfHubHTTPError) as error:
        api.create_branch(REPO, branch="feature/x", repo_type="dataset")
    assert status_of(error) == 409
    api.create_branch(REPO, branch="feature/x", repo_type="dataset", exist_ok=True)
    api.create_branch(REPO, branch="old", revision=first, repo_type="dataset")
    assert read(api, "a.txt", revision="old") == b"1"
    api.delete_branch(REPO, branch="old", repo_type="dataset")
    api.delete_tag(REPO, tag="v1", repo_type="dataset")
    for revision in ("old", "v1", "0" * 40):
        with pytest.raises(RevisionNotFoundError):
            files(api, revision=revision)
    with pytest.raises(RevisionNotFoundError):
        add(api, "a.txt", b"4", revision="old")
    with pytest.raises(HfHubHTTPError):
        api.delete_branch(REPO, branch="main", repo_type="dataset")


def test_a_pull_request_takes_commits_until_it_is_merged(hub: Hub, api: HfApi) -> None:
    add(api, "a.txt", b"a")
    bob = api_of(hub, BOB)
    commit = add(bob, "b.parquet", b"b", create_pr=True)  # he may not write, and may propose
    assert commit.pr_url == f"{hub.url}/datasets/{REPO}/discussions/1"
    assert commit.pr_revision == "refs/pr/1"
    add(api, "c.txt", b"c", revision="refs/pr/1")
    api.delete_file("a.txt", REPO, repo_type="dataset", revision="refs/pr/1")
    add(api, "d.txt", b"d")
    assert set(stored(hub)) == {"a.txt", "d.txt"}
    assert set(files(api, revision="refs/pr/1")) == {".gitattributes", "b.parquet", "c.txt"}

    api.merge_pull_request(REPO, 1, repo_type="dataset")
    assert set(stored(hub)) == {"b.parquet", "c.txt", "d.txt"}
    details = api.get_discussion_details(REPO, 1, repo_type="dataset")
    assert (details.status, details.author, details.merge_commit_oid) == ("merged", "bob", api.dataset_info(REPO).sha)
    opened = api.create_pull_request(REPO, title="Another", repo_type="dataset")
    assert (opened.num, opened.is_pull_request, opened.status) == (2, True, "open")
    refs = api.list_repo_refs(REPO, repo_type="dataset", include_pull_requests=True)
    assert [pull.ref for pull in refs.pull_requests or []] == ["refs/pr/1", "refs/pr/2"]


# --- Reading ------------------------------------------------------------------------------------------------


def test_a_tree_is_listed_by_folder_or_whole(api: HfApi, tmp_path: Path) -> None:
    upload(api, tmp_path / "files", FILES)

    def tree(folder: str | None = None, **options: Any) -> list[str]:
        return [entry.path for entry in api.list_repo_tree(REPO, folder, repo_type="dataset", **options)]

    odd = next(path for path in FILES if path.startswith("odd"))
    data = ["data/empty.txt", "data/train-0.parquet", "data/train-1.parquet"]
    assert tree() == [".gitattributes", "README.md", "data", "odd names"]
    assert tree("data") == data
    assert tree(recursive=True) == [".gitattributes", "README.md", "data", *data, "odd names", odd]
    for nothing in ("none", "data/train-0.parquet"):
        with pytest.raises(EntryNotFoundError):
            tree(nothing)
    found = api.get_paths_info(REPO, ["data", odd, "none"], repo_type="dataset")
    assert [entry.path for entry in found] == ["data", odd]


def test_an_expanded_tree_names_the_commits_that_touched_files(api: HfApi) -> None:
    commits = {path: add(api, path, path.encode()).oid for path in ("a/b.txt", "c.txt", "a/d.txt")}
    add(api, "c.txt", b"other")
    last = add(api, "c.txt", b"c.txt")
    tree = api.list_repo_tree(REPO, recursive=True, expand=True, repo_type="dataset")
    touched = {entry.path: entry.last_commit for entry in tree}
    assert {path: commit and commit.oid for path, commit in touched.items() if path != ".gitattributes"} == {
        "a": commits["a/d.txt"],
        "a/b.txt": commits["a/b.txt"],
        "a/d.txt": commits["a/d.txt"],
        "c.txt": last.oid,
    }


def test_a_tree_of_many_files_comes_in_pages(hub: Hub, api: HfApi) -> None:
    paths = [f"data/{number:04d}.txt" for number in range(1100)]
    operations = [CommitOperationAdd(path, path.encode()) for path in paths]
    api.create_commit(REPO, operations, commit_message="many", repo_type="dataset")
    hub.clear(log=True)
    assert [entry.path for entry in api.list_repo_tree(REPO, "data", repo_type="dataset")] == paths
    assert hub.count("*/tree/main/data") == 2
    expanded = api.list_repo_tree(REPO, "data", expand=True, repo_type="dataset")
    assert [entry.path for entry in expanded] == paths
    assert hub.count("*/tree/main/data") == 2 + 11


def test_resolve_tells_commit_size_and_digest(hub: Hub, api: HfApi) -> None:
    add(api, "a.parquet", LARGE)
    commit = add(api, "a.txt", b"0123456789").oid
    url = f"{hub.url}/datasets/{REPO}/resolve/main"
    for method in ("GET", "HEAD"):
        status, headers, body = ask(f"{url}/a.txt", method)
        assert (status, headers["X-Repo-Commit"], headers["ETag"]) == (200, commit, f'"{sha1(b"0123456789")}"')
        assert (headers["Content-Length"], headers["Accept-Ranges"]) == ("10", "bytes")
        assert body == (b"0123456789" if method == "GET" else b"")

        status, headers, body = ask(f"{url}/a.parquet", method)
        assert (status, headers["X-Repo-Commit"], body) == (302, commit, b"")
        assert (headers["X-Linked-ETag"], headers["X-Linked-Size"]) == (f'"{sha256(LARGE)}"', str(len(LARGE)))

        status, headers, _ = ask(f"{url}/none", method)
        assert (status, headers["X-Error-Code"], headers["X-Repo-Commit"]) == (404, "EntryNotFound", commit)
    status, headers, _ = ask(f"{hub.url}/datasets/{REPO}/resolve/none/a.txt", "HEAD")
    assert (status, headers["X-Error-Code"]) == (404, "RevisionNotFound")


@pytest.mark.parametrize(
    ("asked", "status", "content", "told"),
    [
        ("bytes=0-0", 206, slice(0, 1), "bytes 0-0/1500001"),
        ("bytes=1000-1999", 206, slice(1000, 2000), "bytes 1000-1999/1500001"),
        ("bytes=1500000-", 206, slice(1500000, None), "bytes 1500000-1500000/1500001"),
        ("bytes=-7", 206, slice(-7, None), "bytes 1499994-1500000/1500001"),
        ("bytes=0-9999999", 206, slice(None), "bytes 0-1500000/1500001"),
        ("bytes=1500001-", 416, slice(0, 0), "bytes */1500001"),
    ],
)
def test_a_range_of_a_blob(hub: Hub, api: HfApi, asked: str, status: int, content: slice, told: str) -> None:
    add(api, "a.parquet", LARGE)
    location = ask(f"{hub.url}/datasets/{REPO}/resolve/main/a.parquet")[1]["Location"]
    answer = ask(location, Range=asked)
    assert (answer[0], answer[2], answer[1]["Content-Range"]) == (status, LARGE[content], told)


@recent
def test_urls_of_blobs_are_good_for_one_thing_and_time_and_take_no_token(hub: Hub, api: HfApi) -> None:
    add(api, "a.parquet", LARGE)
    api.update_repo_settings(REPO, private=True, repo_type="dataset")
    url = f"{hub.url}/datasets/{REPO}/resolve/main/a.parquet"
    assert ask(url)[0] == 401
    location = ask(url, Authorization=f"Bearer {ANN}")[1]["Location"]
    assert urlsplit(location).netloc != urlsplit(hub.url).netloc  # so that clients leave the token behind
    assert ask(location)[::2] == (200, LARGE)
    assert ask(location, Authorization=f"Bearer {ANN}")[0] == 400
    assert ask(location, "PUT", b"x")[0] == 403
    assert ask(location.replace("expires=", "expires=9"))[0] == 403
    assert ask(location.partition("?")[0])[0] == 403
    hub.url_seconds = -1
    assert ask(ask(url, Authorization=f"Bearer {ANN}")[1]["Location"])[0] == 403


def test_clients_send_no_token_to_urls_of_blobs(hub: Hub, api: HfApi, tmp_path: Path) -> None:
    upload(api, tmp_path / "files", FILES)
    api.snapshot_download(REPO, repo_type="dataset")
    code = f"from huggingface_hub import HfFileSystem\nHfFileSystem().cat('datasets/{REPO}/data/train-1.parquet')"
    run(f"{code}\nanswer = None", tmp_path / "home", hub)
    assert {request.method for request in hub.matching("/_blobs/*")} == {"PUT", "POST", "GET"}
    assert not any(request.authorized for request in hub.matching("/_blobs/*"))
    assert all(request.authorized for request in hub.matching("/api/*"))


# --- Faults -------------------------------------------------------------------------------------------------


@recent
def test_errors_that_pass_are_retried_by_the_client(hub: Hub, api: HfApi, waits: list[float]) -> None:
    hub.add(
        Fault("status", "*/preupload/*", code=503, times=2),
        Fault("status", "*/objects/batch", code=429, retry_after=6, times=1),
        Fault("status", "/_blobs/*", method="PUT", code=500, times=1),
    )
    add(api, "a.parquet", LARGE)
    assert read(api, "a.parquet") == LARGE
    assert [request.status for request in hub.matching("*/preupload/*")] == [503, 503, 200]
    assert [request.status for request in hub.matching("*/objects/batch")] == [429, 200]
    assert waits == [1, 2, 6 + 1, 1]  # the client adds a second to what Retry-After says


@pytest.mark.parametrize("code", [409, 412, 503])
def test_a_refused_commit_leaves_the_repository_as_it_was(hub: Hub, api: HfApi, code: int) -> None:
    head = api.dataset_info(REPO).sha
    hub.add(Fault("status", "*/commit/*", code=code, times=1))
    with pytest.raises(HfHubHTTPError) as error:
        add(api, "a.parquet", LARGE)
    assert status_of(error) == code
    assert api.dataset_info(REPO).sha == head
    hub.clear(log=True)
    add(api, "a.parquet", LARGE)
    assert hub.count("/_blobs/*") == 0  # the content was there already
    assert stored(hub) == {"a.parquet": sha256(LARGE)}


def test_a_commit_whose_answer_is_lost_is_there(hub: Hub, api: HfApi) -> None:
    hub.add(Fault("cut", "*/commit/*", at=0, times=1))
    with pytest.raises(Exception, match=r"(?i)peer closed|disconnected|incomplete"):
        add(api, "a.txt", b"a")
    assert stored(hub) == {"a.txt": sha1(b"a")}


@recent
def test_an_upload_that_is_cut_leaves_nothing_and_is_sent_again(hub: Hub, api: HfApi) -> None:
    hub.add(Fault("cut", "/_blobs/*/3", method="PUT", at=1000, times=2))
    add(api, "a.parquet", LARGE)
    assert read(api, "a.parquet") == LARGE
    assert [(put.received, put.status) for put in hub.matching("/_blobs/*/3", "PUT")] == [
        (1000, 0),
        (1000, 0),
        (PART_BYTES, 200),
    ]
    assert not list((hub.root / REPO / "uploads").iterdir())


@recent
def test_a_download_that_is_cut_goes_on_where_it_was(hub: Hub, api: HfApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 100_000)
    add(api, "a.parquet", LARGE)
    hub.add(Fault("cut", "/_blobs/*", method="GET", at=750_000, times=1))
    assert read(api, "a.parquet") == LARGE
    gets = hub.matching("/_blobs/*", "GET")
    assert [(get.range, get.sent) for get in gets] == [(None, 750_000), ("bytes=700000-", len(LARGE) - 700_000)]


def test_upload_urls_that_have_expired_are_refused_until_new_ones_are_asked_for(hub: Hub, api: HfApi) -> None:
    hub.url_seconds = -1
    with pytest.raises(RuntimeError, match=r"Error while uploading 'a\.parquet'"):
        add(api, "a.parquet", LARGE)
    assert {request.status for request in hub.matching("/_blobs/*")} == {403}
    assert stored(hub) == {}
    hub.url_seconds = 60
    add(api, "a.parquet", LARGE)
    assert stored(hub) == {"a.parquet": sha256(LARGE)}


def test_faults_strike_the_share_that_their_seed_draws(hub: Hub, api: HfApi) -> None:
    def statuses(seed: int) -> list[int]:
        hub.clear(log=True)
        hub.add(Fault("status", "*/auth-check", probability=0.3, seed=seed))
        return [ask(f"{hub.url}/api/datasets/{REPO}/auth-check")[0] for _ in range(100)]

    first = statuses(1)
    assert statuses(1) == first
    assert statuses(2) != first
    assert 15 < first.count(503) < 45


def test_a_slow_upload_takes_its_time(hub: Hub, api: HfApi) -> None:
    hub.add(Fault("slow", "/_blobs/*", bytes_per_second=200_000))
    upload_of = threading.Thread(target=add, args=(api, "a.parquet", LARGE[:100_000]))
    upload_of.start()
    upload_of.join(0.3)
    assert upload_of.is_alive()
    upload_of.join()
    assert stored(hub) == {"a.parquet": sha256(LARGE[:100_000])}


def test_a_fault_that_a_hub_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'wrong_length' is none of a hub; take status"):
        Hub(tmp_path / "hub", faults=[Fault("wrong_length", by=1)])


# --- Kills --------------------------------------------------------------------------------------------------

UPLOAD = f"""
from huggingface_hub import HfApi
HfApi().upload_folder(folder_path=sys.argv[2], repo_id={REPO!r}, repo_type="dataset")
answer = None
"""


@pytest.mark.parametrize("xet", [False, True])
def test_a_killed_client_leaves_no_trace_but_the_files_that_were_whole(tmp_path: Path, xet: bool) -> None:
    root = write_files(tmp_path / "files", FILES)
    with Hub(tmp_path / "hub", part_bytes=PART_BYTES, xet=xet) as hub:
        api_of(hub).create_repo(REPO, repo_type="dataset")
        hub.add(Fault("stall", "/_blobs/*", method="PUT", at=30_000, skip=0 if xet else 3, seconds=60))
        home = tmp_path / "home"
        home.mkdir()
        command = [sys.executable, "-c", f"import sys\n{UPLOAD}", "", str(root)]
        client = subprocess.Popen(command, env=environment(hub.url, home, token=ANN, xet=xet))
        hub.wait_for(lambda request: "stall" in request.faults)
        client.send_signal(signal.SIGKILL)
        client.wait()
        assert stored(hub) == {}
        hub.clear(log=True)
        run(UPLOAD, tmp_path / "home", hub, root, xet=xet)
        assert stored(hub) == {path: oid(path, content) for path, content in FILES.items()}


def test_a_killed_server_comes_back_with_all_that_was_committed(tmp_path: Path) -> None:
    stall = Fault("stall", f"/_blobs/*{sha256(LARGE)}/2", at=1000, seconds=60)
    with HubProcess(tmp_path / "hub", part_bytes=PART_BYTES, faults=[stall]) as hub:
        api, url = api_of(hub), hub.url
        api.create_repo(REPO, repo_type="dataset")
        first = add(api, "a.parquet", b"a")
        failed: list[BaseException] = []

        def push() -> None:
            try:
                add(api, "large.parquet", LARGE)
            except RuntimeError as error:
                failed.append(error)

        pusher = threading.Thread(target=push)
        pusher.start()
        hub.wait_for(lambda request: "stall" in request.faults)
        hub.kill()
        pusher.join()
        assert len(failed) == 1
        before = hub.requests
        hub.start()
        assert hub.url == url
        assert hub.requests[: len(before)] == before
        assert api.dataset_info(REPO).sha == first.oid
        assert read(api, "a.parquet") == b"a"
    with Hub(tmp_path / "hub", part_bytes=PART_BYTES) as here:
        add(api_of(here), "large.parquet", LARGE)
        assert read(api_of(here), "large.parquet") == LARGE
    found = Repository(tmp_path / "hub", REPO).commit().files
    assert {path: entry.oid for path, entry in found.items() if path.endswith(".parquet")} == {
        "a.parquet": sha256(b"a"),
        "large.parquet": sha256(LARGE),
    }


def test_no_log_holds_a_token_or_a_signature(tmp_path: Path) -> None:
    with HubProcess(tmp_path / "hub") as hub:
        api = api_of(hub)
        api.create_repo(REPO, repo_type="dataset", private=True)
        add(api, "a.parquet", LARGE)
        assert read(api, "a.parquet") == LARGE
        assert hub.bytes_received("/_blobs/*") == len(LARGE)
    log = (tmp_path / "hub" / "log").read_text()
    assert ANN not in log
    assert "signature" not in log


def test_the_command_serves_until_it_is_told_to_end(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.support.hub", str(tmp_path / "hub"), "--options", '{"part_bytes": 1000}']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert HfApi(endpoint=url, token=ANN).whoami()["name"] == "ann"
        process.terminate()
        assert process.wait(timeout=10) == 0


def test_the_environment_of_clients_forgets_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    found = environment("http://127.0.0.1:1", tmp_path)
    assert "HF_TOKEN" not in found
    assert "HF_HUB_OFFLINE" not in found
    assert (found["HF_ENDPOINT"], found["HF_HOME"], found["HF_HUB_DISABLE_XET"]) == (
        "http://127.0.0.1:1", str(tmp_path), "1",
    )  # fmt: skip
    assert environment("http://127.0.0.1:1", tmp_path, token=ANN, xet=True)["HF_TOKEN"] == ANN
    assert found["PATH"] == os.environ["PATH"]


# --- datasets and hf_xet ------------------------------------------------------------------------------------

CARD = """---
configs:
- config_name: "700"
  data_files:
  - split: train
    path: data/train-*
  - split: test
    path: data/test-*
---
"""
LOAD = f"""
import datasets
answer = {{}}
for streaming in (False, True):
    loaded = datasets.load_dataset({REPO!r}, "700", streaming=streaming)
    read = {{split: [[row["key"], len(row["video"])] for row in rows] for split, rows in loaded.items()}}
    answer[f"{{streaming}}"] = read
"""


def parquet(rows: range) -> bytes:
    sink = pa.BufferOutputStream()
    videos = [random.Random(row).randbytes(20_000 + row) for row in rows]
    pq.write_table(pa.table({"key": list(rows), "video": pa.array(videos, pa.binary())}), sink, row_group_size=5)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize("xet", [False, True])
def test_datasets_loads_a_private_repository_whole_and_streaming(tmp_path: Path, xet: bool) -> None:
    shards = {f"data/train-{n}.parquet": parquet(range(20 * n, 20 * n + 20)) for n in range(3)}
    shards |= {"data/test-0.parquet": parquet(range(100, 110)), "README.md": CARD.encode()}
    with Hub(tmp_path / "hub", xet=xet) as hub:
        api_of(hub).create_repo(REPO, repo_type="dataset", private=True)
        run(UPLOAD, tmp_path / "pusher", hub, write_files(tmp_path / "files", shards), xet=xet)
        for file in hub.repositories[REPO].commit().files:
            if file.endswith(".parquet"):
                assert hub.repositories[REPO].blob(sha256(shards[file])).read_bytes() == shards[file]
        expected = {
            "train": [[row, 20_000 + row] for row in range(60)],
            "test": [[row, 20_000 + row] for row in range(100, 110)],
        }
        assert run(LOAD, tmp_path / "reader", hub, xet=xet) == {"False": expected, "True": expected}
        with pytest.raises(RuntimeError, match=f"DatasetNotFoundError: .*{REPO}"):
            run(LOAD, tmp_path / "stranger", hub, token=None, xet=xet)
        assert {request.status for request in hub.requests if not request.authorized} <= {200, 206, 401, 404}
        assert not any(request.authorized for request in hub.matching("/_blobs/*"))


PUSH = f"""
import datasets
for split in ("train", "test"):
    rows = datasets.Dataset.from_dict({{"a": list(range(100)), "split": [split] * 100}})
    rows.push_to_hub({REPO!r}, "600", split=split, num_shards=3)
answer = {{s: [r["a"] for r in rows] for s, rows in datasets.load_dataset({REPO!r}, "600", streaming=True).items()}}
"""


def test_datasets_pushes_and_reads_its_own(hub: Hub, tmp_path: Path) -> None:
    answer = run(PUSH, tmp_path / "home", hub)
    assert answer == {"train": list(range(100)), "test": list(range(100))}
    assert len([path for path in stored(hub) if path.endswith(".parquet")]) == 6


DOWNLOAD = f"""
from huggingface_hub import HfApi, HfFileSystem
import hashlib
api = HfApi()
folder = Path(api.snapshot_download({REPO!r}, repo_type="dataset"))
found = [path for path in folder.rglob("*") if path.is_file()]
answer = {{path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}}
answer["range"] = HfFileSystem().read_block({"datasets/" + REPO + "/text.bin"!r}, 1_000_000, 50).decode()
"""


@recent
def test_xet_moves_chunks_of_every_packing_and_each_once(tmp_path: Path) -> None:
    gauss = random.Random(3).gauss
    floats = struct.pack("<200003f", *(gauss(0, 1) for _ in range(200_003)))
    contents = {
        "random.parquet": random.Random(2).randbytes(3_000_000),  # is not packed
        "text.bin": b"".join(b"line %d of a text\n" % number for number in range(100_000)),  # LZ4
        "floats.dat": floats + b"xyz",  # bytes in groups of four, then LZ4, with an odd end
        "small.txt": b"small",
    }
    root = write_files(tmp_path / "files", contents)
    with Hub(tmp_path / "hub", xet=True) as hub:
        api_of(hub).create_repo(REPO, repo_type="dataset")
        run(UPLOAD, tmp_path / "pusher", hub, root, xet=True)
        assert stored(hub) == {
            path: (sha1 if path == "small.txt" else sha256)(content) for path, content in contents.items()
        }
        sent = hub.bytes_received("/_blobs/*")
        assert 3_000_000 < sent < sum(map(len, contents.values()))
        assert hub.count("*/objects/batch") == 0

        answer = run(DOWNLOAD, tmp_path / "reader", hub, xet=True)
        assert answer.pop("range") == contents["text.bin"][1_000_000:1_000_050].decode()
        del answer[".gitattributes"]
        assert answer == {path: sha256(content) for path, content in contents.items()}
        assert hub.count("*/v1/reconstructions/*") >= 3

        # Another client, without a cache, that pushes the same under other names: nothing of it travels.
        hub.clear(log=True)
        other = {f"copy/{path}": content for path, content in contents.items()}
        run(UPLOAD, tmp_path / "other", hub, write_files(tmp_path / "copies", other), xet=True)
        assert hub.bytes_received("/_blobs/*") == 0
        # Nor does what an edit leaves as it was.
        edited = contents["random.parquet"][:1_500_000] + b"edit" + contents["random.parquet"][1_500_000:]
        run(UPLOAD, tmp_path / "third", hub, write_files(tmp_path / "edit", {"edited.parquet": edited}), xet=True)
        assert 0 < hub.bytes_received("/_blobs/*") < 500_000
        assert stored(hub)["edited.parquet"] == sha256(edited)
        # A client without Xet reads the same.
        assert read(api_of(hub), "copy/floats.dat") == contents["floats.dat"]
        assert read(api_of(hub), "edited.parquet") == edited


@recent
def test_xet_uploads_whose_urls_have_expired_or_are_cut_are_retried(tmp_path: Path) -> None:
    root = write_files(tmp_path / "files", {"a.parquet": LARGE})
    faults = [
        Fault("status", "/_blobs/*/xorbs/*", method="PUT", code=403, times=1),
        Fault("cut", "/_blobs/*/xorbs/*", method="PUT", at=1000, times=1),
        Fault("status", "*/shards", code=503, times=1),
    ]
    with Hub(tmp_path / "hub", xet=True, faults=faults) as hub:
        api_of(hub).create_repo(REPO, repo_type="dataset")
        run(UPLOAD, tmp_path / "home", hub, root, xet=True)
        assert stored(hub) == {"a.parquet": sha256(LARGE)}
        assert [request.faults for request in hub.matching("/_blobs/*", "PUT")] == [["status"], ["cut"], []]


def test_xet_is_for_those_who_may_read_or_write(tmp_path: Path) -> None:
    with Hub(tmp_path / "hub", xet=True) as hub:
        api_of(hub).create_repo(REPO, repo_type="dataset", private=True)

        def token(role: str, bearer: str) -> tuple[int, str]:
            url = f"{hub.url}/api/datasets/{REPO}/xet-{role}-token/main"
            status, headers, _ = ask(url, Authorization=f"Bearer {bearer}")
            return status, headers.get("X-Xet-Access-Token", "")

        assert [token("write", bearer)[0] for bearer in (ANN, ANN_READS, ANN_FINE, BOB)] == [200, 403, 403, 404]
        assert [token("read", bearer)[0] for bearer in (ANN, ANN_READS, ANN_FINE, BOB)] == [200, 200, 200, 404]
        api_of(hub).create_repo("lab/open", repo_type="dataset")
        proposal = f"{hub.url}/api/datasets/lab/open/xet-write-token/main?create_pr=1"
        assert ask(proposal, Authorization=f"Bearer {BOB}")[0] == 200
        grant = f"{hub.url}/_cas/{REPO}/v1/xorb-grants/default/{'0' * 64}"
        tokens = [ANN, token("read", ANN)[1], token("write", ANN)[1], token("write", ANN)[1] + "0"]
        assert [ask(grant, "POST", b"{}", Authorization=f"Bearer {t}")[0] for t in tokens] == [401, 403, 201, 401]
        hub.url_seconds = -1
        assert ask(grant, "POST", b"{}", Authorization=f"Bearer {token('write', ANN)[1]}")[0] == 401
    with Hub(tmp_path / "hub") as hub:
        assert token("write", ANN)[0] == 404
