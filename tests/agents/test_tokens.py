"""Agents' tokens: what is stored, how they follow each other, how they end."""

import hashlib
import threading
from datetime import timedelta

import pytest
from django.db import connection

from access.models import AuditEntry
from agents import hints, tokens
from agents.clock import database_now
from agents.errors import TokenRefused
from agents.models import Agent, AgentToken
from agents.services import archive_agent
from tests import factories
from tests.races import at_once

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def is_valid(issued, *, now):
    try:
        return tokens.authenticate_token(secret=issued.secret, now=now) == issued.row
    except TokenRefused:
        return False


def test_of_a_token_only_its_digest_is_stored():
    issued = tokens.issue_token(agent=factories.agent(), name="laptop", by=factories.ANN)
    stored = AgentToken.objects.values().get()
    assert stored["digest"] == hashlib.sha256(issued.secret.encode()).hexdigest()
    assert (stored["name"], stored["created_by"], stored["last_used_at"]) == ("laptop", "ann", None)
    assert issued.secret not in str(stored)
    assert issued.secret.startswith(f"hfa_{issued.row.agent_id.hex}_")
    assert len(issued.secret.removeprefix(f"hfa_{issued.row.agent_id.hex}_")) * 6 >= 256


def test_a_token_ends_at_its_time_or_when_it_is_revoked():
    agent, now = factories.agent(), database_now()
    short, long = tokens.issue_token(agent=agent, expires_at=now + DAY), tokens.issue_token(agent=agent)
    assert is_valid(short, now=now + DAY - timedelta(microseconds=1))
    assert not is_valid(short, now=now + DAY)
    revoked = tokens.revoke_token(token_id=long.row.pk, now=now)
    assert (revoked.pk, revoked.revoked_at) == (long.row.pk, now)
    assert not is_valid(long, now=now)
    assert is_valid(short, now=now)


def test_to_revoke_a_token_twice_keeps_the_first_time():
    issued, now = tokens.issue_token(agent=factories.agent()), database_now()
    tokens.revoke_token(token_id=issued.row.pk, now=now)
    assert tokens.revoke_token(token_id=issued.row.pk, now=now + DAY).revoked_at == now


def test_after_a_rotation_the_older_tokens_live_for_the_overlap_at_most():
    agent, now = factories.agent(), database_now()
    other, short, revoked, endless = (
        tokens.issue_token(agent=factories.agent()),
        tokens.issue_token(agent=agent, expires_at=now + timedelta(minutes=5)),
        tokens.issue_token(agent=agent),
        tokens.issue_token(agent=agent, name="endless"),
    )
    tokens.revoke_token(token_id=revoked.row.pk, now=now)
    fresh = tokens.rotate_token(agent_id=agent.pk, now=now, overlap=timedelta(hours=1), by=factories.ANN)
    ends = {row.pk: row.expires_at for row in AgentToken.objects.all()}
    assert ends[short.row.pk] == now + timedelta(minutes=5)
    assert ends[endless.row.pk] == now + timedelta(hours=1)
    assert ends[fresh.row.pk] is ends[other.row.pk] is None
    assert (fresh.row.name, fresh.row.created_by) == ("endless", "ann")
    assert is_valid(endless, now=now)
    assert not is_valid(revoked, now=now)
    assert not is_valid(endless, now=now + timedelta(hours=1))
    assert is_valid(fresh, now=now + 365 * DAY)


def test_the_overlap_is_a_day_unless_said_otherwise():
    agent, now = factories.agent(), database_now()
    old = tokens.issue_token(agent=agent)
    tokens.rotate_token(agent_id=agent.pk, now=now)
    old.row.refresh_from_db()
    assert old.row.expires_at == now + DAY


def test_a_rotated_token_lives_as_long_as_the_one_it_replaces_and_not_longer():
    agent = factories.agent()
    now = tokens.issue_token(agent=agent).row.created_at
    first = tokens.issue_token(agent=agent, expires_at=now + 30 * DAY)
    later = now + 20 * DAY
    second = tokens.rotate_token(agent_id=agent.pk, now=later)
    third = tokens.rotate_token(agent_id=agent.pk, now=later)
    lives = {issued.row.expires_at - later for issued in (second, third)}
    assert lives == {first.row.expires_at - first.row.created_at}


def test_a_rotation_forgets_tokens_that_died_a_month_ago_and_no_others():
    agent, now = factories.agent(), database_now()
    revoked, expired, recent = (
        tokens.issue_token(agent=agent),
        tokens.issue_token(agent=agent, expires_at=now + DAY),
        tokens.issue_token(agent=agent),
    )
    tokens.revoke_token(token_id=revoked.row.pk, now=now)
    tokens.revoke_token(token_id=recent.row.pk, now=now + 10 * DAY)
    tokens.rotate_token(agent_id=agent.pk, now=now + 32 * DAY)
    left = set(AgentToken.objects.values_list("pk", flat=True))
    assert not {revoked.row.pk, expired.row.pk} & left
    assert recent.row.pk in left


def test_an_agent_that_is_gone_gets_no_token():
    agent, now = factories.agent(), database_now()
    Agent.objects.update(archived_at=now)
    with pytest.raises(Agent.DoesNotExist):
        tokens.rotate_token(agent_id=agent.pk, now=now)
    assert not AgentToken.objects.exists()


def test_every_change_of_a_token_is_in_the_audit_log_without_its_secret():
    agent, now = factories.agent(), database_now()
    first = tokens.issue_token(agent=agent, name="laptop", by=factories.ANN)
    second = tokens.rotate_token(agent_id=agent.pk, now=now, by=factories.ANN)
    for _ in range(2):
        tokens.revoke_token(token_id=first.row.pk, now=now, by=factories.ANN)
    entries = list(AuditEntry.objects.filter(subject_type="agent_token").order_by("pk"))
    assert [(entry.actor, entry.action, entry.subject_id) for entry in entries] == [
        ("ann", "agent_token.create", str(first.row.pk)),
        ("ann", "agent_token.rotate", str(second.row.pk)),
        ("ann", "agent_token.revoke", str(first.row.pk)),
    ]
    assert [(entry.before or entry.after)["agent"] for entry in entries] == [agent.name] * 3
    everything = str(list(AuditEntry.objects.values()))
    for issued in (first, second):
        assert not any(part in everything for part in (issued.secret, issued.row.digest))


@pytest.mark.parametrize(
    "end",
    [
        lambda issued, now: tokens.revoke_token(token_id=issued.row.pk, now=now),
        lambda issued, now: tokens.rotate_token(agent_id=issued.row.agent_id, now=now),
        lambda issued, now: archive_agent(agent_id=issued.row.agent_id, now=now),
    ],
    ids=["revoke", "rotate", "archive"],
)
def test_whatever_ends_a_token_leaves_a_hint_for_the_server_that_holds_its_session(
    end, monkeypatch, django_capture_on_commit_callbacks
):
    left, issued = [], tokens.issue_token(agent=factories.agent())
    monkeypatch.setattr(hints, "_notify", left.append)
    with django_capture_on_commit_callbacks(execute=True):
        end(issued, database_now())
        assert left == []
    assert left == [f"session {issued.row.agent_id}"]


def test_the_use_of_a_token_is_noted_once_a_minute():
    issued, now = tokens.issue_token(agent=factories.agent()), database_now()

    def note(at):
        tokens.note_use(token_ids=[issued.row.pk], now=at)
        issued.row.refresh_from_db()
        return issued.row.last_used_at

    assert note(now) == now
    assert note(now + timedelta(seconds=59)) == now
    assert note(now + timedelta(seconds=60)) == now + timedelta(seconds=60)


def test_the_state_of_a_token_is_told_in_a_word():
    now = database_now()
    issued = tokens.issue_token(agent=factories.agent(), expires_at=now + DAY)
    assert issued.row.state(now=now) == "valid"
    assert issued.row.state(now=now + DAY) == "expired"
    assert tokens.revoke_token(token_id=issued.row.pk, now=now).state(now=now + DAY) == "revoked"


@pytest.mark.django_db(transaction=True)
def test_of_rotations_at_once_one_token_is_left_without_an_end():
    agent, now = factories.agent(), database_now()
    tokens.issue_token(agent=agent)
    at_once(*[lambda: tokens.rotate_token(agent_id=agent.pk, now=now)] * 4)
    assert AgentToken.objects.count() == 5
    assert AgentToken.objects.filter(expires_at__isnull=True).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_token_that_somebody_else_writes_is_passed_over_and_not_waited_for():
    issued, now = tokens.issue_token(agent=factories.agent()), database_now()
    held, release = threading.Event(), threading.Event()

    def hold():
        from django.db import transaction

        try:
            with transaction.atomic():
                AgentToken.objects.select_for_update().get()
                held.set()
                release.wait(30)
        finally:
            connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert held.wait(30)
        with connection.cursor() as cursor:
            cursor.execute("SET statement_timeout = 2000")
        tokens.note_use(token_ids=[issued.row.pk], now=now)
    finally:
        release.set()
        thread.join(30)
        with connection.cursor() as cursor:
            cursor.execute("RESET statement_timeout")
    issued.row.refresh_from_db()
    assert issued.row.last_used_at is None
