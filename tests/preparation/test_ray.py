"""Shards made by tasks of Ray."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kinetics_tools.annotations import Selection
from kinetics_tools.io import Folder
from kinetics_tools.preparation import Job, PrepareOptions, plan_shards, prepare_shard
from tests.support.clients import ROOT
from tests.support.clip_tree import files_of, run, shards_of
from tests.support.trees import write_tree

WITH_RAY = """
import sys
import ray
from kinetics_tools import prepare
from kinetics_tools.media import Encoding

ray.init("local", num_cpus=2, _node_ip_address="127.0.0.1", include_dashboard=False)
tree, out = sys.argv[1:]
assert prepare("700", tree, out, encoding=Encoding(preset="ultrafast"), clips_per_shard=4, engine="ray").is_complete
"""


def prepared_with_kills(tree, out, env, *, kills):
    """Prepares a tree with Ray in a process of its own, and kills so many of the workers meanwhile."""
    killed = 0
    command = [sys.executable, "-c", WITH_RAY, str(tree), str(out)]
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        errors = []
        reading = threading.Thread(target=lambda: errors.append(process.stderr.read()))
        reading.start()
        while process.poll() is None:
            time.sleep(0.5)
            for folder in Path("/proc").glob("[0-9]*") if killed < kills else ():
                with contextlib.suppress(OSError):
                    is_ours = (folder / "environ").read_bytes().find(str(ROOT).encode()) >= 0
                    if is_ours and (folder / "cmdline").read_bytes().startswith(b"ray::_call"):
                        os.kill(int(folder.name), signal.SIGKILL)
                        killed += 1
                        break
        reading.join()
    assert process.returncode == 0, errors
    assert killed


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs Linux's /proc to find the workers")
def test_ray_makes_the_same_files_though_a_worker_is_killed(clips, tmp_path, ray, in_process):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:10]})
    prepared_with_kills(tree, tmp_path / "ray", ray, kills=1)
    run(tree, tmp_path / "local")
    assert files_of(tmp_path / "ray") == files_of(tmp_path / "local")


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
