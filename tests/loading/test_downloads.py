"""Loading the public archives without streaming: what is fetched, said and kept, and how it goes on."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest

from kinetics_tools.io import disk
from kinetics_tools.io.cache import DownloadCache
from tests.support import patience
from tests.support.fault_server import Fault, FaultServer
from tests.support.trees import CLIPS, Clip, load, noisy, rows, rows_of, write_public, write_tree

VAL = noisy(CLIPS["validation"], 40_000)
PART_1 = "/kinetics/700_2020/val/part_1.tar.gz"
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    patience.impatient(monkeypatch, 0.001)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "mirror").mkdir()
    write_public(tmp_path / "mirror", "700-2020", {"validation": VAL})
    return tmp_path / "mirror"


@pytest.fixture
def mirror(root):
    with FaultServer(root) as mirror:
        yield mirror


def build(mirror, **options):
    options = {"splits": ["validation"], "split": "validation", "mirror": mirror.url, **options}
    return load("700-2020", **options)


def contents(folder):
    """Return the files in a folder, without the locks of the library."""
    return sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")


def archives(root):
    return sorted(path.read_bytes() for path in root.rglob("part_*"))


# ---- What is kept


def test_archives_stay_in_the_download_cache_as_they_are(mirror, root, hf_cache):
    assert rows(build(mirror)) == rows_of(VAL)
    annotations = (root / "kinetics/700_2020/annotations/val.csv").read_bytes()
    assert contents(hf_cache / "downloads") == sorted([*archives(root), annotations])


def test_another_load_fetches_nothing_again(mirror):
    build(mirror)
    mirror.clear(log=True)
    assert rows(build(mirror)) == rows_of(VAL)
    assert mirror.requests == []
    # Another selection is another build, of the same archives.
    zumba = [clip for clip in VAL if clip.label == "zumba"]
    assert rows(build(mirror, classes=["zumba"])) == rows_of(zumba)
    assert not mirror.count("*/part_*", "GET")


def test_a_failed_build_costs_no_archive(mirror, root):
    clip = Clip("zumba", "absentabsen", 1, 11)
    rows_of_csv = (root / "kinetics/700_2020/annotations/val.csv").read_text()
    (root / "kinetics/700_2020/annotations/val.csv").write_text(rows_of_csv + "zumba,absentabsen,1,11,val\n")
    with pytest.raises(FileNotFoundError, match=f"missing: {clip.stem}"):
        build(mirror, on_missing="raise")
    assert mirror.count("*/part_*", "GET") == 2
    mirror.clear(log=True)
    assert rows(build(mirror)) == rows_of(VAL)
    assert not mirror.count("*/part_*", "GET")


def test_force_redownload_fetches_again(mirror, root):
    build(mirror)
    better = noisy(CLIPS["validation"], 100)
    write_public(root, "700-2020", {"validation": better})
    assert rows(build(mirror)) == rows_of(VAL)
    assert rows(build(mirror, download_mode="force_redownload")) == rows_of(better)


def test_a_cache_dir_takes_the_archives_and_the_dataset(mirror, tmp_path, root, hf_cache):
    ds = build(mirror, cache_dir=str(tmp_path / "roomy"))
    assert rows(ds) == rows_of(VAL)
    held = contents(tmp_path / "roomy")
    assert all(archive in held for archive in archives(root))
    assert all(Path(file["filename"]).is_relative_to(tmp_path / "roomy") for file in ds.cache_files)
    assert not hf_cache.exists() or contents(hf_cache) == []


def test_two_processes_build_the_same(mirror):
    assert rows(build(mirror, num_proc=2)) == rows_of(VAL)
    assert mirror.count("*/part_*", "GET") == 2


# ---- What is said before it starts


@pytest.fixture
def big(root):
    """The archives claim 3 and 4.5 GB; holes take no room."""
    for name, size in (("part_0.tar.gz", 3_000_000_000), ("part_1.tar.gz", 4_500_000_000)):
        os.truncate(root / "kinetics/700_2020/val" / name, size)


def test_too_little_room_is_an_error_before_anything_is_fetched(mirror, big, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(20 * 10**9, 10 * 10**9, 10 * 10**9))
    with pytest.raises(OSError, match=r"15\.00 GB are needed and 10\.00 GB are free") as caught:
        build(mirror)
    for way_out in ("splits=", "classes=", "cache_dir=", "streaming=True"):
        assert way_out in str(caught.value)
    assert not mirror.count("*/part_*", "GET")


def test_bytes_and_room_are_said(mirror, big, monkeypatch, caplog, hf_cache):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(20 * 10**9, 10 * 10**9, 10 * 10**9))
    with pytest.raises(OSError, match="GB are needed"):
        build(mirror)
    (line,) = [record.getMessage() for record in caplog.records if "archives of" in record.getMessage()]
    assert "kinetics 700-2020 (validation): 2 archives of 7.50 GB, 7.50 GB of them to download" in line
    assert "10.00 GB are free" in line
    assert str(hf_cache) in line


def test_what_is_in_the_cache_already_is_not_counted_as_to_download(mirror, caplog):
    build(mirror)
    caplog.clear()
    build(mirror, classes=["zumba"])
    (line,) = [record.getMessage() for record in caplog.records if "archives of" in record.getMessage()]
    assert re.search(r"2 archives of .* kB, 0 B of them to download", line)


def test_what_a_partial_download_holds_is_not_counted_as_to_download(mirror, big, monkeypatch, caplog, hf_cache):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(20 * 10**9, 10 * 10**9, 10 * 10**9))
    partial = Path(DownloadCache(str(hf_cache / "downloads")).path(mirror.url_of(PART_1)) + ".incomplete")
    partial.parent.mkdir(parents=True)
    partial.touch()
    os.truncate(partial, 4_000_000_000)
    with pytest.raises(OSError, match=r"11\.00 GB are needed and 10\.00 GB are free"):
        build(mirror)
    assert "2 archives of 7.50 GB, 3.50 GB of them to download" in caplog.text


def test_the_disks_of_the_archives_and_of_the_dataset_are_looked_at_apart(mirror, big, monkeypatch, tmp_path, hf_cache):
    def on_disks(downloads, dataset):
        free = {True: downloads * 10**9, False: dataset * 10**9}
        usage = lambda path: Usage(0, 0, free[str(path).endswith("downloads")])  # noqa: E731
        monkeypatch.setattr(shutil, "disk_usage", usage)
        monkeypatch.setattr(disk, "_device", lambda path: str(path).endswith("downloads"))

    on_disks(downloads=10, dataset=5)
    with pytest.raises(OSError, match=r"7\.50 GB are needed and 5\.00 GB are free in .*incomplete"):
        build(mirror)
    on_disks(downloads=5, dataset=10)
    with pytest.raises(OSError, match=r"7\.50 GB are needed and 5\.00 GB are free in .*downloads"):
        build(mirror)


def test_archives_that_are_there_need_room_for_the_dataset(tmp_path, monkeypatch):
    write_tree(tmp_path, ".tar", clips={"validation": VAL})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**6, 10**6, 100_000))
    with pytest.raises(OSError, match=r"\d+ kB are needed and 100 kB are free in .*streaming=True"):
        load(data_dir=str(tmp_path))
    # How much of them a selection takes shows when they are read.
    zumba = [clip for clip in VAL if clip.label == "zumba"]
    assert rows(load(data_dir=str(tmp_path), split="validation", classes=["zumba"])) == rows_of(zumba)


def test_a_server_that_tells_no_sizes_stops_nothing_and_is_named(mirror, caplog):
    mirror.add(Fault("chunked"), Fault("status", method="HEAD", code=405))
    assert rows(build(mirror)) == rows_of(VAL)
    assert "2 archives of 0 B (2 of unknown size)" in caplog.text


# ---- How it goes on


def test_a_download_that_broke_goes_on_at_its_byte(mirror, hf_cache):
    mirror.add(Fault("cut", "*/part_1*", at=60_000))
    with pytest.raises(OSError, match=r"part_1\.tar\.gz: .* at byte 60,000 of .*rerun the same command"):
        build(mirror)
    mirror.clear(log=True)
    assert rows(build(mirror)) == rows_of(VAL)
    assert [request.range for request in mirror.matching("*/part_*", "GET")] == ["bytes=60000-"]
    assert not list(hf_cache.rglob("*.incomplete"))


def test_a_download_of_a_file_that_changed_since_begins_anew(mirror, root):
    mirror.add(Fault("cut", "*/part_1*", at=60_000))
    with pytest.raises(OSError, match="rerun the same command"):
        build(mirror)
    mirror.clear()
    better = [*VAL[:3], *noisy(VAL[3:], 39_000)]
    better[4] = Clip(*better[4].row, content=b"another")
    write_public(root, "700-2020", {"validation": better})
    assert rows(build(mirror)) == rows_of(better)


def test_an_archive_that_shrank_below_what_was_fetched_begins_anew(mirror, root):
    mirror.add(Fault("cut", "*/part_1*", at=190_000))
    with pytest.raises(OSError, match="rerun the same command"):
        build(mirror)
    mirror.clear()
    small = [*VAL[:3], *noisy(VAL[3:], 100)]
    write_public(root, "700-2020", {"validation": small})
    assert rows(build(mirror)) == rows_of(small)


def test_a_short_body_is_fetched_to_its_end(mirror):
    mirror.add(Fault("cut", "*/part_*", at=30_000, times=1, per_path=True, reset=True))
    assert rows(build(mirror)) == rows_of(VAL)


def test_a_killed_download_goes_on_at_its_byte(mirror, root, tmp_path):
    clips = noisy(VAL, 600_000)
    write_public(root, "700-2020", {"validation": clips})
    mirror.add(Fault("stall", "*/part_1*", at=2_500_000, seconds=60))
    code = f"""
import datasets, kinetics
options = {{"splits": ["validation"], "mirror": {mirror.url!r}, "cache_dir": {str(tmp_path / "cache")!r}}}
datasets.load_dataset("kinetics", "700-2020", decode=False, **options)
"""
    downloads = tmp_path / "cache" / "downloads"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            # One is there and the other hangs; what it has goes to the disk in blocks.
            halves = [file.stat().st_size for file in downloads.glob("*.incomplete")]
            wholes = [file for file in downloads.glob("*") if not file.suffix and file.stat().st_size > 1_000_000]
            if len(wholes) == 1 and len(halves) == 1 and halves[0] > 1_000_000:
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    (half,) = downloads.glob("*.incomplete")
    size = half.stat().st_size
    assert size > 1_000_000
    mirror.clear(log=True)
    assert rows(build(mirror, cache_dir=str(tmp_path / "cache"))) == rows_of(clips)
    assert [request.range for request in mirror.matching("*/part_*", "GET")] == [f"bytes={size}-"]


def test_a_corrupt_archive_in_the_cache_is_named_and_fetched_again(mirror, hf_cache, caplog):
    build(mirror)
    content = (mirror.root / PART_1[1:]).read_bytes()
    (path,) = [path for path in hf_cache.rglob("*") if path.is_file() and path.read_bytes() == content]
    path.write_bytes(path.read_bytes()[:100_000])
    mirror.clear(log=True)
    zumba = [clip for clip in VAL if clip.label == "zumba"]
    assert rows(build(mirror, classes=["zumba"])) == rows_of(zumba)
    assert mirror.count("*/part_0*", "GET") == 0
    assert mirror.count("*/part_1*", "GET") == 1
    assert f"part_1.tar.gz ({path}): the archive is truncated or corrupt" in caplog.text
    assert path.read_bytes() == content


def test_an_archive_that_is_absent_is_an_error_that_names_it_and_keeps_the_others(mirror):
    mirror.add(Fault("status", "*/part_1*", code=404))
    with pytest.raises(FileNotFoundError, match=r"part_1\.tar\.gz: HTTP 404"):
        build(mirror)
    mirror.clear(log=True)
    assert rows(build(mirror)) == rows_of(VAL)
    assert mirror.count("*/part_1*", "GET") == 1
