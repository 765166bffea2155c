"""A person who is logged in and looks at pages, and whose browser is watched."""

from typing import Final
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import Browser, Page

from tests.browser.accessibility import mouse_only, violations_of
from tests.browser.watching import Watch

DESK: Final = {"width": 1280, "height": 860}
PHONE: Final = {"width": 390, "height": 844}
LIMIT_MS: Final = 15_000
_STILL: Final = """async () => {
  const ends = (animation) => animation.effect.getComputedTiming().activeDuration < 5000;
  await document.fonts.ready;
  await Promise.allSettled(document.getAnimations().filter(ends).map((animation) => animation.finished));
}"""


class Visitor:
    """One browser context, with the page in which everything happens."""

    def __init__(self, browser: Browser, *, address: str, user: User | None, locale: str = "en-GB") -> None:
        self.address = address
        self.user = user
        self.context = browser.new_context(
            base_url=address, viewport=DESK, locale=locale, timezone_id="Europe/Berlin", color_scheme="light"
        )
        self.context.set_default_timeout(LIMIT_MS)
        if user is not None:
            self.context.add_cookies([_session_cookie(user, address)])
        self.watch = Watch(self.context, address=address)
        self.page: Page = self.context.new_page()

    def go(self, path: str) -> Page:
        """Open a page, which must be there, and return when it has settled."""
        response = self.page.goto(path)
        assert response is not None
        assert response.ok, f"{response.status} {response.url}"
        self.settle()
        return self.page

    def settle(self) -> None:
        """Return when fonts are there and nothing moves: axe measures colours while they fade, too."""
        self.page.wait_for_load_state("load")
        self.page.evaluate(_STILL)

    def look(self) -> None:
        """Look at the page as it is, light, dark and on a phone; fail on what one cannot read or reach."""
        found = {"light": violations_of(self.page) + mouse_only(self.page)}
        self.page.emulate_media(color_scheme="dark")
        self.settle()
        found["dark"] = violations_of(self.page, "color-contrast", "link-in-text-block")
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size(PHONE)
        self.settle()
        reach = ("target-size", "scrollable-region-focusable")
        found["phone"] = self._too_wide() + violations_of(self.page, *reach)
        self.page.set_viewport_size(DESK)
        found = {look: lines for look, lines in found.items() if lines}
        assert found == {}, "\n".join(f"{look}: {line}" for look, lines in found.items() for line in lines)

    def close(self) -> None:
        """End the browser context and fail on what it complained of."""
        self.context.close()
        found = self.watch.findings()
        assert found == [], "\n".join(found)

    def _too_wide(self) -> list[str]:
        wide = self.page.evaluate("document.documentElement.scrollWidth")
        return [f"the page is {wide} px wide"] if wide > PHONE["width"] else []


def _session_cookie(user: User, address: str) -> dict[str, str]:
    client = Client()
    client.force_login(user)
    name = settings.SESSION_COOKIE_NAME
    host = urlsplit(address).hostname
    assert host is not None
    return {"name": name, "value": client.cookies[name].value, "domain": host, "path": "/"}
