"""Installation of the wheel, the sdist, the folder and the editable project, each in an environment of its own."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import kinetics_tools
from tests.support.clients import ROOT

PACKAGE = ROOT / "tools" / "kinetics_tools"
PROBE = """
import os
import kinetics, kinetics_tools
assert len(kinetics.LABELS["700"]) == 700
print(os.path.dirname(kinetics.__file__), os.path.dirname(kinetics_tools.__file__))
"""


def run(*command: object, cwd: Path | None = None) -> str:
    """Run `command` without PYTHONPATH, which would let the checkout be imported in place of what is installed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([*map(str, command)], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def package_files() -> set[str]:
    files = (path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*") if path.is_file())
    return {file.as_posix() for file in files if "__pycache__" not in file.parts}


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> dict[str, Path]:
    """The wheel and the sdist."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist", "-d", out, cwd=ROOT)
    (wheel,), (sdist,) = out.glob("*.whl"), out.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


def test_the_wheel_holds_the_package_and_nothing_else(distributions):
    with zipfile.ZipFile(distributions["wheel"]) as wheel:
        files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert files == {"kinetics.py", *package_files()}
    assert {"kinetics_tools/annotations/classes.csv", "kinetics_tools/py.typed"} <= files


def test_the_sdist_holds_what_the_wheel_is_built_from(distributions):
    with tarfile.open(distributions["sdist"]) as sdist:
        files = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"kinetics.py", "pyproject.toml", "README.md", "LICENSE", "dataset_infos.json"} <= files
    assert {f"tools/{name}" for name in package_files()} <= files
    assert not {name for name in files if name.startswith(("tests", "benchmarks", "examples"))}


@pytest.mark.parametrize("form", ["wheel", "sdist", "folder", "editable"])
def test_an_installation_works_from_an_empty_folder(distributions, form, tmp_path):
    home, empty = tmp_path / "venv", tmp_path / "empty"
    empty.mkdir()
    run(sys.executable, "-m", "venv", "--without-pip", home)
    python = home / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(home)}))
    # The libraries of the tests' environment, behind what is installed; .pth files in there take no effect.
    (site / "zz_libraries.pth").write_text(sysconfig.get_path("purelib"))

    target = {"folder": [ROOT], "editable": ["--editable", ROOT]}.get(form) or [distributions[form]]
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, *target)

    places = [str(ROOT), str(PACKAGE)] if form == "editable" else [str(site), str(site / "kinetics_tools")]
    assert run(python, "-c", PROBE, cwd=empty).split() == places
    assert run(home / "bin" / "kinetics", "--version", cwd=empty).strip() == kinetics_tools.__version__
    assert "prepare" in run(python, "-m", "kinetics_tools", "--help", cwd=empty)
