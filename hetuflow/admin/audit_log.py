"""The audit log: every write, with who, what, before and after."""

from typing import Any, Final

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from access.models import AuditEntry
from rest.controls import visible
from scheduling.admin import words
from scheduling.admin.pages import ReadOnlyAdmin
from scheduling.admin.tasks import pretty
from scheduling.services.distinct import distinct_values

# Parts of names are looked for in so many of the newest entries.
_RECENT: Final = 10_000
_TYPES: Final = 100


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    namespace_path = "namespace"
    page_template = "admin/access/auditentry/page.html"
    list_display = ("time", "who", "action", "what", "of_namespace", "address")
    list_display_links = ("time", "action")
    list_filter = (("actor_kind", ChoicesDropdownFilter),)
    search_fields = ("actor", "action", "subject_id", "namespace", "subject")
    search_help_text = gettext_lazy("Who, action, namespace, id, or a part of a recent object")
    ordering = ("-id",)
    sortable_by = ()

    def all_rows(self, request: HttpRequest) -> QuerySet[Any]:
        entries: QuerySet[Any] = AuditEntry.objects.annotate(shown_at=Now())
        return entries

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        """Find by what an index knows as a whole, and by parts of the names of what was changed lately."""
        term = search_term.strip()
        if not term:
            return queryset, False
        newest = AuditEntry.objects.order_by("-pk").values_list("pk", flat=True).first() or 0
        found = Q(actor=term) | Q(action=term) | Q(namespace=term)
        types = distinct_values(AuditEntry, "subject_type", limit=_TYPES)
        found |= Q(subject_type__in=types, subject_id=term)
        found |= Q(pk__gt=newest - _RECENT, subject__icontains=term)
        return queryset.filter(found), False

    @admin.display(description=gettext_lazy("time"))
    def time(self, entry: Any) -> SafeString | str:
        return words.moment(entry.at, now=entry.shown_at)

    @admin.display(description=gettext_lazy("who"))
    def who(self, entry: AuditEntry) -> SafeString:
        kind = entry.get_actor_kind_display()
        return format_html(
            '<span class="hf-name">{}</span><span class="hf-sub">{} {}</span>',
            visible(entry.actor),
            kind,
            visible(entry.token),
        )

    @admin.display(description=gettext_lazy("object"))
    def what(self, entry: AuditEntry) -> str:
        return visible(entry.subject)

    @admin.display(description=gettext_lazy("namespace"))
    def of_namespace(self, entry: AuditEntry) -> str:
        return entry.namespace or words.MISSING

    def page_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        before, after = obj.before or {}, obj.after or {}
        names = sorted({*before, *after})
        return {
            "time": words.clock(obj.at),
            "title": f"{obj.action} {visible(obj.subject)}",
            "actor": visible(obj.actor),
            "token": visible(obj.token),
            "what": visible(obj.subject),
            "rows": [(name, *(_shown(values, name) for values in (before, after))) for name in names],
        }


def _shown(values: dict[str, Any], name: str) -> str:
    if name not in values:
        return ""
    return visible(values[name]) if isinstance(values[name], str) else pretty(values[name])
