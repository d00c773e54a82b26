"""The system's Chromium, headless, driven by Playwright: for tests of the page as a reader has it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
DESKTOP: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
PATIENCE_MS = 120_000  # on a busy machine; nothing waits without need


@dataclass
class Heard:
    """Errors that a page reported, and requests that it made besides that for itself."""

    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def nothing(self) -> bool:
        return not (self.errors or self.requests or self.dialogs)


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser. Skips the test, saying so, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=FLAGS, timeout=PATIENCE_MS)
        yield browser
        browser.close()


def opened(browser: Any, path: Path, **context: Any) -> tuple[Any, Heard]:
    """A page from disk in a context of its own, and what is heard of it."""
    page = browser.new_context(**context).new_page()
    page.set_default_timeout(PATIENCE_MS)
    heard = Heard()
    page.on("console", lambda message: heard.errors.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: heard.errors.append(str(error)))
    page.on("request", lambda request: heard.requests.append(request.url))
    page.on("dialog", lambda dialog: (heard.dialogs.append(dialog.message), dialog.dismiss()))
    page.goto(path.as_uri())
    assert heard.requests.pop(0) == path.as_uri()
    return page, heard
