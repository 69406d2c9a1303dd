"""Parquet files of shards: row groups and footers."""

import errno
import io
import random

import pyarrow.parquet as pq
import pytest

from kinetics_tools.preparation import parquet, read_report

REST = {"label": 0, "youtube_id": "abcdefghijk", "time_start": 0.0, "time_end": 10.0, "duration": 10.0, "fps": 25.0}
REST |= {"num_frames": 250, "width": 340, "height": 256, "has_audio": True}


def test_row_groups_are_cut_by_size(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_ROW_GROUP_BYTES", 1000)
    features = parquet.prepared_features("700")
    with open(tmp_path / "x.parquet", "wb") as file, parquet.ShardWriter(file, features) as writer:
        contents = [random.randbytes(size) for size in (400, 600, 1, 5000, 300)]
        for content in contents:
            writer.add({"video": {"bytes": content, "path": "x.mp4"}, **REST})
    file = pq.ParquetFile(tmp_path / "x.parquet")
    assert [video["bytes"] for video in file.read(["video"])["video"].to_pylist()] == contents
    metadata = file.metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [2, 1, 1, 1]


def test_a_file_that_cannot_be_read_is_not_taken_for_a_damaged_one(tmp_path):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError("the store is busy")

    with pytest.raises(OSError, match="the store is busy"):
        read_report(Broken(bytes(1000)))


@pytest.mark.parametrize("room", [0, 100_000, 2_500_000, 3_000_100])
def test_a_failed_write_raises_its_error_wherever_arrow_makes_it(room):
    """Arrow aborts the process if a write fails within content-defined chunks, as on a disk that fills up."""

    class SmallDisk(io.BytesIO):
        def write(self, data):
            if self.tell() + len(data) > room:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)

    def write():
        with parquet.ShardWriter(SmallDisk(), parquet.prepared_features("700")) as writer:
            for _ in range(3):
                writer.add({"video": {"bytes": random.randbytes(1_000_000), "path": "x.mp4"}, **REST})

    with pytest.raises(OSError, match="No space left on device"):
        write()
