"""What the timeline draws, in numbers: rows, and what stands in them."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from access.backends import authority_of_user
from agents.models import Agent
from scheduling.admin.permissions import may, may_in, seen_by
from scheduling.models import Job
from scheduling.services import coming, timeline
from scheduling.services.forecast import UNKNOWN_SECS, durations_of
from scheduling.states import INSTANCE_LIVE, INSTANCE_TERMINAL

STATUSES: Final = tuple(status.value for status in (*INSTANCE_LIVE, *INSTANCE_TERMINAL))
_MATCHING: Final = 100
# Agents that ran nothing are shown, too, where there are not more.
_IDLE_AGENTS: Final = 200
# The row of what no agent has yet.
_TO_COME: Final = "to come"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be drawn; `job` and `agent` are parts of names, empty for all."""

    by: timeline.By
    begin: datetime
    end: datetime
    now: datetime
    job: str = ""
    agent: str = ""
    namespace: str = ""
    status: str = ""


def timeline_data(request: HttpRequest, asked: Asked) -> dict[str, Any]:
    """Return the rows of the span, with bars or, where there are too many, counts; and what is to come.

    Bars and counts name their row by its number. As many statements for any span, but for one that counts.
    """
    chosen = chosen_by(request, asked)
    found = timeline.bars_between(chosen, begin=asked.begin, end=asked.end)
    is_dense, bars, counts = found is None, found or [], list[timeline.Count]()
    if is_dense:
        counts = timeline.counts_between(chosen, by=asked.by, begin=asked.begin, end=asked.end)
    to_come, is_all = _to_come(request, asked, chosen)
    counted = {count.key for count in counts}
    jobs = _jobs(
        request,
        {bar.job_id for bar in bars}
        | {each.job_id for each in to_come}
        | (counted if asked.by == "job" else set()),
    )
    agents = _agents(
        request, {bar.agent_id for bar in bars} | (counted if asked.by == "agent" else set()), asked
    )
    rows = _Names(sorted((jobs if asked.by == "job" else agents).values(), key=lambda row: row.order))
    if asked.by == "agent" and to_come:
        rows = _Names([_Row(key=_TO_COME, label=_("To come"), order=""), *rows.rows])
    others = _Names(list((agents if asked.by == "job" else jobs).values()))
    durations = durations_of({each.job_id for each in to_come})
    return {
        "now": _ms(asked.now),
        "begin": _ms(asked.begin),
        "end": _ms(asked.end),
        "rows": [
            {"label": row.label, "note": row.note, "url": row.url, "slots": row.slots} for row in rows.rows
        ],
        "others": [row.label for row in others.rows],
        "bars": [_bar(bar, asked.by, rows, others) for bar in bars],
        "slots": timeline.SLOTS if is_dense else 0,
        "counts": [[rows.numbers[key], *rest] for key, *rest in counts],
        "coming": [
            [
                rows.numbers[each.job_id if asked.by == "job" else _TO_COME],
                _ms(each.due_at),
                round(1000 * durations.get(each.job_id, UNKNOWN_SECS)),
                others.numbers.get(each.job_id),
                *_reference(each),
            ]
            for each in to_come
        ],
        "coming_is_all": is_all,
        "most": timeline.COUNTED_IN_SLOT,
    }


def chosen_by(request: HttpRequest, asked: Asked) -> timeline.Chosen:
    """Return which attempts are asked for, of those that one sees."""
    return timeline.Chosen(
        job_ids=_matching(request, Job, asked.job),
        agent_ids=_matching(request, Agent, asked.agent),
        namespaces=_namespaces(request, "scheduling.view_taskinstance", asked.namespace),
        statuses=[asked.status] if asked.status else None,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    """An agent or a job, as one that looks at the timeline sees it."""

    key: Any
    label: str
    order: str
    note: str = ""
    url: str = ""
    slots: int = 0


class _Names:
    """Rows, and the number of each by its key."""

    def __init__(self, rows: list[_Row]) -> None:
        self.rows = rows
        self.numbers = {row.key: number for number, row in enumerate(rows)}


def _bar(bar: timeline.Bar, by: timeline.By, rows: _Names, others: _Names) -> list[Any]:
    row, other = (bar.job_id, bar.agent_id) if by == "job" else (bar.agent_id, bar.job_id)
    return [
        rows.numbers[row],
        _ms(bar.begin),
        None if bar.end is None else _ms(bar.end),
        STATUSES.index(bar.status),
        others.numbers[other],
        f"#{bar.task_id}.{bar.attempt}",
        str(bar.id),
    ]


def _matching(request: HttpRequest, model: type[Any], part: str) -> list[Any] | None:
    """Return the ids of those with a name that has `part` in it, of those that one sees; None for all."""
    if not part:
        return None
    named = seen_by(request, model._default_manager.filter(name__icontains=part))
    return list(named.order_by("name").values_list("pk", flat=True)[:_MATCHING])


def _namespaces(request: HttpRequest, permission: str, wanted: str) -> Collection[str] | None:
    if wanted:
        return [wanted] if may_in(request, permission, wanted) else []
    return authority_of_user(request.user).namespaces(permission)


def _to_come(
    request: HttpRequest, asked: Asked, chosen: timeline.Chosen
) -> tuple[list[coming.Waiting | coming.Planned], bool]:
    """Return what waits and what is planned, of those whose agent and end are not asked for."""
    if asked.end <= asked.now or asked.agent or asked.status not in ("", "pending"):
        return [], True
    waiting = coming.waiting_tasks(
        until=asked.end,
        namespaces=_namespaces(request, "scheduling.view_task", asked.namespace),
        job_ids=chosen.job_ids,
    )
    planned, is_all = coming.planned_instants(
        now=asked.now,
        until=asked.end,
        namespaces=_namespaces(request, "scheduling.view_schedule", asked.namespace),
        job_ids=chosen.job_ids,
    )
    return [*waiting, *planned], is_all and len(waiting) < coming.MAX_WAITING


def _jobs(request: HttpRequest, ids: Collection[int]) -> dict[Any, _Row]:
    return {job.pk: _job(request, job) for job in Job.objects.in_bulk(ids).values()}


def _job(request: HttpRequest, job: Job) -> _Row:
    if not may_in(request, "scheduling.view_job", job.namespace):
        return _Row(key=job.pk, label=f"{_('job')} #{job.pk}", order=f"~{job.pk:020}")
    url = "" if job.archived_at else reverse("admin:scheduling_job_change", args=[job.pk])
    return _Row(key=job.pk, label=job.name, order=job.name.lower(), note=job.namespace, url=url)


def _agents(request: HttpRequest, ids: Collection[UUID | None], asked: Asked) -> dict[Any, _Row]:
    """Return those with bars, and where all agents are rows, the others that there are."""
    wanted = Q(pk__in=[key for key in ids if key is not None])
    if asked.by == "agent" and not (asked.agent or asked.job or asked.status):
        there = Agent.objects.filter(archived_at__isnull=True).order_by("name")[:_IDLE_AGENTS]
        wanted |= Q(pk__in=there.values("pk"))
    is_named = may(request, "agents.view_agent")
    rows: dict[Any, _Row] = {
        agent.pk: _agent(agent, is_named=is_named) for agent in Agent.objects.filter(wanted)
    }
    if None in ids:
        rows[None] = _Row(key=None, label=_("by hand"), order="~")
    return rows


def _agent(agent: Agent, *, is_named: bool) -> _Row:
    if not is_named:
        return _Row(key=agent.pk, label=f"{_('agent')} {str(agent.pk)[-6:]}", order=str(agent.pk))
    url = "" if agent.archived_at else reverse("admin:agents_agent_change", args=[agent.pk])
    return _Row(
        key=agent.pk,
        label=agent.name,
        order=agent.name.lower(),
        note=agent.get_status_display(),
        url=url,
        slots=agent.capacity,
    )


def _reference(each: coming.Waiting | coming.Planned) -> tuple[str, int]:
    """Return of what kind it is, and the number of its task or schedule."""
    if isinstance(each, coming.Waiting):
        return "task", each.id
    return "schedule", each.schedule_id


def _ms(instant: datetime) -> int:
    return round(instant.timestamp() * 1000)
