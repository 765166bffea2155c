"""What is to come, as a page: the frame at once, the picture when it is computed."""

from typing import TYPE_CHECKING, Any, Final

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from access.backends import authority_of_user
from scheduling.admin.forecast_picture import described
from scheduling.admin.namespaces import namespaces_of
from scheduling.admin.permissions import may, may_in
from scheduling.admin.tasks import job_link
from scheduling.clock import database_now
from scheduling.services.forecast import Forecast, names_of, recent_forecast

if TYPE_CHECKING:
    from scheduling.admin.pages import ServiceAdmin as _Base
else:
    _Base = object

_PERMISSION: Final = "scheduling.view_schedule"
_CHOICES: Final = {
    6: gettext_lazy("6 hours"),
    12: gettext_lazy("12 hours"),
    24: gettext_lazy("24 hours"),
    48: gettext_lazy("48 hours"),
    168: gettext_lazy("7 days"),
}
_DEFAULT: Final = 24


class ShowsForecast(_Base):
    """Schedules with a page that tells what all of them will run, and how busy the agents will be."""

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view
        picture = view(require_safe(self.picture_view))
        return [
            path("forecast/", view(require_safe(self.forecast_view)), name="scheduling_schedule_forecast"),
            path("forecast/picture/", picture, name="scheduling_schedule_forecast_picture"),
            *super().get_urls(),
        ]

    def forecast_view(self, request: HttpRequest) -> HttpResponse:
        """Show what one may choose; the page asks for the picture by itself."""
        hours, namespace = _asked(request)
        url = reverse("admin:scheduling_schedule_forecast")
        names = namespaces_of(request, _PERMISSION)
        chosen: dict[str, int | str] = {"hours": hours, "namespace": namespace}
        context = {
            **self.admin_site.each_context(request),
            "title": _("Forecast"),
            "content_title": _("Forecast"),
            "hours": hours,
            "choices": [
                {
                    "label": label,
                    "url": f"{url}?{urlencode(chosen | {'hours': each})}",
                    "is_chosen": each == hours,
                }
                for each, label in _CHOICES.items()
            ],
            "namespace": namespace,
            "namespaces": sorted({*names, namespace} - {""}),
            "picture_url": f"{reverse('admin:scheduling_schedule_forecast_picture')}?{urlencode(chosen)}",
        }
        return TemplateResponse(request, "admin/scheduling/forecast/page.html", context)

    def picture_view(self, request: HttpRequest) -> HttpResponse:
        """Answer with the picture, which may take seconds to compute."""
        hours, namespace = _asked(request)
        seen = authority_of_user(request.user).namespaces(_PERMISSION)
        wanted = frozenset({namespace}) if namespace else seen
        found = recent_forecast(now=database_now(), hours=hours, namespaces=wanted)
        context = described(
            found, links=_job_links(request, found), timeline_url=_timeline_url(request, namespace)
        ) | _addresses(request)
        return TemplateResponse(request, "admin/scheduling/forecast/picture.html", context)


def _asked(request: HttpRequest) -> tuple[int, str]:
    """Return the hours and the namespace that were asked for, of those there are and the user sees.

    Raises PermissionDenied for those who see no schedules.
    """
    if not may(request, _PERMISSION):
        raise PermissionDenied
    given: QueryDict = request.GET
    asked = given.get("hours", "")
    hours = int(asked) if asked in map(str, _CHOICES) else _DEFAULT
    namespace = given.get("namespace", "")
    is_name = 0 < len(namespace) <= 255 and "\x00" not in namespace
    return hours, namespace if is_name and may_in(request, _PERMISSION, namespace) else ""


def _job_links(request: HttpRequest, found: Forecast) -> dict[int, Any]:
    """Return a link to each job, of one that the user does not see its number."""
    return {
        job_id: job_link(job, is_seen=may_in(request, "scheduling.view_job", job.namespace))
        for job_id, job in names_of(found.jobs).items()
    }


def _timeline_url(request: HttpRequest, namespace: str) -> str:
    """Return the address of the timeline over jobs, empty where the user may not see it."""
    if not may(request, "scheduling.view_taskinstance"):
        return ""
    url = reverse("admin:scheduling_taskinstance_timeline")
    return f"{url}?{urlencode({'by': 'job', 'namespace': namespace})}"


def _addresses(request: HttpRequest) -> dict[str, str]:
    """Return where one goes from the totals, as far as the user may."""
    lists = {"calendars": "scheduling_calendar", "jobs": "scheduling_job", "agents": "agents_agent"}
    return {
        f"{name}_url": reverse(f"admin:{page}_changelist")
        if may(request, page.replace("_", ".view_", 1))
        else ""
        for name, page in lists.items()
    }
