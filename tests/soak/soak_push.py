"""Pushes that are killed again and again, into a Hub that misbehaves; `make soak` runs them, minutes long."""

import json
import random
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import HfApi

from tests.support.clients import program
from tests.support.fault_server import Fault
from tests.support.hub import Hub
from tests.support.hub_clients import PUSHER, clients_of
from tests.support.hub_process import environment
from tests.support.hub_pushes import REPO, files, ids, killed_pushes
from tests.support.hub_token import ANN
from tests.support.prepared import write_prepared

KILLS = 100

# Reads main again and again, as fast as it can: each time what it sees must be the old state or the new.
POLL = """
import json, os, sys
import datasets
from huggingface_hub import HfApi
datasets.disable_progress_bars()
answer, repo_id, stop = sys.argv[1:]
seen = {}
while True:
    last = os.path.exists(stop)
    head = HfApi().repo_info(repo_id, repo_type="dataset").sha
    if head not in seen:
        try:
            rows = datasets.load_dataset(repo_id, "700", split="train", streaming=True, revision=head)
            rows = rows.cast_column("video", datasets.Video(decode=False))
            seen[head] = [row["youtube_id"] for row in rows]
        except (ValueError, FileNotFoundError) as error:
            seen[head] = type(error).__name__
    if last:
        break
open(answer, "w").write(json.dumps(seen))
"""


@pytest.mark.parametrize("xet", [False, True])
def test_100_kills(tmp_path: Path, xet: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of them while a first preparation is pushed into a new repository, half while a second one replaces it."""
    old, new = tmp_path / "old", tmp_path / "new"
    shards = 128 if xet else 384  # of those that a push sends at a time, five, LFS has all or none at a kill
    options: Any = {"shards": shards, "clips": 2 * shards}
    write_prepared(old, "700", "train", **options)
    write_prepared(new, "700", "train", **options, crf=30, absent=["700tr000007"])
    rng = random.Random(7)
    some: list[Fault] = [
        Fault("status", "*/commit/*", code=503, probability=0.1, seed=1),
        Fault("status", "*/commit/*", code=412, probability=0.1, seed=2),
        Fault("status", "*/commit/*", code=429, retry_after=0, probability=0.1, seed=3),
        Fault("cut", "*/commit/*", at=0, probability=0.1, seed=4),
        Fault("cut", "/_blobs/*", method="PUT", at=300, probability=0.02, seed=5),
        # Each ends an attempt to upload, and a push makes eight: more would end pushes of 384 shards by chance.
        Fault("status", "/_blobs/*", method="PUT", code=403, probability=0.005, seed=6),
        Fault("status", "*/tree/*", code=503, probability=0.05, seed=7),
    ]
    slow = Fault("slow", "/_blobs/*", method="PUT", bytes_per_second=60_000)
    home, stop = tmp_path / "reader", tmp_path / "stop"
    home.mkdir()
    with Hub(tmp_path / "hub", faults=[*some, slow], xet=xet) as hub, Hub(tmp_path / "calm", xet=xet) as calm:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        HfApi(endpoint=hub.url, token=ANN).create_repo(REPO, repo_type="dataset")
        env = environment(hub.url, home, token=ANN, xet=xet)
        poll = subprocess.Popen(program(POLL, home / "answer", REPO, stop), env=env, cwd=home)
        with clients_of(hub.url, tmp_path / "home", PUSHER) as pusher:
            killed = killed_pushes(hub, pusher, old, kills=KILLS // 2, seed=rng.randrange(99), xet=xet)
            killed += killed_pushes(hub, pusher, new, kills=KILLS // 2, seed=rng.randrange(99), xet=xet)
        hub.clear()
        stop.touch()
        assert poll.wait(300) == 0
        with clients_of(calm.url, tmp_path / "calm-home", PUSHER) as pusher:
            for out in (old, new):
                killed_pushes(calm, pusher, out, kills=0, seed=0, xet=xet)
        assert files(hub) == files(calm)
        seen: dict[str, Any] = json.loads((home / "answer").read_text())
        struck = Counter(kind for request in hub.requests for kind in request.faults)
        history = [commit.oid for commit in hub.repositories[REPO].history()]
    states = [seen[oid] for oid in history[::-1] if oid in seen]
    names = {json.dumps(ids(old, "train")): "old", json.dumps(ids(new, "train")): "new"}
    told = [state if isinstance(state, str) else names[json.dumps(state)] for state in states]
    print(
        f"\n{killed} of {KILLS} killed before their end, faults {dict(struck)}, {len(history)} commits; "
        f"readers saw {told}"
    )
    assert told == sorted(told, key=lambda one: {"old": 1, "new": 2}.get(one, 0))
    assert told[-1] == "new"
    assert "old" in told
    assert killed > 0.8 * KILLS
