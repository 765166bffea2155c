"""What queries may say about agents' logs."""

from typing import Final, get_args

from agents.protocol.messages import LogLevel
from rest.kinds import INSTANT, INTEGER, TEXT, UUID, choice
from rest.querying import Field, QueryTable

LOGS: Final = QueryTable(
    {
        "level": choice(get_args(LogLevel)),
        "since": Field(INSTANT, "at", lookup="gte"),
        "until": Field(INSTANT, "at", lookup="lte"),
        "contains": Field(TEXT, "message", lookup="contains"),
        "task_instance_id": Field(UUID, "instance_id"),
        "at": INSTANT,
        "id": INTEGER,
    },
    default_order=("id",),
)
