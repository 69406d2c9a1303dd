"""Directories whose paths are not UTF-8, as every path with an umlaut is in the C locale."""

import os
from pathlib import Path

import datasets
import numpy as np
import pytest

import kinetics  # noqa: F401  (registers the builder)
from kinetics_tools.io.links import utf8_path
from kinetics_tools.media import decode, write_clip
from kinetics_tools.preparation import prepare
from kinetics_tools.sampling import KineticsClips
from kinetics_tools.verification import verify
from tests.support.trees import Clip, write_annotations


@pytest.fixture
def folder(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/k\xff\xc3")
    os.mkdir(path)
    return path


def test_a_path_that_is_utf8_stays(tmp_path, hf_cache):
    assert utf8_path(f"{tmp_path}/kübel") == f"{tmp_path}/kübel"
    assert not hf_cache.exists()


def test_another_path_has_one_link(folder):
    link = utf8_path(folder)
    assert link.isascii()
    assert os.path.samefile(link, folder)
    assert utf8_path(folder) == link


def test_a_cache_with_such_a_path_too_is_an_error_that_says_what_to_do(folder, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder)
    with pytest.raises(ValueError, match=r"k\\udcff\\udcc3 and .* are not UTF-8, .*; set HF_DATASETS_CACHE to a path"):
        utf8_path(folder)


def test_a_tree_under_such_a_path_is_verified_prepared_loaded_and_sampled(folder):
    clip, tree = Clip("zumba", "abcdefghijk", 1, 11), Path(folder, "tree")
    path = tree / "train" / "zumba" / clip.file_name
    path.parent.mkdir(parents=True)
    write_clip(path, [np.full((32, 32, 3), level, np.uint8) for level in range(0, 200, 5)], fps=4)
    write_annotations(tree / "annotations" / "train.csv", [clip], "train")
    assert verify("700", tree, workers=1, annotations=str(tree / "annotations" / "train.csv")).is_complete
    assert prepare("700", tree, Path(folder, "out"), profile="source", workers=1).rows_made == 1
    for streaming in (False, True):
        options = {"split": "train", "decode": False, "streaming": streaming}
        (row,) = datasets.load_dataset("kinetics", "700", data_dir=str(tree), **options)
        assert decode(row["video"], [39]).mean() == pytest.approx(195, abs=3)
    windows = KineticsClips(tree, frames_per_clip=4, num_classes="700", split="train", tensors=False)
    assert windows[9][2] == row["label"]
