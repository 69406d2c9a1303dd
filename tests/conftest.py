"""Fixtures of all tests: caches, no network, real files, optional libraries, and skips that can be failures."""

import functools
import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import hypothesis
import pytest
from filelock import FileLock

import tests.support.quick_yaml  # noqa: F401
from tests.support.clients import PYTHONPATH

# Fixtures that tests of several folders share: clips and a prepared folder, a browser, and commands in forks.
pytest_plugins = [f"tests.support.{name}" for name in ("in_process", "clip_tree", "browser", "forked")]

# `datasets` and `huggingface_hub` read these when they are imported, which happens after this module runs.
_HOME = tempfile.mkdtemp(prefix="kinetics-tests-")
for _name in [name for name in os.environ if name.startswith("HF_")]:
    del os.environ[_name]
os.environ.update(HF_HOME=_HOME, HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")
os.environ.pop("KINETICS_MIRROR", None)
# Tests run on all cores already: threads of NumPy and torch would wait for each other.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
os.environ["PYTHONPATH"] = PYTHONPATH

# A process that a shell starts in the background ignores Ctrl-C, and so do its children. Only the main thread can
# change that; a pytest-xdist worker may run this on another thread, and inherits the setting from its parent.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test may depend on the speed of the machine.
hypothesis.settings.register_profile("kinetics", deadline=None)
hypothesis.settings.load_profile("kinetics")

_cache_numbers = itertools.count()
_LOOPBACK = ("127.0.0.1", "::1", "localhost", None, "")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name long bytes by their length: gzip stores the time, but all workers must collect the same names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) and len(val) > 16 else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with folders whose tests take seconds each, so that no worker has them left when the others are done."""
    items.sort(key=lambda item: item.path.parent.name not in ("docs", "viewing", "packaging", "conversion"))


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


def _skip(reason: str) -> None:
    """Skip a test, or fail it under KINETICS_TESTS_MUST_RUN=1, which CI sets."""
    if os.environ.get("KINETICS_TESTS_MUST_RUN") == "1":
        pytest.fail(f"{reason} (KINETICS_TESTS_MUST_RUN=1 allows no skip)", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The directory with `annotations/` and `clips/`: real files that are not part of the project."""
    folder = os.environ.get("KINETICS_SHARED")
    if not folder or not Path(folder, "annotations").is_dir():
        _skip("set KINETICS_SHARED to the folder with the real annotation files and clips")
    return Path(str(folder))


@functools.cache
def _import_problem(name: str) -> str | None:
    try:
        __import__(name)
    except (ImportError, OSError, RuntimeError) as error:  # torchcodec without FFmpeg: RuntimeError
        return f"{name} does not load: {str(error).strip().splitlines()[0]}"
    return None


@pytest.fixture
def torch() -> ModuleType:
    import datasets

    problem = _import_problem("torch")
    if problem and datasets.__version__.startswith("3."):
        pytest.skip("the oldest releases are tested without torch")
    if problem:
        _skip(problem)
    import torch

    return torch


@pytest.fixture
def torchdata(torch: ModuleType) -> ModuleType:
    """torchdata with its stateful loader."""
    problem = _import_problem("torchdata.stateful_dataloader")
    if problem:
        _skip(problem)
    import torchdata

    return torchdata


@pytest.fixture
def torchcodec(torch: ModuleType) -> ModuleType:
    """torchcodec with FFmpeg's shared libraries, if `datasets` decodes with it."""
    import datasets

    if not datasets.Video.dtype.startswith("torchcodec."):
        pytest.skip(f"datasets {datasets.__version__} decodes video with {datasets.Video.dtype}, not torchcodec")
    problem = _import_problem("torchcodec.decoders")
    if problem:
        _skip(problem)
    import torchcodec

    return torchcodec


@pytest.fixture
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a child process that uses Ray on this machine only; one test at a time has it.

    A test would join the cluster of another one, or kill its workers.

    Ray cannot run in the tests' own process: `ray.init` leaves a SIGTERM handler with which later pools never end.
    """
    if sys.version_info < (3, 14) and importlib.util.find_spec("ray") is None:
        _skip("Ray is not installed")
    elif importlib.util.find_spec("ray") is None:
        pytest.skip("Ray does not support this Python")
    root = tmp_path_factory.getbasetemp()
    with FileLock((root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "ray.lock"):
        yield {
            **os.environ,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        }


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB; `mount -o remount,size=4m` enlarges it."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(disk)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture(scope="session")
def demo_sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's sample of all releases with clips of 1 s, made once for all workers. Tests that write copy it."""
    from kinetics_tools.demo import make_sample

    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    with FileLock(root / "demo.lock"):
        make_sample(root / "demo", seconds=1)
    return root / "demo"


@pytest.fixture(autouse=True, scope="session")
def _only_loopback() -> Iterator[None]:
    """Fail a test whose request would leave this machine, even where code retries after OSError."""
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in _LOOPBACK:
            pytest.fail(f"a test connects to {address}")
        connect(self, address)

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host not in _LOOPBACK:
            pytest.fail(f"a test looks up {host!r}")
        return resolve(host, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
        yield


@pytest.fixture(autouse=True)
def hf_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The directory of the test's own caches, which `datasets` creates; downloads are in `downloads` below it."""
    import datasets

    cache = Path(_HOME, f"cache-{next(_cache_numbers)}")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", cache / "downloads")
    monkeypatch.setattr(datasets.config, "EXTRACTED_DATASETS_PATH", cache / "downloads" / "extracted")
    datasets.disable_progress_bars()
    yield cache
    if cache.exists():
        shutil.rmtree(cache, ignore_errors=True)
