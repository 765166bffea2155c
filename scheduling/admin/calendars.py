"""Calendars: days off, allowed times and blackouts, with a picture of the year and who uses them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from access.callers import actor_of
from scheduling.admin import words, year
from scheduling.admin.calendar_form import (
    SERVICE_FIELDS,
    CalendarForm,
    DaysField,
    WindowsField,
    subdivisions_of,
)
from scheduling.admin.filters import NamespaceFilter
from scheduling.admin.namespaces import SuggestsNamespaces
from scheduling.admin.pages import ServiceAdmin
from scheduling.admin.permissions import may, may_in, seen_by
from scheduling.admin.searching import CALENDAR_PARTS, FindsParts
from scheduling.clock import database_now
from scheduling.errors import InUse, InvalidField
from scheduling.models import Calendar, Schedule
from scheduling.services.calendars import (
    check_calendar,
    create_calendar,
    delete_calendar,
    read_rules,
    update_calendar,
)

_LISTED_SCHEDULES = 50
_LISTED_WINDOWS = 3


@admin.register(Calendar)
class CalendarAdmin(FindsParts, SuggestsNamespaces, ServiceAdmin):
    namespace_path = "namespace"
    namespace_permission = "scheduling.add_calendar"
    form = CalendarForm
    model_fields = SERVICE_FIELDS
    change_form_outer_before_template = "admin/scheduling/calendar/summary.html"
    change_form_outer_after_template = "admin/scheduling/calendar/year_panel.html"
    delete_confirmation_template = "admin/scheduling/calendar/delete.html"
    list_display = ("calendar", "of_country", "days_off", "allowed", "blackout_count", "used_by")
    list_display_links = ("calendar",)
    list_filter = (NamespaceFilter,)
    parts = search_fields = CALENDAR_PARTS
    search_help_text = gettext_lazy("Name, namespace or description")
    ordering = ("namespace", "name", "pk")
    sortable_by = ("calendar",)
    fieldsets = (
        (None, {"fields": ("name", "namespace", "description")}),
        (gettext_lazy("Days off"), {"fields": ("country", "subdivision", "dates", "ics_file", "ics")}),
        (gettext_lazy("Times of the day"), {"fields": ("windows",)}),
        (gettext_lazy("Blackouts"), {"fields": ("blackouts",)}),
    )

    class Media:
        js = ("hetuflow/regions.js", "hetuflow/live.js")

    def all_rows(self, request: HttpRequest) -> QuerySet[Any]:
        using = Schedule.objects.present().filter(calendar=OuterRef("pk")).order_by()
        counted = using.values("calendar").annotate(number=Count("pk")).values("number")
        return Calendar.objects.annotate(use_count=Coalesce(Subquery(counted), 0))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("namespace",) if obj is not None else ()

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show lists as their lines also to those who may only look."""
        if self._may_save(request, obj):
            return super().get_fieldsets(request, obj)
        shown = ("name", "namespace", "description", "of_country", "dates_lines", "windows_lines")
        return ((None, {"fields": (*shown, "blackouts_lines")}),)

    @admin.display(description=gettext_lazy("days off"))
    def dates_lines(self, calendar: Calendar) -> SafeString | str:
        return _lines(DaysField().write([*calendar.dates, *calendar.ics_dates]))

    @admin.display(description=gettext_lazy("allowed times"))
    def windows_lines(self, calendar: Calendar) -> SafeString | str:
        return _lines(WindowsField().write(calendar.windows))

    @admin.display(description=gettext_lazy("blackouts"))
    def blackouts_lines(self, calendar: Calendar) -> SafeString | str:
        return _lines("\n".join(_blackout_words(each) for each in calendar.blackouts))

    def save_by_service(self, request: HttpRequest, obj: Calendar, form: Any, *, change: bool) -> Calendar:
        fields = form.service_fields(change=change)
        if change:
            return update_calendar(calendar_id=obj.pk, by=actor_of(request), **fields) if fields else obj
        if not may_in(request, self.namespace_permission, fields["namespace"]):
            raise InvalidField({"namespace": _("Your role in this namespace does not allow it.")})
        return create_calendar(by=actor_of(request), **fields)

    # --- list -----------------------------------------------------------------------------------------

    @admin.display(description=gettext_lazy("calendar"), ordering="name")
    def calendar(self, calendar: Calendar) -> SafeString:
        return format_html(
            '<span class="hf-name">{}</span><span class="hf-sub">{}</span>', calendar.name, calendar.namespace
        )

    @admin.display(description=gettext_lazy("holidays of"))
    def of_country(self, calendar: Calendar) -> str:
        return "-".join(part for part in (calendar.country, calendar.subdivision) if part) or words.MISSING

    @admin.display(description=gettext_lazy("days off"))
    def days_off(self, calendar: Calendar) -> str:
        return str(len(calendar.dates) + len(calendar.ics_dates) or words.MISSING)

    @admin.display(description=gettext_lazy("allowed times"))
    def allowed(self, calendar: Calendar) -> str:
        return WindowsField().write(calendar.windows[:_LISTED_WINDOWS]) or _("always")

    @admin.display(description=gettext_lazy("blackouts"))
    def blackout_count(self, calendar: Calendar) -> str:
        return str(len(calendar.blackouts) or words.MISSING)

    @admin.display(description=gettext_lazy("used by schedules"))
    def used_by(self, calendar: Any) -> str:
        return str(calendar.use_count or words.MISSING)

    # --- the page of one calendar ---------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.year_view))
        return [
            path("year/", view, name="scheduling_calendar_year"),
            path("<int:object_id>/year/", view, name="scheduling_calendar_year_change"),
            *super().get_urls(),
        ]

    def year_view(self, request: HttpRequest, object_id: int | None = None) -> HttpResponse:
        """Answer a form that is being filled in with the picture of its year; stores nothing."""
        stored = self.filled_in_for(request, object_id)
        if isinstance(stored, HttpResponse):
            return stored
        form_class = self.get_form(request, stored, change=stored is not None)
        form = form_class(request.POST, request.FILES, instance=stored or Calendar())
        form.full_clean()
        calendar = form.instance
        calendar.ics = form.cleaned_data.get("ics", calendar.ics)
        errors = {name: str(found[0]) for name, found in form.errors.items() if name != "name"}
        try:
            check_calendar(calendar)
        except InvalidField as error:
            errors = error.errors | errors
        context: dict[str, Any] = {
            "live_url": request.path,
            "subdivisions": subdivisions_of(calendar.country),
        }
        if errors:
            context["problems"] = [
                {"field": name, "label": form.fields[name].label if name in form.fields else "", "text": text}
                for name, text in errors.items()
            ]
        else:
            context |= _year_context(request, calendar)
        return TemplateResponse(request, "admin/scheduling/calendar/year.html", context)

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        calendar = kwargs.get("obj")
        context |= _year_context(request, calendar or Calendar())
        if self._may_save(request, calendar):
            context["live_url"] = (
                reverse("admin:scheduling_calendar_year")
                if calendar is None
                else reverse("admin:scheduling_calendar_year_change", args=[calendar.pk])
            )
        if calendar is not None:
            context |= {"users": self._users(request, calendar), "use_count": calendar.use_count}
            context["subdivisions"] = subdivisions_of(calendar.country)
        return super().render_change_form(request, context, *args, **kwargs)

    def _users(self, request: HttpRequest, calendar: Calendar) -> list[dict[str, Any]]:
        if not may(request, "scheduling.view_schedule", calendar):
            return []
        schedules = seen_by(request, Schedule.objects.present().filter(calendar=calendar))
        return [
            {
                "schedule": schedule,
                "rule": words.rule(schedule),
                "state": words.badge(schedule.status, schedule.get_status_display()),
                "policy": schedule.get_calendar_policy_display(),
            }
            for schedule in schedules.select_related("job").order_by("pk")[:_LISTED_SCHEDULES]
        ]

    # --- deleting -------------------------------------------------------------------------------------

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """Name the calendars alone; those in use are refused by the service."""
        may_all = all(self.has_delete_permission(request, calendar) for calendar in objs)
        return [str(each) for each in objs], {}, set() if may_all else {str(self.opts.verbose_name)}, []

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> Any:
        calendar = self.get_object(request, object_id)
        context = dict(extra_context or {})
        if calendar is not None:
            context |= {"users": self._users(request, calendar), "use_count": calendar.use_count}
        try:
            return super().delete_view(request, object_id, context)
        except InUse:
            text = _("“%(calendar)s” is in use and stays; give its schedules another calendar first.")
            self.message_user(request, text % {"calendar": calendar}, messages.ERROR)
            return super().response_post_save_change(request, calendar)

    def delete_model(self, request: HttpRequest, obj: Calendar) -> None:
        delete_calendar(calendar_id=obj.pk, by=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Calendar]) -> None:
        for calendar in queryset:
            try:
                delete_calendar(calendar_id=calendar.pk, by=actor_of(request))
            except InUse:
                text = _("“%(calendar)s” is in use and stays; give its schedules another calendar first.")
                self.message_user(request, text % {"calendar": calendar}, messages.ERROR)


def _lines(text: str) -> SafeString | str:
    return format_html('<pre class="hf-json">{}</pre>', text) if text else words.MISSING


def _blackout_words(blackout: Mapping[str, str]) -> str:
    begin, end = (words.told_with_utc(datetime.fromisoformat(blackout[name])) for name in ("from", "to"))
    return f"{begin} – {end}: {blackout.get('reason', '')}".removesuffix(": ")


def _year_context(request: HttpRequest, calendar: Calendar) -> dict[str, Any]:
    """Return the picture of the year that the address asks for, by default of this one."""
    today = database_now().date()
    asked = request.GET.get("year", "")
    shown = int(asked) if asked.isascii() and asked.isdigit() and len(asked) == 4 else today.year
    shown = min(max(shown, year.FIRST_YEAR), year.LAST_YEAR)
    return {
        "year": shown,
        "today": today,
        "before": shown - 1,
        "after": shown + 1,
        "months": year.months_of(read_rules(calendar), shown),
        "weekdays": year.weekday_names(),
        "legend": year.LEGEND,
    }
