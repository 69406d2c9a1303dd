"""VideoFolder, read by `datasets`."""

import datasets

from kinetics_tools import convert
from kinetics_tools.conversion.formats import videofolder
from kinetics_tools.releases import LABELS
from tests.support.clip_tree import rows_of as rows_of_shards
from tests.support.trees import CLIPS, Clip, rows, rows_of, write_tree


def read(out, split):
    found = datasets.load_dataset("videofolder", data_dir=str(out), split=split)
    return found.cast_column("video", datasets.Video(decode=False))


def test_datasets_reads_the_same_rows(tmp_path, monkeypatch):
    """At most 3 files in a directory here, and containers that VideoFolder does not know by name."""
    monkeypatch.setattr(videofolder, "_FOLDER_FILES", 3)
    clips = {**CLIPS, "train": [*CLIPS["train"], Clip("zumba", "webm0000000", 0, 10, ".webm")]}
    tree = write_tree(tmp_path / "tree", ".tar", clips=clips)
    convert(tree, tmp_path / "out", to="videofolder", release="700")
    for split, some in clips.items():
        found = read(tmp_path / "out", split)
        assert rows(found) == rows_of(some)
        assert found.features["label"].names == list(LABELS["700"])
    folders = [path for path in (tmp_path / "out").glob("*/*") if path.is_dir()]
    assert max(len(list(folder.iterdir())) for folder in folders) == 3


def test_prepared_shards_keep_their_measurements(prepared, tmp_path):
    convert(prepared, tmp_path / "out", to="videofolder")
    found = {row["video"]["path"].rpartition("/")[2]: row for row in read(tmp_path / "out", "validation")}
    expected = rows_of_shards(prepared)
    assert found.keys() == expected.keys()
    for name, row in expected.items():
        del row["video"], found[name]["video"]
        assert found[name] == row
