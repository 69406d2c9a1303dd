"""Threads of a run, and waiting for them in a way that survives an interrupt."""

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Workers"]


class Workers:
    """`count` threads that each call `work` once, begun at once.

    Daemons, since a thread that waits for a server must not keep an interrupted program alive. And not waited for by
    `Thread.join`, which, interrupted before Python 3.13, takes a thread that runs on for one that has ended
    (python/cpython#90882).
    """

    def __init__(self, work: Callable[[], Any], count: int):
        self._work = work
        self._running = count
        self._ended = threading.Condition()
        for _ in range(count):
            threading.Thread(target=self._run, daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Whether all threads have ended, after `seconds` at the longest."""
        with self._ended:
            return self._ended.wait_for(lambda: self._running == 0, seconds)

    def _run(self) -> None:
        try:
            self._work()
        finally:
            with self._ended:
                self._running -= 1
                self._ended.notify_all()
