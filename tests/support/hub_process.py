"""Processes around the tests' Hub: the environment of its clients, and a Hub that a test may kill and start again."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.support.fault_server import Fault
from tests.support.hub_server import Request, received


def environment(url: str, home: Path | str, *, token: str | None = None, xet: bool = False) -> dict[str, str]:
    """Return the environment of a process that uses the hub at `url`, read when huggingface_hub is imported.

    One `home` for each hub and user: the cache in it knows neither, and would give private files to anyone.
    """
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        **({"HF_TOKEN": token} if token else {"HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}),
        "HF_HUB_DISABLE_XET": "0" if xet else "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",  # datasets would wait for another host
        "NO_PROXY": "127.0.0.1,localhost",
    }


class HubProcess:
    """A hub in a process of its own, which shares no interpreter lock with the client and can be killed.

    It takes the `options` of Hub, serves while the `with` block runs, and ends with this process too, however
    that dies.
    """

    def __init__(self, root: Path | str, *, faults: Iterable[Fault] = (), **options: Any) -> None:
        self._log = Path(options.setdefault("log", str(Path(root) / "log")))
        self._options = {**options, "faults": [asdict(fault) for fault in faults]}
        self._command = [sys.executable, "-m", "tests.support.hub", str(root), "--until-stdin-closes", "--options"]

    def __enter__(self) -> "HubProcess":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)

    def start(self) -> None:
        """Also brings a killed one back, at the same URL; its faults begin anew."""
        command = [*self._command, json.dumps(self._options)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError(f"hub of {self._command[2]!r} did not start; its error is on stderr above")
        self._options["port"] = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(timeout=30)

    @property
    def requests(self) -> list[Request]:
        """Return the answered requests, in order."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [Request(**json.loads(line)) for line in lines]

    def bytes_received(self, pattern: str = "*") -> int:
        return received(self.requests, pattern)

    def wait_for(self, condition: Callable[[Request], bool], seconds: float = 30) -> None:
        """Waits for a request that is answered, or stalls, and meets the condition."""
        deadline = time.monotonic() + seconds
        while not any(map(condition, self.requests)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no such request in {seconds} s")
            time.sleep(0.02)
