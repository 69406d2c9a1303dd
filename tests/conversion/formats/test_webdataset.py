"""WebDataset, read by webdataset and by `datasets`."""

import datasets
import pytest

from kinetics_tools import convert
from kinetics_tools.conversion.formats.webdataset import WebDatasetFormat
from kinetics_tools.releases import LABELS
from tests.support.clip_tree import rows_of
from tests.support.trees import CLIPS, write_tree

webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")


def test_webdataset_reads_keys_labels_and_bytes(tmp_path, monkeypatch):
    """In many small tars, whose names one pattern names."""
    monkeypatch.setattr(WebDatasetFormat, "part_bytes", 200)
    tree = write_tree(tmp_path / "tree")
    convert(tree, tmp_path / "out", to="webdataset", release="700")
    for split, clips in CLIPS.items():
        names = sorted(path.name for path in (tmp_path / "out").glob(f"{split}-*.tar"))
        assert len(names) > 1
        pattern = f"{tmp_path}/out/{split}-{{000000..{len(names) - 1:06d}}}.tar"
        reader = webdataset.WebDataset(pattern, shardshuffle=False).decode().to_tuple("__key__", "mp4", "cls", "json")
        assert sorted((key, content, label, about["label"]) for key, content, label, about in reader) == sorted(
            (f"v_{clip.stem}", clip.content, LABELS["700"].index(clip.label), clip.label) for clip in clips
        )
        assert not any("." in clip.stem for clip in clips)


def test_prepared_shards_keep_their_measurements(prepared, tmp_path):
    convert(prepared, tmp_path / "out", to="webdataset")
    rows = {f"v_{name.removesuffix('.mp4')}": row for name, row in rows_of(prepared).items()}
    reader = webdataset.WebDataset(f"{tmp_path}/out/validation-000000.tar", shardshuffle=False).decode()
    for sample in reader:
        row = rows.pop(sample["__key__"])
        assert (sample["mp4"], sample["cls"]) == (row.pop("video")["bytes"], row.pop("label"))
        assert {name: sample["json"][name] for name in row} == row
    assert not rows


def test_datasets_reads_its_splits(tmp_path):
    """Also clips whose names begin with `__`, as the ids of some videos do."""
    tree = write_tree(tmp_path / "tree", clips={"train": CLIPS["train"], "validation": CLIPS["validation"]})
    convert(tree, tmp_path / "out", to="webdataset", release="700")
    found = datasets.load_dataset("webdataset", data_dir=str(tmp_path / "out"))
    for split in ("train", "validation"):
        assert sorted(zip(found[split]["__key__"], found[split]["cls"], strict=True)) == sorted(
            (f"v_{clip.stem}", LABELS["700"].index(clip.label)) for clip in CLIPS[split]
        )
