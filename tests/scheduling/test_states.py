"""The whole transition table: what every event does in every state, with the real services and triggers."""

import contextlib
import re
from datetime import timedelta
from pathlib import Path

import pytest

from scheduling.errors import InvalidState
from scheduling.services import lifecycle, manual
from scheduling.services.claiming import claim
from scheduling.services.lifecycle import AttemptKey
from scheduling.states import (
    INSTANCE_TERMINAL,
    INSTANCE_TRANSITIONS,
    TASK_TERMINAL,
    TASK_TRANSITIONS,
    InstanceStatus,
)
from tests import factories
from tests.factories import NOW
from tests.scheduling.cases import STATES, Case, decline, lose, report

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "state-machine.md").read_text()
SECTIONS = {"Task": TASK_TRANSITIONS, "Task instance": INSTANCE_TRANSITIONS}


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
        job_ids=[case.task.job_id], now=NOW, include_manual=True
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
