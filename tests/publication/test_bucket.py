"""Pushes to buckets of a local Hub by the real clients. What sends content has a process of its own, as hf_xet keeps
what it knows of a store at some port for as long as a process lives."""

import hashlib
import sys
from pathlib import Path

import datasets
import pytest

from kinetics_tools.errors import PushError
from tests.support.fault_server import Fault
from tests.support.hub import Hub
from tests.support.hub_clients import MAIN, PUSHER, Clients, clients_of
from tests.support.hub_pushes import BESIDE, answer_of, ids, quiet, run, shards, size
from tests.support.hub_token import ANN, ANN_FINE, ANN_READS, BOB
from tests.support.prepared import write_prepared

BUCKET = "hf://buckets/ann/clips"


def files(hub: Hub, name: str = "ann/clips") -> dict[str, str]:
    """Path -> SHA-256, of what a bucket holds."""
    return dict(hub.repositories[f"buckets/{name}"].files)


def tree(out: Path, folder: str = "") -> dict[str, str]:
    """Return the files of a local folder, as expected in `folder`."""
    paths = [path for path in out.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {folder + path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_without_the_library_for_buckets_a_push_ends_at_once(
    hub: Hub, out: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    monkeypatch.setitem(sys.modules, "hf_xet", None)
    with pytest.raises(PushError, match="hf_xet"):
        quiet(out, BUCKET)
    assert waits == []


# ---- What a push leaves


@pytest.mark.parametrize(("folder", "token"), [("", None), ("some/prefix/", ANN)])
def test_the_same_tree_arrives_and_a_second_push_sends_nothing(
    hub: Hub, pusher: Clients, out: Path, folder: str, token: str | None
) -> None:
    """With a token from the environment, or else given as `token`."""
    url, given = f"{BUCKET}/{folder}", ["--token", token] if token else []
    stored = None if token else ANN
    done = run(pusher, out, url, *given, "--no-pictures", "--private", "--verify", token=stored, xet=True)
    assert done.returncode == 0, done.stderr
    assert "verified 23 clips: identical to the local shards" in done.stdout
    assert f"see {url.rstrip('/')}\n" in done.stdout
    assert files(hub) == tree(out, folder)
    assert len(files(hub)) == 10
    assert hub.repositories["buckets/ann/clips"].state["private"]
    hub.clear(log=True)
    again = quiet(out, url, pictures=False)
    assert (again.files_sent, again.commits) == (0, 0)
    assert quiet(out, url, dry_run=True).files_sent == 0
    assert {request.method for request in hub.requests} == {"GET"}
    assert quiet(out, url, private=False, pictures=False).commits == 0
    assert not hub.repositories["buckets/ann/clips"].state["private"]
    changed = out / shards(out)[3]
    footer_changed = changed.read_bytes().replace(b"parquet-cpp", b"PARQUET-CPP")  # it says what wrote it
    changed.unlink()
    changed.write_bytes(footer_changed)
    assert quiet(out, url, dry_run=True).files_sent == 1


def test_neighbours_are_not_taken_for_the_folder(hub: Hub, pusher: Clients, out: Path) -> None:
    assert run(pusher, out, f"{BUCKET}/some/prefix", xet=True).returncode == 0
    assert quiet(out, f"{BUCKET}/some/pre", dry_run=True).files_sent == 8
    with pytest.raises(PushError, match=r"clips/some has other content \(prefix/700/prepare.json\)"):
        quiet(out, f"{BUCKET}/some")


def test_another_preparation_takes_the_place_of_the_first(hub: Hub, pusher: Clients, out: Path, tmp_path: Path) -> None:
    assert run(pusher, out, BUCKET, "--no-pictures", xet=True).returncode == 0
    new = tmp_path / "new"
    write_prepared(new, "700", "validation", crf=30)
    done = run(pusher, new, BUCKET, "--no-pictures", "--delete-local", xet=True)
    assert "deleted 8 shards of earlier preparations" in done.stdout, done.stderr
    assert "removed 8 local shards" in done.stdout
    write_prepared(new, "700", "validation", crf=30)
    assert files(hub) == tree(new)


READ = """
import json, sys
import datasets, pyarrow.parquet as pq
from huggingface_hub import HfFileSystem
datasets.disable_progress_bars()
answer, url = {}, sys.argv[1]
fs = HfFileSystem()
parts = [pq.read_table(path, filesystem=fs) for path in fs.glob(f"{url}/700/validation-*.parquet")]
answer["pyarrow"] = [one for part in parts for one in part["youtube_id"].to_pylist()]
for streaming in (True, False):
    files = {"validation": f"{url}/700/validation-*.parquet"}
    for way, asked in (("files", {"path": "parquet", "data_files": files}), ("card", {"path": url, "name": "700"})):
        if way in sys.argv[2:]:
            rows = datasets.load_dataset(**asked, split="validation", streaming=streaming)
            rows = rows.cast_column("video", datasets.Video(decode=False))
            answer[f"{way} {streaming}"] = [row["youtube_id"] for row in rows]
print("ANSWER" + json.dumps(answer))
"""


def test_pyarrow_and_datasets_read_it(hub: Hub, pusher: Clients, reader: Clients, out: Path) -> None:
    url = f"{BUCKET}/some/prefix"
    assert run(pusher, out, url, "--private", xet=True).returncode == 0
    assert "some/prefix/images/classes.svg" in files(hub)
    ways = ["files", *(["card"] if hasattr(datasets.load, "HubBucketDatasetModuleFactory") else [])]  # from 4.8 on
    answer = answer_of(reader.run(READ, url, *ways, token=ANN, xet=True))
    expected = ["pyarrow", *(f"{way} {streaming}" for way in ways for streaming in (True, False))]
    assert answer == dict.fromkeys(expected, ids(out))


# ---- Faults

CONTENT = "/_blobs/*/xorbs/*"


@pytest.mark.parametrize(
    ("fault", "arrived"),
    [
        (Fault("stall", CONTENT, method="PUT", at=1000, seconds=600), []),
        (Fault("stall", "*/batch", at=0, seconds=600), ["700/*"]),
        (Fault("stall", "*/batch", at=0, seconds=600, skip=1), ["700/*", "700/prepare.json", "images/classes.svg"]),
        (Fault("stall", "*/batch", at=0, seconds=600, skip=2), ["700/*", *BESIDE]),
    ],
    ids=["while content is sent", "after the files", "after what describes them", "after the card"],
)
def test_a_push_that_is_killed_goes_on_and_the_card_comes_last(
    hub: Hub, pusher: Clients, out: Path, fault: Fault, arrived: list[str]
) -> None:
    hub.add(fault)
    client = pusher.start(MAIN, "push", out, BUCKET, token=ANN, xet=True)
    hub.wait_for(lambda request: "stall" in request.faults)
    client.kill()
    expected = [*(shards(out) if "700/*" in arrived else []), *arrived[1:]]
    assert sorted(files(hub)) == sorted(expected)
    hub.clear()
    hub.clear(log=True)
    done = run(pusher, out, BUCKET, xet=True)
    assert done.returncode == 0, done.stderr
    assert ("nothing to upload" in done.stdout) == ("README.md" in arrived)
    assert sorted(files(hub)) == sorted([*shards(out), *BESIDE])
    assert all(files(hub)[name] == digest for name, digest in tree(out).items() if name.endswith(".parquet"))
    assert hub.bytes_received(CONTENT) < (size(out) / 2 if arrived else size(out) + 100_000)


def test_faults_are_outlived(hub: Hub, pusher: Clients, out: Path) -> None:
    hub.add(
        Fault("status", "/api/buckets/ann/clips", method="GET", code=503, times=1),
        Fault("status", "/api/buckets/ann/clips/tree", code=502, times=1),
        Fault("status", CONTENT, method="PUT", code=403, times=1),
        Fault("cut", "*/batch", at=0, times=1),
        Fault("status", "*/batch", code=422, skip=1, times=1),
    )
    done = run(pusher, out, BUCKET, "--no-pictures", xet=True)
    assert done.returncode == 0, done.stderr
    assert files(hub) == tree(out)
    assert sum(len(request.faults) for request in hub.requests) == 5


# ---- What is refused


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, "no token to push to ann/clips: create one with write access at https://huggingface.co"),
        (
            "hf_unknownToAll",
            "cannot identify the owner of the token: .*; create a token with write access at https://hugg",
        ),
        (ANN_READS, "the token of ann is read-only; create a token with write access to ann/clips at"),
        (BOB, "ann is neither bob nor an organization of bob; create a token"),
        (ANN_FINE, "the fine-grained token of ann has no write access to ann/clips; create a token"),
    ],
)
def test_without_the_right_nothing_moves(
    hub: Hub, out: Path, monkeypatch: pytest.MonkeyPatch, token: str | None, message: str
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(PushError, match=message) as error:
        quiet(out, BUCKET, token=token)
    assert token is None or token not in str(error.value)
    assert not hub.repositories
    assert [request.path for request in hub.requests if request.method != "GET"] == []


def test_no_token_is_ever_seen(hub: Hub, out: Path, tmp_path: Path) -> None:
    """In output, logs and files, whatever fails."""
    said = []
    faults: list[list[Fault]] = [
        [Fault("status", "*/batch", code=403)],
        [Fault("status", "/api/buckets/*", method="POST", code=403)],
        [Fault("status", "*/tree", code=413)],
        [],
    ]
    with clients_of(hub.url, tmp_path / "home", PUSHER, HF_DEBUG="1", HF_HUB_VERBOSITY="debug") as pusher:
        for number, some in enumerate(faults):
            hub.add(*some)
            done = run(pusher, out, f"hf://buckets/ann/clips{number}", xet=True)
            hub.clear()
            said.append(done.stdout + done.stderr)
            assert done.returncode == (2 if some else 0), said[-1]
            assert "Traceback" not in said[-1]
    assert not [one for one in said if ANN in one]
    for folder in (out, tmp_path / "home", hub.root):
        for path in folder.rglob("*"):
            assert not path.is_file() or ANN.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        (
            "hf://buckets/ann",
            {},
            "invalid bucket hf://buckets/ann: expected hf://buckets/NAMESPACE/NAME, or a folder in it",
        ),
        ("hf://buckets/", {}, "invalid bucket hf://buckets/.*: expected hf://buckets/NAMESPACE/NAME"),
        (
            "hf://buckets/ann/clips@main/some",
            {},
            "invalid bucket hf://buckets/.*: expected hf://buckets/NAMESPACE/NAME",
        ),
        (BUCKET, {"gated": "auto"}, "cannot be gated, because it is in a bucket; omit gated"),
        (BUCKET, {"revision": "next"}, "revision and create_pr need a repository on the Hub"),
    ],
)
def test_bad_arguments(hub: Hub, out: Path, url: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quiet(out, url, **options)
    assert not hub.repositories


@pytest.mark.parametrize("target", [BUCKET, "ann/kinetics"])
def test_an_old_client_is_refused(hub: Hub, out: Path, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    monkeypatch.setattr("huggingface_hub.__version__", "1.28.0")
    with pytest.raises(ImportError, match=r"needs huggingface_hub 1.29 .*: pip install 'huggingface_hub>=1.29'"):
        quiet(out, target)
    assert not hub.requests
