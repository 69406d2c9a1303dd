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

# Of the warnings about a release: two clips are missing in its training set, one in each other split.
COUNTS = {release: ["4 missing, 1 unannotated"] for release in RELEASES}
COUNTS["400"] = ["1 unannotated, 4 missing"]


@pytest.fixture
def made(demo_sample, tmp_path, monkeypatch):
    """A copy of the sample for `demo` to find, and a cache of its own."""
    shutil.copytree(demo_sample, tmp_path / "demo", copy_function=os.link)
    monkeypatch.setattr(walk, "make_sample", lambda out: make_sample(out, seconds=1))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "demo"


def test_the_command_tells_the_tasks_and_keeps_all_code_in_a_transcript(made):
    result = CliRunner().invoke(app, ["demo", "--out", str(made)])
    datasets.enable_progress_bars()
    assert result.exit_code == 0, result.output
    printed = result.stdout.splitlines()
    assert len(printed) <= 60
    assert all(len(line) <= 80 for line in printed if "/" not in line)  # paths of tests are long
    assert [line for line in printed if re.match(r"\d\. ", line)][-1].startswith("8. Load what was published")
    for release in RELEASES:
        assert f"   {release} {{'train': 36, 'validation': 18, 'test': 12}}" in printed
        # Each split has its missing clips, and the training set one file more than annotations.
        assert [line for line in printed if line.startswith(f"   {release}: ") and "unannotated" in line] == [
            *(f"   {release}: {counts} (named in transcript.md)" for counts in COUNTS[release])
        ]
    assert len(re.findall(r"\.mp4: is not a readable clip", result.stdout)) == 1
    assert result.stdout.count("(3, 16, 224, 224)") == 3
    assert printed[-1] == f"Picture: {made / 'contact_sheet.png'}"
    with av.open(str(made / "contact_sheet.png")) as container:
        sheet = next(container.decode(video=0))
    assert (sheet.width, sheet.height) == (8 * (170 + 4) + 4, 6 * (128 + 4) + 4)

    (made / "contact_sheet.png").unlink()
    transcript = (made / "transcript.md").read_text()
    assert "kinetics 700 validation: 18 of 19 clips; missing: 1 (" in transcript
    exec(compile("\n".join(re.findall(r"(?ms)^```python\n(.*?)^```$", transcript)), "<copied>", "exec"), {})
    assert (made / "contact_sheet.png").exists()
