"""`kinetics doctor` and `kinetics classes`."""

import os
import subprocess
import sys
from importlib.metadata import version

import kinetics

BROKEN = 'raise RuntimeError("\\nCould not load libtorchcodec. Likely causes:\\n1. FFmpeg is not installed")\n'


def run(*words, **variables):
    env = {**os.environ, **variables}
    return subprocess.run([sys.executable, "-m", "kinetics_tools", *words], capture_output=True, text=True, env=env)


def findings(**variables):
    done = run("doctor", **variables)
    assert done.returncode == 0, done.stderr
    return dict(line.split(":", 1) for line in done.stdout.splitlines()), done.stdout


def test_versions_and_what_is_missing(tmp_path):
    (tmp_path / "torchcodec").mkdir()
    (tmp_path / "torchcodec" / "__init__.py").write_text("")
    (tmp_path / "torchcodec" / "decoders.py").write_text(BROKEN)
    for name in ("torchcodec", "ray"):
        (tmp_path / f"{name}-9.9.dist-info").mkdir()
        metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n"
        (tmp_path / f"{name}-9.9.dist-info" / "METADATA").write_text(metadata)
    (tmp_path / "ray.py").write_text("")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    found, _ = findings(PYTHONPATH=path, HF_DATASETS_CACHE=str(tmp_path / "not" / "made"))
    for name in ("datasets", "huggingface_hub", "pyarrow", "kinetics-dataset"):
        assert found[name].strip() == version(name)
    assert found["ray"].strip() == "9.9"
    assert found["torchcodec"].strip() == (
        "9.9 does not load: Could not load libtorchcodec. Likely causes: 1. FFmpeg is not installed"
    )
    assert found["datasets cache"].strip().startswith(f"{tmp_path}/not/made, ")


def test_no_secret_is_printed():
    found, printed = findings(HF_TOKEN="hf_secret", KINETICS_MIRROR="http://ann:password@127.0.0.1:9/k?key=value")
    assert (found["Hub token"].strip(), found["mirror"].strip()) == ("found", "http://127.0.0.1:9/k")
    assert not any(secret in printed for secret in ("hf_secret", "ann", "password", "value"))


def test_classes_are_listed_in_label_order():
    for release in kinetics.RELEASES:
        lines = run("classes", release).stdout.splitlines()
        assert [line.split(maxsplit=1)[1] for line in lines] == list(kinetics.LABELS[release])
        assert [int(line.split()[0]) for line in lines] == list(range(len(lines)))
    some = run("classes", "400", "Dog").stdout.splitlines()
    assert [line.split(maxsplit=1)[1] for line in some] == [one for one in kinetics.LABELS["400"] if "dog" in one]
    assert len(some) == 5


def test_a_class_that_no_release_has_is_an_error_with_the_nearest_one():
    done = run("classes", "400", "trainning dog")
    assert (done.returncode, done.stdout) == (2, "")
    assert "unknown class of 400 'trainning dog'; did you mean 'training dog'?" in done.stderr
