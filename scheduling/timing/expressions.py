"""Expressions of time in one of three languages, one a line (pure): cron's, systemd's, iCalendar's."""

from datetime import datetime
from functools import lru_cache
from typing import Final

from access.sentences import said as _
from scheduling.timing import cron, oncalendar, rules
from scheduling.timing.cron import CronPattern, Every
from scheduling.timing.errors import ExpressionError
from scheduling.timing.oncalendar import OnCalendarPattern
from scheduling.timing.rules import RulePattern

MAX_CHARS: Final = 2000
MAX_LINES: Final = 20
# They take longer to look through than the others.
MAX_RULES: Final = 5

Expression = CronPattern | OnCalendarPattern | RulePattern | Every


@lru_cache(maxsize=8192)
def parse(text: str, *, zone: str, start: datetime | None, seed: str) -> tuple[Expression, ...]:
    """Return what each line of a text means, in the zone and for the start of its schedule.

    `seed` tells schedules apart for `~`. Raises ExpressionError, which names the line among several.
    """
    if not text.strip():
        raise ExpressionError(_("required"))
    if len(text) > MAX_CHARS:
        raise ExpressionError(_("longer than %(most)s characters", most=MAX_CHARS))
    lines = split(text)
    if len(lines) > MAX_LINES:
        raise ExpressionError(_("more than %(most)s lines", most=MAX_LINES))
    if sum(map(rules.is_rule, lines)) > MAX_RULES:
        raise ExpressionError(_("more than %(most)s rules", most=MAX_RULES), example=rules.EXAMPLE)
    parsed = []
    for number, line in enumerate(lines, 1):
        try:
            parsed.append(_parse_line(line, zone, start, seed))
        except ExpressionError as error:
            if len(lines) == 1:
                raise
            raise ExpressionError.in_line(number, error) from None
    return tuple(parsed)


def split(text: str) -> list[str]:
    """Return the expressions of a text; a DTSTART belongs to the rule in the line after it."""
    lines: list[str] = []
    for line in (line.strip() for line in text.splitlines()):
        if lines and lines[-1].upper().startswith("DTSTART") and "RRULE" not in lines[-1].upper():
            lines[-1] = f"{lines[-1]}\n{line}"
        elif line:
            lines.append(line)
    return lines


def language(line: str) -> str:
    """Return in which language a line is written: `cron`, `oncalendar` or `rrule`."""
    if rules.is_rule(line):
        return "rrule"
    return "oncalendar" if oncalendar.is_on_calendar(line) else "cron"


def _parse_line(line: str, zone: str, start: datetime | None, seed: str) -> Expression:
    match language(line):
        case "rrule":
            return rules.parse(line, zone, start)
        case "oncalendar":
            return oncalendar.parse(line)
    return cron.parse(line, seed)
