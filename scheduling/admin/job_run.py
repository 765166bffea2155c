"""Running a job by hand: a form made from the schema of its parameters, or one for JSON where it has none."""

from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from access.callers import actor_of
from scheduling.admin.fields import EditorWidget, JSONObjectField
from scheduling.admin.parameter_fields import ABSENT, parameter_fields, takes_others
from scheduling.admin.permissions import may
from scheduling.clock import database_now
from scheduling.errors import InvalidField, SchedulingError
from scheduling.models import Job, Task
from scheduling.services.manual import trigger_job

if TYPE_CHECKING:
    from scheduling.admin.pages import ServiceAdmin as _Base
else:
    _Base = object

# What stands before the names of parameters in the form and in what services refuse.
_PREFIX: Final = "parameters."


class RunForm(forms.Form):
    """What a run by hand may bring along: the parameters that the job's schema describes, and any others."""

    parameters = JSONObjectField(
        label=gettext_lazy("Parameters"),
        widget=EditorWidget(rows=5, placeholder='{"day": "monday"}'),
        help_text=gettext_lazy("A JSON object. The command finds each as $HETUFLOW_PARAM_NAME. Empty: none."),
    )
    priority = forms.IntegerField(
        label=gettext_lazy("Priority"),
        initial=0,
        min_value=-(2**31),
        max_value=2**31 - 1,
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "numeric"}),
        help_text=gettext_lazy("Higher ones go first where agents are short."),
    )
    force = forms.BooleanField(
        label=gettext_lazy("Run although the job is disabled"),
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
    )

    def __init__(self, *args: Any, job: Job, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if job.enabled:
            del self.fields["force"]
        self._described: dict[str, str] = {}
        if job.parameters_schema is not None:
            self._ask_for(parameter_fields(job.parameters_schema))
            if takes_others(job.parameters_schema):
                self.fields["parameters"].label = _("Further parameters")
            else:
                del self.fields["parameters"]

    def _ask_for(self, described: dict[str, forms.Field]) -> None:
        self._described = {f"{_PREFIX}{name}": name for name in described}
        named = {f"{_PREFIX}{name}": field for name, field in described.items()}
        self.fields = named | self.fields

    def clean(self) -> dict[str, Any]:
        """Put the parameters together; those that nothing was said about are left out."""
        cleaned = self.cleaned_data
        parameters = dict(cleaned.get("parameters") or {})
        for field, name in self._described.items():
            if name in parameters:
                self.add_error("parameters", _("“%(name)s” has a field of its own.") % {"name": name})
            if cleaned.get(field, ABSENT) is not ABSENT:
                parameters[name] = cleaned[field]
        return {name: cleaned[name] for name in ("priority", "force") if name in cleaned} | {
            "parameters": parameters
        }

    def refuse(self, error: InvalidField) -> None:
        """Show what the service refused, each at its field."""
        for name, message in error.errors.items():
            if name in self.fields:
                self.add_error(name, message)
            elif "parameters" in self.fields and name.startswith("parameters"):
                below = name.removeprefix("parameters").removeprefix(".")
                self.add_error("parameters", f"{below}: {message}" if below else message)
            else:
                self.add_error(None, f"{name}: {message}")


class RunsJobs(_Base):
    """The page on which a job is run by hand."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.run_view)
        return [path("<int:object_id>/run/", view, name="scheduling_job_run"), *super().get_urls()]

    def run_view(self, request: HttpRequest, object_id: int) -> HttpResponseBase:
        """Ask for parameters, then run the job now and show the task."""
        job = self.object_or_redirect(request, str(object_id))
        if isinstance(job, HttpResponse):
            return job
        if not may(request, "scheduling.add_task", job):
            raise PermissionDenied
        form = RunForm(request.POST or None, job=job)
        if request.method == "POST" and form.is_valid():
            task = _run(request, job, form)
            if task is not None:
                self.message_user(request, _("A task was created; it starts as soon as an agent is free."))
                return HttpResponseRedirect(reverse("admin:scheduling_task_change", args=[task.pk]))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": job,
            "title": _("Run %(job)s now") % {"job": job},
            "form": form,
            "about": (job.parameters_schema or {}).get("description", ""),
        }
        return TemplateResponse(request, "admin/scheduling/job/run.html", context)


def _run(request: HttpRequest, job: Job, form: RunForm) -> Task | None:
    try:
        return trigger_job(job=job, now=database_now(), by=actor_of(request), **form.cleaned_data)
    except InvalidField as error:
        form.refuse(error)
    except SchedulingError as error:
        form.add_error(None, str(error))
    return None
