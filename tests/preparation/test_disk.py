"""Disks that fill up under prepare and push."""

import subprocess

import pytest

from kinetics_tools.errors import DiskError
from kinetics_tools.publication import push
from tests.support.clip_tree import SOURCE, files_of, run, shards_of
from tests.support.mounts import read_only
from tests.support.trees import write_tree

pytestmark = pytest.mark.usefixtures("in_process")

FULL = r"No space left on device; finished files are kept\. Make room and rerun the command to resume$"


@pytest.mark.parametrize("command", ["prepare", "push"])
def test_a_full_disk_keeps_finished_shards_and_is_resumed_with_more_room(clips, tmp_path, small_disk, command):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:19]})
    whole, out = tmp_path / "whole", small_disk / "out"
    run(tree, whole, **SOURCE)

    def make():
        if command == "push":
            push(whole, f"file://{out}")
        else:
            run(tree, out, **SOURCE)

    with pytest.raises(DiskError, match=rf"^{out}/700/validation-\S+parquet: {FULL}"):
        make()
    assert 0 < len(shards_of(out)) < 8
    assert shards_of(out).items() <= shards_of(whole).items()
    assert not [name for name in files_of(out) if name.endswith(".tmp")]
    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    make()
    assert shards_of(out) == shards_of(whole)


def test_a_read_only_directory_is_refused_before_any_work(tree, tmp_path, monkeypatch):
    monkeypatch.setattr("kinetics_tools.preparation.run._Preparation.make", lambda *_: pytest.fail("worked"))
    (tmp_path / "out").mkdir()
    with read_only(tmp_path / "out") as out, pytest.raises(DiskError, match=rf"^{out}/700s?: Read-only file system"):
        run(tree, out / "700s", **SOURCE)
