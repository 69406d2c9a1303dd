"""The rate that all transfers of a run share."""

import threading
import time

import pytest

from kinetics_tools.io.limits import RateLimit


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        ("10MB", 1e7),
        ("500k", 5e5),
        ("1.5 GB/s", 1.5e9),
        ("800", 800),
        (800, 800),
        ("2mbps", 2e6),
        ("7 kB", 7e3),
    ],
)
def test_rates_are_numbers_of_bytes_a_second(rate, expected):
    assert RateLimit(rate).bytes_per_second == expected


@pytest.mark.parametrize("rate", ["fast", "", "0", 0, 0.5, -5, "-1MB", "10 parsecs", "1e6x", "nan"])
def test_a_rate_that_is_none_is_an_error_with_examples(rate):
    with pytest.raises(ValueError, match='rate_limit must be a number of bytes, such as 1000000, "500MB"'):
        RateLimit(rate)


def test_zero_bytes_do_not_wait():
    stop = threading.Event()
    limit = RateLimit(1, stop=stop)
    waiting = threading.Thread(target=limit.spend, args=(60,))
    waiting.start()
    while not limit._free_at:
        time.sleep(0.01)
    started = time.monotonic()
    limit.spend(0)
    assert time.monotonic() - started < 10
    stop.set()
    waiting.join(10)
    assert not waiting.is_alive()
