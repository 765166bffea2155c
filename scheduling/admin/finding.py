"""Find anything by a part of its name, its number or its id, from wherever one is."""

import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from uuid import UUID

from django.contrib import admin
from django.db.models import Model, Q, QuerySet, Value
from django.db.models.functions import Lower, StrIndex
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _

from agents.models import Agent
from scheduling.admin.permissions import may, seen_by
from scheduling.admin.searching import AGENT_PARTS, CALENDAR_PARTS, JOB_PARTS, begins_with, have_parts
from scheduling.models import Calendar, Job, Schedule, Task, TaskInstance

# Of each kind so many are named; the lists have all.
_NAMED: Final = 6
_MAX_CHARS: Final = 200
# Among so many that match those are sought that begin with the term.
_LOOKED_AT: Final = 2000
_MAX_ID: Final = 2**63 - 1
# The number of a task, as it is written on pages, and of one of its attempts.
_NUMBER: Final = re.compile(r"#?(?P<task>\d{1,19})(?:\.(?P<attempt>\d{1,9}))?")


class Found(NamedTuple):
    """Something to go to: what it is, how it is called, what else there is to say, and its address."""

    kind: str
    name: str
    beside: str
    url: str
    icon: str


def find_view(request: HttpRequest) -> HttpResponse:
    """Return what is found by the words of the query, as options of a list."""
    term = request.GET.get("q", "").replace("\x00", "").strip()[:_MAX_CHARS]
    found = find(request, term) if term else []
    return render(request, "admin/hetuflow/found.html", {"found": found, "term": term})


def find(request: HttpRequest, term: str) -> list[Found]:
    """Return what this user sees whose number or id is `term`, or whose name holds it, pages first.

    One bounded query for each kind of thing.
    """
    return [
        *_pages(request, term),
        *_by_number(request, term),
        *_by_id(request, term),
        *(
            found
            for model, icon in (
                (Job, "deployed_code"),
                (Schedule, "event_repeat"),
                (Agent, "memory"),
                (Calendar, "calendar_month"),
            )
            for found in _by_name(request, model, icon, term)
        ),
    ]


def _pages(request: HttpRequest, term: str) -> Iterator[Found]:
    """Yield the pages of the sidebar whose names hold the term, at a beginning of a word."""
    wanted = re.compile(rf"(?<!\w){re.escape(term)}", re.IGNORECASE)
    for group in admin.site.get_sidebar_list(request):  # type: ignore[attr-defined]
        for item in group["items"]:
            if item.get("has_permission", True) and wanted.search(str(item["title"])):
                yield Found(_("page"), str(item["title"]), "", str(item["link"]), item["icon"])


def _by_number(request: HttpRequest, term: str) -> Iterator[Found]:
    number = _NUMBER.fullmatch(term)
    if number is None or int(number["task"]) > _MAX_ID:
        return
    if number["attempt"] is None:
        for task in _seen(request, Task).filter(pk=int(number["task"])):
            yield _found(task, f"#{task.pk}", task.get_status_display(), "checklist")
        return
    for attempt in _seen(request, TaskInstance).filter(
        task_id=int(number["task"]), attempt=int(number["attempt"])
    ):
        yield _found(attempt, f"#{attempt}", attempt.get_status_display(), "terminal")


def _by_id(request: HttpRequest, term: str) -> Iterator[Found]:
    try:
        wanted = UUID(term)
    except ValueError:
        return
    for attempt in _seen(request, TaskInstance).filter(pk=wanted):
        yield _found(attempt, f"#{attempt}", attempt.get_status_display(), "terminal")
    for agent in _seen(request, Agent).filter(pk=wanted):
        yield _found(agent, agent.name, agent.get_status_display(), "memory")


def _by_name(request: HttpRequest, model: type[Model], icon: str, term: str) -> Iterator[Found]:
    """Yield those whose name holds the term, those that begin with it first; of very many some."""
    rows = _seen(request, model)
    some = rows.filter(_named(model, term)).order_by().values("pk")[:_LOOKED_AT]
    if model is Schedule:
        rows = rows.select_related("job")
    ordered = rows.filter(pk__in=some).order_by(StrIndex(Lower("name"), Value(term.lower())), "name", "pk")
    for row in ordered[:_NAMED]:
        yield _found(row, row.name, _beside(row), icon)


def _named(model: type[Model], term: str) -> Q:
    """Return the condition that a name holds the term, or for schedules begins with it, by an index."""
    if model is Schedule:
        return begins_with(term)
    fields = {Job: JOB_PARTS, Agent: AGENT_PARTS, Calendar: CALENDAR_PARTS}[model]
    named = have_parts(fields, [term], within=("name",))
    if model is Job and "/" in term:
        namespace, _slash, name = term.partition("/")
        words = [word for word in (namespace, name) if word]
        named |= have_parts(fields, words) & Q(namespace__iexact=namespace, name__icontains=name)
    return named


def _beside(row: Any) -> str:
    match row:
        case Schedule():
            return str(row.job)
        case Agent():
            return str(row.get_status_display())
        case _:
            return str(row.namespace)


def _seen(request: HttpRequest, model: type[Model]) -> QuerySet[Any]:
    """Return what the user sees of a kind, without what is archived."""
    if not may(request, f"{model._meta.app_label}.view_{model._meta.model_name}"):
        return model._default_manager.none()
    rows = seen_by(request, model._default_manager.all())
    return rows.filter(archived_at__isnull=True) if model in (Job, Schedule, Agent) else rows


def _found(row: Any, name: str, beside: str, icon: str) -> Found:
    url = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])
    return Found(str(row._meta.verbose_name), name, beside, url, icon)
