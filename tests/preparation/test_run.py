"""Trees of real clips, prepared: what the shards hold, that the same bytes come out of every way to make them."""

import contextlib
import csv
import functools
import io
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import datasets
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from typer.testing import CliRunner

import kinetics
from kinetics_tools.annotations import Selection
from kinetics_tools.cli.app import app
from kinetics_tools.io.folder import Folder
from kinetics_tools.media import Encoding, write_clip
from kinetics_tools.preparation import clip as intake
from kinetics_tools.preparation import run as module
from kinetics_tools.preparation.clip import Dropped, take
from kinetics_tools.preparation.manifest import LOCK_NAME, Report, SplitReport
from kinetics_tools.preparation.options import PrepareOptions
from kinetics_tools.preparation.parquet import ShardReport, read_report
from kinetics_tools.preparation.plan import plan_shards
from kinetics_tools.preparation.run import Job, prepare
from tests.support.clients import KINETICS, ROOT, run_program
from tests.support.prepared import write_prepared
from tests.support.trees import Clip, write_annotations, write_clips, write_tree

LABELS = ("abseiling", "massaging person's head", "hurling (sport)", "zumba")
ROWS = 30
FAST = Encoding(preset="ultrafast")


def clip_bytes(folder, number, *, frames=9):
    """A clip of its own for each number: noise on a ramp, 15 frames a second."""
    rng = np.random.default_rng(number)
    images = rng.integers(0, 256, (frames, 48, 64, 3), np.uint8) // 4 + np.arange(64, dtype=np.uint8)[:, None] * 2
    path = folder / f"{number}.mp4"
    write_clip(path, images, fps=15)
    return path.read_bytes()


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    return [
        Clip(LABELS[number % 4], f"-{number:010d}", number, number + 10, content=clip_bytes(folder, number))
        for number in range(ROWS)
    ]


@pytest.fixture(scope="session")
def tree(clips, tmp_path_factory):
    """30 annotated clips: of these one is absent, one empty, one text and one cut off; one more is not annotated."""
    root = write_tree(tmp_path_factory.mktemp("tree") / "k700", clips={"validation": clips})
    paths = [root / "val" / clip.label / clip.file_name for clip in clips]
    paths[3].unlink()
    paths[4].write_bytes(b"")
    paths[5].write_text("no video")
    paths[6].write_bytes(clips[6].content[: len(clips[6].content) // 2])
    (paths[0].parent / "_bcdefghijk_000000_000010.mp4").write_bytes(clips[0].content)
    return root


BAD = {3: "absent", 4: "empty", 5: "unreadable", 6: "unreadable"}


def run(tree, out, **options):
    return prepare("700", tree, out, **{"encoding": FAST, "clips_per_shard": 4, "workers": 2, **options})


def files_of(out):
    """What a folder holds but for the lock."""
    paths = [path for path in Path(out).rglob("*") if path.is_file() and path.name != LOCK_NAME]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in paths}


def shards_of(out):
    return {name: content for name, content in files_of(out).items() if name.endswith(".parquet")}


def rows_of(out):
    """By file name, in the order of the shards."""
    tables = [pq.read_table(path) for path in sorted(Path(out).rglob("*.parquet"))]
    return {row["video"]["path"]: row for table in tables for row in table.to_pylist()}


@pytest.fixture(scope="session")
def prepared(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("prepared")
    assert run(tree, out).is_complete
    return out


# ---- What is in the rows


def test_source_keeps_the_bytes_of_each_clip_and_names_each_that_is_none(tree, clips, tmp_path):
    report = run(tree, tmp_path, profile="source", encoding=None)
    rows = rows_of(tmp_path)
    good = [clip for number, clip in enumerate(clips) if number not in BAD]
    assert {name: row["video"]["bytes"] for name, row in rows.items()} == {
        clip.file_name: clip.content for clip in good
    }
    for clip in good:
        row = dict(rows[clip.file_name])
        row.pop("video")
        label = LABELS["700"].index(clip.label)
        times = {"time_start": clip.time_start, "time_end": clip.time_end}
        measured = {"num_frames": 9, "width": 64, "height": 48, "has_audio": False, "fps": 15}
        assert row.pop("duration") == pytest.approx(9 / 15)
        assert row == {"label": label, "youtube_id": clip.youtube_id, **times, **measured}
    split = report.splits["validation"]
    assert (split.clips, split.rows, split.dropped) == (30, 26, {"absent": 1, "empty": 1, "unreadable": 2})
    assert split.bytes_in == split.bytes_out == sum(len(clip.content) for clip in good)
    named = {}
    for name, content in shards_of(tmp_path).items():
        for one in read_report(io.BytesIO(content)).dropped:
            named[one.name] = one.reason
            assert str(tree) not in one.detail, name
    assert named == {clips[number].stem: reason for number, reason in BAD.items()}


def test_train_gives_what_the_encoding_says_and_measures_that(prepared, clips, tmp_path):
    rows = rows_of(prepared)
    assert len(rows) == 26
    row = rows[clips[0].file_name]
    with av.open(io.BytesIO(row["video"]["bytes"])) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert (len(frames), *frames[0].shape) == (row["num_frames"], row["height"], row["width"], 3)
    with av.open(io.BytesIO(clips[0].content)) as container:
        source = [frame.to_ndarray(format="rgb24").astype(int) for frame in container.decode(video=0)]
    # Frame i is nearer to the source's frame i than to any other.
    for index, frame in enumerate(frames):
        errors = [np.abs(frame - other).mean() for other in source]
        assert int(np.argmin(errors)) == index


def test_rows_are_in_the_order_of_a_hash_whatever_is_there(prepared, tree, clips):
    """The order of `sha256(f"{seed}:{name}")`, with seed 0, over all annotated clips."""
    import hashlib

    good = [clip.stem for number, clip in enumerate(clips) if number not in BAD]
    order = sorted(good, key=lambda stem: hashlib.sha256(f"0:{stem}".encode()).digest())
    assert [Path(name).stem for name in rows_of(prepared)] == order


def test_the_settings_are_those_of_datasets_for_video(prepared):
    path = sorted(Path(prepared).rglob("*.parquet"))[0]
    metadata = pq.ParquetFile(path).metadata
    columns = {metadata.row_group(0).column(i).path_in_schema: metadata.row_group(0).column(i) for i in range(12)}
    video = columns["video.bytes"]
    assert (video.compression, set(video.encodings)) == ("UNCOMPRESSED", {"PLAIN", "RLE"})
    assert columns["youtube_id"].compression == "SNAPPY"
    assert video.has_column_index or video.has_offset_index
    features = datasets.Features.from_arrow_schema(pq.read_schema(path))
    assert features["video"]._type == "Video"
    assert features["label"].names == list(kinetics.LABELS["700"])


def test_row_groups_are_cut_by_size(tmp_path, monkeypatch):
    from kinetics_tools.preparation import parquet as shard_file

    monkeypatch.setattr(shard_file, "_ROW_GROUP_BYTES", 1000)
    rest = {"label": 0, "youtube_id": "abcdefghijk", "time_start": 0.0, "time_end": 10.0, "duration": 10.0, "fps": 25.0}
    rest |= {"num_frames": 250, "width": 340, "height": 256, "has_audio": True}
    features = shard_file.prepared_features("700")
    with open(tmp_path / "x.parquet", "wb") as file, shard_file.ShardWriter(file, features) as writer:
        for size in (400, 600, 1, 5000, 300):
            writer.add({"video": {"bytes": bytes(size), "path": "x.mp4"}, **rest})
    metadata = pq.ParquetFile(tmp_path / "x.parquet").metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [2, 1, 1, 1]


def summary_of(out):
    return json.loads((out / "700" / "prepare.json").read_text())["splits"]["validation"]


def test_prepare_json_says_what_was_asked_for_and_names_each_clip_that_is_not_there(prepared, tree, clips, tmp_path):
    whole = {"seed": 0, "clips_per_shard": 4, "annotations": "val.csv", "annotated": 30, "wanted": 30}
    assert summary_of(prepared)["basis"] == whole
    assert summary_of(prepared)["absent"] == [clips[3].stem]
    assert f'"absent": ["{clips[3].stem}"],\n' in (prepared / "700" / "prepare.json").read_text()
    assert [one["name"] for one in summary_of(prepared)["unusable"]] != []
    run(tree, tmp_path, profile="source", encoding=None, classes=["Zumba", "hurling_(sport)"], seed=5)
    chosen = [clip for clip in clips if clip.label in ("zumba", "hurling (sport)")]
    assert summary_of(tmp_path)["basis"] == {
        **whole,
        "classes": ["zumba", "hurling (sport)"],
        "seed": 5,
        "wanted": len(chosen),
    }
    card = (tmp_path / "README.md").read_text()
    assert "700 validation has 2 of 700 classes: zumba, hurling (sport)." in card


def test_without_annotations_it_is_said_that_nobody_knows_what_is_missing(clips, tmp_path):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]}, annotations=None)
    run(tree, tmp_path / "out", profile="source", encoding=None)
    assert summary_of(tmp_path / "out")["basis"]["annotations"] is None
    assert "made without annotations" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("given", ["a file", "a folder"])
def test_annotations_are_named_without_folders_of_this_machine(clips, tmp_path, given):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]}, annotations=None)
    path = write_annotations(tmp_path / "mine" / "validate.csv", clips[7:15], "validate")
    annotations = str(path if given == "a file" else path.parent)
    run(tree, tmp_path / "out", profile="source", encoding=None, annotations=annotations)
    assert summary_of(tmp_path / "out")["basis"]["annotations"] == "validate.csv"
    assert str(tmp_path) not in (tmp_path / "out" / "700" / "prepare.json").read_text()


def test_annotations_of_a_url_are_named_without_what_gives_access(clips, tmp_path, monkeypatch):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]}, annotations=None)
    path = write_annotations(tmp_path / "val.csv", clips[7:15], "val")
    monkeypatch.setattr(kinetics, "annotation_file", lambda *_, **__: str(path))
    url = "https://user:secret@example.org/k700/val.csv?signature=secret"
    run(tree, tmp_path / "out", profile="source", encoding=None, annotations=url)
    assert summary_of(tmp_path / "out")["basis"]["annotations"] == "https://example.org/k700/val.csv"


# ---- datasets alone reads it


ALONE = """
import sys, json
sys.path = [path for path in sys.path if path != {here!r}]
import datasets
name, out = sys.argv[1:]
found = {{}}
for streaming in (True, False):
    for data in (name, out):
        ds = datasets.load_dataset(data, "700", split="validation", streaming=streaming)
        ds = ds.cast_column("video", datasets.Video(decode=False))
        found[f"{{streaming}} {{data == name}}"] = [[row["video"]["path"], row["label"]] for row in ds]
assert "kinetics" not in sys.modules and "kinetics_tools" not in sys.modules
print(json.dumps(found))
"""


def test_plain_datasets_loads_and_streams_it(prepared, tmp_path):
    (tmp_path / "kinetics").symlink_to(prepared)
    code = ALONE.format(here=str(ROOT))
    env = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    printed = run_program(code, "kinetics", prepared, cwd=tmp_path, env=env)
    expected = [[name, row["label"]] for name, row in rows_of(prepared).items()]
    assert len(expected) == 26
    assert json.loads(printed.splitlines()[-1]) == dict.fromkeys(
        ("True True", "True False", "False True", "False False"), expected
    )


def test_kinetics_loads_it_too_when_the_folder_is_called_so(prepared, tmp_path, monkeypatch):
    (tmp_path / "kinetics").symlink_to(prepared)
    monkeypatch.chdir(tmp_path)
    ds = datasets.load_dataset("kinetics", "700", split="validation", streaming=True)
    assert len(list(ds.cast_column("video", datasets.Video(decode=False)))) == 26


def test_torchcodec_decodes_every_row(prepared, torchcodec):
    for row in datasets.load_dataset(str(prepared), "700", split="validation", streaming=True):
        assert row["video"].metadata.num_frames == row["num_frames"] == len(row["video"][:])


# One file at a time: where `datasets` would read ten at once, it has that option.
ONE_FILE = {"max_buffer_input_shards": 1} if datasets.__version__ >= "5" else {}


def shuffled(prepared, epoch, **options):
    ds = datasets.load_dataset(str(prepared), "700", split="validation", streaming=True)
    ds = ds.cast_column("video", datasets.Video(decode=False)).select_columns(["youtube_id"])
    ds = ds.shuffle(seed=3, buffer_size=1, **options)
    ds.set_epoch(epoch)
    return ds


def ids_of(examples):
    return [row["youtube_id"] for row in examples]


@pytest.mark.skipif(datasets.__version__ < "4", reason="datasets 3 loses the one row in its buffer")
@pytest.mark.parametrize("options", [{}, ONE_FILE] if ONE_FILE else [{}])
def test_a_shuffled_stream_resumes_exactly(prepared, options, monkeypatch):
    # `datasets` sleeps so long at the end of each stream, for threads of older Arrow.
    monkeypatch.setattr(datasets.config, "SLEEP_TIME_ON_THREADS_SHUTDOWN", 0, raising=False)
    stream = functools.partial(shuffled, prepared, **options)
    whole = ids_of(stream(1))
    assert whole != ids_of(stream(0))
    assert sorted(whole) == sorted(ids_of(stream(0))) != whole
    for position in (1, 7, 13, 25):
        ds, again = stream(1), stream(1)
        rows = iter(ds)
        assert ids_of(itertools.islice(rows, position)) == whole[:position]
        again.load_state_dict(ds.state_dict())
        assert ids_of(again) == whole[position:]


def test_a_shuffled_stream_resumes_exactly_on_nodes_with_workers(prepared, torchdata):
    from datasets.distributed import split_dataset_by_node

    def loader(node):
        ds = split_dataset_by_node(shuffled(prepared, 1, **ONE_FILE), rank=node, world_size=3)
        return torchdata.stateful_dataloader.StatefulDataLoader(ds, batch_size=None, num_workers=2)

    seen = Counter()
    for node in range(3):
        whole = ids_of(loader(node))
        for position in (1, len(whole) // 2, len(whole) - 1):
            stopped = loader(node)
            assert ids_of(itertools.islice(stopped, position)) == whole[:position]
            again = loader(node)
            again.load_state_dict(stopped.state_dict())
            assert ids_of(again) == whole[position:]
        seen.update(whole)
    assert seen == Counter(ids_of(shuffled(prepared, 1, **ONE_FILE)))


# ---- One way or another


def test_the_bytes_do_not_depend_on_workers_nor_on_who_makes_which_shard(prepared, tree, tmp_path):
    parts = tmp_path / "parts"
    for begin in (6, 0, 3):
        report = run(tree, parts, workers=1, shards=(begin, begin + 3))
        # Not in the card before it is whole.
        assert (parts / "README.md").exists() == report.is_complete == (begin == 3)
    whole = tmp_path / "whole"
    run(tree, whole, workers=3)
    assert files_of(parts) == files_of(whole) == files_of(prepared)


def test_finished_shards_stay_and_the_others_are_made(prepared, tree, tmp_path):
    run(tree, tmp_path)
    paths = sorted(tmp_path.rglob("*.parquet"))
    paths[0].unlink()
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[: len(content) // 2])
    (tmp_path / "README.md").unlink()
    killed = paths[0].with_name(f".{paths[0].name}.a-host-123.tmp")
    killed.write_bytes(b"half")
    before = {path: path.stat().st_mtime_ns for path in paths[2:]}
    assert run(tree, tmp_path).made == 2
    assert {path: path.stat().st_mtime_ns for path in paths[2:]} == before
    assert files_of(tmp_path) == files_of(prepared)
    assert run(tree, tmp_path).made == 0


def damaged_footer(content):
    """A file whose footer is as long as it says, and of which Arrow cannot make sense."""
    length = int.from_bytes(content[-8:-4], "little")
    return content[: -8 - length] + b"\x0e" * length + content[-8:]


def test_a_file_with_a_damaged_footer_is_made_again(prepared, tree, tmp_path):
    run(tree, tmp_path)
    path = sorted(tmp_path.rglob("*.parquet"))[3]
    path.write_bytes(damaged_footer(path.read_bytes()))
    with pytest.raises(OSError, match="thrift"):
        pq.read_metadata(path)
    assert run(tree, tmp_path).made == 1
    assert files_of(tmp_path) == files_of(prepared)


def test_a_file_that_cannot_be_read_is_not_taken_for_a_damaged_one(tmp_path):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            raise OSError("the store is busy")

    with pytest.raises(OSError, match="the store is busy"):
        read_report(Broken(bytes(1000)))


def test_clips_that_come_later_are_named_with_how_to_take_them_in(clips, tmp_path):
    tree, out = write_tree(tmp_path / "tree", clips={"validation": clips[7:27]}), tmp_path / "out put"
    came = [tree / "val" / clip.label / clip.file_name for clip in clips[7:11]]
    came[0].unlink()
    came[1].write_bytes(b"")
    came[2].unlink()
    came[3].write_bytes(b"")
    given = {"profile": "source", "encoding": None}
    assert run(tree, out, **given).late == ()
    came[0].write_bytes(clips[7].content)
    came[1].write_bytes(clips[8].content)
    came[2].write_bytes(b"")
    again = run(tree, out, **given)
    assert sorted(one.name for one in again.late) == [clips[7].stem, clips[8].stem]
    came[2].unlink()
    lines = again.lines()
    assert lines[0] == "nothing to make: the shards were there already"
    assert [line for line in lines if line.startswith("2 clips have come since their shards were made: validation ")]
    command = next(line for line in lines if line.startswith("rm "))
    subprocess.run(command, shell=True, check=True)
    taken = run(tree, out, **given)
    assert (taken.made, taken.late) == (len({one.shard for one in again.late}), ())
    whole = tmp_path / "whole"
    run(tree, whole, **given)
    assert files_of(out) == files_of(whole)


def test_clips_that_were_mended_are_named_as_those_that_come_later(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "take", crashing_take)
    used = [clips[number] for number in (7, 8, *range(10, 28))]
    tree, out = write_tree(tmp_path / "tree", clips={"validation": used}), tmp_path / "out"
    fetched, crashed, touched, emptied, linked = (tree / "val" / clip.label / clip.file_name for clip in used[:5])
    fetched.write_bytes(b"no video")
    touched.write_bytes(used[2].content[:300])
    emptied.write_bytes(used[3].content[:400])
    linked.unlink()
    linked.symlink_to("nothing")
    given = {"profile": "source", "encoding": None}
    report = run(tree, out, **given)
    assert report.splits["validation"].dropped == {"absent": 1, "crashed": 1, "unreadable": 3}
    assert run(tree, out, **given).late == ()
    monkeypatch.setattr(module, "take", take)
    fetched.write_bytes(used[0].content)
    crashed.write_bytes(used[1].content + bytes(8))
    touched.touch()
    emptied.write_bytes(b"")
    linked.unlink()
    linked.write_bytes(used[4].content)
    mended = {used[0].stem, used[1].stem, used[4].stem}
    again = run(tree, out, **given)
    assert {one.name for one in again.late} == mended
    command = next(line for line in again.lines() if line.startswith("rm "))
    subprocess.run(command, shell=True, check=True)
    taken = run(tree, out, **given)
    assert (taken.made, taken.late) == (len({one.shard for one in again.late}), ())
    assert {Path(name).stem for name in rows_of(out)} == {clip.stem for clip in used[5:]} | mended


def test_other_options_or_clips_are_not_mixed_in(tree, tmp_path):
    run(tree, tmp_path, shards=(0, 1))
    for options in ({"encoding": Encoding(crf=30)}, {"seed": 1}, {"clips_per_shard": 2}, {"classes": ["zumba"]}):
        with pytest.raises(ValueError, match=r"has 1 shards of validation made of other clips or with other options"):
            run(tree, tmp_path, **options)
    assert run(tree, tmp_path, shards=(0, 2)).made == 1


def test_a_number_is_the_same_however_it_is_written(tree, tmp_path):
    """A command line gives 23 as 23.0, and the files of both are of one preparation."""
    run(tree, tmp_path, encoding=Encoding(preset="ultrafast", crf=23.0, max_fps=30.0), shards=(0, 1))
    assert run(tree, tmp_path, encoding=Encoding(preset="ultrafast", crf=23, max_fps=30), shards=(0, 1)).made == 0


def test_several_releases_and_splits_share_a_folder(tree, clips, tmp_path):
    out, other = tmp_path / "out", write_tree(tmp_path / "k400", clips={"train": clips[7:20], "test": clips[20:]})
    for split in ("train", "test"):
        prepare("400", other, out, splits=[split], profile="source", workers=1)
    run(tree, out)
    header = yaml.safe_load((out / "README.md").read_text().split("---")[1])
    named = {
        (one["config_name"], data["split"]): data["path"] for one in header["configs"] for data in one["data_files"]
    }
    assert named.keys() == {("400", "train"), ("400", "test"), ("700", "validation")}
    assert {name for pattern in named.values() for name in map(str, out.glob(pattern))} == {
        str(out / name) for name in shards_of(out)
    }
    infos = {
        one["config_name"]: {split["name"]: split["num_examples"] for split in one["splits"]}
        for one in header["dataset_info"]
    }
    assert infos == {"400": {"train": 13, "test": 10}, "700": {"validation": 26}}
    assert [one["config_name"] for one in header["configs"] if one.get("default")] == ["700"]
    assert datasets.get_dataset_config_names(str(out)) == ["400", "700"]
    summary = json.loads((out / "400" / "prepare.json").read_text())
    assert summary["splits"]["train"]["options"]["profile"] == "source"


def test_splits_that_are_there_are_prepared_and_classes_chosen(clips, tmp_path):
    tree = write_tree(tmp_path / "k", clips={"train": clips[7:], "validation": clips[7:12]})
    report = prepare("700", tree, tmp_path / "out", classes=["zumba"], profile="source", workers=1)
    assert {name: split.rows for name, split in report.splits.items()} == {
        name: sum(clip.label == "zumba" for clip in of_split)
        for name, of_split in (("train", clips[7:]), ("validation", clips[7:12]))
    }


def test_a_folder_in_a_store_is_written_and_gone_on_with(prepared, tree):
    import fsspec

    fs = fsspec.filesystem("memory")
    try:
        run(tree, "memory://bucket/kinetics", shards=(0, 5))
        assert run(tree, "memory://bucket/kinetics").made == 3
        found = {name.removeprefix("/bucket/kinetics/"): fs.cat_file(name) for name in fs.find("/bucket/kinetics")}
        assert found == files_of(prepared)
    finally:
        fs.store.clear()


@pytest.mark.parametrize("profile", ["source", "train"])
def test_clips_in_a_store_give_the_same_files(tree, tmp_path, profile):
    """A web server that lists its folders is one of the stores that fsspec knows."""
    options = {"profile": profile, "encoding": FAST if profile == "train" else None}
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tree))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        run(f"http://127.0.0.1:{server.server_port}", tmp_path / "remote", **options)
        server.shutdown()
    run(tree, tmp_path / "local", **options)
    assert shards_of(tmp_path / "local") == shards_of(tmp_path / "remote")
    assert len(shards_of(tmp_path / "remote")) == 8


def test_labels_that_are_not_there_choose_nothing(clips, tmp_path):
    """A split without labels is left out where classes are chosen, and refused where it is asked for by name."""
    tree = write_tree(tmp_path / "k", clips={"train": clips[7:12]})
    write_clips(tree / "test", clips[12:15], "flat")
    write_annotations(tree / "annotations" / "test.csv", clips[12:15], "test", labels=False)
    options = {"classes": ["zumba"], "profile": "source", "encoding": None}
    assert list(run(tree, tmp_path / "out", **options).splits) == ["train"]
    with pytest.raises(ValueError, match="no clip of this split has a label"):
        run(tree, tmp_path / "other", splits=["test"], **options)


def test_a_split_or_class_that_is_named_twice_is_made_once(clips, tmp_path):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]})
    given = {"profile": "source", "encoding": None, "classes": ["zumba", "Zumba", "abseiling"]}
    report = run(tree, tmp_path / "out", splits=["validation", "validation"], shards=(0, 8), **given)
    chosen = [clip for clip in clips[7:15] if clip.label in ("zumba", "abseiling")]
    assert (report.to_make, report.made) == (len(chosen), len(chosen))
    assert summary_of(tmp_path / "out")["basis"]["classes"] == ["zumba", "abseiling"]
    once = run(tree, tmp_path / "once", **{**given, "classes": ["zumba", "abseiling"]})
    assert once.splits == report.splits


# ---- What goes wrong


def test_a_clip_that_cannot_be_opened_is_named_and_costs_no_other(clips, tmp_path):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]})
    paths = [tree / "val" / clip.label / clip.file_name for clip in clips[7:9]]
    for path in paths:
        path.unlink()
    paths[0].symlink_to("nothing")
    paths[1].mkdir()
    for profile, encoding in (("source", None), ("train", FAST)):
        out = tmp_path / profile
        for _ in range(2):
            report = run(tree, out, profile=profile, encoding=encoding)
            split = report.splits["validation"]
            assert (split.rows, split.dropped, report.late) == (6, {"absent": 1, "unreadable": 1}, ())
            assert split.absent == (clips[7].stem,)
            assert f"validation: {clips[8].stem}: unreadable: Is a directory" in report.lines()
        assert {Path(name).stem for name in rows_of(out)} == {clip.stem for clip in clips[9:15]}


class Busy(SimpleHTTPRequestHandler):
    """Gives some clips after some refusals, and others never; `refused` is part of a path -> statuses."""

    def __init__(self, *args, refused, **options):
        self.refused = refused
        super().__init__(*args, **options)

    def do_GET(self):
        statuses = next((statuses for part, statuses in self.refused.items() if part in self.path), [])
        status = (statuses.pop(0) if len(statuses) > 1 else statuses[0]) if statuses else 200
        if status == 200:
            super().do_GET()
        else:
            self.send_error(status)


def impatient_take(clip, *, encoding):
    intake._WAITS_SECONDS = (0.01, 0.01)
    return take(clip, encoding=encoding)


@pytest.mark.parametrize("profile", ["source", "train"])
def test_a_clip_that_a_store_does_not_give_is_asked_for_again_and_then_named(clips, tmp_path, monkeypatch, profile):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]})
    refused = {clips[7].stem: [503, 503, 200], clips[8].stem: [503], clips[9].stem: [404, 200], clips[10].stem: [403]}
    monkeypatch.setattr(module, "take", impatient_take)
    handler = functools.partial(Busy, directory=str(tree), refused=refused)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url, given = f"http://127.0.0.1:{server.server_port}", {"encoding": FAST if profile == "train" else None}
        report = run(url, tmp_path / "out", profile=profile, **given)
        refused.clear()
        again = run(url, tmp_path / "out", profile=profile, **given)
        server.shutdown()
    assert {one.name for one in again.late} == {clip.stem for clip in clips[8:11]}
    assert {Path(name).stem for name in rows_of(tmp_path / "out")} == {
        clips[number].stem for number in (7, *range(11, 15))
    }
    details = {one.name: (one.reason, one.detail) for one in report.splits["validation"].unusable}
    assert details.keys() == {clip.stem for clip in clips[8:11]}
    for clip, text in ((clips[8], "Service Unavailable"), (clips[9], os.strerror(2)), (clips[10], "Forbidden")):
        reason, detail = details[clip.stem]
        assert (reason, text in detail, "127.0.0.1" in detail) == ("unreadable", True, False)


class Expiring(SimpleHTTPRequestHandler):
    """Gives some clips, and then forbids all; `left` is how many are given still."""

    def __init__(self, *args, left, **options):
        self.left = left
        super().__init__(*args, **options)

    def do_GET(self):
        if self.path.endswith(".mp4"):
            self.left[0] -= 1
            if self.left[0] < 0:
                self.send_error(403)
                return
        super().do_GET()


def test_a_store_that_ends_to_give_ends_the_run_which_goes_on_later(clips, tmp_path, monkeypatch):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]})
    left = [3]
    handler = functools.partial(Expiring, directory=str(tree), left=left)
    given = {"profile": "source", "encoding": None, "workers": 1}
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with pytest.raises(OSError, match=r"Forbidden.*; nor can other clips be read: see that they can, and run the"):
            run(url, tmp_path / "out", **given)
        assert len(rows_of(tmp_path / "out")) == len(shards_of(tmp_path / "out")) == 3
        left[0] = 1000
        report = run(url, tmp_path / "out", **given)
        server.shutdown()
    assert (report.made, report.splits["validation"].rows, report.late) == (5, 8, ())


def leaving_take(clip, *, encoding):
    """The folder of all goes when one clip has been read."""
    taken = take(clip, encoding=encoding)
    root = Path(clip[1]).parents[2]
    if root.exists():
        root.rename(root.with_name("gone"))
    return taken


@pytest.mark.parametrize("profile", ["source", "train"])
def test_a_folder_that_goes_ends_the_run_which_goes_on_later(clips, tmp_path, monkeypatch, profile):
    tree, out = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]}), tmp_path / "out"
    given = {"profile": profile, "encoding": FAST if profile == "train" else None, "workers": 1}
    monkeypatch.setattr(module, "take", leaving_take)
    with pytest.raises(OSError, match=r"No such file or directory; nor can other clips be read"):
        run(tree, out, **given)
    made = len(shards_of(out))
    assert made < 8
    (tmp_path / "gone").rename(tree)
    monkeypatch.setattr(module, "take", take)
    report = run(tree, out, **given)
    assert (report.made, report.splits["validation"].rows, report.late) == (8 - made, 8, ())


def test_what_is_no_fault_of_a_store_is_neither_waited_for_nor_a_bad_clip(monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    def fail(*args, **options):
        raise ValueError("no such option")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", fail)
    monkeypatch.setattr(intake.time, "sleep", lambda seconds: pytest.fail("waits"))
    with pytest.raises(ValueError, match="no such option"):
        take(("x", "memory://x.mp4"), encoding=None)


def sizeless_take(clip, *, encoding):
    """As shards tell of bad clips that were made before they told their sizes."""
    found = take(clip, encoding=encoding)
    return replace(found, size=None) if isinstance(found, Dropped) else found


def test_a_bad_clip_whose_size_nobody_told_is_not_called_mended(clips, tmp_path, monkeypatch):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]})
    (tree / "val" / clips[7].label / clips[7].file_name).write_bytes(b"no video")
    monkeypatch.setattr(module, "take", sizeless_take)
    for _ in range(2):
        report = run(tree, tmp_path / "out", profile="source", encoding=None)
        assert (report.splits["validation"].dropped, report.late) == ({"unreadable": 1}, ())


def test_a_clip_in_a_store_is_waited_for_less_than_a_minute():
    assert 30 < sum(intake._WAITS_SECONDS) <= 45


def test_an_engine_that_is_not_there_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ModuleNotFoundError, match="engine='ray' needs Ray: pip install ray"):
        run(tmp_path / "no tree", tmp_path / "out", engine="ray")


def failing_take(clip, *, encoding):
    if clip[0].endswith("000020_000030"):
        raise LookupError("of no clip")
    return take(clip, encoding=encoding)


def test_what_is_finished_is_described_however_a_run_ends(tree, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "take", failing_take)
    with pytest.raises(RuntimeError, match="of no clip"):
        run(tree, tmp_path, profile="source", encoding=None, workers=1)
    finished = len(shards_of(tmp_path))
    assert 0 < finished < 8
    assert summary_of(tmp_path)["shards_done"] == finished


def crashing_take(clip, *, encoding):
    name = clip[0]
    if name.endswith("000008_000018"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.endswith("000009_000019"):
        time.sleep(60)
    return take(clip, encoding=encoding)


def test_a_clip_that_crashes_or_hangs_is_named_and_costs_no_other(tree, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "take", crashing_take)
    monkeypatch.setattr(module, "_LIMIT_SECONDS", 2.0)
    report = run(tree, tmp_path, profile="source", encoding=None)
    assert report.splits["validation"].dropped == {"absent": 1, "crashed": 2, "empty": 1, "unreadable": 2}
    details = {
        one.name: one.detail
        for content in shards_of(tmp_path).values()
        for one in read_report(io.BytesIO(content)).dropped
        if one.reason == "crashed"
    }
    assert details == {
        clips[8].stem: "crashed the worker process (SIGSEGV)",
        clips[9].stem: "did not finish in 2 s",
    }
    assert len(rows_of(tmp_path)) == 24


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"profile": "trian"}, r"unknown profile 'trian'; did you mean 'train'\? \(valid: train, source\)"),
        ({"profile": "source"}, r"profile='source' keeps the bytes of clips and takes no encoding"),
        ({"shards": (3, 3)}, r"shards 3:3"),
        ({"shards": (8, 12)}, r"shards 8:12: there are 8, the first of them 0"),
        ({"splits": ["validaton"]}, r"did you mean 'validation'"),
        ({"engine": "spark"}, r"unknown engine 'spark' \(valid: local, ray\)"),
        ({"workers": 0}, r"workers is 0"),
        ({"clips_per_shard": 0}, r"clips_per_shard must be at least 1, got 0"),
        ({"address": "auto"}, "valid only with engine=.ray."),
    ],
)
def test_bad_arguments(tree, tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        run(tree, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_a_readme_of_somebody_elses_is_not_replaced(tree, tmp_path):
    (tmp_path / "README.md").write_text("# my notes\n")
    with pytest.raises(ValueError, match=r"README\.md is not ours, .*; name another folder, or move that file"):
        run(tree, tmp_path)
    assert files_of(tmp_path) == {"README.md": b"# my notes\n"}


def test_a_tree_may_hold_its_own_shards(clips, tmp_path):
    tree = write_tree(tmp_path, clips={"validation": clips[:2]})
    before = files_of(tree)
    assert run(tree, tree, profile="source", encoding=None).is_complete
    assert files_of(tree).items() > before.items()


def test_a_place_that_is_a_file_is_refused(tree, tmp_path):
    (tmp_path / "out").write_bytes(b"")
    for place in ("out", "out/below/it"):
        with pytest.raises(ValueError, match="out is a file; name a folder"):
            run(tree, tmp_path / place)


@pytest.mark.parametrize("name", ["a*b", "a?b", "a[b]c", "a::b"])
def test_a_folder_that_datasets_cannot_load_is_refused(tree, tmp_path, name):
    for place in (name, f"{name}/below/it"):
        with pytest.raises(ValueError, match="`datasets` loads no such folder; name another"):
            run(tree, tmp_path / place)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize(
    "content", [b"{", b"\xff", b"[]", b'{"release": "700"}', b'{"splits": []}', b'{"splits": {"train": 1}}']
)
def test_a_damaged_summary_is_named_before_the_work(tree, tmp_path, content):
    (tmp_path / "400").mkdir()
    (tmp_path / "400" / "prepare.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"400/prepare\.json is damaged; remove it, and prepare or push each of its"):
        run(tree, tmp_path)
    assert files_of(tmp_path) == {"400/prepare.json": content}


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("tags: [", "is no YAML of names and values"),
        ("- a list", "is no YAML of names and values"),
        ("tags: video", "has tags that are no list"),
        ("configs: [mine]", "has configs that are no names and values"),
        ("dataset_info: mine", "has dataset_info that are no names and values"),
    ],
)
def test_a_header_that_cannot_be_kept_is_named_before_the_work(tree, tmp_path, header, problem):
    card = f"---\n{header}\n---\n<!-- begin: yours -->\n<!-- end: yours -->\n".encode()
    (tmp_path / "README.md").write_bytes(card)
    with pytest.raises(ValueError, match=rf"README\.md: its header {problem}; mend it"):
        run(tree, tmp_path)
    assert files_of(tmp_path) == {"README.md": card}


def test_archives_are_to_be_extracted_first(clips, tmp_path):
    tree = write_tree(tmp_path, ".tar.gz", clips={"validation": clips})
    with pytest.raises(FileNotFoundError, match="2 archives, which have to be extracted first"):
        run(tree, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="no clips"):
        run(tmp_path / "annotations", tmp_path / "out")


def killed_runs(tree, out, *, kills, workers=2, seed=0):
    """Runs that get SIGKILL, each in turn the parent or one of its workers, and then one that does not."""
    rng = np.random.default_rng(seed)
    code = (
        "import sys; from kinetics_tools.media import Encoding; from kinetics_tools import prepare; "
        f"prepare('700', {str(tree)!r}, {str(out)!r}, encoding=Encoding(preset='ultrafast'), clips_per_shard=4, "
        f"workers={workers})"
    )
    done = 0
    while done < kills:
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        ) as process:
            time.sleep(float(rng.uniform(1.0, 3.0)))
            children = Path(f"/proc/{process.pid}/task").glob("*/children") if process.poll() is None else []
            pids = [int(pid) for path in children for pid in path.read_text().split()]
            if pids and done % 2:
                os.kill(int(rng.choice(pids)), signal.SIGKILL)
                time.sleep(0.3)
            process.kill()
            errors = process.stderr.read().decode()
        assert "Traceback" not in errors, errors
        done += 1
        if len(shards_of(out)) == 8:
            for path in sorted(Path(out).rglob("*.parquet"))[done % 4 :: 2]:
                path.unlink()
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs Linux's /proc to find the workers")
def test_kills_leave_nothing_behind(prepared, tree, tmp_path):
    killed_runs(tree, tmp_path, kills=4)
    assert files_of(tmp_path) == files_of(prepared)


IN_ROUNDS = """
import sys
from rich.console import Console

tree, split = sys.argv[1:]
for out in sys.stdin:
    prepare("700", tree, out.strip(), splits=[split], profile="source", console=Console(stderr=True))
    print("done", flush=True)
"""


@contextlib.contextmanager
def side_by_side(tree, splits):
    """A function that has one process for each of `splits` prepare it in a folder, all at the same moment."""
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", IN_ROUNDS, tree, split],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for split in splits
        ]

        def prepare_in(out):
            for process in processes:
                process.stdin.write(f"{out}\n")
                process.stdin.flush()
            for process in processes:
                assert process.stdout.readline() == "done\n", process.stderr.read()

        yield prepare_in
        for process in processes:
            process.stdin.close()


def test_splits_prepared_side_by_side_are_all_described(clips, tmp_path):
    tree = write_tree(tmp_path / "tree", clips={"train": clips[7:9], "validation": clips[9:11]})
    out = tmp_path / "out"
    with side_by_side(tree, ["train", "validation"]) as prepare_in:
        prepare_in(out)
        whole = files_of(out)
        for _ in range(20):
            # What was made stays, so that both begin to describe it at once.
            (out / "README.md").unlink()
            (out / "700" / "prepare.json").unlink()
            prepare_in(out)
            assert files_of(out) == whole
    header = yaml.safe_load(whole["README.md"].decode().split("---")[1])
    assert [one["split"] for one in header["configs"][0]["data_files"]] == ["train", "validation"]


@pytest.mark.parametrize("place", ["an object store", "a disk without locks"])
def test_a_split_that_another_run_has_written_over_is_described_again(clips, tmp_path, monkeypatch, place):
    """As where no lock keeps apart two runs that have both read prepare.json before either wrote it."""
    import fsspec

    tree = write_tree(tmp_path / "tree", clips={"train": clips[7:9], "validation": clips[9:11]})
    out = "memory://bucket/kinetics" if place == "an object store" else str(tmp_path / "out")
    if place == "a disk without locks":
        (tmp_path / "out" / LOCK_NAME).mkdir(parents=True)
    given = {"profile": "source", "encoding": None}
    try:
        run(tree, out, splits=["train"], **given)
        summary = "700/prepare.json"
        of_train, write, written = Folder(out).read(summary), Folder.write, []

        def write_both(store, name, data):
            write(store, name, data)
            if name == summary and not written:
                written.append(name)
                write(store, name, of_train)

        monkeypatch.setattr(Folder, "write", write_both)
        run(tree, out, splits=["validation"], **given)
        assert written
        assert list(json.loads(Folder(out).read(summary))["splits"]) == ["train", "validation"]
        header = yaml.safe_load(Folder(out).read("README.md").decode().split("---")[1])
        assert [one["split"] for one in header["configs"][0]["data_files"]] == ["train", "validation"]
    finally:
        fsspec.filesystem("memory").store.clear()


def test_the_same_command_twice_at_once_ends_well(clips, tmp_path):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]})
    with side_by_side(tree, ["validation", "validation"]) as prepare_in:
        for number in range(4):
            prepare_in(tmp_path / f"{number}")
            assert len(rows_of(tmp_path / f"{number}")) == 8
            assert files_of(tmp_path / f"{number}") == files_of(tmp_path / "0")


WITH_RAY = """
import sys
import ray

ray.init(num_cpus=2, _node_ip_address="127.0.0.1", include_dashboard=False)
tree, out = sys.argv[1:]
assert prepare("700", tree, out, encoding=Encoding(preset="ultrafast"), clips_per_shard=4, engine="ray").is_complete
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs Linux's /proc to find the workers")
def test_ray_makes_the_same_files_though_its_workers_are_killed(prepared, tree, tmp_path, ray):
    kills = 0
    command = [sys.executable, "-c", WITH_RAY, str(tree), str(tmp_path)]
    with subprocess.Popen(command, env=ray, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        errors = []
        reading = threading.Thread(target=lambda: errors.append(process.stderr.read()))
        reading.start()
        while process.poll() is None:
            time.sleep(0.7)
            for folder in Path("/proc").glob("[0-9]*") if kills < 4 else ():
                with contextlib.suppress(OSError):
                    is_ours = (folder / "environ").read_bytes().find(str(ROOT).encode()) >= 0
                    if is_ours and (folder / "cmdline").read_bytes().startswith(b"ray::_call"):
                        os.kill(int(folder.name), signal.SIGKILL)
                        kills += 1
                        break
        reading.join()
    assert process.returncode == 0, errors
    assert kills
    assert files_of(tmp_path) == files_of(prepared)


def test_ctrl_c_keeps_finished_shards_and_exits_130(tree, prepared, tmp_path):
    command = [*KINETICS, "prepare", "700"]
    command += ["--data-dir", str(tree), "--out", str(tmp_path), "--preset", "ultrafast", "--clips-per-shard", "4"]
    command += ["--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        while not shards_of(tmp_path):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
    assert process.returncode == 130, output
    assert "the same command goes on from there" in output
    assert "Traceback" not in output
    assert not [name for name in files_of(tmp_path) if name.endswith(".tmp")]
    assert shards_of(tmp_path).items() <= shards_of(prepared).items()
    # What there is can be published.
    assert summary_of(tmp_path)["shards_done"] == len(shards_of(tmp_path))


def test_other_processes_find_relative_folders(clips, tmp_path, monkeypatch):
    """A worker of Ray has another working directory."""
    write_tree(tmp_path / "tree", clips={"validation": clips[7:15]})
    monkeypatch.chdir(tmp_path)
    plans = plan_shards(Selection("700"), "tree", PrepareOptions("source"))
    job = Job.of(plans[0], 0, Folder("out/kinetics"), None)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert module.prepare_shard(job).rows == 1
    assert shards_of(tmp_path / "out" / "kinetics").keys() == {job.name}


# ---- The command


def printed_call(lines):
    """What the last line says to load the split with, done."""
    call = lines[-1].removesuffix(" loads it")
    assert call.startswith("load_dataset("), call
    ds = eval(call.removesuffix(")") + ", streaming=True)", {"load_dataset": datasets.load_dataset})
    return ds.cast_column("video", datasets.Video(decode=False))


@pytest.mark.parametrize("form", ["relative", "absolute", "file URL"])
def test_the_last_line_loads_it_from_anywhere(clips, tmp_path, monkeypatch, form):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]})
    monkeypatch.chdir(tmp_path)
    out = {"relative": "a", "absolute": str(tmp_path / "a"), "file URL": f"file://{tmp_path}/a"}[form]
    lines = run(tree, out, profile="source", encoding=None).lines()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(list(printed_call(lines))) == 8


def test_the_last_line_loads_it_from_an_object_store():
    import fsspec

    fs = fsspec.filesystem("memory")
    try:
        plan = write_prepared("memory://bucket/kinetics", "700", "validation")
        split = SplitReport.of(plan, dict.fromkeys(range(8), ShardReport(plan.fingerprint, 3, 3, 0, 0, 0.0, ())))
        report = Report("700", "memory://bucket/kinetics", {}, {"validation": split}, to_make=0)
        assert len(list(printed_call(report.lines()))) == 24
    finally:
        fs.store.clear()


def test_the_command(tree, prepared, clips, tmp_path):
    out = tmp_path / "kinetics"
    given = ["prepare", "700", "--data-dir", str(tree), "--out", str(out), "--clips-per-shard", "4"]
    result = CliRunner().invoke(app, [*given, "--preset", "ultrafast", "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "to make: 8 shards of 30 annotated clips, 29 of them here" in result.output
    assert not out.exists()
    result = CliRunner().invoke(app, [*given, "--preset", "ultrafast"])
    assert result.exit_code == 0, result.output
    assert "validation: not prepared: 1 absent, 1 empty, 2 unreadable" in result.output
    assert f'load_dataset("{out}", "700", split="validation") loads it' in result.output
    assert f"validation: {clips[4].stem}: empty\n" in result.output
    assert f"validation: {clips[5].stem}: unreadable: is not a readable clip" in result.output
    assert files_of(out) == files_of(prepared)
    result = CliRunner().invoke(app, [*given, "--preset", "ultrafast", "--split", "val"])
    assert "nothing to make" in result.output
    for bad, message in (
        (["--shards", "1-2"], 'write "A:B"'),
        (["--crf", "99"], "error: --crf 99.0: must be from 0"),
        (["--preset", "fastish"], "error: --preset fastish: must be one of"),
        (["--clips-per-shard", "0"], "error: --clips-per-shard must be at least 1, got 0"),
        (
            ["--preset", "ultrafast", "--address", "auto"],
            "error: --address auto is valid only with --engine ray; pass both or omit address",
        ),
        (["--data-dir", "/data_dir/crf=1"], "error: --data-dir /data_dir/crf=1 does not exist"),
        (["--split", "vall"], "val"),
    ):
        result = CliRunner().invoke(app, [*given, *bad])
        assert (result.exit_code, message in result.output) == (2, True), result.output


def test_the_command_takes_clips_from_a_url(tree, tmp_path):
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tree))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        given = ["prepare", "700", "--data-dir", f"http://127.0.0.1:{server.server_port}", "--out", str(tmp_path)]
        result = CliRunner().invoke(app, [*given, "--profile", "source", "--dry-run"])
        server.shutdown()
    assert result.exit_code == 0, result.output
    assert "to make: 8 shards of 30 annotated clips, 29 of them here" in result.output


def test_real_clips(shared, tmp_path):
    """Each in its class, one with sound, one in Matroska, one with two streams; the short side becomes 240 or 256."""
    names = ["arm wrestling", "flipping pancake", "news anchoring", "yoga", "shooting basketball"]
    files = ["arm_wrestling_340x256.mp4", "flipping_pancake_426x240.mkv", "nasa_two_streams.mp4"]
    files += ["one_second_340x256.mp4", "sports_340x256.mp4"]
    clips = [
        Clip(label, f"abcdefghij{i}", 0, 10, suffix=Path(name).suffix, content=(shared / "clips" / name).read_bytes())
        for i, (label, name) in enumerate(zip(names, files, strict=True))
    ]
    tree = write_tree(tmp_path / "tree", clips={"train": clips})
    report = prepare("700", tree, tmp_path / "out", workers=2)
    rows = rows_of(tmp_path / "out")
    assert report.splits["train"].rows == 5
    by_id = {row["youtube_id"]: row for row in rows.values()}
    assert [by_id[clip.youtube_id]["num_frames"] for clip in clips][:2] == [280, 310]
    assert [by_id[clip.youtube_id]["height"] for clip in clips] == [256, 240, 180, 256, 256]
    assert [by_id[clip.youtube_id]["has_audio"] for clip in clips] == [False, True, True, False, False]
    with open(tree / "annotations" / "train.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 5


def test_dropped_says_why(tree, clips):
    path = tree / "val" / clips[5].label / clips[5].file_name
    found = take((clips[5].stem, str(path)), encoding=None)
    assert isinstance(found, Dropped)
    assert (found.name, found.reason) == (clips[5].stem, "unreadable")
    assert clips[5].file_name in found.detail
