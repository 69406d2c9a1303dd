"""Chromium of the system, driven by Playwright, for pages."""

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.clients import ROOT

SCREENSHOTS = ROOT / "build" / "screenshots"
"""Pictures of pages as the tests see them, to look at."""
# The shell draws no window, which halves the work.
_PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome")
# Without these, Chromium looks up hosts of its own.
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A browser; the test is skipped where there is none, and fails under KINETICS_TESTS_MUST_RUN=1."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        reason = "no Chromium: apt-get install chromium-headless-shell"
        pytest.fail(reason) if os.environ.get("KINETICS_TESTS_MUST_RUN") == "1" else pytest.skip(reason)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        yield started
        started.close()


class Page:
    """A page that notes errors of its scripts and requests to other hosts; `assert_clean` at the end."""

    def __init__(self, browser: Any, url: str, *, width: int = 1440, allowed: str):
        self.problems: list[str] = []
        # One context for all, whose cache has the scripts of a page that was opened before.
        context = browser.contexts[0] if browser.contexts else browser.new_context()
        self.page = context.new_page()
        self.page.set_viewport_size({"width": width, "height": 900})
        self.page.on("console", lambda one: self.problems.append(one.text) if one.type == "error" else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.problems.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda one: self._check(one.url, allowed))
        self.page.goto(url)

    def assert_fits(self, name: str) -> None:
        """Check that nothing is wider than the window, and write its picture."""
        width = self.page.viewport_size["width"]
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"{name}-{width}.png")
        assert self.page.evaluate("document.scrollingElement.scrollWidth") == width

    def _check(self, url: str, allowed: str) -> None:
        if not url.startswith((allowed, "data:", "blob:")):
            self.problems.append(f"request to {url}")

    def assert_clean(self) -> None:
        self.page.close()
        assert self.problems == []
