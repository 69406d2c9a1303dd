"""200,000 mutated inputs for each reader of text and archives; `make soak` gives them at most half an hour."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.fuzz import fuzz

INPUTS, SECONDS = 200_000, 1800


def test_mutated_inputs(tmp_path: Path) -> None:
    workers = os.cpu_count() or 1
    count = -(-INPUTS // workers)
    with ThreadPoolExecutor(workers) as pool:
        starts = (one * count for one in range(workers))
        runs = [
            pool.submit(fuzz, "tests.support.input_fuzz", start, count, tmp_path, seconds=SECONDS) for start in starts
        ]
    print(f"\n{sum(run.result()[0] for run in runs):,} mutated inputs for each of seven readers")
    assert [problem for run in runs for problem in run.result()[1]] == []
