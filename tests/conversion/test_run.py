"""Lists of clips, read by the lines that the trainers read them with."""

import csv
import os
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from kinetics_tools import export, label_space, verify
from kinetics_tools.cli.app import app
from kinetics_tools.errors import DiskError
from kinetics_tools.releases import LABELS
from tests.support.clip_tree import SOURCE, run, with_content
from tests.support.trees import CLIPS as CLIPS_OF_TEXT
from tests.support.trees import Clip, torchvision_folder, write_annotations, write_tree

pytestmark = pytest.mark.usefixtures("probed_here")
CLIPS = {split: [*map(with_content, of_split)] for split, of_split in CLIPS_OF_TEXT.items()}
SPLITS = {"train": "train", "val": "validation", "test": "test"}


def read_slowfast(path):
    pairs = []
    for path_label in path.read_text().splitlines():
        fetch_info = path_label.split(" ")
        assert len(fetch_info) == 2
        pairs.append((fetch_info[0], int(fetch_info[1])))
    return pairs


def read_pytorchvideo(path):
    pairs = [line.rsplit(None, 1) for line in path.read_text().splitlines()]
    return [(name, int(label)) for name, label in pairs]


def read_mmaction2(path):
    pairs = [line.strip().split(" ") for line in path.read_text().splitlines()]
    assert all(len(pair) == 2 for pair in pairs)
    return [(name, int(label)) for name, label in pairs]


def read_pandas(delimiter):
    def read(path):
        values = pd.read_csv(path, header=None, delimiter=delimiter).values
        return [(name, int(label)) for name, label in zip(values[:, 0], values[:, 1], strict=True)]

    return read


def read_dali(path):
    """As C++ reads words from a stream."""
    words = [line.split() for line in path.read_text().splitlines()]
    return [(name, int(label)) for name, label, *_ in words]


# Trainer -> name of its list of a split, how it reads it, and whether spaces in paths break it.
READERS = {
    "slowfast": ("{}.csv", read_slowfast, True),
    "pytorchvideo": ("{}.csv", read_pytorchvideo, False),
    "mmaction2": ("kinetics700_{}_list_videos.txt", read_mmaction2, True),
    "videomae": ("{}.csv", read_pandas(" "), True),
    "umt": ("{}.csv", read_pandas(","), False),
    "internvideo": ("{}.csv", read_pandas(","), False),
    "vjepa": ("{}.csv", read_pandas(" "), True),
    "dali": ("{}.txt", read_dali, True),
}


@pytest.fixture
def data_dir(tmp_path):
    return write_tree(tmp_path / "tree", clips=CLIPS)


def labels_of(clips, space=None):
    order = LABELS["700"] if space is None else label_space(space).classes
    return sorted((clip.stem, order.index(clip.label)) for clip in clips)


@pytest.mark.parametrize("trainer", READERS)
def test_a_trainer_reads_its_lists(data_dir, tmp_path, trainer):
    """Each path is a file, of the clip whose label stands beside it."""
    name, read, breaks = READERS[trainer]
    if breaks:
        with pytest.raises(ValueError, match=rf"{trainer} cannot read paths with ' '.*pass link=DIRECTORY"):
            export("700", data_dir, tmp_path / "lists", trainer=trainer)
        assert not (tmp_path / "lists").exists()
    link = tmp_path / "links" if breaks else None
    report = export("700", data_dir, tmp_path / "lists", trainer=trainer, link=link)
    space = "opengvlab-700" if trainer in ("umt", "internvideo") else None
    tests_validation = trainer in ("videomae", "umt", "internvideo")
    for word, split in SPLITS.items():
        clips = CLIPS["validation" if word == "test" and tests_validation else split]
        found = read(tmp_path / "lists" / name.format(word))
        assert sorted((Path(path).stem, label) for path, label in found) == labels_of(clips, space)
        assert report.written[name.format(word)] == len(clips)
        for path, _ in found:
            assert Path(path).read_bytes() in [clip.content for clip in clips]
            assert os.path.isabs(path)
    assert len(os.listdir(tmp_path / "lists")) == 3


def test_links_are_hard_and_made_once(data_dir, tmp_path):
    for _ in range(2):
        export("700", data_dir, tmp_path / "lists", trainer="slowfast", link=tmp_path / "links")
    clip = CLIPS["train"][1]
    link = tmp_path / "links" / "train" / torchvision_folder(clip.label) / clip.file_name
    assert os.path.samefile(link, data_dir / "train" / clip.label / clip.file_name)
    link.unlink()
    link.write_text("mine")
    with pytest.raises(DiskError, match="is another file than"):
        export("700", data_dir, tmp_path / "lists", trainer="slowfast", link=tmp_path / "links")
    assert link.read_text() == "mine"


@pytest.mark.parametrize(("prefix", "start"), [("", ""), ("/mnt/k700/", "/mnt/k700/"), ("s3://b/k", "s3://b/k/")])
def test_paths_may_have_a_prefix_or_be_relative(data_dir, tmp_path, prefix, start):
    export("700", data_dir, tmp_path / "lists", trainer="pytorchvideo", prefix=prefix)
    paths = [path for path, _ in read_pytorchvideo(tmp_path / "lists" / "val.csv")]
    assert paths == [f"{start}val/{clip.label}/{clip.file_name}" for clip in sorted(CLIPS["validation"], key=stem)]


def stem(clip):
    return clip.stem


def test_clips_without_a_file_or_a_label_are_counted(tmp_path):
    clips = CLIPS["train"]
    tree = write_tree(tmp_path / "tree", "flat", clips={"train": clips, "test": CLIPS["test"]})
    (tree / "train" / clips[0].file_name).unlink()
    write_annotations(tree / "annotations" / "test.csv", CLIPS["test"], "test", labels=False)
    report = export("700", tree, tmp_path / "lists", trainer="slowfast")
    assert (report.missing, report.unlabelled) == ({"train": 1, "test": 0}, {"train": 0, "test": 8})
    assert report.written == {"train.csv": 7}
    assert "train: missing, not listed: 1" in report.lines()
    assert "test: without a label, not listed: 8" in report.lines()


def test_clips_that_no_trainer_can_read_are_counted_and_named(tmp_path):
    """As `verify` names them, whose cache is used."""
    clips = CLIPS["train"]
    tree = write_tree(tmp_path / "tree", "flat", clips={"train": clips})
    for clip, content in zip(clips, (b"", b"no clip", clips[2].content[:99]), strict=False):
        (tree / "train" / clip.file_name).write_bytes(content)
    report = export("700", tree, tmp_path / "lists", trainer="slowfast", link=tmp_path / "links")
    assert report.written == {"train.csv": 5}
    named = dict(one.split(": ", 1) for one in report.unreadable["train"])
    found = {row["clip"]: row for row in verify("700", tree).clips.to_pylist()}
    assert named == {clip.stem: found[clip.stem]["detail"] or "has no bytes" for clip in clips[:3]}
    assert f"train: unreadable, not listed: 3 ({clips[0].stem}: has no bytes, " in "\n".join(report.lines())
    assert sum(path.is_file() for path in (tmp_path / "links").rglob("*")) == 5


def test_without_labels_of_test_the_test_list_is_that_of_validation(tmp_path):
    tree = write_tree(tmp_path / "tree", "flat", clips={"validation": CLIPS["validation"]})
    report = export(700, tree, tmp_path / "lists", trainer="slowfast")
    assert report.written == {"val.csv": 8, "test.csv": 8}
    assert "test.csv: lists the clips of validation" in report.lines()
    assert (tmp_path / "lists" / "test.csv").read_bytes() == (tmp_path / "lists" / "val.csv").read_bytes()


def test_clips_of_a_class_that_a_space_does_not_have_are_skipped_and_named(tmp_path):
    """OpenGVLab's published list of 700 does not have archaeological excavation."""
    clips = [*CLIPS["train"], with_content(Clip("archaeological excavation", "excavation0", 0, 10))]
    tree = write_tree(tmp_path / "tree", "flat", clips={"train": clips})
    report = export("700", tree, tmp_path / "lists", trainer="umt")
    assert report.skipped == {"archaeological excavation": 1}
    assert report.written == {"train.csv": 8}
    assert "skipped 1 clip: opengvlab-700 has no index for archaeological excavation" in report.lines()
    assert any("ambiguous at 435" in line for line in report.lines())


def test_a_selection_is_listed_alone(data_dir, tmp_path):
    held_out = write_annotations(tmp_path / "held-out.csv", [CLIPS["train"][2]], "test")
    report = export(
        "700", data_dir, tmp_path / "lists", trainer="umt", splits=["train"], subset="mini-200",
        exclude=f"400:test={held_out}", space="sorted",
    )  # fmt: skip
    mine = [
        clip for clip in CLIPS["train"] if clip.label in ("hurling (sport)", "using remote controller (not gaming)")
    ]
    kept = [clip for clip in mine if clip.youtube_id != CLIPS["train"][2].youtube_id]
    assert 0 < len(kept) < len(mine)
    with open(tmp_path / "lists" / "train.csv", newline="") as file:
        found = [(Path(path).stem, int(label)) for path, label in csv.reader(file)]
    assert sorted(found) == labels_of(kept)
    assert report.space == "sorted-700"


def test_a_file_of_the_user_is_not_replaced(data_dir, tmp_path):
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "val.csv").write_text("name,age\n")
    with pytest.raises(ValueError, match=r"val\.csv exists, and is not an earlier output"):
        export("700", data_dir, tmp_path / "lists", trainer="umt")
    assert os.listdir(tmp_path / "lists") == ["val.csv"]


@pytest.mark.parametrize("name", ["out", "link", "extract"])
def test_outputs_are_outside_of_the_directory_that_is_read(data_dir, tmp_path, name):
    outputs = {"out": tmp_path / "lists", name: data_dir / "val" / "lists"}
    with pytest.raises(ValueError, match="which is read, and would be mixed with it"):
        export("700", data_dir, outputs.pop("out"), trainer="umt", **outputs)


@pytest.mark.usefixtures("in_process")
def test_prepared_shards_are_extracted_and_listed(tree, clips, tmp_path):
    run(tree, tmp_path / "prepared", **SOURCE)
    with pytest.raises(ValueError, match="holds prepared shards; pass extract=DIRECTORY"):
        export("700", tmp_path / "prepared", tmp_path / "lists", trainer="slowfast")
    good = {clip.stem: clip for number, clip in enumerate(clips) if number not in (3, 4, 5, 6)}
    for _ in range(2):
        report = export(
            "700", tmp_path / "prepared", tmp_path / "lists", trainer="slowfast", extract=tmp_path / "files"
        )
        found = {Path(path).stem: (path, label) for path, label in read_slowfast(tmp_path / "lists" / "val.csv")}
        assert found.keys() == good.keys()
        assert report.written["val.csv"] == len(good)
        for name, (path, label) in found.items():
            assert Path(path).read_bytes() == good[name].content
            assert label == LABELS["700"].index(good[name].label)
        os.truncate(next(path for path, _ in found.values()), 7)


def test_the_command_and_its_errors(data_dir, tmp_path):
    lists = str(tmp_path / "lists")
    done = CliRunner().invoke(app, ["export", "700", str(data_dir), "--for", "umt", "--out", lists])
    assert done.exit_code == 0, done.output
    assert "val.csv: 8 clips" in done.output
    for words, message in (
        (["700", str(data_dir), "--for", "slowfest"], "unknown trainer 'slowfest'; did you mean 'slowfast'"),
        (["700", "--for", "umt"], "export needs RELEASE and DIRECTORY, or --merge"),
        (["--merge", "400=x", "--for", "umt", "--subset", "mini-200"], "--merge takes all clips of its directories"),
        (["--merge", "400=x", "--for", "umt"], "merged lists need clips of 400, 600 and 700, got 400"),
        (["700", str(data_dir), "--for", "umt", "--extract", "x"], "has no prepared shards of 700"),
    ):
        done = CliRunner().invoke(app, ["export", *words, "--out", lists])
        assert (done.exit_code, message in done.output) == (2, True), done.output
