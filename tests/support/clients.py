"""Programs of their own, as users run them: a fresh Python that knows what its environment says and nothing else."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Threads of Arrow may outlive a stream of Parquet and abort Python at its end, when all of its work is done
# (https://github.com/huggingface/datasets/issues/7566, https://github.com/apache/arrow/issues/45214).
_LEAVE = "\nimport os, sys\nsys.stdout.flush()\nos._exit(0)\n"

KINETICS = [sys.executable, "-c", "from kinetics_tools.cli.app import main; main()"]


def with_root() -> dict[str, str]:
    """Return an environment in which scripts anywhere can import `tests`."""
    paths = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def program(code: str, *arguments: object) -> list[str]:
    """The command that runs `code`."""
    return [sys.executable, "-c", code + _LEAVE, *map(str, arguments)]


def run_program(code: str, *arguments: object, **options: Any) -> str:
    """What `code` prints; `options` are those of `subprocess.run`. RuntimeError with its errors where it fails."""
    done = subprocess.run(program(code, *arguments), capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"status {done.returncode}:\n{done.stderr}")
    return done.stdout
