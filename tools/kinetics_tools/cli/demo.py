"""`kinetics demo`."""

from pathlib import Path
from typing import Annotated

import kinetics_tools
from kinetics_tools.cli.options import OUTPUT, examples, option

EPILOG = examples("kinetics demo --out /tmp/kinetics-demo")


_OUT = "Output directory: new, empty, or of an earlier demo."


def demo(out: Annotated[Path, option(OUTPUT, _OUT)] = Path("demo")) -> None:
    """Make a small sample of every release, without downloads. Then show how to load, read and publish it."""
    kinetics_tools.run_demo(out)
