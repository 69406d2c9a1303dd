"""200,000 mutated clips for each of `probe`, `decode` and `read_audio`; `make soak` gives it at most half an hour."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.support.fuzz import fuzz

INPUTS, SECONDS = 200_000, 1800


def test_mutated_clips(tmp_path: Path) -> None:
    workers = os.cpu_count() or 1
    count = -(-INPUTS // workers)
    with ThreadPoolExecutor(workers) as pool:
        runs = [
            pool.submit(fuzz, "tests.support.media_fuzz", one * count, count, tmp_path, seconds=SECONDS)
            for one in range(workers)
        ]
    print(f"\n{sum(run.result()[0] for run in runs):,} mutated clips, read by three functions each")
    assert [problem for run in runs for problem in run.result()[1]] == []
