"""Tasks of Ray, one per item, on the nodes of a cluster that may grow and shrink."""

import os
import socket
import traceback
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypeVar

from kinetics_tools.errors import first_line
from kinetics_tools.run.processes import RETRIES_AFTER_KILL, Crash

_TASKS_PER_CORE = 2  # one runs and one waits, so that an autoscaler sees work for more nodes
_CONNECT_SECONDS = 8.0
# What a client of gRPC sends first, and the type of the frame with which a server begins: RFC 9113, sections 3.4, 6.5.
_HTTP2_START, _HTTP2_SETTINGS = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5), b"\x04"
_POLL_SECONDS = 5.0  # until the number of cores is looked up again
# Errors of Ray after its own retries, by name.
_LOSSES = {
    "WorkerCrashedError": "its process was killed each time",
    "NodeDiedError": "its node was lost each time",
    "OutOfMemoryError": "its node ran out of memory",
    "ObjectLostError": "its result was lost",
}

Key = TypeVar("Key")
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class _Task:
    key: Any
    item: Any
    failed_on: set[str] = field(default_factory=set)  # ids of nodes


@dataclass
class _Answer:
    node: str
    host: str
    result: Any = None
    error: Exception | None = None


def spread_by_ray(
    function: Callable[[Item], Result], items: Iterable[tuple[Key, Item]], workers: int | None, address: str | None
) -> Generator[tuple[Key, Result | Crash], None, None]:
    """Yield the results of tasks in order of completion, see `spread`."""
    import ray

    is_ours = not ray.is_initialized()
    if is_ours:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    try:
        yield from _Tasks(ray, function, workers).results(items)
    finally:
        if is_ours:
            ray.shutdown()


def check_reachable(address: str | None) -> None:
    """Raise ConnectionError if no server of gRPC is at `address`, or at RAY_ADDRESS: Ray tries for minutes, or forever.

    Other addresses than HOST:PORT, such as "auto", are taken to be right.
    """
    address = address or os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS) as connection:
            connection.sendall(_HTTP2_START)
            is_grpc = os.environ.get("RAY_USE_TLS") == "1" or connection.recv(9)[3:4] == _HTTP2_SETTINGS
        problem = None if is_grpc else "another server answers there"
    except (OSError, OverflowError) as error:
        problem = getattr(error, "strerror", None) or str(error)
    if problem is not None:
        raise ConnectionError(
            f"no Ray cluster at address={address!r} ({problem}); check the host and the port, by default 6379, "
            "or omit it for the cluster of this machine"
        )


class _Tasks:
    """Tasks in flight. A task that raised OSError is retried on another node.

    If it succeeds there, the first node gets no more tasks: its disk or mount may be bad.
    """

    def __init__(self, ray: Any, function: Callable[[Any], Any], workers: int | None):
        self._ray = ray
        self._function = function
        self._workers = workers
        self._running: dict[Any, _Task] = {}
        self._bad_nodes: set[str] = set()

    def results(self, items: Iterable[tuple[Any, Any]]) -> Generator[tuple[Any, Any], None, None]:
        waiting = iter(items)
        try:
            while True:
                for key, item in islice(waiting, max(0, self._limit() - len(self._running))):
                    self._submit(_Task(key, item))
                if not self._running:
                    return
                done, _ = self._ray.wait(list(self._running), timeout=_POLL_SECONDS)
                for reference in done:
                    yield from self._finish(reference, self._running.pop(reference))
        finally:
            for reference in self._running:
                self._ray.cancel(reference, force=True)

    def _limit(self) -> int:
        return self._workers or _TASKS_PER_CORE * int(self._ray.cluster_resources().get("CPU", 1))

    def _nodes(self) -> set[str]:
        return {one["NodeID"] for one in self._ray.nodes() if one["Alive"] and one["Resources"].get("CPU", 0) >= 1}

    def _submit(self, task: _Task) -> None:
        avoided = (self._bad_nodes | task.failed_on) & self._nodes()
        chosen = {"ray.io/node-id": f"!in({','.join(sorted(avoided))})"} if avoided else None
        remote = self._ray.remote(_call).options(num_cpus=1, max_retries=RETRIES_AFTER_KILL, label_selector=chosen)
        self._running[remote.remote(self._function, task.item)] = task

    def _finish(self, reference: Any, task: _Task) -> Generator[tuple[Any, Any], None, None]:
        try:
            answer: _Answer = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:  # its function or its result cannot be pickled
            raise error.cause if isinstance(error.cause, Exception) else RuntimeError(str(error)) from None
        except self._ray.exceptions.RayError as error:
            kinds = (getattr(self._ray.exceptions, name) for name in _LOSSES)
            reasons = [reason for kind, reason in zip(kinds, _LOSSES.values(), strict=True) if isinstance(error, kind)]
            if not reasons:
                raise OSError(f"Ray: {first_line(error)}") from None
            yield task.key, Crash(reasons[0])
            return
        if answer.error is None:
            self._bad_nodes |= task.failed_on
            yield task.key, answer.result
        elif not isinstance(answer.error, OSError):
            raise answer.error
        elif not task.failed_on and self._nodes() - self._bad_nodes - {answer.node}:
            task.failed_on.add(answer.node)
            self._submit(task)
        else:
            raise OSError(f"{answer.host}: {answer.error}")


def _call(function: Callable[[Any], Any], item: Any) -> _Answer:
    """Run in a process of a node. Errors are returned: Ray would put its own frames and colors into their text."""
    import ray

    answer = _Answer(ray.get_runtime_context().get_node_id(), socket.gethostname())
    try:
        answer.result = function(item)
    except Exception as error:
        answer.error = error
        if hasattr(error, "add_note") and not isinstance(
            error, OSError | ValueError
        ):  # else nothing says where it was raised
            error.add_note(traceback.format_exc())
    return answer
