"""Ids in bodies; the value of each is the object, where the caller sees it."""

from typing import Any, ClassVar

from django.db.models import Model, QuerySet
from django.utils.translation import gettext_lazy as _
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from rest.kinds import BadValue, read_integer
from rest.permissions import authority_for, seen
from scheduling.models import Calendar, Job, Schedule


@extend_schema_field({"type": "integer"})
class _SeenIdField(serializers.Field[Any, Any, Any, Any]):
    """An integer that names a row of `rows`; one that the caller does not see is as good as none."""

    permission: ClassVar[str]
    namespace_path: ClassVar[str]

    def rows(self) -> QuerySet[Any]:
        """Return all that an id may name."""
        raise NotImplementedError

    def to_internal_value(self, data: Any) -> Any:
        try:
            number = read_integer(data)
        except BadValue as error:
            raise ValidationError(str(error), "invalid") from error
        found = seen(
            self.rows(),
            authority=authority_for(self.context["request"]),
            permission=self.permission,
            namespace_path=self.namespace_path,
        )
        row = found.filter(pk=number).first()
        if row is None:
            self.fail("does_not_exist")
        return row

    def to_representation(self, value: Model) -> Any:
        return value.pk


class JobIdField(_SeenIdField):
    """The id of a job that is not archived."""

    permission = "scheduling.view_job"
    namespace_path = "namespace"
    default_error_messages: ClassVar[dict[str, Any]] = {"does_not_exist": _("There is no such job.")}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"source": "job", **kwargs})

    def rows(self) -> QuerySet[Job]:
        return Job.objects.present()


class CalendarIdField(_SeenIdField):
    """The id of a calendar, or null."""

    permission = "scheduling.view_calendar"
    namespace_path = "namespace"
    default_error_messages: ClassVar[dict[str, Any]] = {"does_not_exist": _("There is no such calendar.")}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"source": "calendar", "allow_null": True, "required": False, **kwargs})

    def rows(self) -> QuerySet[Calendar]:
        return Calendar.objects.all()


class ScheduleIdField(_SeenIdField):
    """The id of a schedule that is not archived."""

    permission = "scheduling.view_schedule"
    namespace_path = "job__namespace"
    default_error_messages: ClassVar[dict[str, Any]] = {"does_not_exist": _("There is no such schedule.")}

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"source": "schedule", **kwargs})

    def rows(self) -> QuerySet[Schedule]:
        return Schedule.objects.present().select_related("job", "calendar")
