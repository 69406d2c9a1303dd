"""What all tests share: caches of their own, no network, the real files, and skips that can be made failures."""

import functools
import importlib.util
import os
import shutil
import signal
import socket
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

from tests.support.clients import PYTHONPATH

pytest_plugins = ["tests.support.clip_tree"]  # clips and a prepared folder that tests of several folders share

# `datasets` and `huggingface_hub` read these when they are imported, which no module does before this one.
_HOME = tempfile.mkdtemp(prefix="kinetics-tests-")
for _name in [name for name in os.environ if name.startswith("HF_")]:
    del os.environ[_name]
os.environ.update(HF_HOME=_HOME, HF_HUB_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1", TOKENIZERS_PARALLELISM="false")
os.environ.pop("KINETICS_MIRROR", None)
os.environ["PYTHONPATH"] = PYTHONPATH

# Started in the background of a shell, a process ignores Ctrl-C, and so do those that it starts. Only a main thread can
# change that; a worker of pytest-xdist, which may have this one on another thread, inherits it from who started it.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No test may depend on how fast the machine is.
hypothesis.settings.register_profile("kinetics", deadline=None)
hypothesis.settings.load_profile("kinetics")

_LOOPBACK = ("127.0.0.1", "::1", "localhost", None, "")


def pytest_make_parametrize_id(val: object) -> str | None:
    """Names long bytes by their length: gzip's hold the time, and all workers must collect the same names."""
    return f"{len(val)} bytes" if isinstance(val, bytes) and len(val) > 16 else None


def pytest_unconfigure() -> None:
    shutil.rmtree(_HOME, ignore_errors=True)


def _lacking(what: str) -> None:
    """Skips a test that lacks `what`; under KINETICS_TESTS_MUST_RUN=1, which CI sets, it fails instead."""
    if os.environ.get("KINETICS_TESTS_MUST_RUN") == "1":
        pytest.fail(f"{what} (KINETICS_TESTS_MUST_RUN=1 allows no skip)", pytrace=False)
    pytest.skip(what)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with `annotations/` and `clips/`, real files that the project does not contain."""
    folder = os.environ.get("KINETICS_SHARED")
    if not folder or not Path(folder, "annotations").is_dir():
        _lacking("set KINETICS_SHARED to the folder with the real annotation files and clips")
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
        _lacking(problem)
    import torch

    return torch


@pytest.fixture
def torchdata(torch: ModuleType) -> ModuleType:
    """torchdata with its loader whose state can be kept."""
    problem = _import_problem("torchdata.stateful_dataloader")
    if problem:
        _lacking(problem)
    import torchdata

    return torchdata


@pytest.fixture
def torchcodec(torch: ModuleType) -> ModuleType:
    """torchcodec with FFmpeg's shared libraries, under a `datasets` that decodes with it."""
    import datasets

    if not datasets.Video.dtype.startswith("torchcodec."):
        pytest.skip(f"datasets {datasets.__version__} decodes video with {datasets.Video.dtype}, not torchcodec")
    problem = _import_problem("torchcodec.decoders")
    if problem:
        _lacking(problem)
    import torchcodec

    return torchcodec


@pytest.fixture
def ray() -> dict[str, str]:
    """The environment for a process that uses Ray, on this machine alone.

    Not this process: `ray.init` leaves a handler of SIGTERM behind, with which pools of later tests never end.
    """
    if sys.version_info < (3, 14) and importlib.util.find_spec("ray") is None:
        _lacking("Ray is not installed")
    elif importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not there for this Python")
    return {
        **os.environ,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    }


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
    """A request that would leave this machine fails its test, even where code retries after OSError."""
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
def hf_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of this test's own caches: `datasets` and, in it, `downloads`."""
    import datasets

    folder = tmp_path_factory.mktemp("hf")
    cache = folder / "datasets"
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache)
    monkeypatch.setattr(datasets.config, "DOWNLOADED_DATASETS_PATH", cache / "downloads")
    monkeypatch.setattr(datasets.config, "EXTRACTED_DATASETS_PATH", cache / "downloads" / "extracted")
    datasets.disable_progress_bars()
    yield cache
    shutil.rmtree(folder, ignore_errors=True)
