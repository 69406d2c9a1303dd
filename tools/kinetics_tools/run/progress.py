"""Progress display for long-running commands."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from rich import progress
from rich.console import Console

from kinetics_tools.run.console import PlainConsole
from kinetics_tools.run.notebook import NotebookLine, notebook_line
from kinetics_tools.text import format_size, printable

_RATE_SECONDS = 30.0  # rates are means over this time
_REDRAW_SECONDS = 0.2
_NOTEBOOK_SECONDS = 1.0
_LINE_SECONDS = 10.0
_BAR_COLUMNS = 16


class Progress:
    """Counter of clips by status and of bytes, displayed while its `with` block runs.

    On a terminal and in a notebook it is a bar that changes in place, elsewhere a line every 10 s. `count`,
    `add_bytes`, `expect` and `note` may be called by any thread; `tick`, which draws, by one, several times a second.

    Args:
        clips: number of clips wanted.
        bytes: number of bytes to process, None if unknown.
        counts: status -> number of clips before the run.
        console: where to display.
    """

    def __init__(
        self,
        *,
        clips: int,
        bytes: int | None = None,
        counts: Mapping[str, int] | None = None,
        console: Console | None = None,
    ):
        self.console = console or PlainConsole()
        self.counts = Counter(counts or {})
        self.bytes_fetched = 0
        self._clips = clips
        self._clips_done = 0
        self._bytes = bytes
        self._bytes_done = 0
        self._lock = threading.Lock()
        self._drawn = time.monotonic()
        self._notebook: NotebookLine | None = None
        columns = (progress.BarColumn(_BAR_COLUMNS), progress.TextColumn("{task.description}", markup=False))
        self._display = progress.Progress(
            *columns, console=self.console, auto_refresh=False, transient=True, speed_estimate_period=_RATE_SECONDS
        )
        # The last two are never drawn: rich measures their rates, which are of this run's work alone.
        self._bar, self._done, self._fetched = (self._display.add_task("", visible=n == 0) for n in range(3))
        self._rate(self._done, 0)
        self._rate(self._fetched, 0)

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self._display.start()
        else:
            self._notebook = notebook_line(self.console)
        return self

    def __exit__(self, *_: object) -> None:
        if self.console.is_terminal:
            self._display.stop()
        elif self._notebook is not None:
            self._notebook.wipe()

    @contextmanager
    def drawn(self) -> Iterator[None]:
        """Show the display while the block runs; a thread ticks."""
        done = threading.Event()

        def draw() -> None:
            while not done.wait(0.1):
                self.tick()

        with self:
            drawing = threading.Thread(target=draw, daemon=True)
            drawing.start()
            try:
                yield
            finally:
                done.set()
                drawing.join()

    def count(self, status: str, *, clips: int = 1, before: str | None = None) -> None:
        """Count `clips` of `status`, which were counted as `before` until now."""
        with self._lock:
            self.counts[status] += clips
            self._clips_done += clips
            if before is not None:
                self.counts[before] -= clips

    def add_bytes(self, count: int, fetched: bool = True) -> None:
        """Count bytes as done. `fetched` is False if an earlier run left them on disk."""
        with self._lock:
            self._bytes_done += count
            self.bytes_fetched += count if fetched else 0

    def expect(self, count: int) -> None:
        """Raise the number of bytes to process by `count`."""
        with self._lock:
            self._bytes = self._bytes and self._bytes + count

    def note(self, text: str) -> None:
        """Print a line that stays."""
        self.console.print(text)

    def tick(self) -> None:
        """Draw the display if it is due."""
        now = time.monotonic()
        # The first comparison is far faster than to ask for the kind of the console.
        if now - self._drawn < min(_REDRAW_SECONDS, _LINE_SECONDS) or now - self._drawn < self._redraw_seconds():
            return
        self._drawn = now
        with self._lock:
            counts = {status: count for status, count in sorted(self.counts.items()) if count}
            done, fetched, bytes_done, total = self._clips_done, self.bytes_fetched, self._bytes_done, self._bytes
        clips = sum(counts.values())
        clips_rate, bytes_rate = self._rate(self._done, done), self._rate(self._fetched, fetched)
        left, rate = (total - bytes_done, bytes_rate) if total else (self._clips - clips, clips_rate)
        parts = [f"{clips:,} of {self._clips:,} clips"]
        parts.append(f"ETA {timedelta(seconds=round(max(left, 0) / rate)) if rate else 'unknown'}")
        parts.append(f"{clips_rate:,.1f} clips/s")
        if total or bytes_done:
            parts.append(format_size(bytes_done) + (f" of {format_size(total)}" if total else ""))
            parts.append(f"{format_size(bytes_rate)}/s")
        parts += [f"{printable(status)} {count:,}" for status, count in counts.items()]  # some from a ledger
        shares = (bytes_done, total) if total else (clips, self._clips or 1)
        if self.console.is_terminal:
            line = _fitting(parts, self.console.width - _BAR_COLUMNS - 2)
            self._display.update(self._bar, completed=shares[0], total=shares[1], description=line, refresh=True)
        elif self._notebook is not None:
            self._notebook.show(", ".join(parts), *shares)
        else:
            self.console.print(", ".join(parts))

    def _redraw_seconds(self) -> float:
        if self.console.is_terminal:
            return _REDRAW_SECONDS
        return _LINE_SECONDS if self._notebook is None else _NOTEBOOK_SECONDS

    def _rate(self, task: progress.TaskID, done: int) -> float:
        """Return the rate of a task, given the amount done so far."""
        known = next(one for one in self._display.tasks if one.id == task)
        self._display.advance(task, done - known.completed)
        return known.speed or 0.0


def _fitting(parts: Iterable[str], columns: int) -> str:
    """Return the first parts that fit on a line of a terminal, joined; at least one."""
    lines = list(itertools.accumulate(parts, "{}, {}".format))
    return max((line for line in lines if len(line) <= columns), key=len, default=lines[0])
