"""Engine "ray" on a cluster of three nodes, which are processes of this machine: it grows, and nodes fail."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kinetics_tools.run import Crash, spread
from tests.support.trees import write_tree


def meet(folder: Path) -> str:
    """Return the number of the node when tasks on all three nodes have begun."""
    node = os.environ["NODE"]
    (folder / node).touch()
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < 3:
        assert time.monotonic() < deadline, f"only nodes {sorted(path.name for path in folder.iterdir())} got tasks"
        time.sleep(0.05)
    return node


def fail_on_third(item: int) -> str:
    if os.environ["NODE"] == "3":
        raise OSError(5, "Input/output error", "/mnt/clips")
    time.sleep(0.05)
    return os.environ["NODE"]


def die(item: int) -> int:
    if item == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def fail(item: int) -> None:
    raise OSError(5, "Input/output error", "/mnt/clips")


def by_ray(function, items):  # type: ignore[no-untyped-def]
    return spread(function, [(number, item) for number, item in enumerate(items)], engine="ray")


def grow(cluster, folder: Path, third: dict[str, str]) -> None:  # type: ignore[no-untyped-def]
    """Adds two nodes after a task of the first began."""
    found = []
    working = threading.Thread(target=lambda: found.extend(by_ray(meet, [folder] * 6)))
    working.start()
    while not (folder / "1").exists():
        time.sleep(0.05)
    cluster.add_node(num_cpus=1, env_vars={"NODE": "2"}, object_store_memory=80 << 20)
    cluster.add_node(num_cpus=1, env_vars={"NODE": "3", **third}, object_store_memory=80 << 20)
    working.join()
    assert {node for _, node in found} == {"1", "2", "3"}


def lose_workers() -> None:
    found = dict(by_ray(die, range(4)))
    assert found.pop(2) == Crash("its process was killed each time")
    assert found == {0: 0, 1: 1, 3: 3}


def fail_here_and_there() -> None:
    found = dict(by_ray(fail_on_third, range(12)))
    assert (len(found), set(found.values())) == (12, {"1", "2"})
    with pytest.raises(OSError, match=r": \[Errno 5\] Input/output error: '/mnt/clips'$") as raised:
        list(by_ray(fail, range(4)))
    assert "ray" not in str(raised.value)
    assert "\x1b" not in str(raised.value)


def prepare_apart(tree: str, out: str) -> None:
    """Prepares with nodes that have other versions of libraries, and then another directory."""
    from kinetics_tools import prepare

    given = {"profile": "source", "engine": "ray"}
    with pytest.raises(ValueError, match=r"would mix shards made with av \S+ and shards made with av 99\.0, whose"):
        prepare("700", tree, out, **given)
    os.chdir("driver")  # the nodes stay in its parent
    with pytest.raises(OSError, match=r" wrote 700/val\S+ to its /proc/self/cwd/out, and \S+ does not see it there"):
        prepare("700", tree, "/proc/self/cwd/out", allow_mixed_versions=True, **given)


SCRIPT = """
import os, sys
from pathlib import Path
import ray
from ray.cluster_utils import Cluster
from kinetics_tools.run import ray_tasks
from tests.preparation import test_cluster as steps

tree, folder, fake = sys.argv[1:]
ray_tasks.RETRIES_AFTER_KILL, ray_tasks._POLL_SECONDS = 1, 0.2
os.environ["NODE"] = "1"
options = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
cluster = Cluster(initialize_head=True, head_node_args=options)
try:
    ray.init(address=cluster.address, log_to_driver=False)
    steps.grow(cluster, Path(folder), {"PYTHONPATH": os.pathsep.join([fake, os.environ["PYTHONPATH"]])})
    steps.lose_workers()
    steps.fail_here_and_there()
    steps.prepare_apart(tree, folder + "-out")
finally:
    ray.shutdown()
    cluster.shutdown()
"""


def test_a_cluster_grows_and_its_nodes_fail_alone(clips, tmp_path, ray):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]})
    (tmp_path / "nodes").mkdir()
    (tmp_path / "driver").mkdir()
    fake = tmp_path / "fake" / "av-99.0.dist-info" / "METADATA"
    fake.parent.mkdir(parents=True)
    fake.write_text("Metadata-Version: 2.1\nName: av\nVersion: 99.0\n")
    command = [sys.executable, "-c", SCRIPT, str(tree), str(tmp_path / "nodes"), str(tmp_path / "fake")]
    done = subprocess.run(command, env=ray, cwd=tmp_path, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
