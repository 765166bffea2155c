"""The changes of a job or a schedule: who changed what, and making it again what it was."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.translation import gettext as _

from access.backends import authority_of_user
from access.callers import actor_of
from access.models import AuditEntry
from rest.controls import visible
from scheduling.admin import words
from scheduling.admin.config_fields import config_fields
from scheduling.admin.differences import rows_of
from scheduling.admin.pages import REFUSALS, audit_url
from scheduling.admin.permissions import may, permit
from scheduling.clock import database_now
from scheduling.errors import ChangedMeanwhile
from scheduling.services.restoring import changes_of, fields_at, fields_of, newest_id

if TYPE_CHECKING:
    from scheduling.admin.pages import ServiceAdmin as _Base
else:
    _Base = object

_PAGE: Final = 20
_SINCE: Final = 10
_BEFORE: Final = "before"
_CHANGE: Final = "change"
_MAX_ID: Final = 2**63 - 1


class ShowsChanges(_Base):
    """In place of Django's history: what was changed by whichever door, with a way back to each state."""

    change_permission: ClassVar[str]

    def restore_by_service(self, object_id: int, **how: Any) -> Any:
        """Make an object again what it was; raise what the service raises."""
        raise NotImplementedError

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.restore_view)
        name = f"{self.opts.app_label}_{self.opts.model_name}_restore"
        return [path("<int:object_id>/restore/", view, name=name), *super().get_urls()]

    def changes_head(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        """Return what the head of the page needs beside the changes."""
        return {}

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the changes, the newest first, those of the namespaces that the user sees."""
        obj = self.object_or_redirect(request, object_id)
        if isinstance(obj, HttpResponse):
            return obj
        now = database_now()
        may_change = may(request, self.change_permission, obj)
        entries = list(self._seen_changes(request, obj)[: _PAGE + 1])
        newest = newest_id(obj)
        changes = [
            self._described(entry, now=now, may_change=may_change)
            | {"restore_url": self._restore_url(obj, entry) if may_change and entry.pk != newest else ""}
            for entry in entries[:_PAGE]
        ]
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": obj,
            "title": _("Changes of %(object)s") % {"object": obj},
            "changes": changes,
            "older_url": f"?{_BEFORE}={entries[_PAGE - 1].pk}" if len(entries) > _PAGE else "",
            "audit_url": audit_url(request, obj),
            **self.changes_head(request, obj),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/hetuflow/changes.html", context)

    def restore_view(self, request: HttpRequest, object_id: int) -> HttpResponseBase:
        """Show what restoring would change and what happened since; then do it."""
        obj = self.object_or_redirect(request, str(object_id))
        if isinstance(obj, HttpResponse):
            return obj
        if not may(request, self.change_permission, obj):
            raise PermissionDenied
        number = _number(request.GET.get(_CHANGE, ""))
        entry = None if number is None else self._seen_changes(request, obj).filter(pk=number).first()
        if entry is None:
            self.message_user(request, _("There is no such change."), messages.ERROR)
            return HttpResponseRedirect(self._history_url(obj))
        if request.method == "POST" and self._restore(request, obj, entry):
            return HttpResponseRedirect(self.change_url(obj))
        now = database_now()
        then, current = fields_at(obj, entry), fields_of(obj)
        since = list(self._seen_changes(request, obj).filter(pk__gt=entry.pk)[: _SINCE + 1])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": obj,
            "title": _("Restore %(object)s") % {"object": obj},
            "at": words.exact_moment(entry.at, now=now),
            "rows": self._rows({name: current[name] for name in then}, then, may_change=True),
            "seen_id": newest_id(obj),
            "since": [self._described(each, now=now, may_change=True) for each in since[:_SINCE]],
            "more_since": len(since) > _SINCE,
            "back_url": self._history_url(obj),
        }
        return TemplateResponse(request, "admin/hetuflow/restore.html", context)

    def _restore(self, request: HttpRequest, obj: Any, entry: AuditEntry) -> bool:
        seen = _number(request.POST.get("seen_id", ""))
        try:
            self.restore_by_service(
                obj.pk,
                entry_id=entry.pk,
                seen_id=-1 if seen is None else seen,
                now=database_now(),
                by=actor_of(request),
                permit=permit(request, self.change_permission),
            )
        except ChangedMeanwhile:
            text = _("Somebody changed it meanwhile. Look at what restoring would change now.")
            self.message_user(request, text, messages.ERROR)
        except REFUSALS as error:
            self.message_user(request, str(error), messages.ERROR)
        else:
            self.message_user(request, _("It is again what it was."), messages.SUCCESS)
            return True
        obj.refresh_from_db()
        return False

    def _seen_changes(self, request: HttpRequest, obj: Any) -> Any:
        entries = changes_of(obj)
        before = _number(request.GET.get(_BEFORE, ""))
        if before is not None:
            entries = entries.filter(pk__lt=before)
        # Of a job that moved, what was written in other namespaces stays there.
        namespaces = authority_of_user(request.user).namespaces(self.view_permission)
        return entries if namespaces is None else entries.filter(namespace__in=sorted(namespaces))

    def _described(self, entry: AuditEntry, *, now: Any, may_change: bool) -> dict[str, Any]:
        is_new = entry.action.endswith(".create")
        return {
            "id": entry.pk,
            "at": words.exact_moment(entry.at, now=now),
            "who": visible(entry.actor) or entry.get_actor_kind_display(),
            "kind": entry.get_actor_kind_display(),
            "is_new": is_new,
            "rows": self._rows(entry.before or {}, entry.after or {}, may_change=may_change),
        }

    def _rows(self, before: Mapping[str, Any], after: Mapping[str, Any], *, may_change: bool) -> Any:
        return rows_of(before, after, labels=self._labels(), shows_environment=may_change)

    def _labels(self) -> dict[str, str]:
        """Return what the form calls the fields, in its order."""
        own = {name: str(field.label or name) for name, field in self.form.base_fields.items()}
        names = {field.name: str(field.verbose_name) for field in self.opts.fields}
        of_config = {name: str(field.label) for name, field in config_fields().items()}
        return {**own, **{name: text for name, text in {**names, **of_config}.items() if name not in own}}

    def _restore_url(self, obj: Any, entry: AuditEntry) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_restore"
        return f"{reverse(name, args=[obj.pk])}?{_CHANGE}={entry.pk}"

    def _history_url(self, obj: Any) -> str:
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_history", args=[obj.pk])


def _number(text: str) -> int | None:
    """Return the number that somebody wrote into an address or a form, None where it is none."""
    return min(int(text), _MAX_ID) if text.isascii() and text.isdigit() else None
