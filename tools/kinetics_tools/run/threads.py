"""Threads that can be waited for after an interrupt, and their merged results."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

_STOP_SECONDS = 5.0

T = TypeVar("T")
R = TypeVar("R")
Take = Callable[[int], list[T]]


class Workers:
    """Group of `count` daemon threads that each call `work` once, started at once.

    They are daemons because a thread that waits for a server must not keep an interrupted program alive. `wait` does
    not use `Thread.join`, which, interrupted before Python 3.13, takes a running thread for one that has ended
    (python/cpython#90882).
    """

    def __init__(self, work: Callable[[], Any], count: int):
        self._work = work
        self._running = count
        self._ended = threading.Condition()
        for _ in range(count):
            threading.Thread(target=self._run, daemon=True).start()

    def wait(self, seconds: float) -> bool:
        """Wait for at most `seconds`; return True if all threads have ended."""
        with self._ended:
            return self._ended.wait_for(lambda: self._running == 0, seconds)

    def _run(self) -> None:
        try:
            self._work()
        finally:
            with self._ended:
                self._running -= 1
                self._ended.notify_all()


def merge(
    produce: Callable[[Take[T]], Iterator[R]], items: Iterable[T], count: int, *, on_stop: Callable[[], Any]
) -> Generator[R, None, None]:
    """Yield the results of `count` threads, in order of completion.

    Each thread iterates a `produce(take)` of its own, where `take(n)` returns the next `n` items, fewer at the end.
    When the iteration ends, early or not, `take` returns none, `on_stop` is called and the threads have 5 s to end. An
    exception of `items` or of one of the iterators ends it.
    """
    waiting, lock, stopped = iter(items), threading.Lock(), threading.Event()
    results: queue.Queue[Any] = queue.Queue(2 * count)

    def take(number: int) -> list[T]:
        with lock:
            return [] if stopped.is_set() else list(islice(waiting, number))

    def work() -> None:
        try:
            for result in produce(take):
                results.put(result)
            results.put(None)
        except BaseException as error:
            results.put(error)

    threads = Workers(work, count)
    try:
        while count:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            if result is None:
                count -= 1
            else:
                yield result
    finally:
        stopped.set()
        on_stop()
        deadline = time.monotonic() + _STOP_SECONDS
        while not threads.wait(0.01) and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                results.get_nowait()  # a thread may be waiting for room in the queue
