"""Schedules: when a job runs, with the next instants written out."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter
from unfold.widgets import UnfoldAdminSelect2Widget

from access.callers import actor_of
from scheduling.admin import words
from scheduling.admin.backfill_form import BackfillsSchedules
from scheduling.admin.bulk import BulkActions
from scheduling.admin.changes import ShowsChanges
from scheduling.admin.fields import fields_to_read
from scheduling.admin.filters import JobNamespaceFilter
from scheduling.admin.forecast import ShowsForecast
from scheduling.admin.freezes import ShowsFreezes, freeze_banners
from scheduling.admin.ledger import ShowsLedger
from scheduling.admin.pages import Button, ServiceAdmin
from scheduling.admin.permissions import SeenAutocompleteFilter, is_seen, may, permit
from scheduling.admin.reasons import reason_words
from scheduling.admin.schedule_form import JobToScheduleWidget, ScheduleForm
from scheduling.admin.schedule_preview import PreviewsSchedules, preview_of
from scheduling.admin.searching import begins_with, jobs_asked, jobs_named, read_search, some_ids
from scheduling.admin.tasks import job_link, tasks_url
from scheduling.clock import database_now
from scheduling.errors import InvalidField
from scheduling.judging import RUNNING
from scheduling.kinds import BulkVerb, ScheduleKind, ScheduleStatus
from scheduling.models import Job, Schedule, Task
from scheduling.services.definitions import archive_schedule, create_schedule, update_schedule
from scheduling.services.restoring import restore_schedule


class TroubleFilter(DropdownFilter):  # type: ignore[misc]
    """Schedules that stopped by themselves, or that cannot be planned."""

    title = gettext_lazy("problem")
    parameter_name = "trouble"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("paused", gettext_lazy("paused after failures")),
            ("unplanned", gettext_lazy("cannot be planned")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Schedule]) -> QuerySet[Schedule]:
        if self.value() not in ("paused", "unplanned"):
            return queryset
        status = ScheduleStatus.DISABLED if self.value() == "paused" else ScheduleStatus.ENABLED
        return queryset.filter(~Q(problem=""), status=status)


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
class ScheduleAdmin(
    BackfillsSchedules,
    ShowsChanges,
    ShowsForecast,
    ShowsFreezes,
    ShowsLedger,
    PreviewsSchedules,
    BulkActions,
    ServiceAdmin,
):
    namespace_path = "job__namespace"
    change_permission = "scheduling.change_schedule"
    form = ScheduleForm
    change_form_outer_before_template = "admin/scheduling/schedule/summary.html"
    change_form_outer_after_template = "admin/scheduling/schedule/upcoming.html"
    delete_confirmation_template = "admin/scheduling/schedule/archive.html"
    list_display = ("when", "of_job", "state", "next", "last", "run_count", "ledger")
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("kind", ChoicesDropdownFilter),
        ("job", SeenAutocompleteFilter),
        ("calendar", SeenAutocompleteFilter),
        JobNamespaceFilter,
        TroubleFilter,
    )
    list_select_related = ("job", "calendar")
    bulk_verbs = (BulkVerb.ENABLE_SCHEDULES, BulkVerb.DISABLE_SCHEDULES, BulkVerb.ARCHIVE_SCHEDULES)
    search_fields = ("name", "job__name")
    search_help_text = gettext_lazy("Job, beginning of the name, tag:nightly, zone=eu or label:zone")
    autocomplete_fields = ("job",)
    ordering = ("next_run_at", "pk")
    sortable_by = ("next",)
    conditional_fields: ClassVar = {
        "cron_expression": "kind == 'cron'",
        "dst_gap": "kind == 'cron'",
        "dst_overlap": "kind == 'cron'",
        "interval_secs": "kind == 'interval'",
        "interval_mode": "kind == 'interval'",
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
            {
                "fields": (
                    "kind",
                    "cron_expression",
                    "interval_secs",
                    "interval_mode",
                    "timezone",
                    "dst_gap",
                    "dst_overlap",
                )
            },
        ),
        (gettext_lazy("Calendar"), {"fields": ("calendar", "calendar_policy")}),
        (gettext_lazy("Bounds"), {"fields": ("start_time", "end_time", "max_count", "jitter_secs")}),
        (gettext_lazy("What the command is told"), {"fields": ("parameters",)}),
        (gettext_lazy("When something goes wrong"), {"fields": ("catch_up_secs", "pause_after_failures")}),
    )

    looked_at = (
        *("job", "name", "description", "shown_rule", "timezone", "shown_clocks"),
        *("calendar", "calendar_policy"),
        *("start_time", "end_time", "max_count", "jitter_secs", "parameters"),
        *("catch_up_secs", "pause_after_failures"),
    )

    class Media:
        js = ("hetuflow/live.js",)

    def all_rows(self, request: HttpRequest) -> QuerySet[Any]:
        shows_job = is_seen(request, Job, "job")
        schedules = Schedule.objects.present().select_related("job", "calendar")
        # What is planned ahead has not run yet.
        ran = Task.objects.filter(schedule=OuterRef("pk"), outcome__in=RUNNING, scheduled_at__lte=Now())
        last = Subquery(ran.order_by("-scheduled_at").values("scheduled_at")[:1])
        return schedules.annotate(shown_at=Now(), shows_job=shows_job, last_instant=last)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Schedule], search_term: str
    ) -> tuple[QuerySet[Schedule], bool]:
        """Find by name, tags and required labels of the job, or by the beginning of the own name."""
        asked = read_search(search_term)
        if asked.has_labels or asked.tags:
            queryset = queryset.filter(job_id__in=some_ids(request, jobs_asked(asked)))
        if not asked.words:
            return queryset, False
        named = some_ids(request, Schedule.objects.present().filter(begins_with(asked.text)))
        found = Q(job_id__in=some_ids(request, jobs_named(asked.words))) | Q(pk__in=named)
        return queryset.filter(found), False

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "job":
            kwargs["widget"] = JobToScheduleWidget(db_field, self.admin_site)
        if db_field.name == "calendar":
            kwargs |= {"widget": UnfoldAdminSelect2Widget(), "empty_label": _("no calendar")}
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("job",) if obj is not None else ()

    def save_by_service(self, request: HttpRequest, obj: Schedule, form: Any, *, change: bool) -> Schedule:
        fields = form.service_fields(change=change)
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

    def restore_by_service(self, object_id: int, **how: Any) -> Schedule:
        """Make a schedule again what it was."""
        return restore_schedule(schedule_id=object_id, **how)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show those who may only look what holds, not what a form could ask."""
        if self._may_save(request, obj):
            return super().get_fieldsets(request, obj)
        return ((None, {"fields": fields_to_read(Schedule, self.looked_at)}),)

    @admin.display(description=gettext_lazy("When"))
    def shown_rule(self, schedule: Schedule) -> SafeString | str:
        if not schedule.cron_expression:
            return words.rule(schedule)
        return format_html('<pre class="hf-json">{}</pre>', schedule.cron_expression)

    @admin.display(description=gettext_lazy("When the clocks change"))
    def shown_clocks(self, schedule: Schedule) -> str:
        if schedule.kind != ScheduleKind.CRON:
            return words.MISSING
        chosen = (schedule.get_dst_gap_display(), schedule.get_dst_overlap_display())
        return "; ".join(str(choice) for choice in chosen if choice) or _("as cron does it")

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
        return words.badge(
            schedule.status, schedule.get_status_display(), title=reason_words(schedule.problem)
        )

    @admin.display(description=gettext_lazy("next run"), ordering="next_run_at")
    def next(self, schedule: Any) -> SafeString | str:
        now = schedule.shown_at
        return words.moment(words.next_run_of(schedule, now=now), now=now)

    @admin.display(description=gettext_lazy("last run"))
    def last(self, schedule: Any) -> SafeString | str:
        return words.moment(schedule.last_instant, now=schedule.shown_at)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        schedule = kwargs.get("obj")
        may_save = self._may_save(request, schedule)
        context["live_url"] = _preview_url(schedule) if may_save else ""
        if schedule is not None:
            context |= {
                "buttons": self.shown_buttons(request, schedule),
                "freezes": freeze_banners(request, namespace=schedule.job.namespace),
                "state": self.state(schedule),
                "problem": reason_words(schedule.problem),
                "job_link": self.of_job(schedule),
                "tasks_url": tasks_url(schedule.job_id),
                "ledger_url": self._ledger_url(request, schedule),
                **self._stored_preview(schedule),
            }
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description=gettext_lazy("ledger"))
    def ledger(self, schedule: Schedule) -> SafeString:
        return format_html(
            '<a href="{}">{}</a>',
            reverse("admin:scheduling_schedule_ledger", args=[schedule.pk]),
            _("ledger"),
        )

    def get_list_display(self, request: HttpRequest) -> Any:
        """Leave out the ledger for those who see no tasks."""
        shows_ledger = may(request, "scheduling.view_task")
        return [name for name in super().get_list_display(request) if name != "ledger" or shows_ledger]

    def _ledger_url(self, request: HttpRequest, schedule: Schedule) -> str:
        if not may(request, "scheduling.view_task", schedule):
            return ""
        return reverse("admin:scheduling_schedule_ledger", args=[schedule.pk])

    def _stored_preview(self, schedule: Schedule) -> dict[str, Any]:
        if schedule.status == ScheduleStatus.EXPIRED or schedule.problem:
            return {"rule": words.rule(schedule), "zone": schedule.timezone, "instants": []}
        return preview_of(schedule, now=database_now())

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


def _preview_url(schedule: Schedule | None) -> str:
    if schedule is None:
        return reverse("admin:scheduling_schedule_preview")
    return reverse("admin:scheduling_schedule_preview_change", args=[schedule.pk])
