"""Errors of names, paths, tokens and the network: one line and exit code 2 in every verb, never a traceback."""

import errno
import os
import socket

import aiohttp
import httpx
import huggingface_hub
import pytest
from typer.testing import CliRunner

import kinetics_tools
import kinetics_tools.verification
from kinetics_tools.cli.app import app
from kinetics_tools.io import replacing
from tests.support.releases import impatient
from tests.support.trees import CLIPS, write_tree

__all__ = ["impatient"]  # fixture


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A clip directory `tree` in the current one, and an address that refuses connections as the mirror."""
    monkeypatch.chdir(tmp_path)
    write_tree(tmp_path / "tree", clips={"validation": CLIPS["validation"][:2]})
    (tmp_path / "prepared").mkdir()
    (tmp_path / "bad.csv").write_text("label,label,time_end\nzumba,abcdefghijk,1\n")
    (tmp_path / "bad.json").write_text("[" * 100_000)
    (tmp_path / "p.json").write_text('{"results": {}}')
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("KINETICS_MIRROR", url)
    return url


# Words of a command -> what its error says.
COMMANDS = {
    "demo --out /proc/x": "/proc/x: No such file or directory",
    "download 400 --out d": "Connection refused, after 3 attempts; check your network connection",
    "download 400 --out d --source youtube": "Connection refused, after 3 attempts; check your network connection",
    "download 400 --out d --annotations {url}/a.csv": "Connection refused, after 3 attempts",
    "download 400 --out d --annotations http://[/a.csv": "annotations must be a path or a URL, got 'http://[/a.csv'",
    "download 700 --out p.json/d --source youtube --split val --annotations tree/annotations": "Not a directory",
    "verify 700 nowhere": "directory 'nowhere' does not exist",
    "verify 700 tree --annotations {url}/a.csv": "Connection refused, after 3 attempts",
    "verify 700 tree --split test": "has no annotations: put them there, as ",
    "verify 700 tree --annotations nowhere": "/nowhere does not exist",
    "verify 700 tree --report nowhere/r.json": "nowhere/r.json cannot be written: its directory does not exist",
    "verify 700 tree --annotations bad.csv": "/bad.csv: line 1: no column youtube_id, time_start, split in the header",
    "verify 700 tree --annotations bad.json": "/bad.json: not JSON: nested too deeply",
    "prepare 700 --data-dir hf://datasets/user/name --out o": "Cannot reach https://huggingface.co",
    "prepare 700 --data-dir nosuch://x --out o": "Protocol not known: nosuch",
    "prepare 700 --data-dir {url}/x --out o": "Cannot connect to host 127.0.0.1",
    "prepare 700 --data-dir tree --out nosuch://x": "Protocol not known: nosuch",
    "prepare 700 --data-dir tree --out /proc/x": "/proc/x",
    "push nowhere user/name": "nowhere does not exist; pass the directory that `kinetics prepare` wrote",
    "push prepared user/name": "prepared has no prepared splits",
    "push prepared user/name --stream --release 700 --data-dir tree": "no token to push to user/name",
    "push prepared hf://buckets/bad --stream --release 700 --data-dir tree": "invalid bucket hf://buckets/bad",
    "push prepared a/b/c --stream --release 700 --data-dir tree": "invalid repository 'a/b/c'",
    "push prepared /data/x --stream --release 700 --data-dir tree": "or the URL of a folder, such as file:///data/x",
    "push prepared nosuch://x --stream --release 700 --data-dir tree": "Protocol not known: nosuch",
    "evaluate 700 nowhere.json": "there is no file nowhere.json; pass the path of the predictions",
    "evaluate 700 p.json": "Connection refused, after 3 attempts",
    "evaluate 700 p.txt": "p.txt: predictions must be a .json, .csv or .parquet file",
    "evaluate 700 p.json --report /proc/x.json": "/proc/x.json cannot be written",
    "convert nowhere 700 --to files --out o": "SOURCE /",
    "convert 700 nowhere --to files --out o": "/nowhere does not exist or is not a directory",
    "convert tree 700 --to files --out s3://bucket/o": "--out must be a local path, not a URL",
    "download 400 --out gs://bucket/o": "--out must be a local path, not a URL",
    "verify 700 s3://bucket/k700": "directory must be a local path, not a URL",
    "export nowhere 700 --for umt --out o": "DIRECTORY /",
    "labels 400 --out nowhere/l.csv": "nowhere/l.csv cannot be written: its directory does not exist",
    "infos --repo user/name": "Cannot reach https://huggingface.co",
    "infos --repo a/b/c": "invalid repository 'a/b/c'",
    "infos tree": "tree cannot be written: it is a directory",
    "classes 999": "unknown release '999'",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_an_error_of_a_name_a_path_or_the_network_is_a_line(command, tree, impatient):
    done = CliRunner().invoke(app, command.format(url=tree).split())
    assert done.exit_code == 2, done.output
    last = done.output.splitlines()[-1]
    assert last.startswith("error: ")
    assert COMMANDS[command] in last
    assert "Traceback" not in done.output


class NoCredentialsError(Exception):
    """As of a client that is not installed here."""

    __module__ = "botocore.exceptions"


ADVICE = "; check the names, paths and URLs, your network connection and your token"
ERRORS = {
    httpx.ConnectError("[Errno 111] Connection refused"): f"[Errno 111] Connection refused{ADVICE}",
    aiohttp.ClientPayloadError("not\nall"): f"not all{ADVICE}",
    NoCredentialsError("Unable to locate credentials"): f"Unable to locate credentials{ADVICE}",
    huggingface_hub.errors.HFValidationError("bad name"): "bad name",
    OSError(errno.ENOSPC, "No space left on device"): "No space left on device; make room and rerun the command",
    OSError(errno.EACCES, "Permission denied", "/a/b"): "/a/b: Permission denied",
    ConnectionRefusedError(111, "Connection refused"): f"[Errno 111] Connection refused{ADVICE}",
    TimeoutError(): "TimeoutError",
    UnicodeEncodeError(
        "utf-8", "\udcff", 0, 1, "no"
    ): "'utf-8' codec can't encode character '\\udcff' in position 0: no",
}


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_of_clients_are_a_line(error, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(kinetics_tools.verification, "verify", fail)
    done = CliRunner().invoke(app, ["verify", "700", "tree"])
    assert done.exit_code == 2
    assert done.output == f"error: {ERRORS[error]}\n"


@pytest.mark.parametrize("error", [KeyError("\x1b[31m"), RuntimeError("a"), AssertionError()])
def test_a_bug_is_not_taken_for_missing_clips(error, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(kinetics_tools.verification, "verify", fail)
    done = CliRunner().invoke(app, ["verify", "700", "tree"])
    assert done.exit_code == 2
    assert "Traceback (most recent call last)" in done.output
    assert done.output.splitlines()[-1] == "error: this is a bug; please report it with the lines above"
    assert "\x1b" not in done.output


def test_a_file_that_is_replaced_is_named_by_errors_without_a_name(tmp_path):
    with pytest.raises(OSError, match="No space left on device") as caught, replacing(tmp_path / "report.json"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(tmp_path / "report.json")
