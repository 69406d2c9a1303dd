"""Lines and bars that tell how far a run is."""

import builtins
import io
import re
import sys
import types

import pytest
from rich.console import Console

from kinetics_tools.run import PlainConsole
from kinetics_tools.run.progress import Progress


class ZMQInteractiveShell:
    """Shell of a notebook by name, by which rich knows one."""


class Cell:
    """Output of a cell: what is displayed, and what replaces it."""

    def __init__(self):
        self.shown = []

    def display(self, data, *, raw, display_id):
        assert (raw, display_id) == (True, True)
        self.shown.append(data)
        return self

    def update(self, data, *, raw):
        assert raw
        self.shown.append(data)


@pytest.fixture
def cell(monkeypatch):
    found = Cell()
    monkeypatch.setattr(builtins, "get_ipython", ZMQInteractiveShell, raising=False)
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", types.SimpleNamespace(display=found.display))
    return found


def test_progress_in_a_notebook_is_one_line_that_changes_and_goes(cell, monkeypatch, capsys):
    monkeypatch.setattr("kinetics_tools.run.progress._REDRAW_SECONDS", 0.0)
    monkeypatch.setattr("kinetics_tools.run.progress._NOTEBOOK_SECONDS", 0.0)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)  # as those of kernels
    with Progress(clips=4) as progress:
        progress.count("<b>")
        progress.tick()
        progress.note("something happened")
        progress.count("complete")
        progress.tick()
    first, second, last = cell.shown
    assert first["text/plain"].startswith("1 of 4 clips, ETA ")
    assert second["text/html"].startswith('<progress value="2" max="4"></progress> 2 of 4 clips')
    assert second["text/html"].endswith("&lt;b&gt; 1, complete 1")
    assert last == {"text/plain": "", "text/html": ""}
    assert capsys.readouterr().out == "something happened\n"


def test_a_short_run_or_a_quiet_console_leaves_nothing_in_a_notebook(cell, monkeypatch, capsys):
    monkeypatch.setattr("kinetics_tools.run.progress._LINE_SECONDS", 0.0)
    with Progress(clips=4):
        pass
    with Progress(clips=4, console=PlainConsole(quiet=True)) as progress:
        progress.tick()
    assert cell.shown == []
    assert capsys.readouterr().out == ""


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
        r"3 of 4 clips, ETA \d:\d\d:\d\d, [\d.,]+ clips/s, 5 MB of 10 MB, [\d.,]+ [GM]B/s, complete 3", line
    )


def test_statuses_from_a_ledger_are_escaped(monkeypatch):
    monkeypatch.setattr("kinetics_tools.run.progress._REDRAW_SECONDS", 0.0)
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=200)
    with Progress(clips=4, counts={"\x1b]0;title\x07": 1}, console=console) as progress:
        progress.tick()
    assert "\\x1b]0;title\\x07 1" in file.getvalue()
    assert "\x07" not in file.getvalue()


def test_progress_on_a_terminal_is_drawn_and_wiped(monkeypatch):
    monkeypatch.setattr("kinetics_tools.run.progress._REDRAW_SECONDS", 0.0)
    file = io.StringIO()
    with Progress(clips=4, console=Console(file=file, force_terminal=True, width=120)) as progress:
        progress.count("complete")
        progress.tick()
    assert "1 of 4 clips" in file.getvalue()
    assert "ETA" in file.getvalue()
    assert file.getvalue().endswith("\x1b[2K")


def test_a_terminal_of_80_columns_shows_the_bar_and_whole_parts(monkeypatch):
    monkeypatch.setattr("kinetics_tools.run.progress._REDRAW_SECONDS", 0.0)
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80, color_system=None)
    with Progress(clips=542_352, bytes=660_000_000_000, console=console) as progress:
        progress.count("prepared", clips=123_456)
        progress.add_bytes(150_000_000_000)
        progress.tick()
    lines = [re.sub(r"\x1b\[\S*?[a-zA-Z]", "", line).strip() for line in re.split(r"[\r\n]", file.getvalue())]
    drawn = [line for line in lines if "542,352" in line]
    assert drawn
    for line in drawn:
        assert re.fullmatch(r"[━╸╺ ]+ 123,456 of 542,352 clips, ETA \S+, \S+ clips/s", line), line
        assert len(line) < 80
