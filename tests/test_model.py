"""Agents, a server and a network that loses, repeats, reorders and delays: a model over the real services.

Hypothesis plays: it triggers and cancels tasks, claims, delivers messages in any order, more than once or
never, lets commands start and end, crashes agents, freezes them beyond their leases, and rescues. Services
and database are the real ones; agents are a page of Python that keeps the rules of `docs/protocol.md`. After
each step the tables are as the invariants say; in the end, when the network is whole again, everything has
ended, nothing ran twice, and every result is there.
"""

import os
import uuid
from collections import Counter
from datetime import timedelta

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from agents.protocol import messages
from agents.tokens import issue_token
from gateway.models import Server
from gateway.services import HeartbeatRow, apply_heartbeats, decline_attempts, open_session
from scheduling.attempts import ReportedFact
from scheduling.models import Lease, Task, TaskInstance
from scheduling.services import lifecycle, manual, rescue
from scheduling.services.claiming import claim
from scheduling.services.output import Chunk, store_output
from scheduling.states import (
    INSTANCE_TRANSITIONS,
    TASK_TERMINAL,
    TASK_TRANSITIONS,
    InstanceStatus,
    TaskStatus,
)
from tests import factories
from tests.e2e import oracle
from tests.factories import NOW
from tests.machines import SLOTS, AgentMachine, Held, key_of, registration

LEASE_SECS = 30
ENDS = st.sampled_from(["completed", "failed", "timeout"])


class Cluster(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.now = NOW
        self.server = Server.objects.create(name="server", version="1", started_at=NOW, last_heartbeat_at=NOW)
        self.machines = [AgentMachine(factories.agent(slots=SLOTS)) for _ in range(2)]
        for machine in self.machines:
            issue_token(agent=machine.agent)
        self.jobs = [
            factories.job(config={"max_retries": 1, "retry_interval_secs": 3}),
            factories.job(config={"max_concurrency": 1}),
        ]
        # What is under way: calls that the server makes when it arrives, and dispatches to a session.
        self.to_server = []
        self.dispatches = []
        self.starts = Counter()
        self.seen = {}
        for machine in self.machines:
            self.connect(machine)
        for _ in range(2):
            self.trigger(0)
            self.trigger(1)

    def teardown(self):
        try:
            self.heal()
        finally:
            transaction.set_rollback(True)
            self.atomic.__exit__(None, None, None)

    # --- people, time and duties ------------------------------------------------------------------------

    @precondition(lambda self: Task.objects.count() < 8)
    @rule(job=st.integers(0, 1))
    def trigger(self, job):
        factories.task(job=self.jobs[job], now=self.now)

    @rule(
        kind=st.sampled_from(["cancel", "retry", "loss", "cut", "restart", "freeze"]), pick=st.integers(0, 30)
    )
    def mishap(self, kind, pick):
        """One of what happens less often than work, so that work gets somewhere in between."""
        machine = self.machines[pick % 2]
        if kind == "cancel":
            for task in one_of(Task.objects.exclude(status__in=TASK_TERMINAL), pick):
                manual.cancel(task_id=task.pk, now=self.now)
        elif kind == "retry":
            for task in one_of(Task.objects.filter(status__in=("failed", "cancelled")), pick):
                lifecycle.retry_task(task_id=task.pk, now=self.now, by="ann")
        elif kind == "loss" and self.to_server:
            self.to_server.pop(pick % len(self.to_server))
        elif kind == "freeze":
            self.time_passes(40)
        else:
            if kind == "restart":
                machine.epoch = uuid.uuid4()
            self.connect(machine)

    @rule(secs=st.sampled_from([1, 4]))
    def time_passes(self, secs):
        self.now += timedelta(seconds=secs)
        self.rescue()

    def rescue(self):
        Lease.objects.update_or_create(
            name=rescue.GATEWAY_LEASE,
            defaults={"holder": "s", "since": NOW - timedelta(hours=1), "renewed_at": self.now},
        )
        rescue.run_once(now=self.now)

    # --- the server -------------------------------------------------------------------------------------

    @rule(offers=st.sampled_from([True, True, False]))
    def claim_and_dispatch(self, offers=False):
        slots = {}
        for machine in self.machines:
            if offers:
                machine.offered = machine.free
            live = TaskInstance.objects.live().filter(agent=machine.agent).count()
            if machine.session_id is not None:
                slots[machine.agent.id] = max(0, min(machine.offered, SLOTS - live))
        for started in claim(slots=slots, now=self.now, lead_secs=2, lease_secs=LEASE_SECS):
            machine = self.machine_of(started.agent_id)
            machine.offered -= 1
            self.dispatches.append((machine.session_id, key_of(started)))

    @precondition(lambda self: self.to_server)
    @rule(picks=st.lists(st.integers(0, 100), min_size=1, max_size=4), again=st.booleans())
    def messages_arrive(self, picks, again):
        for pick in picks:
            if self.to_server:
                index = pick % len(self.to_server)
                message = self.to_server[index] if again else self.to_server.pop(index)
                message()

    # --- agents -----------------------------------------------------------------------------------------

    @precondition(lambda self: self.dispatches)
    @rule(
        fates=st.lists(st.sampled_from(["taken on", "taken on", "declined", "lost"]), min_size=1, max_size=4)
    )
    def dispatches_arrive(self, fates):
        for fate in fates:
            if self.dispatches:
                session_id, key = self.dispatches.pop()
                machine = self.machine_of(key.agent_id)
                if machine.session_id == session_id and fate != "lost":
                    self.take_on(machine, key, is_able=fate != "declined")

    def attempts(self, *, started):
        held = [held for machine in self.machines for held in machine.held.values()]
        return [one for one in held if one.started == started and one.end is None]

    @precondition(lambda self: self.attempts(started=False))
    @rule(count=st.integers(1, 4))
    def commands_start(self, count):
        for held in self.attempts(started=False)[:count]:
            self.start(held)

    @precondition(lambda self: self.attempts(started=True))
    @rule(pick=st.integers(0, 10), status=ENDS)
    def a_command_ends(self, pick, status):
        running = self.attempts(started=True)
        self.end(running[pick % len(running)], status)

    @precondition(lambda self: any(held.facts for machine in self.machines for held in machine.held.values()))
    @rule()
    def agents_report(self):
        for machine in self.machines:
            for held in machine.held.values():
                self.send_facts(machine, held)

    @precondition(lambda self: any(machine.held for machine in self.machines))
    @rule(which=st.integers(0, 1))
    def heartbeat(self, which):
        self.beat(self.machines[which])

    # --- how agents behave ------------------------------------------------------------------------------

    def machine_of(self, agent_id):
        return next(machine for machine in self.machines if machine.agent.id == agent_id)

    def connect(self, machine):
        machine.session_id, machine.offered = uuid.uuid4(), 0
        opened = open_session(
            agent_id=machine.agent.id,
            token_id=machine.agent.tokens.get().pk,
            session_id=machine.session_id,
            server_id=self.server.pk,
            remote_address="",
            register=registration(machine),
            now=self.now,
            lease_secs=LEASE_SECS,
        )
        for verdict in opened.attempts:
            held = machine.held[verdict.instance_id]
            if verdict.action == "forget":
                del machine.held[verdict.instance_id]
            elif verdict.action == "kill":
                self.stop(held)
        for started in opened.resend:
            self.take_on(machine, key_of(started))

    def take_on(self, machine, key, is_able=True):
        if key.instance_id in machine.held or (machine.free > 0 and is_able):
            machine.held.setdefault(key.instance_id, Held(key=key))
            self.to_server.append(lambda: lifecycle.accept_attempts([key], now=self.now))
        else:
            declined = [(machine.session_id, key, "no free slot")]
            self.to_server.append(lambda: decline_attempts(declined, now=self.now))

    def start(self, held):
        held.started_at = self.now
        self.starts[held.key.instance_id] += 1

    def end(self, held, status):
        code = {"completed": 0, "failed": 3}.get(status)
        held.end = ReportedFact(seq=2, status=InstanceStatus(status), at=self.now, exit_code=code)

    def stop(self, held):
        if held.end is None:
            self.end(held, "cancelled")

    def send_facts(self, machine, held):
        if not held.facts:
            return
        facts = [(held.key, fact) for fact in held.facts]
        size = len(held.output) if held.end else 0

        def arrive():
            if size:
                chunk = Chunk(key=held.key, stream="stdout", offset=0, data=held.output, at=NOW)
                store_output([chunk])
            lifecycle.apply_reports(facts, now=self.now)
            if held.end is not None and facts[-1][1] == held.end:
                held.is_acknowledged = True

        self.to_server.append(arrive)

    def beat(self, machine):
        row = HeartbeatRow(
            agent_id=machine.agent.id,
            session_id=machine.session_id,
            heartbeat=messages.Heartbeat(
                nonce=1,
                status="busy",
                running=SLOTS - machine.free,
                attempts=[
                    messages.AttemptRef(instance_id=held.key.instance_id, token=held.key.token)
                    for held in machine.held.values()
                    if not held.is_acknowledged
                ],
            ),
            messages_sent=0,
            messages_received=0,
        )
        (kill,) = apply_heartbeats([row], now=self.now, lease_secs=LEASE_SECS)
        for attempt in kill:
            self.stop(machine.held[attempt.instance_id])

    # --- what must be true ------------------------------------------------------------------------------

    @invariant()
    def the_tables_are_as_the_invariants_say(self):
        oracle.check_database()

    @invariant()
    def nothing_was_started_twice(self):
        assert all(count == 1 for count in self.starts.values())

    @invariant()
    def every_status_moved_as_the_tables_allow(self):
        for model, transitions, kind in (
            (Task, TASK_TRANSITIONS, TaskStatus),
            (TaskInstance, INSTANCE_TRANSITIONS, InstanceStatus),
        ):
            for pk, status in model.objects.values_list("pk", "status"):
                before = self.seen.get(pk, status)
                assert status == before or can_reach(transitions, kind(before), kind(status))
                self.seen[pk] = status

    def heal(self):
        """Make the network whole, let all agents work to the end, and see that nothing is missing."""
        self.dispatches.clear()
        for _ in range(60):
            self.deliver_all()
            if not Task.objects.exclude(status__in=TASK_TERMINAL).exists():
                break
            for machine in self.machines:
                self.connect(machine)
                self.work_off(machine)
            self.claim_and_dispatch(offers=True)
            self.rescue()
            self.now += timedelta(seconds=2)
        assert not Task.objects.exclude(status__in=TASK_TERMINAL).exists()
        self.the_tables_are_as_the_invariants_say()
        self.nothing_was_started_twice()
        self.no_result_and_no_output_is_lost()

    def deliver_all(self):
        for _, key in self.dispatches:
            self.take_on(self.machine_of(key.agent_id), key)
        self.dispatches.clear()
        while self.to_server:
            self.to_server.pop(0)()

    def work_off(self, machine):
        for held in machine.held.values():
            if held.end is None:
                if not held.started:
                    self.start(held)
                self.end(held, "completed")
            self.send_facts(machine, held)

    def no_result_and_no_output_is_lost(self):
        for machine in self.machines:
            for held in machine.held.values():
                if held.is_acknowledged:
                    instance = TaskInstance.objects.get(pk=held.key.instance_id)
                    assert instance.exit_code == held.end.exit_code
                    assert instance.status in (held.end.status, "lost")
                    assert oracle.stored_output(instance) == held.output


def one_of(rows, pick):
    found = list(rows.order_by("pk"))
    return [found[pick % len(found)]] if found else []


def can_reach(transitions, before, after):
    """Whether steps of the table lead from one status to another: one of ours may hold several."""
    reached, waiting = set(), [before]
    while waiting:
        for status in transitions[waiting.pop()]:
            if status not in reached:
                reached.add(status)
                waiting.append(status)
    return after in reached


@pytest.mark.django_db
def test_a_cluster_with_a_bad_network_keeps_its_promises():
    """Play a few games, the same each time; with HETUFLOW_MODEL_EXAMPLES=1000, that many new ones."""
    run_state_machine_as_test(
        Cluster,
        settings=settings(
            max_examples=int(os.environ.get("HETUFLOW_MODEL_EXAMPLES", "25")),
            stateful_step_count=50,
            deadline=None,
            derandomize="HETUFLOW_MODEL_EXAMPLES" not in os.environ,
            # Making a lost game short takes minutes; whoever looks into one plays new ones.
            phases=[Phase.generate, *[Phase.shrink] * ("HETUFLOW_MODEL_EXAMPLES" in os.environ)],
            suppress_health_check=list(HealthCheck),
        ),
    )
