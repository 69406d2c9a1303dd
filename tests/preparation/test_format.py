"""Shards and manifests of earlier versions: the same bytes come out today, and old folders are resumed and read."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import av
import datasets
import pyarrow
import pyarrow.parquet as pq
import pytest

from kinetics_tools.preparation import parquet, prepare
from kinetics_tools.publication import push
from tests.support.clip_tree import SOURCE, copy_of, shards_of
from tests.support.trees import Clip, write_tree

BEFORE: dict[str, Any] = json.loads((Path(__file__).parent / "made_before.json").read_text(encoding="utf-8"))
VERSIONS = {module.__name__: module.__version__ for module in (av, pyarrow, datasets)}
TRAIN_SHARDS = ((2, 4), (7, 8))  # of these each of the five clips is in one

same_libraries = pytest.mark.skipif(
    BEFORE["versions"] != VERSIONS, reason=f"the bytes were recorded with {BEFORE['versions']}, this is {VERSIONS}"
)


@pytest.fixture(scope="module")
def real_tree(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """10 annotated clips with the content of 5 real ones: with sound, in Matroska, with two streams, and short."""
    files = sorted((shared / "clips").iterdir())
    assert len(files) == 5
    clips = [
        Clip(
            "abseiling" if number % 2 else "zumba",
            f"real{number:07d}",
            number,
            number + 10,
            suffix=files[number % 5].suffix,
            content=files[number % 5].read_bytes(),
        )
        for number in range(10)
    ]
    return write_tree(tmp_path_factory.mktemp("real") / "k700", clips={"validation": clips})


@pytest.fixture(scope="module")
def without_versions() -> Iterator[None]:
    """Writes footers as before they named versions of libraries and counted classes, which leaves rows alone."""

    def fields(report: parquet.ShardReport) -> dict[str, Any]:
        return {name: value for name, value in asdict(report).items() if name not in ("made_with", "per_class")}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet, "asdict", fields)
        yield


@pytest.fixture(scope="module")
def as_source(real_tree: Path, without_versions: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("source")
    assert prepare("700", real_tree, out, workers=2, **SOURCE).is_complete
    return out


@pytest.fixture(scope="module")
def as_train(real_tree: Path, without_versions: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("train")
    for shards in TRAIN_SHARDS:
        prepare("700", real_tree, out, workers=2, shards=shards, allow_mixed_versions=True)
    return out


@same_libraries
def test_the_bytes_of_shards_are_those_of_before(as_source: Path, as_train: Path) -> None:
    shards = {**shards_of(as_source), **shards_of(as_train)}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in shards.items()}
    assert digests == BEFORE["sha256"], (
        f"The bytes of shards changed. If that is intended, raise FORMAT['format'] in {parquet.__file__}, so that "
        "unfinished folders are not resumed into a mixture, and record the new digests in made_before.json."
    )


def test_columns_change_with_the_number_of_the_format_only() -> None:
    """Else shards of two versions would have one fingerprint, and one card would speak of both."""
    columns = [(column.name, column.dtype) for column in parquet.MEASURED]
    recorded = [
        ("duration", "float32"),
        ("fps", "float32"),
        ("num_frames", "int32"),
        ("width", "int32"),
        ("height", "int32"),
        ("has_audio", "bool"),
    ]
    assert (parquet.FORMAT["format"], columns) == (1, recorded), "raise FORMAT['format'], and record the columns here"


def test_shards_of_another_version_are_not_published(as_source: Path, tmp_path: Path) -> None:
    out = copy_of(as_source, tmp_path / "out")
    manifest = out / "700" / "prepare.json"
    entries = json.loads(manifest.read_text())
    entries["splits"]["validation"]["options"]["format"] = 0
    manifest.unlink()
    manifest.write_text(json.dumps(entries))
    with pytest.raises(ValueError, match="the shards of 700 validation have format 0, and this version publishes 1"):
        push(out, f"file://{tmp_path}/pushed")
    assert not (tmp_path / "pushed").exists()


def test_real_clips(as_train: Path) -> None:
    """The short side becomes 256 at most."""
    found = {}
    for path in as_train.rglob("*.parquet"):
        for row in pq.read_table(path, columns=["youtube_id", "num_frames", "height", "has_audio"]).to_pylist():
            found[int(row["youtube_id"][-1]) % 5] = row
    rows = [found[number] for number in range(5)]
    assert [row["num_frames"] for row in rows][:2] == [280, 310]
    assert [row["height"] for row in rows] == [256, 240, 180, 256, 256]
    assert [row["has_audio"] for row in rows] == [False, True, True, False, False]


def test_a_folder_of_before_is_resumed_loaded_and_pushed(real_tree: Path, as_source: Path, tmp_path: Path) -> None:
    out, target = copy_of(as_source, tmp_path / "out"), tmp_path / "pushed"
    manifest = out / "700" / "prepare.json"
    manifest.unlink()
    manifest.write_text(BEFORE["prepare.json"])
    report = prepare("700", real_tree, out, workers=2, **SOURCE)
    assert (report.to_make, report.made, report.is_complete) == (0, 0, True)
    if BEFORE["versions"] == VERSIONS:
        assert manifest.read_text() == BEFORE["prepare.json"]
    pushed = push(out, f"file://{target}")
    assert pushed.files_sent == 8
    assert pushed.notes == [
        "the card has no images/classes.svg: shards of 700 validation do not count classes; prepare them again with "
        "this version"
    ]
    for folder in (out, target):
        rows = datasets.load_dataset(str(folder), "700", split="validation", streaming=True)
        ids = [row["youtube_id"] for row in rows.cast_column("video", datasets.Video(decode=False))]
        assert sorted(ids) == [f"real{number:07d}" for number in range(10)]
