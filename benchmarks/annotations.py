"""Reading annotation files of 650,000 rows, made from the real ones.

CSV: the time from the file to an Arrow table with label indices (`read_annotations`, which also checks each row,
and `label_indices`), against the time of `csv.DictReader` and of `pandas.read_csv` to the same columns: ids, times
as floats, class indices. JSON: the time of `read_annotations` against that of `json.load` alone.

Each side of a round has a process of its own, with all imports done. CSV is read several times in it: the first
reading, which also gets memory from the system, has a line without a target, those after the second count. JSON
is read once, after a small file, since Python's garbage collector, half of its time, remembers what came before.

    pip install -e '.[bench]'
    python benchmarks/annotations.py
"""

import csv
import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import kinetics
from _common import Result, alternate, annotation_rows, fresh, mirror, ratio, report, workspace, write_csv
from kinetics_tools.annotations.read import read_annotations
from kinetics_tools.releases import LABELS

ROWS = 650_000
RELEASE = "700-2020"
ROUNDS = 5


def with_kinetics(path: str) -> Any:
    table = read_annotations(path)
    return table.set_column(4, "label", kinetics.label_indices(table["label"], RELEASE))


def with_dict_reader(path: str) -> Any:
    index = {label: number for number, label in enumerate(LABELS[RELEASE])}
    ids, starts, ends, labels = [], [], [], []
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            ids.append(row["youtube_id"])
            starts.append(float(row["time_start"]))
            ends.append(float(row["time_end"]))
            labels.append(index[row["label"]])
    return ids, starts, ends, labels


def with_pandas(path: str) -> Any:
    import pandas as pd

    index = {label: number for number, label in enumerate(LABELS[RELEASE])}
    frame = pd.read_csv(path, dtype={"time_start": "float32", "time_end": "float32"})
    frame["label"] = frame["label"].map(index)
    return frame


def with_json_load(path: str) -> Any:
    with open(path, "rb") as file:
        return json.load(file)


def seconds(read: Callable[[str], Any], paths: Sequence[Path]) -> list[float]:
    """Times of reading each of `paths` in turn, without what it takes to free what was read."""
    took = []
    for path in paths:
        start = time.perf_counter()
        result = read(str(path))
        took.append(time.perf_counter() - start)
        del result
    return took


def main() -> None:
    with workspace() as directory:
        rows = annotation_rows(ROWS)
        table = [write_csv(directory / "train.csv", rows, "train")]
        # By other names, since the reader of JSON compares it with a CSV of the same name beside it.
        jsons = [directory / "small.json", directory / "whole.json"]
        for path, count in zip(jsons, (1000, ROWS), strict=True):
            path.write_bytes(mirror._annotation_json(rows[:count], "train"))
        runs = alternate(
            {
                "ours": partial(fresh, seconds, with_kinetics, table * 9),
                "csv.DictReader": partial(fresh, seconds, with_dict_reader, table * 5),
                "pandas": partial(fresh, seconds, with_pandas, table * 9),
                "ours, JSON": partial(fresh, seconds, kinetics.read_annotations, jsons),
                "json.load": partial(fresh, seconds, with_json_load, jsons),
            },
            rounds=ROUNDS,
        )
    first = {name: [run[0] for run in rounds] for name, rounds in runs.items()}
    took = {name: [median(run[2:] or run[1:]) for run in rounds] for name, rounds in runs.items()}

    def shown(times: list[float]) -> str:
        return f"{median(times):.3f} s"

    results = []
    for peer, target in (("csv.DictReader", 10), ("pandas", 2)):
        speedup = ratio(took[peer], took["ours"])
        against = f"{shown(took[peer])} {peer}"
        results.append(Result(f"CSV, faster than {peer}", shown(took["ours"]), against, speedup, "at least", target))
        speedup = ratio(first[peer], first["ours"])
        against = f"{shown(first[peer])} {peer}"
        results.append(Result("  first reading of a process", shown(first["ours"]), against, speedup, "no target"))
    share = ratio(took["ours, JSON"], took["json.load"])
    against = f"{shown(took['json.load'])} json.load"
    results.append(Result("JSON, time beside json.load", shown(took["ours, JSON"]), against, share, "at most", 1.5))
    report(f"annotations: {ROWS:,} rows", results)


if __name__ == "__main__":
    main()
