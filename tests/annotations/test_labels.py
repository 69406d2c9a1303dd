"""The class tables, the maps to torchvision, and the spellings of labels."""

import re
import string
from urllib.parse import quote, quote_plus

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinetics_tools.annotations.labels import (
    find_label,
    from_torchvision,
    label_indices,
    to_torchvision,
)
from kinetics_tools.annotations.renames import map_index, map_label
from kinetics_tools.releases import LABELS, RELEASES
from tests.support.trees import torchvision_folder

COUNTS = {"400": 400, "600": 600, "700": 700, "700-2020": 700}
FILES = {"400": "labels_k400.txt", "600": "labels_k600.txt", "700": "labels_k700.txt", "700-2020": "labels_k700.txt"}

# Where torchvision's index of a class is not ours, from the sorted names of its folders: PEERS.md 3.7.
TORCHVISION = {
    "400": {308: 309, 309: 308},
    "600": {122: 123, 123: 122, 220: 221, 221: 220},
    "700": {137: 139, 138: 137, 139: 138, 252: 253, 253: 252},
}
TORCHVISION["700-2020"] = TORCHVISION["700"]


def official_labels(shared, release):
    return (shared / "annotations" / FILES[release]).read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("release", RELEASES)
def test_the_table_equals_the_official_list(shared, release):
    assert list(LABELS[release]) == official_labels(shared, release)


@pytest.mark.parametrize("release", RELEASES)
def test_labels_are_distinct_and_in_byte_order(release):
    assert len(set(LABELS[release])) == COUNTS[release]
    assert list(LABELS[release]) == sorted(LABELS[release], key=str.encode)


def test_700_and_700_2020_have_the_same_classes():
    assert LABELS["700"] == LABELS["700-2020"]


# ---- torchvision


@pytest.mark.parametrize("release", RELEASES)
def test_torchvision_indices_differ_where_its_folder_names_sort_otherwise(release):
    theirs = [to_torchvision(index, release) for index in range(COUNTS[release])]
    assert {index: other for index, other in enumerate(theirs) if index != other} == TORCHVISION[release]
    assert [from_torchvision(other, release) for other in theirs] == list(range(COUNTS[release]))


@pytest.mark.parametrize("release", RELEASES)
def test_torchvision_indices_are_those_of_its_formula_on_the_official_list(shared, release):
    labels = official_labels(shared, release)
    folders = sorted(torchvision_folder(label) for label in labels)
    for index, label in enumerate(labels):
        assert to_torchvision(index, release) == folders.index(torchvision_folder(label))


@pytest.mark.parametrize("convert", [to_torchvision, from_torchvision])
@pytest.mark.parametrize("index", [-1, 700])
def test_an_index_without_a_torchvision_class_is_an_error(convert, index):
    with pytest.raises(ValueError, match=rf"class index {index} is outside of release 700 \(valid: 0 to 699\)"):
        convert(index, "700")


# ---- Spellings

# How public tools write labels, in directory names, archive names, keys and URLs.
SPELLINGS = {
    "as it is": str,
    "torchvision": torchvision_folder,
    "underscores, quotes kept": lambda label: label.replace(" ", "_"),
    "URL-quoted": quote,
    "URL-quoted parentheses and quotes": lambda label: quote(label, safe="").replace("'", "%27"),
    "URL-quoted underscores": lambda label: quote(label.replace(" ", "_")),
    "URL-quoted, plus signs for spaces": quote_plus,
    "lower case": str.lower,
    "upper case": str.upper,
    "title case": str.title,
    "dashes": lambda label: label.replace(" ", "-"),
    "doubled quotes of a CSV": lambda label: f'"{label}"',
    "no spaces": lambda label: label.replace(" ", ""),
    "spaces around": lambda label: f"  {label} ",
}

releases = st.sampled_from(RELEASES)
labels = releases.flatmap(lambda release: st.tuples(st.just(release), st.integers(0, COUNTS[release] - 1)))


@given(labels, st.lists(st.sampled_from(sorted(SPELLINGS)), max_size=3), st.booleans())
def test_spellings_on_top_of_each_other_map_back_to_the_class(release_and_index, spellings, quoted):
    release, index = release_and_index
    name = LABELS[release][index]
    for spelling in spellings:
        if not spelling.startswith("URL"):
            name = SPELLINGS[spelling](name)
    assert find_label(quote(name) if quoted else name, release) == index


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_spelling_names_each_class_of_a_release(release, spelling):
    assert [find_label(SPELLINGS[spelling](label), release) for label in LABELS[release]] == list(
        range(COUNTS[release])
    )


@given(labels, st.data())
def test_an_unknown_name_gets_the_nearest_label(release_and_index, data):
    release, index = release_and_index
    label = LABELS[release][index]
    letters = [place for place, letter in enumerate(label) if letter in string.ascii_lowercase]
    place = data.draw(st.sampled_from(letters))
    name = label[:place] + "0" + label[place + 1 :]  # no label has a digit: never another class
    with pytest.raises(ValueError, match=f"^unknown class of {release}") as caught:
        find_label(name, release)
    near = re.search(r"did you mean (['\"])(.*)\1\?", str(caught.value))
    assert near
    assert near[2] in LABELS[release]
    if len(label) >= 20:  # shorter ones can be as near to another label
        assert near[2] == label


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("abseilin", "abseiling"),
        ("massaging persons heads", "massaging person's head"),
        ("hurling sports", "hurling (sport)"),
    ],
)
def test_a_misspelt_label_is_answered_with_the_right_one(name, near):
    with pytest.raises(ValueError, match=re.escape(f"unknown class of 700 {name!r}; did you mean {near!r}?")):
        find_label(name, "700")


def test_a_label_of_another_release_is_no_class_of_this_one():
    assert find_label("balloon blowing", "400") == 12
    with pytest.raises(ValueError, match="unknown class of 600 'balloon blowing'"):
        find_label("balloon blowing", "600")


@pytest.mark.parametrize("name", ["", "???", "(not gaming)"])
def test_a_name_that_is_near_to_nothing_is_an_error_too(name):
    with pytest.raises(ValueError, match="unknown class of 400"):
        find_label(name, "400")


@pytest.mark.parametrize(
    "call",
    [
        lambda: find_label("zumba", "7000"),
        lambda: map_index(0, "7000", "400"),
        lambda: map_label("zumba", "400", "7000"),
        lambda: to_torchvision(0, "7000"),
        lambda: label_indices(pa.array(["zumba"]), "7000"),
    ],
)
def test_an_unknown_release_is_named_with_the_valid_ones(call):
    with pytest.raises(
        ValueError, match=r"unknown release '7000'; did you mean '700'\? \(valid: 400, 600, 700, 700-2020\)"
    ):
        call()


# ---- Arrow arrays of labels


@given(releases, st.data())
def test_label_indices_are_the_places_in_the_table_and_minus_one_for_null(release, data):
    indices = data.draw(st.lists(st.integers(-1, COUNTS[release] - 1), max_size=50))
    names = pa.array([None if index < 0 else LABELS[release][index] for index in indices], type=pa.string())
    found = label_indices(names, release)
    assert found.type == pa.int64()
    assert found.to_pylist() == indices
    assert label_indices(pa.chunked_array([names, names]), release).to_pylist() == indices * 2


def test_label_indices_take_other_spellings_beside_the_exact_ones():
    names = pa.array(["zumba", "massaging_persons_head", None, "MASSAGING PERSON'S HEAD", "abseiling"])
    head = LABELS["600"].index("massaging person's head")
    assert label_indices(names, "600").to_pylist() == [599, head, -1, head, 0]


def test_label_indices_name_the_first_label_that_is_no_class():
    names = pa.array(["zumba", None, "balloon blowing", "x"])
    with pytest.raises(ValueError, match="'balloon blowing'") as caught:
        label_indices(names, "600")
    assert "row 3" in str(caught.value)
