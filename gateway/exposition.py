"""The figures as Prometheus reads them: those of the cluster, and those of this process."""

from collections.abc import Iterator
from functools import cache
from itertools import accumulate
from typing import Final

from django.db.models import Count, Sum
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from agents.models import Agent
from gateway import system
from gateway.build import build_info
from gateway.database_meter import BUCKETS, METER, pool_status
from gateway.resources import resource_usage
from gateway.statistics import connection_stats, task_stats
from scheduling.models import Alert, Schedule

_SUM_OF: Final = {"success": Sum("success_tasks", default=0), "failure": Sum("failure_tasks", default=0)}


@cache
def registry() -> CollectorRegistry:
    """Return what this process exposes."""
    made = CollectorRegistry()
    for collector in (_Cluster(), _Server()):
        made.register(collector)
    for standard in (ProcessCollector, PlatformCollector, GCCollector):
        standard(registry=made)
    return made


class _Cluster(Collector):
    """What the database says: the same on every server."""

    def collect(self) -> Iterator[Metric]:
        tasks = task_stats()
        by_status = GaugeMetricFamily("hetuflow_tasks", "Tasks by status.", labels=["status"])
        for status, count in tasks.by_status.items():
            by_status.add_metric([status.value], count)
        yield by_status
        yield GaugeMetricFamily(
            "hetuflow_execution_seconds_average",
            "How long the newest attempts ran on average.",
            value=tasks.average_execution_time,
        )
        results = CounterMetricFamily(
            "hetuflow_attempts", "Attempts that agents reported the end of.", labels=["result"]
        )
        for result, count in Agent.objects.aggregate(**_SUM_OF).items():
            results.add_metric([result], count)
        yield results
        yield from _alarms()
        stats = connection_stats()
        for name in ("online", "idle", "busy"):
            yield GaugeMetricFamily(
                f"hetuflow_connections_{name}",
                f"Sessions of agents that are {name}.",
                value=stats[f"{name}_connections"],
            )


def _alarms() -> Iterator[Metric]:
    """What somebody should hear of, by namespace: a rule on these two is all that an alert manager needs."""
    missed = CounterMetricFamily(
        "hetuflow_missed_runs", "Planned runs that no scheduler was there for.", labels=["namespace"]
    )
    counted = Schedule.objects.filter(missed_count__gt=0).order_by().values_list("job__namespace")
    for namespace, number in counted.annotate(number=Sum("missed_count")):
        missed.add_metric([namespace], number)
    yield missed
    unseen = GaugeMetricFamily(
        "hetuflow_alerts", "Alerts that nobody has acknowledged.", labels=["namespace", "kind"]
    )
    alerts = Alert.objects.filter(acknowledged_at__isnull=True).order_by().values_list("namespace", "kind")
    for namespace, kind, number in alerts.annotate(number=Count("pk")):
        unseen.add_metric([namespace, kind], number)
    yield unseen


class _Server(Collector):
    """What this process measures of itself and of its machine."""

    def collect(self) -> Iterator[Metric]:
        build = build_info()
        yield InfoMetricFamily(
            "hetuflow_build",
            "The build that this server runs.",
            value={"version": build.version, "git_commit": build.git_commit or ""},
        )
        yield GaugeMetricFamily(
            "hetuflow_is_leader", "Whether this server has the duties of one.", value=system.is_leader()
        )
        yield from _database()
        yield from _machine()


def _database() -> Iterator[Metric]:
    queries = METER.read()
    bounds = [*(str(bound) for bound in BUCKETS), "+Inf"]
    yield HistogramMetricFamily(
        "hetuflow_database_query_seconds",
        "Statements of this server.",
        buckets=list(zip(bounds, accumulate(queries.buckets), strict=True)),
        sum_value=queries.seconds,
    )
    yield CounterMetricFamily(
        "hetuflow_database_slow_queries", "Statements that took a second or longer.", value=queries.slow
    )
    pool = pool_status()
    opened = GaugeMetricFamily(
        "hetuflow_database_connections", "Connections of this server to the database.", labels=["state"]
    )
    opened.add_metric(["active"], pool.active_connections)
    opened.add_metric(["idle"], pool.idle_connections)
    yield opened
    yield GaugeMetricFamily(
        "hetuflow_database_connections_max", "How many there may be.", value=pool.max_connections
    )
    yield GaugeMetricFamily(
        "hetuflow_database_connections_waiting",
        "Requests that wait for one.",
        value=pool.waiting_connections,
    )


def _machine() -> Iterator[Metric]:
    usage = resource_usage()
    for name, percent in (
        ("cpu", usage.cpu_usage),
        ("memory", usage.memory_usage),
        ("disk", usage.disk_usage),
    ):
        yield GaugeMetricFamily(
            f"hetuflow_machine_{name}_usage_ratio", f"Part of the {name} in use.", value=percent / 100
        )
    for direction in ("received", "sent"):
        if usage.network_io is not None:
            yield CounterMetricFamily(
                f"hetuflow_machine_network_{direction}_bytes",
                f"Bytes {direction} by the machine.",
                value=usage.network_io[f"bytes_{direction}"],
            )
