"""Frames of the clips of a dataset, sampled as video models sample them, as arrays."""

import operator
import os
import sys
import warnings
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from kinetics_tools.media import ClipError, Layout, VideoReader
from kinetics_tools.sampling.crops import (
    CenterCrop,
    Framing,
    RandomCrop,
    RandomResizedCrop,
    Scale,
    ShortSide,
    ThreeCrops,
)
from kinetics_tools.sampling.samplers import GRID, EveryClip, RandomClip, Sampler, Seconds, Segments, UniformClips
from kinetics_tools.text import check_count

__all__ = [
    "GRID",
    "CenterCrop",
    "EveryClip",
    "Frames",
    "FramesDataset",
    "Framing",
    "RandomClip",
    "RandomCrop",
    "RandomResizedCrop",
    "Sampler",
    "Scale",
    "Seconds",
    "Segments",
    "ShortSide",
    "ThreeCrops",
    "UniformClips",
    "as_torch",
    "collate",
    "has_torch",
]

OnError = Literal["skip", "raise"]
_FAILURES_IN_A_ROW = 32
_KEY_BYTES = 4096
NO_TORCH = "torch is not installed: pip install torch"


class Frames:
    """Replaces the `video` column of a dataset by `frames`: uint8 RGB arrays.

        frames = Frames(RandomClip(16, 4, align="grid"), RandomResizedCrop(224, flip=0.5))
        stream = frames.apply(load_dataset("user/kinetics", "700", split="train", streaming=True))

    `apply` takes a streaming or a map-style dataset. The object itself is a function of an example, or of a batch of
    examples as `map(batched=True)` and `with_transform` give it, whose `video` column should be cast to
    `Video(decode=False)`: else `datasets` opens every clip for nothing. To `map` give `remove_columns=["video"]`, too.

    Where a clip lies in time and space depends on `seed`, on the epoch (see `set_epoch`) and on the clip's file name
    (without one, its last bytes), and on nothing else: not on rank, worker, their number, or the order of clips.

    Arguments:
        sampler: which frames; see `RandomClip` and the others.
        framing: which part of the pictures; a number is `CenterCrop` of that size. With several views, as of
            `ThreeCrops`, the array has one more axis in front: (views, ...).
        layout: the axes of a clip. A sampler of N clips puts N in front of them.
        on_error: what becomes of a clip that cannot be read or has no window for the sampler: "skip" warns, names it,
            and the next clip takes its place; "raise" raises ClipError. After 32 such clips in a row it raises anyway.
            A function must return as many rows as it is given: in a batch the next good clip of the batch, after the
            last the first, takes the place; a single example, or a batch without a good clip, raises ClipError.
        column: where the clips are.
    """

    def __init__(
        self,
        sampler: Sampler,
        framing: Framing | int = 224,
        *,
        layout: Layout = "THWC",
        seed: int = 0,
        on_error: OnError = "skip",
        column: str = "video",
    ) -> None:
        for name, value, choices in (("layout", layout, get_args(Layout)), ("on_error", on_error, get_args(OnError))):
            if value not in choices:
                raise ValueError(f"{name}={value!r}: must be one of {', '.join(choices)}")
        check_count(0, seed=seed)
        self.sampler = sampler
        self.framing: Framing = framing if callable(framing) else CenterCrop(framing)
        for name, function in (("sampler", self.sampler), ("framing", self.framing)):
            if isinstance(function, type) or not callable(function):
                raise ValueError(
                    f"{name}={function!r}: must be a made one, as RandomClip(16, 4) and CenterCrop(224) are"
                )
        self.layout, self.seed, self.on_error, self.column = layout, seed, on_error, column
        self._epoch = _shared_zero()
        self._failures = 0

    def set_epoch(self, epoch: int) -> None:
        """Draws other frames from now on, in workers of a loader that run already, too; `epoch` is 0 or more."""
        check_count(0, epoch=epoch)
        self._epoch[...] = int(epoch)

    def decode(self, video: Any) -> npt.NDArray[np.uint8]:
        """The frames of one clip."""
        rng = np.random.default_rng([self.seed, int(self._epoch), _key(video)])
        with VideoReader(video) as reader:
            indices = self.sampler(reader.num_frames, reader.fps, rng)
            if not indices.size:
                raise ClipError(f"{reader.name}: its {reader.num_frames} frames are too few for {self.sampler}")
            views = reader.decode_views(
                indices, views=lambda height, width: self.framing(height, width, rng), layout=self.layout
            )
        return views[0] if len(views) == 1 else np.stack(views)

    def __call__(self, examples: Mapping[str, Any]) -> dict[str, Any]:
        """An example with its frames, or a batch of as many rows; see `on_error` for those that failed."""
        check_column(self.column, examples)
        videos = examples[self.column]
        if not isinstance(videos, list):
            others = {name: value for name, value in examples.items() if name != self.column}
            return {**others, "frames": self.decode(videos)}
        decoded = [self._tried(video) for video in videos]
        if decoded and all(isinstance(one, Exception) for one in decoded):
            raise ClipError(f"{decoded[0]} (and no clip of the batch can take its place)")
        good = _good_rows(decoded)
        rows = [next((row for row in good if row >= place), good[0]) for place in range(len(decoded))]
        return self._rows(examples, decoded, rows)

    def drop_failed(self, examples: Mapping[str, Any]) -> dict[str, Any]:
        """A batch of examples with their frames, without the clips that failed."""
        check_column(self.column, examples)
        decoded = [self._tried(video) for video in examples[self.column]]
        return self._rows(examples, decoded, _good_rows(decoded))

    def apply(self, dataset: Any) -> Any:
        """The dataset with frames: a streaming one again, or for a map-style one a `FramesDataset`.

        A format such as "torch" is put aside, since it would make 8 bytes of each: `collate` makes the tensors.
        """
        from datasets import IterableDataset, Video

        check_split_chosen(dataset)
        dataset = without_format(dataset)
        if dataset.features is not None:  # None after `map` of a stream, where whatever comes is taken
            check_column(self.column, dataset.features)
            if isinstance(dataset.features[self.column], Video):
                dataset = dataset.cast_column(self.column, Video(decode=False))
        if isinstance(dataset, IterableDataset):
            # Row by row, so that the state of a stream is that of the clips which were given out.
            return dataset.map(self.drop_failed, batched=True, batch_size=1, remove_columns=[self.column])
        return FramesDataset(dataset, self)

    def _tried(self, video: Any) -> npt.NDArray[np.uint8] | Exception:
        """The frames of one clip; or, if it is to be skipped, why it has none."""
        try:
            frames = self.decode(video)
        except (ClipError, OSError) as error:
            if self.on_error == "raise":
                raise
            self._failures += 1
            if self._failures < _FAILURES_IN_A_ROW:
                return error
            self._failures = 0
            raise
        self._failures = 0
        return frames

    def _rows(self, examples: Mapping[str, Any], decoded: Sequence[Any], rows: Sequence[int]) -> dict[str, Any]:
        batch = {name: [values[row] for row in rows] for name, values in examples.items() if name != self.column}
        return {**batch, "frames": [decoded[row] for row in rows]}


def _good_rows(decoded: Sequence[npt.NDArray[np.uint8] | Exception]) -> list[int]:
    """The rows that have frames; of each other one, a warning."""
    for one in decoded:
        if isinstance(one, Exception):
            warnings.warn(f"{one} (the next clip takes its place)", stacklevel=3)
    return [row for row, one in enumerate(decoded) if not isinstance(one, Exception)]


class FramesDataset:
    """A map-style dataset, as torch's `DataLoader` takes it, whose rows have `frames` in the place of a clip."""

    def __init__(self, dataset: Any, frames: Frames) -> None:
        self.dataset, self.frames = dataset, frames

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The row with this index; for a clip that failed, under on_error="skip", the first good row after it."""
        length = len(self)
        first = position_of(index, length, "row")
        for row in range(first, first + length):
            batch = self.frames.drop_failed(self.dataset[row % length : row % length + 1])
            if batch["frames"]:
                return {name: values[0] for name, values in batch.items()}
        raise ClipError(f"none of the {length} clips can be read; see the warnings")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (self[index] for index in range(len(self)))


def check_split_chosen(dataset: Any) -> None:
    """Raises TypeError for what `load_dataset` gives without a split: several datasets by name."""
    if isinstance(dataset, dict):
        names = list(dataset)
        raise TypeError(f"{type(dataset).__name__}: choose one split of {', '.join(names)}, as by [{names[0]!r}]")


def check_column(name: str, columns: Iterable[str]) -> None:
    """Raises ValueError, which names those that there are, for a column that is not among them."""
    if name not in columns:
        raise ValueError(f"column={name!r}: there is none; the columns are {', '.join(columns)}")


def without_format(dataset: Any) -> Any:
    """The dataset in Python's values, whatever format is set; of a map-style one, a user's transform stays."""
    from datasets import IterableDataset

    if isinstance(dataset, IterableDataset):
        return dataset.with_format(None)
    if dataset.format["type"] in (None, "custom"):
        return dataset
    return dataset.with_format(columns=dataset.format["columns"])


def position_of(index: int, length: int, what: str) -> int:
    """`index` as one in [0, length): a negative one counts from the end."""
    try:
        number = operator.index(index)
    except TypeError:
        raise TypeError(f"{what} {index!r}: must be one whole number") from None
    if not -length <= number < length:
        raise IndexError(f"{what} {number} of {length}")
    return number % length


def collate(examples: Sequence[Mapping[str, Any]], *, torch: bool | None = None) -> dict[str, Any]:
    """A batch of examples, by column: arrays, tensors and numbers are stacked, all else becomes a list.

    They are torch tensors where torch is installed, or as `torch` says: True without it raises ImportError. Raises
    ValueError for no examples, for examples of different columns, and for arrays of different shapes.
    """
    if not examples:
        raise ValueError("examples=[]: a batch has at least one")
    for number, example in enumerate(examples):
        if example.keys() != examples[0].keys():
            raise ValueError(f"example {number} has the columns {list(example)}, the first one {list(examples[0])}")
    as_tensors = has_torch() if torch is None else torch
    batch: dict[str, Any] = {}
    for name in examples[0]:
        values = [_as_array(example[name]) for example in examples]
        shapes = {value.shape for value in values if isinstance(value, np.ndarray)}
        if len(shapes) > 1:
            raise ValueError(f"{name}: has the shapes {', '.join(map(str, sorted(shapes)))}, which make no batch")
        if as_tensors and all(isinstance(value, np.ndarray) for value in values):
            batch[name] = _stacked(values)
        elif all(isinstance(value, np.ndarray | np.number | np.bool_ | int | float) for value in values):
            batch[name] = _of_numbers(np.stack(values)) if as_tensors else np.stack(values)
        else:
            batch[name] = values
    return batch


def _as_array(value: Any) -> Any:
    """An array on the memory of a tensor; all else as it is."""
    torch = sys.modules.get("torch")
    return value.numpy() if torch is not None and isinstance(value, torch.Tensor) else value


def _stacked(arrays: Sequence[npt.NDArray[Any]]) -> Any:
    """A tensor, which a loader's worker makes in the memory that it shares with its parent, without another copy."""
    tensors = [as_torch(array) for array in arrays]
    from kinetics_tools.sampling.shared_batches import stacked

    return stacked(tensors)


def _of_numbers(array: npt.NDArray[Any]) -> Any:
    tensor = as_torch(array)
    from kinetics_tools.sampling.shared_batches import by_value

    return by_value(tensor)


def has_torch() -> bool:
    import importlib.util

    return importlib.util.find_spec("torch") is not None


def as_torch(array: npt.NDArray[Any]) -> Any:
    """A tensor on the memory of an array."""
    try:
        import torch
    except ImportError as error:
        raise ImportError(NO_TORCH) from error
    return torch.from_numpy(array)


def _key(video: Any) -> int:
    """A number that names a clip: of its file's name without folders, or of the bytes at its end."""
    video = getattr(video, "_hf_encoded", video)
    if isinstance(video, Mapping):
        video = video.get("path") or video.get("bytes") or b""
    if hasattr(video, "read"):
        name = getattr(video, "name", None)
        video = name if isinstance(name, str) else _end_of(video)
    if isinstance(video, bytes):
        return zlib.crc32(video[-_KEY_BYTES:])
    member = str(video).split("::")[0]  # of "zip://a/b.mp4::c.zip"
    return zlib.crc32(member.replace("\\", "/").rpartition("/")[2].encode())


def _end_of(file: Any) -> bytes:
    """The last bytes of an open file, which is left where it was."""
    position = file.tell()
    file.seek(max(file.seek(0, os.SEEK_END) - _KEY_BYTES, 0))
    end: bytes = file.read()
    file.seek(position)
    return end


def _shared_zero() -> Any:
    """A number that a loader's processes share with their parent, which without torch there are none of."""
    try:
        import torch
    except ImportError:
        return np.zeros((), np.int64)
    return torch.zeros((), dtype=torch.int64).share_memory_()
