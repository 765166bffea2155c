"""What can go wrong with agents; the docstring is the default message."""

from access.sentences import said as _


class AgentError(Exception):
    """The agent cannot do that."""

    code = "invalid"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or _((self.__doc__ or "").strip()))


class AgentAlreadyExists(AgentError):
    """An agent with this id or name exists already."""

    code = "already_exists"


class AgentOffline(AgentError):
    """The agent is offline."""

    code = "agent_offline"


class AgentTimeout(AgentError):
    """The agent did not answer in time."""

    code = "agent_timeout"


class CommandRefused(AgentError):
    """The agent refused the command."""

    code = "command_refused"


class TokenRefused(AgentError):
    """The token is unknown, used, expired or revoked."""

    code = "token_refused"


class TokenUsed(AgentError):
    """The enrolment token was used already."""

    code = "already_used"


class WrongAgent(AgentError):
    """The enrolment token is for another agent."""

    code = "wrong_agent"
