"""How agents get in, in the admin: machines that enrol, and the tokens of an agent."""

from datetime import datetime, timedelta
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from access.callers import actor_of
from agents import enrollment, tokens
from agents.api.enrollment import enroll_command, server_url
from agents.errors import TokenUsed
from agents.models import Agent, AgentToken, EnrollmentToken, TokenState
from gateway.commands import is_connected
from gateway.operators import agent_problems
from scheduling.admin import words
from scheduling.admin.fields import CodeWidget, PairsField
from scheduling.admin.pages import Button, ServiceAdmin
from scheduling.admin.permissions import may
from scheduling.clock import database_now

_LISTED_TOKENS: Final = 50
_USUAL_LIFE: Final = int(enrollment.DEFAULT_LIFE.total_seconds())
_ENROLLMENT_LIVES: Final = (
    (900, gettext_lazy("15 minutes")),
    (3600, gettext_lazy("1 hour")),
    (86_400, gettext_lazy("1 day")),
    (7 * 86_400, gettext_lazy("7 days")),
)
_TOKEN_LIVES: Final = (
    (0, gettext_lazy("does not expire")),
    (7, gettext_lazy("7 days")),
    (30, gettext_lazy("30 days")),
    (90, gettext_lazy("90 days")),
    (365, gettext_lazy("365 days")),
)


class EnrolForm(forms.Form):
    """What a new machine will be; empty, it is the usual. Who becomes an agent that is there has its name."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        required=False,
        max_length=255,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "build-7"}),
        help_text=gettext_lazy("Empty: what the machine says of itself, its host name."),
    )
    labels = PairsField(
        label=gettext_lazy("Labels"),
        widget=CodeWidget(rows=3, placeholder="zone=eu"),
        help_text=gettext_lazy("NAME=value, one a line. They come on top of those that the agent reports."),
    )
    life = forms.TypedChoiceField(
        label=gettext_lazy("Valid for"),
        coerce=int,
        choices=_ENROLLMENT_LIVES,
        required=False,
        initial=_USUAL_LIFE,
        widget=UnfoldAdminSelectWidget,
        help_text=gettext_lazy("The token is good once; after that time it is good for nothing."),
    )

    def __init__(self, *args: Any, agent: Agent | None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if agent is not None:
            del self.fields["name"], self.fields["labels"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        problems = agent_problems(
            name=cleaned.get("name") or None, description=None, labels=cleaned.get("labels")
        )
        for name, problem in problems.items():
            self.add_error(name, problem)
        return cleaned


class NewTokenForm(forms.Form):
    """A token beside those that an agent has."""

    name = forms.CharField(required=False, max_length=255)
    life = forms.TypedChoiceField(coerce=int, choices=_TOKEN_LIVES, required=False)


def _issue(agent_admin: Any, request: HttpRequest, agent: Agent) -> str | HttpResponseBase:
    form = NewTokenForm(request.POST)
    if not form.is_valid():
        agent_admin.message_user(request, _("Choose a name of at most 255 characters."), messages.ERROR)
        return HttpResponseRedirect(agent_admin.change_url(agent))
    now, days = database_now(), form.cleaned_data["life"] or 0
    issued = tokens.issue_token(
        agent=agent,
        name=form.cleaned_data["name"],
        by=actor_of(request),
        expires_at=now + timedelta(days=days) if days else None,
        now=now,
    )
    return _token_page(
        agent_admin, request, agent, issued, _("The other tokens of the agent stay as they are.")
    )


def _rotate(agent_admin: Any, request: HttpRequest, agent: Agent) -> HttpResponseBase:
    issued = tokens.rotate_token(agent_id=agent.pk, now=database_now(), by=actor_of(request))
    return _token_page(
        agent_admin,
        request,
        agent,
        issued,
        _("The other tokens of the agent end within a day: give it this one before."),
    )


def _revoke(agent_admin: Any, request: HttpRequest, agent: Agent) -> str | HttpResponseBase:
    wanted = request.POST.get("token", "")
    found = agent.tokens.filter(pk=wanted).first() if wanted.isascii() and wanted.isdigit() else None
    if found is None:
        agent_admin.message_user(request, _("The agent has no such token any more."), messages.ERROR)
        return HttpResponseRedirect(agent_admin.change_url(agent))
    tokens.revoke_token(token_id=found.pk, now=database_now(), by=actor_of(request))
    return _("The token is revoked; a session that was opened with it is being closed.")


def _token_page(
    agent_admin: Any, request: HttpRequest, agent: Agent, issued: tokens.IssuedToken, lead: str
) -> HttpResponseBase:
    context = {
        **agent_admin.admin_site.each_context(request),
        "opts": agent_admin.opts,
        "original": agent,
        "title": _("A token for %(agent)s") % {"agent": agent},
        "lead": lead,
        "token": issued.secret,
        "back_url": agent_admin.change_url(agent),
        "server_url": server_url(request),
    }
    return TemplateResponse(request, "admin/agents/agent/token.html", context)


# Where they are shown is in the list of tokens, not among the buttons of the agent.
TOKEN_BUTTONS: Final = (
    Button(
        name="issue-token",
        label=gettext_lazy("New token"),
        icon="key",
        press=_issue,
        permission="agents.add_agenttoken",
        is_shown=lambda agent: False,
    ),
    Button(
        name="rotate-tokens",
        label=gettext_lazy("Rotate"),
        icon="autorenew",
        press=_rotate,
        permission="agents.change_agenttoken",
        is_shown=lambda agent: False,
    ),
    Button(
        name="revoke-token",
        label=gettext_lazy("Revoke"),
        icon="block",
        press=_revoke,
        permission="agents.change_agenttoken",
        is_shown=lambda agent: False,
    ),
)


class EnrollingAdmin(ServiceAdmin):
    """The part of the agents' admin that lets machines in."""

    change_list_template = "admin/agents/agent/change_list.html"

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        return [
            path("enrol/", view(self.enrol_view), name="agents_agent_enrol"),
            path("enrol/arrival/", view(require_GET(self.arrival_view)), name="agents_agent_arrival"),
            *super().get_urls(),
        ]

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        can_enrol = self.has_enrol_permission(request)
        return super().changelist_view(request, {"can_enrol": can_enrol, **(extra_context or {})})

    def has_enrol_permission(self, request: HttpRequest) -> bool:
        return may(request, "agents.add_enrollmenttoken")

    def enrol_view(self, request: HttpRequest) -> HttpResponse:
        """Make an enrolment token and show the command for the new machine, this once.

        A POST without a field makes the usual one. What the form below the command makes takes its place.
        """
        if not self.has_enrol_permission(request):
            raise PermissionDenied
        agent = self.object_or_redirect(request, request.GET["agent"]) if "agent" in request.GET else None
        if isinstance(agent, HttpResponse):
            return agent
        if "take_back" in request.POST:
            self._take_back(request)
            return HttpResponseRedirect(request.get_full_path())
        form = EnrolForm(request.POST if request.method == "POST" else None, agent=agent)
        made = self._made(request, agent, form.cleaned_data) if form.is_valid() else {}
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": agent,
            "title": _("Enrol a machine as %(agent)s") % {"agent": agent} if agent else _("Enrol a machine"),
            "form": form,
            "replaces": request.POST.get("replaces", ""),
            "waiting": self._waiting() if may(request, "agents.view_enrollmenttoken") else [],
            "can_take_back": may(request, "agents.delete_enrollmenttoken"),
            **made,
        }
        return TemplateResponse(request, "admin/agents/agent/enrol.html", context)

    def arrival_view(self, request: HttpRequest) -> HttpResponse:
        """Answer whether the machine has come: a part of the page, which asks for it again and again."""
        if not self.has_enrol_permission(request):
            raise PermissionDenied
        wanted = request.GET.get("enrolment", "")
        rows = EnrollmentToken.objects.select_related("agent")
        row = rows.filter(pk=wanted).first() if wanted.isascii() and wanted.isdigit() else None
        return TemplateResponse(request, "admin/agents/agent/arrival.html", self._arrival(row, wanted))

    def tokens_context(self, request: HttpRequest, agent: Agent, *, now: datetime) -> dict[str, Any]:
        """Return what the agent's page shows of its tokens, and what its reader may do with them."""
        if not may(request, "agents.view_agenttoken"):
            return {"shows_tokens": False}
        base = self.change_url(agent).removesuffix("change/")
        enrol_url = f"{reverse('admin:agents_agent_enrol')}?agent={agent.pk}"
        return {
            "shows_tokens": True,
            "tokens": [_listed(token, now) for token in agent.tokens.order_by("-pk")[:_LISTED_TOKENS]],
            "token_lives": _TOKEN_LIVES,
            "token_urls": {button.name.split("-")[0]: f"{base}{button.name}/" for button in TOKEN_BUTTONS},
            "can_issue": may(request, "agents.add_agenttoken"),
            "can_end_tokens": may(request, "agents.change_agenttoken"),
            "enrol_url": enrol_url if self.has_enrol_permission(request) else "",
        }

    def _made(self, request: HttpRequest, agent: Agent | None, fields: dict[str, Any]) -> dict[str, Any]:
        """Make a token instead of the one that was shown before, and return what the page shows of it."""
        replaced = request.POST.get("replaces", "")
        if replaced and may(request, "agents.delete_enrollmenttoken"):
            self._revoke(request, replaced)
        created = enrollment.create_enrollment_token(
            now=database_now(),
            name=fields.get("name", ""),
            labels=fields.get("labels"),
            agent=agent,
            life=timedelta(seconds=fields["life"] or _USUAL_LIFE),
            by=actor_of(request),
        )
        return {
            **self._arrival(created.row, str(created.row.pk)),
            "command": enroll_command(request, created.secret),
            "replaces": created.row.pk,
        }

    def _arrival(self, row: EnrollmentToken | None, wanted: str) -> dict[str, Any]:
        """Return how far a machine has come: `state` is waiting, enrolled, connected, expired or gone."""
        now = database_now()
        url = f"{reverse('admin:agents_agent_arrival')}?enrolment={wanted}"
        if row is None:
            return {"state": "gone"}
        if row.used_at is None or row.agent is None:
            left_secs = (row.expires_at - now).total_seconds()
            left = words.duration(left_secs) if left_secs >= 60 else f"{left_secs:.0f} s"
            return {"state": "waiting" if left_secs > 0 else "expired", "arrival_url": url, "left": left}
        state = "connected" if is_connected(row.agent.pk) else "enrolled"
        return {
            "state": state,
            "arrival_url": url,
            "agent": row.agent,
            "agent_url": self.change_url(row.agent),
        }

    def _waiting(self) -> list[dict[str, Any]]:
        now = database_now()
        rows = EnrollmentToken.objects.valid(now=now).select_related("agent").order_by("-pk")[:_LISTED_TOKENS]
        return [
            {
                "row": row,
                "name": row.agent.name if row.agent else row.name,
                "expires": words.moment(row.expires_at, now=now),
            }
            for row in rows
        ]

    def _take_back(self, request: HttpRequest) -> None:
        if not may(request, "agents.delete_enrollmenttoken"):
            self.message_user(request, _("The token cannot be taken back."), messages.ERROR)
        elif self._revoke(request, request.POST["take_back"]):
            self.message_user(request, _("The token is good for nothing any more."), messages.SUCCESS)
        else:
            self.message_user(request, _("A machine has used the token already."), messages.ERROR)

    def _revoke(self, request: HttpRequest, wanted: str) -> bool:
        """Take a token back, and return whether there was one that no machine has used."""
        if not (wanted.isascii() and wanted.isdigit() and len(wanted) < 19):
            return False
        try:
            enrollment.revoke_enrollment_token(token_id=int(wanted), by=actor_of(request))
        except (TokenUsed, EnrollmentToken.DoesNotExist):
            return False
        return True


def _listed(token: AgentToken, now: datetime) -> dict[str, Any]:
    state = token.state(now=now)
    return {
        "row": token,
        "is_valid": state == TokenState.VALID,
        "state": words.badge("online" if state == TokenState.VALID else "offline", state.label),
        "created": words.moment(token.created_at, now=now),
        "used": words.moment(token.last_used_at, now=now),
        "expires": words.moment(token.revoked_at or token.expires_at, now=now),
    }
