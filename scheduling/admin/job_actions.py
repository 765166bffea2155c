"""What is done to jobs by a button on their page, or to several of them in the list."""

from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from access.callers import actor_of
from scheduling.admin.bulk import BulkActions
from scheduling.admin.pages import Button, ServiceAdmin
from scheduling.admin.permissions import permit
from scheduling.clock import database_now
from scheduling.kinds import BulkVerb
from scheduling.models import Job
from scheduling.services.definitions import update_job


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


class JobActions(BulkActions, ServiceAdmin):
    """The buttons and actions of jobs; each job is asked whether the user may."""

    bulk_verbs = (
        BulkVerb.RUN_JOBS,
        BulkVerb.ENABLE_JOBS,
        BulkVerb.DISABLE_JOBS,
        BulkVerb.ARCHIVE_JOBS,
    )
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
