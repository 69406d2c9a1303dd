"""Pieces of HTML of the app. Each text is escaped, because labels and file names are data."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from kinetics_tools.releases import LABELS
from kinetics_tools.text import printable
from kinetics_tools.viewing import statistics

BLUE = "#1f6feb"


def text(value: Any) -> str:
    """Return a value as text of a page; numbers have thousands separators."""
    if value is None:
        return ""
    shown = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return escape(printable(shown), quote=True)


def heading(title: str, subtitle: str, notes: Iterable[str]) -> str:
    """Return the top of all pages; each note is a paragraph of a box."""
    return f'<div class="top"><h1>{text(title)}</h1><p class="faint">{text(subtitle)}</p>{box(notes)}</div>'


def box(notes: Iterable[str]) -> str:
    """Return a box with a paragraph for each note; "" without notes."""
    paragraphs = "".join(f"<p>{text(note)}</p>" for note in notes)
    return f'<div class="notes" role="status">{paragraphs}</div>' if paragraphs else ""


def tiles(values: Mapping[str, Any]) -> str:
    """Return a row of numbers with their names."""
    parts = (f"<div><b>{text(value)}</b><span>{text(name)}</span></div>" for name, value in values.items())
    return f'<div class="tiles">{"".join(parts)}</div>'


def table(rows: Iterable[Sequence[Any]], headers: Sequence[str] = ()) -> str:
    """Return a table that scrolls sideways where it is too wide. Columns of numbers are right-aligned."""
    rows = list(rows)
    first = rows[0] if rows else ()
    kinds = [' class="number"' if isinstance(value, int) else "" for value in first]
    kinds += [""] * (len(headers) - len(kinds))
    names = "".join(f"<th{kind}>{text(name)}</th>" for name, kind in zip(headers, kinds, strict=False))
    head = f"<thead><tr>{names}</tr></thead>" if headers else ""
    body = "".join(
        f"<tr>{''.join(f'<td{kind}>{text(value)}</td>' for value, kind in zip(row, kinds, strict=True))}</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table>{head}<tbody>{body}</tbody></table></div>'


def bars(column: str, title: str, counts: Iterable[tuple[str, int]], colours: Mapping[str, str]) -> str:
    """Return horizontal bars, the longest ones first, each a button with the column and its value."""
    totals: dict[str, int] = {}
    for name, count in counts:
        totals[name] = totals.get(name, 0) + count
    most = max(totals.values(), default=1) or 1
    rows = ""
    for name, count in sorted(totals.items(), key=lambda item: (-item[1], item[0])):
        value = escape(name, quote=True)
        rows += (
            f'<button type="button" data-column="{column}" data-value="{value}"><span class="name">{text(name)}</span>'
            f'<span class="track"><span class="bar" style="width:{100 * count / most:.1f}%;'
            f'background:{colours.get(name, BLUE)}"></span></span>'
            f'<span class="count">{count:,}</span></button>'
        )
    return f'<h3>{text(title)}</h3><div class="bars">{rows}</div>'


def totals(clips: pa.Table) -> dict[str, str]:
    """Return the numbers of a table of clips as `tiles` shows them."""
    found = statistics.totals(clips)
    labels = {label for name in pc.unique(clips["release"]).to_pylist() for label in LABELS[name]}
    hours = {"hours of video": f"{found.pop('hours'):,.1f}"} if found["hours"] else {}
    classes = {"classes with clips": f"{found.pop('classes'):,} of {len(labels):,}"}
    return {**{name: f"{value:,}" for name, value in found.items() if name != "hours"}, **classes, **hours}
