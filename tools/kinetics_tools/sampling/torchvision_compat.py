"""`KineticsClips`: all windows of all clips, with the arguments of torchvision.datasets.Kinetics."""

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.annotations.selection import Selection
from kinetics_tools.media import ClipError, VideoReader, View, read_audio
from kinetics_tools.probing import ProbeTable, probe_bar, probe_files, probe_items
from kinetics_tools.releases import LABELS, find_split
from kinetics_tools.sampling.collate import as_torch, has_torch
from kinetics_tools.sampling.frames import check_column, check_split_chosen, position_of
from kinetics_tools.sampling.samplers import EveryClip
from kinetics_tools.sources import check_data_dir, local_clips
from kinetics_tools.text import check_choice, few, format_count

OutputFormat = Literal["TCHW", "THWC"]
_BYTES_AT_ONCE = 4  # clips in memory that are sent to a worker process

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
    For others the headers are read in worker processes, with a progress bar. For files the result is cached, clip by
    clip, in `.kinetics-probes.jsonl` in `root`, or in the download cache of `datasets` if `root` is read-only. The
    cache is that of `kinetics verify`. A warning names unreadable clips. The selected split of a prepared directory is
    copied once into the cache of `datasets`.

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
        num_workers: number of worker processes that read headers; by default one per core, 0 is 1.
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
        num_workers: int | None = None,
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
        self._num_frames, self._fps = self._source.lengths(None if num_workers is None else max(num_workers, 1))
        counts = [
            self.windows.count(frames, fps) if frames else 0
            for frames, fps in zip(self._num_frames.tolist(), self._fps.tolist(), strict=True)
        ]
        if not all(counts):
            bad = f"{counts.count(0):,} of {len(counts):,} clips"
            warnings.warn(f"{bad} are unreadable or too short for {self.windows}", stacklevel=2)
        self._stops = np.cumsum(counts, dtype=np.int64)

    def __repr__(self) -> str:
        return (
            f"KineticsClips({self._source.name}, {self.num_videos:,} clips, {len(self):,} windows of {self.windows}, "
            f"{len(self.classes)} classes)"
        )

    def __len__(self) -> int:
        return int(self._stops[-1]) if len(self._stops) else 0

    @property
    def num_videos(self) -> int:
        """Number of clips, readable or not."""
        return len(self._stops)

    def get_clip_location(self, index: int) -> tuple[int, int]:
        """Return the number of the clip of a window, and the number of the window within its clip."""
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        clip = int(np.searchsorted(self._stops, index, side="right"))
        return clip, index - (int(self._stops[clip - 1]) if clip else 0)

    def __getitem__(self, index: int) -> tuple[Any, Any, int]:
        clip, window = self.get_clip_location(position_of(index, len(self), "window"))
        video, label = self._source.clip(clip)
        with VideoReader(video) as reader:
            # With the length and rate that the windows were counted with: a variable rate has several values.
            indices = self.windows.clip(window, int(self._num_frames[clip]), float(self._fps[clip]))
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


_Lengths = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


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
        self.name = f"{len(dataset):,} rows"
        self.dataset = dataset.with_format(None).cast_column("video", Video(decode=False))
        self.classes = list(getattr(dataset.features.get("label"), "names", []))
        self._labels = self.dataset["label"] if "label" in dataset.column_names else None

    def lengths(self, workers: int | None) -> _Lengths:
        if {"num_frames", "fps"} <= set(self.dataset.column_names):
            table = self.dataset.select_columns(["num_frames", "fps"]).with_format("arrow")[:]
            frames, fps = (pc.fill_null(table[name], 0).to_numpy() for name in ("num_frames", "fps"))
            return frames.astype(np.int64), fps.astype(np.float64)
        probes = ProbeTable()
        probes.extend(len(self.dataset))
        items = ((row, _clip_of(self.dataset[row]["video"])) for row in range(len(self.dataset)))
        with probe_bar(len(self.dataset)) as bar:
            for row, probe, _ in probe_items(items, workers=workers, batch_size=_BYTES_AT_ONCE):
                probes.put(row, probe)
                bar.update()
        return _lengths(probes, lambda row: f"row {row}")

    def clip(self, number: int) -> tuple[Any, int]:
        return self.dataset[number]["video"], -1 if self._labels is None else self._labels[number]


class _Files:
    """Clips in files, whose probes are cached."""

    def __init__(
        self, root: str, paths: pa.ChunkedArray, labels: npt.NDArray[np.int64], classes: Sequence[str]
    ) -> None:
        self.root, self.paths, self.labels, self.classes = root, paths, labels, list(classes)
        self.name = repr(root)

    def lengths(self, workers: int | None) -> _Lengths:
        paths = pc.utf8_slice_codeunits(self.paths, len(self.root) + 1).to_pylist()
        return _lengths(probe_files(self.root, paths, workers=workers), paths.__getitem__)

    def clip(self, number: int) -> tuple[Any, int]:
        return self.paths[number].as_py(), int(self.labels[number])


def _lengths(probes: ProbeTable, name_of: Callable[[int], str]) -> _Lengths:
    """Return number of frames and frames per second of each clip, 0 for unreadable ones, which a warning names."""
    if probes.errors:
        named = [f"{name_of(number)} ({probes.errors[number]})" for number in sorted(probes.errors)]
        warnings.warn(f"{format_count(len(named), 'clip')} without windows: {few(named)}", stacklevel=4)
    return probes.rows["num_frames"].astype(np.int64), probes.rows["fps"].astype(np.float64)


def _clip_of(video: Mapping[str, Any] | None) -> str | bytes:
    content, path = (video or {}).get("bytes"), (video or {}).get("path")
    return (path or b"") if content is None else content


def _of_directory(root: Path, release: str, split: str) -> Any:
    from datasets import load_dataset, load_dataset_builder

    split = find_split(split)
    selection = Selection(release, splits=[split])
    directory = check_data_dir(root)
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
    if table["path"].null_count:  # a filter copies all paths
        table = table.filter(table["path"].is_valid())
    files = _Files(directory, table["path"], table["label"].to_numpy(), LABELS[release])
    del table
    pa.default_memory_pool().release_unused()  # 100 MB of 650,000 clips
    return files
