"""Runs in one output directory at the same time."""

import contextlib
import json
import subprocess
import sys

import fsspec
import pytest
import yaml

from kinetics_tools.io import Folder
from kinetics_tools.preparation import LOCK_NAME
from tests.support.clip_tree import SOURCE, files_of, rows_of, run
from tests.support.trees import write_tree

# Each line names a tree, a split and a folder. Clips are read in the process: what is tested are the files.
IN_ROUNDS = """
import json, sys
from rich.console import Console
from kinetics_tools import prepare
from kinetics_tools.preparation import shard

shard.run = lambda function, items, **_: ((key, function(item)) for key, item in items)
for line in sys.stdin:
    tree, split, out = json.loads(line)
    prepare("700", tree, out, splits=[split], profile="source", console=Console(stderr=True))
    print("done", flush=True)
"""


@pytest.fixture(scope="module")
def prepare_both():
    """A function that has two processes prepare a split each in one folder, at the same moment."""
    with contextlib.ExitStack() as stack:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        command = [sys.executable, "-c", IN_ROUNDS]
        processes = [stack.enter_context(subprocess.Popen(command, **pipes)) for _ in range(2)]

        def prepare_in(tree, splits, out):
            for process, split in zip(processes, splits, strict=True):
                process.stdin.write(json.dumps([str(tree), split, str(out)]) + "\n")
                process.stdin.flush()
            for process in processes:
                assert process.stdout.readline() == "done\n", process.stderr.read()

        yield prepare_in
        for process in processes:
            process.stdin.close()


def described_side_by_side(prepare_both, clips, folder, *, rounds):
    tree = write_tree(folder / "tree", clips={"train": clips[7:9], "validation": clips[9:11]})
    out = folder / "out"
    prepare_both(tree, ["train", "validation"], out)
    whole = files_of(out)
    for _ in range(rounds):
        # What was made stays, so that both begin to describe it at once.
        (out / "README.md").unlink()
        (out / "700" / "prepare.json").unlink()
        prepare_both(tree, ["train", "validation"], out)
        assert files_of(out) == whole
    header = yaml.safe_load(whole["README.md"].decode().split("---")[1])
    assert [one["split"] for one in header["configs"][0]["data_files"]] == ["train", "validation"]


def test_splits_prepared_side_by_side_are_all_described(prepare_both, clips, tmp_path):
    described_side_by_side(prepare_both, clips, tmp_path, rounds=3)


@pytest.mark.usefixtures("in_process")
@pytest.mark.parametrize("place", ["an object store", "a disk without locks"])
def test_a_split_that_another_run_has_written_over_is_described_again(clips, tmp_path, monkeypatch, place):
    """Two runs without a lock have both read prepare.json before either wrote it."""
    tree = write_tree(tmp_path / "tree", clips={"train": clips[7:9], "validation": clips[9:11]})
    out = "memory://bucket/kinetics" if place == "an object store" else str(tmp_path / "out")
    if place == "a disk without locks":
        (tmp_path / "out" / LOCK_NAME).mkdir(parents=True)
    try:
        run(tree, out, splits=["train"], **SOURCE)
        summary = "700/prepare.json"
        of_train, write, written = Folder(out).read(summary), Folder.write, []

        def write_both(store, name, data):
            write(store, name, data)
            if name == summary and not written:
                written.append(name)
                write(store, name, of_train)

        monkeypatch.setattr(Folder, "write", write_both)
        run(tree, out, splits=["validation"], **SOURCE)
        assert written
        assert list(json.loads(Folder(out).read(summary))["splits"]) == ["train", "validation"]
        header = yaml.safe_load(Folder(out).read("README.md").decode().split("---")[1])
        assert [one["split"] for one in header["configs"][0]["data_files"]] == ["train", "validation"]
    finally:
        fsspec.filesystem("memory").store.clear()


def prepared_twice_at_once(prepare_both, clips, folder, *, rounds):
    tree = write_tree(folder / "tree", clips={"validation": clips[7:15]})
    for number in range(rounds):
        prepare_both(tree, ["validation", "validation"], folder / f"{number}")
        assert len(rows_of(folder / f"{number}")) == 8
        assert files_of(folder / f"{number}") == files_of(folder / "0")


def test_the_same_command_twice_at_once_ends_well(prepare_both, clips, tmp_path):
    prepared_twice_at_once(prepare_both, clips, tmp_path, rounds=2)
