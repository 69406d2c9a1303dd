"""Pushes to a local Hub by the real clients: that readers see all or nothing, whatever happens on the way."""

import functools
import hashlib
import json
import shutil
import socket
import threading
from pathlib import Path
from typing import Any

import datasets
import fsspec
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi
from typer.testing import CliRunner

from kinetics_tools.cli.app import app
from kinetics_tools.errors import PushError
from kinetics_tools.preparation.parquet import prepared_features
from kinetics_tools.publication.digests import DIGESTS_NAME
from kinetics_tools.publication.folder import FolderRemote
from kinetics_tools.publication.infos import published_infos
from kinetics_tools.releases import LABELS
from tests.support.clients import run_program
from tests.support.fault_server import Fault
from tests.support.hub import Hub
from tests.support.hub_clients import PUSHER, Clients, clients_of
from tests.support.hub_process import environment
from tests.support.hub_pushes import (
    BESIDE,
    REPO,
    content,
    files,
    ids,
    killed_pushes,
    linked_copy,
    quiet,
    readers_see,
    run,
    shards,
    size,
    text,
    use,
)
from tests.support.hub_token import ANN, ANN_FINE, ANN_READS, BOB
from tests.support.prepared import write_prepared

# ---- What a push leaves


def test_a_push_is_loaded_and_a_second_one_sends_nothing(hub: Hub, out: Path, tmp_path: Path, reader: Clients) -> None:
    report = quiet(out, REPO)
    assert (report.files_sent, report.commits, report.bytes_sent) == (8, 1, size(out))
    assert sorted(files(hub)) == sorted([*shards(out), *BESIDE])
    assert content(hub) == size(out)
    assert text(hub, "700/prepare.json") == (out / "700" / "prepare.json").read_text()
    assert f'load_dataset("{REPO}", "700", split="validation"' in text(hub, "README.md")
    head = hub.repositories[REPO].resolve("main")
    assert readers_see(reader)["700"] == {"validation": ids(out)}
    hub.clear(log=True)
    again = quiet(out, REPO)
    assert (again.files_sent, again.commits) == (0, 0)
    assert "nothing to upload" in again.lines()[0]
    assert content(hub) == 0
    assert hub.repositories[REPO].resolve("main") == head


def test_what_was_prepared_before_prepare_json_told_all_is_pushed_too(hub: Hub, out: Path) -> None:
    path = out / "700" / "prepare.json"
    summary = json.loads(path.read_text())
    for name in ("absent", "basis"):
        del summary["splits"]["validation"][name]
    path.write_text(json.dumps(summary))
    assert quiet(out, REPO).files_sent == 8
    entry = json.loads(text(hub, "700/prepare.json"))["splits"]["validation"]
    assert (len(entry["absent"]), entry["basis"]) == (1, {})
    assert "| 700 | validation | 23 | 24 | 1 |" in text(hub, "README.md")


def test_a_repository_lists_digests_so_that_no_shard_is_read_there(hub: Hub, large: Path, tmp_path: Path) -> None:
    """Nor here, unless the hidden file with the digests of local shards is not there."""
    out = linked_copy(large, tmp_path / "out")
    quiet(out, REPO)
    listed = [json.loads(line) for line in (out / DIGESTS_NAME).read_text().splitlines()]
    assert {name: digest for name, digest, *_ in listed} == {name: files(hub)[name] for name in shards(out)}
    for known in (True, False):
        hub.clear(log=True)
        if not known:
            (out / DIGESTS_NAME).unlink()
        assert quiet(out, REPO).commits == 0
        assert hub.count("/_blobs/*", "GET") == hub.count("*/commit/*") == 0


def test_a_video_that_changed_at_the_same_size_is_uploaded(hub: Hub, out: Path) -> None:
    """Its footer, which tells shards of a bucket and a folder apart, stays as it was."""
    quiet(out, REPO)
    name = shards(out)[3]
    changed = bytearray((out / name).read_bytes())
    changed[100] ^= 1
    (out / name).unlink()  # its hard links stay as they are
    (out / name).write_bytes(changed)
    (out / DIGESTS_NAME).write_text('[1, 2]\n{}\n"torn')
    assert quiet(out, REPO, dry_run=True).files_sent == 1
    assert quiet(out, REPO).files_sent == 1
    assert files(hub)[name] == hashlib.sha256(changed).hexdigest()


def test_the_footer_of_each_shard_of_a_folder_is_read_once_in_a_run(
    hub: Hub, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    footer = FolderRemote.footer
    monkeypatch.setattr(
        FolderRemote, "footer", lambda self, name, *rest: read.append(name) or footer(self, name, *rest)
    )
    quiet(large, f"file://{tmp_path}/there")
    assert read == []  # what was uploaded just now is known
    assert quiet(large, f"file://{tmp_path}/there").commits == 0
    assert sorted(read) == shards(large)


def test_a_push_to_a_store_ends_with_the_call_that_loads_it(hub: Hub, out: Path) -> None:
    fs = fsspec.filesystem("memory")
    try:
        last = quiet(out, "memory://bucket/kinetics").lines()[-1]
        call = last.removeprefix("next: ")
        rows = eval(call, {"load_dataset": datasets.load_dataset})
        found = [row["youtube_id"] for row in rows.cast_column("video", datasets.Video(decode=False))]
        assert found == ids(out)
    finally:
        fs.store.clear()


def test_splits_and_releases_join_what_is_there(hub: Hub, out: Path, tmp_path: Path, reader: Clients) -> None:
    quiet(out, REPO)
    other = tmp_path / "other"
    write_prepared(other, "700", "train", shards=16)
    quiet(other, REPO)
    write_prepared(other, "400", "validation")
    quiet(other, REPO, releases=["400", 400])
    found = readers_see(reader)
    assert found == {
        "400": {"validation": [one for one in ids(other) if one.startswith("400")]},
        "700": {"train": ids(other, "train"), "validation": ids(out)},
    }
    assert list(json.loads(text(hub, "700/prepare.json"))["splits"]) == ["train", "validation"]
    # Whoever pushes all of it from one folder gets the same.
    shutil.copytree(out, other, dirs_exist_ok=True, ignore=lambda *_: ["README.md", "prepare.json"])
    write_prepared(other, "700", "validation", absent=["700va000003"])
    quiet(other, "ann/whole")
    whole = files(hub, "ann/whole")
    assert text(hub, "README.md", "ann/whole").replace("ann/whole", REPO) == text(hub, "README.md")
    assert {**whole, "README.md": ""} == {**files(hub), "README.md": ""}


def test_another_preparation_takes_the_place_of_the_first_in_one_commit(
    hub: Hub, large: Path, tmp_path: Path, reader: Clients
) -> None:
    quiet(large, REPO)
    first = len(list(hub.repositories[REPO].history()))
    new = tmp_path / "new"
    write_prepared(new, "700", "train", shards=16, clips=16, crf=30, absent=["700tr000007"])
    report = quiet(new, REPO)
    assert (report.files_sent, report.files_deleted, report.commits) == (16, 16, 2)
    assert sorted(files(hub)) == sorted([*shards(new), *BESIDE])
    history = [commit.oid for commit in hub.repositories[REPO].history()]
    assert len(history) - first == 2
    seen = readers_see(reader, history)
    states = [seen[oid]["700"] for oid in history[::-1]]
    # Nothing, and the placeholder twice; then the old one, also while the new files come; then the new one.
    assert all(isinstance(state, str) for state in states[:3])
    assert [state["train"] for state in states[3:]] == [*[ids(large, "train")] * 2, ids(new, "train")]


def test_files_that_change_under_their_names_change_at_once(
    hub: Hub, out: Path, tmp_path: Path, reader: Clients
) -> None:
    """Missing clips were found since: the plan is the same and the bytes are not."""
    quiet(out, REPO)
    shutil.rmtree(out)
    write_prepared(out, "700", "validation")
    report = quiet(out, REPO)
    assert (report.files_sent, report.commits) == (1, 1)
    assert readers_see(reader)["700"] == {"validation": ids(out)}
    assert json.loads(text(hub, "700/prepare.json"))["splits"]["validation"]["dropped"] == {}


def test_a_users_words_and_settings_stay(hub: Hub, out: Path, tmp_path: Path) -> None:
    quiet(out, REPO)
    api = HfApi(endpoint=hub.url, token=ANN)
    card = text(hub, "README.md")
    card = card.replace("<!-- end: yours -->", "Ask Ann.\n<!-- end: yours -->").replace("pretty_name: Kinetics",
                        "pretty_name: Kinetics\nextra_gated_prompt: For research.")  # fmt: skip
    for path, what in (("README.md", card.encode()), ("figure.png", b"\0picture"), ("notes/a.txt", b"x")):
        api.upload_file(path_or_fileobj=what, path_in_repo=path, repo_id=REPO, repo_type="dataset")
    write_prepared(out, "400", "train")
    quiet(out, REPO)
    card = text(hub, "README.md")
    assert "Ask Ann." in card
    assert "extra_gated_prompt: For research." in card
    assert {"figure.png", "notes/a.txt"} < files(hub).keys()


# ---- Faults


FAULTS = {
    "the commit is refused for a while": [Fault("status", "*/commit/*", code=503, times=2)],
    "too many commits": [Fault("status", "*/commit/*", code=429, retry_after=7, times=2)],
    "another commit was first": [Fault("status", "*/commit/*", code=412, times=3)],
    "a conflict": [Fault("status", "*/commit/*", code=409, times=2)],
    "the answer to a commit is lost": [Fault("cut", "*/commit/*", at=0, times=1)],
    "an upload is cut": [Fault("cut", "/_blobs/*", method="PUT", at=300, times=2)],
    "uploads are refused": [Fault("status", "/_blobs/*", method="PUT", code=503, times=3)],
    "upload URLs have expired": [Fault("status", "/_blobs/*", method="PUT", code=403, times=5)],
    "the listing fails": [Fault("status", "*/tree/*", code=502, times=2)],
    "the batch fails": [Fault("status", "*/objects/batch", code=500, times=2)],
    "the card cannot be read": [Fault("status", "*/resolve/*/README.md", code=503, times=2)],
    "whoami is refused": [Fault("status", "/api/whoami-v2", code=429, times=2)],
    "all is refused now and then": [Fault("status", "*", code=503, probability=0.05, seed=1)],
}


@pytest.fixture(scope="session")
def undisturbed(large: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    with pytest.MonkeyPatch.context() as patch, Hub(tmp_path_factory.mktemp("calm")) as hub:
        use(patch, hub)
        quiet(large, REPO, token=ANN)
        return files(hub)


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_outlived(
    hub: Hub, large: Path, undisturbed: dict[str, str], waits: list[float], name: str
) -> None:
    hub.add(*FAULTS[name])
    quiet(large, REPO)
    assert files(hub) == undisturbed
    assert any(request.faults for request in hub.requests)
    assert content(hub) == size(large)
    assert sum(waits) < 600
    if name == "too many commits":
        assert waits.count(7) == 2


def test_a_server_that_stays_away_is_one_clear_error(hub: Hub, out: Path) -> None:
    hub.add(Fault("status", "*/commit/*", code=503))
    with pytest.raises(
        PushError, match=r"cannot upload to ann/kinetics: .*503 .*retries did not help, rerun the same command later"
    ):
        quiet(out, REPO)
    hub.clear()
    assert quiet(out, REPO).commits == 1
    assert content(hub) == size(out)


def test_two_pushers_at_once_lose_nothing(hub: Hub, tmp_path: Path, reader: Clients) -> None:
    """Six of them, each with a split of its own."""
    outs = []
    for release in ("400", "700"):
        for split in ("train", "validation", "test"):
            outs.append(tmp_path / f"{release}{split}")
            write_prepared(outs[-1], release, split)
    HfApi(endpoint=hub.url, token=ANN).create_repo(REPO, repo_type="dataset")
    threads = [threading.Thread(target=quiet, args=(out, REPO)) for out in outs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = readers_see(reader)
    assert found == {
        release: {split: ids(tmp_path / f"{release}{split}", split) for split in ("train", "validation", "test")}
        for release in ("400", "700")
    }
    assert any(request.status == 412 for request in hub.requests)


# ---- What is refused, and what is asked for


@pytest.mark.parametrize(
    ("token", "repo_id", "message"),
    [
        (None, REPO, "no token to push to ann/kinetics: create one with write access at https://huggingface.co"),
        (
            "hf_unknownToAll",
            REPO,
            "cannot identify the owner of the token: .*; create a token with write access at https://hugg",
        ),
        (ANN_READS, REPO, "the token of ann is read-only; create a token with write access to ann/kinetics at"),
        (BOB, REPO, "ann is neither bob nor an organization of bob; create a token"),
        (ANN_FINE, REPO, "the fine-grained token of ann has no write access to ann/kinetics; create a token"),
    ],
)
def test_without_the_right_nothing_moves(
    hub: Hub, out: Path, monkeypatch: pytest.MonkeyPatch, token: str | None, repo_id: str, message: str
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(PushError, match=message) as error:
        quiet(out, repo_id, token=token)
    assert token is None or token not in str(error.value)
    assert not hub.repositories
    assert [request.path for request in hub.requests if request.method != "GET"] == []


@pytest.mark.parametrize(("token", "repo_id"), [(ANN, "lab/kinetics"), (ANN_FINE, "lab/kinetics"), (BOB, "kinetics")])
def test_a_right_is_enough(hub: Hub, out: Path, token: str, repo_id: str) -> None:
    quiet(out, repo_id, token=token)
    assert list(hub.repositories) == [repo_id if "/" in repo_id else "bob/kinetics"]


def test_a_repository_that_holds_something_else_is_left_alone(hub: Hub, out: Path) -> None:
    api = HfApi(endpoint=hub.url, token=ANN)
    api.create_repo(REPO, repo_type="dataset")
    for path, what in (("data/train.parquet", b"PAR1"), ("README.md", b"---\nlicense: mit\n---\n# Mine\n")):
        api.upload_file(path_or_fileobj=what, path_in_repo=path, repo_id=REPO, repo_type="dataset")
    before = files(hub)
    with pytest.raises(PushError, match=r"has other content \(README.md\); name another repository, or pass --force"):
        quiet(out, REPO)
    assert files(hub) == before
    assert quiet(out, REPO, force=True).commits == 1
    assert files(hub).keys() == {*shards(out), *BESIDE, *before}


def test_a_card_without_text_as_the_website_makes_it_is_taken_over(hub: Hub, large: Path) -> None:
    api = HfApi(endpoint=hub.url, token=ANN)
    api.create_repo(REPO, repo_type="dataset")
    card = b"---\nlicense: mit\nextra_gated_prompt: Hello.\n---\n"
    api.upload_file(path_or_fileobj=card, path_in_repo="README.md", repo_id=REPO, repo_type="dataset")
    assert quiet(large, REPO).commits == 3
    assert "extra_gated_prompt: Hello." in text(hub, "README.md")


def test_mixed_preparations_are_refused(hub: Hub, out: Path, tmp_path: Path) -> None:
    write_prepared(tmp_path / "other", "700", "validation", crf=30, only=[2])
    name = shards(tmp_path / "other")[0]
    shutil.copy(tmp_path / "other" / name, out / name)
    with pytest.raises(ValueError, match=r"mixes two preparations of validation: prepare.json names .*, and there is"):
        quiet(out, REPO)
    assert not hub.requests


def test_an_incomplete_split_is_refused_or_said_to_be_one(hub: Hub, out: Path, tmp_path: Path, reader: Clients) -> None:
    for name in shards(out)[2:5]:
        (out / name).unlink()
    with pytest.raises(
        PushError, match="700 validation is incomplete: 3 of 8 shards are missing; run `kinetics prepare` to write them"
    ):
        quiet(out, REPO)
    assert content(hub) == 0
    quiet(out, REPO, allow_partial=True)
    assert "**Incomplete:** 700 validation has 5 of its 8 shards so far." in text(hub, "README.md")
    assert readers_see(reader)["700"] == {"validation": ids(out)}
    # The rest comes from another machine.
    rest = tmp_path / "rest"
    write_prepared(rest, "700", "validation", absent=["700va000003"], only=[2, 3, 4])
    report = quiet(rest, REPO)
    assert (report.files_sent, report.commits) == (3, 1)
    assert "Incomplete" not in text(hub, "README.md")
    entry = json.loads(text(hub, "700/prepare.json"))["splits"]["validation"]
    assert (entry["shards_done"], entry["rows"], entry["dropped"]) == (8, 23, {"absent": 1})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gated": "yes"}, r"unknown gated 'yes'.* \(valid: auto, manual, no\)"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"create_pr": True, "revision": "dev"}, "omit revision"),
        ({"create_pr": True, "private": True}, "omit private and gated"),
        ({"splits": ["vall"]}, "'vall'"),
        ({"releases": ["900"]}, "900"),
        ({"releases": ["400"]}, "has no 400 split; it has 700 validation"),
        ({"splits": ["train"]}, "has no train split; it has 700 validation"),
    ],
)
def test_bad_arguments(hub: Hub, out: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quiet(out, REPO, **options)
    assert not hub.requests


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--classes", "abseiling", "--crf", "10"], "--classes, --crf without --stream: "),
        (["--seed", "0"], "--seed without --stream: "),
        (["--max-disk", "1GB", "--annotations-only"], "--max-disk without --stream: "),
        (["--annotations", "x.csv"], "--annotations without --stream or --annotations-only: "),
    ],
)
def test_options_of_a_stream_are_refused_without_one(hub: Hub, out: Path, options: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["push", str(out), REPO, *options])
    assert (result.exit_code, message in result.output) == (2, True), result.output
    assert not hub.requests


@pytest.mark.parametrize("repo_id", ["a b/c", "a/b/c", "/tmp/folder", "../folder"])
def test_names_that_are_none(hub: Hub, out: Path, repo_id: str) -> None:
    with pytest.raises(ValueError, match=f"invalid repository '{repo_id}': expected USER/NAME, or the URL of a folder"):
        quiet(out, repo_id)
    assert not hub.requests


def test_private_and_gated_before_anything_is_sent(hub: Hub, out: Path) -> None:
    quiet(out, REPO, private=True, gated="manual")
    state = hub.repositories[REPO].state
    assert (state["private"], state["gated"]) == (True, "manual")
    paths = [request.path for request in hub.requests]
    assert paths.index(f"/api/datasets/{REPO}/settings") < next(n for n, one in enumerate(paths) if "_blobs" in one)
    hub.clear(log=True)
    opened = quiet(out, REPO, private=False, gated="no").lines()
    assert opened[1:3] == ["made it not gated", "made it public"]
    state = hub.repositories[REPO].state
    assert (state["private"], state["gated"]) == (False, False)
    assert content(hub) == 0
    closed = quiet(out, REPO, private=True, gated="auto").lines()
    assert closed[1:3] == ["made it private", "made it gated: readers must request access"]


@pytest.mark.parametrize("target", [REPO, "hf://buckets/ann/clips"])
def test_what_is_new_is_private_until_it_is_opened(hub: Hub, out: Path, target: str, pusher: Clients) -> None:
    name = target.removeprefix("hf://")
    done = run(pusher, out, target, xet=True)
    assert "created it as private; the option --public opens it to all readers\n" in done.stdout
    assert hub.repositories[name].state["private"]
    again = run(pusher, out, target, xet=True)
    assert "private" not in again.stdout
    assert hub.repositories[name].state["private"]
    opened = run(pusher, out, target, "--public", xet=True)
    assert "made it public\n" in opened.stdout
    assert not hub.repositories[name].state["private"]
    hub.clear(log=True)
    done = run(pusher, out, f"{target}-opened", "--public", xet=True)
    assert "made it public\n" in done.stdout
    assert not hub.repositories[f"{name}-opened"].state["private"]
    sent = [request.path for request in hub.requests]
    opening = max(number for number, path in enumerate(sent) if path.endswith("/settings"))
    assert not any("_blobs" in path or "xorbs" in path or "/batch" in path for path in sent[opening:])


@pytest.mark.parametrize("inside", ["", "/deeper"])
def test_a_folder_is_not_published_into_itself(hub: Hub, out: Path, inside: str) -> None:
    before = sorted(out.rglob("*"))
    with pytest.raises(ValueError, match="would be mixed with it; choose a directory outside of it"):
        quiet(out, f"file://{out}{inside}", delete_local=True)
    assert sorted(out.rglob("*")) == before


def test_a_hub_that_cannot_be_reached_ends_the_run_at_once(
    hub: Hub, out: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setattr(
        "kinetics_tools.publication.hub.HfApi", functools.partial(HfApi, endpoint=f"http://127.0.0.1:{port}")
    )
    with pytest.raises(PushError, match="check your network connection and rerun the same command"):
        quiet(out, REPO)
    assert 0 < sum(waits) < 10


def test_offline_mode_is_named_as_the_reason(hub: Hub, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(PushError, match="HF_HUB_OFFLINE is set; unset it and rerun"):
        quiet(out, REPO)


def test_a_branch_and_a_pull_request_leave_main_alone(hub: Hub, out: Path) -> None:
    report = quiet(out, REPO, revision="next/one", commit_message="Try it")
    assert files(hub) == {}
    commit = hub.repositories[REPO].commit("next/one")
    assert commit.title == "Try it"
    assert report.url.endswith(commit.oid)
    report = quiet(out, REPO, create_pr=True)
    assert report.url == f"{hub.url}/datasets/{REPO}/discussions/1"
    assert files(hub) == {}
    assert files(hub, revision="refs/pr/1") == files(hub, revision="next/one")
    assert content(hub) == size(out)  # the second time all was stored


def test_a_pull_request_is_verified_where_it_is(hub: Hub, out: Path, tmp_path: Path, pusher: Clients) -> None:
    quiet(out, REPO)
    shutil.rmtree(out)
    write_prepared(out, "700", "validation", crf=30)
    done = run(pusher, out, REPO, "--create-pr", "--verify")
    assert done.returncode == 0, done.stderr
    assert "verified 24 clips: identical to the local shards" in done.stdout
    assert f"see {hub.url}/datasets/{REPO}/discussions/1" in done.stdout


def test_a_pull_request_needs_a_repository(hub: Hub, out: Path) -> None:
    with pytest.raises(PushError, match=r"ann/kinetics does not exist, .*; push without --create-pr first"):
        quiet(out, REPO, create_pr=True)
    assert not hub.repositories


@pytest.mark.parametrize("damage", ["a beginning", "a footer of other bytes"])
def test_a_damaged_file_is_said_before_a_repository_is_made(hub: Hub, out: Path, damage: str) -> None:
    name = shards(out)[2]
    content = (out / name).read_bytes()
    length = int.from_bytes(content[-8:-4], "little")
    other = content[: -8 - length] + b"\x0e" * length + content[-8:]
    (out / name).unlink()
    (out / name).write_bytes(b"PAR1" if damage == "a beginning" else other)
    with pytest.raises(PushError, match=f"{name} is corrupt; remove it"):
        quiet(out, REPO)
    assert not hub.repositories


def test_delete_local_leaves_what_a_later_push_needs(hub: Hub, out: Path, tmp_path: Path, reader: Clients) -> None:
    seen, sent = ids(out), size(out)
    assert quiet(out, REPO, delete_local=True).files_removed == 8
    assert shards(out) == []
    assert quiet(out, REPO, delete_local=True).commits == 0
    write_prepared(out, "700", "test")
    quiet(out, REPO)
    found = readers_see(reader)["700"]
    assert found == {"validation": seen, "test": ids(out, "test")}
    assert content(hub) == sent + size(out)


def test_a_dry_run_sends_nothing(hub: Hub, out: Path) -> None:
    report = quiet(out, REPO, dry_run=True)
    again = "next: rerun the same command without --dry-run"
    to = f"{hub.url}/datasets/{REPO}"
    assert report.lines() == [f"would upload 8 of 8 shards, {size(out) / 1000:.3g} kB to {to}", again]
    assert not hub.repositories
    quiet(out, REPO)
    hub.clear(log=True)
    assert quiet(out, REPO, dry_run=True).files_sent == 0
    closed = quiet(out, REPO, dry_run=True, private=True, gated="manual").lines()
    assert closed[1:] == ["would make it private", "would make it gated: readers must be approved", again]
    assert quiet(out, REPO, dry_run=True, private=False).lines()[1:] == ["would make it public", again]
    assert {request.method for request in hub.requests} <= {"GET", "HEAD"}


def test_release_and_split_choose(hub: Hub, out: Path) -> None:
    write_prepared(out, "400", "train")
    write_prepared(out, "400", "test")
    quiet(out, REPO, releases="400,", splits="test")
    assert {name.rpartition("-of")[0][:-6] for name in files(hub) if name.endswith("parquet")} == {"400/test"}


# ---- A folder


def test_a_folder_gets_the_same_tree(out: Path, tmp_path: Path) -> None:
    target = tmp_path / "there" / "kinetics"
    report = quiet(out, f"file://{target}", verify=True, pictures=False)
    assert (report.files_sent, report.verified) == (8, 23)
    assert shards(target) == shards(out)
    for path in ("README.md", "700/prepare.json", *shards(out)):
        assert (target / path).read_bytes() == (out / path).read_bytes()
    assert quiet(out, f"file://{target}", pictures=False).commits == 0
    write_prepared(tmp_path / "new", "700", "validation", crf=30)
    report = quiet(tmp_path / "new", f"file://{target}")
    assert (report.files_sent, report.files_deleted) == (8, 8)
    assert shards(target) == shards(tmp_path / "new")


def test_the_lock_of_prepare_is_not_sent_nor_taken_for_something_else(out: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / ".prepare.lock").touch()
    assert quiet(out, f"file://{target}").commits == 1
    (out / ".prepare.lock").touch()
    assert quiet(out, f"file://{tmp_path}/new").commits == 1
    assert (tmp_path / "new" / "README.md").exists()
    assert not (tmp_path / "new" / ".prepare.lock").exists()


def test_a_folder_in_a_store_gets_the_card_last(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec

    fs = fsspec.filesystem("memory")
    moved = []
    move = type(fs).mv
    monkeypatch.setattr(type(fs), "mv", lambda self, *names, **how: (moved.append(names[1]), move(self, *names, **how)))
    try:
        quiet(out, "memory://bucket/kinetics")
        assert [name.rpartition("/")[2] for name in moved][-3:] == ["prepare.json", "classes.svg", "README.md"]
        assert len(moved) == 11
        with pytest.raises(ValueError, match="private, public and gated are settings of the Hub, and"):
            quiet(out, "memory://bucket/kinetics", private=True, dry_run=True)
    finally:
        fs.store.clear()


# ---- Annotations alone


def test_annotations_without_video(hub: Hub, out: Path, tmp_path: Path, pusher: Clients) -> None:
    table = tmp_path / "validation.csv"
    rows = [f"{LABELS['700'][row % 400]},700va{row:06d},{row},{row + 10},validate" for row in range(24)]
    # The clip that was dropped is there twice, the second time as another class.
    rows.append(f"zumba,{rows[3].partition(',')[2]}")
    table.write_text("\n".join(["label,youtube_id,time_start,time_end,split", *rows]) + "\n")
    asked = {"annotations_only": True, "annotations": str(table)}
    quiet(out, REPO, **asked)
    assert "**it holds no video.**" in text(hub, "README.md")
    assert "Kinetics-700, 23 clips in 23 of 700 classes: most 1 (abseiling)" in text(hub, "images/classes.svg")
    assert "| 700 | validation | 23 | 24 | 1 |" in text(hub, "README.md")
    assert content(hub) < 50_000
    found = run(pusher, out, REPO, "--annotations-only", "--annotations", table, "--verify")
    assert "nothing to upload" in found.stdout, found.stderr
    name = next(name for name in files(hub) if name.endswith("parquet"))
    there = pq.read_table(hub.repositories[REPO].blob(files(hub)[name])).to_pylist()
    assert [(row["youtube_id"], row["label"], row["time_start"]) for row in there] == [
        (f"700va{row:06d}", row, float(row)) for row in range(24)
    ]
    assert [row["reason"] for row in there if not row["available"]] == ["absent"]
    assert [row["youtube_id"] for row in there if not row["available"]] == ["700va000003"]
    # Clips may take their place; they take that of clips only if told to.
    quiet(out, REPO)
    assert sorted(name for name in files(hub) if name.endswith("parquet")) == shards(out)
    with pytest.raises(PushError, match="has the clips of 700 validation; pass --force"):
        quiet(out, REPO, **asked)
    assert quiet(out, REPO, force=True, **asked).files_deleted == 8


def test_infos_of_a_repository(hub: Hub, out: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    quiet(out, REPO, private=True)
    infos = published_infos(REPO)
    assert list(infos) == ["700"]
    info = datasets.DatasetInfo.from_dict(infos["700"])
    assert info.features == prepared_features("700")
    assert info.splits["validation"].num_examples == 23
    assert info.download_size == size(out)
    with pytest.raises(PushError, match="does not exist, or its card declares none of 400, 600, 700, 700-2020"):
        published_infos("ann/nothing")
    assert "card" not in caplog.text.lower()  # a warning of the client
    path = tmp_path / "dataset_infos.json"
    for held, is_replaced in (('{"700": {}, "600": {}}', False), ('{"700": {}}', True), ("", True)):
        path.write_text(held)
        result = CliRunner().invoke(app, ["infos", str(path), "--repo", REPO])
        assert result.exit_code == (0 if is_replaced else 2), result.output
        assert (path.read_text() != held) == is_replaced
        message = "also has 600, which would be lost; name another file, as in `kinetics infos FILE --repo"
        assert (message in result.output) != is_replaced


# ---- In processes of their own


@pytest.mark.parametrize("xet", [False, True])
def test_the_command_pushes_and_verifies(hub: Hub, out: Path, xet: bool, reader: Clients, pusher: Clients) -> None:
    done = run(pusher, out, REPO, "--verify", "--private", xet=xet)
    assert done.returncode == 0, done.stderr
    assert "verified 23 clips: identical to the local shards" in done.stdout
    assert "README.md" not in done.stderr  # in a bar of the client
    assert (hub.count("*/objects/batch") == 0) == xet
    assert readers_see(reader, xet=xet)["700"] == {"validation": ids(out)}
    hub.clear(log=True)
    done = run(pusher, out, REPO, xet=xet)
    assert "nothing to upload: 8 shards published already" in done.stdout
    done = run(pusher, out, REPO, "--split", "val", xet=xet)
    assert "nothing to upload: 8 shards published already" in done.stdout
    assert content(hub) == 0
    done = run(pusher, out, REPO, "--delete-local", "--verify", xet=xet)
    assert "verified 23 clips" in done.stdout
    assert "removed 8 local shards" in done.stdout
    done = run(pusher, out, REPO, "--split", "trian", xet=xet)
    assert (done.returncode, "did you mean 'train'" in done.stderr) == (2, True)


def test_a_large_folder_comes_through_xet_and_is_there_the_second_time(
    hub: Hub, large: Path, undisturbed: dict[str, str], reader: Clients, pusher: Clients
) -> None:
    assert run(pusher, large, REPO, xet=True).returncode == 0
    assert files(hub) == undisturbed
    assert hub.count("*/objects/batch") == 0
    history = [commit.oid for commit in hub.repositories[REPO].history()]
    seen = [found["700"] for found in readers_see(reader, history, xet=True).values()]
    assert seen[0] == {"train": ids(large, "train")}
    assert len(seen) == 4  # the first commit, the placeholder, the shards, the card
    assert all(isinstance(found, str) for found in seen[1:])
    hub.clear(log=True)
    assert "nothing to upload: 16 shards" in run(pusher, large, REPO, xet=True).stdout
    assert hub.count("*/commit/*") == hub.bytes_received("/_blobs/*") == 0


def test_verify_names_the_file_that_differs(hub: Hub, out: Path, tmp_path: Path, pusher: Clients) -> None:
    assert run(pusher, out, REPO).returncode == 0
    name = shards(out)[5]
    blob = hub.repositories[REPO].blob(files(hub)[name])
    whole = blob.read_bytes()
    video = pq.read_table(out / name)["video"][0]["bytes"].as_py()
    blob.write_bytes(whole.replace(video, bytes(len(video))))
    done = run(pusher, out, REPO, "--verify")
    assert (done.returncode, f"{name} differs from the local shard" in done.stderr) == (2, True), done.stderr
    blob.write_bytes(whole[:-4] + b"PAR2")
    done = run(pusher, out, REPO, "--verify")
    assert (done.returncode, f"{name} is unreadable" in done.stderr) == (2, True), done.stderr


def test_no_token_is_ever_seen(hub: Hub, out: Path, tmp_path: Path) -> None:
    """In output, logs, errors and files; with the token given in every way, and whatever fails."""
    said = []
    faults: list[list[Fault]] = [
        [],
        [],
        [Fault("status", "*/commit/*", code=400)],
        [Fault("status", "*/commit/*", code=403)],
        [Fault("status", "*/preupload/*", code=404)],
        [Fault("status", "/api/whoami-v2", code=401)],
        [Fault("status", "/api/repos/create", code=403)],
        [Fault("status", "/api/validate-yaml", code=400)],
        [Fault("status", "*/tree/*", code=413)],
    ]
    with clients_of(hub.url, tmp_path / "home", PUSHER, HF_DEBUG="1", HF_HUB_VERBOSITY="debug") as pusher:
        for number, some in enumerate(faults):
            hub.add(*some)
            is_argument = number % 2 == 0
            given = ["--token", ANN] if is_argument else []
            done = run(pusher, out, f"ann/kinetics{number}", *given, token=None if is_argument else ANN)
            hub.clear()
            said.append(done.stdout + done.stderr)
            assert done.returncode == (2 if some else 0), said[-1]
            assert "Traceback" not in said[-1]
        said.append(run(pusher, out, REPO, "--token", "hf_unknownToAll").stderr)
    assert "cannot identify the owner of the token" in said[-1]
    for secret in (ANN, "hf_unknownToAll"):
        assert not [one for one in said if secret in one]
        for folder in (out, tmp_path / "home", hub.root):
            for path in folder.rglob("*"):
                assert not path.is_file() or secret.encode() not in path.read_bytes(), path


def test_exceptions_hold_no_token(hub: Hub, out: Path) -> None:
    import pickle
    import traceback

    hub.add(Fault("status", "*/commit/*", code=403))
    with pytest.raises(PushError) as caught:
        quiet(out, REPO, token=ANN)
    error = caught.value
    formatted = traceback.format_exception(type(error), error, error.__traceback__)
    assert ANN not in "".join(formatted)
    assert ANN not in repr(error)
    assert ANN.encode() not in pickle.dumps(error)


def test_kills_leave_nothing_behind(
    hub: Hub, large: Path, undisturbed: dict[str, str], reader: Clients, pusher: Clients
) -> None:
    hub.add(Fault("slow", "/_blobs/*", method="PUT", bytes_per_second=200_000))
    assert killed_pushes(hub, pusher, large, kills=4, seed=0)  # on a busy machine a push may end before its kill
    assert files(hub) == undisturbed
    assert hub.bytes_received("/_blobs/*") < 1.5 * size(large)
    history = [commit.oid for commit in hub.repositories[REPO].history()]
    seen = readers_see(reader, history)
    assert seen[history[0]]["700"] == {"train": ids(large, "train")}
    assert all(isinstance(seen[oid]["700"], str) for oid in history[1:])


# ---- Readers

SHARE = """
import json, sys
import datasets
import fsspec
from datasets.distributed import split_dataset_by_node
datasets.disable_progress_bars()

def stream():
    ds = datasets.load_dataset(sys.argv[1], "700", split="validation", streaming=True)
    return ds.cast_column("video", datasets.Video(decode=False))

answer = {"version": datasets.__version__}
whole = datasets.load_dataset(sys.argv[1], "700", split="validation")
whole = whole.cast_column("video", datasets.Video(decode=False))
answer["whole"] = [[row["youtube_id"], len(row["video"]["bytes"])] for row in whole]
answer["stream"] = [[row["youtube_id"], len(row["video"]["bytes"])] for row in stream()]
answer["nodes"] = [
    [row["youtube_id"] for row in split_dataset_by_node(stream(), rank=rank, world_size=3)] for rank in range(3)
]
answer["resumed"] = []
for position in (1, 5, 12, 22):
    one, again = stream(), stream()
    rows = iter(one)
    for _ in range(position):
        next(rows)
    again.load_state_dict(one.state_dict())
    answer["resumed"].append([position, [row["youtube_id"] for row in again]])
try:
    import torch
    loader = torch.utils.data.DataLoader(stream().select_columns(["youtube_id"]), batch_size=None, num_workers=2)
    answer["loader"] = [row["youtube_id"] for row in loader]
except ImportError:
    pass
assert not {"kinetics", "kinetics_tools"} & sys.modules.keys()
print("ANSWER" + json.dumps(answer))
"""


def test_datasets_alone_reads_shares_and_resumes_it(hub: Hub, out: Path, tmp_path: Path) -> None:
    quiet(out, REPO)
    env = environment(hub.url, tmp_path / "home", token=ANN)
    answer = json.loads(run_program(SHARE, REPO, env=env, timeout=300, cwd=tmp_path).rpartition("ANSWER")[2])
    expected = ids(out)
    assert answer["stream"] == answer["whole"] == [[one, 500] for one in expected]
    assert sorted(one for node in answer["nodes"] for one in node) == sorted(expected)
    assert answer["resumed"] == [[position, expected[position:]] for position in (1, 5, 12, 22)]
    if "loader" in answer:
        assert sorted(answer["loader"]) == sorted(expected)
