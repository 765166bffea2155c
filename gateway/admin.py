"""Agents and servers. Agents stand here, not in their own app, because their page shows sessions and work."""

from datetime import timedelta
from typing import Any, ClassVar, Final

from django.conf import settings
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.db.models.functions import Now
from django.forms import CharField
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import BooleanRadioFilter, ChoicesDropdownFilter, DropdownFilter
from unfold.widgets import UnfoldAdminTextareaWidget

from access.callers import actor_of
from agents.models import CONNECTED_STATUSES, Agent, AgentStatus
from agents.samples import usage_of
from agents.services import create_agent
from gateway.agent_page import ShowsAgents, labels_in, since, slots_of, version_of
from gateway.attempt_log import log_of
from gateway.enrolling_admin import TOKEN_BUTTONS
from gateway.models import Server
from gateway.operators import agent_problems, queue_command, update_agent
from gateway.usage_picture import spark
from scheduling.admin import words
from scheduling.admin.fields import CodeWidget, PairsField
from scheduling.admin.instances import TaskInstanceAdmin
from scheduling.admin.pages import Button, ReadOnlyAdmin, ServiceForm
from scheduling.admin.paging import BoundedChangeList
from scheduling.admin.permissions import may
from scheduling.admin.searching import AGENT_PARTS, Asked, FindsParts
from scheduling.clock import database_now
from scheduling.errors import InvalidField
from scheduling.models import TaskInstance
from scheduling.services.rescue import SERVER_DEAD_AFTER_SECS

# What the list shows of the load.
_RECENT: Final = timedelta(hours=2)
_RECENT_SLOTS: Final = 24


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


class ConnectionFilter(DropdownFilter):  # type: ignore[misc]
    """Agents that are connected, or are not, whatever they do."""

    title = gettext_lazy("connection")
    parameter_name = "connected"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("yes", gettext_lazy("online")), ("no", gettext_lazy("offline"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Agent]) -> QuerySet[Agent]:
        match self.value():
            case "yes":
                return queryset.filter(status__in=CONNECTED_STATUSES)
            case "no":
                return queryset.exclude(status__in=CONNECTED_STATUSES)
        return queryset


class VersionFilter(DropdownFilter):  # type: ignore[misc]
    """Agents of the server's version, or of another one."""

    title = gettext_lazy("version")
    parameter_name = "version"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("same", gettext_lazy("the server's")), ("other", gettext_lazy("another one"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Agent]) -> QuerySet[Agent]:
        match self.value():
            case "same":
                return queryset.filter(version=settings.HETUFLOW_VERSION)
            case "other":
                return queryset.exclude(version__in=("", settings.HETUFLOW_VERSION))
        return queryset


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
    return _(
        "The agent is asked to drain: it takes no new work, finishes what it has, and then its daemon ends."
    )


def _resume(agent_admin: Any, request: HttpRequest, agent: Agent) -> str:
    queue_command(agent_id=agent.pk, command="resume", now=database_now(), by=actor_of(request))
    return _("The agent is asked to take work again.")


# The page of an attempt is a layer below, where nothing is known of agents' logs.
TaskInstanceAdmin.log_of = staticmethod(log_of)


@admin.register(Agent)
class AgentAdmin(FindsParts, ShowsAgents):
    namespace_path = None
    form = AgentForm
    model_fields = ("name", "description", "enabled")
    fields_to_look_at = ("labels",)
    list_before_template = "admin/agents/agent/list_head.html"
    change_form_outer_before_template = "admin/agents/agent/summary.html"
    change_form_outer_after_template = "admin/agents/agent/related.html"
    list_display = ("agent", "state", "slots", "load", "all_labels", "runs_version", "heartbeat")
    list_display_links = ("agent",)
    list_filter = (
        ConnectionFilter,
        ("status", ChoicesDropdownFilter),
        ("enabled", BooleanRadioFilter),
        VersionFilter,
    )
    parts = search_fields = AGENT_PARTS
    search_help_text = gettext_lazy("Name, host, address, zone=eu or label:zone")
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
            confirm=gettext_lazy(
                "Drain this agent? It takes no new work, finishes what it has, and then its daemon ends."
            ),
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
            confirm=gettext_lazy("Let this agent take new work again?"),
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
            confirm=gettext_lazy("Disable this agent? It gets no new work until it is enabled again."),
            is_shown=lambda agent: agent.enabled,
        ),
        *TOKEN_BUTTONS,
    )

    class Media:
        css: ClassVar = {"all": ("hetuflow/agents.css",)}

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """History hangs on an agent: one that is no longer wanted is disabled."""
        return False

    def all_rows(self, request: HttpRequest) -> QuerySet[Agent]:
        return Agent.objects.filter(archived_at__isnull=True).annotate(
            live_count=TaskInstance.objects.count_live_of_agent(), shown_at=Now()
        )

    def labelled(self, rows: QuerySet[Agent], asked: Asked) -> QuerySet[Agent]:
        return rows.none() if asked.tags else rows.filter(asked.labels_at("labels"))

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

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BoundedChangeList]:
        return _AgentList

    @admin.display(description=gettext_lazy("agent"), ordering="name")
    def agent(self, agent: Agent) -> SafeString:
        return format_html(
            '<span class="hf-name">{}</span><span class="hf-sub">{}</span>', agent.name, agent.hostname
        )

    @admin.display(description=gettext_lazy("status"))
    def state(self, agent: Any) -> SafeString:
        badges = [words.badge(agent.status, agent.get_status_display())]
        if not agent.enabled:
            badges.append(words.badge("", _("disabled")))
        return format_html(
            '{}<span class="hf-sub">{}</span>',
            format_html_join(" ", "{}", ((badge,) for badge in badges)),
            since(agent, now=agent.shown_at),
        )

    @admin.display(description=gettext_lazy("labels"))
    def all_labels(self, agent: Agent) -> SafeString | str:
        return labels_in(agent.labels)

    @admin.display(description=gettext_lazy("slots"))
    def slots(self, agent: Any) -> SafeString | str:
        slots = slots_of(agent)
        if not slots["all"]:
            return words.MISSING
        return format_html(
            '<span class="hf-exact">{} / {}</span><span class="hf-progress" aria-hidden="true">'
            '<i class="hf-fate-active" style="width: {}%"></i></span>',
            slots["used"],
            slots["all"],
            slots["percent"],
        )

    @admin.display(description=gettext_lazy("last heartbeat"), ordering="last_heartbeat_at")
    def heartbeat(self, agent: Any) -> SafeString | str:
        return words.moment(agent.last_heartbeat_at, now=agent.shown_at)

    @admin.display(description=gettext_lazy("load"))
    def load(self, agent: Any) -> SafeString:
        is_there = agent.status in CONNECTED_STATUSES
        pieces = []
        for name, label in (("cpu", "CPU"), ("memory", "RAM")):
            told = agent.metrics.get(f"{name}_usage") if is_there else None
            values = [None if each is None else getattr(each, name) for each in agent.usage]
            pieces.append((spark(label, values, now=told if isinstance(told, int | float) else None),))
        return format_html_join("", "{}", pieces)

    @admin.display(description=gettext_lazy("version"))
    def runs_version(self, agent: Agent) -> SafeString | str:
        version = version_of(agent)
        if not version["server"]:
            return version["own"] or words.MISSING
        title = _("The server has version %(version)s.") % {"version": version["server"]}
        return words.badge(AgentStatus.DRAINING, version["own"], title=title)


class _AgentList(BoundedChangeList):
    """Reads what the machines of the listed agents did lately, all with one statement."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        agents: list[Any] = list(self.result_list)
        if agents:
            end = agents[0].shown_at
            ids = [agent.pk for agent in agents]
            usage = usage_of(ids, begin=end - _RECENT, end=end, slots=_RECENT_SLOTS)
            for agent in agents:
                agent.usage = usage[agent.pk]
        self.result_list = agents


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
