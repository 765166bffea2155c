"""Two namespaces with the same in each, and everybody who may want to see or change it.

Whatever is in the second one bears the mark, so that an answer which holds it can be told at a glance.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from rest_framework.test import APIClient

from access import tokens
from access.actors import Actor, ActorKind
from access.models import ApiToken, AuditEntry
from access.roles import Level
from agents.enrollment import create_enrollment_token
from agents.models import Agent, AgentToken, EnrollmentToken
from agents.tokens import issue_token
from gateway.models import Connection, Server
from hetuflow.permission_matrix import Reach, Rule
from scheduling.clock import database_now
from scheduling.models import (
    Alert,
    Backfill,
    Calendar,
    Freeze,
    Job,
    RetentionRule,
    Schedule,
    Task,
    TaskInstance,
)
from scheduling.services import by_hand
from scheduling.services.backfills import create_backfill
from scheduling.services.calendars import create_calendar, freeze
from scheduling.services.retention_rules import create_rule
from tests import factories, people

HERE, THERE = "here", "there"
MARK = "mark-of-what-is-there"
PAST_RANGE = {
    "range_from": datetime(2025, 2, 1, tzinfo=UTC),
    "range_to": datetime(2025, 2, 1, 1, tzinfo=UTC),
}
PAST = {name: at.isoformat() for name, at in PAST_RANGE.items()}


@dataclass(frozen=True)
class Place:
    """What is in one namespace. `agent` runs `instance`; agents belong to no namespace."""

    namespace: str
    job: Job
    schedule: Schedule
    task: Task
    waiting: Task
    instance: TaskInstance
    agent: Agent
    backfill: Backfill
    calendar: Calendar
    freeze: Freeze
    rule: RetentionRule
    alert: Alert
    entry: AuditEntry
    agent_token: AgentToken
    enrollment_secret: str


@dataclass(frozen=True)
class Caller:
    """Somebody who asks, and what they may do by the book: the level of their role in each namespace."""

    name: str
    client: APIClient
    levels: Mapping[str, Level] = field(default_factory=dict)
    is_agent: bool = False
    is_anonymous: bool = False
    # With a token that is not good for everything one manages no tokens.
    is_limited: bool = False
    administers_users: bool = False

    def level_in(self, namespace: str) -> Level | None:
        held = [level for name, level in self.levels.items() if name in (namespace, "*")]
        return max(held, default=None)

    def sees(self, namespace: str) -> bool:
        return self.level_in(namespace) is not None


@dataclass(frozen=True)
class World:
    """Everything there is. `stored_token` is of somebody who does not ask."""

    places: Mapping[str, Place]
    callers: list[Caller]
    server: Server
    stored_token: ApiToken
    enrollment_token: EnrollmentToken

    def places_for(self, rule: Rule) -> list[Place]:
        """Return where a request makes a difference."""
        depends = "{" in rule.path or rule.reach is Reach.BODY
        return list(self.places.values()) if depends else [self.places[HERE]]


def build() -> World:
    """Make it all; within a transaction that is rolled back."""
    places = {namespace: _place(namespace) for namespace in (HERE, THERE)}
    now = database_now()
    # Alive for as long as a slow machine takes.
    alive_at = now + timedelta(hours=1)
    server = Server.objects.create(name="s", version="1", started_at=now, last_heartbeat_at=alive_at)
    Connection.objects.create(
        agent=places[HERE].agent,
        server=server,
        session_id=places[HERE].instance.pk,
        epoch=places[HERE].instance.pk,
        connected_at=now,
        last_activity=now,
    )
    stored_token, _ = tokens.issue(user=people.person(), name="of a stranger")
    callers = _callers(places[HERE].agent)
    # Else a request with it would note that, once a minute.
    AgentToken.objects.update(last_used_at=alive_at)
    return World(
        places=places,
        callers=callers,
        server=server,
        stored_token=stored_token,
        enrollment_token=create_enrollment_token(now=now).row,
    )


@contextmanager
def undone() -> Iterator[None]:
    """Take back whatever is written in a `with` block."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def _place(namespace: str) -> Place:
    mark = MARK if namespace == THERE else "of what is here"
    now = database_now()
    job = factories.job(namespace=namespace, description=mark, tags=[mark], by=factories.ANN)
    schedule = factories.schedule(job=job, now=now, name=mark)
    task = factories.task(job=job, now=now, parameters={"mark": mark})
    waiting = factories.task(job=job, now=now, parameters={"mark": mark})
    agent = factories.agent()
    instance = by_hand.create_attempt(task_id=task.pk, agent_id=agent.pk, now=now)
    by_hand.start_attempt(instance_id=instance.pk, agent_id=None, now=now)
    instance = by_hand.update_attempt(instance_id=instance.pk, now=now, result=mark)
    backfill = create_backfill(schedule_id=schedule.pk, now=now, **PAST_RANGE)
    calendar = create_calendar(namespace=namespace, name=mark)
    frozen = freeze(namespace=namespace, now=now, reason=mark)
    rule = create_rule(namespace=namespace, keep_days=1, by=Actor(kind=ActorKind.USER, name=mark))
    alert = Alert.objects.create(kind="missed", namespace=namespace, text=mark)
    entry = AuditEntry.objects.filter(namespace=namespace).latest("pk")
    secret = create_enrollment_token(now=now).secret
    token = issue_token(agent=agent).row
    return Place(
        namespace,
        job,
        schedule,
        task,
        waiting,
        instance,
        agent,
        backfill,
        calendar,
        frozen,
        rule,
        alert,
        entry,
        token,
        secret,
    )


def _callers(agent: Agent) -> list[Caller]:
    session, levels = (
        people.session_of,
        dict(zip(("viewer", "operator", "editor", "admin"), Level, strict=True)),
    )
    scopes = dict(zip(("read", "operate", "write", "admin"), Level, strict=True))
    callers = [
        Caller("nobody in particular", people.anonymous(), is_anonymous=True),
        Caller("a person without role", session(people.person())),
        Caller("an agent", people.agent_client(agent), is_agent=True),
    ]
    for role, level in levels.items():
        callers.append(Caller(f"{role} here", session(people.with_role(role, HERE)), {HERE: level}))
        callers.append(Caller(f"{role} everywhere", session(people.with_role(role)), {"*": level}))
    callers.append(
        Caller(
            "viewer there who edits here",
            session(people.with_role("editor", HERE, ("viewer", THERE))),
            {HERE: Level.WRITE, THERE: Level.READ},
        )
    )
    root = people.person(superuser=True)
    callers.append(Caller("a superuser", session(root), {"*": Level.ADMIN}, administers_users=True))
    for scope, level in scopes.items():
        is_limited = scope != "admin"
        client = people.token_of(root, scope=scope)
        caller = Caller(f"a superuser's token to {scope}", client, {"*": level}, is_limited=is_limited)
        callers.append(caller if is_limited else _administrator(caller))
    for scope in ("read", "admin"):
        client = people.token_of(root, scope=scope, namespace=HERE)
        name = f"a superuser's token to {scope} here"
        callers.append(Caller(name, client, {HERE: scopes[scope]}, is_limited=True))
    viewer = people.token_of(people.with_role("viewer", HERE), scope="admin")
    callers.append(Caller("a viewer's token to admin", viewer, {HERE: Level.READ}))
    return callers


def _administrator(caller: Caller) -> Caller:
    return Caller(caller.name, caller.client, caller.levels, administers_users=True)


Body = Callable[[Place], dict[str, Any]]
_CHANGE: Body = lambda place: {"description": "changed"}  # noqa: E731
# What each view's actions are sent that write or need a body; without one they get `{}`.
BODIES: dict[tuple[str, str], Body] = {
    ("ConnectedAgentViewSet", "create"): lambda place: {"name": "new"},
    ("ConnectedAgentViewSet", "partial_update"): _CHANGE,
    ("ConnectedAgentViewSet", "heartbeat"): lambda place: {"status": "draining"},
    ("ConnectedAgentViewSet", "commands"): lambda place: {"command": "drain", "timeout_secs": 0.1},
    ("ConnectionViewSet", "broadcast"): lambda place: {
        "message_kind": "command",
        "payload": {"command": "drain"},
        "target_agents": [],
    },
    ("JobViewSet", "create"): lambda place: {
        "namespace": place.namespace,
        "name": "new",
        "config": {"cmd": "bash"},
    },
    ("JobViewSet", "partial_update"): _CHANGE,
    ("ScheduleViewSet", "create"): lambda place: {
        "job_id": place.job.pk,
        "kind": "interval",
        "interval_secs": 60,
    },
    ("ScheduleViewSet", "partial_update"): _CHANGE,
    ("ScheduleViewSet", "preview"): lambda place: {"kind": "interval", "interval_secs": 60},
    ("RetentionRuleViewSet", "create"): lambda place: {"job_id": place.job.pk, "keep_days": 1},
    ("RetentionRuleViewSet", "partial_update"): lambda place: {"keep_days": 2},
    ("CalendarViewSet", "create"): lambda place: {"namespace": place.namespace, "name": "new"},
    ("CalendarViewSet", "partial_update"): _CHANGE,
    ("FreezeViewSet", "create"): lambda place: {"namespace": place.namespace},
    ("BackfillViewSet", "create"): lambda place: {
        "schedule_id": place.schedule.pk,
        **PAST,
    },
    ("BackfillPreviewViewSet", "backfill_preview"): lambda place: PAST,
    ("TaskViewSet", "create"): lambda place: {"job_id": place.job.pk},
    ("TaskViewSet", "partial_update"): lambda place: {"priority": 7},
    ("TaskInstanceViewSet", "create"): lambda place: {"task_id": place.waiting.pk},
    ("TaskInstanceViewSet", "partial_update"): lambda place: {"error_message": "changed"},
    ("EnrollView", "post"): lambda place: {"token": place.enrollment_secret, "name": "new"},
    ("TokenViewSet", "create"): lambda place: {"name": "new"},
}


# --- requests --------------------------------------------------------------------------------------------


def ids(rule: Rule, place: Place, world: World) -> dict[str, Any]:
    """Return what the keys in the path of a rule stand for, in `place`."""
    of_view = {
        "ConnectedAgentViewSet": place.agent,
        "ConnectionViewSet": world.places[HERE].agent,
        "ServerViewSet": world.server,
        "JobViewSet": place.job,
        "ScheduleViewSet": place.schedule,
        "ScheduleLedgerViewSet": place.schedule,
        "JobExplanationViewSet": place.job,
        "BackfillPreviewViewSet": place.schedule,
        "BackfillViewSet": place.backfill,
        "CalendarViewSet": place.calendar,
        "RetentionRuleViewSet": place.rule,
        "FreezeViewSet": place.freeze,
        "AlertViewSet": place.alert,
        "TaskExplanationViewSet": place.waiting,
        "TaskViewSet": place.waiting,
        "TaskInstanceViewSet": place.instance,
        "InstanceLogsViewSet": place.instance,
        "AuditViewSet": place.entry,
        "TokenViewSet": world.stored_token,
        "AgentTokenViewSet": place.agent,
        "EnrollmentTokenViewSet": world.enrollment_token,
    }
    return {
        "id": of_view[rule.view].pk if rule.view in of_view else None,
        "job_id": place.job.pk,
        "task_id": place.task.pk,
        "agent_id": place.agent.pk,
        "token_id": place.agent_token.pk,
        "namespace": place.namespace,
        "status": "pending",
    }


def send(
    caller: Caller,
    rule: Rule,
    place: Place,
    world: World,
    *,
    body: Mapping[str, Any] | None = None,
    **changed: Any,
) -> Any:
    """Let somebody do what a rule is about to what is in a place; `changed` are other keys of the path."""
    path = rule.path.format(**{**ids(rule, place, world), **changed})
    if body is None:
        body = BODIES.get((rule.view, rule.action), lambda _: {})(place)
    return getattr(caller.client, rule.method.lower())(
        path, *([] if rule.method in ("GET", "HEAD") else [body])
    )
