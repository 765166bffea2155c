"""Create and change jobs and schedules: the one place that decides whether a definition is sound."""

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import QuerySet

from access import audit
from access.actors import SYSTEM, Actor
from access.permits import Permit, anywhere
from access.roles import EVERYWHERE
from access.sentences import said as _
from scheduling import hints
from scheduling.environment import environment_problem
from scheduling.errors import AlreadyExists, InvalidField
from scheduling.kinds import BackfillStatus, ScheduleKind, ScheduleStatus
from scheduling.models import Backfill, Job, RetentionRule, Route, Schedule
from scheduling.parameters_schema import defaults_of, schema_problem
from scheduling.recurrence import RecurrenceError, validate
from scheduling.services import lifecycle
from scheduling.services.next_runs import nothing_left, recurrence_of, set_next_run
from scheduling.services.parameters import check_parameters_of, refuse_misfit_schedules
from scheduling.services.withdrawing import withdraw_planned
from scheduling.task_config import TaskConfig, TaskConfigError, clean_task_config, load_task_config

# How a kind of command takes a script as an argument; the others take no script.
_SCRIPT_FLAGS: Final = {"bash": "-c", "sh": "-c", "python": "-c", "node": "-e"}
JOB_FIELDS: Final = frozenset(
    "namespace name description command environment config parameters_schema enabled tags".split()
)
SUPPORTED_KINDS: Final = (ScheduleKind.CRON, ScheduleKind.INTERVAL, ScheduleKind.ONCE)
AUDITED_OF_SCHEDULE: Final = (
    "name",
    "description",
    "kind",
    "cron_expression",
    "interval_secs",
    "timezone",
    "start_time",
    "end_time",
    "max_count",
    "jitter_secs",
    "interval_mode",
    "dst_gap",
    "dst_overlap",
    "calendar_id",
    "calendar_policy",
    "parameters",
    "pause_after_failures",
    "catch_up_secs",
    "status",
)
_LEAST: Final = {"jitter_secs": 0, "max_count": 1, "pause_after_failures": 1, "catch_up_secs": 0}


def create_job(*, by: Actor = SYSTEM, **fields: Any) -> Job:
    """Create and return a job; `fields` are those of the REST entity.

    Raises InvalidField with a message for each bad field, AlreadyExists where the name is taken.
    """
    job = Job(created_by=by.name)
    with transaction.atomic():
        job = _save_job(job, fields, by=by)
        after = audit.snapshot(job, JOB_FIELDS)
        audit.record(by=by, action="job.create", subject=job, namespace=job.namespace, after=after)
        return job


def update_job(
    *, job_id: int, now: datetime, by: Actor = SYSTEM, permit: Permit = anywhere, **fields: Any
) -> Job:
    """Change the given fields of a job, and those of `config` one by one, and return it.

    Tasks that are planned already keep the configuration they were planned with; disabling cancels those
    that no agent has yet. Locks the job. Raises what `create_job` and `permit` do, and Job.DoesNotExist.
    """
    with transaction.atomic():
        job = lock_job(pk=job_id)
        permit(job.namespace)
        before = audit.snapshot(job, JOB_FIELDS)
        if isinstance(fields.get("config"), Mapping):
            fields["config"] = {**job.config, **fields["config"]}
        job = _save_job(job, fields, by=by)
        if before["parameters_schema"] != job.parameters_schema:
            refuse_misfit_schedules(job, now=now)
        if before["namespace"] != job.namespace:
            RetentionRule.objects.filter(job=job).update(namespace=job.namespace)
        if before["enabled"] and not job.enabled:
            lifecycle.skip_disabled_tasks(job_ids=[job.pk], now=now)
        after = audit.snapshot(job, JOB_FIELDS)
        # Of a job that moves, both namespaces are told.
        for namespace in {before["namespace"], job.namespace}:
            audit.record(
                by=by, action="job.update", subject=job, namespace=namespace, before=before, after=after
            )
        return job


def archive_job(*, job_id: int, now: datetime, by: Actor = SYSTEM, permit: Permit = anywhere) -> None:
    """Take a job out of every list and stop its schedules; its history stays.

    Locks the job. Raises what `permit` does, and Job.DoesNotExist.
    """
    with transaction.atomic():
        job = lock_job(pk=job_id)
        permit(job.namespace)
        Job.objects.filter(pk=job.pk).update(archived_at=now, enabled=False, updated_at=now)
        Schedule.objects.filter(job=job, archived_at__isnull=True).update(
            archived_at=now, status=ScheduleStatus.DISABLED, next_run_at=None, updated_at=now
        )
        _cancel_backfills(Backfill.objects.filter(schedule__job=job), now=now)
        lifecycle.skip_disabled_tasks(job_ids=[job.pk], now=now, include_manual=True)
        before = audit.snapshot(job, JOB_FIELDS)
        audit.record(by=by, action="job.delete", subject=job, namespace=job.namespace, before=before)


def create_schedule(
    *, job: Job, now: datetime, by: Actor = SYSTEM, permit: Permit = anywhere, **fields: Any
) -> Schedule:
    """Create and return a schedule of `job`, planned from `now` on.

    Locks the job. Raises InvalidField, what `permit` does, and Job.DoesNotExist.
    """
    with transaction.atomic():
        schedule = Schedule(job=lock_job(pk=job.pk))
        permit(schedule.job.namespace)
        schedule = _save_schedule(schedule, fields, now=now)
        _record_schedule(schedule, "schedule.create", by=by, after=_described(schedule))
        return schedule


def update_schedule(
    *, schedule_id: int, now: datetime, by: Actor = SYSTEM, permit: Permit = anywhere, **fields: Any
) -> Schedule:
    """Change the given fields of a schedule and plan anew from `now`; return it.

    Planned tasks that no agent has yet are withdrawn, so that the new times replace the old ones; those of
    the past stay. Locks job and schedule. Raises InvalidField, what `permit` does, and
    Schedule.DoesNotExist.
    """
    with transaction.atomic():
        schedule = lock_schedule(schedule_id, permit)
        before = _described(schedule)
        schedule = _save_schedule(schedule, fields, now=now)
        _record_schedule(schedule, "schedule.update", by=by, before=before, after=_described(schedule))
        return schedule


def enable_schedule(
    *, schedule_id: int, now: datetime, by: Actor = SYSTEM, permit: Permit = anywhere
) -> Schedule:
    """Plan a schedule from `now` on; raise InvalidState where none of its instants is left."""
    with transaction.atomic():
        schedule = update_schedule(
            schedule_id=schedule_id, now=now, by=by, permit=permit, status=ScheduleStatus.ENABLED
        )
        if schedule.status == ScheduleStatus.EXPIRED:
            raise nothing_left(schedule)
        return schedule


def disable_schedule(
    *, schedule_id: int, now: datetime, by: Actor = SYSTEM, permit: Permit = anywhere
) -> Schedule:
    """Plan nothing of a schedule any more; raise Schedule.DoesNotExist."""
    return update_schedule(
        schedule_id=schedule_id, now=now, by=by, permit=permit, status=ScheduleStatus.DISABLED
    )


def archive_schedule(
    *, schedule_id: int, now: datetime, by: Actor = SYSTEM, permit: Permit = anywhere
) -> None:
    """Delete a schedule, or where tasks refer to it, archive it; raise what `update_schedule` does."""
    with transaction.atomic():
        schedule = lock_schedule(schedule_id, permit)
        _record_schedule(schedule, "schedule.delete", by=by, before=_described(schedule))
        _withdraw_planned(schedule, now=now)
        _cancel_backfills(schedule.backfills.all(), now=now)
        if schedule.tasks.exists() or schedule.backfills.exists():
            Schedule.objects.filter(pk=schedule.pk).update(
                archived_at=now, status=ScheduleStatus.DISABLED, next_run_at=None, updated_at=now
            )
        else:
            schedule.delete()


def route_for(*, config: TaskConfig, job_id: int | None) -> Route:
    """Return the queue for tasks with this configuration, made where it is missing.

    `job_id` is given for a job with a limit, which has queues of its own.
    """
    limited_job = job_id if config.concurrency_limit is not None else None
    parts = json.dumps([config.cmd, config.labels, limited_job], sort_keys=True)
    key = hashlib.sha256(parts.encode()).hexdigest()
    route, _created = Route.objects.get_or_create(
        key=key, defaults={"cmd": config.cmd, "labels": config.labels, "job_id": limited_job}
    )
    return route


def effective_config(*, config: Mapping[str, Any], command: str) -> dict[str, Any]:
    """Return the configuration that tasks carry: a job's script becomes the arguments where it has none."""
    if command and not config["args"]:
        return {**config, "args": [_SCRIPT_FLAGS[config["cmd"]], command]}
    return dict(config)


def task_config_for(
    *, job: Job, changes: Mapping[str, Any], base: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return what one task of `job` carries where some of its configuration differs.

    `base` is what it carries now, the job's where absent. Raises InvalidField.
    """
    if not changes:
        return dict(base or job.task_config)
    limits = {"concurrency_policy", "max_concurrency"} & changes.keys()
    if limits:
        raise InvalidField({f"config.{name}": _("belongs to the job, not to one task") for name in limits})
    try:
        config = clean_task_config({**(base or job.config), **changes})
    except TaskConfigError as error:
        raise InvalidField(_config_errors(error)) from error
    if job.command and not config["args"] and config["cmd"] not in _SCRIPT_FLAGS:
        raise InvalidField({"config.args": _("required, because %(cmd)s takes no script", cmd=config["cmd"])})
    return effective_config(config=config, command=job.command)


def _cancel_backfills(backfills: QuerySet[Backfill], *, now: datetime) -> None:
    """Let backfills begin no further runs, because their schedule goes; those under way end by themselves."""
    backfills.filter(completed_at__isnull=True).update(
        status=BackfillStatus.CANCELLED, completed_at=now, updated_at=now
    )


def lock_job(**which: Any) -> Job:
    """Return a job that stays as it is until the end of the transaction.

    Without its key being locked, planning goes on with tasks that refer to it: it holds their schedule, for
    which whoever archives the job waits.
    """
    job: Job = Job.objects.present().select_for_update(no_key=True, of=("self",)).get(**which)
    return job


def lock_schedule(schedule_id: int, permit: Permit) -> Schedule:
    """Return a schedule with its job, both locked, the job first as whoever changes a job does.

    Raises Schedule.DoesNotExist, and what `permit` raises of the job's namespace.
    """
    found = Schedule.objects.present().get(pk=schedule_id)
    permit(lock_job(pk=found.job_id).namespace)
    schedules = Schedule.objects.present().select_related("job").select_for_update(of=("self",))
    schedule: Schedule = schedules.get(pk=schedule_id)
    return schedule


def _described(schedule: Schedule) -> dict[str, Any]:
    return {"job_id": schedule.job_id, **audit.snapshot(schedule, AUDITED_OF_SCHEDULE)}


def _record_schedule(schedule: Schedule, action: str, *, by: Actor, **fields: Any) -> None:
    audit.record(by=by, action=action, subject=schedule, namespace=schedule.job.namespace, **fields)


def _config_errors(error: TaskConfigError) -> dict[str, str]:
    return {f"config.{name}".rstrip("."): message for name, message in error.errors.items()}


def _save_job(job: Job, fields: Mapping[str, Any], *, by: Actor) -> Job:
    errors: dict[str, str] = dict.fromkeys(fields.keys() - JOB_FIELDS, _("unknown field"))
    for name in fields.keys() & JOB_FIELDS:
        setattr(job, name, fields[name])
    errors |= job_problems(job)
    if errors:
        raise InvalidField(errors)
    return _write_job(job, by=by)


def job_problems(job: Job) -> dict[str, str]:
    """Return what is not sound in a job, by field; complete its configuration in memory."""
    errors: dict[str, str] = {}
    problem = environment_problem(job.environment, allowed=settings.HETUFLOW_ALLOWED_ENVIRONMENT)
    if problem:
        errors["environment"] = problem
    errors |= _text_problems(job)
    if job.parameters_schema is not None and (problem := schema_problem(job.parameters_schema)):
        errors["parameters_schema"] = problem
    try:
        job.config = clean_task_config(job.config)
    except TaskConfigError as error:
        errors |= _config_errors(error)
    else:
        if job.command and not job.config["args"] and job.config["cmd"] not in _SCRIPT_FLAGS:
            errors["command"] = _(
                "%(cmd)s takes no script; give config.args, or use %(others)s",
                cmd=job.config["cmd"],
                others=", ".join(_SCRIPT_FLAGS),
            )
    return errors


def _write_job(job: Job, *, by: Actor) -> Job:
    """Write a sound job with what is derived from it, in the caller's transaction; raise AlreadyExists."""
    config = load_task_config(job.config)
    job.task_config = effective_config(config=job.config, command=job.command)
    job.parameter_defaults = defaults_of(job.parameters_schema)
    job.max_concurrency = config.concurrency_limit
    job.updated_by = by.name
    try:
        is_new = job.pk is None
        if is_new:
            # A limited job's queue names the job, so the job comes first, on the shared queue.
            job.route = route_for(config=config, job_id=None)
            job.save(force_insert=True)
        if not is_new or job.max_concurrency is not None:
            job.route = route_for(config=config, job_id=job.pk)
            job.save(force_update=True)
    except IntegrityError as error:
        if "job_name_unique_in_namespace" in str(error):
            facts = {"name": repr(job.name), "namespace": repr(job.namespace)}
            text = _("A job %(name)s exists already in namespace %(namespace)s.", **facts)
            raise AlreadyExists(text) from error
        raise
    return job


def _text_problems(job: Job) -> dict[str, str]:
    errors = {}
    for name in ("namespace", "name"):
        value = getattr(job, name)
        if not isinstance(value, str) or not value.strip() or len(value) > 255 or "\x00" in value:
            errors[name] = _("expected 1 to 255 characters")
    if job.namespace == EVERYWHERE:
        errors["namespace"] = _("%(everywhere)s means every namespace", everywhere=EVERYWHERE)
    for name in ("description", "command"):
        value = getattr(job, name)
        if not isinstance(value, str) or "\x00" in value or len(value) > 65_536:
            errors[name] = _("expected text of at most 65536 characters")
    if not isinstance(job.tags, list) or not all(
        isinstance(tag, str) and len(tag) <= 255 for tag in job.tags
    ):
        errors["tags"] = _('expected a list of strings such as ["nightly"]')
    return errors


def check_schedule(schedule: Schedule, *, now: datetime) -> None:
    """Raise InvalidField where what a schedule states is not sound; writes nothing."""
    if schedule.kind not in SUPPORTED_KINDS:
        kinds = ", ".join(SUPPORTED_KINDS)
        text = _("%(kind)s cannot be planned; use %(kinds)s", kind=repr(schedule.kind), kinds=kinds)
        raise InvalidField({"kind": text})
    try:
        validate(recurrence_of(schedule))
    except RecurrenceError as error:
        raise InvalidField({error.field: error.args[0]}) from error
    for name, least in _LEAST.items():
        value = getattr(schedule, name)
        if value is not None and not least <= value <= 2**31 - 1:
            raise InvalidField({name: _("expected a whole number from %(least)s", least=least)})
    has_job = schedule.job_id is not None
    if has_job and schedule.calendar is not None and schedule.calendar.namespace != schedule.job.namespace:
        raise InvalidField({"calendar_id": _("the calendar belongs to another namespace than the job")})
    check_parameters_of(schedule, now=now)


def _save_schedule(schedule: Schedule, fields: Mapping[str, Any], *, now: datetime) -> Schedule:
    for name, value in fields.items():
        setattr(schedule, name, value)
    check_schedule(schedule, now=now)
    with transaction.atomic():
        if schedule.pk is not None:
            _withdraw_planned(schedule, now=now)
        if schedule.pk is None or "status" in fields:
            schedule.enabled_at = now
        schedule.planned_until = now
        schedule.problem = ""
        set_next_run(schedule, now=now)
        schedule.rule_since = schedule.planned_until
        schedule.save()
        hints.tasks_became_claimable()
    return schedule


def _withdraw_planned(schedule: Schedule, *, now: datetime) -> None:
    withdrawn = withdraw_planned([schedule.pk], now=now)
    schedule.run_count = max(0, schedule.run_count - withdrawn.total())
