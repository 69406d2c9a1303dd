"""`kinetics view` as a process: it says its address, answers, and ends by Ctrl-C."""

import re
import signal
import subprocess
import urllib.request

import pytest

from kinetics_tools.cli.view import _is_loopback
from tests.support.clients import KINETICS


def test_it_serves_until_it_is_interrupted(tree):
    command = [*KINETICS, "view", str(tree), "700", "--workers", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            lines = iter(process.stderr.readline, "")
            address = next(found[1] for line in lines if (found := re.search(r"open (http://127\.0\.0\.1:\d+/)", line)))
            with urllib.request.urlopen(address) as answer:
                assert b"Kinetics" in answer.read()
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_a_source_that_does_not_exist_is_named():
    from typer.testing import CliRunner

    from kinetics_tools.cli.app import app

    result = CliRunner().invoke(app, ["view", "nowhere", "700"])
    assert result.exit_code == 2
    assert "nowhere does not exist" in result.output


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("192.0.2.7", False), ("box", False)],
)
def test_hosts_that_let_others_watch(host, is_loopback):
    assert _is_loopback(host) == is_loopback
