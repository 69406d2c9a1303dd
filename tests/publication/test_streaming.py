"""Clips that are prepared and pushed shard by shard, on a disk that holds a few of them."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from kinetics_tools.annotations import Selection
from kinetics_tools.errors import PushError
from kinetics_tools.preparation.options import PrepareOptions
from kinetics_tools.publication.changes import Publication
from kinetics_tools.publication.streaming import Stream
from tests.support.clip_tree import BAD, FAST, manifest_of, rows_of
from tests.support.fault_server import Fault
from tests.support.hub import Hub
from tests.support.hub_clients import Clients
from tests.support.hub_pushes import REPO, files, ids, quiet, readers_see, run, shards, text
from tests.support.prepared import write_prepared
from tests.support.trees import Clip

OPTIONS = PrepareOptions(encoding=FAST, clips_per_shard=4)


def stream_of(tree: Path, *, options: PrepareOptions = OPTIONS, **given: Any) -> Stream:
    return Stream(Selection("700"), tree, options, **{"workers": 2, **given})


def test_a_stream_leaves_what_prepare_and_push_leave(
    hub: Hub, tree: Path, prepared: Path, tmp_path: Path, reader: Clients
) -> None:
    quiet(prepared, "ann/whole")
    report = quiet(tmp_path / "out", REPO, stream=stream_of(tree))
    assert (report.files_sent, report.files_removed) == (8, 8)
    whole = files(hub, "ann/whole")
    assert {**files(hub), "README.md": ""} == {**whole, "README.md": ""}
    assert text(hub, "README.md") == text(hub, "README.md", "ann/whole").replace("ann/whole", REPO)
    assert shards(tmp_path / "out") == []
    assert quiet(tmp_path / "out", REPO, stream=stream_of(tree)).commits == 0
    assert readers_see(reader)["700"] == {"validation": ids(prepared)}


def test_no_more_is_on_disk_than_asked(hub: Hub, tree: Path, prepared: Path, tmp_path: Path) -> None:
    out, most, done = tmp_path / "out", 0, threading.Event()
    largest = max((prepared / name).stat().st_size for name in shards(prepared))
    limit = 4 * largest

    def watch() -> None:
        nonlocal most
        while not done.wait(0.001):
            sizes = []
            for path in out.rglob("*.parquet"):
                try:
                    sizes.append(path.stat().st_size)
                except FileNotFoundError:
                    continue
            most = max(most, sum(sizes))

    watching = threading.Thread(target=watch)
    watching.start()
    hub.add(Fault("slow", "/_blobs/*", method="PUT", bytes_per_second=300_000))
    try:
        report = quiet(out, REPO, stream=stream_of(tree, max_disk_bytes=limit))
    finally:
        done.set()
        watching.join()
    assert report.commits > 2
    assert 0 < most <= limit
    assert sorted(name for name in files(hub) if name.endswith("parquet")) == shards(prepared)


def test_a_stream_goes_on_from_what_the_repository_and_the_folder_have(
    hub: Hub, tree: Path, prepared: Path, tmp_path: Path, reader: Clients
) -> None:
    out = tmp_path / "out"
    hub.add(Fault("status", "*/commit/*", code=403, skip=2))
    with pytest.raises(PushError, match=r"cannot upload to ann/kinetics: .*403"):
        quiet(out, REPO, stream=stream_of(tree, max_disk_bytes=200_000, workers=1))
    there = [name for name in files(hub) if name.endswith("parquet")]
    assert 0 < len(there) < 8
    assert "being uploaded" in text(hub, "README.md")
    hub.clear()
    report = quiet(out, REPO, stream=stream_of(tree))
    assert report.files_sent == 8 - len(there)
    assert readers_see(reader)["700"] == {"validation": ids(prepared)}


def test_another_split_joins(hub: Hub, tree: Path, tmp_path: Path, reader: Clients) -> None:
    write_prepared(tmp_path / "other", "700", "train")
    quiet(tmp_path / "other", REPO)
    quiet(tmp_path / "out", REPO, stream=stream_of(tree, options=PrepareOptions("source", clips_per_shard=4)))
    found = readers_see(reader)["700"]
    assert {split: len(rows) for split, rows in found.items()} == {"train": 24, "validation": 26}


def test_too_small_a_disk_is_said_before_anything_is_sent(hub: Hub, tree: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"max_disk 1 kB does not hold one shard of about .*decrease clips_per_shard"):
        quiet(tmp_path / "out", REPO, stream=stream_of(tree, max_disk_bytes=1000))
    assert shards(tmp_path / "out") == []
    assert not hub.repositories


def test_a_dry_run_is_refused_before_anything_is_planned(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="`kinetics prepare --dry-run` estimates what it would prepare"):
        quiet(tmp_path / "out", REPO, stream=stream_of(tmp_path / "no tree"), dry_run=True)
    assert not hub.requests


def test_clips_that_go_after_planning_are_dropped(tree: Path, clips: list[Clip], tmp_path: Path) -> None:
    copy, target = shutil.copytree(tree, tmp_path / "tree"), tmp_path / "pushed"
    stream = stream_of(copy, options=PrepareOptions("source", clips_per_shard=4))
    stream.parts()
    gone = [copy / "val" / clip.label / clip.file_name for clip in clips[7:9]]
    for path in gone:
        path.unlink()
    quiet(tmp_path / "out", f"file://{target}", stream=stream)
    kept = {clip.stem for number, clip in enumerate(clips) if number not in (7, 8, *BAD)}
    assert {Path(name).stem for name in rows_of(target)} == kept
    assert manifest_of(target)["dropped"] == {"absent": 1, "empty": 1, "unreadable": 4}


def test_the_command_streams(hub: Hub, tree: Path, prepared: Path, tmp_path: Path, pusher: Clients) -> None:
    asked = ["--stream", "--release", "700", "--data-dir", tree, "--clips-per-shard", 4, "--preset", "ultrafast"]
    done = run(pusher, tmp_path / "out", REPO, *asked, "--max-disk", "1MB", "--verify")
    assert done.returncode == 0, done.stderr
    assert "verified 26 clips" in done.stdout
    assert sorted(name for name in files(hub) if name.endswith("parquet")) == shards(prepared)
    done = run(pusher, tmp_path / "out", REPO, "--stream", "--data-dir", tree)
    assert (done.returncode, "a stream needs one release" in done.stderr) == (2, True)


def test_a_file_that_is_finished_while_others_are_removed_stays(
    hub: Hub, tree: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was not here when the repository was looked at is not there, either."""
    out, late = tmp_path / "out", sorted(prepared.rglob("*.parquet"))[0]
    target = out / late.relative_to(prepared)
    shutil.copytree(prepared, out)
    target.unlink()
    missing, calls, last = Publication.missing, 0, 0

    def finished_meanwhile(self: Publication, listing: Any) -> Any:
        nonlocal calls
        names = missing(self, listing)
        calls += 1
        if last and calls == last:  # the one that says what may be removed
            shutil.copy(late, target)
        return names

    quiet(out, REPO, allow_partial=True)
    with monkeypatch.context() as patch:
        patch.setattr(Publication, "missing", finished_meanwhile)
        quiet(out, REPO, allow_partial=True)
        calls, last = 0, calls + 1
        quiet(out, REPO, allow_partial=True, delete_local=True)
    assert calls == last
    assert [path.name for path in out.rglob("*.parquet")] == [late.name]
