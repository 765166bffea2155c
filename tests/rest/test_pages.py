from datetime import timedelta

import pytest
from django.db import connection

from access.models import AuditEntry
from rest import pages
from scheduling.models import Task, TaskInstance
from scheduling.services.claiming import claim
from tests import factories
from tests.factories import NOW

URL = "/api/v1/tasks"


@pytest.fixture
def tasks(api):
    job = factories.job()
    api.get(URL)  # the first answer is held against the document, which takes statements to make
    return [factories.task(job=job, priority=number % 3) for number in range(12)]


def page_of(response):
    assert response.status_code == 200, response.json()
    return response.json()["page"]


def ids(response):
    return [row["id"] for row in response.json()["data"]]


def test_what_would_take_long_to_count_is_estimated(api, tasks, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(pages, "MAX_COUNT_COST", 0.0)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE scheduling_task")
    with django_assert_num_queries(2):
        assert page_of(api.get(f"{URL}?limit=5"))["total"] == 12
    Task.objects.filter(pk__in=[task.pk for task in tasks[:6]]).delete()
    assert page_of(api.get(f"{URL}?limit=2"))["total"] == 12  # as it was when statistics were taken
    assert page_of(api.get(f"{URL}?limit=6"))["total"] == 6  # all of it was read


def test_what_is_surely_more_than_is_counted_is_estimated(api, tasks, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(pages, "SURELY_MORE", 5)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE scheduling_task")
    with django_assert_num_queries(2):
        assert page_of(api.get(f"{URL}?limit=5"))["total"] == 12


def test_an_estimate_is_never_less_than_what_was_seen(api, tasks, monkeypatch):
    monkeypatch.setattr(pages, "MAX_COUNT_COST", 0.0)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE scheduling_task")
    job = factories.job()
    for _ in range(10):
        factories.task(job=job)
    assert page_of(api.get(f"{URL}?limit=15"))["total"] == 16


@pytest.mark.parametrize("params", ["id__in=", "status__in=completed&offset=3", "job_id=0&page=7"])
def test_nothing_is_counted_as_nothing(api, tasks, params):
    if params == "id__in=":
        response = api.post(f"{URL}/query", {"filter": {"id": {"in": []}}, "page": {"page": 3}})
    else:
        response = api.get(f"{URL}?{params}")
    assert page_of(response)["total"] == 0
    assert ids(response) == []


@pytest.mark.parametrize("order", ["-id", "priority", "-priority,-id", "-scheduled_at"])
def test_a_page_far_down_holds_what_it_would_otherwise(api, tasks, monkeypatch, order):
    url = f"{URL}?order_by={order}&offset=4&limit=3"
    expected = api.get(url).json()
    monkeypatch.setattr(pages, "DEEP_OFFSET", 1)
    assert api.get(url).json() == expected
    assert len(expected["data"]) == 3


@pytest.mark.parametrize("field", ["scheduled_at", "completed_at", "created_at"])
def test_tasks_within_bounds_of_a_time_come_newest_first_by_it(api, tasks, field):
    for number, task in enumerate(tasks):
        at = NOW + timedelta(hours=(number * 5) % 12)
        times = {"scheduled_at": at, "created_at": at, "completed_at": at, "status": "completed"}
        Task.objects.filter(pk=task.pk).update(**times)
    bounds = {field: {"gte": NOW.isoformat(), "lt": (NOW + timedelta(hours=6)).isoformat()}}
    response = api.post(f"{URL}/query", {"filter": bounds})
    newest = Task.objects.filter(scheduled_at__lt=NOW + timedelta(hours=6)).order_by("-scheduled_at")
    assert ids(response) == [task.pk for task in newest]
    assert ids(api.get(f"{URL}?{field}__lt=2026-03-02T18:00:00Z")) == ids(response)
    asked = api.post(f"{URL}/query", {"filter": bounds, "page": {"order_bys": ["id"]}})
    assert ids(asked) == sorted(ids(response))


def test_tasks_without_a_time_come_newest_first_all_the_same(api, tasks):
    newest = [task.pk for task in reversed(tasks)]
    assert ids(api.post(f"{URL}/query", {"filter": {"completed_at": None}})) == newest
    assert ids(api.get(f"{URL}?completed_at__is_null=true")) == newest


def test_an_agents_tasks_are_listed_once_each_newest_first(api, tasks):
    agent, other = factories.agent(slots=20), factories.agent(slots=20)
    claim(slots={agent.pk: 8}, now=NOW, lead_secs=2, lease_secs=30)
    claim(slots={other.pk: 8}, now=NOW, lead_secs=2, lease_secs=30)
    first = TaskInstance.objects.filter(agent=agent).order_by("task_id")[0]
    TaskInstance.objects.filter(pk=first.pk).update(status="failed")
    TaskInstance.objects.create(
        task=first.task, job=first.job, agent=agent, attempt=2, token=10**6, status="failed"
    )
    response = api.get(f"{URL}/agent/{agent.pk}")
    had = TaskInstance.objects.filter(agent=agent).values_list("task_id", flat=True)
    assert [task["id"] for task in response.json()] == sorted(set(had), reverse=True)
    assert response["X-Total-Count"] == "8"


def test_beyond_a_bare_array_the_header_counts_an_agents_tasks(api, tasks, monkeypatch):
    monkeypatch.setattr(pages, "MAX_ARRAY", 5)
    agent = factories.agent(slots=20)
    claim(slots={agent.pk: 12}, now=NOW, lead_secs=2, lease_secs=30)
    response = api.get(f"{URL}/agent/{agent.pk}")
    assert [task["id"] for task in response.json()] == [task.pk for task in reversed(tasks)][:5]
    assert response["X-Total-Count"] == "12"


def test_the_audit_log_within_bounds_comes_newest_first(api):
    for hours in (2, 1, 3):
        entry = {"actor_kind": "user", "action": "x.y", "subject_type": "x", "subject_id": "1"}
        AuditEntry.objects.create(at=NOW + timedelta(hours=hours), **entry)
    response = api.post("/api/v1/audit/query", {"filter": {"at": {"gte": NOW.isoformat()}, "action": "x.y"}})
    times = [row["at"] for row in response.json()["data"]]
    assert len(times) == 3
    assert times == sorted(times, reverse=True)
