"""Rates of transfers, and the lines and bars that tell how far a run is."""

import io
import re
import threading
import time

import pytest
from rich.console import Console

from kinetics_tools.io.limits import RateLimit
from kinetics_tools.run.progress import Progress
from kinetics_tools.text import format_size


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        ("10MB", 1e7),
        ("500k", 5e5),
        ("1.5 GB/s", 1.5e9),
        ("800", 800),
        (800, 800),
        (0.5, 0.5),
        ("2mbps", 2e6),
        ("7 kB", 7e3),
    ],
)
def test_rates_are_numbers_of_bytes_a_second(rate, expected):
    assert RateLimit(rate).bytes_per_second == expected


@pytest.mark.parametrize("rate", ["fast", "", "0", 0, -5, "-1MB", "10 parsecs", "1e6x", "nan"])
def test_a_rate_that_is_none_is_an_error_with_examples(rate):
    with pytest.raises(ValueError, match='write it as "10MB"'):
        RateLimit(rate)


def test_what_brought_nothing_waits_for_nobody():
    stop = threading.Event()
    limit = RateLimit(1, stop=stop)
    waiting = threading.Thread(target=limit.spend, args=(60,))
    waiting.start()
    while not limit._free_at:
        time.sleep(0.01)
    started = time.monotonic()
    limit.spend(0)
    assert time.monotonic() - started < 10
    stop.set()
    waiting.join(10)
    assert not waiting.is_alive()


def test_progress_elsewhere_is_a_line_now_and_then(monkeypatch):
    monkeypatch.setattr("kinetics_tools.run.progress._LINE_SECONDS", 0.0)
    file = io.StringIO()
    with Progress(clips=4, bytes=10_000_000, counts={"complete": 1}, console=Console(file=file, width=200)) as progress:
        progress.add_bytes(1_000_000, False)
        progress.add_bytes(4_000_000)
        progress.count("complete")
        progress.count("missing")
        progress.count("complete", before="missing")
        progress.note("something happened")
        progress.tick()
    first, line = file.getvalue().splitlines()
    assert first == "something happened"
    assert re.fullmatch(
        r"3 of 4 clips, [\d.,]+ clips/s, 5 MB of 10 MB, [\d.,]+ [GM]B/s, ETA \d:\d\d:\d\d, complete 3", line
    )


def test_progress_on_a_terminal_is_drawn_and_wiped(monkeypatch):
    monkeypatch.setattr("kinetics_tools.run.progress._REDRAW_SECONDS", 0.0)
    file = io.StringIO()
    with Progress(clips=4, console=Console(file=file, force_terminal=True, width=120)) as progress:
        progress.count("complete")
        progress.tick()
    assert "1 of 4 clips" in file.getvalue()
    assert "ETA" in file.getvalue()
    assert file.getvalue().endswith("\x1b[2K")


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (12_345_678, "12.3 MB"), (4.5e12, "4,500.00 GB")]
)
def test_sizes_for_people(count, text):
    assert format_size(count) == text
