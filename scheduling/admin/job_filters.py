"""Filters of the list of jobs: how the last run ended, and whether anything plans one."""

from typing import Any, Final

from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import DropdownFilter

from scheduling.models import Job, Schedule

# Failures are looked at from the newest on, so many.
_FAILURES: Final = 10_000
# The jobs that failed lately and were not completed since.
_FAILED_LAST: Final = """
SELECT failed.job_id FROM (
    SELECT job_id, max(id) AS id FROM (
        SELECT job_id, id FROM scheduling_task WHERE status = 'failed' ORDER BY id DESC LIMIT %(failures)s
    ) AS newest GROUP BY job_id
) AS failed
WHERE NOT EXISTS (
    SELECT FROM scheduling_task t
    WHERE t.job_id = failed.job_id AND t.id > failed.id AND t.status = 'completed'
)
"""


class LastRunFilter(DropdownFilter):  # type: ignore[misc]
    """Jobs whose last run that ended failed, as far as the newest failures tell."""

    title = gettext_lazy("last run")
    parameter_name = "last"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("failed", gettext_lazy("failed"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        if not self.value():
            return queryset
        with connection.cursor() as cursor:
            cursor.execute(_FAILED_LAST, {"failures": _FAILURES})
            return queryset.filter(pk__in=[job_id for (job_id,) in cursor.fetchall()])


class PlansFilter(DropdownFilter):  # type: ignore[misc]
    """Jobs that no schedule runs."""

    title = gettext_lazy("schedules")
    parameter_name = "schedules"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        return [("none", gettext_lazy("without a schedule"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Job]) -> QuerySet[Job]:
        if not self.value():
            return queryset
        return queryset.filter(~Exists(Schedule.objects.present().filter(job=OuterRef("pk"))))
