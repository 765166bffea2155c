from datetime import timedelta

import pytest

from scheduling import scheduler
from scheduling.models import Lease
from scheduling.services import rescue
from tests.factories import NOW

pytestmark = pytest.mark.django_db


def note(now, *, process="north-1", version="1.0"):
    rescue.note_scheduler_alive(process=process, version=version, now=now)


def test_a_scheduler_says_that_it_is_there_and_is_believed_for_a_while():
    assert not rescue.is_scheduler_alive(now=NOW)
    presence = next(duty for duty in scheduler.DUTIES if duty.name == "presence")
    presence.run_once(NOW)
    assert rescue.is_scheduler_alive(now=NOW + timedelta(seconds=rescue.SERVER_DEAD_AFTER_SECS - 1))
    assert not rescue.is_scheduler_alive(now=NOW + timedelta(seconds=rescue.SERVER_DEAD_AFTER_SECS))


def test_a_scheduler_does_not_stand_in_for_a_server():
    note(NOW - timedelta(minutes=5))
    note(NOW)
    assert not rescue._agents_could_renew(now=NOW)


def test_every_scheduler_tells_its_version_for_as_long_as_it_is_there():
    note(NOW, process="north-1", version="1.0")
    note(NOW, process="south-" + 80 * "7", version="2.0")
    note(NOW - timedelta(minutes=1), process="gone-1", version="0.9")
    (north, south) = rescue.schedulers_alive(now=NOW)
    assert north == ("north-1", "1.0")
    assert (south[0][:7], south[1]) == ("south-7", "2.0")


def test_a_scheduler_that_is_gone_for_a_day_is_forgotten():
    note(NOW - rescue.SCHEDULERS_KEPT_FOR - timedelta(seconds=1), process="gone-1")
    note(NOW - rescue.SCHEDULERS_KEPT_FOR, process="away-1")
    assert rescue.forget_schedulers(now=NOW) == 1
    assert sorted(Lease.objects.values_list("name", flat=True)) == ["scheduler", "scheduler/away-1"]
