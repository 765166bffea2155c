"""The first page: how the installation is doing, from a fixed number of bounded queries."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.db import connection
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from access.backends import authority_of_user
from access.roles import ALL_PERMISSIONS
from agents.models import CONNECTED_STATUSES, Agent
from rest.controls import visible
from scheduling.admin import words
from scheduling.admin.alerts import open_alerts
from scheduling.admin.freezes import freeze_banners
from scheduling.admin.permissions import is_seen, may, seen_by
from scheduling.admin.tasks import exit_words, job_link
from scheduling.clock import database_now
from scheduling.models import Freeze, Job, Schedule, Task, TaskInstance
from scheduling.states import TASK_CLAIMABLE, TaskStatus

_HOURS: Final = 24
_ROWS: Final = 8
# Beyond these the page says "more than": it must open on the worst day, too.
_COUNT_LIMIT: Final = 10_000
_HISTORY_LIMIT: Final = 100_000

_HISTORY: Final = """
SELECT floor(extract(epoch FROM %(now)s - scheduled_at) / 3600)::int AS hours_ago, status, count(*)
FROM (
    SELECT scheduled_at, status FROM scheduling_task
    WHERE scheduled_at > %(since)s AND scheduled_at <= %(now)s
      AND (%(namespaces)s::text[] IS NULL OR namespace = ANY (%(namespaces)s::text[]))
    ORDER BY scheduled_at DESC LIMIT %(limit)s
) AS recent
GROUP BY 1, 2
"""


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add to the index page's context what this user may see."""
    now = database_now()
    context["title"] = _("Overview")
    if may(request, "agents.view_agent"):
        context |= _agents() | {"can_enrol": may(request, "agents.add_enrollmenttoken")}
    if may(request, "scheduling.view_task"):
        context |= _tasks(request) | _history(request, now=now) | {"failures": _failures(request, now=now)}
    if may(request, "scheduling.view_schedule"):
        context |= {"next_runs": _next_runs(request, now=now), "shows_schedules": True}
    if may(request, "scheduling.view_job"):
        context["is_first_run"] = not seen_by(request, Job.objects.present()).exists()
        context["can_add_job"] = may(request, "scheduling.add_job")
    if may(request, "scheduling.view_freeze"):
        context["freezes"] = freeze_banners(request)
    context["can_freeze"] = may(request, "scheduling.add_freeze")
    context["alert_count"] = open_alerts(request)
    context["has_no_role"] = not any(authority_of_user(request.user).may(name) for name in ALL_PERMISSIONS)
    return context


def _agents() -> dict[str, Any]:
    """Return how many machines there are and how busy they are, with everybody's work: they are shared."""
    agents = list(
        Agent.objects.filter(archived_at__isnull=True).values_list(
            "status", "capabilities__max_concurrent_tasks"
        )
    )
    slots = [slots for status, slots in agents if status in CONNECTED_STATUSES]
    return {
        "shows_agents": True,
        "agent_count": len(agents),
        "online_count": len(slots),
        "slot_count": sum(count for count in slots if isinstance(count, int)),
        "used_count": TaskInstance.objects.live().count(),
    }


def _tasks(request: HttpRequest) -> dict[str, Any]:
    tasks = seen_by(request, Task.objects.all())
    waiting = tasks.filter(status__in=TASK_CLAIMABLE).values("pk")[:_COUNT_LIMIT].count()
    return {
        "shows_tasks": True,
        "running_count": tasks.filter(status=TaskStatus.RUNNING).count(),
        "waiting_count": f"{waiting}+" if waiting >= _COUNT_LIMIT else str(waiting),
    }


def _history(request: HttpRequest, *, now: datetime) -> dict[str, Any]:
    counts = _counts_by_hour(
        namespaces=authority_of_user(request.user).namespaces("scheduling.view_task"), now=now
    )
    done = sum(count for (_hour, status), count in counts.items() if status == TaskStatus.COMPLETED)
    failed = sum(count for (_hour, status), count in counts.items() if status == TaskStatus.FAILED)
    hours = [
        (counts.get((hour, TaskStatus.COMPLETED), 0), counts.get((hour, TaskStatus.FAILED), 0), hour)
        for hour in reversed(range(_HOURS))
    ]
    highest = max((succeeded + broken for succeeded, broken, _hour in hours), default=0) or 1
    return {
        "history_limit": _HISTORY_LIMIT if sum(counts.values()) >= _HISTORY_LIMIT else None,
        "done_count": done,
        "failed_count": failed,
        "success_rate": f"{100 * done / (done + failed):.1f} %" if done + failed else words.MISSING,
        "hours": [
            {
                "title": _hour_title(now=now, hour=hour, done=succeeded, failed=broken),
                "done_percent": round(100 * succeeded / highest),
                "failed_percent": max(round(100 * broken / highest), 4) if broken else 0,
            }
            for succeeded, broken, hour in hours
        ],
    }


def _counts_by_hour(*, namespaces: frozenset[str] | None, now: datetime) -> dict[tuple[int, str], int]:
    """Count the tasks of the last day by hours ago and status; of these namespaces, None for all."""
    parameters: dict[str, Any] = {
        "now": now,
        "since": now - timedelta(hours=_HOURS),
        "limit": _HISTORY_LIMIT,
        "namespaces": None if namespaces is None else sorted(namespaces),
    }
    with connection.cursor() as cursor:
        cursor.execute(_HISTORY, parameters)
        return {(hours_ago, status): count for hours_ago, status, count in cursor.fetchall()}


def _hour_title(*, now: datetime, hour: int, done: int, failed: int) -> str:
    begin = now - timedelta(hours=hour + 1)
    return _("%(begin)s to %(end)s UTC: %(done)d succeeded, %(failed)d failed") % {
        "begin": f"{begin:%H:%M}",
        "end": f"{now - timedelta(hours=hour):%H:%M}",
        "done": done,
        "failed": failed,
    }


def _failures(request: HttpRequest, *, now: datetime) -> list[dict[str, Any]]:
    failed = seen_by(request, Task.objects.filter(status=TaskStatus.FAILED)).order_by("-pk")
    shows_job = is_seen(request, Job, "job")
    tasks = list(failed.select_related("job").annotate(shows_job=shows_job)[:_ROWS])
    latest = seen_by(request, TaskInstance.objects.filter(task__in=tasks))
    latest = latest.order_by("task_id", "-attempt").distinct("task_id")
    attempts = {attempt.task_id: attempt for attempt in latest}
    return [
        {
            "task": task,
            "job": task.job if task.shows_job else "",
            "ended": words.moment(task.completed_at, now=now),
            "exit": exit_words(attempts[task.pk]) if task.pk in attempts else words.MISSING,
            "error": visible(attempts[task.pk].error_message if task.pk in attempts else task.reason),
            "attempt_url": reverse("admin:scheduling_taskinstance_change", args=[attempts[task.pk].pk])
            if task.pk in attempts
            else "",
        }
        for task in tasks
    ]


def _next_runs(request: HttpRequest, *, now: datetime) -> list[dict[str, Any]]:
    schedules = (
        seen_by(request, Schedule.objects.present())
        .filter(status="enabled", next_run_at__isnull=False, job__enabled=True)
        .select_related("job", "calendar")
        .annotate(shows_job=is_seen(request, Job, "job"))
        .order_by("next_run_at")[: 2 * _ROWS]
    )
    frozen = {each.namespace: each for each in Freeze.objects.filter(since__lte=now)}
    found = []
    for schedule in schedules:
        instant, freeze = words.next_run_of(schedule, now=now), frozen.get(schedule.job.namespace)
        is_thawed = freeze is None or (freeze.until is not None and freeze.until <= (instant or now))
        if instant is not None and is_thawed:
            found.append((instant, schedule))
    found.sort(key=lambda pair: pair[0])
    return [
        {
            "job_link": job_link(schedule.job, is_seen=schedule.shows_job),
            "rule": words.rule(schedule),
            "at": words.moment(instant, now=now),
        }
        for instant, schedule in found[:_ROWS]
    ]
