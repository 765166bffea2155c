"""Attempts (task instances): what one process did, with its output while it runs and after."""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

from django.contrib import admin
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now
from django.db.models.lookups import GreaterThan
from django.http import HttpRequest, HttpResponseBase
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter, TextFilter

from agents.models import Agent
from agents.protocol.messages import Stream
from rest.controls import visible
from scheduling.admin import words
from scheduling.admin.attempts import describe_attempt
from scheduling.admin.figures import figures
from scheduling.admin.filters import BegunFilter, NamespaceFilter
from scheduling.admin.output import download, found_text, output_page, viewer_of
from scheduling.admin.output_search import OutputFilter, SearchesOutput, line_link
from scheduling.admin.pages import Button, ReadOnlyAdmin
from scheduling.admin.paging import LIST_LIMIT
from scheduling.admin.permissions import SeenAutocompleteFilter, is_seen, may
from scheduling.admin.reasons import reason_words
from scheduling.admin.searching import AGENT_PARTS, have_parts, jobs_named, read_search, some_ids
from scheduling.admin.tasks import cancel_task, job_link, pretty
from scheduling.admin.timeline import ShowsTimeline
from scheduling.clock import database_now
from scheduling.models import Job, TaskInstance
from scheduling.models.tasks import TOOK_LONG
from scheduling.services.viewing import BOTH
from scheduling.states import INSTANCE_LIVE

_MATCHING_AGENTS: Final = 100
_EXIT_CODE: Final = re.compile(r"-?[0-9]{1,9}")


class DurationFilter(DropdownFilter):  # type: ignore[misc]
    """Attempts that ran longer than so many minutes, or run that long already; the newest of very many."""

    title = gettext_lazy("duration")
    parameter_name = "longer"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("5", gettext_lazy("more than 5 minutes")),
            ("60", gettext_lazy("more than an hour")),
            ("360", gettext_lazy("more than 6 hours")),
            ("1440", gettext_lazy("more than a day")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[TaskInstance]) -> QuerySet[TaskInstance]:
        if self.value() not in dict(self.lookups(request, None)):
            return queryset
        least = timedelta(minutes=int(self.value()))
        running = TaskInstance.objects.live().filter(started_at__lt=database_now() - least)
        ran_long = GreaterThan(F("completed_at") - F("started_at"), least)
        ended = TaskInstance.objects.filter(TOOK_LONG, ran_long)
        # Each by an index of its own.
        ids = running.order_by().values("pk").union(ended.order_by("-pk").values("pk")[:LIST_LIMIT], all=True)
        return queryset.filter(pk__in=ids)


class ExitCodeFilter(TextFilter):  # type: ignore[misc]
    """Attempts whose process ended with a number."""

    title = gettext_lazy("exit code")
    parameter_name = "exit_code"

    def queryset(self, request: HttpRequest, queryset: QuerySet[TaskInstance]) -> QuerySet[TaskInstance]:
        number = (self.value() or "").strip()
        if not number:
            return queryset
        if not _EXIT_CODE.fullmatch(number):
            return queryset.none()
        return queryset.filter(exit_code=int(number))


def _cancel(instance_admin: Any, request: HttpRequest, attempt: TaskInstance) -> str:
    return cancel_task(request, attempt.task_id)


def _is_to_be_cancelled(attempt: TaskInstance) -> bool:
    return attempt.status in INSTANCE_LIVE and attempt.cancel_requested_at is None


@admin.register(TaskInstance)
class TaskInstanceAdmin(SearchesOutput, ShowsTimeline, ReadOnlyAdmin):
    namespace_path = "task__namespace"
    page_template = "admin/scheduling/taskinstance/page.html"
    list_display = ("number", "of_job", "state", "on_agent", "started", "ran", "exit", "output")
    list_display_links = ("number",)
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("job", SeenAutocompleteFilter),
        ("agent", SeenAutocompleteFilter),
        NamespaceFilter,
        BegunFilter,
        DurationFilter,
        ExitCodeFilter,
        OutputFilter,
    )
    list_select_related = ("job", "agent")
    search_fields = ("id", "task_id", "agent__name")
    search_help_text = gettext_lazy("Id, number of a task, job, agent, zone=eu or tag:nightly")
    ordering = ("-pk",)
    sortable_by = ("number",)
    buttons = (
        Button(
            name="cancel",
            label=gettext_lazy("Cancel"),
            icon="cancel",
            press=_cancel,
            permission="scheduling.change_task",
            is_shown=_is_to_be_cancelled,
            style="hf-danger",
            confirm=gettext_lazy("Cancel this task? A command that runs is stopped."),
        ),
    )
    # What the agent's log says of an attempt, as (when, level, text); those above who keep it set this.
    log_of: ClassVar[Callable[[TaskInstance], list[tuple[datetime, str, str]]]] = staticmethod(lambda _: [])

    def all_rows(self, request: HttpRequest) -> QuerySet[Any]:
        rows: QuerySet[Any] = listed_attempts(request).annotate(shown_at=Now())
        return rows

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[TaskInstance], search_term: str
    ) -> tuple[QuerySet[TaskInstance], bool]:
        """Find by id, by the number of the task, by name or labels of the agent, by name or tags of the job.

        All by an index.
        """
        asked = read_search(search_term)
        term = asked.text.removeprefix("#")
        if asked.has_labels:
            labelled = some_ids(request, Agent.objects.filter(asked.labels_at("labels")))
            queryset = queryset.filter(agent_id__in=labelled)
        if asked.tags:
            tagged = some_ids(request, Job.objects.filter(asked.tags_at("tags")))
            queryset = queryset.filter(job_id__in=tagged)
        if not term:
            return queryset, False
        try:
            return queryset.filter(pk=UUID(term)), False
        except ValueError:
            pass
        agents = Agent.objects.filter(have_parts(AGENT_PARTS, asked.words))
        found = Q(agent_id__in=list(agents.values_list("pk", flat=True)[:_MATCHING_AGENTS]))
        found |= Q(job_id__in=some_ids(request, jobs_named(asked.words)))
        number = term.split(".")[0]
        if number.isascii() and number.isdigit() and int(number) < 2**63:
            found |= Q(task_id=int(number))
        return queryset.filter(found), False

    @admin.display(description=gettext_lazy("task instance"), ordering="pk")
    def number(self, attempt: TaskInstance) -> str:
        return f"#{attempt}"

    @admin.display(description=gettext_lazy("job"))
    def of_job(self, attempt: Any) -> SafeString:
        return job_link(attempt.job, is_seen=attempt.shows_job)

    @admin.display(description=gettext_lazy("status"))
    def state(self, attempt: TaskInstance) -> SafeString:
        return words.badge(
            attempt.status, attempt.get_status_display(), title=visible(reason_words(attempt.error_message))
        )

    @admin.display(description=gettext_lazy("agent"))
    def on_agent(self, attempt: TaskInstance) -> str:
        return attempt.agent.name if attempt.agent else words.MISSING

    @admin.display(description=gettext_lazy("started"))
    def started(self, attempt: Any) -> SafeString | str:
        return words.moment(attempt.started_at, now=attempt.shown_at)

    @admin.display(description=gettext_lazy("ran for"))
    def ran(self, attempt: Any) -> str:
        return str(describe_attempt(attempt, now=attempt.shown_at)["ran"])

    @admin.display(description=gettext_lazy("exit"))
    def exit(self, attempt: Any) -> str:
        return str(describe_attempt(attempt, now=attempt.shown_at)["exit"])

    @admin.display(description=gettext_lazy("output"))
    def output(self, attempt: TaskInstance) -> str:
        return words.size(attempt.stdout_bytes + attempt.stderr_bytes)

    @admin.display(description=gettext_lazy("line"))
    def line(self, attempt: Any) -> SafeString:
        return line_link(attempt.match)

    # --- the page of one attempt ----------------------------------------------------------------------

    def page_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        now = database_now()
        is_live = obj.status in INSTANCE_LIVE
        return {
            "title": f"#{obj}",
            "described": describe_attempt(obj, now=now),
            "job_link": self.of_job(obj),
            "task_url": reverse("admin:scheduling_task_change", args=[obj.task_id]),
            "error": visible(reason_words(obj.error_message)),
            "result": "" if obj.result is None else pretty(obj.result),
            "metrics": figures(obj.metrics),
            "lease": words.moment(obj.lease_expires_at, now=now) if is_live else "",
            "is_live": is_live,
            "viewer": viewer_of(obj),
            "log": [
                {"at": words.clock(at), "level": level, "text": visible(text)}
                for at, level, text in type(self).log_of(obj)
            ]
            if may(request, "gateway.view_agentlog")
            else [],
        }

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("<uuid:pk>/output/", view(self.output_view), name="scheduling_taskinstance_output"),
            path("<uuid:pk>/find/", view(self.find_view), name="scheduling_taskinstance_find"),
            *(
                path(
                    f"<uuid:pk>/{stream}.txt",
                    view(self.download_view),
                    {"stream": stream},
                    name=f"scheduling_taskinstance_{stream}",
                )
                for stream in BOTH
            ),
            *super().get_urls(),
        ]

    def output_view(self, request: HttpRequest, pk: UUID) -> HttpResponseBase:
        """Answer a page of the output, from any place on."""
        attempt = self.object_or_redirect(request, str(pk))
        return attempt if isinstance(attempt, HttpResponseBase) else output_page(attempt, request.GET)

    def find_view(self, request: HttpRequest, pk: UUID) -> HttpResponseBase:
        """Answer where a text is in the output."""
        attempt = self.object_or_redirect(request, str(pk))
        return attempt if isinstance(attempt, HttpResponseBase) else found_text(attempt, request.GET)

    def download_view(self, request: HttpRequest, pk: UUID, stream: Stream) -> HttpResponseBase:
        """Send a whole stream, byte for byte, as text/plain."""
        attempt = self.object_or_redirect(request, str(pk))
        return attempt if isinstance(attempt, HttpResponseBase) else download(attempt, stream)


def listed_attempts(request: HttpRequest) -> QuerySet[Any]:
    """Return attempts, whoever asks, with what is written of them in a list."""
    attempts = TaskInstance.objects.select_related("job", "agent")
    listed: QuerySet[Any] = attempts.annotate(shows_job=is_seen(request, Job, "job"))
    return listed
