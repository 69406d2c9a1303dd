"""Shards of work on threads; tests/preparation/test_cluster.py has them on Ray."""

import socket
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
