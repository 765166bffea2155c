"""What an agent's log says of one attempt: that it was asked to stop, how its processes ended."""

from datetime import datetime
from typing import Final

from gateway.models import AgentLog
from scheduling.models import TaskInstance

_MAX_LINES: Final = 100
# Which module of the agent says it is of no use beside the attempt.
_SOURCE: Final = "agents.daemon.supervisor: "


def log_of(attempt: TaskInstance) -> list[tuple[datetime, str, str]]:
    """Return when, at which level and what the log says of an attempt, the latest lines."""
    if attempt.agent_id is None:
        return []
    lines = AgentLog.objects.filter(instance_id=attempt.pk, agent_id=attempt.agent_id).order_by("-pk")
    about = f"attempt {attempt.pk}"
    return [
        (line.at, line.level, line.message.removeprefix(_SOURCE).removeprefix(about).lstrip(": "))
        for line in reversed(lines[:_MAX_LINES])
    ]
