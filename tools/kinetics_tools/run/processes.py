"""Crash-proof process pool: a worker process may crash or hang without ending the run.

FFmpeg is C code that reads untrusted files: a corrupt one can crash the process or hang. Threads would end the run,
and a `ProcessPoolExecutor` breaks as a whole when one process dies.
"""

# pebble 5.2 was tried: it forks, which is unsafe beside threads, or else needs a `__main__` guard in the caller's
# script. It runs 2,600 trivial items a second one by one and 8,300 in batches of 32; in batches, this pool
# ran 38,000 before it shared `merge` with `spread`. With fork, pebble ran 25,700.

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kinetics_tools.run.threads import Take, merge
from kinetics_tools.text import check_count

RETRIES_AFTER_KILL = 5  # SIGKILL comes from outside, or from a system whose memory the item exhausts
_RETRIES_AFTER_CRASH = 1  # memory may have been short, or another thread at fault
_SIGKILL = getattr(signal, "SIGKILL", signal.SIGTERM)  # Windows has no SIGKILL,
_SIGALRM = getattr(signal, "SIGALRM", None)  # nor the timer that sends this

_PIPE_BYTES = 1 << 18

Key = TypeVar("Key")
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Crash:
    """Result of an item that crashed its process (`signal` if killed by one) or took too long; see `reason`."""

    reason: str
    signal: int | None = None

    @property
    def retries(self) -> int:
        """Number of retries that may help."""
        if self.signal is not None and self.signal == _SIGALRM:
            return 0
        return RETRIES_AFTER_KILL if self.signal in (signal.SIGTERM, _SIGKILL) else _RETRIES_AFTER_CRASH


def available_cores() -> int:
    """Return the number of cores that this process may use, at least 1."""
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
    idle: "IdleProcesses | None" = None,
) -> Generator[tuple[Key, Result | Crash], None, None]:
    """Yield (key, function(item)) for each (key, item) of `items`, in order of completion.

    An item that crashes its process is retried and then yields a `Crash`, as does one that takes longer than
    `limit_seconds` (not on Windows). There are `workers` processes, by default one per core; with 1, results are in
    order. They end with the iterator, and with this process however it ends. The caller needs no `__main__` guard.

    Processes in `idle` are used first, and processes that are still good go there.

    `function` must be importable by a new process, or a `functools.partial` of such a function. Items and results are
    pickled, keys are not. Any thread may take from `items`, `batch_size` at a time, when few results are left to take.

    Raises:
        RuntimeError: `function` raised, with the traceback, or a process did not start.
    """
    count = available_cores() if workers is None else workers
    check_count(workers=count)
    pool = _Pool(function, limit_seconds, batch_size, idle)
    with contextlib.closing(merge(pool.results, items, count, on_stop=pool.stop)) as batches:
        for batch in batches:
            yield from batch


class IdleProcesses:
    """Worker processes between calls of `run` with one function and limit: a new one takes half a second to start.

    They end with the `with` block. Any thread may use it.
    """

    def __init__(self) -> None:
        self._processes: list[_Process] = []
        self._is_closed = False
        self._lock = threading.Lock()

    def __enter__(self) -> "IdleProcesses":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._is_closed = True
        for process in self._processes:
            process.end()

    def take(self) -> "_Process | None":
        """Return a process, if there is one."""
        with self._lock:
            return self._processes.pop() if self._processes and not self._is_closed else None

    def give(self, process: "_Process") -> bool:
        """Keep a process; return False if the block has ended."""
        with self._lock:
            if not self._is_closed:
                self._processes.append(process)
            return not self._is_closed


@dataclass
class _Pool:
    """Worker processes, each fed by the thread that iterates `results`."""

    function: Callable[[Any], Any]
    limit_seconds: float
    batch_size: int
    idle: IdleProcesses | None = None
    is_stopped: bool = False
    processes: "set[_Process]" = field(default_factory=set)

    def stop(self) -> None:
        self.is_stopped = True
        for process in list(self.processes):
            process.kill()

    def results(self, take: Take[tuple[Any, Any]]) -> Iterator[list[tuple[Any, Any]]]:
        process: _Process | None = None
        suspects: list[tuple[Any, Any]] = []  # items of a batch that crashed: each is tried alone
        tries = 0  # of the item that is alone
        is_good = False
        try:
            while not self.is_stopped and (batch := [suspects.pop()] if suspects else take(self.batch_size)):
                process = process or self._start()
                if self.is_stopped:  # `stop` may not have seen this process
                    return
                answer = process.exchange([item for _, item in batch])
                if isinstance(answer, str):
                    raise RuntimeError(f"a worker process failed:\n{answer}")
                if answer is None:
                    crash = self._crash(process)
                    process = None
                    if len(batch) > 1 or tries < crash.retries:
                        tries += len(batch) == 1
                        suspects += batch[::-1]
                        continue
                    answer = [crash]
                tries = 0
                yield list(zip((key for key, _ in batch), answer, strict=True))
            is_good = not self.is_stopped
        finally:
            if process is not None:
                self._release(process, is_good=is_good)

    def _release(self, process: "_Process", *, is_good: bool) -> None:
        self.processes.discard(process)
        if not (is_good and self.idle is not None and self.idle.give(process)):
            process.end()

    def _start(self) -> "_Process":
        if self.idle is not None and (process := self.idle.take()) is not None:
            self.processes.add(process)
            return process
        for _ in range(RETRIES_AFTER_KILL + 1):
            process = _Process()
            self.processes.add(process)
            if process.exchange((self.function, self.limit_seconds)) == "ready":
                return process
            process.wait()  # for its own status: `_end` kills
            status = self._end(process)
            if status != -_SIGKILL or self.is_stopped:
                break
        raise RuntimeError(f"cannot start a worker process: {sys.executable} exited with status {status}")

    def _crash(self, process: "_Process") -> Crash:
        process.wait()
        status = self._end(process)
        if status >= 0:
            return Crash(f"reading it ended the process (status {status})")
        if -status == _SIGALRM:
            return Crash(f"reading it did not end in {self.limit_seconds:g} s", -status)
        return Crash(f"reading it ended the process ({signal.Signals(-status).name})", -status)

    def _end(self, process: "_Process") -> int:
        self.processes.discard(process)
        return process.end()


class _Process(subprocess.Popen[bytes]):
    """Worker process that reads pickled batches from its standard input and writes pickled lists of results."""

    def __init__(self) -> None:
        code = f"import sys; sys.path[:] = {sys.path!r}; from kinetics_tools.run.processes import _serve; _serve()"
        # A session of its own keeps Ctrl-C from the worker.
        super().__init__(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self.stdout is not None
        # Clips take half the time through a larger pipe. Linux alone has it, and a limit of pipes for each user.
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import fcntl

            fcntl.fcntl(self.stdout.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def end(self) -> int:
        """Kill the process; return its exit status."""
        self.kill()
        with contextlib.suppress(OSError), self:  # unsent data for a process that is gone
            pass
        return self.wait()

    def exchange(self, message: Any) -> Any:
        """Return the answer to a message, None if the process ended instead."""
        assert self.stdin is not None
        assert self.stdout is not None
        try:
            pickle.dump(message, self.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            self.stdin.flush()
            return pickle.load(self.stdout)
        except (OSError, EOFError, pickle.UnpicklingError):
            return None


def _serve() -> None:
    """Answer batches until the standard input ends: the program of a worker process."""
    source, sink = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # so that code that prints does not print between the results
    set_timer = getattr(signal, "setitimer", lambda *_: None)
    if _SIGALRM is not None:
        signal.signal(_SIGALRM, signal.SIG_DFL)  # ends the process even in C code, which Python cannot interrupt

    def send(message: Any) -> None:
        sink.write(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))  # nothing is written if pickling fails
        sink.flush()

    def call(item: Any) -> Any:
        set_timer(0, limit_seconds)  # 0 is ITIMER_REAL, which Windows lacks
        try:
            return function(item)
        finally:
            set_timer(0, 0)

    try:
        function, limit_seconds = pickle.load(source)
        send("ready")
        while True:
            batch = pickle.load(source)
            try:
                send([call(item) for item in batch])
            except BrokenPipeError:
                raise
            except Exception:
                send(traceback.format_exc())
    except (EOFError, BrokenPipeError):  # the parent has ended
        os._exit(0)  # a normal exit would flush results that nobody reads
