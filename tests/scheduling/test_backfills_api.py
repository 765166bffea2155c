"""REST of backfills."""

from datetime import timedelta

import pytest

from scheduling.models import Backfill, Task
from scheduling.services import backfilling
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db
URL = "/api/v1/backfills"
RANGE = {"range_from": "2026-02-01T00:00:00Z", "range_to": "2026-02-05T00:00:00Z"}


@pytest.fixture
def schedule():
    return factories.schedule(kind="cron", cron_expression="0 6 * * *")


def attrs(response):
    return {error["attr"] for error in response.json()["errors"]}


@pytest.mark.parametrize("path", [URL, f"{URL}/create"])
def test_a_backfill_is_asked_for_and_tells_how_far_it_is(api, schedule, path):
    created = api.post(path, {"schedule_id": schedule.pk, **RANGE, "parallel": 3})
    assert created.status_code == 201
    backfill = created.json()
    assert (backfill["status"], backfill["total"], backfill["overlap"]) == ("running", 4, "queue")
    assert (backfill["namespace"], backfill["job_id"], backfill["created_by"]) == (
        "default",
        schedule.job_id,
        "ann",
    )
    backfilling.run_once(now=NOW)
    first = Task.objects.filter(backfill=backfill["id"]).earliest("scheduled_at")
    Task.objects.filter(pk=first.pk).update(status="failed", completed_at=NOW)
    read = api.get(f"{URL}/{backfill['id']}").json()
    assert read["planned"] == 3
    assert read["tasks"] == {"completed": 0, "failed": 1, "cancelled": 0, "active": 2}
    found = api.post("/api/v1/tasks/query", {"filter": {"backfill_id": backfill["id"]}}).json()
    assert [row["backfill_id"] for row in found["data"]] == [backfill["id"]] * 3


def test_it_is_paused_resumed_and_cancelled(api, schedule):
    backfill = api.post(URL, {"schedule_id": schedule.pk, **RANGE}).json()
    for action, status in (
        ("pause", "paused"),
        ("pause", "paused"),
        ("resume", "running"),
        ("cancel", "cancelled"),
    ):
        answer = api.post(f"{URL}/{backfill['id']}/{action}")
        assert (answer.status_code, answer.json()["status"]) == (200, status)
    refused = api.post(f"{URL}/{backfill['id']}/resume")
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (409, "invalid_state")


def test_a_preview_tells_what_it_would_run_and_saves_nothing(api, schedule):
    answer = api.post(f"/api/v1/schedules/{schedule.pk}/backfill-preview", RANGE)
    assert answer.status_code == 200
    body = answer.json()
    assert (body["total"], body["forbidden"], len(body["first"])) == (4, 0, 4)
    assert body["last"] == "2026-02-04T06:00:00.000000Z"
    assert not Backfill.objects.exists()


@pytest.mark.parametrize(
    ("changed", "fields"),
    [
        ({"range_to": "2025-01-01T00:00:00Z"}, {"range_to"}),
        ({"range_to": "2099-01-01T00:00:00Z"}, {"range_to"}),
        ({"range_from": "yesterday"}, {"range_from"}),
        ({"schedule_id": 2**40}, {"schedule_id"}),
        ({"parallel": 0}, {"parallel"}),
        ({"parallel": 101}, {"parallel"}),
        ({"parallel": True}, {"parallel"}),
        ({"overlap": "replace"}, {"overlap"}),
        ({"on_failure": "stop"}, {"on_failure"}),
        ({"only_missing": 1}, {"only_missing"}),
        ({"status": "completed"}, {"status"}),
        ({"colour": "red"}, {"colour"}),
    ],
)
def test_a_bad_request_is_a_400_by_field_and_changes_nothing(api, schedule, changed, fields):
    response = api.post(URL, {"schedule_id": schedule.pk, **RANGE, **changed})
    assert (response.status_code, attrs(response)) == (400, fields)
    assert not Backfill.objects.exists()


def test_a_page_of_them_costs_the_same_however_many_there_are(api, schedule, django_assert_num_queries):
    for _ in range(5):
        api.post(URL, {"schedule_id": schedule.pk, **RANGE})
    with django_assert_num_queries(2):
        assert len(api.get(URL).json()["data"]) == 5


def test_the_same_key_asks_once(api, schedule):
    body = {"schedule_id": schedule.pk, **RANGE}
    for _ in range(2):
        assert api.post(URL, body, headers={"Idempotency-Key": "once"}).status_code == 201
    assert Backfill.objects.count() == 1
    assert Backfill.objects.get().range_to - Backfill.objects.get().range_from == timedelta(days=4)
