"""What production refuses: settings that are right on a developer's machine and dangerous on a network."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from django.core.exceptions import ImproperlyConfigured

MIN_KEY_CHARS: Final = 32
MIN_DISTINCT_CHARS: Final = 8
# What stands in documentation, templates and answers on the web in place of a key, ours included.
_EXAMPLE: Final = re.compile(
    r"django-insecure|insecure|change.?(?:me|this|it)|replace.?(?:me|this|with)|your.?(?:own.?)?(?:secret|key)"
    r"|(?:secret|key).?here|example|placeholder|openssl rand|random characters",
    re.IGNORECASE,
)


def refuse_unsafe_settings(*, debug: bool, secret_key: str, allowed_hosts: Sequence[str]) -> None:
    """Raise ImproperlyConfigured, naming the variable, where one of these is unfit for production."""
    if debug:
        raise _refusal("HETUFLOW_DEBUG must be off")
    if objection := _objection_to(secret_key):
        raise _refusal(
            f"HETUFLOW_SECRET_KEY {objection}; set it to at least {MIN_KEY_CHARS} random characters, "
            "such as those of openssl rand -base64 48,"
        )
    if any("*" in host for host in allowed_hosts):
        raise _refusal(
            "HETUFLOW_ALLOWED_HOSTS must not hold *, but the names that people use, such as "
            "hetuflow.example.com, or .example.com for all below it,"
        )
    if not allowed_hosts:
        raise _refusal("HETUFLOW_ALLOWED_HOSTS must name the hosts that Hetuflow answers to")


def _objection_to(key: str) -> str | None:
    """Return what is wrong with a secret key, None where nothing is; the key itself is never told."""
    if not key:
        return "is missing"
    if len(key) < MIN_KEY_CHARS:
        return f"is too short ({len(key)} characters)"
    if _EXAMPLE.search(key):
        return "is an example"
    if len(set(key)) < MIN_DISTINCT_CHARS or key in (key + key)[1:-1] or _is_a_row(key):
        return "is not random"
    return None


def _is_a_row(key: str) -> bool:
    """Return whether most characters follow on the one before, as in 0123456789 and in qqqqrrrr."""
    followers = sum(abs(ord(after) - ord(before)) <= 1 for before, after in pairwise(key))
    return followers > len(key) * 2 / 3


def _refusal(reason: str) -> ImproperlyConfigured:
    return ImproperlyConfigured(f"{reason} when HETUFLOW_ENV=production")
