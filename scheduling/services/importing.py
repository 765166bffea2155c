"""Import a file of definitions: first a check that tells exactly what would happen, then the import itself.

Both are bulk actions with a target for each entry of the file. A check does to each entry what an import
does, and takes it back; the import refuses what is not any more as the check has seen it.
"""

import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django.contrib.auth.models import User
from django.db import connection, transaction

from access import audit
from access.actors import Actor
from access.permits import Permits
from access.sentences import said as _
from scheduling.definition_file import Entry
from scheduling.errors import InvalidState, NothingToDo
from scheduling.kinds import BulkStatus, BulkVerb
from scheduling.models import BulkAction, BulkTarget
from scheduling.services.applying import Outcome, apply_calendar, apply_job, digest

_BATCH: Final = 500
# What somebody has to decide about: all that the check let pass, but for what is as the file says.
_INSERT_FROM_CHECK: Final = """
INSERT INTO scheduling_bulktarget (action_id, target_id, state, problem, name, document)
SELECT %(action_id)s, target_id, 'waiting', '', name, document || jsonb_build_object('seen', outcome->'seen')
FROM scheduling_bulktarget
WHERE action_id = %(check_id)s AND state = 'done' AND outcome->>'did' <> 'keep'
ORDER BY target_id
"""


def begin_check(*, entries: Sequence[Entry], user: User, by: Actor) -> BulkAction:
    """Ask what an import of these entries would do, and return the action that finds it out."""
    with transaction.atomic():
        action = _begin(BulkVerb.CHECK_DEFINITIONS, total=len(entries), user=user, by=by)
        targets = (
            BulkTarget(
                action=action,
                target_id=number,
                name=entry.name,
                document={"kind": entry.kind, "fields": entry.document},
            )
            for number, entry in enumerate(entries, 1)
        )
        BulkTarget.objects.bulk_create(targets, batch_size=_BATCH)
    return action


def begin_import(*, check_id: int, user: User, by: Actor) -> BulkAction:
    """Ask for what a check has found to be done, and return the action that does it.

    Raises InvalidState for a check that has not ended, NothingToDo, BulkAction.DoesNotExist.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        check = BulkAction.objects.select_for_update().get(pk=check_id, verb=BulkVerb.CHECK_DEFINITIONS)
        if check.status != BulkStatus.COMPLETED:
            raise InvalidState(action=_("import this"), current=check.status, allowed=(BulkStatus.COMPLETED,))
        total = to_import(check)
        if not total:
            raise NothingToDo
        action = _begin(BulkVerb.IMPORT_DEFINITIONS, total=total, user=user, by=by)
        cursor.execute(_INSERT_FROM_CHECK, {"action_id": action.pk, "check_id": check.pk})
    return action


def to_import(check: BulkAction) -> int:
    """Return how many entries of a check would be created or changed."""
    return check.targets.filter(state="done").exclude(outcome__did="keep").count()


def check_entry(target: BulkTarget, now: datetime, by: Actor, permits: Permits) -> dict[str, Any]:
    """Find out what the import of an entry does; nothing of it stays."""
    found: list[Outcome] = []
    with contextlib.suppress(_TakenBackError), transaction.atomic():
        found.append(_apply(target, now, by, permits))
        raise _TakenBackError
    return {**_noted(found[0]), "seen": digest(found[0].before)}


def import_entry(target: BulkTarget, now: datetime, by: Actor, permits: Permits) -> dict[str, Any]:
    """Make a definition what the entry says."""
    return _noted(_apply(target, now, by, permits))


class _TakenBackError(Exception):
    """What was done in the transaction is not to stay."""


def _begin(verb: BulkVerb, *, total: int, user: User, by: Actor) -> BulkAction:
    action = BulkAction.objects.create(verb=verb, total=total, user=user, address=by.address)
    after = {"verb": verb, "total": total}
    audit.record(by=by, action="bulk_action.create", subject=action, after=after)
    return action


def _apply(target: BulkTarget, now: datetime, by: Actor, permits: Permits) -> Outcome:
    document: Mapping[str, Any] = target.document or {}
    fields, seen = document["fields"], document.get("seen")
    if document["kind"] == "calendar":
        return apply_calendar(fields, by=by, permits=permits, seen=seen)

    def find_calendar(name: str) -> Mapping[str, Any] | None:
        # Whoever is at it has it locked; calendars come first, so it is found soon.
        siblings = BulkTarget.objects.filter(action=target.action_id, name=name, document__kind="calendar")
        found = siblings.select_for_update(of=("self",)).order_by("target_id").first()
        return None if found is None or found.document is None else found.document["fields"]

    return apply_job(fields, now=now, by=by, permits=permits, find_calendar=find_calendar, seen=seen)


def _noted(outcome: Outcome) -> dict[str, Any]:
    """Return what is kept of an outcome: of a change both sides, so that it can be shown."""
    sides = {"before": outcome.before, "after": outcome.after} if outcome.did == "change" else {}
    return {"did": outcome.did, "others": outcome.others, **sides}
