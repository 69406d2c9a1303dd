"""Preparations that are killed, or disturb each other, again and again; `make soak` runs them, minutes long."""

from pathlib import Path
from typing import Any

import pytest

from tests.preparation.test_kills import killed_runs
from tests.preparation.test_ray import prepared_with_kills
from tests.preparation.test_side_by_side import described_side_by_side, prepare_both, prepared_twice_at_once
from tests.support.clip_tree import files_of

__all__ = ["prepare_both"]  # a fixture

KILLS = 50


@pytest.mark.parametrize("workers", [1, 2])
def test_50_kills(prepared: Path, tree: Path, tmp_path: Path, workers: int) -> None:
    killed_runs(tree, tmp_path, kills=KILLS // 2, workers=workers, seed=workers)
    left = [name for name in files_of(tmp_path) if name.endswith(".tmp")]
    print(f"\n{KILLS // 2} kills with {workers} workers: {len(files_of(tmp_path))} files, left over {left}")
    assert files_of(tmp_path) == files_of(prepared)


def test_20_descriptions_side_by_side(prepare_both: Any, clips: Any, tmp_path: Path) -> None:
    described_side_by_side(prepare_both, clips, tmp_path, rounds=20)


def test_the_same_command_10_times_twice_at_once(prepare_both: Any, clips: Any, tmp_path: Path) -> None:
    prepared_twice_at_once(prepare_both, clips, tmp_path, rounds=10)


def test_ray_with_4_kills(prepared: Path, tree: Path, tmp_path: Path, ray: dict[str, str]) -> None:
    prepared_with_kills(tree, tmp_path, ray, kills=4)
    assert files_of(tmp_path) == files_of(prepared)
