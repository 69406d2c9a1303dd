"""Reasons in the messages of exceptions."""

import pytest

from kinetics_tools.errors import clip_reason


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("a.b.mp4: is not a readable clip (1 (of 2) bytes); drop it or download it again", "1 (of 2) bytes"),
        ("a.b: is not a readable clip (truncated); drop it", "truncated"),
        ("a.b.mp4: has no video stream; drop it or download it again", "has no video stream"),
        ("a.b.mp4: has a corrupt frame at 0.5 s (x; y); drop it", "has a corrupt frame at 0.5 s (x; y)"),
        ("No such file or directory", "No such file or directory"),
        ("a+b.mp4: has no frames; drop it", "a+b.mp4: has no frames; drop it"),
        ("", ""),
    ],
)  # fmt: skip
def test_the_reason_in_a_message_about_a_clip(message, reason):
    assert clip_reason(message, "a.b") == reason
