"""Memory of batches that a loader's worker shares with its parent, used again once the parent lets go of a batch.

torch takes new memory for each batch, and the system clears a page of it when it is first touched: with frames that is
a fifth of what a worker does. Here a worker has a few pieces of shared memory, of which a byte at the end says whether
the parent has a batch in it. In the parent that byte is set back when no tensor uses the memory any more. And torch
makes a file of shared memory and a connection for each tensor; here a small one is sent as what it holds.
"""

import weakref
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch
from torch.multiprocessing.reductions import reduce_tensor
from torch.utils.data import default_collate, get_worker_info

__all__ = ["by_value", "stacked"]

# What a worker may have with its parent at a time; loaders ask for 2 batches ahead, and a script may hold some.
_MAX_PIECES = 8
_MIN_BYTES = 1 << 20
_ALIGNMENT_BYTES = 64


def stacked(tensors: list[torch.Tensor]) -> torch.Tensor:
    """Tensors of one shape as one tensor with a new first axis; in a loader's worker in memory that it shares."""
    first = tensors[0]
    size = len(tensors) * first.nbytes
    if get_worker_info() is not None and len({(one.shape, one.dtype) for one in tensors}) == 1:
        if size < _MIN_BYTES:
            return by_value(torch.stack(tensors))
        piece = _pieces.free(size)
        if piece is not None:
            batch = piece.lend((len(tensors), *first.shape), first.dtype)
            torch.stack(tensors, out=batch)
            return batch
    joined: torch.Tensor = default_collate(tensors)
    return joined


def by_value(tensor: torch.Tensor) -> torch.Tensor:
    """The same; a small one, in a loader's worker, as a tensor that is sent to the parent as what it holds."""
    is_sent_so = get_worker_info() is not None and tensor.nbytes < _MIN_BYTES
    return tensor.as_subclass(_Outgoing) if is_sent_so else tensor


class _Outgoing(torch.Tensor):
    """A tensor on a piece of shared memory, or a small one; views and results of it are tensors as all others."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    piece: "_Piece | None" = None


class _Piece:
    def __init__(self, size: int) -> None:
        self.size = -(-size // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
        self.shared = torch.zeros(self.size + _ALIGNMENT_BYTES, dtype=torch.uint8).share_memory_()
        self._bytes = self.shared.numpy()
        self._is_lent: Any = lambda: None

    def is_free(self) -> bool:
        # In this order: a batch is marked as sent while the worker still has it.
        return self._is_lent() is None and not self._bytes[-1]

    def lend(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        own = self._bytes[: self.size]  # lives as long as any tensor on it
        self._is_lent = weakref.ref(own)
        size = torch.Size(shape).numel()
        lent = torch.from_numpy(own).view(dtype)[:size].view(shape).as_subclass(_Outgoing)
        lent.piece = self
        return lent

    def mark_sent(self) -> None:
        self._bytes[-1] = 1


class _Pieces:
    """Those of a worker."""

    def __init__(self) -> None:
        self._all: list[_Piece] = []

    def free(self, size: int) -> _Piece | None:
        """The smallest free one that holds `size` bytes, or a new one; None where too many are in use."""
        free = sorted((piece for piece in self._all if piece.is_free()), key=lambda piece: piece.size)
        for piece in free:
            if piece.size >= size:
                return piece
        if len(self._all) == _MAX_PIECES:
            if not free:
                return None
            self._all.remove(free[0])
        self._all.append(_Piece(size))
        return self._all[-1]


_pieces = _Pieces()


def _sent(batch: _Outgoing) -> Any:
    """How it is pickled for the parent: once as its piece, then, or if it lies elsewhere now, as any tensor."""
    if batch.nbytes < _MIN_BYTES:
        return torch.from_numpy, (batch.numpy(),)
    piece, batch.piece = batch.piece, None
    if piece is None or batch.untyped_storage().data_ptr() != piece.shared.untyped_storage().data_ptr():
        return reduce_tensor(batch.as_subclass(torch.Tensor))
    piece.mark_sent()
    return _received, (piece.shared, batch.dtype, batch.size(), batch.stride(), batch.storage_offset())


def _received(
    shared: torch.Tensor, dtype: torch.dtype, size: torch.Size, stride: tuple[int, ...], offset: int
) -> torch.Tensor:
    own = shared.numpy()[:-_ALIGNMENT_BYTES]  # lives as long as any tensor on it
    weakref.finalize(own, _give_back, shared).atexit = False
    return torch.from_numpy(own).view(dtype).as_strided(size, stride, offset)


def _give_back(shared: torch.Tensor) -> None:
    shared.numpy()[-1] = 0


ForkingPickler.register(_Outgoing, _sent)
