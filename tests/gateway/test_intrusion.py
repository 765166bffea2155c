import uuid

import pytest

from access.models import AuditEntry
from gateway.intrusion import note_foreign_attempts
from scheduling.services import by_hand
from scheduling.services.lifecycle import AttemptKey
from tests import factories
from tests.factories import NOW

pytestmark = pytest.mark.django_db


@pytest.fixture
def owner():
    return factories.agent()


@pytest.fixture
def instance(owner):
    task = factories.task(job=factories.job(namespace="billing"))
    return by_hand.create_attempt(task_id=task.pk, agent_id=owner.pk, now=NOW)


def key(agent, instance, token=1):
    return AttemptKey(agent_id=agent.pk, instance_id=instance.pk, token=token)


def noted(*keys):
    found = note_foreign_attempts(keys, addresses={})
    entries = AuditEntry.objects.filter(action="task_instance.foreign_report")
    return found, sorted((entry.actor, entry.subject_id, entry.namespace) for entry in entries)


def test_an_old_word_of_the_owner_is_no_intrusion(owner, instance):
    assert noted(key(owner, instance, token=instance.token - 1)) == (set(), [])


def test_in_one_batch_owner_and_intruders_are_told_apart(owner, instance):
    one, two = factories.agent(), factories.agent()
    found, entries = noted(
        key(one, instance), key(owner, instance), key(two, instance), key(one, instance, token=2)
    )
    assert found == {one.pk, two.pk}
    assert entries == sorted((agent.name, str(instance.pk), "billing") for agent in (one, two))


def test_an_attempt_of_nobody_and_one_that_is_not_there_are_not_foreign(owner):
    task = factories.task()
    of_nobody = by_hand.create_attempt(task_id=task.pk, agent_id=None, now=NOW)
    nowhere = AttemptKey(agent_id=owner.pk, instance_id=uuid.uuid4(), token=1)
    assert noted(key(owner, of_nobody), nowhere) == (set(), [])


def test_nothing_at_all_is_nothing():
    assert noted() == (set(), [])
