"""prepare.json and the card of prepared folders."""

import json
import re

import datasets
import pytest
import yaml

from kinetics_tools.preparation import parse_manifest, prepare, shard
from kinetics_tools.preparation.card import make_card
from kinetics_tools.preparation.clip import prepare_clip
from kinetics_tools.publication import push
from tests.support.clip_tree import SOURCE, copy_of, files_of, manifest_of, run, shards_of
from tests.support.trees import write_annotations, write_tree

pytestmark = pytest.mark.usefixtures("in_process")


def test_prepare_json_says_what_was_asked_for_and_names_each_clip_that_is_not_there(prepared, tree, clips, tmp_path):
    whole = {"seed": 0, "clips_per_shard": 4, "annotations": "val.csv", "annotated": 30, "wanted": 30}
    assert manifest_of(prepared)["basis"] == whole
    assert manifest_of(prepared)["absent"] == [clips[3].stem]
    assert f'"absent": ["{clips[3].stem}"],\n' in (prepared / "700" / "prepare.json").read_text()
    assert [one["name"] for one in manifest_of(prepared)["unusable"]] != []
    run(tree, tmp_path, **SOURCE, classes=["Zumba", "hurling_(sport)"], seed=5)
    chosen = [clip for clip in clips if clip.label in ("zumba", "hurling (sport)")]
    assert manifest_of(tmp_path)["basis"] == {
        **whole,
        "classes": ["zumba", "hurling (sport)"],
        "seed": 5,
        "wanted": len(chosen),
    }
    card = (tmp_path / "README.md").read_text()
    assert "700 validation has 2 of 700 classes: zumba, hurling (sport)." in card


def test_a_subset_and_excluded_videos_are_in_prepare_json_and_on_the_card(tree, clips, tmp_path):
    chosen = [clip for clip in clips if clip.label in ("hurling (sport)", "using remote controller (not gaming)")]
    held_out = {clip.youtube_id for clip in chosen[:2]}
    path = write_annotations(tmp_path / "held-out.csv", chosen[:2], "test")
    run(tree, tmp_path / "out", **SOURCE, subset="mini-200", exclude=f"400:test={path}")
    basis = manifest_of(tmp_path / "out")["basis"]
    kept = [clip for clip in chosen if clip.youtube_id not in held_out]
    excluded = len(chosen) - len(kept)
    assert (basis["subset"], basis["wanted"], basis["excluded"]) == ("mini-200", len(kept), {"400:test": excluded})
    assert str(tmp_path) not in json.dumps(basis)
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"700 validation excludes {excluded} clip{'s' * (excluded != 1)} whose videos are in 400 test." in card
    assert "700 validation has only the subset `mini-200`." in card
    assert "*excluded*: another release holds out the video of the clip" in card


def test_without_annotations_it_is_said_that_nobody_knows_what_is_missing(clips, tmp_path):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:10]}, annotations=None)
    run(tree, tmp_path / "out", **SOURCE)
    assert manifest_of(tmp_path / "out")["basis"]["annotations"] is None
    assert "made without annotations" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize("given", ["a file", "a folder"])
def test_annotations_are_named_without_folders_of_this_machine(clips, tmp_path, given):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:10]}, annotations=None)
    path = write_annotations(tmp_path / "mine" / "validate.csv", clips[7:10], "validate")
    annotations = str(path if given == "a file" else path.parent)
    run(tree, tmp_path / "out", **SOURCE, annotations=annotations)
    assert manifest_of(tmp_path / "out")["basis"]["annotations"] == "validate.csv"
    assert str(tmp_path) not in (tmp_path / "out" / "700" / "prepare.json").read_text()


def test_annotations_of_a_url_are_named_without_what_gives_access(clips, tmp_path, monkeypatch):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:10]}, annotations=None)
    path = write_annotations(tmp_path / "val.csv", clips[7:10], "val")
    monkeypatch.setattr("kinetics_tools.sources.clips.annotation_file", lambda *_, **__: str(path))
    url = "https://user:secret@example.org/k700/val.csv?signature=secret"
    run(tree, tmp_path / "out", **SOURCE, annotations=url)
    assert manifest_of(tmp_path / "out")["basis"]["annotations"] == "https://example.org/k700/val.csv"


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


def test_what_is_finished_is_described_however_a_run_ends(tree, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(shard, "prepare_clip", failing_take)
    with pytest.raises(LookupError, match="of no clip"):
        run(tree, tmp_path, **SOURCE, workers=1)
    finished = len(shards_of(tmp_path))
    assert 0 < finished < 8
    assert manifest_of(tmp_path)["shards_done"] == finished


def failing_take(clip, *, encoding, **_):
    if clip[0].endswith("000020_000030"):
        raise LookupError("of no clip")
    return prepare_clip(clip, encoding=encoding)


@pytest.mark.parametrize(
    "content",
    [
        *(b"{", b"\xff", b"[]", b'{"release": "700"}', b'{"splits": []}', b'{"splits": {"train": 1}}'),
        pytest.param(b"[" * 100_000, id="nested"),
    ],
)
def test_a_damaged_summary_is_named_before_the_work(tree, tmp_path, content):
    (tmp_path / "400").mkdir()
    (tmp_path / "400" / "prepare.json").write_bytes(content)
    with pytest.raises(ValueError, match=r"400/prepare\.json is corrupt; remove it, and prepare or push each of its"):
        run(tree, tmp_path)
    assert files_of(tmp_path) == {"400/prepare.json": content}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("rows", "10"),
        ("seconds", None),
        ("dropped", {"absent": "1"}),
        ("absent", [1]),
        ("unusable", [{"name": "a"}]),
        ("basis", {"seed": 0}),
        ("basis", []),
        ("basis", {"annotated": 1, "wanted": 1, "classes": "zumba"}),
        ("options", [1]),
        ("made_with", {"av": 18}),
        ("shards", 10**30),
        ("fingerprint", "../../x1"),
        ("files", "**/*.parquet"),
    ],
)
def test_a_field_of_another_type_is_named(prepared, tmp_path, name, value):
    """Not a KeyError, TypeError or AttributeError, here and at a remote."""
    out, target = copy_of(prepared, tmp_path / "out"), tmp_path / "pushed"
    push(out, f"file://{target}")
    for folder in (out, target):
        path = folder / "700" / "prepare.json"
        values = json.loads(path.read_text())
        values["splits"]["validation"][name] = value
        path.unlink()
        path.write_text(json.dumps(values))
    with pytest.raises(ValueError, match=rf"700/prepare\.json is corrupt; remove it, .*\(.*{name}"):
        parse_manifest("700", (out / "700" / "prepare.json").read_bytes(), where="700/prepare.json")
    with pytest.raises(ValueError, match=r"/pushed: 700/prepare\.json is corrupt"):
        push(prepared, f"file://{target}", verify=True)


def test_fields_that_were_added_later_may_be_null(prepared, tmp_path):
    out = copy_of(prepared, tmp_path / "out")
    path = out / "700" / "prepare.json"
    values = json.loads(path.read_text())
    values["splits"]["validation"] |= dict.fromkeys(("absent", "unusable", "basis", "options", "made_with", "bytes_in"))
    path.unlink()
    path.write_text(json.dumps(values))
    push(out, f"file://{tmp_path}/pushed")
    assert shards_of(tmp_path / "pushed") == shards_of(prepared)


def test_values_of_a_manifest_are_no_markup_in_the_card(prepared):
    manifest = parse_manifest("700", (prepared / "700" / "prepare.json").read_bytes())
    entry = manifest["splits"]["validation"]
    bad = "<script>alert(1)</script>\n# A heading | `code` [link](x)\x1b[31m"
    entry["options"] = {"crf": bad, bad: {"a": bad}}
    entry["made_with"] = {bad: bad}
    entry["basis"] |= {"annotations": bad, "subset": bad, "classes": [bad], "excluded": {bad: 1}}
    card = make_card({"700": manifest}, {})
    assert "\n# A heading" not in card
    assert "\x1b" not in card
    outside_code = re.sub(r"`[^`\n]*`", "", card.replace("\\`", ""))
    assert not re.search(r"(?<!\\)<script|(?<!\\)\[link", outside_code)
