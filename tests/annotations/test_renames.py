"""Maps of classes between releases, by the official lists and the published renames."""

import csv

import pytest

from kinetics_tools.annotations.renames import map_index, map_label
from kinetics_tools.releases import LABELS, RELEASES

# Classes of one release that another does not have: the official lists, less the published renames.
MISSING = {
    ("400", "600"): 31 - 11,
    ("400", "700"): 22 - 10,
    ("600", "700"): 3,
    ("600", "400"): 231 - 10,
    ("700", "400"): 322 - 10,
    ("700", "600"): 103,
    ("700", "700-2020"): 0,
    ("700-2020", "700"): 0,
}


@pytest.fixture(scope="module")
def renames(shared):
    """Return (old, new) -> row of the public list of renames."""
    with open(shared / "labels/labelmaps/renames_between_releases.csv", newline="") as file:
        return {(row["old"], row["new"]): row for row in csv.DictReader(file)}


@pytest.mark.parametrize(("source", "target"), MISSING)
def test_the_number_of_classes_without_a_counterpart(source, target):
    mapped = [map_index(index, source, target) for index in range(len(LABELS[source]))]
    assert mapped.count(None) == MISSING[source, target]
    present = [index for index in mapped if index is not None]
    assert len(set(present)) == len(present)


@pytest.mark.parametrize(("source", "target"), MISSING)
def test_maps_agree_with_the_official_lists_and_the_public_renames(shared, renames, source, target):
    def official(release):
        name = f"labels_k{release.removesuffix('-2020')}.txt"
        return (shared / "annotations" / name).read_text(encoding="utf-8").splitlines()

    theirs = {label.lower(): label for label in official(target)}
    sure = [row for row in renames.values() if row["confidence"].startswith(("sure", "narrower"))]
    for label in official(source):
        expected = theirs.get(label.lower())
        for row in sure:
            forward = source in row["old_in"].split("|") and target in row["new_in"].split("|")
            back = source in row["new_in"].split("|") and target in row["old_in"].split("|")
            if expected is None and forward and row["old"] == label:
                expected = row["new"]
            if expected is None and back and row["new"] == label and row["confidence"].startswith("sure"):
                expected = row["old"]
        assert map_label(label, source, target) == expected


def test_the_classes_that_are_new_in_600_are_those_of_zero_shot_protocols(shared):
    """231 names are new in 600; 220 without the 11 renames, as the zero-shot literature counts."""
    spelt = {name.lower() for name in LABELS["400"]}
    new = {name for name in LABELS["600"] if name.lower() not in spelt}
    assert len(new) == 231
    new -= {map_label(name, "400", "600") for name in LABELS["400"]}
    theirs = set()
    for split in (1, 2, 3):
        with open(shared / f"labels/subsets/k600_zeroshot_160_split{split}.csv", newline="") as file:
            theirs |= {row["name"] for row in csv.DictReader(file)}
    assert len(new) == 220
    assert theirs <= new


def test_doubtful_renames_are_for_those_who_ask(renames):
    doubtful = {pair: row for pair, row in renames.items() if row["confidence"].startswith("doubtful")}
    assert len(doubtful) == 4
    for (old, new), row in doubtful.items():
        for source in row["old_in"].split("|"):
            for target in row["new_in"].split("|"):
                assert map_label(old, source, target) is None
                assert map_label(old, source, target, doubtful=True) == new
                assert map_label(new, target, source, doubtful=True) == old
    assert map_label("waking up", "600", "400") is None
    assert map_label("waking up", "600", "400", doubtful=True) == "baby waking up"


def test_a_class_that_700_has_under_both_names_stays_itself():
    assert map_label("baby waking up", "400", "600") == "waking up"
    assert map_label("baby waking up", "400", "700") == "baby waking up"
    assert map_label("baby waking up", "700", "600") is None


def test_the_label_that_600_writes_in_another_case_is_the_same_class():
    ours, theirs = "passing American football (not in game)", "passing american football (not in game)"
    assert map_label(ours, "400", "600") == theirs
    assert map_label(theirs, "600", "700") == ours
    assert map_label("passing American football (in game)", "400", "600") == "passing American football (in game)"


def test_mapping_there_and_back_is_the_same_class():
    for index in range(600):
        there = map_index(index, "600", "700")
        assert there is None or map_index(there, "700", "600") == index


def test_no_label_stays_none_in_every_release():
    assert [map_index(-1, source, target) for source in RELEASES for target in RELEASES] == [-1] * 16


@pytest.mark.parametrize("index", [-2, 400, 10_000])
def test_an_index_outside_of_a_release_is_an_error(index):
    with pytest.raises(ValueError, match=rf"class index {index} is outside of release 400 \(valid: 0 to 399\)"):
        map_index(index, "400", "600")
