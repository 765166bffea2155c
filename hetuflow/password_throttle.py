"""Passwords may be tried so many times a minute from one address, whatever the names."""

import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _

from access.addresses import caller_at
from access.callers import address_of
from access.errors import TooManyRequests
from access.throttling import Rate

# Every page that takes a password to see whether it is right.
PASSWORD_PAGES: Final = frozenset({"admin:login", "admin:password_change"})


class PasswordThrottle:
    """Middleware that answers 429 before anybody looks at the password, or at the CSRF token."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, _args: Any, _kwargs: Any) -> HttpResponse | None:
        """Count the request where it brings a password; return the refusal where there were too many."""
        times, match = settings.HETUFLOW_LOGIN_RATE, request.resolver_match
        if not times or request.method != "POST" or match is None or match.view_name not in PASSWORD_PAGES:
            return None
        try:
            Rate("password", times=times, period=timedelta(minutes=1)).take(caller_at(address_of(request)))
        except TooManyRequests as error:
            return _refusal(request, math.ceil(error.retry_after_secs))
        return None


def _refusal(request: HttpRequest, wait_secs: int) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": _("Too many attempts"),
        "wait_secs": wait_secs,
    }
    response = TemplateResponse(request, "admin/hetuflow/too_many_attempts.html", context, status=429)
    response["Retry-After"] = str(wait_secs)
    return response
