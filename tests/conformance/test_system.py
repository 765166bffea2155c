"""`/api/v1/health`, `/metrics`, `/info` and `/system/…`: what is said is measured."""

import platform
import re
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psutil
import pytest

from tests.conformance import kinds, shapes
from tests.conformance.client import Client
from tests.conformance.contract import covers
from tests.conformance.installation import PASSWORD, POOL_SIZE, Agent, Installation, until
from tests.conformance.objects import make_job, make_task, run

DETAILS = {
    **shapes.HEALTH,
    "database_pool": shapes.POOL,
    "services": kinds.list_of,
    "resources": shapes.RESOURCES,
}
AT_ONCE = 24


def check_resources(resources: Any) -> None:
    """Check the figures of the machine against what psutil reads here and now."""
    assert resources["memory_usage"] == pytest.approx(psutil.virtual_memory().percent, abs=15)
    assert resources["disk_usage"] == pytest.approx(psutil.disk_usage("/tmp").percent, abs=10)
    now = psutil.net_io_counters()
    for name, current in (
        ("bytes_received", now.bytes_recv),
        ("bytes_sent", now.bytes_sent),
        ("packets_received", now.packets_recv),
        ("packets_sent", now.packets_sent),
    ):
        assert 0 < resources["network_io"][name] <= current


def check_stats(client: Client, connections: Any) -> None:
    """Check that statistics of sessions are those that their own route tells."""
    own = client.post("/connections/stats")
    assert connections["total_connections"] == own["total_connections"]
    assert connections["total_messages_received"] <= own["total_messages_received"]


# --- health ---------------------------------------------------------------------------------------------


@covers("system.health", "system.both-paths", "connections.cluster")
@pytest.mark.parametrize("path", ["/health", "/system/health"])
def test_everybody_may_ask_whether_the_server_works(
    api: Client, other: Client, agents: list[Agent], path: str
) -> None:
    for client in (api, other):
        answer = until(
            lambda client=client: (now := client.anonymous.get(path))["connections"] >= 2 and now,
            "both sessions are counted",
        )
        shapes.check(shapes.HEALTH, answer)
        assert (answer["status"], answer["database"]) == ("healthy", True)
        asked = datetime.fromisoformat(answer["timestamp"])
        assert abs(datetime.now(UTC) - asked) < timedelta(seconds=10)
        shapes.check(shapes.HEALTH, client.get(path))
        shapes.check(shapes.HEALTH, client.anonymous.get(f"{path}?details=false"))


@covers("system.health-details", "system.both-paths", "unauthenticated")
@pytest.mark.parametrize("path", ["/health", "/system/health"])
def test_details_of_health_are_for_those_who_are_known(api: Client, agent: Agent, path: str) -> None:
    assert api.anonymous.why(401, "GET", f"{path}?details=true")[0] == "not_authenticated"
    assert list(api.refuse(400, "GET", f"{path}?details=perhaps")) == ["details"]
    answer = api.get(f"{path}?details=true")
    shapes.check(DETAILS, answer)
    for service in answer["services"]:
        shapes.check(shapes.SERVICE, service)
        checked = datetime.fromisoformat(service["last_check"])
        assert abs(datetime.now(UTC) - checked) < timedelta(seconds=10)
    assert {service["name"]: service["status"] for service in answer["services"]} == {
        "database": "healthy",
        "gateway": "healthy",
        "scheduler": "healthy",
    }
    check_resources(answer["resources"])


@covers("system.unhealthy", "errors")
def test_a_server_without_its_database_says_so(installation: Installation) -> None:
    server = installation.lonely_server()
    answer = server.first_answer()
    assert answer.status == 503
    said = answer.json()
    shapes.check(shapes.HEALTH, said)
    assert (said["status"], said["database"], said["connections"]) == ("unhealthy", False, 0)
    server.kill()


@covers("system.health-details")
def test_the_figures_of_the_pool_change_with_its_load(other: Client) -> None:
    def pool() -> Any:
        return other.get("/health?details=true")["database_pool"]

    quiet = pool()
    assert quiet["max_connections"] == POOL_SIZE
    assert quiet["active_connections"] + quiet["idle_connections"] <= POOL_SIZE
    # Each of these is busy on its connection for a while.
    most_active, most_waiting = with_load(other, pool)
    assert most_active > quiet["active_connections"]
    assert most_active <= POOL_SIZE
    assert most_waiting > 0
    until(lambda: pool()["waiting_connections"] == 0, "nobody waits any more")


def with_load(client: Client, pool: Callable[[], Any]) -> tuple[int, int]:
    """Return the most active and waiting connections that were seen while many asked at once."""
    active = waiting = 0
    deadline = time.monotonic() + 60
    body = {"filter": {"name": {"icontains": "o"}}, "page": {"limit": 500, "order_bys": ["description"]}}
    with ThreadPoolExecutor(AT_ONCE) as threads:
        while not (waiting and active) and time.monotonic() < deadline:
            work = [threads.submit(client.post, "/jobs/query", body) for _ in range(2 * AT_ONCE)]
            seen = pool()
            active = max(active, seen["active_connections"])
            waiting = max(waiting, seen["waiting_connections"])
            for one in work:
                one.result()
    return active, waiting


# --- metrics --------------------------------------------------------------------------------------------


@covers("system.metrics", "system.metrics-details", "system.both-paths")
@pytest.mark.parametrize("path", ["/metrics", "/system/metrics"])
def test_metrics_with_and_without_details(api: Client, other: Client, agents: list[Agent], path: str) -> None:
    for client in (api, other):
        for body in (None, {}, {"include_details": False}, {"time_range": 60}):
            answer = client.post(path, body)
            shapes.check(shapes.METRICS, answer)
            check_stats(client, answer["connections"])
        answer = client.post(path, {"include_details": True, "time_range": 5})
        shapes.check(shapes.METRICS_WITH_DETAILS, answer)
        check_resources(answer["resources"])
        assert answer["database"]["average_query_time"] > 0
        assert 0 < answer["database"]["pool_usage"] <= 100
        started = datetime.fromisoformat(answer["application"]["startup_time"])
        age = (datetime.now(UTC) - started).total_seconds()
        assert answer["application"]["uptime"] == pytest.approx(age, abs=15)
    wrong = {"include_details": "yes", "time_range": 0, "typo": 1}
    assert set(api.refuse(400, "POST", path, wrong)) == set(wrong)


@covers("system.metrics-details", "durations")
def test_queries_are_counted_and_uptime_grows(api: Client) -> None:
    def figures() -> Any:
        return api.post("/metrics", {"include_details": True})

    before = figures()
    for _ in range(10):
        api.post("/jobs/query")
    after = figures()
    assert after["database"]["total_queries"] >= before["database"]["total_queries"] + 10
    assert after["timestamp"] > before["timestamp"]
    until(lambda: figures()["application"]["uptime"] > before["application"]["uptime"], "the uptime grows")


@covers("system.metrics", "durations")
def test_tasks_are_counted_by_what_they_are_doing(api: Client, agent: Agent) -> None:
    def tasks(**body: Any) -> Any:
        return api.post("/metrics", body)["tasks"]

    before = tasks()
    make_task(api)
    run(api, make_job(api, "sleep 0.3"))
    run(api, make_job(api, "exit 1"))
    after = tasks()
    for name, more in (("total_tasks", 3), ("pending_tasks", 1), ("completed_tasks", 1), ("failed_tasks", 1)):
        assert after[name] >= before[name] + more, name
    assert after["average_execution_time"] > 0
    parts = ("running_tasks", "pending_tasks", "completed_tasks", "failed_tasks")
    assert sum(after[name] for name in parts) <= after["total_tasks"]
    # What was planned for long ago is not within the last minutes.
    old = make_task(api, scheduled_at="2020-01-01T00:00:00Z", config={"labels": {"nobody": "has-it"}})
    assert tasks()["total_tasks"] > after["total_tasks"]
    assert tasks(time_range=5)["pending_tasks"] < tasks()["pending_tasks"]
    api.post(f"/tasks/{old['id']}/cancel")


@covers("system.metrics")
def test_a_running_task_is_counted_while_it_runs(api: Client, agent: Agent) -> None:
    task = api.create(f"/jobs/{make_job(api, 'sleep 300')['id']}/trigger")
    until(lambda: api.get(f"/tasks/{task['id']}")["status"] == "running", "the task runs")
    running = api.post("/metrics")["tasks"]["running_tasks"]
    assert running >= 1
    api.post(f"/tasks/{task['id']}/cancel")
    until(lambda: api.post("/metrics")["tasks"]["running_tasks"] < running, "it runs no more")


# --- info -----------------------------------------------------------------------------------------------


@covers("system.info", "system.both-paths")
@pytest.mark.parametrize("path", ["/info", "/system/info"])
def test_info_has_the_fields_of_both_definitions(api: Client, other: Client, path: str) -> None:
    for client in (api, other):
        for body in (None, {}, {"include_config": False, "include_environment": False}):
            answer = client.post(path, body)
            shapes.check(shapes.INFO, answer)
        assert answer["version"] == answer["build"]["version"] == answer["application"]["version"]
        assert answer["build"] == answer["application"]["build_info"]
        assert (answer["build_time"], answer["git_commit"]) == (
            answer["build"]["build_time"],
            answer["build"]["git_commit"],
        )
        commit = answer["git_commit"]
        assert commit is None or re.fullmatch(r"[0-9a-f]{40}", commit)
        assert answer["features"]
        assert answer["uptime"] == answer["application"]["uptime"]
        check_resources(answer["resources"])
        check_stats(client, answer["connections"])


@covers("system.info-config", "system.both-paths")
@pytest.mark.parametrize("path", ["/info", "/system/info"])
def test_environment_and_settings_are_told_when_asked_for(api: Client, other: Client, path: str) -> None:
    for client in (api, other):
        answer = client.post(path, {"include_environment": True, "include_config": True})
        shapes.check(
            {**shapes.INFO, "environment": shapes.ENVIRONMENT, "config": shapes.SERVER_CONFIG}, answer
        )
        environment, settings = answer["environment"], answer["config"]
        assert environment["os"].startswith(platform.system())
        assert (environment["architecture"], environment["python_version"], environment["hostname"]) == (
            platform.machine(),
            platform.python_version(),
            socket.gethostname(),
        )
        assert settings["database_type"] == "postgresql"
        assert settings["http_port"] == settings["websocket_port"] == client.port
        assert (settings["log_level"], settings["timezone"]) == ("INFO", "UTC")
    assert set(api.post(path, {"include_environment": True})) == {*shapes.INFO, "environment"}
    assert set(api.post(path, {"include_config": True})) == {*shapes.INFO, "config"}
    wrong = {"include_config": "yes", "include_environment": 1, "include_secrets": True}
    assert set(api.refuse(400, "POST", path, wrong)) == set(wrong)


@covers("system.info-config")
def test_no_answer_of_the_system_holds_a_secret(
    api: Client, installation: Installation, agent: Agent
) -> None:
    everything = {"include_environment": True, "include_config": True}
    answers = [
        api.send("POST", "/info", everything),
        api.send("POST", "/metrics", {"include_details": True}),
        api.send("GET", "/health?details=true"),
        api.root.send("GET", "/metrics"),
    ]
    for answer in answers:
        assert answer.status == 200
        for secret in (installation.token, agent.token, PASSWORD, installation.database, "postgresql://"):
            assert secret not in answer.text


@covers("system.leader", "system.info")
def test_exactly_one_server_leads(api: Client, other: Client) -> None:
    def leaders() -> list[bool]:
        return [client.post("/info")["is_leader"] for client in (api, other)]

    until(lambda: sorted(leaders()) == [False, True], "one leads")


# --- Prometheus -----------------------------------------------------------------------------------------


@covers("system.prometheus", "unauthenticated")
def test_prometheus_reads_its_text(api: Client, agents: list[Agent]) -> None:
    assert api.anonymous.root.why(401, "GET", "/metrics")[0] == "not_authenticated"
    accept = {
        "Accept": "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1"
    }
    for headers in ({}, accept):
        answer = api.root.send("GET", "/metrics", headers=headers)
        assert (answer.status, answer.media_type) == (200, "text/plain")
        for line in answer.text.splitlines():
            assert re.fullmatch(r"# (HELP|TYPE) \w+ .+|\w+(\{.*\})? [-+0-9.eEinfNa]+", line), line
        assert re.search(r"(?m)^hetuflow_\w+(\{.*\})? \d", answer.text)
    assert api.root.why(405, "POST", "/metrics", {})[0] == "method_not_allowed"
