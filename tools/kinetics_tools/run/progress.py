"""What a long run has done so far, for who waits for it."""

import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import timedelta

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

__all__ = ["Progress", "few_text", "size_text"]

_EXAMPLES = 3
_WINDOW_SECONDS = 30.0  # rates are of so much past
_REDRAW_SECONDS = 0.2
_LINE_SECONDS = 10.0


def size_text(count: float) -> str:
    """A number of bytes for people, in decimal units."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}" if unit != "B" else f"{count:.0f} B"
        count /= 1000
    return f"{count:,.2f} GB"


def few_text(names: Sequence[str]) -> str:
    """The first of many names for people."""
    return ", ".join(names[:_EXAMPLES]) + (", ..." if len(names) > _EXAMPLES else "")


class Progress:
    """Counts clips by status and bytes, and shows them while its `with` block runs.

    On a terminal it is a bar and a line that change; elsewhere a line every 10 s. `clips` is how many are wanted,
    `counts` what is known of them before the run by status, `bytes` how much is to be fetched, None if unknown.
    `count`, `add_bytes` and `note` may be called by any thread; `tick`, which draws, by one, and often.
    """

    def __init__(
        self,
        *,
        clips: int,
        bytes: int | None = None,
        counts: Mapping[str, int] | None = None,
        console: Console | None = None,
    ):
        self.console = console or Console(soft_wrap=True, highlight=False, markup=False)
        self.counts = Counter(counts or {})
        self.bytes_fetched = 0
        self._clips = clips
        self._bytes = bytes
        self._bytes_done = 0
        self._clips_done = 0
        self._lock = threading.Lock()
        self._drawn = time.monotonic()
        self._samples = deque([(self._drawn, 0, 0)])
        self._live = Live(console=self.console, auto_refresh=False, transient=True)

    def __enter__(self) -> "Progress":
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def count(self, status: str, *, clips: int = 1, before: str | None = None) -> None:
        """One or more clips of `status`, which were `before` until now if they were counted already."""
        with self._lock:
            self.counts[status] += clips
            self._clips_done += clips
            if before is not None:
                self.counts[before] -= clips

    def add_bytes(self, count: int, fetched: bool = True) -> None:
        """So many more bytes are done; `fetched` is False where they lay on disk from an earlier run."""
        with self._lock:
            self._bytes_done += count
            self.bytes_fetched += count if fetched else 0

    def expect(self, count: int) -> None:
        """So many bytes more are to be done than was thought."""
        with self._lock:
            self._bytes = self._bytes and self._bytes + count

    def note(self, text: str) -> None:
        """Prints a line that stays."""
        self.console.print(text)

    def tick(self) -> None:
        now = time.monotonic()
        wait = _REDRAW_SECONDS if self.console.is_terminal else _LINE_SECONDS
        if now - self._drawn < wait:
            return
        self._drawn = now
        line = self._line(now)
        if self.console.is_terminal:
            done = self._bytes_done if self._bytes else self.counts.total()
            bar = ProgressBar(total=self._bytes or self._clips or 1, completed=done)
            drawn = Table.grid()
            drawn.add_row(bar)
            drawn.add_row(Text(line))
            self._live.update(drawn, refresh=True)
        else:
            self.console.print(line)

    def _line(self, now: float) -> str:
        with self._lock:
            self._samples.append((now, self._clips_done, self.bytes_fetched))
            counts = {status: count for status, count in self.counts.items() if count}
            bytes_done = self._bytes_done
        while len(self._samples) > 2 and now - self._samples[0][0] > _WINDOW_SECONDS:
            self._samples.popleft()
        first, last = self._samples[0], self._samples[-1]
        seconds = max(last[0] - first[0], 1e-9)
        clips_rate, bytes_rate = (last[1] - first[1]) / seconds, (last[2] - first[2]) / seconds
        if self._bytes:
            left = (self._bytes - bytes_done) / bytes_rate if bytes_rate else None
        else:
            left = (self._clips - sum(counts.values())) / clips_rate if clips_rate else None
        amount = f"{size_text(bytes_done)} of {size_text(self._bytes)}" if self._bytes else size_text(bytes_done)
        return ", ".join(
            [
                f"{sum(counts.values()):,} of {self._clips:,} clips",
                f"{clips_rate:,.1f} clips/s",
                *([amount, f"{size_text(bytes_rate)}/s"] if self._bytes or bytes_done else []),
                "ETA " + ("unknown" if left is None else str(timedelta(seconds=round(max(left, 0))))),
                *(f"{status} {count:,}" for status, count in sorted(counts.items())),
            ]
        )
