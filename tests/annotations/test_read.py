"""read_annotations: the real files, any table as CSV and JSON, and what malformed files get."""

import csv
import json
import logging
import os
import re
import struct
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinetics_tools.annotations import read
from kinetics_tools.annotations.read import ANNOTATION_SCHEMA, clip_name, read_annotations
from kinetics_tools.releases import LABELS, find_split
from tests.support.trees import CLIPS, Clip, json_entry, load, rows, rows_of, write_annotations, write_tree

# File of the real data -> rows, videos with several clips, split, release: its README.
FILES = {
    "deepmind_k400_validate.csv": (18_009, 0, "validation", "400"),
    "cvdf_k400_val.csv": (19_906, 0, "validation", "400"),
    "deepmind_k600_validate.csv": (28_267, 5, "validation", "600"),
    "deepmind_k700_2020_validate.csv": (33_909, 53, "validation", "700-2020"),
    "deepmind_k700_2020_test.csv": (67_009, 284, "test", "700-2020"),
    "activitynet_k700_val.csv": (35_000, None, "validation", "700"),
}
SPLIT_WORDS = {
    "train": "train",
    "val": "validation",
    "validate": "validation",
    "validation": "validation",
    "test": "test",
}


@pytest.mark.parametrize("word", SPLIT_WORDS)
def test_splits_are_found_by_every_word_for_them(word):
    assert find_split(word) == SPLIT_WORDS[word]
    with pytest.raises(ValueError, match=r"unknown split 'vall'; did you mean 'validation'\? \(valid: train, "):
        find_split("vall")


def rows_by_csv_module(path):
    with open(path, newline="", encoding="utf-8") as file:
        return [
            {
                "youtube_id": row["youtube_id"],
                "time_start": float(row["time_start"]),
                "time_end": float(row["time_end"]),
                "split": SPLIT_WORDS[row["split"]],
                "label": row.get("label"),
            }
            for row in csv.DictReader(file)
        ]


# ---- The real files


@pytest.mark.parametrize("name", FILES)
def test_every_row_of_a_real_file(shared, name):
    path = shared / "annotations" / name
    table = read_annotations(path)
    rows, twice, split, release = FILES[name]
    assert len(table) == rows
    assert table.schema == ANNOTATION_SCHEMA
    assert table.to_pylist() == rows_by_csv_module(path)
    assert set(table["split"].to_pylist()) == {split}
    clips_of_videos = Counter(table["youtube_id"].to_pylist())
    assert twice is None or sum(count > 1 for count in clips_of_videos.values()) == twice
    labels = {None} if split == "test" else set(LABELS[release])
    assert set(table["label"].to_pylist()) == labels


@pytest.mark.parametrize("name", FILES)
def test_a_real_file_as_json(shared, name, tmp_path):
    expected = {row["youtube_id"]: row for row in rows_by_csv_module(shared / "annotations" / name)}
    path = tmp_path / "official.json"
    entries = {}
    for youtube_id, row in expected.items():
        label = {"label": row["label"]} if row["label"] else {}
        entries[youtube_id] = {
            "annotations": {**label, "segment": [row["time_start"], row["time_end"]]},
            "duration": row["time_end"] - row["time_start"],
            "subset": row["split"],
            "url": f"https://www.youtube.com/watch?v={youtube_id}",
        }
    path.write_text(json.dumps(entries))
    table = read_annotations(path)
    assert table.schema == ANNOTATION_SCHEMA
    assert table.to_pylist() == list(expected.values())


@pytest.mark.parametrize("release", ["600", "700-2020"])
def test_real_json_without_the_second_clips_warns_where_the_csv_has_them(shared, release, tmp_path, caplog):
    name = f"deepmind_k{release.replace('-', '_')}_validate.csv"
    twice = FILES[name][1]
    (tmp_path / "validate.csv").write_bytes((shared / "annotations" / name).read_bytes())
    clips = [
        Clip(row["label"], row["youtube_id"], int(row["time_start"]), int(row["time_end"]))
        for row in rows_by_csv_module(tmp_path / "validate.csv")
    ]
    path = write_annotations(tmp_path / "validate.json", clips, "validate")
    assert len(read_annotations(path)) == len(clips) - twice
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert str(path) in warning
    assert str(tmp_path / "validate.csv") in warning
    assert re.search(rf"\b{twice}\b", warning)


# ---- Any table

ids = st.text("ABCXYZabcxyz0189-_", min_size=11, max_size=11)


def as_float32(number):
    return struct.unpack("f", struct.pack("f", number))[0]


@st.composite
def tables(draw):
    """Rows as read_annotations must give them, and beside them the spelling of their splits."""
    # Labels with commas, quotes and letters of any script; line ends are in none of the public files.
    alphabet = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"))
    label = st.one_of(st.none(), st.sampled_from(LABELS["700"]), st.text(alphabet, min_size=1, max_size=12))
    whole = st.integers(0, 1 << 20).map(float)
    real = st.floats(0, 1e6, width=32, allow_subnormal=False)
    rows, words = [], []
    has_labels = draw(st.booleans())
    for youtube_id in draw(st.lists(ids, max_size=20)):
        start, end = sorted(draw(st.lists(whole | real, min_size=2, max_size=2, unique=True)))
        words.append(draw(st.sampled_from(sorted(SPLIT_WORDS))))
        rows.append(
            {
                "youtube_id": youtube_id,
                "time_start": start,
                "time_end": end,
                "split": SPLIT_WORDS[words[-1]],
                "label": draw(label) if has_labels else None,
            }
        )
    return rows, words, has_labels


def number(value):
    """Write whole seconds like the public files, and others with all digits."""
    return str(int(value)) if value == int(value) else repr(value)


@settings(max_examples=150)
@given(
    tables(),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.sampled_from([number, repr]),
    st.permutations(["label", "youtube_id", "time_start", "time_end", "split", "is_cc"]),
)
def test_any_table_written_as_csv_reads_back_equal(tmp_path_factory, table, quoting, end, bom, write, columns):
    rows, words, has_labels = table
    columns = [name for name in columns if has_labels or name != "label"]
    path = tmp_path_factory.getbasetemp() / "any.csv"
    with open(path, "w", newline="", encoding="utf-8-sig" if bom else "utf-8") as file:
        writer = csv.DictWriter(file, columns, quoting=quoting, lineterminator=end, extrasaction="ignore")
        writer.writeheader()
        for row, word in zip(rows, words, strict=True):
            times = {name: write(row[name]) for name in ("time_start", "time_end")}
            writer.writerow({**row, **times, "split": word, "label": row["label"] or "", "is_cc": 0})
    found = read_annotations(path)
    assert found.schema == ANNOTATION_SCHEMA
    assert found.to_pylist() == rows


@settings(max_examples=150)
@given(tables(), st.booleans(), st.booleans(), st.sampled_from([None, 1]))
def test_any_table_written_as_json_reads_back_equal(tmp_path_factory, table, whole, ascii_only, indent):
    rows = {row["youtube_id"]: (row, word) for row, word in zip(table[0], table[1], strict=True)}
    path = tmp_path_factory.getbasetemp() / "any.json"
    entries = {}
    for youtube_id, (row, word) in rows.items():
        segment = [row["time_start"], row["time_end"]]
        if whole and all(second == int(second) for second in segment):
            segment = [int(second) for second in segment]
        annotations = {"segment": segment}
        if row["label"] is not None:
            annotations["label"] = row["label"]
        duration = row["time_end"] - row["time_start"]
        entries[youtube_id] = {"annotations": annotations, "duration": duration, "subset": word, "url": "https://x"}
    path.write_text(json.dumps(entries, ensure_ascii=ascii_only, indent=indent), encoding="utf-8")
    found = read_annotations(path)
    assert found.schema == ANNOTATION_SCHEMA
    assert found.to_pylist() == [row for row, _ in rows.values()]


def test_two_clips_of_a_video_stay_two_rows_in_csv(tmp_path):
    clips = [Clip("zumba", "abcdefghijk", 1, 11), Clip("abseiling", "abcdefghijk", 30, 40)]
    table = read_annotations(write_annotations(tmp_path / "val.csv", clips, "val"))
    assert table["label"].to_pylist() == ["zumba", "abseiling"]
    assert table["time_start"].to_pylist() == [1, 30]


def test_json_warns_only_if_the_csv_beside_it_holds_more_clips(tmp_path, caplog):
    clips = [Clip("zumba", "abcdefghijk", 1, 11), Clip("abseiling", "abcdefghijk", 30, 40)]
    path = write_annotations(tmp_path / "val.json", clips, "val")
    assert read_annotations(path)["label"].to_pylist() == ["abseiling"]  # the last wins in a JSON object
    write_annotations(tmp_path / "val.csv", clips[:1], "val")
    read_annotations(path)
    assert not caplog.records
    write_annotations(tmp_path / "val.csv", clips, "val")
    read_annotations(path)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_float_seconds_keep_their_value_and_name_their_file_by_whole_seconds(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("youtube_id,time_start,time_end,split\nabcdefghijk,7.25,1e1,train\n")
    table = read_annotations(path)
    assert table.to_pylist()[0]["time_start"] == 7.25
    assert table.to_pylist()[0]["time_end"] == 10
    assert clip_name("abcdefghijk", 7.25, 10) == "abcdefghijk_000007_000010"


def test_a_path_may_be_a_string_or_a_path_with_any_letters(tmp_path):
    path = write_annotations(tmp_path / "ärger 动作 'x'" / "TRAIN.CSV", [Clip("zumba", "abcdefghijk", 1, 11)], "train")
    assert read_annotations(path) == read_annotations(str(path))
    json_path = path.with_name("TRAIN.JSON")
    json_path.write_text(json.dumps({"abcdefghijk": json_entry(Clip("zumba", "abcdefghijk", 1, 11), "train")}))
    assert read_annotations(json_path) == read_annotations(path)


def test_a_file_of_many_blocks_is_one_table_and_its_rows_keep_their_order(tmp_path):
    clips = [Clip("zumba", f"{number:011d}", number, number + 10, content=b"x") for number in range(60_000)]
    path = write_annotations(tmp_path / "train.csv", clips, "train")
    assert path.stat().st_size > 2 << 20  # Arrow reads blocks of 1 MiB
    table = read_annotations(path)
    assert table["youtube_id"].to_pylist() == [clip.youtube_id for clip in clips]
    assert isinstance(table, pa.Table)


# ---- Malformed files

HEADER = "label,youtube_id,time_start,time_end,split"
GOOD = "zumba,abcdefghijk,1,11,train"

# What is wrong in the third line -> words of the message.
BAD_ROWS = {
    "zumba,bcdefghijkl,1,11": ["4 columns", "5"],
    "zumba,bcdefghijkl,1,11,train,0": ["6 columns", "5"],
    "zumba,bcdefghijkl,one,11,train": ["time_start", "'one'", "not a number"],
    "zumba,bcdefghijkl,1,,train": ["time_end", "not a number"],
    "zumba,bcdefghijkl,1,0x11,train": ["time_end", "'0x11'", "not a number"],
    "zumba,bcdefghijkl,nan,11,train": ["time_start", "nan"],
    "zumba,bcdefghijkl,1,inf,train": ["time_end", "inf"],
    "zumba,bcdefghijkl,11,1,train": ["11.0, 1.0", "empty"],
    "zumba,bcdefghijkl,11,11,train": ["11.0, 11.0", "empty"],
    "zumba,bcdefghijkl,-1,11,train": ["-1.0, 11.0", "before 0"],
    "zumba,bcdefghijk,1,11,train": ["youtube_id", "'bcdefghijk'", "11 characters"],
    "zumba,bcdefghijklm,1,11,train": ["youtube_id", "'bcdefghijklm'", "11 characters"],
    "zumba,../../etc/p,1,11,train": ["youtube_id", "'../../etc/p'", "11 characters"],
    "zumba,,1,11,train": ["youtube_id", "''", "11 characters"],
    "zumba,bcdefghijkl,1,11,trian": ["split", "'trian'"],
    "zumba,bcdefghijkl,1,11,": ["split", "''"],
}


@pytest.mark.parametrize("bad", BAD_ROWS)
def test_a_malformed_row_is_named_by_file_line_and_reason(tmp_path, bad):
    path = tmp_path / "train.csv"
    path.write_text("\n".join([HEADER, GOOD, bad, GOOD, ""]))
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: line 3: ") as caught:
        read_annotations(path)
    for words in BAD_ROWS[bad]:
        assert words in str(caught.value)


@pytest.mark.parametrize("bad", BAD_ROWS)
def test_empty_lines_before_a_malformed_row_count_as_lines(tmp_path, bad):
    path = tmp_path / "train.csv"
    path.write_text("\n".join([HEADER, "", GOOD, "", "", bad, ""]))
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: line 6: "):
        read_annotations(path)


@pytest.mark.parametrize("bad", ["zumba,bcdefghijkl,1,11", "zumba,bcdefghijkl,x,11,train", "zumba,x,1,11,train"])
def test_a_malformed_row_far_down_the_file_is_named_by_its_line(tmp_path, bad):
    path = tmp_path / "train.csv"
    path.write_text("\n".join([HEADER, *[GOOD] * 80_000, bad, *[GOOD] * 10]))
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: line 80002: "):
        read_annotations(path)


@pytest.mark.parametrize("column", ["youtube_id", "time_start", "time_end", "split"])
def test_a_missing_column_is_named(tmp_path, column):
    row = dict(zip(HEADER.split(","), GOOD.split(","), strict=True))
    del row[column]
    path = tmp_path / "train.csv"
    path.write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        read_annotations(path)
    assert column in str(caught.value)
    assert "line 1" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_a_csv_without_a_header_is_called_empty(tmp_path, content):
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: .*empty"):
        read_annotations(path)


@pytest.mark.parametrize(
    "content", [b"\x00\x01\x02binary\xff\xfe", b"\x1f\x8b\x08\x00" + bytes(100), b"<html>\n<p>404"]
)
def test_what_is_no_csv_is_a_value_error_that_names_the_file(tmp_path, content):
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: "):
        read_annotations(path)


@pytest.mark.parametrize("columns", [["<html>404</html>"], ["label", "youtube_id"]])
def test_one_line_without_its_end_is_a_header_that_lacks_columns(tmp_path, columns):
    path = tmp_path / "train.csv"
    path.write_text(",".join(columns))
    message = rf"line 1: no column .*time_start.* in the header, which has {', '.join(columns)}"
    with pytest.raises(ValueError, match=message):
        read_annotations(path)


def test_a_header_without_its_end_is_a_table_without_rows(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("label,youtube_id,time_start,time_end,split")
    assert len(read_annotations(path)) == 0


def test_an_error_in_json_is_said_once(tmp_path):
    path = tmp_path / "train.json"
    entry = {"annotations": {"label": "zumba", "segment": ["soon", 10]}, "subset": "training"}
    path.write_text(json.dumps({"abcdefghijk": entry}))
    with pytest.raises(ValueError, match=r"train\.json: abcdefghijk: ") as caught:
        read_annotations(path)
    assert str(caught.value).count("soon") == 1


def test_a_label_that_is_no_utf_8_is_a_value_error_that_names_file_and_line(tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes(f"{HEADER}\n{GOOD}\n".encode() + b"z\xff\xfe,bcdefghijkl,1,11,train\n")
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: line 3: "):
        read_annotations(path)


def test_a_header_alone_is_no_rows(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(HEADER + "\n")
    assert read_annotations(path).schema == ANNOTATION_SCHEMA
    assert len(read_annotations(path)) == 0
    (tmp_path / "train.json").write_text("{}")
    assert read_annotations(tmp_path / "train.json").schema == ANNOTATION_SCHEMA
    assert len(read_annotations(tmp_path / "train.json")) == 0


BAD_ENTRIES = {
    '{"annotations": {"label": "zumba", "segment": [1.0]}, "subset": "train"}': ["2", "1"],
    '{"annotations": {"label": "zumba", "segment": [1.0, 2.0, 3.0]}, "subset": "train"}': ["2", "3"],
    '{"annotations": {"label": "zumba", "segment": ["x", 2.0]}, "subset": "train"}': ["x"],
    '{"annotations": {"label": "zumba", "segment": [true, 2.0]}, "subset": "train"}': ["number, got True"],
    '{"annotations": {"label": "zumba", "segment": "ab"}, "subset": "train"}': ["segment must be an array", "ab"],
    '{"annotations": [], "subset": "train"}': ["annotations must be an object"],
    '{"annotations": {"label": "zumba", "segment": [11.0, 1.0]}, "subset": "train"}': ["11.0, 1.0", "empty"],
    '{"annotations": {"label": "zumba", "segment": [-1.0, 1.0]}, "subset": "train"}': ["-1.0, 1.0"],
    '{"annotations": {"label": "zumba"}, "subset": "train"}': ["time_start", "not a number"],
    '{"annotations": {"label": "zumba", "segment": [1.0, 2.0]}}': ["split", "None"],
    '{"annotations": {"label": 5, "segment": [1.0, 2.0]}, "subset": "train"}': ["label", "a string, got 5"],
    '{"subset": "train"}': ["time_start", "not a number"],
    '"train"': ["train"],
    "null": [],
    "[1.0, 2.0]": [],
}


@pytest.mark.parametrize("bad", BAD_ENTRIES)
def test_a_malformed_json_entry_is_named_by_file_entry_and_reason(tmp_path, bad):
    good = '{"annotations": {"label": "zumba", "segment": [1.0, 11.0]}, "subset": "train"}'
    path = tmp_path / "train.json"
    path.write_text(f'{{"abcdefghijk": {good}, "bcdefghijkl": {bad}, "cdefghijklm": {good}}}')
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: bcdefghijkl: ") as caught:
        read_annotations(path)
    for words in BAD_ENTRIES[bad]:
        assert words in str(caught.value)


def test_a_bad_id_in_json_is_named(tmp_path):
    path = tmp_path / "train.json"
    path.write_text('{"short": {"annotations": {"segment": [1, 2]}, "subset": "train"}}')
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: short: youtube_id 'short'"):
        read_annotations(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "not JSON"), ('{"a": ', "not JSON"), *((text, "must be an object") for text in ("[]", "[{}]", "5", '"x"'))],
)
def test_what_is_no_json_object_is_a_value_error_that_names_the_file(tmp_path, content, words):
    path = tmp_path / "train.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: .*{words}"):
        read_annotations(path)


# What a hostile file holds -> words of the message.
HOSTILE = {
    "a.csv": {
        f"{GOOD}\n{GOOD}\n": ["line 1", "no column youtube_id"],
        f"{HEADER},label\n{GOOD},zumba\n": ["line 1", "column label is in the header 2 times"],
        f"{HEADER.replace('time_end', 'time_start')}\n{GOOD}\n": ["line 1", "no column time_end"],
        "\n\n\xff\xfe\n": ["line 3", "no column"],
        f"{HEADER},{'x,' * 1_000_000}\n{GOOD}\n": ["line 1", "longer than 65,536 bytes"],
        f"{HEADER}\n{GOOD}{',x' * 1_000_000}\n": ["line 2", "longer than 65,536 bytes"],
        f"{HEADER}\n{GOOD},{'x' * 60_000}\n": ["line 2", "6 columns, not 5"],
        f"{HEADER}\nzumba,{'x' * 60_000},1,11,train\n": ["line 2", "is not 11 characters"],
        f'{HEADER}\n"{chr(10) * 200_000}",x,1,11,train\n': ["line 131", "field larger"],
        f"{'x' * 2_000_000}\n": ["line 1", "longer than 65,536 bytes"],
    },
    "a.json": {
        "[" * 100_000: ["not JSON", "nested too deeply"],
        '{"abcdefghijk": ' + "[" * 900 + "]" * 900 + "}": ["abcdefghijk", "must be an object"],
        '{"abcdefghijk": {"annotations": {"segment": {}}, "subset": {}}}': ["abcdefghijk", "segment must be an array"],
        '{"abcdefghijk": {"annotations": {"segment": [1, 1e999]}}}': ["abcdefghijk", "a finite number, got inf"],
        '{"abcdefghijk": {"annotations": {"segment": [1, 1e39]}, "subset": "test"}}': ["not readable as annotations"],
        f'{{"abcdefghijk": {{"annotations": {{"segment": [1, 1{"0" * 400}]}}}}}}': ["abcdefghijk", "a finite number"],
        f'{{"abcdefghijk": {{"subset": "{"x" * 1_000_000}"}}}}': ["abcdefghijk", "time_start None"],
        f'{{"{"x" * 1_000_000}": 5}}': ["xxx...", "must be an object"],
        '{"abcdefghijk": {"annotations": {"label": "\\ud800"}}}': ["abcdefghijk", "surrogate"],
        '{"\\ud800": {}}': ["\\ud800", "surrogate"],
        '{"abcdefghijk": {}, "abcdefghijk": {}}': ["abcdefghijk is in an object more than once"],
    },
}


@pytest.mark.parametrize(("name", "number"), [(name, n) for name in HOSTILE for n in range(len(HOSTILE[name]))])
def test_a_hostile_file_is_a_short_value_error_that_names_it(tmp_path, name, number):
    content, words = list(HOSTILE[name].items())[number]
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"^{re.escape(str(tmp_path / name))}: ") as caught:
        read_annotations(tmp_path / name)
    for word in words:
        assert word in str(caught.value)
    assert len(str(caught.value)) < 1200
    assert str(caught.value).isprintable()


def test_what_is_no_file_of_a_plausible_size_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with open(tmp_path / "huge.json", "wb") as file:
        file.truncate(1 << 30)
    for name, words in (("pipe.csv", "not a regular file"), ("huge.json", "1.07 GB, which is more than any")):
        with pytest.raises(ValueError, match=rf"{name}: {words}"):
            read_annotations(tmp_path / name)


def test_json_of_small_values_takes_no_memory(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"abcdefghijk": [' + b"[]," * 6_000_000)
    with pytest.raises(ValueError, match=r"a\.json: more values than any annotations have"):
        read_annotations(tmp_path / "a.json")


def test_good_json_is_checked_by_columns(tmp_path, monkeypatch):
    path = tmp_path / "train.json"
    path.write_text(json.dumps({clip.youtube_id: json_entry(clip, "train") for clip in CLIPS["train"]}))
    checks = []
    monkeypatch.setattr(read, "check_shape", lambda value, shape: checks.append(shape))
    assert len(read_annotations(path)) > 1
    assert len(checks) == 1  # of the file, not of each entry: that takes longer than to parse it


def test_a_malformed_csv_beside_a_good_json_is_named_and_does_not_count(tmp_path, caplog):
    path = write_annotations(tmp_path / "train.json", CLIPS["train"][:3], "train")
    (tmp_path / "train.csv").write_text("label;youtube_id\nabseiling;x\n")
    assert len(read_annotations(path)) == 3
    assert "train.csv beside it, which is malformed: line 1: no column youtube_id" in caplog.text


# ---- At load: before any work starts


@pytest.mark.parametrize("streaming", [False, True])
def test_a_malformed_row_stops_a_load_before_it_starts(tmp_path, streaming):
    data_dir = write_tree(tmp_path)
    with open(data_dir / "annotations" / "val.csv", "a") as file:
        file.write("zumba,abcdefghijk,5,5,val\n")
    with pytest.raises(ValueError, match=r"val\.csv: line 10: .*empty"):
        load(data_dir=data_dir, streaming=streaming)


@pytest.mark.parametrize("streaming", [False, True])
def test_the_label_of_another_release_is_named_with_file_line_and_nearest_class(tmp_path, streaming):
    data_dir = write_tree(tmp_path)
    with open(data_dir / "annotations" / "val.csv", "a") as file:
        file.write("balloon blowing,abcdefghijk,5,15,val\n")
    with pytest.raises(ValueError, match=r"val\.csv: .*'balloon blowing'; did you mean ") as caught:
        load("600", data_dir=data_dir, streaming=streaming)
    assert "line 10" in str(caught.value)


def test_the_line_of_an_unknown_label_counts_the_rows_of_other_splits(tmp_path):
    data_dir = write_tree(tmp_path, annotations=None)
    lines = [HEADER, GOOD, GOOD.replace("train", "val"), "balloon blowing,bcdefghijkl,1,11,val"]
    (tmp_path / "all.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"all\.csv: .*'balloon blowing'") as caught:
        load("600", data_dir=data_dir, annotations=str(tmp_path / "all.csv"), splits=["validation"])
    assert "line 4" in str(caught.value)


def test_an_annotation_file_without_a_row_of_its_split_is_named_at_load(tmp_path):
    data_dir = write_tree(tmp_path)
    (data_dir / "annotations" / "val.csv").write_text(HEADER + "\n")
    with pytest.raises(ValueError, match=r"val\.csv has no row of the validation split$"):
        load(data_dir=data_dir)
    (data_dir / "annotations" / "val.csv").write_text(f"{HEADER}\n{GOOD}\n")
    with pytest.raises(ValueError, match=r"val\.csv has no row of the validation split; its rows are of train$"):
        load(data_dir=data_dir)


# ---- Files whose names are not read


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", ["annotations/train_list.csv", "annotations/mine.json", "k700_train_2019.csv"])
def test_annotations_whose_names_are_not_read_are_named(tmp_path, name, streaming, caplog):
    data_dir = write_tree(tmp_path, clips={"train": CLIPS["train"]}, annotations=None)
    write_annotations(data_dir / name, CLIPS["train"][:2], "train")
    (data_dir / "report.json").write_text("{}")
    found = load(data_dir=data_dir, split="train", streaming=streaming)
    assert rows(found) == rows_of(CLIPS["train"])  # by the names of folders and files
    (said,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert f"no annotations of the train split are read: {name} skipped, because a name has to end in" in said
    assert "rename it, or pass one as annotations=" in said
    caplog.clear()
    found = load(data_dir=data_dir, split="train", annotations=data_dir / name, streaming=streaming)
    assert rows(found) == rows_of(CLIPS["train"][:2])
    assert "skipped, because" not in caplog.text


def test_reports_and_lists_beside_the_splits_are_no_annotations(tmp_path, caplog):
    data_dir = write_tree(tmp_path, clips={"train": CLIPS["train"]}, annotations=None)
    for name in ("report.json", "clips.csv", "k700_val_2019.csv"):
        (data_dir / name).write_text("{}")
    load(data_dir=data_dir)
    assert "skipped, because" not in caplog.text


@pytest.mark.parametrize("name", ["train_list.csv", "mine.json"])
def test_a_folder_of_annotations_whose_names_are_not_read_is_an_error_that_names_them(tmp_path, name):
    data_dir = write_tree(tmp_path / "tree", "flat", clips={"train": CLIPS["train"]}, annotations=None)
    write_annotations(tmp_path / "other" / name, CLIPS["train"], "train")
    message = rf"such as train\.csv; {re.escape(name)} skipped, because a name has to"
    with pytest.raises(FileNotFoundError, match=message):
        load(data_dir=data_dir, annotations=tmp_path / "other")
