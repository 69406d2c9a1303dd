"""Clips of a source as the app shows them: posters, copies of videos, facts, and the frames that samplers take."""

import atexit
import contextlib
import math
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from kinetics_tools.errors import ClipError
from kinetics_tools.media import VideoReader
from kinetics_tools.run import available_cores
from kinetics_tools.sampling import EveryClip, RandomClip, Segments, UniformClips
from kinetics_tools.text import printable
from kinetics_tools.viewing import statistics
from kinetics_tools.viewing.clips import Clips
from kinetics_tools.viewing.filters import Filter
from kinetics_tools.viewing.previews import poster, video_of, watchable
from kinetics_tools.viewing.timeline import timeline

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
_FACTS = ("status", "detail", "duration", "fps", "num_frames", "width", "height", "has_audio", "codec", "bytes", "path")
_BLANK = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 4 3"><path d="M0 0H4V3H0Z" fill="#dde3ea"/></svg>'


class Viewer:
    """Clips of a source with what the pages of the app ask of them.

    Args:
        clips: the clips, with the columns of `with_predictions` if there are predictions.
        other: clips to compare with; None for none.
    """

    def __init__(self, clips: Clips, other: Clips | None = None):
        self.clips, self.other = clips, other
        self.table = clips.table
        self.has_predictions = "prediction" in self.table.column_names
        self.cache = Path(tempfile.mkdtemp(prefix="kinetics-view-"))
        atexit.register(shutil.rmtree, self.cache, ignore_errors=True)
        self._watchable = watchable(clips)
        self.longest = math.ceil(pc.max(self.table["duration"]).as_py() or 0)

    def choices(self, column: str) -> list[str]:
        """Return the values of a column for a menu, after "all"."""
        return [ALL, *sorted(pc.unique(self.table[column]).drop_null().to_pylist())]

    def resolutions(self) -> list[str]:
        """Return the resolutions for a menu, after "all"."""
        values = statistics.by_value(self.table, "resolution")["value"].to_pylist()
        return [ALL, *sorted({value for value in values if "x" in value})]

    def page(self, wanted: Filter, number: int) -> tuple[list[tuple[str, str]], str, list[int]]:
        """Return a page of the clips that a filter keeps: posters with captions, a line of HTML, and their rows.

        `number` counts from 1; one that is too large stands for the last page.
        """
        rows = wanted.rows(self.table)
        pages = max(1, -(-len(rows) // _PAGE))
        at = min(max(number, 1), pages) - 1
        chosen = rows[at * _PAGE : (at + 1) * _PAGE].tolist()
        return self.posters(chosen), f"<p>{len(rows):,} clips, page {at + 1:,} of {pages:,}</p>", chosen

    def can_watch(self, row: int) -> bool:
        """Return True if the clip in a row has a file that can be opened alone."""
        return bool(self._watchable[row].as_py())

    def posters(self, rows: Sequence[int]) -> list[tuple[str, str]]:
        """Return the path of a poster and the caption of each clip."""
        missing = [row for row in rows if not self._poster(row).exists() and self.can_watch(row)]
        # In threads: processes would take a second to start, and `verify` or `prepare` has opened these clips before.
        with ThreadPoolExecutor(available_cores()) as threads:
            for row, made in zip(missing, threads.map(poster, map(self._location, missing)), strict=True):
                if made is not None:
                    self._poster(row).write_bytes(made)
        blank = self.cache / "blank.svg"
        if not blank.exists():
            blank.write_text(_BLANK)
        return [(str(self._poster(row) if self._poster(row).exists() else blank), self._caption(row)) for row in rows]

    def video(self, row: int) -> str | None:
        """Return the path of a copy of the clip in a row, in the app's own folder; None if it has no file."""
        if not self.can_watch(row):
            return None
        folder, path, number = self._location(row)
        suffix = Path(path).suffix if number is None else ".mp4"
        copy = self.cache / f"{row}{suffix}"
        if not copy.exists():
            found = video_of(folder, path, number)
            with contextlib.suppress(OSError):
                copy.write_bytes(found if isinstance(found, bytes) else Path(found).read_bytes())
        return str(copy) if copy.exists() else None

    def facts(self, row: int) -> str:
        """Return what is known of a clip, as HTML."""
        values = self.table.slice(row, 1).to_pylist()[0]
        start, end, video = values["time_start"], values["time_end"], values["youtube_id"]
        lines = [
            ("clip", values["clip"]),
            ("class", values["label"] or "no label"),
            ("split", f"{values['release']} {values['split']}"),
        ]
        lines += [(name, values[name]) for name in _FACTS if values[name] not in (None, "")]
        if self.has_predictions and values["predicted"]:
            lines.append(("predicted", f"{values['predicted']} ({values['prediction']})"))
        table = "".join(f"<tr><td>{name}</td><td>{escape(printable(str(value)))}</td></tr>" for name, value in lines)
        link = ""
        if video is not None and start is not None:
            url = escape(f"https://www.youtube.com/watch?v={video}&t={int(start)}s", quote=True)
            link = (
                f'<p><a href="{url}" target="_blank" rel="noopener noreferrer">source, {start:g} to {end:g} s</a></p>'
            )
        return f"<table>{table}</table>{link}"

    def sampled(self, row: int, name: str, frames: int, stride: int, clips: int, seed: int) -> tuple[str, list[Any]]:
        """Return the timeline of a sampler on a clip as HTML, and frames of the first sampled clip, (H, W, C) uint8."""
        if not self.can_watch(row):
            return "", []
        try:
            with VideoReader(video_of(*self._location(row))) as reader:
                indices = SAMPLERS[name](frames, stride, clips)(
                    reader.num_frames, reader.fps, np.random.default_rng(seed)
                )
                picture = timeline(reader.num_frames, reader.fps, indices)
                first = np.atleast_2d(indices)[:1].ravel()
                step = max(1, -(-len(first) // _STRIP))
                return picture, list(reader.decode(first[::step])) if first.size else []
        except (ClipError, OSError) as error:
            return f"<p>{escape(printable(str(error)))}</p>", []

    def _location(self, row: int) -> tuple[str, str, int | None]:
        return str(self.clips.folder), self.table["path"][row].as_py(), self.table["row"][row].as_py()

    def _poster(self, row: int) -> Path:
        return self.cache / f"{row}.webp"

    def _caption(self, row: int) -> str:
        label, status, clip = (self.table[name][row].as_py() for name in ("label", "status", "clip"))
        known = printable(label or clip or "")
        return known if status == "present" else f"{known} ({status})"
