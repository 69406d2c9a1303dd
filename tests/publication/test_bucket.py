"""Pushes to buckets of a local Hub by the real clients. What sends content has a process of its own, as hf_xet keeps
what it knows of a store at some port for as long as a process lives."""

import hashlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import datasets
import pytest
from huggingface_hub import HfApi

from kinetics_tools.errors import PushError
from tests.publication.test_run import command, ids, out, quiet, run, shards, size, small, use, waits
from tests.support.clients import run_program
from tests.support.fault_server import Fault
from tests.support.hub import Hub
from tests.support.hub_process import environment
from tests.support.hub_token import ANN, ANN_FINE, ANN_READS, BOB
from tests.support.prepared import write_prepared

__all__ = ["out", "small", "waits"]  # fixtures

pytestmark = pytest.mark.skipif(not hasattr(HfApi, "update_bucket_settings"), reason="the client knows no buckets")

BUCKET = "hf://buckets/ann/clips"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub(tmp_path / "hub", xet=True) as hub:
        use(monkeypatch, hub)
        yield hub


def files(hub: Hub, name: str = "ann/clips") -> dict[str, str]:
    """Path -> SHA-256, of what a bucket holds."""
    return dict(hub.repositories[f"buckets/{name}"].files)


def tree(out: Path, folder: str = "") -> dict[str, str]:
    """The same of a local folder, as it should lie in `folder`."""
    paths = [path for path in out.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {folder + path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


# ---- What a push leaves


@pytest.mark.parametrize(("folder", "token"), [("", None), ("some/prefix/", ANN)])
def test_the_same_tree_arrives_and_a_second_push_sends_nothing(
    hub: Hub, out: Path, tmp_path: Path, folder: str, token: str | None
) -> None:
    """With a token from the environment, or else given as `token`."""
    url, given = f"{BUCKET}/{folder}", ["--token", token] if token else []
    stored = None if token else ANN
    done = run(hub, tmp_path / "home", out, url, *given, "--private", "--verify", token=stored, xet=True)
    assert done.returncode == 0, done.stderr
    assert "read 23 clips back, and they are the same" in done.stdout
    assert f"see {url.rstrip('/')}\n" in done.stdout
    assert files(hub) == tree(out, folder)
    assert len(files(hub)) == 10
    assert hub.repositories["buckets/ann/clips"].state["private"]
    hub.clear(log=True)
    again = quiet(out, url)
    assert (again.files_sent, again.commits) == (0, 0)
    assert quiet(out, url, dry_run=True).files_sent == 0
    assert {request.method for request in hub.requests} == {"GET"}
    assert quiet(out, url, private=False).commits == 0
    assert not hub.repositories["buckets/ann/clips"].state["private"]
    changed = out / shards(out)[3]  # in its footer, which says what wrote it
    changed.write_bytes(changed.read_bytes().replace(b"parquet-cpp", b"PARQUET-CPP"))
    assert quiet(out, url, dry_run=True).files_sent == 1


def test_neighbours_are_not_taken_for_the_folder(hub: Hub, out: Path, tmp_path: Path) -> None:
    assert run(hub, tmp_path / "home", out, f"{BUCKET}/some/prefix", xet=True).returncode == 0
    assert quiet(out, f"{BUCKET}/some/pre", dry_run=True).files_sent == 8
    with pytest.raises(PushError, match=r"clips/some holds something else \(prefix/700/prepare.json\)"):
        quiet(out, f"{BUCKET}/some")


def test_another_preparation_takes_the_place_of_the_first(hub: Hub, out: Path, tmp_path: Path) -> None:
    assert run(hub, tmp_path / "home", out, BUCKET, xet=True).returncode == 0
    new = tmp_path / "new"
    write_prepared(new, "700", "validation", crf=30)
    done = run(hub, tmp_path / "home", new, BUCKET, "--delete-local", xet=True)
    assert "deleted 8 files there, of an earlier preparation" in done.stdout, done.stderr
    assert "removed 8 files here" in done.stdout
    write_prepared(new, "700", "validation", crf=30)
    assert files(hub) == tree(new)


READ = """
import json, sys
import datasets, pyarrow.parquet as pq
from huggingface_hub import HfFileSystem
datasets.disable_progress_bars()
answer, url = {}, sys.argv[2]
fs = HfFileSystem()
parts = [pq.read_table(path, filesystem=fs) for path in fs.glob(f"{url}/700/validation-*.parquet")]
answer["pyarrow"] = [one for part in parts for one in part["youtube_id"].to_pylist()]
for streaming in (True, False):
    files = {"validation": f"{url}/700/validation-*.parquet"}
    for way, asked in (("files", {"path": "parquet", "data_files": files}), ("card", {"path": url, "name": "700"})):
        if way in sys.argv[3:]:
            rows = datasets.load_dataset(**asked, split="validation", streaming=streaming)
            rows = rows.cast_column("video", datasets.Video(decode=False))
            answer[f"{way} {streaming}"] = [row["youtube_id"] for row in rows]
open(sys.argv[1], "w").write(json.dumps(answer))
"""


def test_pyarrow_and_datasets_read_it(hub: Hub, out: Path, tmp_path: Path) -> None:
    url, home = f"{BUCKET}/some/prefix", tmp_path / "reader"
    assert run(hub, tmp_path / "home", out, url, "--private", xet=True).returncode == 0
    home.mkdir()
    ways = ["files", *(["card"] if hasattr(datasets.load, "HubBucketDatasetModuleFactory") else [])]  # from 4.8 on
    env = environment(hub.url, home, token=ANN, xet=True)
    run_program(READ, home / "answer", url, *ways, env=env, timeout=300, cwd=home)
    expected = ["pyarrow", *(f"{way} {streaming}" for way in ways for streaming in (True, False))]
    assert json.loads((home / "answer").read_text()) == dict.fromkeys(expected, ids(out))


# ---- Faults

CONTENT = "/_blobs/*/xorbs/*"


@pytest.mark.parametrize(
    ("fault", "arrived"),
    [
        (Fault("stall", CONTENT, method="PUT", at=1000, seconds=600), []),
        (Fault("stall", "*/batch", at=0, seconds=600), ["700/*"]),
        (Fault("stall", "*/batch", at=0, seconds=600, skip=1), ["700/*", "700/prepare.json"]),
        (Fault("stall", "*/batch", at=0, seconds=600, skip=2), ["700/*", "700/prepare.json", "README.md"]),
    ],
    ids=["while content is sent", "after the files", "after what describes them", "after the card"],
)
def test_a_push_that_is_killed_goes_on_and_the_card_comes_last(
    hub: Hub, out: Path, tmp_path: Path, fault: Fault, arrived: list[str]
) -> None:
    hub.add(fault)
    home = tmp_path / "home"
    home.mkdir()
    with subprocess.Popen(command(out, BUCKET), env=environment(hub.url, home, token=ANN, xet=True)) as process:
        hub.wait_for(lambda request: "stall" in request.faults)
        process.send_signal(signal.SIGKILL)
    expected = [*(shards(out) if "700/*" in arrived else []), *arrived[1:]]
    assert sorted(files(hub)) == sorted(expected)
    hub.clear()
    hub.clear(log=True)
    done = run(hub, home, out, BUCKET, xet=True)
    assert done.returncode == 0, done.stderr
    assert ("nothing to send" in done.stdout) == ("README.md" in arrived)
    assert files(hub) == tree(out)
    assert hub.bytes_received(CONTENT) < (size(out) / 2 if arrived else size(out) + 100_000)


def test_faults_are_outlived(hub: Hub, out: Path, tmp_path: Path) -> None:
    hub.add(
        Fault("status", "/api/buckets/ann/clips", method="GET", code=503, times=1),
        Fault("status", "/api/buckets/ann/clips/tree", code=502, times=1),
        Fault("status", CONTENT, method="PUT", code=403, times=1),
        Fault("cut", "*/batch", at=0, times=1),
        Fault("status", "*/batch", code=422, skip=1, times=1),
    )
    done = run(hub, tmp_path / "home", out, BUCKET, xet=True)
    assert done.returncode == 0, done.stderr
    assert files(hub) == tree(out)
    assert sum(len(request.faults) for request in hub.requests) == 5


# ---- What is refused


@pytest.mark.parametrize(
    ("token", "message"),
    [
        (None, "no token to push to ann/clips with: make one that may write at https://huggingface.co"),
        ("hf_unknownToAll", "the Hub does not take the token: make one that may write at https://hugg"),
        (ANN_READS, "the token of ann may only read; make a token that may write to ann/clips at"),
        (BOB, "ann is neither bob nor an organisation of bob; make a token"),
        (ANN_FINE, "the fine-grained token of ann may not write to ann/clips; make a token"),
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
    home, said = tmp_path / "home", []
    faults: list[list[Fault]] = [
        [Fault("status", "*/batch", code=403)],
        [Fault("status", "/api/buckets/*", method="POST", code=403)],
        [Fault("status", "*/tree", code=413)],
        [],
    ]
    home.mkdir()
    env = {**environment(hub.url, home, token=ANN, xet=True), "HF_DEBUG": "1", "HF_HUB_VERBOSITY": "debug"}
    for number, some in enumerate(faults):
        hub.add(*some)
        call = command(out, f"hf://buckets/ann/clips{number}")
        done = subprocess.run(call, env=env, capture_output=True, text=True, timeout=300)
        hub.clear()
        said.append(done.stdout + done.stderr)
        assert done.returncode == (2 if some else 0), said[-1]
        assert "Traceback" not in said[-1]
    assert not [one for one in said if ANN in one]
    for folder in (out, home, hub.root):
        for path in folder.rglob("*"):
            assert not path.is_file() or ANN.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("hf://buckets/ann", {}, "hf://buckets/ann is no bucket, which is hf://buckets/NAMESPACE/NAME, nor a folder"),
        ("hf://buckets/", {}, "is no bucket, which is hf://buckets/NAMESPACE/NAME"),
        ("hf://buckets/ann/clips@main/some", {}, "is no bucket, which is hf://buckets/NAMESPACE/NAME"),
        (BUCKET, {"gated": "auto"}, "is in a bucket, which cannot be gated, only private; leave out gated"),
        (BUCKET, {"revision": "next"}, "revision and create_pr are of repositories on the Hub"),
    ],
)
def test_bad_arguments(hub: Hub, out: Path, url: str, options: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quiet(out, url, **options)
    assert not hub.repositories


def test_a_client_that_knows_no_buckets(hub: Hub, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(HfApi, "update_bucket_settings")
    with pytest.raises(PushError, match=r"too old for buckets: pip install 'huggingface_hub>=1.29'"):
        quiet(out, BUCKET)
    assert not hub.requests
