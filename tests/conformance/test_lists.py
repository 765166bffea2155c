"""The list routes: bare arrays, newest first, at most 1000, with their number in a header."""

from typing import Any

import pytest

from tests.conformance import kinds, shapes
from tests.conformance.client import Client
from tests.conformance.contract import covers
from tests.conformance.installation import Agent, Installation
from tests.conformance.objects import (
    attempts_of,
    fresh,
    make_agent,
    make_attempt,
    make_job,
    make_schedule,
    make_task,
    run,
)

MORE_THAN_AN_ARRAY_HOLDS = 1_003
# Copies of a row, told from it by their ids alone.
COPY = """
INSERT INTO scheduling_task SELECT (jsonb_populate_record(task, jsonb_build_object(
    'id', nextval(pg_get_serial_sequence('scheduling_task', 'id'))))).*
FROM scheduling_task task, generate_series(2, %s) WHERE task.id = %s
"""


def array(api: Client, path: str, shape: dict[str, Any]) -> list[Any]:
    """Return the array of a list route, after a check of what all of them keep."""
    answer = api.send("GET", path)
    assert answer.status == 200, answer
    rows = answer.json()
    assert isinstance(rows, list)
    for row in rows:
        shapes.check(shape, row)
    times = [row["created_at"] for row in rows]
    assert times == sorted(times, reverse=True)
    total = int(answer.headers["x-total-count"])
    assert total == len(rows) or total > len(rows) == 1000
    return rows


@covers("arrays", "jobs.routes")
def test_the_jobs_of_a_namespace(api: Client) -> None:
    namespace = fresh("space")
    assert array(api, f"/jobs/namespace/{namespace}", shapes.JOB) == []
    made = [make_job(api, namespace=namespace) for _ in range(3)]
    make_job(api, namespace=f"{namespace}-2")
    found = array(api, f"/jobs/namespace/{namespace}", shapes.JOB)
    assert [row["id"] for row in found] == [job["id"] for job in reversed(made)]
    api.delete(f"/jobs/{made[1]['id']}")
    assert len(array(api, f"/jobs/namespace/{namespace}", shapes.JOB)) == 2


@covers("arrays", "schedules.routes")
def test_the_schedules_of_a_job(api: Client) -> None:
    job = make_job(api)
    assert array(api, f"/schedules/job/{job['id']}", shapes.SCHEDULE) == []
    made = [make_schedule(api, job) for _ in range(3)]
    make_schedule(api)
    found = array(api, f"/schedules/job/{job['id']}", shapes.SCHEDULE)
    assert [row["id"] for row in found] == [schedule["id"] for schedule in reversed(made)]


@covers("arrays", "tasks.lists", "instances.lists")
def test_the_tasks_and_attempts_of_a_job_of_an_agent_and_with_a_status(api: Client, agent: Agent) -> None:
    job = make_job(api)
    done, attempt = run(api, job)
    waiting = make_task(api, job)
    of_job = array(api, f"/tasks/job/{job['id']}", shapes.TASK)
    assert [row["id"] for row in of_job] == [waiting["id"], done["id"]]
    on_agent = [row["id"] for row in array(api, f"/tasks/agent/{attempt['agent_id']}", shapes.TASK)]
    assert done["id"] in on_agent
    assert waiting["id"] not in on_agent
    completed = array(api, "/tasks/status/completed", shapes.TASK)
    assert {row["status"] for row in completed} == {"completed"}
    assert done["id"] in [row["id"] for row in completed]
    assert waiting["id"] in [row["id"] for row in array(api, "/tasks/status/pending", shapes.TASK)]
    of_task = array(api, f"/task-instances/task/{done['id']}", shapes.INSTANCE)
    assert [row["id"] for row in of_task] == [attempt["id"]]
    assert array(api, f"/task-instances/task/{waiting['id']}", shapes.INSTANCE) == []
    for path in (f"/task-instances/agent/{attempt['agent_id']}", "/task-instances/status/completed"):
        assert attempt["id"] in [row["id"] for row in array(api, path, shapes.INSTANCE)]


@covers("tasks.lists")
def test_a_task_that_an_agent_tried_twice_is_in_its_list_once(api: Client) -> None:
    agent = make_agent(api)
    task = make_task(api, make_job(api, limits={"max_retries": 1, "retry_interval_secs": 86_400}))
    for _ in range(2):
        attempt = make_attempt(api, task, agent_id=agent["id"])
        api.post(f"/task-instances/{attempt['id']}/complete", {"exit_code": 1})
    assert len(attempts_of(api, task)) == 2
    assert [row["id"] for row in array(api, f"/tasks/agent/{agent['id']}", shapes.TASK)] == [task["id"]]
    assert len(array(api, f"/task-instances/agent/{agent['id']}", shapes.INSTANCE)) == 2


@covers("arrays", "tasks.status-values", "instances.status-values", "statuses")
@pytest.mark.parametrize(
    ("resource", "statuses", "shape"),
    [
        ("tasks", kinds.TASK_STATUSES, shapes.TASK),
        ("task-instances", kinds.INSTANCE_STATUSES, shapes.INSTANCE),
    ],
)
def test_every_status_of_the_page_has_its_list_and_no_other(
    api: Client, resource: str, statuses: tuple[str, ...], shape: dict[str, Any]
) -> None:
    for status in statuses:
        for row in array(api, f"/{resource}/status/{status}", shape):
            assert row["status"] == status
    for status in ("PENDING", "done", "1"):
        assert api.why(404, "GET", f"/{resource}/status/{status}")[0] == "not_found"


@covers("arrays")
def test_an_array_ends_at_a_thousand_and_its_header_says_how_many_there_are(
    api: Client, installation: Installation
) -> None:
    task = make_task(api, make_job(api))
    api.post(f"/tasks/{task['id']}/cancel")
    installation.execute(COPY, MORE_THAN_AN_ARRAY_HOLDS, task["id"])
    for path in (f"/tasks/job/{task['job_id']}", "/tasks/status/cancelled"):
        answer = api.send("GET", path)
        rows = answer.json()
        assert len(rows) == 1000
        assert int(answer.headers["x-total-count"]) >= MORE_THAN_AN_ARRAY_HOLDS
        ids = [row["id"] for row in rows]
        assert ids == sorted(ids, reverse=True)
        assert task["id"] not in ids
    page = api.post("/tasks/query", {"filter": {"job_id": task["job_id"]}, "page": {"limit": 500, "page": 3}})
    assert page["page"] == {
        "total": MORE_THAN_AN_ARRAY_HOLDS,
        "page": 3,
        "limit": 500,
        "has_more": False,
    }
