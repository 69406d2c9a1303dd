"""The ledger: whole lines or none, whatever happens to those who write them."""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections import Counter

import pytest

from kinetics_tools.downloading import Entry, Ledger, read_ledger

KEY = "abcdefghijk_000010_000020"
ENTRY = Entry(KEY, "train", "youtube", "complete", bytes=5, sha256="0" * 64, duration=10.0)
ARCHIVE = Entry("kinetics/400/train/part_0.tar.gz", "train", "archives", "failed", error={"class": "a", "message": "b"})


def lines(directory):
    return (directory / "ledger.jsonl").read_bytes().splitlines(keepends=True)


def test_what_is_appended_is_read(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.append(ENTRY)
        ledger.append(ARCHIVE)
    assert read_ledger(tmp_path) == {("train", KEY): ENTRY, ("train", ARCHIVE.key): ARCHIVE}


def test_a_line_is_json_with_all_that_was_asked_for(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.append(ENTRY)
    line = json.loads(lines(tmp_path)[0])
    time = line.pop("time")
    assert len(time) == len("2025-01-31T12:00:00Z")
    assert line == {
        "key": KEY,
        "split": "train",
        "source": "youtube",
        "status": "complete",
        "bytes": 5,
        "sha256": "0" * 64,
        "duration": 10.0,
        "error": None,
    }


def test_a_line_is_in_the_file_as_soon_as_it_is_appended(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.append(ENTRY)
        assert read_ledger(tmp_path) == {("train", KEY): ENTRY}


def test_the_last_line_of_a_split_and_key_counts(tmp_path):
    first, other = Entry(KEY, "train", "youtube", "failed"), Entry(KEY, "test", "youtube", "failed")
    with Ledger(tmp_path) as ledger:
        for entry in (first, other, ENTRY):
            ledger.append(entry)
    assert read_ledger(tmp_path) == {("train", KEY): ENTRY, ("test", KEY): other}
    assert len(lines(tmp_path)) == 3


def test_no_ledger_is_an_empty_one(tmp_path):
    assert read_ledger(tmp_path) == {}
    Ledger(tmp_path).close()
    assert read_ledger(tmp_path) == {}


def test_names_of_any_bytes_are_one_line(tmp_path):
    entry = Entry("kinetics/a.tar!x\n\udcff\u2028é", "train", "archives", "refused")
    with Ledger(tmp_path) as ledger:
        ledger.append(entry)
    assert len(lines(tmp_path)) == 1
    assert [*read_ledger(tmp_path).values()] == [entry]


@pytest.mark.parametrize("left", [1, 2, 50, -2])
def test_a_torn_last_line_does_not_count_and_the_next_is_not_glued_to_it(tmp_path, left, caplog):
    with Ledger(tmp_path) as ledger:
        ledger.append(ENTRY)
    whole = lines(tmp_path)[0]
    torn = whole.replace(b"abcdefghijk", b"ABCDEFGHIJK")[:left]
    (tmp_path / "ledger.jsonl").write_bytes(whole + torn)
    assert read_ledger(tmp_path) == {("train", KEY): ENTRY}
    assert caplog.records == []
    with Ledger(tmp_path) as ledger:
        ledger.append(ARCHIVE)
    assert lines(tmp_path)[0] == whole
    assert [*read_ledger(tmp_path).values()] == [ENTRY, ARCHIVE]


@pytest.mark.parametrize("torn", [b"{", b"x" * 200_000, b"\0" * 70_000])
def test_a_torn_line_alone_and_a_long_one(tmp_path, torn):
    (tmp_path / "ledger.jsonl").write_bytes(torn)
    assert read_ledger(tmp_path) == {}
    with Ledger(tmp_path) as ledger:
        ledger.append(ENTRY)
    assert len(lines(tmp_path)) == 1


@pytest.mark.parametrize(
    "bad", [b"nonsense", b"[1]", b"17", b'{"key": "a"}', b'{"key": 1, "split": 2, "source": 3, "status": 4}', b"\xff"]
)
def test_a_line_in_the_middle_that_is_no_entry_is_named_and_does_not_count(tmp_path, bad, caplog):
    with Ledger(tmp_path) as ledger:
        ledger.append(ENTRY)
    (tmp_path / "ledger.jsonl").write_bytes(lines(tmp_path)[0] + bad + b"\n" + lines(tmp_path)[0])
    assert [*read_ledger(tmp_path).values()] == [ENTRY]
    assert "1 line is not a valid entry and is ignored: line 2 (" in caplog.text


def test_fields_of_a_newer_version_are_passed_over(tmp_path):
    line = {"key": KEY, "split": "train", "source": "youtube", "status": "complete", "colour": "blue"}
    (tmp_path / "ledger.jsonl").write_text(json.dumps(line) + "\n")
    assert read_ledger(tmp_path)["train", KEY].status == "complete"


def test_threads_do_not_mix_their_lines(tmp_path):
    def write(thread):
        for number in range(300):
            ledger.append(Entry(f"{thread}-{number}", "train", "youtube", "complete", sha256="f" * 64))

    with Ledger(tmp_path) as ledger:
        threads = [threading.Thread(target=write, args=[name]) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert Counter(key.split("-")[0] for _, key in read_ledger(tmp_path)) == {str(name): 300 for name in range(8)}
    assert len(lines(tmp_path)) == 8 * 300


WRITER = """
import sys
from kinetics_tools.downloading import Entry, Ledger
with Ledger(sys.argv[1]) as ledger:
    print("begun", flush=True)
    for number in range(10_000_000):
        ledger.append(Entry(str(number), "train", "youtube", "complete", sha256="f" * 64))
"""


def test_a_kill_leaves_whole_lines(tmp_path):
    for _ in range(2):
        with subprocess.Popen([sys.executable, "-c", WRITER, tmp_path], stdout=subprocess.PIPE) as process:
            process.stdout.readline()
            while (tmp_path / "ledger.jsonl").stat().st_size < 200_000:
                pass
            os.kill(process.pid, signal.SIGKILL)
        entries = read_ledger(tmp_path)
        assert [int(key) for _, key in entries] == [*range(len(entries))]
        assert len(entries) > 500


def test_a_full_disk_is_an_error_and_leaves_no_part_of_the_line(tmp_path):
    # A limit of this process on the size of a file: the kernel then writes a part of the line, as on a full disk. The
    # signal that comes with it Python ignores.
    with Ledger(tmp_path) as ledger:
        ledger.append(ENTRY)
        size = (tmp_path / "ledger.jsonl").stat().st_size
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large"):
                ledger.append(ARCHIVE)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert len(lines(tmp_path)) == 1
        ledger.append(ARCHIVE)
    assert [*read_ledger(tmp_path).values()] == [ENTRY, ARCHIVE]


def test_after_close_nothing_is_written(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.close()
    ledger.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        ledger.append(ENTRY)
