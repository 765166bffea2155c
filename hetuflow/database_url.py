"""The address of the database, as Django wants it."""

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

ADDRESS_FILE: Final = "database_url"
_SCHEMES: Final = frozenset({"postgres", "postgresql"})


def published_address(data_dir: Path) -> str:
    """Return the address that the installation running with this folder published, empty where none runs.

    Raises ImproperlyConfigured.
    """
    path = data_dir / ADDRESS_FILE
    try:
        address = path.read_text().strip()
        if address:
            parse_database_url(address)
    except FileNotFoundError:
        return ""
    except (OSError, ValueError, ImproperlyConfigured) as error:
        raise ImproperlyConfigured(f"{path} cannot be used, remove it: {error}") from error
    return address


def parse_database_url(address: str) -> dict[str, Any]:
    """Return the entry for settings.DATABASES; raise ImproperlyConfigured, which never quotes the address."""
    scheme, separator, _ = address.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise ImproperlyConfigured(
            "The database address must look like postgresql://user:password@host:5432/name"
        )
    try:
        urlsplit(address)
        parsed = dict(dj_database_url.parse(address))
    except ValueError:
        raise ImproperlyConfigured(
            "The database address cannot be read; percent-encode special characters of the password"
        ) from None
    parsed.setdefault("OPTIONS", {})
    return parsed | {"ENGINE": "django.db.backends.postgresql", "CONN_MAX_AGE": 0}
