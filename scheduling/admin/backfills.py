"""Backfills: ranges of the past that are run after all; watched, paused, resumed and cancelled here."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from django.contrib import admin
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from access.callers import actor_of
from scheduling.admin import words
from scheduling.admin.pages import Button, ReadOnlyAdmin
from scheduling.admin.permissions import SeenAutocompleteFilter, is_seen, may, permit
from scheduling.admin.reasons import reason_words
from scheduling.admin.searching import begins_with, jobs_named, some_ids
from scheduling.admin.tasks import job_link
from scheduling.clock import database_now
from scheduling.kinds import BackfillStatus
from scheduling.models import Backfill, Job, Schedule, Task
from scheduling.services import backfills
from scheduling.services.backfill_progress import (
    ACTIVE,
    LEFT_OUT,
    TO_COME,
    cells_of,
    count_tasks,
    spans_of,
)
from scheduling.services.backfills import LIVE
from scheduling.states import TaskStatus

# In this order they stand in bars and legends.
_FATES: Final = (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED, ACTIVE, LEFT_OUT, TO_COME)
_RENEWED_SECS: Final = 3
# What the services write on a backfill, in the reader's language.


def _switched(request: HttpRequest, backfill: Backfill, switch: Callable[..., Backfill]) -> Backfill:
    return switch(
        backfill_id=backfill.pk,
        now=database_now(),
        by=actor_of(request),
        permit=permit(request, "scheduling.change_backfill"),
    )


def _pause(backfill_admin: Any, request: HttpRequest, backfill: Backfill) -> str:
    _switched(request, backfill, backfills.pause_backfill)
    return _("The backfill is paused; runs under way go on.")


def _resume(backfill_admin: Any, request: HttpRequest, backfill: Backfill) -> str:
    _switched(request, backfill, backfills.resume_backfill)
    return _("The backfill goes on where it was.")


def _cancel(backfill_admin: Any, request: HttpRequest, backfill: Backfill) -> str:
    _switched(request, backfill, backfills.cancel_backfill)
    return _("The backfill is cancelled; commands that run are being stopped.")


@admin.register(Backfill)
class BackfillAdmin(ReadOnlyAdmin):
    namespace_path = "schedule__job__namespace"
    page_template = "admin/scheduling/backfill/page.html"
    list_display = ("number", "of_schedule", "progress", "failed", "state", "who", "asked")
    list_display_links = ("number",)
    list_filter = (("status", ChoicesDropdownFilter), ("schedule", SeenAutocompleteFilter))
    search_fields = ("schedule__job__name", "schedule__name", "created_by")
    search_help_text = gettext_lazy("Job, beginning of the schedule's name, or user")
    ordering = ("-pk",)
    sortable_by = ("number",)
    buttons = (
        Button(
            name="pause",
            label=gettext_lazy("Pause"),
            icon="pause_circle",
            press=_pause,
            permission="scheduling.change_backfill",
            is_shown=lambda backfill: backfill.status == BackfillStatus.RUNNING,
        ),
        Button(
            name="resume",
            label=gettext_lazy("Resume"),
            icon="play_circle",
            press=_resume,
            permission="scheduling.change_backfill",
            is_shown=lambda backfill: backfill.status == BackfillStatus.PAUSED,
            style="hf-primary",
        ),
        Button(
            name="cancel",
            label=gettext_lazy("Cancel"),
            icon="cancel",
            press=_cancel,
            permission="scheduling.change_backfill",
            is_shown=lambda backfill: backfill.status in LIVE,
            style="hf-danger",
            confirm=gettext_lazy(
                "Cancel this backfill for good? What it has not begun will not be run, its waiting tasks are "
                "cancelled and its commands that run are stopped."
            ),
        ),
    )

    def all_rows(self, request: HttpRequest) -> QuerySet[Any]:
        failed = Task.objects.filter(backfill=OuterRef("pk"), status=TaskStatus.FAILED).order_by()
        counted = failed.values("backfill").annotate(number=Count("pk")).values("number")
        return Backfill.objects.select_related("schedule__job", "schedule__calendar").annotate(
            shown_at=Now(),
            shows_job=is_seen(request, Job, "schedule__job"),
            failed_count=Subquery(counted),
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Backfill], search_term: str
    ) -> tuple[QuerySet[Backfill], bool]:
        """Find by the names of job and schedule, and by who asked for it; all by an index."""
        term = search_term.strip()
        if not term:
            return queryset, False
        of_jobs = Q(job_id__in=some_ids(request, jobs_named(term.split())))
        schedules = Schedule.objects.filter(of_jobs | begins_with(term))
        found = Q(schedule_id__in=some_ids(request, schedules)) | Q(created_by=term)
        return queryset.filter(found), False

    @admin.display(description=gettext_lazy("backfill"), ordering="pk")
    def number(self, backfill: Backfill) -> SafeString:
        return format_html(
            '<span class="hf-name">#{}</span><span class="hf-sub hf-line">{} – {}</span>',
            backfill.pk,
            words.shown(backfill.range_from, "%Y-%m-%d %H:%M"),
            words.shown(backfill.range_to, "%Y-%m-%d %H:%M"),
        )

    @admin.display(description=gettext_lazy("schedule"))
    def of_schedule(self, backfill: Any) -> SafeString:
        return format_html(
            '{}<span class="hf-sub">{}</span>',
            schedule_link(backfill),
            job_link(backfill.schedule.job, is_seen=backfill.shows_job),
        )

    @admin.display(description=gettext_lazy("progress"))
    def progress(self, backfill: Backfill) -> SafeString:
        parts = {ACTIVE: backfill.planned, LEFT_OUT: backfill.left_out}
        whole = max(backfill.total, sum(parts.values()), 1)
        text = (
            _("%(planned)s of %(total)s begun")
            if not backfill.left_out
            else _("%(planned)s of %(total)s begun, %(left_out)s left out")
        )
        told = text % {
            "planned": backfill.planned,
            "total": backfill.total,
            "left_out": backfill.left_out,
        }
        return format_html('{}<span class="hf-sub hf-line">{}</span>', progress_bar(parts, whole), told)

    @admin.display(description=gettext_lazy("failed"))
    def failed(self, backfill: Any) -> SafeString | str:
        if not backfill.failed_count:
            return words.MISSING
        return format_html(
            '<a href="{}">{}</a>',
            tasks_url(backfill, status__exact=TaskStatus.FAILED),
            words.badge(TaskStatus.FAILED, backfill.failed_count),
        )

    @admin.display(description=gettext_lazy("status"))
    def state(self, backfill: Backfill) -> SafeString:
        return words.badge(
            backfill.status, backfill.get_status_display(), title=reason_words(backfill.problem)
        )

    @admin.display(description=gettext_lazy("asked for by"))
    def who(self, backfill: Backfill) -> str:
        return backfill.created_by or words.MISSING

    @admin.display(description=gettext_lazy("asked for"), ordering="pk")
    def asked(self, backfill: Any) -> SafeString | str:
        return words.moment(backfill.created_at, now=backfill.shown_at)

    def page_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        now = database_now()
        counts = count_tasks([obj.pk])[obj.pk]
        counts |= {
            LEFT_OUT: obj.left_out,
            TO_COME: max(0, obj.total - obj.planned - obj.left_out),
        }
        is_live = obj.status in LIVE
        links = may(request, "scheduling.view_task", obj)
        return {
            "title": _("Backfill %(number)s") % {"number": obj},
            "state": self.state(obj),
            "schedule": schedule_link(obj),
            "job": job_link(obj.schedule.job, is_seen=obj.shows_job),
            "refresh_secs": _RENEWED_SECS if is_live or counts[ACTIVE] else 0,
            "problem": reason_words(obj.problem),
            "bar": progress_bar(counts, max(sum(counts.values()), 1)),
            "totals": [
                {
                    "fate": fate,
                    "label": fate_words(fate, is_live=is_live),
                    "count": counts[fate],
                    "url": _totals_url(obj, fate) if links and counts[fate] else "",
                }
                for fate in _FATES
            ],
            **_strip(obj, is_live=is_live, links=links),
            "begin": words.shown(obj.range_from),
            "end": words.shown(obj.range_to),
            "asked": words.exact_moment(obj.created_at, now=now),
            "ended": None if obj.completed_at is None else words.exact_moment(obj.completed_at, now=now),
            "tasks_url": tasks_url(obj) if links else "",
        }


def schedule_link(backfill: Backfill) -> SafeString | str:
    """Return a link to the page of a backfill's schedule; who sees the one sees the other."""
    schedule = backfill.schedule
    text = words.rule(schedule)
    if schedule.archived_at is not None:
        return format_html("{} ({})", text, _("archived"))
    return format_html(
        '<a href="{}">{}</a>', reverse("admin:scheduling_schedule_change", args=[schedule.pk]), text
    )


def fate_words(fate: str, *, is_live: bool = True) -> str:
    """Return what became of an instant of a backfill."""
    match fate:
        case "active":
            return _("waiting or running")
        case "left_out":
            return _("left out, done before")
        case "to_come":
            return _("to come") if is_live else _("not run")
        case _status:
            return str(TaskStatus(fate).label)


def progress_bar(parts: Mapping[str, int], whole: int) -> SafeString:
    """Return a bar that is read together with the numbers beside it."""
    shown = [fate for fate in _FATES if parts.get(fate) and fate != TO_COME]
    pieces = format_html_join(
        "",
        '<i class="hf-fate-{}" style="width: {}%"></i>',
        ((fate, f"{100 * parts[fate] / whole:.2f}") for fate in shown),
    )
    return format_html('<span class="hf-progress" aria-hidden="true">{}</span>', pieces)


def tasks_url(backfill: Backfill, **filters: Any) -> str:
    """Return the address of the list of a backfill's tasks."""
    query = urlencode({"backfill__id__exact": backfill.pk, **filters})
    return f"{reverse('admin:scheduling_task_changelist')}?{query}"


def _totals_url(backfill: Backfill, fate: str) -> str:
    return tasks_url(backfill, status__exact=fate) if fate in TaskStatus.values else ""


def _strip(backfill: Backfill, *, is_live: bool, links: bool) -> dict[str, Any]:
    """Return the picture of a backfill: its instants one by one, or of a long one its tasks by span."""
    cells = cells_of(backfill)
    if cells is not None:
        return {
            "cells": [
                {
                    "fate": cell.fate,
                    "title": f"{words.told_with_utc(cell.at)}: {fate_words(cell.fate, is_live=is_live)}",
                    "url": _task_url(cell.task_id) if links and cell.task_id is not None else "",
                }
                for cell in cells
            ]
        }
    spans = spans_of(backfill)
    highest = max((sum(span.counts.values()) for span in spans), default=0) or 1
    return {
        "bars": [
            {
                "title": f"{words.told_with_utc(span.begin)}: {_counts_words(span.counts)}",
                "url": _span_url(backfill, span.begin, span.end) if links and span.counts else "",
                "parts": [
                    (fate, f"{max(100 * span.counts[fate] / highest, 2):.1f}")
                    for fate in _FATES
                    if fate in span.counts
                ],
            }
            for span in spans
        ]
    }


def _task_url(task_id: int) -> str:
    return reverse("admin:scheduling_task_change", args=[task_id])


def _counts_words(counts: Mapping[str, int]) -> str:
    told = [f"{fate_words(fate)} {counts[fate]}" for fate in _FATES if fate in counts]
    return ", ".join(told) or _("nothing begun yet")


def _span_url(backfill: Backfill, begin: datetime, end: datetime) -> str:
    return tasks_url(backfill, scheduled_at__gte=begin.isoformat(), scheduled_at__lt=end.isoformat())
