import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F

from rest.idempotency import PURGED_AT_ONCE
from rest.models import IdempotencyKey
from scheduling.models import Job, Task
from tests import factories

BODY = {"name": "backup", "config": {"cmd": "bash"}}
KEY = {"Idempotency-Key": "abc-1"}


def test_the_same_request_with_the_same_key_happens_once(api):
    first = api.post("/api/v1/jobs", BODY, headers=KEY)
    again = api.post("/api/v1/jobs", BODY, headers=KEY)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.json() == first.json()
    assert Job.objects.count() == 1


def test_a_trigger_with_a_key_makes_one_task(api):
    job = factories.job()
    answers = [api.post(f"/api/v1/jobs/{job.pk}/trigger", {}, headers=KEY).json() for _ in range(3)]
    assert answers[0] == answers[1] == answers[2]
    assert Task.objects.count() == 1


def test_the_same_key_for_another_request_is_a_409(api):
    api.post("/api/v1/jobs", BODY, headers=KEY)
    response = api.post("/api/v1/jobs", {**BODY, "name": "other"}, headers=KEY)
    assert response.status_code == 409
    assert response.json()["errors"][0]["code"] == "idempotency_key_reused"
    assert Job.objects.count() == 1


def test_a_request_that_failed_may_be_sent_again_with_its_key(api):
    job = factories.job(enabled=False)
    assert api.post(f"/api/v1/jobs/{job.pk}/trigger", {}, headers=KEY).status_code == 409
    api.post(f"/api/v1/jobs/{job.pk}/enable")
    assert api.post(f"/api/v1/jobs/{job.pk}/trigger", {}, headers=KEY).status_code == 201


def test_a_key_is_forgotten_after_a_day(api):
    job = factories.job()
    api.post(f"/api/v1/jobs/{job.pk}/trigger", {}, headers=KEY)
    IdempotencyKey.objects.update(created_at=F("created_at") - timedelta(hours=24, seconds=1))
    api.post(f"/api/v1/jobs/{job.pk}/trigger", {}, headers=KEY)
    assert Task.objects.count() == 2


def test_a_key_is_forgotten_after_a_day_however_many_older_ones_there_are(api):
    job = factories.job()
    api.post(f"/api/v1/jobs/{job.pk}/trigger", {}, headers=KEY)
    IdempotencyKey.objects.update(created_at=F("created_at") - timedelta(hours=25))
    older = IdempotencyKey.objects.get().created_at - timedelta(hours=1)
    IdempotencyKey.objects.bulk_create(
        IdempotencyKey(caller="somebody", key=str(number), digest="x", created_at=older)
        for number in range(PURGED_AT_ONCE)
    )
    answer = api.post(f"/api/v1/jobs/{job.pk}/trigger", {"priority": 1}, headers=KEY)
    again = api.post(f"/api/v1/jobs/{job.pk}/trigger", {"priority": 1}, headers=KEY)
    assert (answer.status_code, answer.json()["priority"]) == (201, 1)
    assert again.json() == answer.json()
    assert Task.objects.count() == 2


def test_both_spellings_of_a_create_are_one_request(api):
    first = api.post("/api/v1/jobs", BODY, headers=KEY)
    again = api.post("/api/v1/jobs/create", BODY, headers=KEY)
    assert (again.status_code, again.json()) == (201, first.json())


def test_the_token_of_an_agent_is_not_kept_for_a_repetition(api):
    first = api.post("/api/v1/agents", {"name": "w"}, headers=KEY).json()
    again = api.post("/api/v1/agents", {"name": "w"}, headers=KEY).json()
    assert first.pop("token").startswith("hfa_")
    assert again.pop("token") is None
    assert again == first


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
def test_a_bad_key_is_a_400(api, key):
    response = api.post("/api/v1/jobs", BODY, headers={"Idempotency-Key": key})
    assert response.status_code == 400
    assert response.json()["errors"][0]["attr"] == "Idempotency-Key"


@pytest.mark.django_db(transaction=True)
def test_of_many_requests_at_once_with_one_key_one_does_the_work(api):
    job = factories.job()
    answers = []

    def ask():
        try:
            answers.append(api.post(f"/api/v1/jobs/{job.pk}/trigger", {}, headers=KEY).json())
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(answers) == 6
    assert all(answer == answers[0] for answer in answers)
    assert Task.objects.count() == 1
