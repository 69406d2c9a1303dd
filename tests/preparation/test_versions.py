"""Versions of the libraries that made the shards: stated by each footer, and not mixed."""

import json
from importlib.metadata import version

import av
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinetics_tools.preparation import prepare, versions
from kinetics_tools.publication import push
from kinetics_tools.publication.streaming import Stream
from tests.support.clip_tree import SOURCE, files_of, manifest_of, run, shards_of
from tests.support.trees import write_tree

pytestmark = pytest.mark.usefixtures("in_process")

MIXTURE = r"700 validation would mix shards made with av 18\.0 and shards made with av 99\.0, whose bytes may differ; "


@pytest.fixture
def with_av(monkeypatch):
    """Function that gives this machine another version of av."""

    def use(number):
        versions.made_with.cache_clear()
        monkeypatch.setattr(versions, "version", lambda name: number if name == "av" else version(name))

    yield use
    versions.made_with.cache_clear()


@pytest.fixture
def small_tree(clips, tmp_path):
    return write_tree(tmp_path / "tree", clips={"validation": clips[7:15]})


def test_footers_and_the_card_state_the_versions_of_those_who_made_the_shards(small_tree, tmp_path, with_av):
    out = tmp_path / "out"
    run(small_tree, out, **SOURCE)
    made = {"kinetics-dataset": version("kinetics-dataset"), "av": av.__version__, "pyarrow": pa.__version__}
    for path in out.rglob("*.parquet"):
        assert json.loads(pq.read_metadata(path).metadata[b"kinetics"])["made_with"] == made
    before = files_of(out)
    with_av("99.0")
    assert run(small_tree, out, **SOURCE).made == 0  # only described again
    assert files_of(out) == before
    assert manifest_of(out)["made_with"] == made


def test_other_versions_are_not_mixed_in_unless_that_is_allowed(small_tree, tmp_path, with_av):
    out, target = tmp_path / "out", tmp_path / "pushed"
    with_av("18.0")
    run(small_tree, out, **SOURCE, shards=(0, 3))
    before = files_of(out)
    with_av("99.0")
    with pytest.raises(ValueError, match=MIXTURE + r"\S+ has av 99\.0\. Install the same versions everywhere, choose"):
        run(small_tree, out, **SOURCE)
    assert files_of(out) == before
    assert run(small_tree, out, **SOURCE, allow_mixed_versions=True).is_complete
    assert manifest_of(out)["made_with"]["av"] == "18.0 and 99.0"
    assert ", av 18.0 and 99.0, pyarrow" in (out / "README.md").read_text()
    with pytest.raises(ValueError, match=MIXTURE):
        push(out, f"file://{target}")
    assert not target.exists()
    push(out, f"file://{target}", allow_mixed_versions=True)
    assert manifest_of(target)["made_with"]["av"] == "18.0 and 99.0"


def test_a_stream_adds_no_shards_of_other_versions(small_tree, tmp_path, with_av):
    from kinetics_tools.annotations import Selection
    from kinetics_tools.preparation import PrepareOptions

    with_av("18.0")
    prepare("700", small_tree, tmp_path / "out", **SOURCE, shards=(0, 3))
    push(tmp_path / "out", f"file://{tmp_path}/pushed", allow_partial=True)
    before = shards_of(tmp_path / "pushed")
    with_av("99.0")
    stream = Stream(Selection("700"), small_tree, PrepareOptions("source"))
    with pytest.raises(ValueError, match=MIXTURE):
        push(tmp_path / "other", f"file://{tmp_path}/pushed", stream=stream)
    assert shards_of(tmp_path / "pushed") == before
