import asyncio
import json
import uuid

import pytest

from scheduling.attempts import ReportedFact
from scheduling.models import Task, TaskInstance
from scheduling.services import by_hand, lifecycle, rescue
from scheduling.services.claiming import claim
from scheduling.services.lifecycle import AttemptKey
from scheduling.services.output import Chunk, store_output
from scheduling.states import InstanceStatus
from tests import factories
from tests.factories import NOW

URL = "/api/v1/task-instances"
FIELDS = [
    "id",
    "task_id",
    "job_id",
    "agent_id",
    "attempt",
    "status",
    "started_at",
    "completed_at",
    "exit_code",
    "result",
    "output",
    "error_message",
    "metrics",
    "created_at",
    "updated_at",
]


def attrs(response):
    return {error["attr"]: error["code"] for error in response.json()["errors"]}


@pytest.fixture
def instance(api):
    response = api.post(URL, {"task_id": factories.task().pk})
    assert response.status_code == 201
    return response.json()


def claimed(*, output=()):
    """Return an attempt that an agent's socket has, with output as (stream, bytes)."""
    factories.task()
    agent = factories.agent()
    (started,) = claim(slots={agent.id: 1}, now=NOW, lead_secs=2, lease_secs=30)
    key = AttemptKey(agent_id=agent.id, instance_id=started.instance_id, token=started.token)
    ends = {"stdout": 0, "stderr": 0}
    for stream, data in output:
        store_output([Chunk(key=key, stream=stream, offset=ends[stream], data=data, at=NOW)])
        ends[stream] += len(data)
    return key


def test_an_attempt_that_is_created_locks_its_task(api, instance):
    assert list(instance) == FIELDS
    assert (instance["status"], instance["attempt"], instance["agent_id"]) == ("pending", 1, None)
    assert set(instance["metrics"]) == {"cpu_time", "memory_peak", "disk_read", "disk_write"}
    assert api.get(f"/api/v1/tasks/{instance['task_id']}").json()["status"] == "locked"
    assert api.get(f"{URL}/{instance['id'].upper()}").json() == instance
    response = api.post(f"{URL}/create", {"task_id": instance["task_id"]})
    assert (response.status_code, attrs(response)) == (409, {None: "invalid_state"})


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({}, "task_id"),
        ({"task_id": 999_999}, "task_id"),
        ({"task_id": "1"}, "task_id"),
        ({"task_id": 2**70}, "task_id"),
        ({"task_id": None}, "task_id"),
        ({"task_id": 999_999, "status": "running"}, "status"),
    ],
)
def test_an_attempt_of_nothing_is_a_400(api, body, attr):
    response = api.post(f"{URL}/create", body)
    assert (response.status_code, list(attrs(response))) == (400, [attr])


def test_an_attempt_for_an_unknown_agent_is_a_400(api):
    task = factories.task()
    response = api.post(URL, {"task_id": task.pk, "agent_id": str(uuid.uuid4())})
    assert (response.status_code, list(attrs(response))) == (400, ["agent_id"])
    task.refresh_from_db()
    assert task.status == "pending"


def test_an_attempt_is_started_and_completed(api, instance):
    agent = factories.agent()
    started = api.post(f"{URL}/{instance['id']}/start", {"agent_id": str(agent.id)}).json()
    assert (started["status"], started["agent_id"]) == ("running", str(agent.id))
    assert started["started_at"].endswith("Z")
    body = {"result": {"rows": 3}, "exit_code": 0, "output": "hi\n", "metrics": {"cpu_time": 0.5}}
    ended = api.post(f"{URL}/{instance['id']}/complete", body).json()
    assert (ended["status"], ended["exit_code"], ended["result"]) == ("completed", 0, {"rows": 3})
    assert (ended["output"], ended["metrics"]["cpu_time"]) == ("hi\n", 0.5)
    assert api.get(f"/api/v1/tasks/{instance['task_id']}").json()["status"] == "completed"
    for action in ("start", "complete", "cancel", "update"):
        response = api.post(f"{URL}/{instance['id']}/{action}", {})
        assert (response.status_code, attrs(response)) == (409, {None: "invalid_state"})
        assert "completed" in response.json()["errors"][0]["detail"]


def test_a_non_zero_exit_code_is_a_failure_and_is_retried_as_the_job_says(api):
    task = factories.task(job=factories.job(config={"max_retries": 1}))
    for expected in ("waiting_retry", "failed"):
        created = api.post(URL, {"task_id": task.pk}).json()
        ended = api.post(f"{URL}/{created['id']}/complete", {"exit_code": 3, "error_message": "no"}).json()
        assert (ended["status"], ended["exit_code"], ended["error_message"]) == ("failed", 3, "no")
        assert api.get(f"/api/v1/tasks/{task.pk}").json()["status"] == expected


def test_an_attempt_that_nobody_runs_is_cancelled_at_once(api, instance):
    api.post(f"{URL}/{instance['id']}/start")
    assert api.post(f"{URL}/{instance['id']}/cancel").json()["status"] == "cancelled"
    assert api.get(f"/api/v1/tasks/{instance['task_id']}").json()["status"] == "cancelled"


def test_cancelling_a_task_ends_its_attempt_that_is_driven_by_hand(api, instance):
    response = api.post(f"/api/v1/tasks/{instance['task_id']}/cancel")
    assert response.json()["status"] == "cancelled"
    assert api.get(f"{URL}/{instance['id']}").json()["status"] == "cancelled"


def test_an_attempt_that_an_agent_runs_is_cancelled_when_the_agent_says_so(api):
    key = claimed()
    assert api.post(f"{URL}/{key.instance_id}/cancel").json()["status"] == "pending"
    assert TaskInstance.objects.get().cancel_requested_at is not None


def test_an_attempt_belongs_to_one_agent(api):
    key = claimed()
    response = api.post(f"{URL}/{key.instance_id}/start", {"agent_id": str(factories.agent().id)})
    assert (response.status_code, list(attrs(response))) == (400, ["agent_id"])


def test_only_an_attempt_that_ended_is_deleted(api, instance):
    response = api.delete(f"{URL}/{instance['id']}")
    assert (response.status_code, attrs(response)) == (409, {None: "invalid_state"})
    api.post(f"{URL}/{instance['id']}/complete", {"output": "x"})
    assert api.delete(f"{URL}/{instance['id']}").status_code == 204
    assert api.get(f"{URL}/{instance['id']}").status_code == 404


@pytest.mark.parametrize(("method", "suffix"), [("post", "/update"), ("patch", "")])
def test_an_update_sets_what_is_known_of_a_live_attempt(api, instance, method, suffix):
    change = getattr(api, method)
    changed = change(f"{URL}/{instance['id']}{suffix}", {"result": [1], "metrics": {"disk_read": 7}}).json()
    assert (changed["result"], changed["metrics"]["disk_read"]) == ([1], 7)
    response = change(f"{URL}/{instance['id']}{suffix}", {"status": "completed"})
    assert (response.status_code, attrs(response)) == (400, {"status": "read_only"})


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({"exit_code": "0"}, "exit_code"),
        ({"exit_code": 2**40}, "exit_code"),
        ({"metrics": {"cpu_time": -1}}, "metrics.cpu_time"),
        ({"metrics": {"cpu_time": 10**300}}, "metrics.cpu_time"),
        ({"metrics": {"colour": 1}}, "metrics.colour"),
        ({"output": 3}, "output"),
        ({"result": "x" * 300_000}, "result"),
    ],
)
def test_a_bad_completion_changes_nothing(api, instance, body, attr):
    response = api.post(f"{URL}/{instance['id']}/complete", body)
    assert (response.status_code, list(attrs(response))) == (400, [attr])
    assert api.get(f"{URL}/{instance['id']}").json() == instance


def test_an_attempt_that_is_forgotten_becomes_lost(api, monkeypatch):
    monkeypatch.setattr(rescue, "_agents_could_renew", lambda now: True)
    job = factories.job(config={"timeout_secs": 10})
    created = by_hand.create_attempt(task_id=factories.task(job=job).pk, agent_id=None, now=NOW)
    assert rescue.run_once(now=created.lease_expires_at) == 0
    assert rescue.run_once(now=created.lease_expires_at.replace(year=2027)) == 1
    assert api.get(f"{URL}/{created.pk}").json()["status"] == "lost"


def test_a_limited_job_has_no_more_attempts_by_hand_than_places(api):
    job = factories.job(config={"max_concurrency": 1})
    first, second = factories.task(job=job), factories.task(job=job)
    assert api.post(URL, {"task_id": first.pk}).status_code == 201
    response = api.post(URL, {"task_id": second.pk})
    assert (response.status_code, attrs(response)) == (409, {None: "invalid_state"})
    assert Task.objects.get(pk=second.pk).status == "pending"


def test_an_attempt_by_hand_is_not_sent_to_its_agent_when_that_registers(api):
    from django.db import connection

    from scheduling.services import statements

    agent = factories.agent()
    by_hand.create_attempt(task_id=factories.task().pk, agent_id=agent.id, now=NOW)
    with connection.cursor() as cursor:
        cursor.execute(statements.RESENDABLE, {"agent_id": agent.id, "held": []})
        assert cursor.fetchall() == []


def test_what_an_agent_that_goes_away_was_running_waits_again_at_once(api):
    key = claimed()
    assert by_hand.requeue_attempts_of(agent_id=key.agent_id, now=NOW, reason="gone") == 1
    instance = TaskInstance.objects.select_related("task").get(pk=key.instance_id)
    assert (instance.status, instance.error_message) == ("lost", "gone")
    assert (instance.task.status, instance.task.retry_count, instance.task.due_at) == (
        "waiting_retry",
        0,
        NOW,
    )
    late = ReportedFact(seq=1, status=InstanceStatus.COMPLETED, at=NOW, exit_code=0)
    lifecycle.apply_reports([(key, late)], now=NOW)
    instance.refresh_from_db()
    assert (instance.status, instance.exit_code) == ("lost", 0)


def test_the_lists_of_attempts_are_bare_arrays(api):
    key = claimed()
    task_id = TaskInstance.objects.get().task_id
    for path in (f"task/{task_id}", f"agent/{key.agent_id}", "status/pending"):
        response = api.get(f"{URL}/{path}")
        assert [one["id"] for one in response.json()] == [str(key.instance_id)]
        assert response["X-Total-Count"] == "1"
    assert api.get(f"/api/v1/tasks/agent/{key.agent_id}").json()[0]["id"] == task_id
    assert api.get(f"{URL}/status/nope").status_code == 404


def test_a_list_of_attempts_takes_two_statements_and_shows_how_output_begins(api, django_assert_num_queries):
    for number in range(30):
        created = by_hand.create_attempt(task_id=factories.task().pk, agent_id=None, now=NOW)
        by_hand.complete_attempt(instance_id=created.pk, now=NOW, output=f"{number} " + "x" * 10_000)
    with django_assert_num_queries(2):
        rows = api.get(f"{URL}?limit=100").json()["data"]
    assert [row["output"][:2] for row in rows[:2]] == ["29", "28"]
    assert {len(row["output"]) for row in rows} == {4096}
    assert len(api.get(f"{URL}/{rows[0]['id']}").json()["output"]) == 10_003


def test_logs_are_plain_text_when_asked_for(api):
    key = claimed(output=[("stdout", b"hello \xff"), ("stderr", b"oops"), ("stdout", b"world")])
    url = f"{URL}/{key.instance_id}/logs"
    response = api.get(url, headers={"accept": "text/plain"})
    assert (response.content, response["Content-Type"]) == (
        b"hello \xffoopsworld",
        "text/plain; charset=utf-8",
    )
    read = {
        "?stream=stdout": b"hello \xffworld",
        "?stream=stderr": b"oops",
        "?stream=stdout&offset=6&limit=3": b"\xffwo",
        "?offset=5&limit=4": b" \xffoo",
        "?stream=stderr&offset=99": b"",
    }
    for query, expected in read.items():
        assert api.get(url + query, headers={"accept": "text/plain"}).content == expected


def test_logs_are_json_lines_with_sequence_numbers(api):
    euro = "€".encode()
    key = claimed(output=[("stdout", b"a" + euro[:1]), ("stderr", b"e"), ("stdout", euro[1:] + euro[:2])])
    response = api.get(f"{URL}/{key.instance_id}/logs")
    assert response["Content-Type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in response.content.splitlines()]
    assert [(line["seq"], line["stream"], line["text"]) for line in lines] == [
        (1, "stdout", "a"),
        (2, "stderr", "e"),
        (3, "stdout", "€"),
        (3, "stdout", "\ufffd"),
    ]


def test_hostile_output_is_sent_as_text_that_no_browser_takes_for_a_page(api):
    hostile = "<script>alert(1)</script>\x1b[2J\u202etxt.exe"
    url = f"{URL}/{claimed(output=[('stdout', hostile.encode())]).instance_id}/logs"
    instance = TaskInstance.objects.get()
    name = f"task-{instance.task_id}-1"
    raw = api.get(f"{url}?stream=stdout", headers={"accept": "text/plain"})
    lines = api.get(url)
    assert raw.content == hostile.encode()
    assert raw["Content-Type"] == "text/plain; charset=utf-8"
    assert raw["Content-Disposition"] == f'inline; filename="{name}-stdout.txt"'
    assert lines["Content-Disposition"] == f'inline; filename="{name}.jsonl"'
    assert json.loads(lines.content)["text"] == hostile
    assert not {b"\x1b", "\u202e".encode()} & {lines.content[i : i + n] for i in range(500) for n in (1, 3)}
    for response in (raw, lines):
        assert response["X-Content-Type-Options"] == "nosniff"
        assert response["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


def test_hostile_text_on_a_page_of_the_api_is_text(api):
    hostile = "<script>alert(1)</script>\x1b[2J\u202etxt.exe"
    key = claimed(output=[])
    TaskInstance.objects.update(error_message=hostile)
    for url in (URL, f"{URL}/{key.instance_id}"):
        page = api.get(url, headers={"accept": "text/html"}).content.decode()
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert not set(page) & {"\x1b", "\u202e"}


@pytest.mark.parametrize(
    ("query", "attr"),
    [
        ("stream=both", "stream"),
        ("offset=-1", "offset"),
        ("limit=0", "limit"),
        ("limit=x", "limit"),
        ("follow=maybe", "follow"),
        ("tail=3", "tail"),
    ],
)
@pytest.mark.parametrize("accept", ["text/plain", "application/json", "*/*"])
def test_bad_log_parameters_are_a_400_in_json(api, query, attr, accept):
    instance = by_hand.create_attempt(task_id=factories.task().pk, agent_id=None, now=NOW)
    response = api.get(f"{URL}/{instance.pk}/logs?{query}", headers={"accept": accept})
    assert (response.status_code, response["Content-Type"]) == (400, "application/json")
    assert list(attrs(response)) == [attr]


def test_logs_of_an_attempt_that_is_not_there_are_a_404(api):
    assert api.get(f"{URL}/{uuid.uuid4()}/logs").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_logs_are_followed_until_the_attempt_ends(api, monkeypatch):
    from scheduling.api import logs

    key = claimed(output=[("stdout", b"first ")])
    looks = []
    real = logs._look

    def look(instance_id, stream, offset):
        looks.append(offset)
        if len(looks) == 3:
            store_output([Chunk(key=key, stream="stdout", offset=6, data=b"second", at=NOW)])
            by_hand.complete_attempt(instance_id=key.instance_id, now=NOW, exit_code=0)
        return real(instance_id, stream, offset)

    monkeypatch.setattr(logs, "_look", look)
    monkeypatch.setattr(logs, "FOLLOW_POLL_SECS", 0.01)
    wanted = logs.LogRequest(stream=None, offset=0, limit=1, follow=True)

    response = logs.log_response(TaskInstance.objects.get(), wanted, as_text=True)

    async def read():
        return [part async for part in response]

    assert b"".join(asyncio.run(read())) == b"first second"
