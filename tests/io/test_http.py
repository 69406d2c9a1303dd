"""HttpFile against a server that drops connections, refuses, stalls, lies and changes."""

import contextlib
import errno
import io
import logging
import random
import socket
import ssl
import threading
import urllib.error
import urllib.request
from email.utils import formatdate

import pytest

from kinetics_tools.io import http
from kinetics_tools.io.http import HttpFile
from kinetics_tools.io.retry import RetryPolicy
from tests.support.fault_server import Fault, FaultServer

SIZE = 300_000
DATA = random.Random(0).randbytes(SIZE)
NAME = "/a folder/it's 50% (x) + ü.tar.gz"


@pytest.fixture
def mirror(tmp_path):
    path = tmp_path / NAME[1:]
    path.parent.mkdir()
    path.write_bytes(DATA)
    path.with_name("other").write_bytes(DATA[::-1][:-5])
    (tmp_path / "empty").write_bytes(b"")
    with FaultServer(tmp_path) as mirror:
        yield mirror


@pytest.fixture(autouse=True)
def waits(monkeypatch):
    """The waits that were asked for, none of which is waited."""
    asked = []
    monkeypatch.setattr(http.time, "sleep", asked.append)
    return asked


def read(mirror, block=None, **options):
    with HttpFile(mirror.url_of(NAME), **options) as file:
        if block is None:
            return file.read()
        return b"".join(iter(lambda: file.read(block), b""))


def ranges(mirror):
    return [request.range for request in mirror.requests]


# ---- A server that behaves


@pytest.mark.parametrize("block", [None, 1000, 65536, SIZE, 10 * SIZE])
def test_a_whole_file_in_one_request(mirror, block):
    assert read(mirror, block) == DATA
    assert [(request.method, request.range) for request in mirror.requests] == [("GET", None)]


def test_size_position_and_end(mirror):
    with HttpFile(mirror.url_of(NAME)) as file:
        assert file.size == SIZE
        assert file.readable()
        assert file.tell() == 0
        assert len(file.read(100)) == file.tell() == 100
        assert file.read() == DATA[100:]
        assert file.read(10) == b""
        assert file.tell() == SIZE
    assert file.closed


def test_small_reads_through_a_buffer(mirror):
    with io.BufferedReader(HttpFile(mirror.url_of(NAME))) as file:
        assert file.peek(2)[:2] == DATA[:2]
        assert b"".join(iter(lambda: file.read(777), b"")) == DATA


def test_an_empty_file(mirror):
    with HttpFile(mirror.url_of("/empty")) as file:
        assert (file.size, file.read()) == (0, b"")


def test_a_start_inside_the_file_is_a_range(mirror):
    assert read(mirror, start=1234) == DATA[1234:]
    assert ranges(mirror) == ["bytes=1234-"]


def test_a_start_with_the_tag_of_another_file_is_a_change(mirror):
    with pytest.raises(OSError, match="changed on the server"):
        HttpFile(mirror.url_of(NAME), start=1234, etag='"older"')


def test_a_start_beyond_the_end_is_a_change(mirror):
    with pytest.raises(OSError, match="416"):
        HttpFile(mirror.url_of(NAME), start=SIZE + 1)


# ---- Dropped connections


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("at", [0, 1, 2, 100, 65536, SIZE - 1])
def test_a_dropped_connection_goes_on_at_the_byte_where_it_stopped(mirror, at, reset):
    mirror.add(Fault("cut", at=at, reset=reset, times=1))
    assert read(mirror, 50_000) == DATA
    first, second = ranges(mirror)
    assert first is None
    # After RST the client may not get what was still on its way.
    assert second == (f"bytes={at}-" if at else None) or reset


@pytest.mark.parametrize("reset", [False, True])
def test_many_drops_in_one_file(mirror, reset):
    mirror.add(*(Fault("cut", at=at, reset=reset, times=1) for at in range(10_000, SIZE, 10_000)))
    assert read(mirror, 4096) == DATA
    assert len(mirror.requests) >= 30


def test_drops_do_not_add_up_while_bytes_come(mirror):
    mirror.add(Fault("cut", at=7000, relative=True))  # each response ends after 7,000 bytes
    assert read(mirror) == DATA
    assert len(mirror.requests) == -(-SIZE // 7000)


def test_without_range_on_the_server_what_was_there_is_skipped(mirror):
    mirror.add(Fault("cut", at=100_000, times=1), Fault("ignore_range"))
    assert read(mirror) == DATA
    assert ranges(mirror) == [None, "bytes=100000-"]


def test_drops_while_skipping_without_range(mirror):
    mirror.add(
        Fault("ignore_range"),
        Fault("cut", at=100_000, times=1),
        Fault("cut", at=50_000, skip=1, times=1),
        Fault("cut", at=200_000, times=1),
    )
    assert read(mirror) == DATA


def test_a_stalled_connection_is_given_up_and_gone_on_with(mirror, monkeypatch):
    monkeypatch.setattr(HttpFile, "timeout_seconds", 0.3)
    mirror.add(Fault("stall", at=150_000, times=1))
    assert read(mirror) == DATA
    first, second, *_ = ranges(mirror)  # a slow machine may ask more often
    assert first is None
    # What came within an unfinished read may be asked for again.
    assert second is None or int(second.removeprefix("bytes=").removesuffix("-")) <= 150_000


def test_a_server_that_is_gone_is_a_connection_error_that_names_byte_tries_and_what_to_do(mirror):
    mirror.add(Fault("cut", at=123_456))
    with pytest.raises(ConnectionError, match="123,456 of 300,000") as caught:
        read(mirror)
    message = str(caught.value)
    assert message.startswith(mirror.url_of(NAME))
    assert "rerun the same command" in message
    assert f"after {HttpFile.policy.retries + 1} attempts" in message
    assert len(mirror.requests) == HttpFile.policy.retries + 1


def test_nobody_at_the_address_is_a_connection_error(waits):
    message = r"^http://127\.0\.0\.1:9/x: .*refused, after 3 attempts; check your network connection"
    with pytest.raises(ConnectionError, match=message):
        HttpFile("http://127.0.0.1:9/x")
    assert len(waits) == 2


def test_an_unknown_host_is_given_up_as_soon(waits, monkeypatch):
    def unknown(*args, **options):
        raise urllib.error.URLError(socket.gaierror(-2, "Name or service not known"))

    monkeypatch.setattr(http, "_urlopen", unknown)
    with pytest.raises(ConnectionError, match=r"^http://nowhere\.invalid/x: .*not known, after 3 attempts"):
        HttpFile("http://nowhere.invalid/x")
    assert len(waits) == 2


def test_no_route_is_given_up_as_soon(waits, monkeypatch):
    def unreachable(*args, **options):
        raise urllib.error.URLError(OSError(errno.ENETUNREACH, "Network is unreachable"))

    monkeypatch.setattr(http, "_urlopen", unreachable)
    with pytest.raises(ConnectionError, match=r"Network is unreachable, after 3 attempts"):
        HttpFile("http://127.0.0.1:9/x")
    assert sum(waits) < 10


@pytest.fixture
def clock(monkeypatch, waits):
    """Time that passes in waits alone."""
    monkeypatch.setattr(http, "_hosts_that_answered", set())
    monkeypatch.setattr(http.time, "monotonic", lambda: sum(waits))


@contextlib.contextmanager
def listening(backlog):
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(backlog)
        yield server.getsockname()


def test_a_host_that_drops_packets_is_given_up_after_one_attempt(monkeypatch, waits):
    """As a firewall does: with a full queue, the kernel answers no further request for a connection."""
    monkeypatch.setattr(http, "_CONNECT_SECONDS", 0.2)
    monkeypatch.setattr(HttpFile, "unreachable_seconds", 0.2)
    message = r"x: no connection within 0 s, after 1 attempt; check your network"
    with listening(0) as address, socket.create_connection(address), pytest.raises(ConnectionError, match=message):
        HttpFile("http://127.0.0.1:{1}/x".format(*address))
    assert waits == []


def test_a_server_that_takes_connections_and_never_answers_is_given_up_after_a_minute(monkeypatch, clock, waits):
    monkeypatch.setattr(HttpFile, "timeout_seconds", 0.01)
    monkeypatch.setattr(HttpFile, "policy", RetryPolicy(retries=10**6, first_wait_seconds=20.0))
    with listening(99) as address, pytest.raises(ConnectionError, match=r"x: timed out, after \d attempts; check your"):
        HttpFile("http://127.0.0.1:{1}/x".format(*address))
    assert 60 < sum(waits) < 60 + 1.5 * 60


def test_a_server_that_takes_connections_and_answers_late_is_read(monkeypatch, clock):
    """It is slower than the limit for a host that is not there."""
    monkeypatch.setattr(HttpFile, "timeout_seconds", 0.2)
    monkeypatch.setattr(HttpFile, "unreachable_seconds", 0.0)

    def answer(server):
        with server.accept()[0], server.accept()[0] as connection:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nclip")

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer, args=[server])
        thread.start()
        with HttpFile("http://127.0.0.1:{1}/x".format(*server.getsockname())) as file:
            assert file.read() == b"clip"
        thread.join()


def test_a_host_that_has_answered_is_waited_for_in_later_files(tmp_path, waits):
    (tmp_path / NAME[1:]).parent.mkdir()
    (tmp_path / NAME[1:]).write_bytes(DATA)
    with FaultServer(tmp_path) as server:
        assert read(server) == DATA
    with pytest.raises(ConnectionError, match=r"refused, after 7 attempts"):
        read(server)


def test_a_server_that_was_there_is_waited_for_though_it_refuses(mirror, waits, monkeypatch):
    with HttpFile(mirror.url_of(NAME)) as file:
        assert file.read(1000) == DATA[:1000]
        file._disconnect()

        def refused(*args, **options):
            raise urllib.error.URLError(ConnectionRefusedError(111, "Connection refused"))

        monkeypatch.setattr(http, "_urlopen", refused)
        with pytest.raises(ConnectionError, match=r"at byte 1,000 of 300,000, after 7 attempts; received bytes are"):
            file.read()
    assert len(waits) == HttpFile.policy.retries


def test_the_first_failure_is_said_once(mirror, caplog):
    mirror.add(Fault("status", code=503, times=3), Fault("cut", at=1000, times=1))
    assert read(mirror) == DATA
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    host = mirror.url.removeprefix("http://")
    assert said == [f"no answer from {host} (HTTP 503 Service Unavailable); retrying"]


class Broken:
    """An answer whose body breaks once, at byte `at` of the file."""

    def __init__(self, answer, at, error):
        self.answer, self.left, self.error = answer, at, error

    def __getattr__(self, name):
        return getattr(self.answer, name)

    def readinto(self, buffer):
        if not self.left:
            raise self.error
        count = self.answer.readinto(memoryview(buffer)[: self.left])
        self.left -= count
        return count


@pytest.mark.parametrize(
    "error",
    [
        ssl.SSLError(1, "[SSL: DECRYPTION_FAILED_OR_BAD_RECORD_MAC] decryption failed or bad record mac"),
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        OSError(errno.EHOSTUNREACH, "No route to host"),
        OSError(errno.ENETDOWN, "Network is down"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    ],
)
def test_whatever_breaks_a_body_is_tried_again(mirror, error, monkeypatch, waits):
    original = http._urlopen
    answers = []

    def urlopen(request, **options):
        answers.append(original(request, **options))
        return Broken(answers[-1], 100_000, error) if len(answers) == 1 else answers[-1]

    monkeypatch.setattr(http, "_urlopen", urlopen)
    assert read(mirror, 5000) == DATA
    assert ranges(mirror) == [None, "bytes=100000-"]
    assert len(waits) == 1


def test_a_body_that_is_always_broken_is_given_up(mirror, monkeypatch, waits):
    original = http._urlopen
    error = ssl.SSLError(1, "bad record mac")
    monkeypatch.setattr(http, "_urlopen", lambda request, **options: Broken(original(request, **options), 0, error))
    with pytest.raises(ConnectionError, match=r"bad record mac.*after 7 attempts"):
        read(mirror)
    assert len(waits) == HttpFile.policy.retries


# ---- Answers that tell less than the first


@pytest.mark.parametrize("first", [[], [Fault("chunked", times=1)]])
@pytest.mark.parametrize(
    ("faults", "requests"),
    [
        ([Fault("open_range")], 2),
        ([Fault("open_range"), Fault("no_etag")], 2),
        ([Fault("open_range", by=70_000)], 4),
        ([Fault("open_range"), Fault("chunked", skip=1)], 2),
        ([Fault("no_etag", skip=1)], 2),
        ([Fault("chunked", skip=1), Fault("ignore_range")], 2),
        ([Fault("chunked", skip=1), Fault("ignore_range"), Fault("no_etag", skip=1)], 2),
        ([Fault("open_range"), Fault("cut", at=200_000, times=1)], 3),
    ],
)
def test_what_can_be_gone_on_with_is_gone_on_with(mirror, first, faults, requests, waits):
    mirror.add(Fault("cut", at=100_000, times=1), *first, *faults)
    assert read(mirror, 5000) == DATA
    # Where nothing tells the size, the end is where the server says that nothing follows.
    is_untold = bool(first) and any(fault.kind == "open_range" for fault in faults)
    assert len(mirror.requests) == requests + is_untold
    assert len(waits) == sum("cut" in request.faults for request in mirror.requests)


def test_a_cut_before_the_last_chunk_ends_the_file_where_the_server_says_so(mirror):
    with HttpFile(mirror.url_of(NAME)) as file:
        file.size = None  # as if it had come in chunks
        assert file.read(SIZE) == DATA
        file._disconnect()
        assert (file.read(1), file.size) == (b"", SIZE)


@pytest.mark.parametrize("fault", [Fault("open_range"), Fault("no_etag")])
def test_a_start_inside_a_file_that_tells_less_is_gone_on_with(mirror, fault):
    with HttpFile(mirror.url_of(NAME)) as file:
        etag = file.etag
    mirror.add(fault)
    assert read(mirror, start=1234, etag=etag) == DATA[1234:]


# ---- Refusals


@pytest.mark.parametrize("code", [500, 502, 503, 504, 429, 408, 425])
def test_what_passes_by_itself_is_tried_again(mirror, code):
    mirror.add(Fault("status", code=code, times=2))
    assert read(mirror) == DATA
    assert len(mirror.requests) == 3


@pytest.mark.parametrize(("code", "kind"), [(404, FileNotFoundError), (410, FileNotFoundError), (403, PermissionError)])
def test_what_stays_is_an_error_at_once(mirror, code, kind, waits):
    mirror.add(Fault("status", code=code))
    with pytest.raises(kind, match=f"HTTP {code}") as caught:
        read(mirror)
    assert mirror.url_of(NAME) in str(caught.value)
    assert len(mirror.requests) == 1
    assert waits == []


@pytest.mark.parametrize("code", [400, 401, 405, 451])
def test_other_refusals_are_os_errors_that_name_the_url(mirror, code):
    mirror.add(Fault("status", code=code))
    with pytest.raises(OSError, match=f"HTTP {code}"):
        read(mirror)
    assert len(mirror.requests) == 1


def test_a_refusal_in_the_middle(mirror):
    mirror.add(Fault("cut", at=100_000, times=1), Fault("status", skip=1, times=3))
    assert read(mirror) == DATA
    assert ranges(mirror) == [None, *["bytes=100000-"] * 4]


def test_a_refusal_that_does_not_end_is_a_connection_error_with_the_status(mirror):
    mirror.add(Fault("status", code=503))
    with pytest.raises(ConnectionError, match="HTTP 503"):
        read(mirror)
    assert len(mirror.requests) == HttpFile.policy.retries + 1


def test_the_server_says_how_long_to_wait(mirror, waits):
    mirror.add(Fault("status", code=503, retry_after=7, times=1), Fault("status", code=429, retry_after=0, times=1))
    assert read(mirror) == DATA
    assert waits == [7, 0]


def test_the_server_says_when_to_come_again(mirror, waits, monkeypatch):
    now = 1_700_000_000.0
    monkeypatch.setattr(http.time, "time", lambda: now)
    dates = [formatdate(now + 20, usegmt=True), formatdate(now - 500, usegmt=True)]
    mirror.add(*(Fault("status", code=503, retry_after=date, times=1) for date in dates))
    assert read(mirror) == DATA
    assert waits == [20, 0]


def test_waits_double_and_are_jittered(mirror, waits):
    mirror.add(Fault("status", code=503, times=HttpFile.policy.retries))
    assert read(mirror) == DATA
    assert len(waits) == HttpFile.policy.retries
    for index, wait in enumerate(waits):
        mean = HttpFile.policy.first_wait_seconds * 2**index
        assert 0.5 * mean <= wait <= 1.5 * mean


@pytest.mark.parametrize("asked", ["", "soon", "-5", "1e9999", "9" * 20, "²", "1²", "Mon, 01 Jan 0001 00:00:00 -0000"])
def test_a_retry_after_that_makes_no_sense_does_not_stop_the_read_for_ever(mirror, waits, asked):
    mirror.add(Fault("status", code=503, retry_after=asked, times=1))
    assert read(mirror) == DATA
    assert len(waits) == 1
    assert 0 <= waits[0] <= 3600


def test_a_server_that_asks_for_years_is_named_at_each_wait(mirror, waits, caplog):
    mirror.add(Fault("status", code=503, retry_after="Fri, 31 Dec 9999 23:59:59 GMT"))
    with pytest.raises(ConnectionError, match=r"HTTP 503 .* after 7 attempts"):
        read(mirror)
    assert waits == [600.0] * 6
    assert sum("HTTP 503" in line and "next attempt in 600.0 s" in line for line in caplog.messages) == 6


# ---- Lies about the length


def test_a_body_shorter_than_its_length_is_an_error_and_no_short_file(mirror):
    mirror.add(Fault("wrong_length", by=1000))
    with pytest.raises(OSError, match=r"ends before byte 300,000, it is shorter than announced, 301,000 bytes"):
        read(mirror)


def test_a_body_that_was_shorter_once_is_an_error_or_whole(mirror):
    mirror.add(Fault("wrong_length", by=1000, times=1))
    with pytest.raises(OSError, match=r"416|changed|300,000"):
        read(mirror)


def test_a_file_shorter_on_the_server_after_a_drop_is_a_change(mirror):
    mirror.add(Fault("cut", at=100_000, times=1), Fault("wrong_length", by=-1000, skip=1))
    with pytest.raises(OSError, match="changed on the server"):
        read(mirror)


def test_chunks_without_a_length(mirror):
    mirror.add(Fault("chunked"))
    assert read(mirror, 5000) == DATA
    with HttpFile(mirror.url_of(NAME)) as file:
        assert file.size is None


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("at", [0, 1, 100_000, SIZE - 1])
def test_a_drop_between_chunks_goes_on_where_it_stopped(mirror, at, reset):
    mirror.add(Fault("chunked"), Fault("cut", at=at, reset=reset, times=1))
    assert read(mirror, 5000) == DATA
    assert len(mirror.requests) == 2


def test_a_drop_between_chunks_and_no_range(mirror):
    mirror.add(Fault("chunked"), Fault("cut", at=100_000, times=1), Fault("ignore_range"))
    assert read(mirror, 5000) == DATA


# ---- Changes


@pytest.mark.parametrize("other", [None, "/a folder/other"])
@pytest.mark.parametrize("faults", [[], [Fault("ignore_range")]])
def test_a_file_that_changes_in_between_is_an_error_and_no_mixture(mirror, other, faults):
    mirror.add(Fault("cut", at=100_000, times=1), Fault("changed", other=other, skip=1), *faults)
    with pytest.raises(OSError, match="changed on the server") as caught:
        read(mirror)
    assert mirror.url_of(NAME) in str(caught.value)


def test_the_request_names_the_program_and_asks_for_bytes_as_they_are(mirror, monkeypatch):
    seen = []
    original = http._urlopen

    def urlopen(request, **options):
        seen.append(request)
        return original(request, **options)

    monkeypatch.setattr(http, "_urlopen", urlopen)
    read(mirror)
    headers = {name.lower(): value for name, value in seen[0].header_items()}
    assert headers["user-agent"].startswith("kinetics-dataset/")
    assert headers["accept-encoding"] == "identity"
