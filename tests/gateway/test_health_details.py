"""How well the system is, in detail, and to whom it says so."""

import asyncio
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model

from gateway.api import health
from scheduling.clock import database_now
from scheduling.services import rescue
from tests.gateway.figures import NETWORK, POOL, RESOURCES


@pytest.fixture(autouse=True)
def fresh_probe(monkeypatch):
    monkeypatch.setattr(health, "_probe", health.HealthProbe())


@pytest.mark.parametrize("path", ["/api/v1/health", "/api/v1/system/health"])
def test_details_of_health_have_their_shape(client, token, path):
    answer = client.get(f"{path}?details=true", headers=token).json()
    assert list(answer) == [
        "status",
        "database",
        "connections",
        "timestamp",
        "database_pool",
        "services",
        "resources",
    ]
    assert list(answer["database_pool"]) == POOL
    assert {type(number) for number in answer["database_pool"].values()} == {int}
    assert [one["name"] for one in answer["services"]] == ["database", "gateway", "scheduler"]
    for one in answer["services"]:
        assert list(one) == ["name", "status", "last_check", "response_time"]
        assert isinstance(one["response_time"], int)
        assert one["last_check"].endswith("Z")
    assert list(answer["resources"]) == RESOURCES
    assert list(answer["resources"]["network_io"]) == NETWORK


def test_a_browser_session_may_see_the_details_of_health(client, db):
    client.force_login(get_user_model().objects.create_superuser("ben"))
    assert "services" in client.get("/api/v1/health?details=true").json()


@pytest.mark.parametrize("wish", ["", "?details=false", "?details=0"])
def test_without_the_wish_health_has_no_details(client, token, wish):
    assert "services" not in client.get(f"/api/v1/health{wish}", headers=token).json()


def test_a_wish_that_is_no_boolean_is_a_400(client, db):
    response = client.get("/api/v1/health?details=banana")
    assert (response.status_code, response.json()["errors"][0]["attr"]) == (400, "details")


def test_without_a_database_everyone_gets_the_short_answer(client, monkeypatch):
    def refuse(**_parameters):
        raise health.psycopg.OperationalError("away")

    monkeypatch.setattr(health.psycopg, "connect", refuse)
    response = client.get("/api/v1/health?details=true", headers={"authorization": "Bearer x"})
    assert (response.status_code, response.json()["status"]) == (503, "unhealthy")
    assert "services" not in response.json()


def test_a_scheduler_is_healthy_while_it_says_so(client, token):
    def scheduler():
        services = client.get("/api/v1/health?details=true", headers=token).json()["services"]
        return next(one["status"] for one in services if one["name"] == "scheduler")

    assert scheduler() == "unhealthy"
    north = {"process": "north-1", "version": "1.0"}
    rescue.note_scheduler_alive(**north, now=database_now() - timedelta(seconds=60))
    assert scheduler() == "unhealthy"
    rescue.note_scheduler_alive(**north, now=database_now())
    assert scheduler() == "healthy"


async def test_a_gateway_answers_from_its_loop_and_not_without_it(runtime):
    assert not runtime.answers_within(0.01)
    runtime._loop = asyncio.get_running_loop()
    assert await asyncio.to_thread(runtime.answers_within, 10)
    # The loop cannot turn while this very thread waits for it.
    assert not runtime.answers_within(0.01)


def test_a_loop_that_was_closed_does_not_answer(runtime):
    runtime._loop = asyncio.new_event_loop()
    runtime._loop.close()
    assert not runtime.answers_within(10)
