"""Engines for shards of work that take minutes each: threads of this process, or Ray on many machines."""

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

from kinetics_tools.run.processes import Crash, available_cores
from kinetics_tools.run.ray_tasks import check_reachable, spread_by_ray
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
            import ray
        except ImportError:
            raise ModuleNotFoundError("engine='ray' needs Ray: pip install ray", name="ray") from None
        if not ray.is_initialized():
            check_reachable(address)


def spread(
    function: Callable[[Item], Result],
    items: Iterable[tuple[Key, Item]],
    *,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    stop: threading.Event | None = None,
) -> Generator[tuple[Key, Result | Crash], None, None]:
    """Yield (key, function(item)) for each (key, item) of `items`, in order of completion.

    Each item is minutes of work. An exception of `function` ends the iteration.

    - "local": `workers` threads, by default one per core. `function` must do its work in processes, see `run`.
    - "ray": a task per item on the cluster at `address`. By default that is the cluster of this machine, or a new
      local one. `workers` tasks run at once, by default one per core, also of nodes that join later. A task whose
      process or node is lost is retried, and then yields a `Crash`. After an OSError, it is retried on another node.

    `stop` is set when the iteration ends; threads that watch it have 5 s to end.
    """
    check_engine(engine, workers=workers, address=address)
    if engine == "ray":
        return spread_by_ray(function, items, workers, address)

    def produce(take: Take[tuple[Key, Item]]) -> Iterator[tuple[Key, Result]]:
        while taken := take(1):
            yield taken[0][0], function(taken[0][1])

    return merge(produce, items, workers or available_cores(), on_stop=stop.set if stop else lambda: None)
