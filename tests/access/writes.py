"""What each request that is not a GET leaves in the audit log, and which of them only read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from hetuflow.permission_matrix import rules
from scheduling.clock import database_now
from scheduling.services import by_hand, manual
from scheduling.services.backfills import pause_backfill
from scheduling.services.definitions import update_job, update_schedule
from tests.access.world import HERE, Place

UNSAFE = [rule for rule in rules() if rule.action and rule.method != "GET"]
# These are a POST because what they ask does not fit into a URL, and write nothing.
READS = {
    **{(rule.view, "query"): "a filter" for rule in UNSAFE if rule.action == "query"},
    ("ConnectedAgentViewSet", "logs"): "a filter",
    ("ConnectedAgentViewSet", "status"): "the design of the API has it so",
    ("ConnectionViewSet", "stats"): "options of the answer",
    ("InfoView", "post"): "options of the answer",
    ("MetricsView", "post"): "options of the answer",
    ("SystemInfoView", "post"): "options of the answer",
    ("SystemMetricsView", "post"): "options of the answer",
    ("ScheduleViewSet", "preview"): "a schedule that is not saved",
    ("BackfillPreviewViewSet", "backfill_preview"): "a backfill that is not saved",
}
# These write without an entry when an agent asks, and why.
UNRECORDED_OF_AGENTS = {
    ("ConnectedAgentViewSet", "heartbeat"): "what an agent says of itself every few seconds",
}
Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Write:
    """What a request leaves: `before` and `after` are None where nothing was, or nothing is left.

    `about` names an object of the place or of the world, and is empty for what the answer holds.
    """

    action: str
    about: str = ""
    before: Fields | None = None
    after: Fields | None = None
    # What must be so first; may return another id for the path.
    given: Callable[[Place], Fields | None] = lambda place: None
    body: Callable[[Place], Fields | None] = lambda place: None
    besides: tuple[str, ...] = ()


def nothing(place: Place) -> None:
    return


def paused_backfill(place: Place) -> None:
    pause_backfill(backfill_id=place.backfill.pk, now=database_now())


def ended_task(place: Place) -> None:
    manual.cancel(task_id=place.waiting.pk, now=database_now())


def ended_attempt(place: Place) -> None:
    by_hand.cancel_attempt(instance_id=place.instance.pk, now=database_now())


def new_attempt(place: Place) -> Fields:
    made = by_hand.create_attempt(task_id=place.waiting.pk, agent_id=place.agent.pk, now=database_now())
    return {"id": made.pk}


def disabled_job(place: Place) -> None:
    update_job(job_id=place.job.pk, now=database_now(), enabled=False)


def disabled_schedule(place: Place) -> None:
    update_schedule(schedule_id=place.schedule.pk, now=database_now(), status="disabled")


def an_order(place: Place) -> Fields:
    return {
        "message_kind": "command",
        "payload": {"command": "drain"},
        "target_agents": [str(place.agent.pk)],
    }


def _of_agents() -> dict[str, Write]:
    order = {"command": "drain", "parameters": {}}
    return {
        "ConnectedAgentViewSet.create": Write(
            "agent.create", after={"name": "new"}, besides=("agent_token.create",)
        ),
        "ConnectedAgentViewSet.partial_update": _update("agent", {"description": ("", "changed")}),
        "ConnectedAgentViewSet.destroy": Write("agent.delete", "agent", before={"enabled": True}),
        "ConnectedAgentViewSet.commands": Write("agent.command", "agent", after=order),
        "ConnectedAgentViewSet.heartbeat": _update(
            "agent", {"status": ("idle", "draining")}, action="agent.heartbeat"
        ),
        "ConnectionViewSet.broadcast": Write("agent.command", "agent", after=order, body=an_order),
        "ConnectionViewSet.destroy": Write("agent.disconnect", "agent"),
        "AgentTokenViewSet.create": Write("agent_token.create", after={"name": ""}),
        "AgentTokenViewSet.rotate": Write("agent_token.rotate", after={"name": ""}),
        "AgentTokenViewSet.revoke": Write("agent_token.revoke", "agent_token", before={"name": ""}),
        "EnrollmentTokenViewSet.create": Write("enrollment_token.create", after={"name": "", "labels": {}}),
        "EnrollmentTokenViewSet.destroy": Write(
            "enrollment_token.revoke", "enrollment_token", before={"name": ""}
        ),
        "TokenViewSet.create": Write("api_token.create", after={"name": "new", "scope": "read"}),
        "TokenViewSet.destroy": Write("api_token.revoke", "stored_token", before={"name": "of a stranger"}),
    }


def _of_definitions() -> dict[str, Write]:
    mark = "of what is here"
    return {
        "JobViewSet.create": Write("job.create", after={"namespace": HERE, "name": "new"}),
        "JobViewSet.partial_update": _update("job", {"description": (mark, "changed")}),
        "JobViewSet.destroy": Write("job.delete", "job", before={"description": mark, "enabled": True}),
        "JobViewSet.disable": _update("job", {"enabled": (True, False)}),
        "JobViewSet.enable": _update("job", {"enabled": (False, True)}, given=disabled_job),
        "JobViewSet.trigger": Write("task.create", after={"status": "pending", "priority": 0}),
        "ScheduleViewSet.create": Write("schedule.create", after={"kind": "interval", "interval_secs": 60}),
        "ScheduleViewSet.partial_update": _update("schedule", {"description": ("", "changed")}),
        "ScheduleViewSet.destroy": Write("schedule.delete", "schedule", before={"name": mark}),
        "ScheduleViewSet.disable": _update("schedule", {"status": ("enabled", "disabled")}),
        "ScheduleViewSet.enable": _update(
            "schedule", {"status": ("disabled", "enabled")}, given=disabled_schedule
        ),
        "BackfillViewSet.create": Write("backfill.create", after={"parallel": 1, "status": "running"}),
        **{
            f"BackfillViewSet.{action}": _update(
                "backfill", {"status": (before, after)}, action=f"backfill.{action}", given=given
            )
            for action, before, after, given in (
                ("pause", "running", "paused", nothing),
                ("resume", "paused", "running", paused_backfill),
                ("cancel", "running", "cancelled", nothing),
            )
        },
        "RetentionRuleViewSet.create": Write("retention_rule.create", after={"keep_days": 1}),
        "RetentionRuleViewSet.partial_update": _update(
            "rule", {"keep_days": (1, 2)}, action="retention_rule.update"
        ),
        "RetentionRuleViewSet.destroy": Write("retention_rule.delete", "rule", before={"keep_days": 1}),
        "CalendarViewSet.create": Write("calendar.create", after={"name": "new"}),
        "CalendarViewSet.partial_update": _update("calendar", {"description": ("", "changed")}),
        "CalendarViewSet.destroy": Write("calendar.delete", "calendar", before={"name": mark}),
        # What is frozen already is frozen for another reason.
        "FreezeViewSet.create": _update("freeze", {"reason": (mark, "")}, action="namespace.freeze"),
        "FreezeViewSet.destroy": Write("namespace.thaw", "freeze", before={"reason": mark}),
        "AlertViewSet.acknowledge": Write(
            "alert.acknowledge", "alert", before={"acknowledged_at": None}, after={}
        ),
    }


def _of_tasks() -> dict[str, Write]:
    return {
        "TaskViewSet.create": Write("task.create", after={"status": "pending", "priority": 0}),
        "TaskViewSet.partial_update": _update("waiting", {"priority": (0, 7)}, action="task.update"),
        "TaskViewSet.cancel": _update("waiting", {"status": ("pending", "cancelled")}, action="task.cancel"),
        "TaskViewSet.retry": _update(
            "waiting", {"status": ("cancelled", "pending")}, action="task.retry", given=ended_task
        ),
        "TaskViewSet.destroy": Write(
            "task.delete", "waiting", before={"status": "cancelled"}, given=ended_task
        ),
        "TaskInstanceViewSet.create": Write("task_instance.create", after={"attempt": 1}),
        "TaskInstanceViewSet.partial_update": _update(
            "instance", {"error_message": ("", "changed")}, action="task_instance.update"
        ),
        "TaskInstanceViewSet.start": Write(
            "task_instance.start",
            before={"status": "pending"},
            after={"status": "running"},
            given=new_attempt,
        ),
        "TaskInstanceViewSet.complete": _update(
            "instance", {"status": ("running", "completed")}, action="task_instance.complete"
        ),
        "TaskInstanceViewSet.cancel": _update(
            "instance", {"status": ("running", "cancelled")}, action="task_instance.cancel"
        ),
        "TaskInstanceViewSet.destroy": Write(
            "task_instance.delete", "instance", before={"status": "cancelled"}, given=ended_attempt
        ),
    }


def _update(about: str, fields: Mapping[str, tuple[Any, Any]], *, action: str = "", **more: Any) -> Write:
    """Return the entry of a change of fields, given with what they were and what they become."""
    before = {name: old for name, (old, _new) in fields.items()}
    after = {name: new for name, (_old, new) in fields.items()}
    return Write(action or f"{about}.update", about, before=before, after=after, **more)


WRITES = {
    tuple(name.split(".")): write
    for of_some in (_of_agents(), _of_definitions(), _of_tasks())
    for name, write in of_some.items()
}
# Who enrols is nobody yet: `test_what_a_machine_does_to_enrol_is_in_the_log` looks at that.
ENROLS = ("EnrollView", "post")
# Agents and people's tokens belong to no namespace.
WITHOUT_NAMESPACE = {
    "ConnectedAgentViewSet",
    "ConnectionViewSet",
    "AgentTokenViewSet",
    "EnrollmentTokenViewSet",
    "TokenViewSet",
}
