"""Mutated annotations, archives, predictions and ledgers; see `tests.support.fuzz`."""

import contextlib
import copy
import functools
import gzip
import io
import json
import math
import random
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kinetics_tools.annotations import read_annotations
from kinetics_tools.downloading import read_ledger
from kinetics_tools.errors import ArchiveError
from kinetics_tools.evaluation import read_predictions
from kinetics_tools.io import read_archive
from tests.support.mirror import annotation_csv
from tests.support.trees import CLIPS, json_entry

_BLOCK = 512
# What parsers of text, JSON and CSV trip over.
_TOKENS = [
    *b"\"{}[]:,;\\\n\r\0\t '-.0\x1b\xff\x80",
    *(
        b"null",
        b"true",
        b"NaN",
        b"1e999",
        b"-1",
        b"9" * 30,
        b"9" * 5000,
        b"0x10",
        b"1_0",
        b'""',
        b"[" * 2000,
        b"," * 500,
    ),
    *(
        b'{"a":' * 1500,
        b"\\ud800",
        b"\xed\xa0\x80",
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"label",
        b"youtube_id",
        b"time_start",
    ),
    *(
        b"segment",
        b"subset",
        b"scores",
        b"results",
        b"split",
        b"train",
        b"zumba",
        b"abseiling",
        b'"' * 3,
        b"x" * 70_000,
    ),
]


_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    1e39,
    math.inf,
    math.nan,
    10**400,
    "",
    "a",
    "\ud800",
    "\x1b[31m",
    "1_0",
    [],
    {},
]
_VALUES += [
    [[]],
    [1],
    [1, 2],
    [None, None],
    ["a", "b"],
    {"a": 1},
    {"label": []},
    {"segment": {}},
    {"class": 5},
    "x" * 70_000,
]


def _mutated(content: bytes, rng: random.Random) -> bytes:
    """Return a text with up to eight changes."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at, width = rng.randrange(len(data) + 1), rng.choice((1, 1, 4, 20, 100))
        change = rng.randrange(5)
        if change == 0 and at < len(data):
            data[at] = rng.randrange(256)
        elif change == 1:
            del data[at : at + width]
        elif change == 2:
            there = rng.randrange(len(data) + 1)
            data[there:there] = data[at : at + width]
        else:
            token = rng.choice(_TOKENS)
            data[at : at + (width if change == 3 else 0)] = token if isinstance(token, bytes) else bytes([token])
    return bytes(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.05 else data)


@functools.cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    # Not made at import: a fork of the process, such as one of another test, removes it when it ends.
    return tempfile.TemporaryDirectory(prefix="kinetics-fuzz-")


def _in_file(name: str, content: bytes) -> Path:
    path = Path(_directory().name, name)
    path.unlink(missing_ok=True)  # a file system may wait for the disk where a file is emptied and written again
    path.write_bytes(content)
    return path


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Check the message of ValueError: that it is one short line, and names the file."""
    try:
        yield
    except ValueError as error:
        text = str(error)
        assert text.startswith(f"{path}: "), text[:200]
        _check_line(text)
        raise


def _check_line(text: str) -> None:
    assert text.isprintable(), text[:200]
    assert len(text) < 1200, text[:200]


def _read_annotations(name: str, content: bytes) -> None:
    path = _in_file(name, content)
    with _named(path):
        read_annotations(path)


def _read_archive(content: bytes) -> None:
    for _ in read_archive(io.BufferedReader(io.BytesIO(content)), name="a.tar", on_refused=lambda *_: None):
        pass


def _read_ledger(content: bytes) -> None:
    path = _in_file("ledger.jsonl", content)
    for entry in read_ledger(path.parent).values():
        assert entry.error is None or isinstance(entry.error["class"] + entry.error["message"], str)


def _read_predictions(name: str, content: bytes) -> None:
    path = _in_file(name, content)
    with _named(path):
        best, bad = read_predictions(path, "400")
    assert all(0 <= label < 400 for labels in best.values() for label in labels)
    for one in bad:
        _check_line(one)


# Name of a target -> its reader, and the exception that the reader may raise.
TARGETS: dict[str, tuple[Callable[[bytes], Any], Any]] = {
    "annotations.csv": (functools.partial(_read_annotations, "a.csv"), ValueError),
    "annotations.json": (functools.partial(_read_annotations, "a.json"), ValueError),
    "archive": (_read_archive, ArchiveError),
    "ledger": (_read_ledger, ()),
    "predictions.json": (functools.partial(_read_predictions, "p.json"), ValueError),
    "predictions.csv": (functools.partial(_read_predictions, "p.csv"), ValueError),
    "predictions.parquet": (functools.partial(_read_predictions, "p.parquet"), ValueError),
}


def inputs(number: int) -> Iterator[tuple[str, bytes]]:
    """Yield each target with its mutated input of this number."""
    for target in TARGETS:
        rng = random.Random(f"{target} {number}")
        original = rng.choice(_originals()[target])
        if target == "archive":
            yield target, _mutated_archive(original, rng)
        elif target.endswith("json") and rng.random() < 0.5:
            yield target, _mutated_json(original, rng)
        else:
            yield target, _mutated(original, rng)


def _mutated_json(content: bytes, rng: random.Random) -> bytes:
    """Return valid JSON with another value in up to three places."""
    root = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        parent, key, value = [root], 0, root
        while isinstance(value, dict | list) and value and rng.random() < 0.9:
            parent, key = value, rng.choice(list(value) if isinstance(value, dict) else range(len(value)))
            value = parent[key]
        parent[key] = copy.deepcopy(rng.choice(_VALUES))  # or a later change would be in all that follow
    return json.dumps(root).encode()


def _mutated_archive(content: bytes, rng: random.Random) -> bytes:
    """Return an archive with changed fields of headers, most of them with a checksum that fits, or packed."""
    data = bytearray(content if rng.random() < 0.5 else _mutated(content, rng))
    headers = [at for at in range(0, len(data) - _BLOCK, _BLOCK) if data[at + 257 : at + 262] == b"ustar"]
    for at in rng.sample(headers, min(len(headers), rng.choice((1, 1, 2, 4)))):
        for _ in range(rng.choice((1, 1, 3))):
            # The name, the size, the type, and the numbers of sparse members.
            start, stop = rng.choice(((0, 100), (124, 136), (124, 136), (156, 157), (156, 157), (157, 257), (345, 512)))
            value = rng.choice(
                (rng.randbytes(12), b"\xff" * 12, b"\x80" + bytes(10) + b"\x7f", b"77777777777\0", b"S", b"x", b"g")
            )
            value = rng.choice((value, b"L", b"K", b"5", b"1"))[: stop - start]
            at_field = at + rng.randrange(start, stop - len(value) + 1)
            data[at_field : at_field + len(value)] = value
        if rng.random() < 0.8:
            data[at + 148 : at + 156] = b" " * 8
            data[at + 148 : at + 156] = b"%06o\0 " % (sum(data[at : at + _BLOCK]) & 0o777777)
    packed = gzip.compress(bytes(data), 1) if rng.random() < 0.2 else bytes(data)
    return _mutated(packed, rng) if rng.random() < 0.1 else packed


@functools.cache
def _originals() -> dict[str, list[bytes]]:
    clips = CLIPS["train"]
    rows = [clip.row for clip in clips]
    entries = {clip.youtube_id: json_entry(clip, "train") for clip in clips}
    scores = [{"label": clip.label, "score": 0.5} for clip in clips[:3]]
    submission = {"version": "1", "results": {clip.youtube_id: scores for clip in clips[:4]}, "external_data": {}}
    ledger = "".join(
        json.dumps({**one, "key": clip.stem, "split": "train"}) + "\n"
        for clip in clips
        for one in (
            {"source": "youtube", "status": "failed", "error": {"class": "a", "message": "b"}, "bytes": None},
            {"source": "a/b", "status": "complete", "bytes": 5, "sha256": "0" * 64, "duration": 10.0, "time": "t"},
        )
    )
    long = "youtube_id,time_start,time_end,label,score\n"
    long += "".join(f"{clip.youtube_id},{clip.time_start},{clip.time_end},{clip.label},0.5\n" for clip in clips)
    wide = ",".join(["youtube_id", *map(str, range(400))]) + "\n" + ",".join(["a" * 11, *["0.1"] * 400]) + "\n"
    table = pa.table({"youtube_id": ["a" * 11, "b" * 11], "scores": [[0.1] * 400, [0.2] * 400]})
    return {
        "annotations.csv": [
            annotation_csv(rows, "train"),
            annotation_csv([row[1:] for row in rows], "test", is_cc=True),
        ],
        "annotations.json": [json.dumps(entries).encode(), json.dumps(entries, indent=1).encode()],
        "archive": [_archive(format) for format in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)],
        "ledger": [ledger.encode()],
        "predictions.json": [json.dumps(submission).encode()],
        "predictions.csv": [long.encode(), wide.encode()],
        "predictions.parquet": [_parquet(table, compression="none"), _parquet(table, compression="snappy")],
    }


def _archive(format: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, size in (
            ("a.mp4", 700),
            ("b/c.txt", 10),
            (f"{'d' * (90 if format == tarfile.USTAR_FORMAT else 150)}.mp4", 3),
        ):
            info = tarfile.TarInfo(name)
            info.size = size
            if format == tarfile.PAX_FORMAT:
                info.pax_headers = {"comment": "é", "mtime": "1.5"}
            archive.addfile(info, io.BytesIO(bytes(size)))
        link = tarfile.TarInfo("e.mp4")
        link.type, link.linkname = tarfile.SYMTYPE, "a.mp4"
        archive.addfile(link)
    return buffer.getvalue()


def _parquet(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()
