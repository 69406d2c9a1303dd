"""Peak memory of streaming clips out of archives over HTTP: 2,000 of them, against 20,000.

The peak resident set of a new process (VmHWM of /proc/self/status) that loads the same dataset, 20 archives of
1,000 clips of about 50 kB, and stops after 2,000 clips or goes on to the end. Linux only.

    python benchmarks/memory.py
"""

import itertools
import random
import re
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import datasets

import kinetics  # noqa: F401  (registers itself)
from _common import Result, alternate, annotation_rows, clip_file, fresh, mirror, ratio, report, serve, workspace

RELEASE = "700-2020"
ARCHIVES = 20
CLIPS_PER_ARCHIVE = 1000
FEW = 2000
ROUNDS = 3


def peak_bytes(url: str, clips: int) -> int:
    """Peak resident set of this process after it has streamed so many clips."""
    options: dict[str, Any] = {"splits": ["train"], "decode": False, "mirror": url}
    dataset = datasets.load_dataset("kinetics", RELEASE, split="train", streaming=True, **options)
    count = sum(len(example["video"]["bytes"]) > 0 for example in itertools.islice(dataset, clips))
    assert count == clips
    return int(re.findall(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[0]) * 1024


def write_archives(root: Path) -> None:
    rows = annotation_rows(ARCHIVES * CLIPS_PER_ARCHIVE)
    names = [f"k700_train_{number:03d}" for number in range(1, ARCHIVES + 1)]
    rng = random.Random(0)
    noise = rng.randbytes(100_000_000)
    mirror.write_mirror(root, RELEASE, {"train": dict.fromkeys(names)}, annotations={"train": rows}, deepmind=False)
    for number, name in enumerate(names):
        clips = {}
        for row in rows[number * CLIPS_PER_ARCHIVE : (number + 1) * CLIPS_PER_ARCHIVE]:
            size = rng.randint(25_000, 75_000)
            start = rng.randrange(len(noise) - size)
            clips[clip_file(row)] = noise[start : start + size]
        (root / "kinetics" / "700_2020" / "train" / f"{name}.tar.gz").write_bytes(mirror.tar_gz(clips))


def main() -> None:
    every = ARCHIVES * CLIPS_PER_ARCHIVE
    with workspace() as directory:
        write_archives(directory)
        with serve(directory) as url:
            peaks = alternate({count: partial(fresh, peak_bytes, url, count) for count in (FEW, every)}, rounds=ROUNDS)

    few, many = (f"{median(peaks[count]) / 1e6:,.1f} MB" for count in (FEW, every))
    report(
        f"memory: peak resident set of streaming {every:,} clips beside {FEW:,}",
        [
            Result(
                f"{every:,} clips of 50 kB",
                many,
                f"{few} {FEW:,} clips",
                ratio(peaks[every], peaks[FEW]),
                "at most",
                1.05,
            )
        ],
    )


if __name__ == "__main__":
    main()
