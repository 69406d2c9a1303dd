"""Take a picture of a report of the demo in a browser: docs/images/report.png.

    kinetics demo --out demo
    python docs/scripts/report.py demo

Needs Chromium, and Playwright, which the extra `test` installs.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from kinetics_tools.viewing import write_report

OUT = Path(__file__).parents[1] / "images" / "report.png"

_WIDTH, _HEIGHT = 1200, 1000


def main(demo: Path = Path("demo"), out: Path = OUT) -> None:
    """Write a report of the clips of 700 in `demo`, and a picture of the top of its page."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        report = write_report(demo / "700", "700", out=folder)
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
        page.goto(report.as_uri())
        page.wait_for_selector("body[data-ready]")
        page.wait_for_selector("#chart-classes svg")
        page.screenshot(path=out)
        browser.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
