"""`kinetics download` from the archives: what it leaves on disk, fetches again, and says."""

import csv
import os
import re
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

import kinetics
from kinetics_tools.annotations import Selection
from kinetics_tools.annotations.find import annotation_file
from kinetics_tools.annotations.read import clip_names, read_split
from kinetics_tools.cli.app import app
from kinetics_tools.downloading import download, read_ledger
from kinetics_tools.releases import LABELS, SPLITS
from tests.support import patience
from tests.support.fault_server import Fault, FaultServer
from tests.support.mirror import tar_gz
from tests.support.releases import (
    Release,
    fetched,
    impatient,
    ledger_lines,
    leftovers,
    made_clips,
    many,
    mirror,
    out,
    release,
    small_release,
    states,
    tree_of,
)
from tests.support.trees import (
    FILE_LAYOUTS,
    Clip,
    load,
    rows,
    rows_of,
    torchvision_folder,
    write_annotations,
    write_clips,
)

__all__ = ["impatient", "many", "mirror", "out", "release"]  # fixtures


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
        split: rows_of(release.clips(split), name) for split in SPLITS
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
        published = Path(annotation_file("700-2020", split, mirror=mirror.url))
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
    assert (
        f"train: missing from all archives: 3 clips, such as {', '.join(clip.stem for clip in absent)}"
        in report.lines()
    )


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
    assert report.unannotated == {"train": count}
    line = f"train: unannotated: {shown.format(*(repr(clip.file_name) for clip in extra))}"
    assert line in report.lines()


def test_annotated_members_that_were_not_asked_for_are_not_called_unannotated(mirror, out):
    report = download("700-2020", out, splits=["train"], classes=["zumba"], mirror=mirror.url)
    assert report.unannotated == {"train": 0}
    assert ": unannotated: " not in "\n".join(report.lines())


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


def test_a_replacement_is_matched_by_the_video_alone(tmp_path, out):
    """Where its segment is another than the annotated one, as in loading and verify."""
    clips = made_clips(6, size=2000)
    named = {f"{clips[2].youtube_id}_000900_000910.mp4": b"better", f"{'x' * 11}_000000_000010.mp4": b"of no clip"}
    release = Release(tmp_path / "mirror", "400", {"train": {"part_0": clips}}, replacement=named).write()
    with FaultServer(release.root) as mirror:
        report = download("400", out, splits=["train"], mirror=mirror.url)
    assert report.is_complete
    expected = release.tree()
    expected[f"train/{clips[2].label}/{clips[2].file_name}"] = b"better"
    assert tree_of(out) == expected
    assert f"{'x' * 11}_000000_000010.mp4" in next(line for line in report.lines() if ": unannotated: 1 " in line)


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
            assert f"train: no clips are replaced, because the mirror does not give {key}" in done.output
            names = ", ".join(clip.stem for clip in absent[:3])
            assert f"train: missing from all archives: 5 clips, such as {names}, ...\n" in done.output
            assert "failed: " not in done.output
    assert tree_of(out) == release.tree()
    assert leftovers(out) == []
    assert {line["key"] for line in ledger_lines(out) if line["status"] == "missing"} == {one.stem for one in absent}


def test_replacements_that_the_mirror_has_and_does_not_give_are_a_failure(tmp_path, out):
    release = small_release(tmp_path / "mirror", "400", replacement={})
    with FaultServer(release.root, faults=[Fault("status", "*/replacement*", code=500)]) as mirror:
        report = download("400", out, splits=["train"], mirror=mirror.url)
    assert not report.is_complete
    assert list(report.failed) == ["kinetics/400/replacement_for_corrupted_k400.tgz"]


def test_replacements_that_a_store_without_the_right_to_list_denies_are_absent(tmp_path, out):
    release = small_release(tmp_path / "mirror", "400")
    with FaultServer(release.root, faults=[Fault("status", "*/replacement*", code=403)]) as mirror:
        report = download("400", out, splits=["train"], mirror=mirror.url)
    assert report.is_complete
    assert report.no_replacement == "kinetics/400/replacement_for_corrupted_k400.tgz"


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


def test_archives_of_the_user_and_prepared_shards_are_no_output_directory(mirror, release, tmp_path):
    """An extracted clip would hide the archives beside it."""
    archives, shards = tmp_path / "archives", tmp_path / "shards"
    for split in ("train", "val", "test"):
        write_clips(archives / split, [Clip("zumba", "abcdefghijk", 0, 10)], ".tar.gz")
    shards.mkdir()
    (shards / "README.md").write_text("---\nconfigs:\n---\n")
    for place, message in (
        (archives, f"2 archives and no extracted clips; .*: kinetics convert {archives} 700-2020 --to files"),
        (shards, "holds prepared shards; pass another directory"),
    ):
        before = sorted(place.rglob("*.*"))
        with pytest.raises(ValueError, match=message):
            download("700-2020", place, mirror=mirror.url)
        assert sorted(place.rglob("*.*")) == before


@pytest.mark.parametrize("damage", ["removed", "cut short", "a link to nothing"])
def test_a_clip_that_is_gone_brings_its_archive_again_and_no_other(mirror, release, out, damage):
    download("700-2020", out, mirror=mirror.url)
    before = states(out)
    mirror.clear(log=True)
    clip = release.archives["train"]["part_1"][2]
    path = out / "train" / clip.label / clip.file_name
    if damage == "cut short":
        os.truncate(path, 5)
    else:
        path.unlink()
    if damage == "a link to nothing":
        path.symlink_to("nothing.mp4")
    assert download("700-2020", out, mirror=mirror.url).is_complete
    assert tree_of(out) == release.tree()
    assert fetched(mirror) == ["part_1.tar.gz"]
    assert {one for one, state in states(out).items() if before[one] != state} == {path}


def test_what_others_made_of_a_clip_stays_also_after_an_interruption(mirror, release, out):
    """Scaled clips of users are kept; our files that the ledger does not list yet count as ours."""
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
    table = read_split(str(path), "700-2020", "train")
    chosen = clip_names(Selection("700-2020", max_clips_per_class=1, seed=3).choose(table, "train")).to_pylist()
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
    patience.impatient(monkeypatch, retries=1)
    with FaultServer(release.root, faults=[Fault("cut", "*.tar.gz", at=at)]) as mirror:
        report = download("700", out, splits=["train"], mirror=mirror.url)
        assert not report.is_complete
        assert list(report.failed) == [release.key("train", "part_0")]
        assert "rerun the same command" in "".join(report.failed.values())
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
    patience.impatient(monkeypatch, retries=1)
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
    labels = LABELS[name]
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
        assert "test: skipped: no clip of this split has a label" in capsys.readouterr().out
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
    assert report.lines()[-1] == "incomplete: rerun the same command to resume"


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
    assert spellings[0].partition("disk: ")[0] == spellings[1].partition("disk: ")[0]
    assert "validation" in spellings[0]
    assert re.search(r"to download: [\d.]+ kB\ndisk: about [\d.]+ kB needed, [\d.,]+ GB free", dry.output)
    mirror.add(Fault("status", "*/train/part_1.tar.gz", code=404, method="GET"))
    failed = CliRunner().invoke(app, arguments)
    assert failed.exit_code == 1
    assert f"failed: {release.key('train', 'part_1')}: " in failed.output
    assert "incomplete: rerun the same command to resume" in failed.output
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
        (["700-2020", "--retry-errors"], "pass --source youtube, or omit them"),
        (["700-2020", "--workers", "0"], "workers must be at least 1, got 0"),
        (["700-2020", "--max-per-class", "0"], "--max-per-class must be at least 1, got 0"),
        (["700-2020", "--rate-limit", "fast"], "--rate-limit must be a number of bytes"),
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
    with pytest.raises(ValueError, match="is a file; pass a directory"):
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
    while first.is_alive() and not (out / "ledger.jsonl").exists():
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


def test_all_workers_together_keep_to_the_rate(many, out):
    started = time.monotonic()
    with FaultServer(many.root) as mirror:
        report = download("700", out, splits=["train"], workers=4, rate_limit="600kB", mirror=mirror.url)
    took = time.monotonic() - started
    assert report.is_complete
    assert took > 0.9 * (report.bytes_fetched - 300_000) / 600_000


def test_a_subset_without_excluded_videos_is_downloaded_alone(mirror, release, out, tmp_path):
    clips = release.clips("train")
    held_out = write_annotations(tmp_path / "held-out.csv", clips[:1], "test")
    (tmp_path / "mine.txt").write_text("".join(f"{clip.stem}\n" for clip in clips[:3]))
    report = download(
        "700-2020",
        out,
        splits=["train"],
        subset=tmp_path / "mine.txt",
        exclude=f"400:test={held_out}",
        mirror=mirror.url,
    )
    assert sorted(path.stem for path in out.rglob("*.mp4")) == sorted(clip.stem for clip in clips[1:3])
    assert report.is_complete
