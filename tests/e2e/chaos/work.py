"""The work of a round: jobs of every kind, schedules, runs on demand, a cancel and edits, in ten seconds."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any, Final

from scheduling.clock import database_now
from scheduling.models import Job, Schedule, Task
from scheduling.services import definitions, manual
from tests import factories
from tests.e2e import oracle
from tests.e2e.oracle import Ledger, until

PLANNED_FOR_SECS: Final = 9
TRIGGERED: Final = {"slow": 3, "limited": 5, "alone": 3, "fails first": 2, "too slow": 1, "unwanted": 2}
Ask = Callable[[Callable[[], object]], None]


class Work:
    """What people want done in one round; `begin` makes it anew."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.jobs: dict[str, Job] = {}
        self.schedules: list[Schedule] = []
        # Those whose rule, or whose job, somebody has changed: the first rule does not tell their instants.
        self.edited: set[int] = set()
        self._unwanted: list[int] = []

    def begin(self, dice: Random) -> None:
        """Define the jobs and schedules of a round and trigger what is not scheduled."""
        now = database_now()
        self.jobs = self._define_jobs()
        self.edited = set()
        bounds = {"now": now, "end_time": now + timedelta(seconds=PLANNED_FOR_SECS)}
        prints = self.jobs["prints"]
        self.schedules = [
            factories.schedule(job=prints, kind="interval", interval_secs=1, **bounds),
            factories.schedule(job=prints, kind="interval", interval_secs=2, **bounds),
            *(
                factories.schedule(job=prints, now=now, kind="once", start_time=self._moment(now, dice))
                for _ in range(3)
            ),
        ]
        for name, count in TRIGGERED.items():
            self.trigger(name, count)
        unwanted = Task.objects.filter(job=self.jobs["unwanted"])
        self._unwanted = list(unwanted.values_list("pk", flat=True))

    def go_on(self, ask: Ask, dice: Random) -> Iterator[float]:
        """Do what people do while their work runs: trigger, cancel and edit."""
        yield dice.uniform(1.5, 3)
        for task_id in self._unwanted:
            ask(partial(self.cancel, task_id))
        yield dice.uniform(0.5, 2)
        ask(partial(self.trigger, "prints", 3))
        ask(partial(self.edit, self.schedules[1], interval_secs=1))

    def trigger(self, name: str, count: int) -> None:
        """Run a job by hand, so many times."""
        for _ in range(count):
            factories.task(job=self.jobs[name], now=database_now())

    def cancel(self, task_id: int) -> None:
        """Cancel a task; refused where it has ended."""
        manual.cancel(task_id=task_id, now=database_now())

    def switch(self, name: str, *, enabled: bool) -> None:
        """Disable a job, or enable it."""
        definitions.update_job(job_id=self.jobs[name].pk, now=database_now(), enabled=enabled)

    def edit(self, schedule: Schedule, **fields: Any) -> None:
        """Give a schedule another rule while it is planned."""
        self.edited.add(schedule.pk)
        definitions.update_schedule(schedule_id=schedule.pk, now=database_now(), **fields)

    def wait_for_end(self, limit_secs: float) -> None:
        """Return when every instant is planned and every task has ended."""
        until(lambda: not self._planned_still(), "all instants are planned", limit_secs)
        oracle.quiesce(Task.objects.values_list("pk", flat=True), limit_secs)

    def check_schedules(self) -> None:
        """Check that each schedule has the task of each instant of the rule that it was given (I1, I2)."""
        for schedule in self.schedules:
            if schedule.pk not in self.edited:
                oracle.check_schedule(schedule)

    def _planned_still(self) -> bool:
        ids = [schedule.pk for schedule in self.schedules]
        return Schedule.objects.filter(pk__in=ids, status="enabled").exists()

    def _moment(self, now: datetime, dice: Random) -> datetime:
        return now + timedelta(seconds=dice.uniform(1, PLANNED_FOR_SECS))

    def _define_jobs(self) -> dict[str, Job]:
        ledger, again = self._ledger, {"max_retries": 3, "retry_interval_secs": 1}
        last_attempt = '[ "$HETUFLOW_ATTEMPT" -ge 2 ] || exit 1'
        exclusive = {
            "on_lease_lost": "kill",
            "max_concurrency": 1,
            "kill_grace_secs": 1,
            "retry_interval_secs": 0,
        }
        kinds: dict[str, tuple[str, dict[str, Any]]] = {
            "prints": (ledger.printing_script("head -c 30000 /dev/urandom; sleep 0.3"), again),
            "slow": (ledger.printing_script("echo before; sleep 4; echo after"), {}),
            "limited": (ledger.script("sleep 0.7"), {"max_concurrency": 2, "max_retries": 1}),
            "alone": (
                ledger.lonely_script("trap '' TERM; sleep 1.5"),
                again | exclusive | {"retry_interval_secs": 0},
            ),
            "fails first": (ledger.script(last_attempt), again | {"retry_backoff": "exponential"}),
            "too slow": (ledger.script("sleep 60"), {"timeout_secs": 2, "kill_grace_secs": 1}),
            "unwanted": (ledger.script("sleep 60"), {"timeout_secs": 8, "kill_grace_secs": 1}),
        }
        return {
            name: factories.job(args=["-c", script], config=config)
            for name, (script, config) in kinds.items()
        }
