"""The examples, run as a user would: trained, killed and resumed, on several processes, and scored."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kinetics_tools.cli import app
from kinetics_tools.demo import make_sample
from kinetics_tools.media import Encoding
from kinetics_tools.prepare import prepare

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The demo's 18 validation clips of 700, of 2 s, prepared."""
    folder = tmp_path_factory.mktemp("sample")
    make_sample(folder / "demo", releases=["700"], seconds=2)
    encoding = Encoding(preset="ultrafast")
    prepare("700", folder / "demo" / "700", folder / "prepared", splits=["validation"], encoding=encoding, workers=2)
    return folder


def train(sample, out, *options, command=(sys.executable,), **popen):
    arguments = [str(EXAMPLES / "train.py"), str(sample / "prepared"), "--split", "validation", "--out", str(out)]
    env = {**os.environ, "HF_HOME": str(sample / "home"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [*command, *arguments, *options], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **popen
    )


def finished(process):
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    return output


SHORT = ("--epochs", "6", "--stride", "2", "--save-every", "1")


def test_it_learns_the_sample(sample, torch, tmp_path):
    output = finished(train(sample, tmp_path / "run", "--stride", "4"))
    share = float(output.rpartition("each clip: ")[2].split("%")[0])
    assert share > 90


def test_killed_and_resumed_it_gives_the_losses_that_it_would_have_given(sample, torch, tmp_path):
    finished(train(sample, tmp_path / "whole", *SHORT))
    expected = json.loads((tmp_path / "whole" / "losses.json").read_text())
    assert len(expected) == 6 * 3  # of 18 clips in batches of 6
    checkpoint = tmp_path / "killed" / "checkpoint-0-of-1.pt"
    for at in (1, 8):
        process = train(sample, tmp_path / "killed", *SHORT)
        while process.poll() is None:
            if checkpoint.exists() and torch.load(checkpoint, weights_only=False)["step"] >= at:
                process.send_signal(signal.SIGKILL)
                break
            time.sleep(0.01)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    output = finished(train(sample, tmp_path / "killed", *SHORT))
    assert "goes on in epoch" in output
    assert json.loads((tmp_path / "killed" / "losses.json").read_text()) == expected


def test_two_processes_share_the_clips(sample, torch, tmp_path):
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0")
    torchrun += ("--rdzv-backend", "c10d", "--rdzv-endpoint", "127.0.0.1:0")
    output = finished(train(sample, tmp_path / "run", *SHORT, command=torchrun))
    assert "epoch 6" in output
    assert {path.name for path in (tmp_path / "run").glob("*.pt")} == {
        "checkpoint-0-of-2.pt",
        "checkpoint-1-of-2.pt",
    }
    weights = [torch.load(path, weights_only=False)["model"] for path in sorted((tmp_path / "run").glob("*.pt"))]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    steps = [torch.load(path, weights_only=False)["step"] for path in sorted((tmp_path / "run").glob("*.pt"))]
    assert sum(steps) >= 6 * 3


def test_views_are_scored_and_evaluate_reads_the_scores(sample, torch, tmp_path):
    from typer.testing import CliRunner

    finished(train(sample, tmp_path / "run", *SHORT))
    command = [sys.executable, str(EXAMPLES / "evaluate_views.py"), str(sample / "prepared")]
    command += [str(tmp_path / "run" / "checkpoint-0-of-1.pt"), "--windows", "2", "--stride", "2"]
    env = {**os.environ, "HF_HOME": str(sample / "home")}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    annotations = str(sample / "demo" / "700" / "annotations")
    given = ["evaluate", str(tmp_path / "scores.parquet"), "700", "--annotations", annotations]
    given += ["--report", str(tmp_path / "r.json")]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 1, result.output  # one annotated clip is not there
    found = json.loads((tmp_path / "r.json").read_text())
    assert (found["clips"], len(found["missing"]), found["bad"]) == (19, 1, [])
    top1, top5 = (float(part.split("%")[0]) for part in done.stdout.split("top-")[1:] for part in [part.split(" ")[1]])
    assert found["top1"] * 19 == pytest.approx(top1 / 100 * 18, abs=0.02)
    assert found["top5"] * 19 == pytest.approx(top5 / 100 * 18, abs=0.02)
