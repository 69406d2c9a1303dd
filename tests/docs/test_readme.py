"""The README's snippets, run as they are printed, by a fresh Python in an empty directory."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.clients import ROOT, run_program

README = ROOT / "README.md"


def snippets(language: str) -> list[str]:
    """Blocks of the README in a language, without those that a comment before them says to need something else."""
    text = README.read_text(encoding="utf-8")
    return re.findall(rf"(?<!-->\n)^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_snippets_run_as_printed(demo_sample, tmp_path):
    shutil.copytree(demo_sample, tmp_path / "demo", copy_function=os.link)
    script = "\n".join(snippets("python"))
    assert "load_dataset" in script
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    commands = [line for block in snippets("sh") for line in block.splitlines() if line.startswith("kinetics ")]
    assert {line.split()[1] for line in commands} == {"prepare", "verify"}
    for line in commands:
        done = subprocess.run(line, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode in ((0, 1) if " verify " in line else (0,)), done.stderr  # not all of it is complete
    printed = run_program(script, cwd=tmp_path, env=environment, timeout=300)
    assert (tmp_path / "validation.parquet").exists()
    assert "passing American football (in game)" in printed


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_opens_with_the_two_commands(command):
    assert command in README.read_text(encoding="utf-8")[:2000]


def test_files_that_the_readme_links_to_exist():
    links = re.findall(r"\]\((?!https?://|#)([^)]+)\)", README.read_text(encoding="utf-8"))
    assert [link for link in links if not (README.parent / link).exists()] == []
