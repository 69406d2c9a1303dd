"""Work over many items: crash-proof processes, threads, Ray, and the display of progress."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.run.console import PlainConsole
    from kinetics_tools.run.engines import check_engine, spread
    from kinetics_tools.run.processes import Crash, IdleProcesses, available_cores, run
    from kinetics_tools.run.progress import Progress
    from kinetics_tools.run.threads import Workers

__all__ = [
    "Crash",
    "IdleProcesses",
    "PlainConsole",
    "Progress",
    "Workers",
    "available_cores",
    "check_engine",
    "run",
    "spread",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "console": ["PlainConsole"],
        "engines": ["check_engine", "spread"],
        "processes": ["Crash", "IdleProcesses", "available_cores", "run"],
        "progress": ["Progress"],
        "threads": ["Workers"],
    },
)
