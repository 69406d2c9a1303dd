"""The server of fault_server.py, seen by the standard library's HTTP client: nothing of the project takes part."""

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.support.fault_server import Fault, FaultServer, spawn

SIZE = 600_000  # more than one block of the slow path and than one socket buffer
DATA = random.Random(0).randbytes(SIZE)
PATH = "/kinetics/400/val/part_0.tar.gz"
ODD_PATH = '/kinetics/600/train/massaging person\'s "head" (50% + ü).tar.gz'


@dataclass
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes
    error: str | None  # name of the exception that ended the body


def ask(connection: http.client.HTTPConnection, path: str, method: str = "GET", **headers: str) -> Answer:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, quote(path), headers=names)
    response = connection.getresponse()
    try:
        body, error = response.read(), None
    except http.client.IncompleteRead as exception:
        body, error = exception.partial, "IncompleteRead"
    except ConnectionResetError:
        body, error = b"", "ConnectionResetError"
    if error is not None:
        connection.close()
    return Answer(response.status, response.headers, body, error)


def connect(url: str) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)


def get(server: FaultServer, path: str = PATH, method: str = "GET", **headers: str) -> Answer:
    connection = connect(server.url)
    try:
        return ask(connection, path, method, **headers)
    finally:
        connection.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("server")
    for path, content in {PATH: DATA, ODD_PATH: b"odd", "/empty.csv": b"", "/other.bin": DATA[::-1]}.items():
        file = root / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return root


@pytest.fixture
def server(root: Path) -> Iterator[FaultServer]:
    with FaultServer(root) as server:
        yield server


def test_whole_file_with_headers_like_s3(server: FaultServer) -> None:
    answer = get(server)
    assert (answer.status, answer.error) == (200, None)
    assert answer.body == DATA
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Type"] == "application/x-tar"
    assert answer.headers["Content-Encoding"] is None
    assert answer.headers["Last-Modified"].endswith(" GMT")
    head = get(server, method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert [head.headers[name] for name in ("ETag", "Content-Length")] == [answer.headers["ETag"], str(SIZE)]


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-299999", 100, 300_000),
        ("bytes=599999-", 599_999, SIZE),
        ("bytes=590000-9999999", 590_000, SIZE),
        ("bytes=-1000", SIZE - 1000, SIZE),
        ("bytes=-9999999", 0, SIZE),
    ],
)
def test_range(server: FaultServer, header: str, start: int, stop: int) -> None:
    answer = get(server, Range=header)
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(stop - start)
    assert answer.body == DATA[start:stop]


@pytest.mark.parametrize("header", ["bytes=600000-", "bytes=700000-800000", "bytes=-0"])
def test_range_that_nothing_satisfies(server: FaultServer, header: str) -> None:
    answer = get(server, Range=header)
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")


@pytest.mark.parametrize("header", ["bytes=5-1", "bytes=-", "bytes=a-b", "lines=0-1", "bytes=0-1,4-5"])
def test_range_that_gets_the_whole_file(server: FaultServer, header: str) -> None:
    answer = get(server, Range=header)
    assert (answer.status, len(answer.body)) == (200, SIZE)


def test_if_range(server: FaultServer) -> None:
    headers = get(server, method="HEAD").headers
    for validator in (headers["ETag"], headers["Last-Modified"]):
        assert get(server, Range="bytes=5-9", If_Range=validator).status == 206
    assert get(server, Range="bytes=5-9", If_Range='"older"').status == 200


def test_empty_file(server: FaultServer) -> None:
    assert get(server, "/empty.csv").body == b""
    assert get(server, "/empty.csv", Range="bytes=0-").status == 416


def test_paths(server: FaultServer) -> None:
    assert get(server, ODD_PATH).body == b"odd"
    assert get(server, f"{PATH}?versionId=1").status == 404  # `quote` made it part of the name
    connection = connect(server.url)
    connection.request("GET", urlsplit(server.url_of(ODD_PATH)).path + "?versionId=1")
    assert connection.getresponse().read() == b"odd"
    connection.close()
    assert get(server, "/kinetics/400/val/part_1.tar.gz").status == 404
    assert get(server, "/nul\0").status == 404
    assert get(server, "/kinetics").status == 403
    assert get(server, "/../" + Path(__file__).name).status == 403


def test_one_connection_serves_many_requests(server: FaultServer) -> None:
    connection = connect(server.url)
    statuses = [ask(connection, path).status for path in (PATH, "/absent", ODD_PATH, "/empty.csv", PATH)]
    connection.close()
    assert statuses == [200, 404, 200, 200, 200]
    assert len({request.client for request in server.requests}) == 1


def test_log(server: FaultServer) -> None:
    get(server, Range="bytes=10-19")
    get(server, ODD_PATH, "HEAD")
    get(server, ODD_PATH)
    first = server.requests[0]
    assert (first.method, first.path, first.range) == ("GET", PATH, "bytes=10-19")
    assert (first.status, first.sent, first.faults, first.done) == (206, 10, [], True)
    assert server.bytes_sent() == 13
    assert server.bytes_sent("*part_0*") == 10
    assert [server.count(), server.count("*/600/*"), server.count("*/600/*", "HEAD")] == [3, 2, 1]
    server.clear(log=True)
    assert server.requests == []


def test_status(server: FaultServer) -> None:
    server.add(Fault("status", times=1, retry_after=2), Fault("status", "/absent", times=1, code=429))
    refused = get(server)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
    assert get(server).body == DATA
    assert [get(server, "/absent", "HEAD").status for _ in range(2)] == [429, 404]
    assert [request.faults for request in server.requests] == [["status"], [], ["status"], []]


@pytest.mark.parametrize("at", [0, 1, 300_000, SIZE - 1])
def test_cut(server: FaultServer, at: int) -> None:
    server.add(Fault("cut", at=at))
    answer = get(server)
    assert (answer.headers["Content-Length"], answer.error) == (str(SIZE), "IncompleteRead")
    assert answer.body == DATA[:at]
    # The bad byte is of the file: a range that meets it is cut there, one beside it is whole.
    assert get(server, Range=f"bytes={at}-").body == b""
    assert get(server, Range=f"bytes={at + 1}-{at + 5}").error is None
    assert get(server, method="HEAD").status == 200
    assert [request.sent for request in server.requests[:2]] == [at, 0]


def test_cut_relative_to_the_response(server: FaultServer) -> None:
    server.add(Fault("cut", at=250_000, relative=True))
    body = b""
    while len(body) < SIZE:
        body += get(server, Range=f"bytes={len(body)}-").body
    assert body == DATA
    assert [request.sent for request in server.requests] == [250_000, 250_000, 100_000]
    assert server.bytes_sent() == SIZE


def test_cut_by_reset(server: FaultServer) -> None:
    server.add(Fault("cut", at=1000, reset=True, times=1))
    assert get(server).error == "ConnectionResetError"
    assert get(server).body == DATA


def test_stall(server: FaultServer) -> None:
    server.add(Fault("stall", at=1000, seconds=0.3))
    began = time.monotonic()
    answer = get(server)
    assert time.monotonic() - began >= 0.3
    assert (answer.body, answer.error) == (DATA[:1000], "IncompleteRead")


def test_end_of_the_server_ends_stalls_and_connections(root: Path) -> None:
    threads = threading.active_count()
    with ThreadPoolExecutor(1) as pool:
        with FaultServer(root, faults=[Fault("stall", at=1000, seconds=600)]) as server:
            stalled = pool.submit(get, server)
            idle = connect(server.url)
            ask(idle, "/empty.csv")
            while server.bytes_sent() < 1000:
                time.sleep(0.005)
        assert stalled.result(timeout=5).body == DATA[:1000]
    idle.close()
    assert threading.active_count() == threads
    with pytest.raises(ConnectionRefusedError):
        get(server)


def test_slow(server: FaultServer) -> None:
    server.add(Fault("slow", bytes_per_second=SIZE / 0.3))
    begin = time.monotonic()
    assert get(server).body == DATA
    # The pause after the last block comes when all has been sent.
    assert time.monotonic() - begin > 0.25


def test_wrong_length_too_long(server: FaultServer) -> None:
    server.add(Fault("wrong_length", by=7))
    assert get(server, method="HEAD").headers["Content-Length"] == str(SIZE + 7)
    answer = get(server)
    assert (answer.headers["Content-Length"], answer.error) == (str(SIZE + 7), "IncompleteRead")
    assert answer.body == DATA
    ranged = get(server, Range="bytes=0-9")
    assert (ranged.headers["Content-Length"], ranged.body) == ("17", DATA[:10])


def test_wrong_length_truncated_file(server: FaultServer) -> None:
    whole = get(server, method="HEAD").headers["ETag"]
    server.add(Fault("wrong_length", by=-7))
    answer = get(server)
    assert (answer.body, answer.error) == (DATA[:-7], None)
    assert answer.headers["ETag"] != whole
    ranged = get(server, Range="bytes=599000-")
    assert ranged.headers["Content-Range"] == f"bytes 599000-{SIZE - 8}/{SIZE - 7}"
    assert ranged.body == DATA[599_000:-7]


def test_corrupt(server: FaultServer) -> None:
    server.add(Fault("corrupt", at=300_000))
    bad = bytearray(DATA)
    bad[300_000] ^= 0xFF
    answer = get(server)
    assert (answer.body, answer.error) == (bytes(bad), None)
    assert get(server, Range="bytes=300000-300000").body == bad[300_000:300_001]
    assert get(server, Range="bytes=300001-").body == DATA[300_001:]


def test_ignore_range(server: FaultServer) -> None:
    server.add(Fault("ignore_range", times=1))
    get(server)  # has no Range to ignore, so it does not count
    answer = get(server, Range="bytes=10-19")
    assert (answer.status, answer.headers["Content-Range"], answer.body) == (200, None, DATA)
    assert get(server, Range="bytes=10-19").status == 206


def test_open_range(server: FaultServer) -> None:
    server.add(Fault("open_range", times=1), Fault("open_range", by=100, times=2))
    assert get(server).body == DATA  # has no Range, so it does not count
    for header, stop in [("bytes=10-", SIZE), ("bytes=10-", 110), ("bytes=10-19", 20)]:
        answer = get(server, Range=header)
        assert (answer.status, answer.body) == (206, DATA[10:stop])
        assert answer.headers["Content-Range"] == f"bytes 10-{stop - 1}/*"
    assert get(server, Range="bytes=10-19").headers["Content-Range"] == f"bytes 10-19/{SIZE}"


def test_no_etag(server: FaultServer) -> None:
    server.add(Fault("no_etag", times=1))
    assert [get(server).headers["ETag"] is None for _ in range(2)] == [True, False]


def test_chunked(server: FaultServer) -> None:
    server.add(Fault("chunked"))
    connection = connect(server.url)
    for header, status, expected in [("bytes=5-", 206, DATA[5:]), ("", 200, DATA)]:
        answer = ask(connection, PATH, Range=header)
        assert (answer.status, answer.body, answer.error) == (status, expected, None)
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert answer.headers["Content-Length"] is None
    connection.close()
    assert [request.sent for request in server.requests] == [SIZE - 5, SIZE]
    assert len({request.client for request in server.requests}) == 1
    server.add(Fault("cut", at=300_000))
    answer = get(server)
    assert (answer.body, answer.error) == (DATA[:300_000], "IncompleteRead")
    assert server.requests[-1].faults == ["chunked", "cut"]


def test_changed(server: FaultServer) -> None:
    server.add(Fault("changed", PATH, skip=2, other="/other.bin"))
    answers = [get(server, Range="bytes=0-9") for _ in range(4)]
    assert [answer.body for answer in answers] == [DATA[:10]] * 2 + [DATA[:-11:-1]] * 2
    tags = [answer.headers["ETag"] for answer in answers]
    assert tags[0] == tags[1] != tags[2] == tags[3]
    resumed = get(server, Range="bytes=10-", If_Range=tags[0])
    assert (resumed.status, resumed.body) == (200, DATA[::-1])
    server.clear()
    server.add(Fault("changed"))
    retagged = get(server)
    assert (retagged.body, retagged.headers["ETag"] in tags) == (DATA, False)


def test_faults_of_one_kind_strike_one_after_the_other(server: FaultServer) -> None:
    server.add(*(Fault("cut", at=at, times=1) for at in (200_000, 100_000)))
    assert [len(get(server).body) for _ in range(3)] == [200_000, 100_000, SIZE]


def test_count_per_path(server: FaultServer) -> None:
    server.add(Fault("status", times=1, per_path=True, method="GET"))
    asked = [(PATH, "HEAD"), (PATH, "GET"), (ODD_PATH, "GET"), (PATH, "GET"), (ODD_PATH, "GET")]
    assert [get(server, path, method).status for path, method in asked] == [200, 503, 503, 200, 200]


def test_probability_is_the_same_for_any_order_of_threads(root: Path) -> None:
    asked = [f"bytes={start}-{start}" for start in range(100)] * 2

    def struck(order: list[str], seed: int) -> set[str | None]:
        with FaultServer(root, faults=[Fault("status", probability=0.1, seed=seed)]) as server:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda header: get(server, Range=header), order))
            return {f"{request.range} {request.status}" for request in server.requests if request.faults}

    first = struck(asked, seed=1)
    assert 8 <= len(first) <= 32  # of 200: 20 expected, 4 the standard deviation
    assert struck(random.Random(0).sample(asked, len(asked)), seed=1) == first
    assert struck(asked, seed=2) != first


def test_eight_threads(server: FaultServer) -> None:
    def pull(worker: int) -> bytes:
        connection = connect(server.url)
        bounds = range(0, SIZE, 75_000)
        order = random.Random(worker).sample(bounds, len(bounds))
        parts = {start: ask(connection, PATH, Range=f"bytes={start}-{start + 74_999}").body for start in order}
        connection.close()
        return b"".join(parts[start] for start in bounds)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(pull, range(8))) == {DATA}
    assert (server.count(), server.bytes_sent()) == (64, 8 * SIZE)


def test_client_that_hangs_up(server: FaultServer, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with open(root / "big.bin", "wb") as file:
        file.truncate(32 << 20)
    connection = connect(server.url)
    connection.request("GET", "/big.bin")
    connection.getresponse().read(1000)
    connection.close()
    assert 1000 <= server.bytes_sent("/big.bin") < 32 << 20
    assert get(server).body == DATA
    assert capfd.readouterr().err == ""


def test_a_server_in_another_process(root: Path, tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    with spawn(root, faults=[Fault("cut", at=10, times=1)], log=log) as url:
        bodies = []
        for _ in range(2):
            connection = connect(url)
            bodies.append(ask(connection, PATH).body)
            connection.close()
    assert bodies == [DATA[:10], DATA]
    assert [json.loads(line)["faults"] for line in log.read_text().splitlines()] == [["cut"], []]


def test_command_line(root: Path) -> None:
    command = [sys.executable, "-m", "tests.support.fault_server", str(root)]
    command += ["--faults", '{"kind": "status", "code": 429}']
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        connection = connect(process.stdout.readline().strip())
        assert ask(connection, PATH).status == 429
        connection.close()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"fault 'explode' is unknown; take one of status, cut"):
        Fault("explode")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"by=0 makes no wrong_length; give by > 0"):
        Fault("wrong_length")
    with pytest.raises(ValueError, match=r"absent' is not a directory"):
        FaultServer(tmp_path / "absent")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_cut_reaches_the_client_though_a_fork_holds_the_connection(server: FaultServer) -> None:
    # `datasets` and data loaders fork while the server serves; such a child inherits open connections.
    server.add(Fault("cut", "*part_0*", at=1000))
    connection = connect(server.url)
    ask(connection, "/empty.csv")
    child = os.fork()
    if child == 0:
        time.sleep(10)
        os._exit(0)
    try:
        assert ask(connection, PATH).body == DATA[:1000]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
