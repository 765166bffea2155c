"""The ledger of a schedule as a page: what was planned against what happened, as picture, table and file."""

import csv
import io
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from asgiref.sync import sync_to_async
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from scheduling.admin import words
from scheduling.admin.backfill_form import backfill_url
from scheduling.admin.ledger_heat import heat_of, span_of
from scheduling.admin.permissions import may
from scheduling.admin.reasons import reason_words
from scheduling.clock import database_now
from scheduling.models import Schedule
from scheduling.services.ledger import (
    MAX_ENTRIES,
    MAX_PLANNED,
    PLANNED,
    bounds_of_spans,
    count_by_span,
    ledger_of,
    trouble_by_span,
)
from scheduling.states import Outcome, TaskStatus

if TYPE_CHECKING:
    from scheduling.admin.pages import ServiceAdmin as _Base
else:
    _Base = object

_PAGE_ROWS: Final = 100
_CSV_ROWS: Final = 100_000
_LONGEST: Final = timedelta(days=366)
# Up to this length the picture is by hour.
_BY_HOUR: Final = timedelta(days=3)
_QUICK: Final = (
    (timedelta(days=1), gettext_lazy("24 hours")),
    (timedelta(days=7), gettext_lazy("7 days")),
    (timedelta(days=30), gettext_lazy("30 days")),
    (timedelta(days=90), gettext_lazy("90 days")),
)
_DEFAULT: Final = timedelta(days=7)
# Stacked in this order, the worst at the bottom, where it is seen.
_ORDER: Final = (
    Outcome.MISSED,
    Outcome.LATE,
    Outcome.FIRED,
    Outcome.COALESCED,
    Outcome.SKIPPED_CALENDAR,
    Outcome.SKIPPED_OVERLAP,
    Outcome.SKIPPED_DISABLED,
    PLANNED,
)
_MINUTE: Final = "%Y-%m-%d %H:%M"
_COLUMNS: Final = (
    "scheduled_at",
    "due_at",
    "outcome",
    "reason",
    "instants",
    "task_id",
    "status",
    "started_at",
    "completed_at",
    "delay_secs",
)


class ShowsLedger(_Base):
    """Schedules with a page that tells of every planned instant what became of it."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<int:object_id>/ledger/", view(self.ledger_view), name="scheduling_schedule_ledger"),
            path("<int:object_id>/ledger/csv/", view(self.csv_view), name="scheduling_schedule_ledger_csv"),
            *super().get_urls(),
        ]

    def ledger_view(self, request: HttpRequest, object_id: int) -> HttpResponseBase:
        """Show a range of the ledger."""
        schedule = self._schedule_with_ledger(request, object_id)
        if isinstance(schedule, HttpResponse):
            return schedule
        now = database_now()
        begin, end, error = _range(request.GET, now=now)
        after = _instant(request.GET.get("after", ""))
        found = ledger_of(schedule, begin=begin, end=end, limit=_PAGE_ROWS, after=after)
        span = {"from": _local(begin), "to": _local(end)}
        url = reverse("admin:scheduling_schedule_ledger", args=[schedule.pk])
        last = found.entries[-1]["scheduled_at"] if found.entries else None
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": schedule,
            "title": _("Ledger of %(schedule)s") % {"schedule": schedule},
            "rule": words.rule(schedule),
            "error": error,
            "begin": span["from"],
            "end": span["to"],
            "quick": [(label, _link(url, now - length, now + length / 7)) for length, label in _QUICK],
            "totals": _totals(found.totals),
            "bars": _bars(schedule, begin=begin, end=end, url=url),
            "heat": _heat(schedule, begin=begin, end=end, url=url),
            "rows": [_row(entry, now=now, zone=schedule.timezone) for entry in found.entries],
            "shows_local": schedule.timezone != words.zone(),
            "zone": schedule.timezone,
            "own_zone": words.zone(),
            "first_url": f"{url}?{urlencode(span)}" if after is not None else "",
            "next_url": f"{url}?{urlencode({**span, 'after': last.isoformat()})}"
            if found.has_more and last
            else "",
            "backfill_url": _with_span(
                backfill_url(request, schedule), {"from": begin.isoformat(), "to": end.isoformat()}
            ),
            "csv_url": f"{url}csv/?{urlencode(span)}",
        }
        return TemplateResponse(request, "admin/scheduling/schedule/ledger.html", context)

    def csv_view(self, request: HttpRequest, object_id: int) -> HttpResponseBase:
        """Return a range of the ledger as a file, row by row."""
        schedule = self._schedule_with_ledger(request, object_id)
        if isinstance(schedule, HttpResponse):
            return schedule
        begin, end, _error = _range(request.GET, now=database_now())
        response = StreamingHttpResponse(
            _csv_pieces(schedule, begin=begin, end=end), content_type="text/csv; charset=utf-8"
        )
        name = f"ledger-{schedule.pk}-{begin:%Y%m%d}-{end:%Y%m%d}.csv"
        response["Content-Disposition"] = f'attachment; filename="{name}"'
        return response

    def _schedule_with_ledger(self, request: HttpRequest, object_id: int) -> Any:
        schedule = self.object_or_redirect(request, str(object_id))
        if not isinstance(schedule, HttpResponse) and not may(request, "scheduling.view_task", schedule):
            raise PermissionDenied
        return schedule


def _range(given: Mapping[str, str], *, now: datetime) -> tuple[datetime, datetime, str]:
    """Return begin, end and what is wrong with those that were asked for; then others are shown."""
    default = now - _DEFAULT, now + timedelta(days=1)
    begin, end = default
    if given.get("from"):
        begin = _instant(given["from"]) or begin
    if given.get("to"):
        end = _instant(given["to"]) or end
    wrong = [name for name in ("from", "to") if given.get(name) and _instant(given[name]) is None]
    if wrong:
        return *default, _("Expected times such as 2026-05-01 00:00.")
    if end <= begin:
        return *default, _("The end must come after the beginning.")
    if end - begin > _LONGEST:
        return begin, begin + _LONGEST, _("A year is shown at most.")
    return begin, end, ""


def _instant(text: str) -> datetime | None:
    try:
        found = parse_datetime(text)
    except ValueError:
        return None
    if found is None or not 1971 <= found.year <= 9000:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=timezone.get_current_timezone())


def _local(instant: datetime) -> str:
    """Return an instant as a field for dates and times takes it, by the reader's clocks."""
    return words.told(instant, "%Y-%m-%dT%H:%M")


def _with_span(url: str, span: Mapping[str, str]) -> str:
    return f"{url}?{urlencode(span)}" if url else ""


def _link(url: str, begin: datetime, end: datetime) -> str:
    return f"{url}?{urlencode({'from': _local(begin), 'to': _local(end)})}"


def outcome_words(outcome: str) -> str:
    """Return the name of an outcome, also of instants that are still to come."""
    return _("planned") if outcome == PLANNED else str(Outcome(outcome).label)


def _totals(totals: Mapping[str, int]) -> list[dict[str, Any]]:
    return [
        {
            "kind": outcome,
            "label": outcome_words(outcome),
            "count": f"{totals[outcome]}+" if _is_capped(outcome, totals[outcome]) else totals[outcome],
        }
        for outcome in _ORDER
        if totals.get(outcome)
    ]


def _is_capped(outcome: str, number: int) -> bool:
    return outcome == PLANNED and number >= MAX_PLANNED


def _bars(schedule: Schedule, *, begin: datetime, end: datetime, url: str) -> list[dict[str, Any]]:
    """Return a bar for each day, or hour, of the range: its parts by outcome, and a link to it alone."""
    span = "hour" if end - begin <= _BY_HOUR else "day"
    zone = timezone.get_current_timezone()
    counts = count_by_span(schedule, begin=begin, end=end, span=span, zone=zone)
    highest = max((sum(found.values()) for found in counts.values()), default=0) or 1
    bars = []
    for start, following in pairwise(bounds_of_spans(begin, end, span=span, zone=zone)):
        found = counts.get(start, {})
        name = words.told(start, "%Y-%m-%d") if span == "day" else words.told_with_utc(start, _MINUTE)
        told = ", ".join(f"{outcome_words(kind)} {found[kind]}" for kind in _ORDER if kind in found)
        bars.append(
            {
                "title": f"{name}: {told or _('nothing planned')}",
                "url": _link(url, start, following),
                "parts": [
                    (kind, max(round(100 * found[kind] / highest, 1), 3)) for kind in _ORDER if kind in found
                ],
            }
        )
    return bars


def _heat(schedule: Schedule, *, begin: datetime, end: datetime, url: str) -> dict[str, Any] | None:
    zone = timezone.get_current_timezone()
    trouble = trouble_by_span(schedule, begin=begin, end=end, span=span_of(begin, end), zone=zone)
    return heat_of(trouble, begin=begin, end=end, link=partial(_link, url))


def _row(entry: Mapping[str, Any], *, now: datetime, zone: str) -> dict[str, Any]:
    status, delay = entry["status"], entry["delay_secs"]
    return {
        "planned": words.exact_moment(entry["scheduled_at"], now=now),
        "local": words.in_zone(entry["scheduled_at"], zone),
        "outcome": words.badge(entry["outcome"], outcome_words(entry["outcome"])),
        "kind": entry["outcome"],
        "status": "" if status is None else words.badge(status, TaskStatus(status).label),
        "started": words.clock(entry["started_at"]),
        "delay": words.MISSING if delay is None else words.duration(max(delay, 0)),
        "task_id": entry["task_id"],
        "reason": reason_words(entry["reason"]),
        "instants": entry["instants"] if entry["instants"] > 1 else 0,
    }


async def _csv_pieces(schedule: Schedule, *, begin: datetime, end: datetime) -> AsyncIterator[str]:
    """Yield the header, then a piece for each page of rows, so that the whole is never in memory."""
    yield _csv_text([_COLUMNS])
    after, written = None, 0
    while written < _CSV_ROWS:
        found = await sync_to_async(ledger_of)(schedule, begin=begin, end=end, limit=MAX_ENTRIES, after=after)
        yield _csv_text([[_cell(entry[name]) for name in _COLUMNS] for entry in found.entries])
        written += len(found.entries)
        if not found.has_more or not found.entries:
            return
        after = found.entries[-1]["scheduled_at"]


def _csv_text(rows: Sequence[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Return a value for a spreadsheet, which must not take a text for a formula."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return "" if value is None else value
