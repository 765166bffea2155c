"""Definitions as files: exported from the list of jobs, and imported there after a look at what changes."""

import contextlib
from typing import TYPE_CHECKING, Any, Final, cast

from django import forms
from django.core.exceptions import PermissionDenied
from django.db import OperationalError
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.decorators import action
from unfold.widgets import UnfoldAdminFileFieldWidget

from access.backends import authority_of_user
from access.callers import actor_of
from rest.permissions import seen
from scheduling.admin.fields import CodeWidget
from scheduling.admin.permissions import may
from scheduling.clock import database_now
from scheduling.definition_file import BadFile, Entry, read, write
from scheduling.models import BulkAction, Job
from scheduling.services import bulk, importing
from scheduling.services.documents import exported

if TYPE_CHECKING:
    from django.contrib.auth.models import User
    from django.core.files.uploadedfile import UploadedFile

    from scheduling.admin.pages import ServiceAdmin as _Base
else:
    _Base = object

# What is exported holds values of the environment; those are for who may change them.
_EXPORT_NEEDS: Final = "scheduling.change_job"
_IMPORT_NEEDS: Final = "scheduling.add_job"
_AT_ONCE_SECS: Final = 1.0


class ImportForm(forms.Form):
    """A file, or its text; `entries` is what it defines."""

    file = forms.FileField(
        label=gettext_lazy("File"),
        required=False,
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".yaml,.yml,.json"}),
    )
    text = forms.CharField(
        label=gettext_lazy("or its text"),
        required=False,
        strip=False,
        widget=CodeWidget(rows=10, placeholder="hetuflow: 1\njobs:\n- name: …"),
        # Django takes no more in a field, and answers a bare 400.
        help_text=gettext_lazy("At most 2 MB; choose a file for more."),
    )
    entries: list[Entry]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        file: UploadedFile[Any] | None = cleaned.get("file")
        text = cleaned.get("text") or ""
        if bool(file) == bool(text.strip()):
            raise forms.ValidationError(_("Choose a file, or paste its text."))
        try:
            self.entries = read(file.read() if file else text.encode("utf-8", "surrogatepass"))
        except BadFile as error:
            self.add_error("file" if file else "text", forms.ValidationError(error.problems))
        return cleaned


class TransfersDefinitions(_Base):
    """The part of the jobs' admin that reads and writes files of definitions."""

    actions_list = ("import_definitions", "export_definitions")

    def has_import_permission(self, request: HttpRequest) -> bool:
        return may(request, _IMPORT_NEEDS)

    def has_export_permission(self, request: HttpRequest) -> bool:
        return may(request, _EXPORT_NEEDS)

    @action(  # type: ignore[untyped-decorator]
        description=gettext_lazy("Import"), url_path="import", icon="upload", permissions=["import"]
    )
    def import_definitions(self, request: HttpRequest) -> HttpResponse:
        """Take a file, and go to the check of what its import would do."""
        form = ImportForm(*((request.POST, request.FILES) if request.method == "POST" else ()))
        if form.is_valid():
            return HttpResponseRedirect(_check_url(request, form.entries))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Import definitions"),
            "form": form,
        }
        return TemplateResponse(request, "admin/scheduling/job/import.html", context)

    @action(  # type: ignore[untyped-decorator]
        description=gettext_lazy("Export"), url_path="export", icon="download", permissions=["export"]
    )
    def export_definitions(self, request: HttpRequest) -> StreamingHttpResponse:
        """Send all jobs that the user may change as a file."""
        return _file_of(request, Job.objects.present())

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        actions: dict[str, Any] = super().get_actions(request)
        if self.actions is not None and "_popup" not in request.GET and self.has_export_permission(request):
            actions["export_selected"] = (_export_selected, "export_selected", gettext_lazy("Export"))
        return actions


def _export_selected(
    model_admin: Any, request: HttpRequest, selected: QuerySet[Job]
) -> StreamingHttpResponse:
    return _file_of(request, Job.objects.present().filter(pk__in=selected.order_by().values("pk")))


def _file_of(request: HttpRequest, jobs: QuerySet[Job]) -> StreamingHttpResponse:
    if not may(request, _EXPORT_NEEDS):
        raise PermissionDenied
    permitted = seen(
        jobs,
        authority=authority_of_user(request.user),
        permission=_EXPORT_NEEDS,
        namespace_path="namespace",
    )
    name = f"hetuflow-{database_now():%Y-%m-%d}.yaml"
    return StreamingHttpResponse(
        (piece.encode() for piece in write(*exported(permitted))),
        content_type="application/yaml; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _check_url(request: HttpRequest, entries: list[Entry]) -> str:
    """Begin a check and return where it is followed."""
    user = cast("User", request.user)
    return worked_on(importing.begin_check(entries=entries, user=user, by=actor_of(request)))


def worked_on(begun: BulkAction) -> str:
    """Do what can be done at once of an action, and return where the rest is followed."""
    with contextlib.suppress(OperationalError):  # a scheduler goes on with it
        bulk.work(begun, for_secs=_AT_ONCE_SECS)
    return reverse("admin:scheduling_bulkaction_change", args=[begun.pk])
