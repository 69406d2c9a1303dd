"""Fixtures of tests of publishing: a Hub, clients of it in processes of their own, and prepared folders."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub
import pytest

from tests.support.hub import Hub
from tests.support.hub_clients import PUSHER, READER, Clients, clients_of
from tests.support.hub_pushes import linked_copy, reset, use
from tests.support.hub_token import ANN
from tests.support.prepared import write_prepared


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Makes this process Ann's; the seconds that were not waited."""
    waited: list[float] = []
    monkeypatch.setenv("HF_TOKEN", ANN)
    huggingface_hub.utils.disable_progress_bars()
    for name in ("huggingface_hub.utils._http", "kinetics_tools.io.retry"):
        monkeypatch.setattr(sys.modules[name], "time", SimpleNamespace(sleep=waited.append))
    return waited


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """Clients without Xet take its other way."""
    with Hub(tmp_path_factory.mktemp("hub"), xet=True) as hub:
        yield hub


@pytest.fixture
def hub(server: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """Empty, and the Hub of this process."""
    reset(server)
    monkeypatch.setenv("HF_XET_CACHE", str(tmp_path / "xet"))
    use(monkeypatch, server)
    return server


@pytest.fixture(scope="session")
def pusher(server: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    with clients_of(server.url, tmp_path_factory.mktemp("pusher"), PUSHER) as clients:
        yield clients


@pytest.fixture(scope="session")
def reader(server: Hub, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clients]:
    """That has not imported anything of ours."""
    with clients_of(server.url, tmp_path_factory.mktemp("reader"), READER) as clients:
        yield clients


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A validation split of 8 shards; do not change it."""
    out = tmp_path_factory.mktemp("small")
    write_prepared(out, "700", "validation", absent=["700va000003"])
    return out


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A train split of 16 shards, more than come with the card; do not change it."""
    out = tmp_path_factory.mktemp("large")
    write_prepared(out, "700", "train", shards=16, clips=16)
    return out


@pytest.fixture
def out(small: Path, tmp_path: Path) -> Path:
    """A copy of the small one."""
    return linked_copy(small, tmp_path / "out")
