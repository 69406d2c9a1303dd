"""Pushes of prepared folders to the tests' Hub, and what they leave there, as the server and as readers see it."""

import functools
import json
import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi
from rich.console import Console

from kinetics_tools.publication import changes
from kinetics_tools.publication.run import push
from tests.support.hub import Hub
from tests.support.hub_clients import MAIN, Client, Clients
from tests.support.hub_token import ANN

REPO = "ann/kinetics"
BESIDE = ("README.md", "700/prepare.json", "images/classes.svg")  # what a push adds to shards without real videos
SHARDS_WITH_CARD = 8  # fewer than users have it, so that few shards take several commits


def use(patch: pytest.MonkeyPatch, hub: Hub) -> None:
    """Makes it the Hub of this process, without Xet."""
    patch.setattr(changes, "_SHARDS_WITH_CARD", SHARDS_WITH_CARD)
    patch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    patch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    patch.setattr("kinetics_tools.publication.hub.HfApi", functools.partial(HfApi, endpoint=hub.url))


def reset(hub: Hub) -> None:
    """Leaves a hub as it was when it was started."""
    hub.clear()
    for repository in hub.repositories.values():
        shutil.rmtree(repository.directory)
    hub.repositories.clear()
    hub.clear(log=True)


def linked_copy(folder: Path, target: Path) -> Path:
    """A copy whose shards are hard links: replace them, and do not write into them."""

    def copy(source: str, name: str) -> None:
        (os.link if source.endswith(".parquet") else shutil.copy)(source, name)

    shutil.copytree(folder, target, copy_function=copy, dirs_exist_ok=True)
    return target


# ---- What is there


def files(hub: Hub, repo_id: str = REPO, revision: str = "main") -> dict[str, str]:
    """Path -> digest, of what a repository holds."""
    entries = hub.repositories[repo_id].commit(revision).files.items()
    return {path: entry.oid for path, entry in entries if path != ".gitattributes"}


def text(hub: Hub, path: str, repo_id: str = REPO) -> str:
    repository = hub.repositories[repo_id]
    return repository.blob(repository.commit().files[path].oid).read_text()


def content(hub: Hub) -> int:
    """Bytes of LFS files that were received and kept."""
    return sum(one.received for one in hub.matching("/_blobs/*", "PUT") if one.status == 200)


def shards(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet"))


def size(folder: Path) -> int:
    return sum((folder / name).stat().st_size for name in shards(folder))


def ids(folder: Path, split: str = "validation") -> list[str]:
    return [one for name in shards(folder) if f"/{split}-" in name
            for one in pq.read_table(folder / name, columns=["youtube_id"])["youtube_id"].to_pylist()]  # fmt: skip


# A reader for each call: revision -> release -> split -> ids, or the error's name.
READ = """
import json, sys
import datasets
datasets.disable_progress_bars()
answer = {}
for revision in sys.argv[2:]:
    found = answer[revision] = {}
    for release in ("400", "700"):
        try:
            splits = datasets.load_dataset(sys.argv[1], release, streaming=True, revision=revision)
            found[release] = {}
            for split, rows in splits.items():
                rows = rows.cast_column("video", datasets.Video(decode=False))
                found[release][split] = [row["youtube_id"] for row in rows]
        except (ValueError, FileNotFoundError) as error:
            found[release] = type(error).__name__
assert not {"kinetics", "kinetics_tools"} & sys.modules.keys()
print("ANSWER" + json.dumps(answer))
"""


def answer_of(client: Client) -> Any:
    """Return the last line that a client printed."""
    assert client.returncode == 0, client.stderr
    return json.loads(client.stdout.rpartition("ANSWER")[2])


def readers_see(
    reader: Clients, revisions: list[str] | None = None, repo_id: str = REPO, **options: Any
) -> dict[str, Any]:
    """Return the files that readers of main see, or with revisions, of each."""
    found: dict[str, Any] = answer_of(reader.run(READ, repo_id, *(revisions or ["main"]), token=ANN, **options))
    return found if revisions else dict(found["main"])


# ---- Pushing


def quiet(*args: Any, **options: Any) -> Any:
    """In this process."""
    return push(*args, console=Console(quiet=True), **options)


def run(pusher: Clients, *arguments: object, token: str | None = ANN, xet: bool = False) -> Client:
    """The command, in a process of its own."""
    return pusher.run(MAIN, "push", *arguments, token=token, xet=xet)


def killed_pushes(hub: Hub, pusher: Clients, out: Path, *, kills: int, seed: int, xet: bool = False) -> int:
    """Pushes that get SIGKILL at random moments, and then one that does not; how many were killed before their end.

    A moment is a number of bytes that the hub has received, so that it comes on slow machines, too.
    """
    rng, killed = random.Random(seed), 0
    step = size(out) / (2 * max(kills, 1))  # what is in flight at a kill comes again
    for _ in range(kills):
        client = pusher.start(MAIN, "push", out, REPO, token=ANN, xet=xet)
        moment = hub.bytes_received() + rng.uniform(0, step)
        while client.poll() is None and hub.bytes_received() < moment:
            time.sleep(0.02)  # counting takes time from the hub
        killed += client.poll() is None
        client.kill()
        assert "Traceback" not in client.stderr, client.stderr
    done = run(pusher, out, REPO, xet=xet)
    assert done.returncode == 0, done.stderr
    return killed
