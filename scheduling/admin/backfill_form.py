"""Ask for a backfill on the page of a schedule, with a preview of the instants that it would run."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Final
from zoneinfo import ZoneInfo

from django import forms
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from access.callers import actor_of
from scheduling.admin import words
from scheduling.admin.permissions import may, permit, seen_by
from scheduling.clock import database_now
from scheduling.errors import BadRange, InvalidField, SchedulingError
from scheduling.kinds import BackfillFailure, BackfillOverlap
from scheduling.models import Backfill, Schedule
from scheduling.services.backfills import LIVE, MAX_PARALLEL, Survey, create_backfill, survey

if TYPE_CHECKING:
    from scheduling.admin.pages import ServiceAdmin as _Base
else:
    _Base = object

_SHOWN: Final = 10
_UNDER_WAY: Final = 5
# What the service refuses, in the words of people; by the word that it gives as reason.
_REFUSALS: Final = {
    "reversed": gettext_lazy("The end must come after the beginning."),
    "future": gettext_lazy("The end lies in the future; what is to come, the schedule runs by itself."),
    "no_rule": gettext_lazy("It counts from the end of its runs, so it has no instants to run again."),
    "empty": gettext_lazy("The schedule has no instant in this range."),
    "too_many": gettext_lazy("These are more than %(n)s instants; shorten the range."),
    "forbidden": gettext_lazy("The calendar forbids every instant of this range (%(n)s)."),
}


class ZonedTimeField(forms.Field):
    """A date and time by the reader's clocks, in one field of the browser.

    Of a local time that comes twice, or never, the earlier instant is meant; with `is_end` the later one.
    """

    def __init__(self, *, is_end: bool = False, **kwargs: Any) -> None:
        widget = UnfoldAdminTextInputWidget(attrs={"type": "datetime-local", "step": "1", "class": "hf-when"})
        super().__init__(widget=widget, **kwargs)
        self._is_end = is_end

    def to_python(self, value: Any) -> datetime | None:
        if value in self.empty_values:
            return None
        try:
            found = parse_datetime(str(value))
        except ValueError:
            found = None
        if found is None or not 1971 <= found.year <= 9000:
            raise ValidationError(_("Expected a time such as 2026-05-01 00:00."))
        if found.tzinfo is not None:
            return found
        zone = timezone.get_current_timezone()
        both = [found.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        return max(both) if self._is_end else min(both)


class BackfillForm(forms.Form):
    range_from = ZonedTimeField(label=gettext_lazy("From"))
    range_to = ZonedTimeField(
        label=gettext_lazy("To"),
        is_end=True,
        help_text=words.entered_in_zone(gettext_lazy("Both ends belong to the range.")),
    )
    parallel = forms.IntegerField(
        label=gettext_lazy("At most at once"),
        min_value=1,
        max_value=MAX_PARALLEL,
        initial=1,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text=gettext_lazy("So many of its runs wait or go on at once, in the order of their instants."),
    )
    overlap = forms.ChoiceField(
        label=gettext_lazy("Beside the schedule's own runs"),
        choices=BackfillOverlap.choices,
        initial=BackfillOverlap.QUEUE,
        widget=UnfoldAdminSelectWidget(),
    )
    on_failure = forms.ChoiceField(
        label=gettext_lazy("When a run fails"),
        choices=BackfillFailure.choices,
        initial=BackfillFailure.CONTINUE,
        widget=UnfoldAdminSelectWidget(),
        help_text=gettext_lazy("Its retries come first. A backfill that pauses raises an alert."),
    )
    only_missing = forms.BooleanField(
        label=gettext_lazy("Leave out what was completed"),
        required=False,
        widget=UnfoldBooleanSwitchWidget(),
        help_text=gettext_lazy("Only instants run of which no run was completed, waits or goes on."),
    )

    def refuse(self, errors: Mapping[str, Any]) -> None:
        """Say at the fields what is wrong with them."""
        for name, message in errors.items():
            self.add_error(name if name in self.fields else None, message)


class BackfillsSchedules(_Base):
    """Schedules with a page on which a range of their past is asked to be run."""

    form_template: ClassVar = "admin/scheduling/backfill/form.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        preview = view(require_POST(self.backfill_preview_view))
        return [
            path("<int:object_id>/backfill/", view(self.backfill_view), name="scheduling_schedule_backfill"),
            path("<int:object_id>/backfill/preview/", preview, name="scheduling_schedule_backfill_preview"),
            *super().get_urls(),
        ]

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["backfill_url"] = backfill_url(request, kwargs.get("obj"))
        return super().render_change_form(request, context, *args, **kwargs)

    def backfill_view(self, request: HttpRequest, object_id: int) -> HttpResponseBase:
        """Show the form; where it is sent and sound, ask for the backfill and show that."""
        schedule = self._schedule_to_backfill(request, object_id)
        if isinstance(schedule, HttpResponse):
            return schedule
        now = database_now()
        form = BackfillForm(
            request.POST or None, initial=_initial(request.GET, zone=schedule.timezone, now=now)
        )
        if request.method == "POST" and form.is_valid():
            backfill = _asked_for(request, schedule, form, now=now)
            if backfill is not None:
                self.message_user(request, _("The backfill is under way."))
                return HttpResponseRedirect(reverse("admin:scheduling_backfill_change", args=[backfill.pk]))
        live = seen_by(request, Backfill.objects.filter(schedule=schedule, status__in=LIVE)).order_by("-pk")
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": schedule,
            "title": _("Run the past of %(schedule)s") % {"schedule": schedule},
            "rule": words.rule(schedule),
            "form": form,
            "under_way": live[:_UNDER_WAY],
            "preview_url": reverse("admin:scheduling_schedule_backfill_preview", args=[schedule.pk]),
        }
        return TemplateResponse(request, self.form_template, context)

    def backfill_preview_view(self, request: HttpRequest, object_id: int) -> HttpResponseBase:
        """Answer a form that is being filled in with what it would run, or what is wrong with it."""
        schedule = self._schedule_to_backfill(request, object_id)
        if isinstance(schedule, HttpResponse):
            return schedule
        form = BackfillForm(request.POST)
        found = None
        if form.is_valid():
            found = _surveyed(schedule, form, now=database_now())
        context = {
            "problems": [
                {"field": name, "label": form.fields[name].label if name in form.fields else "", "text": text}
                for name, messages in form.errors.items()
                for text in messages
            ],
            **({} if found is None else _described(found, zone=schedule.timezone)),
        }
        return TemplateResponse(request, "admin/scheduling/backfill/preview.html", context)

    def _schedule_to_backfill(self, request: HttpRequest, object_id: int) -> Any:
        schedule = self.object_or_redirect(request, str(object_id))
        if not isinstance(schedule, HttpResponse) and not may(request, "scheduling.add_backfill", schedule):
            raise PermissionDenied
        return schedule


def backfill_url(request: HttpRequest, schedule: Schedule | None) -> str:
    """Return where a backfill of a schedule is asked for; empty where that cannot be, or not by this user."""
    if schedule is None or schedule.counts_from_the_end:
        return ""
    if not may(request, "scheduling.add_backfill", schedule):
        return ""
    return reverse("admin:scheduling_schedule_backfill", args=[schedule.pk])


def _initial(given: Mapping[str, str], *, zone: str, now: datetime) -> dict[str, str]:
    """Return the range that the link names, or else what the schedule's zone calls yesterday."""
    midnight = now.astimezone(ZoneInfo(zone)).replace(hour=0, minute=0, second=0, microsecond=0)
    range_from, range_to = midnight - timedelta(days=1), midnight.astimezone(UTC) - timedelta(seconds=1)
    initial = {"range_from": _entered(range_from), "range_to": _entered(range_to)}
    for name, key in (("range_from", "from"), ("range_to", "to")):
        try:
            asked = ZonedTimeField().to_python(given.get(key))
        except ValidationError:
            continue
        if asked is not None:
            initial[name] = _entered(min(asked, now))
    return initial


def _entered(instant: datetime) -> str:
    return words.told(instant, "%Y-%m-%dT%H:%M:%S")


def _asked_for(
    request: HttpRequest, schedule: Schedule, form: BackfillForm, *, now: datetime
) -> Backfill | None:
    try:
        return create_backfill(
            schedule_id=schedule.pk,
            now=now,
            by=actor_of(request),
            permit=permit(request, "scheduling.add_backfill"),
            **form.cleaned_data,
        )
    except InvalidField as error:
        form.refuse(_worded(error))
    except SchedulingError as error:
        form.add_error(None, str(error))
    return None


def _surveyed(schedule: Schedule, form: BackfillForm, *, now: datetime) -> Survey | None:
    values = form.cleaned_data
    try:
        return survey(
            schedule=schedule, range_from=values["range_from"], range_to=values["range_to"], now=now
        )
    except InvalidField as error:
        form.refuse(_worded(error))
    return None


def _worded(error: InvalidField) -> dict[str, str]:
    if not isinstance(error, BadRange):
        return error.errors
    return dict.fromkeys(error.errors, _REFUSALS[error.reason] % {"n": error.count})


def _described(found: Survey, *, zone: str) -> dict[str, Any]:
    instants = found.instants
    return {
        "total": len(instants),
        "forbidden": found.forbidden,
        "first": [_instant(instant, zone) for instant in instants[:_SHOWN]],
        "more": max(0, len(instants) - _SHOWN - 1),
        "last": _instant(instants[-1], zone) if len(instants) > _SHOWN else None,
    }


def _instant(instant: datetime, zone: str) -> dict[str, Any]:
    return {"at": words.shown(instant), "local": words.in_zone_too(instant, zone)}
