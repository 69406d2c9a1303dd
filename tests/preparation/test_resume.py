"""Runs that resume what an earlier run left."""

import os

import pyarrow.parquet as pq
import pytest

from kinetics_tools.media import Encoding
from kinetics_tools.publication import push
from tests.support.clip_tree import copy_of, files_of, run, shards_of

pytestmark = pytest.mark.usefixtures("in_process")


def test_the_bytes_do_not_depend_on_workers_nor_on_who_makes_which_shard(prepared, tree, tmp_path):
    parts = tmp_path / "parts"
    for begin in (6, 0, 3):
        report = run(tree, parts, workers=1, shards=(begin, begin + 3))
        # Not in the card before it is whole.
        assert (parts / "README.md").exists() == report.is_complete == (begin == 3)
    whole = tmp_path / "whole"
    run(tree, whole, workers=3)
    assert files_of(parts) == files_of(whole) == files_of(prepared)  # which 2 worker processes made


def test_finished_shards_stay_and_the_others_are_made(prepared, tree, tmp_path):
    copy_of(prepared, tmp_path)
    paths = sorted(tmp_path.rglob("*.parquet"))
    paths[0].unlink()
    content = paths[1].read_bytes()
    paths[1].unlink()
    paths[1].write_bytes(content[: len(content) // 2])
    (tmp_path / "README.md").unlink()
    killed = paths[0].with_name(f".{paths[0].name}.a-host-123.tmp")
    killed.write_bytes(b"half")
    before = {path: path.stat().st_mtime_ns for path in paths[2:]}
    assert run(tree, tmp_path).made == 2
    assert {path: path.stat().st_mtime_ns for path in paths[2:]} == before
    assert files_of(tmp_path) == files_of(prepared)
    assert run(tree, tmp_path).made == 0


def test_shards_that_are_links_count_and_are_pushed(prepared, tree, tmp_path):
    """As in a snapshot in the cache of the Hub's client."""
    out, target = tmp_path / "out", tmp_path / "pushed"
    for name, content in files_of(prepared).items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        blob = tmp_path / "blobs" / name.replace("/", "-")
        blob.parent.mkdir(exist_ok=True)
        blob.write_bytes(content)
        (out / name).symlink_to(os.path.relpath(blob, (out / name).parent))
    before = files_of(out)
    report = run(tree, out)
    assert (report.to_make, report.is_complete) == (0, True)
    assert push(out, f"file://{target}").files_sent == 8
    assert files_of(out) == before
    assert shards_of(target) == shards_of(prepared)


def damaged_footer(content):
    """A file whose footer is as long as it says, and of which Arrow cannot make sense."""
    length = int.from_bytes(content[-8:-4], "little")
    return content[: -8 - length] + b"\x0e" * length + content[-8:]


def test_a_file_with_a_damaged_footer_is_made_again(prepared, tree, tmp_path):
    copy_of(prepared, tmp_path)
    path = sorted(tmp_path.rglob("*.parquet"))[3]
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(damaged_footer(content))
    with pytest.raises(OSError, match="thrift"):
        pq.read_metadata(path)
    assert run(tree, tmp_path).made == 1
    assert files_of(tmp_path) == files_of(prepared)


def test_other_options_or_clips_are_not_mixed_in(tree, tmp_path):
    run(tree, tmp_path, shards=(0, 1))
    for options in ({"encoding": Encoding(crf=30)}, {"seed": 1}, {"clips_per_shard": 2}, {"classes": ["zumba"]}):
        with pytest.raises(ValueError, match=r"has 1 shard of validation made from other clips or with other options"):
            run(tree, tmp_path, **options)
    assert run(tree, tmp_path, shards=(0, 2)).made == 1


def test_a_number_is_the_same_however_it_is_written(tree, tmp_path):
    """A command line gives 23 as 23.0, and the files of both are of one preparation."""
    run(tree, tmp_path, encoding=Encoding(preset="ultrafast", crf=23.0, max_fps=30.0), shards=(0, 1))
    assert run(tree, tmp_path, encoding=Encoding(preset="ultrafast", crf=23, max_fps=30), shards=(0, 1)).made == 0
