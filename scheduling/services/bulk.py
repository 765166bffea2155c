"""Do one thing to many objects: in the name of who asked for it, one by one, until all are done.

A bulk action is a row with its targets. Each target is done in a transaction of its own together with what is
noted of it, so whoever comes next goes on after a crash, nothing is done twice, and any number of processes
may work on one action. What is refused is noted with the reason, and stops none of the others.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, cast

from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ObjectDoesNotExist
from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models import Count, Exists, OuterRef, Q

from access import audit
from access.actors import Actor, ActorKind
from access.authority import Authority
from access.callers import authority_of
from access.permits import Permit, Permits
from access.sentences import in_each_language
from access.sentences import said as _
from scheduling.clock import database_now
from scheduling.errors import InvalidState, NotPermitted, SchedulingError
from scheduling.kinds import BulkState, BulkStatus, BulkVerb, ScheduleStatus
from scheduling.models import BulkAction, BulkTarget, Job, Schedule, Task
from scheduling.services import importing, manual
from scheduling.services.definitions import disable_schedule, enable_schedule, update_job
from scheduling.states import TASK_RETRYABLE, TASK_TERMINAL

logger = logging.getLogger(__name__)

MAX_TARGETS: Final = 50_000
# After so long a call leaves the rest to the next one.
BUDGET_SECS: Final = 0.4
FORGOTTEN_PER_CALL: Final = 20

_INSERT_TARGETS: Final = """
INSERT INTO scheduling_bulktarget (action_id, target_id, state, problem)
SELECT %(action_id)s, t.id, 'waiting', '' FROM unnest(%(ids)s::bigint[]) WITH ORDINALITY AS t(id, position)
ORDER BY t.position
"""


@dataclass(frozen=True, slots=True)
class Deed:
    """What a verb does to one target, what it takes to be offered, and to which objects it can be done.

    `do` returns what is noted of the target.
    """

    permission: str
    do: Callable[[BulkTarget, datetime, Actor, Permits], dict[str, Any] | None]
    applies_to: Q


def _deed(permission: str, do: Callable[[int, datetime, Actor, Permit], object], applies_to: Q) -> Deed:
    """Return the deed that is done to an object, by its id."""

    def do_to_object(target: BulkTarget, now: datetime, by: Actor, permits: Permits) -> None:
        do(target.target_id, now, by, permits(permission))

    return Deed(permission, do_to_object, applies_to)


def _run_job(job_id: int, now: datetime, by: Actor, permit: Permit) -> None:
    job = Job.objects.present().get(pk=job_id)
    permit(job.namespace)
    manual.trigger_job(job=job, now=now, by=by)


def _cancel_task(task_id: int, now: datetime, by: Actor, permit: Permit) -> None:
    permit(Task.objects.values_list("namespace", flat=True).get(pk=task_id))
    manual.cancel(task_id=task_id, now=now, by=by)


def _retry_task(task_id: int, now: datetime, by: Actor, permit: Permit) -> None:
    permit(Task.objects.values_list("namespace", flat=True).get(pk=task_id))
    manual.retry(task_id=task_id, now=now, by=by)


def _switch_job(*, enabled: bool) -> Callable[[int, datetime, Actor, Permit], object]:
    return lambda job_id, now, by, permit: update_job(
        job_id=job_id, now=now, by=by, permit=permit, enabled=enabled
    )


DEEDS: Final[dict[BulkVerb, Deed]] = {
    BulkVerb.RUN_JOBS: _deed("scheduling.add_task", _run_job, Q(enabled=True)),
    BulkVerb.ENABLE_JOBS: _deed("scheduling.switch_job", _switch_job(enabled=True), Q(enabled=False)),
    BulkVerb.DISABLE_JOBS: _deed("scheduling.switch_job", _switch_job(enabled=False), Q(enabled=True)),
    BulkVerb.ENABLE_SCHEDULES: _deed(
        "scheduling.switch_schedule",
        lambda pk, now, by, permit: enable_schedule(schedule_id=pk, now=now, by=by, permit=permit),
        ~Q(status=ScheduleStatus.ENABLED),
    ),
    BulkVerb.DISABLE_SCHEDULES: _deed(
        "scheduling.switch_schedule",
        lambda pk, now, by, permit: disable_schedule(schedule_id=pk, now=now, by=by, permit=permit),
        ~Q(status=ScheduleStatus.DISABLED),
    ),
    BulkVerb.CANCEL_TASKS: _deed(
        "scheduling.change_task",
        _cancel_task,
        ~Q(status__in=TASK_TERMINAL) & Q(cancel_requested_at__isnull=True),
    ),
    BulkVerb.RETRY_TASKS: _deed("scheduling.change_task", _retry_task, Q(status__in=TASK_RETRYABLE)),
    BulkVerb.CHECK_DEFINITIONS: Deed("scheduling.add_job", importing.check_entry, Q()),
    BulkVerb.IMPORT_DEFINITIONS: Deed("scheduling.add_job", importing.import_entry, Q()),
}
MODELS: Final[dict[str, type[Job | Schedule | Task]]] = {"job": Job, "schedule": Schedule, "task": Task}


def model_of(verb: str) -> type[Job | Schedule | Task] | None:
    """Return what the verb is done to, None for the entries of a file."""
    return MODELS.get(verb.partition(".")[0])


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
        if getattr(error.__cause__, "sqlstate", None) is None:
            raise  # the database is away
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
    while _do_next(action, by=by, permits=permits):
        if time.monotonic() > give_up_at:
            return False
    return _end(action)


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


def _do_next(action: BulkAction, *, by: Actor, permits: Permits) -> bool:
    """Do the next target that nobody else is at; return False where there is none, or the action ended."""
    with transaction.atomic(), connection.cursor() as cursor:
        # The duties of a scheduler wait meanwhile.
        cursor.execute("SET LOCAL lock_timeout = 500")
        waiting = action.targets.filter(state=BulkState.WAITING, action__status=BulkStatus.RUNNING)
        target = waiting.select_for_update(skip_locked=True, of=("self",)).order_by("pk").first()
        if target is None:
            return False
        refused = _do(action, target, by=by, permits=permits)
        if refused:
            target.problem_in = in_each_language(refused)
            target.problem = target.problem_in["en"]
        target.state = BulkState.REFUSED if refused else BulkState.DONE
        target.save(update_fields=["state", "problem", "problem_in", "outcome"])
    return True


def _do(action: BulkAction, target: BulkTarget, *, by: Actor, permits: Permits) -> str:
    """Do it to one target and return why it was refused, empty where it was done."""
    deed = DEEDS[BulkVerb(action.verb)]
    try:
        with transaction.atomic():
            target.outcome = deed.do(target, database_now(), by, permits)
    except SchedulingError as error:
        return cast("str", error.args[0])
    except ObjectDoesNotExist:
        return _("It is not there any more.")
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
