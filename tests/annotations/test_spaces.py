"""Label spaces: the public files in all entries, the maps between them, and `kinetics labels`."""

import csv
import itertools
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from kinetics_tools import label_space
from kinetics_tools.annotations import SPACES, spaces_of
from kinetics_tools.cli.app import app
from kinetics_tools.releases import LABELS

PUBLIC = {
    "opengvlab-400": "k710/label_map_k400.txt",
    "opengvlab-600": "k710/label_map_k600.txt",
    "opengvlab-700": "k710/label_map_k700.txt",
    "opengvlab-710": "k710/label_map_k710.txt",
    "mmaction2-710": "labelmaps/mmaction2_label_map_k710.txt",
    "sorted-400": "labelmaps/mmaction2_label_map_k400.txt",
    "sorted-600": "labelmaps/mmaction2_label_map_k600.txt",
    "sorted-700": "labelmaps/mmaction2_label_map_k700.txt",
}


def public_names(shared, name):
    return (shared / "labels" / PUBLIC[name]).read_text(encoding="utf-8").split("\n")


@pytest.mark.parametrize("name", PUBLIC)
def test_a_space_equals_the_public_file(shared, name):
    assert list(label_space(name).published) == [one for one in public_names(shared, name) if one]


def test_the_order_of_400_is_the_sorted_one_in_other_spellings():
    assert label_space("opengvlab-400").classes == LABELS["400"]


def test_entries_that_are_wrong_in_public_are_not_guessed():
    assert {name: label_space(name).ambiguous for name in SPACES if label_space(name).ambiguous} == {
        "opengvlab-600": {232: "throwing ball"},
        "opengvlab-700": {435: "throwing ball"},
        "opengvlab-710": {348: "throwing ball"},
    }
    for release, missing in (("600", "chopping vegetables"), ("700", "archaeological excavation")):
        space = label_space("opengvlab", release)
        assert missing in space.note()
        back = label_space("sorted", release).to(space)
        assert [LABELS[release][index] for index in np.flatnonzero(back < 0)] == [missing]


def test_the_published_map_of_400_to_710_and_where_it_contradicts_the_published_merges(shared):
    theirs = json.loads((shared / "labels/k710/label_710to400.json").read_text())
    merges = json.loads((shared / "labels/k710/k710_identical_label_merge.json").read_text())
    space, merged = label_space("opengvlab-400"), label_space("opengvlab-710")
    ours = space.to(merged)
    differing = [index for index in range(400) if ours[index] != theirs[index]]
    assert [space.classes[index] for index in differing] == ["hugging", "opening bottle", "throwing ball"]
    assert [merged.published[ours[index]] for index in differing] == [
        merges[space.classes[index]] for index in differing
    ]


@pytest.mark.parametrize("merged", ["opengvlab-710", "mmaction2-710"])
def test_the_published_merges_hold_in_the_merged_spaces(shared, merged):
    merges = json.loads((shared / "labels/k710/k710_identical_label_merge.json").read_text())
    target = label_space(merged)
    indices = label_space("sorted-400").to(target)
    for old, new in merges.items():
        if old in LABELS["400"]:
            found = target.published[indices[LABELS["400"].index(old)]]
            assert found in (new, old)
            assert found == new or new not in target.published


spaces = st.sampled_from(SPACES)


@given(spaces, spaces)
def test_maps_invert(first, second):
    there, back = label_space(first).to(second), label_space(second).to(first)
    known = np.flatnonzero(there >= 0)
    returned = back[there[known]]
    # "waking up" in 600 is wider than "baby waking up" in 400: there is no way back.
    assert {label_space(first).classes[index] for index in known[returned != known]} <= {"baby waking up"}
    assert set(returned[returned != known]) <= {-1}


@given(spaces, spaces, spaces)
def test_maps_compose(first, second, third):
    direct, one = label_space(first).to(third), label_space(first).to(second)
    via = np.where(one >= 0, label_space(second).to(third)[one], -1)
    differing = np.flatnonzero((direct >= 0) & (via >= 0) & (direct != via))
    assert {label_space(first).classes[index] for index in differing} <= {"baby waking up"}


def test_torchvision_folders_swap_the_classes_that_its_sorting_swaps():
    found = label_space("sorted-400").to("torchvision-folders")
    assert {index: one for index, one in enumerate(found.tolist()) if index != one} == {308: 309, 309: 308}


@pytest.mark.parametrize("form", ["txt", "json", "config"])
def test_a_file_is_a_space(tmp_path, form):
    names = ["zumba", "Passing_American_football_(in_game)", "hugging (not baby)", "abseiling"]
    path = tmp_path / ("names.txt" if form == "txt" else "config.json")
    by_index = {str(index): name for index, name in enumerate(names)}
    content = {"model_type": "videomae", "id2label": by_index} if form == "config" else by_index
    path.write_text("\n".join(names) if form == "txt" else json.dumps(content))
    space = label_space(path, "400")
    assert space.classes == ("zumba", "passing American football (in game)", "hugging", "abseiling")
    assert space.to("sorted").tolist() == [399, LABELS["400"].index(space.classes[1]), 150 + 8, 0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "zumba\nzumbba\n", "index 1: unknown class of 400 'zumbba'; did you mean 'zumba'"),
        ("a.txt", "zumba\nZumba\n", "repeated classes: zumba, Zumba"),
        ("a.txt", "", "has no class names"),
        ("a.txt", b"\xff\xfe", "a.txt: not a text in UTF-8"),
        ("a.json", '{"0": "zumba", "2": "abseiling"}', "must map each index from 0 on"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", '["zumba"]', "not valid JSON of index to name .value must be an object"),
    ],
)
def test_a_file_that_is_no_space_is_an_error(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        label_space(tmp_path / name, "400")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sorted",), "needs a release: sorted-400"),
        (("opengvlab-6",), "unknown label space 'opengvlab-6'; did you mean 'opengvlab-600'"),
        (("opengvlab",), "needs a release: opengvlab-400, opengvlab-600, opengvlab-700, opengvlab-710"),
        (("sorted", "710"), "'sorted' does not exist for 710: expected one of opengvlab-710, mmaction2-710, or a file"),
        (("sorted", "500"), "unknown release '500'"),
    ],
)
def test_an_unknown_space_is_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        label_space(*arguments)


def test_a_space_is_shown_in_short():
    assert repr(label_space("opengvlab-710")) == "LabelSpace('opengvlab-710', 710 classes of 710)"


def test_700_2020_has_the_spaces_of_700():
    assert label_space("opengvlab", "700-2020") == label_space("opengvlab", 700) == label_space("opengvlab-700")
    assert label_space("sorted", "700-2020").release == "700-2020"


def test_spaces_for_predictions_by_their_size():
    assert [one.name for one in spaces_of("700-2020", 710)] == ["opengvlab-710", "mmaction2-710"]
    assert [one.name for one in spaces_of("600", 600)] == ["sorted-600", "torchvision-folders-600", "opengvlab-600"]
    assert spaces_of("400", 200) == []


# ---- kinetics labels


def run(*arguments):
    return CliRunner().invoke(app, ["labels", *map(str, arguments)])


def test_labels_are_printed_with_their_counterparts(shared):
    result = run(600, "--space", "opengvlab", "--to", "sorted-400")
    assert result.exit_code == 0
    note, *lines = result.output.splitlines()
    assert note.startswith("note: opengvlab-600: the published list is ambiguous at 232 'throwing ball'")
    assert len(lines) == 600
    assert lines[231] == f"231  {LABELS['400'].index('fixing hair')}  fixing hair"
    assert lines[232] == "232   -1  throwing ball"


@pytest.mark.parametrize("suffix", ["txt", "json"])
def test_a_written_space_reads_as_the_same_space(tmp_path, suffix):
    out = tmp_path / f"labels.{suffix}"
    assert run(600, "--space", "opengvlab", "--out", out).stdout == f"wrote {out}\n"
    assert label_space(out, "600").classes == label_space("opengvlab-600").classes


def test_a_map_is_written_in_each_format(tmp_path):
    indices = label_space("sorted-400").to("opengvlab-710").tolist()
    for suffix in ("txt", "json", "csv"):
        assert run(400, "--to", "opengvlab-710", "--out", tmp_path / f"map.{suffix}").exit_code == 0
    assert [int(line) for line in (tmp_path / "map.txt").read_text().splitlines()] == indices
    assert json.loads((tmp_path / "map.json").read_text()) == indices
    with open(tmp_path / "map.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["index"]), int(row["to"]), row["name"]) for row in rows] == list(
        zip(itertools.count(), indices, LABELS["400"], strict=False)
    )


def test_labels_replace_no_file_and_take_known_formats_only(tmp_path):
    (tmp_path / "mine.csv").write_text("mine")
    for name, message in (
        ("mine.csv", "mine.csv exists; move it or pass another name"),
        ("map.xml", "unknown suffix of --out '.xml'"),
        ("no/map.csv", "its directory does not exist; create it first"),
    ):
        result = run(400, "--out", tmp_path / name)
        assert result.exit_code == 2
        assert message in result.output
    assert (tmp_path / "mine.csv").read_text() == "mine"
