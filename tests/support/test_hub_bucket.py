"""The buckets of hub_bucket.py, driven by the real client: what needs hf_xet in processes of their own."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from tests.support.hub import Hub
from tests.support.hub_token import ANN, ANN_FINE, ANN_READS, BOB
from tests.support.test_hub import api_of, ask, run, sha256, waits

__all__ = ["waits"]  # a fixture

pytestmark = pytest.mark.skipif(not hasattr(HfApi, "update_bucket_settings"), reason="the client knows no buckets")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub(tmp_path / "hub", xet=True) as hub:
        yield hub


WRITE = """
from huggingface_hub import HfApi
from huggingface_hub.errors import BucketBatchError
api, answer = HfApi(), {}
api.create_bucket("ann/clips", private=True)
paths = ["logs/a.txt", "logs/deep/b + 50%.txt", "logs_backup/c.txt", "logs.json"]
api.batch_bucket_files("ann/clips", add=[(path.encode() * 9, path) for path in paths])
try:
    api.batch_bucket_files("ann/clips", delete=["none", "logs.json"])
except BucketBatchError as error:
    answer = error.failures
"""
READ = """
from huggingface_hub import HfApi, HfFileSystem
api, fs = HfApi(), HfFileSystem(live_follow=True)
at = "buckets/ann/clips"
answer = {
    "ls": [sorted(fs.ls(path, detail=False)) for path in (at, f"{at}/logs")],
    "find": fs.find(at),
    "read": fs.cat_file(f"{at}/logs/deep/b + 50%.txt").decode(),
    "range": fs.read_block(f"{at}/logs/a.txt", 10, 5).decode(),
    "info": [api.bucket_info("ann/clips").total_files, api.bucket_info("ann/clips").size],
    "paths": [one.path for one in api.get_bucket_paths_info("ann/clips", ["none", "logs/a.txt"])],
    "size": api.get_bucket_file_metadata("ann/clips", "logs/deep/b + 50%.txt").size,
}
api.download_bucket_files("ann/clips", [("logs/a.txt", Path(sys.argv[1]).parent / "a.txt")])
answer["downloaded"] = (Path(sys.argv[1]).parent / "a.txt").read_text()
fs.mv(f"{at}/logs/a.txt", f"{at}/moved.txt")
answer["moved"] = fs.find(at), fs.cat_file(f"{at}/moved.txt").decode()
"""


def test_the_client_writes_lists_reads_and_moves(hub: Hub, tmp_path: Path) -> None:
    failures = run(WRITE, tmp_path / "writer", hub, xet=True)
    assert failures == [{"path": "none", "error": "deleteFile: no such file in this bucket"}]
    written = ["logs/a.txt", "logs/deep/b + 50%.txt", "logs_backup/c.txt"]
    bucket = hub.repositories["buckets/ann/clips"]
    assert bucket.files == {path: sha256(path.encode() * 9) for path in written}
    at = "buckets/ann/clips"
    answer = run(READ, tmp_path / "reader", hub, xet=True)
    assert answer == {
        "ls": [[f"{at}/logs", f"{at}/logs_backup"], [f"{at}/logs/a.txt", f"{at}/logs/deep"]],
        "find": [f"{at}/{path}" for path in written],
        "read": "logs/deep/b + 50%.txt" * 9,
        "range": ("logs/a.txt" * 9)[10:15],
        "info": [3, 9 * sum(map(len, written))],
        "paths": ["logs/a.txt"],
        "size": 9 * len("logs/deep/b + 50%.txt"),
        "downloaded": "logs/a.txt" * 9,
        "moved": [[f"{at}/{path}" for path in (*written[1:], "moved.txt")], "logs/a.txt" * 9],
    }
    assert {request.status for request in hub.matching("*/events")} == {404}  # at once, and no more is asked
    assert not any(request.authorized for request in hub.matching("/_blobs/*"))
    with Hub(tmp_path / "hub", xet=True) as again:
        assert again.repositories["buckets/ann/clips"].files == bucket.files


def test_the_prefix_of_a_listing_need_not_end_at_a_slash(hub: Hub, tmp_path: Path) -> None:
    run(WRITE, tmp_path / "writer", hub, xet=True)

    def listed(query: str) -> list[tuple[str, str]]:
        url = f"{hub.url}/api/buckets/ann/clips/tree{query}"
        return [(one["type"], one["path"]) for one in json.loads(ask(url, Authorization=f"Bearer {ANN}")[2])]

    deep, backup = ("file", "logs/deep/b + 50%.txt"), ("file", "logs_backup/c.txt")
    assert listed("?recursive=True") == listed("/logs?recursive=True") == [("file", "logs/a.txt"), deep, backup]
    assert listed("/logs%2Fdeep?recursive=True") == [deep]
    assert listed("/logs") == [("file", "logs/a.txt"), ("directory", "logs/deep"), ("directory", "logs_backup")]
    assert listed("/none") == []


def test_buckets_are_for_those_who_may(hub: Hub) -> None:
    def status(path: str, token: str, method: str = "GET", body: bytes | None = None) -> int:
        return ask(f"{hub.url}/api/buckets/ann/clips{path}", method, body, Authorization=f"Bearer {token}")[0]

    tokens = (ANN_READS, ANN_FINE, BOB, ANN)
    assert [status("", token, "POST", b'{"visibility": "private"}') for token in tokens] == [403, 403, 403, 200]
    assert status("", ANN, "POST") == 409
    assert ask(f"{hub.url}/api/buckets/ann/clips")[0] == 401
    for path, found in (("", [200, 200, 404, 200]), ("/tree", [200, 200, 404, 200])):
        assert [status(path, token) for token in tokens] == found
    assert [status("/xet-read-token", token) for token in tokens] == [200, 200, 404, 200]
    assert [status("/xet-write-token", token) for token in tokens] == [403, 403, 404, 200]
    assert [status("/batch", token, "POST") for token in tokens[:3]] == [403, 403, 404]
    api_of(hub).update_bucket_settings("ann/clips", private=False)
    assert status("", BOB) == 200
    assert status("/batch", BOB, "POST") == 403
    assert list(api_of(hub).list_datasets()) == []
