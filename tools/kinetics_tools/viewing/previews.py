"""Previews of clips: a poster and a short loop for each class, made in worker processes."""

import functools
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from kinetics_tools.io import Folder, write_file
from kinetics_tools.media import ClipError, VideoReader, thumbnail, webp
from kinetics_tools.run import Crash, Progress, run
from kinetics_tools.viewing.clips import Clips
from kinetics_tools.viewing.rows import read_value

_POSTER_BYTES, _LOOP_BYTES = 8_000, 60_000
_POSTER_HEIGHT, _LOOP_HEIGHT = 180, 120
_LOOP_FRAMES, _LOOP_FPS = 24, 8.0
_WATCHABLE = ("present", "short", "misplaced", "duplicate")
_ATTEMPTS = 3  # clips of a class that are tried


def preview_paths(name: str) -> tuple[str, str]:
    """Return the paths of the poster and the loop with a name, relative to the folder of a report."""
    return f"images/{name}.webp", f"images/{name}-loop.webp"


def write_previews(
    clips: Clips, out: Path, *, workers: int | None, console: Console | None
) -> dict[str, tuple[str, str]]:
    """Write a poster of at most 8 kB and a loop of 3 s of at most 60 kB for each class with a clip on a local disk.

    A clip that cannot be read gives way to the next one of its class.

    Args:
        clips: clips of a directory or of prepared shards.
        out: folder of the report.
        workers: number of processes; None for one per core.
        console: shows progress; None for the standard output.

    Returns:
        Label -> (path of the poster, name of the clip).
    """
    (out / "images").mkdir(parents=True, exist_ok=True)
    found: dict[str, tuple[str, str]] = {}
    candidates = _candidates(clips)
    make = functools.partial(_write, str(clips.folder), str(out))
    with Progress(clips=len(candidates), console=console) as progress:
        for attempt in range(_ATTEMPTS):
            left = {label: choices for label, choices in candidates.items() if label not in found}
            items = [(label, choices[attempt]) for label, choices in left.items() if len(choices) > attempt]
            for label, done in run(make, items, workers=workers, batch_size=1):
                if done is not None and not isinstance(done, Crash):
                    found[label] = done
                    progress.count("pictures")
                progress.tick()
    return found


def _candidates(clips: Clips) -> dict[str, list[tuple[str, str, int | None, str]]]:
    """Return the first clips of each class, in the order of paths and rows: path, name, row and name of the preview."""
    table = clips.table
    table = table.filter(pc.and_(watchable(clips), pc.is_valid(table["label"])))
    table = table.sort_by([("path", "ascending"), ("row", "ascending")]).select(["label", "path", "clip", "row"])
    groups = table.group_by("label", use_threads=False).aggregate([(name, "list") for name in ("path", "clip", "row")])
    found = {}
    for number, group in enumerate(sorted(groups.to_pylist(), key=lambda group: group["label"])):
        columns = (group[f"{name}_list"][:_ATTEMPTS] for name in ("path", "clip", "row"))
        found[group["label"]] = [(*choice, f"{number:03d}") for choice in zip(*columns, strict=True)]
    return found


def _write(folder: str, out: str, item: tuple[str, str, int | None, str]) -> tuple[str, str] | None:
    path, clip, row, name = item
    try:
        with VideoReader(video_of(folder, path, row)) as reader:
            step = max(1, round(reader.fps / _LOOP_FPS))
            start = max(0, reader.num_frames // 2 - step * _LOOP_FRAMES // 2)
            indices = np.minimum(start + step * np.arange(_LOOP_FRAMES), reader.num_frames - 1)
            middle = thumbnail(reader, _POSTER_HEIGHT)
            loop = thumbnail(reader, _LOOP_HEIGHT, np.unique(indices).tolist())
    except (ClipError, OSError, ValueError):
        return None
    poster_path, loop_path = preview_paths(name)
    write_file(Path(out, poster_path), webp(middle, max_bytes=_POSTER_BYTES))
    write_file(Path(out, loop_path), webp(loop, max_bytes=_LOOP_BYTES, fps=_LOOP_FPS))
    return poster_path, clip


def watchable(clips: Clips) -> pa.ChunkedArray:
    """Return for each clip whether it has a file that can be opened alone, unlike a member of an archive."""
    table = clips.table
    if clips.folder is None:
        return pa.chunked_array([pa.repeat(False, len(table))])
    has_file = pc.is_in(table["status"], pa.array(_WATCHABLE))
    if clips.kind == "prepared":
        return has_file
    in_archive = pc.match_substring_regex(table["path"], r"\.(tar|tgz|tar\.gz)/")
    return pc.and_(has_file, pc.invert(pc.fill_null(in_archive, False)))


def poster(clip: tuple[str, str, int | None]) -> bytes | None:
    """Return the middle frame of a clip (folder, path and row) as WebP of at most 8 kB; None if it is unreadable.

    Of shards in a store, only the column "poster" is read, JPEG of at most 8 kB; None without one.
    """
    folder, path, row = clip
    try:
        if row is not None and not Folder(folder).is_local:
            return read_value(folder, path, row, "poster.bytes")
        with VideoReader(video_of(*clip)) as reader:
            return webp(thumbnail(reader, _POSTER_HEIGHT), max_bytes=_POSTER_BYTES)
    except (ClipError, OSError, ValueError):
        return None


def video_of(folder: str, path: str, row: int | None) -> str | bytes:
    """Return a clip for `VideoReader`: the path of a file, or the bytes in a row of a shard."""
    if row is None:
        return os.path.join(folder, path)
    content = read_value(folder, path, row, "video.bytes")
    if content is None:
        raise ValueError(f"{path}: has no videos")
    return content
