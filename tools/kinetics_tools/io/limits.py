"""Limits shared by all transfers of a run: the rate, and the end of the run."""

import threading
import time

from kinetics_tools.text import parse_size


class Stopped(Exception):
    """Raised in the threads of a run that ends. Finished work is kept."""


class RateLimit:
    """Bytes per second that all transfers of a run share.

    Args:
        rate: bytes per second, a number or text such as "10MB", "500k" or "1.5 GB/s"; None for no limit.
        stop: ends all waits.

    Raises:
        ValueError: `rate` is not a positive number of bytes.
    """

    def __init__(self, rate: float | str | None, *, stop: threading.Event | None = None):
        self.bytes_per_second = None if rate is None else parse_size(rate, name="rate_limit")
        self._stop = stop or threading.Event()
        self._lock = threading.Lock()
        self._free_at = 0.0

    def spend(self, count: int) -> None:
        """Wait as long as `count` bytes take at this rate."""
        if self.bytes_per_second is None or not count:  # or the end of a file would wait for what others take
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(now, self._free_at) + count / self.bytes_per_second
            wait = self._free_at - now
        self._stop.wait(wait)
