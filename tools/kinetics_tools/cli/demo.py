"""`kinetics demo`."""

from pathlib import Path
from typing import Annotated

import kinetics_tools
from kinetics_tools.cli.options import examples, option

EPILOG = examples("kinetics demo --out /tmp/kinetics-demo")


def demo(out: Annotated[Path, option("Output directory: new, empty, or of an earlier demo.")] = Path("demo")) -> None:
    """Make a small sample of every release, without downloads, and walk through loading and reading it."""
    kinetics_tools.run_demo(out)
