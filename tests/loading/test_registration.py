"""`import kinetics` and the name "kinetics": what it answers for, what it leaves alone, what it never lists."""

import glob
import os
import subprocess
import sys

import datasets
import pyarrow
import pyarrow.parquet
import pytest

import kinetics
from tests.support.trees import CLIPS, load, only_scripts, rows, rows_of, write_tree

TRAIN = CLIPS["train"]


def test_the_module_lists_only_public_names():
    assert sorted(dir(kinetics)) == sorted([*kinetics.__all__, "__doc__", "__version__"])


# ---- Other names


def test_other_names_load_as_before(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.csv").write_text("a,b\n1,x\n2,y\n")
    assert datasets.load_dataset("csv", data_files="rows.csv", split="train")["a"][:] == [1, 2]
    assert datasets.load_dataset(str(tmp_path), split="train")["b"][:] == ["x", "y"]
    with pytest.raises(Exception, match="nobody/nothing"):
        datasets.load_dataset("nobody/nothing")
    with pytest.raises(Exception, match=r"kinetics-like|offline"):
        datasets.load_dataset("kinetics-like")


def test_a_folder_that_a_path_names_is_loaded_by_the_library(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kinetics").mkdir()
    (tmp_path / "kinetics" / "rows.csv").write_text("a\n1\n")
    for path in ("./kinetics", str(tmp_path / "kinetics")):
        assert datasets.load_dataset(path, split="train")["a"][:] == [1]


# ---- What is never listed


_listings: list[dict[str, int]] = []  # the innermost counts what is listed now


def _audit(event: str, arguments: tuple) -> None:
    if _listings and event in ("os.scandir", "os.listdir") and not isinstance(arguments[0], int):
        name = os.path.realpath(os.fspath(arguments[0] or "."))
        _listings[-1][name] = _listings[-1].get(name, 0) + 1


sys.addaudithook(_audit)  # sees every caller, and cannot be removed


@pytest.fixture
def listed(monkeypatch):
    """Count how often each directory is listed."""
    # An import that looks through the current directory is not meant.
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", ".")])
    _listings.append({})
    yield _listings[-1]
    _listings.pop()


@pytest.mark.parametrize("streaming", [False, True])
def test_the_current_directory_is_not_listed_and_class_folders_are_once(tmp_path, monkeypatch, listed, streaming):
    data_dir = write_tree(tmp_path / "tree")
    here = tmp_path / "here"
    (here / "kinetics").mkdir(parents=True)
    (here / "kinetics" / "other.csv").write_text("a\n1\n")
    monkeypatch.chdir(here)
    found = load(data_dir=str(data_dir), streaming=streaming)
    assert rows(found["train"]) == rows_of(TRAIN)
    assert not [path for path in listed if path.startswith(str(here.resolve()))]
    assert not [path for path in listed if str(here.resolve()).startswith(path) and path != "/"]
    folders = {str(path.resolve()) for split in ("train", "val", "test") for path in (data_dir / split).iterdir()}
    assert {path: count for path, count in listed.items() if path in folders} == dict.fromkeys(folders, 1)


def test_a_load_from_the_cache_lists_no_class_folder(tmp_path, listed):
    data_dir = write_tree(tmp_path)
    load(data_dir=str(data_dir))
    folders = [str(path.resolve()) for split in ("train", "val", "test") for path in (data_dir / split).iterdir()]
    listed.clear()
    load(data_dir=str(data_dir))
    assert not [path for path in folders if path in listed]


def test_data_dir_is_no_pattern(tmp_path, monkeypatch):
    def forbidden(*args, **kwargs):
        pytest.fail(f"a pattern is resolved: {args}")

    monkeypatch.setattr(glob, "glob", forbidden)
    monkeypatch.setattr(datasets.data_files, "resolve_pattern", forbidden)
    assert rows(load(data_dir=str(write_tree(tmp_path / "*")), split="train")) == rows_of(TRAIN)


# ---- A prepared dataset called kinetics in the current directory


def write_prepared(folder):
    """Write a dataset that `datasets` loads without us: Parquet and a card that names its files."""
    folder.mkdir()
    pyarrow.parquet.write_table(pyarrow.table({"prepared": [1, 2, 3]}), folder / "train.parquet")
    card = "configs:\n- config_name: '700'\n  data_files:\n  - split: train\n    path: train.parquet\n"
    (folder / "README.md").write_text(f"---\n{card}---\n# Prepared\n")


def test_a_prepared_folder_wins_where_no_data_dir_is_given(tmp_path, monkeypatch):
    write_prepared(tmp_path / "kinetics")
    monkeypatch.chdir(tmp_path)
    assert datasets.load_dataset("kinetics", "700", split="train")["prepared"][:] == [1, 2, 3]
    assert datasets.get_dataset_config_names("kinetics") == ["700"]


def test_a_data_dir_wins_over_a_prepared_folder(tmp_path, monkeypatch):
    write_prepared(tmp_path / "kinetics")
    monkeypatch.chdir(tmp_path)
    data_dir = write_tree(tmp_path / "tree")
    assert rows(load(data_dir=str(data_dir), split="train")) == rows_of(TRAIN)


def test_a_folder_with_another_readme_is_no_prepared_one(tmp_path, monkeypatch):
    (tmp_path / "kinetics").mkdir()
    (tmp_path / "kinetics" / "README.md").write_text("# My clips\n\nThe configs: none.\n")
    monkeypatch.chdir(tmp_path)
    assert isinstance(datasets.load_dataset_builder("kinetics", "700", decode=False), kinetics.Kinetics)


def test_a_folder_of_clips_called_kinetics_is_no_prepared_one(tmp_path, monkeypatch):
    write_tree(tmp_path / "kinetics")
    monkeypatch.chdir(tmp_path)
    assert isinstance(datasets.load_dataset_builder("kinetics", "700", decode=False), kinetics.Kinetics)
    assert rows(load(data_dir="kinetics", split="train")) == rows_of(TRAIN)


# ---- Other releases of `datasets`


def run(code, **environment):
    environment = {**os.environ, **environment}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


FUTURE = """
import datasets, datasets.load, datasets.inspect
for module in (datasets.load, datasets.inspect):
    del module.dataset_module_factory
import kinetics
"""


def test_without_the_place_to_register_the_import_works_and_says_what_to_do():
    status, _, err = run("import datasets" + FUTURE)
    assert status == 0, err
    assert f"datasets {datasets.__version__} has no function to register kinetics with" in err
    assert "kinetics.Kinetics(config_name='700', data_dir=...)" in err


def test_without_the_place_to_register_the_builder_loads_as_the_error_says(tmp_path):
    data_dir = write_tree(tmp_path / "tree")
    code = f"""
builder = kinetics.Kinetics(config_name='700', data_dir={str(data_dir)!r}, decode=False)
builder.download_and_prepare()
print(len(builder.as_dataset("train")), len(list(builder.as_streaming_dataset("train"))))
"""
    status, out, err = run(FUTURE + code)
    assert status == 0, err
    assert out.split() == ["8", "8"]


def test_labels_and_annotations_need_no_registration():
    status, out, err = run(FUTURE + "print(kinetics.LABELS['400'][0], kinetics.find_label('zumba', '400'))")
    assert (status, out.strip()) == (0, "abseiling 399"), err


def test_the_import_lists_nothing_connects_to_nothing_and_prints_nothing():
    code = """
import sys
import datasets
seen = []
sys.addaudithook(lambda event, arguments: seen.append(event))
import kinetics
assert not [event for event in seen if event == "os.scandir" or event.startswith("socket.")], seen
"""
    assert run(code) == (0, "", "")


def test_a_second_import_registers_nothing_twice():
    code = """
import datasets, importlib, kinetics
before = datasets.load.dataset_module_factory
importlib.reload(kinetics)
assert datasets.load.dataset_module_factory is datasets.inspect.dataset_module_factory is before
assert all(hasattr(kinetics, name) for name in kinetics.__all__)
"""
    assert run(code) == (0, "", "")


@only_scripts
def test_with_datasets_3_the_import_registers_the_name_too(tmp_path):
    assert rows(load(data_dir=str(write_tree(tmp_path)), split="train")) == rows_of(TRAIN)
