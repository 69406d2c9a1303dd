"""dataset_infos.json against kinetics.py, and what `datasets` makes of it."""

import json
from pathlib import Path

import datasets
import pytest
from typer.testing import CliRunner

import kinetics
from kinetics_tools.card import write_infos
from kinetics_tools.cli import app

COMMITTED = Path(kinetics.__file__).parent / "dataset_infos.json"


@pytest.mark.skipif(not COMMITTED.exists(), reason="kinetics is not installed from a checkout")
def test_the_committed_file_is_what_the_code_declares(tmp_path):
    assert write_infos(tmp_path / "infos.json").read_bytes() == COMMITTED.read_bytes()


def test_infos_verb_writes_the_file_that_it_names(tmp_path):
    path = tmp_path / "infos.json"
    result = CliRunner().invoke(app, ["infos", str(path)])
    assert result.exit_code == 0, result.output
    assert json.loads(path.read_text(encoding="utf-8")).keys() == set(kinetics.RELEASES)


@pytest.mark.parametrize("release", kinetics.RELEASES)
def test_datasets_reads_the_infos_of_each_release(release, tmp_path):
    info = json.loads(write_infos(tmp_path / "infos.json").read_text(encoding="utf-8"))[release]
    read = datasets.DatasetInfo.from_dict(info)
    assert read.features["label"].names == list(kinetics.LABELS[release])
    assert isinstance(read.features["video"], datasets.Video)
    assert {name: str(read.features[name].dtype) for name in ("youtube_id", "time_start", "time_end")} == {
        "youtube_id": "string",
        "time_start": "float32",
        "time_end": "float32",
    }
    assert list(read.splits) == ["train", "validation", "test"]
    assert all((read.description, read.citation, read.homepage, read.license))


def test_counts_are_those_of_the_published_annotations(shared, tmp_path):
    infos = json.loads(write_infos(tmp_path / "infos.json").read_text(encoding="utf-8"))
    # A line is a row here: no published file has a line break within one.
    for release, split, name in (
        ("400", "validation", "cvdf_k400_val.csv"),
        ("600", "validation", "deepmind_k600_validate.csv"),
    ):
        rows = len((shared / "annotations" / name).read_text(encoding="utf-8").splitlines()) - 1
        assert infos[release]["splits"][split]["num_examples"] == rows
    # What nobody confirms is left out, not guessed.
    assert "num_examples" not in infos["700"]["splits"]["train"]
