"""How long it takes until the first example is there.

The time from the call of `load_dataset("kinetics", "700-2020", split="train", streaming=True)` to its first
example, against a limit of 1 s, in a new process with `datasets` and `kinetics` imported and nothing in its cache:
on a tree of 100,000 empty files in class directories without annotation files, on one of 100,000 in one directory
with annotations of 540,000 rows, and on a mirror of 700 archives, whose annotations it must first download.

What `import kinetics` adds to `import datasets`, against a limit of 50 ms.

    python benchmarks/start.py
"""

import random
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import datasets

import kinetics  # noqa: F401  (before the clock starts)
from _common import (
    Result,
    Row,
    alternate,
    annotation_rows,
    clip_file,
    fresh,
    import_decoders,
    mirror,
    report,
    serve,
    workspace,
    write_csv,
    write_tree,
)

RELEASE = "700-2020"
FILES = 100_000
ARCHIVES = 700
ROWS = {"train": 540_000, "val": 34_000, "test": 67_000}  # about those of the published edition
CLIP_BYTES = 100_000
ROUNDS = 5
IMPORT_ROUNDS = 11
LIMIT_SECONDS = 1.0
LIMIT_IMPORT_SECONDS = 0.050

TIME_IMPORTS = """
import time
start = time.perf_counter()
import datasets
between = time.perf_counter()
import kinetics
print(between - start, time.perf_counter() - between)
"""


def first_example(**options: Any) -> float:
    """Seconds to the first example, whose file is empty."""
    import_decoders()
    start = time.perf_counter()
    dataset = datasets.load_dataset("kinetics", RELEASE, split="train", streaming=True, decode=False, **options)
    example = next(iter(dataset))
    took = time.perf_counter() - start
    assert example["label"] >= 0
    return took


def on_tree(data_dir: Path) -> float:
    return first_example(data_dir=str(data_dir))


def on_mirror(url: str) -> float:
    return first_example(mirror=url)


def time_imports() -> tuple[float, float]:
    """Seconds of `import datasets` and of `import kinetics` after it, in a new process."""
    command = [sys.executable, "-c", TIME_IMPORTS]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()
    return float(printed[0]), float(printed[1])


def write_archives(root: Path, rows: list[Row]) -> None:
    """A mirror of 700-2020: one archive a class, each of one clip, and the annotations of all splits."""
    rng = random.Random(0)
    train = {
        f"k700_train_{number:03d}": {clip_file(rows[number * 700]): rng.randbytes(CLIP_BYTES)}
        for number in range(1, ARCHIVES + 1)
    }
    # load_dataset asks the builder for all splits and then takes one of them.
    listed: dict[str, Any] = {"train": train, "val": {"k700_val_001": None}, "test": {"k700_test_001": None}}
    annotations: dict[str, Any] = {
        "train": rows[: ROWS["train"]],
        "val": rows[-ROWS["val"] :],
        "test": [row[1:] for row in rows[-ROWS["test"] :]],
    }
    mirror.write_mirror(root, RELEASE, listed, annotations=annotations, deepmind=False)


def main() -> None:
    with workspace() as directory:
        rows = annotation_rows(ROWS["train"])
        write_tree(directory / "classes" / "train", rows[:FILES], by_class=True)
        random.Random(0).shuffle(rows)
        write_tree(directory / "flat" / "train", rows[:FILES], by_class=False)
        write_csv(directory / "flat" / "annotations" / "train.csv", rows, "train")
        write_archives(directory / "mirror", rows)
        fresh(on_tree, directory / "classes")  # compiles what it imports
        with serve(directory / "mirror") as url:
            names = {
                "classes": f"first of {FILES:,} files in class directories",
                "flat": f"first of {FILES:,} files in one, {ROWS['train']:,} rows",
                "mirror": f"first of {ARCHIVES} archives over HTTP, {ROWS['train']:,} rows",
            }
            took = alternate(
                {
                    "classes": partial(fresh, on_tree, directory / "classes"),
                    "flat": partial(fresh, on_tree, directory / "flat"),
                    "mirror": partial(fresh, on_mirror, url),
                },
                rounds=ROUNDS,
            )
    time_imports()
    imports = [time_imports() for _ in range(IMPORT_ROUNDS)]
    results = [
        Result(
            names[side],
            f"{median(times):.3f} s",
            f"{LIMIT_SECONDS:.3f} s limit",
            median(times) / LIMIT_SECONDS,
            "at most",
            1,
        )
        for side, times in took.items()
    ]
    added = median(ours for _, ours in imports)
    results.append(
        Result(
            f"import kinetics, after {median(other for other, _ in imports):.2f} s of import datasets",
            f"{added:.3f} s",
            f"{LIMIT_IMPORT_SECONDS:.3f} s limit",
            added / LIMIT_IMPORT_SECONDS,
            "at most",
            1,
        )
    )
    report("start: from load_dataset to the first example", results)


if __name__ == "__main__":
    main()
