"""Why tasks wait, as the overview says it: a row for each reason, with a link to the tasks behind it."""

from collections.abc import Mapping
from typing import Any, Final

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from scheduling.admin import words
from scheduling.admin.overview import Figures, Held, Sight
from scheduling.services.waiting import Cause, Queue, Waiting

# What is said of each reason, its sign and its colour.
_SAID: Final[Mapping[Cause, tuple[Promise, str, str]]] = {
    Cause.NO_AGENT: (gettext_lazy("No agent has the command and the labels"), "block", "bad"),
    Cause.NOT_TAKING: (
        gettext_lazy("Every agent that fits is offline, draining or disabled"),
        "power_off",
        "bad",
    ),
    Cause.NO_SLOT: (gettext_lazy("All slots of the agents that fit are taken"), "hourglass_top", "warning"),
    Cause.LIMIT: (gettext_lazy("Their job runs as often at once as it may"), "stacks", "warning"),
    Cause.SOON: (gettext_lazy("An agent is about to take them"), "play_circle", "active"),
    Cause.RETRY: (gettext_lazy("They pause before they are tried again"), "replay", "quiet"),
    Cause.EARLY: (gettext_lazy("They are not due yet"), "schedule", "quiet"),
}
_IS_DUE: Final = {Cause.NO_AGENT, Cause.NOT_TAKING, Cause.NO_SLOT, Cause.LIMIT, Cause.SOON}
_WAITING: Final = "pending,waiting_retry"


def waiting_rows(found: Figures, sight: Sight) -> list[dict[str, Any]]:
    """Return a row for each reason, the most pressing first."""
    return [_row(waiting, found, sight) for waiting in found.waiting]


def held_rows(held: Held) -> list[dict[str, str]]:
    """Return what plans nothing at the moment, in words with links."""
    found = (
        (
            held.broken,
            ngettext("%(n)d schedule cannot be planned", "%(n)d schedules cannot be planned", held.broken),
            f"{reverse('admin:scheduling_schedule_changelist')}?problem__gt=",
            "error",
            "bad",
        ),
        (
            held.frozen,
            ngettext(
                "%(n)d schedule is in a frozen namespace",
                "%(n)d schedules are in frozen namespaces",
                held.frozen,
            ),
            reverse("admin:scheduling_freeze_changelist"),
            "ac_unit",
            "active",
        ),
        (
            held.paused_backfills,
            ngettext("%(n)d backfill is paused", "%(n)d backfills are paused", held.paused_backfills),
            f"{reverse('admin:scheduling_backfill_changelist')}?status__exact=paused",
            "pause_circle",
            "warning",
        ),
    )
    return [
        {"text": text % {"n": number}, "url": url, "icon": icon, "colour": colour}
        for number, text, url, icon, colour in found
        if number
    ]


def _row(waiting: Waiting, found: Figures, sight: Sight) -> dict[str, Any]:
    said, icon, colour = _SAID[waiting.cause]
    is_due = waiting.cause in _IS_DUE
    return {
        "cause": waiting.cause.value,
        "said": said,
        "icon": icon,
        "colour": colour,
        "count": f"{waiting.number:,}+" if waiting.is_more else f"{waiting.number:,}",
        "since": words.moment(waiting.first_due_at, now=found.now),
        "is_due": is_due,
        "url": _url(_filters(waiting.cause, found)),
        "queues": [
            {
                "text": _queue_words(queue, found, sight),
                "count": f"{queue.number:,}",
                "url": _url({"status__in": _WAITING, "route__id__exact": queue.route_id}),
            }
            for queue in waiting.queues
            if is_due and waiting.cause != Cause.SOON
        ],
    }


def _filters(cause: Cause, found: Figures) -> dict[str, Any]:
    match cause:
        case Cause.EARLY:
            return {"status__exact": "pending", "due_at__gt": found.now.isoformat()}
        case Cause.RETRY:
            return {"status__exact": "waiting_retry"}
        case _:
            return {"status__in": _WAITING, "due_at__lte": found.now.isoformat()}


def _queue_words(queue: Queue, found: Figures, sight: Sight) -> str:
    job = found.jobs.get(queue.job_id) if queue.job_id is not None else None
    if job is not None and sight.shows(job):
        return str(job)
    labels = ", ".join(f"{name}={value}" for name, value in sorted(queue.labels.items()))
    if not labels:
        return queue.cmd
    return _("%(cmd)s with %(labels)s") % {"cmd": queue.cmd, "labels": labels}


def _url(filters: Mapping[str, Any]) -> str:
    return f"{reverse('admin:scheduling_task_changelist')}?{urlencode(filters)}"
