"""Agents that speak HTTP: their own tokens, for what is theirs.

DRF loads this module with its settings, so it must import nothing that needs them.
"""

from typing import Any

from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication, get_authorization_header
from rest_framework.request import Request

from agents.clock import database_now
from agents.errors import TokenRefused
from agents.models import Agent
from agents.tokens import TOKEN_PREFIX, USE_IS_NOTED_EVERY, authenticate_token, note_use


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
        now = database_now()
        try:
            shown = authenticate_token(secret=token.strip().decode(errors="replace"), now=now)
        except TokenRefused as error:
            raise exceptions.AuthenticationFailed from error
        if not shown.was_used_within(USE_IS_NOTED_EVERY, now=now):
            note_use(token_ids=[shown.pk], now=now)
        return AgentUser(shown.agent), None

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="hetuflow"'
