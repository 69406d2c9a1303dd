"""Prepared folders, loaded and streamed by `datasets`."""

import json
import os

import datasets

from tests.support.clients import ROOT, run_program
from tests.support.clip_tree import rows_of

ALONE = """
import sys, json
sys.path = [path for path in sys.path if path != {here!r}]
import datasets
name, out = sys.argv[1:]
found = {{}}
for streaming in (True, False):
    for data in (name, out):
        ds = datasets.load_dataset(data, "700", split="validation", streaming=streaming)
        ds = ds.cast_column("video", datasets.Video(decode=False))
        found[f"{{streaming}} {{data == name}}"] = [[row["video"]["path"], row["label"]] for row in ds]
assert "kinetics" not in sys.modules and "kinetics_tools" not in sys.modules
print(json.dumps(found))
"""


def test_plain_datasets_loads_and_streams_it(prepared, tmp_path):
    (tmp_path / "kinetics").symlink_to(prepared)
    code = ALONE.format(here=str(ROOT))
    env = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    printed = run_program(code, "kinetics", prepared, cwd=tmp_path, env=env)
    expected = [[name, row["label"]] for name, row in rows_of(prepared).items()]
    assert len(expected) == 26
    assert json.loads(printed.splitlines()[-1]) == dict.fromkeys(
        ("True True", "True False", "False True", "False False"), expected
    )


def test_kinetics_loads_it_too_when_the_folder_is_called_so(prepared, tmp_path, monkeypatch):
    (tmp_path / "kinetics").symlink_to(prepared)
    monkeypatch.chdir(tmp_path)
    ds = datasets.load_dataset("kinetics", "700", split="validation", streaming=True)
    assert len(list(ds.cast_column("video", datasets.Video(decode=False)))) == 26


def test_torchcodec_decodes_every_row(prepared, torchcodec):
    for row in datasets.load_dataset(str(prepared), "700", split="validation", streaming=True):
        assert row["video"].metadata.num_frames == row["num_frames"] == len(row["video"][:])
