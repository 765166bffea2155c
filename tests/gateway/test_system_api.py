"""What the system says about itself, and to whom."""

import json
import os
import time
import urllib.request
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from django.db import connection

from gateway import statistics
from hetuflow import __version__
from scheduling.clock import database_now
from scheduling.models import Task
from scheduling.services import alerts, planning
from scheduling.states import TaskStatus
from tests import factories, processes
from tests.gateway.figures import BUILD, CONNECTIONS, RESOURCES, TASKS, ended_task, samples_of, tasks_of
from tests.gateway.test_connections_api import server, session


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("get", "/api/v1/health?details=true"),
        ("get", "/api/v1/system/health?details=true"),
        ("post", "/api/v1/metrics"),
        ("post", "/api/v1/system/metrics"),
        ("post", "/api/v1/info"),
        ("post", "/api/v1/system/info"),
        ("get", "/metrics"),
    ],
)
@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}])
def test_the_system_says_nothing_to_strangers(anonymous, method, path, headers):
    response = getattr(anonymous, method)(path, headers=headers)
    assert (response.status_code, response.json()["type"]) == (401, "client_error")
    assert response["WWW-Authenticate"].startswith("Bearer")


# --- figures --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/metrics", "/api/v1/system/metrics"])
def test_metrics_have_their_shape(api, path):
    answer = api.post(path, {}).json()
    assert list(answer) == ["connections", "tasks", "timestamp"]
    assert list(answer["connections"]) == CONNECTIONS
    assert list(answer["tasks"]) == TASKS
    assert answer["timestamp"].endswith("Z")


def test_metrics_need_no_body(api):
    assert api.post("/api/v1/metrics").status_code == 200


def test_details_of_metrics_have_their_shape(api):
    answer = api.post("/api/v1/metrics", {"include_details": True}).json()
    assert list(answer) == ["connections", "tasks", "timestamp", "resources", "database", "application"]
    assert list(answer["resources"]) == RESOURCES
    assert list(answer["database"]) == ["total_queries", "average_query_time", "slow_queries", "pool_usage"]
    assert list(answer["application"]) == ["startup_time", "uptime", "version", "build_info"]
    assert list(answer["application"]["build_info"]) == BUILD
    assert answer["application"]["version"] == __version__
    started = datetime.fromisoformat(answer["application"]["startup_time"])
    assert started.timestamp() == pytest.approx(psutil.Process(os.getpid()).create_time(), abs=0.01)
    assert 0 <= answer["application"]["uptime"] <= (datetime.now(UTC) - started).total_seconds()


@pytest.mark.parametrize(
    ("body", "attr"),
    [
        ({"time_range": 0}, "time_range"),
        ({"time_range": -5}, "time_range"),
        ({"time_range": "60"}, "time_range"),
        ({"time_range": 10**12}, "time_range"),
        ({"include_details": "yes"}, "include_details"),
        ({"include_detail": True}, "include_detail"),
    ],
)
def test_a_bad_question_about_metrics_is_a_400(api, body, attr):
    response = api.post("/api/v1/metrics", body)
    assert response.status_code == 400
    assert [error["attr"] for error in response.json()["errors"]] == [attr]


def test_metrics_move_with_the_sessions(api):
    session(server(), messages=3)
    connections = api.post("/api/v1/metrics", {}).json()["connections"]
    assert (connections["total_connections"], connections["idle_connections"]) == (1, 1)
    assert connections["total_messages_sent"] == 3


def test_metrics_move_with_the_tasks(api):
    assert set(tasks_of(api).values()) == {0}
    job = factories.job()
    for status in ("pending", "pending", "waiting_retry", "running", "locked"):
        task = factories.task(job=job)
        Task.objects.filter(pk=task.pk).update(status=status)
    ended_task("completed", secs=2)
    ended_task("failed", secs=6)
    assert tasks_of(api) == {
        "total_tasks": 7,
        "running_tasks": 1,
        "pending_tasks": 3,
        "completed_tasks": 1,
        "failed_tasks": 1,
        "average_execution_time": 4.0,
    }


def test_a_range_leaves_older_tasks_out(api):
    ended_task("completed", secs=100, ago=timedelta(minutes=90))
    ended_task("completed", secs=2, ago=timedelta(minutes=10))
    tasks = tasks_of(api, time_range=60)
    assert (tasks["total_tasks"], tasks["completed_tasks"]) == (1, 1)
    assert tasks["average_execution_time"] == 2.0
    assert tasks_of(api, time_range=120)["total_tasks"] == 2


@pytest.mark.parametrize("since", [None, factories.NOW - timedelta(days=1)])
def test_beyond_the_limit_tasks_are_estimated_and_never_fewer_than_seen(db, monkeypatch, since):
    monkeypatch.setattr(statistics, "EXACT_COUNT_UP_TO", 3)
    monkeypatch.setattr(
        statistics, "_estimate", lambda status, since, namespaces: {"pending": 70}.get(status, 0)
    )
    job = factories.job()
    for _ in range(5):
        factories.task(job=job)
    stats = statistics.task_stats(since=since)
    assert (stats.pending_tasks, stats.total_tasks) == (70, 70)
    monkeypatch.setattr(statistics, "_estimate", lambda status, since, namespaces: 0)
    assert statistics.task_stats(since=since).pending_tasks == 4


def test_an_estimate_is_the_planners(db):
    job = factories.job()
    for _ in range(20):
        factories.task(job=job)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE scheduling_task")
    assert statistics._estimate(TaskStatus.PENDING, None) == 20
    assert statistics._estimate(TaskStatus.PENDING, database_now()) < 20


def test_counting_takes_a_fixed_number_of_statements(api, django_assert_num_queries):
    job = factories.job()
    for _ in range(5):
        factories.task(job=job)
    with django_assert_num_queries(4):
        api.post("/api/v1/metrics", {})


# --- Prometheus -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["*/*", "application/openmetrics-text; version=1.0.0", "text/html"])
def test_prometheus_reads_its_text(client, token, accept):
    response = client.get("/metrics", headers={**token, "accept": accept})
    assert response.status_code == 200
    assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert f'version="{__version__}"' in response.content.decode()
    assert ("hetuflow_tasks", "pending") in samples_of(response.content.decode())


def test_prometheus_hears_of_missed_runs_and_of_alerts_that_nobody_saw(api):
    schedule = factories.schedule(kind="cron", cron_expression="0 9 * * *")
    day = timedelta(days=1)
    planning.run_once(now=factories.NOW + 8 * day, horizon_secs=15, catch_up_secs=3600)
    after = samples_of(api.get("/metrics").content.decode())
    assert after["hetuflow_missed_runs_total", "default"] == 8
    assert after["hetuflow_alerts", "missed", "default"] == 1
    alerts.acknowledge(alert_id=schedule.alerts.get().pk, now=factories.NOW)
    after = samples_of(api.get("/metrics").content.decode())
    assert after["hetuflow_missed_runs_total", "default"] == 8
    assert ("hetuflow_alerts", "missed", "default") not in after


def test_what_prometheus_reads_moves(api):
    before = samples_of(api.get("/metrics").content.decode())
    ended_task("completed", secs=2)
    session(server())
    after = samples_of(api.get("/metrics").content.decode())
    assert (before["hetuflow_tasks", "completed"], after["hetuflow_tasks", "completed"]) == (0, 1)
    assert (before["hetuflow_connections_idle",], after["hetuflow_connections_idle",]) == (0, 1)
    assert after["hetuflow_execution_seconds_average",] == 2.0
    counted = ("hetuflow_database_query_seconds_count",)
    assert after[counted] > before[counted]
    assert after["hetuflow_database_query_seconds_bucket", "+Inf"] == after[counted]
    assert after["process_start_time_seconds",] > 0


# --- a server that runs ---------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_running_server_tells_of_its_pool_its_loop_and_that_it_leads(token):
    with processes.server(HETUFLOW_DATABASE_POOL_SIZE="7") as port:

        def ask(path, body=None):
            request = urllib.request.Request(
                f"http://127.0.0.1:{port}/api/v1/{path}",
                data=None if body is None else json.dumps(body).encode(),
                headers={"Authorization": token["authorization"], "Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310 (our own server)
                return json.load(response)

        deadline = time.monotonic() + 15
        while not ask("info", {})["is_leader"]:
            assert time.monotonic() < deadline
        details = ask("health?details=true")
        pool = details["database_pool"]
        assert pool["max_connections"] == 7
        assert 1 <= pool["active_connections"] <= 7
        found = {one["name"]: one["status"] for one in details["services"]}
        assert found == {"database": "healthy", "gateway": "healthy", "scheduler": "unhealthy"}
        config = ask("info", {"include_config": True})["config"]
        assert (config["http_port"], config["websocket_port"]) == (port, port)
        figures = ask("metrics", {"include_details": True})["database"]
        assert figures["total_queries"] > 10
        assert 0 < figures["average_query_time"] < 10_000
        assert figures["pool_usage"] == pytest.approx(100 * pool["active_connections"] / 7, abs=60)
