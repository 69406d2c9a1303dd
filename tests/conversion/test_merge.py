"""Merged lists of 400, 600 and 700: the published rule on hand-made releases."""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kinetics_tools import export_merged
from kinetics_tools.cli.app import app
from kinetics_tools.conversion.merge import MergeReport
from tests.support.clip_tree import with_content
from tests.support.trees import Clip, write_tree

pytestmark = pytest.mark.usefixtures("probed_here")


def clip(label, name, start=0):
    return with_content(Clip(label, name.ljust(11, "_"), start, start + 10))


# By the rule, of the training clips those marked with "kept" remain.
TREES = {
    "400": {
        "train": [
            clip("dying hair", "kept400"),
            clip("zumba", "val600"),
            clip("zumba", "test700"),
            clip("zumba", "kept400b"),
        ],
        "validation": [clip("zumba", "val400"), clip("hugging", "both")],
        "test": [clip("zumba", "test400")],
    },
    "600": {
        "train": [
            clip("dyeing hair", "kept400"),  # of a video of 400
            clip("chopping vegetables", "chopping"),  # kept, but OpenGVLab's order has no index for it
            clip("zumba", "val400"),
            clip("waking up", "kept600"),
            clip("waking up", "kept600", 50),  # the second clip of a video
        ],
        "validation": [clip("zumba", "val600"), clip("zumba", "both")],
        "test": [clip("zumba", "test600")],
    },
    "700": {
        "train": [clip("baby waking up", "kept700"), clip("zumba", "test400"), clip("zumba", "kept600", 90)],
        "validation": [clip("zumba", "val700")],
        "test": [clip("zumba", "test700")],
    },
}


@pytest.fixture
def data_dirs(tmp_path):
    return {release: write_tree(tmp_path / f"k{release}", clips=clips) for release, clips in TREES.items()}


def names_of_710(shared, path):
    return [line for line in (shared / "labels" / path).read_text(encoding="utf-8").split("\n") if line]


def test_the_rule(shared, data_dirs, tmp_path):
    report = export_merged(data_dirs, tmp_path / "lists", trainer="umt")
    names = names_of_710(shared, "k710/label_map_k710.txt")

    def listed(split):
        with open(tmp_path / "lists" / f"{split}.csv", newline="") as file:
            return {Path(path).stem[:11].rstrip("_"): names[int(label)] for path, label in csv.reader(file)}

    assert listed("train") == {
        "kept400": "dyeing hair",
        "kept400b": "zumba",
        "kept600": "waking up",
        "kept700": "baby waking up",
    }
    assert listed("val") == listed("test") == {
        "val400": "zumba",
        "both": "hugging (not baby)",  # of 400, the first that has the video
        "val600": "zumba",
        "val700": "zumba",
    }  # fmt: skip
    assert report.train == {"400": 4, "600": 5, "700": 3, "merged": 5}
    assert report.validation == {"400": 2, "600": 2, "700": 1, "merged": 4}
    assert report.held_out == 4
    assert report.export.skipped == {"chopping vegetables": 1}


def test_the_counts_stand_beside_the_published_ones(data_dirs, tmp_path):
    words = ",".join(f"{release}={path}" for release, path in data_dirs.items())
    done = CliRunner().invoke(app, ["export", "--merge", words, "--for", "umt", "--out", str(tmp_path / "lists")])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[:5] == [
        "400: 4 clips to train, 2 to validate (published 240,436 and 19,796)",
        "600: 5 clips to train, 2 to validate (published 366,006 and 27,935)",
        "700: 3 clips to train, 1 to validate",
        "merged: 5 clips to train, 4 to validate (published 658,340 and 66,803)",
        "dropped from training: 4 clips of held-out videos",
    ]


def test_mmaction2_has_lists_of_each_release(shared, data_dirs, tmp_path):
    report = export_merged(data_dirs, tmp_path / "lists", trainer="mmaction2", prefix="data", link=tmp_path / "links")
    names = names_of_710(shared, "labelmaps/mmaction2_label_map_k710.txt")
    found = {}
    for path in (tmp_path / "lists").iterdir():
        pairs = [line.strip().split(" ") for line in path.read_text().splitlines()]
        found[path.name] = {name: names[int(label)] for name, label in pairs}
    assert found == {
        "k400_train_list_videos.txt": {
            "data/400/train/dying_hair/kept400_____000000_000010.mp4": "dyeing hair",
            "data/400/train/zumba/kept400b____000000_000010.mp4": "zumba",
        },
        "k600_train_list_videos.txt": {
            "data/600/train/chopping_vegetables/chopping____000000_000010.mp4": "chopping vegetables",
            "data/600/train/waking_up/kept600_____000000_000010.mp4": "waking up",
        },
        "k700_train_list_videos.txt": {
            "data/700/train/baby_waking_up/kept700_____000000_000010.mp4": "baby waking up",
        },
        "k400_val_list_videos.txt": {
            "data/400/val/zumba/val400______000000_000010.mp4": "zumba",
            "data/400/val/hugging/both________000000_000010.mp4": "hugging (not baby)",
        },
        "k600_val_list_videos.txt": {"data/600/val/zumba/val600______000000_000010.mp4": "zumba"},
        "k700_val_list_videos.txt": {"data/700/val/zumba/val700______000000_000010.mp4": "zumba"},
    }
    assert sum(report.export.written.values()) == 9
    for lines in found.values():
        for path in lines:
            assert (tmp_path / "links" / path.removeprefix("data/")).stat().st_nlink == 2


def test_a_video_without_a_file_in_one_release_is_taken_from_the_next(data_dirs, tmp_path):
    (data_dirs["400"] / "train" / "dying hair" / "kept400_____000000_000010.mp4").unlink()
    report = export_merged(data_dirs, tmp_path / "lists", trainer="umt", space="mmaction2-710")
    assert isinstance(report, MergeReport)
    text = (tmp_path / "lists" / "train.csv").read_text()
    assert "/k600/train/dyeing hair/kept400____" in text
    assert "400 train: missing, not listed: 1" in report.lines()
