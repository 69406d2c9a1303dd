"""Scores held against the rules of the challenge, stated here, and files in every form that predictions come in."""

import csv
import json
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import kinetics  # noqa: F401  (registers the builder)
from kinetics_tools.annotations.read import clip_name
from kinetics_tools.cli.app import app
from kinetics_tools.evaluation import evaluate, read_predictions
from kinetics_tools.releases import LABELS
from tests.support.trees import Clip, clips_of, write_annotations

NAMES = LABELS["400"]
CLASSES = len(NAMES)


def clip(number, label):
    return Clip(NAMES[label], f"video{number:06d}", number, number + 10)


@pytest.fixture
def truth(tmp_path):
    """Ten clips of four classes; two of one video, of different classes."""
    clips = [clip(number, (0, 3, 3, 7, 399)[number % 5]) for number in range(10)]
    twin = clips[9]
    clips.append(Clip(NAMES[7], twin.youtube_id, 100, 110))
    write_annotations(tmp_path / "annotations" / "val.csv", clips, "val")
    return clips, str(tmp_path / "annotations")


def submission(path, results):
    path.write_text(json.dumps({"version": "1.0", "results": results, "external_data": {}}))
    return path


def ranked(*labels):
    return [{"label": NAMES[label], "score": 1 - place / 10} for place, label in enumerate(labels)]


def test_without_a_valid_prediction_nothing_is_said_about_scored_clips(truth, tmp_path):
    found = evaluate("400", submission(tmp_path / "p.json", {"notannotat0": ranked(1)}), annotations=truth[1])
    assert found.lines()[1:3] == [f"top-{k}        0.00% over 10 annotated videos" for k in (1, 5)]


def test_top1_top5_and_class_mean_by_hand(truth, tmp_path):
    clips, annotations = truth
    results = {one.youtube_id: ranked(NAMES.index(one.label), 1, 2) for one in clips[:4]}  # right: 0, 3, 3, 7
    results[clips[4].youtube_id] = ranked(1, 2, 4, 5, 399, 6)  # fifth: right at 5
    results[clips[5].youtube_id] = ranked(1, 2, 4, 5, 6, 0)  # sixth: wrong
    results[clips[6].youtube_id] = ranked(8)  # wrong
    results[clips[9].youtube_id] = ranked(7, 1)  # one of its two classes: right
    results["notannotat0"] = ranked(1)
    found = evaluate("400", submission(tmp_path / "p.json", results), annotations=annotations)
    # By video: 10 of them, 5 right at 1, 6 at 5, and 2 without a prediction, which are wrong.
    assert (found.clips, found.top1, found.top5) == (10, 0.5, 0.6)
    assert found.mean_error == pytest.approx((0.5 + 0.4) / 2)
    # The 8 videos with a prediction are right as often.
    assert (found.unit, found.scored, found.top1_scored, found.top5_scored) == ("video", 8, 5 / 8, 6 / 8)
    assert repr(found) == "\n".join(found.lines())
    assert found.lines()[1] == "top-1       50.00% over 10 annotated videos, 62.50% over 8 scored videos"
    assert found.missing == (clips[7].youtube_id, clips[8].youtube_id)
    assert found.unknown == ("notannotat0",)
    per_class = {
        NAMES[0]: (2, 0.5, 0.5),
        NAMES[3]: (4, 0.5, 0.5),
        NAMES[7]: (3, pytest.approx(2 / 3), pytest.approx(2 / 3)),  # the video of two classes was found as this one
        NAMES[399]: (1, 0.0, 1.0),
    }
    assert found.per_class == per_class
    assert found.class_mean == pytest.approx((0.5 + 0.5 + 2 / 3 + 0) / 4)
    assert found.confusion.sum() == 8
    assert {(int(a), int(b)): int(found.confusion[a, b]) for a, b in zip(*found.confusion.nonzero(), strict=True)} == {
        (0, 0): 1,
        (0, 1): 1,
        (3, 3): 2,
        (3, 8): 1,
        (7, 7): 2,
        (399, 1): 1,
    }
    assert not found.is_complete


def write_all(folder, clips, scores):
    """Write the scores of each clip in each format that can hold them."""
    keys = [(one.youtube_id, one.time_start, one.time_end) for one in clips]
    with open(folder / "wide.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["youtube_id", "time_start", "time_end", *NAMES])
        writer.writerows([*key, *row] for key, row in zip(keys, scores.tolist(), strict=True))
    with open(folder / "long.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["youtube_id", "time_start", "time_end", "label", "score"])
        for key, row in zip(keys, scores.tolist(), strict=True):
            writer.writerows([*key, name.replace(" ", "_"), score] for name, score in zip(NAMES, row, strict=True))
    columns = {"youtube_id": [k[0] for k in keys], "time_start": [k[1] for k in keys], "time_end": [k[2] for k in keys]}
    pq.write_table(pa.table({**columns, "scores": scores.tolist()}), folder / "lists.parquet")
    by_index = {str(label): scores[:, label] for label in range(CLASSES)}
    pq.write_table(pa.table({**columns, **by_index}), folder / "wide.parquet")
    return [folder / name for name in ("wide.csv", "long.csv", "lists.parquet", "wide.parquet")]


def test_every_form_gives_the_same_as_the_formula(truth, tmp_path):
    clips, annotations = truth
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(len(clips), CLASSES))
    true = np.array([NAMES.index(one.label) for one in clips])
    for row, place in enumerate(rng.integers(0, 9, len(clips))):
        scores[row, true[row]] = np.sort(scores[row])[-1 - place] + 1e-9  # no tie
    ranks = [(scores[row] > scores[row, true[row]]).sum() for row in range(len(clips))]
    expected = (np.mean([rank < 1 for rank in ranks]), np.mean([rank < 5 for rank in ranks]))
    assert 0 < expected[0] < expected[1] < 1
    for path in write_all(tmp_path, clips, scores):
        found = evaluate("400", path, annotations=annotations)
        assert (found.top1, found.top5) == pytest.approx(expected), path.name
        assert (found.clips, found.missing, found.bad) == (11, (), ()), path.name


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_of_equal_scores_the_lower_index_comes_first(tmp_path_factory, seed, levels):
    values = np.random.default_rng(seed).integers(0, levels, CLASSES).tolist()
    path = tmp_path_factory.mktemp("p") / "p.parquet"
    pq.write_table(pa.table({"youtube_id": ["abcdefghijk"], "scores": [[float(value) for value in values]]}), path)
    best, bad = read_predictions(path, "400")
    assert best == {"abcdefghijk": sorted(range(CLASSES), key=lambda label: (-values[label], label))[:5]}
    assert bad == []


def test_bad_predictions_are_named_and_do_not_count(truth, tmp_path):
    clips, annotations = truth
    ids = [one.youtube_id for one in clips]
    results = {
        ids[0]: [{"label": "abseilin", "score": 1.0}],
        ids[1]: [{"label": NAMES[3]}],
        ids[2]: [{"label": NAMES[3], "score": float("nan")}],
        ids[3]: ranked(7),
        ids[4]: [],
    }
    found = evaluate("400", submission(tmp_path / "p.json", results), annotations=annotations)
    assert [line.partition(":")[0] for line in found.bad] == ids[:3]
    assert "did you mean 'abseiling'" in found.bad[0]
    assert found.top1 == 0.1
    assert len(found.missing) == 9
    with open(tmp_path / "twice.csv", "w") as file:
        file.write(f"youtube_id,{','.join(NAMES)}\n")
        for _ in range(2):
            file.write(f"{ids[0]},{','.join('0' * CLASSES)}\n")
    assert read_predictions(tmp_path / "twice.csv", "400") == ({}, [f"{ids[0]}: predicted twice"])


def test_one_odd_name_changes_no_other_score(truth, tmp_path):
    """Predictions for unannotated videos are not counted, and change no other score."""
    clips, annotations = truth
    right = {one.youtube_id: ranked(NAMES.index(one.label)) for one in clips}
    for odd in ("short", f"v_{clips[0].youtube_id}"):
        path = submission(tmp_path / "p.json", {**right, odd: ranked(1)})
        found = evaluate("400", path, annotations=annotations)
        assert (found.top1, found.missing, found.bad, found.unknown) == (1.0, (), (), (odd,))


def test_predictions_for_clips_and_videos_in_one_file(truth, tmp_path):
    """The fewer are bad, and the others are right: one clip of eleven, or one video of ten, lacks a prediction."""
    clips, annotations = truth
    names = [clip_name(one.youtube_id, one.time_start, one.time_end) for one in clips]
    ids = [one.youtube_id for one in clips]
    labels = [NAMES.index(one.label) for one in clips]
    for most, few, share, what in ((names, ids, 10 / 11, "videos"), (ids, names, 9 / 10, "clips")):
        keys = [few[0], *most[1:]]
        results = {key: ranked(label) for key, label in zip(keys, labels, strict=True)}
        found = evaluate("400", submission(tmp_path / "p.json", results), annotations=annotations)
        assert (found.top1, found.missing) == (pytest.approx(share), (most[0],))
        assert found.bad == (f"{few[0]}: is one of the {what}, but most predictions are not for {what}",)


@pytest.mark.parametrize("times", [2, 3, 4])
def test_what_is_predicted_more_than_once_is_bad(tmp_path, times):
    row = f"abcdefghij0,{','.join('0' * CLASSES)}\n"
    (tmp_path / "p.csv").write_text(f"youtube_id,{','.join(NAMES)}\n{row * times}")
    best, bad = read_predictions(tmp_path / "p.csv", "400")
    assert best == {}
    assert bad == [f"abcdefghij0: predicted {'twice' if times == 2 else f'{times} times'}"]


def test_what_a_submission_has_twice_is_bad(tmp_path):
    once, twice = json.dumps(ranked(3)), json.dumps(ranked(5))
    (tmp_path / "p.json").write_text(f'{{"results": {{"a": {once}, "b": {once}, "a": {twice}}}}}')
    assert read_predictions(tmp_path / "p.json", "400") == ({"b": [3]}, ["a: predicted twice"])


@pytest.mark.parametrize("form", ["json", "csv"])
def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path, form):
    content = json.dumps({"results": {"aaaaaaaaaaa": ranked(3)}})
    if form == "csv":
        content = f"youtube_id,label,score\naaaaaaaaaaa,{NAMES[3]},1\n"
    (tmp_path / f"p.{form}").write_text(content, encoding="utf-8-sig")
    assert read_predictions(tmp_path / f"p.{form}", "400") == ({"aaaaaaaaaaa": [3]}, [])


def test_labels_may_be_their_indices_and_a_logarithm_may_be_of_zero(tmp_path):
    rows = ["aaaaaaaaaaa,7,-inf", "aaaaaaaaaaa,3,-0.5", "bbbbbbbbbbb,400,1", "ccccccccccc,3,nan"]
    (tmp_path / "p.csv").write_text("\n".join(["youtube_id,label,score", *rows]))
    best, bad = read_predictions(tmp_path / "p.csv", "400")
    assert best == {"aaaaaaaaaaa": [3, 7]}
    assert sorted(bad) == [
        "bbbbbbbbbbb: label 400: 400 has 400 classes, the first is 0",
        "ccccccccccc: a score is not a number",
    ]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_indices_may_be_floats(tmp_path, form):
    """pandas turns integers in a column with empty fields into floats; the empty ones are invalid."""
    path = tmp_path / f"p.{form}"
    if form == "csv":
        path.write_text("youtube_id,label,score\naaaaaaaaaaa,7.0,0.1\naaaaaaaaaaa,3.0,0.9\nbbbbbbbbbbb,,1.0\n")
    else:
        ids = ["aaaaaaaaaaa", "aaaaaaaaaaa", "bbbbbbbbbbb"]
        pq.write_table(pa.table({"youtube_id": ids, "label": [7.0, 3.0, None], "score": [0.1, 0.9, 1.0]}), path)
    best, bad = read_predictions(path, "400")
    assert best == {"aaaaaaaaaaa": [3, 7]}
    assert bad == ["bbbbbbbbbbb: has no label"]


def test_rows_that_cannot_be_read_are_named(tmp_path):
    good, times = ",".join("1" + "0" * (CLASSES - 1)), "youtube_id,time_start,time_end"
    wide = [f"aaaaaaaaaaa,x,10,{good}", f"bbbbbbbbbbb,0,10,{good},7", f"ccccccccccc,0,10,{good[:-1]}"]
    wide += ["ddddddddddd,0,10"]
    (tmp_path / "wide.csv").write_text("\n".join([f"{times},{','.join(NAMES)}", *wide, f"eeeeeeeeeee,0,10,{good}"]))
    best, bad = read_predictions(tmp_path / "wide.csv", "400")
    assert best == {"eeeeeeeeeee_000000_000010": [0, 1, 2, 3, 4]}
    assert bad == [
        "row 1: aaaaaaaaaaa from 'x' to '10': must be seconds",
        "row 2: has more than 403 fields",
        "ccccccccccc_000000_000010: the score '' is not a number",
        "ddddddddddd_000000_000010: the score None is not a number",
    ]
    long = ["aaaaaaaaaaa,zumba,1", "aaaaaaaaaaa,zumba,0", "bbbbbbbbbbb,zumba,1", "bbbbbbbbbbb,abseiling,x"]
    (tmp_path / "long.csv").write_text("\n".join(["youtube_id,label,score", *long, "ccccccccccc,abseiling,1"]))
    best, bad = read_predictions(tmp_path / "long.csv", "400")
    assert best == {"ccccccccccc": [0]}
    assert bad == ["aaaaaaaaaaa: has two scores of 'zumba'", "bbbbbbbbbbb: the score 'x' is not a number"]
    lists = pa.table({"youtube_id": ["aaaaaaaaaaa", "bbbbbbbbbbb"], "scores": [None, [0.5, 0.5]]})
    pq.write_table(lists, tmp_path / "lists.parquet")
    expected = ["aaaaaaaaaaa: no scores of 400 classes", "bbbbbbbbbbb: 2 scores of 400 classes"]
    assert read_predictions(tmp_path / "lists.parquet", "400") == ({}, expected)
    nested = pa.table({"youtube_id": ["aaaaaaaaaaa"], "scores": [[[0.5]] * CLASSES]})
    pq.write_table(nested, tmp_path / "nested.parquet")
    assert read_predictions(tmp_path / "nested.parquet", "400") == (
        {},
        ["aaaaaaaaaaa: the score [0.5] is not a number"],
    )


def test_splits_by_the_names_of_their_files(truth, tmp_path):
    path = submission(tmp_path / "p.json", {one.youtube_id: ranked(0) for one in truth[0]})
    assert evaluate("400", path, split="val", annotations=truth[1]).split == "validation"
    with pytest.raises(ValueError, match="unknown split 'valid'"):
        evaluate("400", path, split="valid", annotations=truth[1])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", '{"results": ', r"p\.json: not valid JSON"),
        ("p.csv", "", r"p\.csv: has no column youtube_id"),
        ("p.txt", "", "predictions must be a .json, .csv or .parquet file"),
        ("p.json", "[]", "not a submission"),
        ("p.csv", "id,label,score\nx,zumba,1\n", "has no column youtube_id"),
        ("p.csv", "youtube_id,abseiling\nabcdefghijk,1\n", "has 1 columns of scores; 400 has 400 classes"),
        ("p.csv", "youtube_id,abseilling\nabcdefghijk,1\n", r"p\.csv: unknown class of 400 'abseilling'"),
        ("p.parquet", "no parquet", "not a Parquet file"),
    ],
)
def test_files_that_are_no_predictions(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_predictions(path, "400")


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
def test_damaged_parquet_is_named(tmp_path, compression):
    path = tmp_path / "p.parquet"
    ids = [f"video{number:06d}" for number in range(1000)]
    scores = np.random.default_rng(0).integers(0, 9, (1000, CLASSES)).astype(np.float64)
    pq.write_table(pa.table({"youtube_id": ids, "scores": scores.tolist()}), path, compression=compression)
    content = bytearray(path.read_bytes())
    for start in range(4, len(content) - 4096, 256):
        content[start : start + 32] = b"\xff" * 32
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"p\.parquet: not a Parquet file, or a corrupt one \(.+\)"):
        read_predictions(path, "400")


@pytest.mark.parametrize("good", [b"video000003", NAMES[3].encode()], ids=["an id", "a label"])
def test_damaged_text_in_parquet_is_named(tmp_path, good):
    path = tmp_path / "p.parquet"
    ids, labels = [f"video{number:06d}" for number in range(9)], NAMES[:9]
    pq.write_table(pa.table({"youtube_id": ids, "label": labels, "score": [1.0] * 9}), path, compression="none")
    content = path.read_bytes()
    assert good in content
    path.write_bytes(content.replace(good, b"\xff" * len(good)))
    with pytest.raises(ValueError, match=r"p\.parquet: not a Parquet file, or a corrupt one \(.+\)"):
        read_predictions(path, "400")


def test_a_file_that_is_not_there_is_that(tmp_path):
    for suffix in ("json", "csv", "parquet"):
        with pytest.raises(
            FileNotFoundError, match=rf"there is no file .*p\.{suffix}; pass the path of the predictions"
        ):
            read_predictions(tmp_path / f"p.{suffix}", "400")


# ---- Files of any size


@pytest.fixture
def small_blocks(monkeypatch):
    """Read files in blocks that are smaller than a prediction."""
    monkeypatch.setattr("kinetics_tools.evaluation.submission._BLOCK", 7)
    monkeypatch.setattr("kinetics_tools.evaluation.tables._FIELDS", 700)


@pytest.mark.parametrize("seed", range(4))
def test_rows_of_scores_may_have_any_order(tmp_path, small_blocks, seed):
    """Each video has some classes, with equal scores among them; its rows are anywhere in the file."""
    rng = np.random.default_rng(seed)
    chosen = {f"video{number:06d}": rng.permutation(CLASSES)[: rng.integers(1, 60)] for number in range(40)}
    scores = {key: rng.integers(0, 30, len(labels)) / 8 for key, labels in chosen.items()}
    rows = [(key, NAMES[label], score) for key in chosen for label, score in zip(chosen[key], scores[key], strict=True)]
    rows = [rows[place] for place in rng.permutation(len(rows))] if seed else rows
    columns = dict(zip(("youtube_id", "label", "score"), map(list, zip(*rows, strict=True)), strict=True))
    expected = {key: labels[np.lexsort((labels, -scores[key]))][:5].tolist() for key, labels in chosen.items()}
    for path in (tmp_path / "p.parquet", tmp_path / "p.csv"):
        if path.suffix == ".csv":
            lines = [",".join(map(str, row)) for row in rows if "," not in row[1]]
            assert len(lines) == len(rows)
            path.write_text("\n".join(["youtube_id,label,score", *lines]))
        else:
            pq.write_table(pa.table(columns), path, row_group_size=333)
        assert read_predictions(path, "400") == (expected, [])


def test_rows_without_a_use_are_named_wherever_they_are(tmp_path, small_blocks):
    ids = [f"video{number:06d}" for number in range(300)]
    table = {
        "youtube_id": [*ids, ids[7], ids[8], ids[9], ids[10]],
        "time_start": ["0"] * 5 + ["x"] + ["0"] * 298,
        "time_end": [10.0] * 304,
        "label": ["zumba"] * 300 + ["zumba", "abseilin", None, "abseiling"],
        "score": [0.5] * 303 + [float("nan")],
    }
    pq.write_table(pa.table(table), tmp_path / "p.parquet")
    best, bad = read_predictions(tmp_path / "p.parquet", "400")
    names = {f"{one}_000000_000010" for number, one in enumerate(ids) if number not in (5, 7, 8, 9, 10)}
    assert best == {name: [NAMES.index("zumba")] for name in names}
    assert bad == [
        "row 6: video000005 from 'x' to 10.0: must be seconds",
        "video000007_000000_000010: has two scores of 'zumba'",
        "video000008_000000_000010: unknown class of 400 'abseilin'; did you mean 'abseiling'? (valid: one of 400, "
        "which `kinetics classes 400` lists)",
        "video000009_000000_000010: has no label",
        "video000010_000000_000010: a score is not a number",
    ]


def test_submissions_are_read_in_blocks(tmp_path, small_blocks):
    results = {f"video{number:06d}": ranked(number, 3) for number in range(4, 9)}
    whole = {"version": 1.25, "external_data": {"used": [True, None]}, "results": results, "more": 123456789}
    for indent in (None, 2):
        (tmp_path / "p.json").write_text(json.dumps(whole, indent=indent))
        found = read_predictions(tmp_path / "p.json", "400")
        assert found == ({key: [number, 3] for number, key in enumerate(results, start=4)}, [])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"results": {}} 1', "Extra data at character 16"),
        ('{"results": {"a": [', "Expecting value at character 19"),
        ('{"results": {"a" []}}', "Expecting ':' at character 17"),
        ('{"results": {1: []}}', "Expecting a name in double quotes at character 13"),
        ('{"results": {"a": ' + "[" * 100_000, "maximum recursion depth exceeded"),
        (b'{"results": {"a": "\xff"}}', "can't decode byte 0xff"),
    ],
)
def test_invalid_json_is_named(tmp_path, content, reason):
    (tmp_path / "p.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=rf"p\.json: not valid JSON \(.*{reason}"):
        read_predictions(tmp_path / "p.json", "400")


@pytest.mark.parametrize("form", ["json", "parquet"])
def test_only_the_best_scores_are_held(tmp_path, monkeypatch, form):
    """Of 80,000 scores, which would take 24 bytes each as Python's numbers alone."""
    monkeypatch.setattr("kinetics_tools.evaluation.submission._BLOCK", 1 << 16)
    monkeypatch.setattr("kinetics_tools.evaluation.tables._FIELDS", 1 << 14)
    keys = [f"video{number:06d}" for number in range(200)]
    scores = [n / CLASSES for n in range(CLASSES)]
    path = tmp_path / f"p.{form}"
    if form == "json":
        entries = [{"label": name, "score": score} for name, score in zip(NAMES, scores, strict=True)]
        submission(path, dict.fromkeys(keys, entries))
    else:
        columns = {"youtube_id": np.repeat(keys, CLASSES), "label": NAMES * len(keys), "score": scores * len(keys)}
        pq.write_table(pa.table(columns), path)
    tracemalloc.start()
    try:
        best, _ = read_predictions(path, "400")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert best == {key: [399, 398, 397, 396, 395] for key in keys}
    assert peak < 24 * len(keys) * CLASSES / 2


def test_nothing_but_bad_predictions_are_for_what_their_names_say(truth, tmp_path):
    clips, annotations = truth
    names = [clip_name(one.youtube_id, one.time_start, one.time_end) for one in clips]
    rows = [f"{one.youtube_id},{one.time_start},{one.time_end},{NAMES[3]},none" for one in clips]
    (tmp_path / "p.csv").write_text("\n".join(["youtube_id,time_start,time_end,label,score", *rows]))
    found = evaluate("400", tmp_path / "p.csv", annotations=annotations)
    assert (found.clips, found.top1, found.top5) == (len(clips), 0, 0)
    assert found.missing == tuple(sorted(names))
    assert len(found.bad) == len(clips)


def test_a_split_without_labels_scores_nothing(tmp_path):
    write_annotations(tmp_path / "test.csv", clips_of("test"), "test", labels=False)
    with pytest.raises(ValueError, match="without a label"):
        evaluate("700", submission(tmp_path / "p.json", {}), split="test", annotations=str(tmp_path))


def test_real_annotations(shared, tmp_path):
    """A model that always says the class of the most clips is right as often as that class occurs."""
    path = shared / "annotations" / "cvdf_k400_val.csv"
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    results = {row["youtube_id"]: ranked(0) for row in rows}
    found = evaluate("400", submission(tmp_path / "p.json", results), annotations=str(path))
    assert found.clips == len({row["youtube_id"] for row in rows})
    assert found.top1 == found.top5 == sum(row["label"] == NAMES[0] for row in rows) / len(rows)
    assert found.class_mean == pytest.approx(1 / 400)


def test_the_command(truth, tmp_path):
    clips, annotations = truth
    path = submission(tmp_path / "p.json", {one.youtube_id: ranked(NAMES.index(one.label)) for one in clips[:10]})
    given = ["evaluate", "400", str(path), "--annotations", annotations]
    given += ["--report", str(tmp_path / "r.json"), "--confusion", str(tmp_path / "c.csv")]
    result = CliRunner().invoke(app, given)
    assert result.exit_code == 0, result.output
    assert "top-1      100.00% over 10 annotated videos" in result.output
    assert result.output.splitlines()[-1] == f"wrote {tmp_path / 'r.json'} and {tmp_path / 'c.csv'}"
    assert json.loads((tmp_path / "r.json").read_text())["mean_error"] == 0
    with open(tmp_path / "c.csv", newline="") as file:
        table = list(csv.reader(file))
    assert table[0] == ["label", *NAMES]
    assert sum(int(value) for row in table[1:] for value in row[1:]) == 10
    path = submission(tmp_path / "p.json", {})
    assert CliRunner().invoke(app, ["evaluate", "400", str(path), "--annotations", annotations]).exit_code == 1


@pytest.mark.parametrize("option", ["--report", "--confusion"])
def test_places_that_cannot_be_written_are_told_before_work(truth, option):
    """Only an attempt tells: root may write to /proc by its mode."""
    result = CliRunner().invoke(app, ["evaluate", "400", "no.json", "--annotations", truth[1], option, "/proc/x"])
    assert result.exit_code == 2
    assert "/proc/x cannot be written (No such file or directory); pass a path in another dir" in result.output


def test_predictions_that_are_invalid_for_one_reason_are_named_once(truth, tmp_path):
    clips, annotations = truth
    ids = list(dict.fromkeys(clip.youtube_id for clip in clips))
    pq.write_table(pa.table({"youtube_id": ids, "scores": [[0.5, 0.5]] * len(ids)}), tmp_path / "scores.parquet")
    lines = evaluate("400", tmp_path / "scores.parquet", annotations=str(annotations)).lines()
    expected = f"invalid: {len(ids):,} predictions, such as of {ids[0]}: 2 scores of 400 classes"
    assert [line for line in lines if line.startswith("invalid")] == [expected]
