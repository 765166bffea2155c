import pytest

from scheduling.models import Job, Task
from scheduling.services.manual import trigger_job
from tests import factories
from tests.factories import NOW

BODY = {"name": "backup", "config": {"cmd": "bash", "args": ["-c", "date"]}}
JOB_FIELDS = [
    "id",
    "namespace",
    "name",
    "description",
    "command",
    "environment",
    "config",
    "parameters_schema",
    "enabled",
    "tags",
    "created_by",
    "created_at",
    "updated_by",
    "updated_at",
]


def errors(response):
    assert response["Content-Type"] == "application/json"
    answer = response.json()
    assert set(answer) == {"type", "errors"}
    assert all(set(error) == {"code", "detail", "attr"} for error in answer["errors"])
    return {error["attr"]: error["code"] for error in answer["errors"]}


@pytest.mark.parametrize("path", ["/api/v1/jobs/create", "/api/v1/jobs"])
def test_a_job_is_created_with_its_defaults(api, path):
    response = api.post(path, BODY)
    assert response.status_code == 201
    job = response.json()
    assert list(job) == JOB_FIELDS
    assert (job["namespace"], job["name"], job["enabled"], job["created_by"]) == (
        "default",
        "backup",
        True,
        "ann",
    )
    assert (job["config"]["timeout_secs"], job["config"]["max_output_size"]) == (3600, 10 * 1024 * 1024)
    assert job["created_at"].endswith("Z")
    assert len(job["created_at"]) == len("2026-01-02T03:04:05.678901Z")
    assert api.get(f"/api/v1/jobs/{job['id']}").json() == job


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1/jobs/create", "/api/v1/jobs/query"])
def test_without_authentication_nothing_is_answered(anonymous, path):
    response = anonymous.post(path, BODY)
    assert (response.status_code, response["WWW-Authenticate"]) == (401, 'Bearer realm="hetuflow"')
    assert Job.objects.count() == 0


def test_a_name_that_is_taken_is_a_409(api):
    api.post("/api/v1/jobs", BODY)
    response = api.post("/api/v1/jobs", BODY)
    assert (response.status_code, errors(response)) == (409, {None: "already_exists"})


def test_every_bad_field_has_an_error_of_its_own(api):
    response = api.post(
        "/api/v1/jobs",
        {
            "name": "",
            "nmae": "x",
            "id": 3,
            "enabled": "yes",
            "environment": {"PATH": "/tmp"},
            "tags": [1],
            "description": 3,
            "config": {"cmd": "perl", "args": "date", "timeout_secs": 0, "colour": "red"},
        },
    )
    assert response.status_code == 400
    assert errors(response) == {
        "name": "blank",
        "nmae": "unknown_field",
        "id": "read_only",
        "enabled": "invalid",
        "environment": "invalid",
        "tags.0": "invalid",
        "description": "invalid",
        "config.cmd": "invalid",
        "config.args": "invalid",
        "config.timeout_secs": "invalid",
        "config.colour": "invalid",
    }
    assert Job.objects.count() == 0


@pytest.mark.parametrize("body", [[], "x", 3, None, [BODY]])
def test_a_body_that_is_no_object_is_a_400(api, body):
    assert api.post("/api/v1/jobs", body).status_code == 400


@pytest.mark.parametrize(("method", "suffix"), [("post", "/update"), ("patch", "")])
def test_an_update_changes_what_it_names(api, method, suffix):
    job = factories.job(description="old", config={"max_retries": 3})
    response = getattr(api, method)(
        f"/api/v1/jobs/{job.pk}{suffix}", {"description": "new", "config": {"timeout_secs": 5}}
    )
    assert response.status_code == 200
    changed = response.json()
    assert (changed["description"], changed["name"], changed["updated_by"]) == ("new", job.name, "ann")
    assert (changed["config"]["timeout_secs"], changed["config"]["max_retries"]) == (5, 3)


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({"created_at": "2026-01-01T00:00:00Z"}, "created_at"),
        ({"colour": 1}, "colour"),
        ({"config": {"cmd": "perl"}}, "config.cmd"),
        ({"config": {"args": [1]}}, "config.args"),
        ({"config": 3}, "config"),
    ],
)
def test_a_bad_update_changes_nothing(api, body, attr):
    job = factories.job(description="old")
    response = api.patch(f"/api/v1/jobs/{job.pk}", {"description": "new", **body})
    assert (response.status_code, list(errors(response))) == (400, [attr])
    job.refresh_from_db()
    assert job.description == "old"


def test_a_deleted_job_is_gone_but_its_history_is_not(api):
    task = factories.task()
    assert api.delete(f"/api/v1/jobs/{task.job_id}").status_code == 204
    assert api.get(f"/api/v1/jobs/{task.job_id}").status_code == 404
    assert api.get("/api/v1/jobs").json()["data"] == []
    assert api.post(f"/api/v1/jobs/{task.job_id}/trigger").status_code == 404
    assert api.get(f"/api/v1/tasks/{task.pk}").json()["status"] == "cancelled"
    assert api.post("/api/v1/jobs", {**BODY, "name": task.job.name}).status_code == 201


def test_a_job_is_disabled_and_enabled(api):
    job = factories.job()
    assert api.post(f"/api/v1/jobs/{job.pk}/disable").json()["enabled"] is False
    assert api.post(f"/api/v1/jobs/{job.pk}/enable", {}).json()["enabled"] is True
    assert api.post(f"/api/v1/jobs/{job.pk}/enable", {"x": 1}).status_code == 400


def test_a_trigger_answers_the_new_task(api):
    job = factories.job(environment={"A": "1"})
    response = api.post(
        f"/api/v1/jobs/{job.pk}/trigger",
        {
            "parameters": {"n": 1},
            "environment": {"B": "2"},
            "priority": -5,
            "scheduled_at": "2026-05-01T10:00:00+02:00",
        },
    )
    assert response.status_code == 201
    task = response.json()
    assert (task["job_id"], task["status"], task["priority"]) == (job.pk, "pending", -5)
    assert task["environment"] == {"A": "1", "B": "2"}
    assert task["scheduled_at"] == "2026-05-01T08:00:00.000000Z"
    assert task["created_by"] == "ann"


def test_a_disabled_job_is_triggered_only_by_force(api):
    job = factories.job(enabled=False)
    response = api.post(f"/api/v1/jobs/{job.pk}/trigger")
    assert (response.status_code, errors(response)) == (409, {None: "invalid_state"})
    assert api.post(f"/api/v1/jobs/{job.pk}/trigger", {"force": True}).status_code == 201


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({"parameters": [1]}, "parameters"),
        ({"parameters": {"x": "y" * 100_000}}, "parameters"),
        ({"environment": {"A": 1}}, "environment"),
        ({"priority": 2**40}, "priority"),
        ({"scheduled_at": "2026-01-01T00:00:00"}, "scheduled_at"),
        ({"scheduled_at": "9999-12-31T23:59:59-23:00"}, "scheduled_at"),
        ({"force": 1}, "force"),
        ({"when": "now"}, "when"),
    ],
)
def test_a_bad_trigger_creates_nothing(api, body, attr):
    response = api.post(f"/api/v1/jobs/{factories.job().pk}/trigger", body)
    assert (response.status_code, list(errors(response))) == (400, [attr])
    assert Task.objects.count() == 0


def test_the_jobs_of_a_namespace_come_as_a_bare_array_newest_first(api):
    jobs = [factories.job(namespace="ops") for _ in range(3)]
    factories.job()
    response = api.get("/api/v1/jobs/namespace/ops")
    assert [job["id"] for job in response.json()] == [job.pk for job in reversed(jobs)]
    assert response["X-Total-Count"] == "3"
    assert api.get("/api/v1/jobs/namespace/none").json() == []


@pytest.mark.parametrize("path", ["jobs/1/", "jobs/x", "jobs/99999999999999999999", "jobs/namespace/%00"])
def test_a_path_to_nothing_is_a_404(api, path):
    response = api.get(f"/api/v1/{path}")
    assert (response.status_code, errors(response)) == (404, {None: "not_found"})


def test_a_method_that_a_path_does_not_know_is_a_405(api):
    assert api.get("/api/v1/jobs/query").status_code == 405
    assert api.put(f"/api/v1/jobs/{factories.job().pk}", BODY).status_code == 405


def test_a_list_of_a_hundred_takes_as_many_statements_as_one_of_one(api, django_assert_num_queries):
    for resource, make in {
        "jobs": factories.job,
        "schedules": factories.schedule,
        "tasks": factories.task,
    }.items():
        make()
        with django_assert_num_queries(1):
            api.get(f"/api/v1/{resource}?limit=500")
        job = factories.job()
        for number in range(100):
            if resource == "jobs":
                make()
            elif resource == "tasks":
                trigger_job(job=job, now=NOW)
            else:
                make(job=job, name=str(number))
        with django_assert_num_queries(1):
            response = api.get(f"/api/v1/{resource}?limit=500")
        assert len(response.json()["data"]) > 100
        with django_assert_num_queries(3):  # rows, plan and count
            response = api.get(f"/api/v1/{resource}?limit=5")
        assert len(response.json()["data"]) == 5


def test_the_browsable_api_shows_every_list_to_a_session(client, django_user_model):
    client.force_login(django_user_model.objects.create_superuser("eve"))
    job = factories.job()
    for path in ("jobs", f"jobs/{job.pk}", "schedules", "tasks"):
        response = client.get(f"/api/v1/{path}", headers={"accept": "text/html"})
        assert response.status_code == 200
        assert b"<html" in response.content
