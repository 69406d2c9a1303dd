"""Programs in processes forked from a server that has imported torch and datasets, which takes seconds."""

import contextlib
import json
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.support.preloaded"])

# It starts in 10 ms, asks for a fork that takes its place, and ends with it.
_STAND_IN = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect({address!r})
    request = json.dumps([[os.path.basename(sys.argv[0]), *sys.argv[1:]], os.getcwd(), dict(os.environ)])
    socket.send_fds(server, [request.encode()], [0, 1, 2])
    sys.exit(int(server.recv(8)))
"""


class Script:
    """A Python script that runs with `arguments`, in an environment with `env`; its output goes to the file `log`."""

    def __init__(self, path: Path, *arguments: object, log: Path, env: dict[str, str] | None = None):
        self._log = log
        with open(os.devnull) as nothing, log.open("w") as output:
            streams = [nothing.fileno(), output.fileno(), output.fileno()]
            words = ["python", str(path), *map(str, arguments)]
            self._process = _start(words, os.getcwd(), {**os.environ, **(env or {})}, streams)

    def is_running(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        """End the process and those that it started by SIGKILL, if it still runs."""
        _kill(self._process)

    def wait(self) -> tuple[int, str]:
        """Return the exit code and the output."""
        self._process.join(300)
        assert self._process.exitcode is not None, f"still running: {self._log.read_text()}"
        return self._process.exitcode, self._log.read_text()


@pytest.fixture(scope="session")
def forked_commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory for PATH: its `python` and `kinetics` run in forks. A fork gets SIGKILL when its command ends."""
    folder = tmp_path_factory.mktemp("bin")
    address = str(folder / "forks")
    for name in ("python", "kinetics"):
        (folder / name).write_text(_STAND_IN.format(python=sys.executable, address=address))
        (folder / name).chmod(0o755)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(address)
        listener.listen()
        threading.Thread(target=_serve, args=[listener], daemon=True).start()
        yield folder
        listener.shutdown(socket.SHUT_RDWR)


def _serve(listener: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the fixture ended
        while True:
            threading.Thread(target=_answer, args=[listener.accept()[0]], daemon=True).start()


def _answer(connection: socket.socket) -> None:
    with connection:
        request, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        process = _start(*json.loads(request), streams)
        for stream in streams:
            os.close(stream)
        if connection in wait([process.sentinel, connection]):
            _kill(process)
        process.join()
        with contextlib.suppress(BrokenPipeError):  # the command was killed
            connection.send(str(process.exitcode).encode())


def _kill(process: Any) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _start(words: list[str], folder: str, env: dict[str, str], streams: list[int]) -> Any:
    """Start a command that is a stand-in's name with its arguments."""
    # A connection can be given to a process; an integer would be the number of another file there.
    given = [Connection(os.dup(stream)) for stream in streams]
    process = CONTEXT.Process(target=_run, args=(words, folder, env, given))
    process.start()
    for one in given:
        one.close()
    return process


def _run(words: list[str], folder: str, env: dict[str, str], streams: list[Connection]) -> None:
    os.setpgrp()
    for number, stream in enumerate(streams):
        os.dup2(stream.fileno(), number)
        stream.close()
    multiprocessing.set_start_method(None, force=True)  # the default, as in any program, and not that of this process
    sys.stdin = os.fdopen(0)
    sys.stdout.reconfigure(line_buffering=True)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    import datasets

    home = Path(env["HF_HOME"])  # which `datasets` read when it was imported
    datasets.config.HF_DATASETS_CACHE = home / "datasets"
    datasets.config.DOWNLOADED_DATASETS_PATH = home / "datasets" / "downloads"
    datasets.config.EXTRACTED_DATASETS_PATH = home / "datasets" / "downloads" / "extracted"
    sys.path[:0] = [entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry]
    if words[0] == "kinetics":
        from kinetics_tools.cli.app import main

        sys.argv = words
        main()
    elif words[1] == "-c":
        sys.argv = words[1:2] + words[3:]
        sys.path.insert(0, "")
        module = sys.modules["__main__"] = ModuleType("__main__")
        exec(words[2], vars(module))
    else:
        sys.argv = words[1:]
        sys.path.insert(0, os.path.dirname(words[1]))
        runpy.run_path(words[1], run_name="__main__")
