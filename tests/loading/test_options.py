"""The arguments of load_dataset("kinetics", ...): what each selects, what the cache follows, what errors say."""

import logging
import os
import sys
from collections import Counter

import datasets
import pyarrow.parquet
import pytest

import kinetics  # noqa: F401  (registers the builder)
from kinetics_tools.releases import LABELS
from kinetics_tools.sources import decoder
from kinetics_tools.sources.embed import embed_bytes
from tests.support.clients import PYTHONPATH, run_program
from tests.support.trees import (
    CLIPS,
    DATASETS_MAJOR,
    FEW_LAYOUTS,
    Clip,
    clips_of,
    load,
    rows,
    rows_of,
    write_annotations,
    write_clips,
    write_tree,
)

VAL = CLIPS["validation"]


@pytest.fixture
def data_dir(tmp_path):
    return str(write_tree(tmp_path / "tree"))


def with_labels(clips, *labels):
    return [clip for clip in clips if clip.label in labels]


# ---- splits


@pytest.mark.parametrize("streaming", [False, True])
def test_splits_loads_those_alone_and_reads_nothing_of_the_others(tmp_path, streaming):
    data_dir = write_tree(tmp_path)
    (data_dir / "annotations" / "train.csv").write_text("broken")
    (data_dir / "annotations" / "test.csv").unlink()
    found = load(data_dir=str(data_dir), splits=["validation"], streaming=streaming)
    assert {split: rows(ds) for split, ds in found.items()} == {"validation": rows_of(VAL)}


def test_splits_may_be_one_name_and_several(data_dir):
    assert list(load(data_dir=data_dir, splits="test")) == ["test"]
    assert set(load(data_dir=data_dir, splits=["test", "train"])) == {"train", "test"}
    assert set(load(data_dir=data_dir, splits="test, val")) == {"validation", "test"}


def test_a_split_that_is_asked_for_but_absent_is_an_error_that_names_its_folders(tmp_path):
    data_dir = write_tree(tmp_path, clips={"train": CLIPS["train"]})
    with pytest.raises(FileNotFoundError, match=r"no clips and no archives in .*val, validate, validation"):
        load(data_dir=str(data_dir), splits=["validation"])


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("made_of", [iter, tuple, dict.fromkeys, lambda names: (name for name in names)])
def test_splits_and_classes_may_be_any_iterable(data_dir, made_of, streaming):
    options = {"splits": made_of(["validation", "test"]), "classes": made_of(["zumba", "abseiling"])}
    found = load(data_dir=data_dir, streaming=streaming, **options)
    expected = {split: rows_of(with_labels(CLIPS[split], "zumba", "abseiling")) for split in ("validation", "test")}
    assert {split: rows(ds) for split, ds in found.items()} == expected


def test_a_generator_of_nothing_is_nothing(data_dir):
    for name in ("splits", "classes"):
        with pytest.raises(ValueError, match=rf"{name} must be a list of at least one name"):
            load(data_dir=data_dir, **{name: iter([])})


# ---- classes


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
@pytest.mark.parametrize("streaming", [False, True])
def test_classes_loads_those_alone_and_keeps_their_index(tmp_path, layout, streaming):
    data_dir = write_tree(tmp_path, layout, clips={"train": CLIPS["train"]})
    names = ["zumba", "massaging person's head"]
    found = load(data_dir=str(data_dir), split="train", classes=names, streaming=streaming)
    assert rows(found) == rows_of(with_labels(CLIPS["train"], *names))
    assert found.features["label"].names == list(LABELS["700"])


@pytest.mark.parametrize("name", ["hurling (sport)", "hurling_sport", "HURLING (SPORT)", "hurling%20%28sport%29"])
def test_classes_takes_every_spelling(data_dir, name):
    found = load(data_dir=data_dir, split="train", classes=[name])
    assert rows(found) == rows_of(with_labels(CLIPS["train"], "hurling (sport)"))


def test_one_class_may_be_a_string_and_its_spellings_share_a_cache(data_dir, hf_cache):
    found = [
        load(data_dir=data_dir, split="train", classes=classes)
        for classes in ("zumba", ["zumba"], ["ZUMBA"], ("zumba",))
    ]
    assert len({ds.cache_files[0]["filename"] for ds in found}) == 1


def test_classes_leaves_out_a_split_without_labels_and_says_so(tmp_path, caplog):
    data_dir = write_tree(tmp_path, "flat")
    write_annotations(data_dir / "annotations" / "test.csv", CLIPS["test"], "test", labels=False)
    assert set(load(data_dir=str(data_dir), classes=["zumba"])) == {"train", "validation"}
    assert any("test: skipped" in record.getMessage() for record in caplog.records)
    with pytest.raises(ValueError, match="no clip of this split has a label"):
        load(data_dir=str(data_dir), classes=["zumba"], splits=["test"])


@pytest.mark.parametrize("streaming", [False, True])
def test_classes_that_have_no_clip_are_an_error_that_says_what_to_do(data_dir, streaming):
    with pytest.raises(ValueError, match=r"train: none of its .* clips is selected by classes yoga.*Choose other"):
        load(data_dir=data_dir, split="train", classes=["yoga"], streaming=streaming)


# ---- max_clips_per_class and seed


@pytest.mark.parametrize("limit", [1, 3, 1000])
def test_a_limit_takes_that_many_of_each_class(tmp_path, limit):
    clips = clips_of("train", 60)
    data_dir = write_tree(tmp_path, clips={"train": clips})
    found = rows(load(data_dir=str(data_dir), split="train", max_clips_per_class=limit))
    assert set(found) <= set(rows_of(clips))
    present = Counter(LABELS["700"].index(clip.label) for clip in clips)
    assert Counter(row[2] for row in found) == {label: min(limit, count) for label, count in present.items()}


def test_the_seed_alone_chooses_among_the_clips(tmp_path):
    clips = clips_of("train", 60)
    chosen = {}
    for layout in ("class folders", ".tar.gz"):
        for order in (1, -1):
            data_dir = write_tree(tmp_path / f"{layout} {order}", layout, clips={"train": clips[::order]})
            for streaming in (False, True):
                for seed in (0, 1, 2):
                    options = {"max_clips_per_class": 2, "seed": seed, "streaming": streaming}
                    found = rows(load(data_dir=str(data_dir), split="train", **options))
                    assert chosen.setdefault(seed, found) == found
    assert chosen[0] != chosen[1] != chosen[2] != chosen[0]


def test_the_limit_counts_annotated_clips_so_that_absent_ones_move_no_other(tmp_path):
    clips = clips_of("train", 60)
    data_dir = write_tree(tmp_path, clips={"train": clips})
    before = rows(load(data_dir=str(data_dir), split="train", max_clips_per_class=3))
    (gone,) = [clip for clip in clips if clip.file_name == before[0][0]]
    (data_dir / "train" / gone.label / gone.file_name).unlink()
    assert rows(load(data_dir=str(data_dir), split="train", max_clips_per_class=3)) == before[1:]


# ---- The cache


def arrow_files(ds):
    return {file["filename"]: os.stat(file["filename"]).st_mtime_ns for file in ds.cache_files}


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
def test_nothing_changed_reuses_the_cache(tmp_path, layout):
    data_dir = write_tree(tmp_path, layout)
    first, second = (load(data_dir=str(data_dir), split="train") for _ in range(2))
    assert arrow_files(first) == arrow_files(second)


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
def test_a_clip_more_shows_at_the_next_load(tmp_path, layout):
    data_dir = write_tree(tmp_path, layout, clips={"validation": VAL[:4]}, annotations="{}.csv")
    assert rows(load(data_dir=str(data_dir), split="validation")) == rows_of(VAL[:4])
    write_clips(data_dir / "val", VAL, layout)
    write_annotations(data_dir / "val.csv", VAL, "val")
    assert rows(load(data_dir=str(data_dir), split="validation")) == rows_of(VAL)


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
def test_clips_alone_may_come_and_go(tmp_path, layout):
    data_dir = write_tree(tmp_path, layout, clips={"validation": VAL})
    write_annotations(data_dir / "annotations" / "val.csv", [*VAL, Clip("zumba", "latecomer00", 1, 11)], "val")
    assert rows(load(data_dir=str(data_dir), split="validation")) == rows_of(VAL)
    late = [*VAL, Clip("zumba", "latecomer00", 1, 11)]
    write_clips(data_dir / "val", late, layout)
    assert rows(load(data_dir=str(data_dir), split="validation")) == rows_of(late)


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
def test_what_else_comes_into_a_tree_leaves_the_cache_as_it_is(tmp_path, layout):
    data_dir = write_tree(tmp_path, layout)
    first = load(data_dir=str(data_dir), split="train")
    for name in ("notes.txt", ".kinetics-probes.jsonl", "report.json", "clips.csv", "annotations/notes.txt"):
        (data_dir / name).write_text("{}")
    (data_dir / "prepared" / "700").mkdir(parents=True)
    assert arrow_files(load(data_dir=str(data_dir), split="train")) == arrow_files(first)


def test_files_of_splits_that_are_not_asked_for_leave_the_cache_as_it_is(tmp_path):
    data_dir = write_tree(tmp_path)
    first = load(data_dir=str(data_dir), splits=["train"])["train"]
    (data_dir / "val" / "zumba" / "more.mp4").write_bytes(b"clip")
    write_annotations(data_dir / "annotations" / "test.csv", VAL, "test")
    assert arrow_files(load(data_dir=str(data_dir), splits=["train"])["train"]) == arrow_files(first)


def test_a_changed_label_shows_at_the_next_load(tmp_path):
    data_dir = write_tree(tmp_path, "flat", clips={"validation": VAL})
    load(data_dir=str(data_dir))
    changed = [Clip("yoga", *clip.row[1:], content=clip.content) for clip in VAL]
    write_annotations(data_dir / "annotations" / "val.csv", changed, "val")
    assert rows(load(data_dir=str(data_dir), split="validation")) == rows_of(changed)


@pytest.mark.parametrize("pass_file", [False, True])
def test_a_change_in_other_annotations_shows_at_the_next_load(tmp_path, pass_file):
    data_dir = write_tree(tmp_path / "tree", "flat", clips={"validation": VAL})
    path = write_annotations(tmp_path / "other" / "val.csv", VAL[:3], "val")
    options = {"data_dir": str(data_dir), "annotations": str(path if pass_file else path.parent)}
    assert rows(load(split="validation", **options)) == rows_of(VAL[:3])
    write_annotations(path, VAL[:5], "val")
    assert rows(load(split="validation", **options)) == rows_of(VAL[:5])


def test_two_trees_and_two_selections_share_no_cache(tmp_path):
    first = write_tree(tmp_path / "first", clips={"train": CLIPS["train"]})
    second = write_tree(tmp_path / "second", clips={"train": CLIPS["train"][:2]})
    assert len(load(data_dir=str(first), split="train")) == 8
    assert len(load(data_dir=str(second), split="train")) == 2
    assert len(load(data_dir=str(first), split="train", max_clips_per_class=1)) == 6
    assert len(load(data_dir=str(first), split="train", classes=["zumba"])) == 2
    assert len(load(data_dir=str(first), split="train")) == 8


def test_a_tree_is_stored_as_paths(tmp_path):
    clips = [Clip("zumba", f"{number:011d}", 1, 11, content=bytes(1 << 20)) for number in range(4)]
    data_dir = write_tree(tmp_path, clips={"train": clips})
    ds = load(data_dir=str(data_dir), split="train")
    stored = ds.data.column("video").to_pylist()
    assert [video["bytes"] for video in stored] == [None] * 4
    assert sorted(video["path"] for video in stored) == sorted(str(path) for path in data_dir.rglob("*.mp4"))
    assert sum(os.path.getsize(path) for path in arrow_files(ds)) < 100_000


@pytest.mark.parametrize("layout", ["class folders", ".tar.gz"])
def test_embed_bytes_and_to_parquet_hold_the_bytes(data_dir, tmp_path, layout):
    data_dir = write_tree(tmp_path / layout, layout)
    ds = embed_bytes(load(data_dir=str(data_dir), split="train"))
    assert rows(ds) == rows_of(CLIPS["train"])
    ds.to_parquet(tmp_path / "train.parquet")
    videos = pyarrow.parquet.read_table(tmp_path / "train.parquet").column("video").to_pylist()
    assert sorted((video["path"], video["bytes"]) for video in videos) == [row[:2] for row in rows_of(CLIPS["train"])]
    again = datasets.load_dataset("parquet", data_files=str(tmp_path / "train.parquet"), split="train")
    assert again.features["label"].names == list(LABELS["700"])
    assert isinstance(again.features["video"], datasets.Video)
    assert rows(again.cast_column("video", datasets.Video(decode=False))) == rows_of(CLIPS["train"])


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("layout", ["class folders", ".tar.gz"])
def test_embed_bytes_of_all_splits_and_of_streams(tmp_path, layout, streaming):
    found = embed_bytes(load(data_dir=str(write_tree(tmp_path, layout)), streaming=streaming))
    assert isinstance(found, datasets.IterableDatasetDict if streaming else datasets.DatasetDict)
    for split, ds in found.items():
        assert rows(ds) == rows_of(CLIPS[split])
        assert all(example["video"]["bytes"] is not None for example in ds)


def test_embed_bytes_in_processes(data_dir):
    assert rows(embed_bytes(load(data_dir=data_dir, split="train"), batch_size=2, num_proc=2)) == rows_of(
        CLIPS["train"]
    )


# ---- decode


@pytest.fixture
def no_decoder(monkeypatch):
    """Pretend that neither torchcodec nor torchvision is installed."""
    for name in ("torchcodec", "torchcodec.decoders", "torchvision", "torchvision.io"):
        monkeypatch.setitem(sys.modules, name, None)
    caches = (decoder.decoder_problem, decoder._warn)
    for cache in caches:
        cache.cache_clear()
    yield
    monkeypatch.undo()
    for cache in caches:
        cache.cache_clear()


def test_without_a_decoder_examples_carry_bytes_and_path_and_one_line_says_how_to_get_frames(
    data_dir, no_decoder, caplog
):
    for options in ({"split": "train"}, {"split": "test"}, {"split": "train", "streaming": True}):
        ds = load(data_dir=data_dir, decode=None, **options)
        assert set(next(iter(ds))["video"]) == {"bytes", "path"}
        assert ds.features["video"] == datasets.Video(decode=False)
    package = "torchcodec" if DATASETS_MAJOR >= 4 else "torchvision"
    lines = [record.getMessage() for record in caplog.records if "decode=False" in record.getMessage()]
    assert len(lines) == 1
    assert f"{package} is not installed: pip install torch {package}" in lines[0]


def test_without_a_decoder_asking_for_one_is_an_import_error_that_says_what_to_do(data_dir, no_decoder):
    with pytest.raises(ImportError, match=r"decode=True, but .* is not installed: pip install .*pass decode=False"):
        load(data_dir=data_dir, decode=True)


def test_the_decoder_is_looked_for_last_and_its_error_is_told_whole(data_dir, tmp_path):
    name = datasets.Video.dtype.partition(".")[0]
    (tmp_path / name).mkdir()
    # As torchcodec without FFmpeg's libraries.
    lines = ["import pathlib", "pathlib.Path(__file__).with_name('imported').touch()"]
    lines += ['raise RuntimeError("Could not load libtorchcodec. Likely causes:\\n  1. FFmpeg is not installed")']
    (tmp_path / name / "__init__.py").write_text("\n".join(lines))
    (tmp_path / "nothing").mkdir()
    code = """
import os, pathlib, sys
import datasets, kinetics
data_dir, empty, imported = sys.argv[1:]
def load(**options):
    return datasets.load_dataset("kinetics", "700", **{"data_dir": data_dir, **options})
for options in ({"data_dir": empty}, {"split": "none"}, {"data_dir": empty, "streaming": True}):
    try:
        load(**options)
    except (ValueError, FileNotFoundError):
        assert not os.path.exists(imported), options
load(decode=False)
assert not os.path.exists(imported)
assert load(split="val")[0]["video"]["bytes"] is None
try:
    load(decode=True)
except ImportError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{PYTHONPATH}"}
    told = run_program(code, data_dir, tmp_path / "nothing", tmp_path / name / "imported", env=environment)
    assert f"{name} is installed but does not load: install FFmpeg's shared libraries, and the release" in told
    assert "pass decode=False for bytes" in told


def test_data_files_are_refused_in_favour_of_data_dir(data_dir):
    with pytest.raises(ValueError, match="takes no data_files; pass the directory of the clips as data_dir="):
        datasets.load_dataset("kinetics", "700", data_files=f"{data_dir}/train/*/*.mp4")


def test_asking_for_bytes_says_nothing(data_dir, no_decoder, caplog):
    caplog.set_level(logging.INFO, logger="datasets.kinetics")
    load(data_dir=data_dir, decode=False)
    assert not [record for record in caplog.records if "does not load" in record.getMessage()]


@pytest.mark.parametrize("order", [(False, None), (None, False)])
def test_decode_changes_the_feature_and_not_what_is_stored(data_dir, no_decoder, order):
    first, second = (load(data_dir=data_dir, split="train", decode=decode) for decode in order)
    assert arrow_files(first) == arrow_files(second)
    assert first.data.table == second.data.table


@pytest.fixture
def encoded_clips(tmp_path):
    """Clips of 10 grey frames, 64x48."""
    import numpy

    from kinetics_tools.media import write_clip

    frames = [numpy.full((48, 64, 3), 100 + 10 * index, numpy.uint8) for index in range(10)]
    write_clip(tmp_path / "clip.mp4", frames, fps=10)
    content = (tmp_path / "clip.mp4").read_bytes()
    return [Clip(*clip.row, content=content) for clip in VAL]


@pytest.mark.parametrize("layout", FEW_LAYOUTS)
@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("decode", [True, None])
def test_with_torchcodec_video_is_a_decoder_of_the_frames(
    torchcodec, encoded_clips, tmp_path, layout, streaming, decode
):
    data_dir = write_tree(tmp_path / "tree", layout, clips={"validation": encoded_clips})
    ds = load(data_dir=str(data_dir), split="validation", streaming=streaming, decode=decode)
    video = next(iter(ds))["video"]
    assert isinstance(video, torchcodec.decoders.VideoDecoder)
    assert len(video) == 10
    frame = video[3]
    assert tuple(frame.shape) == (3, 48, 64)
    assert abs(frame.float().mean().item() - 130) < 4


def test_with_torchcodec_all_ways_share_one_cache(torchcodec, encoded_clips, tmp_path):
    data_dir = write_tree(tmp_path / "tree", clips={"validation": encoded_clips})
    files = []
    for decode in (False, True, None, False):
        ds = load(data_dir=str(data_dir), split="validation", decode=decode)
        files.append(arrow_files(ds))
        assert ds.features["video"] == datasets.Video(decode=decode is not False)
        assert isinstance(ds[0]["video"], dict) == (decode is False)
    assert files == files[:1] * 4


# ---- Errors


@pytest.mark.parametrize("streaming", [False, True])
def test_a_number_is_the_release_of_this_name(data_dir, streaming):
    by_number, by_name = (
        datasets.load_dataset("kinetics", name, data_dir=data_dir, split="train", decode=False, streaming=streaming)
        for name in (700, "700")
    )
    assert list(by_number) == list(by_name) != []


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (["7000"], {}, r"unknown release '7000'; did you mean '700'\? \(valid: 400, 600, 700, 700-2020\)"),
        (["kinetics"], {}, r"unknown release 'kinetics' \(valid: 400, 600, 700, 700-2020\)"),
        ([], {}, "which release.*400, 600, 700, 700-2020"),
        (["700"], {"splits": ["vaildation"]}, r"unknown split 'vaildation'; did you mean 'validation'\?.*train"),
        (["700"], {"classes": ["abseilin"]}, r"unknown class of 700 'abseilin'; did you mean 'abseiling'\?"),
        (["700"], {"clases": ["zumba"]}, r"unknown option 'clases'; did you mean 'classes'\? \(valid: .*mirror"),
        (["700"], {"on_missing": "rise"}, r"unknown on_missing 'rise'; did you mean 'raise'\? \(valid: skip, raise\)"),
        (["700"], {"max_clips_per_class": 0}, "max_clips_per_class must be at least 1, got 0"),
        (["700"], {"max_clips_per_class": "3"}, "max_clips_per_class must be an integer of at least 1, got '3'"),
        (["700"], {"seed": "3"}, "seed must be an integer, got '3'"),
        (["700"], {"seed": 1.0}, r"seed must be an integer, got 1\.0"),
        (["700"], {"seed": True}, "seed must be an integer, got True"),
        (["700"], {"classes": []}, r"classes must be a list of at least one name, or None for all, got \[\]"),
        (["700"], {"splits": []}, r"splits must be a list of at least one name, or None for all, got \[\]"),
        (["700"], {"splits": 1}, "splits must be a list of at least one name, or None for all, got 1"),
        (["700"], {"classes": [0]}, r"class 0 is not a class name, such as 'abseiling'"),
        (["700"], {"classes": ["nothing like it"]}, "valid: one of 700, which `kinetics classes 700` lists"),
        (["700"], {"decode": "no"}, "decode must be True, False or None, got 'no'"),
        (
            ["700"],
            {"mirror": "localhost:1234"},
            "mirror must be a URL that starts with http://",
        ),
        (["700"], {"annotations": 7}, "annotations must be a path or a URL, got 7"),
        (["700"], {"annotations": "/nowhere"}, "annotations='/nowhere' does not exist"),
    ],
)
def test_what_is_unknown_is_named_with_the_valid_ones_and_the_nearest(data_dir, arguments, options, message, streaming):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        datasets.load_dataset("kinetics", *arguments, data_dir=data_dir, streaming=streaming, **options)


def test_a_url_of_clips_is_an_error_that_says_how_to_load_them():
    with pytest.raises(ValueError, match=r"data_dir='s3://bucket/k700': must be a local directory; mount the store"):
        load(data_dir="s3://bucket/k700")


def test_a_number_that_is_no_release_is_an_error_that_names_the_releases(data_dir):
    with pytest.raises(ValueError, match=r"unknown release '70'; did you mean '700'\? \(valid: 400, 600"):
        datasets.load_dataset("kinetics", 70, data_dir=data_dir)


def test_the_variable_of_the_mirror_must_be_a_url(data_dir, monkeypatch):
    monkeypatch.setenv("KINETICS_MIRROR", "localhost:1234")
    with pytest.raises(ValueError, match="KINETICS_MIRROR must be a URL that starts with http"):
        load(data_dir=data_dir)


def test_a_release_of_no_labels_is_named_with_the_nearest():
    with pytest.raises(KeyError, match=r"unknown release '700_2020'; did you mean '700-2020'\?"):
        LABELS["700_2020"]
    assert "700_2020" not in LABELS
    assert LABELS.get("700_2020") is None


# ---- subset and exclude


@pytest.mark.parametrize("streaming", [False, True])
def test_a_subset_of_classes_loads_those_alone(data_dir, streaming, caplog):
    """Of the classes of the tree, these two are in IBM's list."""
    found = load(data_dir=data_dir, split="train", subset="mini-200", streaming=streaming)
    mine = with_labels(CLIPS["train"], "hurling (sport)", "using remote controller (not gaming)")
    assert rows(found) == rows_of(mine)
    assert "subset mini-200: the release does not have 3 of 200 classes" in caplog.text


def test_a_subset_in_a_file_and_its_cache(data_dir, tmp_path):
    path = tmp_path / "mine.txt"
    for wanted in (CLIPS["train"][:2], CLIPS["train"][1:4]):
        path.write_text("".join(f"{clip.label}/{clip.stem}\n" for clip in wanted))
        assert rows(load(data_dir=data_dir, split="train", subset=str(path))) == rows_of(wanted)


@pytest.mark.parametrize("streaming", [False, True])
def test_videos_of_other_splits_are_excluded(data_dir, tmp_path, streaming, caplog):
    train = CLIPS["train"]
    held_out = [Clip("zumba", train[-1].youtube_id, 500, 510), Clip("zumba", train[0].youtube_id, 5, 15)]
    path = write_annotations(tmp_path / "val.csv", held_out, "val")
    exclude = f"400:val={path}"
    found = load(data_dir=data_dir, splits=["train"], exclude=exclude, streaming=streaming)["train"]
    kept = [clip for clip in train if clip.youtube_id not in {clip.youtube_id for clip in held_out}]
    assert rows(found) == rows_of(kept)
    assert "kinetics 700 train: excluded 3 clips of 8, whose videos are in 400:validation" in caplog.text
    by_seconds = load(data_dir=data_dir, split="train", exclude=[exclude], exclude_by="seconds", streaming=streaming)
    assert rows(by_seconds) == rows_of(train[1:])  # [0, 10) and [5, 15) overlap


@pytest.mark.parametrize("streaming", [False, True])
def test_bad_annotations_to_exclude_end_a_load(data_dir, tmp_path, streaming):
    """They are a wrong argument, and no reason to skip the splits that they would be excluded from."""
    path = write_annotations(tmp_path / "val.csv", CLIPS["validation"], "val")
    with pytest.raises(ValueError, match=r"val\.csv has no row of the test split"):
        load(data_dir=data_dir, exclude=f"400:test={path}", streaming=streaming)


def test_text_with_commas_names_several_classes(data_dir):
    """As it does for the commands."""
    found = load(data_dir=data_dir, split="train", classes="zumba, petting animal (not cat),")
    assert rows(found) == rows_of(with_labels(CLIPS["train"], "zumba", "petting animal (not cat)"))
    with pytest.raises(ValueError, match=r"classes must be a list of at least one name, or None for all, got \[\]"):
        load(data_dir=data_dir, classes="")
