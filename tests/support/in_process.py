"""Work of processes done in the process of a test: starting processes takes most of the time of a small run."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest


def run_here(function: Callable[[Any], Any], items: Any, **_: Any) -> Iterator[tuple[Any, Any]]:
    """Do what `kinetics_tools.run.run` does, in this process."""
    yield from ((key, function(item)) for key, item in items)


@pytest.fixture
def worker_processes() -> None:
    """Probe in the processes of the command, unlike other tests under `probed_here`."""


@pytest.fixture
def probed_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Probe clips in this process, but for tests that ask for `worker_processes`."""
    if "worker_processes" not in request.fixturenames:
        monkeypatch.setattr("kinetics_tools.probing.files.run_processes", run_here)
