"""Frames of the clips of a dataset, for video models."""

import operator
import os
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from kinetics_tools.media import ClipError, Layout, VideoReader, View
from kinetics_tools.sampling.collate import shared_zero
from kinetics_tools.sampling.crops import CenterCrop, Framing
from kinetics_tools.sampling.samplers import Sampler
from kinetics_tools.text import check_choice, check_count

OnError = Literal["skip", "raise"]
_FAILURES_IN_A_ROW = 32
_KEY_BYTES = 4096


class Frames:
    """Transform of a dataset that replaces its `video` column by `frames`: uint8 RGB arrays.

        frames = Frames(RandomClip(16, 4, align="grid"), RandomResizedCrop(224, flip=0.5))
        stream = frames.apply(load_dataset("user/kinetics", "700", split="train", streaming=True))

    `apply` takes a streaming or a map-style dataset. The object itself is a function of an example or a batch, for
    `map` and `with_transform`. Cast the column to `Video(decode=False)` first, or `datasets` opens every clip in vain,
    and pass `remove_columns=["video"]` to `map`.

    The frames and the crop of a clip depend only on `seed`, the epoch (see `set_epoch`) and the clip's file name (its
    last bytes if it has no name). Ranks, workers and the order of clips have no effect.

    Args:
        sampler: chooses frames, such as `RandomClip`.
        framing: chooses the part of the pictures; a number is `CenterCrop` of that size. Several views, as of
            `ThreeCrops`, add a first axis: (views, ...).
        layout: axes of a clip; they follow an axis of N clips if the sampler takes N.
        seed: seed for random clips and crops, at least 0.
        on_error: "raise" raises ClipError for a clip that is unreadable or too short for the sampler. "skip" warns and
            takes the next clip; after 32 such clips in a row it raises, too. A batch keeps its length: the next good
            clip of the batch is repeated. A single example, or a batch without a good clip, raises.
        column: name of the column with the clips.
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
        check_choice(layout, get_args(Layout), "layout")
        check_choice(on_error, get_args(OnError), "on_error")
        check_count(0, seed=seed)
        self.sampler = sampler
        self.framing: Framing = framing if callable(framing) else CenterCrop(framing)
        _check_callables(self.sampler, self.framing)
        self.layout, self.seed, self.on_error, self.column = layout, seed, on_error, column
        self._epoch = shared_zero()
        self._failures = 0

    def __repr__(self) -> str:
        options = ("layout", "seed", "on_error", "column")
        shown = "".join(f", {name}={getattr(self, name)!r}" for name in options)
        return f"Frames({self.sampler}, {self.framing}{shown})"

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch (at least 0) of random clips and crops, also in running workers of a loader."""
        check_count(0, epoch=epoch)
        self._epoch[...] = int(epoch)

    def decode(self, video: Any) -> npt.NDArray[np.uint8]:
        """Return the frames of one clip; see `kinetics_tools.media.decode` for `video`."""
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
        """Return an example or a batch with `frames` instead of clips, and as many rows; see `on_error`."""
        check_column(self.column, examples)
        videos = examples[self.column]
        if not isinstance(videos, list):
            others = {name: value for name, value in examples.items() if name != self.column}
            return {**others, "frames": self.decode(videos)}
        decoded = [self._tried(video) for video in videos]
        if decoded and all(isinstance(one, Exception) for one in decoded):
            raise ClipError(f"{decoded[0]} (and the batch has no readable clip)")
        good = _good_rows(decoded)
        rows = [next((row for row in good if row >= wanted), good[0]) for wanted in range(len(decoded))]
        return self._rows(examples, decoded, rows)

    def drop_failed(self, examples: Mapping[str, Any]) -> dict[str, Any]:
        """Return a batch of examples with their frames, without the clips that failed."""
        check_column(self.column, examples)
        decoded = [self._tried(video) for video in examples[self.column]]
        return self._rows(examples, decoded, _good_rows(decoded))

    def apply(self, dataset: Any) -> Any:
        """Return the dataset with frames: a stream for a stream, a `FramesDataset` for a map-style dataset.

        A format such as "torch" is removed, since it would store 8 bytes per value: `collate` makes the tensors.
        """
        from datasets import Dataset, IterableDataset, Video

        check_split_chosen(dataset)
        if not isinstance(dataset, Dataset | IterableDataset):
            raise TypeError(f"dataset must be a Dataset or IterableDataset of load_dataset, got {dataset!r:.100}")
        is_stream = isinstance(dataset, IterableDataset)
        if is_stream:
            dataset = dataset.with_format(None)
        elif dataset.format["type"] not in (None, "custom"):  # "custom" is a user's transform, which stays
            dataset = dataset.with_format(columns=dataset.format["columns"])
        if dataset.features is not None:  # None after `map` of a stream, whose columns are unknown
            check_column(self.column, dataset.features)
            if isinstance(dataset.features[self.column], Video):
                dataset = dataset.cast_column(self.column, Video(decode=False))
        if is_stream:
            # Row by row, so that the state of a stream is that of the clips which were given out.
            return dataset.map(self.drop_failed, batched=True, batch_size=1, remove_columns=[self.column])
        return FramesDataset(dataset, self)

    def _tried(self, video: Any) -> npt.NDArray[np.uint8] | Exception:
        """Return the frames of one clip, or the error for which it is skipped."""
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


def _check_callables(sampler: Any, framing: Any) -> None:
    """Raise ValueError if `sampler` gives no frames, or `framing` no views, of a clip of 300 frames of 256 x 340."""
    rng = np.random.default_rng(0)
    gives_frames = _gives(lambda: sampler(300, 30, rng), lambda found: isinstance(found, np.ndarray))
    gives_views = _gives(lambda: framing(256, 340, rng), lambda found: all(isinstance(one, View) for one in found))
    for name, value, is_good in (("sampler", sampler, gives_frames), ("framing", framing, gives_views)):
        if isinstance(value, type) or not is_good:
            example = "RandomClip(16, 4)" if name == "sampler" else "CenterCrop(224)"
            raise ValueError(
                f"{name}={value!r}: must be a {name} such as {example}; "
                "the sampler comes first, as in Frames(RandomClip(16, 4), CenterCrop(224))"
            )


def _gives(call: Callable[[], Any], is_good: Callable[[Any], bool]) -> bool:
    """Return False if a call does not take its arguments, or gives something else."""
    try:
        return is_good(call())
    except TypeError:
        return False
    except Exception:  # a function of the user's for other clips
        return True


def _good_rows(decoded: Sequence[npt.NDArray[np.uint8] | Exception]) -> list[int]:
    for one in decoded:
        if isinstance(one, Exception):
            warnings.warn(f"{one} (the next clip takes its place)", stacklevel=3)
    return [row for row, one in enumerate(decoded) if not isinstance(one, Exception)]


class FramesDataset:
    """Map-style dataset for torch's `DataLoader`, whose rows have `frames` instead of a clip."""

    def __init__(self, dataset: Any, frames: Frames) -> None:
        self.dataset, self.frames = dataset, frames

    def __repr__(self) -> str:
        return f"FramesDataset({len(self):,} rows, {self.frames})"

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return a row; with on_error="skip", the next good one if its clip failed."""
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
    """Raise TypeError for a dict of datasets, as `load_dataset` returns without a split."""
    if isinstance(dataset, dict):
        names = list(dataset)
        raise TypeError(f"{type(dataset).__name__}: choose one split of {', '.join(names)}, as by [{names[0]!r}]")


def check_column(name: str, columns: Iterable[str]) -> None:
    """Raise ValueError if there is no column `name`."""
    if name not in columns:
        raise ValueError(f"column={name!r} does not exist; the columns are {', '.join(columns)}")


def position_of(index: int, length: int, what: str) -> int:
    """Return `index` as one in [0, length): a negative one counts from the end."""
    try:
        number = operator.index(index)
    except TypeError:
        raise TypeError(f"{what} {index!r}: must be one whole number") from None
    if not -length <= number < length:
        raise IndexError(f"{what} {number} of {length}")
    return number % length


def _key(video: Any) -> int:
    """Return a number for a clip: a hash of its file name without directories, or of its last bytes."""
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
    position = file.tell()
    file.seek(max(file.seek(0, os.SEEK_END) - _KEY_BYTES, 0))
    end: bytes = file.read()
    file.seek(position)
    return end
