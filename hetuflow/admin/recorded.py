"""Admin pages that write rows themselves, where no service does: each write leaves an audit entry."""

from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest

from access import audit
from access.callers import actor_of
from scheduling.admin.pages import Admin

Described = dict[str, Any]


class RecordedAdmin(Admin):
    """Tells the audit log of what is added, changed and deleted, with what belongs to it.

    Django saves a form and deletes one object in a transaction of its own; the entry is part of it.
    """

    def described(self, obj: Any) -> Described:
        """Return what the audit log keeps of an object, read from the database where it is not a column."""
        raise NotImplementedError

    def record(
        self, request: HttpRequest, obj: Any, *, before: Described | None, after: Described | None
    ) -> None:
        """Write what became of an object; None stands for not being there."""
        verb = "create" if before is None else "delete" if after is None else "update"
        action = f"{self.opts.model_name}.{verb}"
        audit.record(by=actor_of(request), action=action, subject=obj, before=before, after=after)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        stored = self.model._default_manager.select_for_update().get(pk=obj.pk) if change else None
        request.described_before = None if stored is None else self.described(stored)  # type: ignore[attr-defined]
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        before = request.described_before  # type: ignore[attr-defined]
        self.record(request, form.instance, before=before, after=self.described(form.instance))

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self.record(request, obj, before=self.described(obj), after=None)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        with transaction.atomic():
            for obj in queryset:
                self.record(request, obj, before=self.described(obj), after=None)
            super().delete_queryset(request, queryset)
