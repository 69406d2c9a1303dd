"""The bar of an upload, which counts the bytes that the Hub's client would show in bars of its own."""

import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.fault_server import Fault
from tests.support.hub import Hub
from tests.support.hub_clients import MAIN, Clients
from tests.support.hub_pushes import ANN, REPO, answer_of, size

PUSH = """
import contextlib, io, json, sys
from rich.console import Console
from kinetics_tools.publication import run

counts, bar = [], run.upload_bar

@contextlib.contextmanager
def recorded_bar(console, size):
    with bar(console, size) as on_bytes:
        yield lambda count: counts.append(count) or on_bytes(count)

run.upload_bar = recorded_bar
console = Console(file=io.StringIO(), force_terminal=True, width=80)
sys.stderr.isatty = lambda: True  # or the client would have no bars
run.push(sys.argv[1], sys.argv[2], console=console)
print("ANSWER" + json.dumps([sum(counts), console.file.getvalue()]))
"""


@pytest.mark.parametrize(
    ("target", "xet"), [(REPO, False), (REPO, True), ("hf://buckets/ann/clips", True), ("file://{}/pushed", False)]
)
def test_one_bar_counts_all_bytes_and_the_client_draws_none(
    hub: Hub, large: Path, tmp_path: Path, pusher: Clients, target: str, xet: bool
) -> None:
    client = pusher.start(PUSH, large, target.format(tmp_path), token=ANN, xet=xet)
    client.wait()
    counted, shown = answer_of(client)
    assert counted == size(large)
    total = f"{size(large) / 1000:.1f} kB"
    assert f"{total.removesuffix(' kB')}/{total}" in shown
    assert "ETA" in shown
    assert client.stderr == ""


def test_ctrl_c_is_one_line_that_says_how_to_resume(hub: Hub, out: Path, pusher: Clients) -> None:
    hub.add(Fault("slow", "/_blobs/*", method="PUT", bytes_per_second=20_000))
    client = pusher.start(MAIN, "push", out, REPO, token=ANN)
    while not hub.matching("/_blobs/*", "PUT"):
        time.sleep(0.02)
    os.kill(client.pid, signal.SIGINT)
    assert client.wait() == 130
    assert [line for line in (client.stdout + client.stderr).splitlines() if "interrupted" in line] == [
        "interrupted; uploaded shards are kept. Rerun the same command to resume"
    ]
