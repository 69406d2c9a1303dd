"""Training that is killed again and again, and started by torchrun; `make soak` runs it, minutes long."""

import subprocess
import sys

from tests.docs.test_examples import EXAMPLES, SHORT, kill_at, losses_of, ranks, sample, step_of

__all__ = ["sample"]  # a fixture


def test_torchrun_starts_two_processes(sample, torch, tmp_path):
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2")
    rendezvous = ("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0")
    given = (sample / "prepared", "--split", "validation", "--out", tmp_path / "run", *SHORT)
    done = subprocess.run(
        [sys.executable, *launcher, *rendezvous, EXAMPLES / "train.py", *given], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # 9 clips each, so 2 steps an epoch in batches of 6.
    assert step_of(torch, tmp_path / "run" / "checkpoint.pt") == 3 * 2


def test_two_processes_resume_after_a_kill_at_each_step(sample, torch, tmp_path):
    options = (*SHORT, "--epochs", "2", "--batch-size", "2")
    expected = losses_of(sample, tmp_path / "whole", *options, world=2)
    for step in range(1, len(expected)):
        kill_at(torch, ranks(sample, tmp_path / "killed", *options, world=2), tmp_path / "killed/checkpoint.pt", step)
    losses = losses_of(sample, tmp_path / "killed", *options, world=2)
    print(f"\n{len(expected) - 1} kills of two processes that train")
    assert losses == expected
