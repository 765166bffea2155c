"""People's API tokens: issue, check, revoke."""

from datetime import datetime
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.db.models.functions import Now

from access import audit
from access.actors import SYSTEM, Actor
from access.errors import BadToken, NameTaken
from access.models import ApiToken
from access.roles import EVERYWHERE, Scope
from access.secrets import digest_of, new_secret
from access.sentences import said as _

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

    It is good for all that the user may do, or for one `namespace`. Raises NameTaken where the user has a
    token of this name that was not revoked.
    """
    secret = new_secret(TOKEN_PREFIX)
    if namespace == EVERYWHERE:
        namespace = ""
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
        raise NameTaken(
            _("%(user)s has a token %(name)s already.", user=user.get_username(), name=repr(name))
        ) from error
    return token, secret


def find(secret: str) -> ApiToken:
    """Return the valid token with this secret; raise BadToken for every reason alike."""
    found = None
    if 0 < len(secret) <= MAX_TOKEN_CHARS:
        # The database's clock decides: it is the one that all servers share.
        found = (
            ApiToken.objects.select_related("user")
            .filter(
                Q(expires_at__isnull=True) | Q(expires_at__gt=Now()),
                digest=digest_of(secret),
                revoked_at__isnull=True,
                user__is_active=True,
            )
            .first()
        )
    if found is None:
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


def _described(token: ApiToken) -> dict[str, Any]:
    return {"user": token.user.get_username(), **audit.snapshot(token, AUDITED)}
