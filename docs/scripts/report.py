"""Take pictures of a report and of the view of the demo in a browser: docs/images/report.png and view.png.

    kinetics demo --out demo
    python docs/scripts/report.py demo

Needs Chromium, and Playwright, which the extra `test` installs.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from kinetics_tools.viewing import read_clips, write_report
from kinetics_tools.viewing.app import serve
from kinetics_tools.viewing.viewer import Viewer

OUT = Path(__file__).parents[1] / "images"

_WIDTH, _HEIGHT = 1200, 1000


def main(demo: Path = Path("demo"), out: Path = OUT) -> None:
    """Take the top of a report of the clips of 700 in `demo`, and the page of a clip."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        report = write_report(demo / "700", "700", out=folder)
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        page = browser.new_page(viewport={"width": _WIDTH, "height": _HEIGHT})
        page.goto(report.as_uri())
        page.wait_for_selector("body[data-ready]")
        page.wait_for_selector("#chart-classes svg")
        page.screenshot(path=out / "report.png")
        app = serve(Viewer(read_clips(demo / "700", "700")))
        page.goto(app.local_url)
        page.get_by_role("tab", name="Clips").click()
        page.locator("#grid img").nth(1).click()
        page.wait_for_selector("#timeline rect")
        page.wait_for_timeout(1000)  # the first picture of the player
        page.screenshot(path=out / "view.png")
        browser.close()
        app.close()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
