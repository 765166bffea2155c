"""Do one thing to many objects: in the name of who asked for it, a batch at a time, until all are done.

A bulk action is a row with its targets. They are done in a transaction together with what is noted of them,
many in one where `many` knows how, else each in its own. So whoever comes next goes on after a crash, nothing
is done twice, and any number of processes may work on one action. What is refused is noted with the reason,
and stops none of the others; what somebody else has locked comes last.
"""

import json
import logging
import time
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, NamedTuple, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ObjectDoesNotExist
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Count, Exists, OuterRef

from access import audit
from access.actors import Actor, ActorKind
from access.authority import Authority
from access.callers import authority_of
from access.permits import Permit, Permits
from access.sentences import in_each_language
from access.sentences import said as _
from scheduling.clock import database_now
from scheduling.errors import InvalidState, NotPermitted, SchedulingError
from scheduling.kinds import BulkState, BulkStatus, BulkVerb
from scheduling.models import BulkAction, BulkTarget
from scheduling.services import many
from scheduling.services.deeds import DEEDS

logger = logging.getLogger(__name__)

MAX_TARGETS: Final = 50_000
# After so long a call leaves the rest to the next one.
BUDGET_SECS: Final = 0.4
FORGOTTEN_PER_CALL: Final = 20
# For what somebody else has locked one waits so long: the duties of a scheduler wait meanwhile.
_LOCK_TIMEOUT: Final = "SET LOCAL lock_timeout = 100"

_INSERT_TARGETS: Final = """
INSERT INTO scheduling_bulktarget (action_id, target_id, state, problem)
SELECT %(action_id)s, t.id, 'waiting', '' FROM unnest(%(ids)s::bigint[]) WITH ORDINALITY AS t(id, position)
ORDER BY t.position
"""
_NOTE: Final = """
UPDATE scheduling_bulktarget t
SET state = noted.state, problem = noted.problem, problem_in = noted.problem_in::jsonb
FROM unnest(%(ids)s::bigint[], %(states)s::text[], %(problems)s::text[], %(problems_in)s::text[])
     AS noted(id, state, problem, problem_in)
WHERE t.id = noted.id
"""


def begin(*, verb: BulkVerb, target_ids: Collection[int], user: User, by: Actor) -> BulkAction:
    """Ask for `verb` to be done to each of these, in their order, and return that; `work` does it.

    Raises ValueError for none of them, or more than MAX_TARGETS.
    """
    if not 1 <= len(target_ids) <= MAX_TARGETS:
        raise ValueError(f"from 1 to {MAX_TARGETS} targets, not {len(target_ids)}")
    with transaction.atomic(), connection.cursor() as cursor:
        action = BulkAction.objects.create(verb=verb, total=len(target_ids), user=user, address=by.address)
        cursor.execute(_INSERT_TARGETS, {"action_id": action.pk, "ids": list(target_ids)})
        after = {"verb": verb, "total": action.total}
        audit.record(by=by, action="bulk_action.create", subject=action, after=after)
    return action


def cancel(*, action_id: int, now: datetime, by: Actor) -> BulkAction:
    """End a bulk action; what is done stays done. Raises InvalidState, BulkAction.DoesNotExist."""
    with transaction.atomic():
        action: BulkAction = BulkAction.objects.select_for_update().get(pk=action_id)
        if action.status != BulkStatus.RUNNING:
            raise InvalidState(
                action=_("cancel this action"), current=action.status, allowed=(BulkStatus.RUNNING,)
            )
        before, after = {"status": action.status}, {"status": BulkStatus.CANCELLED}
        action.status, action.completed_at = BulkStatus.CANCELLED, now
        action.save(update_fields=["status", "completed_at"])
        audit.record(by=by, action="bulk_action.cancel", subject=action, before=before, after=after)
    return action


def run_once(*, now: datetime) -> bool:
    """Go on with all bulk actions, each for its part of a moment; return whether there is more to do."""
    _forget(now=now)
    # What a later version knows to do, its schedulers do.
    running = list(BulkAction.objects.filter(status=BulkStatus.RUNNING, verb__in=DEEDS).order_by("pk"))
    if not running:
        return False
    ended = [_go_on(action, for_secs=BUDGET_SECS / len(running)) for action in running]
    return not all(ended)


def _go_on(action: BulkAction, *, for_secs: float) -> bool:
    """Work on an action; one that waits for what somebody else has locked is left for the next call."""
    try:
        return work(action, for_secs=for_secs)
    except OperationalError as error:
        if _is_lost(error):
            raise
        logger.warning("bulk action %s goes on later: %s", action.pk, error)
        return True


def work(action: BulkAction, *, for_secs: float) -> bool:
    """Do what is left of an action for about so long; return whether nothing is left.

    Raises what the database raises; what is committed stays.
    """
    give_up_at = time.monotonic() + for_secs
    who, authority = action.user, None if action.user is None else authority_of(action.user)
    by = Actor(kind=ActorKind.USER, name=who.get_username() if who else "", address=action.address)
    permits = partial(_permit, authority)
    one_by_one = partial(_one_by_one, action, give_up_at=give_up_at, by=by, permits=permits)
    last = 0
    while batch := _do_batch(action, after=last, by=by, permits=permits):
        # Of those that cannot be done together, one may be the reason.
        if not batch.is_done and not one_by_one(after=last, upto=batch.last).is_over:
            return False
        last = batch.last
        if time.monotonic() > give_up_at:
            return False
    # What is left was locked, or has to be done by itself.
    rest = one_by_one(after=0, upto=None)
    if rest.stuck is not None:
        raise rest.stuck
    return rest.is_over and _end(action)


def count_targets(action_ids: Iterable[int]) -> dict[int, dict[str, int]]:
    """Return for each action how many of its targets are in which state; one statement."""
    found = BulkTarget.objects.filter(action__in=list(action_ids)).values("action_id", "state")
    counts: dict[int, dict[str, int]] = {}
    for row in found.annotate(number=Count("pk")).order_by():
        counts.setdefault(row["action_id"], {})[row["state"]] = row["number"]
    return counts


def _permit(authority: Authority | None, permission: str) -> Permit:
    def ask(namespace: str) -> None:
        if authority is None or not authority.may_in(namespace, permission):
            raise NotPermitted

    return ask


class _Batch(NamedTuple):
    """The last of some targets, and whether they could be done together."""

    last: int
    is_done: bool


class _Step(NamedTuple):
    """The target that was looked at last, and what kept it from being done where somebody has it locked."""

    last: int
    stuck: OperationalError | None = None


class _Steps(NamedTuple):
    """Whether all that was to be looked at was, and what kept the last one that somebody has locked."""

    is_over: bool
    stuck: OperationalError | None


def _take(action: BulkAction, *, after: int, number: int, upto: int | None = None) -> list[BulkTarget]:
    """Return the next targets that nobody else is at, locked; none where the action ended."""
    waiting = action.targets.filter(state=BulkState.WAITING, action__status=BulkStatus.RUNNING, pk__gt=after)
    if upto is not None:
        waiting = waiting.filter(pk__lte=upto)
    return list(waiting.select_for_update(skip_locked=True, of=("self",)).order_by("pk")[:number])


def _do_batch(action: BulkAction, *, after: int, by: Actor, permits: Permits) -> _Batch | None:
    """Do the next targets together; return None where there is none, or the verb is done one by one.

    Those that somebody else has locked stay as they are; so do all, where they cannot be done together.
    """
    deed = DEEDS[BulkVerb(action.verb)]
    if deed.do_many is None:
        return None
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK_TIMEOUT)
        targets = _take(action, after=after, number=deed.at_once)
        if not targets:
            return None
        last, is_done = int(targets[-1].pk), False
        ids, permit = [target.target_id for target in targets], permits(deed.permission)
        try:
            with transaction.atomic():
                done = deed.do_many(ids, now=database_now(), by=by, permit=permit)
        except OperationalError as error:
            if _is_lost(error):
                raise
        except Exception:
            logger.exception("%s of many failed; they are done one by one", action.verb)
        else:
            _note(cursor, targets, done)
            is_done = True
    return _Batch(last, is_done)


def _note(cursor: Any, targets: Sequence[BulkTarget], done: many.Done) -> None:
    noted = [target for target in targets if target.target_id not in done.left]
    refused = {target.pk: done.problems.get(target.target_id) for target in noted}
    told = [in_each_language(sentence) if sentence else {} for sentence in refused.values()]
    values = {
        "ids": [*refused],
        "states": [BulkState.REFUSED if problem else BulkState.DONE for problem in told],
        "problems": [problem.get("en", "") for problem in told],
        "problems_in": [json.dumps(problem) for problem in told],
    }
    cursor.execute(_NOTE, values)


def _one_by_one(
    action: BulkAction, *, after: int, upto: int | None, give_up_at: float, by: Actor, permits: Permits
) -> _Steps:
    """Do what is left of the targets in (after, upto], each by itself; what is locked stays as it is."""
    stuck = None
    while step := _do_next(action, after=after, upto=upto, by=by, permits=permits):
        after, stuck = step.last, step.stuck or stuck
        if time.monotonic() > give_up_at:
            return _Steps(False, None)
    return _Steps(True, stuck)


def _do_next(
    action: BulkAction, *, after: int, upto: int | None, by: Actor, permits: Permits
) -> _Step | None:
    """Do the next target that nobody else is at; return None where there is none, or the action ended."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_LOCK_TIMEOUT)
        for target in _take(action, after=after, upto=upto, number=1):
            try:
                refused = _do(action, target, by=by, permits=permits)
            except OperationalError as error:
                if _is_lost(error):
                    raise
                return _Step(target.pk, error)
            if refused:
                target.problem_in = in_each_language(refused)
                target.problem = target.problem_in["en"]
            target.state = BulkState.REFUSED if refused else BulkState.DONE
            target.save(update_fields=["state", "problem", "problem_in", "outcome"])
            return _Step(target.pk)
    return None


def _is_lost(error: OperationalError) -> bool:
    """Whether the database is away, and not only something in it that one would have to wait for."""
    return getattr(error.__cause__, "sqlstate", None) is None


def _do(action: BulkAction, target: BulkTarget, *, by: Actor, permits: Permits) -> str:
    """Do it to one target and return why it was refused, empty where it was done."""
    deed = DEEDS[BulkVerb(action.verb)]
    try:
        with transaction.atomic():
            target.outcome = deed.do(target, database_now(), by, permits)
    except SchedulingError as error:
        return cast("str", error.args[0])
    except ObjectDoesNotExist:
        return many.GONE
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        # One that fails in a way that nobody thought of must not stop the others.
        logger.exception("%s of %s failed", action.verb, target.target_id)
        return _("It failed for a reason that the log of the server or scheduler tells.")
    return ""


def _end(action: BulkAction) -> bool:
    """Note that nothing is left, where that is so; return whether the action has ended."""
    waiting = BulkTarget.objects.filter(action=OuterRef("pk"), state=BulkState.WAITING)
    running = BulkAction.objects.filter(pk=action.pk, status=BulkStatus.RUNNING)
    running.filter(~Exists(waiting)).update(status=BulkStatus.COMPLETED, completed_at=database_now())
    return not running.exists()


def _forget(*, now: datetime) -> None:
    """Delete actions that ended before anybody wants to know of them, a few at a time."""
    if settings.HETUFLOW_KEEP_DAYS:
        old = BulkAction.objects.filter(completed_at__lt=now - timedelta(days=settings.HETUFLOW_KEEP_DAYS))
        BulkAction.objects.filter(pk__in=list(old.values_list("pk", flat=True)[:FORGOTTEN_PER_CALL])).delete()
