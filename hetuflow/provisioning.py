"""What the standalone installation needs in its database: tables, an admin, a local agent, sample jobs.

Everything here may be done at every start and changes nothing that is there already.
"""

import contextlib
import secrets
from datetime import datetime
from typing import Final

from django.contrib.auth import get_user_model

from agents.errors import TokenRefused
from agents.tokens import authenticate_token, issue_agent_token
from hetuflow.data_folder import DataFolder

ADMIN_NAME: Final = "admin"
AGENT_NAME: Final = "local"
PASSWORD_FILE: Final = "admin_password"  # noqa: S105 (a file's name)
AGENT_TOKEN_FILE: Final = "agent_token"  # noqa: S105 (a file's name)


def ensure_admin(folder: DataFolder, *, password: str) -> str:
    """Make sure that the admin exists, with `password` if one is given; return a new password to show.

    Without a given password one is made up at the first start and kept in the data folder. Returns "" when
    there is nothing to show.
    """
    users = get_user_model()
    admin = users.objects.filter(username=ADMIN_NAME).first()
    if admin is not None:
        if password and not admin.check_password(password):
            admin.set_password(password)
            admin.save(update_fields=["password"])
        return ""
    made_up = "" if password else folder.read_secret(PASSWORD_FILE) or secrets.token_urlsafe(12)
    if made_up:
        folder.write_secret(PASSWORD_FILE, made_up)
    users.objects.create_superuser(username=ADMIN_NAME, password=password or made_up)
    return made_up


def kept_password_is_valid(folder: DataFolder) -> bool:
    """Tell whether the password in the data folder still opens the admin."""
    kept = folder.read_secret(PASSWORD_FILE)
    admin = get_user_model().objects.filter(username=ADMIN_NAME).first()
    return bool(kept) and admin is not None and admin.check_password(kept)


def ensure_agent_token(folder: DataFolder, *, now: datetime) -> None:
    """Put a token of the local agent into the data folder, unless a valid one is there."""
    kept = folder.read_secret(AGENT_TOKEN_FILE)
    if kept:
        with contextlib.suppress(TokenRefused):
            authenticate_token(secret=kept, now=now)
            return
    _agent, token = issue_agent_token(name=AGENT_NAME)
    folder.write_secret(AGENT_TOKEN_FILE, token)
