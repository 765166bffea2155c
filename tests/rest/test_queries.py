from datetime import timedelta

import pytest

from rest import pages
from scheduling.models import Job, Task
from scheduling.services.manual import trigger_job
from tests import factories
from tests.factories import NOW

URL = "/api/v1/jobs"


@pytest.fixture
def jobs(api):
    return [
        factories.job(name="backup", namespace="ops", tags=["nightly", "db"]),
        factories.job(name="Backup-2", namespace="ops", enabled=False),
        factories.job(name="report", namespace="biz", description="100% of_it"),
    ]


def names(response):
    assert response.status_code == 200, response.json()
    return [job["name"] for job in response.json()["data"]]


def by_body(api, filter_, order_bys=("id",)):
    return names(api.post(f"{URL}/query", {"filter": filter_, "page": {"order_bys": list(order_bys)}}))


@pytest.mark.parametrize(
    ("filter_", "params", "expected"),
    [
        ({"name": "backup"}, "name=backup", ["backup"]),
        ({"name": {"eq": "backup"}}, "name__eq=backup", ["backup"]),
        ({"name": {"ne": "backup"}}, "name__ne=backup", ["Backup-2", "report"]),
        ({"name": {"contains": "ackup"}}, "name__contains=ackup", ["backup", "Backup-2"]),
        ({"name": {"contains": "backup"}}, "name__contains=backup", ["backup"]),
        ({"name": {"icontains": "BACKUP"}}, "name__icontains=BACKUP", ["backup", "Backup-2"]),
        ({"name": {"startswith": "re"}}, "name__startswith=re", ["report"]),
        ({"name": {"endswith": "-2"}}, "name__endswith=-2", ["Backup-2"]),
        ({"name": {"in": ["report", "x"]}}, "name__in=report,x", ["report"]),
        ({"name": {"not_in": ["report"]}}, "name__not_in=report", ["backup", "Backup-2"]),
        ({"enabled": False}, "enabled=false", ["Backup-2"]),
        ({"namespace": "ops", "enabled": True}, "namespace=ops&enabled=true", ["backup"]),
        ({"name": {"contains": "a", "ne": "backup"}}, "name__contains=a&name__ne=backup", ["Backup-2"]),
        ({"description": {"contains": "0% of_"}}, "description__contains=0%25%20of_", ["report"]),
        ({"description": {"contains": "%"}}, "description__contains=%25", ["report"]),
        ({"tags": ["db"]}, "tags=db", ["backup"]),
        ({"tags": {"contains": ["db", "nightly"]}}, "tags=db,nightly", ["backup"]),
        ({"description": {"is_null": True}}, "description__is_null=true", []),
        ({"created_at": {"gt": "2999-01-01T00:00:00Z"}}, "created_at__gt=2999-01-01T00:00:00Z", []),
        ({"id": {"gte": 2**63 - 1}}, f"id__gte={2**63 - 1}", []),
        ({}, "", ["backup", "Backup-2", "report"]),
    ],
)
def test_a_filter_means_the_same_in_a_body_and_in_parameters(api, jobs, filter_, params, expected):
    assert by_body(api, filter_) == expected
    assert names(api.get(f"{URL}?order_by=id&{params}")) == expected


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({"filters": {}}, "filters"),
        ({"filter": []}, "filter"),
        ({"filter": {"nam": "x"}}, "filter.nam"),
        ({"filter": {"config": {}}}, "filter.config"),
        ({"filter": {"name": {"like": "x"}}}, "filter.name.like"),
        ({"filter": {"name": 3}}, "filter.name"),
        ({"filter": {"name": ["x"]}}, "filter.name"),
        ({"filter": {"name": {"in": "x"}}}, "filter.name.in"),
        ({"filter": {"name": {"in": ["x"] * 501}}}, "filter.name.in"),
        ({"filter": {"name": {"is_null": "yes"}}}, "filter.name.is_null"),
        ({"filter": {"enabled": {"gt": True}}}, "filter.enabled.gt"),
        ({"filter": {"enabled": 1}}, "filter.enabled"),
        ({"filter": {"id": "1"}}, "filter.id"),
        ({"filter": {"id": 2**63}}, "filter.id"),
        ({"filter": {"id": True}}, "filter.id"),
        ({"filter": {"id": {"contains": 1}}}, "filter.id.contains"),
        ({"filter": {"created_at": "2026-01-01"}}, "filter.created_at"),
        ({"filter": {"created_at": {"gt": None}}}, "filter.created_at.gt"),
        ({"filter": {"tags": 3}}, "filter.tags"),
        ({"page": 3}, "page"),
        ({"page": {"size": 3}}, "page.size"),
        ({"page": {"limit": 0}}, "page.limit"),
        ({"page": {"limit": 501}}, "page.limit"),
        ({"page": {"limit": "20"}}, "page.limit"),
        ({"page": {"page": 0}}, "page.page"),
        ({"page": {"page": 10**12}}, "page.page"),
        ({"page": {"offset": -1}}, "page.offset"),
        ({"page": {"page": 1, "offset": 1}}, "page.offset"),
        ({"page": {"order_bys": ["colour"]}}, "page.order_bys"),
        ({"page": {"order_bys": ["--id"]}}, "page.order_bys"),
        ({"page": {"order_bys": ["tags"]}}, "page.order_bys"),
        ({"page": {"order_bys": [1]}}, "page.order_bys"),
        ({"page": {"order_bys": ["id"] * 9}}, "page.order_bys"),
    ],
)
def test_a_query_that_is_not_sound_says_where(api, body, attr):
    response = api.post(f"{URL}/query", body)
    assert response.status_code == 400
    assert [error["attr"] for error in response.json()["errors"]] == [attr]


@pytest.mark.parametrize(
    ("params", "attr"),
    [
        ("nam=x", "nam"),
        ("name__like=x", "name__like"),
        ("name__=backup", "name__"),
        ("enabled=maybe", "enabled"),
        ("id=x", "id"),
        ("id=99999999999999999999", "id"),
        ("limit=x", "limit"),
        ("limit=501", "limit"),
        ("page=0", "page"),
        ("page=1&offset=1", "offset"),
        ("order_by=colour", "order_by"),
        ("name=%00", "name"),
        ("created_at=now", "created_at"),
    ],
)
def test_parameters_that_are_not_sound_say_which(api, params, attr):
    response = api.get(f"{URL}?{params}")
    assert response.status_code == 400
    assert [error["attr"] for error in response.json()["errors"]] == [attr]


def test_capitals_of_all_alphabets_are_found_by_their_small_letters(api):
    factories.job(name="ÜBERTRAGUNG ОТЧЁТ")
    for text in ("übertragung", "отчёт"):
        assert by_body(api, {"name": {"icontains": text}}) == ["ÜBERTRAGUNG ОТЧЁТ"]


def test_an_empty_query_answers_the_newest_first(api, jobs):
    answer = api.post(f"{URL}/query").json()
    assert [job["id"] for job in answer["data"]] == [job.pk for job in reversed(jobs)]
    assert answer["page"] == {"total": 3, "page": 1, "limit": 20, "has_more": False}


def test_pages_follow_each_other_without_gap_or_overlap(api, jobs):
    seen = []
    for page, has_more in ((1, True), (2, False), (3, False)):
        answer = api.post(f"{URL}/query", {"page": {"page": page, "limit": 2, "order_bys": ["namespace"]}})
        assert answer.json()["page"] == {"total": 3, "page": page, "limit": 2, "has_more": has_more}
        seen += names(answer)
    assert seen == ["report", "backup", "Backup-2"]


def test_an_offset_stands_in_place_of_a_page(api, jobs):
    answer = api.get(f"{URL}?offset=1&limit=1&order_by=id")
    assert names(answer) == ["Backup-2"]
    assert answer.json()["page"] == {"total": 3, "page": 2, "limit": 1, "has_more": True}


def test_rows_that_are_alike_have_an_order_all_the_same(api, jobs):
    Job.objects.update(created_at=NOW)
    assert names(api.get(f"{URL}?order_by=-created_at")) == ["backup", "Backup-2", "report"]


def test_a_time_is_compared_as_an_instant_whatever_its_offset(api):
    task = factories.task(scheduled_at=NOW)
    for text in ("2026-03-02T12:00:00Z", "2026-03-02T20:00:00%2B08:00", "2026-03-02T20:00:00+08:00"):
        assert len(api.get(f"/api/v1/tasks?scheduled_at={text}").json()["data"]) == 1
    later = (NOW + timedelta(microseconds=1)).isoformat()
    answer = api.post("/api/v1/tasks/query", {"filter": {"scheduled_at": {"lt": later}}}).json()
    assert [one["id"] for one in answer["data"]] == [task.pk]


@pytest.mark.parametrize(
    ("text", "is_time"),
    [
        ("2026-03-02T12:00:00.000000Z", True),
        ("2026-03-02t12:00:00z", True),
        ("2026-03-02 12:00Z", True),
        ("20260302T120000Z", False),
        ("2026-W10-1T12:00:00Z", False),
        ("2026-03-02T12:00:00", False),
        ("2026-03-02", False),
        ("2026-02-30T12:00:00Z", False),
        ("2026-03-02T12:00:00+25:00", False),
        ("٢٠٢٦-03-02T12:00:00Z", False),
    ],
)
def test_a_time_is_written_as_the_standard_says(api, text, is_time):
    task = factories.task(scheduled_at=NOW)
    answer = api.post("/api/v1/tasks/query", {"filter": {"scheduled_at": text}})
    if is_time:
        assert [one["id"] for one in answer.json()["data"]] == [task.pk]
    else:
        assert (answer.status_code, answer.json()["errors"][0]["attr"]) == (400, "filter.scheduled_at")


def test_null_is_a_value_that_can_be_asked_for(api):
    schedule = factories.schedule()
    for filter_ in ({"max_count": None}, {"max_count": {"is_null": True}}, {"max_count": {"ne": 3}}):
        answer = api.post("/api/v1/schedules/query", {"filter": filter_}).json()
        assert [one["id"] for one in answer["data"]] == [schedule.pk]
    assert api.post("/api/v1/schedules/query", {"filter": {"max_count": {"ne": None}}}).json()["data"] == []


def test_beyond_its_bound_a_total_is_the_planners_estimate(api, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(pages, "EXACT_COUNT_UP_TO", 10)
    monkeypatch.setattr(pages, "MAX_ARRAY", 5)
    job = factories.job()
    for _ in range(30):
        trigger_job(job=job, now=NOW)
    with django_assert_num_queries(3):
        page = api.get("/api/v1/tasks?limit=2").json()["page"]
    assert page["has_more"] is True
    assert page["total"] >= 11
    response = api.get(f"/api/v1/tasks/job/{job.pk}")
    assert len(response.json()) == 5
    assert int(response["X-Total-Count"]) >= 11
    assert Task.objects.count() == 30


@pytest.mark.parametrize("body", ["null", "[]", "0", '""', "false"])
def test_a_query_is_an_object_or_nothing_at_all(api, body):
    path = f"/api/v1/agents/{factories.agent().pk}/logs"
    for url in (f"{URL}/query", path):
        assert api.post(url, body, content_type="application/json").status_code == 400
        assert api.post(url, b"", content_type="application/json").status_code == 200
        assert api.post(url).status_code == 200


def test_an_order_may_be_empty_but_none_of_its_keys(api):
    for order in ("", "id", "id,-name"):
        assert api.get(f"{URL}?order_by={order}").status_code == 200
    for order in (",", "id,", "id,,name"):
        assert api.get(f"{URL}?order_by={order}").status_code == 400


def test_a_field_that_is_wrong_twice_is_named_once(api):
    answer = api.get(f"{URL}?enabled=x&enabled=y&id=z&page=0")
    assert answer.status_code == 400
    assert [error["attr"] for error in answer.json()["errors"]] == ["enabled", "id", "page"]
