"""Who asks: people's API tokens. Agents' tokens are in `agents.api.authentication`.

DRF loads this module with its settings, so it must import nothing that needs them.
"""

from typing import Any

from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request

from access import tokens
from access.errors import BadToken


class BearerTokenAuthentication(BaseAuthentication):
    """Authenticates people's API tokens, `Authorization: Bearer …`; only digests of tokens are stored."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return the user and the token, None where there is no Bearer header; raise AuthenticationFailed."""
        scheme, _space, secret = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        try:
            token = tokens.find(secret.strip().decode("ascii", errors="replace"))
        except BadToken as error:
            raise exceptions.AuthenticationFailed from error
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="hetuflow"'
