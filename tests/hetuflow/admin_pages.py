"""Pages of the admin, and a namespace full of objects to find on them."""

from datetime import timedelta

from django.urls import reverse
from django.utils import timezone

from access.models import AuditEntry
from gateway.models import AgentLog
from scheduling.models import (
    Alert,
    Backfill,
    Calendar,
    Freeze,
    Job,
    RetentionRule,
    Schedule,
    Task,
    TaskInstance,
)
from scheduling.services.backfills import create_backfill
from scheduling.services.calendars import create_calendar, freeze
from scheduling.services.claiming import claim
from scheduling.services.lifecycle import AttemptKey
from scheduling.services.output import Chunk, store_output
from scheduling.services.retention_rules import create_rule
from tests import factories

JOBS = reverse("admin:scheduling_job_changelist")
ADD_JOB = reverse("admin:scheduling_job_add")
ADD_SCHEDULE = reverse("admin:scheduling_schedule_add")


def page(obj, name="change"):
    return reverse(f"admin:{obj._meta.app_label}_{obj._meta.model_name}_{name}", args=[obj.pk])


def fill(namespace):
    """Make one of each kind in a namespace, whose name stands in everything that one could read."""
    job = factories.job(name=f"job-{namespace}", namespace=namespace, description=f"about {namespace}")
    calendar = create_calendar(name=f"calendar-{namespace}", namespace=namespace, country="DE")
    schedule = factories.schedule(
        job=job, now=timezone.now(), name=f"schedule-{namespace}", calendar=calendar
    )
    frozen = freeze(namespace=namespace, now=timezone.now(), reason=f"nothing in {namespace}")
    alert = Alert.objects.create(
        kind="missed", namespace=namespace, job=job, schedule=schedule, text=f"missed in {namespace}"
    )
    task = factories.task(job=job, now=timezone.now(), parameters={"where": namespace})
    agent = factories.agent()
    claim(slots={agent.pk: 1}, now=timezone.now(), lead_secs=2, lease_secs=30)
    attempt = TaskInstance.objects.get(task=task)
    key = AttemptKey(agent_id=agent.pk, instance_id=attempt.pk, token=attempt.token)
    output = f"written in {namespace}".encode()
    store_output([Chunk(key=key, stream="stdout", offset=0, data=output, at=timezone.now())])
    AgentLog.objects.create(agent=agent, at=timezone.now(), level="info", message=f"runs {namespace}")
    now = timezone.now()
    backfill = create_backfill(
        schedule_id=schedule.pk, range_from=now - timedelta(minutes=1), range_to=now, now=now
    )
    failed = factories.task(job=job)
    at = timezone.now()
    Task.objects.filter(pk=failed.pk).update(status="failed", completed_at=at, scheduled_at=at)
    return {
        Job: job,
        Schedule: schedule,
        Task: task,
        TaskInstance: attempt,
        Calendar: calendar,
        Freeze: frozen,
        RetentionRule: create_rule(namespace=namespace, keep_days=30),
        Alert: alert,
        Backfill: backfill,
        AuditEntry: AuditEntry.objects.filter(namespace=namespace).first(),
    }
