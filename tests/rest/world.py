"""What the examples of the OpenAPI document speak of: the first job, its first task, an agent, a server."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection

from access import tokens
from access.models import AuditEntry
from agents.api.examples import AGENT_ID
from agents.enrollment import create_enrollment_token
from agents.models import Agent
from agents.services import create_agent
from agents.tokens import issue_token
from gateway import servers
from gateway.models import Connection
from scheduling.clock import database_now
from scheduling.models import Alert, Backfill, Calendar, Job, Schedule, Task, TaskInstance
from scheduling.services import by_hand, manual
from scheduling.services.backfills import create_backfill
from scheduling.services.calendars import create_calendar, freeze
from scheduling.services.retention_rules import create_rule
from tests import factories
from tests.openapi import Operation

_NUMBERED = (Job, Schedule, Task, AuditEntry, Calendar, Alert)


class World:
    """Objects for one request; those that are numbered begin at 1."""

    def __init__(self) -> None:
        # Who logged in before has left an entry with a number.
        AuditEntry.objects.all().delete()
        with connection.cursor() as cursor:
            for model in _NUMBERED:
                table = model._meta.db_table
                cursor.execute("SELECT setval(pg_get_serial_sequence(%s, 'id'), 1, false)", [table])
        self.agent: Agent = create_agent(
            agent_id=uuid.UUID(AGENT_ID),
            name="worker-1",
            status="idle",
            capabilities={"max_concurrent_tasks": 4, "commands": ["bash"], "metadata": {}},
        )
        self.job = factories.job(name="of the world")

    def backfill(self) -> Backfill:
        day = timedelta(days=1)
        return create_backfill(
            schedule_id=self.schedule().pk,
            range_from=factories.NOW - day,
            range_to=factories.NOW,
            now=factories.NOW,
        )

    def schedule(self) -> Schedule:
        return factories.schedule(job=self.job, kind="cron", cron_expression="30 2 * * *")

    def task(self) -> Task:
        return factories.task(job=self.job)

    def cancelled_task(self) -> Task:
        return manual.cancel(task_id=self.task().pk, now=factories.NOW)

    def attempt(self) -> TaskInstance:
        return by_hand.create_attempt(task_id=self.task().pk, agent_id=None, now=factories.NOW)

    def cancelled_attempt(self) -> TaskInstance:
        return by_hand.cancel_attempt(instance_id=self.attempt().pk, now=factories.NOW)

    def server(self) -> uuid.UUID:
        server_id = uuid.uuid4()
        servers.register_server(server_id=server_id, name="s", address="", version="1", now=database_now())
        return server_id

    def session(self) -> Connection:
        now = database_now()
        return Connection.objects.create(
            agent=self.agent,
            server_id=self.server(),
            session_id=uuid.uuid4(),
            epoch=uuid.uuid4(),
            connected_at=now,
            last_activity=now,
        )

    def token(self) -> Any:
        user = User.objects.get_or_create(username="ann")[0]
        return tokens.issue(user=user, name="of the world")[0]

    def enrollment(self) -> Any:
        return create_enrollment_token(now=database_now())

    def path(self, operation: Operation) -> str:
        """Return a path of the operation that leads to what is there."""
        path = operation.path
        for name in ("namespace", "status", "token_id", "job_id", "task_id", "agent_id", "id"):
            if f"{{{name}}}" in path:
                path = path.replace(f"{{{name}}}", str(self._named(name, operation)))
        return path

    def _named(self, name: str, operation: Operation) -> Any:
        match name:
            case "namespace":
                return "default"
            case "status":
                return "pending"
            case "token_id":
                return issue_token(agent=self.agent).row.pk
            case "job_id":
                return self.job.pk
            case "task_id":
                return self.task().pk
            case "agent_id":
                return self.agent.pk
        if "/enrollment-tokens/" in operation.path:
            return self.enrollment().row.pk
        special = _SPECIAL.get(operation.id)
        return (special or _USUAL[operation.described["tags"][0]])(self)


_USUAL: dict[str, Callable[[World], Any]] = {
    "jobs": lambda world: world.job.pk,
    "schedules": lambda world: world.schedule().pk,
    "tasks": lambda world: world.task().pk,
    "task-instances": lambda world: world.attempt().pk,
    "agents": lambda world: world.agent.pk,
    "connections": lambda world: world.session().pk,
    "servers": lambda world: world.server(),
    "tokens": lambda world: world.token().pk,
    "backfills": lambda world: world.backfill().pk,
    "retention-rules": lambda world: create_rule(namespace="of the world", keep_days=1).pk,
    "calendars": lambda world: create_calendar(name="of the world").pk,
    "freezes": lambda world: freeze(namespace="default", now=factories.NOW).pk,
    "alerts": lambda world: Alert.objects.create(kind="missed", namespace="default", text="").pk,
    "audit": lambda world: AuditEntry.objects.order_by("pk")[0].pk,
}
# Where the usual state would refuse.
_SPECIAL: dict[str, Callable[[World], Any]] = {
    "tasks_delete": lambda world: world.cancelled_task().pk,
    "tasks_retry": lambda world: world.cancelled_task().pk,
    "task_instances_delete": lambda world: world.cancelled_attempt().pk,
}
