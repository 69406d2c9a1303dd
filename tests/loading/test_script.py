"""kinetics.py dropped alone onto a machine with `datasets` 3.6, as a loading script."""

import pickle
import shutil
from pathlib import Path

import datasets
import pytest

import kinetics
from kinetics_tools.releases import RELEASES
from tests.support.fault_server import FaultServer
from tests.support.mirror import write_mirror
from tests.support.trees import (
    CLIPS,
    DATASETS_MAJOR,
    LAYOUTS,
    clips_of,
    left_after,
    load,
    ordered_rows,
    rows,
    rows_of,
    write_tree,
)

pytestmark = pytest.mark.skipif(DATASETS_MAJOR >= 4, reason="datasets 4 and newer run no dataset scripts")


@pytest.fixture
def script(tmp_path):
    """The one file in a folder of its own."""
    folder = tmp_path / "script"
    folder.mkdir()
    return shutil.copy(Path(kinetics.__file__), folder / "kinetics.py")


@pytest.fixture
def run(script):
    def run(release="700", **options):
        options = {"decode": False, "trust_remote_code": True, **options}
        return datasets.load_dataset(str(script), release, **options)

    return run


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_rows_of_the_registered_builder(run, tmp_path, layout):
    data_dir = str(write_tree(tmp_path / "tree", layout))
    expected = {split: rows_of(clips) for split, clips in CLIPS.items()}
    for streaming in (False, True):
        scripted = run(data_dir=data_dir, streaming=streaming)
        registered = load(data_dir=data_dir, streaming=streaming)
        assert {split: rows(ds) for split, ds in scripted.items()} == expected
        assert {split: rows(ds) for split, ds in registered.items()} == expected
        assert scripted["train"].features == registered["train"].features


@pytest.mark.parametrize("release", kinetics.RELEASES)
def test_every_release_by_class_folders_alone(run, tmp_path, release):
    data_dir = str(write_tree(tmp_path / "tree", "torchvision folders", annotations=None))
    assert rows(run(release, data_dir=data_dir, split="train")) == rows_of(CLIPS["train"], release)


def test_arguments_pass_through(run, tmp_path):
    data_dir = str(write_tree(tmp_path / "tree"))
    found = run(data_dir=data_dir, splits=["train"], classes=["zumba"], max_clips_per_class=1, seed=3)
    expected = load(data_dir=data_dir, splits=["train"], classes=["zumba"], max_clips_per_class=1, seed=3)
    assert list(found) == ["train"]
    assert rows(found["train"]) == rows(expected["train"])
    assert len(found["train"]) == 1


def test_errors_name_the_nearest(run, tmp_path):
    data_dir = str(write_tree(tmp_path / "tree"))
    with pytest.raises(ValueError, match=r"unknown option 'clases'; did you mean 'classes'\?"):
        run(data_dir=data_dir, clases=["zumba"])
    with pytest.raises(ValueError, match=r"unknown class of 700 'zumbo'; did you mean 'zumba'\?"):
        run(data_dir=data_dir, classes=["zumbo"])
    with pytest.raises(ValueError, match=r"unknown release '7000'; did you mean '700'\?"):
        run("7000", data_dir=data_dir)


def test_processes_pickling_and_resuming(run, tmp_path):
    data_dir = str(write_tree(tmp_path / "tree", ".tar.gz"))
    assert rows(run(data_dir=data_dir, split="train", num_proc=2)) == rows_of(CLIPS["train"])
    stream = run(data_dir=data_dir, split="train", streaming=True)
    assert rows(pickle.loads(pickle.dumps(stream))) == rows_of(CLIPS["train"])
    whole = ordered_rows(stream)
    for position in range(1, len(whole) + 1):
        assert left_after(position, lambda: run(data_dir=data_dir, split="train", streaming=True)) == whole[position:]


@pytest.mark.parametrize("streaming", [False, True])
def test_the_public_archives(run, tmp_path, streaming):
    clips = clips_of("validation", 12)
    parts = {"part_0": clips[:5], "part_1": clips[5:]}
    archives = {name: {clip.file_name: clip.content for clip in part} for name, part in parts.items()}
    annotations = {"val": [clip.row for clip in clips]}
    write_mirror(tmp_path, "700-2020", {"val": archives}, annotations=annotations)
    with FaultServer(tmp_path) as mirror:
        found = run("700-2020", splits=["validation"], mirror=mirror.url, streaming=streaming)
        assert rows(found["validation"]) == rows_of(clips)


def test_the_names_that_datasets_asks_a_script_for(script, tmp_path):
    names = datasets.get_dataset_config_names(str(script), trust_remote_code=True)
    assert names == list(RELEASES)
    found = datasets.get_dataset_split_names(str(script), "700", trust_remote_code=True)
    assert found == ["train", "validation", "test"]
