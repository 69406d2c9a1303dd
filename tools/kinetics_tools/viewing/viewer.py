"""Clips of a source as the app shows them: posters, copies of videos, facts, and the frames that samplers take."""

import atexit
import functools
import math
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
from datasets.utils.logging import get_logger

from kinetics_tools.errors import ClipError
from kinetics_tools.evaluation import Evaluation
from kinetics_tools.io import write_file
from kinetics_tools.media import VideoReader
from kinetics_tools.releases import RELEASES
from kinetics_tools.run import available_cores
from kinetics_tools.sampling import EveryClip, RandomClip, Segments, UniformClips
from kinetics_tools.text import format_count, printable
from kinetics_tools.viewing import html
from kinetics_tools.viewing.charts import Chart, charts_of
from kinetics_tools.viewing.clips import Clips
from kinetics_tools.viewing.filters import Filter
from kinetics_tools.viewing.previews import poster, video_of, watchable
from kinetics_tools.viewing.timeline import timeline

_logger = get_logger("datasets.kinetics")

ALL = "all"
"""Choice of a menu that filters nothing."""
SAMPLERS: dict[str, Callable[[int, int, int], Any]] = {
    "UniformClips": lambda frames, stride, clips: UniformClips(clips, frames, stride),
    "RandomClip": lambda frames, stride, clips: RandomClip(frames, stride),
    "Segments": lambda frames, stride, clips: Segments(frames),
    "EveryClip": lambda frames, stride, clips: EveryClip(frames, frames * stride),
}
"""Samplers by name, made from the numbers of frames, of frames between two of them, and of clips."""

_PAGE = 24
_STRIP = 16  # frames of the first sampled clip that are shown
_FACTS = ("status", "detail", "codec", "path")
_BLANK = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 3"><path d="M0 0H4V3H0Z" fill="#dde3ea"/></svg>'


class Viewer:
    """Clips of a source with what the pages of the app ask of them.

    Args:
        clips: the clips, with the columns of `with_predictions` if there are predictions.
        other: clips to compare with; None for none.
        scores: scores of the predictions; None without.
    """

    def __init__(self, clips: Clips, other: Clips | None = None, scores: Evaluation | None = None):
        self.clips, self.other, self.scores = clips, other, scores
        self.table = clips.table
        self.releases = [name for name in RELEASES if name in pc.unique(self.table["release"]).to_pylist()]
        self.title = ", ".join(f"Kinetics-{name}" for name in self.releases) or "Kinetics"
        self.cache = Path(tempfile.mkdtemp(prefix="kinetics-view-"))
        atexit.register(shutil.rmtree, self.cache, ignore_errors=True)
        self._watchable = watchable(clips)
        self._posters: dict[int, str] = {}
        self._lock = threading.Lock()
        self.longest = math.ceil(pc.max(self.table["duration"]).as_py() or 0)

    def choices(self, column: str) -> list[str]:
        """Return the values of a column for a menu, after "all"."""
        return [ALL, *sorted(pc.unique(self.table[column]).drop_null().to_pylist())]

    def resolutions(self) -> list[str]:
        """Return the resolutions for a menu, after "all", the smallest ones first."""
        sizes = self.table.select(["width", "height"]).drop_null().group_by(["width", "height"]).aggregate([])
        sizes = sizes.sort_by([("width", "ascending"), ("height", "ascending")])
        return [ALL, *(f"{width}x{height}" for width, height in zip(*sizes.to_pydict().values(), strict=True))]

    def charts(self) -> list[Chart]:
        """Return the charts of the clips. They are made once, when they are first asked for."""
        with self._lock:
            return self._charts

    @functools.cached_property
    def _charts(self) -> list[Chart]:
        return charts_of(self.table, without=("status", "classes"))

    def page(self, wanted: Filter, number: int) -> tuple[list[tuple[str, str]], str, list[int]]:
        """Return a page of the clips that a filter keeps: posters with captions, a line of HTML, and their rows.

        `number` counts from 1; one that is too large stands for the last page.
        """
        rows = wanted.rows(self.table)
        pages = max(1, -(-len(rows) // _PAGE))
        at = min(max(number, 1), pages) - 1
        chosen = rows[at * _PAGE : (at + 1) * _PAGE].tolist()
        return self.posters(chosen), f"<p>{format_count(len(rows), 'clip')}, page {at + 1:,} of {pages:,}</p>", chosen

    def find(self, name: str) -> int:
        """Return the row of a clip by its name."""
        return int(pc.index(self.table["clip"], name).as_py())

    def can_watch(self, row: int) -> bool:
        """Return True if the clip in a row has a file that can be opened alone."""
        return bool(self._watchable[row].as_py())

    def posters(self, rows: Sequence[int]) -> list[tuple[str, str]]:
        """Return the path of a poster and the caption of each clip."""
        missing = [row for row in rows if row not in self._posters and self.can_watch(row)]
        # In threads: processes would take a second to start, and `verify` or `prepare` has opened these clips before.
        with ThreadPoolExecutor(available_cores()) as threads:
            for row, made in zip(missing, threads.map(poster, map(self._location, missing)), strict=True):
                if made is not None:
                    path = self.cache / f"{row}{'.webp' if made.startswith(b'RIFF') else '.jpg'}"
                    write_file(path, made)
                    self._posters[row] = str(path)
        blank = self.cache / "blank.svg"
        if not blank.exists():
            write_file(blank, _BLANK)
        return [(self._posters.get(row, str(blank)), self._caption(row)) for row in rows]

    def video(self, row: int) -> str | None:
        """Return the path of a copy of the clip in a row, in the app's own folder; None if it cannot be read."""
        if not self.can_watch(row):
            return None
        folder, path, number = self._location(row)
        copy = self.cache / f"{row}{Path(path).suffix if number is None else '.mp4'}"
        if not copy.exists():
            try:
                found = video_of(folder, path, number)
                write_file(copy, found if isinstance(found, bytes) else Path(found).read_bytes())
            except (OSError, ValueError) as error:
                _logger.warning(f"{path}: {printable(str(error))}")
                return None
        return str(copy)

    def facts(self, row: int) -> str:
        """Return what is known of a clip, as HTML."""
        values = self.table.slice(row, 1).to_pylist()[0]
        start, end, video = values["time_start"], values["time_end"], values["youtube_id"]
        lines = [
            ("clip", values["clip"]),
            ("class", values["label"] or "no label"),
            ("split", f"{values['release']} {values['split']}"),
        ]
        lines += [(name, values[name]) for name in _FACTS if values[name]]
        measured = {
            "duration": ("duration", "{duration:.2f} s"),
            "frames": ("num_frames", "{num_frames:,} at {fps:g} per second"),
            "resolution": ("width", "{width} x {height} pixels"),
            "sound": ("has_audio", "{sound}"),
            "size": ("bytes", "{bytes:,} bytes"),
        }
        sound = "yes" if values["has_audio"] else "no"
        for name, (column, form) in measured.items():
            if values[column] is not None:
                lines.append((name, form.format(**values, sound=sound)))
        if self.scores is not None and values["predicted"]:
            lines.append(("predicted", f"{values['predicted']} ({values['prediction']})"))
        table = html.table([(name, str(value)) for name, value in lines])
        if video is None or start is None:
            return table
        url = html.text(f"https://www.youtube.com/watch?v={video}&t={int(start)}s")
        link = (
            f'<a href="{url}" target="_blank" rel="noopener noreferrer">source on YouTube, {start:g} to {end:g} s</a>'
        )
        return f"{table}<p>{link}</p>"

    def sampled(self, row: int, name: str, frames: int, stride: int, clips: int, seed: int) -> tuple[str, list[Any]]:
        """Return the timeline of a sampler on a clip as HTML, and frames of the first sampled clip, (H, W, C) uint8."""
        copy = self.video(row)
        if copy is None:
            return "", []
        try:
            with VideoReader(copy) as reader:
                indices = SAMPLERS[name](frames, stride, clips)(
                    reader.num_frames, reader.fps, np.random.default_rng(seed)
                )
                picture = timeline(reader.num_frames, reader.fps, indices)
                first = np.atleast_2d(indices)[:1].ravel()
                step = max(1, -(-len(first) // _STRIP))
                return picture, list(reader.decode(first[::step])) if first.size else []
        except (ClipError, OSError) as error:
            return f"<p>{html.text(error)}</p>", []

    def _location(self, row: int) -> tuple[str, str, int | None]:
        return str(self.clips.folder), self.table["path"][row].as_py(), self.table["row"][row].as_py()

    def _caption(self, row: int) -> str:
        label, status, clip = (self.table[name][row].as_py() for name in ("label", "status", "clip"))
        known = printable(label or clip or "")
        return known if status == "present" else f"{known} ({status})"
