"""Conversions that are killed and resumed."""

import signal
from pathlib import Path

import pytest

from kinetics_tools import convert
from kinetics_tools.conversion.formats import FORMATS
from tests.support.clip_tree import files_of
from tests.support.forked import Script
from tests.support.trees import Clip, write_tree

OWN = (".kinetics-convert.jsonl", ".kinetics-convert.lock")


def outputs_of(out: Path) -> dict[str, bytes]:
    """Return the files of a conversion without its log and lock."""
    return {name: content for name, content in files_of(out).items() if name not in OWN}


# Parts of two clips; the process kills itself when it has read the fifth.
KILLED = """
import os, signal, sys
from kinetics_tools import convert
from kinetics_tools.conversion import conversion
from kinetics_tools.conversion.formats import FORMATS

class Killed(conversion.Progress):
    def count(self, status):
        super().count(status)
        if self.counts["converted"] == 5:
            os.kill(os.getpid(), signal.SIGKILL)

conversion.Progress = Killed
to, tree, out, part_bytes = sys.argv[1:]
FORMATS[to].part_bytes = int(part_bytes)
convert(tree, out, to=to, release="700", workers=1)
"""


def killed_and_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to: str, clips: list[Clip]
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the outputs of a conversion that was killed and resumed, and of a whole one."""
    of_split = {"train": clips[:8], "validation": clips[8:16]}
    tree = write_tree(tmp_path / "tree", clips=of_split)
    out, whole = tmp_path / "out", tmp_path / "whole"
    part_bytes = 2 * max(len(clip.content) for some in of_split.values() for clip in some)
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    code, output = Script(script, to, tree, out, part_bytes, log=tmp_path / "killed.log").wait()
    assert code == -signal.SIGKILL, output
    assert len((out / OWN[0]).read_text().splitlines()) <= 3  # of at most two parts
    assert outputs_of(out)
    monkeypatch.setattr(FORMATS[to], "part_bytes", part_bytes)
    for folder in (out, whole):
        assert convert(tree, folder, to=to, release="700").written == {"train": 8, "validation": 8}
    return outputs_of(out), outputs_of(whole)
