"""The walk: it prints what it runs, and what it prints runs."""

import os
import re
import shutil

import av
import datasets
import pytest
from typer.testing import CliRunner

from kinetics_tools.cli.app import app
from kinetics_tools.demo import make_sample, walk
from kinetics_tools.releases import RELEASES


@pytest.fixture
def made(demo_sample, tmp_path, monkeypatch):
    """A copy of the sample for `demo` to find, and a cache of its own."""
    shutil.copytree(demo_sample, tmp_path / "demo", copy_function=os.link)
    monkeypatch.setattr(walk, "make_sample", lambda out: make_sample(out, seconds=1))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "demo"


def test_the_command_runs_what_it_prints(made):
    result = CliRunner().invoke(app, ["demo", "--out", str(made)])
    datasets.enable_progress_bars()
    assert result.exit_code == 0, result.output
    printed = result.stdout
    for release in RELEASES:
        assert f"{release} {{'train': 36, 'validation': 18, 'test': 12}}" in printed
    assert "38 annotated, 37 on disk, 36 loaded" in printed
    assert len(re.findall(r"\.mp4: is not a readable clip", printed)) == 1
    assert printed.count("(3, 16, 224, 224)") == 3
    with av.open(str(made / "contact_sheet.png")) as container:
        sheet = next(container.decode(video=0))
    assert (sheet.width, sheet.height) == (8 * (170 + 4) + 4, 6 * (128 + 4) + 4)

    # Copied from the screen, without the prompts, the lines run by themselves.
    (made / "contact_sheet.png").unlink()
    lines = [line[4:] for line in printed.splitlines() if line.startswith((">>> ", "... "))]
    exec(compile("\n".join(lines), "<copied>", "exec"), {})
    assert (made / "contact_sheet.png").exists()
