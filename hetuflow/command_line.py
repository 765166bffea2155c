"""What `manage.py` runs: Django's commands, with one clear line where nothing can be done."""

import os
import sys
from collections.abc import Sequence
from typing import Final

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line
from django.db.utils import OperationalError
from environs import EnvError

INTERRUPTED: Final = 130


def main(arguments: Sequence[str]) -> int:
    """Run a management command and return the exit status; `--traceback` shows where an error comes from."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hetuflow.settings")
    try:
        execute_from_command_line(list(arguments))
    except KeyboardInterrupt:
        return INTERRUPTED
    except (ImproperlyConfigured, EnvError, OperationalError) as error:
        message = _in_one_line(error)
        if message is None or "--traceback" in arguments:
            raise
        complain(message)
        return 1
    return 0


def complain(message: str) -> None:
    """Tell a person, in one line, why nothing was done."""
    sys.stderr.write(f"hetuflow: {' '.join(message.split())}\n")


def _in_one_line(error: Exception) -> str | None:
    """Return what to tell a person, None for an error that only its traceback explains."""
    if not isinstance(error, OperationalError):
        return str(error)
    # Settings can be read by now; before, this import would hide the real error.
    from hetuflow.database import UnreachableDatabase, is_connection_failure  # noqa: PLC0415

    return str(UnreachableDatabase(error)) if is_connection_failure(error) else None
