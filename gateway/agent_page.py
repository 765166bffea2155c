"""The page of an agent: what it does now and did all day, what it is, and its own log."""

from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from agents.models import CONNECTED_STATUSES, Agent
from agents.samples import KEPT, usage_of
from gateway.enrolling_admin import EnrollingAdmin
from gateway.models import AgentLog, Connection
from gateway.usage_picture import usage_chart
from rest.controls import visible
from scheduling.admin import words
from scheduling.admin.attempts import describe_attempt
from scheduling.admin.figures import figures
from scheduling.admin.instances import listed_attempts
from scheduling.admin.permissions import may, seen_by
from scheduling.admin.tasks import job_link
from scheduling.states import INSTANCE_LIVE

_LATEST_ATTEMPTS: Final = 15
_LATEST_LINES: Final = 10
_LINES_OF_PAGE: Final = 200
# A column of the chart stands for ten minutes.
_SLOTS: Final = int(KEPT / timedelta(minutes=10))
# Each with those that are worse.
LEVELS: Final = {
    "debug": gettext_lazy("all"),
    "info": gettext_lazy("info and worse"),
    "warning": gettext_lazy("warning and worse"),
    "error": gettext_lazy("error and worse"),
}
_COLOURS: Final = {"warning": "draining", "error": "error", "critical": "error"}


class ShowsAgents(EnrollingAdmin):
    """The part of the agents' admin that shows one of them, parts of which renew themselves."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            *(
                path(
                    f"<uuid:object_id>/{name}/",
                    view(require_safe(getattr(self, f"{name}_view"))),
                    name=f"agents_agent_{name}",
                )
                for name in ("now", "usage", "log")
            ),
            *super().get_urls(),
        ]

    def now_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Answer with the part of the page that says how the agent is and what it runs."""
        return self._part(request, object_id, "admin/agents/agent/now.html", self.now_context)

    def usage_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Answer with the part of the page that shows what its machine did."""
        return self._part(request, object_id, "admin/agents/agent/usage.html", self.usage_context)

    def log_view(self, request: HttpRequest, object_id: UUID) -> HttpResponse:
        """Show the agent's own log, the newest line first, page by page."""
        agent = self.object_or_redirect(request, str(object_id))
        if isinstance(agent, HttpResponse):
            return agent
        if not may(request, "gateway.view_agentlog"):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": agent,
            "title": _("Log of %(agent)s") % {"agent": agent},
            **_log_context(agent, request.GET),
        }
        return TemplateResponse(request, "admin/agents/agent/log.html", context)

    def _part(self, request: HttpRequest, object_id: UUID, template: str, make_context: Any) -> HttpResponse:
        agent = self.object_or_redirect(request, str(object_id))
        if isinstance(agent, HttpResponse):
            return agent
        return TemplateResponse(request, template, {"original": agent, **make_context(request, agent)})

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        agent = kwargs.get("obj")
        if agent is not None:
            context |= self.now_context(request, agent)
            context |= self.usage_context(request, agent)
            context |= self._page_context(request, agent)
        return super().render_change_form(request, context, *args, **kwargs)

    def now_context(self, request: HttpRequest, agent: Any) -> dict[str, Any]:
        """Return how the agent is and what it runs."""
        now = agent.shown_at
        attempts = seen_by(request, listed_attempts(request).filter(agent=agent))
        running = [_listed(attempt, now) for attempt in attempts.filter(status__in=INSTANCE_LIVE)]
        shows_timeline = may(request, "scheduling.view_taskinstance")
        timeline = reverse("admin:scheduling_taskinstance_timeline")
        return {
            "buttons": self.shown_buttons(request, agent),
            "state": words.badge(agent.status, agent.get_status_display()),
            "since": since(agent, now=now),
            "is_connected": agent.status in CONNECTED_STATUSES,
            "slots": slots_of(agent),
            "heartbeat": words.moment(agent.last_heartbeat_at, now=now),
            "version": version_of(agent),
            "running": running,
            "runs_more": agent.live_count > len(running),
            "now_url": reverse("admin:agents_agent_now", args=[agent.pk]),
            "timeline_url": f"{timeline}?{urlencode({'agent': agent.name})}" if shows_timeline else "",
        }

    def usage_context(self, request: HttpRequest, agent: Any) -> dict[str, Any]:
        """Return the picture of what the agent's machine did."""
        end = agent.shown_at
        begin = end - KEPT
        usage = usage_of([agent.pk], begin=begin, end=end, slots=_SLOTS)[agent.pk]
        return {
            "chart": usage_chart(usage, begin=begin, end=end, slots=agent.capacity),
            "usage_url": reverse("admin:agents_agent_usage", args=[agent.pk]),
        }

    def _page_context(self, request: HttpRequest, agent: Any) -> dict[str, Any]:
        now = agent.shown_at
        attempts = seen_by(request, listed_attempts(request).filter(agent=agent))
        latest = attempts.exclude(status__in=INSTANCE_LIVE).order_by("-pk")[:_LATEST_ATTEMPTS]
        lines = agent.log_lines.order_by("-pk")[:_LATEST_LINES]
        may_see_log = may(request, "gateway.view_agentlog")
        return {
            "connection": Connection.objects.filter(agent=agent, server__isnull=False)
            .select_related("server")
            .first(),
            "connected": words.moment(agent.connected_at, now=now),
            "commands": ", ".join(agent.capabilities.get("commands", [])),
            "all_labels": labels_in(agent.labels),
            "reported": labels_in(agent.reported_labels),
            "statistics": agent.statistics,
            "metrics": figures(agent.metrics),
            **self.tokens_context(request, agent, now=now),
            "latest": [_listed(attempt, now) for attempt in latest],
            "log_url": reverse("admin:agents_agent_log", args=[agent.pk]) if may_see_log else "",
            "log_lines": [_line(line) for line in lines] if may_see_log else [],
        }


def since(agent: Agent, *, now: datetime) -> SafeString | str:
    """Return since when the agent is there, or when it was last heard of."""
    if agent.last_heartbeat_at is None:
        return _("never connected")
    is_connected = agent.status in CONNECTED_STATUSES
    return words.moment(agent.connected_at if is_connected else agent.last_heartbeat_at, now=now)


def labels_in(labels: dict[str, str]) -> SafeString | str:
    """Return labels as tags."""
    pairs = ((f"{name}={value}",) for name, value in sorted(labels.items()))
    return format_html_join(" ", '<span class="hf-tag">{}</span>', pairs) or words.MISSING


def slots_of(agent: Any) -> dict[str, int]:
    """Return how many slots are in use, of how many, and what share of them in percent."""
    used, capacity = agent.live_count, agent.capacity
    percent = min(100, round(100 * used / capacity)) if capacity else 0
    return {"used": used, "all": capacity, "percent": percent}


def version_of(agent: Agent) -> dict[str, Any]:
    """Return the agent's version, and that of the server where it is another one."""
    server = settings.HETUFLOW_VERSION
    return {"own": agent.version, "server": server if agent.version and agent.version != server else ""}


def _log_context(agent: Agent, given: QueryDict) -> dict[str, Any]:
    level = given.get("level", "")
    level = level if level in LEVELS else "debug"
    text = given.get("text", "")
    text = "" if "\x00" in text or len(text) > 255 else text
    before = given.get("before", "")
    lines = _lines(agent, level=level, text=text)
    if before.isascii() and before.isdigit() and len(before) < 19:
        lines = lines.filter(pk__lt=int(before))
    shown = list(lines[: _LINES_OF_PAGE + 1])
    url = reverse("admin:agents_agent_log", args=[agent.pk])
    asked = {"level": level, "text": text}
    last = str(shown[_LINES_OF_PAGE - 1].pk) if len(shown) > _LINES_OF_PAGE else ""
    return {
        "levels": list(LEVELS.items()),
        "level": level,
        "text": text,
        "lines": [_line(line) for line in shown[:_LINES_OF_PAGE]],
        "is_first": not before,
        "newest_url": f"{url}?{urlencode(asked)}",
        "older_url": f"{url}?{urlencode({**asked, 'before': last})}" if last else "",
        "kept": settings.HETUFLOW_KEEP_LOG_LINES,
    }


def _lines(agent: Agent, *, level: str, text: str) -> QuerySet[AgentLog]:
    lines = AgentLog.objects.filter(agent=agent).order_by("-pk")
    order = [*LEVELS, "critical"]
    if level != "debug":
        lines = lines.filter(level__in=order[order.index(level) :])
    return lines.filter(message__icontains=text) if text else lines


def _line(line: AgentLog) -> dict[str, Any]:
    return {
        "at": words.clock(line.at),
        "level": words.badge(_COLOURS.get(line.level, ""), line.level),
        "message": visible(line.message),
        "instance_id": line.instance_id,
    }


def _listed(attempt: Any, now: datetime) -> dict[str, Any]:
    link = job_link(attempt.job, is_seen=attempt.shows_job)
    return {**describe_attempt(attempt, now=now), "job_link": link}
