"""Batches of frames for training, out of prepared shards that are streamed, by torch's DataLoader.

Two workers on two cores against one loop in this process on one core: batches of 8 clips, random 16 frames 4 apart on
the grid, a random crop of 224x224. Then how long the first batch takes from `load_dataset` on, and how much memory the
whole family of processes has at the end of 5,000 clips, against at their beginning.

The clips are real ones, prepared, or made where there are none; 640 rows of them in 16 files, again and again. It
needs torch.

    python benchmarks/loader.py
"""

import os
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

from prepare import contents

from _common import CORES, Result, alternate, annotation_rows, clip_file, fresh, ratio, report, workspace

RELEASE = "700-2020"
FILES, ROWS = 16, 40  # rows of a file
BATCH = 8
ROUNDS = 5
CLIPS = 5_000


def write_shards(folder: Path, clips: list[bytes]) -> list[str]:
    """Files as `kinetics prepare` writes them, of these clips in turn."""
    import datasets

    from kinetics_tools.media import encode, probe
    from kinetics_tools.preparation.clip import PreparedClip
    from kinetics_tools.preparation.parquet import ShardWriter, clip_row, prepared_features

    names = prepared_features(RELEASE)["label"].names
    encoded = [encode(clip) for clip in clips]
    infos = [probe(clip) for clip in encoded]
    rows = zip(annotation_rows(FILES * ROWS), cycle(zip(encoded, infos, strict=True)), strict=False)
    paths = []
    datasets.disable_progress_bars()
    for number in range(FILES):
        paths.append(str(folder / f"{number:02d}.parquet"))
        with open(paths[-1], "wb") as file, ShardWriter(file, prepared_features(RELEASE)) as writer:
            for row, (content, info) in islice(rows, ROWS):
                keys = dict(zip(("label", "youtube_id", "time_start", "time_end"), row, strict=True))
                keys["label"] = names.index(row[0])
                writer.add(clip_row(keys, PreparedClip(content, clip_file(row), len(content), info)))
    return paths


def stream(paths: list[str]) -> Any:
    """The clips with their frames, as a user's script has them."""
    import datasets

    from kinetics_tools.sampling import Frames, RandomClip, RandomResizedCrop

    data = datasets.load_dataset("parquet", data_files=paths, split="train", streaming=True)
    frames = Frames(RandomClip(16, 4, align="grid"), RandomResizedCrop(224, flip=0.5), layout="CTHW")
    return frames.apply(data)


def batches(paths: list[str], workers: int) -> Iterator[Any]:
    import torch

    from kinetics_tools.sampling import collate

    torch.set_num_threads(1)
    data = stream(paths)
    if workers:
        # As in a script: this process was spawned, and would spawn workers, which all pin themselves to one core.
        options = {"num_workers": workers, "multiprocessing_context": "fork"}
        yield from torch.utils.data.DataLoader(data, batch_size=BATCH, collate_fn=collate, **options)
        return
    rows = []
    for row in data:
        rows.append(row)
        if len(rows) == BATCH:
            yield collate(rows)
            rows = []


def clips_a_second(paths: list[str], workers: int, cores: list[int]) -> tuple[float, float]:
    """From the first batch on, and the seconds to the first batch, after the imports."""
    os.sched_setaffinity(0, cores)
    import datasets  # noqa: F401
    import torch  # noqa: F401

    import kinetics_tools.sampling  # noqa: F401

    start = time.perf_counter()
    given = batches(paths, workers)
    next(given)
    first = time.perf_counter()
    last, count = first, 0
    for batch in given:
        last, count = time.perf_counter(), count + len(batch["label"])
    return count / (last - first), first - start


def memory(paths: list[str], cores: list[int]) -> tuple[float, float]:
    """MB of this process and its workers in the first 1,000 clips and in the last.

    Each reading waits until the workers are as far ahead as they may be: it would change with what is under way.
    """
    os.sched_setaffinity(0, cores)
    readings = []
    repeated = paths * (2 * CLIPS // (FILES * ROWS))
    for number, _ in enumerate(islice(batches(repeated, 2), CLIPS // BATCH)):
        if number % 25 == 5:
            time.sleep(0.5)
            readings.append(resident())
    part = len(readings) * 1_000 // CLIPS
    return median(readings[:part]), median(readings[-part:])


def resident() -> float:
    """MB that this process and its children have, each page once."""
    pids = [str(os.getpid())]
    for task in Path("/proc/self/task").glob("*/children"):
        pids += task.read_text().split()
    total = 0.0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith(("Pss_Anon", "Pss_Shmem"))) / 1e3
    return total


def main() -> None:
    with workspace() as directory:
        paths = write_shards(directory, contents(directory))
        rates = alternate(
            {
                "loop": lambda: fresh(clips_a_second, paths, 0, CORES[:1]),
                "loader": lambda: fresh(clips_a_second, paths, 2, CORES[:2]),
            },
            rounds=ROUNDS,
        )
        early, late = fresh(memory, paths, CORES[:2])
    loop, loader = ([rate for rate, _ in rates[side]] for side in ("loop", "loader"))
    first = median([seconds for _, seconds in rates["loader"]])
    report(
        f"loader: {FILES * ROWS} prepared clips in {FILES} files, batches of {BATCH}",
        [
            Result(
                "two workers",
                f"{median(loader):,.0f} clips/s",
                f"{median(loop):,.0f} clips/s one loop",
                ratio(loader, loop),
                "at least",
                1.8,
            ),
            Result("first batch of two workers", f"{first:.2f} s", "3.00 s limit", first / 3, "at most", 1),
            Result(
                f"memory at the end of {CLIPS:,} clips",
                f"{late:,.0f} MB",
                f"{early:,.0f} MB at first",
                late / early,
                "at most",
                1.05,
            ),
        ],
    )


if __name__ == "__main__":
    main()
