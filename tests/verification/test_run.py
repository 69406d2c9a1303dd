"""Trees with every fault in every layout; what is remembered, what is not; kills; the report's forms; overlaps.

What is expected comes from the faults as they were made, never from the code under test.
"""

import csv
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import kinetics  # noqa: F401  (registers the builder)
from kinetics_tools.annotations import OtherSplit, Selection
from kinetics_tools.annotations.read import clip_names, read_split
from kinetics_tools.cli.app import app
from kinetics_tools.downloading import NO_ARCHIVE, Entry, Ledger
from kinetics_tools.errors import DiskError
from kinetics_tools.media import write_clip
from kinetics_tools.verification import verify
from kinetics_tools.verification.overlap import shared_videos
from tests.support import mounts
from tests.support.fault_server import FaultServer
from tests.support.mirror import tar, tar_gz, write_mirror
from tests.support.trees import LAYOUTS, Clip, write_annotations, write_clips

pytestmark = pytest.mark.usefixtures("probed_here")

FPS = 4


@pytest.fixture(scope="session")
def pool(tmp_path_factory):
    """Whole clips of 10 s, each of other bytes than the others, and one of 9 s."""
    folder = tmp_path_factory.mktemp("pool")
    made = []
    for number in range(24):
        levels = np.random.default_rng(number).integers(0, 256, 9 * FPS if number == 0 else 10 * FPS, np.uint8)
        write_clip(folder / "clip", (np.full((48, 64, 3), level, np.uint8) for level in levels), fps=FPS)
        made.append((folder / "clip").read_bytes())
    assert len(set(made)) == len(made)
    return made


@pytest.fixture(scope="session")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("sound") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", 44_100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 441_000), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path.read_bytes()


def with_content(clip, content):
    clip = replace(clip, content=b"-")
    object.__setattr__(clip, "content", content)  # trees.Clip makes up what is empty
    return clip


class Case:
    """Rows, files, and what each is: `expected` has (split, path or clip) -> status."""

    LABELS = ("abseiling", "massaging person's head", "petting animal (not cat)", "zumba")

    def __init__(self, split, pool, sound):
        letter = split[0]
        names = [f"{'-_aB9'[number % 5]}{letter}{number:09d}" for number in range(14)]
        rows = [Clip(self.LABELS[n % 4], name, 7 * n, 7 * n + 10) for n, name in enumerate(names)]
        # Two clips of one video.
        rows[1] = Clip("zumba", rows[0].youtube_id, 100, 110)
        whole = pool[1:] if split == "train" else pool[12:]
        short = pool[0] + (b"" if split == "train" else b"\0\0\0\x08free")
        contents = {
            0: ("present", whole[0]),
            1: ("present", whole[1]),
            2: ("missing", None),
            3: ("empty", b""),
            4: ("unreadable", whole[2][: whole[2].rindex(b"moov") - 4]),
            5: ("unreadable", whole[3][: len(whole[3]) // 2]),
            6: ("unreadable", whole[4][:-1]),
            7: ("unreadable", b"<html>Video unavailable</html>\n" * 50),
            8: ("unreadable", sound),
            9: ("short", short),
            10: ("present", whole[5]),
            11: ("duplicate", whole[5]),
            12: ("misplaced", whole[6]),
            13: ("present", whole[7]),
        }
        self.rows = rows
        self.status = {rows[number].stem: status for number, (status, _) in contents.items()}
        self.files = [with_content(rows[n], content) for n, (_, content) in contents.items() if content is not None]
        self.files = [self._elsewhere(clip) if clip.stem == rows[12].stem else clip for clip in self.files]
        self.unexpected = [
            with_content(Clip("zumba", f"{letter}unexpected", 0, 10), whole[8]),
            with_content(Clip("zumba", f"{letter}copyOf_13_", 0, 10), whole[7]),
        ]
        self.files += self.unexpected

    def _elsewhere(self, clip):
        return with_content(replace(clip, label="archery"), clip.content)

    def counts(self, by_class):
        counts = Counter(self.status.values())
        counts["unexpected"] = len(self.unexpected)
        if not by_class:
            counts["present"] += counts.pop("misplaced")
        return counts


@pytest.fixture
def cases(pool, sound):
    return {split: Case(split, pool, sound) for split in ("train", "validation")}


def write(directory, cases, layout="class folders"):
    for split, case in cases.items():
        folder = {"validation": "val"}.get(split, split)
        write_clips(directory / folder, case.files, layout)
        write_annotations(directory / "annotations" / f"{folder}.csv", case.rows, folder)
    return directory


def run(directory, release="700", **options):
    return verify(release, directory, **{"workers": 1, **options})


def statuses(report):
    rows = report.clips.to_pylist()
    return {(row["split"], row["clip"]): row["status"] for row in rows}


def expected_statuses(cases, *, by_class):
    expected = {}
    for split, case in cases.items():
        for stem, status in case.status.items():
            expected[split, stem] = "present" if status == "misplaced" and not by_class else status
        expected.update({(split, clip.stem): "unexpected" for clip in case.unexpected})
    return expected


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_status_in_every_layout(tmp_path, cases, layout):
    write(tmp_path, cases, layout)
    by_class = "class" in layout or "torchvision" in layout
    report = run(tmp_path)
    assert statuses(report) == expected_statuses(cases, by_class=by_class)
    assert len(report.clips) == sum(len(case.rows) + len(case.unexpected) for case in cases.values())
    assert not report.is_complete
    for split, case in cases.items():
        assert report.splits[split].annotated == len(case.rows)
        assert {name: count for name, count in report.splits[split].counts.items() if count} == case.counts(by_class)
        folder = {"validation": "val"}.get(split, split)
        assert report.splits[split].annotations == str(tmp_path / "annotations" / f"{folder}.csv")
    # Again, from memory: the same of each clip.
    again = run(tmp_path)
    assert again.opened == 0
    assert again.clips.equals(report.clips)
    assert again.duplicates == report.duplicates


def test_all_that_is_wrong_is_said(tmp_path, cases, worker_processes):
    write(tmp_path, cases)
    report = run(tmp_path)
    rows = {row["clip"]: row for row in report.clips.to_pylist() if row["split"] == "train"}
    case = cases["train"]
    by_status = {}
    for clip in case.rows:
        by_status.setdefault(case.status[clip.stem], []).append(rows[clip.stem])
    assert [row["detail"] for row in by_status["present"]] == [""] * 4
    assert by_status["present"][0]["path"] == f"train/abseiling/{case.rows[0].file_name}"
    assert by_status["missing"][0]["path"] is None
    assert by_status["empty"][0]["detail"] == "has no bytes"
    details = [row["detail"] for row in by_status["unreadable"]]
    assert details[0] == "truncated: it has no moov box"
    assert re.fullmatch(r"truncated: [\d,]+ bytes of its mdat box are missing", details[1])
    assert details[2] == "truncated: 1 bytes of its moov box are missing"
    assert details[3] == "Invalid data found when processing input"
    assert details[4] == "has no video stream"
    assert [row["bytes"] for row in by_status["unreadable"]] == [len(clip.content) for clip in case.files[3:8]]
    assert by_status["short"][0]["detail"] == "9.00 s of 10 s"
    twins = [f"train/{clip.label}/{clip.file_name}" for clip in (case.rows[10], case.rows[11])]
    assert [row["detail"] for row in by_status["duplicate"]] == [f"same bytes as {twins[0]}"]
    assert by_status["misplaced"][0]["detail"] == f"annotated as {case.rows[12].label}"
    assert by_status["misplaced"][0]["path"] == f"train/archery/{case.rows[12].file_name}"
    assert [rows[clip.stem]["detail"] for clip in case.unexpected] == [
        "unannotated",
        f"unannotated; same bytes as train/{case.rows[13].label}/{case.rows[13].file_name}",
    ]
    measured = by_status["present"][0]
    assert [measured[name] for name in ("duration", "fps", "num_frames", "width", "height", "has_audio", "codec")] == [
        10.0, FPS, 40, 64, 48, False, "h264",
    ]  # fmt: skip
    assert (measured["youtube_id"], measured["time_start"], measured["time_end"]) == (case.rows[0].youtube_id, 0, 10)
    assert measured["label"] == "abseiling"
    assert by_status["unreadable"][0]["duration"] is None
    assert sorted(twins) in map(sorted, report.duplicates)


def good(pool, count=6, split="train"):
    labels = Case.LABELS
    return [
        with_content(Clip(labels[n % 4], f"{split[:2]}{n:09d}", n, n + 10), pool[n + 1]) for n in range(count)
    ]  # fmt: skip


def tree(directory, clips, *, layout="class folders", folder="train", rows=None):
    write_clips(directory / folder, clips, layout)
    write_annotations(directory / "annotations" / f"{folder}.csv", rows or clips, folder)
    return directory


def test_a_whole_tree_is_complete(tmp_path, pool):
    report = run(tree(tmp_path, good(pool)))
    assert report.is_complete
    assert report.lines()[-2:] == [
        "complete: train; not checked: validation, test",
        f"next: kinetics prepare 700 --data-dir {tmp_path} --out prepared --split=train",
    ]


def test_the_next_command_takes_the_splits_that_lack_clips_from_where_they_may_be(tmp_path, pool):
    clips = {split: good(pool, 3, split) for split in ("train", "test", "validation")}
    for split, some in clips.items():
        lost = {"train": 0, "test": 1, "validation": 2}[split]
        tree(tmp_path, some[lost:], folder=split, rows=some)

    def next_command():
        return run(tmp_path).lines()[-1]

    command = f"next: kinetics download 700 --out {tmp_path} --split=validation --split=test"
    assert next_command() == command
    error = {"class": "missing", "message": NO_ARCHIVE}
    with Ledger(tmp_path) as ledger:
        for name, split in ((clips["validation"][0].stem, "validation"), (clips["test"][0].stem, "test")):
            ledger.append(Entry(name, split, "archives", "missing", error=error))
        assert next_command() == command  # the archives may have another one
        ledger.append(Entry(clips["validation"][1].stem, "validation", "archives", "missing", error=error))
    assert next_command() == command.replace(" --split", " --source youtube --split", 1)
    tree(tmp_path, clips["train"][1:], rows=clips["train"])
    (tmp_path / "train" / clips["train"][0].label / clips["train"][0].file_name).unlink()
    assert next_command() == f"next: kinetics download 700 --out {tmp_path}"


def test_the_verdict_names_the_splits(tmp_path, pool):
    for split, clips in (("train", good(pool)), ("test", good(pool[6:], 4, "test"))):
        tree(tmp_path, clips[1:], folder=split, rows=clips)
    tree(tmp_path, good(pool[10:], 4, "validation"), folder="val")
    assert run(tmp_path).lines()[-2] == "incomplete: train, test; complete: validation"
    assert run(tmp_path, splits=["validation"]).lines()[-2] == "complete: validation; not checked: train, test"


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_of_clips_with_the_same_bytes_the_first_by_name_is_what_it_is(tmp_path, pool, order):
    """Here short; the others' folders come before its own."""
    labels = [Case.LABELS[index] for index in (2, 0, 1)]
    clips = [
        with_content(replace(clip, label=label), pool[0]) for clip, label in zip(good(pool, 3), labels, strict=True)
    ]
    tree(tmp_path, [clips[index] for index in order])
    first = f"train/{clips[0].label}/{clips[0].file_name}"
    rows = {row["clip"]: (row["status"], row["detail"]) for row in run(tmp_path).clips.to_pylist()}
    same = f"same bytes as {first}"
    assert rows == {
        clips[0].stem: ("short", "9.00 s of 10 s"),
        clips[1].stem: ("duplicate", f"{same}; 9.00 s of 10 s"),
        clips[2].stem: ("duplicate", f"{same}; 9.00 s of 10 s"),
    }


@pytest.mark.parametrize("layout", ["class folders", "flat"])
def test_clips_deeper_than_a_layout_goes_are_unexpected_and_not_looked_into(tmp_path, pool, layout):
    clips = good(pool)
    tree(tmp_path, clips, layout=layout)
    for folder in ("archery/part_1", "x/y/z"):
        write_clips(tmp_path / "train" / folder, clips[:1], "flat")
    report = run(tmp_path)
    assert (report.is_complete, report.opened, report.splits["train"].counts["unexpected"]) == (True, 6, 2)
    why = "deeper than clips in any layout, and not checked"
    paths = [f"train/{folder}/{clips[0].file_name}" for folder in ("archery/part_1", "x/y/z")]
    assert f"train: 2 unexpected: {paths[0]} ({why}); {paths[1]} ({why})" in report.lines()
    # Of a class that is not asked for, it is none of our business.
    assert run(tmp_path, classes=["zumba"]).splits["train"].counts["unexpected"] == 0


def test_a_link_to_a_folder_above_ends_no_run(tmp_path, pool):
    tree(tmp_path, good(pool))
    (tmp_path / "train" / "zumba" / "loop").symlink_to(tmp_path / "train")
    assert run(tmp_path).splits["train"].counts["unexpected"] == 0


def test_files_that_are_not_annotated_do_no_harm(tmp_path, pool):
    clips = good(pool)
    assert run(tree(tmp_path, clips, rows=clips[:4])).is_complete


@pytest.mark.parametrize(("lacks", "status"), [(0.5, "present"), (0.75, "short")])
def test_half_a_second_is_not_short(tmp_path, pool, lacks, status):
    path = tmp_path / "clip"
    frames = int((10 - lacks) * FPS)
    write_clip(path, (np.full((48, 64, 3), 9, np.uint8) for _ in range(frames)), fps=FPS)
    clip = with_content(good(pool)[0], path.read_bytes())
    path.unlink()
    assert run(tree(tmp_path, [clip])).clips["status"].to_pylist() == [status]


def test_a_copy_of_a_clip_in_another_folder_is_unexpected(tmp_path, pool):
    clip, *others = good(pool)
    wrong = with_content(replace(clip, label="archery"), clip.content)
    other = with_content(replace(others[0], label="archery"), pool[20])
    report = run(tree(tmp_path, [clip, *others, wrong, other], rows=[clip, *others]))
    assert report.is_complete
    rows = [row for row in report.clips.to_pylist() if row["status"] == "unexpected"]
    assert [(row["path"], row["detail"]) for row in rows] == [
        (
            f"train/archery/{clip.file_name}",
            f"another file of train/abseiling/{clip.file_name}; same bytes as train/abseiling/{clip.file_name}",
        ),
        (
            f"train/archery/{other.file_name}",
            f"another file of train/{others[0].label}/{other.file_name}",
        ),
    ]


def test_test_clips_without_labels_are_nowhere_misplaced(tmp_path, pool):
    clips = good(pool)
    write_clips(tmp_path / "test", clips, "class folders")
    write_annotations(tmp_path / "test.csv", clips, "test", labels=False)
    report = run(tmp_path)
    assert report.is_complete
    assert report.clips["label"].null_count == len(clips)


def test_a_clip_of_another_split_is_named_so(tmp_path, pool):
    train, val = good(pool, 3), good(pool[3:], 3, "validation")
    tree(tmp_path, [*train, val[0]], rows=train)
    tree(tmp_path, val[1:], folder="val", rows=val)
    report = run(tmp_path)
    rows = {(row["split"], row["clip"]): row for row in report.clips.to_pylist()}
    assert rows["train", val[0].stem]["detail"] == "annotated in validation"
    assert rows["validation", val[0].stem]["status"] == "missing"


def test_the_same_clip_in_two_splits_is_no_duplicate(tmp_path, pool):
    clips = good(pool)
    tree(tmp_path, clips)
    tree(tmp_path, clips, folder="val")
    report = run(tmp_path)
    assert report.is_complete
    assert len(report.duplicates) == len(clips)


def test_the_id_alone_is_a_name_where_the_split_has_one_clip_of_it(tmp_path, pool):
    first, second, third, *_ = good(pool)
    second = with_content(Clip("zumba", first.youtube_id, 50, 60), pool[9])
    write_annotations(tmp_path / "train.csv", [first, second, third], "train")
    (tmp_path / "train").mkdir()
    for clip in (first, third):
        (tmp_path / "train" / f"{clip.youtube_id}.mp4").write_bytes(clip.content)
    assert statuses(run(tmp_path)) == {
        ("train", first.stem): "missing",
        ("train", second.stem): "missing",
        ("train", third.stem): "present",
        ("train", first.youtube_id): "unexpected",
    }


def test_what_is_no_file_is_unreadable_and_nothing_waits_for_it(tmp_path, pool):
    clips = good(pool)
    tree(tmp_path, clips[3:], rows=clips, layout="flat")
    os.mkfifo(tmp_path / "train" / clips[0].file_name)
    (tmp_path / "train" / clips[1].file_name).symlink_to("nowhere")
    (tmp_path / "train" / clips[2].file_name).symlink_to(f"{clips[3].file_name}")
    rows = {row["clip"]: row for row in run(tmp_path).clips.to_pylist()}
    assert [(rows[clip.stem]["status"], rows[clip.stem]["detail"]) for clip in clips[:2]] == [
        ("unreadable", "not a regular file"),
        ("unreadable", "No such file or directory"),
    ]
    assert [rows[clip.stem]["status"] for clip in clips[2:4]] == ["present", "duplicate"]


def test_a_name_in_no_encoding_does_not_stop_the_run(tmp_path, pool):
    clips = good(pool)
    tree(tmp_path, clips)
    shutil.copy(tmp_path / "train" / "zumba" / clips[3].file_name, os.fsencode(tmp_path / "train") + b"/\xff\xfe.mp4")
    report = run(tmp_path, report_path=tmp_path / "r.json", csv_path=tmp_path / "c.csv")
    row = report.clips.to_pylist()[-1]
    assert (row["status"], row["path"]) == ("unexpected", r"train/\udcff\udcfe.mp4")
    assert run(tmp_path).opened == 0


def test_a_class_folder_whose_name_is_in_no_encoding_names_no_class(tmp_path, pool):
    clips = good(pool)
    tree(tmp_path, clips[1:], rows=clips)
    folder = Path(os.fsdecode(os.fsencode(tmp_path / "train") + b"/\xff%41"))
    write_clips(folder, clips[:1], "flat")
    row = run(tmp_path, report_path=tmp_path / "r.json", csv_path=tmp_path / "c.csv").clips.to_pylist()[0]
    assert (row["status"], row["path"]) == ("misplaced", rf"train/\udcff%41/{clips[0].file_name}")


def test_a_tree_under_a_name_in_no_encoding_is_verified(tmp_path, pool):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/k\xff"))
    tree(folder, good(pool, 1))
    assert run(folder).is_complete
    assert run(folder).opened == 0


def test_the_ledger_tells_why_a_clip_is_missing(tmp_path, pool):
    clips = good(pool)
    tree(tmp_path, clips[4:], rows=clips)
    removed = {"class": "removed", "message": "Video unavailable"}
    missing = {"class": "missing", "message": "no archive of the split has it"}
    with Ledger(tmp_path) as ledger:
        ledger.append(Entry(clips[0].stem, "train", "youtube", "unavailable", error=removed))
        ledger.append(Entry(clips[1].stem, "train", "archives", "missing", error=missing))
        ledger.append(Entry(clips[2].stem, "train", "youtube", "complete", bytes=5))
    details = [row["detail"] for row in run(tmp_path).clips.to_pylist()[:4]]
    assert details == [
        "download: removed: Video unavailable",
        "download: no archive of the split has it",
        "complete when it was downloaded",
        "",
    ]


@pytest.mark.parametrize("label", [None, "archery"])
def test_a_row_that_is_annotated_twice_counts_once_as_the_first_says(tmp_path, pool, label, caplog):
    clips = good(pool)
    again = [replace(clip, label=label or clip.label) for clip in (clips[1], clips[3], clips[1])]
    report = run(tree(tmp_path, clips, rows=[*clips, *again]))
    assert report.is_complete, report.lines()
    assert (report.splits["train"].annotated, len(report.clips)) == (6, 6)
    assert f"train.csv: 3 rows repeat another's clip ({clips[1].stem}, {clips[3].stem}, {clips[1].stem})" in caplog.text


# ---- Some of the clips


@pytest.mark.parametrize("layout", ["class folders", "flat", ".tar.gz"])
def test_of_chosen_classes_the_other_clips_are_neither_missing_nor_unexpected(tmp_path, pool, layout):
    clips = good(pool, 12)
    stranger = with_content(Clip("zumba", "unannotated", 0, 10), pool[20])
    tree(tmp_path, [*clips[:10], stranger], layout=layout, rows=clips)  # of zumba number 11 is missing
    report = run(tmp_path, classes=["Zumba", "massaging_persons_head"])
    chosen = [clip for clip in clips if clip.label in ("zumba", "massaging person's head")]
    expected = {("train", clip.stem): "missing" if clip is clips[11] else "present" for clip in chosen}
    assert statuses(report) == {**expected, ("train", stranger.stem): "unexpected"}
    assert (report.selection.classes, report.splits["train"].annotated) == (("zumba", "massaging person's head"), 6)
    assert report.splits["train"].left_out == 5
    assert "train: 5 files of annotated clips were not asked for" in report.lines()
    assert not report.is_complete
    if layout != ".tar.gz":
        assert report.opened == 6, "those that were not asked for need not be opened"
    # All of them, from what is remembered and for the rest anew.
    assert run(tmp_path).splits["train"].counts["present"] == 10


def test_a_tree_of_some_clips_of_each_class_is_complete_if_it_is_asked_for_those(tmp_path, pool):
    rows = good(pool, 12)
    path = write_annotations(tmp_path / "annotations" / "train.csv", rows, "train")
    table = read_split(str(path), "700", "train")
    chosen = clip_names(Selection("700", max_clips_per_class=2, seed=3).choose(table, "train")).to_pylist()
    write_clips(tmp_path / "train", [clip for clip in rows if clip.stem in chosen], "class folders")
    report = run(tmp_path, max_clips_per_class=2, seed=3)
    assert report.is_complete
    assert report.splits["train"].annotated == 8
    assert not run(tmp_path).is_complete
    assert not run(tmp_path, max_clips_per_class=2, seed=4).is_complete
    assert run(tmp_path, classes=["zumba"], max_clips_per_class=2, seed=3).splits["train"].annotated == 2


def test_a_clip_of_a_chosen_class_in_the_folder_of_another_is_misplaced(tmp_path, pool):
    clips = good(pool)
    wrong = with_content(replace(clips[3], label="archery"), clips[3].content)
    tree(tmp_path, [*clips[:3], wrong, *clips[4:]], rows=clips)
    assert list(statuses(run(tmp_path, classes=["zumba"])).values()) == ["misplaced"]


def test_splits_without_labels_are_passed_over_for_classes_unless_asked_for(tmp_path, pool):
    tree(tmp_path, good(pool))
    write_clips(tmp_path / "test", good(pool, 2, "test"), "flat")
    write_annotations(tmp_path / "annotations" / "test.csv", good(pool, 2, "test"), "test", labels=False)
    report = run(tmp_path, classes=["zumba"])
    assert list(report.splits) == ["train"]
    assert report.lines()[-2] == "complete: train; not checked: validation, test"
    with pytest.raises(ValueError, match="no clip of this split has a label"):
        run(tmp_path, classes=["zumba"], splits=["test"])


def test_a_choice_of_nothing_is_not_complete_but_an_error(tmp_path, pool):
    tree(tmp_path, good(pool))
    with pytest.raises(ValueError, match="no annotated clip of train is selected by classes archery"):
        run(tmp_path, classes=["archery"])
    # A split that has none beside one that has some is complete.
    tree(tmp_path, good(pool, 2, "validation"), folder="val")
    report = run(tmp_path, classes=["zumba"], overlaps=f"600:train={tmp_path}")
    assert report.splits["validation"].annotated == 0
    assert report.is_complete
    assert "validation: 0 of 0 videos (0.0%) are in 600 train" in report.lines()


def test_splits_and_classes_may_be_any_iterable(tmp_path, pool):
    tree(tmp_path, good(pool))
    report = run(tmp_path, splits=iter(["train"]), classes=(name for name in ["zumba", "abseiling"]))
    assert report.is_complete
    assert (list(report.splits), report.selection.classes) == (["train"], ("zumba", "abseiling"))
    assert report.splits["train"].annotated == 3


# ---- 400 and its replacements


def test_extracted_replacements_stand_in_for_what_they_replace(tmp_path, pool):
    first, second, *others = good(pool)
    broken = [with_content(clip, clip.content[:100]) for clip in (first, second)]
    tree(tmp_path, [*broken, *others], rows=[first, second, *others])
    folder = tmp_path / "replacement" / "replacement_for_corrupted_k400"
    folder.mkdir(parents=True)
    (folder / first.file_name).write_bytes(first.content)
    (folder / "other_000000_000010.mp4").write_bytes(pool[12])
    report = run(tmp_path, "400")
    rows = {row["clip"]: row for row in report.clips.to_pylist()}
    assert rows[first.stem]["status"] == "present"
    assert rows[first.stem]["path"] == f"replacement/replacement_for_corrupted_k400/{first.file_name}"
    assert rows[second.stem]["status"] == "unreadable"
    assert report.splits["train"].counts["unexpected"] == 1
    assert report.splits["train"].replaced == 1
    # Other releases have none.
    assert run(tmp_path, "600").splits["train"].counts["unreadable"] == 2


@pytest.mark.parametrize("place", ["train", ".", "replacement"])
def test_the_archive_of_replacements_wins(tmp_path, pool, place):
    first, *others = good(pool)
    broken = with_content(first, first.content[:100])
    tree(tmp_path, [broken, *others], layout=".tar.gz", rows=[first, *others])
    (tmp_path / place).mkdir(exist_ok=True)
    path = tmp_path / place / "replacement_for_corrupted_k400.tgz"
    path.write_bytes(tar_gz({f"replacement_for_corrupted_k400/{first.file_name}": first.content}))
    report = run(tmp_path, "400")
    assert report.is_complete, report.lines()
    assert report.splits["train"].replaced == 1
    assert run(tmp_path, "400").opened == 0


# ---- Archives


def test_an_archive_that_is_cut_off_is_named_and_read_as_far_as_it_goes(tmp_path, pool, worker_processes):
    clips = good(pool)
    tree(tmp_path, clips, layout=".tar")
    path = tmp_path / "train" / "part_1.tar"
    content = path.read_bytes()
    path.write_bytes(content[: content.rindex(b"ftyp") + 500])
    report = run(tmp_path)
    assert not report.is_complete
    assert list(report.splits["train"].broken_archives) == ["train/part_1.tar"]
    assert "truncated or corrupt" in report.splits["train"].broken_archives["train/part_1.tar"]
    assert report.splits["train"].counts["present"] == 5
    assert run(tmp_path).opened == 2, "what was found in a broken archive is not remembered"


def test_extracted_clips_win_over_archives_beside_them(tmp_path, pool):
    clips = good(pool)
    tree(tmp_path, clips, layout="flat")
    (tmp_path / "train" / "part_0.tar").write_bytes(tar({clips[0].file_name: b"no clip"}))
    report = run(tmp_path)
    assert report.is_complete
    assert report.splits["train"].archives_left_out == 1


# ---- What is remembered


def same_size_garbage(path):
    """Other bytes under the same size and time: only who opens the file can tell."""
    status = path.stat()
    path.write_bytes(b"\0" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_a_second_run_opens_what_changed_and_nothing_else(tmp_path, pool):
    clips = good(pool)
    tree(tmp_path, clips)
    paths = [tmp_path / "train" / clip.label / clip.file_name for clip in clips]
    first = run(tmp_path)
    assert (first.opened, first.is_complete) == (6, True)
    for path in paths:
        same_size_garbage(path)
    assert (run(tmp_path).opened, run(tmp_path).is_complete) == (0, True)
    os.utime(paths[0])  # touched only
    paths[1].write_bytes(clips[1].content + b"\0" * 8)
    third = run(tmp_path)
    assert third.opened == 2
    assert [statuses(third)["train", clip.stem] for clip in clips] == ["unreadable", *["present"] * 5]
    assert run(tmp_path).opened == 0


def test_deep_looks_again_once(tmp_path, pool):
    tree(tmp_path, good(pool))
    assert [run(tmp_path, deep=deep).opened for deep in (False, True, True, False)] == [6, 6, 0, 0]


def test_deep_finds_damage_that_headers_hide(tmp_path, pool):
    clips = good(pool)
    damaged = bytearray(clips[0].content)
    start, end = damaged.index(b"mdat") + 4, damaged.rindex(b"moov") - 4
    for position in range(start + (end - start) // 2, end, 7):
        damaged[position] ^= 0xFF
    clips[0] = with_content(clips[0], bytes(damaged))
    tree(tmp_path, clips)
    assert run(tmp_path).is_complete
    report = run(tmp_path, deep=True)
    row = report.clips.to_pylist()[0]
    assert row["status"] == "unreadable"
    assert re.fullmatch(r"has a corrupt frame at \d\.\d\d s \(.*\)", row["detail"])
    assert row["num_frames"] == 40
    assert report.splits["train"].counts["present"] == 5


def test_deep_finds_bytes_that_are_not_those_of_the_ledger(tmp_path, pool, worker_processes):
    """A box that no decoder reads has changed, at the same length: of a clip in the ledger, and of one that is not."""
    clips = [with_content(clip, clip.content + b"\0\0\0\x09freeA") for clip in good(pool)]
    with Ledger(tmp_path) as ledger:
        for clip in clips[:4]:
            digest = hashlib.sha256(clip.content).hexdigest()
            ledger.append(Entry(clip.stem, "train", "youtube", "complete", bytes=len(clip.content), sha256=digest))
        unchecked = len(clips[3].content)
        ledger.append(Entry(clips[3].stem, "train", "kinetics/x.tar.gz", "unchecked", bytes=unchecked))
    changed = [with_content(clip, clip.content[:-1] + b"B") for clip in clips]
    tree(tmp_path, [clips[0], *changed[1:]])
    assert run(tmp_path).is_complete
    assert remembering(tmp_path).read_text().count(hashlib.sha256(changed[1].content).hexdigest()) == 0
    for _ in range(2):
        report = run(tmp_path, deep=True)
        rows = report.clips.to_pylist()
        assert [row["status"] for row in rows] == ["present", "unreadable", "unreadable", *["present"] * 3]
        assert rows[1]["detail"] == "differs from the download by SHA-256: delete it and download it again"
    assert report.opened == 0


def test_members_of_archives_are_not_the_files_that_the_ledger_knows(tmp_path, pool):
    clips = good(pool)
    tree(tmp_path, clips, layout=".tar")
    with Ledger(tmp_path) as ledger:
        ledger.append(Entry(clips[0].stem, "train", "youtube", "complete", bytes=5, sha256="0" * 64))
    assert run(tmp_path, deep=True).is_complete


def remembering(directory):
    return directory / ".kinetics-probes.jsonl"


def test_lines_that_a_kill_tore_or_that_mean_nothing_cost_only_themselves(tmp_path, pool):
    tree(tmp_path, good(pool))
    run(tmp_path)
    path = remembering(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 7
    path.write_bytes(b"".join([lines[0], b"[1, 2]\n", b"nonsense\n", *lines[1:-1], lines[-1][:-9]]))
    assert run(tmp_path).opened == 1
    assert run(tmp_path).opened == 0
    path.write_bytes(b'{"kinetics probes": 0}\n' + b"".join(lines[1:]))
    assert run(tmp_path).opened == 6


def test_a_tree_that_cannot_be_written_to(tmp_path, pool, hf_cache):
    tree(tmp_path / "data", good(pool))
    with mounts.read_only(tmp_path / "data") as mounted:
        assert [run(mounted).opened, run(mounted).opened] == [6, 0]
    assert len(list(Path(hf_cache, "downloads").glob("kinetics-probes-*.jsonl"))) == 1


def test_a_second_run_says_what_is_unchanged(tmp_path, pool):
    tree(tmp_path, good(pool))
    first = run(tmp_path)
    assert "opened 6 clips" in first.lines()
    assert re.search(r"present +│ +6 ", repr(first)), "a notebook shows the table and the lines"
    assert repr(first).endswith("\n".join(first.lines()))
    assert "opened 0 clips; 6 unchanged since the last run" in run(tmp_path).lines()


@pytest.mark.parametrize("full", ["cache", "report"])
def test_a_full_disk_says_where_and_how_to_resume(tmp_path, pool, full):
    with mounts.small_disk(tmp_path / "disk") as disk:
        tree(disk, good(pool))
        if full == "cache":
            remembering(disk).write_bytes(b'{"kinetics probes": 2}'.ljust(4095) + b"\n")  # lines need a new block
        else:
            run(disk)
        mounts.fill(disk)
        place = {"cache": str(remembering(disk)), "report": str(disk / "r.json")}[full]
        with pytest.raises(DiskError, match=rf"{place}.*: No space left on device; finished files are kept. Make room"):
            run(disk, report_path=disk / "r.json")
        (disk / "filler").unlink()
        assert run(disk, report_path=disk / "r.json").opened == (6 if full == "cache" else 0)


@pytest.mark.parametrize("option", ["--csv", "--report"])
def test_places_that_cannot_be_written_are_told_before_work(tmp_path, pool, option):
    tree(tmp_path, good(pool))
    done = CliRunner().invoke(app, ["verify", "700", str(tmp_path), "--workers", "1", option, "/proc/x.csv"])
    assert done.exit_code == 2
    assert "/proc/x.csv cannot be written (No such file or directory); pass a path in another dir" in done.output
    assert not remembering(tmp_path).exists(), "nothing was looked at"


KILLED = """
import sys, time
from kinetics_tools.verification import run as verify
from kinetics_tools.probing.cache import ProbeCache

put = ProbeCache.put
def slow(self, *args, **kwargs):
    put(self, *args, **kwargs)
    print("put", flush=True)
    time.sleep(0.05)
ProbeCache.put = slow
verify.verify("700", sys.argv[1], workers=2)
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path, pool):
    clips = [
        with_content(Clip("zumba", f"x{n:010d}", n, n + 10), pool[n % 20 + 1] + bytes(n)) for n in range(120)
    ]  # fmt: skip
    tree(tmp_path, clips)
    undisturbed = tmp_path / "copy"
    shutil.copytree(tmp_path / "train", undisturbed / "train", copy_function=shutil.copy2)
    shutil.copytree(tmp_path / "annotations", undisturbed / "annotations")
    with subprocess.Popen([sys.executable, "-c", KILLED, tmp_path], stdout=subprocess.PIPE) as process:
        for _ in range(20):
            assert process.stdout.readline() == b"put\n"
        process.send_signal(signal.SIGKILL)
    report = run(tmp_path)
    assert 0 < report.opened <= 100
    whole = run(undisturbed)
    assert whole.opened == 120
    assert report.clips.equals(whole.clips)


def test_an_interrupt_says_how_to_go_on(tmp_path, pool):
    tree(tmp_path, [with_content(Clip("zumba", f"x{n:010d}", n, n + 10), pool[1] + bytes(n)) for n in range(200)])
    script = KILLED.replace("verify.verify", "pass #").replace(
        "from kinetics_tools.verification import run as verify\n", ""
    )
    script += (
        "\nfrom kinetics_tools.cli.app import main\nsys.argv = ['kinetics', 'verify', sys.argv[1], '700']\nmain()\n"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "cwd": tmp_path, "text": True}
    with subprocess.Popen([sys.executable, "-c", script, tmp_path], start_new_session=True, **pipes) as process:
        for _ in range(5):
            assert process.stdout.readline() == "put\n"
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert re.search(r"interrupted: \d+ clips were opened; rerun the same command to resume", errors)
    assert "Traceback" not in errors
    assert not (tmp_path / "report.json").exists()
    assert 0 < run(tmp_path).opened < 200


# ---- Forms of the report


def test_the_command_writes_what_is_there(tmp_path, cases, monkeypatch, worker_processes):
    data = write(tmp_path / "data", cases, "torchvision folders")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        app, ["verify", "700", "data", "--csv", "clips.csv", "--report", "report.json", "--workers", "1"]
    )
    assert done.exit_code == 1, done.output
    truth = expected_statuses(cases, by_class=True)

    with open("clips.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["split"], row["clip"]): row["status"] for row in rows} == truth
    assert len(rows) == len(truth)
    files = {str(path.relative_to(data)): path.stat().st_size for path in data.glob("*/*/*.mp4")}
    assert {row["path"]: int(row["bytes"]) for row in rows if row["path"]} == files
    annotated = [row for row in rows if row["status"] != "unexpected"]
    clips = [clip for case in cases.values() for clip in case.rows]
    assert [(row["label"], row["youtube_id"], row["time_start"], row["time_end"]) for row in annotated] == [
        tuple(map(str, clip.row)) for clip in clips
    ]

    report = json.loads(Path("report.json").read_text())
    assert (report["release"], report["directory"], report["deep"], report["complete"]) == ("700", "data", False, False)
    for split, case in cases.items():
        counts = {name: count for name, count in report["splits"][split]["clips"].items() if count}
        assert counts == case.counts(True)
        assert report["splits"][split]["annotated"] == len(case.rows)
        assert report["splits"][split]["complete"] is False
    assert {(row["split"], row["clip"]): row["status"] for row in report["problems"]} == {
        key: status for key, status in truth.items() if status != "present"
    }
    assert [len(group) for group in report["duplicates"]] == [2] * 4

    for split, case in cases.items():
        for status, count in case.counts(True).items():
            if status != "present":
                assert f"{split}: {count} {status}: " in done.output
            assert re.search(rf"{status} +│ +\d", done.output)
    assert done.output.splitlines()[-2] == "incomplete: train, validation; not checked: test"
    assert not list(tmp_path.glob("*.incomplete"))


@pytest.mark.parametrize("option", ["--report", "--csv"])
@pytest.mark.parametrize("content", ['{"release": "1.0"}', '["report"]', "split,clip\n", "\0\1\2", "a report"])
def test_a_file_that_is_no_report_of_ours_is_not_replaced(tmp_path, pool, monkeypatch, option, content):
    tree(tmp_path / "data", good(pool))
    monkeypatch.chdir(tmp_path)
    Path("mine").write_text(content)
    done = CliRunner().invoke(app, ["verify", "700", "data", "--workers", "1", option, "mine"])
    assert done.exit_code == 2, done.output
    assert "mine exists, and is not an earlier output of this command; move it or pass another name" in done.output
    assert Path("mine").read_text() == content
    assert not remembering(tmp_path / "data").exists(), "nothing was looked at"


def test_earlier_reports_and_empty_files_are_replaced(tmp_path, pool):
    tree(tmp_path, good(pool))
    paths = {"report_path": tmp_path / "report.json", "csv_path": tmp_path / "clips.csv"}
    for path in paths.values():
        path.touch()
    run(tmp_path, **paths)
    before = [path.read_bytes() for path in paths.values()]
    assert all(before)
    next((tmp_path / "train" / "zumba").iterdir()).unlink()
    run(tmp_path, **paths)
    assert all(path.read_bytes() not in before for path in paths.values())


REPORT = ("--report", "report.json")


def test_without_a_report_nothing_is_written_where_the_command_runs(tmp_path, pool, monkeypatch):
    tree(tmp_path / "data", good(pool))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    done = CliRunner().invoke(app, ["verify", "700", str(tmp_path / "data"), "--workers", "1"])
    assert done.exit_code == 0, done.output
    assert "wrote" not in done.output
    assert list(Path().iterdir()) == []


def test_the_release_comes_first_and_the_other_order_is_understood(tmp_path, pool, monkeypatch):
    tree(tmp_path / "data", good(pool))
    monkeypatch.chdir(tmp_path)
    orders = [CliRunner().invoke(app, ["verify", *one, "--workers", "1"]) for one in (["700", "data"], ["data", "700"])]
    assert [done.exit_code for done in orders] == [0, 0]
    assert [done.stderr.count("note: the release comes first") for done in orders] == [0, 1]
    assert orders[0].stdout.splitlines()[-1] == orders[1].stdout.splitlines()[-1]


def test_exit_codes(tmp_path, pool, monkeypatch):
    clips = good(pool)
    tree(tmp_path / "data", clips)
    monkeypatch.chdir(tmp_path)

    def invoke(*args):
        return CliRunner().invoke(app, ["verify", *args, "--workers", "1", *([] if "--report" in args else REPORT)])

    assert invoke("700", "data").exit_code == 0
    assert invoke("700", "data", "--split", "train", "--deep", "--report", "deep.json").exit_code == 0
    assert json.loads(Path("deep.json").read_text())["deep"] is True
    next(Path("data/train/zumba").iterdir()).unlink()
    assert invoke("700", "data").exit_code == 1
    write_annotations(tmp_path / "some.csv", clips[:3], "train")
    assert invoke("700", "data", "--annotations", "some.csv").exit_code == 0
    there = ("--classes", "abseiling,massaging person's head", "--classes", "petting animal (not cat)")
    assert invoke("700", "data", *there).exit_code == 0
    chosen = json.loads(Path("report.json").read_text())
    assert (chosen["classes"], chosen["splits"]["train"]["annotated"]) == ([*Case.LABELS[:3]], 5)
    assert invoke("700", "data", *there, "--split", "train,train").exit_code == 0
    assert invoke("700", "data", "--max-per-class", "1", "--seed", "1").exit_code == 1
    Path("folder").mkdir()
    wrong = {
        ("70", "data"): "unknown release '70'; did you mean '700'?",
        ("700", "absent"): "absent' does not exist",
        ("700", "data/train"): "it is the directory of one split; pass ",
        ("700", "data", "--split", "trian"): "unknown split 'trian'; did you mean 'train'?",
        ("700", "data", "--annotations", "absent.csv"): "absent.csv does not exist",
        ("700", "data", "--report", "no/report.json"): "no/report.json cannot be written: its directory does not exist",
        ("700", "data", "--report", "same", "--csv", "./same"): "same is given for two outputs; name a file for each",
        ("700", "data", "--report", "folder"): "folder cannot be written: it is a directory; pass the name of a file",
        ("700", "data", "--classes", "zumba,zumbaa"): "unknown class of 700 'zumbaa'; did you mean 'zumba'?",
        ("700", "data", "--max-per-class", "0"): "--max-per-class must be at least 1, got 0",
        ("700", "data", "--csv", "no/clips.csv"): "no/clips.csv cannot be written: its directory does not exist",
        ("700", "data", "--overlap", "600"): "'600' does not name a release and a split; write it as 700:train",
        ("700", "data", "--overlap", "600:trian"): "unknown split 'trian'; did you mean 'train'?",
        ("700", "data", "--overlap", "60:train=some.csv"): "unknown release '60'",
        ("700", "data", "--overlap", "600:train=nowhere"): "'600:train=nowhere': nowhere does not exist",
    }
    for args, message in wrong.items():
        done = invoke(*args)
        assert done.exit_code == 2, (args, done.output)
        assert message in done.output
        assert "Traceback" not in done.output
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "are in 600 train" in invoke("700", "data", "--split", "train", "--overlap", "600:train=~/some.csv").output
    write_annotations(tmp_path / "data" / "annotations" / "val.csv", clips[:3], "val")
    assert invoke("700", "data", "--split", "val,validation").exit_code == 1
    assert [*json.loads(Path("report.json").read_text())["splits"]] == ["validation"]
    done = CliRunner().invoke(app, ["verify", "700", "data", "--workers", "0"])
    assert done.exit_code == 2
    assert "workers must be at least 1, got 0" in done.output
    assert CliRunner().invoke(app, ["verify", "data"]).exit_code == 2


@pytest.mark.parametrize(
    ("module", "split", "code", "said"),
    [
        ("kinetics_tools", "train", 0, "complete: train;"),
        ("kinetics_tools.cli.app", "trian", 2, "did you mean 'train'?"),
    ],
)
def test_the_package_and_its_module_are_the_command(tmp_path, pool, module, split, code, said):
    """Both call the same function, so that one shows how it succeeds, and one how it fails."""
    tree(tmp_path, good(pool))
    command = [sys.executable, "-m", module, "verify", "700", tmp_path, "--workers", "2", "--split", split]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr


def test_a_split_that_is_asked_for_and_not_there_is_missing(tmp_path, pool):
    tree(tmp_path, good(pool))
    write_annotations(tmp_path / "annotations" / "test.csv", good(pool, 4, "test"), "test")
    report = run(tmp_path, splits=["train", "test"])
    assert report.splits["train"].is_complete
    assert report.splits["test"].counts["missing"] == 4
    assert not report.is_complete


def test_progress_is_shown(tmp_path, pool, monkeypatch):
    tree(tmp_path, good(pool))
    monkeypatch.setattr("kinetics_tools.run.progress._LINE_SECONDS", 0.0)
    console = Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: SIM115
    run(tmp_path, console=console)
    assert re.search(r"6 of 6 clips, ETA 0:00:00, [\d,.]+ clips/s, readable 6", console.export_text())


# ---- Overlaps


def ids_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        return {row["youtube_id"] for row in csv.DictReader(file)}


@pytest.mark.parametrize(
    ("ours", "other", "percent"),
    [
        (("400", "validation", "cvdf_k400_val"), ("600", "validation", "deepmind_k600_validate"), 65.0),
        (("400", "validation", "deepmind_k400_validate"), ("600", "validation", "deepmind_k600_validate"), 71.6),
        (("400", "validation", "cvdf_k400_val"), ("700-2020", "validation", "deepmind_k700_2020_validate"), 1.0),
        (("400", "validation", "cvdf_k400_val"), ("700-2020", "test", "deepmind_k700_2020_test"), 0.5),
        (("600", "validation", "deepmind_k600_validate"), ("700-2020", "test", "deepmind_k700_2020_test"), 0.0),
        (
            ("700-2020", "validation", "deepmind_k700_2020_validate"),
            ("700-2020", "test", "deepmind_k700_2020_test"),
            0.3,
        ),
        (
            ("700", "validation", "activitynet_k700_val"),
            ("700-2020", "validation", "deepmind_k700_2020_validate"),
            96.9,
        ),
    ],
)
def test_overlaps_of_the_real_annotations(shared, ours, other, percent):
    paths = [shared / "annotations" / f"{name}.csv" for _, _, name in (ours, other)]
    mine, others = map(ids_of, paths)
    table = read_split(str(paths[0]), *ours[:2])
    [found] = shared_videos({ours[1]: table}, ours[0], [OtherSplit(*other[:2], str(paths[1]))])
    assert found.shared == tuple(sorted(mine & others))
    assert (found.split, found.videos) == (ours[1], len(mine))
    assert round(100 * len(found.shared) / found.videos, 1) == percent


def test_overlaps_are_listed_and_their_annotations_fetched(tmp_path, pool, monkeypatch):
    train, val = good(pool, 6), good(pool[6:], 4, "validation")
    tree(tmp_path / "data", train)
    tree(tmp_path / "data", val, folder="val")
    # Another segment of the same video counts.
    of_700 = [Clip("zumba", clip.youtube_id, 500, 510) for clip in (train[0], val[0], val[1])]
    of_600 = [Clip("zumba", clip.youtube_id, 500, 510) for clip in train]
    write_annotations(tmp_path / "600" / "annotations" / "test.csv", of_600, "test", labels=False)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    write_mirror(mirror, "700-2020", {}, annotations={"train": [clip.row for clip in of_700]})
    monkeypatch.chdir(tmp_path)
    with FaultServer(mirror) as server:
        monkeypatch.setenv("KINETICS_MIRROR", server.url)
        args = ["--overlap", "700-2020:train", "--overlap", "600:test=600", "--overlap", "700:train=data"]
        done = CliRunner().invoke(app, ["verify", "700", "data", "--workers", "1", *REPORT, *args])
    assert done.exit_code == 0, done.output
    truth = [
        ("train", 6, "700-2020", "train", [train[0].youtube_id]),
        ("validation", 4, "700-2020", "train", sorted([val[0].youtube_id, val[1].youtube_id])),
        ("train", 6, "600", "test", sorted(clip.youtube_id for clip in train)),
        ("validation", 4, "600", "test", []),
        ("validation", 4, "700", "train", []),  # a split is not held to itself
    ]
    names = ("split", "videos", "other_release", "other_split", "youtube_ids")
    overlaps = json.loads(Path("report.json").read_text())["overlaps"]
    assert [tuple(one[name] for name in names) for one in overlaps] == truth
    assert [one["shared"] for one in overlaps] == [len(one[4]) for one in truth]
    assert f"validation: 2 of 4 videos (50.0%) are in 700-2020 train: {val[0].youtube_id}, " in done.output
    assert "validation: 0 of 4 videos (0.0%) are in 600 test\n" in done.output


def test_overlap_of_annotations_that_are_not_there(tmp_path, pool):
    tree(tmp_path, good(pool))
    with pytest.raises(FileNotFoundError, match="no annotation file of the test split"):
        run(tmp_path, overlaps=[f"600:test={tmp_path}"])
    assert not remembering(tmp_path).exists(), "nothing was looked at"


def test_a_subset_without_excluded_videos_is_checked_alone(tmp_path, pool):
    """Neither the clips of other classes nor those of excluded videos are missing or unexpected."""
    clips = good(pool, 8)
    held_out = write_annotations(tmp_path / "held-out.csv", clips[:1], "test")
    (tmp_path / "mine.txt").write_text("".join(f"{clip.label}\n" for clip in clips[:2]))
    kept = [clip for clip in clips if clip.label in {clips[0].label, clips[1].label} and clip is not clips[0]]
    tree(tmp_path, kept, rows=clips)
    report = run(tmp_path, subset=str(tmp_path / "mine.txt"), exclude=[f"400:test={held_out}"])
    assert report.is_complete
    assert statuses(report) == {("train", clip.stem): "present" for clip in kept}
    assert report.lines()[-1].endswith(f"--subset={tmp_path}/mine.txt --exclude=400:test={held_out}")
