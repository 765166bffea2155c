"""What the system says about itself, and to whom."""

import asyncio
import json
import os
import time
import urllib.request
import uuid
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from prometheus_client.parser import text_string_to_metric_families

from access import tokens
from gateway import build, servers, statistics, system
from gateway.api import health
from gateway.runtime import Runtime
from hetuflow import __version__
from scheduling.clock import database_now
from scheduling.models import Task, TaskInstance
from scheduling.services import rescue
from scheduling.states import TaskStatus
from tests import factories, processes
from tests.gateway.test_connections_api import server, session

POOL = ["active_connections", "idle_connections", "max_connections", "waiting_connections"]
RESOURCES = ["cpu_usage", "memory_usage", "disk_usage", "network_io"]
NETWORK = ["bytes_received", "bytes_sent", "packets_received", "packets_sent"]
BUILD = ["version", "build_time", "build_environment", "git_commit", "git_branch"]
TASKS = [
    "total_tasks",
    "running_tasks",
    "pending_tasks",
    "completed_tasks",
    "failed_tasks",
    "average_execution_time",
]
CONNECTIONS = [
    "total_connections",
    "online_connections",
    "idle_connections",
    "busy_connections",
    "average_duration",
    "total_messages_sent",
    "total_messages_received",
]
INFO = [
    "name",
    "version",
    "build_time",
    "git_commit",
    "build",
    "is_leader",
    "uptime",
    "timestamp",
    "features",
    "connections",
    "tasks",
    "resources",
    "database",
    "application",
]


@pytest.fixture(autouse=True)
def fresh_probe(monkeypatch):
    monkeypatch.setattr(health, "_probe", health.HealthProbe())


@pytest.fixture
def token(db):
    """The header of a person with an API token."""
    _stored, token = tokens.issue(user=get_user_model().objects.create_superuser("ben"), name="ben's")
    return {"authorization": f"Bearer {token}"}


@pytest.fixture
def runtime(monkeypatch):
    """A gateway of this process, whose loops do not run."""
    runtime = Runtime()
    monkeypatch.setattr(system, "runtime_of_process", lambda: runtime)
    return runtime


def ended_task(status, *, secs, ago=timedelta()):
    """Make a task that ran once and ended, planned and done so long ago."""
    now = database_now() - ago
    task = factories.task(now=now)
    Task.objects.filter(pk=task.pk).update(status=status, completed_at=now)
    TaskInstance.objects.create(
        task=task,
        job=task.job,
        attempt=1,
        token=task.pk,
        status=status,
        started_at=now - timedelta(seconds=secs),
        completed_at=now,
    )
    return task


def tasks_of(api, **body):
    return api.post("/api/v1/metrics", body).json()["tasks"]


def samples_of(text):
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


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


# --- health ---------------------------------------------------------------------------------------------


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
    rescue.note_scheduler_alive(now=database_now() - timedelta(seconds=60))
    assert scheduler() == "unhealthy"
    rescue.note_scheduler_alive(now=database_now())
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


# --- what this is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/info", "/api/v1/system/info"])
def test_info_has_its_shape(api, path):
    answer = api.post(path, {}).json()
    assert list(answer) == INFO
    assert list(answer["build"]) == BUILD
    assert (answer["version"], answer["build"]["version"]) == (__version__, __version__)
    assert "cron_schedules" in answer["features"]
    assert (type(answer["uptime"]), answer["is_leader"]) == (int, False)
    assert {name: answer[name] for name in ("build_time", "git_commit")}.items() <= answer["build"].items()
    assert (list(answer["connections"]), list(answer["tasks"])) == (CONNECTIONS, TASKS)
    assert list(answer["resources"]) == RESOURCES


def test_environment_and_configuration_are_told_when_asked_for(api, settings):
    answer = api.post(
        "/api/v1/info", {"include_config": True, "include_environment": True}, SERVER_PORT="8123"
    ).json()
    assert list(answer) == [*INFO, "environment", "config"]
    assert list(answer["environment"]) == [
        "os",
        "architecture",
        "python_version",
        "rust_version",
        "hostname",
    ]
    assert list(answer["config"]) == [
        "database_type",
        "websocket_port",
        "http_port",
        "log_level",
        "timezone",
    ]
    assert (answer["config"]["http_port"], answer["config"]["database_type"]) == (8123, "postgresql")


def test_no_secret_is_told(api, settings, monkeypatch, token):
    monkeypatch.setenv("HETUFLOW_SECRET_KEY", "of-the-environment")
    settings.SECRET_KEY = "of-the-settings-and-long-enough-to-be-one"
    body = {"include_config": True, "include_environment": True, "include_details": True}
    answers = [
        api.post("/api/v1/info", {name: body[name] for name in ("include_config", "include_environment")}),
        api.post("/api/v1/metrics", {"include_details": True}),
        api.get("/metrics"),
    ]
    told = "".join(answer.content.decode() for answer in answers)
    database = connection.settings_dict
    host = database["HOST"] or database["OPTIONS"]["host"]
    for secret in (
        "of-the-environment",
        settings.SECRET_KEY,
        settings.DATABASE_URL,
        host,
        str(settings.DATA_DIR),
        token["authorization"].removeprefix("Bearer "),
    ):
        assert secret
        assert secret not in told


def test_a_server_leads_while_it_holds_the_lease(api, runtime):
    def leads():
        return api.post("/api/v1/info", {}).json()["is_leader"]

    assert not leads()
    servers.lead(server_id=runtime.server_id, now=database_now() - timedelta(seconds=60))
    assert not leads()
    servers.lead(server_id=runtime.server_id, now=database_now())
    assert leads()
    runtime.server_id = uuid.uuid4()
    assert not leads()


def test_a_checkout_tells_its_commit(tmp_path):
    def git(*arguments):
        return build._git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@example.org", *arguments)

    git("init", "-b", "trunk")
    git("commit", "--allow-empty", "-m", "a")
    commit, at, branch = build._read_checkout(tmp_path)
    assert (commit, branch) == (git("rev-parse", "HEAD"), "trunk")
    assert at.tzinfo is UTC
    (tmp_path / "within").mkdir()
    assert build._read_checkout(tmp_path / "within") == (None, None, None)


def test_without_a_checkout_nothing_is_made_up(tmp_path):
    assert build._read_checkout(tmp_path) == (None, None, None)


def test_the_environment_may_tell_the_build(settings):
    settings.HETUFLOW_GIT_COMMIT = "abc"
    settings.HETUFLOW_GIT_BRANCH = ""
    settings.HETUFLOW_BUILD_TIME = datetime(2026, 1, 2)  # noqa: DTZ001 (so may whoever builds)
    told = build.build_info.__wrapped__()
    assert (told.git_commit, told.git_branch) == ("abc", None)
    assert told.build_time == datetime(2026, 1, 2, tzinfo=UTC)


# --- Prometheus -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("accept", ["*/*", "application/openmetrics-text; version=1.0.0", "text/html"])
def test_prometheus_reads_its_text(client, token, accept):
    response = client.get("/metrics", headers={**token, "accept": accept})
    assert response.status_code == 200
    assert response["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert f'version="{__version__}"' in response.content.decode()
    assert ("hetuflow_tasks", "pending") in samples_of(response.content.decode())


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
