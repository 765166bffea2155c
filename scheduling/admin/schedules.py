"""Schedules: when a job runs, with the next instants written out."""

from functools import lru_cache
from typing import Any, ClassVar
from zoneinfo import available_timezones

from django import forms
from django.contrib import admin
from django.contrib.admin.widgets import AutocompleteSelect
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.widgets import (
    UnfoldAdminSelect2Widget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from access.callers import actor_of
from scheduling.admin import words
from scheduling.admin.jobs import SCHEDULABLE
from scheduling.admin.pages import Button, ServiceAdmin, ServiceForm
from scheduling.admin.permissions import SeenAutocompleteFilter, is_seen, may, permit
from scheduling.admin.tasks import job_link, tasks_url
from scheduling.clock import database_now
from scheduling.errors import InvalidField
from scheduling.kinds import ScheduleStatus
from scheduling.models import Job, Schedule
from scheduling.services.definitions import (
    SUPPORTED_KINDS,
    archive_schedule,
    create_schedule,
    update_schedule,
)

_PREVIEW = 10
_SERVICE_FIELDS = (
    "name",
    "description",
    "kind",
    "cron_expression",
    "interval_secs",
    "timezone",
    "start_time",
    "end_time",
    "max_count",
    "jitter_secs",
)


@lru_cache(maxsize=1)
def zone_choices() -> tuple[tuple[str, str], ...]:
    """Return the IANA zones, UTC first."""
    return tuple((name, name) for name in ["UTC", *sorted(available_timezones() - {"UTC"})])


class ScheduleForm(ServiceForm):
    kind = forms.ChoiceField(
        label=gettext_lazy("Kind"),
        choices=[(kind.value, kind.label) for kind in SUPPORTED_KINDS],
        widget=UnfoldAdminSelectWidget(),
    )
    cron_expression = forms.CharField(
        label=gettext_lazy("Cron expression"),
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "30 2 * * 1-5", "class": "hf-code"}),
        help_text=gettext_lazy(
            "Minute, hour, day, month, weekday (of six fields the first is seconds), or @daily and so on."
        ),
    )
    timezone = forms.ChoiceField(
        label=gettext_lazy("Time zone"),
        initial="UTC",
        choices=zone_choices,
        widget=UnfoldAdminSelect2Widget(),
        help_text=gettext_lazy("The cron expression is read in this zone, daylight saving time included."),
    )

    description = forms.CharField(
        label=gettext_lazy("Description"), required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2})
    )

    class Meta:
        model = Schedule
        fields = ("job", *_SERVICE_FIELDS)
        help_texts: ClassVar = {
            "interval_secs": gettext_lazy("A fixed rate, counted from the start, or without one from 1970."),
            "start_time": gettext_lazy("UTC. For “once” this is the instant; else no run is before it."),
            "end_time": gettext_lazy("UTC. No run is after it."),
            "max_count": gettext_lazy("Empty: no limit."),
            "jitter_secs": gettext_lazy("Each run starts up to so many seconds later, at random."),
        }

    def clean_cron_expression(self) -> str | None:
        """Return null for an empty expression, as the contract says it."""
        return self.cleaned_data["cron_expression"] or None


class JobToScheduleWidget(AutocompleteSelect):
    """Searches for a job, among those that the user may give a schedule."""

    def get_url(self) -> str:
        return f"{super().get_url()}?{SCHEDULABLE}=1"


def _set_status(
    schedule_admin: "ScheduleAdmin", request: HttpRequest, schedule: Schedule, status: str
) -> str:
    changed = update_schedule(
        schedule_id=schedule.pk,
        now=database_now(),
        by=actor_of(request),
        permit=permit(request, "scheduling.switch_schedule"),
        status=status,
    )
    return _("The schedule is now: %(status)s.") % {"status": changed.get_status_display()}


def _enable(schedule_admin: "ScheduleAdmin", request: HttpRequest, schedule: Schedule) -> str:
    return _set_status(schedule_admin, request, schedule, ScheduleStatus.ENABLED)


def _disable(schedule_admin: "ScheduleAdmin", request: HttpRequest, schedule: Schedule) -> str:
    return _set_status(schedule_admin, request, schedule, ScheduleStatus.DISABLED)


@admin.register(Schedule)
class ScheduleAdmin(ServiceAdmin):
    namespace_path = "job__namespace"
    form = ScheduleForm
    change_form_outer_before_template = "admin/scheduling/schedule/summary.html"
    change_form_outer_after_template = "admin/scheduling/schedule/upcoming.html"
    delete_confirmation_template = "admin/scheduling/schedule/archive.html"
    delete_selected_confirmation_template = "admin/hetuflow/archive_selected.html"
    list_display = ("when", "of_job", "state", "next", "last", "run_count")
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("job", SeenAutocompleteFilter),
    )
    list_select_related = ("job",)
    search_fields = ("name", "job__name", "cron_expression")
    autocomplete_fields = ("job",)
    ordering = ("next_run_at", "pk")
    sortable_by = ("next", "run_count")
    conditional_fields: ClassVar = {
        "cron_expression": "kind == 'cron'",
        "interval_secs": "kind == 'interval'",
    }
    buttons = (
        Button(
            name="enable",
            label=gettext_lazy("Enable"),
            icon="play_circle",
            press=_enable,
            permission="scheduling.switch_schedule",
            is_shown=lambda schedule: schedule.status != ScheduleStatus.ENABLED,
        ),
        Button(
            name="disable",
            label=gettext_lazy("Disable"),
            icon="pause_circle",
            press=_disable,
            permission="scheduling.switch_schedule",
            is_shown=lambda schedule: schedule.status != ScheduleStatus.DISABLED,
        ),
    )
    fieldsets = (
        (None, {"fields": ("job", "name", "description")}),
        (
            gettext_lazy("When"),
            {"fields": ("kind", "cron_expression", "interval_secs", "timezone")},
        ),
        (
            gettext_lazy("Bounds"),
            {"fields": ("start_time", "end_time", "max_count", "jitter_secs")},
        ),
    )

    def all_rows(self, request: HttpRequest) -> QuerySet[Any]:
        shows_job = is_seen(request, Job, "job")
        return Schedule.objects.present().select_related("job").annotate(shown_at=Now(), shows_job=shows_job)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "job":
            kwargs["widget"] = JobToScheduleWidget(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("job",) if obj is not None else ()

    def save_by_service(self, request: HttpRequest, obj: Schedule, form: Any, *, change: bool) -> Schedule:
        fields = {
            name: form.cleaned_data[name]
            for name in _SERVICE_FIELDS
            if not change or name in form.changed_data
        }
        if change:
            if not fields:
                return obj
            return update_schedule(
                schedule_id=obj.pk,
                now=database_now(),
                by=actor_of(request),
                permit=permit(request, "scheduling.change_schedule"),
                **fields,
            )
        job = Job.objects.present().get(pk=form.cleaned_data["job"].pk)
        if not may(request, "scheduling.add_schedule", job):
            raise InvalidField({"job": _("Your role in this namespace does not allow it.")})
        permitted = permit(request, "scheduling.add_schedule")
        return create_schedule(job=job, now=database_now(), by=actor_of(request), permit=permitted, **fields)

    @admin.display(description=gettext_lazy("schedule"))
    def when(self, schedule: Schedule) -> SafeString:
        return format_html(
            '<span class="hf-name">{}</span><span class="hf-sub">{}</span>',
            words.rule(schedule),
            schedule.name,
        )

    @admin.display(description=gettext_lazy("job"))
    def of_job(self, schedule: Any) -> SafeString:
        return job_link(schedule.job, is_seen=schedule.shows_job)

    @admin.display(description=gettext_lazy("status"))
    def state(self, schedule: Schedule) -> SafeString:
        return words.badge(schedule.status, schedule.get_status_display(), title=schedule.problem)

    @admin.display(description=gettext_lazy("next run"), ordering="next_run_at")
    def next(self, schedule: Any) -> SafeString | str:
        instants = words.upcoming(schedule, now=schedule.shown_at, count=1)
        return words.moment(instants[0], now=schedule.shown_at) if instants else words.MISSING

    @admin.display(description=gettext_lazy("last run"))
    def last(self, schedule: Any) -> SafeString | str:
        return words.moment(schedule.last_run_at, now=schedule.shown_at)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        schedule = kwargs.get("obj")
        if schedule is not None:
            now = database_now()
            context |= {
                "buttons": self.shown_buttons(request, schedule),
                "rule": words.rule(schedule),
                "state": self.state(schedule),
                "job_link": self.of_job(schedule),
                "instants": [
                    {
                        "utc": words.clock(instant).removesuffix(".000"),
                        "local": words.in_zone(instant, schedule.timezone),
                        "distance": words.distance(instant - now),
                    }
                    for instant in words.upcoming(schedule, now=now, count=_PREVIEW)
                ],
                "tasks_url": tasks_url(schedule.job_id),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Name the schedules alone: their tasks stay."""
        may_all = all(self.has_delete_permission(request, schedule) for schedule in objs)
        lacking = set() if may_all else {str(self.opts.verbose_name)}
        return [str(schedule) for schedule in objs], {}, lacking, []

    def delete_model(self, request: HttpRequest, obj: Schedule) -> None:
        archive_schedule(
            schedule_id=obj.pk,
            now=database_now(),
            by=actor_of(request),
            permit=permit(request, "scheduling.delete_schedule"),
        )

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> None:
        for schedule in queryset:
            self.delete_model(request, schedule)
