"""What every answer tells the browser: what its page may load, who may frame it, and that nobody keeps it.

No page of Hetuflow holds a script of its own, so that no nonce is needed and a script that an attacker got
into a page never runs. `docs/decisions/0007-no-script-in-a-page.md` says how that holds for the admin.
"""

from collections.abc import Callable
from typing import Any, Final

from asgiref.sync import iscoroutinefunction
from django.contrib.admin.options import IS_POPUP_VAR
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

_CSP: Final = "Content-Security-Policy"
# For pages. Attributes of style are what the admin's charts and menus live on.
_PAGE: Final[dict[str, str]] = {
    "default-src": "'self'",
    "script-src": "'self'",
    "style-src": "'self' 'unsafe-inline'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
# For what is no page: JSON, text, files.
_DATA: Final[dict[str, str]] = {"default-src": "'none'", "frame-ancestors": "'none'"}
_PERMISSIONS: Final = ", ".join(
    f"{feature}=()"
    for feature in (
        "accelerometer",
        "browsing-topics",
        "camera",
        "display-capture",
        "geolocation",
        "gyroscope",
        "magnetometer",
        "microphone",
        "midi",
        "payment",
        "usb",
    )
)


def policy(base: dict[str, str], **directives: str) -> str:
    """Return a policy as its header says it; `directives` (with _ for -) replace those of `base`."""
    changed = {name.replace("_", "-"): value for name, value in directives.items()}
    return "; ".join(f"{name} {value}" for name, value in (base | changed).items())


PAGE_POLICY: Final = policy(_PAGE)
# The admin of newer Python versions opens the form for a related object in a frame of its own page.
POPUP_POLICY: Final = policy(_PAGE, frame_ancestors="'self'")
# Redoc searches in a worker that it makes from a blob.
REDOC_POLICY: Final = policy(_PAGE, worker_src="'self' blob:")
DATA_POLICY: Final = policy(_DATA)


@sync_and_async_middleware
def response_headers(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Return the middleware; it is the outermost, so that refusals of the others get the headers as well."""
    if iscoroutinefunction(get_response):

        async def answer_async(request: HttpRequest) -> HttpResponseBase:
            return _with_headers(request, await get_response(request))

        return answer_async

    def answer(request: HttpRequest) -> HttpResponseBase:
        return _with_headers(request, get_response(request))

    return answer


def _with_headers(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Add the headers to `response`, which may have said itself how long it may be kept."""
    headers = response.headers
    if headers.get("Content-Type", "").startswith("text/html"):
        headers[_CSP] = _page_policy(request)
        headers["Permissions-Policy"] = _PERMISSIONS
        if headers[_CSP] == POPUP_POLICY:
            headers["X-Frame-Options"] = "SAMEORIGIN"
    else:
        headers[_CSP] = DATA_POLICY
    headers["Cross-Origin-Opener-Policy"] = headers["Cross-Origin-Resource-Policy"] = "same-origin"
    headers.setdefault("Cache-Control", "no-store")
    return response


def _page_policy(request: HttpRequest) -> str:
    match = request.resolver_match
    if match is None:
        return PAGE_POLICY
    if match.app_names == ["admin"] and IS_POPUP_VAR in request.GET:
        return POPUP_POLICY
    return REDOC_POLICY if match.view_name == "redoc" else PAGE_POLICY
