"""Reusable shared memory for the batches that a loader's worker passes to its parent.

torch allocates new memory for each batch, and the system clears each page of it on first use: with frames that is a
fifth of a worker's time. Here a worker owns a few buffers of shared memory. The last byte of a buffer says whether the
parent uses it; the parent resets it when no tensor uses the memory any more. Small tensors are sent by value, because
torch makes a shared file and a connection for each tensor.
"""

import weakref
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch.multiprocessing.reductions import reduce_tensor
from torch.utils.data import default_collate, get_worker_info

__all__ = ["by_value", "stack"]

# Buffers that a worker may share with its parent at a time; loaders prefetch 2 batches, and a script may hold some.
_MAX_BUFFERS = 8
_MIN_BYTES = 1 << 20
_ALIGNMENT_BYTES = 64


def stack(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Stack tensors of one shape along a new first axis; a loader's worker does it in shared memory."""
    first = tensors[0]
    size = len(tensors) * first.nbytes
    if get_worker_info() is not None and len({(one.shape, one.dtype) for one in tensors}) == 1:
        if size < _MIN_BYTES:
            return by_value(torch.stack(tensors))
        buffer = _free_buffer(size)
        if buffer is not None:
            batch = buffer.lend((len(tensors), *first.shape), first.dtype)
            torch.stack(tensors, out=batch)
            return batch
    joined: torch.Tensor = default_collate(tensors)
    return joined


def by_value(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor; a small one of a loader's worker will be sent to the parent by value."""
    is_sent_so = get_worker_info() is not None and tensor.nbytes < _MIN_BYTES
    return tensor.as_subclass(_WorkerTensor) if is_sent_so else tensor


class _WorkerTensor(torch.Tensor):
    """Tensor in a buffer, or a small one; its views and results are plain tensors."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    buffer: "_Buffer | None" = None


class _Buffer:
    """Shared memory for one batch, with a last byte that says whether the parent has it."""

    def __init__(self, size: int) -> None:
        self.size = -(-size // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        self.shared = torch.zeros(self.size + _ALIGNMENT_BYTES, dtype=torch.uint8).share_memory_()
        self._bytes = self.shared.numpy()
        self._lent: Any = lambda: None

    def is_free(self) -> bool:
        # In this order: a batch is marked as sent while the worker still has it.
        return self._lent() is None and not self._bytes[-1]

    def lend(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        own = self._bytes[: self.size]  # lives as long as any tensor on it
        self._lent = weakref.ref(own)
        size = torch.Size(shape).numel()
        lent = torch.from_numpy(own).view(dtype)[:size].view(shape).as_subclass(_WorkerTensor)
        lent.buffer = self
        return lent

    def mark_sent(self) -> None:
        self._bytes[-1] = 1


_buffers: list[_Buffer] = []


def _free_buffer(size: int) -> _Buffer | None:
    """Return the smallest free buffer of at least `size` bytes, or a new one; None if too many are in use."""
    free = sorted((buffer for buffer in _buffers if buffer.is_free()), key=lambda buffer: buffer.size)
    for buffer in free:
        if buffer.size >= size:
            return buffer
    if len(_buffers) == _MAX_BUFFERS:
        if not free:
            return None
        _buffers.remove(free[0])
    _buffers.append(_Buffer(size))
    return _buffers[-1]


def _reduce(batch: _WorkerTensor) -> Any:
    """Pickle a tensor for the parent: once as its buffer; again, or if it lies elsewhere now, as any tensor."""
    if batch.nbytes < _MIN_BYTES:
        return torch.from_numpy, (batch.numpy(),)
    buffer, batch.buffer = batch.buffer, None
    if buffer is None or batch.untyped_storage().data_ptr() != buffer.shared.untyped_storage().data_ptr():
        return reduce_tensor(batch.as_subclass(torch.Tensor))
    buffer.mark_sent()
    return _receive, (buffer.shared, batch.dtype, batch.size(), batch.stride(), batch.storage_offset())


def _receive(
    shared: torch.Tensor, dtype: torch.dtype, size: torch.Size, stride: tuple[int, ...], offset: int
) -> torch.Tensor:
    own = shared.numpy()[:-_ALIGNMENT_BYTES]  # lives as long as any tensor on it
    weakref.finalize(own, _give_back, shared).atexit = False
    return torch.from_numpy(own).view(dtype).as_strided(size, stride, offset)


def _give_back(shared: torch.Tensor) -> None:
    shared.numpy()[-1] = 0


ForkingPickler.register(_WorkerTensor, _reduce)
