"""Whatever a REST request writes is in the audit log, in one transaction; a refused one leaves no trace.

Refusals for want of a role are walked in `test_permission_walk`, which compares the audit table too.
"""

import uuid
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.db.models.functions import Now

from access import tokens
from access.models import AuditEntry
from gateway import commands
from gateway.models import AgentCommand
from hetuflow.permission_matrix import Rule
from tests import people
from tests.access.world import HERE, Caller, World, build, send, undone
from tests.access.writes import ENROLS, READS, UNRECORDED_OF_AGENTS, UNSAFE, WITHOUT_NAMESPACE, WRITES, Write
from tests.database import fingerprint
from tests.openapi import CheckedClient, operations
from tests.rest.test_openapi_examples import send as send_to_operation
from tests.rest.test_openapi_refusals import ELSEWHERE, SCENES, conflicts, named, scene_of
from tests.rest.world import World as DocumentedWorld

VIEWS = sorted({view for view, _action in WRITES})
# A wrong token counts as a try, which is remembered where nothing else is.
BUT_FOR = {"access_throttle"}


class LogIsFull(Exception):
    """Nothing more can be written down."""


def no_more_entries(execute, sql, params, many, context):
    if sql.startswith('INSERT INTO "access_auditentry"'):
        raise LogIsFull
    return execute(sql, params, many, context)


@pytest.fixture
def world(db, monkeypatch) -> World:
    def answered(ids: list[int], timeout_secs: float) -> list[AgentCommand]:
        AgentCommand.objects.filter(pk__in=ids).update(answered_at=Now(), ok=True)
        return list(AgentCommand.objects.filter(pk__in=ids))

    # Agents that obey at once.
    monkeypatch.setattr(commands, "_wait_for_answers", answered)
    return build()


@pytest.fixture
def writers(world) -> list[tuple[Caller, tuple[str, str, str, str]]]:
    """Who may do everything, each with what an entry says of them."""
    root = people.person("root", superuser=True)
    _stored, secret = tokens.issue(user=root, name="program")
    return [
        (Caller("root", people.session_of(root)), ("user", "root", "", "127.0.0.1")),
        (Caller("a program", people.bearer(secret)), ("token", "root", "program", "127.0.0.1")),
    ]


def writes_of(view: str) -> list[tuple[Rule, Write]]:
    return [
        (rule, WRITES[rule.view, rule.action])
        for rule in UNSAFE
        if rule.view == view and (rule.view, rule.action) in WRITES
    ]


def test_every_unsafe_request_of_the_resolver_is_a_write_or_a_read_by_the_book():
    assert {(rule.view, rule.action) for rule in UNSAFE} == WRITES.keys() | READS.keys() | {ENROLS}
    assert not WRITES.keys() & READS.keys()
    assert UNRECORDED_OF_AGENTS.keys() <= {(rule.view, rule.action) for rule in UNSAFE if rule.is_for_agents}


@pytest.mark.parametrize("view", VIEWS)
def test_a_write_is_in_the_log_with_who_did_what_and_what_changed(world, writers, view):
    for rule, write in writes_of(view):
        for caller, who in writers:
            with undone():
                _assert_recorded(rule, write, caller, who, world)


def _assert_recorded(rule, write, caller, who, world):
    answer, entries, changed = _written(rule, write, caller, world)
    what = f"{caller.name}: {rule.method} {rule.path}: {answer} {answer.content!r}"
    assert 200 <= answer.status_code < 300, what
    assert sorted(entry.action for entry in entries) == sorted((write.action, *write.besides)), what
    assert {_actor_of(entry) for entry in entries} == {who}, what
    entry = next(entry for entry in entries if entry.action == write.action)
    if write.about:
        subject = getattr(world.places[HERE], write.about, None) or getattr(world, write.about)
        subject_id = subject.pk
    else:
        subject_id = changed.get("id") or answer.json()["id"]
    assert entry.subject_id == str(subject_id), what
    assert entry.subject, what
    assert entry.namespace == ("" if rule.view in WITHOUT_NAMESPACE else HERE), what
    _assert_says(entry, write, what)


def _written(rule, write, caller, world):
    """Return the answer to a request, the entries that it left, and what was changed for it."""
    place = world.places[HERE]
    changed = write.given(place) or {}
    last = AuditEntry.objects.latest("pk").pk
    answer = send(caller, rule, place, world, body=write.body(place), **changed)
    return answer, list(AuditEntry.objects.filter(pk__gt=last).order_by("pk")), changed


def _actor_of(entry):
    return (entry.actor_kind, entry.actor, entry.token, entry.address)


def _assert_says(entry, write, what):
    """The entry holds what was there before, what is there now, and of a change only what changed."""
    for said, expected in ((entry.before, write.before), (entry.after, write.after)):
        assert (said is None) == (expected is None), what
        assert expected is None or expected.items() <= said.items(), what
        assert not {"hfu_", "hfa_", "hfe_"} & {str(value)[:4] for value in (said or {}).values()}, what
    if write.before is not None and write.after is not None:
        assert all(entry.before.get(name) != value for name, value in entry.after.items()), what


@pytest.mark.parametrize("view", VIEWS)
def test_what_cannot_be_written_down_does_not_happen(world, writers, view):
    place, (caller, _who) = world.places[HERE], writers[0]
    for rule, write in writes_of(view):
        with undone():
            changed = write.given(place) or {}
            before = fingerprint()
            with connection.execute_wrapper(no_more_entries), pytest.raises(LogIsFull):
                send(caller, rule, place, world, body=write.body(place), **changed)
            assert fingerprint() == before, rule


def test_what_an_agent_does_about_what_is_its_own_is_in_the_log_too(world):
    agent = world.places[HERE].agent
    caller = Caller("an agent", people.agent_client(agent))
    for rule in (rule for rule in UNSAFE if rule.is_for_agents and (rule.view, rule.action) in WRITES):
        write = WRITES[rule.view, rule.action]
        with undone():
            answer, entries, _changed = _written(rule, write, caller, world)
            assert 200 <= answer.status_code < 300, (rule, answer.content)
            if (rule.view, rule.action) in UNRECORDED_OF_AGENTS:
                assert entries == []
                continue
            assert [entry.action for entry in entries] == [write.action]
            assert {_actor_of(entry)[:2] for entry in entries} == {("agent", agent.name)}
            _assert_says(entries[0], write, rule)


def test_what_a_machine_does_to_enrol_is_in_the_log(world):
    """It acts with the token that somebody made for it, whose name is in the log; the secret is not."""
    (rule,) = (rule for rule in UNSAFE if (rule.view, rule.action) == ENROLS)
    place, caller = world.places[HERE], Caller("a machine", people.anonymous())
    before = fingerprint(but_for=BUT_FOR)
    with connection.execute_wrapper(no_more_entries), pytest.raises(LogIsFull):
        send(caller, rule, place, world)
    assert fingerprint(but_for=BUT_FOR) == before
    write = Write("enrollment_token.use", after={"agent": "new"})
    answer, entries, _changed = _written(rule, write, caller, world)
    assert answer.status_code == 201
    assert [entry.action for entry in entries] == ["agent.create", "agent_token.create", write.action]
    used = entries[2]
    assert {_actor_of(entry) for entry in entries} == {
        ("token", "", f"enrolment {used.subject_id}", "127.0.0.1")
    }
    assert entries[0].subject_id == answer.json()["id"]
    _assert_says(used, write, rule)


@pytest.mark.parametrize("view", sorted({view for view, _action in READS}))
def test_a_post_that_only_reads_writes_nothing(world, writers, view):
    before = fingerprint()
    for rule in UNSAFE:
        if (rule.view, rule.action) in READS and rule.view == view:
            answer = send(writers[0][0], rule, world.places[HERE], world)
            assert answer.status_code == 200, (rule, answer.content)
            assert fingerprint() == before, rule


class WatchedClient(CheckedClient):
    """A client that fails where a refusal changes anything; `refusals` counts them."""

    refusals = 0

    def request(self, **kwargs: Any) -> Any:
        before = fingerprint(but_for=BUT_FOR)
        response = super().request(**kwargs)
        if response.status_code >= 400:
            self.refusals += 1
            what = (kwargs["REQUEST_METHOD"], kwargs["PATH_INFO"])
            assert fingerprint(but_for=BUT_FOR) == before, what
        return response


@pytest.fixture
def watched(db) -> WatchedClient:
    client = WatchedClient()
    client.force_authenticate(get_user_model().objects.create_superuser("ann"))
    return client


@pytest.mark.parametrize(("name", "code"), [pair for pair in conflicts() if pair not in ELSEWHERE])
def test_a_conflict_changes_nothing_and_leaves_no_entry(watched, name, code):
    world = DocumentedWorld()
    answer = SCENES[scene_of(name), code](world, watched, world.path(operations()[name]))
    assert (answer.status_code, watched.refusals) == (409, 1)


@pytest.mark.parametrize("name", [name for name in named("400") if operations()[name].method != "get"])
def test_a_bad_request_changes_nothing_and_leaves_no_entry(watched, name):
    operation = operations()[name]
    path = DocumentedWorld().path(operation)
    for body in ({"colour": "red"}, [], {"id": str(uuid.uuid4()), "created_at": None}):
        answer = send_to_operation(watched, operation, path, body)
        assert answer.status_code == 400, (body, answer.content)
    assert watched.refusals == 3
