"""`kinetics doctor` and `kinetics classes`."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest
from typer.testing import CliRunner

import kinetics
from kinetics_tools.cli.app import app

BROKEN = 'raise RuntimeError("\\nCould not load libtorchcodec. Likely causes:\\n1. FFmpeg is not installed")\n'
MODULES = {"torch": "torch", "torchcodec": "torchcodec.decoders", "yt_dlp": "yt_dlp", "ray": "ray"}


@pytest.fixture
def findings(tmp_path):
    """What `doctor` prints beside optional packages of version 9.9, of which torchcodec does not load."""
    for name, module in MODULES.items():
        (tmp_path / f"{name}-9.9.dist-info").mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: 9.9\n"
        (tmp_path / f"{name}-9.9.dist-info" / "METADATA").write_text(metadata)
        path = tmp_path / f"{module.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(BROKEN if name == "torchcodec" else "")
    (tmp_path / "torchcodec" / "__init__.py").write_text("")

    def run(**variables):
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        cache = {"HF_DATASETS_CACHE": str(tmp_path / "not" / "made")}
        command = [sys.executable, "-m", "kinetics_tools", "doctor"]
        env = {**os.environ, "PYTHONPATH": path, **cache, **variables}
        printed = subprocess.run(command, capture_output=True, text=True, env=env, check=True).stdout
        return dict(line.split(":", 1) for line in printed.splitlines()), printed

    return run


def test_versions_and_what_does_not_load(tmp_path, findings):
    found, _ = findings()
    for name in ("datasets", "huggingface_hub", "pyarrow", "kinetics-dataset"):
        assert found[name].strip() == version(name)
    assert {found[name].strip() for name in ("torch", "yt-dlp", "ray")} == {"9.9"}
    assert found["torchcodec"].strip() == (
        "9.9 does not load: Could not load libtorchcodec. Likely causes: 1. FFmpeg is not installed"
    )
    assert found["datasets cache"].strip().startswith(f"{tmp_path}/not/made, ")


def test_no_secret_is_printed(findings):
    found, printed = findings(HF_TOKEN="hf_secret", KINETICS_MIRROR="http://ann:password@127.0.0.1:9/k?key=value")
    assert (found["Hub token"].strip(), found["mirror"].strip()) == ("found", "http://127.0.0.1:9/k")
    assert not any(secret in printed for secret in ("hf_secret", "ann", "password", "value"))


def classes(*words):
    return CliRunner().invoke(app, ["classes", *words])


def test_classes_are_listed_in_label_order():
    for release in kinetics.RELEASES:
        lines = classes(release).output.splitlines()
        assert [line.split(maxsplit=1)[1] for line in lines] == list(kinetics.LABELS[release])
        assert [int(line.split()[0]) for line in lines] == list(range(len(lines)))
    some = classes("400", "Dog").output.splitlines()
    assert [line.split(maxsplit=1)[1] for line in some] == [one for one in kinetics.LABELS["400"] if "dog" in one]
    assert len(some) == 5


def test_a_class_that_no_release_has_is_an_error_with_the_nearest_one():
    done = classes("400", "trainning dog")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "unknown class of 400 'trainning dog'; did you mean 'training dog'?" in done.stderr
