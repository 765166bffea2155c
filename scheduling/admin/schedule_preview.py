"""The next runs of a schedule as a panel: of the stored one, and of the form while somebody fills it in."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST

from scheduling.admin import words
from scheduling.admin.tasks import pretty
from scheduling.clock import database_now
from scheduling.clock_notes import clock_notes
from scheduling.errors import InvalidField
from scheduling.kinds import ScheduleStatus
from scheduling.models import Schedule
from scheduling.preview import FireTime
from scheduling.services.definitions import check_schedule
from scheduling.services.next_runs import recurrence_of
from scheduling.services.previewing import ComingRun, calendar_of, coming_runs, frozen_span
from scheduling.templates import Moment, has_templates, render_parameters

if TYPE_CHECKING:
    from scheduling.admin.pages import ServiceAdmin as _Base
else:
    _Base = object

PREVIEWED: Final = 10
_PANEL: Final = "admin/scheduling/schedule/preview.html"


class PreviewsSchedules(_Base):
    """Shows what would come of the form as it stands, in a panel that follows it."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.preview_view))
        return [
            path("preview/", view, name="scheduling_schedule_preview"),
            path("<int:object_id>/preview/", view, name="scheduling_schedule_preview_change"),
            *super().get_urls(),
        ]

    def preview_view(self, request: HttpRequest, object_id: int | None = None) -> HttpResponse:
        """Answer a form that is being filled in with its panel; stores nothing."""
        stored = self.filled_in_for(request, object_id)
        if isinstance(stored, HttpResponse):
            return stored
        # What `~` draws from is decided when the schedule is saved; until then it is the same each time.
        instance = stored or Schedule(seed=0)
        form = self.get_form(request, stored, change=stored is not None)(request.POST, instance=instance)
        form.full_clean()
        schedule = form.instance
        if form.changed_data:
            schedule.next_run_at = None
        now = database_now()
        errors = {name: str(messages[0]) for name, messages in form.errors.items() if name != "job"}
        context = errors_or_preview(schedule, errors, now=now, shows_errors_of=form)
        return TemplateResponse(request, _PANEL, context)


def errors_or_preview(
    schedule: Schedule, errors: Mapping[str, str], *, now: datetime, shows_errors_of: Any
) -> dict[str, Any]:
    """Return the panel's context: what is wrong with the form, or else the next runs."""
    found = dict(errors)
    if not found:
        try:
            check_schedule(schedule, now=now)
        except InvalidField as error:
            found = {
                field or name: told
                for name, text in error.errors.items()
                for field, told in (shows_errors_of.told_at(name, text),)
            }
    if not found:
        return preview_of(schedule, now=now)
    # Who has not come to a field yet is not scolded for it; to parameters it comes when all else is sound.
    if "parameters" not in found and not any(
        name in shows_errors_of.fields and shows_errors_of[name].value() for name in found
    ):
        return {}
    return {
        "problems": [
            {
                "field": name,
                "label": shows_errors_of.fields[name].label if name in shows_errors_of.fields else "",
                "text": text,
            }
            for name, text in found.items()
        ]
    }


def preview_of(schedule: Schedule, *, now: datetime) -> dict[str, Any]:
    """Return the panel's context for a sound schedule: its rule in words, and its next instants."""
    frozen = None
    if schedule.job_id is not None:
        frozen = frozen_span(schedule.job.namespace, now=now)
    coming = coming_runs(schedule, now=now, count=PREVIEWED, frozen=frozen)
    return {
        "rule": words.rule(schedule),
        "zone": schedule.timezone,
        "instants": [instant_row(each, now=now, zone=schedule.timezone) for each in coming],
        "remarks": [*_remarks(schedule), *clock_remarks(schedule, coming, now=now)],
        "parameters": _parameters(schedule, coming),
    }


def instant_row(coming: ComingRun, *, now: datetime, zone: str) -> dict[str, Any]:
    """Return what is said of a coming instant, also in the zone of its schedule."""
    return {
        "at": words.shown(coming.time.utc),
        "local": words.in_zone_too(coming.time.utc, zone),
        "distance": words.distance(coming.time.utc - now),
        "runs": coming.fate.runs,
        "fate": _fate_words(coming),
        "note": clock_note(coming.time),
    }


def _fate_words(coming: ComingRun) -> str:
    """Return what becomes of an instant that does not simply run; empty for one that does."""
    if coming.is_frozen:
        return _("skipped: the namespace is frozen")
    if coming.obstacle is None:
        return ""
    reason = words.obstacle_words(coming.obstacle)
    if not coming.fate.runs:
        return _("skipped: %(reason)s") % {"reason": reason}
    facts = {"time": words.shown(coming.fate.due_at), "reason": reason}
    return words.filled(_("moved to %(time)s: %(reason)s"), facts)


def clock_note(time: FireTime) -> str:
    """Return what the clocks do to an instant; empty for most."""
    notes = []
    minutes = abs(time.clock_change) // timedelta(minutes=1)
    if time.clock_change > timedelta():
        notes.append(_("before it the clocks go forward by %(n)d minutes") % {"n": minutes})
    elif time.clock_change < timedelta():
        notes.append(_("before it the clocks go back by %(n)d minutes") % {"n": minutes})
    if time.twice == "first":
        notes.append(_("this local time comes twice; this is the first"))
    elif time.twice == "second":
        notes.append(_("this local time comes twice; this is the second"))
    return "; ".join(notes)


def _remarks(schedule: Schedule) -> list[str]:
    remarks = []
    if schedule.pk is not None and schedule.status == ScheduleStatus.DISABLED:
        remarks.append(_("The schedule is disabled; these are the runs that it would have."))
    if schedule.job_id is not None and not schedule.job.enabled:
        remarks.append(_("The job is disabled; its schedules do not run it."))
    if schedule.counts_from_the_end:
        remarks.append(_("Each later run is planned when the one before has ended."))
    if schedule.pk is None and "~" in (schedule.cron_expression or "") and schedule.kind == "cron":
        remarks.append(_("What “~” stands for is drawn when the schedule is saved."))
    if schedule.jitter_secs:
        remarks.append(_("Each run starts up to %(n)d s later.") % {"n": schedule.jitter_secs})
    return remarks


def clock_remarks(schedule: Schedule, coming: list[ComingRun], *, now: datetime) -> list[str]:
    """Return what the clocks do to the rule up to the last of these instants."""
    if schedule.counts_from_the_end or not coming:
        return []
    return clock_notes(recurrence_of(schedule), after=now, until=coming[-1].time.utc)


def _parameters(schedule: Schedule, coming: list[ComingRun]) -> str:
    """Return the parameters of the first run, where templates make them what they are."""
    first = next((each for each in coming if each.fate.runs), None)
    if first is None or not has_templates(schedule.parameters):
        return ""
    moment = Moment(first.time.utc, ZoneInfo(schedule.timezone), calendar_of(schedule), schedule.last_run_at)
    try:
        return pretty(render_parameters(schedule.parameters, moment))
    except ValueError as error:
        return str(error)
