"""Tarballs of annotations that are far larger than they look."""

import gzip
import tarfile
import tracemalloc

import pytest

from kinetics_tools.annotations import annotation_file
from kinetics_tools.errors import ArchiveError
from tests.support.mirror import annotation_csv, tar_gz
from tests.support.trees import CLIPS

CSV = annotation_csv([clip.row for clip in CLIPS["train"]], "train")


def header(name, size):
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf()


def test_the_csv_of_a_split_is_found_by_its_name(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(tar_gz({"k/test.csv": b"x", "k/train.json": b"x", "k/train.csv": CSV}))
    path = annotation_file("700", "train", annotations=f"{tmp_path}/a.tar.gz")
    with open(path, "rb") as file:
        assert file.read() == CSV


@pytest.mark.parametrize("claimed", [(256 << 20) + 1, 1 << 40])
def test_a_csv_that_claims_more_than_any_is_refused(tmp_path, claimed, caplog):
    content = header("train.csv", claimed) + bytes(64 << 20)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(content, 1))
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match=r"a\.tar\.gz: the archive is truncated or corrupt"):
            annotation_file("700", "train", annotations=f"{tmp_path}/a.tar.gz")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()
    assert f"refused member 'train.csv': it claims {claimed:,} bytes" in caplog.text


def test_members_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("kinetics_tools.io.tar._MAX_OVERHEAD_BYTES", 512 * 1000)
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(header("a.txt", 0) * 2000, 1))
    with pytest.raises(ArchiveError, match="far more than its clips need"):
        annotation_file("700", "train", annotations=f"{tmp_path}/a.tar.gz")
