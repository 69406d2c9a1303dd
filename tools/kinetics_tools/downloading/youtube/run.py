"""Clips that a tree lacks, each cut out of its own video: `youtube` fetches them, this keeps the books."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kinetics_tools.downloading.archives import SplitState
from kinetics_tools.downloading.ledger import Entry, Ledger
from kinetics_tools.downloading.youtube.errors import RETRIED_KINDS
from kinetics_tools.downloading.youtube.fetch import Outcome, Segment, YouTubeOptions, fetch_clips
from kinetics_tools.io.atomic import disk_errors
from kinetics_tools.io.limits import RateLimit
from kinetics_tools.run.progress import Progress

__all__ = ["SegmentRun", "lacking"]

# What no other run from here would change, though segments that do not exist are asked for again: videos get replaced.
# Other errors may go by, or be our own fault.
_UNAVAILABLE = ("removed", "private", "age-limited", "region-locked", "no such segment")


def lacking(state: SplitState, *, retry_errors: bool) -> list[str]:
    """The wanted clips of a split that are not here; without those that failed for good, unless `retry_errors`."""
    names = []
    for name in state.tree.index:
        entry = state.entry(name)
        gave_up = (
            entry is not None
            and entry.source == "youtube"
            and entry.error is not None
            and entry.error["class"] not in RETRIED_KINDS
        )
        if state.statuses.get(name) not in ("complete", "unchecked", "found") and (retry_errors or not gave_up):
            names.append(name)
    return names


@dataclass
class SegmentRun:
    """Fetches segments of videos with several threads.

    `errors` counts what went wrong by class, and `examples` has of each class the first, "clip: reason".
    """

    states: Mapping[str, SplitState]
    ledger: Ledger
    progress: Progress
    workers: int
    rate_limit: float | str | None
    options: YouTubeOptions
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def run(self, names: Mapping[str, Sequence[str]]) -> None:
        """Fetches the clips of `names`, by split, and returns when the ledger has a line for each.

        On KeyboardInterrupt those in flight are finished first, as fast as they come. Raises what `fetch_clips` does.
        """
        stop = threading.Event()
        limit = RateLimit(self.rate_limit, stop=stop)
        is_told = False
        in_flight: dict[Path, tuple[SplitState, str]] = {}

        def segments() -> Iterator[Segment]:
            for split, of_split in names.items():
                state, chosen = self.states[split], set(of_split)
                for name, time_start, time_end in state.tree.segments():
                    if name in chosen:
                        path = state.tree.path(name)
                        in_flight[path] = state, name
                        yield Segment(name[:11], time_start, time_end, path)

        def count_bytes(count: int) -> None:
            self.progress.add_bytes(count)
            limit.spend(count)

        def tick() -> None:
            nonlocal is_told
            if stop.is_set() and not is_told:
                is_told = True
                self.progress.note("the clips in flight are being finished; interrupt again to leave them")
            self.progress.tick()

        fetch_clips(
            segments(),
            lambda outcome: self._record(outcome, *in_flight.pop(outcome.segment.path)),
            options=self.options,
            workers=self.workers,
            stop=stop,
            on_bytes=count_bytes,
            tick=tick,
        )

    def _record(self, outcome: Outcome, state: SplitState, name: str) -> None:
        entry = self._entry(outcome, state.tree.split, name)
        with disk_errors(self.ledger.path):
            self.ledger.append(entry)
        self.progress.count(entry.status, before=state.statuses.get(name))
        state.statuses[name] = entry.status

    def _entry(self, outcome: Outcome, split: str, name: str) -> Entry:
        clip, error = outcome.clip, outcome.error
        if clip is not None:
            measured: dict[str, Any] = {"bytes": clip.bytes, "sha256": clip.sha256, "duration": clip.duration}
            return Entry(name, split, "youtube", "complete", **measured)
        assert error is not None
        self.errors[error.kind] += 1
        self.examples.setdefault(error.kind, f"{name}: {error}")
        status = "unavailable" if error.kind in _UNAVAILABLE else "failed"
        return Entry(name, split, "youtube", status, error={"class": error.kind, "message": str(error)})
