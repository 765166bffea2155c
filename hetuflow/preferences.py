"""In which language and time zone a page speaks: what its reader chose, or else what the browser asks for."""

from collections.abc import Callable
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone, translation

from access.preferences import preference_of

# Written by `hetuflow/zone.js`: HTTP has no header for the time zone of a browser.
ZONE_COOKIE: Final = "hetuflow_zone"


class Preferences:
    """Middleware that lets the admin follow its reader; REST is for programs: it speaks English, in UTC."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        try:
            return self.get_response(request)
        finally:
            timezone.deactivate()
            translation.deactivate()

    def process_view(self, request: HttpRequest, _view: Any, _args: Any, _kwargs: Any) -> None:
        """Activate both for this request, once it is known who asks for which page."""
        if not request.path.startswith(reverse("admin:index")):
            translation.activate("en")
            return
        language, zone = "", zone_of_browser(request)
        if request.user.is_authenticated:
            chosen = preference_of(request.user)
            language, zone = chosen.language, chosen.time_zone or zone
        if language in dict(settings.LANGUAGES):
            translation.activate(language)
            request.LANGUAGE_CODE = language
        if zone in known_zones():
            timezone.activate(ZoneInfo(zone))


def zone_of_browser(request: HttpRequest) -> str:
    """Return the time zone of the reader's machine; UTC as long as the browser has not said it."""
    zone = request.COOKIES.get(ZONE_COOKIE, "")
    return zone if zone in known_zones() else "UTC"


@cache
def known_zones() -> frozenset[str]:
    """Return the names of the IANA zones; to look for them takes the file system a while."""
    return frozenset(available_timezones())
