"""The examples, run as a user would: trained, killed and resumed, on several processes, and scored."""

import csv
import importlib
import json
import re
import socket
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinetics_tools import prepare
from kinetics_tools.cli.app import app
from kinetics_tools.media import Encoding, write_clip
from tests.support.forked import Script
from tests.support.trees import clips_of, write_annotations

pytestmark = pytest.mark.usefixtures("torchdata")

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(scope="module")
def sample(demo_sample, tmp_path_factory):
    """The demo's 18 validation clips of 700, of 1 s, prepared."""
    folder = tmp_path_factory.mktemp("sample")
    (folder / "demo").symlink_to(demo_sample)
    prepare(
        "700", demo_sample / "700", folder / "prepared", splits=["validation"], encoding=Encoding(preset="ultrafast")
    )
    return folder


def train(sample, out, *options, split="validation", env=None):
    """Start examples/train.py."""
    log = out.with_name(f"{out.name}-{(env or {}).get('RANK', '0')}.log")
    given = (sample / "prepared", "--split", split, "--out", out, *options)
    return Script(EXAMPLES / "train.py", *given, log=log, env={"HF_HOME": str(sample / "home"), **(env or {})})


def finished(script):
    code, output = script.wait()
    assert code == 0, output
    return output


def refused(script):
    code, output = script.wait()
    assert code == 1, output
    assert "Traceback" not in output
    return output


SHORT = ("--epochs", "3", "--stride", "2", "--size", "32", "--save-every", "1", "--workers", "0")


def losses_in(out):
    """Return the rows of losses.csv."""
    with (out / "losses.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_learns_the_sample(sample, torch, tmp_path):
    options = ("--frames", "4", "--stride", "4", "--size", "32", "--rate", "5e-3", "--epochs", "50")
    output = finished(train(sample, tmp_path / "run", *options, "--save-every", "100", "--workers", "0"))
    share = float(output.rpartition("each clip: ")[2].split("%")[0])
    assert share > 90
    losses = [float(row["loss"]) for row in losses_in(tmp_path / "run")]
    assert len(losses) == 50 * 3
    assert losses[-1] < losses[0] / 3


def test_a_validation_split_is_scored_after_each_epoch(sample, torch, tmp_path):
    pytest.importorskip("matplotlib")
    output = finished(train(sample, tmp_path / "run", *SHORT, "--validation-split", "val"))
    scores = [row["top1"] for row in losses_in(tmp_path / "run")]
    assert [number for number, score in enumerate(scores, 1) if score] == [3, 6, 9]
    assert all(round(float(score) * 18, 9).is_integer() for score in scores if score)  # of 18 clips
    assert f"epoch 3: loss {float(losses_in(tmp_path / 'run')[-1]['loss']):.3f} after 9 steps, " in output
    assert f"top-1 on validation {float(scores[-1]):.1%}" in output
    assert "54/54" in output  # the progress bar's clips of 3 epochs
    assert (tmp_path / "run" / "losses.png").read_bytes().startswith(b"\x89PNG")


def step_of(torch, checkpoint):
    return torch.load(checkpoint, weights_only=False)["step"] if checkpoint.exists() else 0


def kill_at(torch, scripts, checkpoint, step):
    """Kill all scripts when the checkpoint is of this step or a later one."""
    while any(script.is_running() for script in scripts) and step_of(torch, checkpoint) < step:
        time.sleep(0.01)
    for script in scripts:
        script.kill()
    assert {script.wait()[0] for script in scripts} == {-9}


@pytest.mark.parametrize("workers", ["0", "1"])
def test_killed_and_resumed_it_gives_the_losses_that_it_would_have_given(sample, torch, tmp_path, workers):
    options = (*SHORT, "--workers", workers)
    finished(train(sample, tmp_path / "whole", *options))
    expected = losses_in(tmp_path / "whole")
    assert len(expected) == 3 * 3  # of 18 clips in batches of 6
    for at in (1, 5):
        kill_at(torch, [train(sample, tmp_path / "killed", *options)], tmp_path / "killed" / "checkpoint.pt", at)
    output = finished(train(sample, tmp_path / "killed", *options))
    assert "resumed in epoch" in output
    assert losses_in(tmp_path / "killed") == expected


def ranks(sample, out, *options, world):
    """Start the processes that `torchrun` would start, which it alone could end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [train(sample, out, *options, env={**common, "RANK": str(rank)}) for rank in range(world)]


def losses_of(sample, out, *options, world):
    """Train, with nothing in between."""
    for process in ranks(sample, out, *options, world=world):
        finished(process)
    return losses_in(out)


def test_two_processes_share_the_clips(sample, torch, tmp_path):
    outputs = [finished(process) for process in ranks(sample, tmp_path / "run", *SHORT, world=2)]
    assert "epoch 3" in outputs[0]
    assert [path.name for path in (tmp_path / "run").glob("*.pt")] == ["checkpoint.pt"]
    # 9 clips each, so 2 steps an epoch in batches of 6.
    assert step_of(torch, tmp_path / "run" / "checkpoint.pt") == 3 * 2


def test_killed_processes_resume_together(sample, torch, tmp_path):
    """With this seed, one process has 7 of 18 clips: it is killed twice when it has no further one."""
    options = (*SHORT, "--epochs", "1", "--batch-size", "2", "--seed", "4", "--size", "96")  # a step takes 0.1 s
    expected = losses_of(sample, tmp_path / "whole", *options, world=2)
    assert len(expected) == 6
    checkpoint = tmp_path / "killed" / "checkpoint.pt"
    for step in (4, 5):
        kill_at(torch, ranks(sample, tmp_path / "killed", *options, world=2), checkpoint, step)
    outputs = [finished(process) for process in ranks(sample, tmp_path / "killed", *options, world=2)]
    assert all("resumed in epoch" in output for output in outputs)
    assert losses_in(tmp_path / "killed") == expected


def test_other_options_need_another_folder(sample, torch, tmp_path):
    finished(train(sample, tmp_path / "run", *SHORT, "--epochs", "1"))
    finished(train(sample, tmp_path / "run", *SHORT, "--epochs", "2", "--save-every", "2"))
    output = refused(train(sample, tmp_path / "run", *SHORT, "--frames", "4", "--seed", "3"))
    assert "has a run with --frames 8, not 4; --seed 0, not 3: choose another --out" in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--split", "train"), "--split train: "),
        (("--model", "videomae"), "--model videomae needs transformers (none here): pip install transformers"),
    ],
)
def test_what_is_not_there_is_named(sample, torch, tmp_path, options, message):
    (tmp_path / "transformers.py").write_text("raise ImportError('none here')")
    assert message in refused(train(sample, tmp_path / "run", *options, env={"PYTHONPATH": str(tmp_path)}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(
            (f"--{name} 0", f"argument --{name}: 0: must be at least 1")
            for name in ("epochs", "batch-size", "frames", "stride", "size", "save-every")
        ),
        *((f"--{name} -1", f"argument --{name}: -1: must be at least 0") for name in ("seed", "workers")),
        ("--rate 0", "argument --rate: 0.0: must be above 0"),
        ("--rate nan", "argument --rate: nan: must be above 0"),
        ("--rate inf", "argument --rate: inf: must be above 0 and finite"),
        ("--split trian", "argument --split: "),
        ("--device cuda", "--device cuda: torch finds no GPU"),
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
        (lambda table: table.drop_columns(["label"]), "has no column `label` of class labels"),
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
    assert message in refused(train(tmp_path, tmp_path / "run", "--release", "default", *SHORT, split="train"))


def test_clips_without_a_label_train_nothing(torch, tmp_path):
    root = tmp_path / "700"
    clips = clips_of("test")
    write_annotations(root / "annotations" / "test.csv", clips, "test", labels=False)
    for clip in clips:
        path = root / "test" / clip.file_name
        path.parent.mkdir(exist_ok=True)
        write_clip(path, np.zeros((8, 32, 32, 3), np.uint8), fps=10)
    prepare("700", root, tmp_path / "prepared", profile="source")
    assert "has no label: choose a --split whose clips have one" in refused(
        train(tmp_path, tmp_path / "run", *SHORT, split="test")
    )


def test_views_are_scored_and_evaluate_reads_the_scores(sample, torch, tmp_path):
    from typer.testing import CliRunner

    finished(train(sample, tmp_path / "run", *SHORT))
    checkpoint, scores = tmp_path / "run" / "checkpoint.pt", tmp_path / "scores.parquet"

    def evaluate(checkpoint, out):
        given = (sample / "prepared", checkpoint, "--windows", "2", "--out", out)
        env = {"HF_HOME": str(sample / "home")}
        return Script(EXAMPLES / "evaluate_views.py", *given, log=tmp_path / "evaluate.log", env=env).wait()

    for out in ("nowhere/scores.parquet", "scores.csv"):  # before all is scored
        code, output = evaluate(checkpoint, out)
        assert code == 2
        assert f"--out {out}: must be a .parquet file in an existing directory" in output
    code, output = evaluate(tmp_path / "none.pt", scores)
    assert code == 2
    assert "none.pt is not a file; examples/train.py writes checkpoint.pt to its --out" in output
    code, output = evaluate(checkpoint, scores)
    assert code == 0, output
    annotations = str(sample / "demo" / "700" / "annotations")
    given = ["evaluate", "700", str(tmp_path / "scores.parquet"), "--annotations", annotations]
    given += ["--report", str(tmp_path / "r.json")]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 1, result.output  # one annotated clip is not there
    found = json.loads((tmp_path / "r.json").read_text())
    assert (found["clips"], len(found["missing"]), found["bad"]) == (19, 1, [])
    # The one annotated clip without a prediction is wrong: two numbers, each with its own clips, in both places.
    for count, what, suffix in ((18, "scored", "_scored"), (19, "annotated", "")):
        top1, top5 = re.search(rf"top-1 ([\d.]+)%, top-5 ([\d.]+)% over {count} {what} clips", output).groups()
        assert found[f"top1{suffix}"] == pytest.approx(float(top1) / 100, abs=0.0006)
        assert found[f"top5{suffix}"] == pytest.approx(float(top5) / 100, abs=0.0006)
    assert f"over 19 annotated clips, {found['top1_scored']:.2%} over 18 scored clips" in result.output
