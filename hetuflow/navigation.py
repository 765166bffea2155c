"""How the admin looks and what its sidebar lists: unfold's settings."""

from collections.abc import Callable
from typing import Any, Final

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

_TIMELINE: Final = "scheduling_taskinstance_timeline"


def _may_view(model: str) -> Callable[[HttpRequest], bool]:
    """Return a check whether the user may see the list of `model`, given as app.model."""
    app, name = model.split(".")
    return lambda request: request.user.has_perm(f"{app}.view_{name}")


def _is_at(model: str, *, but_for: str) -> Callable[[HttpRequest], bool]:
    """Return a check whether the page is one of `model`, but for one below that has an entry of its own."""
    pages, below = (
        reverse_lazy(f"admin:{name}") for name in (f"{model.replace('.', '_')}_changelist", but_for)
    )
    return lambda request: request.path.startswith(str(pages)) and request.path != str(below)


def _entry(title: Any, icon: str, model: str, *, is_for_all: bool = False, badge: str = "") -> dict[str, Any]:
    link = reverse_lazy(f"admin:{model.replace('.', '_')}_changelist")
    entry = {"title": title, "icon": icon, "link": link, "badge": badge}
    return entry if is_for_all else {**entry, "permission": _may_view(model)}


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Hetuflow",
    "SITE_HEADER": "Hetuflow",
    "SITE_SUBHEADER": _("Job scheduler"),
    "SITE_SYMBOL": "schedule",
    "SITE_URL": None,
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "sizes": "any",
            "type": "image/svg+xml",
            "href": lambda request: static("hetuflow/icon.svg"),
        }
    ],
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": False,
    "DASHBOARD_CALLBACK": "scheduling.admin.dashboard.dashboard",
    "STYLES": [
        lambda request: static("hetuflow/admin.css"),
        lambda request: static("hetuflow/find.css"),
        lambda request: static("hetuflow/reach.css"),
    ],
    "SCRIPTS": [
        lambda request: static("hetuflow/alpine.js"),
        lambda request: static("hetuflow/admin.js"),
        lambda request: static("hetuflow/find.js"),
        lambda request: static("hetuflow/reach.js"),
        lambda request: static("hetuflow/zone.js"),
        lambda request: static("hetuflow/renew.js"),
    ],
    "COLORS": {
        "primary": {
            "50": "oklch(97.0% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .214 259.815)",
            "600": "oklch(54.6% .245 262.881)",
            "700": "oklch(48.8% .243 264.376)",
            "800": "oklch(42.4% .199 265.638)",
            "900": "oklch(37.9% .146 265.522)",
            "950": "oklch(28.2% .091 267.935)",
        },
    },
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "items": [
                    {
                        "title": _("Overview"),
                        "icon": "dashboard",
                        "link": reverse_lazy("admin:index"),
                    }
                ]
            },
            {
                "title": _("Work"),
                "separator": True,
                "items": [
                    _entry(_("Jobs"), "deployed_code", "scheduling.job"),
                    _entry(_("Schedules"), "event_repeat", "scheduling.schedule")
                    | {"active": _is_at("scheduling.schedule", but_for="scheduling_schedule_forecast")},
                    _entry(_("Tasks"), "checklist", "scheduling.task"),
                    _entry(_("Task instances"), "terminal", "scheduling.taskinstance")
                    | {"active": _is_at("scheduling.taskinstance", but_for=_TIMELINE)},
                    {
                        "title": _("Timeline"),
                        "icon": "view_timeline",
                        "link": reverse_lazy(f"admin:{_TIMELINE}"),
                        "permission": _may_view("scheduling.taskinstance"),
                    },
                    _entry(_("Backfills"), "history", "scheduling.backfill"),
                    _entry(_("Bulk actions"), "checklist_rtl", "scheduling.bulkaction", is_for_all=True),
                    _entry(
                        _("Alerts"),
                        "notifications",
                        "scheduling.alert",
                        badge="scheduling.admin.alerts.open_alerts",
                    ),
                ],
            },
            {
                "title": _("Time"),
                "separator": True,
                "items": [
                    {
                        "title": _("Forecast"),
                        "icon": "insights",
                        "link": reverse_lazy("admin:scheduling_schedule_forecast"),
                        "permission": _may_view("scheduling.schedule"),
                    },
                    _entry(_("Calendars"), "calendar_month", "scheduling.calendar"),
                    _entry(_("Freezes"), "ac_unit", "scheduling.freeze"),
                    _entry(_("Retention rules"), "auto_delete", "scheduling.retentionrule"),
                ],
            },
            {
                "title": _("Machines"),
                "separator": True,
                "items": [
                    _entry(_("Agents"), "memory", "agents.agent"),
                    _entry(_("Servers"), "dns", "gateway.server"),
                ],
            },
            {
                "title": _("Access"),
                "separator": True,
                "items": [
                    _entry(_("Users"), "person", "auth.user"),
                    _entry(_("Groups"), "group", "auth.group"),
                    _entry(_("API tokens"), "key", "access.apitoken", is_for_all=True),
                    _entry(_("Audit log"), "history", "access.auditentry"),
                    {
                        "title": _("API documentation"),
                        "icon": "api",
                        "link": reverse_lazy("docs"),
                    },
                ],
            },
        ],
    },
}
