"""Clips that are dropped."""

import functools
import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from kinetics_tools.media import probe
from kinetics_tools.preparation import clip as clip_module
from kinetics_tools.preparation import read_report, shard
from kinetics_tools.preparation.clip import DroppedClip, prepare_clip
from kinetics_tools.run import processes
from tests.support.clients import run_program
from tests.support.clip_tree import FAST, SOURCE, clip_bytes, rows_of, run, shards_of
from tests.support.takes import crashing
from tests.support.trees import write_tree


@pytest.mark.usefixtures("in_process")
def test_a_clip_that_cannot_be_opened_is_named_and_costs_no_other(clips, tmp_path):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:11]})
    paths = [tree / "val" / clip.label / clip.file_name for clip in clips[7:9]]
    for path in paths:
        path.unlink()
    paths[0].symlink_to("nothing")
    paths[1].mkdir()
    for profile, encoding in (("source", None), ("train", FAST)):
        out = tmp_path / profile
        for _ in range(2):
            report = run(tree, out, profile=profile, encoding=encoding)
            split = report.splits["validation"]
            assert (split.rows, split.dropped, report.late) == (2, {"absent": 2}, ())
            assert set(split.absent) == {clips[7].stem, clips[8].stem}  # a directory is no file of a clip
        assert {Path(name).stem for name in rows_of(out)} == {clip.stem for clip in clips[9:11]}


@pytest.mark.parametrize("encoding", [None, FAST])
def test_a_row_measures_the_bytes_that_it_holds_though_the_file_is_replaced(clips, tmp_path, monkeypatch, encoding):
    path = tmp_path / clips[7].file_name
    path.write_bytes(clips[7].content)

    def probe_late(video):
        """Measure a clip after another program has replaced its file by a longer one."""
        path.write_bytes(clip_bytes(tmp_path, 99, frames=20))
        return probe(video)

    monkeypatch.setattr(clip_module, "probe", probe_late)
    found = prepare_clip((clips[7].stem, str(path)), encoding=encoding)
    assert found.info == probe(found.content)
    assert (found.info.num_frames, found.bytes_in) == (9, len(clips[7].content))
    assert encoding is not None or found.content == clips[7].content


def leaving_take(clip, *, encoding, **_):
    """The folder of all goes when one clip has been read."""
    taken = prepare_clip(clip, encoding=encoding)
    root = Path(clip[1]).parents[2]
    if root.exists():
        root.rename(root.with_name("gone"))
    return taken


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("profile", ["source", "train"])
def test_a_folder_that_goes_ends_the_run_which_goes_on_later(clips, tmp_path, monkeypatch, profile):
    tree, out = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]}), tmp_path / "out"
    given = {"profile": profile, "encoding": FAST if profile == "train" else None, "workers": 1}
    monkeypatch.setattr(shard, "prepare_clip", leaving_take)
    with pytest.raises(OSError, match=r"No such file or directory; other clips cannot be read either"):
        run(tree, out, **given)
    made = len(shards_of(out))
    assert made < 8
    (tmp_path / "gone").rename(tree)
    monkeypatch.setattr(shard, "prepare_clip", prepare_clip)
    report = run(tree, out, **given)
    assert (report.made, report.splits["validation"].rows, report.late) == (8 - made, 8, ())


def test_a_clip_that_crashes_or_hangs_is_named_and_costs_no_other(tree, prepared, tmp_path, monkeypatch):
    stems = [[Path(path).stem for path in paths_of(prepared / name)] for name in shards_of(prepared)]
    number, names = next((number, names) for number, names in enumerate(stems) if len(names) == 4)
    monkeypatch.setattr(shard, "prepare_clip", functools.partial(crashing, crash=names[1], hang=names[2]))
    monkeypatch.setattr(shard, "_LIMIT_SECONDS", 2.0)
    report = run(tree, tmp_path, **SOURCE, shards=(number, number + 1))
    assert report.splits["validation"].dropped == {"crashed": 2}
    (content,) = shards_of(tmp_path).values()
    details = {one.name: one.detail for one in read_report(io.BytesIO(content)).dropped}
    assert details == {
        names[1]: "reading it ended the process (SIGSEGV)",
        names[2]: "reading it did not end in 2 s",
    }
    assert [Path(name).stem for name in rows_of(tmp_path)] == [names[0], names[3]]


def paths_of(path):
    return [row["video"]["path"] for row in pq.read_table(path).to_pylist()]


def test_dropped_says_why(tree, clips):
    path = tree / "val" / clips[5].label / clips[5].file_name
    found = prepare_clip((clips[5].stem, str(path)), encoding=None)
    assert isinstance(found, DroppedClip)
    assert (found.name, found.reason) == (clips[5].stem, "unreadable")
    assert clips[5].file_name in found.detail


def test_worker_processes_import_little():
    heavy = ("datasets", "pyarrow", "huggingface_hub", "pandas", "torch", "rich")
    printed = run_program(
        f"import sys, kinetics_tools.preparation.clip; print([n for n in {heavy} if n in sys.modules])"
    )
    assert printed == "[]\n"


def test_a_worker_keeps_its_process_from_shard_to_shard(clips, tmp_path, monkeypatch):
    started = []
    start = processes._Process.__init__
    monkeypatch.setattr(processes._Process, "__init__", lambda self: started.append(self) or start(self))
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]})
    assert run(tree, tmp_path / "out", **SOURCE, workers=1).made == 8
    assert len(started) == 1
    assert started[0].poll() is not None
