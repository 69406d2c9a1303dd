"""One function over many items, in worker processes that may crash or hang without taking the run along.

FFmpeg is C that reads whatever lies on a disk: a damaged file can end the process, or never return. Threads would
die together and with them the run; an executor of the standard library breaks as a whole when one process dies.
"""

import contextlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from kinetics_tools.run.threads import Workers

__all__ = ["ENGINES", "Crash", "available_cores", "check_engine", "run", "spread"]

ENGINES = ("local", "ray")

_SECOND_TRIES = 1  # of an item that crashed its process: memory may have been short, or another thread at fault
_STOP_SECONDS = 5.0
_TRIES_AFTER_KILLS = 5  # SIGKILL comes from outside, but also from a system that is out of memory because of the item

Key = TypeVar("Key")
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Crash:
    """In the place of a result: the item took its process down, or did not come to an end in time."""

    reason: str
    signal: int | None = None  # what ended the process, None where it ended by itself

    @property
    def tries(self) -> int:
        """How many more may help."""
        if self.signal == getattr(signal, "SIGALRM", -1):
            return 0
        return _TRIES_AFTER_KILLS if self.signal in (signal.SIGTERM, getattr(signal, "SIGKILL", -1)) else _SECOND_TRIES


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
) -> Generator[tuple[Key, Result | Crash], None, None]:
    """(key, function(item)) for each (key, item) of `items`, as they get done.

    `workers` is the number of processes; None for one a core. `function` is one that a new process can import, or a
    `functools.partial` of one; items and results are pickled, keys stay here. `items` is taken as needed, `batch_size`
    at a time, by any thread, and not before few results are left to be fetched: with one worker they come in order. An
    item that crashes its process is tried once more and then gets a `Crash`, as one does that takes longer than
    `limit_seconds` (not on Windows, which has no timer for that). The processes end with the iterator, and with this
    process however it ends. The caller's script needs no `__main__` guard.

    Raises what taking from `items` raises, and RuntimeError with the traceback when `function` raises.
    """
    count = available_cores() if workers is None else workers
    if count < 1:
        raise ValueError(f"workers is {count}; it must be 1 or more")
    pool = _Pool(function, iter(items), batch_size, limit_seconds, count)
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


def check_engine(engine: str, *, workers: int | None = None, address: str | None = None) -> None:
    """Raises what `spread` raises for its arguments, for who wants to know before other work is done."""
    if engine not in ENGINES:
        raise ValueError(f"unknown engine {engine!r} (valid: {', '.join(ENGINES)})")
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; it must be 1 or more")
    if engine == "local" and address is not None:
        raise ValueError("address is of a Ray cluster; pass engine='ray', too, or leave it out")
    if engine == "ray":
        try:
            import ray  # noqa: F401
        except ImportError:
            raise ModuleNotFoundError("engine='ray' needs Ray: pip install ray", name="ray") from None


def spread(
    function: Callable[[Item], Result],
    items: Iterable[tuple[Key, Item]],
    *,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    stop: threading.Event | None = None,
) -> Iterator[tuple[Key, Result]]:
    """(key, function(item)) for each (key, item), as they get done: items that are work of minutes, and crash nothing.

    "local" uses `workers` threads of this process, None for one a core: `function` is to leave the work to processes,
    such as those of `run`. "ray" makes a task of each item, on the cluster at `address` (None: the one that this
    machine belongs to, or else a new one on it), `workers` at once, None for one a core of the cluster; `function`
    and items are pickled, and a task is tried again where its machine or process is lost.

    `stop` is set when the iterator ends before its items do; threads that look at it have 5 s to come to an end.

    Raises what `function` raises, ValueError for an unknown engine, and ModuleNotFoundError for "ray" without Ray.
    """
    check_engine(engine, workers=workers, address=address)
    if engine == "ray":
        return _spread_by_ray(function, items, workers, address)
    count = available_cores() if workers is None else workers
    return _spread_by_threads(function, items, count, stop or threading.Event())


def _spread_by_threads(
    function: Callable[[Item], Result], items: Iterable[tuple[Key, Item]], workers: int, stop: threading.Event
) -> Iterator[tuple[Key, Result]]:
    done: queue.SimpleQueue[Any] = queue.SimpleQueue()
    waiting, taking = iter(items), threading.Lock()

    def work() -> None:
        try:
            while not stop.is_set():
                with taking:
                    taken = next(waiting, None)
                if taken is None:
                    break
                done.put((taken[0], function(taken[1])))
            done.put(None)
        except BaseException as error:
            done.put(error)

    threads, running = Workers(work, workers), workers
    try:
        while running:
            result = done.get()
            if result is None:
                running -= 1
            elif isinstance(result, BaseException):
                raise result
            else:
                yield result
    finally:
        stop.set()
        threads.wait(_STOP_SECONDS)


def _spread_by_ray(
    function: Callable[[Item], Result], items: Iterable[tuple[Key, Item]], workers: int | None, address: str | None
) -> Iterator[tuple[Key, Result]]:
    import ray

    is_ours = not ray.is_initialized()
    if is_ours:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    task = ray.remote(_call).options(num_cpus=1, max_retries=_TRIES_AFTER_KILLS)
    limit = workers or int(ray.cluster_resources().get("CPU", 1))
    waiting, running = iter(items), dict[Any, Key]()
    try:
        while True:
            for key, item in islice(waiting, limit - len(running)):
                running[task.remote(function, item)] = key
            if not running:
                return
            (done, *_), _ = ray.wait(list(running))
            key = running.pop(done)
            try:
                yield key, ray.get(done)
            except ray.exceptions.RayTaskError as error:
                raise error.as_instanceof_cause() from None
    finally:
        if is_ours:
            ray.shutdown()


def _call(function: Callable[[Any], Any], item: Any) -> Any:
    return function(item)


class _Pool(Generic[Key, Item, Result]):
    """Threads of this process, each of which feeds a worker process of its own."""

    def __init__(
        self,
        function: Callable[[Item], Result],
        items: Iterator[tuple[Key, Item]],
        batch_size: int,
        limit_seconds: float,
        workers: int,
    ):
        self.results: queue.Queue[Any] = queue.Queue(2 * workers)
        self._start = (function, limit_seconds)
        self._items = items
        self._batch_size = batch_size
        self._taking = threading.Lock()
        self._stopped = False
        self._processes: set[_Process] = set()
        self._threads = Workers(self._drive, workers)

    def stop(self) -> None:
        self._stopped = True
        # A thread may just be starting a process; it looks at `_stopped` then.
        for process in list(self._processes):
            process.kill()
        while not self._threads.wait(0.01):
            with contextlib.suppress(queue.Empty):  # for one that waits until there is room for its result
                self.results.get_nowait()

    def _take(self) -> list[tuple[Key, Item]]:
        with self._taking:
            return [] if self._stopped else list(islice(self._items, self._batch_size))

    def _start_process(self) -> "_Process":
        for tries in range(_TRIES_AFTER_KILLS + 1):
            process = _Process(*self._start)
            status = process.problem
            if status is None:
                return process
            process.close()
            if tries == _TRIES_AFTER_KILLS or status != -getattr(signal, "SIGKILL", 0):
                break
        raise RuntimeError(f"a worker process did not start: {sys.executable} ended with {status}")

    def _drive(self) -> None:
        process: _Process | None = None
        suspects: list[tuple[Key, Item]] = []  # the items of a batch that was not answered: now each alone
        tries = 0  # of the item that is alone
        try:
            while not self._stopped and (batch := [suspects.pop()] if suspects else self._take()):
                if process is None:
                    process = self._start_process()
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
                    if tries < answer.tries and not self._stopped:
                        tries += 1
                        suspects.append(batch[0])
                        continue
                    answer = [answer]
                tries = 0
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
        code = f"import sys; sys.path[:] = {sys.path!r}; from kinetics_tools.run.processes import _serve; _serve()"
        # In a session of its own, so that Ctrl-C reaches this process alone.
        self._process = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        is_ready = self._exchange((function, limit_seconds)) == "ready"
        self.problem = None if is_ready else self._process.wait()  # its exit status

    def ask(self, batch: list[Any]) -> list[Any] | Crash:
        answer = self._exchange(batch)
        if answer is None:
            return self._last_words()
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

    def _last_words(self) -> Crash:
        status = self._process.wait()
        if status < 0 and -status == getattr(signal, "SIGALRM", None):
            return Crash(f"reading it did not end in {self._limit_seconds:g} s", -status)
        if status < 0:
            return Crash(f"reading it ended the process ({signal.Signals(-status).name})", -status)
        return Crash(f"reading it ended the process (status {status})")


def _serve() -> None:
    """What a worker process does, until its input ends."""
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whoever prints does not print between the results
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
    try:
        function, limit_seconds = pickle.load(source)
        _send(sink, "ready")
        while True:
            batch = pickle.load(source)
            try:
                _send(sink, [_timed(function, item, limit_seconds) for item in batch])
            except BrokenPipeError:
                raise
            except Exception:
                _send(sink, traceback.format_exc())
    except (EOFError, BrokenPipeError):  # who asked is gone
        os._exit(0)  # or Python would try to flush what is left for it


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
