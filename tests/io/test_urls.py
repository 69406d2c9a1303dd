"""URLs with a user, a password and a query: sent to their server, and shown nowhere."""

import base64
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
from typer.testing import CliRunner

from kinetics_tools.annotations import annotation_file, read_annotations
from kinetics_tools.cli.app import app
from kinetics_tools.downloading.youtube.errors import plain_text
from kinetics_tools.io import (
    HttpFile,
    hide_credentials,
    join_url,
    mirror_url,
    path_part,
    remote_size,
    url_exists,
    without_credentials,
)
from tests.support.mirror import annotation_csv, tar_gz
from tests.support.releases import impatient
from tests.support.trees import CLIPS, load, rows, rows_of, write_annotations

__all__ = ["impatient"]  # fixture

SECRETS = ("me", "s3cret", "p%40ss", "t0ken", "Basic")
ROWS = [clip.row for clip in CLIPS["validation"]]


class _Private(BaseHTTPRequestHandler):
    """Serves its files to one user with one token, and sends everyone to another host from /moved."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        authorization = self.headers.get("Authorization")
        self.server.seen.append((self.server.server_port, path, authorization))  # type: ignore[attr-defined]
        content = self.server.files.get(unquote(path))  # type: ignore[attr-defined]
        if path == "/moved":
            self.send_response(302)
            self.send_header("Location", self.server.other)  # type: ignore[attr-defined]
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif authorization != f"Basic {base64.b64encode(b'me:s3cret@').decode()}" or query != "key=t0ken":
            self._answer(401, b"")
        else:
            self._answer(404 if content is None else 200, content or b"")

    do_HEAD = do_GET

    def _answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Private)
    server.files, server.seen, server.other = {}, [], ""  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def url(server, path=""):
    return f"http://me:s3cret%40@127.0.0.1:{server.server_port}{path}?key=t0ken"


def is_clean(text):
    return not any(secret in text for secret in SECRETS if secret != "me") and "me:" not in text


def test_a_user_in_a_url_is_sent_and_not_to_the_host_of_a_redirection(server):
    server.files["/a b.bin"] = b"content"
    with HttpFile(url(server, "/a b.bin")) as file:
        assert file.read() == b"content"
    assert remote_size(url(server, "/a b.bin")) == 7
    assert url_exists(url(server, "/a b.bin"))
    assert not url_exists(url(server, "/b"))
    server.other = f"http://localhost:{server.server_port}/a%20b.bin?key=t0ken"
    with pytest.raises(PermissionError) as caught:
        HttpFile(url(server, "/moved"))
    assert server.seen[-1][2] is None
    assert is_clean(str(caught.value))


@pytest.mark.parametrize("suffix", [".csv", ".json", ".tar.gz", ""])
def test_annotations_at_a_signed_url_are_a_file_by_their_path(server, tmp_path, suffix, caplog):
    caplog.set_level(logging.DEBUG, logger="datasets.kinetics")
    path = write_annotations(tmp_path / f"a{suffix if suffix == '.json' else '.csv'}", CLIPS["validation"][:3], "val")
    content = tar_gz({"x/val.csv": path.read_bytes()}) if suffix == ".tar.gz" else path.read_bytes()
    server.files["/x/mine" + suffix if suffix else "/x/mine/val.csv"] = content
    found = annotation_file("700", "validation", annotations=url(server, f"/x/mine{suffix}"))
    assert read_annotations(found)["youtube_id"].to_pylist() == [clip.youtube_id for clip in CLIPS["validation"][:3]]
    with pytest.raises(FileNotFoundError) as caught:
        annotation_file("700", "validation", annotations=url(server, f"/y/mine{suffix}"))
    assert is_clean(str(caught.value) + caplog.text)
    assert "/y/mine" in str(caught.value)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_mirror_with_a_user_and_a_token_serves_everything_and_is_never_shown(server, streaming, caplog, impatient):
    caplog.set_level(logging.DEBUG, logger="datasets.kinetics")
    folder = "/kinetics/700_2020"
    archive = f"https://s3.amazonaws.com{folder}/val/part.tar.gz"
    server.files[f"{folder}/val/k700_2020_val_path.txt"] = f"{archive}\n{archive.replace('part', 'gone')}\n".encode()
    server.files[f"{folder}/val/part.tar.gz"] = tar_gz({clip.file_name: clip.content for clip in CLIPS["validation"]})
    server.files[f"{folder}/val/gone.tar.gz"] = b"\x1f\x8bjunk"
    server.files[f"{folder}/annotations/val.csv"] = annotation_csv(ROWS, "val")
    found = load("700-2020", splits=["validation"], mirror=url(server), streaming=streaming)["validation"]
    assert rows(found) == rows_of(CLIPS["validation"], "700-2020")
    assert "gone.tar.gz" in caplog.text
    assert is_clean(caplog.text)


def test_a_download_and_its_ledger_show_no_secret(server, tmp_path, monkeypatch, impatient):
    folder = "/kinetics/700_2020"
    names = ("part", "gone", "junk")
    lines = (f"https://s3.amazonaws.com{folder}/val/{name}.tar.gz" for name in names)
    server.files[f"{folder}/val/k700_2020_val_path.txt"] = "\n".join(lines).encode()
    server.files[f"{folder}/val/part.tar.gz"] = tar_gz({clip.file_name: clip.content for clip in CLIPS["validation"]})
    server.files[f"{folder}/val/junk.tar.gz"] = b"\x1f\x8bjunk"
    server.files[f"{folder}/annotations/val.csv"] = annotation_csv(ROWS, "val")
    monkeypatch.setenv("KINETICS_MIRROR", url(server))
    done = CliRunner().invoke(app, ["download", "700-2020", "--split", "val", "--out", str(tmp_path / "out")])
    assert done.exit_code == 1
    assert "failed: kinetics/700_2020/val/gone.tar.gz: HTTP 404 Not Found" in done.output
    assert is_clean(done.output + (tmp_path / "out" / "ledger.jsonl").read_text())
    assert len(list((tmp_path / "out" / "val").glob("*/*.mp4"))) == len(ROWS)


@pytest.mark.parametrize(
    "odd",
    [
        "http://[",
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://a:b:c/",
        "http://127.0.0.1:x/t0ken?t0ken",
        "http://\x1b@127.0.0.1:1x/",
    ],
)
def test_what_cannot_be_requested_is_an_error_at_once(odd, impatient):
    with pytest.raises(ValueError, match="not a valid URL") as caught:
        HttpFile(odd)
    assert "?" not in str(caught.value)
    assert remote_size(odd) == 0
    assert url_exists(odd)


@pytest.mark.parametrize("odd", ["http://", "http://[", "https:///x", "ftp://a", "a"])
def test_a_mirror_without_a_host_is_refused(odd):
    with pytest.raises(ValueError, match="mirror must be a URL"):
        mirror_url(odd)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("-a?token=t0ken: Unable to download http://me:s3cret@h/a?key=t0ken&b=c (caused by x)",
         "-a: Unable to download http://h/a (caused by x)"),
        ("cannot reach 'https://s3cret@h:1/b?c=d'", "cannot reach 'https://h:1/b'"),
        ("why? a=b, mail me@h", "why? a=b, mail me@h"),
    ],
)  # fmt: skip
def test_messages_of_others_lose_credentials(text, shown):
    assert hide_credentials(text) == shown
    assert plain_text(Exception(text)).startswith(shown[:10])


def test_parts_of_urls():
    assert without_credentials("http://me:s3cret@h:1/a?b#c") == "http://h:1/a"
    assert without_credentials("/a/b?c#d@e") == "/a/b?c#d@e"
    assert path_part("http://me:s3cret@h/a.csv?b=c.tar") == "/a.csv"
    assert path_part("/a/b.csv?c") == "/a/b.csv?c"
    assert join_url("http://me@h/a/?b=c", "/d/e.csv") == "http://me@h/a/d/e.csv?b=c"
    assert join_url("http://h", "d") == "http://h/d"
