"""Who asks: people's API tokens. (Agents' tokens are for the agent socket.)

DRF loads this module with its settings, so it must import nothing that needs them.
"""

from typing import Any, Final

from django.utils import timezone
from knox.crypto import hash_token
from knox.models import AuthToken
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request

MAX_TOKEN_BYTES: Final = 512


class BearerTokenAuthentication(BaseAuthentication):
    """Authenticates people's API tokens, `Authorization: Bearer …`; only digests of tokens are stored."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return the user and the token, None where there is no Bearer header; raise AuthenticationFailed."""
        scheme, _space, token = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        token = token.strip()
        if not token or len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise exceptions.AuthenticationFailed
        found = (
            AuthToken.objects.select_related("user").filter(digest=hash_token(token.decode("ascii"))).first()
        )
        if found is None or not found.user.is_active or _is_expired(found):
            raise exceptions.AuthenticationFailed
        return found.user, found

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="hetuflow"'


def _is_expired(token: Any) -> bool:
    return bool(token.expiry is not None and token.expiry <= timezone.now())
