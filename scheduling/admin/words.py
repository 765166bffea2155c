"""How values read on a page: instants, durations, sizes, statuses and the rules of schedules, in words.

Nothing here reads the database; whoever asks passes what is needed, `now` included.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.utils import timezone
from django.utils.functional import lazy
from django.utils.html import conditional_escape, escape, format_html
from django.utils.safestring import SafeString
from django.utils.translation import get_language, gettext, gettext_lazy, ngettext

from agents.models import AgentStatus
from scheduling.calendars import Obstacle
from scheduling.kinds import ScheduleKind, ScheduleStatus
from scheduling.models import Schedule
from scheduling.services.definitions import SUPPORTED_KINDS
from scheduling.services.next_runs import recurrence_of
from scheduling.services.previewing import next_run
from scheduling.states import InstanceStatus, Outcome, TaskStatus
from scheduling.timing.cron import MACROS
from scheduling.timing.expressions import split
from scheduling.timing.words import in_words

MISSING: Final = "–"

_COLOURS: Final[Mapping[str, str]] = {
    TaskStatus.PENDING: "waiting",
    TaskStatus.LOCKED: "active",
    TaskStatus.DISPATCHED: "active",
    TaskStatus.RUNNING: "active",
    TaskStatus.WAITING_RETRY: "warning",
    TaskStatus.COMPLETED: "good",
    TaskStatus.FAILED: "bad",
    TaskStatus.CANCELLED: "muted",
    InstanceStatus.TIMEOUT: "bad",
    InstanceStatus.LOST: "bad",
    InstanceStatus.SKIPPED: "muted",
    InstanceStatus.PAUSED: "warning",
    Outcome.FIRED: "good",
    Outcome.LATE: "warning",
    Outcome.COALESCED: "muted",
    Outcome.SKIPPED_OVERLAP: "muted",
    Outcome.SKIPPED_CALENDAR: "muted",
    Outcome.SKIPPED_DISABLED: "muted",
    Outcome.MISSED: "bad",
    ScheduleStatus.ENABLED: "good",
    ScheduleStatus.DISABLED: "muted",
    ScheduleStatus.EXPIRED: "muted",
    "planned": "waiting",
    "open": "bad",
    "acknowledged": "muted",
    "frozen": "active",
    "over": "muted",
    AgentStatus.CONNECTING: "waiting",
    AgentStatus.ONLINE: "good",
    AgentStatus.IDLE: "good",
    AgentStatus.BUSY: "active",
    AgentStatus.DRAINING: "warning",
    AgentStatus.DISCONNECTING: "warning",
    AgentStatus.OFFLINE: "muted",
    AgentStatus.ERROR: "bad",
}
_WEEKDAYS: Final = (
    gettext_lazy("Sunday"),
    gettext_lazy("Monday"),
    gettext_lazy("Tuesday"),
    gettext_lazy("Wednesday"),
    gettext_lazy("Thursday"),
    gettext_lazy("Friday"),
    gettext_lazy("Saturday"),
)
_NUMBER: Final = re.compile(r"\d+\Z")
_STEP: Final = re.compile(r"\*/(\d+)\Z")


def badge(value: str, label: object, *, title: str = "") -> SafeString:
    """Return `label` in the colour of the status, outcome or state `value`."""
    colour = _COLOURS.get(value, "muted")
    return format_html('<span class="hf-badge hf-{}" title="{}">{}</span>', colour, title, label)


def zone() -> str:
    """Return the name of the reader's time zone."""
    return timezone.get_current_timezone_name()


def told(instant: datetime, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return an instant as plain text, by the clocks of the reader's zone."""
    return timezone.localtime(instant).strftime(pattern)


def told_with_utc(instant: datetime, pattern: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return an instant for where no `<time>` can stand: in the reader's zone, and in UTC."""
    utc = f"{instant.astimezone(UTC):{pattern}} UTC"
    return utc if zone() == "UTC" else f"{told(instant, pattern)} {zone()}, {utc}"


def filled(message: str, facts: Mapping[str, Any]) -> SafeString:
    """Return a message with facts in its places, of which some may be markup."""
    return SafeString(escape(message) % {name: conditional_escape(fact) for name, fact in facts.items()})


def _entered_in_zone(more: object) -> str:
    return gettext("In your time zone, %(zone)s. %(more)s") % {"zone": zone(), "more": more}


# The help of a field for an instant, which is read by the clocks of whoever fills it in.
entered_in_zone = lazy(_entered_in_zone, str)


def moment(instant: datetime | None, *, now: datetime) -> SafeString | str:
    """Return an instant as the distance from now; pointed at, it says the time there and in UTC."""
    return MISSING if instant is None else _time(instant, distance(instant - now), is_exact=False)


def exact_moment(instant: datetime, *, now: datetime) -> SafeString:
    """Return an instant to the second in the reader's zone, with its distance from now beside it."""
    return format_html('{} <span class="hf-beside">{}</span>', shown(instant), moment(instant, now=now))


def shown(instant: datetime, pattern: str = "%Y-%m-%d %H:%M:%S") -> SafeString:
    """Return an instant in the reader's zone; pointed at, it says UTC."""
    return _time(instant, told(instant, pattern))


def clock(instant: datetime | None) -> SafeString | str:
    """Return an instant to the millisecond, in the reader's zone."""
    return MISSING if instant is None else _time(instant, told(instant, "%Y-%m-%d %H:%M:%S.%f")[:-3])


def time_of_day(instant: datetime) -> SafeString:
    """Return what the clocks of the reader's zone show at an instant, to the second."""
    return shown(instant, "%H:%M:%S")


def _time(instant: datetime, text: str, *, is_exact: bool = True) -> SafeString:
    utc = f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}"[:-3] + " UTC"
    is_told = is_exact or zone() == "UTC"
    return format_html(
        '<time class="{}" datetime="{}" title="{}">{}</time>',
        "hf-exact" if is_exact else "hf-moment",
        instant.astimezone(UTC).isoformat(),
        utc if is_told else f"{told(instant)} {zone()}, {utc}",
        text,
    )


def distance(delta: timedelta) -> str:
    """Return how far off something is: "in 5 minutes", "2 hours ago", "now"."""
    secs = delta.total_seconds()
    if abs(secs) < 1:
        return gettext("now")
    text = _rough(abs(secs))
    return gettext("in %(time)s") % {"time": text} if secs > 0 else gettext("%(time)s ago") % {"time": text}


def _rough(secs: float) -> str:
    whole = round(secs)
    if whole < 60:
        return ngettext("%(n)d second", "%(n)d seconds", whole) % {"n": whole}
    if whole < 3600:
        return ngettext("%(n)d minute", "%(n)d minutes", whole // 60) % {"n": whole // 60}
    if whole < 2 * 86_400:
        return ngettext("%(n)d hour", "%(n)d hours", whole // 3600) % {"n": whole // 3600}
    return ngettext("%(n)d day", "%(n)d days", whole // 86_400) % {"n": whole // 86_400}


def duration(secs: float | None) -> str:
    """Return a length of time, precise where it is short: 12 ms, 3.41 s, 2 min 5 s, 1 h 2 min."""
    if secs is None:
        return MISSING
    if secs < 1:
        return f"{secs * 1000:.0f} ms"
    if secs < 60:
        return f"{secs:.2f} s"
    minutes, rest = divmod(round(secs), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(count: float | None) -> str:
    """Return a number of bytes in the unit that fits."""
    if count is None:
        return MISSING
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def rule(schedule: Schedule) -> str:
    """Return the rule of a schedule in words, its zone where that is not the reader's."""
    if schedule.kind == ScheduleKind.INTERVAL:
        text = _every(schedule.interval_secs or 0)
        if schedule.counts_from_the_end:
            return gettext("%(rule)s, from the end of the run before") % {"rule": text}
        return text
    if schedule.kind == ScheduleKind.ONCE:
        return gettext("once, at %(time)s") % {"time": _once(schedule.start_time)}
    if schedule.kind != ScheduleKind.CRON:
        return str(schedule.get_kind_display())
    words = _cron_words(schedule.cron_expression or "", recurrence_of(schedule).seed)
    return words if schedule.timezone == zone() else f"{words} ({schedule.timezone})"


def _once(instant: datetime | None) -> str:
    if instant is None:
        return MISSING
    fraction = f".{instant:%f}"[:4].rstrip("0").rstrip(".")
    return f"{told(instant)}{fraction} {zone()}"


def next_run_of(schedule: Schedule, *, now: datetime) -> datetime | None:
    """Return when `schedule` runs its job next; its calendar must be loaded, where it has one."""
    if schedule.status != ScheduleStatus.ENABLED or schedule.kind not in SUPPORTED_KINDS:
        return None
    return schedule.next_run_at if schedule.counts_from_the_end else next_run(schedule, now=now)


def obstacle_words(obstacle: Obstacle) -> str:
    """Return what in a calendar forbids an instant."""
    match obstacle.kind:
        case "blackout":
            text = gettext("blackout: %(name)s") if obstacle.name else gettext("blackout")
        case "day_off":
            text = gettext("day off: %(name)s") if obstacle.name else gettext("day off")
        case _window:
            text = gettext("outside the allowed times")
    return text % {"name": obstacle.name} if obstacle.name else text


def weekday(day: date) -> str:
    """Return the name of a day of the week."""
    return str(_WEEKDAYS[day.isoweekday() % 7])


def in_zone(instant: datetime, name: str) -> SafeString:
    """Return an instant as people in the zone `name` read it, with the offset that holds then."""
    return _time(instant, f"{instant.astimezone(ZoneInfo(name)):%Y-%m-%d %H:%M:%S %z}")


def in_zone_too(instant: datetime, name: str) -> SafeString | str:
    """Return what the clocks of the zone `name` show, and its name; empty where it is the reader's."""
    return "" if name == zone() else format_html("{} {}", in_zone(instant, name), name)


def _every(secs: int) -> str:
    for unit_secs, one, many in _units():
        if secs >= unit_secs and secs % unit_secs == 0:
            count = secs // unit_secs
            return one if count == 1 else gettext("every %(time)s") % {"time": many % {"n": count}}
    return ""


def _units() -> tuple[tuple[int, str, str], ...]:
    return (
        (86_400, gettext("every day"), gettext("%(n)d days")),
        (3600, gettext("every hour"), gettext("%(n)d hours")),
        (60, gettext("every minute"), gettext("%(n)d minutes")),
        (1, gettext("every second"), gettext("%(n)d seconds")),
    )


def _cron_words(expression: str, seed: str) -> str:
    """Say the common forms as people say them, all the others as a library does."""
    lines = split(expression)
    if len(lines) > 1:
        return "; ".join(_cron_words(line, seed) for line in lines)
    fields = MACROS.get(expression.strip().lower(), expression).split()
    if len(fields) == 5:
        known = _common_cron_words(*fields)
        if known:
            return known
    words = in_words(expression, language=get_language() or "en", seed=seed)
    return words[:1].lower() + words[1:]


def _common_cron_words(minute: str, hour: str, day: str, month: str, weekday: str) -> str | None:
    if month != "*":
        return None
    if (day, weekday) == ("*", "*") and hour == "*":
        if minute == "*":
            return gettext("every minute")
        if step := _STEP.match(minute):
            return gettext("every %(n)s minutes") % {"n": step[1]}
        if _NUMBER.match(minute):
            return gettext("every hour at minute %(n)s") % {"n": minute}
    if not (_NUMBER.match(minute) and _NUMBER.match(hour)):
        return None
    return _daily_words(f"{int(hour):02}:{int(minute):02}", day, weekday)


def _daily_words(time: str, day: str, weekday: str) -> str | None:
    if (day, weekday) == ("*", "*"):
        return gettext("every day at %(time)s") % {"time": time}
    if day == "*" and weekday.upper() in ("1-5", "MON-FRI"):
        return gettext("on weekdays at %(time)s") % {"time": time}
    if day == "*" and _NUMBER.match(weekday):
        return gettext("every %(day)s at %(time)s") % {"day": _WEEKDAYS[int(weekday) % 7], "time": time}
    if weekday == "*" and _NUMBER.match(day):
        return gettext("on day %(day)s of every month at %(time)s") % {"day": day, "time": time}
    return None
