"""Pages of lists, which open as fast among a million rows as among ten."""

from typing import TYPE_CHECKING, Any, Final, cast

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

if TYPE_CHECKING:
    from django.contrib.admin.views.main import ChangeList as _ChangeList

    _Paginator = Paginator[Any]
else:
    from unfold.views import ChangeList as _ChangeList

    _Paginator = Paginator

# So many rows can be paged through; older ones are found with search and filters.
LIST_LIMIT: Final = 10_000


class BoundedPaginator(_Paginator):
    """Counts no further than LIST_LIMIT, so that a list of a million rows opens as fast as one of ten."""

    @cached_property
    def count(self) -> int:
        rows = cast("QuerySet[Any]", self.object_list).order_by().values("pk")
        return rows[:LIST_LIMIT].count()

    def page(self, number: int | str) -> Any:
        """Return a page whose rows alone are joined and annotated, not those before it."""
        page = super().page(number)
        rows = cast("QuerySet[Any]", self.object_list)
        first = (page.number - 1) * self.per_page
        page.object_list = rows.filter(pk__in=rows.values("pk")[first : first + self.per_page])
        return page

    @property
    def is_capped(self) -> bool:
        """Whether there may be more rows than the pages show."""
        return self.count >= LIST_LIMIT


class BoundedChangeList(_ChangeList):
    """Takes what was counted for the whole, where nothing was searched: one count, and no "show all"."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if not self.multi_page:
            # Found as they were counted; in the order of the list all that is newer might be walked through.
            few = self.queryset.order_by().values("pk")[: self.list_per_page]
            self.result_list = self.queryset.filter(pk__in=few)
        if not self.query and not self.has_active_filters:
            self.full_result_count = self.result_count

    def get_ordering_field(self, field_name: Any) -> Any:
        """Return what a column is sorted by; an address may not ask for what its head does not offer."""
        return super().get_ordering_field(field_name) if field_name in (self.sortable_by or ()) else None
