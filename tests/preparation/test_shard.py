"""A shard, made by the process that has its job."""

from kinetics_tools.annotations import Selection
from kinetics_tools.io import Folder
from kinetics_tools.preparation import Job, PrepareOptions, plan_shards, prepare_shard
from tests.support.clip_tree import shards_of
from tests.support.trees import write_tree


def test_other_processes_find_relative_folders(clips, tmp_path, monkeypatch, in_process):
    """A worker of Ray has another working directory."""
    write_tree(tmp_path / "tree", clips={"validation": clips[7:10]})
    monkeypatch.chdir(tmp_path)
    plans = plan_shards(Selection("700"), "tree", PrepareOptions("source"))
    job = Job.of(plans[0], 0, Folder("out/kinetics"), None)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert prepare_shard(job).rows == 1
    assert shards_of(tmp_path / "out" / "kinetics").keys() == {job.name}
