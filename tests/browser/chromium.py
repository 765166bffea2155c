"""The machine's own Chromium, driven by Playwright; nothing is downloaded for it."""

import contextlib
import shutil
from collections.abc import Iterator

from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def path_of_chromium() -> str | None:
    """Return where the machine has a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextlib.contextmanager
def chromium(path: str) -> Iterator[Browser]:
    """Run the browser for the length of a `with` block."""
    with sync_playwright() as playwright:
        # Its own sandbox needs what root in a container has not; /dev/shm is small there.
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()
