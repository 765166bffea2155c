"""An installation that people work with: jobs that ran, fail, run and wait, and one of everything else."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib.auth.models import Group, User
from django.utils import timezone

from access import tokens
from access.actors import Actor, ActorKind
from agents.enrollment import create_enrollment_token
from agents.models import Agent
from agents.services import create_agent
from agents.tokens import issue_agent_token
from scheduling.kinds import BulkVerb
from scheduling.models import Alert, Job, Schedule, Task
from scheduling.services import bulk
from scheduling.services.backfills import create_backfill
from scheduling.services.calendars import create_calendar, freeze
from scheduling.services.definitions import create_job, create_schedule, update_job
from scheduling.services.manual import trigger_job
from scheduling.services.retention_rules import create_rule
from tests.browser.past import fared, ran
from tests.e2e.oracle import quiesce, until
from tests.people import grant

MACHINE: Final = "build-1"
ADA: Final = Actor(kind=ActorKind.USER, name="ada")
_BACKUP: Final = "# Every table, and what belongs to it.\nset -e\necho saved 120 tables"
_MONTH: Final = {
    "type": "object",
    "properties": {
        "month": {"type": "integer", "minimum": 1, "maximum": 12, "default": 1, "title": "Month"},
        "format": {"type": "string", "enum": ["pdf", "xlsx"], "default": "pdf", "title": "Format"},
    },
    "additionalProperties": False,
}
_FAILS: Final = "echo 'order 4711: no price' >&2\nexit 3"
_RUNS: Final = 'echo "reading part 1"\nfor i in $(seq 2 600); do sleep 1; echo "reading part $i"; done'


def furnish() -> None:
    """Fill the database that this test sees, and return when what can run has run."""
    now = timezone.now()
    agent = _furnish_machines(now)
    office = create_calendar(
        by=ADA, name="office-days", namespace="shop", country="DE", description="Mondays to Fridays"
    )
    backup = _job("nightly-backup", _BACKUP, tags=["database"], description="All tables, to the other site.")
    nightly = _schedule(backup, now, kind="cron", cron_expression="0 3 * * *", timezone="Europe/Berlin")
    report = _job(
        "monthly-report",
        "echo 42 pages",
        description="Turnover of the shop, for the board.",
        parameters_schema=_MONTH,
    )
    _schedule(report, now, kind="cron", cron_expression="0 8 1 * *", calendar=office)
    stock = _job("sync-stock", "echo 1024 articles")
    often = _schedule(stock, now, kind="interval", interval_secs=900)
    invoices = _job("send-invoices", _FAILS, config={"max_retries": 1, "retry_interval_secs": 0})
    ran(schedule=nightly, agent=agent, instants=_each(now, timedelta(days=1), 120), secs=55, fails_each=41)
    ran(schedule=often, agent=agent, instants=_each(now, timedelta(minutes=15), 288), secs=12, fails_each=29)
    update_job(job_id=backup.pk, now=now, by=ADA, command=f"{_BACKUP}\necho checked")
    training = _job("train-model", "echo done", namespace="research", config={"labels": {"gpu": "a100"}})
    imports = _job("import-archive", _RUNS, config={"timeout_secs": 900})
    ended = [
        trigger_job(job=job, now=timezone.now(), by=ADA)
        for job in (backup, report, stock, stock, invoices, invoices)
    ]
    trigger_job(job=imports, now=timezone.now(), by=ADA)
    trigger_job(job=training, now=timezone.now(), by=ADA)
    _furnish_time(nightly, now)
    _furnish_access()
    quiesce([task.pk for task in ended])
    until(lambda: Task.objects.filter(job=imports, status="running").exists(), "the import runs")


def _each(now: datetime, step: timedelta, number: int) -> list[datetime]:
    """Return so many instants before `now`, the oldest first: at full hours, so that they look planned."""
    last = now.replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    return [last - step * back for back in reversed(range(number))]


def _furnish_machines(now: datetime) -> Agent:
    """Give the agent that is there a past, and return it; one machine is off, another one never came."""
    there = Agent.objects.get(name=MACHINE)
    fared(there, now=now)
    create_agent(
        name="build-2",
        hostname="build-2.example.org",
        reported_labels={"zone": "b"},
        status="offline",
        version=there.version,
        last_heartbeat_at=now - timedelta(hours=7),
    )
    issue_agent_token(name="build-7", by=ADA)
    return there


def _job(name: str, script: str, **fields: Any) -> Job:
    config = {"cmd": "bash", **fields.pop("config", {})}
    return create_job(
        by=ADA, **{"name": name, "namespace": "shop", "command": script, "config": config, **fields}
    )


def _schedule(job: Job, now: datetime, **fields: Any) -> Schedule:
    return create_schedule(by=ADA, job=job, now=now, name=f"{job.name} as planned", **fields)


def _furnish_time(schedule: Schedule, now: datetime) -> None:
    create_backfill(
        by=ADA, schedule_id=schedule.pk, range_from=now - timedelta(days=4), range_to=now, now=now
    )
    freeze(by=ADA, namespace="staging", now=now, reason="The new release is tried out.")
    create_rule(by=ADA, namespace="research", keep_days=30, keep_last=1000)
    Alert.objects.create(
        kind="missed",
        instants=3,
        namespace="shop",
        job=schedule.job,
        schedule=schedule,
        text="3 planned runs were missed: the scheduler was away longer than the catch-up window.",
    )


def _furnish_access() -> None:
    ada = User.objects.create_user("ada", email="ada@example.org", is_staff=True, first_name="Ada")
    grant(ada, "operator", "shop")
    Group.objects.filter(user=ada).update(name="night shift")
    tokens.issue(user=ada, name="deployment", by=ADA)
    create_enrollment_token(by=ADA, now=timezone.now())
    jobs = Job.objects.filter(namespace="shop").values_list("pk", flat=True)
    bulk.begin(verb=BulkVerb.ENABLE_JOBS, target_ids=jobs, user=ada, by=ADA)
