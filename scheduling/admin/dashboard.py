"""The first page: how the installation is doing, renewed every few seconds."""

from datetime import datetime
from typing import Any, Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from access.backends import authority_of_user
from access.roles import ALL_PERMISSIONS
from rest.controls import visible
from scheduling.admin import overview, words
from scheduling.admin.alerts import open_alerts
from scheduling.admin.attempts import exit_words
from scheduling.admin.freezes import freeze_banners
from scheduling.admin.overview_picture import delay_picture, hour_rows, legend
from scheduling.admin.overview_waiting import held_rows, waiting_rows
from scheduling.admin.permissions import may, seen_by
from scheduling.admin.reasons import reason_words
from scheduling.admin.tasks import job_link
from scheduling.models import Job, Task
from scheduling.services.run_counts import DAY, Runs
from scheduling.states import Outcome, TaskStatus

# Short of a difference like this, a day is like the one before.
_POINTS: Final = 0.05


def dashboard(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add to the index page's context what this user may see."""
    return context | {"title": _("Overview")} | _overview(request)


def overview_view(request: HttpRequest) -> HttpResponse:
    """Return that part of the first page alone that is renewed."""
    return render(request, "admin/hetuflow/overview.html", _overview(request))


def _overview(request: HttpRequest) -> dict[str, Any]:
    sight = overview.sight_of(request)
    context: dict[str, Any] = {
        "overview_url": reverse("overview"),
        "rendered_at": timezone.now().isoformat(),
        "as_of": words.time_of_day(timezone.now()),
        "alert_count": open_alerts(request),
        "can_freeze": may(request, "scheduling.add_freeze"),
        "has_no_role": not any(authority_of_user(request.user).may(name) for name in ALL_PERMISSIONS),
    }
    if sight.agents:
        context |= _machines(overview.machines())
        context["can_enrol"] = may(request, "agents.add_enrollmenttoken")
    if may(request, "scheduling.view_task"):
        context |= _tasks(overview.figures(sight), sight)
    if may(request, "scheduling.view_schedule"):
        context |= {"next_runs": _next_runs(sight), "shows_schedules": True}
        context["held"] = held_rows(overview.held(sight))
    if may(request, "scheduling.view_job"):
        context["is_first_run"] = not seen_by(request, Job.objects.present()).exists()
        context["can_add_job"] = may(request, "scheduling.add_job")
    if may(request, "scheduling.view_freeze"):
        context["freezes"] = freeze_banners(request)
    return context


def _machines(found: overview.Machines) -> dict[str, Any]:
    return {
        "shows_agents": True,
        "agent_count": found.agents,
        "online_count": found.online,
        "slot_count": found.slots,
        "used_count": found.used,
        "used_percent": min(100, round(100 * found.used / found.slots)) if found.slots else 0,
    }


def _tasks(found: overview.Figures, sight: overview.Sight) -> dict[str, Any]:
    ended, outcomes = found.runs.by_status(), found.runs.by_outcome()
    waiting = sum(each.number for each in found.waiting)
    return {
        "shows_tasks": True,
        "as_of": words.time_of_day(found.now),
        "running_count": _number(found.running, is_more=found.running >= overview.COUNT_LIMIT),
        "waiting_count": _number(waiting, is_more=any(each.is_more for each in found.waiting)),
        "waiting": waiting_rows(found, sight),
        "done_count": _number(ended[TaskStatus.COMPLETED]),
        "failed_count": _number(ended[TaskStatus.FAILED]),
        "off_time_count": _number(sum(outcomes[each] for each in overview.OFF_TIME)),
        "missed_count": _number(outcomes[Outcome.MISSED]),
        **_success(found.runs, found.before),
        "counted_since": words.time_of_day(found.runs.since) if found.runs.is_part else "",
        "is_cut": found.runs.is_cut,
        "counted_at": words.time_of_day(found.runs.counted_at) if found.is_aged else "",
        "legend": legend(found.runs),
        **hour_rows(found),
        "delay": delay_picture(found),
        "off_time": [_off_time(task, sight, now=found.now) for task in found.off_time],
        "failures": [_failure(each, sight, now=found.now) for each in found.failures],
    }


def _success(runs: Runs, before: Runs) -> dict[str, Any]:
    """Return the rate of success, and how it differs from that of the day before, once that is counted."""
    rate, rate_before = runs.success_rate, None if before.is_part else before.success_rate
    failed_before = before.by_status()[TaskStatus.FAILED]
    found = {
        "success_rate": words.MISSING if rate is None else f"{100 * rate:.1f} %",
        "failed_before": "" if rate_before is None else _number(failed_before),
        "trend": "",
    }
    if rate is not None and rate_before is not None:
        points = 100 * (rate - rate_before)
        kind = "same" if abs(points) < _POINTS else "up" if points > 0 else "down"
        values = {"points": f"{abs(points):.1f}", "before": f"{100 * rate_before:.1f} %"}
        said = {
            "same": _("as the day before"),
            "up": _("%(points)s points better than the day before: %(before)s"),
            "down": _("%(points)s points worse than the day before: %(before)s"),
        }[kind]
        found |= {"trend": kind, "trend_points": values["points"], "trend_words": said % values}
    return found


def _off_time(task: Any, sight: overview.Sight, *, now: datetime) -> dict[str, Any]:
    return {
        "url": reverse("admin:scheduling_task_change", args=[task.pk]),
        "job": _job_name(task, sight),
        "planned": words.moment(task.scheduled_at, now=now),
        "outcome": words.badge(task.outcome, Outcome(task.outcome).label),
        "reason": reason_words(task.reason),
        "instants": task.instants if task.instants > 1 else 0,
        "ledger_url": _ledger_url(task, sight),
    }


def _ledger_url(task: Any, sight: overview.Sight) -> str:
    schedule = task.schedule
    if schedule is None or schedule.archived_at is not None:
        return ""
    is_seen = sight.schedules is None or task.job.namespace in sight.schedules
    return reverse("admin:scheduling_schedule_ledger", args=[schedule.pk]) if is_seen else ""


def _failure(failure: overview.Failure, sight: overview.Sight, *, now: datetime) -> dict[str, Any]:
    task, attempt, line = failure
    return {
        "task": task,
        "url": reverse("admin:scheduling_task_change", args=[task.pk]),
        "job": _job_name(task, sight),
        "ended": words.moment(task.completed_at, now=now),
        "exit": words.MISSING if attempt is None else exit_words(attempt),
        "line": visible(line),
        "error": visible(reason_words(task.reason if attempt is None else attempt.error_message)),
        "attempt_url": ""
        if attempt is None
        else reverse("admin:scheduling_taskinstance_change", args=[attempt.pk]),
    }


def _job_name(task: Task, sight: overview.Sight) -> str:
    return str(task.job) if sight.shows(task.job) else ""


def _next_runs(sight: overview.Sight) -> list[dict[str, Any]]:
    now = timezone.now()
    return [
        {
            "key": f"{schedule.pk}-{instant.timestamp():.0f}",
            "job_link": job_link(schedule.job, is_seen=sight.shows(schedule.job)),
            "rule": words.rule(schedule),
            "at": words.moment(instant, now=now),
            "clock": words.shown(instant, "%H:%M:%S" if instant - now < DAY else "%m-%d %H:%M"),
            "instant": instant.isoformat(),
        }
        for instant, schedule in overview.upcoming(sight)
    ]


def _number(count: int, *, is_more: bool = False) -> str:
    """Return a number with its thousands apart."""
    return f"{count:,}+" if is_more else f"{count:,}"
