"""What becomes of a schedule's runs on days on which the clocks change, in words (pure)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from scheduling.recurrence import ClockChange, Recurrence, clock_changes, instants_between
from scheduling.timing.zones import Gap, Overlap

TIMES_LOOKED_AT: Final = 1000
TIMES_NAMED: Final = 3
_DAY: Final = timedelta(days=1)
_SENTENCES: Final = {
    Gap.SKIP: gettext_noop("Skipped, because that local time does not exist on that day: %(times)s."),
    Gap.NEXT_VALID: gettext_noop("Moved to %(after)s, because that local time does not exist: %(times)s."),
    Overlap.FIRST: gettext_noop("Runs once, the first time, though that local time comes twice: %(times)s."),
    Overlap.SECOND: gettext_noop(
        "Runs once, the second time, though that local time comes twice: %(times)s."
    ),
    Overlap.BOTH: gettext_noop("Runs twice, because that local time comes twice: %(times)s."),
}


def clock_notes(recurrence: Recurrence, *, after: datetime, until: datetime) -> list[str]:
    """Return a note on each change of the clocks in (after, until] on a day with planned times.

    In the language that is active; it begins with the instant of the change, in the schedule's zone.
    """
    zone = ZoneInfo(recurrence.timezone)
    return [
        f"{change.at.astimezone(zone).isoformat()}: {_told(change)}"
        for change in clock_changes(recurrence, after, until, TIMES_LOOKED_AT)
        if change.times or _runs_that_day(recurrence, change, zone)
    ]


def _runs_that_day(recurrence: Recurrence, change: ClockChange, zone: ZoneInfo) -> bool:
    near = instants_between(recurrence, change.at - _DAY, change.at + _DAY, TIMES_LOOKED_AT)
    return any(instant.astimezone(zone).date() == change.after.date() for instant in near)


def _told(change: ClockChange) -> str:
    is_forward = change.after > change.before
    text = (
        _("The clocks go forward by %(minutes)d minutes, from %(before)s to %(after)s.")
        if is_forward
        else _("The clocks go back by %(minutes)d minutes, from %(before)s to %(after)s.")
    )
    names = {
        "minutes": abs(change.after - change.before) // timedelta(minutes=1),
        "before": f"{change.before:%H:%M}",
        "after": f"{change.after:%H:%M}",
    }
    told = [text % names]
    for policy, sentence in _SENTENCES.items():
        times = [local for local, its_policy in change.times if its_policy is policy]
        if times:
            told.append(_(sentence) % {**names, "times": _listed(times)})
    return " ".join(told).replace("。 ", "。")


def _listed(times: Sequence[datetime]) -> str:
    named = ", ".join(f"{time:%H:%M:%S}".removesuffix(":00") for time in times[:TIMES_NAMED])
    if len(times) <= TIMES_NAMED:
        return named
    more = len(times) - TIMES_NAMED
    if len(times) == TIMES_LOOKED_AT:
        return _("%(times)s and at least %(n)d more") % {"times": named, "n": more}
    return _("%(times)s and %(n)d more") % {"times": named, "n": more}
