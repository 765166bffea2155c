import pytest

from scheduling.models import Task
from scheduling.services.claiming import claim
from tests import factories
from tests.factories import NOW

URL = "/api/v1/tasks"
FIELDS = [
    "id",
    "job_id",
    "namespace",
    "schedule_id",
    "backfill_id",
    "schedule_kind",
    "priority",
    "status",
    "scheduled_at",
    "completed_at",
    "parameters",
    "environment",
    "config",
    "retry_count",
    "max_retries",
    "dependencies",
    "locked_at",
    "lock_version",
    "created_by",
    "created_at",
    "updated_at",
]


def attrs(response):
    return {error["attr"]: error["code"] for error in response.json()["errors"]}


def ended(status):
    task = factories.task()
    Task.objects.filter(pk=task.pk).update(status=status, completed_at=NOW)
    return task


@pytest.mark.parametrize("path", [URL, f"{URL}/create"])
def test_a_task_is_created_with_what_differs_from_its_job(api, path):
    job = factories.job(namespace="ops", environment={"A": "1"}, config={"timeout_secs": 60})
    response = api.post(
        path,
        {
            "job_id": job.pk,
            "priority": 7,
            "parameters": {"n": 1},
            "environment": {"B": "2"},
            "config": {"args": ["-c", "date"]},
            "max_retries": 2,
            "scheduled_at": "2026-05-01T00:00:00.25Z",
        },
    )
    assert response.status_code == 201
    task = response.json()
    assert list(task) == FIELDS
    assert (task["namespace"], task["priority"], task["status"]) == ("ops", 7, "pending")
    assert (task["config"]["args"], task["config"]["timeout_secs"]) == (["-c", "date"], 60)
    assert (task["max_retries"], task["config"]["max_retries"]) == (2, 2)
    assert task["environment"] == {"A": "1", "B": "2"}
    assert task["scheduled_at"] == "2026-05-01T00:00:00.250000Z"
    assert api.get(f"{URL}/{task['id']}").json() == task


def test_a_task_with_another_kind_of_command_waits_for_agents_that_have_it(api):
    job = factories.job()
    task_id = api.post(URL, {"job_id": job.pk, "config": {"cmd": "node", "args": ["-v"]}}).json()["id"]
    agent = factories.agent(commands=["bash"])
    assert claim(slots={agent.id: 1}, now=NOW.replace(year=2030), lead_secs=2, lease_secs=30) == []
    other = factories.agent(commands=["node"])
    (started,) = claim(slots={other.id: 1}, now=NOW.replace(year=2030), lead_secs=2, lease_secs=30)
    assert started.task_id == task_id


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({"job_id": 999_999}, "job_id"),
        ({"job_id": None}, "job_id"),
        ({"priority": "high"}, "priority"),
        ({"priority": 2**31}, "priority"),
        ({"priority": True}, "priority"),
        ({"scheduled_at": "soon"}, "scheduled_at"),
        ({"parameters": "x"}, "parameters"),
        ({"environment": {"LD_PRELOAD": "x"}}, "environment"),
        ({"config": {"cmd": "perl"}}, "config.cmd"),
        ({"config": {"args": "x"}}, "config.args"),
        ({"config": {"max_concurrency": 3}}, "config.max_concurrency"),
        ({"max_retries": -1}, "max_retries"),
        ({"status": "completed"}, "status"),
        ({"lock_version": 1}, "lock_version"),
        ({"dependencies": [1]}, "dependencies"),
        ({"when": "now"}, "when"),
    ],
)
def test_a_bad_task_is_a_400_and_is_not_made(api, body, attr):
    response = api.post(URL, {"job_id": factories.job().pk, **body})
    assert (response.status_code, list(attrs(response))) == (400, [attr])
    assert Task.objects.count() == 0


@pytest.mark.parametrize(("method", "suffix"), [("post", "/update"), ("patch", "")])
def test_a_pending_task_is_changed(api, method, suffix):
    task = factories.task()
    body = {"priority": 3, "config": {"timeout_secs": 9}, "scheduled_at": "2027-01-01T00:00:00Z"}
    changed = getattr(api, method)(f"{URL}/{task.pk}{suffix}", body).json()
    assert (changed["priority"], changed["config"]["timeout_secs"]) == (3, 9)
    assert changed["config"]["args"] == ["-c", "true"]
    task.refresh_from_db()
    assert task.due_at == task.scheduled_at == NOW.replace(year=2027, month=1, day=1, hour=0)


def test_only_a_pending_task_is_changed(api):
    task, agent = factories.task(), factories.agent()
    claim(slots={agent.id: 1}, now=NOW, lead_secs=2, lease_secs=30)
    response = api.patch(f"{URL}/{task.pk}", {"priority": 3})
    assert (response.status_code, attrs(response)) == (409, {None: "invalid_state"})
    detail = response.json()["errors"][0]["detail"]
    assert "locked" in detail
    assert "pending" in detail


@pytest.mark.parametrize("body", [{"config": {"cmd": "perl"}}, {"job_id": 1}, {"priority": None}])
def test_a_bad_change_changes_nothing(api, body):
    task = factories.task()
    assert api.patch(f"{URL}/{task.pk}", {"parameters": {"a": 1}, **body}).status_code == 400
    task.refresh_from_db()
    assert task.parameters == {}


def test_a_task_that_ended_is_deleted_and_another_is_not(api):
    task = factories.task()
    response = api.delete(f"{URL}/{task.pk}")
    assert (response.status_code, attrs(response)) == (409, {None: "invalid_state"})
    api.post(f"{URL}/{task.pk}/cancel")
    assert api.delete(f"{URL}/{task.pk}").status_code == 204
    assert api.get(f"{URL}/{task.pk}").status_code == 404


@pytest.mark.parametrize(
    ("status", "code"), [("failed", 200), ("cancelled", 200), ("completed", 409), ("pending", 409)]
)
def test_a_retry_is_for_tasks_that_failed_or_were_cancelled(api, status, code):
    task = factories.task() if status == "pending" else ended(status)
    response = api.post(f"{URL}/{task.pk}/retry")
    assert response.status_code == code
    task.refresh_from_db()
    assert task.status == ("pending" if code == 200 else status)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_task_that_ended_is_not_cancelled(api, status):
    response = api.post(f"{URL}/{ended(status).pk}/cancel")
    assert (response.status_code, attrs(response)) == (409, {None: "invalid_state"})


def test_the_lists_of_tasks_are_bare_arrays_newest_first(api):
    tasks = [factories.task() for _ in range(2)]
    cancelled = ended("cancelled")
    response = api.get(f"{URL}/status/pending")
    assert [task["id"] for task in response.json()] == [tasks[1].pk, tasks[0].pk]
    assert response["X-Total-Count"] == "2"
    assert [task["id"] for task in api.get(f"{URL}/job/{cancelled.job_id}").json()] == [cancelled.pk]
    assert api.get(f"{URL}/status/nope").status_code == 404


@pytest.mark.parametrize("path", ["", "/retry", "/cancel", "/update"])
def test_a_task_that_is_not_there_is_a_404(api, path):
    ask = api.post if path else api.get
    assert ask(f"{URL}/999999{path}").status_code == 404
