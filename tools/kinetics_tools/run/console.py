"""Terminal that shows text from outside unchanged, except for control characters."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.text import Text

from kinetics_tools.text import printable


def in_notebook() -> bool:
    """Return True if this process is the kernel of a notebook."""
    return Console().is_jupyter


class PlainConsole(Console):
    """Console without markup, emoji codes, highlighting and wrapping, which escapes control characters of its texts.

    Names of files, answers of servers and the like can therefore neither move the cursor nor style the output.

    Args:
        stderr: print to the standard error.
        options: of `rich.console.Console`.
    """

    def __init__(self, *, stderr: bool = False, **options: Any):
        if in_notebook():  # each text would be a block of HTML, and each change of a bar further text
            options = {"force_jupyter": False, "force_terminal": False, **options}
        super().__init__(stderr=stderr, soft_wrap=True, markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text to print, as one line."""
        return super().render_str(printable(text), **options)

    def print_lines(self, lines: Iterable[str]) -> None:
        """Print each text on a line of its own."""
        for line in lines:
            self.print(line)
