"""How many statements a request costs; each is a round trip to the database."""

import pytest

from scheduling.models import Job
from tests import factories, people
from tests.factories import NOW

CONFIG = {"cmd": "bash", "args": ["-c", "date"]}


@pytest.fixture
def program(db):
    return people.token_of(people.person(superuser=True))


@pytest.fixture
def viewer(db):
    return people.token_of(people.with_role("viewer", "default", ("viewer", "ops")))


@pytest.mark.parametrize("resource", ["jobs", "schedules", "tasks", "task-instances", "agents", "audit"])
def test_a_list_that_is_one_page_costs_its_rows_and_the_tokens_look_up(
    program, django_assert_num_queries, resource
):
    for _ in range(3):
        factories.schedule(job=factories.job())
        factories.task()
    with django_assert_num_queries(2):
        assert program.get(f"/api/v1/{resource}").status_code == 200
    with django_assert_num_queries(2):
        assert program.post(f"/api/v1/{resource}/query", {}).status_code == 200


def test_a_list_of_more_pages_is_also_planned_and_counted(program, django_assert_num_queries):
    for _ in range(3):
        factories.job()
    with django_assert_num_queries(4):
        assert program.get("/api/v1/jobs?limit=2").json()["page"]["total"] == 3


def test_what_a_viewer_may_see_is_found_out_in_one_statement(viewer, django_assert_num_queries):
    factories.task()
    with django_assert_num_queries(3):
        assert len(viewer.get("/api/v1/tasks").json()["data"]) == 1


def test_attempts_come_with_their_output_in_one_statement_more(program, django_assert_num_queries):
    job, agent = factories.job(), factories.agent()
    for task in [factories.task(job=job, now=NOW) for _ in range(3)]:
        program.post("/api/v1/task-instances", {"task_id": task.pk, "agent_id": str(agent.pk)})
    with django_assert_num_queries(3):
        assert len(program.get("/api/v1/task-instances").json()["data"]) == 3


def test_a_job_is_created_by_its_queues_look_up_its_row_and_the_audit_entry(
    program, django_assert_num_queries
):
    factories.job()
    body = {"name": "nightly", "config": CONFIG}
    with django_assert_num_queries(1 + 2 + 3):  # the token; begin and end; queue, job, entry
        assert program.post("/api/v1/jobs", body).status_code == 201


def test_a_limited_job_also_gets_a_queue_of_its_own(program):
    body = {"name": "one at a time", "config": {**CONFIG, "max_concurrency": 1}}
    job = Job.objects.get(pk=program.post("/api/v1/jobs", body).json()["id"])
    assert job.route.job_id == job.pk


def test_a_task_is_created_by_its_jobs_look_up_its_row_and_the_audit_entry(
    program, django_assert_num_queries
):
    job = factories.job()
    with django_assert_num_queries(1 + 2 + 5):  # the token; begin and end; job twice, clock, task, entry
        assert program.post("/api/v1/tasks", {"job_id": job.pk}).status_code == 201
