"""Why a segment of a video cannot be had: few kinds, out of the many words of yt-dlp and YouTube."""

import re
from typing import Literal

__all__ = ["RETRIED_KINDS", "Kind", "SegmentError", "classify", "plain_text"]

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
# What another run tries again without being asked to.
RETRIED_KINDS: tuple[Kind, ...] = ("rate-limited", "network", "no such segment")

# The first that matches counts, in any case of letters. YouTube's apostrophes are of both kinds.
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
    """A clip that cannot be had. `kind` is one of `Kind`."""

    def __init__(self, kind: Kind, message: str):
        super().__init__(message)
        self.kind: Kind = kind


def classify(message: str) -> Kind:
    """The kind of error that yt-dlp reports with these words; "other" for words that are not known.

    What only signed-in, paying or invited users see is "private". YouTube says of some videos that they are "not
    available" and no more, which is "removed", wherever they may play. A refusal without a reason (403) is
    "network", since it mostly goes by, and so is a page that "needs to be reloaded": a newer yt-dlp gets it.
    """
    for kind, pattern in _MESSAGES:
        if re.search(pattern, message, re.IGNORECASE):
            return kind
    return "other"


def plain_text(error: Exception) -> str:
    """What yt-dlp says, in one line, without whose word it is and where to complain."""
    text = re.sub(r"^(ERROR: )?(\[[^]]*\] )?([A-Za-z0-9_-]{11}: )?", "", " ".join(str(error).split()))
    return re.sub(r"; please report this issue on .*| \(caused by .*", "", text) or type(error).__name__
