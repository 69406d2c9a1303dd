"""Clips that the user has: every layout of a data_dir, whole and streamed, and what is absent or too much."""

import csv
import logging
import os
import re
import shutil
import unicodedata
from collections import Counter

import fsspec
import pytest

import kinetics
from kinetics_tools.annotations import Selection
from kinetics_tools.releases import LABELS
from kinetics_tools.sources import SplitFiles, clip_tables, clips
from kinetics_tools.verification import verify
from tests.support import patience
from tests.support.fault_server import FaultServer
from tests.support.mirror import tar_gz, write_mirror
from tests.support.trees import (
    ARCHIVE_LAYOUTS,
    CLIPS,
    FEW_LAYOUTS,
    FILE_LAYOUTS,
    LAYOUTS,
    Clip,
    clips_of,
    load,
    rows,
    rows_of,
    torchvision_folder,
    write_annotations,
    write_clips,
    write_public,
    write_tree,
)

VAL = CLIPS["validation"]


def both(release="700", **options):
    """The rows of each split, equal whole and streamed."""
    whole, streamed = load(release, **options), load(release, streaming=True, **options)
    found = {split: rows(ds) for split, ds in whole.items()}
    assert {split: rows(ds) for split, ds in streamed.items()} == found
    assert {split: ds.features for split, ds in streamed.items()} == {split: ds.features for split, ds in whole.items()}
    return found


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def single(clips):
    """The clips that JSON can hold: one of a video, the last."""
    return list({clip.youtube_id: clip for clip in clips}.values())


# ---- Layouts


def check_layout(data_dir, layout, annotations):
    held = single if annotations.endswith("json") else list
    write_tree(data_dir, layout, annotations=annotations)
    assert both(data_dir=str(data_dir)) == {split: rows_of(held(clips)) for split, clips in CLIPS.items()}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout(tmp_path, layout):
    check_layout(tmp_path, layout, "annotations/{}.csv")


@pytest.mark.parametrize("annotations", ["{}.csv", "annotations/{}.json", "{}.json"])
@pytest.mark.parametrize("layout", FEW_LAYOUTS)
def test_annotations_of_every_kind(tmp_path, layout, annotations):
    check_layout(tmp_path, layout, annotations)


@pytest.mark.parametrize("layout", ["class folders", "torchvision folders"])
def test_class_folders_need_no_annotations(tmp_path, layout):
    data_dir = write_tree(tmp_path, layout, annotations=None)
    assert both(data_dir=str(data_dir)) == {split: rows_of(clips) for split, clips in CLIPS.items()}


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
@pytest.mark.parametrize("folder", ["val", "validate", "validation"])
def test_every_name_of_the_validation_folder(tmp_path, layout, folder):
    data_dir = write_tree(tmp_path, layout, clips={"validation": VAL}, folders={"validation": folder})
    assert both(data_dir=str(data_dir)) == {"validation": rows_of(VAL)}


def test_each_split_is_recognised_on_its_own(tmp_path):
    write_clips(tmp_path / "train", CLIPS["train"], ".tar")
    write_annotations(tmp_path / "kinetics700_train.csv", CLIPS["train"], "train")
    write_clips(tmp_path / "validate", VAL, "torchvision folders")
    write_clips(tmp_path / "test", CLIPS["test"], "flat")
    write_annotations(tmp_path / "annotations" / "test.json", single(CLIPS["test"]), "test", labels=False)
    found = both(data_dir=str(tmp_path))
    assert found["train"] == rows_of(CLIPS["train"])
    assert found["validation"] == rows_of(VAL)
    assert found["test"] == rows_of(single(CLIPS["test"]), labels=False)


@pytest.mark.parametrize("layout", ["flat", *ARCHIVE_LAYOUTS])
def test_a_test_split_without_labels_has_label_minus_one(tmp_path, layout):
    write_clips(tmp_path / "test", CLIPS["test"], layout)
    write_annotations(tmp_path / "annotations" / "test.csv", CLIPS["test"], "test", labels=False)
    assert both(data_dir=str(tmp_path)) == {"test": rows_of(CLIPS["test"], labels=False)}


@pytest.mark.parametrize("release", kinetics.RELEASES)
def test_labels_have_the_index_of_their_release(tmp_path, release):
    data_dir = write_tree(tmp_path, clips={"train": CLIPS["train"]})
    assert both(release, data_dir=str(data_dir)) == {"train": rows_of(CLIPS["train"], release)}


def test_csv_is_read_before_json_and_the_annotations_folder_before_the_files_beside_it(tmp_path):
    write_clips(tmp_path / "val", VAL, "flat")
    write_annotations(tmp_path / "annotations" / "val.csv", VAL[:2], "val")
    write_annotations(tmp_path / "annotations" / "val.json", VAL[2:4], "val")
    write_annotations(tmp_path / "val.csv", VAL[4:6], "val")
    assert both(data_dir=str(tmp_path)) == {"validation": rows_of(VAL[:2])}


def test_two_annotation_files_of_one_split_are_an_error_that_names_them(tmp_path):
    write_clips(tmp_path / "val", VAL, "flat")
    for name in ("k700_val.csv", "k700_2020_val.csv"):
        write_annotations(tmp_path / "annotations" / name, VAL, "val")
    with pytest.raises(
        ValueError, match=r"several annotation files for validation: .*k700_2020_val.csv, .*k700_val.csv"
    ):
        load(data_dir=str(tmp_path))


def test_annotations_of_another_place_replace_those_in_the_tree(tmp_path):
    data_dir = write_tree(tmp_path / "clips", clips={"validation": VAL})
    write_annotations(tmp_path / "other" / "validate.csv", VAL[:3], "validate")
    expected = {"validation": rows_of(VAL[:3])}
    assert both(data_dir=str(data_dir), annotations=str(tmp_path / "other")) == expected
    assert both(data_dir=str(data_dir), annotations=str(tmp_path / "other" / "validate.csv")) == expected


def test_paths_may_be_path_objects(tmp_path):
    data_dir = write_tree(tmp_path / "clips", clips={"validation": VAL})
    write_annotations(tmp_path / "other" / "val.csv", VAL[:3], "val")
    assert both(data_dir=data_dir, annotations=tmp_path / "other") == {"validation": rows_of(VAL[:3])}


def test_clips_win_over_archives_beside_them_and_a_warning_says_so(tmp_path, caplog):
    write_clips(tmp_path / "val", VAL[:2], "flat")
    write_clips(tmp_path / "val", VAL[2:], ".tar.gz")
    write_annotations(tmp_path / "val.csv", VAL, "val")
    assert rows(load(data_dir=str(tmp_path))["validation"]) == rows_of(VAL[:2])
    assert any(re.search(r"2 archives.*skipped", message) for message in warnings(caplog))


# ---- Real clips, named after real rows


EDITIONS = {
    "400": "cvdf_k400_val.csv",
    "600": "deepmind_k600_validate.csv",
    "700": "activitynet_k700_val.csv",
    "700-2020": "deepmind_k700_2020_validate.csv",
}


def real_clip(row, path):
    """The file at `path` as the clip of a row of a real annotation file."""
    times = int(row["time_start"]), int(row["time_end"])
    return Clip(row.get("label", ""), row["youtube_id"], *times, path.suffix, path.read_bytes())


def real_clips(shared, release):
    """Each clip file of the real data under the name of a real row of a kind that goes wrong easily."""
    with open(shared / "annotations" / EDITIONS[release], newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    videos = Counter(row["youtube_id"] for row in found)
    most = max(videos.values())
    kinds = [
        # Where no video has two clips, as in 400: any two.
        lambda row: videos[row["youtube_id"]] == most,
        lambda row: row["youtube_id"] == chosen[0]["youtube_id"] or most == 1,
        lambda row: row["youtube_id"].startswith("-"),
        lambda row: row["youtube_id"].startswith("_") and "(" in row["label"],
        lambda row: "'" in row["label"],
    ]
    chosen: list[dict[str, str]] = []
    for kind in kinds:
        chosen.append(next(row for row in found if kind(row) and row not in chosen))
    paths = sorted((shared / "clips").iterdir())
    return [
        Clip(
            row["label"],
            row["youtube_id"],
            int(row["time_start"]),
            int(row["time_end"]),
            path.suffix,
            path.read_bytes(),
        )
        for row, path in zip(chosen, paths, strict=True)
    ]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("release", EDITIONS)
def test_real_clips_named_after_real_rows_have_their_label_and_segment(shared, release, layout, tmp_path):
    clips = real_clips(shared, release)
    write_clips(tmp_path / "val", clips, layout)
    (tmp_path / "annotations").mkdir()
    shutil.copy(shared / "annotations" / EDITIONS[release], tmp_path / "annotations")
    assert both(release, data_dir=str(tmp_path)) == {"validation": rows_of(clips, release)}


@pytest.mark.parametrize("release", EDITIONS)
def test_real_clips_in_class_folders_alone(shared, release, tmp_path):
    clips = real_clips(shared, release)
    write_clips(tmp_path / "validation", clips, "torchvision folders")
    assert both(release, data_dir=str(tmp_path)) == {"validation": rows_of(clips, release)}


@pytest.mark.parametrize("layout", ["flat", ".tar"])
def test_real_test_clips_have_no_label(shared, layout, tmp_path):
    with open(shared / "annotations" / "deepmind_k700_2020_test.csv", newline="", encoding="utf-8") as file:
        chosen = list(csv.DictReader(file))[:5]
    paths = sorted((shared / "clips").iterdir())
    clips = [real_clip(row, path) for row, path in zip(chosen, paths, strict=True)]
    write_clips(tmp_path / "test", clips, layout)
    shutil.copy(shared / "annotations" / "deepmind_k700_2020_test.csv", tmp_path)
    assert both("700-2020", data_dir=str(tmp_path)) == {"test": rows_of(clips, labels=False)}


# ---- Names of directories and files


# `::` and `://` have a meaning for the library's own file functions.
@pytest.mark.parametrize(
    "name",
    [
        "动作 видео ñ",
        unicodedata.normalize("NFD", "schöne Clips"),
        "it's (mine) _a_ [x]",
        "100% *wild*?",
        "a,b;c&d=e#f",
        "-dash",
        "~tilde",
        "$HOME",
        "train",
        "{0} {split}",
        "a::b",
    ],
)
def test_a_data_dir_of_any_name(tmp_path, name):
    write_clips(tmp_path / name / "train", CLIPS["train"], "class folders")
    write_clips(tmp_path / name / "val", VAL, ".tar.gz")
    write_annotations(tmp_path / name / "val.csv", VAL, "val")
    expected = {"train": rows_of(CLIPS["train"]), "validation": rows_of(VAL)}
    assert both(data_dir=str(tmp_path / name)) == expected


@pytest.mark.parametrize("data_dir", [".", "tree", "./tree/", "tree/../tree", "~/tree"])
def test_a_relative_data_dir_is_the_same_after_the_process_moves(tmp_path, monkeypatch, data_dir):
    write_tree(tmp_path if data_dir == "." else tmp_path / "tree", clips={"validation": VAL})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    whole = load(data_dir=data_dir, split="validation")
    streamed = load(data_dir=data_dir, split="validation", streaming=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert rows(whole) == rows(streamed) == rows_of(VAL)


def test_a_tree_behind_links_is_read(tmp_path):
    write_tree(tmp_path / "real", clips={"validation": VAL})
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert both(data_dir=str(tmp_path / "link")) == {"validation": rows_of(VAL)}
    (tmp_path / "mixed").mkdir()
    (tmp_path / "mixed" / "val").symlink_to(tmp_path / "real" / "val")
    assert both(data_dir=str(tmp_path / "mixed")) == {"validation": rows_of(VAL)}


@pytest.mark.parametrize("layout", ["class folders", ".tar.gz"])
def test_clips_of_every_container(tmp_path, layout):
    suffixes = (".mp4", ".MP4", ".mkv", ".webm", ".avi", ".mov")
    clips = [Clip("zumba", f"-bcdefghij{index}", 1, 11, suffix) for index, suffix in enumerate(suffixes)]
    data_dir = write_tree(tmp_path, layout, clips={"validation": clips})
    assert both(data_dir=str(data_dir)) == {"validation": rows_of(clips)}


@pytest.mark.parametrize("layout", ["class folders", "flat", ".tar"])
def test_a_file_named_by_its_video_alone_is_its_clip_where_the_split_has_one_of_it(tmp_path, layout, caplog):
    class Bare(Clip):
        @property
        def stem(self):
            return self.youtube_id

    clips = [Bare(*clip.row) for clip in VAL]
    write_clips(tmp_path / "val", clips[:-1], layout)
    write_annotations(tmp_path / "val.csv", clips, "val")
    # The last two are of one video, and nothing says which of them such a file is.
    assert both(data_dir=str(tmp_path)) == {"validation": rows_of(clips[:-2])}
    if layout in FILE_LAYOUTS:
        why = f"its video has several annotated clips; name it after one, such as {VAL[-2].stem}"
        assert f"files that are named by a video alone are skipped: 1: {clips[-2].stem}: {why}" in caplog.text
        rows_by_name = {row["clip"]: row for row in verify("700", tmp_path).clips.to_pylist()}
        assert rows_by_name[clips[-2].stem]["detail"].startswith(why)


@pytest.mark.parametrize("streaming", [False, True])
def test_files_named_by_their_videos_in_class_directories_take_the_published_annotations(
    tmp_path, streaming, monkeypatch
):
    patience.impatient(monkeypatch, 0.001)
    write_public(tmp_path / "mirror", "700-2020", {"validation": VAL})
    clip = VAL[2]
    path = tmp_path / "tree" / "val" / torchvision_folder(clip.label) / f"{clip.youtube_id}.mp4"
    path.parent.mkdir(parents=True)
    path.write_bytes(clip.content)
    with FaultServer(tmp_path / "mirror") as mirror:
        options = {"data_dir": tmp_path / "tree", "mirror": mirror.url, "streaming": streaming}
        [row] = load("700-2020", split="val", **options)
    assert (row["youtube_id"], row["time_start"], row["time_end"]) == (clip.youtube_id, *clip.row[2:])
    assert row["label"] == LABELS["700-2020"].index(clip.label)
    with pytest.raises(ConnectionError, match=r"has no annotations: put them there, as .*annotations/validation\.csv"):
        load("400", split="val", **options)


def test_files_of_other_names_in_class_directories_say_which_names_are_read(tmp_path):
    write_clips(tmp_path / "val", VAL[:2], "class folders")
    for number, path in enumerate(tmp_path.glob("val/*/*.mp4")):
        path.rename(path.with_name(f"video {number}.mp4"))
    message = r"2 files in class directories is called like a clip, such as .*_000417_000427\.mp4.* there is val/"
    with pytest.raises(ValueError, match=message):
        load(data_dir=tmp_path)


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
@pytest.mark.parametrize("form", ["videos_{}", "{}_256"])
def test_split_directories_of_mmaction2_and_of_copies_with_256_pixels(tmp_path, layout, form):
    folders = {split: form.format({"validation": "val"}.get(split, split)) for split in CLIPS}
    data_dir = write_tree(tmp_path, layout, folders=folders, annotations=None)
    for split, of_split in CLIPS.items():
        write_annotations(data_dir / "annotations" / f"kinetics_{split}.csv", of_split, split)
    assert both(data_dir=str(data_dir)) == {split: rows_of(of_split) for split, of_split in CLIPS.items()}
    found = dict(clip_tables(Selection("700"), data_dir)) if layout != ".tar.gz" else {}
    assert all(table["path"].null_count == 0 for table in found.values())


def test_what_is_named_like_a_clip_or_an_archive_but_no_file_is_named_and_blocks_nothing(tmp_path, caplog):
    data_dir = write_tree(tmp_path, clips={"validation": VAL})
    good = VAL[0]
    folder = data_dir / "val" / good.label
    (folder / good.file_name).rename(folder / f"{good.stem}.webm")
    (folder / good.file_name).mkdir()  # frames extracted beside the videos
    os.mkfifo(folder / f"{VAL[1].stem}.mkv")
    os.mkfifo(data_dir / "val" / "part.tar")
    os.mkfifo(data_dir / "val.csv")
    expected = rows_of([Clip(*good.row, suffix=".webm", content=good.content), *VAL[1:]])
    assert both(data_dir=str(data_dir)) == {"validation": expected}
    assert "directories, pipes and sockets that are named like clips: 2 (" in caplog.text
    assert f"val/{good.label}/{good.file_name}" in caplog.text
    table = dict(clip_tables(Selection("700"), data_dir))["validation"]
    assert f"{folder}/{good.stem}.webm" in table["path"].to_pylist()


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
def test_other_files_beside_the_clips_are_no_clips(tmp_path, layout):
    data_dir = write_tree(tmp_path, layout, clips={"validation": VAL})
    folder = data_dir / "val"
    for name in ("README.txt", ".DS_Store", "._" + VAL[0].file_name, "list.csv", VAL[0].file_name + ".part"):
        (folder / name).write_bytes(b"no clip")
        if layout in FILE_LAYOUTS[:2]:
            (folder / LABELS["700"][0] / name).parent.mkdir(exist_ok=True)
            (folder / LABELS["700"][0] / name).write_bytes(b"no clip")
    assert both(data_dir=str(data_dir)) == {"validation": rows_of(VAL)}


# ---- What is absent, too much, empty or not ours to change


@pytest.mark.parametrize("layout", LAYOUTS)
def test_clips_that_are_absent_or_not_annotated_are_skipped_counted_and_named(tmp_path, layout, caplog):
    caplog.set_level(logging.INFO, logger="datasets.kinetics")
    annotated = [*VAL, Clip("zumba", "absentabsen", 1, 11), Clip("zumba", "-bsentabsen", 2, 12)]
    present = [*VAL, Clip("zumba", "unannotated", 3, 13)]
    write_clips(tmp_path / "val", present, layout)
    write_annotations(tmp_path / "val.csv", annotated, "val")
    assert rows(load(data_dir=str(tmp_path), split="validation")) == rows_of(VAL)
    said = warnings(caplog)
    (report,) = [message for message in said if "missing: " in message]
    assert f"{len(VAL)} of {len(annotated)} clips" in report
    assert "missing: 2 (absentabsen_000001_000011, -bsentabsen_000002_000012)" in report
    unannotated = r"unannotated (files|members of archives): 1 \(unannotated_000003_000013(\.mp4)?\)"
    assert len([message for message in said if re.search(unannotated, message)]) == 1
    caplog.clear()
    assert rows(load(data_dir=str(tmp_path), split="validation", streaming=True)) == rows_of(VAL)
    assert len([message for message in warnings(caplog) if re.search(unannotated, message)]) == 1


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
@pytest.mark.parametrize("streaming", [False, True])
def test_what_is_annotated_and_not_asked_for_alarms_nobody(tmp_path, layout, streaming, caplog):
    data_dir = write_tree(tmp_path, layout, clips={"validation": VAL})
    found = load(data_dir=str(data_dir), split="validation", classes=["zumba"], streaming=streaming)
    assert rows(found) == rows_of([clip for clip in VAL if clip.label == "zumba"])
    assert warnings(caplog) == []


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
def test_an_absent_clip_raises_where_that_is_asked_for(tmp_path, layout):
    write_clips(tmp_path / "val", VAL, layout)
    write_annotations(tmp_path / "val.csv", [*VAL, Clip("zumba", "absentabsen", 1, 11)], "val")
    with pytest.raises(
        FileNotFoundError, match=r"^1 of 9 annotated clips of the validation split are missing: absentabsen_0000"
    ):
        load(data_dir=str(tmp_path), on_missing="raise")
    write_annotations(tmp_path / "val.csv", VAL, "val")
    assert rows(load(data_dir=str(tmp_path), split="validation", on_missing="raise")) == rows_of(VAL)


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
@pytest.mark.parametrize("num_proc", [None, 2])
def test_a_row_that_is_annotated_twice_counts_once(tmp_path, layout, num_proc, caplog):
    write_clips(tmp_path / "val", VAL, layout)
    again = [VAL[0], VAL[7], VAL[0]]
    write_annotations(tmp_path / "val.csv", [*VAL, *again], "val")
    whole = load(data_dir=str(tmp_path), split="validation", on_missing="raise", num_proc=num_proc)
    assert rows(whole) == rows_of(VAL)
    assert rows(load(data_dir=str(tmp_path), split="validation", streaming=True)) == rows_of(VAL)
    assert f"val.csv: 3 rows repeat another's clip ({VAL[0].stem}, {VAL[7].stem}, {VAL[0].stem})" in caplog.text


# ---- Clips that lie there twice

ZUMBA = Clip("zumba", "twiceclip_0", 1, 11)
# Path in the split -> bytes, first those of the file that counts: not the first or last in any order of a listing.
TWICE = {
    "its class before another": {"zumba/{}.mp4": b"right", "archery/{}.mp4": b"wrong", "yoga/{}.mp4": b"wrong"},
    "its class before none": {"zumba/{}.mp4": b"right", "{}.mp4": b"wrong"},
    "none before another class": {"{}.mp4": b"right", "archery/{}.mp4": b"wrong", "yoga/{}.mp4": b"wrong"},
    "bytes before the class": {"archery/{}.mp4": b"right", "zumba/{}.mp4": b"", "yoga/{}.mp4": b""},
    "a link to nothing is no file": {"archery/{}.mp4": b"right", "zumba/{}.mp4": None},
    "the first name": {"zumba/{}.avi": b"right", "zumba/{}.mkv": b"wrong", "zumba/{}.mp4": b"wrong"},
    "the first name of nothing": {"zumba/{}.avi": b"", "zumba/{}.mp4": b""},
    "the whole name": {"zumba/{}.mp4": b"right", "zumba/twiceclip_0.mp4": b"wrong"},
    "bytes before the whole name": {"zumba/twiceclip_0.mp4": b"right", "zumba/{}.mp4": b""},
}


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("kind", TWICE)
def test_of_a_clip_that_lies_there_twice_the_order_of_the_listing_chooses_nothing(
    tmp_path, kind, order, caplog, monkeypatch
):
    files = {path.format(ZUMBA.stem): content for path, content in TWICE[kind].items()}
    write_tree(tmp_path, clips={"validation": VAL})
    write_annotations(tmp_path / "annotations" / "val.csv", [*VAL, ZUMBA], "val")
    for path, content in files.items():
        (tmp_path / "val" / path).parent.mkdir(exist_ok=True)
        if content is None:
            (tmp_path / "val" / path).symlink_to("nowhere")
        else:
            (tmp_path / "val" / path).write_bytes(content)
    list_in_order(monkeypatch, order)
    right = next(iter(files))
    expected = sorted([*rows_of(VAL), (os.path.basename(right), files[right], *rows_of([ZUMBA])[0][2:])])
    assert both(data_dir=str(tmp_path)) == {"validation": expected}
    if None not in files.values():
        message = f"clips with several files (one is used): 1 ({ZUMBA.stem})"
        assert warnings(caplog) == [f"kinetics 700 validation: {message}"] * 2
    row = next(row for row in verify("700", tmp_path).clips.to_pylist() if row["clip"] == ZUMBA.stem)
    assert row["path"] == f"val/{right}"


@pytest.mark.parametrize("order", [1, -1])
def test_without_annotations_a_clip_in_two_class_folders_is_of_the_first_with_bytes(tmp_path, order, monkeypatch):
    write_tree(tmp_path, clips={"validation": VAL}, annotations=None)
    for label, content in {"archery": b"", "yoga": b"right", "zumba": b"wrong"}.items():
        write_clips(tmp_path / "val", [with_content(Clip(label, *ZUMBA.row[1:]), content)], "class folders")
    list_in_order(monkeypatch, order)
    right = Clip("yoga", *ZUMBA.row[1:], content=b"right")
    assert both(data_dir=str(tmp_path)) == {"validation": rows_of([*VAL, right])}


def list_in_order(monkeypatch, order):
    """Lets the file system list names in ascending (1) or descending order (-1)."""
    scan = clips.scan_split

    def scan_split(data_dir, split):
        return SplitFiles(**{name: sorted(paths)[::order] for name, paths in vars(scan(data_dir, split)).items()})

    monkeypatch.setattr(clips, "scan_split", scan_split)


def with_content(clip, content):
    object.__setattr__(clip, "content", content)  # Clip makes up what is empty
    return clip


# ---- Links to nothing


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
def test_a_link_to_nothing_is_an_absent_clip(tmp_path, layout, caplog):
    absent = Clip("zumba", "absentabsen", 1, 11)
    data_dir = write_tree(tmp_path, layout, clips={"validation": VAL})
    write_annotations(tmp_path / "annotations" / "val.csv", [*VAL, absent], "val")
    if layout == ".tar.gz":
        (data_dir / "val" / "part_2.tar.gz").symlink_to("nowhere")
    else:
        path = data_dir / "val" / ("zumba" if layout == "class folders" else "") / absent.file_name
        path.symlink_to(data_dir / "val" / "nowhere.mp4")
    assert both(data_dir=str(data_dir)) == {"validation": rows_of(VAL)}
    said = "".join(warnings(caplog))
    assert f"missing: 1 ({absent.stem})" in said
    if layout == ".tar.gz":
        assert "part_2.tar.gz'; 0 of its clips are loaded, the others are missing" in said
    else:
        assert f"700 validation: links to nothing are skipped: 1 ({absent.stem})" in said
    with pytest.raises(FileNotFoundError, match=r"absentabsen_000001_000011|part_2\.tar\.gz"):
        load(data_dir=str(data_dir), on_missing="raise")


# ---- Trees in a store


@pytest.fixture
def store(tmp_path):
    """URL of a store, and a function that copies a local folder into it."""
    files = fsspec.filesystem("memory")
    yield "memory://bucket/tree", lambda folder: files.put(f"{folder}/", "/bucket/tree/", recursive=True)
    files.rm("/bucket", recursive=True)


def found_in(url, **options):
    """Return the names and labels of the clips that have a file, by split."""
    tables = dict(clip_tables(Selection("700-2020", **options), url))
    return {
        split: sorted((row["path"].rpartition("/")[2], row["label"]) for row in table.to_pylist() if row["path"])
        for split, table in tables.items()
    }


def named(clips):
    return sorted((clip.file_name, LABELS["700-2020"].index(clip.label)) for clip in clips)


@pytest.mark.parametrize("beside", [[], ["report.json"], ["annotations/notes.csv"]])
@pytest.mark.parametrize("layout", FILE_LAYOUTS)
def test_a_store_without_annotations_is_read_as_a_local_tree_is(tmp_path, layout, beside, store, monkeypatch):
    url, put = store
    tree = write_tree(tmp_path / "tree", layout, clips={"train": CLIPS["train"], "validation": VAL}, annotations=None)
    for name in beside:
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text("{}")
    put(tree)
    # Class folders say what there is; flat clips need the published annotations.
    rows = {"train": [clip.row for clip in CLIPS["train"]], "val": [clip.row for clip in VAL]}
    (tmp_path / "mirror").mkdir()
    write_mirror(tmp_path / "mirror", "700-2020", {}, annotations=rows)
    with FaultServer(tmp_path / "mirror") as mirror:
        monkeypatch.setenv("KINETICS_MIRROR", mirror.url)
        expected = {"train": named(CLIPS["train"]), "validation": named(VAL)}
        assert found_in(url) == found_in(tree) == expected
        assert bool(mirror.requests) == (layout == "flat")


def test_a_store_with_annotations_of_one_split_is_read_as_a_local_tree_is(tmp_path, store):
    url, put = store
    tree = write_tree(tmp_path, clips={"train": CLIPS["train"], "validation": VAL}, annotations=None)
    write_annotations(tree / "annotations" / "train.csv", CLIPS["train"][:3], "train")
    put(tree)
    expected = {"train": named(CLIPS["train"][:3]), "validation": named(VAL)}
    assert found_in(url) == found_in(tree) == expected
    assert found_in(url, splits=iter(["validation"])) == {"validation": named(VAL)}


def test_of_a_clip_that_lies_in_a_store_twice_the_one_with_bytes_counts(tmp_path, store):
    url, put = store
    tree = write_tree(tmp_path, clips={"validation": VAL}, annotations="annotations/{}.csv")
    first = VAL[0]
    (tree / "val" / first.label / first.file_name).write_bytes(b"")
    for folder in ("zumba", "yoga"):
        write_clips(tree / "val" / folder, [first], "flat")
    put(tree)
    for place in (url, tree):
        ((_, table),) = clip_tables(Selection("700-2020"), place)
        (path,) = [row["path"] for row in table.to_pylist() if row["youtube_id"] == first.youtube_id]
        assert path.endswith(f"val/yoga/{first.file_name}")


# ---- Splits without a clip


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
@pytest.mark.parametrize("splits", [None, ["train", "validation"]])
def test_a_split_whose_annotated_clips_are_all_absent_is_left_out_and_named(tmp_path, layout, splits, caplog):
    data_dir = str(write_tree(tmp_path, layout, clips={"train": CLIPS["train"]}))
    write_clips(tmp_path / "val", [Clip("yoga", "unannotated", 1, 11)], layout)
    write_annotations(tmp_path / "annotations" / "val.csv", VAL, "val")
    found = load(data_dir=data_dir, splits=splits)
    assert {split: rows(ds) for split, ds in found.items()} == {"train": rows_of(CLIPS["train"])}
    assert len([message for message in warnings(caplog) if "700 validation: skipped: " in message]) == 1
    with pytest.raises((ValueError, FileNotFoundError), match=r"no clip of kinetics 700 to load: validation: "):
        load(data_dir=data_dir, splits=["validation"])


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_split_without_a_clip_of_the_classes_is_left_out_and_named(tmp_path, layout, streaming, caplog):
    others = [clip for clip in VAL if clip.label != "zumba"]
    data_dir = str(write_tree(tmp_path, layout, clips={"train": CLIPS["train"], "validation": others}))
    found = load(data_dir=data_dir, classes=["zumba"], streaming=streaming)
    of_class = [clip for clip in CLIPS["train"] if clip.label == "zumba"]
    assert {split: rows(ds) for split, ds in found.items()} == {"train": rows_of(of_class)}
    left_out = "kinetics 700 validation: skipped: none of its annotated clips is selected by classes zumba"
    assert warnings(caplog) == [left_out]
    message = "validation: none of its annotated clips is selected by classes zumba. Choose other classes= or splits="
    with pytest.raises(ValueError, match=message):
        load(data_dir=data_dir, classes=["zumba"], splits=["validation"], streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_directory_that_is_no_class_has_nothing_to_load_and_the_error_says_so(tmp_path, streaming):
    (tmp_path / "train" / "foo").mkdir(parents=True)
    (tmp_path / "train" / "foo" / VAL[0].file_name).write_bytes(b"clip")
    with pytest.raises(ValueError, match=r"train: none of its 1 files lies in a directory called like a class \(foo"):
        load(data_dir=str(tmp_path), streaming=streaming)


# ---- Names that are none of a clip


@pytest.mark.parametrize("annotations", [None, "{}.csv"])
def test_misnamed_files_are_skipped_counted_and_named(tmp_path, annotations, caplog):
    data_dir = write_tree(tmp_path, clips={"validation": VAL}, annotations=annotations)
    for name in ("my clip.mp4", "abcdefghijk_1_2.mp4"):
        (data_dir / "val" / "abseiling" / name).write_bytes(b"clip")
    assert both(data_dir=str(data_dir)) == {"validation": rows_of(VAL)}
    assert "unannotated files: 2 (" in warnings(caplog)[0]
    assert "my clip" in warnings(caplog)[0]


@pytest.mark.parametrize("layout", ["class folders", "flat"])
@pytest.mark.parametrize("annotations", [None, "{}.csv"])
def test_names_that_are_no_utf_8_are_skipped_counted_and_named(tmp_path, layout, annotations, caplog):
    if layout == "flat" and annotations is None:
        pytest.skip("nothing would name the class")
    data_dir = write_tree(tmp_path, layout, clips={"validation": VAL}, annotations=annotations)
    folder = os.fsencode(data_dir / "val")
    try:
        os.mkdir(folder + b"/caf\xe9")
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    for name in (b"/bad\xff.mp4", b"/caf\xe9/" + VAL[0].file_name.encode()):
        with open(folder + name, "wb") as file:
            file.write(b"clip")
    if layout == "class folders":
        os.rename(folder + b"/bad\xff.mp4", folder + b"/abseiling/bad\xff.mp4")
    assert both(data_dir=str(data_dir)) == {"validation": rows_of(VAL)}
    assert "files whose names are not UTF-8 are skipped: 2 (" in caplog.text
    assert r"caf\udce9" in warnings(caplog)[0]


@pytest.mark.parametrize("layout", FILE_LAYOUTS)
def test_an_absent_clip_raises_before_a_stream_of_a_tree_begins(tmp_path, layout):
    write_clips(tmp_path / "val", VAL, layout)
    write_annotations(tmp_path / "val.csv", [*VAL, Clip("zumba", "absentabsen", 1, 11)], "val")
    with pytest.raises(FileNotFoundError, match="absentabsen_000001_000011"):
        load(data_dir=str(tmp_path), on_missing="raise", streaming=True)


def test_absent_clips_cannot_raise_in_a_stream_of_archives_and_the_error_says_so(tmp_path):
    data_dir = write_tree(tmp_path, ".tar.gz", clips={"validation": VAL})
    with pytest.raises(ValueError, match="on_missing='raise' cannot stream archives"):
        load(data_dir=str(data_dir), on_missing="raise", streaming=True)


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
@pytest.mark.parametrize("content", ["empty", "truncated"])
def test_clips_that_cannot_be_decoded_pass_through_untouched(tmp_path, layout, content):
    broken = Clip("zumba", "brokenclip0", 1, 11, content=b"\0\0\0\x18ftyp")
    if content == "empty":
        object.__setattr__(broken, "content", b"")
    data_dir = write_tree(tmp_path, layout, clips={"validation": [*VAL[:4], broken, *VAL[4:]]})
    assert both(data_dir=str(data_dir)) == {"validation": rows_of([*VAL, broken])}


def state_of(folder):
    return {path: (path.lstat().st_mtime_ns, path.lstat().st_size) for path in [folder, *folder.rglob("*")]}


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
def test_a_read_only_data_dir_is_enough_and_nothing_in_it_changes(tmp_path, layout):
    data_dir = write_tree(tmp_path / "tree", layout)
    for path in data_dir.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    data_dir.chmod(0o555)
    before = state_of(data_dir)
    assert both(data_dir=str(data_dir)) == {split: rows_of(clips) for split, clips in CLIPS.items()}
    # The superuser writes where the mode forbids it.
    assert state_of(data_dir) == before
    for path in [data_dir, *data_dir.rglob("*")]:
        path.chmod(0o755)


@pytest.mark.parametrize(
    "place", ["replacement", "replacement/replacement_for_corrupted_k400", "replacement_for_corrupted_k400"]
)
@pytest.mark.parametrize("layout", FILE_LAYOUTS)
def test_400_takes_the_extracted_replacements_instead_of_the_clips_they_replace(tmp_path, layout, place):
    clips = CLIPS["train"]
    data_dir = write_tree(tmp_path, layout, clips={"train": clips})
    (tmp_path / place).mkdir(parents=True)
    (tmp_path / place / clips[0].file_name).write_bytes(b"the better clip")
    better = [Clip(*clips[0].row, content=b"the better clip"), *clips[1:]]
    assert both("400", data_dir=str(data_dir)) == {"train": rows_of(better, "400")}
    assert both("700", data_dir=str(data_dir)) == {"train": rows_of(clips, "700")}


@pytest.mark.parametrize("place", ["replacement", "train"])
def test_400_takes_the_replacements_from_their_archive_where_the_public_script_puts_it(tmp_path, place, caplog):
    clips = CLIPS["train"]
    data_dir = write_tree(tmp_path, ".tar.gz", clips={"train": clips})
    (tmp_path / place).mkdir(exist_ok=True)
    name = "replacement_for_corrupted_k400"
    better = [Clip(*clips[5].row, content=b"the better clip"), *clips[:5], *clips[6:]]
    archive = tar_gz({f"{name}/{clips[5].file_name}": better[0].content})
    (tmp_path / place / f"{name}.tgz").write_bytes(archive)
    assert both("400", data_dir=str(data_dir)) == {"train": rows_of(better, "400")}
    assert not [message for message in warnings(caplog) if "several files" in message]


def test_a_replacement_of_a_clip_that_is_not_asked_for_is_not_called_unannotated(tmp_path, caplog):
    clips = CLIPS["train"]
    data_dir = write_tree(tmp_path, ".tar.gz", clips={"train": clips})
    other = next(clip for clip in clips if clip.label != clips[5].label)
    (data_dir / "replacement").mkdir()
    members = {f"{other.youtube_id}_000900_000910.mp4": b"better", f"{'x' * 11}_000000_000010.mp4": b"of no clip"}
    (data_dir / "replacement" / "replacement_for_corrupted_k400.tgz").write_bytes(tar_gz(members))
    asked = [clip for clip in clips if clip.label == clips[5].label]
    assert both("400", data_dir=str(data_dir), classes=[clips[5].label]) == {"train": rows_of(asked, "400")}
    named = {message for message in warnings(caplog) if "unannotated" in message}
    assert named == {f"kinetics 400 train: unannotated members of archives: 1 ({'x' * 11}_000000_000010.mp4)"}


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
def test_400_replaces_one_clip_of_a_video_and_not_its_twin(tmp_path, layout):
    clips = CLIPS["train"]
    twins = clips[-2:]
    assert twins[0].youtube_id == twins[1].youtube_id
    for number, twin in enumerate(twins):
        data_dir = write_tree(tmp_path / str(number), layout, clips={"train": clips})
        (data_dir / "replacement").mkdir()
        if layout == ".tar.gz":
            archive = tar_gz({f"x/{twin.file_name}": b"the better clip"})
            (data_dir / "replacement" / "replacement_for_corrupted_k400.tgz").write_bytes(archive)
        else:
            (data_dir / "replacement" / twin.file_name).write_bytes(b"the better clip")
        better = [Clip(*twin.row, content=b"the better clip"), *(clip for clip in clips if clip is not twin)]
        for _ in range(2):  # then the names of the replacements are known
            assert both("400", data_dir=str(data_dir), on_missing="skip") == {"train": rows_of(better, "400")}


@pytest.mark.parametrize("place", ["", "replacement/"])
def test_400_says_that_an_archive_of_replacements_beside_extracted_clips_is_not_used(tmp_path, place, caplog):
    data_dir = write_tree(tmp_path, clips={"train": CLIPS["train"]})
    path = tmp_path / f"{place}replacement_for_corrupted_k400.tgz"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(tar_gz({CLIPS["train"][0].file_name: b"the better clip"}))
    assert both("400", data_dir=str(data_dir)) == {"train": rows_of(CLIPS["train"], "400")}
    assert f"no clips are replaced, because {path} is not extracted; extract it into" in warnings(caplog)[0]


def test_an_empty_data_dir_is_an_error_that_says_what_it_should_hold(tmp_path):
    (tmp_path / "some").mkdir()
    with pytest.raises(
        FileNotFoundError, match=r"no clips of kinetics 700 in .*it must hold train, val.*it holds some"
    ):
        load(data_dir=str(tmp_path))


def test_a_split_that_is_not_there_names_those_that_are(tmp_path):
    tree = write_tree(tmp_path, clips={"validation": VAL})
    with pytest.raises(FileNotFoundError, match=r"in a directory called test, testing: it has validation$"):
        load(data_dir=tree, split="test")


def test_the_directory_of_a_split_and_prepared_shards_say_what_to_pass_instead(tmp_path):
    val = write_tree(tmp_path / "k700", clips={"validation": VAL}) / "val"
    shards = tmp_path / "prepared"
    (shards / "600").mkdir(parents=True)
    (shards / "README.md").write_text("---\nconfigs:\n---\n")
    for data_dir, hint in (
        (val, f"it is the directory of one split; pass {val.parent}"),
        (shards, f'it holds prepared shards; load them with load_dataset("{shards}", "600")'),
    ):
        for act in (
            lambda path: load(data_dir=path),
            lambda path: load(data_dir=path, splits=["validation"]),
            lambda path: verify("700", path),
            lambda path: list(clip_tables(Selection("700"), path)),
            lambda path: list(clip_tables(Selection("700", splits=["validation"]), path)),
        ):
            with pytest.raises(FileNotFoundError, match=re.escape(hint)):
                act(str(data_dir))


def test_a_data_dir_that_is_none_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data_dir=.*nowhere' .*is not a directory"):
        load(data_dir=str(tmp_path / "nowhere"))


def test_flat_clips_without_annotations_say_which_annotations_are_missing(tmp_path, monkeypatch):
    patience.impatient(monkeypatch, 0.0)
    write_tree(tmp_path, "flat", clips={"validation": VAL}, annotations=None)
    # The published edition is the default; here nothing answers.
    with pytest.raises(OSError, match=r"127\.0\.0\.1:9/"):
        load(data_dir=str(tmp_path), mirror="http://127.0.0.1:9")


def test_a_tree_of_more_clips_than_shards_loses_none(tmp_path):
    clips = clips_of("train", 1500)
    data_dir = write_tree(tmp_path, "flat", clips={"train": clips})
    assert both(data_dir=str(data_dir)) == {"train": rows_of(clips)}
    os.remove(data_dir / "train" / clips[734].file_name)
    assert len(load(data_dir=str(data_dir), split="train")) == 1499
