"""The page of one job: how it goes, when it runs next, what it runs; its form is a tab of its own."""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext as _

from scheduling.admin import words
from scheduling.admin.changes import ShowsChanges
from scheduling.admin.config_fields import config_facts
from scheduling.admin.explanations import explanation_panel
from scheduling.admin.freezes import freeze_banners
from scheduling.admin.job_check import ChecksJobs, check_url
from scheduling.admin.job_copy import COPY_OF
from scheduling.admin.permissions import may, seen_by
from scheduling.admin.reasons import reason_words
from scheduling.admin.run_pictures import attempts_picture, runs_picture
from scheduling.admin.schedule_preview import PREVIEWED, clock_remarks, instant_row
from scheduling.admin.tasks import tasks_url
from scheduling.clock import database_now
from scheduling.kinds import ScheduleStatus
from scheduling.models import Job, Schedule, Task, TaskInstance
from scheduling.services.definitions import SUPPORTED_KINDS
from scheduling.services.explaining import explain_job
from scheduling.services.previewing import ComingRun, coming_runs, frozen_span
from scheduling.services.restoring import restore_job
from scheduling.services.run_history import history_of

if TYPE_CHECKING:
    from scheduling.admin.pages import ServiceAdmin as _Base
else:
    _Base = object

# The parameter of the address that shows the form in place of how the job goes, and its value.
_TAB: Final = "tab"
_DEFINITION: Final = "definition"
_LIVE_SECS: Final = 5


class ShowsJob(ShowsChanges, ChecksJobs, _Base):
    """Draws the page of a job, renewed while one looks, and its definition in a tab beside it."""

    change_form_outer_before_template = "admin/scheduling/job/head.html"
    change_permission = "scheduling.change_job"

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        job = kwargs.get("obj")
        context["shows_form"] = True
        context["check_url"] = check_url(job) if self._may_save(request, job) else ""
        if job is not None:
            now = database_now()
            context["shows_form"] = request.method == "POST" or request.GET.get(_TAB) == _DEFINITION
            context |= self._head(request, job)
            context["tab"] = _DEFINITION if context["shows_form"] else ""
            if not context["shows_form"]:
                context |= self._overview(request, job, now=now)
        return super().render_change_form(request, context, *args, **kwargs)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        """Show the job after it was saved, or its form once more."""
        response = super().response_change(request, obj)
        if "_continue" in request.POST:
            return HttpResponseRedirect(f"{self.change_url(obj)}?{_TAB}={_DEFINITION}")
        if "_save" in request.POST:
            return HttpResponseRedirect(self.change_url(obj))
        return response

    def restore_by_service(self, object_id: int, **how: Any) -> Job:
        """Make a job again what it was."""
        return restore_job(job_id=object_id, **how)

    def changes_head(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """Return the head that all tabs of a job have."""
        return {**self._head(request, obj), "tab": "changes"}

    def _head(self, request: HttpRequest, job: Job) -> dict[str, Any]:
        page = self.change_url(job)
        return {
            "buttons": self.shown_buttons(request, job),
            "freezes": freeze_banners(request, namespace=job.namespace),
            "overview_url": page,
            "definition_url": f"{page}?{_TAB}={_DEFINITION}",
            "changes_url": self._history_url(job),
            "run_url": reverse("admin:scheduling_job_run", args=[job.pk])
            if may(request, "scheduling.add_task", job)
            else "",
            "copy_url": f"{reverse('admin:scheduling_job_add')}?{COPY_OF}={job.pk}"
            if may(request, "scheduling.add_job")
            else "",
            "archive_url": reverse("admin:scheduling_job_delete", args=[job.pk])
            if self.has_delete_permission(request, job)
            else "",
            "may_save": self._may_save(request, job),
        }

    def _overview(self, request: HttpRequest, job: Job, *, now: datetime) -> dict[str, Any]:
        return {
            "live_secs": _LIVE_SECS,
            "explanation": _explanation(request, job, now=now),
            "command": config_facts(job.config),
            "environment_names": sorted(job.environment),
            **_schedules(request, job, now=now),
            **_runs(request, job, now=now),
        }


def _explanation(request: HttpRequest, job: Job, *, now: datetime) -> dict[str, Any] | None:
    """Return why the job runs or does not; it names agents and schedules, for those who see these."""
    if not may(request, "agents.view_agent") or not may(request, "scheduling.view_schedule", job):
        return None
    return explanation_panel(request, explain_job(job=job, now=now))


def _runs(request: HttpRequest, job: Job, *, now: datetime) -> dict[str, Any]:
    """Return how the latest runs went, for those who see tasks and attempts."""
    if not may(request, "scheduling.view_task", job) or not may(request, "scheduling.view_taskinstance", job):
        return {}
    found = history_of(
        job,
        tasks=seen_by(request, Task.objects.all()),
        attempts=seen_by(request, TaskInstance.objects.all()),
        now=now,
    )
    return {
        "shows_runs": True,
        "runs": runs_picture(found),
        "attempts": attempts_picture(found.attempts, now=now),
        "all_tasks_url": tasks_url(job.pk),
    }


def _schedules(request: HttpRequest, job: Any, *, now: datetime) -> dict[str, Any]:
    """Return the job's schedules and the next instants of all of them, for those who see schedules."""
    if not may(request, "scheduling.view_schedule", job):
        return {}
    schedules: list[Schedule] = job.present_schedules
    add_url = f"{reverse('admin:scheduling_schedule_add')}?job={job.pk}"
    instants, remarks = _upcoming(job, schedules, now=now)
    return {
        "shows_schedules": True,
        "schedules": [
            {
                "schedule": each,
                "rule": words.rule(each),
                "next": words.moment(words.next_run_of(each, now=now), now=now),
                "state": words.badge(
                    each.status, each.get_status_display(), title=reason_words(each.problem)
                ),
            }
            for each in schedules
        ],
        "instants": instants,
        "remarks": remarks,
        "add_schedule_url": add_url if may(request, "scheduling.add_schedule", job) else "",
    }


def _upcoming(
    job: Job, schedules: Iterable[Schedule], *, now: datetime
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the next instants of all schedules in the order of time, and what is to be said of them."""
    planned = [each for each in schedules if _is_planned(each)]
    frozen = frozen_span(job.namespace, now=now) if planned else None
    coming = [
        (run, schedule)
        for schedule in planned
        for run in coming_runs(schedule, now=now, count=PREVIEWED, frozen=frozen)
    ]
    shown = sorted(coming, key=lambda pair: pair[0].time.utc)[:PREVIEWED]
    rows = [
        instant_row(run, now=now, zone=schedule.timezone)
        | {"rule": (schedule.name or words.rule(schedule)) if len(planned) > 1 else ""}
        for run, schedule in shown
    ]
    remarks = [] if job.enabled else [_("The job is disabled; its schedules do not run it.")]
    for schedule in planned:
        of_it: list[ComingRun] = [run for run, of in shown if of is schedule]
        remarks += [note for note in clock_remarks(schedule, of_it, now=now) if note not in remarks]
    return rows, remarks


def _is_planned(schedule: Schedule) -> bool:
    """Whether the instants of a schedule can be told beforehand."""
    if schedule.status != ScheduleStatus.ENABLED or schedule.kind not in SUPPORTED_KINDS or schedule.problem:
        return False
    # Where each run follows the end of the one before, the next is not known while that one runs.
    return not schedule.counts_from_the_end or schedule.next_run_at is not None
