"""The mistakes: each takes away one thing that an invariant rests on, and names the tests that must fail."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Mutant:
    """In `path`, `old` becomes `new`; at least one of the tests in `killers` must then fail."""

    name: str
    path: str
    old: str
    new: str
    killers: tuple[str, ...]


_WALK: Final = (
    "tests/access/test_permission_walk.py::test_everybody_may_what_the_matrix_says_and_nothing_else"
)

MUTANTS: Final = (
    Mutant(
        "I1: an instant may have two tasks",
        "scheduling/services/planning.py",
        "ON CONFLICT (schedule_id, scheduled_at) DO NOTHING",
        "",
        ("tests/scheduling/test_races.py",),
    ),
    Mutant(
        "I1: planners do not lock what they plan",
        "scheduling/services/planning.py",
        ".select_for_update(skip_locked=True)[",
        "[",
        ("tests/scheduling/test_races.py",),
    ),
    Mutant(
        "I2: an outage is not looked back upon",
        "scheduling/services/planning.py",
        "begin = max(schedule.planned_until, now - window)",
        "begin = now",
        ("tests/scheduling/test_planning_rules.py", "tests/scheduling/test_no_silent_miss.py"),
    ),
    Mutant(
        "I2: what lies before the window leaves no row",
        "scheduling/services/planning.py",
        "    _account_for_dropped(plan, recurrence, until=begin, rules=rules)\n",
        "",
        ("tests/scheduling/test_planning_rules.py",),
    ),
    Mutant(
        "I2: instants and cursor are not of one transaction",
        "scheduling/services/planning.py",
        "    with transaction.atomic():\n        schedules = list(",
        "    if True:\n        schedules = list(",
        ("tests/scheduling/test_no_silent_miss.py", "tests/scheduling/test_races.py"),
    ),
    Mutant(
        "I3: a task is claimed whatever its status",
        "scheduling/services/statements.py",
        "FROM assigned WHERE task.id = assigned.task_id AND task.status IN {_CLAIMABLE}",
        "FROM assigned WHERE task.id = assigned.task_id",
        ("tests/scheduling/test_claiming.py",),
    ),
    Mutant(
        "I4: an attempt that ended may end again",
        "scheduling/attempts.py",
        "    if attempt.status in INSTANCE_TERMINAL:\n        return None\n",
        "",
        ("tests/scheduling/test_attempts.py", "tests/scheduling/test_states.py"),
    ),
    Mutant(
        "I4: what a lost attempt reports late ends it again",
        "scheduling/attempts.py",
        "    if attempt.status == InstanceStatus.LOST:\n        return _late_news(attempt, facts)\n",
        "",
        ("tests/scheduling/test_attempts.py",),
    ),
    Mutant(
        "a lost attempt begins after its end",
        "scheduling/attempts.py",
        "change.started_at = min(start.at, attempt.completed_at or start.at)",
        "change.started_at = start.at",
        ("tests/scheduling/test_attempts.py",),
    ),
    Mutant(
        "I4: the database lets a task that ended change",
        "scheduling/migrations/0002_fences.py",
        "CREATE TRIGGER task_terminal_is_final BEFORE UPDATE OF status ON scheduling_task FOR EACH ROW\n"
        "    WHEN (OLD.status",
        "CREATE TRIGGER task_terminal_is_final BEFORE UPDATE OF status ON scheduling_task FOR EACH ROW\n"
        "    WHEN (false AND OLD.status",
        ("tests/test_constraints.py",),
    ),
    Mutant(
        "I5: a report with an old token is accepted",
        "scheduling/services/statements.py",
        "ON i.id = k.instance_id AND i.token = k.token AND i.agent_id = k.agent_id",
        "ON i.id = k.instance_id AND i.agent_id = k.agent_id",
        ("tests/scheduling/test_lifecycle.py", "tests/test_model.py"),
    ),
    Mutant(
        "I5: a report of another agent is accepted",
        "scheduling/services/statements.py",
        "ON i.id = k.instance_id AND i.token = k.token AND i.agent_id = k.agent_id",
        "ON i.id = k.instance_id AND i.token = k.token",
        ("tests/scheduling/test_lifecycle.py", "tests/gateway/test_reports.py"),
    ),
    Mutant(
        "I6: what was sent is forgotten before it is acknowledged",
        "agents/daemon/outbox.py",
        "        self._in_flight[frame_id] = batch\n",
        "        self._in_flight[frame_id] = {}\n",
        ("tests/agents/daemon/test_outbox.py",),
    ),
    Mutant(
        "I6: a report is acknowledged before it is committed",
        "gateway/workers.py",
        "                result = await in_database_thread(lambda: self._apply(batch))\n",
        "                later = asyncio.ensure_future(in_database_thread(lambda: self._apply(batch)))\n"
        "                from scheduling.services.lifecycle import ReportResult\n"
        "                await asyncio.sleep(0)\n"
        "                if self._limit == 200 and self._gather_secs:\n"
        "                    await self._done(batch, (ReportResult(stale=[]), set()))\n"
        "                result = await later\n",
        ("tests/gateway/test_reports.py",),
    ),
    Mutant(
        "I6: a machine forgets what it took on",
        "agents/daemon/journal.py",
        "            self._append(attempts, [])\n            os.fsync(self._descriptor)\n",
        "            pass\n",
        ("tests/agents/daemon/test_journal.py", "tests/agents/daemon/test_supervisor.py"),
    ),
    Mutant(
        "I7: a gap in the output is stored",
        "scheduling/services/output.py",
        "        if chunk.offset > stored or chunk.offset + len(chunk.data) <= stored:\n",
        "        if chunk.offset + len(chunk.data) <= stored:\n",
        ("tests/scheduling/test_lifecycle.py", "tests/gateway/test_reports.py"),
    ),
    Mutant(
        "I7: output that came twice is stored twice",
        "scheduling/services/output.py",
        "        data = chunk.data[stored - chunk.offset :]\n",
        "        data = chunk.data\n",
        ("tests/scheduling/test_lifecycle.py", "tests/test_model.py"),
    ),
    Mutant(
        "I8: leases run out while no server was there to renew them",
        "scheduling/services/rescue.py",
        "    if not _agents_could_renew(now=now):\n        return 0\n",
        "",
        ("tests/scheduling/test_lifecycle.py",),
    ),
    Mutant(
        "I8: nobody looks for lost attempts",
        "scheduling/services/statements.py",
        "WHERE i.status IN {_LIVE} AND i.lease_expires_at < %(now)s",
        "WHERE i.status IN {_LIVE} AND i.lease_expires_at < %(now)s AND false",
        ("tests/scheduling/test_lifecycle.py", "tests/test_model.py"),
    ),
    Mutant(
        "I9: the next attempt does not wait until the last one is gone",
        "scheduling/services/statements.py",
        "AND (t.config->>'on_lease_lost' IS DISTINCT FROM 'kill' OR",
        "AND (true OR",
        ("tests/scheduling/test_lifecycle.py",),
    ),
    Mutant(
        "I3: the lease of a dispatch is counted from its receipt",
        "agents/daemon/session.py",
        "lease_until=offered_at + dispatch",
        "lease_until=received_at + dispatch",
        ("tests/agents/daemon/test_session.py",),
    ),
    Mutant(
        "I3: what arrives after its lease is started",
        "agents/daemon/supervisor.py",
        "time.monotonic() >= lease_until",
        "False",
        ("tests/agents/daemon/test_supervisor.py",),
    ),
    Mutant(
        "I3: what waits for its instant begins after its lease",
        "agents/daemon/lifetime.py",
        "if time.monotonic() >= self._start_by:",
        "if False:",
        ("tests/agents/daemon/test_supervisor.py",),
    ),
    Mutant(
        "I8: a lease is counted from its receipt",
        "agents/daemon/session.py",
        "until=sent_at + lease.ttl_ms / 1000)",
        "until=_received_at + lease.ttl_ms / 1000)",
        ("tests/agents/daemon/test_session.py",),
    ),
    Mutant(
        "I9: only the process group is killed, not the tree",
        "agents/daemon/processes.py",
        "    found = []\n    waiting = [ancestor]\n",
        "    return [pid for pid in _all_processes() if _parent(pid) == ancestor][:1]\n"
        "    found = []\n    waiting = [ancestor]\n",
        ("tests/agents/daemon/test_supervisor.py",),
    ),
    Mutant(
        "I10: places are counted before the job is locked",
        "scheduling/services/claiming.py",
        "FOR NO KEY UPDATE OF j SKIP LOCKED",
        "",
        ("tests/scheduling/test_races.py", "tests/scheduling/test_claiming.py"),
    ),
    Mutant(
        "I10: a draining agent is given work",
        "scheduling/services/claiming.py",
        "      AND a.status <> 'draining' AND a.labels",
        "      AND a.labels",
        ("tests/scheduling/test_claiming.py",),
    ),
    Mutant(
        "I11: one bad schedule stops the others",
        "scheduling/services/planning.py",
        "            except Exception as error:\n",
        "            except ZeroDivisionError as error:\n",
        ("tests/scheduling/test_planning.py",),
    ),
    Mutant(
        "I12: a backfill forgets where it was",
        "scheduling/services/backfilling.py",
        "SET planned_until = p.planned_until, planned",
        "SET planned",
        ("tests/scheduling/test_backfills.py",),
    ),
    Mutant(
        "I13: facts apply in the order in which they arrive",
        "scheduling/attempts.py",
        "return sorted((fact for fact in facts if fact.seq > attempt.last_seq), key=lambda fact: fact.seq)",
        "return [fact for fact in facts if fact.seq > attempt.last_seq]",
        ("tests/scheduling/test_attempts.py", "tests/scheduling/test_lifecycle.py"),
    ),
    Mutant(
        "I14: a token that expired is good",
        "access/tokens.py",
        "                Q(expires_at__isnull=True) | Q(expires_at__gt=Now()),\n",
        "",
        ("tests/access/test_tokens.py",),
    ),
    Mutant(
        "I14: what is unseen says that it is forbidden",
        "rest/permissions.py",
        "        if found is None or not authority.may_in(found, self.view_permission):\n",
        "        if found is None:\n",
        (f"{_WALK}[JobViewSet-GET]",),
    ),
    Mutant(
        "a retry is not counted",
        "scheduling/attempts.py",
        "        change.retry_count = attempt.retry_count + 1\n",
        "        change.retry_count = attempt.retry_count\n",
        ("tests/scheduling/test_attempts.py", "tests/scheduling/test_lifecycle.py"),
    ),
    Mutant(
        "a run that somebody cancelled is tried again",
        "scheduling/attempts.py",
        " or attempt.task_cancel_requested:",
        ":",
        ("tests/scheduling/test_attempts.py", "tests/test_model.py"),
    ),
    Mutant(
        "a blackout does not win",
        "scheduling/calendars.py",
        "            if blackout.begin <= instant < blackout.end:\n",
        "            if False:\n",
        ("tests/scheduling/test_calendars.py",),
    ),
    Mutant(
        "a local time that comes twice runs twice",
        "scheduling/timing/zones.py",
        "        elif overlap is not Overlap.FIRST and following.offset < segment.offset:\n",
        "        elif following.offset < segment.offset:\n",
        ("tests/scheduling/test_recurrence.py", "tests/scheduling/golden"),
    ),
    Mutant(
        "an agent refuses what a later server adds",
        "agents/protocol/messages.py",
        "class Item(Struct, omit_defaults=True, kw_only=True):",
        "class Item(Struct, omit_defaults=True, kw_only=True, forbid_unknown_fields=True):",
        ("tests/agents/test_versions.py",),
    ),
    Mutant(
        "a server passes over what an agent misspelt",
        "agents/protocol/messages.py",
        "class AgentPayload(Payload, forbid_unknown_fields=True):",
        "class AgentPayload(Payload):",
        ("tests/agents/test_versions.py",),
    ),
)
