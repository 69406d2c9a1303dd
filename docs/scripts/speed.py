"""Draw how many times as fast as a named peer this project is: docs/images/speed.svg.

    python docs/scripts/speed.py

The figures are those of benchmarks/results/*.json, which each benchmark writes at its end.
"""

import json
import math
import sys
from pathlib import Path
from typing import NamedTuple

from _svg import BLUE, FAINT, LINE, ORANGE, element, text, write_svg

ROOT = Path(__file__).parents[2]

_WIDTH, _LEFT, _RIGHT, _ROW, _TOP = 960, 400, 70, 40, 74
_TICKS = (0.5, 1, 2, 5, 10, 20)


class Row(NamedTuple):
    """A bar: the claim of a benchmark, and its words on the plot."""

    benchmark: str
    claim: str
    label: str
    peer: str


ROWS = (
    Row("segment", "25 Mbit/s: times as fast as", "One 10 s segment of a YouTube video", "whole video, then a cut"),
    Row("annotations", "CSV, faster than csv.DictReader", "Read 650,000 annotation rows", "csv.DictReader"),
    Row("sampling", "random 8 x 8, prepared against peers' originals", "8 frames, stride 8, prepared clips", ""),
    Row("sampling", "random 16 x 4, prepared against peers' originals", "16 frames, stride 4, prepared clips", ""),
    Row("archives", "HTTP, read_archive", "Clips out of tar.gz over HTTP", "datasets iter_archive"),
    Row("verify", "times as fast as PyAV", "Verify clips", "open each with PyAV"),
    Row("download", "one archive, one core", "Download and extract an archive", "curl | tar xz"),
    Row("sampling", "random 16 x 4, originals", "16 frames, stride 4, original clips", ""),
    Row("encode", "real clips, against ffmpeg", "Encode clips for training", "ffmpeg program"),
    Row("push", "push of", "Publish 1 GB", "upload_folder of huggingface_hub"),
)


def read(folder: Path) -> tuple[list[tuple[Row, str, float]], list[str]]:
    """Return each row that has a result, with its peer and ratio, and the machines that gave them."""
    found, machines = [], []
    for row in ROWS:
        path = folder / f"{row.benchmark}.json"
        kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"results": []}
        results = [one for one in kept["results"] if one["claim"].startswith(row.claim)]
        if not results:
            print(f"no result: {row.benchmark}: {row.claim}", file=sys.stderr)
            continue
        # Sampling names the fastest of its peers, as "PyAV 38.7 ms".
        peer = row.peer or f"{results[0]['other'].split()[0]}, the fastest of three, on original clips"
        found.append((row, peer, results[0]["ratio"]))
        machine = ", ".join(kept["machine"].split(", ")[:2])  # the date and the processor
        if machine not in machines:
            machines.append(machine)
    return found, machines


def main(results: Path = ROOT / "benchmarks" / "results", out: Path = ROOT / "docs" / "images" / "speed.svg") -> None:
    """Draw the results in a folder."""
    found, machines = read(results)
    found.sort(key=lambda one: -one[2])
    bottom = _TOP + _ROW * len(found)
    parts = [
        text(20, 32, "Speed as a multiple of a named peer", size=18, font_weight=600),
        text(20, 54, "same machine, same run, one core each; logarithmic axis; longer is faster", colour=FAINT),
    ]
    for tick in _TICKS:
        colour = "#8b97a5" if tick == 1 else LINE
        parts.append(element("path", d=f"M{_x(tick):g} {_TOP}V{bottom + 4}", stroke=colour))
        parts.append(text(_x(tick), bottom + 20, f"{tick:g}x", size=12, colour=FAINT, text_anchor="middle"))
    for number, (row, peer, ratio) in enumerate(found):
        parts += _bar(row, peer, ratio, _TOP + _ROW * number)
    parts.append(text(20, bottom + 46, f"Measured: {'; '.join(machines)}", size=12, colour=FAINT))
    write_svg(out, _WIDTH, bottom + 62, "Speed of this project as a multiple of a named peer", parts)


def _x(ratio: float) -> float:
    low, high = math.log(_TICKS[0]), math.log(_TICKS[-1] * 1.15)
    share = (min(max(math.log(ratio), low), high) - low) / (high - low)
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _bar(row: Row, peer: str, ratio: float, top: float) -> list[str]:
    one, end = _x(1), _x(ratio)
    left, width = min(one, end), max(abs(end - one), 1)
    colour = BLUE if ratio >= 1 else ORANGE
    shown = f"{ratio:.1f}x" if ratio >= 1 else f"{ratio:.2f}x"
    return [
        text(20, top + 17, row.label, size=14),
        text(20, top + 33, f"peer: {peer}", size=12, colour=FAINT),
        element("rect", x=f"{left:g}", y=top + 8, width=f"{width:g}", height=24, fill=colour, rx=2),
        text(max(one, end) + 8, top + 25, shown, size=14, font_weight=600, class_="value"),
    ]


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
