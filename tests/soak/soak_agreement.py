"""Mutated clips on which all commands agree: 2,000 and more in the 20 minutes that `make soak` gives two idle cores."""

import time
from itertools import count, takewhile
from pathlib import Path

from tests.support.agreement import LONGEST_SECONDS, disagreements, mutation_disagreements, seeds

SECONDS = 1200


def test_all_agree_on_real_clips_and_faults(shared: Path) -> None:
    for path in seeds(shared):
        start = time.monotonic()
        assert disagreements(str(path)) == [], path
        print(f"{path.name}: {time.monotonic() - start:.1f} s")


def test_all_agree_on_mutated_clips(shared: Path, tmp_path: Path) -> None:
    end = time.monotonic() + SECONDS - LONGEST_SECONDS
    numbers = takewhile(lambda _: time.monotonic() < end, count())
    found = dict(mutation_disagreements(seeds(shared), numbers, tmp_path))
    print(f"\n{len(found):,} mutated clips")
    assert found
    assert {number: problems for number, problems in found.items() if problems} == {}
