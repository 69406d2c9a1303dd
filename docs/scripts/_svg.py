"""Elements of the SVG pictures of the docs."""

from collections.abc import Iterable
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

INK, FAINT, LINE = "#1f2933", "#5b6775", "#d5dbe3"
BLUE, ORANGE = "#1f6feb", "#d9730d"
_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif"


def element(name: str, content: str = "", **attributes: object) -> str:
    """Return an SVG element; underscores in the names of attributes become hyphens."""
    named = {key.rstrip("_").replace("_", "-"): quoteattr(str(value)) for key, value in attributes.items()}
    given = "".join(f" {key}={value}" for key, value in named.items())
    return f"<{name}{given}>{content}</{name}>" if content else f"<{name}{given}/>"


def text(x: float, y: float, content: str, *, size: int = 13, colour: str = INK, **attributes: object) -> str:
    """Return a line of text whose baseline begins at (x, y)."""
    return element("text", escape(content), x=f"{x:g}", y=f"{y:g}", font_size=size, fill=colour, **attributes)


def write_svg(path: Path, width: int, height: int, title: str, parts: Iterable[str]) -> None:
    """Write a picture on a white card, so that its text is readable on light and on dark pages."""
    card = element("rect", x=0.5, y=0.5, width=width - 1, height=height - 1, rx=8, fill="#ffffff", stroke=LINE)
    content = "\n".join(["", element("title", escape(title)), card, *parts, ""])
    whole = element(
        "svg",
        content,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width} {height}",
        width=width,
        height=height,
        font_family=_FONT,
        role="img",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(whole + "\n", encoding="utf-8", newline="\n")
