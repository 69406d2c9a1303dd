"""Download of many segments by several threads, with retries and pauses."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from datasets.utils.logging import get_logger

from kinetics_tools.downloading.youtube.errors import Kind, SegmentError
from kinetics_tools.downloading.youtube.session import FetchedClip, Segment, Session, YouTubeOptions
from kinetics_tools.io import RetryPolicy
from kinetics_tools.run import Workers
from kinetics_tools.text import check_count

_logger = get_logger("datasets.kinetics")

# Retries of a segment in one run.
_POLICIES: dict[Kind, RetryPolicy] = {
    "network": RetryPolicy(retries=2, first_wait_seconds=2.0),
    "rate-limited": RetryPolicy(retries=4, first_wait_seconds=30.0, longest_wait_seconds=600.0),
}


@dataclass(frozen=True)
class Outcome:
    """Outcome of a segment: either `clip` or `error` is given."""

    segment: Segment
    clip: FetchedClip | None = None
    error: SegmentError | None = None


def fetch_clips(
    segments: Iterable[Segment],
    record: Callable[[Outcome], Any],
    *,
    options: YouTubeOptions | None = None,
    workers: int = 4,
    stop: threading.Event | None = None,
    on_bytes: Callable[[int], Any] | None = None,
    tick: Callable[[], Any] | None = None,
) -> None:
    """Fetch many segments, `workers` at a time, and return when `record` was called with the outcome of each.

    Network errors are retried twice. When YouTube limits the rate, all workers wait, 30 s and more. After five such
    failures a clip is given up, and the following ones get one attempt each until one succeeds. Once `stop` is set, or
    after KeyboardInterrupt, no other segment begins; those in flight are finished and recorded.

    `record` is called by one thread at a time, right after a clip got its final name. `on_bytes` is called by any
    thread with the number of bytes of each answer, `tick` by the calling thread about ten times per second. An
    exception of `segments` or `record`, or a DiskError, ends the run.
    """
    check_count(workers=workers)
    _Run(segments, record, options or YouTubeOptions(), stop or threading.Event(), on_bytes).run(workers, tick)


class _Run:
    def __init__(
        self,
        segments: Iterable[Segment],
        record: Callable[[Outcome], Any],
        options: YouTubeOptions,
        stop: threading.Event,
        on_bytes: Callable[[int], Any] | None,
    ):
        self._segments = iter(segments)
        self._record = record
        self._new_session = partial(Session, options, on_bytes=on_bytes, stop=stop)
        self._stop = stop
        self._lock = threading.Lock()  # guards the iterator, the calls of `record`, and what follows
        self._quiet_until = 0.0
        self._is_blocked = False
        self._fatal: BaseException | None = None

    def run(self, workers: int, tick: Callable[[], Any] | None) -> None:
        self._new_session()  # raises for invalid options
        threads = Workers(self._work, workers)
        try:
            self._wait(threads, tick)
        except KeyboardInterrupt:
            self._stop.set()
            self._wait(threads, tick)  # until they end, or until a second interrupt
            raise
        finally:
            self._stop.set()
        if self._fatal is not None:
            raise self._fatal

    def _wait(self, threads: Workers, tick: Callable[[], Any] | None) -> None:
        while not threads.wait(0.1):
            if tick is not None:
                tick()

    def _work(self) -> None:
        try:
            session = self._new_session()
            while not self._stop.is_set():
                with self._lock:
                    segment = next(self._segments, None)
                if segment is None:
                    return
                outcome = self._outcome(session, segment)
                if outcome is not None:
                    with self._lock:
                        self._record(outcome)
        except BaseException as error:
            self._fatal = self._fatal or error
            self._stop.set()

    def _outcome(self, session: Session, segment: Segment) -> Outcome | None:
        """Fetch a segment with retries; return None if `stop` ended them."""
        failures = Counter[Kind]()
        while not self._stop.wait(max(0.0, self._quiet_until - time.monotonic())):
            try:
                clip = session.fetch(segment)
            except SegmentError as error:
                failures[error.kind] += 1
                if self._is_final(error.kind, failures[error.kind]):
                    return Outcome(segment, error=error)
                _logger.info(f"{segment.youtube_id}: {error.kind}: {error}; retrying")
            else:
                self._is_blocked = False
                return Outcome(segment, clip)
        return None

    def _is_final(self, kind: Kind, failures: int) -> bool:
        """Return True to give a segment up. Otherwise wait, or make all workers wait."""
        policy = _POLICIES.get(kind, RetryPolicy(retries=0))
        wait, is_final = policy.wait_seconds(failures), failures > policy.retries
        if kind != "rate-limited":
            self._is_blocked = False
            if not is_final:
                self._stop.wait(wait)
            return is_final
        with self._lock:
            is_final = is_final or self._is_blocked
            self._is_blocked = is_final
            self._quiet_until = max(self._quiet_until, time.monotonic() + wait)
        return is_final
