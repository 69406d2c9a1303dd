"""Clips and shards in stores that fsspec opens."""

import os
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from kinetics_tools.io.retry import RetryPolicy
from kinetics_tools.preparation import clip as clip_module
from kinetics_tools.preparation.clip import prepare_clip
from tests.support.clip_tree import FAST, SOURCE, files_of, rows_of, run, served, shards_of
from tests.support.trees import write_tree

pytestmark = pytest.mark.usefixtures("in_process")


def test_a_folder_in_a_store_is_written_and_gone_on_with(prepared, tree):
    fs = fsspec.filesystem("memory")
    try:
        run(tree, "memory://bucket/kinetics", shards=(0, 5))
        assert run(tree, "memory://bucket/kinetics").made == 3
        found = {name.removeprefix("/bucket/kinetics/"): fs.cat_file(name) for name in fs.find("/bucket/kinetics")}
        assert found == files_of(prepared)
    finally:
        fs.store.clear()


@pytest.mark.parametrize("profile", ["source", "train"])
def test_clips_in_a_store_give_the_same_files(tree, tmp_path, profile):
    """A web server that lists its folders is one of the stores that fsspec knows."""
    options = {"profile": profile, "encoding": FAST if profile == "train" else None}
    with served(tree) as url:
        run(url, tmp_path / "remote", **options)
    run(tree, tmp_path / "local", **options)
    assert shards_of(tmp_path / "local") == shards_of(tmp_path / "remote")
    assert len(shards_of(tmp_path / "remote")) == 8


class Busy(SimpleHTTPRequestHandler):
    """Gives some clips after some refusals, and others never; `refused` is part of a path -> statuses."""

    def __init__(self, *args, refused, **options):
        self.refused = refused
        super().__init__(*args, **options)

    def do_GET(self):
        statuses = next((statuses for part, statuses in self.refused.items() if part in self.path), [])
        status = (statuses.pop(0) if len(statuses) > 1 else statuses[0]) if statuses else 200
        if status == 200:
            super().do_GET()
        else:
            self.send_error(status)


@pytest.mark.parametrize("profile", ["source", "train"])
def test_a_clip_that_a_store_does_not_give_is_asked_for_again_and_then_named(clips, tmp_path, monkeypatch, profile):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]})
    refused = {clips[7].stem: [503, 503, 200], clips[8].stem: [503], clips[9].stem: [404, 200], clips[10].stem: [403]}
    monkeypatch.setattr(clip_module, "_RETRIES", RetryPolicy(2, 0.01))
    with served(tree, Busy, refused=refused) as url:
        given = {"encoding": FAST if profile == "train" else None}
        report = run(url, tmp_path / "out", profile=profile, **given)
        refused.clear()
        again = run(url, tmp_path / "out", profile=profile, **given)
    assert {one.name for one in again.late} == {clip.stem for clip in clips[8:11]}
    assert {Path(name).stem for name in rows_of(tmp_path / "out")} == {
        clips[number].stem for number in (7, *range(11, 15))
    }
    details = {one.name: (one.reason, one.detail) for one in report.splits["validation"].unusable}
    assert details.keys() == {clip.stem for clip in clips[8:11]}
    for clip, text in ((clips[8], "Service Unavailable"), (clips[9], os.strerror(2)), (clips[10], "Forbidden")):
        reason, detail = details[clip.stem]
        assert (reason, text in detail, "127.0.0.1" in detail) == ("unreadable", True, False)


class Expiring(SimpleHTTPRequestHandler):
    """Gives some clips, and then forbids all; `left` is how many are given still."""

    def __init__(self, *args, left, **options):
        self.left = left
        super().__init__(*args, **options)

    def do_GET(self):
        if self.path.endswith(".mp4"):
            self.left[0] -= 1
            if self.left[0] < 0:
                self.send_error(403)
                return
        super().do_GET()


def test_a_store_that_ends_to_give_ends_the_run_which_goes_on_later(clips, tmp_path, monkeypatch):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]})
    left = [3]
    given = {**SOURCE, "workers": 1}
    with served(tree, Expiring, left=left) as url:
        with pytest.raises(OSError, match=r"Forbidden.*; other clips cannot be read either"):
            run(url, tmp_path / "out", **given)
        assert len(rows_of(tmp_path / "out")) == len(shards_of(tmp_path / "out")) == 3
        left[0] = 1000
        report = run(url, tmp_path / "out", **given)
    assert (report.made, report.splits["validation"].rows, report.late) == (5, 8, ())


def test_what_is_no_fault_of_a_store_is_neither_waited_for_nor_a_bad_clip(monkeypatch):
    def fail(*args, **options):
        raise ValueError("no such option")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", fail)
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail("waits"))
    with pytest.raises(ValueError, match="no such option"):
        prepare_clip(("x", "memory://x.mp4"), encoding=None)


def test_a_clip_in_a_store_is_waited_for_less_than_a_minute():
    policy = clip_module._RETRIES
    means = [min(policy.first_wait_seconds * 2**n, policy.longest_wait_seconds) for n in range(policy.retries)]
    assert 30 < sum(means) <= 45
