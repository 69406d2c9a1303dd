"""Engine "ray" on a cluster of three nodes, which are processes of this machine: it grows, and nodes fail.

One test, since each start of a cluster takes seconds.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from kinetics_tools.run import Crash, spread
from tests.support.clients import ROOT
from tests.support.clip_tree import FAST, files_of, run
from tests.support.trees import write_tree


def kill_a_worker() -> None:
    """Kill a worker of this checkout while it runs a task."""
    while True:
        time.sleep(0.1)
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                is_busy = (folder / "cmdline").read_bytes().startswith(b"ray::_call")
                if is_busy and str(ROOT).encode() in (folder / "environ").read_bytes():
                    os.kill(int(folder.name), signal.SIGKILL)
                    return


def double(item: int) -> tuple[int, int]:
    return 2 * item, os.getpid()


def refuse(item: int) -> None:
    raise LookupError(f"of the function, for {item}")


def meet(folder: Path) -> str:
    """Return the number of the node when tasks on all three nodes have begun."""
    node = os.environ["NODE"]
    (folder / node).touch()
    deadline = time.monotonic() + 240
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


def prepare_though_a_worker_is_killed(tree: str, out: str) -> None:
    from kinetics_tools import prepare

    killing = threading.Thread(target=kill_a_worker, daemon=True)
    killing.start()
    assert prepare("700", tree, out, encoding=FAST, clips_per_shard=4, engine="ray").is_complete
    assert not killing.is_alive()


def give_the_same_and_raise_the_same() -> None:
    found = dict(by_ray(double, range(10)))
    assert {key: value for key, (value, _) in found.items()} == {number: 2 * number for number in range(10)}
    assert os.getpid() not in {pid for _, pid in found.values()}
    with pytest.raises(LookupError, match="of the function, for 7"):
        list(by_ray(refuse, [7]))


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
    ray_tasks.check_reachable(cluster.address)
    steps.prepare_though_a_worker_is_killed(tree, folder + "-whole")
    steps.give_the_same_and_raise_the_same()
    steps.grow(cluster, Path(folder), {"PYTHONPATH": os.pathsep.join([fake, os.environ["PYTHONPATH"]])})
    steps.lose_workers()
    steps.fail_here_and_there()
    steps.prepare_apart(tree, folder + "-out")
finally:
    ray.shutdown()
    cluster.shutdown()
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs Linux's /proc to find the workers")
def test_a_cluster_makes_the_same_files_and_grows_and_its_nodes_fail_alone(clips, tmp_path, ray, in_process):
    tree = write_tree(tmp_path / "tree", clips={"validation": clips[7:15]})
    (tmp_path / "nodes").mkdir()
    (tmp_path / "driver").mkdir()
    fake = tmp_path / "fake" / "av-99.0.dist-info" / "METADATA"
    fake.parent.mkdir(parents=True)
    fake.write_text("Metadata-Version: 2.1\nName: av\nVersion: 99.0\n")
    command = [sys.executable, "-c", SCRIPT, str(tree), str(tmp_path / "nodes"), str(tmp_path / "fake")]
    done = subprocess.run(command, env=ray, cwd=tmp_path, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    run(tree, tmp_path / "local")
    assert files_of(tmp_path / "nodes-whole") == files_of(tmp_path / "local")
