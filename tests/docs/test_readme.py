"""README and the pages of docs/: their snippets run as printed, their links lead somewhere."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.snippets import NEEDS, blocks, page_program
from tests.support.clients import ROOT

README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = [README, *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_snippets_run_as_printed(demo_sample, forked_commands, tmp_path, page):
    has = {name for name in ("torch", "torchcodec", "torchdata") if importlib.util.find_spec(name)}
    code = page_program(page, has)
    if not code:
        return  # a page of text
    shutil.copytree(demo_sample, tmp_path / "demo", copy_function=os.link)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "COLUMNS": "100"}
    environment["PATH"] = f"{forked_commands}{os.pathsep}{environment['PATH']}"
    command = [forked_commands / "python", "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_snippet_needs_is_spelled_in_one_way(page):
    assert {block.needs for block in blocks(page) if block.needs} <= NEEDS


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_the_readme_opens_with_the_two_commands(command):
    assert command in README.read_text(encoding="utf-8")


def test_the_readme_is_short():
    assert len(README.read_text(encoding="utf-8").splitlines()) < 200


def test_files_that_the_readme_links_to_exist():
    links = re.findall(r"(?:\]\(|src=\")(?!https?://|#)([^)\"]+)", README.read_text(encoding="utf-8"))
    assert links
    for link in links:
        path, _, anchor = link.partition("#")
        assert (ROOT / path).exists(), link
        assert not anchor or anchor in _anchors(ROOT / path), link


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and mkdocs name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
