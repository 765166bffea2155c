"""What is wrong with the form of a job while somebody fills it in, said before it is saved."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.views.decorators.http import require_POST

from scheduling.models import Job
from scheduling.services.definitions import job_problems

if TYPE_CHECKING:
    from scheduling.admin.pages import ServiceAdmin as _Base
else:
    _Base = object

_PANEL: Final = "admin/scheduling/job/problems.html"


def check_url(job: Job | None) -> str:
    """Return where the form of a job is looked at; None is a new one."""
    if job is None:
        return reverse("admin:scheduling_job_check")
    return reverse("admin:scheduling_job_check_change", args=[job.pk])


class ChecksJobs(_Base):
    """Answers a form as it stands with what is wrong with it; stores nothing."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.check_view))
        return [
            path("check/", view, name="scheduling_job_check"),
            path("<int:object_id>/check/", view, name="scheduling_job_check_change"),
            *super().get_urls(),
        ]

    def check_view(self, request: HttpRequest, object_id: int | None = None) -> HttpResponse:
        """Say what of a form would be refused, as far as it was filled in."""
        stored = self.filled_in_for(request, object_id)
        if isinstance(stored, HttpResponse):
            return stored
        instance = stored or Job()
        form = self.get_form(request, stored, change=stored is not None)(request.POST, instance=instance)
        form.full_clean()
        found = {name: str(messages[0]) for name, messages in form.errors.items()}
        if not found:
            refused = job_problems(_as_filled_in(instance, form.service_fields()))
            found = {
                field or name: text
                for name, told in refused.items()
                for field, text in (form.told_at(name, told),)
            }
        problems = [
            {"field": name, "label": form.fields[name].label if name in form.fields else "", "text": text}
            for name, text in found.items()
            # Who has not come to a field yet is not scolded for it.
            if name not in form.fields or form[name].value() not in (None, "", [], {})
        ]
        return TemplateResponse(request, _PANEL, {"problems": problems})


def _as_filled_in(stored: Job, fields: Mapping[str, Any]) -> Job:
    """Return a job as it would be with these fields; the stored one stays as it is."""
    job = Job(pk=stored.pk)
    for name in ("namespace", "name", "description", "command", "environment", "tags", "parameters_schema"):
        setattr(job, name, fields.get(name, getattr(stored, name)))
    job.config = {**stored.config, **fields.get("config", {})}
    return job
