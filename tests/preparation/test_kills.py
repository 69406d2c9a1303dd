"""Runs that are killed or interrupted."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.support.clients import KINETICS
from tests.support.clip_tree import files_of, manifest_of, run, shards_of


def killed_runs(tree, out, *, kills, workers=2, seed=0):
    """Runs that get SIGKILL, each in turn the parent or one of its workers, and then one that does not."""
    rng = np.random.default_rng(seed)
    code = (
        "from kinetics_tools.media import Encoding; from kinetics_tools import prepare; "
        f"prepare('700', {str(tree)!r}, {str(out)!r}, encoding=Encoding(preset='ultrafast'), clips_per_shard=4, "
        f"workers={workers})"
    )
    for number in range(kills):
        before = len(shards_of(out))
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            while process.poll() is None and len(shards_of(out)) == before:
                time.sleep(0.02)
            time.sleep(float(rng.uniform(0, 1)))
            children = Path(f"/proc/{process.pid}/task").glob("*/children") if process.poll() is None else []
            pids = [int(pid) for path in children for pid in path.read_text().split()]
            if pids and number % 2:
                os.kill(int(rng.choice(pids)), signal.SIGKILL)
                time.sleep(0.3)
            process.kill()
            errors = process.stderr.read().decode()
        assert "Traceback" not in errors, errors
        if len(shards_of(out)) == 8:
            for path in sorted(Path(out).rglob("*.parquet"))[number % 4 :: 2]:
                path.unlink()
    assert run(tree, out).is_complete


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs Linux's /proc to find the workers")
@pytest.mark.usefixtures("in_process")
def test_kills_leave_nothing_behind(prepared, tree, tmp_path):
    killed_runs(tree, tmp_path, kills=4)
    assert files_of(tmp_path) == files_of(prepared)


def test_ctrl_c_keeps_finished_shards_and_exits_130(tree, prepared, tmp_path):
    command = [*KINETICS, "prepare", "700"]
    command += ["--data-dir", str(tree), "--out", str(tmp_path), "--preset", "ultrafast", "--clips-per-shard", "4"]
    command += ["--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while process.poll() is None and not shards_of(tmp_path):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert [line for line in output.splitlines() if "interrupted" in line] == [
        "interrupted; finished shards are kept. Rerun the same command to resume"
    ]
    assert "Traceback" not in output
    assert not [name for name in files_of(tmp_path) if name.endswith(".tmp")]
    assert shards_of(tmp_path).items() <= shards_of(prepared).items()
    # What there is can be published.
    assert manifest_of(tmp_path)["shards_done"] == len(shards_of(tmp_path))
