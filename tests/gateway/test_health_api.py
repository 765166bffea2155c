import psycopg
import pytest

from gateway.api import health


@pytest.fixture(autouse=True)
def fresh_probe(monkeypatch):
    monkeypatch.setattr(health, "_probe", health.HealthProbe())


@pytest.mark.django_db
@pytest.mark.parametrize("path", ["/api/v1/health", "/api/v1/system/health"])
def test_health_is_open_to_all(client, path):
    response = client.get(path)
    answer = response.json()
    assert (response.status_code, list(answer)) == (200, ["status", "database", "connections", "timestamp"])
    assert (answer["status"], answer["database"], answer["connections"]) == ("healthy", True, 0)
    assert answer["timestamp"].endswith("Z")


@pytest.mark.django_db
def test_a_wrong_token_is_no_reason_to_call_a_server_unhealthy(client):
    assert client.get("/api/v1/health", headers={"authorization": "Bearer wrong"}).status_code == 200


def test_a_database_that_is_away_is_a_503(client, monkeypatch):
    def refuse(**_parameters):
        raise psycopg.OperationalError("away")

    monkeypatch.setattr(health.psycopg, "connect", refuse)
    response = client.get("/api/v1/health")
    assert response.status_code == 503
    assert (response.json()["status"], response.json()["database"]) == ("unhealthy", False)


def test_however_many_ask_the_database_is_asked_once(client, monkeypatch):
    asked = []

    def refuse(**_parameters):
        asked.append(1)
        raise psycopg.OperationalError("away")

    monkeypatch.setattr(health.psycopg, "connect", refuse)
    for _ in range(20):
        client.get("/api/v1/health")
    assert len(asked) == 1
