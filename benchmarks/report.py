"""A report on a prepared release of 650,000 clips: time, memory and the size of its page, and growth from 65,000.

And the pages of `kinetics view`: from the table to the first page, and a filter by class and a part of an id.

The shards are made, with a byte for each video, so that no pictures can be made of them; those take the time of 700
clips however large a release is. Figures are of one core.

    python benchmarks/report.py
"""

import resource
import sys
import time
from math import log
from pathlib import Path

from _common import Result, fresh, report, workspace

sys.path.append(str(Path(__file__).resolve().parents[1]))

SIZES = {65_000: 128, 650_000: 1_280}  # clips -> shards


def make(folder: Path, clips: int) -> None:
    from tests.support.prepared import write_prepared

    write_prepared(folder, "700", "train", shards=SIZES[clips], clips=clips, clip_bytes=1)


def measured(folder: Path) -> tuple[float, float, int]:
    """Seconds, peak memory in MB, and bytes of the page."""
    from kinetics_tools.viewing import write_report

    start = time.perf_counter()
    page = write_report(folder, "700", out=folder / "report", workers=1)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return time.perf_counter() - start, peak, page.stat().st_size


def viewed(folder: Path) -> tuple[float, float]:
    """Seconds from the table of clips to the app with its first page, and seconds of a filter."""
    from kinetics_tools.viewing import read_clips
    from kinetics_tools.viewing.app import build
    from kinetics_tools.viewing.filters import Filter
    from kinetics_tools.viewing.viewer import Viewer

    clips = read_clips(folder, "700")
    start = time.perf_counter()
    viewer = Viewer(clips)
    build(viewer)
    ready = time.perf_counter()
    viewer.page(Filter(label="abseiling", text="00tr0012"), 1)
    return ready - start, time.perf_counter() - ready


def main() -> None:
    figures = {}
    with workspace() as directory:
        for clips in SIZES:
            make(directory / str(clips), clips)
            figures[clips] = fresh(measured, directory / str(clips))
        ready, filtered = fresh(viewed, directory / str(clips))
    (few, _, _), (seconds, megabytes, size) = figures.values()
    growth = log(seconds / few) / log(10)
    report(
        "Report of a prepared release",
        [
            Result("650,000 clips", f"{seconds:.1f} s", "120 s", seconds / 120, "at most", 1),
            Result("page of 650,000 clips", f"{size / 1e6:.2f} MB", "5 MB", size / 5e6, "at most", 1),
            Result("memory for 650,000 clips", f"{megabytes:.0f} MB", "1,500 MB", megabytes / 1500, "at most", 1),
            Result("growth exponent from 65,000", f"{growth:.2f}", "1.1", growth / 1.1, "at most", 1),
            Result("view: first page of 650,000 clips", f"{ready:.2f} s", "2 s", ready / 2, "at most", 1),
            Result("view: a filter of 650,000 clips", f"{filtered:.3f} s", "0.3 s", filtered / 0.3, "at most", 1),
        ],
    )


if __name__ == "__main__":
    main()
