"""Agents that speak HTTP: their own tokens, for what is theirs."""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from agents.clock import database_now
from agents.errors import TokenRefused
from agents.models import Agent
from agents.services import TOKEN_PREFIX, authenticate_agent


class AgentUser:
    """An agent as the user of a request."""

    is_authenticated = True
    is_active = True

    def __init__(self, agent: Agent) -> None:
        self.agent = agent

    def get_username(self) -> str:
        return f"agent {self.agent.name}"


class AgentTokenAuthentication(BaseAuthentication):
    """Authenticates `Authorization: Bearer hfa_…`; other tokens are left to whoever comes next."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        scheme, _space, token = get_authorization_header(request).partition(b" ")
        if scheme.lower() != b"bearer" or not token.strip().startswith(TOKEN_PREFIX.encode() + b"_"):
            return None
        try:
            agent = authenticate_agent(token=token.strip().decode(errors="replace"), now=database_now())
        except TokenRefused as error:
            raise exceptions.AuthenticationFailed from error
        return AgentUser(agent), agent

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="hetuflow"'


class AgentTokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """Describes agents' tokens in the OpenAPI document."""

    target_class = "agents.api.authentication.AgentTokenAuthentication"
    name = "agentToken"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer", "description": "The token of an agent."}


class IsPersonOrSameAgent(BasePermission):
    """People may do it for every agent, an agent for itself."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if isinstance(request.user, AgentUser):
            return str(request.user.agent.pk) == view.kwargs.get("pk")
        return bool(request.user and request.user.is_authenticated)
