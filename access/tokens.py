"""People's API tokens: issue, check, revoke."""

from datetime import datetime
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction

from access import audit
from access.actors import SYSTEM, Actor
from access.errors import BadToken, NameTaken
from access.models import ApiToken
from access.roles import LEVEL_OF_SCOPE, Scope
from access.secrets import digest_of, new_secret

TOKEN_PREFIX: Final = "hfu"  # noqa: S105 (a prefix, not a secret)
MAX_TOKEN_CHARS: Final = 512
AUDITED: Final = ("name", "scope", "namespace", "expires_at")


def issue(
    *,
    user: User,
    name: str,
    scope: str = Scope.ADMIN,
    namespace: str = "",
    expires_at: datetime | None = None,
    by: Actor = SYSTEM,
) -> tuple[ApiToken, str]:
    """Store and return a new token with its secret, which nobody can read again.

    Raises NameTaken where the user has a valid token of this name.
    """
    secret = new_secret(TOKEN_PREFIX)
    try:
        with transaction.atomic():
            token = ApiToken.objects.create(
                user=user,
                name=name,
                scope=scope,
                namespace=namespace,
                expires_at=expires_at,
                digest=digest_of(secret),
            )
            audit.record(by=by, action="api_token.create", subject=token, after=_described(token))
    except IntegrityError as error:
        raise NameTaken(f"{user.get_username()} has a token {name!r} already.") from error
    return token, secret


def find(secret: str) -> ApiToken:
    """Return the valid token with this secret; raise BadToken for every reason alike."""
    found = None
    if 0 < len(secret) <= MAX_TOKEN_CHARS:
        found = ApiToken.objects.select_related("user").filter(digest=digest_of(secret)).first()
    if found is None or not found.is_valid:
        raise BadToken
    return found


def revoke(*, token_id: int, now: datetime, by: Actor = SYSTEM) -> ApiToken:
    """End a token at once and return it; a revoked one stays as it is. Raises ApiToken.DoesNotExist."""
    with transaction.atomic():
        token = ApiToken.objects.select_for_update(of=("self",)).select_related("user").get(pk=token_id)
        if token.revoked_at is None:
            ApiToken.objects.filter(pk=token.pk).update(revoked_at=now)
            token.revoked_at = now
            audit.record(by=by, action="api_token.revoke", subject=token, before=_described(token))
        return token


def exceeds(scope: str, other: str) -> bool:
    """Whether a scope permits more than another one."""
    return LEVEL_OF_SCOPE[Scope(scope)] > LEVEL_OF_SCOPE[Scope(other)]


def _described(token: ApiToken) -> dict[str, Any]:
    return {"user": token.user.get_username(), **audit.snapshot(token, AUDITED)}
