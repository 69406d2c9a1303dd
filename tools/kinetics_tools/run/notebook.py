"""Line of a notebook that changes in place."""

import html
import sys
from typing import Any

from rich.console import Console

from kinetics_tools.run.console import in_notebook


class NotebookLine:
    """Progress bar and text in the output of a cell. Unlike the displays of rich and tqdm, it needs no ipywidgets."""

    def __init__(self) -> None:
        self._handle: Any = None

    def show(self, text: str, done: float, total: float) -> None:
        """Show the line, or replace it."""
        data = _as_data(text, f'<progress value="{done}" max="{total}"></progress> ')
        if self._handle is None:
            from IPython.display import display

            self._handle = display(data, raw=True, display_id=True)
        else:
            self._handle.update(data, raw=True)

    def wipe(self) -> None:
        """Leave an empty line, if one was shown."""
        if self._handle is not None:
            self._handle.update(_as_data(""), raw=True)


def notebook_line(console: Console) -> NotebookLine | None:
    """Return a line to use in place of a console that prints in a cell of a notebook; None for any other console."""
    is_shown = not console.quiet and console.file in (sys.stdout, sys.stderr)
    return NotebookLine() if is_shown and in_notebook() else None


def _as_data(text: str, bar: str = "") -> dict[str, str]:
    return {"text/plain": text, "text/html": bar + html.escape(text)}
