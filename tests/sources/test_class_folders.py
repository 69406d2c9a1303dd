"""Directories and annotations of another release: refused by every command, and directories that are no class."""

import os
import shutil

import pytest
from typer.testing import CliRunner

from kinetics_tools.annotations import Selection
from kinetics_tools.cli.app import app
from kinetics_tools.preparation import PrepareOptions, plan_shards
from kinetics_tools.releases import LABELS
from kinetics_tools.sources import clip_tables
from kinetics_tools.verification import verify
from tests.support.trees import CLIPS, Clip, load, rows, rows_of, write_annotations, write_tree

# By the official lists, 22 classes of 400 and 3 of 600 are not in 700.
MISFIT = "22 of 400 class directories are classes of 400 and not of 700 .*this is release 400; .*force_release=True"


def tree_of(tmp_path, release, **options):
    clips = [Clip(label, f"{number:011d}", 0, 10) for number, label in enumerate(LABELS[release])]
    return write_tree(tmp_path, clips={"train": clips}, annotations=None, **options)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_tree_of_400_is_not_loaded_as_700(tmp_path, streaming):
    data_dir = tree_of(tmp_path, "400")
    for _ in range(2):  # nothing is cached
        with pytest.raises(ValueError, match=MISFIT):
            load("700", data_dir=data_dir, split="train", streaming=streaming)
    assert len(list(load("400", data_dir=data_dir, split="train", streaming=streaming))) == 400
    forced = list(load("700", data_dir=data_dir, split="train", streaming=streaming, force_release=True))
    assert sorted(row["label"] for row in forced) == sorted(
        LABELS["700"].index(label) for label in set(LABELS["400"]) & set(LABELS["700"])
    )
    assert len(forced) == 378


def test_a_load_lists_a_directory_of_clips_for_its_state_and_for_its_clips_only(tmp_path, monkeypatch):
    data_dir = write_tree(tmp_path, "flat")
    listed = []
    scandir = os.scandir
    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", lambda path: listed.append(path) or scandir(path))
        load("700", data_dir=data_dir, split="train", streaming=True)
    assert listed.count(f"{data_dir}/train") == 2


def test_verify_prepare_push_and_stores_refuse_it_too(tmp_path):
    data_dir = tree_of(tmp_path, "400")
    calls = (
        lambda: verify("700", data_dir),
        lambda: plan_shards(Selection("700"), data_dir, PrepareOptions()),  # of prepare and push
        lambda: list(clip_tables(Selection("700"), f"local://{data_dir}")),
    )
    for call in calls:
        with pytest.raises(ValueError, match=MISFIT):
            call()
    [plan] = plan_shards(Selection("700", force_release=True), data_dir, PrepareOptions())
    assert len(plan.clips) == 378


@pytest.mark.parametrize(
    ("given", "asked", "fits"), [("600", "700", "600"), ("700", "400", "700 and 700-2020"), ("700", "600", "700 and 7")]
)
def test_each_release_is_told_from_the_others(tmp_path, given, asked, fits):
    with pytest.raises(ValueError, match=f"class directories are classes of {fits}"):
        load(asked, data_dir=tree_of(tmp_path, given))


def test_annotations_of_another_release_are_named_and_may_be_forced(tmp_path, caplog):
    clips = [Clip("abseiling", "00000000000", 0, 10), Clip("balloon blowing", "00000000001", 0, 10)]
    data_dir = write_tree(tmp_path, "flat", clips={"train": clips})
    for call in (lambda: load("700", data_dir=data_dir), lambda: verify("700", data_dir)):
        with pytest.raises(ValueError, match=r"train\.csv: line 3: .*1 of 2 labels are classes of 400 and not of 700"):
            call()
    found = load("700", data_dir=data_dir, split="train", force_release=True)
    assert rows(found) == rows_of(clips[:1])
    assert "rows of classes that 700 lacks are skipped: 1 (balloon blowing)" in caplog.text
    clips.append(Clip("abseilling", "00000000002", 0, 10))
    write_annotations(data_dir / "annotations" / "train.csv", clips, "train")
    with pytest.raises(ValueError, match=r"line 4: unknown class of 700 'abseilling'"):
        load("700", data_dir=data_dir, split="train", force_release=True)


def test_the_commands_take_force_release(tmp_path):
    clips = [Clip("abseiling", "00000000000", 0, 10), Clip("balloon blowing", "00000000001", 0, 10)]
    data_dir = str(write_tree(tmp_path / "tree", clips={"train": clips}))
    out = str(tmp_path / "out")
    for command in (
        ["verify", "700", data_dir],
        ["prepare", "700", "--data-dir", data_dir, "--out", out, "--dry-run"],
        ["push", out, "me/x", "--stream", "--release=700", "--data-dir", data_dir],
    ):
        refused, forced = (CliRunner().invoke(app, [*command, *more]) for more in ([], ["--force-release"]))
        assert "1 of 2 class directories are classes of 400 and not of 700" in " ".join(refused.output.split())
        assert "pass --force-release to take" in " ".join(refused.output.split())
        assert "class directories are" not in forced.output


def test_a_directory_that_is_no_class_is_named_on_each_load(tmp_path, caplog):
    data_dir = write_tree(tmp_path)
    (data_dir / "val" / "zumba").rename(data_dir / "val" / "zumbaa")
    for _ in range(2):  # the second comes from the cache
        caplog.clear()
        load("700", data_dir=data_dir, split="validation")
        assert "directories that are not named after a class: 1 (val/zumbaa; nearest class: zumba)" in caplog.text
    caplog.clear()
    load("700", data_dir=data_dir, split="train")
    assert "zumbaa" not in caplog.text


def test_directories_of_any_name_are_fine_beside_annotations(tmp_path, caplog):
    data_dir = write_tree(tmp_path, "flat", clips={"train": CLIPS["train"]})
    part = data_dir / "train" / "part_0"
    part.mkdir()
    for path in data_dir.glob("train/*.mp4"):
        shutil.move(path, part)
    assert rows(load("700", data_dir=data_dir, split="train")) == rows_of(CLIPS["train"])
    assert caplog.text == ""
