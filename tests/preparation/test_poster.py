"""The column `poster`: the middle frame of each clip as JPEG, decoded by PyAV alone."""

import io

import av
import datasets
import numpy as np
import pytest

from kinetics_tools.media import jpeg
from kinetics_tools.publication import push
from tests.support.clip_tree import BAD, ROWS, SOURCE, run, shards_of

pytestmark = pytest.mark.usefixtures("in_process")


def picture(content):
    """Return the pixels of an image file."""
    with av.open(io.BytesIO(content)) as container:
        return next(container.decode(video=0)).to_ndarray(format="rgb24")


def frames_of(video):
    with av.open(io.BytesIO(video)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def prepared(tree, tmp_path_factory):
    out = tmp_path_factory.mktemp("posters")
    run(tree, out, **SOURCE, poster=True)
    return out


def test_the_middle_frame_is_the_first_column(prepared):
    loaded = datasets.load_dataset(str(prepared), "700", split="validation")
    assert loaded.column_names[:2] == ["poster", "video"]
    assert loaded.features["poster"] == datasets.Image()
    plain = loaded.cast_column("poster", datasets.Image(decode=False))
    plain = plain.cast_column("video", datasets.Video(decode=False))
    assert len(plain) == ROWS - len(BAD)
    for row in plain:
        assert row["poster"]["path"] == row["video"]["path"].replace(".mp4", ".jpg")
        content = row["poster"]["bytes"]
        assert content[:3] == b"\xff\xd8\xff"
        assert len(content) <= 8_000
        frames = frames_of(row["video"]["bytes"])
        expected, found = frames[len(frames) // 2].astype(int), picture(content).astype(int)
        assert expected.shape == found.shape
        assert np.abs(expected - found).mean() < 12
        assert np.abs(frames[0].astype(int) - found).mean() > np.abs(expected - found).mean()
    assert "| `poster` | `Image` |" in (prepared / "README.md").read_text()


def test_a_busy_picture_is_made_small_enough():
    noise = np.random.default_rng(0).integers(0, 256, (1, 180, 320, 3), np.uint8)
    content = jpeg(noise, max_bytes=8_000)
    assert len(content) <= 8_000
    assert picture(content).shape[1] in (320, 160, 80)


def test_the_other_columns_are_the_same_bytes(prepared, tree, tmp_path):
    run(tree, tmp_path / "out", **SOURCE)
    with_poster, without = (
        datasets.load_dataset(str(path), "700", split="validation").cast_column("video", datasets.Video(decode=False))
        for path in (prepared, tmp_path / "out")
    )
    assert with_poster.remove_columns("poster").to_list() == without.to_list()


def test_shards_with_posters_are_published_and_read_back(prepared, tmp_path):
    assert push(prepared, f"file://{tmp_path}/published", verify=True) is not None
    assert shards_of(tmp_path / "published") == shards_of(prepared)
