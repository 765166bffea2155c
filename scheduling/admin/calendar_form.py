"""The form of a calendar: its lists as lines that people write, its file as text or as an upload."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar, Final

import holidays
from django import forms
from django.core.exceptions import ValidationError
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from holidays.registry import COUNTRIES
from unfold.widgets import (
    UnfoldAdminSelect2Widget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from scheduling.admin.fields import CodeWidget, ScriptField, StructuredField, parse_json
from scheduling.admin.pages import ServiceForm
from scheduling.admin.words import entered_in_zone
from scheduling.calendar_fields import MAX_ICS_BYTES
from scheduling.models import Calendar

SERVICE_FIELDS: Final = (
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
_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_INSTANT: Final = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?"
_DAY_LINE: Final = re.compile(r"(\S+?)(?:\s*\.\.\s*(\S+))?(?:\s+(.*))?\Z")
_WINDOW_LINE: Final = re.compile(r"([\w,-]+)\s+(\d\d?:\d\d(?::\d\d)?)\s*-\s*(\d\d?:\d\d(?::\d\d)?)\Z")
_BLACKOUT_LINE: Final = re.compile(rf"({_INSTANT})\s*\.\.\s*({_INSTANT})(?:\s+(.*))?\Z")


class LinesField(StructuredField):
    """A list of objects, one a line, or as JSON; subclasses say how they read and write a line."""

    expected: ClassVar[Promise]

    def read_line(self, line: str) -> dict[str, Any] | None:
        """Return what a line stands for, None where it cannot be read."""
        raise NotImplementedError

    def write_line(self, entry: Mapping[str, Any]) -> str:
        """Return a line that reads as `entry`."""
        raise NotImplementedError

    def read(self, text: str) -> list[Any]:
        if text.lstrip().startswith("["):
            value = parse_json(text)
            if isinstance(value, list):
                return value
        found = []
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                entry = self.read_line(line.strip())
                if entry is None:
                    raise ValidationError(
                        _("Line %(number)s, “%(line)s”: expected %(expected)s"),
                        params={"number": number, "line": line.strip()[:80], "expected": self.expected},
                    )
                found.append(entry)
        return found

    def write(self, value: Sequence[Mapping[str, Any]] | None) -> str:
        entries = list(value or [])
        try:
            return "\n".join(" ".join(self.write_line(entry).split()) for entry in entries)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            return json.dumps(entries, ensure_ascii=False, indent=2)


class DaysField(LinesField):
    expected = _("a day or a range and a name, such as 2026-05-01..2026-05-05 Labour Day")

    def read_line(self, line: str) -> dict[str, Any] | None:
        found = _DAY_LINE.match(line)
        if found is None or not found[1][:4].isdigit():
            return None
        entry = {"date": found[1], "name": (found[3] or "").strip()}
        return {**entry, "until": found[2]} if found[2] else entry

    def write_line(self, entry: Mapping[str, Any]) -> str:
        until = f"..{entry['until']}" if entry.get("until") else ""
        return f"{entry['date']}{until} {entry.get('name', '')}"


class WindowsField(LinesField):
    expected = _("weekdays and times, such as Mon-Fri 09:00-18:00")

    def read_line(self, line: str) -> dict[str, Any] | None:
        found = _WINDOW_LINE.match(line)
        weekdays = _read_weekdays(found[1]) if found else None
        if found is None or weekdays is None:
            return None
        begin, end = (time.rjust(5, "0") if len(time) < 5 else time for time in found.groups()[1:])
        return {"weekdays": weekdays, "from": begin, "to": "00:00" if end == "24:00" else end}

    def write_line(self, entry: Mapping[str, Any]) -> str:
        return f"{_write_weekdays(entry['weekdays'])} {entry['from']}-{entry['to']}"


class BlackoutsField(LinesField):
    expected = _("two times and a reason, such as 2026-12-24 00:00..2026-12-27 00:00 year-end closing")

    def read_line(self, line: str) -> dict[str, Any] | None:
        found = _BLACKOUT_LINE.match(line)
        if found is None:
            return None
        begin, end = (_read_instant(text) for text in found.groups()[:2])
        return {"from": begin, "to": end, "reason": (found[3] or "").strip()}

    def write_line(self, entry: Mapping[str, Any]) -> str:
        begin, end = (_write_instant(entry[name]) for name in ("from", "to"))
        return f"{begin}..{end} {entry.get('reason', '')}"


def _read_instant(text: str) -> str:
    """Return an instant with its offset, that of the reader's clocks where none was entered."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return text
    return (instant if instant.tzinfo else timezone.make_aware(instant)).isoformat()


def _write_instant(text: str) -> str:
    """Return a stored instant by the reader's clocks, without what is zero."""
    instant = timezone.localtime(datetime.fromisoformat(text))
    entered = instant.replace(tzinfo=None, fold=0)
    whole = "minutes" if (instant.second, instant.microsecond) == (0, 0) else "auto"
    # Of a time that comes twice, the offset tells the second one.
    is_clear = timezone.make_aware(entered).utcoffset() == instant.utcoffset()
    return (entered if is_clear else instant).isoformat(" ", whole)


def _read_weekdays(text: str) -> list[int] | None:
    numbers = {name.lower(): number for number, name in enumerate(_WEEKDAYS, 1)}
    numbers |= {str(number): number for number in numbers.values()}
    days: list[int] = []
    for part in text.lower().split(","):
        first, _dash, last = part.partition("-")
        begin, end = numbers.get(first), numbers.get(last or first)
        if begin is None or end is None:
            return None
        span = range(begin, end + 1) if begin <= end else [*range(begin, 8), *range(1, end + 1)]
        days += [day for day in span if day not in days]
    return sorted(days)


def _write_weekdays(days: Sequence[int]) -> str:
    if len(days) > 1 and list(days) == list(range(days[0], days[-1] + 1)):
        return f"{_WEEKDAYS[days[0] - 1]}-{_WEEKDAYS[days[-1] - 1]}"
    return ",".join(_WEEKDAYS[day - 1] for day in days)


@lru_cache(maxsize=1)
def country_choices() -> tuple[tuple[str, Any], ...]:
    """Return the countries whose holidays are known, by code; the browser names them in its language."""
    names = {code: re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name) for name, code, *_rest in COUNTRIES.values()}
    known = holidays.list_supported_countries(include_aliases=False)
    found = sorted((names.get(code, code), code) for code in known)
    return (("", _("none")), *((code, f"{code} – {name}") for name, code in found))


@lru_cache(maxsize=256)
def subdivisions_of(country: str) -> tuple[str, ...]:
    """Return the parts of a country whose holidays are known."""
    return tuple(holidays.list_supported_countries().get(country, ()))


class CalendarForm(ServiceForm):
    description = forms.CharField(
        label=_("Description"), required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2})
    )
    country = forms.ChoiceField(
        label=_("Holidays of"),
        required=False,
        choices=country_choices,
        widget=UnfoldAdminSelect2Widget(attrs={"data-regions": ""}),
        help_text=_("The public holidays of a country."),
    )
    subdivision = forms.CharField(
        label=_("Part of the country"),
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"list": "hf-subdivisions", "autocomplete": "off"}),
        help_text=_("Its code, where a part has holidays of its own: BY is Bavaria in Germany."),
    )
    dates = DaysField(
        label=_("Days off"),
        widget=CodeWidget(rows=4, placeholder="2026-05-01..2026-05-05 Labour Day"),
        help_text=_("A day or a range and a name, one a line."),
    )
    ics_file = forms.FileField(
        label=_("Upload an iCalendar file"),
        required=False,
        max_length=255,
        widget=forms.FileInput(attrs={"accept": ".ics,text/calendar", "class": "hf-file"}),
        help_text=_("It replaces the text below; its all-day events become days off."),
    )
    ics = ScriptField(
        label=_("iCalendar file"),
        required=False,
        widget=CodeWidget(rows=3, placeholder="BEGIN:VCALENDAR"),
    )
    windows = WindowsField(
        label=_("Allowed times"),
        widget=CodeWidget(rows=3, placeholder="Mon-Fri 09:00-18:00"),
        help_text=_(
            "Weekdays and times in the schedule's zone, one a line. Empty: always. "
            "If there are any, runs are allowed only in them."
        ),
    )
    blackouts = BlackoutsField(
        label=_("Blackouts"),
        widget=CodeWidget(rows=3, placeholder="2026-12-24 00:00..2026-12-27 00:00"),
        help_text=entered_in_zone(_("From, to and a reason, one a line. Nothing runs then.")),
    )

    class Meta:
        model = Calendar
        fields = SERVICE_FIELDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["ics_file"].show_hidden_initial = False

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        upload = cleaned.get("ics_file")
        if upload is not None:
            if upload.size > MAX_ICS_BYTES:
                self.add_error("ics_file", _("The file is too large."))
            else:
                upload.seek(0)
                cleaned["ics"] = upload.read().decode("utf-8-sig", "replace").replace("\r\n", "\n")
        return cleaned

    def service_fields(self, *, change: bool) -> dict[str, Any]:
        """Return what the services take: the fields that were changed, or of a new calendar all."""
        changed = set(self.changed_data)
        if "ics_file" in changed:
            changed.add("ics")
        names = [name for name in SERVICE_FIELDS if name in self.cleaned_data]
        return {name: self.cleaned_data[name] for name in names if not change or name in changed}
