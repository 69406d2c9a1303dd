"""How fast the Arrow cache is built from a tree of 100,000 empty files: paths, not bytes.

Clips a second of a whole `load_dataset("kinetics", "700-2020", data_dir=...)` in a new process with an empty cache,
against 20,000; beside each the rate at which `os.scandir` alone lists the same files, the limit of anything that
looks at them. One tree has class directories and no annotation files, the other one directory and annotations of
540,000 rows.

    python benchmarks/tree.py
"""

import os
import random
import time
from functools import partial
from pathlib import Path
from statistics import median

import datasets

import kinetics  # noqa: F401  (before the clock starts)
from _common import Result, alternate, annotation_rows, fresh, ratio, report, workspace, write_csv, write_tree

RELEASE = "700-2020"
FILES = 100_000
ROWS = 540_000
ROUNDS = 5
TARGET = 20_000


def build(data_dir: Path) -> float:
    """Clips a second of loading all of a tree."""
    start = time.perf_counter()
    dataset = datasets.load_dataset("kinetics", RELEASE, data_dir=str(data_dir), split="train")
    took = time.perf_counter() - start
    assert len(dataset) == FILES
    return FILES / took


def scan(data_dir: Path) -> float:
    """Files a second of listing a tree, with their kinds, which a directory gives along with the names."""

    def count(directory: str) -> int:
        with os.scandir(directory) as entries:
            return sum(count(entry.path) if entry.is_dir() else 1 for entry in entries)

    start = time.perf_counter()
    found = count(str(data_dir / "train"))
    took = time.perf_counter() - start
    assert found == FILES
    return FILES / took


def main() -> None:
    with workspace() as directory:
        rows = annotation_rows(ROWS)
        write_tree(directory / "classes" / "train", rows[:FILES], by_class=True)
        random.Random(0).shuffle(rows)
        write_tree(directory / "flat" / "train", rows[:FILES], by_class=False)
        write_csv(directory / "flat" / "annotations" / "train.csv", rows, "train")
        sides = {}
        for name in ("classes", "flat"):
            fresh(scan, directory / name)  # brings the directories into memory, for both sides
            sides[name, "ours"] = partial(fresh, build, directory / name)
            sides[name, "scandir"] = partial(fresh, scan, directory / name)
        rates = alternate(sides, rounds=ROUNDS)

    results = []
    for name, claim in (("classes", "class directories"), ("flat", f"one directory, {ROWS:,} rows")):
        ours, limit = rates[name, "ours"], rates[name, "scandir"]
        shown = f"{median(ours):,.0f} clips/s"
        results.append(Result(claim, shown, f"{TARGET:,} clips/s", median(ours) / TARGET, "at least", 1))
        listed = f"{median(limit):,.0f} files/s os.scandir"
        results.append(Result("  beside listing it", shown, listed, ratio(ours, limit), "no target"))
    report(f"tree: {FILES:,} empty files to an Arrow cache", results)


if __name__ == "__main__":
    main()
