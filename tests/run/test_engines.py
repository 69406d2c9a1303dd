"""Shards of work on threads and on Ray."""

import os
import socket
import subprocess
import sys
import threading
import time
from itertools import count

import pytest

from kinetics_tools.run import check_engine, spread
from tests.support.fault_server import FaultServer


def test_spread_gives_each_key_its_result_and_makes_no_more_at_once_than_asked():
    lock, now, most = threading.Lock(), 0, 0

    def work(item):
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1
        return item + 1000

    found = dict(spread(work, [(f"key {number}", number) for number in range(20)], workers=3))
    assert found == {f"key {number}": number + 1000 for number in range(20)}
    assert 1 < most <= 3
    assert list(spread(work, [], workers=3)) == []


def test_spread_raises_what_the_function_raises_and_tells_the_others_to_stop():
    stop, seen = threading.Event(), []

    def work(item):
        if item == 3:
            raise LookupError("of the function")
        seen.append(item)
        stop.wait(0.05)

    with pytest.raises(LookupError, match="of the function"):
        list(spread(work, ((number, number) for number in count()), workers=2, stop=stop))
    assert stop.is_set()
    before = len(seen)
    time.sleep(0.1)
    assert len(seen) == before


def double(item):
    return 2 * item, os.getpid()


def fail(item):
    raise LookupError(f"of the function, for {item}")


WITH_RAY = """
import os
import ray
from kinetics_tools.run import spread
from kinetics_tools.run.ray_tasks import check_reachable
from tests.run.test_engines import double, fail

# Without an address of its own it asks which way the Internet lies.
ray.init("local", num_cpus=2, _node_ip_address="127.0.0.1", include_dashboard=False)
check_reachable(ray.get_runtime_context().gcs_address)
found = dict(spread(double, [(number, number) for number in range(10)], engine="ray", workers=2))
assert {key: value for key, (value, _) in found.items()} == {number: 2 * number for number in range(10)}, found
assert os.getpid() not in {pid for _, pid in found.values()}
try:
    list(spread(fail, [(7, 7)], engine="ray"))
except LookupError as error:
    assert "of the function, for 7" in str(error), error
else:
    raise AssertionError("no error")
"""


def test_ray_gives_the_same_and_raises_the_same(ray):
    done = subprocess.run([sys.executable, "-c", WITH_RAY], env=ray, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "spark"}, r"unknown engine 'spark' \(valid: local, ray\)"),
        ({"engine": "local", "workers": 0}, "workers must be at least 1, got 0"),
        ({"engine": "local", "address": "auto"}, "address='auto' is valid only with engine='ray'"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ValueError, match=message):
        check_engine(**arguments)


@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_a_cluster_that_is_not_there_is_named_at_once(ray, scheme):
    """Ray itself tries for over 100 s."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"{scheme}127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=rf"no Ray cluster at address='{address}' \(Connection refused\)"):
            check_engine("ray", address=address)


def test_another_server_than_ray_is_named(ray, tmp_path):
    """Such as that of the dashboard."""
    with FaultServer(tmp_path) as server, pytest.raises(ConnectionError, match="another server answers there"):
        check_engine("ray", address=server.url.removeprefix("http://"))
