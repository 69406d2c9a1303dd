"""Label spaces of predictions: scores in each space, and the order that fits predictions in a wrong one."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from kinetics_tools import evaluate
from kinetics_tools.cli.app import app
from kinetics_tools.evaluation.orders import better_order, fitting_classes
from kinetics_tools.releases import LABELS
from tests.support.trees import Clip, torchvision_folder, write_annotations

ACCURACY = 0.5


def public_names(shared, path):
    return [line for line in (shared / "labels" / path).read_text(encoding="utf-8").split("\n") if line]


def guesses(truth, classes, rng):
    """Return predicted classes of which half are right and the others are spread over all classes."""
    return np.where(rng.random(len(truth)) < ACCURACY, truth, rng.integers(0, classes, len(truth)))


@settings(max_examples=25)
@given(st.sampled_from([400, 600, 700]), st.integers(0, 2**32 - 1))
def test_any_permutation_of_labels_is_found(classes, seed):
    """With 50 clips for each class, as in validation."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(classes), 50)
    predicted = guesses(truth, classes, rng)
    permutation = rng.permutation(classes)
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (truth, permutation[predicted]), 1)
    assert fitting_classes(confusion)[permutation].tolist() == list(range(classes))
    top1 = float(np.trace(confusion) / len(truth))
    found = better_order(top1, confusion, [], lambda _: 0.0)
    assert found.name is None
    assert found.top1 == pytest.approx(float(np.mean(truth == predicted)))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_a_bad_model_in_the_right_order_gets_no_advice(seed):
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(400), 50)
    confusion = np.zeros((400, 400), np.int64)
    np.add.at(confusion, (truth, rng.integers(0, 400, len(truth))), 1)
    assert better_order(np.trace(confusion) / len(truth), confusion, [], lambda _: 0.0) is None


def write_truth(folder, release, clips_per_class=2):
    """Write annotations of a release, and return their labels and ids."""
    labels = np.repeat(np.arange(len(LABELS[release])), clips_per_class)
    ids = [f"video{number:06d}" for number in range(len(labels))]
    clips = [Clip(LABELS[release][label], name, 0, 10, content=b"-") for label, name in zip(labels, ids, strict=True)]
    write_annotations(folder / "annotations" / "val.csv", clips, "val")
    return labels, ids


@pytest.mark.parametrize(
    ("release", "space", "path"),
    [
        ("600", "opengvlab-600", "k710/label_map_k600.txt"),
        ("700-2020", "opengvlab-700", "k710/label_map_k700.txt"),
        ("400", "opengvlab-710", "k710/label_map_k710.txt"),
    ],
)
def test_the_known_space_that_fits_is_named(shared, tmp_path, release, space, path):
    labels, ids = write_truth(tmp_path, release)
    names = public_names(shared, path)
    rng = np.random.default_rng(0)
    predicted = guesses(labels, len(LABELS[release]), rng)
    # In the order of the public file; a class whose name is not in it is not predicted.
    place = {name.lower(): index for index, name in enumerate(names)}
    in_file = [place.get(LABELS[release][one].lower()) for one in predicted]
    rows = [(name, index) for name, index in zip(ids, in_file, strict=True) if index is not None]
    right = sum(one == label for one, label, index in zip(predicted, labels, in_file, strict=True) if index is not None)
    columns = dict(zip(("youtube_id", "label"), map(list, zip(*rows, strict=True)), strict=True))
    pq.write_table(pa.table({**columns, "score": [1.0] * len(rows)}), tmp_path / "p.parquet")
    annotations = str(tmp_path / "annotations")
    wrong = evaluate(release, tmp_path / "p.parquet", annotations=annotations)
    assert wrong.top1 < 0.05
    # The published lists are ambiguous at one class each.
    assert wrong.better_order.name == space
    assert wrong.better_order.top1 == pytest.approx(right / len(labels), abs=2 / len(LABELS[release]))
    assert f"rerun with --label-space {space}" in "\n".join(wrong.lines())
    found = evaluate(release, tmp_path / "p.parquet", label_space=space, annotations=annotations)
    assert found.top1 == wrong.better_order.top1
    assert found.better_order is None


@pytest.mark.parametrize(("release", "moved"), [("400", 2), ("600", 4), ("700", 5)])
def test_an_order_that_differs_in_a_few_classes_is_named(tmp_path, release, moved):
    """torchvision numbers the names of its folders in their own order."""
    labels, ids = write_truth(tmp_path, release, 6)
    names = LABELS[release]
    folders = sorted(map(torchvision_folder, names))
    order = np.array([folders.index(torchvision_folder(name)) for name in names])
    annotations = str(tmp_path / "annotations")

    def evaluated(predicted, **options):
        columns = {"youtube_id": ids, "label": predicted.tolist(), "score": [1.0] * len(ids)}
        pq.write_table(pa.table(columns), tmp_path / "p.parquet")
        return evaluate(release, tmp_path / "p.parquet", annotations=annotations, **options)

    space = f"torchvision-folders-{release}"
    found = evaluated(order[labels])
    assert found.top1 == pytest.approx(1 - moved / len(names))
    assert (found.better_order.name, found.better_order.top1) == (space, 1.0)
    assert evaluated(order[labels], label_space=space).better_order is None
    assert evaluated(labels).better_order is None
    assert evaluated(labels, label_space=space).better_order.name == f"sorted-{release}"
    # A model that confuses just these classes half of the time is no sign of another order.
    confused = np.where(np.arange(len(labels)) % 2, order[labels], labels)
    assert evaluated(confused).better_order is None


def test_scores_of_710_classes_are_gathered_for_the_classes_of_a_release(shared, tmp_path):
    """Of the 710 scores of a clip, those of classes that 400 does not have do not count."""
    names = public_names(shared, "labelmaps/mmaction2_label_map_k710.txt")
    labels, ids = write_truth(tmp_path, "400", 1)
    place = {name: index for index, name in enumerate(names)}
    scores = np.random.default_rng(0).random((len(ids), len(names)))
    new = [line.partition(",")[2] for line in public_names(shared, "subsets/k600_zeroshot_160_split1.csv")[1:]]
    merges = json.loads((shared / "labels/k710/k710_identical_label_merge.json").read_text())
    scores[:, [place[name] for name in new if name not in merges.values()]] += 10
    expected = 0
    same = [(index, place[name]) for index, name in enumerate(LABELS["400"]) if name in place]
    for row, label in enumerate(labels):
        if LABELS["400"][label] in place and row % 3 == 0:
            scores[row, place[LABELS["400"][label]]] += 1
            expected += 1
        else:
            wrong = next(one for index, one in same if index != label)
            scores[row, wrong] += 1
    pq.write_table(pa.table({"youtube_id": ids, "scores": scores.tolist()}), tmp_path / "p.parquet")
    found = evaluate(
        "400", tmp_path / "p.parquet", label_space="mmaction2-710", annotations=str(tmp_path / "annotations")
    )
    assert found.bad == ()
    assert found.top1 == expected / len(ids)


@pytest.mark.parametrize("form", ["json", "csv", "wide"])
def test_a_file_of_names_is_the_order_of_indices_in_each_format(tmp_path, form):
    labels, ids = write_truth(tmp_path, "400", 1)
    reverse = list(reversed(LABELS["400"]))
    (tmp_path / "order.txt").write_text("\n".join(reverse))
    path = tmp_path / ("p.json" if form == "json" else "p.csv")
    if form == "json":
        results = {name: [{"label": str(399 - label), "score": 1.0}] for name, label in zip(ids, labels, strict=True)}
        path.write_text(json.dumps({"results": results}))
    elif form == "csv":
        lines = [f"{name},{399 - label},1" for name, label in zip(ids, labels, strict=True)]
        path.write_text("\n".join(["youtube_id,label,score", *lines]))
    else:
        header = ",".join(["youtube_id", *map(str, range(400))])
        lines = [
            ",".join([name, *("1" if index == 399 - label else "0" for index in range(400))])
            for name, label in zip(ids, labels, strict=True)
        ]
        path.write_text("\n".join([header, *lines]))
    options = ("--annotations", str(tmp_path / "annotations"), "--label-space", str(tmp_path / "order.txt"))
    done = CliRunner().invoke(app, ["evaluate", "400", str(path), *options])
    assert done.exit_code == 0, done.output
    assert "top-1      100.00%" in done.output


def test_names_need_no_order_and_indices_outside_of_it_are_invalid(tmp_path):
    _, ids = write_truth(tmp_path, "400", 1)
    (tmp_path / "two.txt").write_text("zumba\nabseiling\n")
    (tmp_path / "p.csv").write_text(f"youtube_id,label,score\n{ids[0]},abseiling,1\n{ids[399]},0,1\n{ids[1]},2,1\n")
    found = evaluate(
        "400", tmp_path / "p.csv", label_space=tmp_path / "two.txt", annotations=str(tmp_path / "annotations")
    )
    assert found.top1 == 2 / 400
    assert found.bad == (f"{ids[1]}: label 2: {tmp_path}/two.txt has 2 classes, the first is 0",)


def test_a_prediction_of_nothing_but_other_classes_is_missing(shared, tmp_path):
    _, ids = write_truth(tmp_path, "400", 1)
    other = public_names(shared, "labelmaps/mmaction2_label_map_k710.txt").index("arresting")
    (tmp_path / "p.csv").write_text(f"youtube_id,label,score\n{ids[0]},{other},1\n")
    (tmp_path / "p.json").write_text(json.dumps({"results": {ids[0]: [{"label": str(other), "score": 1}]}}))
    for name in ("p.csv", "p.json"):
        found = evaluate("400", tmp_path / name, label_space="mmaction2-710", annotations=str(tmp_path / "annotations"))
        assert (len(found.missing), found.bad) == (400, ())


def test_a_subset_is_scored_alone(tmp_path):
    """Predictions for other annotated clips are neither unknown nor wrong."""
    labels, ids = write_truth(tmp_path, "400", 1)
    (tmp_path / "classes.txt").write_text("zumba\nabseiling\nair drumming\n")
    right = {0, 1}
    lines = [f"{name},{label if label in right else 5},1" for name, label in zip(ids, labels, strict=True)]
    (tmp_path / "p.csv").write_text("\n".join(["youtube_id,label,score", *lines, "notannotat0,1,1"]))
    options = {"annotations": str(tmp_path / "annotations"), "subset": str(tmp_path / "classes.txt")}
    found = evaluate("400", tmp_path / "p.csv", **options)
    assert (found.clips, found.top1, found.missing, found.unknown) == (3, 2 / 3, (), ("notannotat0",))
    held_out = write_annotations(tmp_path / "held-out.csv", [Clip("zumba", ids[0], 0, 10)], "test")
    found = evaluate("400", tmp_path / "p.csv", **options, exclude=f"600:test={held_out}")
    assert (found.clips, found.top1) == (2, 1 / 2)
