"""The mirror of mirror.py, seen by the standard library's HTTP client: nothing of the project takes part."""

import csv
import http.client
import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from mirror import Fault, Mirror, Row, annotation_csv, spawn, tar, tar_gz, write_deepmind, write_mirror, write_video

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


def get(mirror: Mirror, path: str = PATH, method: str = "GET", **headers: str) -> Answer:
    connection = connect(mirror.url)
    try:
        return ask(connection, path, method, **headers)
    finally:
        connection.close()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("mirror")
    for path, content in {PATH: DATA, ODD_PATH: b"odd", "/empty.csv": b"", "/other.bin": DATA[::-1]}.items():
        file = root / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    return root


@pytest.fixture
def mirror(root: Path) -> Iterator[Mirror]:
    with Mirror(root) as mirror:
        yield mirror


def test_whole_file_with_headers_like_s3(mirror: Mirror) -> None:
    answer = get(mirror)
    assert (answer.status, answer.error) == (200, None)
    assert answer.body == DATA
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Content-Type"] == "application/x-tar"
    assert answer.headers["Content-Encoding"] is None
    assert answer.headers["Last-Modified"].endswith(" GMT")
    head = get(mirror, method="HEAD")
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
def test_range(mirror: Mirror, header: str, start: int, stop: int) -> None:
    answer = get(mirror, Range=header)
    assert answer.status == 206
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(stop - start)
    assert answer.body == DATA[start:stop]


@pytest.mark.parametrize("header", ["bytes=600000-", "bytes=700000-800000", "bytes=-0"])
def test_range_that_nothing_satisfies(mirror: Mirror, header: str) -> None:
    answer = get(mirror, Range=header)
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{SIZE}")


@pytest.mark.parametrize("header", ["bytes=5-1", "bytes=-", "bytes=a-b", "lines=0-1", "bytes=0-1,4-5"])
def test_range_that_gets_the_whole_file(mirror: Mirror, header: str) -> None:
    answer = get(mirror, Range=header)
    assert (answer.status, len(answer.body)) == (200, SIZE)


def test_if_range(mirror: Mirror) -> None:
    headers = get(mirror, method="HEAD").headers
    for validator in (headers["ETag"], headers["Last-Modified"]):
        assert get(mirror, Range="bytes=5-9", If_Range=validator).status == 206
    assert get(mirror, Range="bytes=5-9", If_Range='"older"').status == 200


def test_empty_file(mirror: Mirror) -> None:
    assert get(mirror, "/empty.csv").body == b""
    assert get(mirror, "/empty.csv", Range="bytes=0-").status == 416


def test_paths(mirror: Mirror) -> None:
    assert get(mirror, ODD_PATH).body == b"odd"
    assert get(mirror, f"{PATH}?versionId=1").status == 404  # `quote` made it part of the name
    connection = connect(mirror.url)
    connection.request("GET", urlsplit(mirror.url_of(ODD_PATH)).path + "?versionId=1")
    assert connection.getresponse().read() == b"odd"
    connection.close()
    assert get(mirror, "/kinetics/400/val/part_1.tar.gz").status == 404
    assert get(mirror, "/nul\0").status == 404
    assert get(mirror, "/kinetics").status == 403
    assert get(mirror, "/../" + Path(__file__).name).status == 403


def test_one_connection_serves_many_requests(mirror: Mirror) -> None:
    connection = connect(mirror.url)
    statuses = [ask(connection, path).status for path in (PATH, "/absent", ODD_PATH, "/empty.csv", PATH)]
    connection.close()
    assert statuses == [200, 404, 200, 200, 200]
    assert len({request.client for request in mirror.requests}) == 1


def test_log(mirror: Mirror) -> None:
    get(mirror, Range="bytes=10-19")
    get(mirror, ODD_PATH, "HEAD")
    get(mirror, ODD_PATH)
    first = mirror.requests[0]
    assert (first.method, first.path, first.range) == ("GET", PATH, "bytes=10-19")
    assert (first.status, first.sent, first.faults, first.done) == (206, 10, [], True)
    assert mirror.bytes_sent() == 13
    assert mirror.bytes_sent("*part_0*") == 10
    assert [mirror.count(), mirror.count("*/600/*"), mirror.count("*/600/*", "HEAD")] == [3, 2, 1]
    mirror.clear(log=True)
    assert mirror.requests == []


def test_status(mirror: Mirror) -> None:
    mirror.add(Fault("status", times=1, retry_after=2), Fault("status", "/absent", times=1, code=429))
    refused = get(mirror)
    assert (refused.status, refused.headers["Retry-After"]) == (503, "2")
    assert get(mirror).body == DATA
    assert [get(mirror, "/absent", "HEAD").status for _ in range(2)] == [429, 404]
    assert [request.faults for request in mirror.requests] == [["status"], [], ["status"], []]


@pytest.mark.parametrize("at", [0, 1, 300_000, SIZE - 1])
def test_cut(mirror: Mirror, at: int) -> None:
    mirror.add(Fault("cut", at=at))
    answer = get(mirror)
    assert (answer.headers["Content-Length"], answer.error) == (str(SIZE), "IncompleteRead")
    assert answer.body == DATA[:at]
    # The bad byte is of the file: a range that meets it is cut there, one beside it is whole.
    assert get(mirror, Range=f"bytes={at}-").body == b""
    assert get(mirror, Range=f"bytes={at + 1}-{at + 5}").error is None
    assert get(mirror, method="HEAD").status == 200
    assert [request.sent for request in mirror.requests[:2]] == [at, 0]


def test_cut_relative_to_the_response(mirror: Mirror) -> None:
    mirror.add(Fault("cut", at=250_000, relative=True))
    body = b""
    while len(body) < SIZE:
        body += get(mirror, Range=f"bytes={len(body)}-").body
    assert body == DATA
    assert [request.sent for request in mirror.requests] == [250_000, 250_000, 100_000]
    assert mirror.bytes_sent() == SIZE


def test_cut_by_reset(mirror: Mirror) -> None:
    mirror.add(Fault("cut", at=1000, reset=True, times=1))
    assert get(mirror).error == "ConnectionResetError"
    assert get(mirror).body == DATA


def test_stall(mirror: Mirror) -> None:
    mirror.add(Fault("stall", at=1000, seconds=0.3))
    began = time.monotonic()
    answer = get(mirror)
    assert time.monotonic() - began >= 0.3
    assert (answer.body, answer.error) == (DATA[:1000], "IncompleteRead")


def test_end_of_the_mirror_ends_stalls_and_connections(root: Path) -> None:
    threads = threading.active_count()
    with ThreadPoolExecutor(1) as pool:
        with Mirror(root, faults=[Fault("stall", at=1000, seconds=600)]) as mirror:
            stalled = pool.submit(get, mirror)
            idle = connect(mirror.url)
            ask(idle, "/empty.csv")
            while mirror.bytes_sent() < 1000:
                time.sleep(0.005)
        assert stalled.result(timeout=5).body == DATA[:1000]
    idle.close()
    assert threading.active_count() == threads
    with pytest.raises(ConnectionRefusedError):
        get(mirror)


def test_slow(mirror: Mirror) -> None:
    mirror.add(Fault("slow", bytes_per_second=SIZE / 0.3))
    begin = time.monotonic()
    assert get(mirror).body == DATA
    # The pause after the last block comes when all has been sent.
    assert time.monotonic() - begin > 0.25


def test_wrong_length_too_long(mirror: Mirror) -> None:
    mirror.add(Fault("wrong_length", by=7))
    assert get(mirror, method="HEAD").headers["Content-Length"] == str(SIZE + 7)
    answer = get(mirror)
    assert (answer.headers["Content-Length"], answer.error) == (str(SIZE + 7), "IncompleteRead")
    assert answer.body == DATA
    ranged = get(mirror, Range="bytes=0-9")
    assert (ranged.headers["Content-Length"], ranged.body) == ("17", DATA[:10])


def test_wrong_length_truncated_file(mirror: Mirror) -> None:
    whole = get(mirror, method="HEAD").headers["ETag"]
    mirror.add(Fault("wrong_length", by=-7))
    answer = get(mirror)
    assert (answer.body, answer.error) == (DATA[:-7], None)
    assert answer.headers["ETag"] != whole
    ranged = get(mirror, Range="bytes=599000-")
    assert ranged.headers["Content-Range"] == f"bytes 599000-{SIZE - 8}/{SIZE - 7}"
    assert ranged.body == DATA[599_000:-7]


def test_corrupt(mirror: Mirror) -> None:
    mirror.add(Fault("corrupt", at=300_000))
    bad = bytearray(DATA)
    bad[300_000] ^= 0xFF
    answer = get(mirror)
    assert (answer.body, answer.error) == (bytes(bad), None)
    assert get(mirror, Range="bytes=300000-300000").body == bad[300_000:300_001]
    assert get(mirror, Range="bytes=300001-").body == DATA[300_001:]


def test_ignore_range(mirror: Mirror) -> None:
    mirror.add(Fault("ignore_range", times=1))
    get(mirror)  # has no Range to ignore, so it does not count
    answer = get(mirror, Range="bytes=10-19")
    assert (answer.status, answer.headers["Content-Range"], answer.body) == (200, None, DATA)
    assert get(mirror, Range="bytes=10-19").status == 206


def test_chunked(mirror: Mirror) -> None:
    mirror.add(Fault("chunked"))
    connection = connect(mirror.url)
    for header, status, expected in [("bytes=5-", 206, DATA[5:]), ("", 200, DATA)]:
        answer = ask(connection, PATH, Range=header)
        assert (answer.status, answer.body, answer.error) == (status, expected, None)
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert answer.headers["Content-Length"] is None
    connection.close()
    assert [request.sent for request in mirror.requests] == [SIZE - 5, SIZE]
    assert len({request.client for request in mirror.requests}) == 1
    mirror.add(Fault("cut", at=300_000))
    answer = get(mirror)
    assert (answer.body, answer.error) == (DATA[:300_000], "IncompleteRead")
    assert mirror.requests[-1].faults == ["chunked", "cut"]


def test_changed(mirror: Mirror) -> None:
    mirror.add(Fault("changed", PATH, skip=2, other="/other.bin"))
    answers = [get(mirror, Range="bytes=0-9") for _ in range(4)]
    assert [answer.body for answer in answers] == [DATA[:10]] * 2 + [DATA[:-11:-1]] * 2
    tags = [answer.headers["ETag"] for answer in answers]
    assert tags[0] == tags[1] != tags[2] == tags[3]
    resumed = get(mirror, Range="bytes=10-", If_Range=tags[0])
    assert (resumed.status, resumed.body) == (200, DATA[::-1])
    mirror.clear()
    mirror.add(Fault("changed"))
    retagged = get(mirror)
    assert (retagged.body, retagged.headers["ETag"] in tags) == (DATA, False)


def test_faults_of_one_kind_strike_one_after_the_other(mirror: Mirror) -> None:
    mirror.add(*(Fault("cut", at=at, times=1) for at in (200_000, 100_000)))
    assert [len(get(mirror).body) for _ in range(3)] == [200_000, 100_000, SIZE]


def test_count_per_path(mirror: Mirror) -> None:
    mirror.add(Fault("status", times=1, per_path=True, method="GET"))
    asked = [(PATH, "HEAD"), (PATH, "GET"), (ODD_PATH, "GET"), (PATH, "GET"), (ODD_PATH, "GET")]
    assert [get(mirror, path, method).status for path, method in asked] == [200, 503, 503, 200, 200]


def test_probability_is_the_same_for_any_order_of_threads(root: Path) -> None:
    asked = [f"bytes={start}-{start}" for start in range(100)] * 2

    def struck(order: list[str], seed: int) -> set[str | None]:
        with Mirror(root, faults=[Fault("status", probability=0.1, seed=seed)]) as mirror:
            with ThreadPoolExecutor(8) as pool:
                list(pool.map(lambda header: get(mirror, Range=header), order))
            return {f"{request.range} {request.status}" for request in mirror.requests if request.faults}

    first = struck(asked, seed=1)
    assert 8 <= len(first) <= 32  # of 200: 20 expected, 4 the standard deviation
    assert struck(random.Random(0).sample(asked, len(asked)), seed=1) == first
    assert struck(asked, seed=2) != first


def test_eight_threads(mirror: Mirror) -> None:
    def pull(worker: int) -> bytes:
        connection = connect(mirror.url)
        bounds = range(0, SIZE, 75_000)
        order = random.Random(worker).sample(bounds, len(bounds))
        parts = {start: ask(connection, PATH, Range=f"bytes={start}-{start + 74_999}").body for start in order}
        connection.close()
        return b"".join(parts[start] for start in bounds)

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(pull, range(8))) == {DATA}
    assert (mirror.count(), mirror.bytes_sent()) == (64, 8 * SIZE)


def test_client_that_hangs_up(mirror: Mirror, root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with open(root / "big.bin", "wb") as file:
        file.truncate(32 << 20)
    connection = connect(mirror.url)
    connection.request("GET", "/big.bin")
    connection.getresponse().read(1000)
    connection.close()
    assert 1000 <= mirror.bytes_sent("/big.bin") < 32 << 20
    assert get(mirror).body == DATA
    assert capfd.readouterr().err == ""


def test_mirror_in_another_process(root: Path, tmp_path: Path) -> None:
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
    command = [sys.executable, str(Path(__file__).with_name("mirror.py")), str(root)]
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
        Mirror(tmp_path / "absent")
    with pytest.raises(ValueError, match=r"release '500' is not on the mirror; take one of 400, 600"):
        write_mirror(tmp_path, "500", {})
    with pytest.raises(ValueError, match=r"split 'validation' is not on the mirror; take one of train, val"):
        write_mirror(tmp_path, "400", {"validation": {}})
    with pytest.raises(ValueError, match=r"release '600' has no replacement archive; only '400'"):
        write_mirror(tmp_path, "600", {}, replacement={})


# --- The layout ---------------------------------------------------------------------------------------------

ROWS: list[tuple[str, str, int, int]] = [
    ("abseiling", "-abcdefghi0", 1, 11),
    ("massaging person's head, neck", "_bcdefghij1", 90, 100),
]


def members(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {info.name: archive.extractfile(info).read() for info in archive if info.isfile()}  # type: ignore[union-attr]


def test_layout_of_400(tmp_path: Path) -> None:
    clips = {"-abcdefghi0_000001_000011.mp4": b"one", "_bcdefghij1_000090_000100.mp4": b"two"}
    directory = write_mirror(
        tmp_path,
        "400",
        {"val": {"part_1": clips, "part_0": b"not gzip", "part_2.tar": clips, "gone": None}, "test": {}},
        annotations={"val": ROWS},
        replacement={"-abcdefghi0_000001_000011.mp4": b"better"},
    )
    assert directory == tmp_path / "kinetics/400"
    base = "https://s3.amazonaws.com/kinetics/400/val"
    listing = [f"{base}/{name}" for name in ("part_1.tar.gz", "part_0.tar.gz", "part_2.tar", "gone.tar.gz")]
    assert (directory / "val/k400_val_path.txt").read_text() == "\n".join(listing) + "\n"
    assert (directory / "test/k400_test_path.txt").read_text() == ""
    assert members((directory / "val/part_1.tar.gz").read_bytes()) == clips
    assert members((directory / "val/part_2.tar").read_bytes()) == clips
    assert (directory / "val/part_0.tar.gz").read_bytes() == b"not gzip"
    assert not (directory / "val/gone.tar.gz").exists()
    stem = "replacement_for_corrupted_k400"
    name = f"{stem}/-abcdefghi0_000001_000011.mp4"
    assert members((directory / f"{stem}.tgz").read_bytes()) == {name: b"better"}
    text = (directory / "annotations/val.csv").read_text()
    assert text.startswith("label,youtube_id,time_start,time_end,split,is_cc\nabseiling,-abcdefghi0,1,11,val,0\n")
    assert next(csv.DictReader(text.splitlines()[:1] + text.splitlines()[2:]))["label"] == ROWS[1][0]


@pytest.mark.parametrize(
    ("release", "directory", "tarball"),
    [
        ("600", "600", "kinetics600"),
        ("700", "700_2020", "kinetics700"),
        ("700-2020", "700_2020", "kinetics700_2020"),
    ],
)
def test_layout_of_the_other_releases(tmp_path: Path, release: str, directory: str, tarball: str) -> None:
    archives = {"train": {"massaging person's head": {"a.mp4": b"a"}}}
    annotations: dict[str, Sequence[Row]] = {
        "train": ROWS,
        "val": ROWS[:1],
        "test": [row[1:] for row in ROWS],
    }
    write_mirror(tmp_path, release, archives, annotations=annotations)
    base = tmp_path / "kinetics" / directory
    line = f"https://s3.amazonaws.com/kinetics/{directory}/train/massaging person's head.tar.gz\n"
    assert (base / f"train/k{directory}_train_path.txt").read_text() == line
    assert members((base / "train/massaging person's head.tar.gz").read_bytes()) == {"a.mp4": b"a"}
    assert (base / "annotations/test.csv").read_text().startswith("youtube_id,time_start,time_end,split\n-abc")
    files = members((tmp_path / f"deepmind-media/Datasets/{tarball}.tar.gz").read_bytes())
    subsets = ("train", "validate", "test")
    assert set(files) == {f"{tarball}/{subset}.{suffix}" for subset in subsets for suffix in ("csv", "json")}
    assert files[f"{tarball}/validate.csv"] == annotation_csv(ROWS[:1], "validate")
    assert json.loads(files[f"{tarball}/validate.json"]) == {
        "-abcdefghi0": {
            "annotations": {"label": "abseiling", "segment": [1.0, 11.0]},
            "duration": 10.0,
            "subset": "validate",
            "url": "https://www.youtube.com/watch?v=-abcdefghi0",
        }
    }
    assert "label" not in json.loads(files[f"{tarball}/test.json"])["-abcdefghi0"]["annotations"]


def test_quoted_path_list_leads_to_the_archive(tmp_path: Path) -> None:
    name = "massaging person's head (50%)"
    base = write_mirror(tmp_path, "600", {"val": {name: {"a.mp4": b"a"}}}, quoted=True)
    with Mirror(tmp_path) as mirror:
        url = (base / "val/k600_val_path.txt").read_text().strip()
        connection = connect(mirror.url)
        connection.request("GET", urlsplit(url).path)
        assert members(connection.getresponse().read()) == {"a.mp4": b"a"}
        connection.close()


def test_archives_are_reproducible(tmp_path: Path) -> None:
    clips = {"b.mp4": DATA, "class/a.mp4": b"a"}
    assert tar_gz(clips) == tar_gz(clips)
    assert list(members(tar_gz(clips))) == list(clips)
    link = tarfile.TarInfo("../evil")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with tarfile.open(fileobj=io.BytesIO(tar({"link": link}))) as archive:
        assert [(info.name, info.issym(), info.mtime) for info in archive] == [("../evil", True, 0)]
    first, second = (write_deepmind(tmp_path, "400", {"val": ROWS}).read_bytes() for _ in range(2))
    assert first == second


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_cut_reaches_the_client_though_a_fork_holds_the_connection(mirror: Mirror) -> None:
    # `datasets` and data loaders fork while the mirror serves; such a child inherits open connections.
    mirror.add(Fault("cut", "*part_0*", at=1000))
    connection = connect(mirror.url)
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


def test_a_video_lies_beside_the_page_around_it(tmp_path: Path) -> None:
    assert write_video(tmp_path, "-bcdefghij0", b"video") == tmp_path / "videos" / "-bcdefghij0.mp4"
    with Mirror(tmp_path) as mirror:
        page = get(mirror, "/watch/-bcdefghij0.html")
        assert page.headers["Content-Type"] == "text/html"
        assert b'<video src="/videos/-bcdefghij0.mp4">' in page.body
        assert get(mirror, "/videos/-bcdefghij0.mp4").body == b"video"
