"""Agents and servers. Agents stand here, not in their own app, because their page shows sessions and work."""

from datetime import timedelta
from typing import Any, Final

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.db.models.functions import Now
from django.forms import CharField
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter
from unfold.widgets import UnfoldAdminTextareaWidget

from access.callers import actor_of
from agents.models import CONNECTED_STATUSES, Agent, AgentStatus
from agents.services import create_agent
from gateway.enrolling_admin import TOKEN_BUTTONS, EnrollingAdmin
from gateway.models import Connection, Server
from gateway.operators import agent_problems, queue_command, update_agent
from scheduling.admin import words
from scheduling.admin.fields import CodeWidget, PairsField
from scheduling.admin.instances import listed_attempts
from scheduling.admin.pages import Button, ReadOnlyAdmin, ServiceForm
from scheduling.admin.permissions import may, seen_by
from scheduling.admin.tasks import describe_attempt, job_link, pretty
from scheduling.clock import database_now
from scheduling.errors import InvalidField
from scheduling.models import TaskInstance
from scheduling.services.rescue import SERVER_DEAD_AFTER_SECS
from scheduling.states import INSTANCE_LIVE

_LATEST_ATTEMPTS: Final = 15
_LOG_LINES: Final = 20


class AgentForm(ServiceForm):
    labels = PairsField(
        label=gettext_lazy("Labels"),
        widget=CodeWidget(rows=3, placeholder="zone=eu"),
        help_text=gettext_lazy("NAME=value, one a line. They come on top of those that the agent reports."),
    )

    description = CharField(
        label=gettext_lazy("Description"), required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2})
    )

    class Meta:
        model = Agent
        fields = ("name", "description", "enabled")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        instance = kwargs.get("instance")
        labels = instance.assigned_labels if instance is not None else {}
        kwargs["initial"] = {"labels": labels, **(kwargs.get("initial") or {})}
        super().__init__(*args, **kwargs)


def _set_enabled(agent_admin: Any, request: HttpRequest, agent: Agent, *, enabled: bool) -> str:
    update_agent(agent_id=agent.pk, now=database_now(), by=actor_of(request), enabled=enabled)
    if enabled:
        return _("The agent is enabled.")
    return _("The agent is disabled: it gets no new work and finishes what it has.")


def _enable(agent_admin: Any, request: HttpRequest, agent: Agent) -> str:
    return _set_enabled(agent_admin, request, agent, enabled=True)


def _disable(agent_admin: Any, request: HttpRequest, agent: Agent) -> str:
    return _set_enabled(agent_admin, request, agent, enabled=False)


def _drain(agent_admin: Any, request: HttpRequest, agent: Agent) -> str:
    queue_command(agent_id=agent.pk, command="drain", now=database_now(), by=actor_of(request))
    return _("The agent is asked to drain: it takes no new work and finishes what it has.")


def _resume(agent_admin: Any, request: HttpRequest, agent: Agent) -> str:
    queue_command(agent_id=agent.pk, command="resume", now=database_now(), by=actor_of(request))
    return _("The agent is asked to take work again.")


@admin.register(Agent)
class AgentAdmin(EnrollingAdmin):
    namespace_path = None
    form = AgentForm
    model_fields = ("name", "description", "enabled")
    fields_to_look_at = ("labels",)
    change_form_outer_before_template = "admin/agents/agent/summary.html"
    change_form_outer_after_template = "admin/agents/agent/related.html"
    list_display = ("agent", "state", "is_enabled", "all_labels", "slots", "heartbeat", "load", "version")
    list_display_links = ("agent",)
    list_filter = (("status", ChoicesDropdownFilter), ("enabled", BooleanRadioFilter))
    search_fields = ("name", "hostname", "address")
    ordering = ("name", "pk")
    sortable_by = ("agent", "heartbeat")
    fieldsets = ((None, {"fields": ("name", "description", "enabled", "labels")}),)
    buttons = (
        Button(
            name="drain",
            label=gettext_lazy("Drain"),
            icon="hourglass_bottom",
            press=_drain,
            permission="agents.operate_agent",
            is_shown=lambda agent: (
                agent.status in CONNECTED_STATUSES and agent.status != AgentStatus.DRAINING
            ),
        ),
        Button(
            name="resume",
            label=gettext_lazy("Resume"),
            icon="play_circle",
            press=_resume,
            permission="agents.operate_agent",
            is_shown=lambda agent: agent.status == AgentStatus.DRAINING,
        ),
        Button(
            name="enable",
            label=gettext_lazy("Enable"),
            icon="check_circle",
            press=_enable,
            permission="agents.change_agent",
            is_shown=lambda agent: not agent.enabled,
        ),
        Button(
            name="disable",
            label=gettext_lazy("Disable"),
            icon="block",
            press=_disable,
            permission="agents.change_agent",
            is_shown=lambda agent: agent.enabled,
        ),
        *TOKEN_BUTTONS,
    )

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """History hangs on an agent: one that is no longer wanted is disabled."""
        return False

    def all_rows(self, request: HttpRequest) -> QuerySet[Agent]:
        return Agent.objects.filter(archived_at__isnull=True).annotate(
            live_count=TaskInstance.objects.count_live_of_agent(), shown_at=Now()
        )

    def save_by_service(self, request: HttpRequest, obj: Agent, form: Any, *, change: bool) -> Agent:
        names = form.changed_data if change else ["name", "description", "enabled", "labels"]
        fields = {name: form.cleaned_data[name] for name in names}
        if change:
            return update_agent(agent_id=obj.pk, now=database_now(), by=actor_of(request), **fields)
        labels = fields.pop("labels")
        errors = agent_problems(name=fields["name"], description=fields["description"], labels=labels)
        if errors:
            raise InvalidField(errors)
        return create_agent(assigned_labels=labels, by=actor_of(request), **fields)

    @admin.display(description=gettext_lazy("agent"), ordering="name")
    def agent(self, agent: Agent) -> SafeString:
        return format_html(
            '<span class="hf-name">{}</span><span class="hf-sub">{}</span>', agent.name, agent.hostname
        )

    @admin.display(description=gettext_lazy("status"))
    def state(self, agent: Agent) -> SafeString:
        return words.badge(agent.status, agent.get_status_display())

    @admin.display(description=gettext_lazy("enabled"), boolean=True)
    def is_enabled(self, agent: Agent) -> bool:
        return agent.enabled

    @admin.display(description=gettext_lazy("labels"))
    def all_labels(self, agent: Agent) -> SafeString | str:
        pairs = ((f"{name}={value}",) for name, value in sorted(agent.labels.items()))
        return format_html_join(" ", '<span class="hf-tag">{}</span>', pairs) or words.MISSING

    @admin.display(description=gettext_lazy("slots"))
    def slots(self, agent: Any) -> str:
        return f"{agent.live_count} / {agent.capacity}"

    @admin.display(description=gettext_lazy("last heartbeat"), ordering="last_heartbeat_at")
    def heartbeat(self, agent: Any) -> SafeString | str:
        return words.moment(agent.last_heartbeat_at, now=agent.shown_at)

    @admin.display(description=gettext_lazy("load"))
    def load(self, agent: Agent) -> str:
        parts = [
            f"{label} {agent.metrics[name]:.0f} %"
            for name, label in (("cpu_usage", "CPU"), ("memory_usage", "RAM"))
            if isinstance(agent.metrics.get(name), int | float)
        ]
        return ", ".join(parts) or words.MISSING

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        agent = kwargs.get("obj")
        if agent is not None:
            context |= self._page_context(request, agent)
        return super().render_change_form(request, context, *args, **kwargs)

    def _page_context(self, request: HttpRequest, agent: Any) -> dict[str, Any]:
        now = database_now()
        attempts = seen_by(request, listed_attempts(request).filter(agent=agent))
        live = attempts.filter(status__in=INSTANCE_LIVE)
        latest = attempts.exclude(status__in=INSTANCE_LIVE).order_by("-pk")[:_LATEST_ATTEMPTS]
        may_see_log = may(request, "gateway.view_agentlog")
        return {
            "buttons": self.shown_buttons(request, agent),
            "state": self.state(agent),
            "slots": self.slots(agent),
            "heartbeat": self.heartbeat(agent),
            "all_labels": self.all_labels(agent),
            "connection": Connection.objects.filter(agent=agent, server__isnull=False)
            .select_related("server")
            .first(),
            "connected": words.moment(agent.connected_at, now=now),
            "commands": ", ".join(agent.capabilities.get("commands", [])),
            "reported": self._tags(agent.reported_labels),
            "statistics": agent.statistics,
            "metrics": pretty(agent.metrics) if agent.metrics else "",
            **self.tokens_context(request, agent, now=now),
            "running": (running := [_listed(attempt, now) for attempt in live]),
            "runs_more": agent.live_count > len(running),
            "latest": [_listed(attempt, now) for attempt in latest],
            "log_lines": [
                {"at": words.clock(line.at), "level": line.level, "message": line.message}
                for line in (agent.log_lines.order_by("-pk")[:_LOG_LINES] if may_see_log else ())
            ],
        }

    @staticmethod
    def _tags(labels: dict[str, str]) -> SafeString | str:
        pairs = ((f"{name}={value}",) for name, value in sorted(labels.items()))
        return format_html_join(" ", '<span class="hf-tag">{}</span>', pairs) or words.MISSING


@admin.register(Server)
class ServerAdmin(ReadOnlyAdmin):
    namespace_path = None
    page_template = "admin/gateway/server/page.html"
    list_display = ("name", "state", "address", "version", "started", "heartbeat", "sessions")
    search_fields = ("name", "address")
    ordering = ("name", "pk")
    sortable_by = ("name",)

    def all_rows(self, request: HttpRequest) -> QuerySet[Server]:
        return Server.objects.annotate(session_count=Count("connections"), shown_at=Now())

    @admin.display(description=gettext_lazy("status"))
    def state(self, server: Any) -> SafeString:
        is_active = server.shown_at - server.last_heartbeat_at < timedelta(seconds=SERVER_DEAD_AFTER_SECS)
        if is_active:
            return words.badge("online", _("active"))
        return words.badge("offline", _("inactive"))

    @admin.display(description=gettext_lazy("started"))
    def started(self, server: Any) -> SafeString | str:
        return words.moment(server.started_at, now=server.shown_at)

    @admin.display(description=gettext_lazy("last heartbeat"))
    def heartbeat(self, server: Any) -> SafeString | str:
        return words.moment(server.last_heartbeat_at, now=server.shown_at)

    @admin.display(description=gettext_lazy("agents connected"))
    def sessions(self, server: Any) -> int:
        return int(server.session_count)

    def page_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        may_see_connections = may(request, "gateway.view_connection") and may(request, "agents.view_agent")
        connections = obj.connections.select_related("agent").order_by("agent__name")[:200]
        return {
            "state": self.state(obj),
            "started": self.started(obj),
            "heartbeat": self.heartbeat(obj),
            "connections": [
                {"connection": each, "activity": words.moment(each.last_activity, now=obj.shown_at)}
                for each in connections
                if may_see_connections
            ],
        }


def _listed(attempt: Any, now: Any) -> dict[str, Any]:
    link = job_link(attempt.job, is_seen=attempt.shows_job)
    return {**describe_attempt(attempt, now=now), "job_link": link}
