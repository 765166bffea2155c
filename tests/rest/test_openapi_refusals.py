"""Every refusal that the OpenAPI document names can happen, and what happens is named."""

import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model

from agents.enrollment import create_enrollment_token
from scheduling.clock import database_now
from scheduling.models import Backfill, Calendar
from scheduling.services import definitions
from scheduling.services.calendars import create_calendar
from tests import factories
from tests.factories import NOW
from tests.openapi import CheckedClient, Operation, operations
from tests.rest.test_openapi_examples import send
from tests.rest.world import World

pytestmark = pytest.mark.django_db
OPEN_TO_ALL = {"health", "system_health", "agents_enroll"}
HUGE = '{"name": "' + "x" * 2_700_000 + '"}'


def named(status: str) -> list[str]:
    """Return the operations that name this refusal."""
    return [name for name, operation in operations().items() if status in operation.described["responses"]]


def unknown_path(operation: Operation) -> str:
    """Return a path of the operation that leads to nothing."""
    path = operation.path.replace("{namespace}", "no%00where").replace("{status}", "asleep")
    for parameter in operation.described.get("parameters", []):
        if parameter["in"] == "path":
            kind = parameter["schema"].get("type")
            value = "999999999" if kind == "integer" else str(uuid.uuid4())
            path = path.replace(f"{{{parameter['name']}}}", value)
    return path


def codes(response: Any) -> set[str]:
    return {error["code"] for error in response.json()["errors"]}


@pytest.mark.parametrize("name", sorted(set(operations()) - OPEN_TO_ALL))
def test_who_does_not_say_who_they_are_gets_a_401(anonymous, name):
    operation = operations()[name]
    response = send(anonymous, operation, unknown_path(operation), None)
    assert (response.status_code, codes(response)) == (401, {"not_authenticated"})


@pytest.mark.parametrize(
    "name", [name for name in operations() if "x-required-level" in operations()[name].described]
)
def test_who_has_no_role_may_do_nothing_that_needs_a_level(name):
    client = CheckedClient()
    client.force_authenticate(get_user_model().objects.create_user("bob"))
    operation = operations()[name]
    response = send(client, operation, World().path(operation), None)
    assert (response.status_code, codes(response)) in [(403, {"permission_denied"}), (404, {"not_found"})]


@pytest.mark.parametrize("name", named("404"))
def test_a_path_to_nothing_is_a_404(api, name):
    operation = operations()[name]
    response = send(api, operation, unknown_path(operation), None)
    assert (response.status_code, codes(response)) == (404, {"not_found"})


def test_whatever_has_a_parameter_in_its_path_names_a_404():
    assert set(named("404")) == {name for name, operation in operations().items() if "{" in operation.path}


@pytest.mark.parametrize("name", named("415"))
def test_a_form_is_a_415(api, name):
    operation = operations()[name]
    path = World().path(operation)
    response = api.generic(
        operation.method.upper(), path, "a=1", content_type="application/x-www-form-urlencoded"
    )
    assert (response.status_code, codes(response)) == (415, {"unsupported_media_type"})


@pytest.mark.parametrize("name", named("413"))
def test_a_body_that_is_too_large_is_a_413(api, name):
    operation = operations()[name]
    path = World().path(operation)
    response = api.generic(operation.method.upper(), path, HUGE, content_type="application/json")
    assert (response.status_code, codes(response)) == (413, {"payload_too_large"})


@pytest.mark.parametrize("name", named("400"))
def test_an_unknown_field_or_parameter_is_a_400(api, name):
    operation = operations()[name]
    path = World().path(operation)
    if operation.method == "get":
        wrong = "details=maybe" if name in OPEN_TO_ALL else "colour=red"
        response = api.get(f"{path}?{wrong}")
    else:
        response = send(api, operation, path, {"colour": "red"})
    assert response.status_code == 400
    assert response.json()["type"] == "validation_error"


@pytest.mark.parametrize("name", named("406"))
def test_what_cannot_be_represented_is_a_406(api, name):
    operation = operations()[name]
    path = World().path(operation)
    response = api.generic(operation.method.upper(), path, HTTP_ACCEPT="application/xml")
    assert (response.status_code, codes(response)) == (406, {"not_acceptable"})


def takes_key(operation: Operation) -> bool:
    return any(one["name"] == "Idempotency-Key" for one in operation.described.get("parameters", []))


@pytest.mark.parametrize("name", [name for name, operation in operations().items() if takes_key(operation)])
def test_a_key_that_was_used_for_something_else_is_a_409(api, name):
    operation, world = operations()[name], World()
    path = world.path(operation)
    world.task()
    world.schedule()
    body = next(iter(operation.body_examples().values()))
    first = api.post(path, body, headers={"Idempotency-Key": "a"})
    again = api.post(path, body, headers={"Idempotency-Key": "a"})
    other = api.post(path, {"colour": "red"}, headers={"Idempotency-Key": "a"})
    assert (first.status_code, again.status_code, again["Idempotent-Replayed"]) == (201, 201, "true")
    assert (other.status_code, codes(other)) == (409, {"idempotency_key_reused"})


Scene = Callable[[World, Any, str], Any]


def used_enrollment(world: World, api: Any, path: str) -> Any:
    enrollment = world.enrollment()
    api.post("/api/v1/agents/enroll", {"token": enrollment.secret})
    return api.delete(f"/api/v1/agents/enrollment-tokens/{enrollment.row.pk}")


def foreign_enrollment(world: World, api: Any, path: str) -> Any:
    enrollment = create_enrollment_token(now=database_now(), agent=world.agent)
    return api.post(path, {"token": enrollment.secret, "id": str(uuid.uuid4())})


def disabled_job(world: World, api: Any, path: str) -> Any:
    definitions.update_job(job_id=world.job.pk, now=NOW, enabled=False)
    return api.post(path, {} if "trigger" in path else {"job_id": world.job.pk})


def past_schedule(world: World, api: Any, path: str) -> Any:
    over = factories.schedule(
        job=world.job, kind="cron", cron_expression="* * * * *", end_time=NOW - timedelta(days=9000)
    )
    return api.post(f"/api/v1/schedules/{over.pk}/enable")


def other_name(world: World, api: Any, path: str) -> Any:
    other = factories.job() if "/jobs" in path else factories.agent()
    call = api.post if path.endswith("/update") else api.patch
    return call(path, {"name": other.name})


def other_calendars_name(world: World, api: Any, path: str) -> Any:
    other = create_calendar(name="other")
    call = api.post if path.endswith("/update") else api.patch
    return call(path, {"name": other.name})


def calendar_in_use(world: World, api: Any, path: str) -> Any:
    factories.schedule(job=world.job, calendar=Calendar.objects.get())
    return api.delete(path)


def ended_backfill(world: World, api: Any, path: str) -> Any:
    Backfill.objects.update(status="cancelled", completed_at=NOW)
    return api.post(path)


def second_attempt(world: World, api: Any, path: str) -> Any:
    return api.post(path, {"task_id": world.attempt().task_id})


def ended_attempt(world: World, api: Any, path: str) -> Any:
    attempt = world.cancelled_attempt()
    target = f"/api/v1/task-instances/{attempt.pk}" + path.partition("/task-instances/")[2][36:]
    return api.post(target, {}) if "/" in target.partition("task-instances/")[2] else api.patch(target, {})


def ended_task(world: World, api: Any, path: str) -> Any:
    target = f"/api/v1/tasks/{world.cancelled_task().pk}" + path.partition("/tasks/")[2].lstrip("0123456789")
    return (
        api.post(target, {}) if target.endswith(("update", "cancel")) else api.patch(target, {"priority": 1})
    )


SCENES: dict[tuple[str, str], Scene] = {
    ("jobs_create", "already_exists"): lambda world, api, path: api.post(
        path, {"name": world.job.name, "config": {"cmd": "bash", "args": ["-c", "true"]}}
    ),
    ("jobs_update", "already_exists"): other_name,
    ("jobs_trigger", "invalid_state"): disabled_job,
    ("retention_rules_create", "already_exists"): lambda world, api, path: [
        api.post(path, {"namespace": "default", "keep_days": 1}) for _ in range(2)
    ][1],
    ("calendars_create", "already_exists"): lambda world, api, path: [
        api.post(path, {"name": "office"}) for _ in range(2)
    ][1],
    ("calendars_update", "already_exists"): other_calendars_name,
    ("calendars_delete", "in_use"): calendar_in_use,
    ("schedules_enable", "invalid_state"): past_schedule,
    ("backfills_pause", "invalid_state"): ended_backfill,
    ("backfills_resume", "invalid_state"): ended_backfill,
    ("backfills_cancel", "invalid_state"): ended_backfill,
    ("tasks_create", "invalid_state"): disabled_job,
    ("tasks_update", "invalid_state"): ended_task,
    ("tasks_cancel", "invalid_state"): ended_task,
    ("tasks_retry", "invalid_state"): lambda world, api, path: api.post(
        f"/api/v1/tasks/{world.task().pk}/retry"
    ),
    ("tasks_delete", "invalid_state"): lambda world, api, path: api.delete(
        f"/api/v1/tasks/{world.task().pk}"
    ),
    ("task_instances_create", "invalid_state"): second_attempt,
    ("task_instances_update", "invalid_state"): ended_attempt,
    ("task_instances_start", "invalid_state"): ended_attempt,
    ("task_instances_complete", "invalid_state"): ended_attempt,
    ("task_instances_cancel", "invalid_state"): ended_attempt,
    ("task_instances_delete", "invalid_state"): lambda world, api, path: api.delete(
        f"/api/v1/task-instances/{world.attempt().pk}"
    ),
    ("agents_create", "already_exists"): lambda world, api, path: api.post(path, {"name": world.agent.name}),
    ("agents_enroll", "already_exists"): lambda world, api, path: api.post(
        path, {"token": world.enrollment().secret, "name": world.agent.name}
    ),
    ("agents_enroll", "wrong_agent"): foreign_enrollment,
    ("agents_enrollment_tokens_delete", "already_used"): used_enrollment,
    ("agents_update", "already_exists"): other_name,
    ("agents_commands", "agent_offline"): lambda world, api, path: api.post(path, {"command": "drain"}),
    ("tokens_create", "already_exists"): lambda world, api, path: api.post(
        path, {"name": world.token().name}
    ),
}
# An agent's own refusal needs one; tests/gateway/test_agents_api.py has it.
ELSEWHERE = {("agents_commands", "command_refused")}
TWINS = {"post": "create", "patch": "update"}


def scene_of(name: str) -> str:
    resource, _underscore, verb = name.rpartition("_")
    return f"{resource}_{TWINS.get(verb, verb)}"


def conflicts() -> list[tuple[str, str]]:
    return [
        (name, code)
        for name in named("409")
        for example in operations()[name].answer(409)["content"]["application/json"]["examples"].values()
        if (code := example["value"]["errors"][0]["code"]) != "idempotency_key_reused"
    ]


@pytest.mark.parametrize(("name", "code"), [pair for pair in conflicts() if pair not in ELSEWHERE])
def test_a_state_that_forbids_it_is_a_409(api, name, code):
    world, operation = World(), operations()[name]
    response = SCENES[scene_of(name), code](world, api, world.path(operation))
    assert (response.status_code, codes(response)) == (409, {code})
    assert operation.path.split("/")[3] in response.request["PATH_INFO"]


def test_every_scene_is_one_that_the_document_names():
    assert {(scene_of(name), code) for name, code in conflicts()} == {*SCENES, *ELSEWHERE}


def test_only_what_waits_for_an_agent_names_a_504():
    assert named("504") == ["agents_commands"]
