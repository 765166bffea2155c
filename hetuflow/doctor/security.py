"""Settings that are right on one machine and dangerous on a network; see `hetuflow/production.py`."""

import ipaddress
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Final

from django.conf import settings
from django.core.checks import run_checks
from django.core.exceptions import ImproperlyConfigured

from hetuflow.doctor.report import Line, error, ok, warning
from hetuflow.production import refuse_unsafe_settings

_LOCAL_HOSTS: Final = {"localhost", "127.0.0.1", "[::1]"}
_PRIVATE_FILES: Final = ("secret_key", "admin_password", "agent_token", "database_url")


def look_at_mode(now: datetime) -> Iterator[Line]:
    """Look whether an installation that others can reach runs as if nobody could."""
    if settings.PRODUCTION:
        yield ok("mode", "HETUFLOW_ENV=production; unsafe settings would be refused")
        return
    is_open = not _is_loopback(settings.HETUFLOW_HOST) or bool(set(settings.ALLOWED_HOSTS) - _LOCAL_HOSTS)
    if settings.DEBUG and is_open:
        remedy = "unset HETUFLOW_DEBUG: its pages of errors show settings and source to whoever asks"
        yield error("mode", "debug mode, for others than this machine", remedy)
    elif is_open:
        try:
            refuse_unsafe_settings(
                debug=settings.DEBUG, secret_key=settings.SECRET_KEY, allowed_hosts=settings.ALLOWED_HOSTS
            )
            wrong = ""
        except ImproperlyConfigured as refusal:
            wrong = f"; first, {str(refusal).removesuffix(' when HETUFLOW_ENV=production')}"
        seen = f"other machines may reach it (host {settings.HETUFLOW_HOST}), and HETUFLOW_ENV is local"
        yield warning("mode", seen, f"set HETUFLOW_ENV=production{wrong}")
    else:
        yield ok("mode", f"local, for this machine alone (host {settings.HETUFLOW_HOST})")


def look_at_https(now: datetime) -> Iterator[Line]:
    """Look whether passwords and tokens travel in clear."""
    if settings.PRODUCTION and not settings.HTTPS:
        seen = "HETUFLOW_HTTPS is off: passwords, cookies and tokens travel in clear"
        yield warning("https", seen, "put TLS in front and set HETUFLOW_HTTPS=true: docs/operations.md")
    else:
        yield ok("https", "on" if settings.HTTPS else "off, and not needed on one machine")


def look_at_files(now: datetime) -> Iterator[Line]:
    """Look for secrets that others on this machine can read."""
    readable = []
    for name in _PRIVATE_FILES:
        path = settings.DATA_DIR / name
        try:
            mode = path.stat().st_mode & 0o777
        except OSError:
            continue
        if mode & 0o077:
            readable.append(str(path))
    if readable:
        seen = f"others on this machine can read {', '.join(readable)}"
        yield error("files", seen, f"chmod 600 {' '.join(readable)}", readable)
    else:
        yield ok("files", f"secrets in {settings.DATA_DIR} are their owner's alone")


def look_at_django(now: datetime) -> Iterator[Line]:
    """Ask Django, as `manage.py check --deploy` does."""
    found = run_checks(include_deployment_checks=settings.PRODUCTION)
    for message in (message for message in found if not message.is_silenced()):
        yield warning(
            "django", f"{message.id}: {' '.join(message.msg.split())}", message.hint or "see the id"
        )
    if all(message.is_silenced() for message in found):
        yield ok("django", "manage.py check finds nothing")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


PROBES: Final[list[tuple[str, Callable[[datetime], Iterable[Line]]]]] = [
    ("mode", look_at_mode),
    ("https", look_at_https),
    ("files", look_at_files),
    ("django", look_at_django),
]
