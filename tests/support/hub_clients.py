"""Clients of the tests' Hub in processes of their own, forked from one that has imported their libraries already.

A fresh Python takes two seconds to import them. A fork knows nothing of what other clients did, and may be killed.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import tests.support.quick_yaml  # noqa: F401
from tests.support.hub_process import environment

READER = ("datasets", "huggingface_hub", "pyarrow.parquet", "aiohttp")
PUSHER = (
    *READER,
    "pydantic.type_adapter",  # which typer imports for its first command
    "kinetics_tools.cli.app",
    "kinetics_tools.preparation.card.write",
    "kinetics_tools.publication.run",
    "kinetics_tools.publication.readback",
    "tests.support.hub_pushes",
)
MAIN = """
from kinetics_tools.cli.app import main
from tests.support.hub_pushes import SHARDS_WITH_CARD, changes
changes._SHARDS_WITH_CARD = SHARDS_WITH_CARD
main()
"""


class Client:
    """A running client. Its output is in files."""

    def __init__(self, clients: "Clients", pid: int, folder: Path):
        self._clients = clients
        self.pid = pid
        self._folder = folder
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None:
            self.returncode = self._clients.ask(wait=self.pid)
        return self.returncode

    def wait(self) -> int:
        if self.returncode is None:
            self.returncode = self._clients.ask(wait=self.pid, block=True)
        assert self.returncode is not None
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:  # not reaped yet, so the pid is still its own
            os.kill(self.pid, signal.SIGKILL)
        self.wait()

    @property
    def stdout(self) -> str:
        return (self._folder / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self._folder / "stderr").read_text()


class Clients:
    """Clients of the hub at `url`, which share a home; `modules` are what they have imported."""

    def __init__(self, url: str, home: Path, modules: tuple[str, ...], **env: str):
        self.home = home
        command = [sys.executable, "-m", "tests.support.hub_clients", *modules]
        self._process = subprocess.Popen(
            command,
            # Without torch, which `datasets` would import for nothing when it streams.
            env={**environment(url, home), "USE_TORCH": "0", **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=os.getcwd(),
        )

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def ask(self, **request: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def start(self, code: str, *arguments: object, token: str | None = None, xet: bool = False) -> Client:
        """Run `code` with `sys.argv[1:]`."""
        folder = Path(tempfile.mkdtemp(dir=self.home))
        env = {"HF_TOKEN": token} if token else {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}
        # What is in it is not sent again, even to a hub that was reset since.
        env["HF_XET_CACHE"] = os.environ.get("HF_XET_CACHE", str(self.home / "xet"))
        request = {"code": code, "argv": [*map(str, arguments)], "folder": str(folder), "env": env, "xet": xet}
        return Client(self, self.ask(**request), folder)

    def run(self, code: str, *arguments: object, **options: Any) -> Client:
        """Run `code` to its end."""
        client = self.start(code, *arguments, **options)
        client.wait()
        return client


@contextlib.contextmanager
def clients_of(url: str, home: Path, modules: tuple[str, ...], **env: str) -> Iterator[Clients]:
    """Clients for a `with` block."""
    home.mkdir(parents=True, exist_ok=True)
    clients = Clients(url, home, modules, **env)
    try:
        yield clients
    finally:
        clients.close()


# ---- In the process that forks --------------------------------------------------------------------------------


def _serve() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            pid, status = os.waitpid(request["wait"], 0 if request.get("block") else os.WNOHANG)
            answer: Any = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                _be_client(request)
        print(json.dumps(answer), flush=True)


def _be_client(request: Mapping[str, Any]) -> None:
    status = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        folder = request["folder"]
        for number, name in enumerate(("stdin", "stdout", "stderr")):
            path = os.devnull if name == "stdin" else os.path.join(folder, name)
            os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), number)
        os.chdir(folder)
        os.environ.update(request["env"])
        if request["env"].get("HF_TOKEN"):
            os.environ.pop("HF_HUB_DISABLE_IMPLICIT_TOKEN", None)
        from huggingface_hub import constants

        constants.HF_HUB_DISABLE_XET = not request["xet"]
        constants.HF_HUB_DISABLE_IMPLICIT_TOKEN = "HF_TOKEN" not in request["env"]
        sys.argv = ["client", *request["argv"]]
        code = compile(request["code"], "client", "exec")
        exec(code, {"__name__": "__main__"})
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1 if end.code else 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    for module in sys.argv[1:]:
        with contextlib.suppress(ImportError, OSError):
            __import__(module)
    _serve()
