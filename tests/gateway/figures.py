"""What answers about the system hold, and a history for them to count."""

from datetime import timedelta

from prometheus_client.parser import text_string_to_metric_families

from scheduling.clock import database_now
from scheduling.models import Task, TaskInstance
from tests import factories

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
