"""The command `kinetics prepare`, and what it prints."""

import re

import datasets
import fsspec
import pytest
from typer.testing import CliRunner

from kinetics_tools.cli.app import app
from kinetics_tools.preparation import ShardReport, SplitReport, prepare_shard
from kinetics_tools.preparation.report import Report
from kinetics_tools.run import Crash
from tests.support.clip_tree import SOURCE, files_of, run, served, shards_of
from tests.support.prepared import write_prepared
from tests.support.trees import Clip, write_tree

pytestmark = pytest.mark.usefixtures("in_process")


def printed_call(lines):
    """Run the call that a report prints to load the split."""
    call = next(line for line in lines if line.endswith(" loads it")).removesuffix(" loads it")
    assert call.startswith("load_dataset("), call
    ds = eval(call.removesuffix(")") + ", streaming=True)", {"load_dataset": datasets.load_dataset})
    return ds.cast_column("video", datasets.Video(decode=False))


@pytest.mark.parametrize("form", ["relative", "absolute", "file URL"])
def test_the_last_line_loads_it_from_anywhere(clips, tmp_path, monkeypatch, form):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:10]})
    monkeypatch.chdir(tmp_path)
    out = {"relative": "a", "absolute": str(tmp_path / "a"), "file URL": f"file://{tmp_path}/a"}[form]
    lines = run(tree, out, **SOURCE).lines()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(list(printed_call(lines))) == 3


def test_the_last_line_loads_it_from_an_object_store():
    fs = fsspec.filesystem("memory")
    try:
        plan = write_prepared("memory://bucket/kinetics", "700", "validation")
        split = SplitReport.of(plan, dict.fromkeys(range(8), ShardReport(plan.fingerprint, 3, 3, 0, 0, 0.0, ())))
        report = Report("700", "memory://bucket/kinetics", {}, {"validation": split}, to_make=0)
        assert len(list(printed_call(report.lines()))) == 24
    finally:
        fs.store.clear()


def test_the_command(tree, prepared, clips, tmp_path, monkeypatch):
    out, sampled = tmp_path / "kinetics", []
    monkeypatch.setattr("kinetics_tools.run.Progress.count", lambda self, status, **_: sampled.append(status))
    given = ["prepare", "700", "--data-dir", str(tree), "--out", str(out), "--clips-per-shard", "4"]
    result = CliRunner().invoke(app, [*given, "--preset", "ultrafast", "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "to make: 8 shards with 30 annotated clips, 1 of them missing" in result.output
    assert not out.exists()
    assert sampled == ["sampled"] * 8  # counted for the display: a sample of long clips takes a minute
    result = CliRunner().invoke(app, [*given, "--preset", "ultrafast"])
    assert result.exit_code == 0, result.output
    assert "validation: dropped: 1 missing, 1 empty, 2 unreadable" in result.output
    assert f'load_dataset("{out}", "700", split="validation") loads it' in result.output
    assert f"validation: {clips[4].stem}: empty\n" in result.output
    assert f"validation: {clips[5].stem}: unreadable: Invalid data found when processing input\n" in result.output
    assert files_of(out) == files_of(prepared)
    for more in (["--split", "val"], ["--dry-run"]):
        result = CliRunner().invoke(app, [*given, "--preset", "ultrafast", *more])
        assert (result.exit_code, "nothing to make: all shards exist" in result.output) == (0, True)
        assert "to make: 0" not in result.output
    for bad, message in (
        (["--shards", "1-2"], "error: --shards 1-2: must be a half-open range START:STOP"),
        (["--crf", "99"], "error: --crf must be from 0"),
        (["--preset", "fastish"], "error: unknown preset 'fastish'; did you mean 'fast'?"),
        (["--clips-per-shard", "0"], "error: --clips-per-shard must be at least 1, got 0"),
        (
            ["--preset", "ultrafast", "--address", "auto"],
            "error: --address auto is valid only with --engine ray; pass both or omit",
        ),
        (["--data-dir", "/data_dir/crf=1"], "error: --data-dir /data_dir/crf=1 does not exist"),
        (["--split", "vall"], "val"),
    ):
        result = CliRunner().invoke(app, [*given, *bad])
        assert (result.exit_code, message in result.output) == (2, True), result.output


def test_a_range_of_shards_of_two_splits_is_refused_as_typed(tmp_path):
    write_tree(tmp_path / "tree", clips={split: [Clip("zumba", "abcdefghijk", 0, 10)] for split in ("train", "test")})
    given = ["prepare", "700", "--data-dir", str(tmp_path / "tree"), "--out", str(tmp_path / "out")]
    output = CliRunner().invoke(app, [*given, "--shards", "0:4"]).output
    assert "error: --shards 0:4 needs exactly one split, got: train, test; choose one of them\n" in output


def test_the_command_takes_clips_from_a_url(tree, tmp_path):
    with served(tree) as url:
        given = ["prepare", "700", "--data-dir", url, "--out", str(tmp_path)]
        result = CliRunner().invoke(app, [*given, "--profile", "source", "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "to make: 8 shards with 30 annotated clips, 1 of them missing" in result.output


def test_an_estimate_says_which_clips_cannot_be_prepared(tmp_path):
    clips = [Clip("zumba", f"{number:011d}", 0, 10) for number in range(2)]  # text in place of video
    root = write_tree(tmp_path / "k700", clips={"validation": clips})
    given = ["prepare", "700", "--data-dir", str(root), "--out", str(tmp_path / "out"), "--dry-run"]
    output = CliRunner().invoke(app, given).output
    assert "estimated from 2 clips" in output
    assert "2 of the 2 cannot be prepared: see kinetics verify" in output


@pytest.mark.parametrize("inside", [".", "prepared", "700", "../k700/deep/er"])
def test_an_output_in_the_clip_directory_is_refused_before_any_work(tree, inside):
    before = sorted(tree.rglob("*"))
    done = CliRunner().invoke(app, ["prepare", "700", "--data-dir", str(tree), "--out", str(tree / inside)])
    assert done.exit_code == 2, done.output
    assert "would be mixed with it; choose a directory outside of it" in done.output
    assert sorted(tree.rglob("*")) == before


def test_an_output_whose_release_is_the_clip_directory_is_refused(tree, tmp_path):
    (tmp_path / "700").symlink_to(tree)
    done = CliRunner().invoke(app, ["prepare", "700", "--data-dir", str(tree), "--out", str(tmp_path)])
    assert done.exit_code == 2, done.output
    assert f"{tmp_path}/700 is in {tree}, which is read" in done.output


def test_shards_whose_tasks_are_lost_are_named_and_the_others_made(clips, tmp_path, monkeypatch):
    def lossy_spread(function, items, **_):
        (key, _), *rest = items
        yield key, Crash("its process was killed each time")
        yield from ((key, ("node", prepare_shard(item))) for key, item in rest)

    monkeypatch.setattr("kinetics_tools.preparation.run.check_engine", lambda engine, **_: None)
    monkeypatch.setattr("kinetics_tools.preparation.run.spread", lossy_spread)
    tree, out = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]}), tmp_path / "out"
    given = ["prepare", "700", "--data-dir", str(tree), "--out", str(out), "--profile", "source", "--engine", "ray"]
    result = CliRunner().invoke(app, [*given, "--shards", "0:8"])
    assert result.exit_code == 1
    assert re.search(r"could not make 700/validation-00000-\S+: its process was killed each time\n", result.output)
    assert result.output.rstrip().endswith("incomplete: rerun the same command to make the shards that failed")
    assert len(shards_of(out)) == 7
