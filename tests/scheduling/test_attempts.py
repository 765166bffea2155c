"""What reports mean for an attempt: any order, any repetition, any split into batches end the same."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduling.attempts import Attempt, Change, ReportedFact, decide
from scheduling.retry import RetryPolicy
from scheduling.states import INSTANCE_TERMINAL, TASK_ON_AGENT, InstanceStatus, TaskStatus

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
I, T = InstanceStatus, TaskStatus  # noqa: E741 (as in scheduling.states)


def attempt(status=I.DISPATCHED, *, retries=0, retry_count=0, cancel=False, **more):
    task_status = {I.PENDING: T.LOCKED, I.DISPATCHED: T.DISPATCHED, I.RUNNING: T.RUNNING}.get(
        status, T.FAILED
    )
    return Attempt(
        instance_id="a",
        task_id=1,
        status=status,
        last_seq=more.pop("last_seq", 0),
        started_at=more.pop("started_at", None),
        completed_at=more.pop("completed_at", None),
        task_status=task_status,
        task_cancel_requested=cancel,
        retry_count=retry_count,
        retry_policy=RetryPolicy(max_retries=retries, interval_secs=10, backoff="fixed"),
    )


def fact(status, *, seq=1, secs=0, **more):
    return ReportedFact(seq=seq, status=I(status), at=NOW + timedelta(seconds=secs), **more)


def meaning(of, *facts):
    return decide(of, facts, now=NOW, random=lambda: 0.5)


def test_nothing_new_means_nothing():
    assert meaning(attempt()) is None
    assert meaning(attempt(I.RUNNING, last_seq=3), fact("running", seq=3), fact("completed", seq=2)) is None


def test_the_first_report_says_when_the_attempt_started_and_how_late():
    change = meaning(attempt(), fact("running", start_delay_ms=2.5))
    assert (change.status, change.task_status, change.started_at) == (I.RUNNING, T.RUNNING, NOW)
    assert (change.start_delay_ms, change.is_end) == (2.5, False)


@pytest.mark.parametrize(
    ("status", "retries_left", "cancel", "expected"),
    [
        ("completed", False, False, T.COMPLETED),
        ("completed", True, True, T.COMPLETED),
        ("failed", False, False, T.FAILED),
        ("failed", True, False, T.WAITING_RETRY),
        ("failed", True, True, T.CANCELLED),
        ("timeout", False, False, T.FAILED),
        ("timeout", True, False, T.WAITING_RETRY),
        ("cancelled", True, False, T.CANCELLED),
        ("cancelled", False, True, T.CANCELLED),
    ],
)
def test_the_end_of_an_attempt_decides_what_its_task_does_next(status, retries_left, cancel, expected):
    change = meaning(
        attempt(I.RUNNING, retries=int(retries_left), cancel=cancel), fact(status, seq=2, secs=5)
    )
    assert (change.status, change.task_status, change.is_end) == (I(status), expected, True)
    is_retry = expected == T.WAITING_RETRY
    assert change.due_at == (NOW + timedelta(seconds=10) if is_retry else None)
    assert change.retry_count == int(is_retry)


def test_retries_end_with_their_number():
    assert meaning(attempt(retries=2, retry_count=1), fact("failed")).task_status == T.WAITING_RETRY
    assert meaning(attempt(retries=2, retry_count=2), fact("failed")).task_status == T.FAILED


def test_an_attempt_never_ends_before_it_started():
    change = meaning(attempt(I.RUNNING, started_at=NOW), fact("completed", seq=2, secs=-3600))
    assert change.completed_at == NOW


@pytest.mark.parametrize("status", [s for s in INSTANCE_TERMINAL if s != I.LOST])
@pytest.mark.parametrize("reported", ["running", "completed", "failed", "cancelled"])
def test_after_its_end_nothing_that_an_attempt_reports_counts(status, reported):
    ended = attempt(status, last_seq=2, started_at=NOW, completed_at=NOW + timedelta(seconds=9))
    assert meaning(ended, fact(reported, seq=3)) is None


def test_a_lost_attempts_late_result_is_kept_and_moves_neither_status_nor_task():
    lost = attempt(I.LOST, started_at=NOW, completed_at=NOW + timedelta(seconds=9))
    change = meaning(lost, fact("completed", seq=2, exit_code=0))
    assert (change.status, change.task_status, change.fact.exit_code) == (I.LOST, None, 0)
    assert meaning(lost, fact("running", seq=2)) is None


def test_a_start_that_a_lost_attempt_reports_before_its_end_is_kept():
    lost = attempt(I.LOST, completed_at=NOW + timedelta(seconds=9))
    change = meaning(lost, fact("running", secs=3, start_delay_ms=1.0))
    assert (change.status, change.task_status, change.is_end, change.fact) == (I.LOST, None, False, None)
    assert (change.started_at, change.start_delay_ms) == (NOW + timedelta(seconds=3), 1.0)


def test_the_end_of_a_lost_attempt_does_not_stand_in_for_its_start():
    lost = attempt(I.LOST, completed_at=NOW)
    change = meaning(lost, fact("failed", seq=2, secs=5))
    assert (change.started_at, change.fact.status) == (None, I.FAILED)


def test_a_lost_attempt_began_before_it_was_given_up_whatever_the_clocks_say():
    lost = attempt(I.LOST, completed_at=NOW)
    assert meaning(lost, fact("running", secs=0.2)).started_at == NOW


def test_a_start_that_arrives_after_the_end_says_when_the_attempt_began():
    ended = attempt(I.FAILED, last_seq=2, started_at=NOW, completed_at=NOW)
    change = meaning(ended, fact("running", secs=-5, start_delay_ms=1.0))
    assert (change.status, change.started_at, change.start_delay_ms) == (
        I.FAILED,
        NOW - timedelta(seconds=5),
        1.0,
    )
    assert (change.task_status, change.is_end) == (None, False)


# --- properties -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What the database holds of an attempt and its task, and how the statements change it."""

    attempt: Attempt
    due_at: datetime | None = None
    exit_code: int | None = None
    start_delay_ms: float | None = None
    times_ended: int = 0

    def write(self, change: Change | None) -> "Row":
        if change is None:
            return self
        task = self.attempt.task_status
        moves = change.task_status is not None and task in TASK_ON_AGENT
        return replace(
            self,
            attempt=replace(
                self.attempt,
                status=change.status,
                last_seq=change.last_seq,
                started_at=change.started_at,
                completed_at=change.completed_at or self.attempt.completed_at,
                task_status=change.task_status if moves else task,
                retry_count=change.retry_count if moves else self.attempt.retry_count,
            ),
            due_at=change.due_at or self.due_at,
            exit_code=change.fact.exit_code if change.fact else self.exit_code,
            start_delay_ms=change.start_delay_ms
            if change.start_delay_ms is not None
            else self.start_delay_ms,
            times_ended=self.times_ended + change.is_end,
        )


@st.composite
def histories(draw):
    """The facts of one attempt as they happened, and a delivery of them: repeated, reordered, in batches."""
    ends = draw(st.sampled_from(["completed", "failed", "timeout", "cancelled"]))
    facts = [fact("running", start_delay_ms=1.5), fact(ends, seq=2, secs=7, exit_code=4)]
    extra = draw(st.lists(st.sampled_from(facts), max_size=4))
    delivery = draw(st.permutations(facts + extra))
    cuts = sorted(draw(st.sets(st.integers(1, len(delivery)), max_size=4)))
    batches = [delivery[a:b] for a, b in zip([0, *cuts], [*cuts, len(delivery)], strict=True)]
    begin = attempt(
        draw(st.sampled_from([I.PENDING, I.DISPATCHED])),
        retries=draw(st.integers(0, 1)),
        cancel=draw(st.booleans()),
    )
    return begin, facts, batches


@given(histories())
def test_any_order_repetition_and_batching_of_the_same_facts_ends_the_same(history):
    begin, facts, batches = history
    in_order = Row(begin).write(meaning(begin, *facts))
    row = Row(begin)
    for batch in batches:
        row = row.write(meaning(row.attempt, *batch))
    assert row == in_order
    assert row.times_ended == 1


@given(histories(), st.integers(-9, 9))
def test_what_a_lost_attempt_reports_late_says_the_same_in_any_order(history, lost_after_secs):
    begin, facts, batches = history
    lost_at = NOW + timedelta(seconds=lost_after_secs)
    lost = Row(replace(begin, status=I.LOST, task_status=T.FAILED, completed_at=lost_at))
    row = lost
    for batch in batches:
        row = row.write(meaning(row.attempt, *batch))
    assert row == lost.write(meaning(lost.attempt, *facts))
    assert (row.attempt.status, row.exit_code, row.times_ended) == (I.LOST, 4, 0)
    assert row.attempt.started_at == min(NOW, lost_at)


@given(histories(), st.sampled_from(["completed", "failed", "cancelled", "running"]), st.integers(0, 50))
def test_once_an_attempt_ended_its_status_stays_whatever_comes(history, status, seq):
    begin, facts, _ = history
    ended = Row(begin).write(meaning(begin, *facts))
    after = ended.write(meaning(ended.attempt, fact(status, seq=seq, secs=-60)))
    assert (after.attempt.status, after.attempt.task_status) == (
        ended.attempt.status,
        ended.attempt.task_status,
    )
    assert (after.times_ended, after.exit_code) == (1, 4)
