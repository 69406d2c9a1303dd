"""What the benchmarks share: pinning, alternating runs in fresh processes, made data, and the table they print.

Importing this pins the process, and what it starts, to one core, before Arrow counts the cores. A benchmark
measures in processes that `fresh` starts, so that no side inherits another's memory, caches or warm imports.
"""

import contextlib
import csv
import importlib.metadata
import itertools
import json
import math
import multiprocessing
import os
import platform
import random
import re
import resource
import signal
import string
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeVar

CORES = sorted(os.sched_getaffinity(0))
os.sched_setaffinity(0, CORES[:1])

import pyarrow as pa  # noqa: E402

pa.set_cpu_count(1)

sys.path.append(str(Path(__file__).resolve().parents[1]))
from tests.support import fault_server as fault_server  # noqa: E402
from tests.support import mirror as mirror  # noqa: E402

K = TypeVar("K")
T = TypeVar("T")

# (label, youtube_id, time_start, time_end) in whole seconds, as tests/mirror.py takes them.
Row = tuple[str, str, int, int]
Measured = tuple[float, float]  # seconds of processor time, and peak memory in MB

ID_CHARACTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
_QUIET = {
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "DATASETS_VERBOSITY": "error",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    # Where there is no network, `datasets` waits for seconds until it gives up counting a download.
    "HF_UPDATE_DOWNLOAD_COUNTS": "0",
}


# ---- Running ------------------------------------------------------------------------------------------------


def fresh(function: Callable[..., Any], *args: Any, env: Mapping[str, str] | None = None) -> Any:
    """What `function(*args)` returns in a new process, with an empty cache directory that goes with it."""
    with (
        tempfile.TemporaryDirectory(prefix="kinetics-bench-home-") as home,
        _environment({"HF_HOME": home, **_QUIET, **(env or {})}),
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
    ):
        return pool.submit(function, *args).result()


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def measured(function: Callable[..., Any], *args: Any) -> "Measured":
    """Processor time of `function(*args)` with its worker processes, and the peak of the memory of all of them."""
    peak, is_done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not is_done.wait(0.2):
            peak = max(peak, _resident_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    start = processor_seconds()
    function(*args)
    seconds = processor_seconds() - start
    is_done.set()
    watcher.join()
    alone = int(re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024
    return seconds, max(alone, peak) / 1e6


def processor_seconds() -> float:
    """Processor time of this process and of the processes that it started and that have ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _resident_bytes() -> int:
    """Memory of this process and of its child processes; pages that they share count once for each."""
    pages = 0
    children = (path.read_text().split() for path in Path("/proc/self/task").glob("*/children"))
    for pid in ("self", *itertools.chain.from_iterable(children)):
        with contextlib.suppress(OSError):  # it has ended
            pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def import_decoders() -> None:
    """What `datasets` would import by itself at the first clip, where it is installed."""
    with contextlib.suppress(ImportError, OSError, RuntimeError):
        import torchcodec.decoders  # noqa: F401


def alternate(sides: Mapping[K, Callable[[], T]], *, rounds: int) -> dict[K, list[T]]:
    """What each side returned in each round; the sides take turns, so that a busy machine slows all of them."""
    measured: dict[K, list[T]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            measured[name].append(side())
    return measured


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median of the rounds' ratios, which forgives what slows both sides of a round."""
    return median(one / other for one, other in zip(numerators, denominators, strict=True))


@contextlib.contextmanager
def serve(root: Path, *, faults: Sequence[fault_server.Fault] = (), log: Path | None = None) -> Iterator[str]:
    """The URL of a server of `root` that runs on another core than the client, where there is one."""
    os.sched_setaffinity(0, CORES[-1:])
    try:
        server = contextlib.ExitStack()
        url = server.enter_context(fault_server.spawn(root, faults=faults, log=log))
    finally:
        os.sched_setaffinity(0, CORES[:1])
    with server:
        yield url


@contextlib.contextmanager
def workspace() -> Iterator[Path]:
    """A directory for what a benchmark makes, removed at its end, which may be Ctrl-C or `kill`."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="kinetics-bench-") as directory:
        yield Path(directory)


# ---- Printing -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """One line of the table; `ratio` is held to `target`, for a bound or without one (a figure to look at)."""

    claim: str
    ours: str
    other: str
    ratio: float
    bound: Literal["at least", "at most", "no target"]
    target: float = 0.0

    @property
    def missed(self) -> bool:
        return {
            "at least": self.ratio < self.target,
            "at most": self.ratio > self.target,
            "no target": False,
        }[self.bound]


def growth_results(
    found: Mapping[str, Mapping[int, Measured]], limits: Mapping[str, tuple[float, float]]
) -> list[Result]:
    """Time and memory at the largest size against `limits` in seconds and MB, and the exponent of the growth."""
    results = []
    for what, sizes in found.items():
        (few, (short, _)), (many, (long, megabytes)) = min(sizes.items()), max(sizes.items())
        seconds, most = limits[what]
        shown = f"{many:,}: {long:.1f} s"
        if seconds < math.inf:
            results.append(Result(f"{what}, time", shown, f"{seconds} s", long / seconds, "at most", 1))
        results.append(Result(f"{what}, memory", f"{megabytes:,.0f} MB", f"{most} MB", megabytes / most, "at most", 1))
        exponent = math.log(long / short) / math.log(many / few)
        results.append(Result(f"{what}, growth", shown, f"{few:,}: {short:.2f} s", exponent, "at most", 1.1))
    return results


def report(title: str, results: Sequence[Result]) -> None:
    """Prints the table, keeps it under results/ for the plots of the docs, and ends the program.

    Exits with status 1 if a target is missed.
    """
    heads = ("claim", "ours", "against", "ratio", "target", "")
    lines = [heads]
    for result in results:
        target = result.bound if result.bound == "no target" else f"{result.bound} {result.target:g}"
        verdict = "" if result.bound == "no target" else "MISSED" if result.missed else "met"
        lines.append((result.claim, result.ours, result.other, f"{result.ratio:.3g}", target, verdict))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print(f"{title}\n{_machine()}")
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    kept = {"title": title, "machine": _machine(), "results": [asdict(result) for result in results]}
    path = Path(__file__).with_name("results") / f"{Path(sys.argv[0]).stem}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(kept, indent=2) + "\n")
    sys.exit(any(result.missed for result in results))


def _machine() -> str:
    cpu = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        cpu = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[0]
    versions = []
    for name in ("datasets", "pyarrow", "pandas", "fsspec", "aiohttp"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    load = os.getloadavg()[0]
    return (
        f"{date.today()}, {cpu}, 1 of {len(CORES)} cores (load {load:.1f}), "
        f"Python {platform.python_version()}, {', '.join(versions)}"
    )


# ---- Data ---------------------------------------------------------------------------------------------------


def shared() -> Path | None:
    """The folder of real annotation files and clips, where there is one."""
    folder = os.environ.get("KINETICS_SHARED")
    return Path(folder) if folder else None


def annotation_rows(count: int) -> list[Row]:
    """Rows of 700-2020, each of a video of its own.

    Real ones repeated, with the first letters of the ids changed from copy to copy; without the real file, made
    ones of the same shape.
    """
    folder = shared()
    if folder is None:
        return _made_rows(count)
    with open(folder / "annotations" / "deepmind_k700_2020_validate.csv", newline="") as file:
        real = list({row[1]: row for row in list(csv.reader(file))[1:]}.values())
    rows = []
    for number in range(count):
        copy, position = divmod(number, len(real))
        label, youtube_id, start, end, _ = real[position]
        first = "".join(ID_CHARACTERS[(ID_CHARACTERS.index(one) + copy) % 64] for one in youtube_id[:2])
        rows.append((label, first + youtube_id[2:], int(start), int(end)))
    assert len({row[1] for row in rows}) == count, "two copies of a row got the same id"
    return rows


def _made_rows(count: int) -> list[Row]:
    import kinetics

    rng = random.Random(0)
    rows = []
    for _ in range(count):
        start = int(rng.expovariate(1 / 90))
        youtube_id = "".join(rng.choices(ID_CHARACTERS, k=11))
        rows.append((rng.choice(kinetics.LABELS["700-2020"]), youtube_id, start, start + 10))
    return rows


def clip_file(row: Row) -> str:
    """Name of the file of a clip."""
    return f"{row[1]}_{row[2]:06d}_{row[3]:06d}.mp4"


def marked(content: bytes, number: int) -> bytes:
    """The bytes of an mp4 with a box behind its end that tells it from the others."""
    return content + (16).to_bytes(4, "big") + b"free" + number.to_bytes(8, "big")


def write_csv(path: Path, rows: Sequence[Row], split: str) -> Path:
    """Writes an annotation file as DeepMind publishes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mirror.annotation_csv(rows, split))
    return path


def write_tree(directory: Path, rows: Sequence[Row], *, by_class: bool) -> Path:
    """Makes an empty file for each row, in class directories or in one, and returns the directory."""
    directory.mkdir(parents=True)
    if by_class:
        for label in {row[0] for row in rows}:
            (directory / label).mkdir()
    for row in rows:
        name = f"{row[0]}/{clip_file(row)}" if by_class else clip_file(row)
        os.close(os.open(directory / name, os.O_CREAT | os.O_WRONLY, 0o644))
    return directory
