"""Preparations that are killed, or disturb each other, again and again; `make soak` runs them, minutes long."""

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.preparation.test_cluster import kill_a_worker
from tests.preparation.test_kills import killed_runs
from tests.preparation.test_side_by_side import described_side_by_side, prepare_both, prepared_twice_at_once
from tests.support.clip_tree import files_of

__all__ = ["prepare_both"]  # a fixture

KILLS = 50
WITH_RAY = """
import sys
import ray
from kinetics_tools import prepare
from kinetics_tools.media import Encoding

ray.init("local", num_cpus=2, _node_ip_address="127.0.0.1", include_dashboard=False)
tree, out = sys.argv[1:]
assert prepare("700", tree, out, encoding=Encoding(preset="ultrafast"), clips_per_shard=4, engine="ray").is_complete
"""


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
    killing = threading.Thread(target=lambda: [kill_a_worker() for _ in range(4)], daemon=True)
    killing.start()
    subprocess.run([sys.executable, "-c", WITH_RAY, str(tree), str(tmp_path)], env=ray, check=True)
    assert not killing.is_alive()
    assert files_of(tmp_path) == files_of(prepared)
