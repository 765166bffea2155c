"""The list of attempts narrowed to those that printed a text, a bounded step at a time."""

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import TextFilter

from rest.controls import visible
from scheduling.admin import words
from scheduling.admin.paging import BoundedChangeList
from scheduling.models import TaskInstance
from scheduling.services.last_lines import SEQUENCES
from scheduling.services.output_search import TAIL_BYTES, Match, Searched, search_outputs
from scheduling.services.searching import MAX_TEXT_BYTES

if TYPE_CHECKING:
    from scheduling.admin.permissions import PermittedAdmin as _Base
else:
    _Base = object

TEXT: Final = "output"
# The attempt behind which the search goes on.
OLDER: Final = "older"


class OutputFilter(TextFilter):  # type: ignore[misc]
    """A text to look for; the list itself searches, within what all filters and the search leave."""

    title = gettext_lazy("text in the output")
    parameter_name = TEXT

    def __init__(self, request: HttpRequest, params: dict[str, Any], model: Any, model_admin: Any) -> None:
        super().__init__(request, params, model, model_admin)
        if OLDER in params:
            self.used_parameters[OLDER] = params.pop(OLDER)[-1]

    def expected_parameters(self) -> list[str]:
        return [TEXT, OLDER]

    def queryset(self, request: HttpRequest, queryset: QuerySet[TaskInstance]) -> QuerySet[TaskInstance]:
        return queryset


class OutputChangeList(BoundedChangeList):
    """Searches the output of the attempts that are listed, if it is to."""

    searched: Searched | None = None

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        rows: QuerySet[Any] = super().get_queryset(request, exclude_parameters)
        text = asked_text(request)
        if not text:
            return rows
        if len(text.encode(errors="replace")) > MAX_TEXT_BYTES:
            told = _("Search for at most %(n)d bytes of output.") % {"n": MAX_TEXT_BYTES}
            messages.error(request, told)
            return rows.none()
        before = _uuid(request.GET.get(OLDER, ""))
        self.searched = search_outputs(rows.order_by(), text, before=before, limit=self.list_per_page)
        return rows.filter(pk__in=[match.instance_id for match in self.searched.matches])

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        if self.searched is not None:
            matches = {match.instance_id: match for match in self.searched.matches}
            self.result_list = list(self.result_list)
            for attempt in self.result_list:
                attempt.match = matches[attempt.pk]

    @property
    def search_report(self) -> dict[str, Any] | None:
        """Return what is said of the search above the list, and where it goes on."""
        searched = self.searched
        if searched is None:
            return None
        last = None
        if searched.looked_at and searched.last_id is not None:
            last = TaskInstance.objects.filter(pk=searched.last_id).first()
        return {
            "searched": searched,
            "back_to": last and f"#{last}",
            "at": last and words.clock(last.created_at),
            "tail": words.size(TAIL_BYTES),
            "older": "" if searched.is_over else self.get_query_string({OLDER: searched.last_id}),
            "newest": self.get_query_string(remove=[OLDER]) if OLDER in self.params else "",
        }


class SearchesOutput(_Base):
    """A list of attempts with a column for the line that holds the text that is searched for."""

    list_before_template = "admin/scheduling/taskinstance/list_head.html"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[BoundedChangeList]:
        return OutputChangeList

    def get_list_display(self, request: HttpRequest) -> Any:
        """Show where the text is, if one is searched for."""
        columns = super().get_list_display(request)
        return [*columns, "line"] if asked_text(request) else columns


def asked_text(request: HttpRequest) -> str:
    """Return the text that is looked for."""
    return request.GET.get(TEXT, "").strip()


def line_link(match: Match) -> SafeString:
    """Return the line of a match as a link to it in the output, with the text marked."""
    page = reverse("admin:scheduling_taskinstance_change", args=[match.instance_id])
    return format_html(
        '<a class="hf-found-line" href="{}#{}-{}">{}<mark>{}</mark>{}</a>',
        page,
        match.stream,
        match.offset,
        _shown(match.before),
        _shown(match.text),
        _shown(match.behind),
    )


def _shown(piece: bytes) -> str:
    return visible(SEQUENCES.sub("", piece.decode(errors="replace")))


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
