"""The audit trail: one entry for each write by a person, a token or an agent.

Services record in the transaction of the write, so there is neither a write without its entry nor an entry
without its write. What agents report of their attempts is recorded on the attempts.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model

from access.actors import Actor
from access.models import AuditEntry

Fields = Mapping[str, Any]
_MAX_SUBJECT_CHARS: Final = 512


def record(
    *,
    by: Actor,
    action: str,
    subject: Model | str,
    namespace: str = "",
    before: Fields | None = None,
    after: Fields | None = None,
) -> None:
    """Write that `by` did `action` (`job.update`) to `subject`, in the caller's transaction.

    A subject that has no row is named by a text.

    Of an update only what changed is kept; one that changed nothing leaves no entry.
    """
    made = entry_of_write(
        by=by, action=action, subject=subject, namespace=namespace, before=before, after=after
    )
    if made is not None:
        made.save(force_insert=True)


def record_all(entries: Iterable[AuditEntry | None]) -> None:
    """Write many entries at once."""
    AuditEntry.objects.bulk_create([made for made in entries if made is not None], batch_size=500)


def entry_of_write(
    *,
    by: Actor,
    action: str,
    subject: Model | str,
    namespace: str = "",
    before: Fields | None = None,
    after: Fields | None = None,
) -> AuditEntry | None:
    """Return what `record` writes, None where that is nothing."""
    if before is not None and after is not None:
        before, after = _differences(before, after)
        if not before and not after:
            return None
    return entry(by=by, action=action, subject=subject, namespace=namespace, before=before, after=after)


def entry(
    *,
    by: Actor,
    action: str,
    subject: Model | str,
    namespace: str = "",
    before: Fields | None = None,
    after: Fields | None = None,
) -> AuditEntry:
    """Return an entry that is not stored yet."""
    return AuditEntry(
        actor_kind=by.kind,
        actor=by.name,
        token=by.token,
        address=by.address,
        action=action,
        subject_type=action.partition(".")[0],
        subject_id=str(subject.pk) if isinstance(subject, Model) else "",
        subject=str(subject)[:_MAX_SUBJECT_CHARS],
        namespace=namespace,
        before=None if before is None else as_json(before),
        after=None if after is None else as_json(after),
    )


def snapshot(obj: Model, fields: Iterable[str]) -> dict[str, Any]:
    """Return the values of these fields as they stand in memory, to compare with later."""
    return {name: getattr(obj, name) for name in fields}


def as_json(fields: Fields) -> dict[str, Any]:
    """Return the values of fields as an entry holds them."""
    written: dict[str, Any] = json.loads(json.dumps(dict(fields), cls=DjangoJSONEncoder))
    return written


def _differences(before: Fields, after: Fields) -> tuple[dict[str, Any], dict[str, Any]]:
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    return (
        {name: before[name] for name in names if name in before},
        {name: after[name] for name in names if name in after},
    )
