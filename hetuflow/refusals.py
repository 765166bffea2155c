"""What Django refuses before any view is asked: in the shape of all errors below /api, and a line in the log.

Settings load this module, so it must import nothing that needs them at once.
"""

import logging
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views import defaults


def bad_request(request: HttpRequest, exception: Exception, **_more: Any) -> HttpResponse:
    """Answer a request that is malformed, or for a host that this is not."""
    if _is_for_machines(request):
        return _refusal(400, "client_error", "bad_request", "The request is malformed.")
    return defaults.bad_request(request, exception)


def server_error(request: HttpRequest, **_more: Any) -> HttpResponse:
    """Answer where something broke outside of a view of REST, which would have said so itself."""
    if _is_for_machines(request):
        return _refusal(500, "server_error", "error", "A server error occurred.")
    return defaults.server_error(request)


class RefusalsAreNoTrouble(logging.Filter):
    """Makes one warning of what a request was refused for, so that nobody can fill the log with stacks."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name.startswith("django.security."):
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            # The message quotes the request, line breaks and all.
            record.msg, record.args = record.getMessage().encode("unicode_escape").decode(), ()
        if record.name.startswith("django.") and record.levelno < logging.ERROR:
            record.exc_info = record.exc_text = None
        return True


def _refusal(status: int, kind: str, code: str, detail: str) -> HttpResponse:
    errors = [{"code": code, "detail": detail, "attr": None}]
    return JsonResponse({"type": kind, "errors": errors}, status=status)


def _is_for_machines(request: HttpRequest) -> bool:
    return request.path.startswith("/api/") or request.path == "/metrics"
