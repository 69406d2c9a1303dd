"""Making shards: bytes as they are against `cat`, more workers against one, Ray against local ones, and memory.

The `source` profile with two workers against `cat DIR/* > file` and `sync` of both; the `train` profile with two
workers on two cores against one on one, and with Ray's two; the peak memory of the process that encodes, on clips of
1080p, and of the process that writes, with 100 and with 1,000 clips a shard.

The clips are real ones repeated under other names, or made where there are none.

    python benchmarks/prepare.py
"""

import importlib.util
import itertools
import os
import subprocess
import threading
import time
from pathlib import Path
from statistics import median
from typing import Any

from _common import (
    CORES,
    Result,
    Row,
    alternate,
    annotation_rows,
    clip_file,
    fresh,
    mirror,
    ratio,
    report,
    shared,
    workspace,
)

RELEASE = "700-2020"
COPIES, COPIES_A_SHARD = 2_000, 500
ENCODED = 32
ROUNDS = 3


def tree(folder: Path, rows: list[Row], contents: list[bytes]) -> Path:
    """`folder` with the clips of a validation split, one of `contents` each."""
    (folder / "annotations").mkdir(parents=True)
    (folder / "annotations" / "val.csv").write_bytes(mirror.annotation_csv(rows, "val"))
    for row, content in zip(rows, itertools.cycle(contents), strict=False):
        path = folder / "val" / row[0] / clip_file(row)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def seconds_of(data: Path, out: Path, cores: list[int], options: dict[str, Any]) -> float:
    """How long `prepare` takes; `out` is what is left of it, and goes."""
    os.sched_setaffinity(0, cores)
    from kinetics_tools.preparation.run import prepare

    # Ray starts its own processes once for many runs, as a cluster that is there.
    if options.get("engine") == "ray":
        import ray

        ray.init(num_cpus=len(cores), log_to_driver=False, include_dashboard=False)
    start = time.perf_counter()
    done = prepare(RELEASE, data, out, workers=len(cores), **options)
    took = time.perf_counter() - start
    split = done.splits["validation"]
    assert split.is_complete, done
    assert split.rows == split.clips, done
    return took


def cat(data: Path, out: Path) -> float:
    out.mkdir()
    start = time.perf_counter()
    subprocess.run(f"cat '{data}'/val/*/* > '{out}/all' && sync '{out}/all'", shell=True, check=True)
    return time.perf_counter() - start


def peaks_of(data: Path, out: Path, clips_per_shard: int, profile: str) -> tuple[float, float]:
    """Peak memory of this process and of the largest of its workers, in MB."""
    from kinetics_tools.preparation.run import prepare

    worker, done = 0.0, threading.Event()

    def watch() -> None:
        nonlocal worker
        while not done.wait(0.02):
            for task in Path("/proc/self/task").glob("*/children"):
                for pid in task.read_text().split():
                    worker = max(worker, peak(pid))

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    prepare(RELEASE, data, out, workers=1, clips_per_shard=clips_per_shard, profile=profile)
    done.set()
    watching.join()
    return peak("self"), worker


def peak(pid: str) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in status.splitlines() if line.startswith("VmHWM")), 0.0)


def contents(folder: Path) -> list[bytes]:
    """Clips of 10 s, real ones where there are some."""
    if (real := shared()) is not None:
        names = ("arm_wrestling_340x256.mp4", "sports_340x256.mp4", "flipping_pancake_426x240.mkv")
        return [(real / "clips" / name).read_bytes() for name in names]
    return [made(folder / f"{number}.mp4", 340, 256, number) for number in range(3)]


def made(path: Path, width: int, height: int, seed: int) -> bytes:
    """A clip of 10 s: noise that drifts."""
    import numpy as np

    from kinetics_tools.media import write_clip

    noise = np.random.default_rng(seed).integers(0, 256, (height // 8 + 300, width // 8, 3), np.uint8)
    frames = (noise[t : t + height // 8].repeat(8, 0).repeat(8, 1)[:height, : width // 8 * 8] for t in range(300))
    write_clip(path, frames, fps=30)
    return path.read_bytes()


def main() -> None:
    with workspace() as directory:
        clips = contents(directory)
        rows = annotation_rows(COPIES)
        copies = tree(directory / "copies", rows, clips)
        few = tree(directory / "few", rows[:ENCODED], clips)
        large = tree(directory / "large", rows[:4], [made(directory / "large.mp4", 1920, 1080, 0)])
        total = sum(path.stat().st_size for path in (copies / "val").rglob("*.mp4"))
        numbers = itertools.count()

        def out() -> Path:
            return directory / f"out{next(numbers)}"

        copy = {"profile": "source", "clips_per_shard": COPIES_A_SHARD}
        encode = {"clips_per_shard": 4}
        sides: dict[str, Any] = {
            "source": lambda: float(fresh(seconds_of, copies, out(), CORES[:2], copy)),
            "cat": lambda: cat(copies, out()),
            "one": lambda: float(fresh(seconds_of, few, out(), CORES[:1], encode)),
            "two": lambda: float(fresh(seconds_of, few, out(), CORES[:2], encode)),
        }
        if importlib.util.find_spec("ray") is not None:
            sides["ray"] = lambda: float(fresh(seconds_of, few, out(), CORES[:2], {**encode, "engine": "ray"}))
        seconds = alternate(sides, rounds=ROUNDS)
        os.sched_setaffinity(0, CORES[:1])
        small_shards = fresh(peaks_of, copies, out(), 100, "source")
        large_shards = fresh(peaks_of, copies, out(), 1000, "source")
        encoder = fresh(peaks_of, large, out(), 1000, "train")

    def speed(side: str) -> str:
        if side in ("source", "cat"):
            return f"{total / median(seconds[side]) / 1e6:,.0f} MB/s"
        return f"{ENCODED / median(seconds[side]):.2f} clips/s"

    results = [
        Result(
            "source, two workers",
            speed("source"),
            f"{speed('cat')} cat and sync",
            ratio(seconds["cat"], seconds["source"]),
            "at least",
            0.7,
        ),
        Result(
            "train, two workers",
            speed("two"),
            f"{speed('one')} one",
            ratio(seconds["one"], seconds["two"]),
            "at least",
            1.8,
        ),
    ]
    if "ray" in seconds:
        results.append(
            Result(
                "train, Ray, two workers",
                speed("ray"),
                f"{speed('two')} local",
                ratio(seconds["two"], seconds["ray"]),
                "at least",
                0.85,
            )
        )
    else:
        print("Ray is not installed: pip install ray")
    results += [
        Result("peak memory, worker, 1080p", f"{encoder[1]:,.0f} MB", "700 MB limit", encoder[1] / 700, "at most", 1),
        Result(
            "peak memory, 1,000 clips a shard",
            f"{large_shards[0]:,.0f} MB",
            f"{small_shards[0]:,.0f} MB 100 a shard",
            large_shards[0] / small_shards[0],
            "at most",
            1.1,
        ),
    ]
    report(f"prepare: {COPIES:,} clips of {total / 1e6:,.0f} MB copied, {ENCODED} encoded", results)


if __name__ == "__main__":
    main()
