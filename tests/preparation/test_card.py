"""dataset_infos.json and the card of prepared clips, and what `datasets` and the Hub make of them."""

import inspect
import json
import re

import datasets
import pytest
from datasets.info import DatasetInfosDict
from datasets.utils.metadata import MetadataConfigs
from huggingface_hub import DatasetCard, DatasetCardData
from typer.testing import CliRunner

import kinetics
from kinetics_tools.cli.app import app
from kinetics_tools.preparation.card import card_patterns, is_ours, make_card, make_placeholder
from kinetics_tools.preparation.parquet import prepared_features
from kinetics_tools.publication.infos import write_infos
from tests.support.clients import ROOT

COMMITTED = ROOT / "dataset_infos.json"


@pytest.mark.skipif(not COMMITTED.exists(), reason="kinetics is not installed from a checkout")
def test_the_committed_file_is_what_the_code_declares(tmp_path):
    assert write_infos(tmp_path / "infos.json").read_bytes() == COMMITTED.read_bytes()


def test_infos_verb_writes_the_file_that_it_names(tmp_path):
    path = tmp_path / "infos.json"
    result = CliRunner().invoke(app, ["infos", str(path)])
    assert result.exit_code == 0, result.output
    assert json.loads(path.read_text(encoding="utf-8")).keys() == set(kinetics.RELEASES)
    assert CliRunner().invoke(app, ["infos", str(path)]).exit_code == 0  # it replaces its own file


def test_infos_alone_prints_a_table_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["infos"])
    assert result.exit_code == 0, result.output
    assert re.search(r"400 +│ validation │ +19,906 │ +400", result.output)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("release", kinetics.RELEASES)
def test_datasets_reads_the_infos_of_each_release(release, tmp_path):
    info = json.loads(write_infos(tmp_path / "infos.json").read_text(encoding="utf-8"))[release]
    read = datasets.DatasetInfo.from_dict(info)
    assert read.features["label"].names == list(kinetics.LABELS[release])
    assert isinstance(read.features["video"], datasets.Video)
    assert {name: str(read.features[name].dtype) for name in ("youtube_id", "time_start", "time_end")} == {
        "youtube_id": "string",
        "time_start": "float32",
        "time_end": "float32",
    }
    assert list(read.splits) == ["train", "validation", "test"]
    assert all((read.description, read.citation, read.homepage, read.license))


def test_counts_are_those_of_the_published_annotations(shared, tmp_path):
    infos = json.loads(write_infos(tmp_path / "infos.json").read_text(encoding="utf-8"))
    # A line is a row here: no published file has a line break within one.
    for release, split, name in (
        ("400", "validation", "cvdf_k400_val.csv"),
        ("600", "validation", "deepmind_k600_validate.csv"),
    ):
        rows = len((shared / "annotations" / name).read_text(encoding="utf-8").splitlines()) - 1
        assert infos[release]["splits"][split]["num_examples"] == rows
    # What nobody confirms is left out, not guessed.
    assert "num_examples" not in infos["700"]["splits"]["train"]


# ---- The card of prepared clips


def entry(release: str, split: str, *, shards: int = 8, done: int | None = None, **values: object) -> dict[str, object]:
    """Return the entry of a split in prepare.json."""
    options = {"profile": "train", "short_side": 256, "max_fps": 30, "crf": 23, "preset": "veryfast", "audio": "copy"}
    found = {
        "fingerprint": "1f3a9c02",
        "files": f"{release}/{split}-*-of-{shards:05d}-1f3a9c02.parquet",
        "shards": shards,
        "shards_done": shards if done is None else done,
        "clips": 1200,
        "rows": 1000,
        "dropped": {"absent": 193, "unreadable": 7},
        "unusable": [],
        "bytes_in": 10**9,
        "bytes_out": 7 * 10**8,
        "seconds": 9_900.0,
        "options": options,
        "made_with": {"kinetics-dataset": "0.1.0", "av": "14.0.0"},
    }
    return {**found, **values}


def sizes_of(*entries: dict[str, object]) -> dict[str, int]:
    return {
        str(one["files"]).replace("*", f"{shard:05d}"): 1000
        for one in entries
        for shard in range(int(str(one["shards_done"])))
    }


@pytest.fixture
def summaries() -> dict[str, dict[str, dict[str, dict[str, object]]]]:
    of_700 = {"train": entry("700", "train", shards=64), "validation": entry("700", "validation")}
    return {"700": {"splits": of_700}, "400": {"splits": {"validation": entry("400", "validation", dropped={})}}}


def card_of(summaries: dict[str, dict[str, dict[str, dict[str, object]]]], **options: str) -> str:
    entries = [one for summary in summaries.values() for one in summary["splits"].values()]
    return make_card(summaries, sizes_of(*entries), **{"repo_id": "ann/kinetics", **options})


def test_the_header_is_what_the_hub_and_datasets_read(summaries) -> None:
    card = DatasetCard(card_of(summaries))
    data = card.data.to_dict()
    assert (data["license"], data["task_categories"]) == ("cc-by-4.0", ["video-classification"])
    assert data["size_categories"] == ["1K<n<10K"]
    assert {"video", "kinetics-400", "kinetics-700"} <= set(data["tags"])
    configs = MetadataConfigs.from_dataset_card_data(card.data)
    assert list(configs) == ["400", "700"]
    assert configs.get_default_config_name() == "700"
    assert configs["700"]["data_files"][1] == {
        "split": "validation",
        "path": "700/validation-*-of-00008-1f3a9c02.parquet",
    }
    infos = DatasetInfosDict.from_dataset_card_data(card.data)
    assert infos["700"].features == prepared_features("700")
    assert infos["700"].splits["train"].num_examples == 1000
    assert infos["700"].download_size == 72 * 1000
    # The Hub knows these names, and no others, in a header.
    known = set(inspect.signature(DatasetCardData.__init__).parameters) | {"configs", "dataset_info", "tags"}
    assert data.keys() <= known


@pytest.mark.parametrize(("rows", "category"), [(1, "n<1K"), (1_000, "1K<n<10K"), (99_999, "10K<n<100K"),
                                                (650_000, "100K<n<1M"), (2_000_000, "1M<n<10M")])  # fmt: skip
def test_the_size_category(rows: int, category: str) -> None:
    card = make_card({"400": {"splits": {"train": entry("400", "train", rows=rows)}}}, {})
    assert DatasetCard(card).data.size_categories == [category]


def test_the_text_says_what_a_researcher_asks(summaries) -> None:
    summaries["700"]["splits"]["train"]["options"] = {"profile": "source"}
    text = DatasetCard(card_of(summaries)).text
    for expected in (
        'load_dataset("ann/kinetics", "700", split="train", streaming=True)',
        "get_frames_at(",
        "| 700 | train | 1,000 | 1,200 | 193 | 7 | 2.8 | 700 MB | 64 |",
        "*missing*: no file, usually because",
        "Releases share videos.",
        "400 validation, 700 validation:",
        "700 train:",
        "| `crf` | 23 |",
        "With kinetics-dataset 0.1.0, av 14.0.0.",
        "<details><summary>The 400 labels of Kinetics-400</summary>",
        "699. zumba",
        "belong to those who uploaded them",
        "Ask for its removal in a discussion of this repository",
        "recognise\nor track persons",
        "@article{kay2017kinetics",
        "@article{carreira2019kinetics700",
    ):
        assert expected in text, expected
    # Each release builds on those before; of those that are here first.
    papers = ("kay2017kinetics,", "carreira2019kinetics700,", "carreira2018kinetics600,", "smaira2020kinetics700,")
    places = [text.index(f"@article{{{paper}") for paper in papers]
    assert places == sorted(places)
    assert "Incomplete" not in text
    assert "Every annotated clip" not in text


def test_the_memory_settings_are_those_of_the_docs_and_the_benchmark(summaries) -> None:
    settings = re.findall(r"^export (MALLOC_.*)$", DatasetCard(card_of(summaries)).text, re.MULTILINE)
    assert re.findall(r"^export (MALLOC_.*)$", (ROOT / "docs" / "stream.md").read_text(), re.MULTILINE) == settings
    measured = re.findall(r'"(MALLOC_\w+)": "(\d+)"', (ROOT / "benchmarks" / "push.py").read_text())
    assert ["=".join(one) for one in measured] == settings[0].split()
    assert len(settings) == 1


def test_the_speed_of_reading_is_told_of_what_was_encoded_for_it(summaries) -> None:
    text = DatasetCard(card_of(summaries)).text
    reading = text[text.index("## How fast they read") :]
    rows = re.findall(r"\| random, .* \| ([\d.]+) ms \| ([\d.]+) ms \| ([\d.]+) ms \|", reading)
    assert len(rows) == 2
    assert all(float(ours) < float(other) < float(original) for ours, other, original in rows)
    assert "frames.apply(clips)" in reading
    assert "of clips made with `profile` train, `short_side` 256, `crf` 23:" in reading
    assert "This is about" not in reading
    changed = [{"profile": "source"}, {"profile": "train", "short_side": 128, "crf": 23}]
    for (release, split), options in zip((("700", "train"), ("400", "validation")), changed, strict=True):
        summaries[release]["splits"][split]["options"] = options
    assert "\n\nThis is about 700 validation.\n\n" in DatasetCard(card_of(summaries)).text
    summaries["700"]["splits"]["validation"]["options"] = {"profile": "train", "short_side": 256, "crf": 30}
    assert "## How fast they read" not in DatasetCard(card_of(summaries)).text


def basis(**values: object) -> dict[str, object]:
    asked = {"seed": 3, "clips_per_shard": 512, "annotations": "val.csv", "annotated": 1_000, "wanted": 1_000}
    return {**asked, **values}


def card_text_of(**values: object) -> str:
    """Return the text of a card of one split."""
    return DatasetCard(card_of({"700": {"splits": {"validation": entry("700", "validation", **values)}}})).text


def test_a_choice_of_classes_is_told_and_counted() -> None:
    """Three of 19 annotated clips are of the class."""
    one = basis(classes=["abseiling"], annotated=19, wanted=3)
    text = card_text_of(clips=3, rows=2, dropped={"absent": 1}, basis=one)
    assert "of a YouTube video that shows a human action, abseiling:" in text
    assert "> **A part:** 700 validation has only the class abseiling." in text
    assert "| release | split | clips | annotated | missing | not selected | hours |" in text
    assert "| 700 | validation | 2 | 19 | 1 | 16 |" in text
    assert "names each clip that is *missing*." in text
    assert "The annotations are those of `val.csv` (700 validation)." in text
    assert "Every annotated clip" not in text
    assert "| `seed` | 3 |" in text
    assert "| `clips_per_shard` | 512 |" in text
    several = basis(classes=["abseiling", "yoga", "zumba"])
    text = card_text_of(clips=1_000, basis=several)
    assert "shows one of 3 human actions:" in text
    assert "700 validation has 3 of 700 classes: abseiling, yoga, zumba." in text


def test_every_clip_is_here_where_that_is_known() -> None:
    whole: dict[str, object] = {"clips": 1_000, "dropped": {}}
    assert "Every annotated clip is included." in card_text_of(**whole, basis=basis())
    text = card_text_of(**whole, basis=basis(annotations=None))
    assert "| 700 | validation | 1,000 | unknown |" in text
    assert "made without annotations" in text
    assert "Every annotated clip" not in text
    assert "Every annotated clip" not in card_text_of(**whole)  # from before that was written down
    text = card_text_of(clips=300, dropped={}, done=2, basis=basis())
    assert "| 700 | validation (incomplete) | 300 | 1,000 | 700 |" in text
    assert "*not made yet*" in text


def test_a_split_that_is_incomplete_is_named_file_by_file(summaries) -> None:
    summaries["400"]["splits"]["validation"] = entry("400", "validation", done=2)
    card = card_of(summaries)
    assert "**Incomplete:** 400 validation has 2 of its 8 shards so far." in card
    assert card_patterns(card)[:2] == [f"400/validation-{shard:05d}-of-00008-1f3a9c02.parquet" for shard in (0, 1)]


def test_what_a_user_wrote_stays(summaries) -> None:
    card = card_of(summaries)
    assert card_of(summaries, previous=card) == card
    mine = "<!-- begin: yours -->\n## Mine\n\nNot `---`.\n<!-- end: yours -->\n\n"
    changed = card.replace("## Releases", f"{mine}## Releases").replace("lines stays", "lines has stayed", 1)
    changed = changed.replace("license: cc-by-4.0", "extra_gated_prompt: 'Why? é'\nlicense: mit").replace(
        "- video\n", "- video\n- sports\n", 1
    )
    changed = changed.replace("configs:\n", "configs:\n- config_name: mine\n  data_files: mine/*.csv\n")
    del summaries["400"]
    again = card_of(summaries, previous=changed)
    data = DatasetCard(again).data.to_dict()
    assert (data["extra_gated_prompt"], data["license"]) == ("Why? é", "cc-by-4.0")
    assert {"sports", "kinetics-700"} <= set(data["tags"])
    assert [one["config_name"] for one in data["configs"]] == ["700", "mine"]
    assert again.index("## Clips") < again.index(mine.strip()) < again.index("## Releases")
    assert "lines has stayed" in again
    assert again.count("begin: yours") == 2
    assert card_of(summaries, previous=again) == again


def test_own_sections_whose_place_is_gone_come_last(summaries) -> None:
    previous = "# Old\n\n## Gone\n\n<!-- begin: yours -->\nkept\n<!-- end: yours -->\n"
    assert card_of(summaries, previous=previous).endswith("<!-- begin: yours -->\nkept\n<!-- end: yours -->\n")


@pytest.mark.parametrize(
    "previous",
    ["", "# No header", "---\nbroken: [\n---\n", "---\n- a list\n---\n", "---\n", "---\ntags:\nconfigs:\n---\n"],
)
def test_any_previous_card_is_taken(summaries, previous: str) -> None:
    assert DatasetCard(card_of(summaries, previous=previous)).data.pretty_name == "Kinetics"
    assert not is_ours(previous)


def test_the_header_is_written_as_the_hub_writes_it(summaries) -> None:
    card = card_of(summaries)
    assert f"---\n{DatasetCard(card).data.to_yaml()}\n---\n" == card[: card.index("\n---\n") + 5]


def test_the_placeholder_names_nothing_that_is_there() -> None:
    card = make_placeholder("---\nlicense: mit\n---\n")
    assert card_patterns(card) == ["being-uploaded/*.parquet"]
    assert is_ours(card)
    assert DatasetCard(card).data.license == "mit"


def test_without_video_it_says_so() -> None:
    one = entry("700", "validation", content="annotations", files="700/annotations/validation-1f3a9c02.parquet")
    card = DatasetCard(make_card({"700": {"splits": {"validation": one}}}, {}, repo_id="ann/kinetics"))
    assert "**it holds no video.**" in card.text
    assert "get_frames_at" not in card.text
    features = DatasetInfosDict.from_dataset_card_data(card.data)["700"].features
    assert list(features) == ["label", "youtube_id", "time_start", "time_end", "available", "reason"]


def test_a_single_config_need_not_be_a_list() -> None:
    assert card_patterns("---\nconfigs: {data_files: a/*.parquet}\n---\n") == ["a/*.parquet"]
