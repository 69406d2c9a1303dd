"""Work on a whole release: memory, and how the processor time grows with the number of clips.

The first and the second `verify` of a tree, and the start of `KineticsClips`, first and again, on 10,000, 100,000 and
650,000 clips; `KineticsClips` on as many rows with the columns of prepared clips. Each runs in a process of its own, on
one core with two workers. Processor time and memory are sums over all processes; each further worker takes 50 MB. The
growth exponent is log(time of the largest / time of the smallest) / log(ratio of sizes); 1 is linear.

The files of a tree are copies of one small clip, each with a few bytes behind its end that tell it from the others.

    python benchmarks/full_size.py
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from _common import (
    Measured,
    annotation_rows,
    clip_file,
    fresh,
    growth_results,
    marked,
    measured,
    report,
    workspace,
    write_csv,
)
from kinetics_tools.media import write_clip
from kinetics_tools.probing.cache import CACHE_NAME
from kinetics_tools.sampling import KineticsClips
from kinetics_tools.verification import verify

RELEASE = "700-2020"
CLIPS = (10_000, 100_000, 650_000)
WORKERS = 2
LIMITS = {  # seconds and MB at the full size
    "verify, first": (math.inf, 700),
    "verify, unchanged clips": (30, 700),
    "KineticsClips, first start": (math.inf, 600),
    "KineticsClips, started again": (30, 600),
    "KineticsClips, prepared columns": (10, 600),
}


# ---- What is measured


def verify_first(directory: Path, count: int) -> None:
    found = verify(RELEASE, directory, workers=WORKERS)
    assert (found.opened, found.unchanged) == (count, 0)
    assert found.is_complete


def verify_again(directory: Path, count: int) -> None:
    found = verify(RELEASE, directory, workers=WORKERS)
    assert (found.opened, found.unchanged) == (0, count)
    assert found.is_complete


def start_clips_first(directory: Path, count: int) -> None:
    (directory / CACHE_NAME).unlink()
    start_clips(directory, count)


def start_clips(directory: Path, count: int) -> None:
    assert KineticsClips(directory, 8, RELEASE, num_workers=WORKERS, tensors=False).num_videos == count


def start_rows(path: Path, count: int) -> None:
    rows = datasets.Dataset.from_parquet(str(path), cache_dir=str(path.parent / "cache"))
    assert KineticsClips(rows, 8, tensors=False).num_videos == count


# ---- Its data


def make_tree(directory: Path, count: int) -> Path:
    """A tree of small clips in class directories."""
    levels = np.random.default_rng(0).integers(0, 256, 40)
    rows = annotation_rows(count)
    write_clip(directory.parent / "clip.mp4", (np.full((48, 64, 3), level, np.uint8) for level in levels), fps=4)
    content = (directory.parent / "clip.mp4").read_bytes()
    for label in sorted({row[0] for row in rows}):
        (directory / "train" / label).mkdir(parents=True)
    for number, row in enumerate(rows):
        (directory / "train" / row[0] / clip_file(row)).write_bytes(marked(content, number))
    write_csv(directory / "annotations" / "train.csv", rows, "train")
    return directory


def make_rows(path: Path, count: int) -> Path:
    videos = pa.StructArray.from_arrays(
        [pa.array([b"clip"] * count), pa.array(["clip.mp4"] * count)], ["bytes", "path"]
    )
    columns = {"video": videos, "num_frames": pa.array([40] * count, pa.int32()), "fps": pa.array([4.0] * count)}
    pq.write_table(pa.table(columns), path)
    return path


def main() -> None:
    found: dict[str, dict[int, Measured]] = {}

    def measure(what: str, function: Callable[..., Any], path: Path, count: int) -> None:
        found.setdefault(what, {})[count] = fresh(measured, function, path, count)
        print(what, count, found[what][count], flush=True)

    with workspace() as directory:
        for count in CLIPS:
            tree = make_tree(directory / f"tree-{count}", count)
            measure("verify, first", verify_first, tree, count)
            measure("verify, unchanged clips", verify_again, tree, count)
            measure("KineticsClips, started again", start_clips, tree, count)
            measure("KineticsClips, first start", start_clips_first, tree, count)
            measure(
                "KineticsClips, prepared columns", start_rows, make_rows(directory / f"{count}.parquet", count), count
            )
    report("full size: processor time and peak memory of all processes", growth_results(found, LIMITS))


if __name__ == "__main__":
    main()
