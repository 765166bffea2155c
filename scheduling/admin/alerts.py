"""Alerts: what went wrong while nobody watched, until somebody says that they have seen it."""

from datetime import timedelta
from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from unfold.contrib.filters.admin import ChoicesDropdownFilter, DropdownFilter

from access.callers import actor_of
from scheduling.admin import words
from scheduling.admin.bulk import BulkActions
from scheduling.admin.filters import NamespaceFilter
from scheduling.admin.pages import Button, ReadOnlyAdmin
from scheduling.admin.permissions import is_seen, may, seen_by
from scheduling.admin.reasons import reason_words
from scheduling.admin.searching import jobs_asked, jobs_named, read_search, some_ids
from scheduling.admin.tasks import job_link
from scheduling.clock import database_now
from scheduling.kinds import AlertKind, BulkVerb
from scheduling.models import Alert, Job, Schedule
from scheduling.services.alerts import acknowledge

# Beyond so many the badge says "more than".
_BADGE_LIMIT: Final = 99
# What an alert tells of lies before it, at most as far as outages are usually made good.
_LOOK_BACK: Final = timedelta(days=7)


class StateFilter(DropdownFilter):  # type: ignore[misc]
    """Open alerts, unless others are asked for."""

    title = gettext_lazy("status")
    parameter_name = "state"
    all_option = ["", gettext_lazy("open")]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [
            ("acknowledged", gettext_lazy("acknowledged")),
            ("all", gettext_lazy("open and acknowledged")),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Alert]) -> QuerySet[Alert]:
        if self.value() == "all":
            return queryset
        return queryset.filter(acknowledged_at__isnull=self.value() != "acknowledged")


def _acknowledge(alert_admin: Any, request: HttpRequest, alert: Alert) -> str:
    acknowledge(alert_id=alert.pk, now=database_now(), by=actor_of(request))
    return _("The alert is acknowledged.")


@admin.register(Alert)
class AlertAdmin(BulkActions, ReadOnlyAdmin):
    namespace_path = "namespace"
    page_template = "admin/scheduling/alert/page.html"
    list_display = ("what", "of_job", "of_schedule", "when", "state")
    list_display_links = ("what",)
    list_filter = (StateFilter, ("kind", ChoicesDropdownFilter), NamespaceFilter)
    search_fields = ("job__name",)
    search_help_text = gettext_lazy("Job, tag:nightly, zone=eu or label:zone")
    ordering = ("-pk",)
    sortable_by = ("when",)
    bulk_verbs = (BulkVerb.ACKNOWLEDGE_ALERTS,)
    buttons = (
        Button(
            name="acknowledge",
            label=gettext_lazy("Acknowledge"),
            icon="done_all",
            press=_acknowledge,
            permission="scheduling.change_alert",
            is_shown=lambda alert: alert.acknowledged_at is None,
            style="hf-primary",
        ),
    )

    def all_rows(self, request: HttpRequest) -> QuerySet[Any]:
        return Alert.objects.select_related("job", "schedule__job").annotate(
            shown_at=Now(),
            shows_job=is_seen(request, Job, "job"),
            shows_schedule=is_seen(request, Schedule, "schedule"),
        )

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Alert], search_term: str
    ) -> tuple[QuerySet[Alert], bool]:
        """Find by name, tags and required labels of the job."""
        asked = read_search(search_term)
        if asked.has_labels or asked.tags:
            queryset = queryset.filter(job_id__in=some_ids(request, jobs_asked(asked)))
        if asked.words:
            queryset = queryset.filter(job_id__in=some_ids(request, jobs_named(asked.words)))
        return queryset, False

    @admin.display(description=gettext_lazy("alert"))
    def what(self, alert: Alert) -> SafeString:
        return format_html(
            '<span class="hf-name">{}</span><span class="hf-sub">{}</span>',
            alert_words(alert),
            alert.namespace,
        )

    @admin.display(description=gettext_lazy("job"))
    def of_job(self, alert: Any) -> SafeString | str:
        return words.MISSING if alert.job is None else job_link(alert.job, is_seen=alert.shows_job)

    @admin.display(description=gettext_lazy("schedule"))
    def of_schedule(self, alert: Any) -> SafeString | str:
        if not _has_schedule_page(alert):
            return _schedule_link(alert)
        return format_html(
            '{}<span class="hf-sub"><a href="{}">{}</a></span>',
            _schedule_link(alert),
            _ledger_url(alert),
            _("ledger"),
        )

    @admin.display(description=gettext_lazy("time"), ordering="pk")
    def when(self, alert: Any) -> SafeString:
        return words.exact_moment(alert.at, now=alert.shown_at)

    @admin.display(description=gettext_lazy("status"))
    def state(self, alert: Alert) -> SafeString:
        if alert.acknowledged_at is None:
            return words.badge("open", _("open"))
        who = _("by %(who)s") % {"who": alert.acknowledged_by or "?"}
        return words.badge("acknowledged", _("acknowledged"), title=who)

    def page_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        now = database_now()
        has_ledger = _has_schedule_page(obj) and may(request, "scheduling.view_task", obj)
        return {
            "title": alert_words(obj),
            "state": self.state(obj),
            "job": self.of_job(obj),
            "schedule": _schedule_link(obj),
            "at": words.exact_moment(obj.at, now=now),
            "details": reason_words(obj.text),
            "acknowledged": words.MISSING
            if obj.acknowledged_at is None
            else words.exact_moment(obj.acknowledged_at, now=now),
            "ledger_url": _ledger_url(obj) if has_ledger else "",
        }


def alert_words(alert: Alert) -> str:
    """Return what an alert says."""
    if alert.kind == AlertKind.MISSED:
        text = ngettext("%(n)d planned run was missed", "%(n)d planned runs were missed", alert.instants)
        return text % {"n": alert.instants}
    return str(alert.get_kind_display())


def open_alerts(request: HttpRequest) -> str:
    """Return how many open alerts the user sees, empty for none; counted once a request."""
    known: str | None = getattr(request, "_open_alerts", None)
    if known is None:
        known = request._open_alerts = _count_open(request)  # type: ignore[attr-defined]
    return known


def _count_open(request: HttpRequest) -> str:
    if not may(request, "scheduling.view_alert"):
        return ""
    rows = seen_by(request, Alert.objects.filter(acknowledged_at__isnull=True)).order_by()
    count = rows.values("pk")[: _BADGE_LIMIT + 1].count()
    return f"{_BADGE_LIMIT}+" if count > _BADGE_LIMIT else str(count or "")


def _has_schedule_page(alert: Any) -> bool:
    """Whether the alert's schedule is there, and the user sees it."""
    return alert.schedule is not None and alert.shows_schedule and alert.schedule.archived_at is None


def _schedule_link(alert: Any) -> SafeString | str:
    if not _has_schedule_page(alert):
        return words.MISSING if alert.schedule_id is None else f"#{alert.schedule_id}"
    url = reverse("admin:scheduling_schedule_change", args=[alert.schedule_id])
    return format_html('<a href="{}">{}</a>', url, words.rule(alert.schedule))


def _ledger_url(alert: Alert) -> str:
    span = {"from": _minute(alert.at - _LOOK_BACK), "to": _minute(alert.at + timedelta(hours=1))}
    return f"{reverse('admin:scheduling_schedule_ledger', args=[alert.schedule_id])}?{urlencode(span)}"


def _minute(instant: Any) -> str:
    return f"{instant:%Y-%m-%dT%H:%MZ}"
