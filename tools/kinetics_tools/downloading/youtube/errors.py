"""Kinds of errors of segments, recognized in messages of yt-dlp and YouTube."""

import re
from typing import Literal

from kinetics_tools.io import hide_credentials

Kind = Literal[
    "removed",
    "private",
    "age-limited",
    "region-locked",
    "rate-limited",
    "network",
    "no such segment",
    "other",
]
# Kinds that another run retries by default.
RETRIED_KINDS: tuple[Kind, ...] = ("rate-limited", "network", "no such segment")

# The first match counts, regardless of case. YouTube writes both kinds of apostrophes.
_MESSAGES: tuple[tuple[Kind, str], ...] = (
    (
        "rate-limited",
        r"HTTP Error 429|too many requests|rate-limited by YouTube|try again later|not a bot|captcha"
        r"|IP is likely being blocked",
    ),
    ("age-limited", r"confirm your age|age-restricted|age.verification|inappropriate for some users"),
    (
        "private",
        r"private video|video is private|members-only|members on level|channel.s members|join this channel"
        r"|premium members|requires payment|only available for registered users|login details|sign in",
    ),
    (
        "region-locked",
        r"in your (country|region|location)|from your location|geo.?restrict|(?m:^This video is available in )",
    ),
    (
        "removed",
        r"video unavailable|has been removed|was deleted|no longer available|this [a-z ]+ (is not|isn.t) available"
        r"|is unavailable|account .*terminated|copyright|does not exist|HTTP Error 4(04|10)|incomplete youtube id",
    ),
    (
        "network",
        r"unable to download|HTTP Error (403|408|5\d\d)|timed? ?out|connection|resolve|resolution|unreachable"
        r"|certificate|ssl|proxy|bytes read|eof occurred|any player response|needs to be reloaded",
    ),
)


class SegmentError(Exception):
    """Raised for a segment that cannot be downloaded. `kind` is one of `Kind`."""

    def __init__(self, kind: Kind, message: str):
        super().__init__(message)
        self.kind: Kind = kind


def classify(message: str) -> Kind:
    """Return the kind of error that a message of yt-dlp reports; "other" for an unknown message.

    Videos for signed-in, paying or invited users are "private". A plain "not available" is "removed". A refusal without
    a reason (403) is "network", because it is mostly transient, and so is a page that "needs to be reloaded".
    """
    for kind, pattern in _MESSAGES:
        if re.search(pattern, message, re.IGNORECASE):
            return kind
    return "other"


def plain_text(error: Exception) -> str:
    """Return an error message of yt-dlp as one line, without the extractor's name and where to report it."""
    message = hide_credentials(" ".join(str(error).split()))
    text = re.sub(r"^(ERROR: )?(\[[^]]*\] )?([A-Za-z0-9_-]{11}: )?", "", message)
    return re.sub(r"; please report this issue on .*| \(caused by .*", "", text) or type(error).__name__
