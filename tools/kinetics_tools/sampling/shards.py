"""Order of the shards of a stream."""

import inspect
from typing import Any

from datasets.iterable_dataset import BufferShuffledExamplesIterable


def shuffle_shards(stream: Any, *, seed: int = 0) -> Any:
    """Return a stream with its shards in random order and the rows of each shard in stored order.

    It resumes exactly and needs no memory. `shuffle(buffer_size=1)` of `datasets` gives the same rows, but loses one
    at each resume on `datasets` before 5.1, because its state does not have the row in the buffer. `set_epoch` of the
    result chooses the order of an epoch.

    Args:
        stream: an `IterableDataset`, such as prepared shards with `streaming=True`.
        seed: seed for the order.

    Raises:
        TypeError: `stream` is not an `IterableDataset`.
    """
    if not hasattr(stream, "_ex_iterable"):
        raise TypeError(f"stream must be an IterableDataset, got {type(stream).__name__}; pass streaming=True")
    options = {"buffer_size": 1, "max_buffer_input_shards": 1}  # newer releases read ten shards at once by default
    known = inspect.signature(stream.shuffle).parameters
    shuffled = stream.shuffle(seed=seed, **{name: value for name, value in options.items() if name in known})
    buffer = shuffled._ex_iterable
    assert isinstance(buffer, BufferShuffledExamplesIterable), f"shuffle of this datasets ends in {type(buffer)}"
    shuffled._ex_iterable = buffer.ex_iterable
    return shuffled
