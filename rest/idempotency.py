"""A create or trigger request with an `Idempotency-Key` happens once, however often it is sent (I12).

The key is inserted in the transaction of the work: a second request with it waits for the first to end, and
then finds its answer, or, where the first failed, does the work itself.
"""

import hashlib
import json
import re
from collections.abc import Callable
from datetime import timedelta
from functools import wraps
from typing import Any, Final

from django.db import connection, transaction
from django.db.models.functions import Now
from rest_framework import exceptions
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from rest.fields import refuse
from rest.models import IdempotencyKey
from rest.permissions import caller_key

HEADER: Final = "Idempotency-Key"
REPLAYED_HEADER: Final = "Idempotent-Replayed"
KEPT_FOR: Final = timedelta(hours=24)
PURGED_AT_ONCE: Final = 100
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}\Z")
_INSERT: Final = """
INSERT INTO rest_idempotencykey (caller, key, digest) VALUES (%s, %s, %s)
ON CONFLICT (caller, key) DO UPDATE SET digest = excluded.digest, created_at = now()
WHERE rest_idempotencykey.created_at < now() - %s
RETURNING id
"""

View = Callable[..., Response]


class KeyReused(exceptions.APIException):
    """The key was used for another request."""

    status_code = 409
    default_detail = "This idempotency key was used for another request."
    default_code = "idempotency_key_reused"


def idempotent(*, never_again: tuple[str, ...] = ()) -> Callable[[View], View]:
    """Let a view method honour idempotency keys; fields in `never_again` are null in a repeated answer."""

    def decorate(method: View) -> View:
        @wraps(method)
        def with_key(view: Any, request: Request, *args: Any, **kwargs: Any) -> Response:
            key = request.headers.get(HEADER)
            if key is None:
                return method(view, request, *args, **kwargs)
            if not _KEY.match(key):
                refuse({HEADER: "expected 1 to 255 printable ASCII characters without spaces"})
            caller = caller_key(request)
            with transaction.atomic():
                _purge()
                row_id = _claim(caller, key, _digest(request))
                if row_id is None:
                    return _earlier_answer(caller, key, _digest(request))
                response = method(view, request, *args, **kwargs)
                _keep(row_id, response, never_again)
            return response

        with_key.takes_idempotency_key = True  # type: ignore[attr-defined]
        return with_key

    return decorate


def takes_key(method: object) -> bool:
    """Whether a view method honours idempotency keys."""
    return bool(getattr(method, "takes_idempotency_key", False))


def _digest(request: Request) -> str:
    path = request.path.removesuffix("/create")  # the other spelling of the same
    what = json.dumps([request.method, path, request.data], sort_keys=True)
    return hashlib.sha256(what.encode()).hexdigest()


def _claim(caller: str, key: str, digest: str) -> int | None:
    """Return the id of the key's row, or None where the key is taken; waits for a request that has it.

    A key that is too old is as good as new, even where nobody has come to purge it.
    """
    parameters: list[Any] = [caller, key, digest, KEPT_FOR]
    with connection.cursor() as cursor:
        cursor.execute(_INSERT, parameters)
        row = cursor.fetchone()
    return row[0] if row else None


def _earlier_answer(caller: str, key: str, digest: str) -> Response:
    earlier = IdempotencyKey.objects.get(caller=caller, key=key)
    if earlier.digest != digest:
        raise KeyReused
    return Response(earlier.answer, status=earlier.status, headers={REPLAYED_HEADER: "true"})


def _keep(row_id: int, response: Response, never_again: tuple[str, ...]) -> None:
    answer = json.loads(JSONRenderer().render(response.data))
    answer |= {name: None for name in never_again if name in answer}
    IdempotencyKey.objects.filter(pk=row_id).update(status=response.status_code, answer=answer)


def _purge() -> None:
    """Forget keys that are too old, a few at a time."""
    old = IdempotencyKey.objects.filter(created_at__lt=Now() - KEPT_FOR).order_by("created_at")
    locked = old.select_for_update(skip_locked=True).values_list("pk", flat=True)[:PURGED_AT_ONCE]
    IdempotencyKey.objects.filter(pk__in=list(locked)).delete()
