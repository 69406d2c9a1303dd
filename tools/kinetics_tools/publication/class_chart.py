"""Chart of clips per class as SVG, which browsers draw with fonts of their own, so no library is needed."""

import statistics
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape, quoteattr

from kinetics_tools.releases import LABELS

Counts = Mapping[str, Sequence[int]]
"""Split -> number of clips of each class, in the order of labels."""

_WIDTH, _LEFT, _RIGHT, _TOP, _PLOT, _BOTTOM = 900, 64, 876, 74, 180, 26  # pixels; the plot lies between the margins
_NAMED, _NAME_HEIGHT = 50, 190  # up to this number of classes, each is named below its bar
_TICKS = 4
_INK, _FAINT, _LINE = "#1f2933", "#5b6775", "#d5dbe3"
_COLOURS = {"train": "#1f6feb", "validation": "#d9730d", "test": "#2a9d8f"}
_FONT = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', Helvetica, Arial, sans-serif"


def class_chart(releases: Mapping[str, Counts]) -> str:
    """Return a chart of each release with clips: a bar for each class that has clips, the largest class first."""
    parts: list[str] = []
    height = 8
    for release, counts in releases.items():
        panel, panel_height = _panel(release, counts)
        parts.append(f'<g transform="translate(0 {height})">\n{panel}\n</g>')
        height += panel_height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'font-family={quoteattr(_FONT)} font-size="13" fill="{_INK}" role="img">\n'
        f"<title>{escape(describe(releases))}</title>\n"
        f'<rect x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="8" fill="#ffffff" stroke="{_LINE}"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def describe(releases: Mapping[str, Counts]) -> str:
    """Return the figures of the chart as text."""
    return "Clips per class. " + ". ".join(f"{_title(*one)}: {_extremes(*one)}" for one in releases.items())


def _totals(counts: Counts) -> list[int]:
    return list(map(sum, zip(*counts.values(), strict=True)))


def _order(counts: Counts) -> list[int]:
    """Return the classes that have clips, the largest first."""
    totals = _totals(counts)
    return sorted((index for index, total in enumerate(totals) if total), key=lambda index: -totals[index])


def _title(release: str, counts: Counts) -> str:
    classes = f"{len(_order(counts)):,} of {len(LABELS[release]):,} classes"
    return f"Kinetics-{release}, {sum(_totals(counts)):,} clips in {classes}"


def _extremes(release: str, counts: Counts) -> str:
    order, totals, labels = _order(counts), _totals(counts), LABELS[release]
    first, last = order[0], order[-1]
    middle = statistics.median(totals[index] for index in order)
    return f"most {totals[first]:,} ({labels[first]}), median {middle:,g}, fewest {totals[last]:,} ({labels[last]})"


def _panel(release: str, counts: Counts) -> tuple[str, int]:
    """Return the chart of a release and its height."""
    order, totals = _order(counts), _totals(counts)
    is_named = len(order) <= _NAMED
    base, step = _TOP + _PLOT, (_RIGHT - _LEFT) / len(order)
    width = min(0.8 * step, 40) if is_named else step
    tick = _tick(totals[order[0]])
    top = tick * -(-totals[order[0]] // tick)
    parts = [
        _text(24, 26, _title(release, counts), 'font-size="15" font-weight="600"'),
        _text(24, 46, _extremes(release, counts), f'fill="{_FAINT}"'),
    ]
    for value in range(0, top + 1, tick):
        y = base - _PLOT * value / top
        parts.append(f'<path d="M{_LEFT} {y:.1f}H{_RIGHT}" stroke="{_LINE}"/>')
        parts.append(_text(_LEFT - 8, y + 4, f"{value:,}", f'text-anchor="end" fill="{_FAINT}" font-size="12"'))
    shown = {split: numbers for split, numbers in counts.items() if any(numbers)}
    lefts = [_LEFT + step * (place + 0.5) - width / 2 for place in range(len(order))]
    bottoms = [0] * len(order)
    for split, numbers in shown.items():
        bars = []
        for place, index in enumerate(order):
            start, bottoms[place] = bottoms[place], bottoms[place] + numbers[index]
            if numbers[index]:
                low, high = (base - _PLOT * value / top for value in (start, bottoms[place]))
                bars.append(f"M{lefts[place]:.1f} {low:.0f}V{high:.0f}h{width:.2f}V{low:.0f}")
        parts.append(f'<path d="{"".join(bars)}" fill="{_COLOURS[split]}"/>')
    parts += _legend(list(shown))
    if not is_named:
        parts.append(
            _text((_LEFT + _RIGHT) / 2, base + 18, "classes, most clips first", f'text-anchor="middle" fill="{_FAINT}"')
        )
        return "\n".join(parts), base + _BOTTOM + 8
    for left, index in zip(lefts, order, strict=True):
        x = left + width / 2 + 4
        turned = f'text-anchor="end" font-size="11" transform="rotate(-90 {x:.1f} {base + 6})"'
        parts.append(_text(x, base + 6, LABELS[release][index], turned))
    return "\n".join(parts), base + _NAME_HEIGHT


def _tick(largest: int) -> int:
    """Return the distance between lines: 1, 2 or 5 times a power of ten, for at most a few lines."""
    power = 1
    while True:
        for step in (power, 2 * power, 5 * power):
            if largest <= step * _TICKS:
                return step
        power *= 10


def _legend(splits: Sequence[str]) -> list[str]:
    parts, x = [], _RIGHT
    for split in reversed(splits):
        x -= 26 + 7 * len(split)
        parts.append(f'<rect x="{x}" y="54" width="11" height="11" fill="{_COLOURS[split]}"/>')
        parts.append(_text(x + 16, 64, split, f'fill="{_FAINT}" font-size="12"'))
    return parts


def _text(x: float, y: float, content: str, attributes: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {attributes}>{escape(content)}</text>'
