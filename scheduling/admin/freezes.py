"""Frozen namespaces: freeze and unfreeze them, and say it wherever their work is shown."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminTextareaWidget

from access.callers import actor_of
from scheduling.admin import words
from scheduling.admin.namespaces import SuggestsNamespaces
from scheduling.admin.pages import Button, ServiceAdmin, ServiceForm
from scheduling.admin.permissions import may, may_in, seen_by
from scheduling.clock import database_now
from scheduling.errors import InvalidField
from scheduling.models import Freeze
from scheduling.services.calendars import freeze, thaw

if TYPE_CHECKING:
    from scheduling.admin.pages import Admin as _Base
else:
    _Base = object

_FIELDS = ("namespace", "reason", "until")
# So many banners are on one page; the list of freezes has all.
_BANNERS = 5


class FreezeForm(ServiceForm):
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        required=False,
        max_length=1000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text=gettext_lazy("Everybody who sees the namespace reads it."),
    )

    class Meta:
        model = Freeze
        fields = _FIELDS
        help_texts = {
            "namespace": gettext_lazy("None of its schedules runs a job; what runs already goes on."),
            "until": words.entered_in_zone(gettext_lazy("Empty: until somebody unfreezes it.")),
        }


def _thaw(freeze_admin: "FreezeAdmin", request: HttpRequest, frozen: Freeze) -> HttpResponse:
    thaw(namespace=frozen.namespace, by=actor_of(request))
    text = _("The namespace %(namespace)s is planned again.") % {"namespace": frozen.namespace}
    freeze_admin.message_user(request, text, messages.SUCCESS)
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}):
        back = reverse("admin:scheduling_freeze_changelist")
    return HttpResponseRedirect(back)


@admin.register(Freeze)
class FreezeAdmin(SuggestsNamespaces, ServiceAdmin):
    namespace_path = "namespace"
    namespace_permission = "scheduling.add_freeze"
    form = FreezeForm
    change_form_outer_before_template = "admin/scheduling/freeze/summary.html"
    delete_confirmation_template = "admin/scheduling/freeze/thaw.html"
    list_display = ("frozen", "state", "why", "begin", "end", "created_by")
    list_display_links = ("frozen",)
    search_fields = ("namespace", "reason")
    ordering = ("namespace",)
    sortable_by = ("frozen",)
    buttons = (
        Button(
            name="thaw",
            label=gettext_lazy("Unfreeze"),
            icon="play_circle",
            press=_thaw,
            permission="scheduling.delete_freeze",
            style="hf-primary",
            confirm=gettext_lazy("Unfreeze this namespace? Its schedules run again from now on."),
        ),
    )
    fieldsets = ((None, {"fields": _FIELDS}),)

    def all_rows(self, request: HttpRequest) -> QuerySet[Any]:
        return Freeze.objects.annotate(shown_at=Now())

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may freeze may give another end and reason."""
        return may(request, "scheduling.add_freeze", obj)

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return ("namespace",) if obj is not None else ()

    def save_by_service(self, request: HttpRequest, obj: Freeze, form: Any, *, change: bool) -> Freeze:
        fields = dict(form.cleaned_data)
        namespace = obj.namespace if change else fields["namespace"]
        if not may_in(request, self.namespace_permission, namespace):
            raise InvalidField({"namespace": _("Your role in this namespace does not allow it.")})
        return freeze(
            namespace=namespace,
            now=database_now(),
            until=fields["until"],
            reason=fields["reason"],
            by=actor_of(request),
        )

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> HttpResponse:
        frozen = kwargs.get("obj")
        if frozen is not None:
            context |= {"buttons": self.shown_buttons(request, frozen), "state": self.state(frozen)}
        return super().render_change_form(request, context, *args, **kwargs)

    def get_deleted_objects(
        self, objs: Any, request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        may_all = all(self.has_delete_permission(request, each) for each in objs)
        return [str(each) for each in objs], {}, set() if may_all else {str(self.opts.verbose_name)}, []

    def delete_model(self, request: HttpRequest, obj: Freeze) -> None:
        thaw(namespace=obj.namespace, by=actor_of(request))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Freeze]) -> None:
        for frozen in queryset:
            thaw(namespace=frozen.namespace, by=actor_of(request))

    @admin.display(description=gettext_lazy("namespace"), ordering="namespace")
    def frozen(self, frozen: Freeze) -> SafeString:
        return format_html('<span class="hf-name">{}</span>', frozen.namespace)

    @admin.display(description=gettext_lazy("status"))
    def state(self, frozen: Any) -> SafeString:
        if frozen.until is not None and frozen.until <= frozen.shown_at:
            return words.badge("over", _("is over"))
        return words.badge("frozen", _("frozen"))

    @admin.display(description=gettext_lazy("reason"))
    def why(self, frozen: Freeze) -> str:
        return frozen.reason or words.MISSING

    @admin.display(description=gettext_lazy("since"))
    def begin(self, frozen: Any) -> SafeString | str:
        return words.moment(frozen.since, now=frozen.shown_at)

    @admin.display(description=gettext_lazy("until"))
    def end(self, frozen: Any) -> SafeString | str:
        if frozen.until is None:
            return _("until unfrozen")
        return words.moment(frozen.until, now=frozen.shown_at)


class ShowsFreezes(_Base):
    """Lists of what lies in namespaces: above them stands which of those are frozen."""

    list_before_template = "admin/hetuflow/frozen_list.html"

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        context = {**(extra_context or {}), "freezes": freeze_banners(request)}
        return super().changelist_view(request, context)


def freeze_banners(request: HttpRequest, *, namespace: str | None = None) -> list[dict[str, Any]]:
    """Return what to say of frozen namespaces that the user sees, or of the given one."""
    frozen = seen_by(request, Freeze.objects.filter(since__lte=Now()).annotate(shown_at=Now()))
    frozen = frozen.filter(Q(until__isnull=True) | Q(until__gt=Now()))
    if namespace is not None:
        frozen = frozen.filter(namespace=namespace)
    return [
        {
            "freeze": each,
            "until": None if each.until is None else words.exact_moment(each.until, now=each.shown_at),
            "thaw_url": reverse("admin:scheduling_freeze_thaw", args=[each.pk])
            if may(request, "scheduling.delete_freeze", each)
            else "",
            "back": request.get_full_path(),
        }
        for each in frozen.order_by("namespace")[:_BANNERS]
    ]
