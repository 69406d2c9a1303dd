"""URLs of stores whose client is not installed."""

import pytest
from fsspec.registry import known_implementations
from typer.testing import CliRunner

from kinetics_tools import prepare
from kinetics_tools.cli.app import app
from kinetics_tools.io import Folder
from kinetics_tools.media import decode
from kinetics_tools.preparation.clip import read_clip

URL = "missingstore://bucket/k700"


@pytest.fixture(autouse=True)
def missing_store(monkeypatch):
    known = {"class": "missingstorefs.FileSystem", "err": "Install missingstorefs to access this store"}
    monkeypatch.setitem(known_implementations, "missingstore", known)


@pytest.mark.parametrize(
    "use",
    [
        lambda out: Folder(URL),
        lambda out: decode(f"{URL}/clip.mp4", [0]),
        lambda out: read_clip(f"{URL}/clip.mp4"),
        lambda out: prepare("700", URL, out),
    ],
)
def test_the_package_to_install_is_named(tmp_path, use):
    with pytest.raises(ModuleNotFoundError, match=r"missingstore:// needs missingstorefs: pip install missingstorefs$"):
        use(tmp_path / "out")


@pytest.mark.parametrize(
    "words", [["prepare", "700", "--data-dir", URL, "--out", "out"], ["report", URL, "--out", "page"]]
)
def test_commands_print_one_line(tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, words)
    message = "error: missingstore:// needs missingstorefs: pip install missingstorefs\n"
    assert (done.exit_code, done.output) == (2, message)
