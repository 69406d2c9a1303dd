"""Retry policy: exponential backoff with jitter; respects Retry-After and the end of a run."""

import random
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from kinetics_tools.errors import TransientError

T = TypeVar("T")

# A conflict means that another writer got on, so it says little about the server.
_MAX_CONFLICTS = 100
_LONGEST_CONFLICT_WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class RetryPolicy:
    """Retry policy: number of retries, and the wait before each.

    Attributes:
        retries: number of retries in a row without success, after the first attempt.
        first_wait_seconds: mean of the wait before the first retry. The mean doubles with each retry.
        longest_wait_seconds: upper limit of the mean, and of what a server asks for by Retry-After.
    """

    retries: int
    first_wait_seconds: float = 0.5
    longest_wait_seconds: float = 60.0

    def wait_seconds(self, failures: int, retry_after_seconds: float | None = None) -> float:
        """Return the wait after the given number of failures in a row, 1 or more.

        That is the server's Retry-After, if any. Otherwise it is the mean of the policy times a random factor in
        [0.5, 1.5], so that many clients do not retry at the same moment.
        """
        if retry_after_seconds is not None:
            return min(retry_after_seconds, self.longest_wait_seconds)
        mean = min(self.first_wait_seconds * 2 ** (failures - 1), self.longest_wait_seconds)
        return mean * random.uniform(0.5, 1.5)


def retry(
    function: Callable[[], T],
    policy: RetryPolicy,
    *,
    stop: threading.Event | None = None,
    on_retry: Callable[[TransientError, float], Any] | None = None,
) -> T:
    """Return the result of `function`, called again while it raises TransientError.

    `stop` ends a wait. `on_retry` is called with the error and the wait in seconds before each retry, except after
    conflicts. Raises the last TransientError when the policy is exhausted or `stop` is set.
    """
    failures = conflicts = 0
    while True:
        try:
            return function()
        except TransientError as error:
            if error.is_conflict:
                conflicts += 1
                wait = random.uniform(0, min(0.1 * conflicts, _LONGEST_CONFLICT_WAIT_SECONDS))
            else:
                failures += 1
                wait = policy.wait_seconds(failures, error.retry_after_seconds or None)
            if failures > policy.retries or conflicts > _MAX_CONFLICTS:
                raise
            if on_retry is not None and not error.is_conflict:
                on_retry(error, wait)
            if stop is None:
                time.sleep(wait)
            elif stop.wait(wait):
                raise


def parse_retry_after(value: str) -> float | None:
    """Return the seconds that a Retry-After header asks for, as a number or a date; None if it is neither."""
    if re.fullmatch("[0-9]+", value):
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None
