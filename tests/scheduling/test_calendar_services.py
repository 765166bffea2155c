"""Calendars and freezes are created, changed and deleted; bad ones are refused by field."""

from datetime import timedelta
from functools import partial

import pytest

from access.models import AuditEntry
from scheduling.errors import AlreadyExists, InUse, InvalidField
from scheduling.models import Calendar, Freeze
from scheduling.services import calendars
from tests import factories
from tests.factories import ANN, NOW
from tests.races import at_once

pytestmark = pytest.mark.django_db
ICS = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//EN
BEGIN:VEVENT
UID:1
DTSTART;VALUE=DATE:20260501
DTEND;VALUE=DATE:20260502
SUMMARY:Labour Day
END:VEVENT
BEGIN:VEVENT
UID:2
DTSTART;VALUE=DATE:20261224
DTEND;VALUE=DATE:20261227
SUMMARY:Christmas
END:VEVENT
BEGIN:VEVENT
UID:3
DTSTART:20260601T100000Z
SUMMARY:a meeting
END:VEVENT
END:VCALENDAR
"""


def test_the_all_day_events_of_a_file_are_days_off():
    calendar = calendars.create_calendar(name="work", ics=ICS)
    assert calendar.ics_dates == [
        {"date": "2026-05-01", "name": "Labour Day"},
        {"date": "2026-12-24", "name": "Christmas", "until": "2026-12-26"},
    ]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"country": "XX"}, "country"),
        ({"country": "DE", "subdivision": "XX"}, "subdivision"),
        ({"subdivision": "BY"}, "subdivision"),
        ({"dates": "2026-05-01"}, "dates"),
        ({"dates": ["2026-05-01"]}, "dates"),
        ({"dates": [{"date": "2026-02-30"}]}, "dates"),
        ({"dates": [{"date": 5}]}, "dates"),
        ({"dates": [{"date": "2026-05-02", "until": "2026-05-01"}]}, "dates"),
        ({"dates": [{"date": "2026-05-01", "colour": "red"}]}, "dates"),
        ({"dates": [{"date": "2026-05-01"}] * 1001}, "dates"),
        ({"windows": [{"weekdays": [0], "from": "09:00", "to": "18:00"}]}, "windows"),
        ({"windows": [{"weekdays": [True], "from": "09:00", "to": "18:00"}]}, "windows"),
        ({"windows": [{"weekdays": [1], "from": "18:00", "to": "09:00"}]}, "windows"),
        ({"windows": [{"weekdays": [1], "from": "25:00", "to": "26:00"}]}, "windows"),
        ({"windows": [{"weekdays": [1], "from": "09:00Z", "to": "18:00"}]}, "windows"),
        ({"blackouts": [{"from": "2026-05-01T00:00:00", "to": "2026-05-02T00:00:00"}]}, "blackouts"),
        ({"blackouts": [{"from": "2026-05-02T00:00:00Z", "to": "2026-05-01T00:00:00Z"}]}, "blackouts"),
        ({"ics": "hello"}, "ics"),
        ({"ics": ICS.replace("SUMMARY:Labour Day", "SUMMARY:Labour Day\nRRULE:FREQ=YEARLY")}, "ics"),
        ({"ics": "BEGIN:VCALENDAR\nEND:VCALENDAR"}, "ics"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_field_is_named_and_nothing_is_stored(fields, field):
    with pytest.raises(InvalidField) as refusal:
        calendars.create_calendar(name="work", **fields)
    assert list(refusal.value.errors) == [field]
    assert not Calendar.objects.exists()
    assert not AuditEntry.objects.exists()


def test_a_change_is_recorded_with_before_and_after():
    calendar = calendars.create_calendar(name="work", by=ANN)
    calendars.update_calendar(calendar_id=calendar.pk, country="CN", by=ANN)
    entry = AuditEntry.objects.get(action="calendar.update")
    assert (entry.actor, entry.before, entry.after) == ("ann", {"country": ""}, {"country": "CN"})


def test_a_name_is_taken_once_in_a_namespace():
    calendars.create_calendar(name="work")
    with pytest.raises(AlreadyExists):
        calendars.create_calendar(name="work")
    calendars.create_calendar(name="work", namespace="other")


def test_a_calendar_stays_in_its_namespace():
    calendar = calendars.create_calendar(name="work")
    with pytest.raises(InvalidField):
        calendars.update_calendar(calendar_id=calendar.pk, namespace="other")


def test_a_calendar_in_use_is_not_deleted():
    calendar = calendars.create_calendar(name="work")
    schedule = factories.schedule(calendar=calendar)
    with pytest.raises(InUse):
        calendars.delete_calendar(calendar_id=calendar.pk)
    assert not AuditEntry.objects.filter(action="calendar.delete").exists()
    schedule.delete()
    calendars.delete_calendar(calendar_id=calendar.pk)
    assert not Calendar.objects.exists()


def test_a_schedule_takes_no_calendar_of_another_namespace():
    calendar = calendars.create_calendar(name="work", namespace="other")
    with pytest.raises(InvalidField) as refusal:
        factories.schedule(calendar=calendar)
    assert list(refusal.value.errors) == ["calendar_id"]


def test_a_schedule_takes_no_parameters_that_cannot_be_rendered():
    with pytest.raises(InvalidField) as refusal:
        factories.schedule(parameters={"day": "{{ nobody }}"})
    assert list(refusal.value.errors) == ["parameters"]


def test_a_freeze_is_lengthened_and_lifted():
    calendars.freeze(namespace="default", now=NOW, reason="release", by=ANN)
    later = NOW + timedelta(hours=1)
    calendars.freeze(namespace="default", now=later, until=later + timedelta(hours=1), by=ANN)
    frozen = Freeze.objects.get()
    assert (frozen.since, frozen.until) == (NOW, later + timedelta(hours=1))
    calendars.thaw(namespace="default", by=ANN)
    assert not Freeze.objects.exists()
    actions = [entry.action for entry in AuditEntry.objects.order_by("pk")]
    assert actions == ["namespace.freeze", "namespace.freeze", "namespace.thaw"]


@pytest.mark.django_db(transaction=True)
def test_a_namespace_that_many_freeze_at_once_is_frozen_once():
    reasons = ["release", "audit", "move"]
    at_once(*(partial(calendars.freeze, namespace="default", now=NOW, reason=reason) for reason in reasons))
    assert Freeze.objects.get().reason in reasons
    entries = AuditEntry.objects.filter(action="namespace.freeze")
    assert sorted(entry.before is None for entry in entries) == [False, False, True]


def test_a_freeze_that_has_ended_begins_anew():
    calendars.freeze(namespace="default", now=NOW, until=NOW + timedelta(hours=1))
    later = NOW + timedelta(days=1)
    assert calendars.freeze(namespace="default", now=later).since == later


def test_what_means_every_namespace_is_none_to_freeze_or_to_have_a_calendar():
    with pytest.raises(InvalidField) as of_freeze:
        calendars.freeze(namespace="*", now=NOW, until=NOW)
    with pytest.raises(InvalidField) as of_calendar:
        calendars.create_calendar(namespace="*", name="holidays")
    assert list(of_freeze.value.errors) == ["namespace", "until"]
    assert list(of_calendar.value.errors) == ["namespace"]
    assert not Freeze.objects.exists()


def test_a_freeze_does_not_end_in_the_past():
    with pytest.raises(InvalidField):
        calendars.freeze(namespace="default", now=NOW, until=NOW)
