"""Lines of JSON from outside: what is not valid is skipped and counted, and nothing else comes out."""

import json
import os

import pytest

from kinetics_tools.downloading import Entry, Ledger, read_ledger
from kinetics_tools.io import PartialFile, read_json_lines
from kinetics_tools.io.json_shape import check_shape
from kinetics_tools.probing import FileProber, ProbeCache, ProbeTable, file_state
from kinetics_tools.probing.cache import _HEADER
from kinetics_tools.publication.digests import _parse as parse_digest

NESTED = "[" * 100_000
VALUES = [NESTED, "1" * 5000, "null", "[]", "{}", '"a"', "[1,2]", "[[]]", '{"key": []}', "1e999", "[[],1,2,true,[]]"]
VALUES += [
    '{"key": "a", "split": "b", "source": "c", "status": "d", "error": "gone"}',
    '["a", 1, 2, true, [1,2,3,4,5]]',
]
VALUES += [
    '["a", 1, 2, true, [1, "b", [1], null, null]]',
    '["a", 1, 2, true, {"m": 1}]',
    '["a", {}, 1, 2, 3]',
    "\ud800",
]


@pytest.fixture
def hostile(tmp_path):
    path = tmp_path / "ledger.jsonl"
    path.write_bytes("".join(f"{one}\n" for one in VALUES).encode("utf-8", "surrogatepass"))
    return path


def test_no_line_ends_the_reading(hostile):
    invalid = []
    found = read_json_lines(
        hostile, lambda value: check_shape(value, [int]), on_invalid=lambda *one: invalid.append(one)
    )
    assert list(found) == [[], [1, 2]]
    assert [number for number, _ in invalid] == [
        n for n in range(1, len(VALUES) + 1) if VALUES[n - 1] not in ("[]", "[1,2]")
    ]


def test_a_ledger_of_anything_is_read_with_one_warning(hostile, tmp_path, caplog):
    entry = Entry("abcdefghijk_000010_000020", "train", "youtube", "complete", bytes=5)
    with Ledger(tmp_path) as ledger:
        ledger.append(entry)
    assert list(read_ledger(tmp_path).values()) == [entry]
    (record,) = caplog.records
    assert (
        f"{len(VALUES)} lines are not valid entries and are ignored: line 1 (nested too deeply), ..." in record.message
    )


def test_caches_of_anything_are_read(hostile, tmp_path):
    assert list(read_json_lines(hostile, parse_digest)) == []
    hostile.write_bytes(json.dumps(_HEADER).encode() + b"\n" + hostile.read_bytes())
    (tmp_path / "a.mp4").write_bytes(b"no clip")  # seven bytes
    state = file_state(tmp_path / "a.mp4")
    facts = [1.0, 2.0, 3, 4, 5, True, "h264"]
    wrong = [[*facts, 1], facts[1:], ["x", *facts[1:]], [*facts[:-1], ["h264"]], [*facts[:2], 1 << 40, *facts[3:]]]
    probes = [[], [1], [None] * 5, [7, "x", None, "error", None], [7, "", None, 5, None], [7, "ab", facts, 5, None]]
    probes += [[7, "ab", one, None, None] for one in wrong]
    lines = [["a.mp4", *state, False, probe] for probe in probes]
    hostile.write_bytes(hostile.read_bytes() + b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    opened, table = [], ProbeTable()
    with ProbeCache(hostile) as cache:
        FileProber(str(tmp_path), table, cache, workers=1).add(["a.mp4"], lambda count: None, opened.append)
        assert (opened, cache.archives(deep=False)) == ([0], {})
    assert table[0].error == "Invalid data found when processing input"


@pytest.mark.parametrize("tag", VALUES)
def test_a_partial_file_with_any_tag_is_begun_again(tmp_path, tag):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a.etag").write_bytes(tag.encode("utf-8", "surrogatepass"))
    with PartialFile("http://127.0.0.1:9/", tmp_path / "a") as file:
        assert (file.size, file.skip_held()) == (None, 0)


def test_lines_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("kinetics_tools.io.jsonl._MAX_LINE_BYTES", 100)
    (tmp_path / "log").write_text("1\n" + "[" + " " * 1000 + "]\n2\n" + "3" * 99 + "\n" + "4" * 1000)
    invalid = []
    found = list(read_json_lines(tmp_path / "log", int, on_invalid=lambda *one: invalid.append(one)))
    assert found == [1, 2, int("3" * 99)]
    assert [(number, str(error)) for number, error in invalid] == [(2, "longer than 100 bytes")]


def test_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "ledger.jsonl")
    assert read_ledger(tmp_path) == {}
    with pytest.raises(OSError, match=r"not a regular file: .*ledger\.jsonl"):
        Ledger(tmp_path)
