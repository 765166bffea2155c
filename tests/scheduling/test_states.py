"""The whole transition table: what every event does in every state, with the real services and triggers."""

import contextlib
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F

from scheduling.attempts import ReportedFact
from scheduling.errors import InvalidState
from scheduling.models import Task, TaskInstance
from scheduling.services import lifecycle, manual
from scheduling.services.claiming import claim
from scheduling.services.lifecycle import AttemptKey
from scheduling.states import (
    INSTANCE_LIVE,
    INSTANCE_TERMINAL,
    INSTANCE_TRANSITIONS,
    TASK_TERMINAL,
    TASK_TRANSITIONS,
    InstanceStatus,
    TaskStatus,
)
from tests import factories
from tests.factories import NOW

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "state-machine.md").read_text()
SECTIONS = {"Task": TASK_TRANSITIONS, "Task instance": INSTANCE_TRANSITIONS}
LATER = NOW + timedelta(seconds=31)


@dataclass
class Case:
    """A task, the attempt that events speak of (the first one), and how it stands."""

    task: Task
    agent: object
    key: AttemptKey | None = None

    @property
    def statuses(self):
        self.task.refresh_from_db()
        instance = TaskInstance.objects.get(pk=self.key.instance_id).status if self.key else None
        return self.task.status, instance


# --- the page ------------------------------------------------------------------------------------------


def section(title):
    return re.split(r"^## ", PAGE.split(f"\n## {title}\n")[1], flags=re.MULTILINE)[0]


def pairs(transitions):
    return sorted((str(before), str(after)) for before, afters in transitions.items() for after in afters)


@pytest.mark.parametrize("title", SECTIONS)
def test_the_pages_table_is_the_codes(title):
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \| [^|]+ \| [^|]+ \| [^|]+ \|$", section(title), re.MULTILINE)
    assert sorted(rows) == pairs(SECTIONS[title])


@pytest.mark.parametrize("title", SECTIONS)
def test_the_pages_diagram_is_the_codes(title):
    arrows = re.findall(r"^  (\w+) --> (\w+): .+$", section(title), re.MULTILINE)
    assert sorted(arrows) == pairs(SECTIONS[title])


def test_a_terminal_status_has_no_way_out_but_the_retry_by_hand():
    assert {s for s in InstanceStatus if not INSTANCE_TRANSITIONS[s]} == {*INSTANCE_TERMINAL, "paused"}
    assert {s: set(TASK_TRANSITIONS[s]) for s in TASK_TERMINAL} == {
        "completed": set(),
        "failed": {"pending"},
        "cancelled": {"pending"},
    }


# --- states, as the services make them ------------------------------------------------------------------


def waiting(max_retries=0):
    job = factories.job(config={"max_retries": max_retries, "retry_interval_secs": 60})
    return Case(task=factories.task(job=job), agent=factories.agent())


def take(case, *, now=NOW):
    (started,) = claim(slots={case.agent.id: 1}, now=now, lead_secs=2, lease_secs=30)
    assert started.task_id == case.task.pk
    case.key = case.key or AttemptKey(
        agent_id=case.agent.id, instance_id=started.instance_id, token=started.token
    )


def report(status, *, seq=9):
    def event(case):
        fact = ReportedFact(seq=seq, status=InstanceStatus(status), at=NOW, exit_code=3)
        lifecycle.apply_reports([(case.key, fact)], now=NOW)

    return event


def claimed(max_retries=0):
    case = waiting(max_retries)
    take(case)
    return case


def accepted(max_retries=0):
    case = claimed(max_retries)
    lifecycle.accept_attempts([case.key], now=NOW)
    return case


def running(max_retries=0):
    case = accepted(max_retries)
    report("running", seq=1)(case)
    return case


def with_retries(build):
    return lambda: build(max_retries=1)


def asked_to_stop(build):
    def asked():
        case = build(max_retries=1)
        manual.cancel(task_id=case.task.pk, now=NOW)
        return case

    return asked


def after(build, event):
    def ended():
        case = build()
        event(case)
        return case

    return ended


def lose(case):
    lifecycle.lose_attempts(now=LATER, limit=10)


def decline(case):
    lifecycle.decline_attempts([(case.key, "no free slot")], now=NOW)


STATES = {
    "waiting": (waiting, ("pending", None)),
    "claimed": (claimed, ("locked", "pending")),
    "claimed with retries": (with_retries(claimed), ("locked", "pending")),
    "claimed, asked to stop": (asked_to_stop(claimed), ("locked", "pending")),
    "accepted": (accepted, ("dispatched", "dispatched")),
    "accepted with retries": (with_retries(accepted), ("dispatched", "dispatched")),
    "accepted, asked to stop": (asked_to_stop(accepted), ("dispatched", "dispatched")),
    "running": (running, ("running", "running")),
    "running with retries": (with_retries(running), ("running", "running")),
    "running, asked to stop": (asked_to_stop(running), ("running", "running")),
    "waiting for its retry": (
        after(with_retries(running), report("failed", seq=2)),
        ("waiting_retry", "failed"),
    ),
    "declined": (after(claimed, decline), ("pending", "skipped")),
    "completed": (after(running, report("completed", seq=2)), ("completed", "completed")),
    "failed": (after(running, report("failed", seq=2)), ("failed", "failed")),
    "timed out": (after(running, report("timeout", seq=2)), ("failed", "timeout")),
    "lost": (after(running, lose), ("failed", "lost")),
    "cancelled": (after(running, report("cancelled", seq=2)), ("cancelled", "cancelled")),
    "cancelled while it waited": (
        after(waiting, lambda case: manual.cancel(task_id=case.task.pk, now=NOW)),
        ("cancelled", None),
    ),
}

# --- events ---------------------------------------------------------------------------------------------


def claim_when_due(case):
    claim(slots={case.agent.id: 5}, now=NOW + timedelta(seconds=60), lead_secs=2, lease_secs=30)


def refused(is_refused):
    return pytest.raises(InvalidState) if is_refused else contextlib.nullcontext()


def ask_to_cancel(case):
    with refused(case.statuses[0] in TASK_TERMINAL):
        manual.cancel(task_id=case.task.pk, now=NOW)


def retry_by_hand(case):
    with refused(case.statuses[0] not in ("failed", "cancelled")):
        manual.retry(task_id=case.task.pk, now=NOW)


def with_the_wrong(name, value, event):
    """The same event by somebody who is not the attempt's agent now (I5)."""

    def wrong(case):
        key = case.key
        parts = {"agent_id": key.agent_id, "instance_id": key.instance_id, "token": key.token}
        event(Case(case.task, case.agent, AttemptKey(**parts | {name: value(key)})))

    return wrong


def of_another_agent(event):
    return with_the_wrong("agent_id", lambda key: factories.agent().id, event)


def with_an_old_token(event):
    return with_the_wrong("token", lambda key: key.token + 1, event)


EVENTS = {
    "claim": claim_when_due,
    "accept": lambda case: lifecycle.accept_attempts([case.key], now=NOW),
    "decline": decline,
    "report running": report("running"),
    "report completed": report("completed"),
    "report failed": report("failed"),
    "report timeout": report("timeout"),
    "report cancelled": report("cancelled"),
    "lose": lose,
    "cancel": ask_to_cancel,
    "retry": retry_by_hand,
    "disable": lambda case: lifecycle.skip_disabled_tasks(
        job_id=case.task.job_id, now=NOW, include_manual=True
    ),
    "accept with an old token": with_an_old_token(lambda c: lifecycle.accept_attempts([c.key], now=NOW)),
    "decline with an old token": with_an_old_token(decline),
    "report completed with an old token": with_an_old_token(report("completed")),
    "accept by another agent": of_another_agent(lambda c: lifecycle.accept_attempts([c.key], now=NOW)),
    "decline by another agent": of_another_agent(decline),
    "report failed by another agent": of_another_agent(report("failed")),
}

# What each event makes of each state; whatever is not named here changes no status.
PENDING_LIKE = ("waiting", "declined", "waiting for its retry")
EFFECTS = {
    ("waiting", "claim"): ("locked", None),
    ("declined", "claim"): ("locked", "skipped"),
    ("waiting for its retry", "claim"): ("locked", "failed"),
    ("waiting", "cancel"): ("cancelled", None),
    ("declined", "cancel"): ("cancelled", "skipped"),
    ("waiting for its retry", "cancel"): ("cancelled", "failed"),
    ("waiting", "disable"): ("cancelled", None),
    ("declined", "disable"): ("cancelled", "skipped"),
    ("waiting for its retry", "disable"): ("cancelled", "failed"),
    ("failed", "retry"): ("pending", "failed"),
    ("timed out", "retry"): ("pending", "timeout"),
    ("lost", "retry"): ("pending", "lost"),
    ("cancelled", "retry"): ("pending", "cancelled"),
    ("cancelled while it waited", "retry"): ("pending", None),
}
for kind, on_failure in (
    ("", "failed"),
    (" with retries", "waiting_retry"),
    (", asked to stop", "cancelled"),
):
    for live in ("claimed", "accepted", "running"):
        EFFECTS |= {
            (live + kind, "report completed"): ("completed", "completed"),
            (live + kind, "report failed"): (on_failure, "failed"),
            (live + kind, "report timeout"): (on_failure, "timeout"),
            (live + kind, "report cancelled"): ("cancelled", "cancelled"),
            (live + kind, "lose"): (on_failure, "lost"),
        }
    for live in ("claimed", "accepted"):
        declined_to = "cancelled" if kind == ", asked to stop" else "pending"
        EFFECTS[live + kind, "report running"] = ("running", "running")
        EFFECTS[live + kind, "decline"] = (declined_to, "skipped")
    EFFECTS["claimed" + kind, "accept"] = ("dispatched", "dispatched")


def has_an_attempt(state):
    return STATES[state][1][1] is not None


CASES = [
    (state, event)
    for state in STATES
    for event in EVENTS
    if has_an_attempt(state) or event in ("claim", "cancel", "retry", "disable", "lose")
]


@pytest.mark.django_db
@pytest.mark.parametrize(("state", "event"), CASES)
def test_an_event_moves_a_state_as_the_table_says_or_leaves_it(state, event):
    build, before = STATES[state]
    case = build()
    assert case.statuses == before
    EVENTS[event](case)
    assert case.statuses == EFFECTS.get((state, event), before)


def test_the_effects_together_are_the_whole_table_and_nothing_else():
    moves = [(STATES[state][1], effect) for (state, _), effect in EFFECTS.items()]
    assert sorted({(b[0], a[0]) for b, a in moves if b[0] != a[0]}) == pairs(TASK_TRANSITIONS)
    assert sorted({(b[1], a[1]) for b, a in moves if b[1] != a[1]}) == pairs(INSTANCE_TRANSITIONS)


def test_every_effect_is_one_that_is_tried():
    assert EFFECTS.keys() <= set(CASES)


# --- the triggers ---------------------------------------------------------------------------------------


def statuses_after_tries(model, pk, statuses, **more):
    """Return which of `statuses` the database lets a row become; each is tried and undone."""
    let = []
    for status in statuses:
        fields = {"status": status} | more
        if model is Task:
            fields["completed_at"] = NOW if status in TASK_TERMINAL else None
        with contextlib.suppress(IntegrityError), transaction.atomic():
            assert model.objects.filter(pk=pk).update(**fields) == 1
            let.append(status)
            transaction.set_rollback(True)
    return let


@pytest.mark.django_db
@pytest.mark.parametrize(
    "state", ["completed", "failed", "timed out", "lost", "cancelled", "declined", "waiting for its retry"]
)
def test_the_database_refuses_every_way_out_of_a_terminal_instance(state):
    case = STATES[state][0]()
    others = [status for status in InstanceStatus if status != case.statuses[1]]
    assert statuses_after_tries(TaskInstance, case.key.instance_id, others) == []


@pytest.mark.django_db
@pytest.mark.parametrize("state", ["completed", "failed", "cancelled", "cancelled while it waited"])
def test_the_database_lets_a_terminal_task_go_nowhere_but_by_a_counted_retry(state):
    case = STATES[state][0]()
    others = [status for status in TaskStatus if status != case.statuses[0]]
    assert statuses_after_tries(Task, case.task.pk, others) == []
    way_back = [] if state == "completed" else ["pending"]
    retry = {"manual_retries": F("manual_retries") + 1}
    assert statuses_after_tries(Task, case.task.pk, others, **retry) == way_back


@pytest.mark.django_db
def test_a_status_that_does_not_end_anything_is_no_concern_of_the_triggers():
    case = running()
    assert statuses_after_tries(TaskInstance, case.key.instance_id, INSTANCE_LIVE) == list(INSTANCE_LIVE)


@pytest.mark.django_db
def test_a_start_that_is_reported_after_the_end_is_kept():
    case = accepted()
    ended = ReportedFact(seq=2, status=InstanceStatus.COMPLETED, at=NOW + timedelta(seconds=7), exit_code=0)
    started = ReportedFact(seq=1, status=InstanceStatus.RUNNING, at=NOW, start_delay_ms=1.5)
    for fact in (ended, started):
        lifecycle.apply_reports([(case.key, fact)], now=NOW)
    instance = TaskInstance.objects.get(pk=case.key.instance_id)
    assert (instance.status, instance.started_at, instance.start_delay_ms) == ("completed", NOW, 1.5)
    assert (instance.completed_at, instance.exit_code) == (NOW + timedelta(seconds=7), 0)


# --- overlap --------------------------------------------------------------------------------------------


def two_tasks_of(policy):
    """One attempt of a limited job runs and a planned instant of the same job is due."""
    job = factories.job(config={"concurrency_policy": policy})
    schedule = factories.schedule(job=job)
    case = Case(task=factories.task(job=job), agent=factories.agent())
    take(case)
    report("running", seq=1)(case)
    second = factories.task(job=job)
    Task.objects.filter(pk=second.pk).update(schedule=schedule)
    return case, second


@pytest.mark.django_db
@pytest.mark.parametrize(("policy", "status"), [("forbid", "cancelled"), ("queue", "pending")])
def test_an_instant_that_overlaps_is_skipped_or_waits_by_its_policy(policy, status):
    case, second = two_tasks_of(policy)
    lifecycle.skip_overlapping_tasks(now=NOW)
    second.refresh_from_db()
    assert (second.status, second.outcome) == (status, "skipped_overlap" if policy == "forbid" else None)
    assert case.statuses == ("running", "running")


@pytest.mark.django_db
def test_a_newer_instant_asks_the_running_one_to_stop_and_takes_its_place():
    case, second = two_tasks_of("replace")
    assert lifecycle.replace_overlapping_attempts(now=NOW) == 1
    assert lifecycle.replace_overlapping_attempts(now=NOW) == 0
    report("cancelled", seq=2)(case)
    (started,) = claim(slots={case.agent.id: 1}, now=NOW, lead_secs=2, lease_secs=30)
    assert (started.task_id, case.statuses) == (second.pk, ("cancelled", "cancelled"))
