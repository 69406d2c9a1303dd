"""One function over many items, in worker processes that may crash or hang without taking the run along.

FFmpeg is C that reads whatever lies on a disk: a damaged file can end the process, or never return. Threads would
die together and with them the run; an executor of the standard library breaks as a whole when one process dies.
"""

import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

__all__ = ["Crash", "available_cores", "run"]

Key = TypeVar("Key")
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Crash:
    """In the place of a result: the item took its process down, or did not come to an end in time."""

    reason: str


def available_cores() -> int:
    """Cores that this process may use, at least 1."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        return os.cpu_count() or 1


def run(
    function: Callable[[Item], Result],
    items: Iterable[tuple[Key, Item]],
    *,
    workers: int | None = None,
    batch_size: int = 32,
    limit_seconds: float = 120.0,
) -> Iterator[tuple[Key, Result | Crash]]:
    """(key, function(item)) for each (key, item) of `items`, as they get done.

    `workers` is the number of processes; None for one a core. `function` is one that a new process can import, or a
    `functools.partial` of one; items and results are pickled, keys stay here. `items` is taken as needed, `batch_size`
    at a time, by any thread. An item that crashes its process gets a `Crash`, as one does that takes longer than
    `limit_seconds` (not on Windows, which has no timer for that). The processes end with the iterator, and with this
    process however it ends. The caller's script needs no `__main__` guard.

    Raises what taking from `items` raises, and RuntimeError with the traceback when `function` raises.
    """
    count = available_cores() if workers is None else workers
    if count < 1:
        raise ValueError(f"workers is {count}; it must be 1 or more")
    pool = _Pool(function, iter(items), batch_size, limit_seconds)
    for _ in range(count):
        pool.start_thread()
    try:
        while count:
            done = pool.results.get()
            if isinstance(done, BaseException):
                raise done
            if done is None:
                count -= 1
            else:
                yield from done
    finally:
        pool.stop()


class _Pool(Generic[Key, Item, Result]):
    """Threads of this process, each of which feeds a worker process of its own."""

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Iterator[tuple[Key, Item]],
        batch_size: int,
        limit_seconds: float,
    ):
        self.results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._start = (function, limit_seconds)
        self._items = items
        self._batch_size = batch_size
        self._taking = threading.Lock()
        self._stopped = False
        self._processes: set[_Process] = set()
        self._threads: list[threading.Thread] = []

    def start_thread(self) -> None:
        self._threads.append(threading.Thread(target=self._drive, daemon=True))
        self._threads[-1].start()

    def stop(self) -> None:
        self._stopped = True
        # A thread may just be starting a process; it looks at `_stopped` then.
        for process in list(self._processes):
            process.kill()
        for thread in self._threads:
            thread.join()

    def _take(self) -> list[tuple[Key, Item]]:
        with self._taking:
            return [] if self._stopped else list(islice(self._items, self._batch_size))

    def _drive(self) -> None:
        process: _Process | None = None
        suspects: list[tuple[Key, Item]] = []  # the items of a batch that was not answered: now each alone
        try:
            while not self._stopped and (batch := [suspects.pop()] if suspects else self._take()):
                if process is None:
                    process = _Process(*self._start)
                    self._processes.add(process)
                if self._stopped:
                    break
                answer = process.ask([item for _, item in batch])
                if isinstance(answer, Crash):
                    self._processes.discard(process)
                    process.close()
                    process = None
                    if len(batch) > 1:
                        suspects = batch[::-1]
                        continue
                    answer = [answer]
                self.results.put(zip([key for key, _ in batch], answer, strict=True))
            self.results.put(None)
        except BaseException as error:
            self.results.put(error)
        finally:
            if process is not None:
                self._processes.discard(process)
                process.close()


class _Process:
    """A worker: reads pickled batches from its standard input, writes pickled lists of results."""

    def __init__(self, function: Callable[[Any], Any], limit_seconds: float):
        self._limit_seconds = limit_seconds
        code = f"import sys; sys.path[:] = {sys.path!r}; from kinetics_tools.engine import _serve; _serve()"
        # In a session of its own, so that Ctrl-C reaches this process alone.
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        if self._exchange((function, limit_seconds)) != "ready":
            self.close()
            raise RuntimeError(
                f"a worker process did not start: {sys.executable} ended with {self._process.returncode}"
            )

    def ask(self, batch: list[Any]) -> list[Any] | Crash:
        answer = self._exchange(batch)
        if answer is None:
            return Crash(self._last_words())
        if isinstance(answer, str):
            raise RuntimeError(f"a worker process failed:\n{answer}")
        return list(answer)

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            try:
                pipe.close()  # type: ignore[union-attr]
            except OSError:  # what it still held for a process that is gone
                continue

    def _exchange(self, message: Any) -> Any:
        """The answer to a message; None where the process ended instead."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            pickle.dump(message, self._process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self._process.stdin.flush()
            return pickle.load(self._process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            return None

    def _last_words(self) -> str:
        status = self._process.wait()
        if status < 0 and -status == getattr(signal, "SIGALRM", None):
            return f"reading it did not end in {self._limit_seconds:g} s"
        name = signal.Signals(-status).name if status < 0 else f"status {status}"
        return f"reading it ended the process ({name})"


def _serve() -> None:
    """What a worker process does, until its input ends."""
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whoever prints does not print between the results
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    function, limit_seconds = pickle.load(source)
    _send(sink, "ready")
    while True:
        try:
            batch = pickle.load(source)
        except EOFError:
            return
        try:
            _send(sink, [_timed(function, item, limit_seconds) for item in batch])
        except Exception:
            _send(sink, traceback.format_exc())


def _send(sink: Any, message: Any) -> None:
    sink.write(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))  # whole or, where pickling fails, not at all
    sink.flush()


def _timed(function: Callable[[Any], Any], item: Any, limit_seconds: float) -> Any:
    # The signal ends the process, also in the middle of C code that Python could not interrupt.
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, limit_seconds)
    try:
        return function(item)
    finally:
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)
