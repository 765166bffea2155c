"""Bulk actions: what was asked for many objects at once, how far it is, and what was refused and why."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from access.callers import actor_of
from scheduling.admin import words
from scheduling.admin.import_entries import entries_context, is_of_file
from scheduling.admin.pages import Button, ReadOnlyAdmin
from scheduling.admin.permissions import seen_by
from scheduling.admin.transfer import worked_on
from scheduling.clock import database_now
from scheduling.kinds import BulkState, BulkStatus, BulkVerb
from scheduling.models import BulkAction, BulkTarget
from scheduling.services import bulk, importing
from scheduling.services.deeds import model_of

if TYPE_CHECKING:
    from django.contrib.auth.models import User

_RENEWED_SECS: Final = 1
_REFUSED_SHOWN: Final = 100
# How states stand in bars and legends: the classes of what became of planned runs.
_LOOKS: Final = {BulkState.DONE: "completed", BulkState.REFUSED: "failed", BulkState.WAITING: "to_come"}


def _cancel(bulk_admin: Any, request: HttpRequest, action: BulkAction) -> str:
    bulk.cancel(action_id=action.pk, now=database_now(), by=actor_of(request))
    return _("The action is cancelled; what was done stays done.")


def _import(bulk_admin: Any, request: HttpRequest, action: BulkAction) -> HttpResponseRedirect:
    user = cast("User", request.user)
    begun = importing.begin_import(check_id=action.pk, user=user, by=actor_of(request))
    return HttpResponseRedirect(worked_on(begun))


def _can_be_imported(action: BulkAction) -> bool:
    is_checked = action.verb == BulkVerb.CHECK_DEFINITIONS and action.status == BulkStatus.COMPLETED
    return is_checked and importing.to_import(action) > 0


@admin.register(BulkAction)
class BulkActionAdmin(ReadOnlyAdmin):
    """Everybody sees their own; superusers see all."""

    namespace_path = None
    page_template = "admin/scheduling/bulkaction/page.html"
    list_display = ("number", "progress", "state", "who", "asked")
    list_display_links = ("number",)
    list_filter = (("status", ChoicesDropdownFilter), ("verb", ChoicesDropdownFilter))
    ordering = ("-pk",)
    sortable_by = ("number",)
    buttons = (
        Button(
            name="import",
            label=gettext_lazy("Import this"),
            icon="upload",
            press=_import,
            permission="",
            is_shown=_can_be_imported,
            style="hf-primary",
            confirm=gettext_lazy("Make everything what the file says? What was refused is left out."),
        ),
        Button(
            name="cancel",
            label=gettext_lazy("Cancel"),
            icon="cancel",
            press=_cancel,
            permission="",
            is_shown=lambda action: action.status == BulkStatus.RUNNING,
            style="hf-danger",
            confirm=gettext_lazy("Stop here? What was done stays done; the others are left as they are."),
        ),
    )

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return obj is None or request.user.is_superuser or obj.user_id == request.user.pk

    def all_rows(self, request: HttpRequest) -> QuerySet[Any]:
        actions = BulkAction.objects.select_related("user").annotate(shown_at=Now())
        return actions if request.user.is_superuser else actions.filter(user=cast("User", request.user))

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Count the targets of all that the page shows in one statement."""
        changelist = super().get_changelist_instance(request)
        counts = bulk.count_targets(action.pk for action in changelist.result_list)
        for action in changelist.result_list:
            action.counts = counts.get(action.pk, {})
        return changelist

    @admin.display(description=gettext_lazy("bulk action"), ordering="pk")
    def number(self, action: BulkAction) -> SafeString:
        return format_html(
            '<span class="hf-name">#{}</span><span class="hf-sub">{}</span>',
            action.pk,
            action.get_verb_display(),
        )

    @admin.display(description=gettext_lazy("progress"))
    def progress(self, action: Any) -> SafeString:
        return format_html(
            '{}<span class="hf-sub hf-line">{}</span>',
            _bar(action.counts),
            _progress_words(action, action.counts),
        )

    @admin.display(description=gettext_lazy("status"))
    def state(self, action: BulkAction) -> SafeString:
        return words.badge(action.status, action.get_status_display())

    @admin.display(description=gettext_lazy("asked for by"))
    def who(self, action: BulkAction) -> str:
        return words.MISSING if action.user is None else action.user.get_username()

    @admin.display(description=gettext_lazy("asked for"), ordering="pk")
    def asked(self, action: Any) -> SafeString | str:
        return words.moment(action.created_at, now=action.shown_at)

    def page_context(self, request: HttpRequest, obj: Any) -> dict[str, Any]:
        now = database_now()
        counts = bulk.count_targets([obj.pk]).get(obj.pk, {})
        return {
            "title": _("Bulk action %(number)s: %(verb)s") % {"number": obj, "verb": obj.get_verb_display()},
            "state": self.state(obj),
            "who": self.who(obj),
            "refresh_secs": _RENEWED_SECS if obj.status == BulkStatus.RUNNING else 0,
            "bar": _bar(counts),
            "told": _progress_words(obj, counts),
            "totals": [
                {"fate": look, "label": BulkState(state).label, "count": counts.get(state, 0)}
                for state, look in _LOOKS.items()
            ],
            "asked": words.exact_moment(obj.created_at, now=now),
            "ended": None if obj.completed_at is None else words.exact_moment(obj.completed_at, now=now),
            **(entries_context(request, obj) if is_of_file(obj) else _refused_context(request, obj, counts)),
        }


def _refused_context(request: HttpRequest, action: BulkAction, counts: Mapping[str, int]) -> dict[str, Any]:
    """Return what was refused, as far as it is shown, and how many more were."""
    model = model_of(action.verb)
    if model is None:
        return {}
    refused = action.targets.filter(state=BulkState.REFUSED).order_by("pk")[:_REFUSED_SHOWN]
    return {
        "refused": _refused_rows(request, model, list(refused)),
        "hidden": max(0, counts.get(BulkState.REFUSED, 0) - _REFUSED_SHOWN),
    }


def _refused_rows(
    request: HttpRequest, model: type[Model], targets: list[BulkTarget]
) -> list[dict[str, Any]]:
    """Return what was refused, with links to what the user sees; two statements."""
    ids = [target.target_id for target in targets]
    found = seen_by(request, model._default_manager.filter(pk__in=ids)).in_bulk()
    page = f"admin:{model._meta.app_label}_{model._meta.model_name}_change"
    return [
        {
            "name": str(found.get(target.target_id) or f"#{target.target_id}"),
            "url": reverse(page, args=[target.target_id]) if target.target_id in found else "",
            "problem": target.told_problem(),
        }
        for target in targets
    ]


def _bar(counts: Mapping[str, int]) -> SafeString:
    """Return a bar that is read together with the numbers beside it."""
    whole = max(sum(counts.values()), 1)
    pieces = format_html_join(
        "",
        '<i class="hf-fate-{}" style="width: {}%"></i>',
        (
            (look, f"{100 * counts[state] / whole:.2f}")
            for state, look in _LOOKS.items()
            if counts.get(state) and state != BulkState.WAITING
        ),
    )
    return format_html('<span class="hf-progress" aria-hidden="true">{}</span>', pieces)


def _progress_words(action: BulkAction, counts: Mapping[str, int]) -> str:
    done, refused = counts.get(BulkState.DONE, 0), counts.get(BulkState.REFUSED, 0)
    told = _("%(done)s of %(total)s done")
    if action.verb == BulkVerb.CHECK_DEFINITIONS:
        # What is refused is looked at as well, and counted below.
        done, refused = done + refused, 0
        told = _("%(done)s of %(total)s checked")
    if refused:
        told = _("%(done)s of %(total)s done, %(refused)s refused")
    return told % {
        "done": f"{done:,}",
        "total": f"{sum(counts.values()):,}",
        "refused": f"{refused:,}",
    }
