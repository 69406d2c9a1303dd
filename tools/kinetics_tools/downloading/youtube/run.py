"""Download of missing clips from their own videos."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kinetics_tools.downloading.ledger import Entry, Ledger
from kinetics_tools.downloading.state import SplitState
from kinetics_tools.downloading.youtube.errors import RETRIED_KINDS
from kinetics_tools.downloading.youtube.fetch import Outcome, fetch_clips
from kinetics_tools.downloading.youtube.session import Segment, YouTubeOptions
from kinetics_tools.io import RateLimit
from kinetics_tools.run import Progress

# Errors that rerunning would not change. Segments that do not exist are retried even so, because videos get replaced.
_UNAVAILABLE = ("removed", "private", "age-limited", "region-locked", "no such segment")


def clips_to_fetch(state: SplitState, *, retry_errors: bool) -> list[str]:
    """Return the clips of a split that are not on disk; without `retry_errors`, not those that failed permanently."""

    def is_given_up(name: str) -> bool:
        entry = state.entry(name)
        error = entry.error if entry is not None and entry.source == "youtube" else None
        return error is not None and error["class"] not in RETRIED_KINDS

    return [
        name
        for name in state.tree.index
        if state.statuses.get(name) not in ("complete", "unchecked", "found")
        and (retry_errors or not is_given_up(name))
    ]


@dataclass
class SegmentRun:
    """Download of segments of videos by several threads. The fields with defaults are its results, see `Report`."""

    states: Mapping[str, SplitState]
    ledger: Ledger
    progress: Progress
    workers: int
    rate_limit: float | str | None
    options: YouTubeOptions
    errors: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def run(self, names: Mapping[str, Sequence[str]]) -> None:
        """Fetch the clips of `names`, by split, and return when the ledger has a line for each.

        After KeyboardInterrupt, clips in flight are finished first, without a rate limit. Raises what `fetch_clips`
        raises.
        """
        stop = threading.Event()
        limit = RateLimit(self.rate_limit, stop=stop)
        is_announced = False
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
            nonlocal is_announced
            if stop.is_set() and not is_announced:
                is_announced = True
                self.progress.note("finishing the clips in flight; interrupt again to abort them")
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
        clip, error = outcome.clip, outcome.error
        if clip is not None:
            measured = (clip.bytes, clip.sha256, clip.duration)
            entry = Entry(name, state.tree.split, "youtube", "complete", *measured)
        else:
            assert error is not None
            self.errors[error.kind] += 1
            self.examples.setdefault(error.kind, f"{name}: {error}")
            status = "unavailable" if error.kind in _UNAVAILABLE else "failed"
            details = {"class": error.kind, "message": str(error)}
            entry = Entry(name, state.tree.split, "youtube", status, error=details)
        state.record(entry, self.ledger, self.progress)
