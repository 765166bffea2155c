"""Why something runs or does not, as a panel: the checks in their order, with links to what blocks."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString
from django.utils.translation import gettext

from agents.models import Agent, AgentStatus
from scheduling.admin import words
from scheduling.admin.permissions import seen_by
from scheduling.admin.reasons import reason_words
from scheduling.kinds import ScheduleStatus
from scheduling.models import Calendar, Freeze, Job, Schedule, Task
from scheduling.services.explaining import Blocker, Explanation, Saying
from scheduling.states import InstanceStatus, Outcome, TaskStatus

# Where blockers are found, and the name of their page.
_PLACES: Final[Mapping[str, tuple[type[Model], Callable[[], QuerySet[Any]]]]] = {
    "task": (Task, Task.objects.all),
    "agent": (Agent, lambda: Agent.objects.filter(archived_at__isnull=True)),
    "job": (Job, lambda: Job.objects.present()),
    "schedule": (Schedule, lambda: Schedule.objects.present()),
    "calendar": (Calendar, Calendar.objects.all),
    "freeze": (Freeze, Freeze.objects.all),
}
_LABELS: Final[Mapping[str, Any]] = {
    member.value: member.label
    for states in (ScheduleStatus, AgentStatus, InstanceStatus, TaskStatus, Outcome)
    for member in states
}


def explanation_panel(request: HttpRequest, explanation: Explanation) -> dict[str, Any]:
    """Return the panel's context; one query for each kind of thing that blocks."""
    blocking = [blocker for check in explanation.checks if not check.passed for blocker in check.blockers]
    seen = _seen(request, blocking)
    return {
        "summary": say(explanation.conclusion),
        "runs": explanation.runs,
        "checks": [
            {
                "passed": check.passed,
                "text": say(check.said),
                "links": []
                if check.passed
                else [_link(each) for each in check.blockers if (each.kind, each.id) in seen],
            }
            for check in explanation.checks
            # Of no agents that are left, it says nothing that none of them is enabled.
            if check.said.values.get("among") != 0
        ],
    }


def say(saying: Saying) -> SafeString:
    """Return a sentence in the reader's language, with times in the reader's zone."""
    values = dict(saying.values)
    for name in ("at", "until"):
        if name in values:
            values[name] = words.shown(datetime.fromisoformat(values[name]))
    for name in ("status", "outcome"):
        if values.get(name):
            values[name] = _LABELS.get(values[name], values[name])
    for name in ("reason", "problem"):
        if isinstance(values.get(name), str):
            values[name] = reason_words(values[name])
    if "obstacle" in values:
        values["why"] = words.obstacle_words(values["obstacle"])
    return SafeString(words.filled(gettext(saying.message), values).strip())


def _seen(request: HttpRequest, blockers: list[Blocker]) -> set[tuple[str, str]]:
    """Return those of the blockers, by kind and id, whose pages the user may open."""
    ids: dict[str, set[str]] = defaultdict(set)
    for blocker in blockers:
        ids[blocker.kind].add(blocker.id)
    return {
        (kind, str(pk))
        for kind, wanted in ids.items()
        for pk in seen_by(request, _PLACES[kind][1]().filter(pk__in=wanted)).values_list("pk", flat=True)
    }


def _link(blocker: Blocker) -> dict[str, str]:
    opts = _PLACES[blocker.kind][0]._meta
    return {
        "url": reverse(f"admin:{opts.app_label}_{opts.model_name}_change", args=[blocker.id]),
        "what": str(opts.verbose_name),
        "name": blocker.name or f"#{blocker.id}",
    }
