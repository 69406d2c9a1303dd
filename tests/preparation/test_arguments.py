"""Arguments and output directories that are refused before the work."""

import os
import sys

import pytest

from tests.support.clip_tree import files_of, run
from tests.support.trees import write_tree


def test_an_engine_that_is_not_there_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match="engine='ray' needs Ray: pip install ray"):
        run(tmp_path / "no tree", tmp_path / "out", engine="ray")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "trian"}, r"unknown profile 'trian'; did you mean 'train'\? \(valid: train, source\)"),
        ({"profile": "source"}, r"profile='source' keeps the bytes of clips and takes no encoding"),
        ({"shards": (3, 3)}, r"shards=3:3: must be a half-open range"),
        ({"shards": (8, 12)}, r"shards=8:12: there are 8 shards; start at 7 or below"),
        ({"splits": ["validaton"]}, r"did you mean 'validation'"),
        ({"engine": "spark"}, r"unknown engine 'spark'.* \(valid: local, ray\)"),
        ({"workers": 0}, r"workers (is|must be at least 1, got) 0"),
        ({"clips_per_shard": 0}, r"clips_per_shard must be at least 1, got 0"),
        ({"address": "auto"}, r"address='auto' is valid only with engine='ray'"),
    ],
)
def test_bad_arguments(tree, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run(tree, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_readme_of_somebody_elses_is_not_replaced(tree, tmp_path):
    (tmp_path / "README.md").write_text("# my notes\n")
    with pytest.raises(ValueError, match=r"README\.md is not a card of .*; choose another directory or"):
        run(tree, tmp_path)
    assert files_of(tmp_path) == {"README.md": b"# my notes\n"}


def test_a_place_that_is_a_file_is_refused(tree, tmp_path):
    (tmp_path / "out").write_bytes(b"")
    for place in ("out", "out/below/it"):
        with pytest.raises(ValueError, match="out is a file; choose a directory"):
            run(tree, tmp_path / place)


@pytest.mark.parametrize("name", ["a*b", "a?b", "a[b]c", "a::b"])
def test_a_folder_that_datasets_cannot_load_is_refused(tree, tmp_path, name):
    for place in (name, f"{name}/below/it"):
        with pytest.raises(ValueError, match="`datasets` cannot load; choose another directory"):
            run(tree, tmp_path / place)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("tags: [", "it must be a YAML mapping"),
        ("- a list", "it must be a YAML mapping"),
        ("1: one", "it must be a YAML mapping with names as keys"),
        ("date: 2026-13-01", "it must be a YAML mapping"),
        pytest.param("a: " + "[" * 5000, "it must be a YAML mapping", id="nested"),
        ("tags: video", '"tags" must be a list'),
        ("tags: [[a]]", '"tags" must be a list of texts'),
        ("configs: {data_files: 5}", '"configs" must be a list of mappings'),
        ("configs: [mine]", '"configs" must be a list of mappings'),
        ("configs: [{data_files: 5}]", '"configs" must be a list of mappings whose data_files name files'),
        ("configs: [{data_files: [{path: null}]}]", '"configs" must be a list of mappings whose data_files name files'),
        ("configs: [{data_files: {train: a}}]", '"configs" must be a list of mappings whose data_files name files'),
        ("dataset_info: mine", '"dataset_info" must be a list of mappings'),
    ],
)
def test_a_header_that_cannot_be_kept_is_named_before_the_work(tree, tmp_path, header, problem):
    card = f"---\n{header}\n---\n<!-- begin: yours -->\n<!-- end: yours -->\n".encode()
    (tmp_path / "README.md").write_bytes(card)
    with pytest.raises(ValueError, match=rf"README\.md: invalid card header: {problem}.*; fix it and rerun"):
        run(tree, tmp_path)
    assert files_of(tmp_path) == {"README.md": card}


def test_archives_are_to_be_extracted_first(clips, tmp_path):
    tree = write_tree(tmp_path / "k700", ".tar.gz", clips={"validation": clips})
    command = f"kinetics convert {tree} 700 --to files --out extracted"
    with pytest.raises(FileNotFoundError, match=f"2 archives; extract them first: {command}$"):
        run(tree, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="no clips"):
        run(tree / "annotations", tmp_path / "out")


@pytest.mark.parametrize("name", ["README.md", "700/prepare.json"])
def test_a_pipe_is_refused_and_not_read(tree, tmp_path, name):
    (tmp_path / "700").mkdir()
    os.mkfifo(tmp_path / name)
    with pytest.raises(OSError, match=rf"not a regular file: .*{name}"):
        run(tree, tmp_path)
