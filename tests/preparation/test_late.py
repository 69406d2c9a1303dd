"""Clips that become available after their shards were written."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from kinetics_tools.preparation import shard
from kinetics_tools.preparation.clip import DroppedClip, prepare_clip
from kinetics_tools.run import Crash
from tests.support.clip_tree import SOURCE, files_of, rows_of, run
from tests.support.trees import write_tree

pytestmark = pytest.mark.usefixtures("in_process")


def test_clips_that_come_later_are_named_with_how_to_take_them_in(clips, tmp_path):
    tree, out = write_tree(tmp_path / "tree", clips={"validation": clips[7:19]}), tmp_path / "out put"
    came = [tree / "val" / clip.label / clip.file_name for clip in clips[7:11]]
    came[0].unlink()
    came[1].write_bytes(b"")
    came[2].unlink()
    came[3].write_bytes(b"")
    assert run(tree, out, **SOURCE).late == ()
    came[0].write_bytes(clips[7].content)
    came[1].write_bytes(clips[8].content)
    came[2].write_bytes(b"")
    again = run(tree, out, **SOURCE)
    assert sorted(one.name for one in again.late) == [clips[7].stem, clips[8].stem]
    came[2].unlink()
    lines = again.lines()
    assert lines[0] == "nothing to make: all shards exist"
    assert [
        line
        for line in lines
        if line.startswith("2 clips became available after their shards were written: validation ")
    ]
    command = next(line for line in lines if line.startswith("rm "))
    subprocess.run(command, shell=True, check=True)
    taken = run(tree, out, **SOURCE)
    assert (taken.made, taken.late) == (len({one.shard for one in again.late}), ())
    whole = tmp_path / "whole"
    run(tree, whole, **SOURCE)
    assert files_of(out) == files_of(whole)


def crashing(clip, *, encoding, **_):
    """Prepare a clip; for one clip, return a `Crash` as a pool would."""
    crash = Crash("reading it ended the process (SIGSEGV)")
    return crash if clip[0].endswith("000008_000018") else prepare_clip(clip, encoding=encoding)


def test_clips_that_were_mended_are_named_as_those_that_come_later(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(shard, "prepare_clip", crashing)
    used = [clips[number] for number in (7, 8, *range(10, 17))]
    tree, out = write_tree(tmp_path / "tree", clips={"validation": used}), tmp_path / "out"
    fetched, crashed, touched, emptied, linked = (tree / "val" / clip.label / clip.file_name for clip in used[:5])
    fetched.write_bytes(b"no video")
    touched.write_bytes(used[2].content[:300])
    emptied.write_bytes(used[3].content[:400])
    linked.unlink()
    linked.symlink_to("nothing")
    report = run(tree, out, **SOURCE)
    assert report.splits["validation"].dropped == {"absent": 1, "crashed": 1, "unreadable": 3}
    assert run(tree, out, **SOURCE).late == ()
    monkeypatch.setattr(shard, "prepare_clip", prepare_clip)
    fetched.write_bytes(used[0].content)
    crashed.write_bytes(used[1].content + bytes(8))
    touched.touch()
    emptied.write_bytes(b"")
    linked.unlink()
    linked.write_bytes(used[4].content)
    mended = {used[0].stem, used[1].stem, used[4].stem}
    again = run(tree, out, **SOURCE)
    assert {one.name for one in again.late} == mended
    command = next(line for line in again.lines() if line.startswith("rm "))
    subprocess.run(command, shell=True, check=True)
    taken = run(tree, out, **SOURCE)
    assert (taken.made, taken.late) == (len({one.shard for one in again.late}), ())
    assert {Path(name).stem for name in rows_of(out)} == {clip.stem for clip in used[5:]} | mended


def sizeless_take(clip, *, encoding, **_):
    """Prepare a clip like old versions, which stored no size of a dropped clip."""
    found = prepare_clip(clip, encoding=encoding)
    return replace(found, size=None) if isinstance(found, DroppedClip) else found


def test_a_bad_clip_whose_size_nobody_told_is_not_called_mended(clips, tmp_path, monkeypatch):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]})
    (tree / "val" / clips[7].label / clips[7].file_name).write_bytes(b"no video")
    monkeypatch.setattr(shard, "prepare_clip", sizeless_take)
    for _ in range(2):
        report = run(tree, tmp_path / "out", **SOURCE)
        assert (report.splits["validation"].dropped, report.late) == ({"unreadable": 1}, ())
