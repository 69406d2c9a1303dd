"""Scores of a whole release: time and memory of `evaluate`, and how the processor time grows with the number of videos.

7,000 and 70,000 videos with 700 scores each, in three formats. Each runs in a process of its own, on one core. The
growth exponent is log(time of the larger / time of the smaller) / log(ratio of sizes); 1 is linear.

    python benchmarks/evaluate.py
"""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from _common import Measured, fresh, growth_results, measured, report, workspace
from kinetics_tools.evaluation import read_predictions
from kinetics_tools.releases import LABELS

VIDEOS = (7_000, 70_000)
ROWS = 7_000  # at once
LIMITS = {  # seconds and MB at the full size
    "json": (60, 1000),
    "parquet rows": (10, 1000),
    "parquet": (10, 1000),
}


def read_scores(path: Path, count: int) -> None:
    best, bad = read_predictions(path, "700")
    assert (len(best), bad) == (count, [])


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
    with workspace() as directory:
        for count in VIDEOS:
            for form, path in make_scores(directory, count).items():
                found.setdefault(form, {})[count] = fresh(measured, read_scores, path, count)
                print(form, count, found[form][count], flush=True)
    report("evaluate: processor time on one core, and peak memory", growth_results(found, LIMITS))


if __name__ == "__main__":
    main()
