"""Where a role ends, beyond what the permission of an action says."""

import pytest
from django.contrib.auth.models import Permission, User

from access.models import AuditEntry
from scheduling.models import Job, Task, TaskInstance
from scheduling.services import by_hand
from scheduling.services.definitions import update_job
from tests import factories, people
from tests.factories import NOW

pytestmark = pytest.mark.django_db
A_COMMAND = {"config": {"args": ["-c", "cat /etc/shadow"]}}


def attempt(task, agent=None):
    return by_hand.create_attempt(task_id=task.pk, agent_id=agent and agent.pk, now=NOW)


def test_an_operator_runs_jobs_but_brings_no_command_of_their_own():
    job = factories.job(namespace="a")
    client = people.session_of(people.with_role("operator", "a"))
    assert client.post("/api/v1/tasks", {"job_id": job.pk, **A_COMMAND}).status_code == 403
    task = client.post("/api/v1/tasks", {"job_id": job.pk, "priority": 3, "parameters": {"day": "mon"}})
    assert task.status_code == 201
    path = f"/api/v1/tasks/{task.json()['id']}"
    assert client.patch(path, A_COMMAND).status_code == 403
    assert client.patch(path, {"priority": 4}).status_code == 200
    assert Task.objects.get().config["args"] == ["-c", "true"]


def test_an_editor_brings_commands():
    job = factories.job(namespace="a")
    client = people.session_of(people.with_role("editor", "a", ("operator", "b")))
    task = client.post("/api/v1/tasks", {"job_id": job.pk, **A_COMMAND})
    assert task.status_code == 201
    assert client.patch(f"/api/v1/tasks/{task.json()['id']}", A_COMMAND).status_code == 200
    elsewhere = factories.job(namespace="b")
    assert client.post("/api/v1/tasks", {"job_id": elsewhere.pk, **A_COMMAND}).status_code == 403


def test_what_a_job_did_stays_where_it_was_when_the_job_moves():
    job = factories.job(namespace="a")
    old = attempt(factories.task(job=job))
    update_job(job_id=job.pk, now=NOW, namespace="b")
    new = attempt(factories.task(job=Job.objects.get()))
    for namespace, instance, other in (("a", old, new), ("b", new, old)):
        client = people.session_of(people.with_role("admin", namespace))
        for path, seen, unseen in (
            ("tasks", instance.task_id, other.task_id),
            ("task-instances", str(instance.pk), str(other.pk)),
        ):
            assert [row["id"] for row in client.get(f"/api/v1/{path}").json()["data"]] == [seen]
            assert client.get(f"/api/v1/{path}/{seen}").status_code == 200
            assert client.get(f"/api/v1/{path}/{unseen}").status_code == 404
        # Whoever sees an attempt sees its entry, and nobody else does.
        client.post(f"/api/v1/task-instances/{instance.pk}/complete", {})
        assert (
            AuditEntry.objects.get(action="task_instance.complete", subject_id=str(instance.pk)).namespace
            == namespace
        )


def test_a_job_moves_only_to_where_one_may_write():
    job = factories.job(namespace="a")
    client = people.session_of(people.with_role("editor", "a", ("operator", "b"), ("editor", "c")))
    for namespace in ("b", "elsewhere"):
        assert client.patch(f"/api/v1/jobs/{job.pk}", {"namespace": namespace}).status_code == 403
        assert Job.objects.get().namespace == "a"
    assert client.patch(f"/api/v1/jobs/{job.pk}", {"namespace": "c"}).status_code == 200
    moved = AuditEntry.objects.filter(action="job.update").order_by("namespace")
    assert [(entry.namespace, entry.before["namespace"], entry.after["namespace"]) for entry in moved] == [
        ("a", "a", "c"),
        ("c", "a", "c"),
    ]


def test_no_job_is_in_every_namespace():
    client = people.session_of(people.person(superuser=True))
    answer = client.post("/api/v1/jobs", {"namespace": "*", "name": "n", "config": {"cmd": "bash"}})
    assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, "namespace")


def test_an_agent_that_one_does_not_see_is_as_good_as_none():
    user = people.person()
    for name in ("add_taskinstance", "change_taskinstance", "view_task", "view_taskinstance"):
        user.user_permissions.add(Permission.objects.get(codename=name))
    client = people.session_of(User.objects.get(pk=user.pk))
    task, agent = factories.task(), factories.agent()
    answers = [
        client.post("/api/v1/task-instances", {"task_id": task.pk, "agent_id": str(agent_id)})
        for agent_id in (agent.pk, "0199f3a2-6c1e-7b4d-9a55-3f0c8e21d704")
    ]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].json() == answers[1].json()
    assert not TaskInstance.objects.exists()


def test_an_agent_knows_of_no_other_agent():
    mine, other = factories.agent(), factories.agent()
    instance = attempt(factories.task(), mine)
    client = people.agent_client(mine)
    answers = [
        client.post(f"/api/v1/task-instances/{instance.pk}/start", {"agent_id": str(agent_id)})
        for agent_id in (other.pk, "0199f3a2-6c1e-7b4d-9a55-3f0c8e21d704")
    ]
    assert [answer.status_code for answer in answers] == [400, 400]
    assert answers[0].json() == answers[1].json()
    started = client.post(f"/api/v1/task-instances/{instance.pk}/start", {"agent_id": str(mine.pk)})
    assert started.json()["status"] == "running"


def test_a_heartbeat_that_a_person_sends_for_an_agent_leaves_an_entry():
    agent, user = factories.agent(), people.with_role("operator")
    path = f"/api/v1/agents/{agent.pk}/heartbeat"
    AuditEntry.objects.all().delete()
    people.agent_client(agent).post(path, {"status": "busy"})
    assert not AuditEntry.objects.filter(action="agent.heartbeat").exists()
    assert people.session_of(user).post(path, {"status": "draining"}).status_code == 200
    entry = AuditEntry.objects.get(action="agent.heartbeat")
    assert (entry.actor, entry.subject_id) == (user.username, str(agent.pk))
    assert (entry.before["status"], entry.after["status"]) == ("busy", "draining")


def test_figures_count_the_tasks_that_one_sees():
    for namespace, count in (("a", 2), ("b", 3)):
        job = factories.job(namespace=namespace)
        for _ in range(count):
            factories.task(job=job)
    both = people.with_role("viewer", "a", ("viewer", "b"))
    for user, count in (
        (people.with_role("viewer", "a"), 2),
        (people.with_role("admin", "c"), 0),
        (both, 5),
        (people.with_role("viewer"), 5),
    ):
        for body in ({}, {"time_range": 5_000_000}):
            tasks = people.session_of(user).post("/api/v1/metrics", body).json()["tasks"]
            assert (tasks["total_tasks"], tasks["pending_tasks"]) == (count, count)


def test_averages_are_those_of_attempts_that_one_sees():
    for namespace in ("a", "b"):
        instance = attempt(factories.task(job=factories.job(namespace=namespace)))
        by_hand.start_attempt(instance_id=instance.pk, agent_id=None, now=NOW)
        by_hand.complete_attempt(instance_id=instance.pk, now=NOW)
    TaskInstance.objects.filter(task__namespace="b").update(completed_at=NOW.replace(minute=1))
    client = people.session_of(people.with_role("viewer", "b"))
    assert client.post("/api/v1/metrics", {}).json()["tasks"]["average_execution_time"] == 60


def test_prometheus_counts_everything_and_so_needs_a_role_everywhere():
    assert people.token_of(people.with_role("admin", "a")).get("/metrics").status_code == 403
    everywhere = people.with_role("viewer")
    assert people.token_of(everywhere, namespace="a").get("/metrics").status_code == 403
    assert people.token_of(everywhere, scope="read").get("/metrics").status_code == 200


def test_who_gets_anothers_name_does_not_get_their_answers():
    ann = people.person("ann", superuser=True)
    body, key = {"name": "n", "config": {"cmd": "bash"}}, {"Idempotency-Key": "k"}
    first = people.session_of(ann).post("/api/v1/jobs", body, headers=key)
    assert first.status_code == 201
    User.objects.filter(pk=ann.pk).update(username="ann-was-here")
    other = people.session_of(people.person("ann", superuser=True)).post("/api/v1/jobs", body, headers=key)
    assert other.status_code == 409
    assert other.json()["errors"][0]["code"] == "already_exists"
