"""All runs over time as a page: the frame, and what a script draws in it, as JSON."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from agents.models import Agent
from scheduling.admin import words
from scheduling.admin.namespaces import namespaces_of
from scheduling.admin.permissions import may
from scheduling.admin.timeline_data import STATUSES, Asked, chosen_by, timeline_data
from scheduling.clock import database_now
from scheduling.services.timeline import newest_begins
from scheduling.states import InstanceStatus

if TYPE_CHECKING:
    from scheduling.admin.pages import ReadOnlyAdmin as _Base
else:
    _Base = object

PERMISSION: Final = "scheduling.view_taskinstance"
_HOURS: Final = {
    1: gettext_lazy("1 hour"),
    6: gettext_lazy("6 hours"),
    24: gettext_lazy("24 hours"),
    168: gettext_lazy("7 days"),
}
# What is shown at first is the shortest of these that has so many runs, or all there are.
_FEW: Final = 10
_IF_NOTHING_RAN: Final = 6
# Of what is shown at first so much is still to come.
_AHEAD: Final = 0.15
# What one seldom meets is told by the card alone.
_LEGEND: Final = ("running", "completed", "failed", "timeout", "lost", "cancelled")
_MOVES: Final = (
    ("earlier", "chevron_left", gettext_lazy("Earlier")),
    ("out", "zoom_out", gettext_lazy("Zoom out")),
    ("in", "zoom_in", gettext_lazy("Zoom in")),
    ("later", "chevron_right", gettext_lazy("Later")),
)
_LOOKED_BACK: Final = timedelta(hours=max(_HOURS))
# So much is shown before and after the last run, where that was long ago.
_AROUND: Final = timedelta(hours=3)
_LONGEST: Final = timedelta(days=400)
_SUGGESTED: Final = 500


class ShowsTimeline(_Base):
    """Attempts with a page that draws all of them over agents or jobs."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path(
                "timeline/", view(require_safe(self.timeline_view)), name="scheduling_taskinstance_timeline"
            ),
            path(
                "timeline/data/",
                view(require_safe(self.timeline_data_view)),
                name="scheduling_taskinstance_timeline_data",
            ),
            *super().get_urls(),
        ]

    def timeline_view(self, request: HttpRequest) -> HttpResponse:
        """Show what one may choose; the script asks for the rest."""
        _refuse_strangers(request)
        now = database_now()
        begins = newest_begins(chosen_by(request, _asked(request, begin=now, end=now, now=now)), number=_FEW)
        hours, span = _hours(request.GET, begins, now=now), _span(request.GET)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Timeline"),
            "content_title": _("Timeline"),
            "hours": [(number, label) for number, label in _HOURS.items()],
            "by": _by(request.GET),
            "asked": {
                name: request.GET.get(name, "")[:255] for name in ("job", "agent", "namespace", "status")
            },
            "namespaces": namespaces_of(request, PERMISSION),
            "agents": _agent_names(request),
            "statuses": [(name, InstanceStatus(name).label) for name in STATUSES],
            "legend": [*((name, InstanceStatus(name).label) for name in _LEGEND), ("coming", _("to come"))],
            "moves": _MOVES,
            "empty": None if span else _empty(request, begins, now=now),
            "config": {
                "url": reverse("admin:scheduling_taskinstance_timeline_data"),
                "attempts": reverse("admin:scheduling_taskinstance_changelist"),
                "tasks": reverse("admin:scheduling_task_changelist"),
                "schedules": reverse("admin:scheduling_schedule_changelist"),
                "zone": timezone.get_current_timezone_name(),
                "hours": hours,
                "ahead": _AHEAD,
                "begin": _milliseconds(span[0]) if span else None,
                "end": _milliseconds(span[1]) if span else None,
                "statuses": [{"name": name, "label": str(InstanceStatus(name).label)} for name in STATUSES],
                "words": _words(),
            },
        }
        return TemplateResponse(request, "admin/scheduling/taskinstance/timeline.html", context)

    def timeline_data_view(self, request: HttpRequest) -> HttpResponse:
        """Answer with what is to be drawn of a span of time."""
        _refuse_strangers(request)
        begin, end = (_instant_of(request.GET.get(name, "")) for name in ("begin", "end"))
        if begin is None or end is None or not timedelta(0) < end - begin <= _LONGEST:
            return JsonResponse({"error": _("Expected a span of time of at most 400 days.")}, status=400)
        asked = _asked(request, begin=begin, end=end, now=database_now())
        return JsonResponse(timeline_data(request, asked))


def _refuse_strangers(request: HttpRequest) -> None:
    if not may(request, PERMISSION):
        raise PermissionDenied


def _asked(request: HttpRequest, *, begin: datetime, end: datetime, now: datetime) -> Asked:
    given = request.GET
    return Asked(
        by=_by(given),
        begin=begin,
        end=end,
        now=now,
        job=_text(given.get("job", "")),
        agent=_text(given.get("agent", "")),
        namespace=_text(given.get("namespace", "")),
        status=given.get("status", "") if given.get("status") in STATUSES else "",
    )


def _by(given: QueryDict) -> Any:
    return "job" if given.get("by") == "job" else "agent"


def _text(given: str) -> str:
    return "" if "\x00" in given or len(given) > 255 else given.strip()


def _hours(given: QueryDict, begins: Sequence[datetime] | None, *, now: datetime) -> int:
    """Return the hours that were asked for, or so many that what ran lately is seen."""
    hours = given.get("hours", "")
    if hours in map(str, _HOURS):
        return int(hours)
    if begins is None:
        return max(_HOURS)
    if not begins:
        return _IF_NOTHING_RAN
    ages = [now - begin for begin in begins if now - begin < _LOOKED_BACK] or [_LOOKED_BACK]
    return next(hours for hours in _HOURS if ages[-1] <= timedelta(hours=hours))


def _span(given: QueryDict) -> tuple[datetime, datetime] | None:
    """Return the span that was asked for, if one was."""
    begin, end = (_instant_of(given.get(name, "")) for name in ("begin", "end"))
    if begin is not None and end is not None and timedelta(0) < end - begin <= _LONGEST:
        return begin, end
    return None


def _empty(
    request: HttpRequest, begins: Sequence[datetime] | None, *, now: datetime
) -> dict[str, Any] | None:
    """Return what is said where nothing ran lately, as far as that is known, and where to go from there."""
    if begins is None:
        return None
    if not begins:
        is_chosen = any(request.GET.get(name) for name in ("job", "agent", "namespace", "status"))
        return {"is_chosen": is_chosen, "shows_jobs": may(request, "scheduling.view_job")}
    if now - begins[0] < _LOOKED_BACK:
        return None
    query = request.GET.copy()
    query.pop("hours", None)
    query["begin"], query["end"] = (str(_milliseconds(begins[0] + by)) for by in (-_AROUND, _AROUND))
    return {"last": words.moment(begins[0], now=now), "query": query.urlencode()}


def _instant_of(given: str) -> datetime | None:
    """Return an instant that is given in milliseconds since 1970."""
    if not given.isascii() or not given.isdigit() or len(given) > 14:
        return None
    return datetime.fromtimestamp(int(given) / 1000, UTC)


def _milliseconds(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)


def _agent_names(request: HttpRequest) -> list[str]:
    if not may(request, "agents.view_agent"):
        return []
    agents = Agent.objects.filter(archived_at__isnull=True).order_by("name")
    return list(agents.values_list("name", flat=True)[:_SUGGESTED])


def _words() -> dict[str, str]:
    """Return what the script says."""
    return {
        "now": _("now"),
        "started": _("started"),
        "ran": _("ran for"),
        "runs": _("has run for"),
        "waits": _("waits"),
        "planned": _("planned"),
        "waiting_since": _("due"),
        "job": _("job"),
        "agent": _("agent"),
        "task": _("task"),
        "open": _("Open"),
        "slots": _("slots"),
        "counted": _("Runs that began: {n}"),
        "counted_more": _("Runs that began: {n} or more"),
        "failed": _("Failed: {n}"),
        "closer": _("Click to look closer"),
        "nothing": _("Nothing ran in this time."),
        "failed_to_load": _("The timeline cannot be loaded at the moment; it is tried again."),
        "dense": _(
            "Too many runs to draw each: they are counted by time, the newest {n} of each stretch. "
            "Zoom in to see each."
        ),
        "coming_cut": _("Of what is to come only the next runs are shown."),
        "summary": _("Timeline from {begin} to {end}, rows: {rows}, runs: {n}."),
        "more_rows": _("The table shows the newest {n}."),
    }
