"""Take pictures of a report and of the view of the demo in a browser, 1440 and 390 pixels wide.

    kinetics demo --out demo
    python docs/scripts/report.py demo

Writes the pictures of docs/view.md. With an output directory as a second argument, writes all there: report.webp, and
view-TAB.webp for each tab, and NAME-390.webp for a telephone. Needs Chromium, and Playwright, which the extra `test`
installs.
"""

import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from kinetics_tools.viewing import read_clips, write_report
from kinetics_tools.viewing.app import serve
from kinetics_tools.viewing.predictions import score
from kinetics_tools.viewing.viewer import Viewer

OUT = Path(__file__).parents[1] / "images"

_SHOWN = ("report", "view-clips", "view-clip")
_WIDTHS = {1440: "", 390: "-390"}
_HEIGHT = 1000
_GUESSES = 4  # predictions in this many are wrong in one


def main(demo: Path = Path("demo"), out: Path = OUT) -> None:
    """Take pictures of the clips of 700 in `demo`, with predictions that are made up."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        guesses = Path(folder, "guesses.csv")
        clips = read_clips(demo / "700", "700")
        guesses.write_text("\n".join(["youtube_id,label,score", *_guesses(clips.table)]))
        report = write_report(demo / "700", "700", out=folder, predictions=guesses).path
        scored, scores = score(clips, guesses, "validation")
        app = serve(Viewer(scored, read_clips(demo / "400", "400"), scores))
        program = shutil.which("chromium-headless-shell") or shutil.which("chromium")
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        for width, suffix in _WIDTHS.items():
            page = browser.new_page(viewport={"width": width, "height": _HEIGHT})
            page.goto(report.as_uri())
            page.wait_for_selector("body[data-ready]")
            page.wait_for_selector("#chart-confused svg")
            _take(page, out, f"report{suffix}", full_page=width < _HEIGHT)
            page.goto(app.local_url)
            _view(page, out, suffix)
            page.close()
        browser.close()
        app.close()


def _guesses(table: Any) -> list[str]:
    """Return lines of a file of predictions for the annotated clips of validation."""
    rows = [row for row in table.to_pylist() if row["split"] == "validation" and row["status"] != "unexpected"]
    labels = sorted({row["label"] for row in rows})
    lines = []
    for number, row in enumerate(rows):
        wrong = labels[(labels.index(row["label"]) + 1) % len(labels)]
        best = [wrong, row["label"]] if number % _GUESSES == 0 else [row["label"], wrong]
        lines += [f"{row['youtube_id']},{label},{value}" for label, value in zip(best, (0.6, 0.3), strict=True)]
    return lines


def _take(page: Any, out: Path, name: str, *, full_page: bool) -> None:
    """Write a picture of a page; into the docs only if they show it."""
    if out != OUT or name in _SHOWN:
        picture = Image.open(io.BytesIO(page.screenshot(full_page=full_page)))
        picture.save(out / f"{name}.webp", quality=85, method=6)


def _view(page: Any, out: Path, suffix: str) -> None:
    """Take a picture of each tab."""

    def take(name: str) -> None:
        page.wait_for_timeout(1000)  # pictures and players
        _take(page, out, f"view-{name}{suffix}", full_page=True)

    page.wait_for_selector("#bars-label")
    page.wait_for_selector(".vega-embed svg, .vega-embed canvas")
    take("overview")
    _open(page, "Clips")
    page.wait_for_selector("#grid img")
    take("clips")
    page.locator("#grid img").nth(1).click()
    page.wait_for_selector("#timeline rect")
    page.wait_for_selector("#strip img")
    take("clip")
    _open(page, "Compare")
    page.wait_for_selector("text=renamed")
    take("compare")
    _open(page, "Predictions")
    page.wait_for_selector("#wrong")
    take("predictions")


def _open(page: Any, tab: str) -> None:
    """Open a tab, which a narrow page has in a menu."""
    found = page.get_by_role("tab", name=tab, exact=True)
    if not found.is_visible():
        page.locator(".overflow-menu > button").click()
        found = page.locator(".overflow-dropdown button", has_text=tab)
    found.first.click()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
