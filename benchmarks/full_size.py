"""Work on a whole release: memory, and how the processor time grows with the number of clips.

The second `verify` of a tree, and the start of `KineticsClips`, first and again, on 10,000, 100,000 and 650,000 clips;
`KineticsClips` on as many rows with the columns of prepared clips; `evaluate` of 7,000 and 70,000 videos with 700
scores each, in three formats. Each runs in a process of its own, on one core with one worker. The growth exponent is
log(time of the largest / time of the smallest) / log(ratio of sizes); 1 is linear.

The files of a tree are hard links to one small clip, and verify's cache, which an earlier run leaves, is made with
another digest for each: otherwise all would be duplicates.

    python benchmarks/full_size.py
"""

import json
import math
import os
import re
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from _common import Result, annotation_rows, clip_file, fresh, report, workspace, write_csv
from kinetics_tools.evaluation import read_predictions
from kinetics_tools.media import write_clip
from kinetics_tools.probing.cache import _HEADER, CACHE_NAME
from kinetics_tools.releases import LABELS
from kinetics_tools.sampling import KineticsClips
from kinetics_tools.verification import verify

RELEASE = "700-2020"
CLIPS = (10_000, 100_000, 650_000)
FIRST_CLIPS = (10_000, 100_000)  # each of which is opened
VIDEOS = (7_000, 70_000)
ROWS = 7_000  # at once
LIMIT = 1.1

Measured = tuple[float, float]  # seconds of processor time, and peak memory in MB


def measured(function: Callable[..., Any], *args: Any) -> Measured:
    """Processor time of `function(*args)` and its worker processes, and the peak memory of this process."""
    start = processor_seconds()
    function(*args)
    peak = re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[0]
    return processor_seconds() - start, int(peak) * 1024 / 1e6


def processor_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


# ---- What is measured


def verify_again(directory: Path, count: int) -> None:
    found = verify(RELEASE, directory, workers=1)
    assert (found.opened, found.unchanged) == (0, count)
    assert found.is_complete


def start_clips(directory: Path, count: int) -> None:
    assert KineticsClips(directory, 8, RELEASE, num_workers=1, tensors=False).num_videos == count


def start_rows(path: Path, count: int) -> None:
    rows = datasets.Dataset.from_parquet(str(path), cache_dir=str(path.parent / "cache"))
    assert KineticsClips(rows, 8, tensors=False).num_videos == count


def read_scores(path: Path, count: int) -> None:
    best, bad = read_predictions(path, "700")
    assert (len(best), bad) == (count, [])


# ---- Its data


def make_tree(directory: Path, count: int) -> Path:
    """A tree of hard links in class directories."""
    levels = np.random.default_rng(0).integers(0, 256, 40)
    rows = annotation_rows(count)
    write_clip(directory.parent / "clip.mp4", (np.full((48, 64, 3), level, np.uint8) for level in levels), fps=4)
    content = (directory.parent / "clip.mp4").read_bytes()
    for label in sorted({row[0] for row in rows}):
        (directory / "train" / label).mkdir(parents=True)
    sources: dict[str, Path] = {}
    for row in rows:
        path = directory / "train" / row[0] / clip_file(row)
        if row[0] in sources:
            os.link(sources[row[0]], path)
        else:
            path.write_bytes(content)
            sources[row[0]] = path
    write_csv(directory / "annotations" / "train.csv", rows, "train")
    return directory


def make_cache_of_verify(directory: Path) -> None:
    with open(directory / CACHE_NAME, "w") as file:
        print(json.dumps(_HEADER), file=file)
        for number, path in enumerate((directory / "train").glob("*/*.mp4")):
            status = path.stat()
            probe = [status.st_size, f"{number + 1:016x}", [10.0, 4.0, 40, 64, 48, False, "h264"], None, None]
            line = [str(path.relative_to(directory)), status.st_size, status.st_mtime_ns, False, probe]
            file.write(json.dumps(line, separators=(",", ":")) + "\n")


def make_rows(path: Path, count: int) -> Path:
    videos = pa.StructArray.from_arrays(
        [pa.array([b"clip"] * count), pa.array(["clip.mp4"] * count)], ["bytes", "path"]
    )
    columns = {"video": videos, "num_frames": pa.array([40] * count, pa.int32()), "fps": pa.array([4.0] * count)}
    pq.write_table(pa.table(columns), path)
    return path


def make_scores(directory: Path, count: int) -> dict[str, Path]:
    """Random scores as a challenge submission, and in Parquet with a row for each score or a column for each class."""
    names, rng = LABELS["700"], np.random.default_rng(0)
    paths = {
        form: directory / f"{form}-{count}.{form.partition(' ')[0]}" for form in ("json", "parquet rows", "parquet")
    }
    writers: dict[str, Any] = {}
    with open(paths["json"], "w") as file:
        file.write('{"results": {')
        for first in range(0, count, ROWS):
            scores = rng.random((min(ROWS, count - first), len(names)))
            keys = pa.array([f"v{number:010d}" for number in range(first, first + len(scores))])
            for number, row in enumerate(scores.tolist()):
                entries = ", ".join(
                    f'{{"label": "{one}", "score": {score!r}}}' for one, score in zip(names, row, strict=True)
                )
                file.write(f'{", " if first + number else ""}"{keys[number]}": [{entries}]')
            wide = {"youtube_id": keys, **{name: scores[:, label] for label, name in enumerate(names)}}
            long = {
                "youtube_id": keys.take(pa.array(np.repeat(np.arange(len(keys)), len(names)))),
                "label": pa.array(names * len(keys)),
                "score": scores.ravel(),
            }
            for form, columns in (("parquet", wide), ("parquet rows", long)):
                table = pa.table(columns)
                if form not in writers:
                    writers[form] = pq.ParquetWriter(paths[form], table.schema)
                writers[form].write_table(table)
        file.write("}}")
    for writer in writers.values():
        writer.close()
    return paths


def main() -> None:
    found: dict[str, dict[int, Measured]] = {}

    def measure(what: str, function: Callable[..., Any], path: Path, count: int) -> None:
        found.setdefault(what, {})[count] = fresh(measured, function, path, count)
        print(what, count, found[what][count], flush=True)

    with workspace() as directory:
        for count in CLIPS:
            tree = make_tree(directory / f"tree-{count}", count)
            if count in FIRST_CLIPS:
                measure("KineticsClips, first start", start_clips, tree, count)
            make_cache_of_verify(tree)
            measure("KineticsClips, started again", start_clips, tree, count)
            measure("verify, unchanged clips", verify_again, tree, count)
            measure(
                "KineticsClips, prepared columns", start_rows, make_rows(directory / f"{count}.parquet", count), count
            )
        for count in VIDEOS:
            for form, path in make_scores(directory, count).items():
                measure(f"evaluate, {form}", read_scores, path, count)

    limits = {  # seconds and MB at the full size
        "KineticsClips, first start": (math.inf, 600),
        "KineticsClips, started again": (30, 600),
        "verify, unchanged clips": (30, 700),
        "KineticsClips, prepared columns": (10, 600),
        "evaluate, json": (60, 1000),
        "evaluate, parquet rows": (10, 1000),
        "evaluate, parquet": (10, 1000),
    }
    results = []
    for what, sizes in found.items():
        (few, (short, _)), (many, (long, megabytes)) = min(sizes.items()), max(sizes.items())
        seconds, most = limits[what]
        shown = f"{many:,}: {long:.1f} s"
        if seconds < math.inf:
            results.append(Result(f"{what}, time", shown, f"{seconds} s", long / seconds, "at most", 1))
        results.append(Result(f"{what}, memory", f"{megabytes:,.0f} MB", f"{most} MB", megabytes / most, "at most", 1))
        exponent = math.log(long / short) / math.log(many / few)
        results.append(Result(f"{what}, growth", shown, f"{few:,}: {short:.2f} s", exponent, "at most", LIMIT))
    report("full size: processor time on one core, and peak memory", results)


if __name__ == "__main__":
    main()
