"""Create, change and delete calendars and freezes; read them as rules."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from functools import lru_cache
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError

from access import audit
from access.actors import SYSTEM, Actor
from access.roles import EVERYWHERE
from access.sentences import said as _
from scheduling.calendar_fields import BadEntry, calendar_problems, days_of_ics
from scheduling.calendars import Blackout, CalendarRules, DaysOff, Window
from scheduling.errors import AlreadyExists, InUse, InvalidField
from scheduling.models import Calendar, Freeze

_FIELDS: Final = (
    "namespace",
    "name",
    "description",
    "country",
    "subdivision",
    "dates",
    "ics",
    "windows",
    "blackouts",
)
_AUDITED_OF_FREEZE: Final = ("since", "until", "reason")
_NO_NAMESPACE: Final = _("%(everywhere)s means every namespace", everywhere=EVERYWHERE)


def create_calendar(*, by: Actor = SYSTEM, **fields: Any) -> Calendar:
    """Create and return a calendar; raise InvalidField, AlreadyExists where the name is taken."""
    calendar = Calendar(created_by=by.name)
    with transaction.atomic():
        _save(calendar, fields, by=by)
        after = audit.snapshot(calendar, _FIELDS)
        audit.record(
            by=by, action="calendar.create", subject=calendar, namespace=calendar.namespace, after=after
        )
    return calendar


def update_calendar(*, calendar_id: int, by: Actor = SYSTEM, **fields: Any) -> Calendar:
    """Change the given fields of a calendar and return it; it counts for what is planned from now on.

    A calendar stays in its namespace. Raises InvalidField, AlreadyExists, Calendar.DoesNotExist.
    """
    with transaction.atomic():
        calendar = Calendar.objects.select_for_update().get(pk=calendar_id)
        if fields.get("namespace", calendar.namespace) != calendar.namespace:
            raise InvalidField({"namespace": _("a calendar stays in its namespace")})
        before = audit.snapshot(calendar, _FIELDS)
        _save(calendar, fields, by=by)
        after = audit.snapshot(calendar, _FIELDS)
        audit.record(
            by=by,
            action="calendar.update",
            subject=calendar,
            namespace=calendar.namespace,
            before=before,
            after=after,
        )
    return calendar


def delete_calendar(*, calendar_id: int, by: Actor = SYSTEM) -> None:
    """Delete a calendar; raise InUse where a schedule has it, Calendar.DoesNotExist."""
    with transaction.atomic():
        calendar = Calendar.objects.select_for_update().get(pk=calendar_id)
        before = audit.snapshot(calendar, _FIELDS)
        # Archived schedules run no more; they do not hold a calendar that nobody can take from them.
        calendar.schedules.filter(archived_at__isnull=False).update(calendar=None)
        audit.record(
            by=by, action="calendar.delete", subject=calendar, namespace=calendar.namespace, before=before
        )
        try:
            calendar.delete()
        except ProtectedError as error:
            raise InUse(_("Schedules use this calendar; give them another one first.")) from error


def freeze(
    *, namespace: str, now: datetime, until: datetime | None = None, reason: str = "", by: Actor = SYSTEM
) -> Freeze:
    """Plan nothing in a namespace from now on, and return that; a second time changes end and reason.

    Raises InvalidField.
    """
    errors = {}
    if namespace == EVERYWHERE:
        errors["namespace"] = _NO_NAMESPACE
    if until is not None and until <= now:
        errors["until"] = _("expected a time in the future")
    if errors:
        raise InvalidField(errors)
    with transaction.atomic():
        # Somebody else may freeze it at the same moment; then this is the second time.
        frozen, is_new = Freeze.objects.select_for_update().get_or_create(
            namespace=namespace, defaults={"since": now, "created_by": by.name}
        )
        before = None if is_new else audit.snapshot(frozen, _AUDITED_OF_FREEZE)
        if frozen.until is not None and frozen.until <= now:
            frozen.since = now
        frozen.until, frozen.reason = until, reason
        frozen.save()
        audit.record(
            by=by,
            action="namespace.freeze",
            subject=frozen,
            namespace=namespace,
            before=before,
            after=audit.snapshot(frozen, _AUDITED_OF_FREEZE),
        )
    return frozen


def thaw(*, namespace: str, by: Actor = SYSTEM) -> None:
    """Let a namespace be planned again; raise Freeze.DoesNotExist where it is not frozen."""
    with transaction.atomic():
        frozen = Freeze.objects.select_for_update().get(namespace=namespace)
        before = audit.snapshot(frozen, _AUDITED_OF_FREEZE)
        audit.record(by=by, action="namespace.thaw", subject=frozen, namespace=namespace, before=before)
        frozen.delete()


def check_calendar(calendar: Calendar) -> None:
    """Raise InvalidField where what a calendar states is not sound, else derive what follows from it.

    Writes nothing.
    """
    errors = calendar_problems(audit.snapshot(calendar, _FIELDS))
    if calendar.namespace == EVERYWHERE:
        errors["namespace"] = _NO_NAMESPACE
    if "blackouts" not in errors:
        calendar.blackouts = [
            {**each, **{name: _in_utc(each[name]) for name in ("from", "to")}} for each in calendar.blackouts
        ]
    try:
        calendar.ics_dates = days_of_ics(calendar.ics)
    except BadEntry as error:
        errors["ics"] = error.args[0]
    if errors:
        raise InvalidField(errors)


def _save(calendar: Calendar, fields: Mapping[str, Any], *, by: Actor) -> None:
    if unknown := fields.keys() - set(_FIELDS):
        raise InvalidField(dict.fromkeys(unknown, _("unknown field")))
    for name, value in fields.items():
        setattr(calendar, name, value)
    check_calendar(calendar)
    calendar.updated_by = by.name
    try:
        with transaction.atomic():
            calendar.save()
    except IntegrityError as error:
        if "calendar_name_unique_in_namespace" in str(error):
            raise AlreadyExists(
                _(
                    "A calendar %(name)s exists already in namespace %(namespace)s.",
                    name=repr(calendar.name),
                    namespace=repr(calendar.namespace),
                )
            ) from error
        raise


def rules_of(calendar: Calendar) -> CalendarRules:
    """Return what a calendar says, as pure rules; parsed once for each version of it."""
    return _rules(_Key(calendar))


class _Key:
    """A calendar as it was at one time, to remember its rules by."""

    def __init__(self, calendar: Calendar) -> None:
        self.calendar = calendar

    def __hash__(self) -> int:
        return hash((self.calendar.pk, self.calendar.updated_at))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Key):
            return NotImplemented
        return (self.calendar.pk, self.calendar.updated_at) == (
            other.calendar.pk,
            other.calendar.updated_at,
        )


@lru_cache(maxsize=1024)
def _rules(key: _Key) -> CalendarRules:
    return read_rules(key.calendar)


def read_rules(calendar: Calendar) -> CalendarRules:
    """Return what a calendar says at this moment, saved or not; `check_calendar` has passed it."""
    return CalendarRules(
        name=calendar.name,
        country=calendar.country,
        subdivision=calendar.subdivision,
        days_off=tuple(_days_off(each) for each in [*calendar.dates, *calendar.ics_dates]),
        windows=tuple(_window(each) for each in calendar.windows),
        blackouts=tuple(_blackout(each) for each in calendar.blackouts),
    )


def _in_utc(instant: str) -> str:
    return f"{datetime.fromisoformat(instant).astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def _days_off(each: Mapping[str, Any]) -> DaysOff:
    first = date.fromisoformat(each["date"])
    last = date.fromisoformat(each["until"]) if each.get("until") else first
    return DaysOff(first, last, each.get("name", ""))


def _window(each: Mapping[str, Any]) -> Window:
    return Window(
        frozenset(each["weekdays"]), time.fromisoformat(each["from"]), time.fromisoformat(each["to"])
    )


def _blackout(each: Mapping[str, Any]) -> Blackout:
    begin, end = (datetime.fromisoformat(each[name]) for name in ("from", "to"))
    return Blackout(begin, end, each.get("reason", ""))
