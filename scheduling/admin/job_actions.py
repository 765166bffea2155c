"""What is done to jobs by a button on their page, or to several of them in the list."""

from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from access.callers import actor_of
from scheduling.admin.pages import Button, ServiceAdmin
from scheduling.admin.permissions import may, permit
from scheduling.clock import database_now
from scheduling.errors import SchedulingError
from scheduling.models import Job
from scheduling.services.definitions import update_job
from scheduling.services.manual import trigger_job


def _set_enabled(job_admin: Any, request: HttpRequest, job: Job, *, enabled: bool) -> str:
    update_job(
        job_id=job.pk,
        now=database_now(),
        by=actor_of(request),
        permit=permit(request, "scheduling.switch_job"),
        enabled=enabled,
    )
    return (
        _("The job is enabled.")
        if enabled
        else _("The job is disabled; waiting runs of its schedules are skipped.")
    )


def enable(job_admin: Any, request: HttpRequest, job: Job) -> str:
    return _set_enabled(job_admin, request, job, enabled=True)


def disable(job_admin: Any, request: HttpRequest, job: Job) -> str:
    return _set_enabled(job_admin, request, job, enabled=False)


class JobActions(ServiceAdmin):
    """The buttons and actions of jobs; each job is asked whether the user may."""

    actions = ("run_selected", "enable_selected", "disable_selected")
    buttons = (
        Button(
            name="enable",
            label=gettext_lazy("Enable"),
            icon="play_circle",
            press=enable,
            permission="scheduling.switch_job",
            is_shown=lambda job: not job.enabled,
        ),
        Button(
            name="disable",
            label=gettext_lazy("Disable"),
            icon="pause_circle",
            press=disable,
            permission="scheduling.switch_job",
            is_shown=lambda job: job.enabled,
        ),
    )

    def has_switch_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, "scheduling.switch_job", obj)

    def has_run_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return may(request, "scheduling.add_task", obj)

    @admin.action(description=gettext_lazy("Run now …"), permissions=["run"])
    def run_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> HttpResponse | None:
        """Run the selected jobs once each, after asking."""
        jobs = self.permitted(request, queryset, self.has_run_permission)
        if not jobs:
            return None
        if "confirmed" not in request.POST:
            context = {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": _("Run these jobs now?"),
                "jobs": jobs,
                "checkbox": ACTION_CHECKBOX_NAME,
            }
            return TemplateResponse(request, "admin/scheduling/job/run_selected.html", context)
        started = 0
        for job in jobs:
            try:
                trigger_job(job=job, now=database_now(), by=actor_of(request))
                started += 1
            except SchedulingError as error:
                self.message_user(request, f"{job}: {error}", messages.ERROR)
        if started:
            text = ngettext("%(n)d task was created.", "%(n)d tasks were created.", started)
            self.message_user(request, text % {"n": started}, messages.SUCCESS)
        return None

    @admin.action(description=gettext_lazy("Enable"), permissions=["switch"])
    def enable_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        for job in self.permitted(request, queryset, self.has_switch_permission):
            enable(self, request, job)

    @admin.action(description=gettext_lazy("Disable"), permissions=["switch"])
    def disable_selected(self, request: HttpRequest, queryset: QuerySet[Job]) -> None:
        for job in self.permitted(request, queryset, self.has_switch_permission):
            disable(self, request, job)
