"""The public archives, from a local mirror of them: what is requested, what comes, what is kept."""

import logging
import re
import socket
from pathlib import Path

import datasets
import pytest

import kinetics  # noqa: F401  (registers the builder)
from kinetics_tools.errors import ArchiveError, ChangedError, RemoteError
from kinetics_tools.io.http import HttpFile
from kinetics_tools.releases import LABELS, RELEASES
from kinetics_tools.sources.mirror import archive_urls
from tests.support import patience
from tests.support.fault_server import Fault, FaultServer
from tests.support.mirror import tar_gz, write_deepmind, write_mirror
from tests.support.trees import (
    CLIPS,
    SHORT,
    Clip,
    load,
    noisy,
    rows,
    rows_of,
    torchvision_folder,
    write_annotations,
    write_public,
)

FOLDERS = {"400": "400", "600": "600", "700": "700_2020", "700-2020": "700_2020"}
DEEPMIND = {"600": "kinetics600", "700": "kinetics700", "700-2020": "kinetics700_2020", "400": "kinetics400"}
VAL = CLIPS["validation"]


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    patience.impatient(monkeypatch, 0.001)


@pytest.fixture
def root(tmp_path):
    (tmp_path / "mirror").mkdir()
    return tmp_path / "mirror"


@pytest.fixture
def mirror(root):
    with FaultServer(root) as mirror:
        yield mirror


def paths(mirror, pattern="*", method="GET"):
    return sorted(request.path for request in mirror.matching(pattern, method))


# ---- Every release


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("streaming", [False, True])
def test_every_split_of_every_release(mirror, root, release, streaming):
    write_public(root, release)
    found = load(release, mirror=mirror.url, streaming=streaming)
    assert list(found) == ["train", "validation", "test"]
    for split, ds in found.items():
        assert rows(ds) == rows_of(CLIPS[split], release)


@pytest.mark.parametrize("streaming", [False, True])
def test_the_environment_names_the_mirror_and_the_argument_wins(mirror, root, streaming, monkeypatch, tmp_path):
    write_public(root, "400")
    monkeypatch.setenv("KINETICS_MIRROR", mirror.url + "/")
    assert rows(load("400", split="validation", streaming=streaming)) == rows_of(VAL, "400")
    (tmp_path / "other").mkdir()
    write_public(tmp_path / "other", "400", {split: clips[:4] for split, clips in CLIPS.items()})
    with FaultServer(tmp_path / "other") as other:
        found = load("400", split="validation", mirror=other.url, streaming=streaming)
        assert rows(found) == rows_of(VAL[:4], "400")


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("split", SHORT)
def test_archive_urls_are_those_of_the_list_at_the_mirror(mirror, root, release, split):
    write_public(root, release)
    base = f"{mirror.url}/kinetics/{FOLDERS[release]}"
    expected = [f"{base}/{SHORT[split]}/part_{number}.tar.gz" for number in (0, 1)]
    if (release, split) == ("400", "train"):
        expected.insert(0, f"{base}/replacement_for_corrupted_k400.tgz")
    assert archive_urls(release, split, mirror=mirror.url) == expected


@pytest.mark.parametrize("split", SHORT)
def test_archive_urls_of_the_official_lists_of_400(shared, mirror, root, split):
    folder = root / "kinetics" / "400" / SHORT[split]
    folder.mkdir(parents=True)
    official = (shared / "annotations" / f"k400_{SHORT[split]}_path.txt").read_text()
    (folder / f"k400_{SHORT[split]}_path.txt").write_text(official)
    urls = archive_urls("400", split, mirror=mirror.url)
    expected = [line.replace("https://s3.amazonaws.com", mirror.url) for line in official.split()]
    assert urls[split == "train" :] == expected
    assert len(expected) == {"train": 242, "validation": 20, "test": 39}[split]


# ---- Annotations


@pytest.mark.parametrize("release", RELEASES)
def test_the_default_edition_of_the_annotations(mirror, root, release):
    write_public(root, release)
    load(release, splits=["validation"], mirror=mirror.url, streaming=True)
    asked = [path for path in paths(mirror) if "annotations" in path or "deepmind" in path]
    if release in ("600", "700"):
        assert asked == [f"/deepmind-media/Datasets/{DEEPMIND[release]}.tar.gz"]
    else:
        assert asked == [f"/kinetics/{FOLDERS[release]}/annotations/val.csv"]


def test_for_600_the_rows_that_the_mirrors_own_file_lacks_are_loaded(mirror, root):
    write_public(root, "600", annotations={"val": [clip.row for clip in VAL[:4]]})
    write_deepmind(root, "600", {"val": [clip.row for clip in VAL]})
    found = load("600", splits=["validation"], mirror=mirror.url, streaming=True)
    assert rows(found["validation"]) == rows_of(VAL, "600")


def test_a_test_set_without_labels(mirror, root):
    write_public(root, "700-2020", annotations={"test": [clip.row[1:] for clip in CLIPS["test"]]})
    for streaming in (False, True):
        found = load("700-2020", splits=["test"], mirror=mirror.url, streaming=streaming)
        assert rows(found["test"]) == rows_of(CLIPS["test"], labels=False)


@pytest.mark.parametrize("edition", ["directory", "file", "URL of a directory", "URL of a file", "URL of a tarball"])
@pytest.mark.parametrize("streaming", [False, True])
def test_other_annotations_replace_the_default_edition(mirror, root, tmp_path, edition, streaming):
    write_public(root, "700-2020")
    path = write_annotations(tmp_path / "other" / "validate.csv", VAL[:5], "validate")
    write_annotations(root / "mine" / "validate.csv", VAL[:5], "validate")
    (root / "mine" / "mine.tar.gz").write_bytes(tar_gz({"x/validate.csv": path.read_bytes()}))
    where = {
        "directory": str(path.parent),
        "file": str(path),
        "URL of a directory": mirror.url + "/mine",
        "URL of a file": mirror.url + "/mine/validate.csv",
        "URL of a tarball": mirror.url + "/mine/mine.tar.gz",
    }[edition]
    found = load("700-2020", splits=["validation"], mirror=mirror.url, annotations=where, streaming=streaming)
    assert rows(found["validation"]) == rows_of(VAL[:5])
    assert not mirror.count("*/annotations/*")
    assert not mirror.count("*/deepmind-media/*")


def test_an_edition_without_the_split_is_an_error_that_says_what_was_tried(mirror, root, tmp_path):
    write_public(root, "700-2020")
    with pytest.raises(FileNotFoundError, match=r"no annotations of the validation split at .*: tried val, validate"):
        load("700-2020", splits=["validation"], mirror=mirror.url, annotations=mirror.url + "/mine")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no annotation file of the validation split in .*empty"):
        load("700-2020", splits=["validation"], mirror=mirror.url, annotations=str(tmp_path / "empty"))


# ---- What is requested and kept


@pytest.mark.parametrize("streaming", [False, True])
def test_one_split_requests_nothing_of_the_others(mirror, root, streaming):
    write_public(root, "700-2020")
    found = load("700-2020", splits=["validation"], mirror=mirror.url, streaming=streaming)
    assert rows(found["validation"]) == rows_of(VAL)
    assert not [path for path in paths(mirror, method=None) if "train" in path or "test" in path]


@pytest.mark.parametrize("release", RELEASES)
def test_a_stream_reads_each_archive_once_and_keeps_nothing_of_them(mirror, root, release, hf_cache):
    clips = {split: noisy(of_split, 50_000) for split, of_split in CLIPS.items()}
    write_public(root, release, clips)
    found = load(release, mirror=mirror.url, streaming=True)
    for split, ds in found.items():
        assert rows(ds) == rows_of(clips[split], release)
    folders = [f"/kinetics/{FOLDERS[release]}/{short}" for short in ("test", "train", "val")]
    expected = [f"{folder}/part_{number}.tar.gz" for folder in folders for number in (0, 1)]
    assert paths(mirror, "*/part_*.tar.gz") == expected
    assert mirror.bytes_sent("*/part_*") == sum(path.stat().st_size for path in root.rglob("part_*.tar.gz"))
    assert sum(path.stat().st_size for path in hf_cache.rglob("*") if path.is_file()) < 50_000


def test_the_first_example_reads_a_part_of_one_archive(mirror, root):
    clips = noisy(VAL, 1_000_000)
    write_public(root, "700-2020", {"validation": clips})
    ds = load("700-2020", split="validation", splits=["validation"], mirror=mirror.url, streaming=True)
    iterator = iter(ds)
    assert next(iterator)["video"]["bytes"] == clips[0].content
    iterator.close()
    assert paths(mirror, "*/part_*") == ["/kinetics/700_2020/val/part_0.tar.gz"]


def test_members_that_are_not_annotated_and_annotated_clips_that_are_absent(mirror, root, caplog):
    caplog.set_level(logging.INFO, logger="datasets.kinetics")
    annotated = [*VAL[:6], Clip("zumba", "absentabsen", 1, 11)]
    write_public(root, "700-2020", {"validation": VAL}, annotations={"val": [clip.row for clip in annotated]})
    for streaming in (True, False):
        ds = load("700-2020", splits=["validation"], mirror=mirror.url, streaming=streaming)
        assert rows(ds["validation"]) == rows_of(VAL[:6])
    messages = [record.getMessage() for record in caplog.records]
    assert any("6 of 7 clips" in text and "absentabsen_000001_000011" in text for text in messages)
    assert any(re.search(r"part_1\.tar\.gz: 3 clips to load", text) for text in messages)
    others = f"unannotated members of archives: 2 ({VAL[6].file_name}, {VAL[7].file_name})"
    assert sum(others in text for text in messages) == 2, "once streamed and once built"


# ---- A bad network

FAULTS = {
    "cut": [Fault("cut", "*/part_*", at=n, times=1, per_path=True) for n in (0, 1, 2, 300, 30_000, 100_000)],
    "reset": [Fault("cut", "*/part_*", at=n, reset=True, times=1, per_path=True) for n in (1, 300, 30_000)],
    "cut in each response": [Fault("cut", "*/part_*", at=20_000, relative=True)],
    "busy": [Fault("status", times=2, per_path=True), Fault("cut", "*/part_*", at=50_000, times=1)],
    "busy with Retry-After": [Fault("status", code=429, retry_after=0, times=1, per_path=True)],
    "no Range": [Fault("cut", "*/part_*", at=50_000, times=1, per_path=True), Fault("ignore_range")],
    "chunked": [Fault("chunked"), Fault("cut", "*/part_*", at=50_000, times=1, per_path=True)],
    "at random": [
        Fault("cut", at=10, relative=True, probability=0.3, seed=1),
        Fault("cut", "*/part_*", at=9_000, relative=True, probability=0.3, seed=2),
        Fault("status", probability=0.2, seed=3),
    ],
}


@pytest.mark.parametrize("faults", FAULTS)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_bad_network_changes_nothing_of_what_comes(root, faults, streaming):
    clips = noisy(VAL, 30_000)
    write_public(root, "700-2020", {"validation": clips})
    with FaultServer(root, faults=FAULTS[faults]) as mirror:
        ds = load("700-2020", splits=["validation"], mirror=mirror.url, streaming=streaming)
        assert rows(ds["validation"]) == rows_of(clips)
        struck = {fault for request in mirror.requests for fault in request.faults}
        assert struck == {fault.kind for fault in FAULTS[faults]}


def test_a_stalled_stream_goes_on(root, monkeypatch):
    monkeypatch.setattr(HttpFile, "timeout_seconds", 0.3)
    clips = noisy(VAL, 30_000)
    write_public(root, "700-2020", {"validation": clips})
    with FaultServer(root, faults=[Fault("stall", "*/part_*", at=20_000, times=1)]) as mirror:
        ds = load("700-2020", split="validation", splits=["validation"], mirror=mirror.url, streaming=True)
        assert rows(ds) == rows_of(clips)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("status", "*/part_1*", code=404), r"part_1\.tar\.gz: HTTP 404"),
        (Fault("status", "*/part_1*", code=403), r"part_1\.tar\.gz: HTTP 403"),
        (Fault("status", "*/part_1*", code=503), r"part_1\.tar\.gz: HTTP 503.*rerun the same command"),
        (Fault("status", "*_path.txt", code=404), r"k700_2020_val_path\.txt: HTTP 404"),
    ],
)
def test_what_cannot_be_mended_is_one_error_that_names_the_archive(root, fault, message):
    clips = noisy(VAL, 30_000)
    write_public(root, "700-2020", {"validation": clips})
    with FaultServer(root, faults=[fault]) as mirror:
        options = {"split": "validation", "splits": ["validation"], "streaming": True, "mirror": mirror.url}
        with pytest.raises(OSError, match=message):
            rows(load("700-2020", **options))


DAMAGE = {
    "cut off": (
        Fault("wrong_length", "*/part_1*", by=-2000),
        r"part_1\.tar\.gz.*: the archive is truncated or corrupt",
    ),
    "flipped": (Fault("corrupt", "*/part_1*", at=100_000), r"part_1\.tar\.gz.*: the archive is truncated or corrupt"),
}


@pytest.mark.parametrize("fault", DAMAGE)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_damaged_archive_is_read_twice_and_then_costs_the_clips_after_the_damage(root, fault, streaming, caplog):
    clips = noisy(VAL, 30_000)
    write_public(root, "700-2020", {"validation": clips})
    options = {"split": "validation", "splits": ["validation"], "streaming": streaming}
    with FaultServer(root, faults=[DAMAGE[fault][0]]) as mirror:
        found = rows(load("700-2020", mirror=mirror.url, **options))
        assert mirror.count("*/part_0*", "GET") == 1
        assert mirror.count("*/part_1*", "GET") == 2
    # How many clips come out of the second archive is up to gzip.
    assert set(rows_of(clips[:3])) <= set(found) < set(rows_of(clips))
    messages = [record.getMessage() for record in caplog.records]
    again, given_up = [text for text in messages if re.search(DAMAGE[fault][1], text)]
    assert again.endswith("reading it again from its start")
    assert "the server's copy is corrupt" in given_up
    assert "delete it" not in given_up
    assert any(f"missing: {len(clips) - len(found)} (" in text for text in messages) is not streaming


@pytest.mark.parametrize("streaming", [False, True])
def test_an_archive_that_was_damaged_on_the_way_loses_nothing(root, streaming, caplog):
    clips = noisy(VAL, 30_000)
    write_public(root, "700-2020", {"validation": clips})
    options = {"split": "validation", "splits": ["validation"], "streaming": streaming}
    with FaultServer(root, faults=[Fault("corrupt", "*/part_*", at=70_000, times=1, per_path=True)]) as mirror:
        assert rows(load("700-2020", mirror=mirror.url, **options)) == rows_of(clips)
        assert mirror.count("*/part_*", "GET") == 4
    assert not [text for text in caplog.messages if "absent" in text or "twice" in text]


def test_an_archive_that_is_shorter_than_announced_does_not_end_a_stream(root, caplog):
    clips = noisy(VAL, 30_000)
    write_public(root, "700-2020", {"validation": clips})
    options = {"split": "validation", "splits": ["validation"], "streaming": True}
    with FaultServer(root, faults=[Fault("wrong_length", "*/part_0*", by=2000)]) as mirror:
        found = rows(load("700-2020", mirror=mirror.url, **options))
    assert set(found) >= set(rows_of(clips[3:]))
    assert "part_0.tar.gz: HTTP 416" in caplog.text


def test_an_archive_that_is_shorter_than_announced_costs_a_load_its_own_clips(root, caplog):
    clips = noisy(VAL, 30_000)
    write_public(root, "700-2020", {"validation": clips})
    with FaultServer(root, faults=[Fault("wrong_length", "*/part_0*", by=2000)]) as mirror:
        options = {"split": "validation", "mirror": mirror.url}
        assert rows(load("700-2020", **options)) == rows_of(clips[3:])
        assert "HTTP 416" in caplog.text
        assert "its clips are missing" in caplog.text
        assert "5 of 8 clips; missing: 3" in caplog.text
        with pytest.raises(ChangedError, match=r"part_0\.tar\.gz"):
            load("700-2020", on_missing="raise", **options)


@pytest.mark.parametrize("num_proc", [None, 2])
def test_a_damaged_archive_raises_where_that_is_asked_for(mirror, root, num_proc):
    write_public(root, "700-2020", {"validation": noisy(VAL, 30_000)})
    mirror.add(DAMAGE["flipped"][0])
    options = {"splits": ["validation"], "mirror": mirror.url, "num_proc": num_proc}
    with pytest.raises(ArchiveError, match=DAMAGE["flipped"][1]):
        load("700-2020", on_missing="raise", **options)


@pytest.mark.parametrize("streaming", [False, True])
def test_a_mirror_or_an_edition_without_all_splits_says_how_to_load_the_others(mirror, root, tmp_path, streaming):
    write_public(root, "700-2020", {"validation": VAL})
    options = {"mirror": mirror.url, "streaming": streaming}
    with pytest.raises(FileNotFoundError, match=r'name them, as in splits=\["validation"\]'):
        load("700-2020", **options)
    write_public(root, "700-2020")
    path = write_annotations(tmp_path / "mine" / "val.csv", VAL, "val")
    with pytest.raises(FileNotFoundError, match=r'train split in .*name them, as in splits=\["validation"\]'):
        load("700-2020", annotations=str(path.parent), **options)


# ---- classes=


def archive_of(label):
    clip = Clip(label, f"{LABELS['600'].index(label) if label in LABELS['600'] else 0:011d}", 1, 11)
    return {clip.file_name: clip.content}, clip


@pytest.mark.parametrize("quoted", [False, True])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_classes_of_600_open_the_archives_that_are_named_after_them(mirror, root, split, quoted):
    wanted = ["zumba", "massaging person's head", "hurling (sport)"]
    parts = {label: archive_of(label)[0] if label in wanted else None for label in LABELS["600"]}
    clips = [archive_of(label)[1] for label in wanted]
    short = SHORT[split]
    rows_of_all = [archive_of(label)[1].row for label in LABELS["600"]]
    write_mirror(root, "600", {short: parts}, annotations={short: rows_of_all}, quoted=quoted)
    options = {"splits": [split], "classes": [torchvision_folder(label) for label in wanted], "mirror": mirror.url}
    for streaming in (True, False):
        mirror.clear(log=True)
        assert rows(load("600", streaming=streaming, **options)[split]) == rows_of(clips, "600")
        opened = paths(mirror, f"/kinetics/600/{short}/*.tar.gz")
        assert opened == sorted(f"/kinetics/600/{short}/{label}.tar.gz" for label in wanted)


def test_classes_of_700_2020_open_the_archives_that_are_numbered_like_them(mirror, root):
    wanted = ["zumba", "abseiling", "hurling (sport)"]
    numbers = [LABELS["700-2020"].index(label) + 1 for label in wanted]
    clips = [Clip(label, f"{number:011d}", 1, 11) for label, number in zip(wanted, numbers, strict=True)]
    parts: dict = {f"k700_train_{number:03d}": None for number in range(1, 701)}
    for clip, number in zip(clips, numbers, strict=True):
        parts[f"k700_train_{number:03d}"] = {clip.file_name: clip.content}
    write_mirror(root, "700-2020", {"train": parts}, annotations={"train": [clip.row for clip in clips]})
    for streaming in (True, False):
        mirror.clear(log=True)
        options = {"splits": ["train"], "classes": wanted, "mirror": mirror.url, "streaming": streaming}
        assert rows(load("700-2020", **options)["train"]) == rows_of(clips)
        opened = paths(mirror, "*/train/*.tar.gz")
        assert opened == sorted(f"/kinetics/700_2020/train/k700_train_{number:03d}.tar.gz" for number in numbers)


@pytest.mark.parametrize(
    ("release", "change"),
    [
        ("600", lambda names: names[:-1]),
        ("600", lambda names: [*names, "extra"]),
        ("600", lambda names: ["no class", *names[1:]]),
        ("700-2020", lambda names: names[:-1]),
        ("700-2020", lambda names: [*names[:1], *names]),
        ("700-2020", lambda names: names[::-1]),
        ("700-2020", lambda names: [*names, "k700_train_701"]),
        ("700", lambda names: names),
    ],
)
def test_all_archives_are_read_where_the_list_is_not_one_a_class(mirror, root, release, change):
    numbered = [f"k700_train_{number:03d}" for number in range(1, 701)]
    names = list(LABELS["600"]) if release == "600" else numbered
    folder = root / "kinetics" / FOLDERS[release] / "train"
    folder.mkdir(parents=True)
    lines = [f"https://s3.amazonaws.com/kinetics/{FOLDERS[release]}/train/{name}.tar.gz\n" for name in change(names)]
    (folder / f"k{FOLDERS[release]}_train_path.txt").write_text("".join(lines))
    assert len(archive_urls(release, "train", classes=["zumba"], mirror=mirror.url)) == len(lines)


def test_classes_of_600_come_from_all_archives_where_one_is_missing_from_the_list(mirror, root):
    # The clip of one class lies in the archive of another.
    clip = Clip("zumba", "abcdefghijk", 1, 11)
    names = [label for label in LABELS["600"] if label != "yoga"]
    parts: dict = {label: {} for label in names}
    parts["abseiling"] = {clip.file_name: clip.content}
    write_mirror(root, "600", {"train": parts}, annotations={"train": [clip.row]})
    ds = load("600", split="train", splits=["train"], classes=["zumba"], mirror=mirror.url, streaming=True)
    assert rows(ds) == rows_of([clip], "600")
    assert mirror.count("/kinetics/600/train/*.tar.gz") == 599


def test_classes_of_400_read_all_archives(mirror, root):
    write_public(root, "400")
    ds = load("400", split="validation", splits=["validation"], classes=["zumba"], mirror=mirror.url, streaming=True)
    assert rows(ds) == rows_of([clip for clip in VAL if clip.label == "zumba"], "400")


# ---- The replacements of 400

TRAIN = CLIPS["train"]
BETTER = [Clip(*clip.row, content=b"better " + clip.content) for clip in (TRAIN[1], TRAIN[5])]
REPLACED = [*BETTER, *(clip for clip in TRAIN if clip not in (TRAIN[1], TRAIN[5]))]


@pytest.mark.parametrize("streaming", [False, True])
def test_replacements_win_and_each_clip_comes_once(mirror, root, streaming):
    write_public(root, "400", {"train": TRAIN}, replacement={clip.file_name: clip.content for clip in BETTER})
    options = {"splits": ["train"], "mirror": mirror.url, "streaming": streaming}
    assert rows(load("400", **options)["train"]) == rows_of(REPLACED, "400")
    # Read for the names of its clips, and for the clips.
    assert mirror.count("*/replacement_*", "GET") <= 2
    assert mirror.count("*/part_0*", "GET") == mirror.count("*/part_1*", "GET") == 1
    assert rows(load("400", **options)["train"]) == rows_of(REPLACED, "400")
    (names,) = Path(datasets.config.DOWNLOADED_DATASETS_PATH).glob("kinetics-replaced-clips-*.json")
    for corrupt in ("[" * 100_000, "{}", "[1]", '["a"'):
        names.write_text(corrupt)
        assert rows(load("400", download_mode="force_redownload", **options)["train"]) == rows_of(REPLACED, "400")


@pytest.mark.parametrize("streaming", [False, True])
def test_other_splits_and_releases_ask_for_no_replacements(mirror, root, streaming):
    write_public(root, "400", replacement={clip.file_name: clip.content for clip in BETTER})
    write_public(root, "700")
    load("400", splits=["validation", "test"], mirror=mirror.url, streaming=streaming)
    load("700", mirror=mirror.url, streaming=streaming)
    assert not mirror.count("*replacement*")


@pytest.mark.parametrize("streaming", [False, True])
def test_a_mirror_without_replacements_says_so_and_gives_the_originals(mirror, root, streaming, caplog):
    write_public(root, "400", {"train": TRAIN}, replacement=None)
    ds = load("400", splits=["train"], mirror=mirror.url, streaming=streaming)["train"]
    assert rows(ds) == rows_of(TRAIN, "400")
    assert any("replace" in record.getMessage() for record in caplog.records)


def test_a_store_that_answers_403_for_what_is_absent_is_read_as_one_that_answers_404(root, tmp_path, caplog):
    write_public(root, "400", {"train": TRAIN}, replacement=None)
    write_annotations(root / "mine" / "training.csv", TRAIN, "train")  # the second spelling
    with FaultServer(
        root, faults=[Fault("status", f"*/{name}", code=403) for name in ("train.csv", "repl*")]
    ) as mirror:
        options = {"split": "train", "mirror": mirror.url}
        assert rows(load("400", annotations=f"{mirror.url}/mine", **options)) == rows_of(TRAIN, "400")
        assert "no clips are replaced, because the mirror does not give" in caplog.text
        with pytest.raises(FileNotFoundError, match=r"HTTP 403 .*: the file does not exist, or you may not read it"):
            load("400", **options)


BAD_LISTS = {
    "a local file": ("{root}/secret.tar.gz\n", "names '/.*secret.tar.gz', which is not an archive on http://127"),
    "a file URL": ("file://{root}/secret.tar.gz\n", "which is not an archive on"),
    "another host": ("{public}/a.tar.gz\nhttp://127.0.0.1:1/b.tar.gz\n", "names 'http://127.0.0.1:1/b.tar.gz', which"),
    "a host that begins alike": ("{url}9/a.tar.gz\n", "which is not an archive on"),
    "no archive": ("{public}/a.txt\n", "which is not an archive on"),
    "a login page": ("<!DOCTYPE html><html>...", "a web page came instead of the file; does this network need a login"),
    "nothing": ("\n\n", "the list names no archive"),
    "no end": ("\n" * ((1 << 24) + 1), r"the list is longer than 16\.8 MB; pass another mirror="),
    "no text": ("\udcff", "which is not an archive on"),
}


@pytest.mark.parametrize("kind", BAD_LISTS)
@pytest.mark.parametrize("streaming", [False, True])
def test_a_list_leads_nowhere_but_to_archives_of_the_mirror(mirror, root, kind, streaming):
    text, message = BAD_LISTS[kind]
    directory = write_public(root, "700-2020", {"validation": VAL})
    (root / "secret.tar.gz").write_bytes(tar_gz({clip.file_name: clip.content for clip in VAL}))
    content = text.format(root=root, url=mirror.url, public="https://s3.amazonaws.com").encode(
        "utf-8", "surrogateescape"
    )
    (directory / "val" / "k700_2020_val_path.txt").write_bytes(content)
    with pytest.raises(RemoteError, match=message):
        load("700-2020", split="validation", mirror=mirror.url, streaming=streaming)


def test_a_login_page_instead_of_annotations_is_named_and_not_kept(mirror, root):
    directory = write_public(root, "700-2020", {"validation": VAL})
    path = directory / "annotations" / "val.csv"
    right = path.read_bytes()
    path.write_bytes(b"\n <html><body>Please log in</body></html>")
    with pytest.raises(RemoteError, match=r"val\.csv: a web page came instead of the file"):
        load("700-2020", split="validation", mirror=mirror.url)
    path.write_bytes(right)
    assert rows(load("700-2020", split="validation", mirror=mirror.url)) == rows_of(VAL)


def test_nothing_is_asked_of_a_server_before_a_stream_is_wanted(mirror, root):
    write_public(root, "700-2020")
    builder = datasets.load_dataset_builder("kinetics", "700-2020", mirror=mirror.url, decode=False)
    assert list(builder.info.splits) == ["train", "validation", "test"]
    assert mirror.requests == []


@pytest.mark.parametrize("streaming", [False, True])
def test_a_replacement_takes_the_place_of_one_clip_of_a_video_and_not_of_its_twin(mirror, root, streaming):
    better = Clip(*TRAIN[7].row, content=b"better " + TRAIN[7].content)
    assert TRAIN[6].youtube_id == better.youtube_id
    write_public(root, "400", {"train": TRAIN}, replacement={better.file_name: better.content})
    options = {"splits": ["train"], "mirror": mirror.url, "streaming": streaming}
    for _ in range(2):
        assert rows(load("400", **options)["train"]) == rows_of([*TRAIN[:7], better], "400")


@pytest.mark.parametrize("streaming", [False, True])
def test_without_a_network_the_error_says_how_to_load_own_clips(streaming):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        mirror = f"http://127.0.0.1:{free.getsockname()[1]}"
    message = r"check your network connection and rerun the same command\. To load your own clips, pass data_dir="
    with pytest.raises(ConnectionError, match=message):
        load("400", mirror=mirror, streaming=streaming)


def test_a_mirror_that_is_no_url_is_an_error_that_says_what_it_must_be():
    with pytest.raises(ValueError, match=r"mirror must be a URL that starts with http:"):
        archive_urls("400", "train", mirror="127.0.0.1:9")
