"""Batches of examples, and the bridge to torch, which need not be installed."""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["as_torch", "collate", "has_torch", "shared_zero"]


def has_torch() -> bool:
    """Return True if torch is installed."""
    return importlib.util.find_spec("torch") is not None


def as_torch(array: npt.NDArray[Any]) -> Any:
    """Return a torch tensor on the memory of an array. Raises ImportError without torch."""
    try:
        import torch
    except ImportError as error:
        raise ImportError("torch is not installed: pip install torch") from error
    return torch.from_numpy(array)


def shared_zero() -> Any:
    """Return an int64 0 that processes of a loader share with their parent, if torch is installed."""
    try:
        import torch
    except ImportError:
        return np.zeros((), np.int64)
    return torch.zeros((), dtype=torch.int64).share_memory_()


def collate(examples: Sequence[Mapping[str, Any]], *, torch: bool | None = None) -> dict[str, Any]:
    """Return a batch of examples, by column: arrays, tensors and numbers are stacked, other values become a list.

    Args:
        examples: at least one, with the same columns, and arrays of one shape in each column.
        torch: True makes torch tensors, False NumPy arrays; None makes tensors if torch is installed.
    """
    if not examples:
        raise ValueError("examples=[]: a batch needs at least one example")
    for number, example in enumerate(examples):
        if example.keys() != examples[0].keys():
            raise ValueError(f"example {number} has the columns {list(example)}, the first one {list(examples[0])}")
    as_tensors = has_torch() if torch is None else torch
    return {name: _column(name, [example[name] for example in examples], as_tensors) for name in examples[0]}


def _column(name: str, values: list[Any], as_tensors: bool) -> Any:
    torch = sys.modules.get("torch")
    if torch is not None:
        values = [value.numpy() if isinstance(value, torch.Tensor) else value for value in values]
    shapes = {value.shape for value in values if isinstance(value, np.ndarray)}
    if len(shapes) > 1:
        raise ValueError(f"{name}: has the shapes {', '.join(map(str, sorted(shapes)))}, which cannot be stacked")
    if not all(isinstance(value, np.ndarray | np.number | np.bool_ | int | float) for value in values):
        return values
    if not as_tensors:
        return np.stack(values)
    if all(isinstance(value, np.ndarray) for value in values):
        tensors = [as_torch(value) for value in values]
        from kinetics_tools.sampling.shared_batches import stack

        # A worker of a loader stacks in the memory that it shares with its parent, without another copy.
        return stack(tensors)
    tensor = as_torch(np.stack(values))
    from kinetics_tools.sampling.shared_batches import by_value

    return by_value(tensor)
