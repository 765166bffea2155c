from datetime import timedelta

import pytest

from scheduling import scheduler
from scheduling.services import rescue
from tests.factories import NOW

pytestmark = pytest.mark.django_db


def test_a_scheduler_says_that_it_is_there_and_is_believed_for_a_while():
    assert not rescue.is_scheduler_alive(now=NOW)
    presence = next(duty for duty in scheduler.DUTIES if duty.name == "presence")
    presence.run_once(NOW)
    assert rescue.is_scheduler_alive(now=NOW + timedelta(seconds=rescue.SERVER_DEAD_AFTER_SECS - 1))
    assert not rescue.is_scheduler_alive(now=NOW + timedelta(seconds=rescue.SERVER_DEAD_AFTER_SECS))


def test_a_scheduler_does_not_stand_in_for_a_server():
    rescue.note_scheduler_alive(now=NOW - timedelta(minutes=5))
    rescue.note_scheduler_alive(now=NOW)
    assert not rescue._agents_could_renew(now=NOW)
