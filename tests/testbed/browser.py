"""A real browser for tests: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.testbed import debian

PROGRAM = "/usr/bin/chromium"


@dataclass(frozen=True, slots=True)
class Seen:
    """What a page came to: its text, all that it asked for, and how wide it is."""

    title: str
    text: str
    requests: list[str]
    dialogs: list[str]
    scroll_width: int


@contextlib.contextmanager
def opened() -> Iterator[Callable[[Path, int], Seen]]:
    """Give what opens a file at a width in pixels; skips by name where no browser can be had."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        pytest.skip("Playwright is not installed")
    if not Path(PROGRAM).exists():
        reason = debian.install(("chromium",))
        if reason or shutil.which("chromium") is None:
            pytest.skip(f"Chromium is not here: {reason}")
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=options)

        def look(path: Path, width: int) -> Seen:
            page = browser.new_page(viewport={"width": width, "height": 740})
            requests: list[str] = []
            dialogs: list[str] = []
            page.on("request", lambda one: requests.append(one.url))
            page.on("dialog", lambda one: (dialogs.append(one.message), one.dismiss()))
            page.goto(path.as_uri())
            page.wait_for_timeout(200)
            wide = int(page.evaluate("document.documentElement.scrollWidth"))
            seen = Seen(page.title(), page.inner_text("body"), requests, dialogs, wide)
            page.close()
            return seen

        try:
            yield look
        finally:
            browser.close()
