"""`KineticsClips`: all windows of all clips, with the arguments of torchvision.datasets.Kinetics."""

import json
import os
import warnings
from bisect import bisect_right
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal, cast, get_args

import numpy as np

from kinetics_tools.annotations.selection import Selection
from kinetics_tools.io.atomic import replacing
from kinetics_tools.io.json_shape import parse_json
from kinetics_tools.media import ClipError, VideoReader, View, probe, read_audio
from kinetics_tools.releases import LABELS, find_split
from kinetics_tools.sampling.collate import as_torch, has_torch
from kinetics_tools.sampling.frames import check_column, check_split_chosen, position_of
from kinetics_tools.sampling.samplers import EveryClip
from kinetics_tools.sources import check_data_dir, local_clips
from kinetics_tools.text import check_choice

OutputFormat = Literal["TCHW", "THWC"]
_CACHE = ".kinetics-clips.json"
_CACHE_VERSION = 2
_CACHE_SHAPE = {"version": int, "clips": {str: (str, [int, float])}}

# Number of frames and frames per second of a clip, or why it cannot be read.
_Length = tuple[int, float] | str | Exception

# torchvision's arguments that have no effect here: their default, and what to do instead.
_UNUSED: dict[str, tuple[Any, str]] = {
    "extensions": (("avi", "mp4"), "omit it; clips are found by file name"),
    "download": (False, "run `kinetics download` before"),
    "_precomputed_metadata": (None, "omit it; the lengths of clips are cached in their directory"),
    "_video_width": (0, "pass size=(height, width)"),
    "_video_height": (0, "pass size=(height, width)"),
    "_video_min_dimension": (0, "scale in `transform`"),
    "_audio_samples": (0, "resample the returned `audio`"),
    "_audio_channels": (0, "mix the returned `audio`"),
    "_legacy": (False, 'pass output_format="THWC"'),
}


class KineticsClips:
    """Map-style dataset of every window of `frames_per_clip` frames of every clip: (video, audio, label).

    `video` is uint8 with the axes `output_format`. `audio` is float32 (channels, samples) of the same seconds. `label`
    is the class index in this project's order (see `to_torchvision`), -1 without one. Windows are as in torchvision's
    VideoClips (see `EveryClip`), numbered clip after clip. Shorter clips have no window, and a warning counts them.

    Creation decodes nothing. Clips of datasets with `num_frames` and `fps`, such as prepared ones, are not even opened.
    For others the headers are read, and for files the result is cached as `.kinetics-clips.json` in `root`. Each start
    warns of unreadable clips. The selected split of a prepared directory is copied once into the cache of `datasets`.

    Clips differ in their sound, so batches need `audio=False` or a `collate_fn` that pads. An item raises ClipError if
    its clip is corrupt or has changed. torchvision's clip samplers accept only its own class.

    The arguments of torchvision.datasets.Kinetics come first, with the same names and order. Arguments that are not
    described here must have their defaults; the error for another value names the alternative.

    Args:
        root: directory of the clips, as for `load_dataset("kinetics", ..., data_dir=...)` or from `kinetics prepare`;
            or a map-style dataset with the columns `video` and `label`, whose format or transform is ignored.
        frames_per_clip: number of frames T per window.
        num_classes: release of the clips of a directory: "400", "600", "700" or "700-2020".
        split: of a directory: "train", "val" or "validation", "test".
        frame_rate: frames per second to resample to; None keeps those of each clip.
        step_between_clips: frames from the start of a window to that of the next, after resampling.
        transform: function of `video`.
        num_workers: number of threads that read headers; 0 is 1.
        output_format: "TCHW" or "THWC".
        audio: False returns empty `audio`.
        size: (height, width) in pixels to scale to while decoding, which is faster than doing it later.
        tensors: False returns NumPy arrays; None returns tensors if torch is installed.
    """

    def __init__(
        self,
        root: Any,
        frames_per_clip: int,
        num_classes: str | int = "400",
        split: str = "train",
        frame_rate: float | None = None,
        step_between_clips: int = 1,
        transform: Callable[[Any], Any] | None = None,
        extensions: Sequence[str] = ("avi", "mp4"),
        download: bool = False,
        num_download_workers: int = 1,
        num_workers: int = 1,
        _precomputed_metadata: Any = None,
        _video_width: int = 0,
        _video_height: int = 0,
        _video_min_dimension: int = 0,
        _audio_samples: int = 0,
        _audio_channels: int = 0,
        _legacy: bool = False,
        output_format: OutputFormat = "TCHW",
        *,
        audio: bool = True,
        size: tuple[int, int] | None = None,
        tensors: bool | None = None,
    ) -> None:
        given = {**locals(), "extensions": tuple(extensions)}
        for name, (nothing, instead) in _UNUSED.items():
            if given[name] != nothing:
                raise ValueError(f"{name}={given[name]!r}: has no effect here; {instead}")
        check_choice(output_format, get_args(OutputFormat), "output_format")
        self.windows = EveryClip(frames_per_clip, step_between_clips, frame_rate)
        self.transform, self.audio, self.view, self.output_format = transform, audio, View(size=size), output_format
        self.tensors = has_torch() if tensors is None else tensors
        if self.tensors:
            as_torch(np.zeros(1))  # raises ImportError without torch
        if isinstance(root, str | os.PathLike):
            self._source: Any = _of_directory(Path(root), str(num_classes), split)
        else:
            self._source = _Rows(root)
        self.classes: list[str] = self._source.classes
        self._lengths: list[_Length] = self._source.lengths(num_workers)
        counts = [self._count(length) for length in self._lengths]
        if not all(counts):
            warnings.warn(f"{counts.count(0):,} of {len(counts):,} clips have no {self.windows}", stacklevel=2)
        self._stops = list(accumulate(counts))

    def __len__(self) -> int:
        return self._stops[-1] if self._stops else 0

    @property
    def num_videos(self) -> int:
        """Number of clips, readable or not."""
        return len(self._stops)

    def get_clip_location(self, index: int) -> tuple[int, int]:
        """Return the number of the clip of a window, and the number of the window within its clip."""
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        clip = bisect_right(self._stops, index)
        return clip, index - (self._stops[clip - 1] if clip else 0)

    def _count(self, length: _Length) -> int:
        if isinstance(length, tuple):
            return self.windows.count(*length) if length[0] else 0
        warnings.warn(f"{length} (it has no windows)", stacklevel=3)
        return 0

    def __getitem__(self, index: int) -> tuple[Any, Any, int]:
        clip, window = self.get_clip_location(position_of(index, len(self), "window"))
        video, label = self._source.clip(clip)
        with VideoReader(video) as reader:
            # With the length and rate that the windows were counted with: a variable rate has several values.
            indices = self.windows.clip(window, *cast("tuple[int, float]", self._lengths[clip]))
            if indices.max() >= reader.num_frames:
                raise ClipError(
                    f"{reader.name}: has only {reader.num_frames} frames, fewer than recorded; create the dataset again"
                )
            frames: Any = reader.decode(indices, view=self.view, layout=self.output_format)
            start, end = reader.span(indices)
        sound: Any = np.zeros((1, 0), np.float32)
        if self.audio:
            sound = read_audio(video, start_seconds=start, end_seconds=end).samples
        if self.tensors:
            frames, sound = as_torch(frames), as_torch(sound)
        return (self.transform(frames) if self.transform else frames), sound, label


class _Rows:
    """Rows of a map-style dataset."""

    def __init__(self, dataset: Any) -> None:
        from datasets import Dataset, Video

        check_split_chosen(dataset)
        if not isinstance(dataset, Dataset):
            raise TypeError(
                f"{type(dataset).__name__}: must be a path or a map-style dataset, so without streaming=True"
            )
        check_column("video", dataset.column_names)
        self.dataset = dataset.with_format(None).cast_column("video", Video(decode=False))
        self.classes = list(getattr(dataset.features.get("label"), "names", []))
        self._labels = self.dataset["label"] if "label" in dataset.column_names else None

    def lengths(self, num_workers: int) -> list[_Length]:
        if {"num_frames", "fps"} <= set(self.dataset.column_names):
            table = self.dataset.select_columns(["num_frames", "fps"])
            return list(zip(table["num_frames"], table["fps"], strict=True))
        with ThreadPoolExecutor(max(num_workers, 1)) as threads:
            rows = range(len(self.dataset))
            return list(threads.map(lambda row: _length(self.dataset[row]["video"]), rows))

    def clip(self, number: int) -> tuple[Any, int]:
        return self.dataset[number]["video"], -1 if self._labels is None else self._labels[number]


class _Files:
    """Clips in files, whose lengths are cached in a file in their directory."""

    def __init__(self, root: Path, paths: Sequence[str], labels: Sequence[int], classes: Sequence[str]) -> None:
        self.root, self.paths, self.labels, self.classes = root, paths, labels, list(classes)

    def lengths(self, num_workers: int) -> list[_Length]:
        known = self._known()
        keys = [self._key(path) for path in self.paths]
        new = {key: path for key, path in zip(keys, self.paths, strict=True) if key not in known}
        with ThreadPoolExecutor(max(num_workers, 1)) as threads:
            found = dict(zip(new, threads.map(_length, new.values()), strict=True))
        # An error of the disk may pass; an unreadable clip stays so until its file changes.
        lasting = {key: length for key, length in found.items() if not isinstance(length, OSError)}
        if lasting:
            self._keep({**known, **lasting})
        lengths = {**known, **found}
        return [lengths[key] for key in keys]

    def clip(self, number: int) -> tuple[Any, int]:
        return self.paths[number], self.labels[number]

    def _key(self, path: str) -> str:
        name = os.path.relpath(path, self.root)
        try:
            stat = os.stat(path)
        except OSError:  # deleted since it was listed, which reading it will report
            return name
        return f"{name}:{stat.st_size}:{stat.st_mtime_ns}"

    def _known(self) -> dict[str, _Length]:
        path = self.root / _CACHE
        try:
            content: Any = parse_json(path.read_bytes(), _CACHE_SHAPE) if path.is_file() else {"version": None}
        except (OSError, ValueError):
            return {}
        if content["version"] != _CACHE_VERSION:
            return {}
        clips: dict[str, Any] = content["clips"]
        return {key: length if isinstance(length, str) else (length[0], length[1]) for key, length in clips.items()}

    def _keep(self, known: dict[str, _Length]) -> None:
        try:
            with replacing(self.root / _CACHE) as partial:
                partial.write_text(json.dumps({"version": _CACHE_VERSION, "clips": known}, default=str))
        except OSError as error:  # such as a read-only disk
            warnings.warn(f"the lengths of the clips cannot be cached: {error}", stacklevel=2)


def _of_directory(root: Path, release: str, split: str) -> Any:
    from datasets import load_dataset, load_dataset_builder

    split = find_split(split)
    selection = Selection(release, splits=[split])
    check_data_dir(root)
    if any((root / release).glob(f"{split}-*.parquet")):
        named = load_dataset_builder(os.fspath(root), release).config.data_files or {}
        if split not in named:
            raise ValueError(
                f"{root}: README.md names no {split} of {release}; rerun `kinetics prepare` to complete it"
            )
        # Only these files, since `datasets` writes all splits that it is given into its cache.
        return _Rows(load_dataset("parquet", data_files={split: [str(file) for file in named[split]]}, split=split))
    table = local_clips(selection, root, split)
    assert table is not None, "no classes were asked for"
    table = table.filter(table["path"].is_valid())
    return _Files(root, table["path"].to_pylist(), table["label"].to_pylist(), LABELS[release])


def _length(video: Any) -> _Length:
    try:
        info = probe(video)
    except (ClipError, OSError) as error:
        return error
    return info.num_frames, info.fps
