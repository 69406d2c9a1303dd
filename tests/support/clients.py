"""Programs in a fresh interpreter, as users run them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# Arrow threads may outlive a stream of Parquet and abort the interpreter at exit, after all work is done
# (https://github.com/huggingface/datasets/issues/7566, https://github.com/apache/arrow/issues/45214).
ROOT = Path(__file__).resolve().parents[2]
# A child process must import this checkout, not the one that is installed.
PYTHONPATH = os.pathsep.join(filter(None, [str(ROOT), str(ROOT / "tools"), os.environ.get("PYTHONPATH")]))

_LEAVE = "\nimport os, sys\nsys.stdout.flush()\nos._exit(0)\n"

KINETICS = [sys.executable, "-c", "from kinetics_tools.cli.app import main; main()"]


def program(code: str, *arguments: object) -> list[str]:
    """Return the command that runs `code`."""
    return [sys.executable, "-c", code + _LEAVE, *map(str, arguments)]


def run_program(code: str, *arguments: object, **options: Any) -> str:
    """Run `code` and return what it prints; `options` go to `subprocess.run`.

    Raises:
        RuntimeError: the program failed; the message holds its standard error.
    """
    done = subprocess.run(program(code, *arguments), capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"status {done.returncode}:\n{done.stderr}")
    return done.stdout
