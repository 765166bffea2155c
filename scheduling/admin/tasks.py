"""Tasks: every planned instant and what became of it. Read-only, but for cancelling and retrying."""

import json
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter

from access.callers import actor_of
from rest.controls import visible
from scheduling.admin import words
from scheduling.admin.attempts import compared
from scheduling.admin.bulk import BulkActions
from scheduling.admin.explanations import explanation_panel
from scheduling.admin.filters import PLANNED, NamespaceFilter, PlannedFilter
from scheduling.admin.output import viewer_of
from scheduling.admin.pages import Button, ReadOnlyAdmin
from scheduling.admin.permissions import SeenAutocompleteFilter, is_seen, may, seen_by
from scheduling.admin.reasons import reason_words
from scheduling.admin.searching import jobs_asked, jobs_named, read_search, some_ids
from scheduling.admin.task_timeline import bars_of, timeline_of
from scheduling.clock import database_now
from scheduling.kinds import BulkVerb
from scheduling.models import Job, Task
from scheduling.services import manual
from scheduling.services.explaining import explain_task
from scheduling.services.last_lines import last_lines
from scheduling.states import TASK_CLAIMABLE, TASK_RETRYABLE, TASK_TERMINAL, Outcome

# Attempts shown side by side; of a task with more, the latest.
_ATTEMPTS = 12
_MAX_ID = 2**63 - 1


class RetriedFilter(DropdownFilter):  # type: ignore[misc]
    """Tasks that were tried more than once."""

    title = gettext_lazy("attempts")
    parameter_name = "tried"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("again", gettext_lazy("more than one"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Task]) -> QuerySet[Task]:
        return queryset.filter(attempt_count__gt=1) if self.value() else queryset


def cancel_task(request: HttpRequest, task_id: int) -> str:
    """Cancel a task and return what to tell about it; raise what the service raises."""
    cancelled = manual.cancel(task_id=task_id, now=database_now(), by=actor_of(request))
    if cancelled.status in TASK_TERMINAL:
        return _("The task is cancelled.")
    return _("The agent is asked to stop the command; the task is cancelled when it says that it did.")


def _cancel(task_admin: Any, request: HttpRequest, task: Task) -> str:
    return cancel_task(request, task.pk)


def _retry(task_admin: Any, request: HttpRequest, task: Task) -> str:
    manual.retry(task_id=task.pk, now=database_now(), by=actor_of(request))
    return _("The task waits for a new attempt.")


@admin.register(Task)
class TaskAdmin(BulkActions, ReadOnlyAdmin):
    namespace_path = "namespace"
    page_template = "admin/scheduling/task/page.html"
    list_display = ("number", "of_job", "state", "fate", "planned", "ended", "attempt_count")
    list_display_links = ("number",)
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("job", SeenAutocompleteFilter),
        ("outcome", ChoicesDropdownFilter),
        NamespaceFilter,
        RetriedFilter,
        PlannedFilter,
    )
    list_select_related = ("job",)
    bulk_verbs = (BulkVerb.CANCEL_TASKS, BulkVerb.RETRY_TASKS)
    search_fields = ("id", "job__name")
    search_help_text = gettext_lazy("Number, job, tag:nightly, zone=eu or label:zone")
    ordering = ("-pk",)
    sortable_by = ("number", "planned")
    buttons = (
        Button(
            name="cancel",
            label=gettext_lazy("Cancel"),
            icon="cancel",
            press=_cancel,
            permission="scheduling.change_task",
            is_shown=lambda task: task.status not in TASK_TERMINAL and task.cancel_requested_at is None,
            style="hf-danger",
            confirm=gettext_lazy("Cancel this task? A command that runs is stopped."),
        ),
        Button(
            name="retry",
            label=gettext_lazy("Retry"),
            icon="replay",
            press=_retry,
            permission="scheduling.change_task",
            is_shown=lambda task: task.status in TASK_RETRYABLE,
            style="hf-primary",
        ),
    )

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """List what is narrowed to a time in the order of time, in which it is found."""
        is_narrowed = any(request.GET.get(name) for name in PLANNED)
        return ("-scheduled_at", "pk") if is_narrowed else self.ordering

    def all_rows(self, request: HttpRequest) -> QuerySet[Any]:
        # A task stays in the namespace that its job had when it was planned.
        shows_job = is_seen(request, Job, "job")
        return Task.objects.select_related("job").annotate(shown_at=Now(), shows_job=shows_job)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Task], search_term: str
    ) -> tuple[QuerySet[Task], bool]:
        """Find by number, or by name, tags and required labels of the job; all by an index."""
        asked = read_search(search_term)
        term = asked.text.removeprefix("#")
        if asked.has_labels or asked.tags:
            queryset = queryset.filter(job_id__in=some_ids(request, jobs_asked(asked)))
        if not term:
            return queryset, False
        is_number = term.isascii() and term.isdigit() and int(term) <= _MAX_ID
        if is_number and asked.text.startswith("#"):
            return queryset.filter(pk=int(term)), False
        found = Q(job_id__in=some_ids(request, jobs_named(term.split())))
        if is_number:
            found |= Q(pk=int(term))
        return queryset.filter(found), False

    @admin.display(description=gettext_lazy("task"), ordering="pk")
    def number(self, task: Task) -> str:
        return f"#{task.pk}"

    @admin.display(description=gettext_lazy("job"))
    def of_job(self, task: Any) -> SafeString:
        return job_link(task.job, is_seen=task.shows_job)

    @admin.display(description=gettext_lazy("status"))
    def state(self, task: Task) -> SafeString:
        return words.badge(task.status, task.get_status_display(), title=reason_words(task.reason))

    @admin.display(description=gettext_lazy("outcome"))
    def fate(self, task: Task) -> str:
        if task.outcome is None:
            return _("by hand") if task.backfill_id is None else _("by a backfill")
        if task.outcome == Outcome.FIRED and task.status in TASK_CLAIMABLE:
            return _("planned")
        return task.get_outcome_display()

    @admin.display(description=gettext_lazy("planned for"), ordering="scheduled_at")
    def planned(self, task: Any) -> SafeString:
        return words.exact_moment(task.scheduled_at, now=task.shown_at)

    @admin.display(description=gettext_lazy("ended"))
    def ended(self, task: Any) -> SafeString | str:
        return words.moment(task.completed_at, now=task.shown_at)

    def page_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        now = database_now()
        may_see_attempts = may(request, "scheduling.view_taskinstance", obj)
        seen_attempts = seen_by(request, obj.instances.select_related("agent"))
        newest = seen_attempts.order_by("-attempt")[:_ATTEMPTS]
        attempts = sorted(newest, key=lambda attempt: attempt.attempt) if may_see_attempts else []
        return {
            "state": self.state(obj),
            "reason": reason_words(obj.reason),
            "outcome": self.fate(obj),
            "job_link": self.of_job(obj),
            "attempts": attempts,
            "compared": compared(attempts, last_lines([each.pk for each in attempts]), now=now),
            "shows_attempts": may_see_attempts,
            "hidden_attempts": obj.attempt_count - len(attempts),
            "timeline": timeline_of(obj, attempts),
            "bars": bars_of(obj, attempts, now=now),
            "viewer": viewer_of(attempts[-1]) if attempts else None,
            "config": pretty(obj.config),
            "parameters": pretty(obj.parameters) if obj.parameters else "",
            "environment": pretty(obj.environment) if obj.environment else "",
            "planned": words.exact_moment(obj.scheduled_at, now=now),
            "due": words.moment(obj.due_at, now=now),
            "is_live": obj.status not in TASK_TERMINAL,
            "explanation": _explanation(request, obj, now=now),
        }


def _explanation(request: HttpRequest, task: Task, *, now: datetime) -> dict[str, Any] | None:
    """Return why a task that has not ended runs or does not, which names agents, for those who see agents."""
    if task.status in TASK_TERMINAL or not may(request, "agents.view_agent"):
        return None
    return explanation_panel(request, explain_task(task=task, now=now))


def job_link(job: Job, *, is_seen: bool) -> SafeString:
    """Return a link to the page of a job, of an archived one its name, of one that is not seen its number."""
    if not is_seen:
        return format_html("{} #{}", _("job"), job.pk)
    if job.archived_at is not None:
        return format_html("{} ({})", job, _("archived"))
    return format_html('<a href="{}">{}</a>', reverse("admin:scheduling_job_change", args=[job.pk]), job)


def pretty(value: Any) -> str:
    """Return a JSON value over several lines."""
    return visible(json.dumps(value, ensure_ascii=False, indent=2))


def tasks_url(job_id: int) -> str:
    """Return the address of the list of a job's tasks."""
    return f"{reverse('admin:scheduling_task_changelist')}?job__id__exact={job_id}"


def _created_words(task: Task) -> str:
    if task.schedule_kind:
        return _("planned by its schedule")
    return _("created by %(who)s") % {"who": task.created_by or "?"}
