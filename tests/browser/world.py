"""An installation that people work with: jobs that ran, fail, run and wait, and one of everything else."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.contrib.auth.models import Group, User
from django.utils import timezone

from access import tokens
from access.actors import Actor, ActorKind
from agents.enrollment import create_enrollment_token
from agents.tokens import issue_agent_token
from scheduling.kinds import BulkVerb
from scheduling.models import Alert, Job, Schedule, Task
from scheduling.services import bulk
from scheduling.services.backfills import create_backfill
from scheduling.services.calendars import create_calendar, freeze
from scheduling.services.definitions import create_job, create_schedule
from scheduling.services.manual import trigger_job
from scheduling.services.retention_rules import create_rule
from tests.e2e.oracle import quiesce, until
from tests.people import grant

ADA: Final = Actor(kind=ActorKind.USER, name="ada")
_FAILS: Final = "echo 'order 4711: no price' >&2\nexit 3"
_RUNS: Final = 'echo "reading part 1"\nfor i in $(seq 2 600); do sleep 1; echo "reading part $i"; done'


def furnish() -> None:
    """Fill the database that this test sees, and return when what can run has run."""
    now = timezone.now()
    office = create_calendar(
        by=ADA, name="office-days", namespace="shop", country="DE", description="Mondays to Fridays"
    )
    backup = _job("nightly-backup", "echo saved 120 tables", tags=["database"])
    nightly = _schedule(backup, now, kind="cron", cron_expression="0 3 * * *", timezone="Europe/Berlin")
    report = _job("monthly-report", "echo 42 pages", description="Turnover of the shop, for the board.")
    _schedule(report, now, kind="cron", cron_expression="0 8 1 * *", calendar=office)
    stock = _job("sync-stock", "echo 1024 articles")
    _schedule(stock, now, kind="interval", interval_secs=900)
    invoices = _job("send-invoices", _FAILS, config={"max_retries": 1, "retry_interval_secs": 0})
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


def _job(name: str, script: str, **fields: Any) -> Job:
    config = {"cmd": "bash", "args": ["-c", script], **fields.pop("config", {})}
    return create_job(by=ADA, **{"name": name, "namespace": "shop", "config": config, **fields})


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
    issue_agent_token(name="build-7", by=ADA)
    create_enrollment_token(by=ADA, now=timezone.now())
    jobs = Job.objects.filter(namespace="shop").values_list("pk", flat=True)
    bulk.begin(verb=BulkVerb.ENABLE_JOBS, target_ids=jobs, user=ada, by=ADA)
