"""A report on a prepared release of 650,000 clips: time, memory and the size of its page, and growth from 65,000.

And the pages of `kinetics view`: from the shards to the first page over HTTP, and the slowest of some filters. Its
imports, most of them of Gradio, are a line of their own. Charts are made later, when a browser asks.

The shards are made, with a byte for each video, so that no pictures can be made of them; those take the time of 700
clips however large a release is. Figures are CPU seconds of one core. Those of the view are compared with pandas.

    python benchmarks/report.py
"""

import resource
import sys
import time
import urllib.request
from math import log
from pathlib import Path
from typing import TYPE_CHECKING

from _common import Result, fresh, report, workspace

sys.path.append(str(Path(__file__).resolve().parents[1]))

if TYPE_CHECKING:
    import pyarrow as pa

FILTERS = [
    {"label": "abseiling", "text": "00tr0012"},
    {"text": "00TR0012"},
    {"split": "train", "status": "present", "resolution": "340x256", "has_audio": False, "seconds": (1, 11)},
]
SIZES = {65_000: 128, 650_000: 1_280}  # clips -> shards


def make(folder: Path, clips: int) -> None:
    from tests.support.prepared import write_prepared

    write_prepared(folder, "700", "train", shards=SIZES[clips], clips=clips, clip_bytes=1)


def measured(folder: Path) -> tuple[float, float, int]:
    """CPU seconds, peak memory in MB, and bytes of the page."""
    from kinetics_tools.viewing import write_report

    start = time.process_time()
    page = write_report(folder, "700", out=folder.with_name(f"{folder.name}-report"), workers=1).path
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    return time.process_time() - start, peak, page.stat().st_size


def imported() -> float:
    """CPU seconds of the imports of the app."""
    start = time.process_time()
    import kinetics_tools.viewing.app  # noqa: F401

    return time.process_time() - start


def viewed(folder: Path) -> tuple[float, float]:
    """CPU seconds from the shards to the first page over HTTP, after the imports; and those of the slowest filter."""
    from kinetics_tools.viewing import read_clips
    from kinetics_tools.viewing.app import serve
    from kinetics_tools.viewing.filters import Filter
    from kinetics_tools.viewing.viewer import Viewer

    start = time.process_time()
    viewer = Viewer(read_clips(folder, "700"))
    app = serve(viewer)
    with urllib.request.urlopen(app.local_url) as answer:
        assert b"Kinetics-700" in answer.read()
    ready = time.process_time() - start
    check(viewer.table)
    slowest = 0.0
    for wanted in FILTERS:
        start = time.process_time()
        viewer.page(Filter(**wanted), 1)
        slowest = max(slowest, time.process_time() - start)
    app.close(verbose=False)
    return ready, slowest


def check(table: "pa.Table") -> None:
    """Compare figures of the pages with those of pandas on the same table."""
    from kinetics_tools.viewing import statistics

    frame = table.select(["split", "label", "youtube_id", "duration", "status"]).to_pandas()
    groups = frame.groupby(["split", "label"]).size().to_dict()
    found = statistics.by_class(table).to_pylist()
    assert {(row["split"], row["label"]): row["present"] for row in found} == groups
    assert {row["clips"]: row["videos"] for row in statistics.clips_per_video(table).to_pylist()} == (
        frame.groupby("youtube_id").size().value_counts().to_dict()
    )
    totals = statistics.totals(table)
    assert totals["present"] == (frame.status == "present").sum() == len(frame)
    assert abs(totals["hours"] - frame.duration.sum() / 3600) < 1e-6 * totals["hours"]


def main() -> None:
    figures = {}
    with workspace() as directory:
        for clips in SIZES:
            make(directory / str(clips), clips)
            figures[clips] = fresh(measured, directory / str(clips))
        ready, filtered = fresh(viewed, directory / str(clips))
        imports = fresh(imported)
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
            Result("view: imports before that", f"{imports:.2f} s", "-", 0, "no target"),
        ],
    )


if __name__ == "__main__":
    main()
