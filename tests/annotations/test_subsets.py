"""Subsets: the published lists in all entries, their counts, files of users, and what a release does not have."""

import csv
import json
import logging

import pytest

from kinetics_tools.annotations import SUBSETS, Selection, clip_names, find_label, map_label, read_split, read_subset
from kinetics_tools.releases import LABELS


def lines_of(shared, name):
    return [line.strip() for line in (shared / "labels" / name).read_text(encoding="utf-8").split("\n") if line]


def names_of(shared, name):
    with open(shared / "labels/subsets" / name, newline="") as file:
        return [row["name"] for row in csv.DictReader(file)]


LISTS = {
    "mini-200": ("400", 200, "subsets/mini_kinetics_200_ibm.txt"),
    "verb-97": ("400", 97, "subsets/kinetics400_verb_97_scenic.txt"),
    "kinetics-sounds-31": ("400", 31, "subsets/kinetics_sounds_31_k400.txt"),
    "kinetics-sounds-32": ("400", 32, "subsets/kinetics_sounds_32_k400.txt"),
}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_of_classes_equals_the_published_one(shared, name):
    release, count, path = LISTS[name]
    found = read_subset(name, release)
    # The published list of Mini-Kinetics-200 ends in "yoga''.".
    assert list(found.classes) == [line.removesuffix("''.") for line in lines_of(shared, path)]
    assert found.missing == ()
    assert len(found.classes) == count


def test_base_and_novel_classes_are_the_published_halves_of_400(shared):
    both = []
    for half in ("base", "novel"):
        classes = list(read_subset(f"k400-{half}", "400").classes)
        assert classes == names_of(shared, f"kinetics_400_{half}_labels.csv")
        both += classes
    assert sorted(both, key=str.encode) == list(LABELS["400"])


def test_zero_shot_splits_of_600_are_the_published_ones(shared):
    names = ("classes620_label_defn", "tst_class_idxs", "val_class_idxs")
    files = (shared / f"labels/subsets/k600_zsl220_{name}.json" for name in names)
    words, tested, validated = (json.loads(path.read_text()) for path in files)
    words = [one["word"] for one in words]
    new = set(LABELS["600"]) - {map_label(name, "400", "600") for name in LABELS["400"]}
    assert set(read_subset("k600-zero-shot-220", "600").classes) == new
    assert len(new) == 220
    for number in (1, 2, 3):
        test, validation = (read_subset(f"k600-zero-shot-{count}-{number}", "600").classes for count in (160, 60))
        assert list(test) == names_of(shared, f"k600_zeroshot_160_split{number}.csv")
        assert {*test} == {words[index] for index in tested[number - 1]}
        assert [*validation] == [words[index] for index in validated[number - 1]]
        assert {*test, *validation} == new


def test_the_clips_of_cmn_are_the_published_ones_and_resolve_or_are_named(shared, caplog):
    """64, 12 and 24 classes of 100 clips each; the public annotations of validation hold some of them."""
    everything = set()
    for part, classes in (("train", 64), ("val", 12), ("test", 24)):
        lines = lines_of(shared, f"fewshot/cmn_kinetics100_{part}.list")
        assert len({find_label(line.partition("/")[0], "400") for line in lines}) == classes
        found = read_subset(f"kinetics-100-cmn-{part}", "400").clips
        assert found == {line.partition("/")[2] for line in lines}
        assert len(found) == classes * 100
        everything |= found
    assert read_subset("kinetics-100-cmn", "400").clips == everything
    table = read_split(str(shared / "annotations/cvdf_k400_val.csv"), "400", "validation")
    with caplog.at_level(logging.WARNING, "datasets.kinetics"):
        chosen = Selection("400", subset="kinetics-100-cmn").choose(table, "validation")
    here = everything & set(clip_names(table).to_pylist())
    assert set(clip_names(chosen).to_pylist()) == here
    assert f"this split does not have {10_000 - len(here):,} of 10,000 clips" in caplog.text


def test_every_known_subset_reads_in_every_release():
    for name in SUBSETS:
        for release in ("400", "600", "700", "700-2020"):
            found = read_subset(name, release)
            assert found.clips or set(found.classes) <= set(LABELS[release])


def test_classes_that_a_release_does_not_have_are_named(shared, caplog):
    """By name alone 7 classes of Mini-Kinetics-200 are not in 700; renames recover 4 of them."""
    found = read_subset("mini-200", "700")
    assert found.missing == ("drinking beer", "riding mountain bike", "using computer")
    assert len(found.classes) == 197
    assert {"dyeing hair", "hugging (not baby)", "opening bottle (not wine)"} <= set(found.classes)
    table = read_split(str(shared / "annotations/activitynet_k700_val.csv"), "700", "validation")
    with caplog.at_level(logging.WARNING, "datasets.kinetics"):
        chosen = Selection("700", subset="mini-200").choose(table, "validation")
    assert len(chosen) == 197 * 50
    assert "does not have 3 of 200 classes: drinking beer, riding mountain bike, using computer" in caplog.text


# ---- Files


@pytest.mark.parametrize(
    "lines",
    [
        ["abseiling/-kYzxMKp514_000086_000096", "air drumming/1663fIopl7c_000035_000045"],
        ["-kYzxMKp514_000086_000096.mp4", "clips/val/abseiling/1663fIopl7c_000035_000045.mkv"],
    ],
)
def test_a_file_of_clips(tmp_path, lines):
    (tmp_path / "mine.txt").write_text("\n".join(lines))
    found = read_subset(tmp_path / "mine.txt", "400")
    assert found.clips == {"-kYzxMKp514_000086_000096", "1663fIopl7c_000035_000045"}
    assert found.name == str(tmp_path / "mine.txt")


def test_the_lists_of_ids_of_mini_kinetics(shared):
    for part, count in (("train", 80_000), ("val", 5_000)):
        path = shared / f"labels/subsets/mini_kinetics_200_xie_{part}_ytid_list.txt"
        assert len(read_subset(path, "400").clips) == count
    table = read_split(str(shared / "annotations/cvdf_k400_val.csv"), "400", "validation")
    wanted = set(lines_of(shared, f"subsets/{path.name}"))
    chosen = Selection("400", subset=str(path)).choose(table, "validation")
    assert chosen["youtube_id"].to_pylist() == [one for one in table["youtube_id"].to_pylist() if one in wanted]


def test_a_file_of_classes_of_several_releases(tmp_path):
    """The name "bobsledding" has 11 characters, like an id."""
    (tmp_path / "mine.txt").write_text("bobsledding\n# a comment\ntying_tie\ndrinking beer\nbobsledding\n")
    found = read_subset(tmp_path / "mine.txt", "700")
    assert (found.classes, found.missing) == (("bobsledding", "tying necktie"), ("drinking beer",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("zumbba\nabseiling\n", r"unknown class of 400 'zumbba'; did you mean 'zumba'"),
        ("abseiling\n-kYzxMKp514\n", r"unknown class of 400 '-kYzxMKp514'.*not all lines are clips"),
        ("\n", "names no class and no clip"),
        ("alligator wrestling\n", "none of its classes is in 400"),
    ],
)
def test_a_file_that_is_no_subset_is_an_error(tmp_path, content, message):
    (tmp_path / "mine.txt").write_text(content)
    with pytest.raises(ValueError, match=message):
        Selection("400", subset=str(tmp_path / "mine.txt"))


def test_an_unknown_subset_is_named():
    with pytest.raises(
        ValueError, match=r"unknown subset 'mini-20'; did you mean 'mini-200'.*; or pass the path of an existing file"
    ):
        Selection("400", subset="mini-20")
    with pytest.raises(ValueError, match="subset must be a name or a file, got 200"):
        Selection("400", subset=200)


def test_classes_and_a_subset_are_both_asked_for():
    asked = Selection("400", classes=["zumba", "abseiling", "air drumming"], subset="mini-200")
    mini = set(read_subset("mini-200", "400").classes)
    assert set(asked.class_names) == {"zumba", "abseiling", "air drumming"} & mini
    with pytest.raises(ValueError, match="none of its classes is in the classes zumba"):
        Selection("400", classes=["zumba"], subset="kinetics-sounds-31")
