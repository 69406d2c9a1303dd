"""Scripts in processes forked from a server that has imported torch and datasets, which takes seconds."""

import multiprocessing
import os
import runpy
import sys
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_MODULES = [
    "datasets",
    "pyarrow.parquet",
    "torch.distributed",
    "torch._inductor",
    "torchdata.stateful_dataloader",
    "kinetics_tools.sampling.frames",
]
_CONTEXT.set_forkserver_preload(_MODULES)


class Script:
    """A Python script that runs with `arguments`, in an environment with `env`; its output goes to the file `log`."""

    def __init__(self, path: Path, *arguments: object, log: Path, env: dict[str, str] | None = None):
        self._log = log
        os.environ["OMP_NUM_THREADS"] = "1"  # of the server, which reads it when torch is imported
        given = (str(path), [*map(str, arguments)], dict(env or {}), str(log))
        self._process = _CONTEXT.Process(target=_run, args=given)
        self._process.start()

    def is_running(self) -> bool:
        return self._process.is_alive()

    def kill(self) -> None:
        """End the process by SIGKILL, if it still runs."""
        self._process.kill()

    def wait(self) -> tuple[int, str]:
        """Return the exit code and the output."""
        self._process.join(300)
        assert self._process.exitcode is not None, f"still running: {self._log.read_text()}"
        return self._process.exitcode, self._log.read_text()


def _run(path: str, arguments: list[str], env: dict[str, str], log: str) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1)
    sys.stderr = os.fdopen(2, "w", buffering=1)
    os.environ.update(env)
    sys.path[:0] = [entry for entry in env.get("PYTHONPATH", "").split(os.pathsep) if entry]
    sys.path.insert(0, os.path.dirname(path))
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name="__main__")
