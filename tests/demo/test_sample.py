"""The sample against what the public releases look like, read by other means than the code that makes it."""

import csv
import gzip
import io
import json
import re
import tarfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

import kinetics
from kinetics_tools.annotations.read import read_annotations
from kinetics_tools.demo import make_sample
from kinetics_tools.demo import sample as sample_module
from kinetics_tools.media import ClipError, decode
from kinetics_tools.releases import LABELS, RELEASES, SPLITS

SECONDS = 1
FILE_NAME = re.compile(r"([A-Za-z0-9_-]{11})_(\d{6})_(\d{6})\.mp4")
ANNOTATIONS = {
    "400": {"train": "train", "validation": "val", "test": "test"},
    "600": {"train": "train", "validation": "validate", "test": "test"},
    "700": {"train": "train", "validation": "validate", "test": "test"},
    "700-2020": {"train": "train", "validation": "validate", "test": "test"},
}
FOLDERS = {"train": "train", "validation": "val", "test": "test"}
EVERY_SPLIT = [(release, split) for release in RELEASES for split in SPLITS]


@pytest.fixture
def sample(demo_sample):
    assert make_sample(demo_sample, seconds=SECONDS) == {release: demo_sample / release for release in RELEASES}
    return demo_sample


def clips_of(sample, release, split):
    """{file name: bytes} of a split, wherever its layout keeps them."""
    folder = sample / release / FOLDERS[split]
    clips = {path.name: path.read_bytes() for path in folder.rglob("*.mp4")}
    for path in folder.glob("*.tar.gz"):
        with tarfile.open(path) as archive:
            clips |= {member.name: archive.extractfile(member).read() for member in archive}
    return clips


def rows_of(sample, release, split):
    path = sample / release / "annotations" / f"{ANNOTATIONS[release][split]}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def row_file(row):
    return f"{row['youtube_id']}_{int(row['time_start']):06d}_{int(row['time_end']):06d}.mp4"


def labels_of(sample, release, split):
    """{file name: label} of a split, also where its own edition does not tell: 400 lists the labels of all."""
    listed = {row_file(row): row["label"] for name in kinetics.SPLITS for row in rows_of(sample, "400", name)}
    return {name: listed[name] for name in clips_of(sample, release, split) if name in listed}


def snapshot(folder):
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in sorted(folder.rglob("*"))
    }


# ---- Layout ---------------------------------------------------------------------------------------------------


def test_400_is_laid_out_as_downloaded_archives(sample):
    files = {path.relative_to(sample / "400").as_posix() for path in (sample / "400").rglob("*") if path.is_file()}
    assert files == {
        "annotations/train.csv",
        "annotations/val.csv",
        "annotations/test.csv",
        "train/part_0.tar.gz",
        "train/part_1.tar.gz",
        "val/part_0.tar.gz",
        "test/part_0.tar.gz",
    }
    for path in (sample / "400").rglob("*.tar.gz"):
        assert path.read_bytes()[4:8] == bytes(4), "a time stamp in the gzip header"
        with tarfile.open(path) as archive:
            assert all(member.isfile() and (member.mtime, member.uid, member.uname) == (0, 0, "") for member in archive)


def test_600_is_laid_out_as_extracted_archives(sample):
    assert {path.name for path in (sample / "600").iterdir()} == {"annotations", "train", "val", "test"}
    for folder in FOLDERS.values():
        assert all(path.is_file() for path in (sample / "600" / folder).iterdir())


@pytest.mark.parametrize("release", ["700", "700-2020"])
def test_700_is_laid_out_by_class(sample, release):
    names = {
        "abseiling": "abseiling",
        "bouncing on trampoline": "bouncing_on_trampoline",
        "massaging person's head": "massaging_persons_head",
        "petting animal (not cat)": "petting_animal_not_cat",
        "shooting goal (soccer)": "shooting_goal_soccer",
        "spinning poi": "spinning_poi",
    }
    expected = set(names.values() if release == "700" else names)
    for split in ("train", "validation"):
        folder = sample / release / FOLDERS[split]
        assert {path.name for path in folder.iterdir()} == expected
        for name, label in labels_of(sample, release, split).items():
            assert (folder / (names[label] if release == "700" else label) / name).is_file()
    assert all(path.is_file() for path in (sample / release / "test").iterdir())


def test_every_class_is_in_every_release(sample):
    labels = {row["label"] for row in rows_of(sample, "700", "train")}
    assert len(labels) == 6
    for release in RELEASES:
        assert labels <= set(LABELS[release])


@pytest.mark.parametrize(("release", "split"), EVERY_SPLIT)
def test_file_names_are_keys_of_clips(sample, release, split):
    for name in clips_of(sample, release, split):
        start, end = map(int, FILE_NAME.fullmatch(name).groups()[1:])
        assert end - start == SECONDS


# ---- Annotations ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("release", "split"), EVERY_SPLIT)
def test_annotations_are_bytes_of_the_public_form(sample, release, split):
    stem = ANNOTATIONS[release][split]
    content = (sample / release / "annotations" / f"{stem}.csv").read_bytes()
    header, *lines = content.decode("ascii").split("\n")
    times = r"[A-Za-z0-9_-]{11},\d{1,3},\d{1,3}"
    if release == "400":
        assert header == "label,youtube_id,time_start,time_end,split,is_cc"
        line = rf'(\w+|"[^",]+ [^",]+"),{times},{stem},[01]'  # CVDF quotes labels of several words
    elif split == "test":
        assert header == "youtube_id,time_start,time_end,split"
        line = rf"{times},test"
    else:
        assert header == "label,youtube_id,time_start,time_end,split"
        line = rf"[^\",]+,{times},{stem}"
    assert lines.pop() == "", "the last line must end, too"
    assert b"\r" not in content
    assert all(re.fullmatch(line, text) for text in lines)


@pytest.mark.parametrize("split", kinetics.SPLITS)
def test_json_says_what_the_csv_says(sample, split):
    rows = {row["youtube_id"]: row for row in rows_of(sample, "600", split)}  # JSON has room for one a video
    path = sample / "600" / "annotations" / f"{ANNOTATIONS['600'][split]}.json"
    entries = json.loads(path.read_text(encoding="utf-8"))
    assert list(entries) == list(rows)
    for youtube_id, entry in entries.items():
        row = rows[youtube_id]
        annotations = {"segment": [float(row["time_start"]), float(row["time_end"])]}
        if split != "test":
            annotations["label"] = row["label"]
        assert entry == {
            "annotations": annotations,
            "duration": float(SECONDS),
            "subset": row["split"],
            "url": f"https://www.youtube.com/watch?v={youtube_id}",
        }


def test_kinetics_reads_the_annotations(sample):
    for release, split in EVERY_SPLIT:
        path = sample / release / "annotations" / f"{ANNOTATIONS[release][split]}.csv"
        table = read_annotations(path)
        assert set(table["split"].to_pylist()) == {split}
        assert table["youtube_id"].to_pylist() == [row["youtube_id"] for row in rows_of(sample, release, split)]


# ---- Faults, as in reality ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("split", "clips", "without_clip", "without_row"),
    [("train", 37, 2, 1), ("validation", 18, 1, 0), ("test", 12, 1, 0)],
)
@pytest.mark.parametrize("release", kinetics.RELEASES)
def test_some_rows_have_no_clip_and_one_clip_has_no_row(sample, release, split, clips, without_clip, without_row):
    files = set(clips_of(sample, release, split))
    rows = [row_file(row) for row in rows_of(sample, release, split)]
    assert len(rows) == len(set(rows))
    assert len(files) == clips
    assert len(set(rows) - files) == without_clip
    assert len(files - set(rows)) == without_row
    per_class = Counter(labels_of(sample, release, split).values())
    assert set(per_class.values()) == {{"train": 6, "validation": 3, "test": 2}[split]}


@pytest.mark.parametrize("release", kinetics.RELEASES)
def test_one_clip_of_train_does_not_open_for_want_of_its_index(sample, release):
    broken = []
    for split in SPLITS:
        for name, content in clips_of(sample, release, split).items():
            try:
                av.open(io.BytesIO(content)).close()
            except av.error.InvalidDataError:
                broken.append((split, name))
                assert b"ftyp" in content[:16]
                assert b"moov" not in content
                with pytest.raises(ClipError):
                    decode(content, [0])
    assert [split for split, _ in broken] == ["train"]
    assert broken[0][1] in labels_of(sample, release, "train")


@pytest.mark.parametrize("release", kinetics.RELEASES)
def test_one_video_has_two_clips_with_different_labels(sample, release):
    labels = labels_of(sample, release, "train")
    of_video = {}
    for name, label in labels.items():
        of_video.setdefault(name[:11], []).append(label)
    assert [sorted(names) for names in of_video.values() if len(names) > 1] == [["abseiling", "spinning poi"]]


@pytest.mark.parametrize("release", kinetics.RELEASES)
def test_some_ids_begin_with_a_dash(sample, release):
    assert any(row["youtube_id"].startswith("-") for row in rows_of(sample, release, "train"))


def test_releases_share_clips_across_splits(sample):
    clips = {key: clips_of(sample, *key) for key in EVERY_SPLIT}
    everything = {}
    for key in EVERY_SPLIT:
        for name, content in clips[key].items():
            assert everything.setdefault(name, content) == content
    assert clips["400", "train"] == clips["600", "train"]
    assert len(set(clips["600", "validation"]) & set(clips["700", "train"])) == 6
    assert len(set(clips["600", "validation"]) & set(clips["700", "validation"])) == 12
    for release in RELEASES:
        names = [name for split in SPLITS for name in clips[release, split]]
        assert len(names) == len(set(names)), "a leak within a release"


# ---- Clips ----------------------------------------------------------------------------------------------------


def test_clips_are_kinetics_like(sample):
    rates = Counter()
    for name, content in clips_of(sample, "600", "validation").items():
        with av.open(io.BytesIO(content)) as container:
            video, audio = container.streams
            assert (video.codec_context.name, video.pix_fmt) == ("h264", "yuv420p"), name
            assert (video.width, video.height) == (340, 256), name
            assert video.duration * video.time_base == SECONDS, name
            assert (audio.codec_context.name, audio.rate, audio.channels) == ("aac", 44_100, 1), name
            assert float(audio.duration * audio.time_base) == pytest.approx(SECONDS, abs=0.05), name
            frames = sum(1 for _ in container.decode(video=0))
        assert frames == SECONDS * video.average_rate, name
        rates[int(video.average_rate)] += 1
    assert set(rates) == {25, 30}


def features_of(content):
    """The mean colour of a clip and the loudest pitch of its sound in octaves."""
    with av.open(io.BytesIO(content)) as container:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    pitch_hz = np.argmax(np.abs(np.fft.rfft(samples, n=441_000))) * 44_100 / 441_000
    return decode(content, [3, 9, 15, 21]).mean(axis=(0, 1, 2)), np.log2(pitch_hz)


def test_classes_differ_in_sight_and_sound(sample):
    """A classifier that knows one clip a class tells all other clips by colour alone, and by pitch alone."""
    labels = labels_of(sample, "600", "validation")
    features = {name: features_of(content) for name, content in clips_of(sample, "600", "validation").items()}
    known = {label: features[name] for name, label in labels.items()}
    for name, label in labels.items():
        colour, pitch = features[name]
        assert min(known, key=lambda other: np.linalg.norm(known[other][0] - colour)) == label, name
        assert min(known, key=lambda other: abs(known[other][1] - pitch)) == label, name


def test_clips_of_a_class_differ_and_move(sample):
    by_class = {}
    contents = clips_of(sample, "600", "validation")
    for name, label in labels_of(sample, "600", "validation").items():
        frames = decode(contents[name], [6, 18]).astype(float)
        assert np.abs(frames[0] - frames[1]).max() > 100, f"{name} stands still"
        by_class.setdefault(label, []).append(frames[0])
    for label, first_frames in by_class.items():
        for one, other in pairwise(first_frames):
            assert np.abs(one - other).max() > 50, label


# ---- Made once, made again ------------------------------------------------------------------------------------


def test_a_second_call_does_nothing(sample):
    before = snapshot(sample)
    make_sample(sample, seconds=SECONDS)
    assert snapshot(sample) == before
    assert ".clips" not in {path.name for path in sample.iterdir()}


def test_the_same_seed_makes_the_same_files_and_a_partial_sample_is_remade(sample, tmp_path):
    def contents(folder):
        return {
            path.relative_to(folder): gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }

    # What an interrupt leaves: a pool of clips, half an archive, and no word that it is complete.
    out = tmp_path / "out"
    for path in (out / ".clips" / "half.mp4", out / "400" / "train" / "part_0.tar.gz"):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"half")
    (out / ".kinetics-demo.json").write_text("")
    (out / "notes.txt").write_text("mine")
    make_sample(out, releases=["400"], seconds=SECONDS)
    assert {path.name for path in out.iterdir()} == {".kinetics-demo.json", "400", "notes.txt"}
    assert (out / "notes.txt").read_text() == "mine"
    assert contents(out / "400") == contents(sample / "400")


def test_other_settings_make_another_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(sample_module, "_render", lambda clip, folder: (folder / clip.file_name).touch())
    make_sample(tmp_path / "out", releases=["600", "700"], seed=1)
    one = set(clips_of(tmp_path / "out", "600", "train"))
    make_sample(tmp_path / "out", releases=["600"], seed=2)
    other = set(clips_of(tmp_path / "out", "600", "train"))
    assert len(one) == len(other) == 37
    assert not one & other
    assert not (tmp_path / "out" / "700").exists()


def test_a_failure_leaves_a_sample_that_is_remade(tmp_path, monkeypatch):
    def fail(clip, folder):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(sample_module, "_render", fail)
        with pytest.raises(OSError, match="No space left"):
            make_sample(tmp_path / "out", releases=["600"])
    monkeypatch.setattr(sample_module, "_render", lambda clip, folder: (folder / clip.file_name).touch())
    make_sample(tmp_path / "out", releases=["600"])
    assert len(clips_of(tmp_path / "out", "600", "train")) == 37


def test_without_hard_links_clips_are_copied(tmp_path, monkeypatch):
    def refuse(self, target):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    monkeypatch.setattr(sample_module, "_render", lambda clip, folder: (folder / clip.file_name).touch())
    make_sample(tmp_path / "out", releases=["700"])
    assert len(clips_of(tmp_path / "out", "700", "train")) == 37


def test_a_folder_of_somebody_else_is_refused_and_kept(tmp_path):
    (tmp_path / "700").mkdir()
    (tmp_path / "700" / "clip.mp4").write_bytes(b"mine")
    before = snapshot(tmp_path)
    with pytest.raises(FileExistsError, match="has other content; choose a new or empty directory"):
        make_sample(tmp_path)
    assert snapshot(tmp_path) == before


def test_an_unknown_release_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"unknown release '800'.*\(valid: 400, 600, 700, 700-2020\)"):
        make_sample(tmp_path / "out", releases=["800"])
    assert not (tmp_path / "out").exists()
