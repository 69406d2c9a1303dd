"""The examples, run as a user would: trained, killed and resumed, on several processes, and scored."""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinetics_tools.cli.app import app
from kinetics_tools.demo.sample import make_sample
from kinetics_tools.media import Encoding, write_clip
from kinetics_tools.preparation.run import prepare
from tests.support.clients import PYTHONPATH, ROOT
from tests.support.trees import clips_of, write_annotations

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The demo's 18 validation clips of 700, of 2 s, prepared."""
    folder = tmp_path_factory.mktemp("sample")
    make_sample(folder / "demo", releases=["700"], seconds=2)
    encoding = Encoding(preset="ultrafast")
    prepare("700", folder / "demo" / "700", folder / "prepared", splits=["validation"], encoding=encoding, workers=2)
    return folder


def train(sample, out, *options, split="validation", command=(sys.executable,), env=None):
    arguments = [str(EXAMPLES / "train.py"), str(sample / "prepared"), "--split", split, "--out", str(out)]
    env = {**os.environ, "HF_HOME": str(sample / "home"), "OMP_NUM_THREADS": "1", **(env or {})}
    return subprocess.Popen(
        [*command, *arguments, *options], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
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
    checkpoint = tmp_path / "killed" / "checkpoint.pt"
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
    assert [path.name for path in (tmp_path / "run").glob("*.pt")] == ["checkpoint.pt"]
    # 9 clips each, so 2 steps an epoch in batches of 6.
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=False)["step"] == 6 * 2


def ranks(sample, out, *options, world):
    """The processes that `torchrun` would start, which it alone could end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [train(sample, out, *options, env={**common, "RANK": str(rank)}) for rank in range(world)]


def test_killed_processes_resume_together(sample, torch, tmp_path):
    """Of 18 clips, one of four processes has at most 4, and one at least 5: in the fifth step, not all have a clip."""
    options = ("--epochs", "2", "--stride", "2", "--save-every", "1", "--batch-size", "1", "--size", "32")
    for process in ranks(sample, tmp_path / "whole", *options, world=4):
        finished(process)
    expected = json.loads((tmp_path / "whole" / "losses.json").read_text())
    assert len(expected) >= 2 * 5
    checkpoint = tmp_path / "killed" / "checkpoint.pt"
    processes = ranks(sample, tmp_path / "killed", *options, world=4)
    while any(process.poll() is None for process in processes):
        if checkpoint.exists() and torch.load(checkpoint, weights_only=False)["step"] >= 5:
            break
        time.sleep(0.01)
    for process in processes:
        process.kill()
    for process in processes:
        process.communicate()
    outputs = [finished(process) for process in ranks(sample, tmp_path / "killed", *options, world=4)]
    assert all("goes on in epoch" in output for output in outputs)
    # Not to the last bit: the sum over four processes depends on how their gradients are packed, first and later on.
    assert json.loads((tmp_path / "killed" / "losses.json").read_text()) == expected


def test_other_options_need_another_folder(sample, torch, tmp_path):
    short = ("--epochs", "1", "--stride", "2", "--size", "32")
    finished(train(sample, tmp_path / "run", *short))
    finished(train(sample, tmp_path / "run", *short[2:], "--epochs", "2", "--save-every", "1"))
    process = train(sample, tmp_path / "run", *short, "--frames", "4", "--seed", "3")
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 1
    assert "has a run with --frames 8, not 4; --seed 0, not 3: choose another --out" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--split", "train"), "--split train: "),
        (("--model", "videomae"), "--model videomae needs transformers (none here): pip install transformers"),
    ],
)
def test_what_is_not_there_is_named(sample, torch, tmp_path, options, message):
    (tmp_path / "transformers.py").write_text("raise ImportError('none here')")
    process = train(sample, tmp_path / "run", *options, env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{PYTHONPATH}"})
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 1
    assert message in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *((f"{name} 0", f"argument {name}: 0: must be 1 or more") for name in ("--epochs", "--batch-size", "--frames")),
        *((f"{name} 0", f"argument {name}: 0: must be 1 or more") for name in ("--stride", "--size", "--save-every")),
        ("--seed -1", "argument --seed: -1: must be 0 or more"),
        ("--rate 0", "argument --rate: 0.0: must be more than 0"),
        ("--rate nan", "argument --rate: nan: must be more than 0"),
        ("--rate inf", "argument --rate: inf: must be more than 0 and finite"),
        ("--split trian", "argument --split: "),
    ],
)
def test_options_are_checked(torch, tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(sys, "argv", ["train.py", str(tmp_path / "no data"), "--out", str(tmp_path), *options.split()])
    train_module = importlib.import_module("train")
    with pytest.raises(SystemExit) as error:
        train_module.main()
    assert error.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("out", ["file", "file/run"])
def test_a_folder_that_cannot_be_made_is_told_before_work_starts(torch, tmp_path, monkeypatch, capsys, out):
    (tmp_path / "file").write_text("")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setattr(sys, "argv", ["train.py", str(tmp_path / "no data"), "--out", str(tmp_path / out)])
    with pytest.raises(SystemExit) as error:
        importlib.import_module("train").main()
    assert error.value.code == 2
    assert f"--out {tmp_path / out}: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns(["label"]), "has no column `label` of classes"),
        (
            lambda table: table.set_column(
                table.schema.get_field_index("label"),
                table.schema.field("label"),
                pa.nulls(len(table), table["label"].type),
            ),
            "has no label: choose a --split whose clips have one",
        ),
    ],
    ids=["no column", "nulls"],
)
def test_labels_that_are_not_there_are_told(sample, torch, tmp_path, change, message):
    (tmp_path / "prepared").mkdir()
    for path in (sample / "prepared" / "700").glob("*.parquet"):
        pq.write_table(change(pq.read_table(path)), tmp_path / "prepared" / "train.parquet")
    process = train(tmp_path, tmp_path / "run", "--release", "default", *SHORT, split="train")
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 1
    assert message in output
    assert "Traceback" not in output


def test_clips_without_a_label_train_nothing(torch, tmp_path):
    root = tmp_path / "700"
    clips = clips_of("test")
    write_annotations(root / "annotations" / "test.csv", clips, "test", labels=False)
    for clip in clips:
        path = root / "test" / clip.file_name
        path.parent.mkdir(exist_ok=True)
        write_clip(path, np.zeros((8, 32, 32, 3), np.uint8), fps=10)
    prepare("700", root, tmp_path / "prepared", profile="source")
    process = train(tmp_path, tmp_path / "run", *SHORT, split="test")
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 1
    assert "has no label: choose a --split whose clips have one" in output
    assert "Traceback" not in output


def test_views_are_scored_and_evaluate_reads_the_scores(sample, torch, tmp_path):
    from typer.testing import CliRunner

    finished(train(sample, tmp_path / "run", *SHORT))
    command = [sys.executable, str(EXAMPLES / "evaluate_views.py"), str(sample / "prepared")]
    command += [str(tmp_path / "run" / "checkpoint.pt"), "--windows", "2"]
    env = {**os.environ, "HF_HOME": str(sample / "home")}
    for out in ("nowhere/scores.parquet", "scores.csv"):  # before all is scored
        done = subprocess.run(
            [*command, "--out", out], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 2
        assert f"--out {out}: must be a .parquet file in a folder that is there" in done.stderr
    absent = [*command[:3], str(tmp_path / "none.pt")]
    done = subprocess.run(absent, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "none.pt: is no file; examples/train.py makes a checkpoint.pt in its --out" in done.stderr
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
