"""Filters that several lists of the admin have: spans of time, and namespaces."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final
from uuid import UUID

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext, gettext_lazy
from unfold.contrib.filters.admin import DropdownFilter
from unfold.contrib.filters.forms import DropdownForm

from scheduling.admin import words
from scheduling.admin.backfill_form import ZonedTimeField
from scheduling.admin.namespaces import namespaces_in
from scheduling.clock import database_now

_HOURS: Final = {
    "1": gettext_lazy("the last hour"),
    "24": gettext_lazy("the last 24 hours"),
    "168": gettext_lazy("the last 7 days"),
}
_FUTURE: Final = "future"
# The parameters that narrow tasks to a time.
PLANNED: Final = ("planned", "planned_from", "planned_to")
# Ids of attempts begin with the time at which they were made, by a clock that may not be the database's.
_CLOCKS_DIFFER: Final = timedelta(days=1)


class _SpanForm(DropdownForm):  # type: ignore[misc]
    """A choice of spans, and two fields for another one."""

    def __init__(self, name: str, label: str, choices: Any, **kwargs: Any) -> None:
        super().__init__(name, label, choices, **kwargs)
        zone = {"own_zone": words.zone()}
        begin, end = gettext("From (%(own_zone)s)") % zone, gettext("To (%(own_zone)s)") % zone
        self.fields[f"{name}_from"] = ZonedTimeField(label=begin, required=False)
        self.fields[f"{name}_to"] = ZonedTimeField(label=end, required=False, is_end=True)


class SpanFilter(DropdownFilter):  # type: ignore[misc]
    """Rows whose `column` lies in a span that ends now, in the future, or between two times, each optional.

    Times are by the reader's clocks.
    """

    title = gettext_lazy("time")
    column: ClassVar[str]
    has_future: ClassVar[bool] = False

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        for name in self.expected_parameters()[1:]:
            if name in params:
                self.used_parameters[name] = params.pop(name)[-1]

    def expected_parameters(self) -> list[str]:
        return [self.parameter_name, f"{self.parameter_name}_from", f"{self.parameter_name}_to"]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, Any]]:
        future = [(_FUTURE, gettext_lazy("still to come"))] if self.has_future else []
        return [*future, *_HOURS.items()]

    def choices(self, changelist: Any) -> Iterator[dict[str, Any]]:
        """Return the form, as it was sent."""
        for choice in super().choices(changelist):
            label = next(iter(choice["form"].fields.values())).label
            options = [self.all_option, *self.lookup_choices]
            yield {"form": _SpanForm(self.parameter_name, label, options, data=self.used_parameters)}

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        begin, end = self._span()
        if begin is not None:
            queryset = queryset.filter(**{f"{self.column}__gte": begin})
        if end is not None:
            queryset = queryset.filter(**{f"{self.column}__lte": end})
        return self.narrowed(queryset, begin, end)

    def narrowed(self, rows: QuerySet[Any], begin: datetime | None, end: datetime | None) -> QuerySet[Any]:
        """Return the rows, with what else follows from the span and helps to find them."""
        return rows

    def _span(self) -> tuple[datetime | None, datetime | None]:
        begin, end = (self._given(name) for name in self.expected_parameters()[1:])
        chosen = self.value()
        if chosen not in (_FUTURE, *_HOURS):
            return begin, end
        now = database_now()
        since, until = (now, None) if chosen == _FUTURE else (now - timedelta(hours=int(chosen)), now)
        return max(since, begin or since), until if end is None else min(end, until or end)

    def _given(self, name: str) -> datetime | None:
        field = ZonedTimeField(required=False, is_end=name.endswith("_to"))
        try:
            found: datetime | None = field.clean(self.used_parameters.get(name, ""))
        except ValidationError:
            return None  # the form says what is wrong with it
        return found


class PlannedFilter(SpanFilter):
    """Tasks by when they were planned for."""

    parameter_name = PLANNED[0]
    column = "scheduled_at"
    has_future = True


class BegunFilter(SpanFilter):
    """Attempts by when an agent got them."""

    parameter_name = "begun"
    column = "created_at"

    def narrowed(self, rows: QuerySet[Any], begin: datetime | None, end: datetime | None) -> QuerySet[Any]:
        """Narrow by the ids as well: the list is in their order."""
        if begin is not None:
            rows = rows.filter(pk__gte=_first_id(begin - _CLOCKS_DIFFER))
        if end is not None:
            rows = rows.filter(pk__lt=_first_id(end + _CLOCKS_DIFFER))
        return rows


class NamespaceFilter(DropdownFilter):  # type: ignore[misc]
    """Rows of one namespace, of those that there are and the user sees."""

    title = gettext_lazy("namespace")
    parameter_name = "namespace"
    path: ClassVar[str] = "namespace"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        field = model_admin.model._meta.get_field(self.path.partition("__")[0])
        model = field.related_model or model_admin.model
        return [(name, name) for name in namespaces_in(request, model, model_admin.view_permission)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.path: self.value()}) if self.value() else queryset


class JobNamespaceFilter(NamespaceFilter):
    """Rows of jobs of one namespace."""

    path = "job__namespace"


def _first_id(instant: datetime) -> UUID:
    """Return what the ids of all attempts from an instant on are not below (RFC 9562, version 7)."""
    return UUID(int=max(0, int(instant.timestamp() * 1000)) << 80)
