"""The form of a schedule: when it runs, in every way that there is to say it."""

from functools import lru_cache
from typing import Any, ClassVar, Final
from zoneinfo import available_timezones

from django import forms
from django.contrib.admin.widgets import AutocompleteSelect
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminSelect2Widget, UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from scheduling.admin import words
from scheduling.admin.fields import CodeWidget, EditorWidget, JSONObjectField, ScriptField
from scheduling.admin.jobs import SCHEDULABLE
from scheduling.admin.pages import ServiceForm
from scheduling.kinds import CalendarPolicy, DaylightGap, DaylightOverlap, IntervalMode
from scheduling.models import Schedule
from scheduling.services.definitions import SUPPORTED_KINDS

SERVICE_FIELDS: Final = (
    "name",
    "description",
    "kind",
    "cron_expression",
    "interval_secs",
    "interval_mode",
    "timezone",
    "dst_gap",
    "dst_overlap",
    "calendar",
    "calendar_policy",
    "start_time",
    "end_time",
    "max_count",
    "jitter_secs",
    "parameters",
    "catch_up_secs",
    "pause_after_failures",
)


@lru_cache(maxsize=1)
def zone_choices() -> tuple[tuple[str, str], ...]:
    """Return the IANA zones, UTC first."""
    return tuple((name, name) for name in ["UTC", *sorted(available_timezones() - {"UTC"})])


class JobToScheduleWidget(AutocompleteSelect):
    """Searches for a job, among those that the user may give a schedule."""

    def get_url(self) -> str:
        return f"{super().get_url()}?{SCHEDULABLE}=1"


def _as_cron_does(label: Any, choices: Any, help_text: Any) -> forms.Field:
    """Return a choice in which nothing chosen is null."""
    return forms.TypedChoiceField(
        label=label,
        required=False,
        empty_value=None,
        choices=[("", _("as cron does it")), *choices],
        widget=UnfoldAdminSelectWidget(),
        help_text=help_text,
    )


class ScheduleForm(ServiceForm):
    aliases: ClassVar[dict[str, str]] = {"calendar_id": "calendar"}

    kind = forms.ChoiceField(
        label=_("Kind"),
        choices=[(kind.value, kind.label) for kind in SUPPORTED_KINDS],
        widget=UnfoldAdminSelectWidget(),
    )
    cron_expression = ScriptField(
        label=_("Cron expression"),
        required=False,
        widget=CodeWidget(rows=3, placeholder="30 2 * * 1-5"),
        help_text=_(
            "One or several, one a line: cron (30 2 * * 1-5), @daily, @every 90s, systemd (Mon..Fri 09:00), "
            "iCalendar (RRULE:FREQ=MONTHLY;BYDAY=-1FR)."
        ),
    )
    interval_mode = forms.ChoiceField(
        label=_("The interval counts"),
        choices=IntervalMode.choices,
        initial=IntervalMode.RATE,
        widget=UnfoldAdminSelectWidget(),
    )
    timezone = forms.ChoiceField(
        label=_("Time zone"),
        initial="UTC",
        choices=zone_choices,
        widget=UnfoldAdminSelect2Widget(),
        help_text=_("Expressions and the calendar are read in this zone, daylight saving time included."),
    )
    dst_gap = _as_cron_does(
        _("When the clocks go forward"), DaylightGap.choices, _("For a local time that they skip.")
    )
    dst_overlap = _as_cron_does(
        _("When the clocks go back"), DaylightOverlap.choices, _("For a local time that comes twice.")
    )
    calendar_policy = forms.ChoiceField(
        label=_("When the calendar forbids a run"),
        choices=CalendarPolicy.choices,
        initial=CalendarPolicy.SKIP,
        widget=UnfoldAdminSelectWidget(),
    )
    parameters = JSONObjectField(
        label=_("Parameters"),
        widget=EditorWidget(rows=4, placeholder='{"day": "{{ business_date | format(\'%Y-%m-%d\') }}"}'),
        help_text=_(
            "A JSON object; the command finds each as $HETUFLOW_PARAM_NAME. Templates are filled in for each "
            "run: {{ scheduled_at }}, {{ previous_scheduled_at }}, {{ date }}, {{ business_date }}, "
            "{{ business_day(date, -1) }}."
        ),
    )
    description = forms.CharField(
        label=_("Description"), required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2})
    )

    class Meta:
        model = Schedule
        fields = ("job", *SERVICE_FIELDS)
        help_texts: ClassVar = {
            "interval_secs": _("At a fixed rate it counts from the start, or without one from 1970."),
            "calendar": _("Days off, allowed times and blackouts, of the job's namespace."),
            "start_time": words.entered_in_zone(
                _("For “once” this is the instant; else no run is before it.")
            ),
            "end_time": words.entered_in_zone(_("No run is after it.")),
            "max_count": _("Empty: no limit."),
            "jitter_secs": _("Each run starts up to so many seconds later, at random."),
            "catch_up_secs": _(
                "After an outage, older runs are only noted as missed. Empty: as the server does it."
            ),
            "pause_after_failures": _("Disable the schedule after so many failures in a row. Empty: never."),
        }

    def clean_cron_expression(self) -> str | None:
        """Return null for an empty expression, as the contract says it."""
        text = self.cleaned_data["cron_expression"].strip("\n")
        return text if text.strip() else None

    def service_fields(self, *, change: bool) -> dict[str, Any]:
        """Return what the services take: the fields that were changed, or of a new schedule all."""
        changed = set(self.changed_data)
        return {name: self.cleaned_data[name] for name in SERVICE_FIELDS if not change or name in changed}
