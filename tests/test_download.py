"""`kinetics download` from the archives: what it leaves on disk, fetches again, refuses, and says."""

import csv
import gzip
import io
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

import kinetics
from fault_server import Fault, FaultServer
from kinetics_tools.cli import app
from kinetics_tools.download import download
from kinetics_tools.ledger import read_ledger
from kinetics_tools.media import write_clip
from kinetics_tools.progress import Progress, size_text
from kinetics_tools.remote import RemoteFile
from kinetics_tools.transfer import RateLimit
from kinetics_tools.youtube import YouTubeOptions
from mirror import tar, tar_gz, write_video
from releases import Release, kill_download, ledger_lines, leftovers, made_clips, small_release, tree_of
from trees import FILE_LAYOUTS, Clip, load, rows, rows_of, torchvision_folder, write_annotations, write_clips


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(kinetics.HttpFile, "backoff_seconds", 0.001)
    monkeypatch.setattr(kinetics.HttpFile, "timeout_seconds", 0.5)


@pytest.fixture
def release(tmp_path):
    return small_release(tmp_path / "mirror")


@pytest.fixture
def mirror(release):
    with FaultServer(release.root) as mirror:
        yield mirror


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def fetched(mirror, pattern="*.t*gz"):
    """Names of the archives that were asked for."""
    return sorted(request.path.rpartition("/")[2] for request in mirror.matching(pattern, "GET"))


def states(out):
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in out.rglob("*.mp4")}


def folder_of(clip, layout):
    return torchvision_folder(clip.label) if layout == "torchvision folders" else clip.label


# ---- What it leaves


@pytest.mark.parametrize("name", kinetics.RELEASES)
def test_every_clip_lies_in_the_folder_of_its_class_and_loads_without_the_mirror(tmp_path, out, name):
    release = small_release(tmp_path / "mirror", name, replacement={} if name == "400" else None)
    with FaultServer(release.root) as mirror:
        report = download(name, out, mirror=mirror.url)
    assert report.is_complete
    assert report.counts == {split: {"complete": 8} for split in kinetics.SPLITS}
    assert tree_of(out) == release.tree()
    assert leftovers(out) == []
    loaded = load(name, data_dir=str(out))
    assert {split: rows(loaded[split]) for split in loaded} == {
        split: rows_of(release.clips(split), name) for split in kinetics.SPLITS
    }


def test_clips_without_a_label_lie_in_the_folder_of_the_split(tmp_path, out):
    release = small_release(tmp_path / "mirror", unlabelled=["test"])
    with FaultServer(release.root) as mirror:
        assert download("700-2020", out, mirror=mirror.url).is_complete
    assert tree_of(out) == release.tree()
    assert (out / "test" / release.clips("test")[0].file_name).exists()
    assert rows(load("700-2020", data_dir=str(out), split="test")) == rows_of(release.clips("test"), labels=False)


def test_an_existing_folder_of_the_split_is_used_whatever_its_spelling(mirror, release, out):
    (out / "validate").mkdir(parents=True)
    download("700-2020", out, splits=["validation"], mirror=mirror.url)
    assert not (out / "val").exists()
    assert len([*(out / "validate").rglob("*.mp4")]) == 8


def test_the_ledger_has_a_line_for_each_clip_and_archive(mirror, release, out):
    download("700-2020", out, splits=["validation"], mirror=mirror.url)
    entries = read_ledger(out)
    key = release.key("validation", "part_0")
    archive = entries.pop(("validation", key))
    assert (archive.status, archive.bytes) == ("complete", release.size("validation", "part_0"))
    assert {name for _, name in entries} == {clip.stem for clip in release.clips("validation")}
    for entry in entries.values():
        assert (entry.source, entry.status, len(entry.sha256)) == (key, "complete", 64)
    assert len(ledger_lines(out)) == 9


def test_the_annotations_are_copied_as_they_are(mirror, release, out):
    download("700-2020", out, mirror=mirror.url)
    for split, name in {"train": "train", "validation": "validate", "test": "test"}.items():
        published = Path(kinetics.annotation_file("700-2020", split, mirror=mirror.url))
        assert (out / f"annotations/{name}.csv").read_bytes() == published.read_bytes()


def test_annotations_in_json_are_copied_as_csv(mirror, release, out, tmp_path):
    clips = [clip for clip in release.clips("train") if clip.youtube_id != release.clips("train")[-1].youtube_id]
    path = write_annotations(tmp_path / "train.json", clips, "train")
    download("700-2020", out, splits=["train"], annotations=str(path), mirror=mirror.url)
    with open(out / "annotations" / "train.csv", newline="") as file:
        found = list(csv.reader(file))
    assert found[0] == ["label", "youtube_id", "time_start", "time_end", "split"]
    assert sorted(found[1:]) == sorted([*map(str, clip.row), "train"] for clip in clips)
    assert rows(load("700-2020", data_dir=str(out), split="train")) == rows_of(clips)


def test_absent_clips_are_named_and_clips_without_annotation_left_out(tmp_path, out):
    absent, extra = made_clips(3, seed=1), made_clips(2, seed=2)
    release = small_release(tmp_path / "mirror", absent={"train": absent}, extra=extra)
    with FaultServer(release.root) as mirror:
        report = download("700-2020", out, splits=["train"], mirror=mirror.url)
    assert report.counts == {"train": {"complete": 8, "missing": 3}}
    assert report.is_complete  # no other run would bring more
    assert tree_of(out) == release.tree("train")
    missing = [line for line in ledger_lines(out) if line["status"] == "missing"]
    assert {line["key"] for line in missing} == {clip.stem for clip in absent}
    assert f"train: in no archive: 3 clips, such as {', '.join(clip.stem for clip in absent)}" in report.lines()


@pytest.mark.parametrize(
    ("count", "shown"),
    [(1, "1 member of archives, such as {}"), (5, "5 members of archives, such as {}, {}, {}, ...")],
)
def test_members_that_are_not_annotated_are_counted_and_a_few_named(tmp_path, out, count, shown):
    """Once, though the archive has to be read twice."""
    extra = made_clips(count, seed=2)
    release = small_release(tmp_path / "mirror", extra=extra)
    with FaultServer(release.root, faults=[Fault("wrong_length", "*/part_0*", by=9, times=1, method="GET")]) as mirror:
        report = download("700-2020", out, splits=["train"], mirror=mirror.url)
    assert report.not_annotated == {"train": count}
    line = f"train: not annotated: {shown.format(*(repr(clip.file_name) for clip in extra))}"
    assert line in report.lines()


def test_annotated_members_that_were_not_asked_for_are_not_called_unannotated(mirror, out):
    report = download("700-2020", out, splits=["train"], classes=["zumba"], mirror=mirror.url)
    assert report.not_annotated == {"train": 0}
    assert ": not annotated: " not in "\n".join(report.lines())


@pytest.mark.parametrize("workers", [1, 4])
def test_the_replacements_of_400_win(tmp_path, out, workers):
    clips = made_clips(40, size=2000)
    archives = {"train": {f"part_{number}": clips[number::4] for number in range(4)}}
    replacement = {clip.file_name: b"better " + clip.content for clip in clips[::5]}
    release = Release(tmp_path / "mirror", "400", archives, replacement=replacement).write()
    with FaultServer(release.root) as mirror:
        assert download("400", out, splits=["train"], workers=workers, mirror=mirror.url).is_complete
        assert tree_of(out) == release.tree()
        # Also when they come when the others are there.
        late = out.with_name("late")
        mirror.add(Fault("status", "*/replacement*", code=404, times=2))
        assert download("400", late, splits=["train"], workers=workers, mirror=mirror.url).is_complete
        assert tree_of(late) == {path: content.removeprefix(b"better ") for path, content in release.tree().items()}
        assert download("400", late, splits=["train"], workers=workers, mirror=mirror.url).is_complete
    assert tree_of(late) == release.tree()
    assert load_counts(late) == 40


def test_a_mirror_without_replacements_is_said_and_complete_and_lacks_are_named(tmp_path, out, monkeypatch):
    absent = made_clips(5, seed=1)
    archives = {"train": {"part_0": made_clips(10, size=2000)}}
    release = Release(tmp_path / "mirror", "400", archives, absent={"train": absent}).write()
    key = "kinetics/400/replacement_for_corrupted_k400.tgz"
    with FaultServer(release.root) as mirror:
        monkeypatch.setenv("KINETICS_MIRROR", mirror.url)
        for _ in range(2):
            done = CliRunner().invoke(app, ["download", "400", "--out", str(out), "--split", "train"])
            assert done.exit_code == 0
            assert f"train: no clips are replaced, since the mirror does not have {key}" in done.output
            names = ", ".join(clip.stem for clip in absent[:3])
            assert f"train: in no archive: 5 clips, such as {names}, ...\n" in done.output
            assert "failed: " not in done.output
    assert tree_of(out) == release.tree()
    assert leftovers(out) == []
    assert {line["key"] for line in ledger_lines(out) if line["status"] == "missing"} == {one.stem for one in absent}


@pytest.mark.parametrize("code", [403, 500])
def test_replacements_that_the_mirror_has_and_does_not_give_are_a_failure(tmp_path, out, code):
    release = small_release(tmp_path / "mirror", "400", replacement={})
    with FaultServer(release.root, faults=[Fault("status", "*/replacement*", code=code)]) as mirror:
        report = download("400", out, splits=["train"], mirror=mirror.url)
    assert not report.is_complete
    assert list(report.failed) == ["kinetics/400/replacement_for_corrupted_k400.tgz"]


def load_counts(out):
    return len(load("400", data_dir=str(out), split="train"))


def test_of_a_clip_in_two_archives_that_of_the_first_in_the_list_stays(tmp_path, out):
    clips = made_clips(20, size=2000)
    other = [Clip(*clip.row, content=b"other " + clip.content) for clip in clips]
    archives = {"train": {"part_0": clips[:10], "part_1": other, "part_2": clips[10:]}}
    release = Release(tmp_path / "mirror", "700", archives).write()
    expected = {
        **release.tree(),
        **{f"train/{one.label}/{one.file_name}": one.content for one in clips[:10] + other[10:]},
    }
    with FaultServer(release.root) as mirror:
        for workers in (1, 3):
            folder = out / str(workers)
            assert download("700", folder, splits=["train"], workers=workers, mirror=mirror.url).is_complete
            assert tree_of(folder) == expected


def test_a_clip_without_a_byte_is_named_and_not_written(tmp_path, out):
    release = small_release(tmp_path / "mirror")
    first = release.clips("validation")[0]
    archive = release.root / release.key("validation", "part_0")
    archive.write_bytes(
        tar_gz({clip.file_name: clip.content for clip in release.clips("validation")} | {first.file_name: b""})
    )
    with FaultServer(release.root) as mirror:
        for _ in range(2):
            report = download("700-2020", out, splits=["validation"], mirror=mirror.url)
            assert report.counts == {"validation": {"complete": 7, "empty": 1}}
    assert read_ledger(out)["validation", first.stem].error["class"] == "empty"
    assert first.file_name not in {path.name for path in out.rglob("*.mp4")}
    assert len(fetched(mirror)) == 1


# ---- What it fetches again


def test_a_second_run_fetches_no_archive_and_touches_no_clip(mirror, release, out):
    download("700-2020", out, mirror=mirror.url)
    before, lines = states(out), len(ledger_lines(out))
    mirror.clear(log=True)
    report = download("700-2020", out, mirror=mirror.url)
    assert report.counts == {split: {"complete": 8} for split in kinetics.SPLITS}
    assert (fetched(mirror), report.bytes_fetched) == ([], 0)
    assert (states(out), len(ledger_lines(out))) == (before, lines)


@pytest.mark.parametrize("damage", ["removed", "cut short"])
def test_a_clip_that_is_gone_brings_its_archive_again_and_no_other(mirror, release, out, damage):
    download("700-2020", out, mirror=mirror.url)
    before = states(out)
    mirror.clear(log=True)
    clip = release.archives["train"]["part_1"][2]
    path = out / "train" / clip.label / clip.file_name
    path.unlink() if damage == "removed" else os.truncate(path, 5)
    assert download("700-2020", out, mirror=mirror.url).is_complete
    assert tree_of(out) == release.tree()
    assert fetched(mirror) == ["part_1.tar.gz"]
    assert {one for one, state in states(out).items() if before[one] != state} == {path}


def test_what_others_made_of_a_clip_stays_also_after_an_interruption(mirror, release, out):
    """As those do who scale their clips; files of ours that the ledger does not have yet are ours, though."""
    same, scaled = release.clips("train")[:2]
    for clip, content in ((same, same.content), (scaled, b"scaled")):
        path = out / "train" / clip.label / clip.file_name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    before = states(out)
    mirror.add(Fault("status", "*/part_1.tar.gz", code=404, method="GET", times=1))
    report = download("700-2020", out, splits=["train"], mirror=mirror.url)
    assert report.counts["train"]["found"] == 1
    late = next(clip for clip in release.clips("train") if not (out / "train" / clip.label / clip.file_name).exists())
    torn = out / "train" / late.label / late.file_name
    torn.parent.mkdir(exist_ok=True)
    torn.write_bytes(b"of a run that was killed, before its line")
    report = download("700-2020", out, splits=["train"], mirror=mirror.url)
    assert report.counts == {"train": {"complete": 7, "found": 1}}
    assert before.items() <= states(out).items()
    assert tree_of(out) == {**release.tree("train"), f"train/{scaled.label}/{scaled.file_name}": b"scaled"}


def others_tree(out, clips, layout, folder="train"):
    """A tree without ledger, and the state of its files."""
    write_clips(out / folder, clips, layout)
    return states(out)


@pytest.mark.parametrize("folder", ["train", "training"])
@pytest.mark.parametrize("layout", FILE_LAYOUTS)
@pytest.mark.parametrize("source", ["archives", "youtube"])
def test_a_tree_of_others_that_lacks_nothing_is_left_as_it_is(mirror, release, out, layout, folder, source):
    before = others_tree(out, release.clips("train"), layout, folder)
    asked = {"splits": ["train"], "source": source, "mirror": mirror.url}
    dry = download("700-2020", out, dry_run=True, **asked)
    assert (dry.counts, dry.to_fetch) == ({"train": {"found": 8}}, {"train": 0})
    report = download("700-2020", out, **asked)
    assert (report.counts, report.is_complete) == ({"train": {"found": 8}}, True)
    assert (states(out), fetched(mirror)) == (before, [])


@pytest.mark.parametrize("layout", FILE_LAYOUTS)
def test_a_tree_of_others_gets_what_it_lacks_beside_what_it_has(mirror, release, out, layout):
    """The last clip of each archive is absent; the folders of their classes are there but for flat trees."""
    clips = release.clips("train")
    lacking = [part[-1] for part in release.archives["train"].values()]
    for clip in clips:
        (out / "train" / ("" if layout == "flat" else folder_of(clip, layout))).mkdir(parents=True, exist_ok=True)
    before = others_tree(out, [clip for clip in clips if clip not in lacking], layout)
    dry = download("700-2020", out, splits=["train"], dry_run=True, mirror=mirror.url)
    assert (dry.counts, dry.to_fetch) == ({"train": {"found": 6, "pending": 2}}, {"train": 2})
    for _ in range(2):
        report = download("700-2020", out, splits=["train"], mirror=mirror.url)
        assert report.counts == {"train": {"complete": 8}}
        assert before.items() <= states(out).items()
        new = {path.relative_to(out / "train").as_posix() for path in states(out).keys() - before.keys()}
        assert new == {
            f"{clip.label if layout == 'flat' else folder_of(clip, layout)}/{clip.file_name}" for clip in lacking
        }
    assert len(fetched(mirror)) == 2
    assert rows(load("700-2020", data_dir=str(out), split="train")) == rows_of(clips)


def test_a_clip_in_another_form_is_there_and_stays(mirror, release, out):
    clips = release.clips("validation")
    (out / "val").mkdir(parents=True)
    (out / "val" / f"{clips[0].youtube_id}.mp4").write_bytes(b"the id alone is its name")
    (out / "val" / f"{clips[1].stem}.webm").write_bytes(b"another format")
    before = states(out)
    report = download("700-2020", out, splits=["validation"], mirror=mirror.url)
    assert report.counts == {"validation": {"complete": 6, "found": 2}}
    assert before.items() <= states(out).items()
    assert sorted(path.name for path in out.rglob("*") if path.stem == clips[1].stem) == [f"{clips[1].stem}.webm"]
    assert len([*out.glob("val/**/*.mp4")]) == 7
    assert len(load("700-2020", data_dir=str(out), split="validation")) == 8


def test_a_clip_in_the_folder_of_another_class_is_not_there(mirror, release, out):
    clip = release.clips("validation")[0]
    path = out / "val" / "archery" / clip.file_name
    path.parent.mkdir(parents=True)
    path.write_bytes(clip.content)
    report = download("700-2020", out, splits=["validation"], mirror=mirror.url)
    assert report.counts == {"validation": {"complete": 8}}
    assert (out / "val" / clip.label / clip.file_name).read_bytes() == path.read_bytes()


def test_of_two_folders_of_a_class_the_one_with_its_label_gets_new_clips(mirror, release, out):
    clip = next(clip for clip in release.clips("validation") if " " in clip.label)
    for folder in (torchvision_folder(clip.label), clip.label, clip.label.upper()):
        (out / "val" / folder).mkdir(parents=True)
    assert download("700-2020", out, splits=["validation"], mirror=mirror.url).is_complete
    assert tree_of(out) == release.tree("validation")


def test_the_command_takes_annotations_and_a_seed(mirror, release, out, tmp_path, monkeypatch):
    monkeypatch.setenv("KINETICS_MIRROR", mirror.url)
    path = write_annotations(tmp_path / "some.csv", release.clips("train"), "train")
    arguments = ["--split", "train", "--annotations", str(path), "--max-per-class", "1", "--seed", "3"]
    done = CliRunner().invoke(app, ["download", "700-2020", "--out", str(out), *arguments])
    assert (done.exit_code, mirror.count("*.csv")) == (0, 0)
    table = kinetics.read_split(str(path), "700-2020", "train")
    chosen = kinetics.clip_names(kinetics.select_clips(table, "700-2020", max_clips_per_class=1, seed=3)).to_pylist()
    assert sorted(path.stem for path in out.rglob("*.mp4")) == sorted(chosen)


def test_other_splits_come_later(mirror, release, out):
    download("700-2020", out, splits=["test"], mirror=mirror.url)
    assert tree_of(out) == release.tree("test")
    mirror.clear(log=True)
    download("700-2020", out, mirror=mirror.url)
    assert tree_of(out) == release.tree()
    assert mirror.count("*/test/*.tar.gz") == 0


def test_what_is_cut_off_goes_on_at_the_byte_where_it_stopped(tmp_path, out, monkeypatch):
    release = Release(tmp_path / "mirror", "700", {"train": {"part_0": made_clips(60)}}).write()
    size = release.size("train", "part_0")
    at = size // 2
    monkeypatch.setattr(kinetics.HttpFile, "retries", 1)
    with FaultServer(release.root, faults=[Fault("cut", "*.tar.gz", at=at)]) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
        assert not report.is_complete
        assert list(report.failed) == [release.key("train", "part_0")]
        assert "run the same command again" in "".join(report.failed.values())
        counts = report.counts["train"]
        assert counts["complete"] > 20
        assert counts["pending"] == 60 - counts["complete"]
        before = states(out)
        mirror.clear(log=True)
        report = download("700", out, splits=["train"], mirror=mirror.url)
        assert report.is_complete
        assert [request.range for request in mirror.matching("*.tar.gz", "GET")] == [f"bytes={at}-"]
    assert report.bytes_fetched == size - at
    assert tree_of(out) == release.tree()
    assert before.items() <= states(out).items()
    assert leftovers(out) == []


def test_what_changed_on_the_server_in_between_is_fetched_anew(tmp_path, out, monkeypatch):
    clips = made_clips(30)
    root = tmp_path / "mirror"
    release = Release(root, "700", {"train": {"part_0": clips}}).write()
    monkeypatch.setattr(kinetics.HttpFile, "retries", 1)
    with FaultServer(root, faults=[Fault("cut", "*.tar.gz", at=release.size("train", "part_0") // 2)]) as mirror:
        assert not download("700", out, splits=["train"], mirror=mirror.url).is_complete
        mirror.clear()
        changed = [Clip(*clip.row, content=clip.content[::-1]) for clip in clips]
        release = Release(root, "700", {"train": {"part_0": changed}}).write()
        assert download("700", out, splits=["train"], mirror=mirror.url).is_complete
    assert tree_of(out) == release.tree()
    assert leftovers(out) == []


@pytest.mark.parametrize("torn", [b"", b"{", b'{"etag": "x"'])
def test_a_partial_file_of_unknown_origin_is_not_used(tmp_path, out, mirror, release, torn):
    partial = out / ".partial" / release.key("validation", "part_0").replace("/", "--")
    partial.parent.mkdir(parents=True)
    partial.write_bytes(b"something")
    partial.with_name(partial.name + ".etag").write_bytes(torn)
    assert download("700-2020", out, splits=["validation"], mirror=mirror.url).is_complete
    assert tree_of(out) == release.tree("validation")
    assert leftovers(out) == []


def test_an_archive_that_was_checked_once_vouches_for_its_clips(tmp_path, out):
    """Read again for the sake of one clip, and damaged by now: that says nothing about the others."""
    release = Release(tmp_path / "mirror", "700", {"train": {"part_0": made_clips(30, size=5000)}}).write()
    key = release.key("train", "part_0")
    with FaultServer(release.root) as mirror:
        assert download("700", out, splits=["train"], mirror=mirror.url).is_complete
        lost = next(out.rglob("*.mp4"))
        lost.unlink()
        mirror.add(Fault("corrupt", "*/part_*", at=release.size("train", "part_0") - 10_000))
        report = download("700", out, splits=["train"], mirror=mirror.url)
        assert list(report.failed) == [key]
        assert report.counts["train"]["complete"] == 29
        mirror.clear()
        assert download("700", out, splits=["train"], mirror=mirror.url).is_complete
    assert tree_of(out) == release.tree()


def test_another_mirror_of_the_same_archives_goes_on(tmp_path, release, mirror, out):
    download("700-2020", out, splits=["train"], mirror=mirror.url)
    lab = tmp_path / "lab"
    lab.mkdir()
    (lab / "copies").symlink_to(release.root)
    with FaultServer(lab) as other:
        assert download("700-2020", out, splits=["train"], mirror=other.url + "/copies").is_complete
        assert fetched(other) == []


# ---- Some of the clips


def test_only_the_clips_of_the_classes_are_written(mirror, release, out):
    classes = ["zumba", "massaging_persons_head"]
    report = download("700-2020", out, classes=classes, mirror=mirror.url)
    assert tree_of(out) == release.tree(labels=["zumba", "massaging person's head"])
    assert report.is_complete
    mirror.clear(log=True)
    for fewer in (classes, ["zumba"]):
        assert download("700-2020", out, classes=fewer, mirror=mirror.url).is_complete
    assert fetched(mirror) == []
    # More classes: the archives have clips that were passed over.
    assert download("700-2020", out, mirror=mirror.url).is_complete
    assert tree_of(out) == release.tree()
    assert len(fetched(mirror)) == 4


def test_a_split_that_has_no_clip_of_the_classes_costs_nothing(tmp_path, out):
    release = Release(
        tmp_path / "mirror",
        "700",
        {"train": {"part_0": made_clips(5)}, "validation": {"part_0": made_clips(4, seed=1)}},  # the fifth is zumba
    ).write()
    with FaultServer(release.root) as mirror:
        report = download("700", out, splits=["train", "validation"], classes=["zumba"], mirror=mirror.url)
        assert mirror.count("*/val/*.tar.gz") == 0
    assert report.is_complete
    assert "validation: 0 clips" in report.lines()
    assert tree_of(out) == release.tree("train", labels=["zumba"])


@pytest.mark.parametrize("name", ["600", "700-2020"])
def test_only_the_archives_of_the_classes_are_fetched_where_each_has_its_own(tmp_path, out, name):
    labels = kinetics.LABELS[name]
    clips = [Clip(label, f"{index:011d}", 1, 11) for index, label in enumerate(labels)]
    names = labels if name == "600" else [f"k700_train_{index:03d}" for index in range(1, len(labels) + 1)]
    archives = {"train": {one: [clip] for one, clip in zip(names, clips, strict=True)}}
    release = Release(tmp_path / "mirror", name, archives).write()
    chosen = ["zumba", "petting animal (not cat)"]
    with FaultServer(release.root) as mirror:
        assert download(name, out, splits=["train"], classes=chosen, mirror=mirror.url).is_complete
        assert mirror.count("*.tar.gz") - mirror.count("*/deepmind-media/*") == 4  # a HEAD and a GET each
        assert tree_of(out) == release.tree(labels=chosen)
        mirror.clear(log=True)
        assert download(name, out, splits=["train"], classes=[*chosen, "abseiling"], mirror=mirror.url).is_complete
        assert len(fetched(mirror)) == 1


def test_max_clips_per_class_chooses_what_loading_chooses(mirror, release, out):
    report = download("700-2020", out, splits=["train"], max_clips_per_class=1, seed=3, mirror=mirror.url)
    assert report.counts == {"train": {"complete": 6}}
    options = {"splits": ["train"], "max_clips_per_class": 1, "seed": 3}
    loaded = rows(load("700-2020", data_dir=str(out), **options)["train"])
    assert sorted(row[0] for row in loaded) == sorted(path.name for path in out.rglob("*.mp4"))
    mirror.clear(log=True)
    assert download("700-2020", out, splits=["train"], max_clips_per_class=1, seed=3, mirror=mirror.url).is_complete
    assert fetched(mirror) == []


def test_splits_without_labels_are_left_out_of_a_choice_by_class_unless_asked_for(tmp_path, out, capsys):
    release = small_release(tmp_path / "mirror", unlabelled=["test"])
    with FaultServer(release.root) as mirror:
        report = download("700-2020", out, classes=["zumba"], mirror=mirror.url)
        assert list(report.counts) == ["train", "validation"]
        assert "test: left out: no clip of this split has a label" in capsys.readouterr().out
        with pytest.raises(ValueError, match="no clip of this split has a label"):
            download("700-2020", out, splits=["test"], classes=["zumba"], mirror=mirror.url)


# ---- Archives that stay


def test_kept_archives_are_whole_load_by_themselves_and_are_read_instead_of_fetched(mirror, release, out):
    download("700-2020", out, classes=["zumba"], keep_archives=True, mirror=mirror.url)
    for split, archives in release.archives.items():
        for name in archives:
            original = (release.root / release.key(split, name)).read_bytes()
            assert (out / "archives" / split / f"{name}.tar.gz").read_bytes() == original
    assert tree_of(out) == release.tree(labels=["zumba"])
    mirror.clear(log=True)
    assert download("700-2020", out, keep_archives=True, mirror=mirror.url).is_complete
    assert fetched(mirror) == []
    assert tree_of(out) == release.tree()
    options = {"data_dir": str(out / "archives"), "annotations": str(out / "annotations")}
    assert rows(load("700-2020", split="train", **options)) == rows_of(release.clips("train"))


def test_archives_that_were_not_kept_are_fetched_when_they_are_to_be(mirror, release, out):
    download("700-2020", out, splits=["train"], mirror=mirror.url)
    before = states(out)
    report = download("700-2020", out, splits=["train"], keep_archives=True, mirror=mirror.url)
    assert report.is_complete
    assert len([*(out / "archives").rglob("*.tar.gz")]) == 2
    assert states(out) == before


def test_a_kept_archive_that_is_damaged_is_fetched_again(mirror, release, out):
    download("700-2020", out, splits=["validation"], classes=["zumba"], keep_archives=True, mirror=mirror.url)
    kept = out / "archives" / "validation" / "part_0.tar.gz"
    os.truncate(kept, kept.stat().st_size // 2)
    assert download("700-2020", out, splits=["validation"], keep_archives=True, mirror=mirror.url).is_complete
    assert kept.read_bytes() == (release.root / release.key("validation", "part_0")).read_bytes()
    assert tree_of(out) == release.tree("validation")


# ---- What it says


def test_a_dry_run_says_what_would_be_fetched_and_writes_nothing(mirror, release, out):
    report = download("700-2020", out, dry_run=True, mirror=mirror.url)
    sizes = [release.size(split, name) for split, parts in release.archives.items() for name in parts]
    assert report.needs.bytes_to_fetch == sum(sizes)
    assert sum(sizes) <= report.needs.disk_bytes <= 3 * sum(sizes)
    assert report.to_fetch == {"train": 2, "validation": 1, "test": 1}
    assert report.counts == {split: {"pending": 8} for split in kinetics.SPLITS}
    assert report.needs.free_bytes > 0
    assert fetched(mirror, "*/part_*") == []
    assert not out.exists()
    download("700-2020", out, splits=["train"], mirror=mirror.url)
    before = sorted(out.rglob("*"))
    report = download("700-2020", out, dry_run=True, mirror=mirror.url)
    assert report.to_fetch == {"train": 0, "validation": 1, "test": 1}
    assert sorted(out.rglob("*")) == before


def test_an_archive_that_failed_is_not_complete_even_where_no_clip_lacks(tmp_path, out):
    clips = made_clips(4, size=2000)
    release = Release(tmp_path / "mirror", "700", {"train": {"part_0": clips, "part_1": clips}}).write()
    with FaultServer(release.root, faults=[Fault("status", "*/part_1*", code=404)]) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
    assert report.counts == {"train": {"complete": 4}}
    assert not report.is_complete
    assert report.lines()[-1] == "not complete: the same command goes on from here"


def test_a_dry_run_counts_archives_of_unknown_length(mirror, release, out):
    mirror.add(Fault("status", "*/part_0.tar.gz", method="HEAD", times=1))
    report = download("700-2020", out, dry_run=True, mirror=mirror.url)
    assert report.needs.unknown_sizes == 1
    assert "and 1 archive of unknown length" in "\n".join(report.lines())


def test_the_command_prints_a_report_and_its_exit_code_says_whether_it_is_complete(mirror, release, out, monkeypatch):
    monkeypatch.setenv("KINETICS_MIRROR", mirror.url)
    arguments = ["download", "700-2020", "--out", str(out), "--split", "train", "--split", "test", "--classes"]
    arguments += ["zumba,hurling (sport)", "--workers", "2", "--rate-limit", "100MB"]
    dry = CliRunner().invoke(app, [*arguments, "--dry-run"])
    assert (dry.exit_code, out.exists()) == (0, False)
    spellings = [
        CliRunner().invoke(app, [*arguments[:4], "--split", name, "--dry-run"]).output for name in ("val", "validation")
    ]
    assert spellings[0] == spellings[1]
    assert "validation" in spellings[0]
    assert re.search(r"to fetch: [\d.]+ kB\ndisk: about [\d.]+ kB needed, [\d.,]+ GB free", dry.output)
    mirror.add(Fault("status", "*/train/part_1.tar.gz", code=404, method="GET"))
    failed = CliRunner().invoke(app, arguments)
    assert failed.exit_code == 1
    assert f"failed: {release.key('train', 'part_1')}: " in failed.output
    assert "not complete: the same command goes on from here" in failed.output
    mirror.clear()
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0
    assert "train: 3 clips: complete 3" in done.output
    assert f'load_dataset("kinetics", "700-2020", data_dir="{out}") loads it' in done.output
    assert tree_of(out) == release.tree("train", "test", labels=["zumba", "hurling (sport)"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["800"], "unknown release '800'"),
        (["700-2020", "--split", "vla"], "unknown split 'vla'"),
        (["700-2020", "--classes", "zumbaa"], "did you mean 'zumba'"),
        (["7000", "--classes", "zumba"], "unknown release '7000'; did you mean '700'?"),
        (["700-2020", "--source", "tapes"], "unknown source 'tapes'"),
        (["700-2020", "--source", "youtub"], "unknown source 'youtub'; did you mean 'youtube'?"),
        (["700-2020", "--retry-errors"], "pass --source youtube, or leave them out"),
        (["700-2020", "--workers", "0"], "workers is 0"),
        (["700-2020", "--max-per-class", "0"], "max_clips_per_class is 0"),
        (["700-2020", "--rate-limit", "fast"], "rate limit 'fast'"),
    ],
)
def test_bad_usage_is_said_before_anything_is_written(mirror, out, monkeypatch, arguments, message):
    monkeypatch.setenv("KINETICS_MIRROR", mirror.url)
    result = CliRunner().invoke(app, ["download", *arguments, "--out", str(out)])
    assert result.exit_code == 2
    assert message in result.output
    assert not out.exists()


def test_a_file_in_the_place_of_the_folder(mirror, out):
    out.write_text("")
    with pytest.raises(ValueError, match="is no folder"):
        download("700-2020", out, mirror=mirror.url)


def test_another_release_in_the_folder_is_an_error_that_says_so(tmp_path, mirror, out):
    download("700-2020", out, splits=["train"], mirror=mirror.url)
    other = Release(tmp_path / "mirror", "600", {"train": {"part_0": made_clips(3)}}).write()
    with pytest.raises(ValueError, match=r"annotations.train.csv is of another release or edition"):
        download("600", out, splits=["train"], mirror=mirror.url)
    assert other.release == "600"


def test_a_release_whose_classes_the_other_does_not_have_is_another_release_too(tmp_path, mirror, out):
    assert "drinking beer" not in kinetics.LABELS["700-2020"]
    write_annotations(out / "annotations" / "train.csv", [Clip("drinking beer", "abcdefghijk", 1, 11)], "train")
    with pytest.raises(ValueError, match=r"annotations.train.csv is of another release or edition"):
        download("700-2020", out, splits=["train"], mirror=mirror.url)


def test_annotations_in_the_folder_that_are_damaged_are_said_to_be_that(mirror, out):
    path = write_annotations(out / "annotations" / "train.csv", [Clip("zumba", "abcdefghijk", 1, 11)], "train")
    path.write_text(path.read_text() + "zumba,short,1,11,train\n")
    with pytest.raises(ValueError, match=r"train.csv.*line 3"):
        download("700-2020", out, splits=["train"], mirror=mirror.url)


def test_two_runs_in_one_folder_at_once_are_an_error(mirror, release, out):
    mirror.add(Fault("stall", "*/train/part_0.tar.gz", at=100, seconds=0.4, times=1))
    first = threading.Thread(target=download, args=["700-2020", out], kwargs={"mirror": mirror.url})
    first.start()
    while not (out / "ledger.jsonl").exists():
        time.sleep(0.01)
    with pytest.raises(ValueError, match="another run is writing to"):
        download("700-2020", out, mirror=mirror.url)
    first.join()
    assert tree_of(out) == release.tree()


def test_too_little_room_is_said_before_anything_is_fetched(mirror, release, out, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=500))
    with pytest.raises(OSError, match=r"about .* are needed and 500 B are free in .*; choose splits"):
        download("700-2020", out, mirror=mirror.url)
    assert fetched(mirror, "*/part_*") == []


# ---- Servers that misbehave

FAULTS = {
    "503": Fault("status", "*/part_*", retry_after=0, times=3),
    "503 with a date": Fault("status", "*/part_*", retry_after="Wed, 21 Oct 2015 07:28:00 GMT", times=3),
    "cut": Fault("cut", "*/part_*", at=20_000, times=3, relative=True),
    "cut by reset": Fault("cut", "*/part_*", at=20_000, times=3, relative=True, reset=True),
    "cut at the first byte": Fault("cut", "*/part_*", at=0, times=3, relative=True),
    "stall": Fault("stall", "*/part_*", at=30_000, seconds=2, times=1),
    "too long a length": Fault("wrong_length", "*/part_*", by=100, times=1, method="GET"),
    "too short a file": Fault("wrong_length", "*/part_*", by=-100, times=1, method="GET"),
    "corrupt": Fault("corrupt", "*/part_*", at=50_000, times=1),
    "corrupt header": Fault("corrupt", "*/part_*", at=2, times=1),
    "chunked": Fault("chunked", "*/part_*"),
    "changed in between": Fault("changed", "*/part_1.tar.gz", times=1, method="GET"),
}


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A release of 120 clips in six archives of about 100 kB."""
    clips = made_clips(120, size=5000)
    archives = {"train": {f"part_{number}": clips[number::6] for number in range(6)}}
    return Release(tmp_path_factory.mktemp("mirror"), "700", archives).write()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_passes_leaves_no_trace(many, out, name):
    with FaultServer(many.root, faults=[FAULTS[name]]) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
        assert any(request.faults for request in mirror.requests)
    assert report.failed == {}
    assert report.is_complete
    assert tree_of(out) == many.tree()
    assert leftovers(out) == []


def test_cut_and_range_ignored(many, out):
    faults = [Fault("cut", "*/part_*", at=40_000, times=4), Fault("ignore_range")]
    with FaultServer(many.root, faults=faults) as mirror:
        assert download("700", out, splits=["train"], mirror=mirror.url).is_complete
        assert sum("ignore_range" in request.faults for request in mirror.requests) >= 4
    assert tree_of(out) == many.tree()


@pytest.mark.parametrize("seed", range(6))
def test_all_faults_mixed_at_a_tenth_of_the_requests(many, out, seed):
    """Each run ends complete or with the unfetchable named, and a run without faults mends what is left."""
    kinds = [
        {"kind": "cut", "at": 0, "relative": True},
        {"kind": "cut", "at": 33_000, "relative": True, "reset": True},
        {"kind": "status", "retry_after": 0},
        {"kind": "stall", "at": 60_000, "seconds": 1},
        {"kind": "wrong_length", "by": 7},
        {"kind": "wrong_length", "by": -7},
        {"kind": "corrupt", "at": 70_000},
        {"kind": "ignore_range"},
        {"kind": "chunked"},
        {"kind": "changed"},
    ]
    mixed = [Fault(path="*/part_*", probability=0.1, seed=100 * seed + n, **one) for n, one in enumerate(kinds)]
    with FaultServer(many.root, faults=mixed) as mirror:
        report = download("700", out, splits=["train"], workers=3, mirror=mirror.url)
        assert sum(len(request.faults) for request in mirror.requests) >= 5
        failed = {line["key"] for line in ledger_lines(out) if line["status"] == "failed"}
        assert failed == set(report.failed)
        assert report.is_complete == (not failed)
        if report.is_complete:
            assert leftovers(out) == []
        mirror.clear()
        assert download("700", out, splits=["train"], workers=3, mirror=mirror.url).is_complete
    assert tree_of(out) == many.tree()
    assert leftovers(out) == []


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault("status", "*/part_3.tar.gz", code=404, method="GET"), "not found"),
        (Fault("status", "*/part_3.tar.gz", code=403, method="GET"), "denied"),
        (Fault("status", "*/part_3.tar.gz", code=500, method="GET"), "network"),
        (Fault("status", "*/part_3.tar.gz", code=418, method="GET"), "OSError"),
        (Fault("stall", "*/part_3.tar.gz", at=10, seconds=0.1), "network"),
        (Fault("corrupt", "*/part_3.tar.gz", at=40_000), "corrupt"),
        (Fault("wrong_length", "*/part_3.tar.gz", by=-500), "corrupt"),
    ],
)
def test_a_fault_that_stays_is_named_and_the_others_are_fetched(many, out, fault, kind):
    key = many.key("train", "part_3")
    with FaultServer(many.root, faults=[fault]) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
        assert list(report.failed) == [key]
        assert not report.is_complete
        assert read_ledger(out)["train", key].error["class"] == kind
        assert report.counts["train"]["complete"] == 100
        assert "missing" not in report.counts["train"]  # who knows
        mirror.clear(log=True)
        assert download("700", out, splits=["train"], mirror=mirror.url).is_complete
        assert set(fetched(mirror)) == {"part_3.tar.gz"}
    assert tree_of(out) == many.tree()
    assert leftovers(out) == []


def test_a_length_that_is_never_reached_is_said_in_bytes(many, out):
    size = many.size("train", "part_3")
    fault = Fault("wrong_length", "*/part_3.tar.gz", by=1000, method="GET")
    with FaultServer(many.root, faults=[fault]) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
    (reason,) = report.failed.values()
    assert reason.startswith(f"{size:,} of {size + 1000:,} bytes came, and then: HTTP 416")


@pytest.mark.parametrize("fault", [Fault("status", "*/part_3*", code=404), Fault("cut", "*/part_3*", at=0)])
def test_an_archive_of_which_no_byte_came_leaves_nothing_behind(many, out, fault):
    with FaultServer(many.root, faults=[fault]) as mirror:
        assert not download("700", out, splits=["train"], mirror=mirror.url).is_complete
    assert leftovers(out) == []


def test_clips_out_of_an_archive_that_stays_corrupt_are_not_called_complete(tmp_path, out):
    # Random bytes are stored as they are by gzip: the damage shows at the checksum alone.
    clips = made_clips(120)
    parts = {"part_0": clips[:100], "part_1": clips[100:]}
    release = Release(tmp_path / "mirror", "700", {"train": parts}).write()
    with FaultServer(release.root, faults=[Fault("corrupt", "*/part_0.tar.gz", at=400_000)]) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
    counts = report.counts["train"]
    assert counts["complete"] == 20
    assert counts["unchecked"] > 50
    expected = release.tree()
    damaged = [path for path, content in tree_of(out).items() if expected[path] != content]
    assert len(damaged) == 1
    entries = read_ledger(out)
    assert entries["train", damaged[0].rpartition("/")[2][:-4]].status == "unchecked"


# ---- Archives that nobody should unpack


def member(name, kind=tarfile.REGTYPE, size=0, link=""):
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    return info


def with_archive(tmp_path, content, clips=()):
    """A release whose only archive is `content`."""
    release = Release(tmp_path / "mirror", "700", {"train": {"part_0": clips or made_clips(1)}}).write()
    (release.root / release.key("train", "part_0")).write_bytes(content)
    return release


def test_members_that_lead_elsewhere_are_refused_named_and_written_nowhere(tmp_path, out):
    clips = made_clips(4, size=1000)
    outside = tmp_path / "outside"
    outside.mkdir()
    name = clips[0].file_name
    evil = {
        f"../{name}": b"evil",
        f"{tmp_path}/outside/{name}": b"evil",
        f"a/../../outside/{name}": b"evil",
        f"link/{name}": member(f"link/{name}", tarfile.SYMTYPE, link=str(outside)),
        f"hard/{name}": member(f"hard/{name}", tarfile.LNKTYPE, link="/etc/passwd"),
        "device.mp4": member("device.mp4", tarfile.CHRTYPE),
        "pipe.mp4": member("pipe.mp4", tarfile.FIFOTYPE),
        "new\nline\udcff.mp4": member("new\nline\udcff.mp4", tarfile.SYMTYPE, link="x"),
    }
    content = tar_gz({**evil, **{clip.file_name: clip.content for clip in clips[1:]}})
    release = with_archive(tmp_path, content, clips)
    before = {path for path in tmp_path.rglob("*") if out not in path.parents}
    with FaultServer(release.root) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
    assert report.counts == {"train": {"complete": 3, "missing": 1}}
    assert len(report.refused) == len(evil)
    assert all(line.isprintable() and line.isascii() for line in report.refused)
    refused = [line for line in ledger_lines(out) if line["status"] == "refused"]
    assert [line["key"].partition("!")[2] for line in refused] == list(evil)
    assert {path for path in tmp_path.rglob("*") if out not in path.parents} - {out} == before
    assert set(tree_of(out)) == {f"train/{clip.label}/{clip.file_name}" for clip in clips[1:]}


def test_many_refusals_are_counted_after_the_first_hundred(tmp_path, out):
    evil = {f"../{number}.mp4": b"" for number in range(5000)}
    release = with_archive(tmp_path, tar_gz(evil))
    with FaultServer(release.root) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
    assert len(report.refused) == 101
    assert "4,900 more members" in report.refused[-1]
    assert len(ledger_lines(out)) < 110


def test_100_000_empty_files_are_passed_over(tmp_path, out):
    (clip,) = made_clips(1)
    empty = member("0.mp4").tobuf(tarfile.GNU_FORMAT) * 100_000
    release = with_archive(tmp_path, gzip.compress(empty + tar({clip.file_name: clip.content}), 1), [clip])
    with FaultServer(release.root) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
    assert report.counts == {"train": {"complete": 1}}
    assert tree_of(out) == release.tree()
    assert len(ledger_lines(out)) == 2


def header(claim, name="big.mp4", kind=tarfile.REGTYPE):
    return member(name, kind, claim).tobuf(tarfile.GNU_FORMAT)


CLAIMS = {
    "a clip of 10 TB": header(10**13),
    "a long name of 10 TB": header(10**13, "x", tarfile.GNUTYPE_LONGNAME),
    "an extended header of 10 TB": header(10**13, "x", tarfile.XHDTYPE),
    "less than nothing": header(-(10**13)),
    "headers of headers": b"".join(header(1, "x", tarfile.GNUTYPE_LONGNAME) + b"a" * 512 for _ in range(1000)),
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_header_that_claims_what_cannot_be_is_bounded(tmp_path, out, claim):
    """30 MB of zeros follow, 30 kB compressed: memory for them would show, let alone for 10 TB."""
    (clip,) = made_clips(1)
    first = tarfile.TarInfo(clip.file_name)
    first.size = len(clip.content)
    padding = b"\0" * (-len(clip.content) % 512)
    plain = first.tobuf(tarfile.GNU_FORMAT) + clip.content + padding + CLAIMS[claim] + b"\0" * 30_000_000
    release = with_archive(tmp_path, gzip.compress(plain, 1), [clip])
    with FaultServer(release.root) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
    assert list(report.failed) == [release.key("train", "part_0")]
    assert "cut off or corrupt" in str(report.failed)
    assert set(tree_of(out)) <= set(release.tree())


# ---- Ends that nobody planned

COMMAND = [sys.executable, "-c", "from kinetics_tools.cli import main; main()", "download", "700", "--split", "train"]


@pytest.mark.parametrize(
    "where", ["kinetics.archive_urls", "kinetics.size_of", "kinetics_tools.archives.ArchiveRun.run"]
)
def test_an_interrupt_says_how_to_go_on_whenever_it_comes(mirror, out, monkeypatch, where):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setenv("KINETICS_MIRROR", mirror.url)
    monkeypatch.setattr(where, interrupt)
    done = CliRunner().invoke(app, ["download", "700-2020", "--out", str(out)])
    assert done.exit_code == 130
    assert done.output == f"interrupted: what is complete stays in {out}, and the same command goes on from there\n"


def test_an_interrupt_says_how_to_go_on_and_exits_with_130(many, out):
    command = [*COMMAND, "--out", str(out), "--rate-limit", "150k"]
    with FaultServer(many.root) as mirror:
        environment = {**os.environ, "KINETICS_MIRROR": mirror.url}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            while len([*out.rglob("*.mp4")]) < 10:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            output = process.stdout.read().decode()
        assert process.returncode == 130
        assert f"interrupted: what is complete stays in {out}, and the same command goes on from there" in output
        assert "Traceback" not in output
        expected = many.tree()
        assert all(expected[path] == content for path, content in tree_of(out).items())
        assert 10 <= len(tree_of(out)) < 120
        assert download("700", out, splits=["train"], mirror=mirror.url).is_complete
    assert tree_of(out) == expected
    assert leftovers(out) == []


@pytest.mark.parametrize("clip_bytes", [5_000, 400_000])
def test_a_full_disk_keeps_what_is_complete_and_says_so(tmp_path, out, clip_bytes):
    # A limit on the size of files is as good as a full disk: here for the archive's, there for a clip's.
    clips = made_clips(60 if clip_bytes < 10_000 else 3, size=clip_bytes)
    release = Release(tmp_path / "mirror", "700", {"train": {"part_0": clips}}).write()
    limit = 100_000
    code = f"""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from kinetics_tools.cli import main
main()
"""
    with FaultServer(release.root) as mirror:
        environment = {**os.environ, "KINETICS_MIRROR": mirror.url}
        command = [sys.executable, "-c", code, *COMMAND[3:], "--out", str(out)]
        result = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert result.returncode == 2
        assert "File too large; what is complete stays" in result.stderr
        assert "run the same command again to go on" in result.stderr
        expected = release.tree()
        assert all(expected[path] == content for path, content in tree_of(out).items())
        assert download("700", out, splits=["train"], mirror=mirror.url).is_complete
    assert tree_of(out) == expected
    assert leftovers(out) == []


def test_a_folder_that_cannot_be_written_to_is_an_error_that_names_it(mirror, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/out/.partial: Not a directory"):
        download("700-2020", tmp_path / "file" / "out", mirror=mirror.url)


def test_killed_again_and_again(tmp_path, out):
    """tests/soak_download.py does this 200 times, with more clips."""
    clips = made_clips(200, size=10_000)
    parts = {f"part_{number}": clips[number::4] for number in range(4)}
    release = Release(tmp_path / "mirror", "700", {"train": parts}).write()
    with FaultServer(release.root) as mirror:
        options = {"splits": ["train"], "workers": 2, "rate_limit": "400k"}
        killed = kill_download(mirror, out, kills=8, release=release, **options)
    assert killed.exit_code == 0
    assert killed.kills >= 5  # what is quicker than the killer is not killed
    assert (killed.rewritten, killed.fetched_again) == ([], [])
    assert tree_of(out) == release.tree()
    assert leftovers(out) == []
    completed = Counter(line["key"] for line in ledger_lines(out) if line["status"] == "complete")
    assert set(completed.values()) == {1}


# ---- Rates and progress


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        ("10MB", 1e7),
        ("500k", 5e5),
        ("1.5 GB/s", 1.5e9),
        ("800", 800),
        (800, 800),
        (0.5, 0.5),
        ("2mbps", 2e6),
        ("7 kB", 7e3),
    ],
)
def test_rates_are_numbers_of_bytes_a_second(rate, expected):
    assert RateLimit(rate).bytes_per_second == expected


@pytest.mark.parametrize("rate", ["fast", "", "0", 0, -5, "-1MB", "10 parsecs", "1e6x", "nan"])
def test_a_rate_that_is_none_is_an_error_with_examples(rate):
    with pytest.raises(ValueError, match='write it as "10MB"'):
        RateLimit(rate)


def test_what_brought_nothing_waits_for_nobody():
    stop = threading.Event()
    limit = RateLimit(1, stop=stop)
    waiting = threading.Thread(target=limit.spend, args=(60,))
    waiting.start()
    while not limit._free_at:
        time.sleep(0.01)
    started = time.monotonic()
    limit.spend(0)
    assert time.monotonic() - started < 10
    stop.set()
    waiting.join(10)
    assert not waiting.is_alive()


def test_all_workers_together_keep_to_the_rate(many, out):
    started = time.monotonic()
    with FaultServer(many.root) as mirror:
        report = download("700", out, splits=["train"], workers=4, rate_limit="600kB", mirror=mirror.url)
    took = time.monotonic() - started
    assert report.is_complete
    assert took > 0.9 * (report.bytes_fetched - 300_000) / 600_000


def test_progress_elsewhere_is_a_line_now_and_then(monkeypatch):
    monkeypatch.setattr("kinetics_tools.progress._LINE_SECONDS", 0.0)
    file = io.StringIO()
    with Progress(clips=4, bytes=10_000_000, counts={"complete": 1}, console=Console(file=file, width=200)) as progress:
        progress.add_bytes(1_000_000, False)
        progress.add_bytes(4_000_000)
        progress.count("complete")
        progress.count("missing")
        progress.count("complete", before="missing")
        progress.note("something happened")
        progress.tick()
    first, line = file.getvalue().splitlines()
    assert first == "something happened"
    assert re.fullmatch(
        r"3 of 4 clips, [\d.,]+ clips/s, 5 MB of 10 MB, [\d.,]+ [GM]B/s, ETA \d:\d\d:\d\d, complete 3", line
    )


def test_progress_on_a_terminal_is_drawn_and_wiped(monkeypatch):
    monkeypatch.setattr("kinetics_tools.progress._REDRAW_SECONDS", 0.0)
    file = io.StringIO()
    with Progress(clips=4, console=Console(file=file, force_terminal=True, width=120)) as progress:
        progress.count("complete")
        progress.tick()
    assert "1 of 4 clips" in file.getvalue()
    assert "ETA" in file.getvalue()
    assert file.getvalue().endswith("\x1b[2K")


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (12_345_678, "12.3 MB"), (4.5e12, "4,500.00 GB")]
)
def test_sizes_for_people(count, text):
    assert size_text(count) == text


# ---- Single videos, for clips that the archives lack


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """20 s of grey that gets lighter."""
    path = tmp_path_factory.mktemp("video") / "video.mp4"
    pictures = (np.full((96, 128, 3), index, np.uint8) for index in range(200))
    write_clip(path, pictures, fps=10)
    return path.read_bytes()


@pytest.fixture
def lacking(tmp_path, video):
    """A release whose archives lack three clips: the video of one is there, of one too short, of one gone."""
    there, short, gone = absent = [Clip("zumba", f"video{number:06d}", 5, 9) for number in range(3)]
    short = absent[1] = Clip("zumba", short.youtube_id, 30, 40)
    release = small_release(tmp_path / "mirror", absent={"train": absent})
    write_video(release.root, there.youtube_id, video)
    write_video(release.root, short.youtube_id, video)
    return release, there, short, gone


def test_videos_bring_what_archives_lack_and_each_failure_is_classed(lacking, out, monkeypatch):
    monkeypatch.setattr(RemoteFile, "backoff_seconds", 0.001)
    release, there, short, gone = lacking
    with FaultServer(release.root) as mirror:
        download("700-2020", out, splits=["train"], mirror=mirror.url)
        before = states(out)
        asked = {"splits": ["train"], "source": "youtube", "mirror": mirror.url}
        asked["youtube"] = YouTubeOptions(url_template=f"{mirror.url}/watch/{{youtube_id}}.html")
        assert download("700-2020", out, dry_run=True, **asked).to_fetch == {"train": 3}
        mirror.clear(log=True)
        report = download("700-2020", out, **asked)
        assert report.counts == {"train": {"complete": 9, "unavailable": 2}}
        assert report.errors == {"no such segment": 1, "removed": 1}
        assert report.is_complete  # no other run would bring more
        reason = "Unable to download webpage: HTTP Error 404: Not Found"
        assert f"could not be fetched: 1 removed, such as {gone.stem}: {reason}" in report.lines()
        assert "not asked for again unless with --retry-errors: 1 clip" in report.lines()
        assert "the same command" not in "\n".join(report.lines())
        assert f"what became of each clip: {out / 'ledger.jsonl'}" in report.lines()
        assert report.bytes_fetched == mirror.bytes_sent("/videos/*")
        assert mirror.count("*.tar.gz") == mirror.count("*_path.txt") == 0
        clip = out / "train" / "zumba" / there.file_name
        assert before.items() <= states(out).items()
        assert states(out).keys() - before.keys() == {clip}

        entries = read_ledger(out)
        entry = entries["train", there.stem]
        assert (entry.source, entry.status, entry.bytes) == ("youtube", "complete", clip.stat().st_size)
        assert entry.duration == pytest.approx(4, abs=0.1)
        assert entries["train", gone.stem].error["class"] == "removed"
        assert entries["train", short.stem].error["class"] == "no such segment"

        # Only what may go by is tried again, unless more is asked for.
        mirror.clear(log=True)
        download("700-2020", out, **asked)
        assert [mirror.count(f"/watch/{one.youtube_id}*") > 0 for one in (there, short, gone)] == [False, True, False]
        mirror.clear(log=True)
        download("700-2020", out, retry_errors=True, **asked)
        assert [mirror.count(f"/watch/{one.youtube_id}*") > 0 for one in (there, short, gone)] == [False, True, True]

        # The archives know nothing better.
        after = states(out)
        download("700-2020", out, splits=["train"], keep_archives=True, mirror=mirror.url)
        assert states(out) == after
    assert leftovers(out) == []
    assert len(load("700-2020", data_dir=str(out), split="train")) == 9


def test_a_clip_cut_from_a_video_that_is_gone_is_cut_again(lacking, out):
    release, there, _, _ = lacking
    with FaultServer(release.root) as mirror:
        asked = {"splits": ["train"], "classes": ["zumba"], "source": "youtube", "mirror": mirror.url}
        asked["youtube"] = YouTubeOptions(url_template=f"{mirror.url}/watch/{{youtube_id}}.html")
        download("700-2020", out, **asked)
        (path,) = out.rglob("*.mp4")
        assert path.name == there.file_name
        content = path.read_bytes()
        path.unlink()
        report = download("700-2020", out, splits=["train"], mirror=mirror.url)
        assert report.counts["train"]["pending"] == 1
        assert report.lines()[-1] == "not complete: the archives have no more; --source youtube goes on from here"
        download("700-2020", out, **asked)
        assert path.read_bytes() == content


def test_clips_of_a_tree_that_others_made_are_not_cut_anew(lacking, out):
    release, there, short, _ = lacking
    folder = out / "train" / "zumba"
    folder.mkdir(parents=True)
    (folder / short.file_name).write_bytes(b"somebody's own copy")
    (folder / there.file_name).write_bytes(b"")  # of what has no byte there is nothing to keep
    with FaultServer(release.root) as mirror:
        asked = {"splits": ["train"], "classes": ["zumba"], "source": "youtube", "mirror": mirror.url}
        asked["youtube"] = YouTubeOptions(url_template=f"{mirror.url}/watch/{{youtube_id}}.html")
        report = download("700-2020", out, **asked)
        assert report.counts == {"train": {"complete": 1, "found": 1, "unavailable": 3}}
        assert report.is_complete
        assert (folder / short.file_name).read_bytes() == b"somebody's own copy"
        assert mirror.count(f"/watch/{short.youtube_id}*") == 0
        # Of what the ledger knows to be otherwise, there is.
        (folder / there.file_name).write_bytes(b"torn")
        assert download("700-2020", out, **asked).counts == report.counts
    assert (folder / there.file_name).stat().st_size == read_ledger(out)["train", there.stem].bytes


def test_an_interrupt_finishes_the_videos_in_flight_and_says_so(lacking, out, tmp_path):
    release, there, _, _ = lacking
    noise = np.random.default_rng(0).integers(0, 256, (100, 96, 128, 3), np.uint8)
    write_clip(tmp_path / "noise.mp4", noise, fps=10)
    write_video(release.root, there.youtube_id, (tmp_path / "noise.mp4").read_bytes())
    with FaultServer(release.root, faults=[Fault("slow", "/videos/*", bytes_per_second=200_000)]) as mirror:
        template = f"{mirror.url}/watch/{{youtube_id}}.html"
        command = [*COMMAND[:3], "download", "700-2020", "--split", "train", "--classes", "zumba", "--out", str(out)]
        # So slow that it would take minutes, unless an interrupt ended that, too.
        command += ["--source", "youtube", "--workers", "1", "--rate-limit", "100", "--url-template", template]
        environment = {**os.environ, "KINETICS_MIRROR": mirror.url}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            while not mirror.count(f"/videos/{there.youtube_id}.mp4", "GET"):
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            output = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 130
    assert "the clips in flight are being finished; interrupt again to leave them" in output
    assert f"interrupted: what is complete stays in {out}, and the same command goes on from there" in output
    assert "Traceback" not in output
    assert (out / "train" / "zumba" / there.file_name).exists()
    assert leftovers(out) == []


def test_the_command_has_the_options_of_videos(lacking, out, monkeypatch):
    release, there, _, _ = lacking
    with FaultServer(release.root) as mirror:
        monkeypatch.setenv("KINETICS_MIRROR", mirror.url)
        command = ["download", "700-2020", "--out", str(out), "--split", "train", "--classes", "zumba"]
        command += ["--source", "youtube", "--url-template", f"{mirror.url}/watch/{{youtube_id}}.html", "--sleep", "0"]
        dry = CliRunner().invoke(app, [*command, "--dry-run"])
        assert dry.exit_code == 0
        assert dry.output.startswith(
            "train: 5 clips: pending 5\ntrain: single videos, 5 to fetch\nto fetch: known only"
        )
        assert re.search(r"\ndisk: about 15.2 MB needed, [\d.,]+ GB free\n$", dry.output)  # 38 s
        result = CliRunner().invoke(app, [*command, "--formats", "best", "--rate-limit", "10MB", "--retry-errors"])
        assert result.exit_code == 0
        assert "train: 5 clips: complete 1, unavailable 4" in result.output
        assert (out / "train" / "zumba" / there.file_name).exists()


def test_where_the_same_command_would_not_help_it_is_not_advised(lacking, out):
    with FaultServer(lacking[0].root) as mirror:
        asked = {"splits": ["train"], "classes": ["zumba"], "source": "youtube", "mirror": mirror.url}
        template = f"{mirror.url}/watch/{{youtube_id}}.html"
        youtube = YouTubeOptions(url_template=template, formats="b[height<=1]")
        for _ in range(2):
            report = download("700-2020", out, youtube=youtube, **asked)
            assert report.counts == {"train": {"failed": 2, "unavailable": 3}}
            assert not report.is_complete
            assert "not asked for again unless with --retry-errors: 5 clips" in report.lines()
            assert report.lines()[-1] == "not complete: the same command with --retry-errors goes on from here"
        assert report.to_fetch == {"train": 0}
        youtube = YouTubeOptions(url_template=template)
        report = download("700-2020", out, youtube=youtube, retry_errors=True, **asked)
    assert report.counts["train"]["complete"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"source": "youtube", "keep_archives": True}, "keep_archives with source='youtube'"),
        ({"youtube": YouTubeOptions()}, "are of single videos, with source='archives'"),
        ({"retry_errors": True}, "are of single videos, with source='archives'"),
    ],
)
def test_options_of_the_other_source_are_an_error(mirror, out, options, message):
    with pytest.raises(ValueError, match=message):
        download("700-2020", out, mirror=mirror.url, **options)
    assert not out.exists()
