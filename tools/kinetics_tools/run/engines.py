"""Engines for shards of work that take minutes each: threads of this process, or Ray on many machines."""

import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from kinetics_tools.run.processes import RETRIES_AFTER_KILL, available_cores
from kinetics_tools.run.threads import Take, merge
from kinetics_tools.text import check_choice, check_count

ENGINES = ("local", "ray")

Key = TypeVar("Key")
Item = TypeVar("Item")
Result = TypeVar("Result")


def check_engine(engine: str, *, workers: int | None = None, address: str | None = None) -> None:
    """Validate the arguments of `spread` before any work starts; raise its errors."""
    check_choice(engine, ENGINES, "engine")
    if workers is not None:
        check_count(workers=workers)
    if engine == "local" and address is not None:
        raise ValueError(f"address={address!r} is valid only with engine='ray'; pass both or omit address")
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
    """Yield (key, function(item)) for each (key, item) of `items`, in order of completion.

    Each item is minutes of work. An exception of `function` ends the iteration.

    - "local": `workers` threads, by default one per core. `function` must do its work in processes, see `run`.
    - "ray": a task per item, retried if its machine is lost, on the cluster at `address`. By default that is the
      cluster of this machine, or a new local one. `workers` tasks run at once, by default one per core.

    `stop` is set when the iteration ends; threads that watch it have 5 s to end.
    """
    check_engine(engine, workers=workers, address=address)
    if engine == "ray":
        return _spread_by_ray(function, items, workers, address)

    def produce(take: Take[tuple[Key, Item]]) -> Iterator[tuple[Key, Result]]:
        while taken := take(1):
            yield taken[0][0], function(taken[0][1])

    return merge(produce, items, workers or available_cores(), on_stop=stop.set if stop else lambda: None)


def _spread_by_ray(
    function: Callable[[Item], Result], items: Iterable[tuple[Key, Item]], workers: int | None, address: str | None
) -> Iterator[tuple[Key, Result]]:
    import ray

    is_ours = not ray.is_initialized()
    if is_ours:
        ray.init(address=address, log_to_driver=False, configure_logging=False)
    task = ray.remote(_call).options(num_cpus=1, max_retries=RETRIES_AFTER_KILL)
    limit = workers or int(ray.cluster_resources().get("CPU", 1))
    waiting, running = iter(items), dict[Any, Key]()
    try:
        while True:
            running |= {task.remote(function, item): key for key, item in islice(waiting, limit - len(running))}
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


def _call(function: Callable[[Any], Any], item: Any) -> Any:  # `ray.remote` takes no functools.partial
    return function(item)
