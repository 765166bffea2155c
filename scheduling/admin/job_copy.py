"""A job that begins as a copy of another one, with its schedules if one says so."""

from typing import TYPE_CHECKING, Any, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from unfold.widgets import UnfoldBooleanSwitchWidget

from access.callers import actor_of
from scheduling.admin.config_fields import config_initial
from scheduling.admin.permissions import permit, seen_by
from scheduling.clock import database_now
from scheduling.models import Job, Schedule
from scheduling.services.copying import copy_schedules

if TYPE_CHECKING:
    from scheduling.admin.pages import ServiceAdmin as _Base
else:
    _Base = object

# The parameter with which the form of a new job begins as a copy.
COPY_OF: Final = "copy_of"
_WITH_SCHEDULES: Final = "with_schedules"
_MAX_ID: Final = 2**63 - 1


class CopiesJobs(_Base):
    """Fills the form of a new job with what another one has, and offers to copy the schedules of that one."""

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        copied = self._copied(request)
        return initial | ({} if copied is None else _copied_fields(copied))

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        count = 0 if obj is not None else self._schedules_to_copy(request)
        return type("CopyForm", (form,), {_WITH_SCHEDULES: _switch(count)}) if count else form

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        fieldsets = super().get_fieldsets(request, obj)
        if obj is not None or not self._schedules_to_copy(request):
            return fieldsets
        (title, options), *others = fieldsets
        return ((title, options | {"fields": (*options["fields"], _WITH_SCHEDULES)}), *others)

    def give_schedules(self, request: HttpRequest, job: Job, form: Any) -> None:
        """Give a job that was just made the schedules of the one that it copies, where that is wanted."""
        copied = self._copied(request)
        if copied is None or not form.cleaned_data.get(_WITH_SCHEDULES):
            return
        number = copy_schedules(
            of_job_id=copied.pk,
            to=job,
            now=database_now(),
            by=actor_of(request),
            permit=permit(request, "scheduling.add_schedule"),
        )
        text = ngettext(
            "%(n)d schedule was copied; it is disabled.",
            "%(n)d schedules were copied; they are disabled.",
            number,
        )
        self.message_user(request, text % {"n": number}, messages.SUCCESS)

    def _copied(self, request: HttpRequest) -> Job | None:
        """Return the job that is to be duplicated, where one is and the user sees it."""
        number = request.GET.get(COPY_OF, "")
        if not number.isascii() or not number.isdigit():
            return None
        found: Job | None = self.get_queryset(request).filter(pk=min(int(number), _MAX_ID)).first()
        return found

    def _schedules_to_copy(self, request: HttpRequest) -> int:
        """Return how many schedules may be copied, by one who sees them and may add some somewhere."""
        copied = self._copied(request)
        if copied is None or not request.user.has_perm("scheduling.add_schedule"):
            return 0
        count: int = seen_by(request, Schedule.objects.present().filter(job=copied)).count()
        return count


def _switch(count: int) -> forms.BooleanField:
    label = ngettext("Copy its schedule, too", "Copy its %(n)d schedules, too", count)
    return forms.BooleanField(
        label=label % {"n": count},
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text=_("The copies are disabled, so that nothing runs before you enable them."),
    )


def _copied_fields(job: Job) -> dict[str, Any]:
    """Return what the form of a new job begins with that is to be a copy; it is not enabled at first."""
    names = ("namespace", "description", "command", "environment", "parameters_schema", "tags")
    return {
        **{name: getattr(job, name) for name in names},
        **config_initial(job.config),
        "name": _("%(name)s copy") % {"name": job.name},
        "enabled": False,
    }
