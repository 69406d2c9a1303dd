"""Preparations that are killed again and again; `make soak` runs them, minutes long."""

from pathlib import Path

import pytest

from tests.preparation.test_run import clip_bytes, clips, files_of, killed_runs, prepared, tree

__all__ = ["clip_bytes", "clips", "prepared", "tree"]  # fixtures

KILLS = 50


@pytest.mark.parametrize("workers", [1, 2])
def test_50_kills(prepared: Path, tree: Path, tmp_path: Path, workers: int) -> None:
    killed_runs(tree, tmp_path, kills=KILLS // 2, workers=workers, seed=workers)
    left = [name for name in files_of(tmp_path) if name.endswith(".tmp")]
    print(f"\n{KILLS // 2} kills with {workers} workers: {len(files_of(tmp_path))} files, left over {left}")
    assert files_of(tmp_path) == files_of(prepared)
