"""RangedFile: the bytes of the file whatever is read in which order, few requests, and servers that misbehave."""

import io
import random
import threading
import time

import pytest

from kinetics_tools.downloading.youtube.ranged_file import RangedFile
from kinetics_tools.errors import RemoteError
from kinetics_tools.io import RetryPolicy

BLOCK = 168 << 10
CONTENT = random.Random(0).randbytes(40 * BLOCK + 12_345)


class Server:
    """Answers as one, in this process; `faults` are what the next requests get instead of an answer."""

    def __init__(self, content=CONTENT, faults=()):
        self.content = content
        self.faults = list(faults)
        self.asked = []
        self.etag = '"1"'

    def __call__(self, first, last):
        self.asked.append((first, last))
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, Exception):
            raise fault
        if isinstance(fault, int):
            return fault, {}, b""
        body = self.content[first : last + 1]
        headers = {"Content-Range": f"bytes {first}-{first + len(body) - 1}/{len(self.content)}", "ETag": self.etag}
        return 206, headers | (fault or {}), body

    @property
    def sent(self):
        return sum(min(last + 1, len(self.content)) - first for first, last in self.asked)


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    monkeypatch.setattr(RangedFile, "policy", RetryPolicy(4, first_wait_seconds=0.001))


def test_any_order_of_reading_gives_the_bytes_of_the_file():
    rng = random.Random(1)
    file, model = RangedFile(Server(), name="abcdefghijk"), io.BytesIO(CONTENT)
    assert (file.size, file.name, file.seekable(), file.readable()) == (len(CONTENT), "abcdefghijk", True, True)
    for _ in range(300):
        whence = rng.choice([io.SEEK_SET, io.SEEK_CUR, io.SEEK_END])
        offset = rng.randrange(-3 * BLOCK, 3 * BLOCK) if whence else rng.randrange(len(CONTENT) + BLOCK)
        if whence != io.SEEK_CUR or model.tell() + offset >= 0:
            assert file.seek(offset, whence) == model.seek(offset, whence)
        count = rng.choice([1, 100, 32 << 10, BLOCK, 3 * BLOCK])
        expected, found = model.read(count), b""
        while len(found) < len(expected):
            found += file.read(len(expected) - len(found))
        assert found == expected
        assert file.tell() == model.tell()
    file.seek(0, io.SEEK_END)
    assert file.read(1) == b""


def test_each_block_is_asked_for_once():
    server = Server()
    file = io.BufferedReader(RangedFile(server, name="abcdefghijk"), 32 << 10)
    assert file.read() == CONTENT
    assert server.asked == [(start, start + BLOCK - 1) for start in range(0, len(CONTENT), BLOCK)]
    file.seek(10 * BLOCK)
    file.read(100)
    assert len(server.asked) == 41, "what was read is kept"


def test_a_little_here_and_there_costs_a_block_each():
    server = Server()
    file = RangedFile(server, name="abcdefghijk")
    for start in (39 * BLOCK, 3 * BLOCK + 5, 11 * BLOCK - 1):
        file.seek(start)
        assert file.read(1) == CONTENT[start : start + 1]
    assert server.sent == 4 * BLOCK


def test_only_the_last_16_mib_are_kept():
    content = bytes(40 << 20)
    server = Server(content)
    file = RangedFile(server, name="abcdefghijk")
    for start in range(0, len(content), BLOCK):
        file.seek(start)
        file.read(1)
        file.seek(0)
        file.read(1)
    assert file.cache.cache_info().currsize * BLOCK <= 16 << 20
    assert len([first for first, _ in server.asked if first == 0]) == 1, "what is used stays"


@pytest.mark.parametrize(
    "fault",
    [
        503,
        408,
        ConnectionError("hung up"),
        {"Content-Range": "bytes 0-9/100"},
        {"Content-Range": "nonsense"},
    ],
)
def test_what_may_pass_is_tried_again(fault):
    server = Server(faults=[fault, fault])
    assert RangedFile(server, name="abcdefghijk").read(5) == CONTENT[:5]
    assert server.asked == [(0, BLOCK - 1)] * 3


@pytest.mark.parametrize(
    ("fault", "tries", "words"),
    [
        (503, 1 + RangedFile.policy.retries, r"abcdefghijk: HTTP Error 503 \(bytes 0 to 172,031\)"),
        (403, 1, r"abcdefghijk: HTTP Error 403"),
        (404, 1, r"abcdefghijk: HTTP Error 404"),
        (429, 1, r"abcdefghijk: HTTP Error 429"),
        (200, 1, r"abcdefghijk: the server ignores Range"),
        (ConnectionError("hung up"), 1 + RangedFile.policy.retries, r"abcdefghijk: hung up"),
    ],
)
def test_what_does_not_pass_is_an_error_with_the_status(fault, tries, words):
    server = Server(faults=[fault] * 99)
    with pytest.raises(RemoteError, match=words) as caught:
        RangedFile(server, name="abcdefghijk")
    assert caught.value.status == (fault if isinstance(fault, int) else None)
    assert len(server.asked) == tries


def test_a_file_that_changes_is_an_error():
    server = Server()
    file = RangedFile(server, name="abcdefghijk")
    server.etag = '"2"'
    file.seek(5 * BLOCK)
    with pytest.raises(RemoteError, match="abcdefghijk: changed on the server while it was read"):
        file.read(1)


def test_stop_ends_the_waits(monkeypatch):
    monkeypatch.setattr(RangedFile, "policy", RetryPolicy(4, first_wait_seconds=60.0))
    stop = threading.Event()
    threading.Timer(0.1, stop.set).start()
    started = time.monotonic()
    with pytest.raises(RemoteError, match="HTTP Error 503"):
        RangedFile(Server(faults=[503] * 99), name="abcdefghijk", stop=stop)
    assert time.monotonic() - started < 10


def test_bytes_are_reported_as_they_come():
    server, counts = Server(), []
    file = RangedFile(server, name="abcdefghijk", on_bytes=counts.append)
    file.seek(-1, io.SEEK_END)
    file.read(1)
    assert counts == [BLOCK, 12_345]
